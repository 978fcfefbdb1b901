//! Tree connection and logoff: [MS-CIFS] 2.2.4.50, 2.2.4.51, 2.2.4.54, 2.2.4.55
//! and [MS-SMB] 2.2.4.7.

use super::block::Block;
use super::text::Text;
use super::words::words;
use crate::cursor::{DecodeError, Reader, Result, Writer};

words! {
    /// TREE_CONNECT_ANDX request.
    TreeConnectAndxWords { flags: u16, password_length: u16 }
    /// TREE_CONNECT_ANDX response, 3 words.
    TreeConnectAndxResponseWords { optional_support: u16 }
    /// TREE_CONNECT_ANDX response, 7 words, [MS-SMB] 2.2.4.7.2.
    TreeConnectAndxExtendedResponseWords {
        optional_support: u16,
        maximal_share_access_rights: u32,
        guest_maximal_share_access_rights: u32,
    }
    /// TREE_CONNECT response.
    TreeConnectResponseWords { max_buffer_size: u16, tid: u16 }
}

/// TREE_CONNECT_ANDX_DISCONNECT_TID.
pub const FLAG_DISCONNECT_TID: u16 = 0x0001;
/// TREE_CONNECT_ANDX_EXTENDED_SIGNATURES.
pub const FLAG_EXTENDED_SIGNATURES: u16 = 0x0004;
/// TREE_CONNECT_ANDX_EXTENDED_RESPONSE.
pub const FLAG_EXTENDED_RESPONSE: u16 = 0x0008;
/// SMB_SUPPORT_SEARCH_BITS.
pub const SUPPORT_SEARCH_BITS: u16 = 0x0001;
/// SMB_SHARE_IS_IN_DFS.
pub const SHARE_IS_IN_DFS: u16 = 0x0002;
/// SMB_EXTENDED_SIGNATURES.
pub const EXTENDED_SIGNATURES: u16 = 0x0020;

/// What is asked of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeConnectRequest {
    /// Flags; zero for TREE_CONNECT.
    pub flags: u16,
    /// `\\server\share`, or only the share.
    pub path: String,
    /// `A:`, `LPT1:`, `IPC`, `COMM` or `?????`.
    pub service: String,
}

impl TreeConnectRequest {
    /// Decodes TREE_CONNECT_ANDX. The password is of no use with user-level
    /// security and is passed over.
    ///
    /// # Errors
    /// [`DecodeError`] for a wrong word count and a password outside the bytes.
    pub fn decode_andx(block: &Block<'_>, text: Text) -> Result<Self> {
        block.expect_words(&[4])?;
        let words = TreeConnectAndxWords::decode(&mut block.words_after_andx())?;
        let mut r = block.bytes();
        r.skip(usize::from(words.password_length), "Password")?;
        let path = text.read(&mut r);
        let service = text.oem().read(&mut r);
        Ok(Self {
            flags: words.flags,
            path,
            service,
        })
    }

    /// Decodes TREE_CONNECT: path, password and service, each behind 0x04.
    ///
    /// # Errors
    /// [`DecodeError`] when a format byte is missing.
    pub fn decode_core(block: &Block<'_>, text: Text) -> Result<Self> {
        let mut r = block.bytes();
        let path = text.read_formatted(&mut r, "Path")?;
        text.oem().read_formatted(&mut r, "Password")?;
        let service = text.oem().read_formatted(&mut r, "Service")?;
        Ok(Self {
            flags: 0,
            path,
            service,
        })
    }

    /// Words and bytes of a TREE_CONNECT_ANDX with a one-byte password.
    pub fn encode_andx(&self, text: Text, block_start: usize) -> (Vec<u8>, Vec<u8>) {
        let words = TreeConnectAndxWords {
            flags: self.flags,
            password_length: 1,
        }
        .to_vec();
        let bytes_start = block_start + 1 + 8 + 2;
        let mut bytes = vec![0; bytes_start];
        let mut w = Writer::with_base(&mut bytes, 0);
        w.u8(0);
        text.write_terminated(&mut w, &self.path);
        text.oem().write_terminated(&mut w, &self.service);
        (words, bytes.split_off(bytes_start))
    }

    /// The share's name: the last component of the path.
    ///
    /// # Errors
    /// [`DecodeError`] when there is none.
    pub fn share(&self) -> Result<&str> {
        let path = self.path.trim_end_matches(['\\', '/']);
        path.rsplit(['\\', '/'])
            .next()
            .filter(|s| !s.is_empty())
            .ok_or(DecodeError::Invalid {
                field: "Path",
                reason: "names no share",
            })
    }
}

