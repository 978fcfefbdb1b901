//! Commands on open files: CLOSE, FLUSH, READ and WRITE in all their forms,
//! SEEK and locking; [MS-CIFS] 2.2.4.5, 2.2.4.6, 2.2.4.11 to 2.2.4.14, 2.2.4.19
//! to 2.2.4.21, 2.2.4.32, 2.2.4.40, 2.2.4.42, 2.2.4.43.

use super::block::Block;
use super::words::words;
use crate::cursor::{DecodeError, Reader, Result};

words! {
    /// CLOSE request.
    CloseWords { fid: u16, last_time_modified: u32 }
    /// FLUSH request.
    FlushWords { fid: u16 }
    /// READ and LOCK_AND_READ request.
    ReadWords {
        fid: u16,
        count_of_bytes_to_read: u16,
        read_offset: u32,
        estimate_of_remaining: u16,
    }
    /// READ and LOCK_AND_READ response; the bytes are 0x01, a 16-bit length, the data.
    ReadResponseWords { count_of_bytes_returned: u16, reserved: [u8; 8] }
    /// READ_ANDX request, the words every form has.
    ReadAndxWords {
        fid: u16,
        offset: u32,
        max_count_of_bytes_to_return: u16,
        min_count_of_bytes_to_return: u16,
        timeout_or_max_count_high: u32,
        remaining: u16,
    }
    /// READ_ANDX response.
    ReadAndxResponseWords {
        available: u16,
        data_compaction_mode: u16,
        reserved1: u16,
        data_length: u16,
        data_offset: u16,
        data_length_high: u16,
        reserved2: [u8; 8],
    }
    /// WRITE and WRITE_AND_UNLOCK request.
    WriteWords {
        fid: u16,
        count_of_bytes_to_write: u16,
        write_offset: u32,
        estimate_of_remaining: u16,
    }
    /// WRITE, WRITE_AND_UNLOCK and WRITE_AND_CLOSE response.
    WriteResponseWords { count_of_bytes_written: u16 }
    /// WRITE_AND_CLOSE request, the words both forms have.
    WriteAndCloseWords {
        fid: u16,
        count_of_bytes_to_write: u16,
        write_offset: u32,
        last_write_time: u32,
    }
    /// WRITE_ANDX request, the words both forms have.
    WriteAndxWords {
        fid: u16,
        offset: u32,
        timeout: u32,
        write_mode: u16,
        remaining: u16,
        data_length_high: u16,
        data_length: u16,
        data_offset: u16,
    }
    /// WRITE_ANDX response.
    WriteAndxResponseWords { count: u16, available: u16, count_high: u16, reserved: u16 }
    /// LOCK_BYTE_RANGE and UNLOCK_BYTE_RANGE request.
    LockByteRangeWords { fid: u16, count_of_bytes: u32, offset: u32 }
    /// LOCKING_ANDX request.
    LockingAndxWords {
        fid: u16,
        type_of_lock: u8,
        new_oplock_level: u8,
        timeout: u32,
        number_of_requested_unlocks: u16,
        number_of_requested_locks: u16,
    }
    /// SEEK request.
    SeekWords { fid: u16, mode: u16, offset: i32 }
    /// SEEK response.
    SeekResponseWords { offset: u32 }
}

/// WriteMode bit: answer when the data are on disk.
pub const WRITE_THROUGH: u16 = 0x0001;
/// WriteMode bit: this is the first of several writes to a message pipe.
pub const WRITE_START_OF_MESSAGE: u16 = 0x0008;
/// WriteMode bit: raw write to a message pipe.
pub const WRITE_RAW_PIPE: u16 = 0x0004;

/// A READ_ANDX request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadAndx {
    /// FID.
    pub fid: u16,
    /// First byte.
    pub offset: u64,
    /// Most bytes to give, with the high half of [MS-SMB] 2.2.4.2.1.
    pub max_count: u32,
    /// Fewest bytes to give.
    pub min_count: u16,
    /// The request has no OffsetHigh.
    pub short_form: bool,
}

