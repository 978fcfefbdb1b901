//! Kerberos for the server: a keytab's keys by MIT's library.

use std::sync::Arc;
use std::time::Duration;

use countersign_auth::{
    FailureReason, KerberosAcceptor, KerberosFailure, KerberosPeer, KerberosService, KerberosStep,
    SessionKey,
};
use countersign_gssapi::{
    AcceptorContext, Credential, Error, ErrorKind, Established, Library, Lifetime, PAC_LOGON_INFO,
    ReplayCache, Step,
};

use crate::config::Config;

/// The keys of a keytab.
#[derive(Debug)]
pub struct Keytab {
    credential: Arc<Credential>,
}

/// Opens the keytab of a configuration; `None` where Kerberos is not configured.
///
/// # Errors
/// When the library is not installed, or the keytab cannot be used: in words for
/// whoever starts the server.
pub fn open(config: &Config) -> Result<Option<Arc<dyn KerberosService>>, String> {
    let section = &config.kerberos;
    let Some(file) = &section.keytab else {
        // The command line may name the keytab, so the file alone cannot tell.
        if section.principal.is_some() || section.replay_cache.is_some() {
            return Err("Kerberos is configured without a `keytab`".to_owned());
        }
        if !config.authentication.ntlm {
            return Err(
                "without NTLM a `keytab` must be set for Kerberos: nobody could log on".to_owned(),
            );
        }
        return Ok(None);
    };
    let library = Library::load().map_err(|missing| missing.to_string())?;
    // The library's own words for these two are poor.
    std::fs::File::open(file)
        .map_err(|error| format!("Kerberos: keytab {}: {error}", file.display()))?;
    let replay = match &section.replay_cache {
        Some(file) => ReplayCache::File(file),
        None => ReplayCache::System,
    };
    let credential = Credential::acceptor(library, file, section.principal.as_deref(), replay)
        .map_err(|error| format!("Kerberos: keytab {}: {error}", file.display()))?;
    Ok(Some(Arc::new(Keytab {
        credential: Arc::new(credential),
    })))
}

impl KerberosService for Keytab {
    fn accept(&self) -> Result<Box<dyn KerberosAcceptor>, KerberosFailure> {
        let context = AcceptorContext::new(Arc::clone(&self.credential)).map_err(failure)?;
        Ok(Box::new(Exchange::Open(context)))
    }
}

/// One client's exchange.
enum Exchange {
    Open(AcceptorContext),
    Done(Box<Established>),
}

impl KerberosAcceptor for Exchange {
    fn step(&mut self, token: &[u8]) -> Result<KerberosStep, KerberosFailure> {
        let Exchange::Open(context) = self else {
            return Err(over());
        };
        match context.step(token).map_err(failure)? {
            Step::Continue { token } => Ok(KerberosStep::Continue(token)),
            Step::Done { token, mut context } => {
                let peer = peer(&mut context)?;
                *self = Exchange::Done(Box::new(context));
                Ok(KerberosStep::Done { token, peer })
            }
        }
    }

    fn mic(&mut self, message: &[u8]) -> Result<Vec<u8>, KerberosFailure> {
        match self {
            Exchange::Done(context) => context.get_mic(message).map_err(failure),
            Exchange::Open(_) => Err(over()),
        }
    }

    fn verify_mic(&mut self, message: &[u8], mic: &[u8]) -> bool {
        match self {
            Exchange::Done(context) => context.verify_mic(message, mic).is_ok(),
            Exchange::Open(_) => false,
        }
    }
}

fn peer(context: &mut Established) -> Result<KerberosPeer, KerberosFailure> {
    let lifetime = match context.lifetime() {
        Lifetime::Indefinite => None,
        Lifetime::Left(left) => Some(left),
        Lifetime::Expired => Some(Duration::ZERO),
    };
    let key = context.session_key().map_err(failure)?;
    // A library that found no PAC, or one it could not verify, says so here: the logon
    // then fails for want of groups.
    let logon_info = context
        .peer_attribute(PAC_LOGON_INFO)
        .map_err(failure)?
        .filter(|info| info.authenticated)
        .map(|info| info.value);
    Ok(KerberosPeer {
        principal: context.peer().map_err(failure)?,
        session_key: SessionKey::new(&key),
        logon_info,
        lifetime,
    })
}

fn over() -> KerberosFailure {
    KerberosFailure {
        reason: FailureReason::OutOfOrder("Kerberos token"),
        text: String::new(),
    }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "what map_err passes is a value"
)]
fn failure(error: Error) -> KerberosFailure {
    let reason = match error.kind() {
        ErrorKind::Expired => FailureReason::TicketExpired,
        ErrorKind::ClockSkew => FailureReason::ClockSkew,
        ErrorKind::Replay => FailureReason::TicketReplayed,
        ErrorKind::WrongKey | ErrorKind::Integrity | ErrorKind::NoCredential => {
            FailureReason::WrongKey
        }
        ErrorKind::Malformed => FailureReason::Malformed("Kerberos token"),
        _ => FailureReason::Kerberos,
    };
    KerberosFailure {
        reason,
        text: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn off_without_a_keytab() {
        assert!(open(&Config::default()).unwrap().is_none());
    }

    fn with(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::default();
        change(&mut config);
        config
    }

    #[test]
    fn what_makes_no_sense_without_a_keytab_is_refused() {
        let principal = with(|c| c.kerberos.principal = Some("cifs/a".to_owned()));
        assert!(open(&principal).unwrap_err().contains("`keytab`"));
        let nobody = with(|c| c.authentication.ntlm = false);
        assert!(open(&nobody).unwrap_err().contains("nobody could log on"));
    }

    #[test]
    fn a_keytab_that_is_not_there_is_named() {
        let file = PathBuf::from("/nowhere/krb5.keytab");
        let error = open(&with(|c| c.kerberos.keytab = Some(file))).unwrap_err();
        // Where the library is missing, that comes first.
        assert!(
            error.contains("/nowhere/krb5.keytab") || error.contains("libgssapi_krb5.so.2"),
            "{error}"
        );
    }

    #[test]
    fn a_keytab_that_is_none_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"no keytab").unwrap();
        let path = file.path().to_owned();
        assert!(open(&with(|c| c.kerberos.keytab = Some(path))).is_err());
    }
}
