//! Opening and creating: [MS-CIFS] 2.2.4.3, 2.2.4.4, 2.2.4.15, 2.2.4.16,
//! 2.2.4.41, 2.2.4.64 and [MS-SMB] 2.2.4.1, 2.2.4.9.

use super::block::Block;
use super::text::Text;
use super::words::words;
use crate::FileTime;
use crate::cursor::{DecodeError, Reader, Result, Writer};

words! {
    /// NT_CREATE_ANDX request, 24 words with the AndX ones.
    NtCreateAndxWords {
        reserved: u8,
        name_length: u16,
        flags: u32,
        root_directory_fid: u32,
        desired_access: u32,
        allocation_size: u64,
        ext_file_attributes: u32,
        share_access: u32,
        create_disposition: u32,
        create_options: u32,
        impersonation_level: u32,
        security_flags: u8,
    }
    /// NT_CREATE_ANDX response, 34 words with the AndX ones.
    NtCreateAndxResponseWords {
        oplock_level: u8,
        fid: u16,
        create_disposition: u32,
        create_time: FileTime,
        last_access_time: FileTime,
        last_write_time: FileTime,
        last_change_time: FileTime,
        ext_file_attributes: u32,
        allocation_size: u64,
        end_of_file: u64,
        resource_type: u16,
        nm_pipe_status: u16,
        directory: u8,
    }
    /// What the extended response has behind those, [MS-SMB] 2.2.4.9.2.
    ExtendedCreateTail {
        volume_guid: [u8; 16],
        file_id: u64,
        maximal_access_rights: u32,
        guest_maximal_access_rights: u32,
    }
    /// OPEN request.
    OpenWords { access_mode: u16, search_attributes: u16 }
    /// OPEN response.
    OpenResponseWords {
        fid: u16,
        file_attrs: u16,
        last_modified: u32,
        file_size: u32,
        access_mode: u16,
    }
    /// OPEN_ANDX request, 15 words with the AndX ones.
    OpenAndxWords {
        flags: u16,
        access_mode: u16,
        search_attrs: u16,
        file_attrs: u16,
        creation_time: u32,
        open_mode: u16,
        allocation_size: u32,
        timeout: u32,
        reserved: u32,
    }
    /// OPEN_ANDX response, 15 words with the AndX ones.
    OpenAndxResponseWords {
        fid: u16,
        file_attrs: u16,
        last_write_time: u32,
        file_data_size: u32,
        access_rights: u16,
        resource_type: u16,
        nm_pipe_status: u16,
        open_results: u16,
        server_fid: u32,
        reserved: u16,
    }
    /// What the extended OPEN_ANDX response has behind those, [MS-SMB] 2.2.4.1.2.
    OpenAndxExtendedTail { maximal_access_rights: u32, guest_maximal_access_rights: u32 }
    /// CREATE, CREATE_NEW and CREATE_TEMPORARY request.
    CreateWords { file_attributes: u16, creation_time: u32 }
    /// Answer of those: the FID.
    FidWords { fid: u16 }
}

/// NT_CREATE_REQUEST_OPLOCK.
pub const NT_CREATE_REQUEST_OPLOCK: u32 = 0x02;
/// NT_CREATE_REQUEST_OPBATCH.
pub const NT_CREATE_REQUEST_OPBATCH: u32 = 0x04;
/// NT_CREATE_OPEN_TARGET_DIR.
pub const NT_CREATE_OPEN_TARGET_DIR: u32 = 0x08;
/// NT_CREATE_REQUEST_EXTENDED_RESPONSE, [MS-SMB] 2.2.4.9.1.
pub const NT_CREATE_REQUEST_EXTENDED_RESPONSE: u32 = 0x10;

/// OPEN_ANDX flag: attributes are wanted in the answer.
pub const OPEN_REQUEST_INFORMATION: u16 = 0x0001;
/// OPEN_ANDX flag: an exclusive oplock is asked for.
pub const OPEN_REQUEST_OPLOCK: u16 = 0x0002;
/// OPEN_ANDX flag: a batch oplock is asked for.
pub const OPEN_REQUEST_OPBATCH: u16 = 0x0004;
/// OPEN_ANDX flag: the extended answer is asked for, [MS-SMB] 2.2.4.1.1.
pub const OPEN_REQUEST_EXTENDED_RESPONSE: u16 = 0x0010;
/// Bit of OpenResults and of TRANS2_OPEN2's ActionTaken: an oplock was granted.
pub const OPEN_RESULT_OPLOCK: u16 = 0x8000;

