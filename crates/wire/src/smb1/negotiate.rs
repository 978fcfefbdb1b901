//! [MS-CIFS] 2.2.4.52 and [MS-SMB] 2.2.4.5 SMB_COM_NEGOTIATE.

use super::text::Text;
use super::words::words;
use crate::cursor::{DecodeError, Reader, Result, Writer};
use crate::{FileTime, Guid};

bitflags::bitflags! {
    /// [MS-SMB] 2.2.4.5.2.1 Capabilities.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Capabilities: u32 {
        /// CAP_RAW_MODE.
        const RAW_MODE = 0x0000_0001;
        /// CAP_MPX_MODE.
        const MPX_MODE = 0x0000_0002;
        /// CAP_UNICODE.
        const UNICODE = 0x0000_0004;
        /// CAP_LARGE_FILES.
        const LARGE_FILES = 0x0000_0008;
        /// CAP_NT_SMBS.
        const NT_SMBS = 0x0000_0010;
        /// CAP_RPC_REMOTE_APIS.
        const RPC_REMOTE_APIS = 0x0000_0020;
        /// CAP_STATUS32.
        const STATUS32 = 0x0000_0040;
        /// CAP_LEVEL_II_OPLOCKS.
        const LEVEL_II_OPLOCKS = 0x0000_0080;
        /// CAP_LOCK_AND_READ.
        const LOCK_AND_READ = 0x0000_0100;
        /// CAP_NT_FIND.
        const NT_FIND = 0x0000_0200;
        /// CAP_DFS.
        const DFS = 0x0000_1000;
        /// CAP_INFOLEVEL_PASSTHRU.
        const INFOLEVEL_PASSTHRU = 0x0000_2000;
        /// CAP_LARGE_READX.
        const LARGE_READX = 0x0000_4000;
        /// CAP_LARGE_WRITEX.
        const LARGE_WRITEX = 0x0000_8000;
        /// CAP_LWIO.
        const LWIO = 0x0001_0000;
        /// CAP_UNIX.
        const UNIX = 0x0080_0000;
        /// CAP_DYNAMIC_REAUTH.
        const DYNAMIC_REAUTH = 0x2000_0000;
        /// CAP_EXTENDED_SECURITY.
        const EXTENDED_SECURITY = 0x8000_0000;
        /// CAP__.
        /// Bits without a name are kept.
        const _ = !0;
    }

    /// [MS-CIFS] 2.2.4.52.2 SecurityMode.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct SecurityMode: u8 {
        /// NEGOTIATE_USER_SECURITY.
        const USER = 0x01;
        /// NEGOTIATE_ENCRYPT_PASSWORDS: challenge and response.
        const ENCRYPT_PASSWORDS = 0x02;
        /// NEGOTIATE_SECURITY_SIGNATURES_ENABLED.
        const SIGNATURES_ENABLED = 0x04;
        /// NEGOTIATE_SECURITY_SIGNATURES_REQUIRED.
        const SIGNATURES_REQUIRED = 0x08;
    }
}

/// Most dialects of one request that are looked at.
pub const MAX_DIALECTS: usize = 64;
/// DialectIndex of a server that speaks none of them.
pub const NO_DIALECT: u16 = 0xFFFF;

/// The dialect string of NT LM 0.12.
pub const NT_LM_0_12: &str = "NT LM 0.12";
/// [MS-SMB2] 3.2.4.2.2.1: SMB 2.0.2.
pub const SMB_2_002: &str = "SMB 2.002";
/// [MS-SMB2] 3.2.4.2.2.1: something behind 2.0.2.
pub const SMB_2_WILDCARD: &str = "SMB 2.???";

/// Decodes the dialect strings of a request, in order.
///
/// # Errors
/// [`DecodeError`] when the list is malformed or longer than [`MAX_DIALECTS`].
pub fn decode_dialects(bytes: &[u8]) -> Result<Vec<&str>> {
    let mut r = Reader::new(bytes);
    let mut out = Vec::new();
    while r.remaining() > 0 {
        if r.u8("BufferFormat")? != 2 {
            return Err(DecodeError::Invalid {
                field: "BufferFormat",
                reason: "not 0x02",
            });
        }
        let rest = r.rest();
        let length = rest
            .iter()
            .position(|b| *b == 0)
            .ok_or(DecodeError::Invalid {
                field: "DialectString",
                reason: "not terminated",
            })?;
        let name = r.take(length, "DialectString")?;
        r.skip(1, "DialectString")?;
        if out.len() == MAX_DIALECTS {
            return Err(DecodeError::Invalid {
                field: "Dialects",
                reason: "too many",
            });
        }
        out.push(core::str::from_utf8(name).unwrap_or("?"));
    }
    Ok(out)
}

