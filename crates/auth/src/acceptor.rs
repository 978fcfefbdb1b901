//! The acceptor: SPNEGO around a mechanism, or NTLMSSP alone.

use std::sync::Arc;

use countersign_wire::FileTime;

use crate::config::AuthConfig;
use crate::failure::{AuthFailure, FailureReason};
use crate::identity::Identity;
use crate::key::SessionKey;
use crate::ntlm::verify::NtlmVersion;
use crate::users::UserDirectory;

/// What one authentication needs from outside.
#[derive(Debug, Clone, Copy)]
pub struct AcceptContext {
    /// The exchange runs over SMB1 (its own rule for NTLMv1).
    pub smb1: bool,
    /// ServerChallenge: eight random bytes, never used twice.
    pub server_challenge: [u8; 8],
    /// Time sent to the client.
    pub now: FileTime,
}

/// How the peer was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// NTLM; `None` for guests and anonymous.
    Ntlm(Option<NtlmVersion>),
}

/// What came of a token.
#[derive(Debug)]
pub enum Step {
    /// STATUS_MORE_PROCESSING_REQUIRED with this token.
    Continue {
        /// Token for the client.
        token: Vec<u8>,
    },
    /// The logon succeeded.
    Done {
        /// Last token for the client; empty when there is none.
        token: Vec<u8>,
        /// Who has logged on.
        identity: Box<Identity>,
        /// The key; `None` for guests and anonymous.
        session_key: Option<SessionKey>,
        /// How.
        mechanism: Mechanism,
    },
    /// The logon failed; the acceptor answers nothing further.
    Failed {
        /// Token that goes with the error, if any.
        token: Option<Vec<u8>>,
        /// Why.
        failure: AuthFailure,
    },
}

/// One authentication, as the server sees it.
pub struct Acceptor {
    config: Arc<AuthConfig>,
    users: Arc<dyn UserDirectory>,
    context: AcceptContext,
}

impl Acceptor {
    /// An acceptor that has seen nothing yet.
    pub fn new(
        config: Arc<AuthConfig>,
        users: Arc<dyn UserDirectory>,
        context: AcceptContext,
    ) -> Self {
        Self { config, users, context }
    }

    /// Takes a token of the client.
    pub fn step(&mut self, token: &[u8]) -> Step {
        let _ = (&self.config, &self.users, &self.context, token);
        Step::Failed {
            token: None,
            failure: AuthFailure::nameless(FailureReason::NoMechanism),
        }
    }
}

/// The token of the NEGOTIATE response: NegTokenInit2, [MS-SPNG] 2.2.1.
pub fn negotiate_hint(config: &AuthConfig) -> Vec<u8> {
    let _ = config;
    Vec::new()
}
