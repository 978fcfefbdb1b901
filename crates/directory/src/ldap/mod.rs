//! LDAP version 3 ([RFC 4511]), as far as a member of a domain needs it: bind by
//! Kerberos with every byte sealed behind it, search, add, modify.

mod connection;
mod filter;
mod machine;
mod message;
mod sasl;

pub use connection::{Ldap, Limits, Search};
pub use filter::Filter;
pub use machine::Machine;
pub use message::{Change, Entry, Scope};

pub(crate) use message::{Operation, decode as decode_message, ping};

/// The first message of a datagram.
pub(crate) fn first_message(bytes: &[u8]) -> Option<&[u8]> {
    let length = message::length(bytes).ok()??;
    bytes.get(..length)
}