/// ResourceType of files and folders.
pub const RESOURCE_DISK: u16 = 0;
/// ResourceType of message-mode pipes.
pub const RESOURCE_MESSAGE_PIPE: u16 = 2;
/// WordCount of the extended NT_CREATE_ANDX response as Windows sends it,
/// although fifty words are there.
pub const EXTENDED_CREATE_WORD_COUNT: u8 = 42;

/// Decodes an NT_CREATE_ANDX request: words and name.
///
/// # Errors
/// [`DecodeError`] for a wrong word count.
pub fn decode_nt_create_andx(block: &Block<'_>, text: Text) -> Result<(NtCreateAndxWords, String)> {
    block.expect_words(&[24])?;
    let words = NtCreateAndxWords::decode(&mut block.words_after_andx())?;
    let mut r = block.bytes();
    // NameLength is wrong in some clients; the terminator, or the end of the
    // bytes, decides.
    let name = text.read(&mut r);
    Ok((words, name))
}

/// Words and bytes of an NT_CREATE_ANDX request that will stand at
/// `block_start`; NameLength is filled in.
pub fn encode_nt_create_andx(
    words: &NtCreateAndxWords,
    name: &str,
    text: Text,
    block_start: usize,
) -> (Vec<u8>, Vec<u8>) {
    let bytes_start = block_start + 1 + 4 + NtCreateAndxWords::SIZE + 2;
    let words = NtCreateAndxWords {
        name_length: super::block::byte_count(text.encode(name).len()),
        ..*words
    };
    (words.to_vec(), encode_name(text, bytes_start, name))
}

/// Decodes an NT_CREATE_ANDX response, [MS-CIFS] 2.2.4.64.2 and [MS-SMB]
/// 2.2.4.9.2. The extended form has fifty words behind a WordCount of 42 or 50.
///
/// # Errors
/// [`DecodeError`] for other word counts and words that are missing.
pub fn decode_nt_create_andx_response(
    block: &Block<'_>,
) -> Result<(NtCreateAndxResponseWords, Option<ExtendedCreateTail>)> {
    block.expect_words(&[34, 42, 50])?;
    // Behind WordCount and the AndX words; the extended words may go on where
    // WordCount says the bytes begin.
    let mut r = Reader::new(block.message);
    r.seek(block.start.saturating_add(5), "Words")?;
    let words = NtCreateAndxResponseWords::decode(&mut r)?;
    let tail = match block.word_count() {
        34 => None,
        _ => Some(ExtendedCreateTail::decode(&mut r)?),
    };
    Ok((words, tail))
}

/// Decodes an OPEN request.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_open(block: &Block<'_>, text: Text) -> Result<(OpenWords, String)> {
    block.expect_words(&[2])?;
    let words = OpenWords::decode(&mut block.words())?;
    Ok((words, text.read_formatted(&mut block.bytes(), "FileName")?))
}

/// Decodes an OPEN_ANDX request.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_open_andx(block: &Block<'_>, text: Text) -> Result<(OpenAndxWords, String)> {
    block.expect_words(&[15])?;
    let words = OpenAndxWords::decode(&mut block.words_after_andx())?;
    Ok((words, text.read(&mut block.bytes())))
}

/// Decodes a CREATE, CREATE_NEW or CREATE_TEMPORARY request.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_create(block: &Block<'_>, text: Text) -> Result<(CreateWords, String)> {
    block.expect_words(&[3])?;
    let words = CreateWords::decode(&mut block.words())?;
    Ok((words, text.read_formatted(&mut block.bytes(), "FileName")?))
}

/// Bytes of a request whose only string is a name, without a format byte.
pub fn encode_name(text: Text, bytes_start: usize, name: &str) -> Vec<u8> {
    let mut bytes = vec![0; bytes_start];
    text.write_terminated(&mut Writer::with_base(&mut bytes, 0), name);
    bytes.split_off(bytes_start)
}

