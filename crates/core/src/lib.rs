//! The protocol engines, without I/O: a [`Connection`] takes whole frames and
//! signals, and gives frames to send.
//!
//! No socket, no clock, no randomness of its own: time is an argument, entropy
//! and the file service come with the [`Server`]. One task owns a Connection.
//!
//! The straight line of a request: [`connection`] chooses the front end
//! ([`smb1`] or [`smb2`]); the front end hands arrived messages to the
//! [`gate`], which decrypts, verifies and asks the policy; what it admits is
//! dispatched to one handler per command; the handler answers or makes a
//! file-service call; the reply goes back through the gate, which signs or
//! encrypts it.
#![forbid(unsafe_code)]

pub mod client;
pub mod config;
pub mod connection;
pub mod gate;
pub mod info;
pub mod link;
pub mod logon;
pub mod observer;
pub mod pipes;
pub mod registry;
pub mod server;
pub mod smb1;
pub mod smb2;
pub mod statistics;
pub mod status;

pub use config::ServerConfig;
pub use connection::{Connection, Mailbox, Now, Output, PeerInfo, Signal, Transport};
pub use link::{FrontEnd, Link, PolicyOutcome};
pub use server::Server;
