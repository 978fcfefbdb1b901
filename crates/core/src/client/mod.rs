//! The client's engines, without I/O: calls in the vocabulary of [MS-FSCC] go
//! in, frames to send and answers come out.
//!
//! [`Engine`] is what a shell drives; [`Protocol`] is what SMB1 and SMB2/3 each
//! implement. A shell gives whole frames to [`Engine::receive`], calls to
//! [`Engine::submit`], the time to [`Engine::handle_timeout`], and after each
//! drains [`Engine::poll_transmit`] into one vectored write and
//! [`Engine::poll_event`]. What a server sends is verified by the gate before
//! anything here looks at it.

mod call;
mod config;
mod engine;
mod failure;
pub mod smb1;
mod smb2;

pub use call::{
    Answer, Break, Caching, Call, CallId, ChangeList, Durable, Granted, Listing, LockRange,
    LogonKey, OpenId, OpenRequest, Opened, PathRequest, Payload, Reconnect, ShareKind,
    TreeConnected, TreeId, Written,
};
pub use config::{ClassicResponse, ClientConfig, ClientLimits, Encryption, Entropy, Smb1Config};
pub use engine::{
    Engine, Event, Link, LoggedOn, LogonKind, Negotiated, PeerSigning, Protocol, Transfer,
};
pub use failure::{CloseReason, Failure};

/// Whether what a server lists can be a name: one with a separator would lead
/// elsewhere.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['\\', '/', '\0'])
}
