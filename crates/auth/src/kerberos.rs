//! Kerberos, as far as an acceptor needs it: what the library behind it must do,
//! and who comes of its tickets. The library itself is the shell's business.

use core::time::Duration;

use crate::failure::{AuthFailure, FailureReason};
use crate::identity::Identity;
use crate::key::SessionKey;
use crate::pac::LogonInfo;

/// The keys of a service, for accepting any number of clients.
pub trait KerberosService: Send + Sync + core::fmt::Debug {
    /// Begins an exchange.
    ///
    /// # Errors
    /// When the library cannot.
    fn accept(&self) -> Result<Box<dyn KerberosAcceptor>, KerberosFailure>;
}

/// One exchange, as the service sees it. It asks nobody else, and does not block.
pub trait KerberosAcceptor: Send {
    /// Takes a token of the client (AP-REQ in its GSS-API frame).
    ///
    /// # Errors
    /// When the client is not let in.
    fn step(&mut self, token: &[u8]) -> Result<KerberosStep, KerberosFailure>;

    /// GSS_GetMIC: the signature of a message, once the exchange is done.
    ///
    /// # Errors
    /// When there is no context, or it has expired.
    fn mic(&mut self, message: &[u8]) -> Result<Vec<u8>, KerberosFailure>;

    /// GSS_VerifyMIC: whether a signature of the client's fits.
    fn verify_mic(&mut self, message: &[u8], mic: &[u8]) -> bool;
}

/// What came of a token.
#[derive(Debug)]
pub enum KerberosStep {
    /// The client must answer this.
    Continue(Vec<u8>),
    /// The client has proved who it is.
    Done {
        /// AP-REP in its frame; empty when the client wants none.
        token: Vec<u8>,
        /// Who, and the key.
        peer: KerberosPeer,
    },
}

/// A client that was let in.
#[derive(Debug, Clone)]
pub struct KerberosPeer {
    /// `alice@LAB.EXAMPLE`.
    pub principal: String,
    /// The whole key of the context.
    pub session_key: SessionKey,
    /// The verified PAC's logon information; `None` where the ticket has no PAC, or
    /// its signature is not right.
    pub logon_info: Option<Vec<u8>>,
    /// Until the ticket expires; `None`: never.
    pub lifetime: Option<Duration>,
}

/// Why a client was not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KerberosFailure {
    /// The class.
    pub reason: FailureReason,
    /// The library's words.
    pub text: String,
}

impl From<KerberosFailure> for AuthFailure {
    fn from(failure: KerberosFailure) -> Self {
        Self {
            detail: failure.text,
            ..Self::nameless(failure.reason)
        }
    }
}

impl KerberosPeer {
    /// The realm of the principal.
    pub fn realm(&self) -> &str {
        self.principal
            .rsplit_once('@')
            .map_or("", |(_, realm)| realm)
    }

    /// Who it is for files and shares.
    ///
    /// # Errors
    /// When the ticket says nothing about SIDs, or what it says cannot be read.
    pub fn identity(&self) -> Result<Identity, AuthFailure> {
        let failure = |reason, detail: String| AuthFailure {
            user: self.principal.clone(),
            detail,
            ..AuthFailure::nameless(reason)
        };
        let info = self
            .logon_info
            .as_deref()
            .ok_or_else(|| failure(FailureReason::NoPac, String::new()))?;
        let info = LogonInfo::decode(info)
            .map_err(|e| failure(FailureReason::Malformed("PAC"), e.to_string()))?;
        Ok(Identity::domain_user(&info, self.realm()))
    }
}
