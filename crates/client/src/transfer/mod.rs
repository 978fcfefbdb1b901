//! Copying files between this machine and a share: many at once, large ones in
//! pieces of which several are under way, small ones in one turn each.
//!
//! - [`copy`]: get or put, single files or whole folders, resumed if asked;
//! - [`sync`]: makes one side like the other;
//! - [`walk`]: everything below a folder of a share;
//! - [`remove_tree`]: removes a folder with its content.
//!
//! All of them may be dropped at any time: what is under way ends, partial files
//! stay for [`Existing::Resume`].

mod disk;
mod engine;
mod file_down;
mod file_up;
mod names;
mod partial;
mod pieces;
mod remote;
mod report;
mod share;
mod tree;

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;

pub use disk::Sink;
pub use engine::{Item, copy, sync};
pub use names::{MAX_NAME, NameError, check_from_remote, to_remote};
pub use pieces::stream_down;
pub use remote::{Entry, Kind, Remote, RemoteError, RemoteFile, Whole, WriteMode, join};
pub use report::{Action, Cause, Done, Failure, Observer, Report, Silent};
pub use share::{MAX_ENTRIES, OpenFile};
pub use tree::{Found, Walked, expand, remove_one, remove_tree, walk};

use std::time::Duration;

use crate::glob::PathPattern;

/// Folders within folders that are followed.
pub const MAX_DEPTH: usize = 128;
/// Files of which is known that they wait to be copied; no folder is listed while
/// there are more.
pub const MAX_WAITING: usize = 50_000;
/// Folders listed at once.
pub const LISTINGS: usize = 4;
/// Files copied at once, unless told otherwise.
pub const JOBS: usize = 32;
/// Bytes under way in pieces of large files, unless told otherwise.
pub const WINDOW: usize = 8 << 20;
/// Longest piece of a large file.
pub const PIECE: usize = 1 << 20;
/// Pieces of one upload under way: 4 MiB of the 64 KiB of old dialects, whose servers
/// are slower with more.
pub const PIECES: usize = 64;
/// Bytes that the local disk reads or writes in one turn.
pub const BLOCK: usize = 1 << 20;
/// Blocks read from the local disk before they can be sent.
pub const BLOCKS_AHEAD: usize = 2;
/// Files up to this length go in one turn.
pub const SMALL: usize = 1 << 20;
/// What is compared at the end of a partial file before it is continued.
pub const TAIL: usize = 64 << 10;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the share to this machine.
    Down,
    /// From this machine to the share.
    Up,
}

/// What happens to files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// They are replaced.
    #[default]
    Replace,
    /// They stay as they are.
    Keep,
    /// Complete ones stay, partial ones are continued, others are replaced.
    Resume,
}

/// How files are compared by [`sync`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compare {
    /// By size and time of the last change (two seconds apart are the same).
    #[default]
    SizeAndTime,
    /// By size alone.
    Size,
}

/// Times closer than this are the same: some file systems keep every other second.
pub const SAME_TIME: Duration = Duration::from_secs(2);

/// Which names are taken.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// If there are any: only files that fit one of them.
    pub include: Vec<PathPattern>,
    /// No file and no folder that fits one of them.
    pub exclude: Vec<PathPattern>,
}

impl Filter {
    /// Whether a file is taken, given its path from where the copy starts.
    pub fn takes_file(&self, path: &[String]) -> bool {
        let included =
            self.include.is_empty() || self.include.iter().any(|pattern| pattern.matches(path));
        included && self.takes_folder(path)
    }

    /// Whether a folder is entered.
    pub fn takes_folder(&self, path: &[String]) -> bool {
        !self.exclude.iter().any(|pattern| pattern.matches(path))
    }
}

/// How to copy.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folders with their content.
    pub recursive: bool,
    /// Files that are there already.
    pub existing: Existing,
    /// The time of the last change goes with the file.
    pub preserve: bool,
    /// Files copied at once.
    pub jobs: usize,
    /// Bytes under way in pieces of large files.
    pub window: usize,
    /// Which names.
    pub filter: Filter,
    /// Only say what would be done.
    pub dry_run: bool,
    /// For [`sync`]: how to compare.
    pub compare: Compare,
    /// For [`sync`]: remove what the source does not have.
    pub delete: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            recursive: false,
            existing: Existing::Replace,
            preserve: false,
            jobs: JOBS,
            window: WINDOW,
            filter: Filter::default(),
            dry_run: false,
            compare: Compare::SizeAndTime,
            delete: false,
        }
    }
}
