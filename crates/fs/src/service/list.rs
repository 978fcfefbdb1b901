//! Directory enumeration, [MS-FSA] 2.1.5.6.3.

/// A scan of a folder in progress.
#[derive(Debug)]
pub(super) struct DirScan {
    pattern: String,
}

impl DirScan {
    pub(super) fn pattern(&self) -> &str {
        &self.pattern
    }
}
