//! [MS-SMB2]: the header and one file per command, requests and responses.
//!
//! Every `decode` takes the whole message from the first byte of its header to
//! its own end (one part of a compound), because offsets on the wire are
//! counted from the header. Every `encode` takes a [`Writer`](crate::Writer)
//! whose base is that first byte and which already holds the 64 header bytes.
//!
//! Decoders check StructureSize and that every buffer lies inside the message
//! and behind the fixed part; what the values mean is the engine's to judge.

mod cancel;
mod change_notify;
mod close;
mod create;
mod create_context;
mod echo;
mod error;
mod flush;
pub mod fsctl;
mod header;
mod ioctl;
mod layout;
mod lock;
mod logoff;
mod negotiate;
mod negotiate_context;
mod oplock_break;
mod query_directory;
mod query_info;
mod read;
mod session_setup;
mod set_info;
mod transform;
mod tree_connect;
mod tree_disconnect;
mod types;
mod write;

pub use cancel::*;
pub use change_notify::*;
pub use close::*;
pub use create::*;
pub use create_context::*;
pub use echo::*;
pub use error::*;
pub use flush::*;
pub use header::*;
pub use ioctl::*;
pub use lock::*;
pub use logoff::*;
pub use negotiate::*;
pub use negotiate_context::*;
pub use oplock_break::*;
pub use query_directory::*;
pub use query_info::*;
pub use read::*;
pub use session_setup::*;
pub use set_info::*;
pub use transform::*;
pub use tree_connect::*;
pub use tree_disconnect::*;
pub use types::*;
pub use write::*;
