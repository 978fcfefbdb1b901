//! Change notification, [MS-FSA] 2.1.5.11.

/// A folder watched by an open.
#[derive(Debug)]
pub(super) struct Watcher {}
