//! The host's file system as a [`Backend`](countersign_fs::Backend).
//!
//! - [`LocalFs`] resolves every path beneath one folder and nowhere else
//!   (openat2 with RESOLVE_BENEATH; without it no link is followed).
//! - Names are found without regard to case through one index per folder.
//! - DOS attributes, creation time, security descriptors and extended
//!   attributes are kept in the host's extended attributes, streams in a hidden
//!   folder. See `docs/decisions/0010-local-files.md`.
#![forbid(unsafe_code)]

mod cursor;
mod depot;
mod dos;
mod errno;
mod facts;
mod folders;
mod handle;
mod local;
mod names;
mod options;
mod resolve;
mod root;
mod watch;
mod xattrs;

pub use local::LocalFs;
pub use options::{LocalLimits, LocalOptions};
