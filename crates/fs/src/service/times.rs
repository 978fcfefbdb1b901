//! Implicit updates of times, [MS-FSA] 2.1.4.

/// What an open says about implicit updates.
#[derive(Debug, Default)]
pub(super) struct OpenTimes {}

/// Times of a file that its opens share.
#[derive(Debug, Default)]
pub(super) struct NodeTimes {}