/// Bytes of a request with names behind format bytes.
pub fn encode_formatted(text: Text, bytes_start: usize, names: &[&str]) -> Vec<u8> {
    let mut bytes = vec![0; bytes_start];
    let mut w = Writer::with_base(&mut bytes, 0);
    for name in names {
        text.write_formatted(&mut w, name);
    }
    bytes.split_off(bytes_start)
}

/// AccessMode of OPEN, OPEN_ANDX and TRANS2_OPEN2, [MS-CIFS] 2.2.4.3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessMode(pub u16);

/// Access part of [`AccessMode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModeAccess {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Both.
    ReadWrite,
    /// Execution.
    Execute,
    /// FCB open: as much as can be had.
    Fcb,
}

/// Sharing part of [`AccessMode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModeSharing {
    /// Compatibility mode (DENY_DOS).
    Compatibility,
    /// Nobody else (DENY_ALL).
    DenyAll,
    /// No other writers.
    DenyWrite,
    /// No other readers.
    DenyRead,
    /// Everybody.
    DenyNone,
    /// FCB sharing.
    Fcb,
}

impl AccessMode {
    /// Write-through was asked for.
    pub fn write_through(self) -> bool {
        self.0 & 0x4000 != 0
    }

    /// The access asked for, when lawful.
    pub fn access(self) -> Option<ModeAccess> {
        if self.is_fcb() {
            return Some(ModeAccess::Fcb);
        }
        match self.0 & 0x0F {
            0 => Some(ModeAccess::Read),
            1 => Some(ModeAccess::Write),
            2 => Some(ModeAccess::ReadWrite),
            3 => Some(ModeAccess::Execute),
            _ => None,
        }
    }

    /// The sharing asked for, when lawful.
    pub fn sharing(self) -> Option<ModeSharing> {
        if self.is_fcb() {
            return Some(ModeSharing::Fcb);
        }
        match self.0 >> 4 & 7 {
            0 => Some(ModeSharing::Compatibility),
            1 => Some(ModeSharing::DenyAll),
            2 => Some(ModeSharing::DenyWrite),
            3 => Some(ModeSharing::DenyRead),
            4 => Some(ModeSharing::DenyNone),
            7 => Some(ModeSharing::Fcb),
            _ => None,
        }
    }

    fn is_fcb(self) -> bool {
        self.0 & 0xFF == 0xFF
    }
}

/// OpenMode, [MS-CIFS] 2.2.4.41.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenMode(pub u16);

/// What to do with a file that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileExistsOption {
    /// Fail.
    Fail,
    /// Open it.
    Open,
    /// Open and cut it.
    Truncate,
}

impl OpenMode {
    /// What to do when the file exists; `None` when the bits are unlawful.
    pub fn exists(self) -> Option<FileExistsOption> {
        match self.0 & 3 {
            0 => Some(FileExistsOption::Fail),
            1 => Some(FileExistsOption::Open),
            2 => Some(FileExistsOption::Truncate),
            _ => None,
        }
    }

    /// Create it when it does not exist.
    pub fn create(self) -> bool {
        self.0 & 0x10 != 0
    }
}

