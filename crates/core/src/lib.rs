//! The protocol engines, without I/O: a [`Connection`] takes whole frames and
//! file-service events, and gives frames to send.
//!
//! No socket, no clock, no randomness of its own: time is an argument, entropy
//! and the file service come with the [`Server`]. One task owns a Connection.
#![forbid(unsafe_code)]

pub mod config;
pub mod connection;
pub mod server;

pub use config::ServerConfig;
pub use connection::{Connection, Now, Output, PeerInfo, Transport};
pub use server::Server;
