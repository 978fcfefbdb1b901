//! TRANSACTION2 and NT_TRANSACT sub-commands, and TRANSACTION on pipes:
//! [MS-CIFS] 2.2.5, 2.2.6, 2.2.7.

use super::text::Text;
use super::words::words;
use crate::cursor::{Reader, Result, Writer};

/// TRANSACTION2 sub-commands, [MS-CIFS] 2.2.6.
#[derive(Debug)]
pub enum Trans2 {}

#[allow(missing_docs)] // the specification's names
impl Trans2 {
    pub const OPEN2: u16 = 0x00;
    pub const FIND_FIRST2: u16 = 0x01;
    pub const FIND_NEXT2: u16 = 0x02;
    pub const QUERY_FS_INFORMATION: u16 = 0x03;
    pub const SET_FS_INFORMATION: u16 = 0x04;
    pub const QUERY_PATH_INFORMATION: u16 = 0x05;
    pub const SET_PATH_INFORMATION: u16 = 0x06;
    pub const QUERY_FILE_INFORMATION: u16 = 0x07;
    pub const SET_FILE_INFORMATION: u16 = 0x08;
    pub const FSCTL: u16 = 0x09;
    pub const IOCTL2: u16 = 0x0A;
    pub const FIND_NOTIFY_FIRST: u16 = 0x0B;
    pub const FIND_NOTIFY_NEXT: u16 = 0x0C;
    pub const CREATE_DIRECTORY: u16 = 0x0D;
    pub const SESSION_SETUP: u16 = 0x0E;
    pub const GET_DFS_REFERRAL: u16 = 0x10;
    pub const REPORT_DFS_INCONSISTENCY: u16 = 0x11;
}

/// NT_TRANSACT functions, [MS-CIFS] 2.2.7 and [MS-SMB] 2.2.7.
#[derive(Debug)]
pub enum NtTransact {}

#[allow(missing_docs)] // the specification's names
impl NtTransact {
    pub const CREATE: u16 = 0x01;
    pub const IOCTL: u16 = 0x02;
    pub const SET_SECURITY_DESC: u16 = 0x03;
    pub const NOTIFY_CHANGE: u16 = 0x04;
    pub const RENAME: u16 = 0x05;
    pub const QUERY_SECURITY_DESC: u16 = 0x06;
    pub const QUERY_QUOTA: u16 = 0x07;
    pub const SET_QUOTA: u16 = 0x08;
}

/// TRANSACTION sub-commands on pipes, [MS-CIFS] 2.2.5.
#[derive(Debug)]
pub enum TransPipe {}

#[allow(missing_docs)] // the specification's names
impl TransPipe {
    pub const SET_NM_PIPE_STATE: u16 = 0x01;
    pub const RAW_READ_NM_PIPE: u16 = 0x11;
    pub const QUERY_NM_PIPE_STATE: u16 = 0x21;
    pub const QUERY_NM_PIPE_INFO: u16 = 0x22;
    pub const PEEK_NM_PIPE: u16 = 0x23;
    pub const TRANSACT_NM_PIPE: u16 = 0x26;
    pub const RAW_WRITE_NM_PIPE: u16 = 0x31;
    pub const READ_NM_PIPE: u16 = 0x36;
    pub const WRITE_NM_PIPE: u16 = 0x37;
    pub const WAIT_NM_PIPE: u16 = 0x53;
    pub const CALL_NM_PIPE: u16 = 0x54;
}

