//! The protocol-neutral file service: what SMB1 and SMB2 both ask of files.
//!
//! Front ends translate their requests to [`FsCall`] and give them to
//! [`FileService::call`](service::FileService::call). An answer comes at once
//! ([`Outcome::Ready`]) or later as [`Event::Reply`] on the caller's
//! [`EventSink`]; that one mechanism carries slow reads, blocked locks, opens
//! that wait for an oplock break, change notification and cancellation.
//!
//! This crate knows no SMB message, makes no system call and does not know
//! tokio. Bytes on disk are behind [`backend::Backend`]; the clock, timers and
//! the pool for blocking work are behind [`Host`].
#![forbid(unsafe_code)]

pub mod backend;
pub mod call;
pub mod error;
pub mod limits;
pub mod memory;
pub mod path;
pub mod security;
pub mod service;
pub mod testing;
pub mod types;
pub mod wildcard;

pub use backend::Backend;
pub use call::{CallContext, Event, EventSink, FsCall, FsReply, Host, OpenOwner, Outcome, Ticket};
pub use error::FsError;
pub use limits::FsLimits;
pub use path::SmbPath;
pub use service::{DefaultSecurity, FileService, Open, Share, ShareOptions, Statistics};
pub use types::*;
