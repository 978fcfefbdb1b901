//! Parameter words and data bytes behind the header, and chains of them.

use super::Command;
use super::header::HEADER;
use crate::cursor::{DecodeError, Reader, Result, Writer};

/// "No further command" in AndXCommand, [MS-CIFS] 2.2.3.4.
pub const NO_ANDX: u8 = 0xFF;

/// One command's words and bytes, [MS-CIFS] 2.2.3.2 and 2.2.3.3. All offsets
/// count from the first byte of the header.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// Command code.
    pub command: u8,
    /// The whole message.
    pub message: &'a [u8],
    /// Where WordCount stands.
    pub start: usize,
    /// The words.
    pub words: &'a [u8],
    /// Where the bytes begin.
    pub bytes_start: usize,
    /// Where the bytes end, as ByteCount tells.
    pub bytes_end: usize,
}

impl<'a> Block<'a> {
    /// Takes the block at `start` apart.
    ///
    /// # Errors
    /// [`DecodeError::Short`] when words or bytes do not lie inside the message.
    pub fn decode(message: &'a [u8], command: u8, start: usize) -> Result<Self> {
        let mut r = Reader::new(message);
        r.seek(start, "WordCount")?;
        let words = usize::from(r.u8("WordCount")?) * 2;
        let words = r.take(words, "Words")?;
        let count = usize::from(r.u16("ByteCount")?);
        let bytes_start = r.position();
        // A large WRITE has more bytes than 16 bits can count; a few old
        // clients count none although there are some. Both find their data by
        // offsets that are checked against the message, not against ByteCount.
        r.take(count, "Bytes")?;
        Ok(Self {
            command,
            message,
            start,
            words,
            bytes_start,
            bytes_end: bytes_start.saturating_add(count),
        })
    }

    /// WordCount.
    pub fn word_count(&self) -> usize {
        self.words.len() / 2
    }

    /// A reader of the words.
    pub fn words(&self) -> Reader<'a> {
        Reader::new(self.words)
    }

    /// A reader of the words behind AndXCommand, AndXReserved and AndXOffset.
    pub fn words_after_andx(&self) -> Reader<'a> {
        Reader::new(self.words.get(4..).unwrap_or_default())
    }

    /// Checks that the word count is one of `allowed`.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] when it is not.
    pub fn expect_words(&self, allowed: &[usize]) -> Result<()> {
        if allowed.contains(&self.word_count()) {
            Ok(())
        } else {
            Err(DecodeError::Invalid {
                field: "WordCount",
                reason: "not one this command has",
            })
        }
    }

    /// A reader of the bytes whose positions are offsets from the header.
    pub fn bytes(&self) -> Reader<'a> {
        let inside = self.message.get(..self.bytes_end).unwrap_or(self.message);
        let mut r = Reader::new(inside);
        // `decode` saw that the bytes lie inside.
        let _ = r.seek(self.bytes_start, "Bytes");
        r
    }

    /// The bytes.
    pub fn byte_slice(&self) -> &'a [u8] {
        self.message
            .get(self.bytes_start..self.bytes_end)
            .unwrap_or_default()
    }

    /// `length` bytes at `offset` from the header: data that words point to.
    ///
    /// # Errors
    /// [`DecodeError::Short`] when they do not lie inside the message behind
    /// this block's words.
    pub fn at(&self, offset: usize, length: usize, field: &'static str) -> Result<&'a [u8]> {
        if length == 0 {
            return Ok(&[]);
        }
        if offset < self.start {
            return Err(DecodeError::Invalid {
                field,
                reason: "offset points before the command",
            });
        }
        Reader::new(self.message).at(offset, length, field)
    }

    /// The next command of the chain: code and offset, when there is one.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] when the offset does not lead onwards inside the message.
    pub fn next(&self) -> Result<Option<(u8, usize)>> {
        if !Command::is_andx(self.command) || self.words.len() < 4 {
            return Ok(None);
        }
        let mut r = self.words();
        let command = r.u8("AndXCommand")?;
        if command == NO_ANDX {
            return Ok(None);
        }
        r.skip(1, "AndXReserved")?;
        let offset = usize::from(r.u16("AndXOffset")?);
        // OS/2 puts the next words directly behind these words, before the
        // bytes: it is enough that a chain only ever goes forward.
        let words_end = self.start.saturating_add(1 + self.words.len());
        if offset < words_end || offset >= self.message.len() {
            return Err(DecodeError::Invalid {
                field: "AndXOffset",
                reason: "does not lead onwards inside the message",
            });
        }
        Ok(Some((command, offset)))
    }
}

/// Walks the commands of a message. It ends after an error, after the last
/// command, and after `limit` commands (with an error).
#[derive(Debug)]
pub struct Chain<'a> {
    message: &'a [u8],
    next: Option<(u8, usize)>,
    left: usize,
}

impl<'a> Chain<'a> {
    /// Begins at the command of the header.
    pub fn new(message: &'a [u8], command: u8, limit: usize) -> Self {
        Self {
            message,
            next: Some((command, HEADER)),
            left: limit,
        }
    }
}

impl<'a> Iterator for Chain<'a> {
    type Item = Result<Block<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let (command, start) = self.next.take()?;
        let Some(left) = self.left.checked_sub(1) else {
            return Some(Err(DecodeError::Invalid {
                field: "AndXCommand",
                reason: "chain is longer than the limit",
            }));
        };
        self.left = left;
        let block = match Block::decode(self.message, command, start) {
            Ok(block) => block,
            Err(e) => return Some(Err(e)),
        };
        match block.next() {
            Ok(next) => self.next = next,
            Err(e) => return Some(Err(e)),
        }
        Some(Ok(block))
    }
}