impl ReadAndx {
    /// Decodes the words, of 10 or 12.
    ///
    /// # Errors
    /// [`DecodeError`] for other word counts.
    pub fn decode(block: &Block<'_>) -> Result<Self> {
        block.expect_words(&[10, 12])?;
        let mut r = block.words_after_andx();
        let w = ReadAndxWords::decode(&mut r)?;
        let short_form = block.word_count() == 10;
        let high = if short_form { 0 } else { r.u32("OffsetHigh")? };
        // 0xFFFFFFFF is a time-out of "for ever", not a count.
        let count_high = match w.timeout_or_max_count_high {
            u32::MAX => 0,
            v => v & 0xFFFF,
        };
        Ok(Self {
            fid: w.fid,
            offset: u64::from(high) << 32 | u64::from(w.offset),
            max_count: count_high << 16 | u32::from(w.max_count_of_bytes_to_return),
            min_count: w.min_count_of_bytes_to_return,
            short_form,
        })
    }

    /// The words behind the AndX ones.
    pub fn encode(&self) -> Vec<u8> {
        let [o0, o1, o2, o3, o4, o5, o6, o7] = self.offset.to_le_bytes();
        let [c0, c1, c2, c3] = self.max_count.to_le_bytes();
        let mut out = ReadAndxWords {
            fid: self.fid,
            offset: u32::from_le_bytes([o0, o1, o2, o3]),
            max_count_of_bytes_to_return: u16::from_le_bytes([c0, c1]),
            min_count_of_bytes_to_return: self.min_count,
            timeout_or_max_count_high: u32::from_le_bytes([c2, c3, 0, 0]),
            remaining: 0,
        }
        .to_vec();
        if !self.short_form {
            out.extend([o4, o5, o6, o7]);
        }
        out
    }
}

/// A WRITE_ANDX request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteAndx<'a> {
    /// FID.
    pub fid: u16,
    /// First byte.
    pub offset: u64,
    /// WriteMode.
    pub mode: u16,
    /// The data.
    pub data: &'a [u8],
    /// The request has no OffsetHigh.
    pub short_form: bool,
}

impl<'a> WriteAndx<'a> {
    /// Decodes the words, of 12 or 14, and finds the data by DataOffset.
    ///
    /// # Errors
    /// [`DecodeError`] for other word counts and data outside the message.
    pub fn decode(block: &Block<'a>) -> Result<Self> {
        block.expect_words(&[12, 14])?;
        let mut r = block.words_after_andx();
        let w = WriteAndxWords::decode(&mut r)?;
        let short_form = block.word_count() == 12;
        let high = if short_form { 0 } else { r.u32("OffsetHigh")? };
        let length = usize::from(w.data_length_high) << 16 | usize::from(w.data_length);
        let data = block.at(usize::from(w.data_offset), length, "Data")?;
        Ok(Self {
            fid: w.fid,
            offset: u64::from(high) << 32 | u64::from(w.offset),
            mode: w.write_mode,
            data,
            short_form,
        })
    }

    /// Words behind the AndX ones, and bytes (one pad byte and the data).
    pub fn encode(&self, block_start: usize) -> (Vec<u8>, Vec<u8>) {
        let mut bytes = vec![0];
        bytes.extend_from_slice(self.data);
        (self.encode_words(block_start), bytes)
    }

    /// Words behind the AndX ones of a request whose bytes are one pad byte
    /// and the data.
    pub fn encode_words(&self, block_start: usize) -> Vec<u8> {
        let words = 1 + if self.short_form { 24 } else { 28 };
        let [o0, o1, o2, o3, o4, o5, o6, o7] = self.offset.to_le_bytes();
        let [l0, l1, l2, l3, ..] = self.data.len().to_le_bytes();
        let mut out = WriteAndxWords {
            fid: self.fid,
            offset: u32::from_le_bytes([o0, o1, o2, o3]),
            timeout: 0,
            write_mode: self.mode,
            remaining: 0,
            data_length_high: u16::from_le_bytes([l2, l3]),
            data_length: u16::from_le_bytes([l0, l1]),
            data_offset: super::block::byte_count(block_start + words + 2 + 1),
        }
        .to_vec();
        if !self.short_form {
            out.extend([o4, o5, o6, o7]);
        }
        out
    }
}