words! {
    /// TRANS2_OPEN2 parameters, [MS-CIFS] 2.2.6.1.1, without the name.
    Open2Parameters {
        flags: u16,
        access_mode: u16,
        reserved1: u16,
        file_attributes: u16,
        creation_time: u32,
        open_mode: u16,
        allocation_size: u32,
        reserved: [u8; 10],
    }
    /// TRANS2_OPEN2 response parameters, [MS-CIFS] 2.2.6.1.2.
    Open2ResponseParameters {
        fid: u16,
        file_attributes: u16,
        creation_time: u32,
        file_data_size: u32,
        access_mode: u16,
        resource_type: u16,
        nm_pipe_status: u16,
        action_taken: u16,
        reserved: u32,
        extended_attribute_error_offset: u16,
        extended_attribute_length: u32,
    }
    /// NT_TRANSACT_CREATE parameters, [MS-CIFS] 2.2.7.1.1, without the name.
    NtTransactCreateParameters {
        flags: u32,
        root_directory_fid: u32,
        desired_access: u32,
        allocation_size: u64,
        ext_file_attributes: u32,
        share_access: u32,
        create_disposition: u32,
        create_options: u32,
        security_descriptor_length: u32,
        ea_length: u32,
        name_length: u32,
        impersonation_level: u32,
        security_flags: u8,
    }
    /// NT_TRANSACT_CREATE response parameters, [MS-CIFS] 2.2.7.1.2.
    NtTransactCreateResponseParameters {
        oplock_level: u8,
        reserved: u8,
        fid: u16,
        create_action: u32,
        ea_error_offset: u32,
        creation_time: FileTime,
        last_access_time: FileTime,
        last_write_time: FileTime,
        last_change_time: FileTime,
        ext_file_attributes: u32,
        allocation_size: u64,
        end_of_file: u64,
        resource_type: u16,
        nm_pipe_status: u16,
        directory: u8,
    }
}

/// Decodes TRANS2_OPEN2 parameters and name.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_open2(parameters: &[u8], text: Text) -> Result<(Open2Parameters, String)> {
    let mut r = Reader::new(parameters);
    let fixed = Open2Parameters::decode(&mut r)?;
    Ok((fixed, text.read(&mut r)))
}

/// NT_TRANSACT_CREATE parameters, [MS-CIFS] 2.2.7.1.1; NameLength is filled in.
pub fn encode_nt_transact_create(
    fixed: &NtTransactCreateParameters,
    name: &str,
    text: Text,
) -> Vec<u8> {
    let fixed = NtTransactCreateParameters {
        name_length: u32::try_from(text.encode(name).len()).unwrap_or(u32::MAX),
        ..*fixed
    };
    let mut out = fixed.to_vec();
    // Parameters begin at a multiple of four, so alignment can be counted from
    // their own start.
    text.write_terminated(&mut Writer::with_base(&mut out, 0), name);
    out
}

