//! [MS-DTYP] data types.

mod acl;
mod generic;
mod security_descriptor;
mod sid;

pub use acl::*;
pub use generic::*;
pub use security_descriptor::*;
pub use sid::Sid;

/// [MS-DTYP] 2.3.3 FILETIME: 100 ns intervals since 1 January 1601 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileTime(pub u64);

impl FileTime {
    /// Zero: "not set" in most requests.
    pub const ZERO: FileTime = FileTime(0);
    /// Seconds between 1601 and 1970.
    const EPOCH_SECONDS: i64 = 11_644_473_600;

    /// From a Unix time; times outside FILETIME's range are clamped.
    pub fn from_unix(seconds: i64, nanoseconds: u32) -> Self {
        let s = seconds.saturating_add(Self::EPOCH_SECONDS);
        match u64::try_from(s) {
            Ok(s) => FileTime(
                s.saturating_mul(10_000_000)
                    .saturating_add(u64::from(nanoseconds / 100)),
            ),
            Err(_) => FileTime(0),
        }
    }

    /// As a Unix time: seconds and nanoseconds.
    pub fn to_unix(self) -> (i64, u32) {
        let s = i64::try_from(self.0 / 10_000_000).unwrap_or(i64::MAX) - Self::EPOCH_SECONDS;
        let n = u32::try_from(self.0 % 10_000_000).unwrap_or(0) * 100;
        (s, n)
    }
}

/// [MS-DTYP] 2.3.4 GUID, in its 16 bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Guid(pub [u8; 16]);
