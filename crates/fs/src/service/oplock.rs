//! Oplocks.
/// An oplock of an open.
#[derive(Debug)]
pub(super) struct Oplock {}
/// An open that waits for a break.
#[derive(Debug)]
pub(super) struct Waiter {}