/// What a TREE_CONNECT_ANDX response tells, [MS-CIFS] 2.2.4.55.2 and [MS-SMB] 2.2.4.7.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeConnectResponse {
    /// OptionalSupport; old servers leave it out.
    pub optional_support: u16,
    /// MaximalShareAccessRights of the extended form.
    pub maximal_access: Option<u32>,
    /// `A:`, `LPT1:`, `IPC` or `COMM`.
    pub service: String,
    /// NativeFileSystem.
    pub native_file_system: String,
}

impl TreeConnectResponse {
    /// Decodes a response of 2, 3 or 7 words.
    ///
    /// # Errors
    /// [`DecodeError`] for other word counts.
    pub fn decode(block: &Block<'_>, text: Text) -> Result<Self> {
        block.expect_words(&[2, 3, 7])?;
        let mut w = block.words_after_andx();
        let optional_support = match w.remaining() {
            0 => 0,
            _ => w.u16("OptionalSupport")?,
        };
        let maximal_access = match w.remaining() {
            0 => None,
            _ => Some(w.u32("MaximalShareAccessRights")?),
        };
        let mut r: Reader<'_> = block.bytes();
        let service = text.oem().read(&mut r);
        Ok(Self {
            optional_support,
            maximal_access,
            service,
            native_file_system: text.read(&mut r),
        })
    }
}

/// Bytes of a TREE_CONNECT_ANDX response: the service (always a code page
/// string) and the file system's name, which will stand at `bytes_start`.
pub fn encode_response_bytes(
    text: Text,
    bytes_start: usize,
    service: &str,
    file_system: &str,
) -> Vec<u8> {
    let mut bytes = vec![0; bytes_start];
    let mut w = Writer::with_base(&mut bytes, 0);
    text.oem().write_terminated(&mut w, service);
    text.write_terminated(&mut w, file_system);
    bytes.split_off(bytes_start)
}

#[cfg(test)]
mod tests {
    use super::super::block::{Chain, MessageWriter};
    use super::super::code_page::CodePage;
    use super::super::{Command, HEADER};
    use super::*;

    #[test]
    fn andx_there_and_back() {
        for unicode in [true, false] {
            let text = Text {
                unicode,
                code_page: CodePage::Cp850,
            };
            let request = TreeConnectRequest {
                flags: FLAG_EXTENDED_RESPONSE,
                path: r"\\box\Share".to_owned(),
                service: "?????".to_owned(),
            };
            let (words, bytes) = request.encode_andx(text, HEADER);
            let mut m = MessageWriter::new(0);
            m.block(Command::TREE_CONNECT_ANDX, true, &words, &bytes);
            let message = m.finish(&[0; HEADER]);
            let block = Chain::new(&message, Command::TREE_CONNECT_ANDX, 1)
                .next()
                .unwrap()
                .unwrap();
            assert_eq!(
                TreeConnectRequest::decode_andx(&block, text).unwrap(),
                request
            );
            assert_eq!(request.share().unwrap(), "Share");
        }
    }

    #[test]
    fn responses_of_all_forms() {
        for unicode in [true, false] {
            let text = Text {
                unicode,
                code_page: CodePage::Cp850,
            };
            let extended = TreeConnectAndxExtendedResponseWords {
                optional_support: SUPPORT_SEARCH_BITS,
                maximal_share_access_rights: 0x001F_01FF,
                guest_maximal_share_access_rights: 0,
            };
            let plain = TreeConnectAndxResponseWords {
                optional_support: SUPPORT_SEARCH_BITS,
            };
            for (words, support, maximal) in [
                (extended.to_vec(), 1, Some(0x001F_01FF)),
                (plain.to_vec(), 1, None),
                (Vec::new(), 0, None),
            ] {
                let start = HEADER + 1 + 4 + words.len() + 2;
                let bytes = encode_response_bytes(text, start, "A:", "NTFS");
                let mut m = MessageWriter::new(0);
                m.block(Command::TREE_CONNECT_ANDX, true, &words, &bytes);
                let message = m.finish(&[0; HEADER]);
                let block = Block::decode(&message, Command::TREE_CONNECT_ANDX, HEADER).unwrap();
                let got = TreeConnectResponse::decode(&block, text).unwrap();
                assert_eq!(
                    got,
                    TreeConnectResponse {
                        optional_support: support,
                        maximal_access: maximal,
                        service: "A:".to_owned(),
                        native_file_system: "NTFS".to_owned(),
                    }
                );
            }
        }
    }

    #[test]
    fn share_names_of_odd_paths() {
        let share = |p: &str| {
            let r = TreeConnectRequest {
                flags: 0,
                path: p.to_owned(),
                service: String::new(),
            };
            r.share().map(str::to_owned).ok()
        };
        assert_eq!(share("public").as_deref(), Some("public"));
        assert_eq!(share(r"\\10.0.0.1\public\").as_deref(), Some("public"));
        assert_eq!(share("//box/public").as_deref(), Some("public"));
        assert_eq!(share(r"\\"), None);
    }
}
