//! NTLM, [MS-NLMP]: messages, responses, keys and message integrity. For both
//! ends of an exchange; [`acceptor`] is the server's.

pub mod acceptor;
pub mod av;
pub mod flags;
pub mod hash;
pub mod initiator;
pub mod message;
pub mod seal;
pub mod verify;

pub use acceptor::NtlmAcceptor;
pub use flags::NegotiateFlags;
pub use initiator::{ClientRandom, NtlmCredentials, NtlmInitiated, NtlmInitiator};
pub use message::{Authenticate, Challenge, Negotiate, Version};
