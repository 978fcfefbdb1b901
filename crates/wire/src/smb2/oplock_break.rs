//! [MS-SMB2] 2.2.23 to 2.2.25: oplock and lease breaks. One command, told
//! apart by StructureSize.

use super::header::HEADER_LEN;
use super::types::FileId;
use crate::cursor::{DecodeError, Reader, Result, Writer};
use crate::fscc::LeaseState;

/// Flags of a lease break notification:
/// SMB2_NOTIFY_BREAK_LEASE_FLAG_ACK_REQUIRED.
pub const BREAK_LEASE_ACK_REQUIRED: u32 = 0x1;

/// [MS-SMB2] 2.2.23.1, 2.2.24.1 and 2.2.25.1: notification, acknowledgment and
/// response of an oplock break have one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OplockBreak {
    /// OplockLevel.
    pub oplock_level: u8,
    /// FileId.
    pub file_id: FileId,
}

impl OplockBreak {
    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(24);
        w.u8(self.oplock_level);
        w.u8(0);
        w.u32(0);
        self.file_id.write(w);
    }
}

/// [MS-SMB2] 2.2.24.2 and 2.2.25.2: acknowledgment and response of a lease break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseBreak {
    /// Flags.
    pub flags: u32,
    /// LeaseKey.
    pub key: [u8; 16],
    /// LeaseState.
    pub state: LeaseState,
}

impl LeaseBreak {
    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(36);
        w.u16(0);
        w.u32(self.flags);
        w.bytes(&self.key);
        w.u32(self.state.bits());
        w.u64(0);
    }
}

/// [MS-SMB2] 2.2.23.2 Lease Break Notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseBreakNotification {
    /// NewEpoch; 0 for version 1.
    pub new_epoch: u16,
    /// Flags: [`BREAK_LEASE_ACK_REQUIRED`].
    pub flags: u32,
    /// LeaseKey.
    pub key: [u8; 16],
    /// CurrentLeaseState.
    pub current: LeaseState,
    /// NewLeaseState.
    pub new: LeaseState,
}

impl LeaseBreakNotification {
    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(44);
        w.u16(self.new_epoch);
        w.u32(self.flags);
        w.bytes(&self.key);
        w.u32(self.current.bits());
        w.u32(self.new.bits());
        w.zeros(12);
    }
}

/// Any message with the command OPLOCK_BREAK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnyBreak {
    /// StructureSize 24.
    Oplock(OplockBreak),
    /// StructureSize 36.
    Lease(LeaseBreak),
    /// StructureSize 44.
    LeaseNotification(LeaseBreakNotification),
}

impl AnyBreak {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(message: &[u8]) -> Result<Self> {
        let mut r = Reader::new(message);
        r.seek(HEADER_LEN, "OPLOCK_BREAK")?;
        Ok(match r.u16("StructureSize")? {
            24 => {
                let oplock_level = r.u8("OplockLevel")?;
                r.skip(5, "Reserved")?;
                Self::Oplock(OplockBreak {
                    oplock_level,
                    file_id: FileId::read(&mut r)?,
                })
            }
            36 => {
                r.skip(2, "Reserved")?;
                let flags = r.u32("Flags")?;
                let key = r.array("LeaseKey")?;
                let state = LeaseState::from_bits_retain(r.u32("LeaseState")?);
                r.skip(8, "LeaseDuration")?;
                Self::Lease(LeaseBreak { flags, key, state })
            }
            44 => Self::LeaseNotification(LeaseBreakNotification {
                new_epoch: r.u16("NewEpoch")?,
                flags: r.u32("Flags")?,
                key: r.array("LeaseKey")?,
                current: LeaseState::from_bits_retain(r.u32("CurrentLeaseState")?),
                new: LeaseState::from_bits_retain(r.u32("NewLeaseState")?),
            }),
            _ => {
                let (field, reason) = ("OPLOCK_BREAK", "wrong StructureSize");
                return Err(DecodeError::Invalid { field, reason });
            }
        })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Self::Oplock(b) => b.encode(w),
            Self::Lease(b) => b.encode(w),
            Self::LeaseNotification(b) => b.encode(w),
        }
    }
}
