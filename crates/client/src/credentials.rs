//! Who logs on.

use std::fmt;
use std::sync::Arc;

use countersign_auth::ntlm::{ClientRandom, NtlmCredentials};
use countersign_auth::{Initiator, NtHash, NtlmMechanism, SpnegoInitiator};

use crate::entropy;
use crate::error::Result;

/// Whom a logon is for, told to an [`InitiatorFactory`].
#[derive(Debug, Clone)]
pub struct LogonTarget {
    /// The host as the user named it.
    pub host: String,
    /// The service's name: `cifs/host`.
    pub service: String,
    /// The server must prove who it is.
    pub mutual: bool,
}

/// Makes initiators: Kerberos, or a mechanism of one's own.
pub trait InitiatorFactory: Send + Sync {
    /// A fresh exchange with this server. May block.
    ///
    /// # Errors
    /// When the exchange cannot begin, such as for want of a ticket.
    fn initiator(&self, target: &LogonTarget) -> Result<Box<dyn Initiator>>;

    /// Whom it logs on, for messages.
    fn describe(&self) -> String;
}

/// Who logs on. Clones share what they hold; passwords are kept as NT hashes
/// only, which are wiped when dropped, and have no Debug of their contents.
#[derive(Clone)]
pub struct Credentials(pub(crate) Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    Anonymous,
    Ntlm {
        credentials: NtlmCredentials,
        guest: bool,
    },
    Factory(Arc<dyn InitiatorFactory>),
}

impl Credentials {
    /// A null session: no user. Servers allow it little or nothing.
    pub fn anonymous() -> Self {
        Self(Kind::Anonymous)
    }

    /// The guest account, with an empty password. Guest sessions cannot be
    /// signed: a policy that requires signing refuses them.
    pub fn guest() -> Self {
        let mut this = Self::nt_hash("guest", NtHash::from_password(""));
        if let Kind::Ntlm { guest, .. } = &mut this.0 {
            *guest = true;
        }
        this
    }

    /// A user and password. The user may be `user`, `DOMAIN\user` or `user@realm`.
    pub fn password(user: &str, password: &str) -> Self {
        Self::nt_hash(user, NtHash::from_password(password))
    }

    /// A user and the NT hash of the password.
    pub fn nt_hash(user: &str, nt_hash: NtHash) -> Self {
        let (domain, user) = match user.split_once(['\\', '/']) {
            Some((domain, user)) => (domain, user),
            None => ("", user),
        };
        Self(Kind::Ntlm {
            credentials: NtlmCredentials {
                user: user.into(),
                domain: domain.into(),
                nt_hash,
                workstation: workstation(),
            },
            guest: false,
        })
    }

    /// The same in another domain.
    #[must_use]
    pub fn with_domain(mut self, name: &str) -> Self {
        if let Kind::Ntlm { credentials, .. } = &mut self.0 {
            credentials.domain = name.into();
        }
        self
    }

    /// A mechanism of one's own.
    pub fn with_factory(factory: Arc<dyn InitiatorFactory>) -> Self {
        Self(Kind::Factory(factory))
    }

    /// Whom it logs on, for messages.
    pub fn describe(&self) -> String {
        match &self.0 {
            Kind::Anonymous => "anonymous".into(),
            Kind::Ntlm { credentials, .. } if credentials.domain.is_empty() => {
                credentials.user.clone()
            }
            Kind::Ntlm { credentials, .. } => {
                format!("{}\\{}", credentials.domain, credentials.user)
            }
            Kind::Factory(factory) => factory.describe(),
        }
    }

    /// A logon without user was asked for.
    pub(crate) fn is_guest(&self) -> bool {
        matches!(self.0, Kind::Ntlm { guest: true, .. })
    }

    /// The credentials for a logon of SMB1 without extended security.
    pub(crate) fn classic(&self) -> Option<NtlmCredentials> {
        match &self.0 {
            Kind::Ntlm { credentials, .. } => Some(credentials.clone()),
            Kind::Anonymous => Some(anonymous()),
            Kind::Factory(_) => None,
        }
    }

    pub(crate) fn initiator(&self, target: &LogonTarget) -> Result<Box<dyn Initiator>> {
        let credentials = match &self.0 {
            Kind::Factory(factory) => return factory.initiator(target),
            Kind::Anonymous => anonymous(),
            Kind::Ntlm { credentials, .. } => credentials.clone(),
        };
        let random = ClientRandom {
            challenge: entropy::bytes(),
            session_key: entropy::bytes().into(),
        };
        let now = crate::metadata::file_time(std::time::SystemTime::now());
        let mechanism = NtlmMechanism::new(credentials, Some(target.service.clone()), random)
            .at(now.0.to_le_bytes());
        Ok(Box::new(SpnegoInitiator::ntlm(mechanism)))
    }
}

fn anonymous() -> NtlmCredentials {
    NtlmCredentials {
        user: String::new(),
        domain: String::new(),
        nt_hash: NtHash::from_password(""),
        workstation: String::new(),
    }
}

/// The name of this machine, as far as it is known without asking the system.
fn workstation() -> String {
    std::env::var("HOSTNAME")
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "COUNTERSIGN".into())
        .split('.')
        .next()
        .unwrap_or_default()
        .to_uppercase()
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.describe())
    }
}

impl Default for Credentials {
    fn default() -> Self {
        Self::anonymous()
    }
}