words! {
    /// FIND_FIRST2 parameters before the name, [MS-CIFS] 2.2.6.2.1.
    FindFirst2Parameters {
        search_attributes: u16,
        search_count: u16,
        flags: u16,
        information_level: u16,
        search_storage_type: u32,
    }
    /// FIND_FIRST2 response parameters, [MS-CIFS] 2.2.6.2.2.
    FindFirst2ResponseParameters {
        sid: u16,
        search_count: u16,
        end_of_search: u16,
        ea_error_offset: u16,
        last_name_offset: u16,
    }
    /// FIND_NEXT2 parameters before the name, [MS-CIFS] 2.2.6.3.1.
    FindNext2Parameters {
        sid: u16,
        search_count: u16,
        information_level: u16,
        resume_key: u32,
        flags: u16,
    }
    /// FIND_NEXT2 response parameters, [MS-CIFS] 2.2.6.3.2.
    FindNext2ResponseParameters {
        search_count: u16,
        end_of_search: u16,
        ea_error_offset: u16,
        last_name_offset: u16,
    }
    /// QUERY_ and SET_PATH_INFORMATION parameters before the name.
    PathInformationParameters { information_level: u16, reserved: u32 }
    /// QUERY_FILE_INFORMATION parameters.
    QueryFileInformationParameters { fid: u16, information_level: u16 }
    /// SET_FILE_INFORMATION parameters (two reserved bytes may follow).
    SetFileInformationParameters { fid: u16, information_level: u16 }
    /// QUERY_FS_INFORMATION parameters.
    QueryFsInformationParameters { information_level: u16 }
    /// SET_FS_INFORMATION parameters.
    SetFsInformationParameters { fid: u16, information_level: u16 }
    /// GET_DFS_REFERRAL parameters before the name.
    GetDfsReferralParameters { max_referral_level: u16 }
    /// NT_TRANSACT_IOCTL setup, [MS-CIFS] 2.2.7.2.1.
    IoctlSetup { function_code: u32, fid: u16, is_fsctl: u8, is_flags: u8 }
    /// NT_TRANSACT_NOTIFY_CHANGE setup, [MS-CIFS] 2.2.7.4.1.
    NotifyChangeSetup { completion_filter: u32, fid: u16, watch_tree: u8, reserved: u8 }
    /// NT_TRANSACT_RENAME parameters before the name, [MS-CIFS] 2.2.7.5.1.
    NtTransactRenameParameters { fid: u16, rename_flags: u16 }
    /// NT_TRANSACT_QUERY_ and SET_SECURITY_DESC parameters, [MS-CIFS] 2.2.7.6.1.
    SecurityDescParameters { fid: u16, reserved: u16, security_information: u32 }
    /// TRANS_PEEK_NMPIPE response parameters, [MS-CIFS] 2.2.5.5.2.
    PeekNmPipeResponse { read_data_available: u16, message_bytes_length: u16, named_pipe_state: u16 }
}

