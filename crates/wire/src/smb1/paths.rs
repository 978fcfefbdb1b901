//! Commands on names: DELETE, RENAME, NT_RENAME, directories, QUERY_ and
//! SET_INFORMATION(2), QUERY_INFORMATION_DISK; [MS-CIFS] 2.2.4.1, 2.2.4.2,
//! 2.2.4.7 to 2.2.4.10, 2.2.4.17, 2.2.4.30, 2.2.4.31, 2.2.4.57, 2.2.4.66.

use super::block::Block;
use super::text::Text;
use super::words::words;
use crate::cursor::Result;

words! {
    /// DELETE and RENAME request.
    SearchAttributesWords { search_attributes: u16 }
    /// NT_RENAME request.
    NtRenameWords { search_attributes: u16, information_level: u16, reserved: u32 }
    /// QUERY_INFORMATION response.
    QueryInformationResponseWords {
        file_attributes: u16,
        last_write_time: u32,
        file_size: u32,
        reserved: [u8; 10],
    }
    /// SET_INFORMATION request.
    SetInformationWords { file_attributes: u16, last_write_time: u32, reserved: [u8; 10] }
    /// QUERY_INFORMATION2 response.
    QueryInformation2ResponseWords {
        create_date: u16,
        create_time: u16,
        last_access_date: u16,
        last_access_time: u16,
        last_write_date: u16,
        last_write_time: u16,
        file_data_size: u32,
        file_allocation_size: u32,
        file_attributes: u16,
    }
    /// SET_INFORMATION2 request.
    SetInformation2Words {
        fid: u16,
        create_date: u16,
        create_time: u16,
        last_access_date: u16,
        last_access_time: u16,
        last_write_date: u16,
        last_write_time: u16,
    }
    /// QUERY_INFORMATION_DISK response.
    QueryInformationDiskResponseWords {
        total_units: u16,
        blocks_per_unit: u16,
        block_size: u16,
        free_units: u16,
        reserved: u16,
    }
}

/// NT_RENAME InformationLevel: make a hard link.
pub const RENAME_SET_LINK_INFO: u16 = 0x0103;
/// NT_RENAME InformationLevel: rename.
pub const RENAME_RENAME_FILE: u16 = 0x0104;
/// NT_RENAME InformationLevel: move (obsolete).
pub const RENAME_MOVE_FILE: u16 = 0x0105;

/// Decodes a request whose only string is a name behind 0x04.
///
/// # Errors
/// [`crate::DecodeError`].
pub fn decode_name(block: &Block<'_>, text: Text) -> Result<String> {
    text.read_formatted(&mut block.bytes(), "FileName")
}

/// Decodes two names, each behind 0x04.
///
/// # Errors
/// [`crate::DecodeError`].
pub fn decode_two_names(block: &Block<'_>, text: Text) -> Result<(String, String)> {
    let mut r = block.bytes();
    let old = text.read_formatted(&mut r, "OldFileName")?;
    let new = text.read_formatted(&mut r, "NewFileName")?;
    Ok((old, new))
}

#[cfg(test)]
mod tests {
    use super::super::block::{Chain, MessageWriter};
    use super::super::code_page::CodePage;
    use super::super::open::encode_formatted;
    use super::super::{Command, HEADER};
    use super::*;

    #[test]
    fn two_names_are_aligned_one_by_one() {
        for unicode in [true, false] {
            let text = Text {
                unicode,
                code_page: CodePage::Cp850,
            };
            let bytes = encode_formatted(text, HEADER + 1 + 2 + 2, &[r"\a", r"\longer"]);
            let mut m = MessageWriter::new(0);
            m.block(Command::RENAME, false, &[6, 0], &bytes);
            let m = m.finish(&[0; HEADER]);
            let block = Chain::new(&m, Command::RENAME, 1).next().unwrap().unwrap();
            let names = decode_two_names(&block, text).unwrap();
            assert_eq!(names, (r"\a".to_owned(), r"\longer".to_owned()));
        }
        assert_eq!(QueryInformationResponseWords::SIZE, 20);
        assert_eq!(SetInformationWords::SIZE, 16);
        assert_eq!(QueryInformation2ResponseWords::SIZE, 22);
        assert_eq!(SetInformation2Words::SIZE, 14);
        assert_eq!(QueryInformationDiskResponseWords::SIZE, 10);
    }
}
