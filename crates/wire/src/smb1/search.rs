//! SEARCH, FIND, FIND_UNIQUE and FIND_CLOSE, [MS-CIFS] 2.2.4.58 to 2.2.4.61.

use super::block::Block;
use super::text::Text;
use super::words::words;
use crate::cursor::{DecodeError, Reader, Result, Writer};

words! {
    /// Request words of all four.
    SearchWords { max_count: u16, search_attributes: u16 }
    /// Response words.
    SearchResponseWords { count: u16 }
    /// [MS-CIFS] 2.2.4.58.1 SMB_Resume_Key.
    ResumeKey {
        reserved: u8,
        server_state: [u8; 16],
        client_state: [u8; 4],
    }
}

/// Bytes of one SMB_Directory_Information.
pub const ENTRY: usize = 43;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchRequest {
    /// Words.
    pub words: SearchWords,
    /// Pattern with its path; empty when a search goes on.
    pub file_name: String,
    /// Where to go on.
    pub resume_key: Option<ResumeKey>,
}

impl SearchRequest {
    /// Decodes a request.
    ///
    /// # Errors
    /// [`DecodeError`] for wrong formats and key lengths other than 0 and 21.
    pub fn decode(block: &Block<'_>, text: Text) -> Result<Self> {
        block.expect_words(&[2])?;
        let words = SearchWords::decode(&mut block.words())?;
        let mut r = block.bytes();
        let file_name = text.read_formatted(&mut r, "FileName")?;
        if r.remaining() == 0 {
            return Ok(Self {
                words,
                file_name,
                resume_key: None,
            });
        }
        if r.u8("BufferFormat2")? != 5 {
            return Err(DecodeError::Invalid {
                field: "BufferFormat2",
                reason: "not 0x05",
            });
        }
        let resume_key = match usize::from(r.u16("ResumeKeyLength")?) {
            0 => None,
            ResumeKey::SIZE => Some(ResumeKey::decode(&mut r)?),
            _ => {
                return Err(DecodeError::Invalid {
                    field: "ResumeKeyLength",
                    reason: "not 21",
                });
            }
        };
        Ok(Self {
            words,
            file_name,
            resume_key,
        })
    }

    /// Words and bytes.
    pub fn encode(&self, text: Text, block_start: usize) -> (Vec<u8>, Vec<u8>) {
        let start = block_start + 1 + 4 + 2;
        let mut bytes = vec![0; start];
        let mut w = Writer::with_base(&mut bytes, 0);
        text.write_formatted(&mut w, &self.file_name);
        w.u8(5);
        match &self.resume_key {
            None => w.u16(0),
            Some(key) => {
                w.u16(21);
                key.encode(&mut w);
            }
        }
        (self.words.to_vec(), bytes.split_off(start))
    }
}

/// One entry of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryInformation {
    /// Where a search behind this entry goes on.
    pub resume_key: ResumeKey,
    /// FileAttributes.
    pub file_attributes: u8,
    /// LastWriteTime.
    pub last_write_time: u16,
    /// LastWriteDate.
    pub last_write_date: u16,
    /// FileSize.
    pub file_size: u32,
    /// The 8.3 name.
    pub file_name: [u8; 13],
}

impl DirectoryInformation {
    /// A name as the thirteen bytes have it: ended and filled with zeros.
    pub fn name_bytes(name: &[u8]) -> [u8; 13] {
        let mut out = [0; 13];
        for (place, byte) in out.iter_mut().zip(name.iter().take(12)) {
            *place = *byte;
        }
        out
    }

    /// Appends the 43 bytes.
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.resume_key.encode(w);
        w.u8(self.file_attributes);
        w.u16(self.last_write_time);
        w.u16(self.last_write_date);
        w.u32(self.file_size);
        w.bytes(&self.file_name);
    }

    /// Reads the 43 bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    pub fn decode(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            resume_key: ResumeKey::decode(r)?,
            file_attributes: r.u8("FileAttributes")?,
            last_write_time: r.u16("LastWriteTime")?,
            last_write_date: r.u16("LastWriteDate")?,
            file_size: r.u32("FileSize")?,
            file_name: r.array("FileName")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::{Chain, MessageWriter};
    use super::super::code_page::CodePage;
    use super::super::{Command, HEADER};
    use super::*;

    #[test]
    fn requests_there_and_back() {
        let key = ResumeKey {
            reserved: 1,
            server_state: [2; 16],
            client_state: [3; 4],
        };
        for unicode in [true, false] {
            for resume_key in [None, Some(key)] {
                let text = Text {
                    unicode,
                    code_page: CodePage::Cp850,
                };
                let request = SearchRequest {
                    words: SearchWords {
                        max_count: 5,
                        search_attributes: 0x16,
                    },
                    file_name: r"\*.*".to_owned(),
                    resume_key,
                };
                let (words, bytes) = request.encode(text, HEADER);
                let mut m = MessageWriter::new(0);
                m.block(Command::SEARCH, false, &words, &bytes);
                let m = m.finish(&[0; HEADER]);
                let block = Chain::new(&m, Command::SEARCH, 1).next().unwrap().unwrap();
                assert_eq!(SearchRequest::decode(&block, text).unwrap(), request);
            }
        }
    }

    #[test]
    fn entries_have_43_bytes() {
        let entry = DirectoryInformation {
            resume_key: ResumeKey {
                reserved: 1,
                server_state: [2; 16],
                client_state: [3; 4],
            },
            file_attributes: 0x20,
            last_write_time: 1,
            last_write_date: 2,
            file_size: 3,
            file_name: DirectoryInformation::name_bytes(b"README.TXT"),
        };
        let mut out = Vec::new();
        entry.encode(&mut Writer::new(&mut out));
        assert_eq!(out.len(), ENTRY);
        assert_eq!(
            DirectoryInformation::decode(&mut Reader::new(&out)).unwrap(),
            entry
        );
        assert_eq!(&out[30..], b"README.TXT\0\0\0");
    }
}