bitflags::bitflags! {
    /// FIND_FIRST2 and FIND_NEXT2 Flags.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct FindFlags: u16 {
        /// SMB_FIND_CLOSE_AFTER_REQUEST.
        const CLOSE_AFTER_REQUEST = 0x0001;
        /// SMB_FIND_CLOSE_AT_EOS.
        const CLOSE_AT_EOS = 0x0002;
        /// SMB_FIND_RETURN_RESUME_KEYS.
        const RETURN_RESUME_KEYS = 0x0004;
        /// SMB_FIND_CONTINUE_FROM_LAST.
        const CONTINUE_FROM_LAST = 0x0008;
        /// SMB_FIND_WITH_BACKUP_INTENT.
        const WITH_BACKUP_INTENT = 0x0010;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// FIND_FIRST2 parameters and pattern.
///
/// # Errors
/// [`crate::DecodeError::Short`].
pub fn decode_find_first2(parameters: &[u8], text: Text) -> Result<(FindFirst2Parameters, String)> {
    let mut r = Reader::new(parameters);
    let fixed = FindFirst2Parameters::decode(&mut r)?;
    Ok((fixed, text.read(&mut r)))
}

/// FIND_NEXT2 parameters and the name to go on behind.
///
/// # Errors
/// [`crate::DecodeError::Short`].
pub fn decode_find_next2(parameters: &[u8], text: Text) -> Result<(FindNext2Parameters, String)> {
    let mut r = Reader::new(parameters);
    let fixed = FindNext2Parameters::decode(&mut r)?;
    Ok((fixed, text.read(&mut r)))
}

/// QUERY_ or SET_PATH_INFORMATION parameters: level and name.
///
/// # Errors
/// [`crate::DecodeError::Short`].
pub fn decode_path_information(parameters: &[u8], text: Text) -> Result<(u16, String)> {
    let mut r = Reader::new(parameters);
    let fixed = PathInformationParameters::decode(&mut r)?;
    Ok((fixed.information_level, text.read(&mut r)))
}

/// CREATE_DIRECTORY parameters: the name, [MS-CIFS] 2.2.6.14.1.
///
/// # Errors
/// [`crate::DecodeError::Short`].
pub fn decode_create_directory(parameters: &[u8], text: Text) -> Result<String> {
    let mut r = Reader::new(parameters);
    r.skip(4, "Reserved")?;
    Ok(text.read(&mut r))
}

/// NT_TRANSACT_RENAME parameters: fixed part and new name.
///
/// # Errors
/// [`crate::DecodeError::Short`].
pub fn decode_nt_rename(
    parameters: &[u8],
    text: Text,
) -> Result<(NtTransactRenameParameters, String)> {
    let mut r = Reader::new(parameters);
    let fixed = NtTransactRenameParameters::decode(&mut r)?;
    Ok((fixed, text.read(&mut r)))
}

/// Parameters of a fixed part and a name that is terminated.
fn with_name(mut fixed: Vec<u8>, name: &str, text: Text) -> Vec<u8> {
    // Parameters begin at a multiple of four, so alignment can be counted from
    // their own start.
    text.write_terminated(&mut Writer::with_base(&mut fixed, 0), name);
    fixed
}

/// FIND_FIRST2 parameters, [MS-CIFS] 2.2.6.2.1.
pub fn encode_find_first2(fixed: &FindFirst2Parameters, pattern: &str, text: Text) -> Vec<u8> {
    with_name(fixed.to_vec(), pattern, text)
}

/// FIND_NEXT2 parameters, [MS-CIFS] 2.2.6.3.1.
pub fn encode_find_next2(fixed: &FindNext2Parameters, name: &str, text: Text) -> Vec<u8> {
    with_name(fixed.to_vec(), name, text)
}

/// QUERY_ or SET_PATH_INFORMATION parameters, [MS-CIFS] 2.2.6.6.1.
pub fn encode_path_information(information_level: u16, name: &str, text: Text) -> Vec<u8> {
    let fixed = PathInformationParameters {
        information_level,
        reserved: 0,
    };
    with_name(fixed.to_vec(), name, text)
}

/// CREATE_DIRECTORY parameters, [MS-CIFS] 2.2.6.14.1.
pub fn encode_create_directory(name: &str, text: Text) -> Vec<u8> {
    with_name(vec![0; 4], name, text)
}

/// GET_DFS_REFERRAL parameters, [MS-CIFS] 2.2.6.16.1.
pub fn encode_get_dfs_referral(max_referral_level: u16, name: &str, text: Text) -> Vec<u8> {
    let fixed = GetDfsReferralParameters { max_referral_level };
    with_name(fixed.to_vec(), name, text)
}

#[cfg(test)]
mod tests {
    use super::super::code_page::CodePage;
    use super::*;

    #[test]
    fn sizes_are_the_specification_s() {
        assert_eq!(FindFirst2Parameters::SIZE, 12);
        assert_eq!(FindNext2Parameters::SIZE, 12);
        assert_eq!(FindFirst2ResponseParameters::SIZE, 10);
        assert_eq!(FindNext2ResponseParameters::SIZE, 8);
        assert_eq!(PathInformationParameters::SIZE, 6);
        assert_eq!(IoctlSetup::SIZE, 8);
        assert_eq!(NotifyChangeSetup::SIZE, 8);
        assert_eq!(SecurityDescParameters::SIZE, 8);
    }

    #[test]
    fn parameters_there_and_back() {
        for unicode in [true, false] {
            let text = Text {
                unicode,
                code_page: CodePage::Cp850,
            };
            let name = r"\fö\*";
            let first = FindFirst2Parameters {
                search_attributes: 0x16,
                search_count: 6,
                flags: 2,
                information_level: 0x104,
                search_storage_type: 0,
            };
            assert_eq!(
                decode_find_first2(&encode_find_first2(&first, name, text), text),
                Ok((first, name.to_owned()))
            );
            let next = FindNext2Parameters {
                sid: 3,
                search_count: 6,
                information_level: 0x104,
                resume_key: 0,
                flags: 2,
            };
            assert_eq!(
                decode_find_next2(&encode_find_next2(&next, name, text), text),
                Ok((next, name.to_owned()))
            );
            assert_eq!(
                decode_path_information(&encode_path_information(0x107, name, text), text),
                Ok((0x107, name.to_owned()))
            );
            assert_eq!(
                decode_create_directory(&encode_create_directory(name, text), text),
                Ok(name.to_owned())
            );
            let referral = encode_get_dfs_referral(3, name, text);
            assert_eq!(referral.get(..2), Some(&[3u8, 0][..]));
        }
    }

    #[test]
    fn names_follow_the_fixed_part() {
        let text = Text {
            unicode: true,
            code_page: CodePage::Cp850,
        };
        let mut p = FindFirst2Parameters {
            search_attributes: 0x16,
            search_count: 6,
            flags: 2,
            information_level: 0x104,
            search_storage_type: 0,
        }
        .to_vec();
        p.extend(text.encode(r"\*"));
        let (fixed, name) = decode_find_first2(&p, text).unwrap();
        assert_eq!((fixed.information_level, name.as_str()), (0x104, r"\*"));
        assert!(decode_find_first2(&p[..11], text).is_err());
    }
}