/// The bytes of a request that offers `dialects`.
pub fn encode_dialects(dialects: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for dialect in dialects {
        out.push(2);
        out.extend_from_slice(dialect.as_bytes());
        out.push(0);
    }
    out
}

words! {
    /// [MS-CIFS] 2.2.4.52.2, the 17 words of an NT LM 0.12 answer.
    NtResponse {
        dialect_index: u16,
        security_mode: u8,
        max_mpx_count: u16,
        max_number_vcs: u16,
        max_buffer_size: u32,
        max_raw_size: u32,
        session_key: u32,
        capabilities: u32,
        system_time: FileTime,
        server_time_zone: i16,
        challenge_length: u8,
    }
    /// [MS-CIFS] 2.2.4.52.2, the 13 words of a LAN Manager answer.
    LanmanResponse {
        dialect_index: u16,
        security_mode: u16,
        max_buffer_size: u16,
        max_mpx_count: u16,
        max_number_vcs: u16,
        raw_mode: u16,
        session_key: u32,
        server_time: u16,
        server_date: u16,
        server_time_zone: i16,
        encryption_key_length: u16,
        reserved: u16,
    }
}

/// The bytes of an NT LM 0.12 answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NtResponseBytes {
    /// Without extended security: challenge, domain and server name. The
    /// strings are Unicode when the request was, and are not aligned.
    Classic {
        /// The eight challenge bytes.
        challenge: Vec<u8>,
        /// DomainName.
        domain: String,
        /// ServerName.
        server: String,
    },
    /// With extended security.
    Extended {
        /// ServerGUID.
        guid: Guid,
        /// SecurityBlob.
        blob: Vec<u8>,
    },
}

impl NtResponseBytes {
    /// Appends the bytes.
    pub fn encode(&self, text: Text, w: &mut Writer<'_>) {
        match self {
            Self::Classic {
                challenge,
                domain,
                server,
            } => {
                w.bytes(challenge);
                for name in [domain, server] {
                    text.write(w, name);
                    w.zeros(text.terminator());
                }
            }
            Self::Extended { guid, blob } => {
                w.bytes(&guid.0);
                w.bytes(blob);
            }
        }
    }

    /// Decodes the bytes of an answer whose words are `words`.
    ///
    /// # Errors
    /// [`DecodeError::Short`] when challenge or guid are cut short.
    pub fn decode(words: &NtResponse, text: Text, bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let capabilities = Capabilities::from_bits_retain(words.capabilities);
        if capabilities.contains(Capabilities::EXTENDED_SECURITY) {
            return Ok(Self::Extended {
                guid: Guid(r.array("ServerGUID")?),
                blob: r.rest().to_vec(),
            });
        }
        let challenge = r
            .take(usize::from(words.challenge_length), "Challenge")?
            .to_vec();
        // The names are not aligned, so the reader begins anew behind the challenge.
        let mut r = Reader::new(r.rest());
        Ok(Self::Classic {
            challenge,
            domain: text.read(&mut r),
            server: text.read(&mut r),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::code_page::CodePage;
    use super::*;

    #[test]
    fn dialect_lists() {
        let bytes = encode_dialects(&["PC NETWORK PROGRAM 1.0", NT_LM_0_12]);
        assert_eq!(
            decode_dialects(&bytes).unwrap(),
            ["PC NETWORK PROGRAM 1.0", NT_LM_0_12]
        );
        assert!(decode_dialects(b"\x03NT LM 0.12\0").is_err());
        assert!(decode_dialects(b"\x02NT LM 0.12").is_err());
        assert!(decode_dialects(&b"\x02a\0".repeat(MAX_DIALECTS)).is_ok());
        assert!(decode_dialects(&b"\x02a\0".repeat(MAX_DIALECTS + 1)).is_err());
    }

    #[test]
    fn classic_bytes_there_and_back() {
        let words = NtResponse {
            dialect_index: 0,
            security_mode: 3,
            max_mpx_count: 50,
            max_number_vcs: 1,
            max_buffer_size: 16644,
            max_raw_size: 65536,
            session_key: 0,
            capabilities: 0xF3FD,
            system_time: FileTime(1),
            server_time_zone: -60,
            challenge_length: 8,
        };
        assert_eq!(NtResponse::SIZE, 34);
        assert_eq!(LanmanResponse::SIZE, 26);
        let bytes = NtResponseBytes::Classic {
            challenge: b"12345678".to_vec(),
            domain: "WORK".to_owned(),
            server: "BOX".to_owned(),
        };
        for unicode in [true, false] {
            let text = Text {
                unicode,
                code_page: CodePage::Cp850,
            };
            let mut out = Vec::new();
            bytes.encode(text, &mut Writer::new(&mut out));
            assert_eq!(NtResponseBytes::decode(&words, text, &out).unwrap(), bytes);
        }
    }
}
