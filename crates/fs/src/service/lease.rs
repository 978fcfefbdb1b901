//! Leases.
/// A lease on a file.
#[derive(Debug)]
pub(super) struct Lease {}