impl WriteAndxResponseWords {
    /// Bytes written, with the high half of [MS-SMB] 2.2.4.3.2.
    pub fn total(&self) -> u32 {
        u32::from(self.count_high) << 16 | u32::from(self.count)
    }
}

/// A READ_ANDX response, [MS-CIFS] 2.2.4.42.2 and [MS-SMB] 2.2.4.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadAndxResponse<'a> {
    /// Available: bytes left in a pipe's message; -1 of a file.
    pub available: u16,
    /// The data, found by DataOffset.
    pub data: &'a [u8],
}

impl<'a> ReadAndxResponse<'a> {
    /// Decodes the twelve words and finds the data.
    ///
    /// # Errors
    /// [`DecodeError`] for other word counts and data outside the message.
    pub fn decode(block: &Block<'a>) -> Result<Self> {
        block.expect_words(&[12])?;
        let w = ReadAndxResponseWords::decode(&mut block.words_after_andx())?;
        let length = usize::from(w.data_length_high) << 16 | usize::from(w.data_length);
        Ok(Self {
            available: w.available,
            data: block.at(usize::from(w.data_offset), length, "Data")?,
        })
    }

    /// Words behind the AndX ones, and bytes (one pad byte and the data).
    pub fn encode(&self, block_start: usize) -> (Vec<u8>, Vec<u8>) {
        let [l0, l1, l2, l3, ..] = self.data.len().to_le_bytes();
        let words = ReadAndxResponseWords {
            available: self.available,
            data_compaction_mode: 0,
            reserved1: 0,
            data_length: u16::from_le_bytes([l0, l1]),
            data_offset: super::block::byte_count(block_start + 1 + 24 + 2 + 1),
            data_length_high: u16::from_le_bytes([l2, l3]),
            reserved2: [0; 8],
        };
        let mut bytes = vec![0];
        bytes.extend_from_slice(self.data);
        (words.to_vec(), bytes)
    }
}

/// The data of WRITE and WRITE_AND_UNLOCK: 0x01, length, data. The count of
/// the words decides; a zero count is lawful.
///
/// # Errors
/// [`DecodeError`] when the data are missing.
pub fn decode_write_data<'a>(block: &Block<'a>, count: u16) -> Result<&'a [u8]> {
    let mut r = block.bytes();
    if count == 0 {
        return Ok(&[]);
    }
    if r.u8("BufferFormat")? != 1 {
        return Err(DecodeError::Invalid {
            field: "BufferFormat",
            reason: "not 0x01",
        });
    }
    r.skip(2, "DataLength")?;
    r.take(usize::from(count), "Data")
}

/// The data of WRITE_AND_CLOSE: one pad byte, then data.
///
/// # Errors
/// [`DecodeError`] when the data are missing.
pub fn decode_write_and_close_data<'a>(block: &Block<'a>, count: u16) -> Result<&'a [u8]> {
    let mut r = block.bytes();
    r.skip(1, "Pad")?;
    r.take(usize::from(count), "Data")
}

