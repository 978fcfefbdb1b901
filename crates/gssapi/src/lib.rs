//! The GSSAPI of MIT Kerberos, loaded at run time when Kerberos is configured:
//! building needs no system packages, and machines without the library run the rest.
//!
//! Only the Kerberos mechanism is used (RFC 4121); SPNEGO around it is the
//! caller's. Files (keytab, ticket cache, replay cache) are named in every
//! credential, never through the environment. What may talk to a KDC, and so
//! block, says so.
#![allow(
    unsafe_code,
    reason = "calls into MIT's libgssapi_krb5; every call is in this crate, with its reason"
)]

mod acceptor;
mod buffer;
mod context;
mod credential;
mod error;
mod initiator;
mod krb5;
mod library;
mod name;
mod sys;

pub use acceptor::AcceptorContext;
pub use context::{Attribute, Established, Flags, Lifetime, Step, Unwrapped};
pub use credential::{Credential, ReplayCache};
pub use error::{Error, ErrorKind};
pub use initiator::InitiatorContext;
pub use krb5::{PasswordError, change_password, check_keytab};
pub use library::{Library, Missing};
pub use zeroize::Zeroizing;

/// The attribute of a peer's name that holds the PAC's logon information:
/// KERB_VALIDATION_INFO, [MS-PAC] 2.5.
pub const PAC_LOGON_INFO: &str = "urn:mspac:logon-info";
