//! [MS-CIFS] 2.2.4.53 and [MS-SMB] 2.2.4.6 SMB_COM_SESSION_SETUP_ANDX.

use super::block::Block;
use super::text::Text;
use super::words::words;
use crate::cursor::{DecodeError, Reader, Result, Writer};

words! {
    /// 13 words: NT LM 0.12 without extended security.
    ClassicWords {
        max_buffer_size: u16,
        max_mpx_count: u16,
        vc_number: u16,
        session_key: u32,
        oem_password_len: u16,
        unicode_password_len: u16,
        reserved: u32,
        capabilities: u32,
    }
    /// 12 words: extended security.
    ExtendedWords {
        max_buffer_size: u16,
        max_mpx_count: u16,
        vc_number: u16,
        session_key: u32,
        security_blob_length: u16,
        reserved: u32,
        capabilities: u32,
    }
    /// 10 words: LAN Manager dialects.
    LanmanWords {
        max_buffer_size: u16,
        max_mpx_count: u16,
        vc_number: u16,
        session_key: u32,
        password_length: u16,
        reserved: u32,
    }
}

/// Action bit: the user was logged on as a guest.
pub const ACTION_GUEST: u16 = 0x0001;
/// Action bit: the LM session key is in use.
pub const ACTION_USE_LANMAN_KEY: u16 = 0x0002;

/// Names of a classic request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// AccountName.
    pub account: String,
    /// PrimaryDomain.
    pub domain: String,
    /// NativeOS.
    pub native_os: String,
    /// NativeLanMan.
    pub native_lan_man: String,
}

/// A request in one of its three forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionSetupRequest<'a> {
    /// 13 words.
    Classic {
        /// Words.
        words: ClassicWords,
        /// OEMPassword: the LM response.
        oem_password: &'a [u8],
        /// UnicodePassword: the NT response.
        unicode_password: &'a [u8],
        /// Names.
        names: Names,
    },
    /// 12 words.
    Extended {
        /// Words.
        words: ExtendedWords,
        /// SecurityBlob.
        blob: &'a [u8],
        /// NativeOS.
        native_os: String,
        /// NativeLanMan.
        native_lan_man: String,
    },
    /// 10 words.
    Lanman {
        /// Words.
        words: LanmanWords,
        /// Password: an LM response or plain text.
        password: &'a [u8],
        /// Names.
        names: Names,
    },
}

impl<'a> SessionSetupRequest<'a> {
    /// Decodes a request by its word count.
    ///
    /// # Errors
    /// [`DecodeError`] for other word counts and lengths outside the bytes.
    pub fn decode(block: &Block<'a>, text: Text) -> Result<Self> {
        let mut w = block.words_after_andx();
        let mut r = block.bytes();
        match block.word_count() {
            13 => {
                let words = ClassicWords::decode(&mut w)?;
                let oem_password = r.take(usize::from(words.oem_password_len), "OEMPassword")?;
                let unicode_password =
                    r.take(usize::from(words.unicode_password_len), "UnicodePassword")?;
                Ok(Self::Classic {
                    words,
                    oem_password,
                    unicode_password,
                    names: names(&mut r, text),
                })
            }
            12 => {
                let words = ExtendedWords::decode(&mut w)?;
                let blob = r.take(usize::from(words.security_blob_length), "SecurityBlob")?;
                let native_os = text.read(&mut r);
                let native_lan_man = text.read(&mut r);
                Ok(Self::Extended {
                    words,
                    blob,
                    native_os,
                    native_lan_man,
                })
            }
            10 => {
                let words = LanmanWords::decode(&mut w)?;
                let password = r.take(usize::from(words.password_length), "AccountPassword")?;
                Ok(Self::Lanman {
                    words,
                    password,
                    names: names(&mut r, text),
                })
            }
            _ => Err(DecodeError::Invalid {
                field: "WordCount",
                reason: "not 10, 12 or 13",
            }),
        }
    }

