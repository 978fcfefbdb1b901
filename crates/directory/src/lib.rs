//! Active Directory as a member of a domain sees it: finding a controller, LDAP with
//! Kerberos sign and seal, and Group Policy.
//!
//! Everything read here was sent by somebody who proved to be a controller of the
//! domain: DNS and the first ping only say whom to ask. What decides policy comes
//! through a sealed LDAP connection and a signed SMB session, both mutually
//! authenticated.
#![forbid(unsafe_code)]

mod dns;
mod error;
pub mod group_policy;
pub mod join;
mod ldap;
mod locate;
mod netlogon;

pub use countersign_client::KerberosLogon;
pub use dns::{Resolver, ResolverError, Srv};
pub use error::Error;
pub use ldap::{Change, Entry, Filter, Ldap, Limits, Machine, Scope, Search};
pub use locate::{Controller, Locator};
pub use netlogon::Netlogon;

/// What the fuzz targets call: decoders of bytes from outside.
#[doc(hidden)]
pub mod fuzz {
    /// An LDAP message of a server.
    pub fn ldap_message(bytes: &[u8]) {
        let _ = crate::ldap::decode_message(bytes);
    }

    /// The answer to a ping.
    pub fn netlogon(bytes: &[u8]) {
        let _ = crate::netlogon::Netlogon::decode(bytes);
    }

    /// The answer of a name server to a question for `_ldap._tcp.x`.
    pub fn dns(bytes: &[u8]) {
        let _ = crate::dns::decode_answer(bytes, "_ldap._tcp.x");
    }
}
