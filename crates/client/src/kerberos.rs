//! Kerberos, by MIT's library: a mechanism of SPNEGO, RFC 4121 and RFC 4178.

use std::path::Path;
use std::sync::Arc;

use countersign_auth::spnego::{OID_KERBEROS, OID_MS_KERBEROS};
use countersign_auth::{
    Initiated, Initiator, InitiatorError, MechanismInitiator, SessionKey, SpnegoInitiator,
};
use countersign_gssapi::{Credential, Established, Flags, InitiatorContext, Library, Step};

use crate::credentials::{Credentials, InitiatorFactory, LogonTarget};
use crate::error::{Error, ErrorKind, Result};

/// Logs on with Kerberos and nothing else: there is no way back to NTLM, and the
/// server proves who it is.
pub struct KerberosLogon {
    credential: Arc<Credential>,
    realm: Option<String>,
}

impl KerberosLogon {
    /// With this credential; `realm` is the servers' realm, where it does not follow from
    /// their names.
    pub fn new(credential: Arc<Credential>, realm: Option<String>) -> KerberosLogon {
        KerberosLogon { credential, realm }
    }
}

impl Credentials {
    /// Tickets of a cache (`FILE:/tmp/krb5cc_0`, `KEYRING:...`; by default the user's own),
    /// of the cache's principal or of this one.
    ///
    /// # Errors
    /// Without Kerberos on this machine ([`ErrorKind::Authentication`] as all others), without
    /// such a cache, or when its tickets have expired.
    pub fn kerberos_cache(cache: Option<&str>, principal: Option<&str>) -> Result<Self> {
        Self::kerberos(|library| Credential::from_cache(library, cache, principal))
    }

    /// The key of a principal in a keytab: `alice@EXAMPLE.COM`.
    ///
    /// # Errors
    /// Without Kerberos on this machine, or without such a key.
    pub fn kerberos_keytab(keytab: &Path, principal: &str) -> Result<Self> {
        Self::kerberos(|library| Credential::from_keytab(library, keytab, principal))
    }

    /// A principal and password. **Blocks**: a KDC is asked for a ticket.
    ///
    /// # Errors
    /// Without Kerberos on this machine, or when the KDC refuses.
    pub fn kerberos_password(principal: &str, password: &str) -> Result<Self> {
        Self::kerberos(|library| Credential::from_password(library, principal, password))
    }

    fn kerberos(
        credential: impl FnOnce(
            &'static Library,
        ) -> std::result::Result<Credential, countersign_gssapi::Error>,
    ) -> Result<Self> {
        let library = Library::load().map_err(|missing| failed(missing.to_string()))?;
        let credential = credential(library).map_err(|error| failed(error.to_string()))?;
        let logon = KerberosLogon::new(Arc::new(credential), None);
        Ok(Self::with_factory(Arc::new(logon)))
    }
}

fn failed(text: String) -> Error {
    Error::new(ErrorKind::Authentication, text)
}

impl InitiatorFactory for KerberosLogon {
    fn initiator(&self, target: &LogonTarget) -> Result<Box<dyn Initiator>> {
        let service = match &self.realm {
            Some(realm) => format!("{}@{realm}", target.service),
            None => target.service.clone(),
        };
        let context = InitiatorContext::new(Arc::clone(&self.credential), &service, Flags::SMB)
            .map_err(|error| failed(error.to_string()))?;
        let mechanism = Mechanism {
            state: State::Running(Box::new(context)),
        };
        let initiator = SpnegoInitiator::new(vec![Box::new(mechanism)])
            .ok_or_else(|| failed("no mechanism".to_owned()))?;
        Ok(Box::new(initiator))
    }

    fn describe(&self) -> String {
        self.credential
            .name()
            .unwrap_or_else(|_| "Kerberos".to_owned())
    }
}

struct Mechanism {
    state: State,
}

enum State {
    Running(Box<InitiatorContext>),
    Done(Box<Established>, SessionKey),
    Failed,
}

impl MechanismInitiator for Mechanism {
    fn oids(&self) -> &'static [&'static [u8]] {
        &[OID_KERBEROS, OID_MS_KERBEROS]
    }

    fn step(
        &mut self,
        token: Option<&[u8]>,
    ) -> std::result::Result<(Option<Vec<u8>>, bool), InitiatorError> {
        let failed =
            |error: countersign_gssapi::Error| InitiatorError::Mechanism(error.to_string());
        let State::Running(mut context) = std::mem::replace(&mut self.state, State::Failed) else {
            return Err(InitiatorError::OutOfTurn);
        };
        match context.step(token).map_err(failed)? {
            Step::Continue { token } => {
                self.state = State::Running(context);
                Ok((Some(token), false))
            }
            Step::Done {
                token,
                context: mut established,
            } => {
                let key = established.session_key().map_err(failed)?;
                let key = SessionKey::new(&key);
                self.state = State::Done(Box::new(established), key);
                Ok((Some(token).filter(|token| !token.is_empty()), true))
            }
        }
    }

    fn outcome(&self) -> Option<Initiated> {
        match &self.state {
            State::Done(context, key) => Some(Initiated {
                session_key: Some(key.clone()),
                mutual: context.flags().contains(Flags::MUTUAL),
                mechanism: "Kerberos",
            }),
            _ => None,
        }
    }

    fn mic(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        match &mut self.state {
            State::Done(context, _) => context.get_mic(data).ok(),
            _ => None,
        }
    }

    fn verify_mic(&mut self, data: &[u8], mic: &[u8]) -> bool {
        match &mut self.state {
            State::Done(context, _) => context.verify_mic(data, mic).is_ok(),
            _ => false,
        }
    }
}
