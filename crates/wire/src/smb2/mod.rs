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
mod echo;
mod error;
mod header;
mod layout;
mod logoff;
mod negotiate;
mod negotiate_context;
mod session_setup;
mod transform;
mod tree_connect;
mod tree_disconnect;
mod types;

pub use cancel::*;
pub use echo::*;
pub use error::*;
pub use header::*;
pub use logoff::*;
pub use negotiate::*;
pub use negotiate_context::*;
pub use session_setup::*;
pub use transform::*;
pub use tree_connect::*;
pub use tree_disconnect::*;
pub use types::*;

