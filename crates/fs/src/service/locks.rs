//! Byte-range locks, [MS-FSA] 2.1.5.8.
/// Locks of a stream.
#[derive(Debug, Default)]
pub(super) struct LockTable {}
