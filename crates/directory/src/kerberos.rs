//! Kerberos as a client's mechanism in SPNEGO, RFC 4121 and RFC 4178.

use std::sync::Arc;

use countersign_auth::spnego::{OID_KERBEROS, OID_MS_KERBEROS};
use countersign_auth::{
    Initiated, Initiator, InitiatorError, MechanismInitiator, SessionKey, SpnegoInitiator,
};
use countersign_client::{Error, ErrorKind, InitiatorFactory, LogonTarget, Result};
use countersign_gssapi::{Credential, Established, Flags, InitiatorContext, Step};

/// Logs on with Kerberos and nothing else.
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

impl InitiatorFactory for KerberosLogon {
    fn initiator(&self, target: &LogonTarget) -> Result<Box<dyn Initiator>> {
        let failed = |text: String| Error::new(ErrorKind::Authentication, text);
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
