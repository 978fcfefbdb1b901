//! The SMB2 and SMB3 front end, [MS-SMB2] 3.3.
//!
//! [`Smb2`] takes frames through the straight line: the gate opens and verifies
//! them as a batch; each message uses up its MessageIds, is admitted by the
//! gate, checked against its row in [`dispatch::TABLE`] and handed to its
//! handler; replies are collected and leave through the gate as a batch.
//! [`handler`] says how to write a command.

pub mod credits;
pub mod dispatch;
pub mod handler;
pub mod session;
pub mod state;

mod breaks;
mod chain;
mod change_notify;
mod close;
mod create;
mod echo;
mod flush;
mod front;
mod ioctl;
mod lock;
mod logoff;
mod negotiate;
mod oplock_break;
mod pipe;
mod query_directory;
mod query_info;
mod read;
mod session_setup;
mod set_info;
pub(crate) mod tree_connect;
mod tree_disconnect;
pub mod validate_negotiate;
mod write;

pub use front::Smb2;