/// Decodes NT_TRANSACT_CREATE parameters and name.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_nt_transact_create(
    parameters: &[u8],
    text: Text,
) -> Result<(NtTransactCreateParameters, String)> {
    let mut r = Reader::new(parameters);
    let fixed = NtTransactCreateParameters::decode(&mut r)?;
    let length = usize::try_from(fixed.name_length).map_err(|_| DecodeError::Invalid {
        field: "NameLength",
        reason: "too large",
    })?;
    if text.unicode && r.position() % 2 == 1 && r.remaining() > length {
        r.skip(1, "pad")?;
    }
    let name = r.take(length.min(r.remaining()), "Name")?;
    Ok((fixed, text.decode(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_specification_s() {
        assert_eq!(NtCreateAndxWords::SIZE, 2 * 22);
        assert_eq!(NtCreateAndxResponseWords::SIZE, 2 * 32);
        assert_eq!(
            NtCreateAndxResponseWords::SIZE + ExtendedCreateTail::SIZE,
            2 * 48
        );
        assert_eq!(OpenAndxWords::SIZE, 2 * 13);
        assert_eq!(OpenAndxResponseWords::SIZE, 2 * 13);
        assert_eq!(
            OpenAndxResponseWords::SIZE + OpenAndxExtendedTail::SIZE,
            2 * 17
        );
        assert_eq!(OpenResponseWords::SIZE, 2 * 7);
        assert_eq!(Open2Parameters::SIZE, 28);
        assert_eq!(Open2ResponseParameters::SIZE, 30);
        assert_eq!(NtTransactCreateParameters::SIZE, 53);
        assert_eq!(NtTransactCreateResponseParameters::SIZE, 69);
    }

    #[test]
    fn nt_create_there_and_back() {
        use super::super::block::MessageWriter;
        use super::super::code_page::CodePage;
        use super::super::{Command, HEADER};
        let words = NtCreateAndxWords {
            reserved: 0,
            name_length: 0,
            flags: NT_CREATE_REQUEST_EXTENDED_RESPONSE,
            root_directory_fid: 0,
            desired_access: 0x0012_0089,
            allocation_size: 5,
            ext_file_attributes: 0x80,
            share_access: 7,
            create_disposition: 1,
            create_options: 0x40,
            impersonation_level: 2,
            security_flags: 3,
        };
        for (unicode, length) in [(true, 12), (false, 6)] {
            let text = Text {
                unicode,
                code_page: CodePage::Cp850,
            };
            let (w, b) = encode_nt_create_andx(&words, r"\d\f\ü", text, HEADER);
            let mut m = MessageWriter::new(0);
            m.block(Command::NT_CREATE_ANDX, true, &w, &b);
            let m = m.finish(&[0; HEADER]);
            let block = Block::decode(&m, Command::NT_CREATE_ANDX, HEADER).unwrap();
            let (back, name) = decode_nt_create_andx(&block, text).unwrap();
            assert_eq!(name, r"\d\f\ü");
            assert_eq!(
                back,
                NtCreateAndxWords {
                    name_length: length,
                    ..words
                }
            );
        }
    }

    #[test]
    fn nt_transact_create_there_and_back() {
        use super::super::code_page::CodePage;
        for (unicode, length) in [(true, 6), (false, 3)] {
            let text = Text {
                unicode,
                code_page: CodePage::Cp850,
            };
            let fixed = NtTransactCreateParameters {
                flags: 0,
                root_directory_fid: 0,
                desired_access: 1,
                allocation_size: 2,
                ext_file_attributes: 3,
                share_access: 4,
                create_disposition: 5,
                create_options: 6,
                security_descriptor_length: 7,
                ea_length: 8,
                name_length: length,
                impersonation_level: 2,
                security_flags: 3,
            };
            let bytes = encode_nt_transact_create(&fixed, r"\fö", text);
            let (back, name) = decode_nt_transact_create(&bytes, text).unwrap();
            assert_eq!((back, name.as_str()), (fixed, r"\fö"));
        }
    }

    #[test]
    fn nt_create_responses_of_all_forms() {
        use super::super::block::MessageWriter;
        use super::super::{Command, HEADER};
        let words = NtCreateAndxResponseWords {
            oplock_level: 2,
            fid: 0x4001,
            create_disposition: 1,
            create_time: FileTime(1),
            last_access_time: FileTime(2),
            last_write_time: FileTime(3),
            last_change_time: FileTime(4),
            ext_file_attributes: 0x20,
            allocation_size: 4096,
            end_of_file: 10,
            resource_type: 0,
            nm_pipe_status: 7,
            directory: 0,
        };
        let tail = ExtendedCreateTail {
            volume_guid: [9; 16],
            file_id: 8,
            maximal_access_rights: 0x001F_01FF,
            guest_maximal_access_rights: 0,
        };
        for (count, tail) in [(34, None), (42, Some(tail)), (50, Some(tail))] {
            let mut bytes = words.to_vec();
            bytes.extend(tail.iter().flat_map(ExtendedCreateTail::to_vec));
            let mut m = MessageWriter::new(0);
            m.block_with_word_count(Command::NT_CREATE_ANDX, true, &bytes, &[], Some(count));
            let m = m.finish(&[0; HEADER]);
            let block = Block::decode(&m, Command::NT_CREATE_ANDX, HEADER).unwrap();
            assert_eq!(
                decode_nt_create_andx_response(&block).unwrap(),
                (words, tail)
            );
        }
    }

    #[test]
    fn access_modes() {
        assert_eq!(AccessMode(0x0042).access(), Some(ModeAccess::ReadWrite));
        assert_eq!(AccessMode(0x0042).sharing(), Some(ModeSharing::DenyNone));
        assert_eq!(AccessMode(0x00FF).access(), Some(ModeAccess::Fcb));
        assert_eq!(AccessMode(0x0055).access(), None);
        assert_eq!(AccessMode(0x0050).sharing(), None);
        assert!(AccessMode(0x4000).write_through());
        assert_eq!(OpenMode(0x12).exists(), Some(FileExistsOption::Truncate));
        assert!(OpenMode(0x12).create());
        assert_eq!(OpenMode(3).exists(), None);
    }
}