/// Writes a message: header room, then blocks, chained where they are AndX.
#[derive(Debug)]
pub struct MessageWriter {
    out: Vec<u8>,
    base: usize,
    andx: Option<usize>,
}

impl MessageWriter {
    /// Begins a message behind `headroom` unused bytes; the header is zeros
    /// until [`MessageWriter::finish`].
    pub fn new(headroom: usize) -> Self {
        Self {
            out: vec![0; headroom.saturating_add(HEADER)],
            base: headroom,
            andx: None,
        }
    }

    /// Offset from the header at which the next block will begin.
    pub fn position(&self) -> usize {
        self.out.len().saturating_sub(self.base)
    }

    /// Whether no block was written yet.
    pub fn is_empty(&self) -> bool {
        self.position() == HEADER
    }

    /// Appends a block. `words` of an AndX command come without the four AndX
    /// bytes, which are put in front here and point to the next block, if any.
    /// ByteCount takes the low 16 bits of the length.
    pub fn block(&mut self, command: u8, andx: bool, words: &[u8], bytes: &[u8]) {
        self.block_with_word_count(command, andx, words, bytes, None);
    }

    /// As [`MessageWriter::block`], with a WordCount other than the true one
    /// (the extended NT_CREATE_ANDX response says 42 and has 50).
    pub fn block_with_word_count(
        &mut self,
        command: u8,
        andx: bool,
        words: &[u8],
        bytes: &[u8],
        word_count: Option<u8>,
    ) {
        if let Some(place) = self.andx.take() {
            let offset = self.position();
            let mut w = Writer::with_base(&mut self.out, self.base);
            w.patch_u16(place, u16::from_le_bytes([command, 0]));
            w.patch_u16(place.saturating_add(2), u16::try_from(offset).unwrap_or(0));
        }
        let start = self.position();
        let mut w = Writer::with_base(&mut self.out, self.base);
        let count = words.len() / 2 + if andx { 2 } else { 0 };
        w.u8(word_count.unwrap_or(u8::try_from(count).unwrap_or(u8::MAX)));
        if andx {
            self.andx = Some(start.saturating_add(1));
            w.u8(NO_ANDX);
            w.u8(0);
            w.u16(0);
        }
        w.bytes(words);
        w.u16(byte_count(bytes.len()));
        w.bytes(bytes);
    }

    /// The buffer: headroom, header, blocks.
    pub fn finish(mut self, header: &[u8; HEADER]) -> Vec<u8> {
        let range = self.base..self.base.saturating_add(HEADER);
        if let Some(place) = self.out.get_mut(range) {
            place.copy_from_slice(header);
        }
        self.out
    }
}

/// ByteCount of `n` bytes: the low 16 bits (large reads and writes have more).
pub fn byte_count(n: usize) -> u16 {
    let [low, high, ..] = n.to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<u8> {
        let mut w = MessageWriter::new(4);
        assert!(w.is_empty());
        w.block(Command::OPEN_ANDX, true, &[1, 2, 3, 4], b"bytes");
        w.block(Command::READ_ANDX, true, &[5, 6], b"");
        w.finish(&[0xAA; HEADER]).split_off(4)
    }

    #[test]
    fn a_chain_is_walked() {
        let m = two();
        let blocks: Vec<_> = Chain::new(&m, Command::OPEN_ANDX, 8)
            .collect::<Result<Vec<_>>>()
            .unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0].byte_slice(), b"bytes");
        assert_eq!(blocks[0].words_after_andx().rest(), [1, 2, 3, 4]);
        assert_eq!(blocks[1].command, Command::READ_ANDX);
        assert_eq!(blocks[1].words_after_andx().rest(), [5, 6]);
    }

    #[test]
    fn a_chain_ends_at_its_limit() {
        let m = two();
        let got: Vec<_> = Chain::new(&m, Command::OPEN_ANDX, 1).collect();
        assert!(got[0].is_ok() && got[1].is_err() && got.len() == 2);
    }

    #[test]
    fn a_chain_that_loops_or_leaves_is_refused() {
        for offset in [0u16, 32, 36, 40, 1000] {
            let mut m = two();
            m[35..37].copy_from_slice(&offset.to_le_bytes());
            let got: Vec<_> = Chain::new(&m, Command::OPEN_ANDX, 64).collect();
            assert!(got[0].is_err() && got.len() == 1, "{offset}");
        }
    }

    #[test]
    fn words_right_behind_words_are_lawful() {
        // OS/2: second block's words before the first block's bytes.
        let mut m = vec![0; HEADER];
        m.extend([2, Command::READ_ANDX, 0, 37, 0]);
        m.extend([0, 0, 0]);
        let got: Vec<_> = Chain::new(&m, Command::OPEN_ANDX, 64).collect();
        assert_eq!(got.len(), 2);
        assert!(got[1].is_ok());
    }

    #[test]
    fn truncated_blocks_are_errors() {
        let m = two();
        for cut in HEADER..m.len() {
            let whole = Chain::new(&m[..cut], Command::OPEN_ANDX, 64).all(|b| b.is_ok());
            assert!(!whole, "{cut}");
        }
    }
}
