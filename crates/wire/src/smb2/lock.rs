//! [MS-SMB2] 2.2.26 LOCK Request and 2.2.27 LOCK Response.

use super::layout::body;
use super::types::FileId;
use crate::cursor::{DecodeError, Result, Writer};

bitflags::bitflags! {
    /// [MS-SMB2] 2.2.26.1 Flags of a lock element.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct LockFlags: u32 {
        /// SMB2_LOCKFLAG_SHARED_LOCK.
        const SHARED_LOCK = 0x01;
        /// SMB2_LOCKFLAG_EXCLUSIVE_LOCK.
        const EXCLUSIVE_LOCK = 0x02;
        /// SMB2_LOCKFLAG_UNLOCK.
        const UNLOCK = 0x04;
        /// SMB2_LOCKFLAG_FAIL_IMMEDIATELY.
        const FAIL_IMMEDIATELY = 0x10;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// [MS-SMB2] 2.2.26.1 SMB2_LOCK_ELEMENT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// Offset.
    pub offset: u64,
    /// Length.
    pub length: u64,
    /// Flags.
    pub flags: LockFlags,
}

/// [MS-SMB2] 2.2.26 LOCK Request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRequest {
    /// LockSequenceNumber (low 4 bits) and LockSequenceIndex.
    pub lock_sequence: u32,
    /// FileId.
    pub file_id: FileId,
    /// Locks.
    pub locks: Vec<Lock>,
}

impl LockRequest {
    /// Decodes a message. A LockCount of zero is an error here.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(message: &[u8]) -> Result<Self> {
        let mut r = body(message, 48, "LOCK Request")?;
        let count = usize::from(r.u16("LockCount")?);
        let lock_sequence = r.u32("LockSequence")?;
        let file_id = FileId::read(&mut r)?;
        if count == 0 {
            return Err(DecodeError::Invalid {
                field: "LockCount",
                reason: "is zero",
            });
        }
        if r.remaining() / 24 < count {
            let (needed, left) = (count * 24, r.remaining());
            return Err(DecodeError::Short {
                field: "Locks",
                needed,
                left,
            });
        }
        let mut locks = Vec::with_capacity(count);
        for _ in 0..count {
            let offset = r.u64("Offset")?;
            let length = r.u64("Length")?;
            let flags = LockFlags::from_bits_retain(r.u32("Flags")?);
            r.skip(4, "Reserved")?;
            locks.push(Lock {
                offset,
                length,
                flags,
            });
        }
        Ok(Self {
            lock_sequence,
            file_id,
            locks,
        })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(48);
        w.u16(u16::try_from(self.locks.len()).unwrap_or(u16::MAX));
        w.u32(self.lock_sequence);
        self.file_id.write(w);
        for lock in &self.locks {
            w.u64(lock.offset);
            w.u64(lock.length);
            w.u32(lock.flags.bits());
            w.u32(0);
        }
    }
}

/// [MS-SMB2] 2.2.27 LOCK Response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LockResponse;

impl LockResponse {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(message: &[u8]) -> Result<Self> {
        body(message, 4, "LOCK Response")?.skip(2, "Reserved")?;
        Ok(Self)
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(4);
        w.u16(0);
    }
}
