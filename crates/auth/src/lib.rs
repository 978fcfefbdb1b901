//! SPNEGO, NTLM and the frame of Kerberos as step machines, and the users they are checked against.
//!
//! A token from the peer goes in, a token for the peer or an [`Identity`] with
//! its session key comes out. No socket, no clock, no randomness: the challenge
//! and the time are arguments. The message codecs ([`spnego`], [`ntlm`]) serve
//! both ends of an exchange.
#![forbid(unsafe_code)]

pub mod acceptor;
pub mod classic;
pub mod config;
pub mod der;
pub mod failure;
pub mod identity;
pub mod initiator;
pub mod kerberos;
pub mod key;
mod logon;
pub mod ntlm;
pub mod pac;
pub mod sid;
pub mod spnego;
pub mod users;

pub use acceptor::{AcceptContext, Acceptor, Mechanism, Step, negotiate_hint};
pub use classic::{ClassicAccepted, ClassicLogon, ClassicResponses, classic_logon};
pub use config::{AuthConfig, GuestRule, NtlmRules, ServerNames};
pub use failure::{AuthFailure, FailureReason};
pub use identity::{Identity, IdentityKind};
pub use initiator::{
    Initiated, Initiator, InitiatorError, InitiatorStep, MechanismInitiator, NtlmMechanism,
    SpnegoInitiator,
};
pub use kerberos::{
    KerberosAcceptor, KerberosFailure, KerberosPeer, KerberosService, KerberosStep,
};
pub use key::SessionKey;
pub use ntlm::verify::NtlmVersion;
pub use sid::{MachineSid, Sid};
pub use users::{NtHash, User, UserDirectory, UserFile};
