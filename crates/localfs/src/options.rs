//! Options and limits of a local file system backend.

/// What can be chosen for a share on the host's file system.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// Volume label.
    pub label: String,
    /// Make and resolve 8.3 names.
    pub short_names: bool,
    /// Mode of new files, before the process's umask.
    pub file_mode: u32,
    /// Mode of new folders, before the process's umask.
    pub folder_mode: u32,
    /// Let the kernel keep resolution inside the share where it can (openat2).
    /// Without it no link is followed at all.
    pub kernel_resolution: bool,
    /// Limits.
    pub limits: LocalLimits,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            label: String::new(),
            short_names: true,
            file_mode: 0o664,
            folder_mode: 0o775,
            kernel_resolution: true,
            limits: LocalLimits::default(),
        }
    }
}

/// Named limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalLimits {
    /// Folders whose names are indexed at once.
    pub indexed_folders: usize,
    /// Names indexed in all before the least used folder is dropped.
    pub indexed_names: usize,
    /// Files remembered for opening by number.
    pub remembered_files: usize,
    /// Folders watched at once, over all watches (a recursive one counts each folder).
    pub watched_folders: usize,
    /// Streams of one file.
    pub streams: usize,
    /// Ranges in one answer to a query of allocated ranges.
    pub ranges: usize,
}

impl Default for LocalLimits {
    fn default() -> Self {
        Self {
            indexed_folders: 256,
            indexed_names: 1_000_000,
            remembered_files: 16_384,
            watched_folders: 8192,
            streams: 4096,
            ranges: 65_536,
        }
    }
}