bitflags::bitflags! {
    /// TypeOfLock, [MS-CIFS] 2.2.4.32.1.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct LockType: u8 {
        /// SHARED_LOCK.
        const SHARED = 0x01;
        /// OPLOCK_RELEASE.
        const OPLOCK_RELEASE = 0x02;
        /// CHANGE_LOCKTYPE.
        const CHANGE_LOCKTYPE = 0x04;
        /// CANCEL_LOCK.
        const CANCEL_LOCK = 0x08;
        /// LARGE_FILES: 64-bit ranges.
        const LARGE_FILES = 0x10;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// One range of LOCKING_ANDX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockingRange {
    /// Process id that owns the lock.
    pub pid: u16,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// A LOCKING_ANDX request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockingAndx {
    /// FID.
    pub fid: u16,
    /// TypeOfLock.
    pub kind: LockType,
    /// NewOpLockLevel.
    pub oplock_level: u8,
    /// Milliseconds to wait; 0xFFFFFFFF is for ever.
    pub timeout: u32,
    /// Ranges to unlock.
    pub unlocks: Vec<LockingRange>,
    /// Ranges to lock.
    pub locks: Vec<LockingRange>,
}

impl LockingAndx {
    /// Decodes words and ranges.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes do not hold all the ranges.
    pub fn decode(block: &Block<'_>) -> Result<Self> {
        block.expect_words(&[8])?;
        let w = LockingAndxWords::decode(&mut block.words_after_andx())?;
        let kind = LockType::from_bits_retain(w.type_of_lock);
        let large = kind.contains(LockType::LARGE_FILES);
        let mut r = block.bytes();
        let each = if large { 20 } else { 10 };
        let wanted = usize::from(w.number_of_requested_unlocks)
            .saturating_add(usize::from(w.number_of_requested_locks));
        if wanted.saturating_mul(each) > r.remaining() {
            return Err(DecodeError::Short {
                field: "Ranges",
                needed: wanted.saturating_mul(each),
                left: r.remaining(),
            });
        }
        let unlocks = ranges(&mut r, w.number_of_requested_unlocks, large)?;
        let locks = ranges(&mut r, w.number_of_requested_locks, large)?;
        Ok(Self {
            fid: w.fid,
            kind,
            oplock_level: w.new_oplock_level,
            timeout: w.timeout,
            unlocks,
            locks,
        })
    }

    /// Words behind the AndX ones, and bytes.
    pub fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let words = LockingAndxWords {
            fid: self.fid,
            type_of_lock: self.kind.bits(),
            new_oplock_level: self.oplock_level,
            timeout: self.timeout,
            number_of_requested_unlocks: super::block::byte_count(self.unlocks.len()),
            number_of_requested_locks: super::block::byte_count(self.locks.len()),
        };
        let mut bytes = Vec::new();
        for range in self.unlocks.iter().chain(&self.locks) {
            bytes.extend(range.pid.to_le_bytes());
            let [o0, o1, o2, o3, o4, o5, o6, o7] = range.offset.to_le_bytes();
            let [l0, l1, l2, l3, l4, l5, l6, l7] = range.length.to_le_bytes();
            if self.kind.contains(LockType::LARGE_FILES) {
                bytes.extend([0, 0, o4, o5, o6, o7, o0, o1, o2, o3]);
                bytes.extend([l4, l5, l6, l7, l0, l1, l2, l3]);
            } else {
                bytes.extend([o0, o1, o2, o3, l0, l1, l2, l3]);
            }
        }
        (words.to_vec(), bytes)
    }
}

