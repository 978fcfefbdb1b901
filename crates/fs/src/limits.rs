//! Limits of the file service; each has a default and a test.

use std::time::Duration;

/// Limits and times; start from `FsLimits::default()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsLimits {
    /// Opens in all. More is `TooManyOpens`. Default 1,000,000.
    pub opens: usize,
    /// Byte-range locks on one file. More is `InsufficientResources`. Default 16,384.
    pub locks_per_file: usize,
    /// Lock requests waiting on one file. Default 4,096.
    pub waiting_locks_per_file: usize,
    /// Opens waiting for an oplock break on one file. Default 4,096.
    pub waiting_opens_per_file: usize,
    /// Folders watched in all. More is `InsufficientResources`. Default 65,536.
    pub watches: usize,
    /// Bytes of changes kept for one watch between its calls; more is
    /// `NotifyEnumDir`. Default 64 KiB.
    pub notify_buffer: usize,
    /// Time a client has to acknowledge an oplock or lease break. Default 35 s.
    pub oplock_break: Duration,
    /// Time a durable handle is kept when its client asks for none. Default 60 s.
    pub durable_default: Duration,
    /// Longest time a durable handle is kept. Default 300 s, as Windows has it.
    pub durable_longest: Duration,
    /// Durable handles kept without a connection. Default 65,536.
    pub durable_disconnected: usize,
    /// Entries of a listing found at once before the rest goes to the blocking
    /// pool. Default 256.
    pub list_inline: usize,
    /// Bytes zeroed, allocated or copied at once before it goes to the
    /// blocking pool. Default 1 MiB.
    pub change_inline: u64,
    /// Bytes of one read or write done at once rather than in the pool, when the
    /// backend would block. Default 8 MiB.
    pub read: u32,
    /// Bytes of extended attributes of one file. Default 65,535.
    pub ea_bytes: usize,
    /// Bytes of one security descriptor. Default 65,535.
    pub security_bytes: usize,
}

/// Time a client has to acknowledge an oplock or lease break, [MS-SMB2] 3.3.2.1.
pub const OPLOCK_BREAK_TIMEOUT: Duration = Duration::from_secs(35);
/// Longest time a durable handle is kept, [MS-SMB2] 3.3.5.9.10.
pub const DURABLE_LONGEST: Duration = Duration::from_secs(300);

impl Default for FsLimits {
    fn default() -> Self {
        Self {
            opens: 1_000_000,
            locks_per_file: 16_384,
            waiting_locks_per_file: 4_096,
            waiting_opens_per_file: 4_096,
            watches: 65_536,
            notify_buffer: 64 << 10,
            oplock_break: OPLOCK_BREAK_TIMEOUT,
            durable_default: Duration::from_secs(60),
            durable_longest: DURABLE_LONGEST,
            durable_disconnected: 65_536,
            list_inline: 256,
            change_inline: 1 << 20,
            read: 8 << 20,
            ea_bytes: 65_535,
            security_bytes: 65_535,
        }
    }
}