    /// Words (without the AndX ones) and bytes; `bytes_start` is where the
    /// bytes will stand, counted from the header.
    pub fn encode(&self, text: Text, bytes_start: usize) -> (Vec<u8>, Vec<u8>) {
        let mut bytes = vec![0; bytes_start];
        let mut w = Writer::with_base(&mut bytes, 0);
        let words = match self {
            Self::Classic {
                words,
                oem_password,
                unicode_password,
                names,
            } => {
                w.bytes(oem_password);
                w.bytes(unicode_password);
                write_names(&mut w, text, names);
                words.to_vec()
            }
            Self::Extended {
                words,
                blob,
                native_os,
                native_lan_man,
            } => {
                w.bytes(blob);
                text.write_terminated(&mut w, native_os);
                text.write_terminated(&mut w, native_lan_man);
                words.to_vec()
            }
            Self::Lanman {
                words,
                password,
                names,
            } => {
                w.bytes(password);
                write_names(&mut w, text, names);
                words.to_vec()
            }
        };
        (words, bytes.split_off(bytes_start))
    }
}

fn names(r: &mut Reader<'_>, text: Text) -> Names {
    Names {
        account: text.read(r),
        domain: text.read(r),
        native_os: text.read(r),
        native_lan_man: text.read(r),
    }
}

fn write_names(w: &mut Writer<'_>, text: Text, names: &Names) {
    for name in [
        &names.account,
        &names.domain,
        &names.native_os,
        &names.native_lan_man,
    ] {
        text.write_terminated(w, name);
    }
}

/// [MS-CIFS] 2.2.4.53.2 and [MS-SMB] 2.2.4.6.2: the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSetupResponse {
    /// Action.
    pub action: u16,
    /// SecurityBlob: its presence makes it the four-word form.
    pub blob: Option<Vec<u8>>,
    /// NativeOS.
    pub native_os: String,
    /// NativeLanMan.
    pub native_lan_man: String,
    /// PrimaryDomain.
    pub primary_domain: String,
}

impl SessionSetupResponse {
    /// Words behind the AndX ones, and bytes that will stand at `bytes_start`
    /// from the header. The extended form has no domain of its own in the
    /// specification, but Windows and others send one; clients pass over it.
    pub fn encode(&self, text: Text, block_start: usize) -> (Vec<u8>, Vec<u8>) {
        let mut words = self.action.to_le_bytes().to_vec();
        if let Some(blob) = &self.blob {
            words.extend(super::block::byte_count(blob.len()).to_le_bytes());
        }
        let bytes_start = block_start + 1 + 4 + words.len() + 2;
        let mut bytes = vec![0; bytes_start];
        let mut w = Writer::with_base(&mut bytes, 0);
        if let Some(blob) = &self.blob {
            w.bytes(blob);
        }
        for name in [&self.native_os, &self.native_lan_man, &self.primary_domain] {
            text.write_terminated(&mut w, name);
        }
        (words, bytes.split_off(bytes_start))
    }

