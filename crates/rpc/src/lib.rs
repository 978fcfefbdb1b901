//! DCE/RPC and the interfaces served over named pipes, and the remote
//! administration protocol (RAP) of old clients.
//!
//! Bytes a client writes to a pipe go in, bytes it reads come out; what is
//! answered comes from [`ServerFacts`]. No I/O, no clock, no state but the pipe's.
#![forbid(unsafe_code)]

pub mod facts;
pub mod ndr;
pub mod pdu;
pub mod pipe;
pub mod rap;

mod association;
mod interface;
mod lsarpc;
mod srvsvc;
mod win32;
mod wkssvc;

pub use facts::{
    AccountFacts, AccountKind, CallerFacts, OpenFileFacts, ServerFacts, ServerInfo, SessionFacts,
    ShareFacts, ShareKind,
};
pub use pipe::{Pipe, PipeError, PipeRead};
pub use rap::RapReply;