fn ranges(r: &mut Reader<'_>, count: u16, large: bool) -> Result<Vec<LockingRange>> {
    let mut out = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let pid = r.u16("PID")?;
        let (offset, length) = if large {
            r.skip(2, "Pad")?;
            let oh = r.u32("OffsetInBytesHigh")?;
            let ol = r.u32("OffsetInBytesLow")?;
            let lh = r.u32("LengthInBytesHigh")?;
            let ll = r.u32("LengthInBytesLow")?;
            (
                u64::from(oh) << 32 | u64::from(ol),
                u64::from(lh) << 32 | u64::from(ll),
            )
        } else {
            (
                u64::from(r.u32("ByteOffset")?),
                u64::from(r.u32("LengthInBytes")?),
            )
        };
        out.push(LockingRange {
            pid,
            offset,
            length,
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::block::{Chain, MessageWriter};
    use super::super::{Command, HEADER};
    use super::*;

    fn message(command: u8, words: &[u8], bytes: &[u8]) -> Vec<u8> {
        let mut m = MessageWriter::new(0);
        m.block(command, true, words, bytes);
        m.finish(&[0; HEADER])
    }

    fn block(command: u8, message: &[u8]) -> Block<'_> {
        Chain::new(message, command, 1).next().unwrap().unwrap()
    }

    #[test]
    fn large_writes_have_more_bytes_than_bytecount_tells() {
        let data = vec![7; 0x1_2345];
        let write = WriteAndx {
            fid: 1,
            offset: 1 << 33,
            mode: 0,
            data: &data,
            short_form: false,
        };
        let (words, bytes) = write.encode(HEADER);
        let m = message(Command::WRITE_ANDX, &words, &bytes);
        assert_eq!(
            WriteAndx::decode(&block(Command::WRITE_ANDX, &m)).unwrap(),
            write
        );
        // One byte short of what the length words say.
        let cut = m.get(..m.len() - 1).unwrap();
        let b = Block::decode(cut, Command::WRITE_ANDX, HEADER).unwrap();
        assert!(WriteAndx::decode(&b).is_err());
    }

    #[test]
    fn read_responses_there_and_back() {
        for length in [0, 1, 4096, 0xFFFF, 0x1_FFFF] {
            let data: Vec<u8> = (0..=255).cycle().take(length).collect();
            let response = ReadAndxResponse {
                available: 0xFFFF,
                data: &data,
            };
            let (words, bytes) = response.encode(HEADER);
            let m = message(Command::READ_ANDX, &words, &bytes);
            let b = block(Command::READ_ANDX, &m);
            assert_eq!(ReadAndxResponse::decode(&b).unwrap(), response);
            if length > 0 {
                let cut = m.get(..m.len() - 1).unwrap();
                let cut = Block::decode(cut, Command::READ_ANDX, HEADER);
                assert!(cut.and_then(|b| ReadAndxResponse::decode(&b)).is_err());
            }
        }
        let words = WriteAndxResponseWords {
            count: 2,
            available: 0,
            count_high: 1,
            reserved: 0,
        };
        assert_eq!(words.total(), 0x1_0002);
    }

    #[test]
    fn reads_there_and_back() {
        for short_form in [true, false] {
            let read = ReadAndx {
                fid: 3,
                offset: if short_form { 5 } else { 5 << 32 },
                max_count: 0x1_0001,
                min_count: 2,
                short_form,
            };
            let m = message(Command::READ_ANDX, &read.encode(), &[]);
            assert_eq!(
                ReadAndx::decode(&block(Command::READ_ANDX, &m)).unwrap(),
                read
            );
        }
    }

    #[test]
    fn ranges_of_both_sizes() {
        for kind in [LockType::empty(), LockType::LARGE_FILES | LockType::SHARED] {
            let lock = LockingAndx {
                fid: 1,
                kind,
                oplock_level: 0,
                timeout: 9,
                unlocks: vec![LockingRange {
                    pid: 1,
                    offset: 2,
                    length: 3,
                }],
                locks: vec![
                    LockingRange {
                        pid: 4,
                        offset: 5,
                        length: 6,
                    },
                    LockingRange {
                        pid: 7,
                        offset: 8,
                        length: 9,
                    },
                ],
            };
            let (words, bytes) = lock.encode();
            let m = message(Command::LOCKING_ANDX, &words, &bytes);
            assert_eq!(
                LockingAndx::decode(&block(Command::LOCKING_ANDX, &m)).unwrap(),
                lock
            );
            let m = message(Command::LOCKING_ANDX, &words, &bytes[..bytes.len() - 1]);
            assert!(LockingAndx::decode(&block(Command::LOCKING_ANDX, &m)).is_err());
        }
    }
}
