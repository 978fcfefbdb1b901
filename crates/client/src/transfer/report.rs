//! What a transfer tells while it runs, and what it came to.

use std::io;
use std::path::PathBuf;

use super::names::NameError;

/// Told of what happens; called from several tasks at once.
pub trait Observer: Send + Sync + 'static {
    /// More work was found.
    fn found(&self, files: u64, bytes: u64) {
        let _ = (files, bytes);
    }
    /// A file begins; `done` bytes of it are there already.
    fn begin(&self, path: &str, size: u64, done: u64) {
        let _ = (path, size, done);
    }
    /// Bytes of a file have been moved.
    fn advance(&self, path: &str, bytes: u64) {
        let _ = (path, bytes);
    }
    /// Something was done.
    fn finished(&self, done: &Done) {
        let _ = done;
    }
    /// Something was not done.
    fn failed(&self, path: &str, why: &str) {
        let _ = (path, why);
    }
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// What was done with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Copied from its beginning.
    Copied,
    /// Copied from where an earlier transfer ended.
    Resumed,
    /// Was there already.
    Skipped,
    /// Removed.
    Removed,
    /// A folder that was made.
    Made,
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The path on the share.
    pub remote: String,
    /// The path on this machine, if it has one.
    pub local: Option<PathBuf>,
    /// What was done.
    pub action: Action,
    /// Bytes that were moved.
    pub bytes: u64,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Cause<E: std::error::Error + 'static> {
    /// The share said so.
    #[error(transparent)]
    Remote(E),
    /// This machine said so.
    #[error("on this machine: {0}")]
    Local(#[from] io::Error),
    /// The name.
    #[error("{0}")]
    Name(#[from] NameError),
    /// A folder, and nothing was said of folders.
    #[error("it is a folder: add --recursive to copy it")]
    Folder,
    /// One side has a folder where the other has a file.
    #[error("a file on one side is a folder on the other: remove one of them")]
    Conflict,
    /// A reparse point.
    #[error("it is a link (a reparse point), which is not followed")]
    Link,
    /// The file became shorter while it was copied.
    #[error("it became shorter while it was copied: copy it again")]
    Changed,
    /// The server takes no byte of what is written.
    #[error("the server takes no more of it: look whether its disk is full")]
    Full,
    /// Deeper than [`MAX_DEPTH`](super::MAX_DEPTH) folders.
    #[error("more than {} folders deep", super::MAX_DEPTH)]
    TooDeep,
    /// Nothing is removed as long as it is not sure what is superfluous.
    #[error("not removed, because not everything of the source could be read")]
    Unsure,
    /// A device, a socket or a pipe.
    #[error("it is neither a file nor a folder; a stream is copied as standard input, `-`")]
    Special,
    /// A task of the transfer ended in a fault.
    #[error("the transfer itself failed: {0}")]
    Task(String),
}

/// A path with why it was not done.
#[derive(Debug)]
pub struct Failure<E: std::error::Error + 'static> {
    /// The path, as it is best known by whoever asked.
    pub path: String,
    /// Why.
    pub cause: Cause<E>,
}

/// What a transfer came to.
#[derive(Debug)]
pub struct Report<E: std::error::Error + 'static> {
    /// Files copied.
    pub files: u64,
    /// Folders made.
    pub folders: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Files that were there already.
    pub skipped: u64,
    /// Files and folders removed.
    pub removed: u64,
    /// What was not done.
    pub failures: Vec<Failure<E>>,
}

impl<E: std::error::Error + 'static> Default for Report<E> {
    fn default() -> Self {
        Report {
            files: 0,
            folders: 0,
            bytes: 0,
            skipped: 0,
            removed: 0,
            failures: Vec::new(),
        }
    }
}

impl<E: std::error::Error + 'static> Report<E> {
    /// Everything asked for was done.
    pub fn complete(&self) -> bool {
        self.failures.is_empty()
    }

    /// Takes over what another came to.
    pub fn add(&mut self, other: Report<E>) {
        self.files += other.files;
        self.folders += other.folders;
        self.bytes += other.bytes;
        self.skipped += other.skipped;
        self.removed += other.removed;
        self.failures.extend(other.failures);
    }

    pub(super) fn done(&mut self, observer: &dyn Observer, done: &Done) {
        match done.action {
            Action::Copied | Action::Resumed => self.files += 1,
            Action::Skipped => self.skipped += 1,
            Action::Removed => self.removed += 1,
            Action::Made => self.folders += 1,
        }
        self.bytes += done.bytes;
        observer.finished(done);
    }

    pub(super) fn fail(&mut self, observer: &dyn Observer, path: String, cause: Cause<E>) {
        observer.failed(&path, &cause.to_string());
        self.failures.push(Failure { path, cause });
    }
}