    /// Decodes an answer.
    ///
    /// # Errors
    /// [`DecodeError`] for word counts other than 3 and 4 and a blob outside the bytes.
    pub fn decode(block: &Block<'_>, text: Text) -> Result<Self> {
        block.expect_words(&[3, 4])?;
        let mut w = block.words_after_andx();
        let mut r = block.bytes();
        let action = w.u16("Action")?;
        let blob = match block.word_count() {
            4 => {
                let length = usize::from(w.u16("SecurityBlobLength")?);
                Some(r.take(length, "SecurityBlob")?.to_vec())
            }
            _ => None,
        };
        Ok(Self {
            action,
            blob,
            native_os: text.read(&mut r),
            native_lan_man: text.read(&mut r),
            primary_domain: text.read(&mut r),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::{Chain, MessageWriter};
    use super::super::code_page::CodePage;
    use super::super::{Command, HEADER};
    use super::*;

    fn there_and_back(request: &SessionSetupRequest<'_>, text: Text, word_count: usize) {
        let (words, bytes) = request.encode(text, HEADER + 1 + 2 * word_count + 2);
        let mut m = MessageWriter::new(0);
        m.block(Command::SESSION_SETUP_ANDX, true, &words, &bytes);
        let message = m.finish(&[0; HEADER]);
        let block = Chain::new(&message, Command::SESSION_SETUP_ANDX, 1)
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(block.word_count(), word_count);
        assert_eq!(&SessionSetupRequest::decode(&block, text).unwrap(), request);
    }

    #[test]
    fn three_forms() {
        let names = Names {
            account: "user".to_owned(),
            domain: "dom".to_owned(),
            native_os: "Unix".to_owned(),
            native_lan_man: "X".to_owned(),
        };
        for unicode in [true, false] {
            let text = Text {
                unicode,
                code_page: CodePage::Cp850,
            };
            let classic = SessionSetupRequest::Classic {
                words: ClassicWords {
                    max_buffer_size: 1,
                    max_mpx_count: 2,
                    vc_number: 3,
                    session_key: 4,
                    oem_password_len: 3,
                    unicode_password_len: 4,
                    reserved: 0,
                    capabilities: 5,
                },
                oem_password: b"abc",
                unicode_password: b"defg",
                names: names.clone(),
            };
            there_and_back(&classic, text, 13);
            let extended = SessionSetupRequest::Extended {
                words: ExtendedWords {
                    max_buffer_size: 1,
                    max_mpx_count: 2,
                    vc_number: 3,
                    session_key: 4,
                    security_blob_length: 3,
                    reserved: 0,
                    capabilities: 5,
                },
                blob: b"abc",
                native_os: "o".to_owned(),
                native_lan_man: "l".to_owned(),
            };
            there_and_back(&extended, text, 12);
            let lanman = SessionSetupRequest::Lanman {
                words: LanmanWords {
                    max_buffer_size: 1,
                    max_mpx_count: 2,
                    vc_number: 3,
                    session_key: 4,
                    password_length: 2,
                    reserved: 0,
                },
                password: b"pw",
                names: names.clone(),
            };
            there_and_back(&lanman, text, 10);
        }
    }

    #[test]
    fn a_password_outside_the_bytes_is_refused() {
        let words = ClassicWords {
            max_buffer_size: 0,
            max_mpx_count: 0,
            vc_number: 0,
            session_key: 0,
            oem_password_len: 24,
            unicode_password_len: 24,
            reserved: 0,
            capabilities: 0,
        };
        let mut m = MessageWriter::new(0);
        m.block(Command::SESSION_SETUP_ANDX, true, &words.to_vec(), &[0; 47]);
        let message = m.finish(&[0; HEADER]);
        let block = Chain::new(&message, Command::SESSION_SETUP_ANDX, 1)
            .next()
            .unwrap()
            .unwrap();
        let text = Text {
            unicode: false,
            code_page: CodePage::Cp850,
        };
        assert!(SessionSetupRequest::decode(&block, text).is_err());
    }

    #[test]
    fn answers_there_and_back() {
        for blob in [None, Some(b"token".to_vec())] {
            let response = SessionSetupResponse {
                action: 1,
                blob,
                native_os: "a".to_owned(),
                native_lan_man: "bc".to_owned(),
                primary_domain: "D".to_owned(),
            };
            let text = Text {
                unicode: true,
                code_page: CodePage::Cp850,
            };
            let mut m = MessageWriter::new(0);
            let (words, bytes) = response.encode(text, HEADER);
            m.block(Command::SESSION_SETUP_ANDX, true, &words, &bytes);
            let message = m.finish(&[0; HEADER]);
            let block = Chain::new(&message, Command::SESSION_SETUP_ANDX, 1)
                .next()
                .unwrap()
                .unwrap();
            assert_eq!(
                SessionSetupResponse::decode(&block, text).unwrap(),
                response
            );
        }
    }
}
