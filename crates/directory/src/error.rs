//! What can go wrong on the way to the directory.

use std::io;
use std::path::PathBuf;

use countersign_gssapi::ErrorKind;
use countersign_policy::group_policy::{ContainerError, Undecided};

use crate::dns::ResolverError;

/// Why something could not be had from the directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Names.
    #[error(transparent)]
    Dns(#[from] ResolverError),
    /// No controller of the domain was found or answered.
    #[error("no domain controller of {domain} answers: {why}")]
    NoController {
        /// The domain.
        domain: String,
        /// What was tried.
        why: String,
    },
    /// There is no Kerberos on this machine.
    #[error(transparent)]
    NoKerberos(#[from] countersign_gssapi::Missing),
    /// Kerberos says no.
    #[error("Kerberos: {0}")]
    Kerberos(#[from] countersign_gssapi::Error),
    /// The connection.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Too slow.
    #[error("{doing}: no answer within {seconds} s")]
    Slow {
        /// What was being done.
        doing: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// The peer sent what it may not.
    #[error("{doing}: {what}")]
    Peer {
        /// What was being done.
        doing: &'static str,
        /// What it did.
        what: String,
    },
    /// The server refuses an operation.
    #[error("{doing}: the server answers {code} ({name}){}", .text.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    Ldap {
        /// What was being done.
        doing: String,
        /// resultCode, [RFC 4511] 4.1.9.
        code: u32,
        /// Its name.
        name: &'static str,
        /// diagnosticMessage.
        text: Option<String>,
    },
    /// The directory does not have it.
    #[error("{0}")]
    Missing(String),
    /// A container cannot be understood.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// Whether an object applies cannot be decided.
    #[error(transparent)]
    Undecided(#[from] Undecided),
    /// The machine's keys.
    #[error("keytab {}: {what}", .path.display())]
    Keytab {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A step failed.
    #[error("{step}: {source}")]
    At {
        /// Which, and at which controller.
        step: String,
        /// Why.
        source: Box<Error>,
    },
    /// SYSVOL.
    #[error("{path}: {what}")]
    Sysvol {
        /// The file or folder.
        path: String,
        /// What is wrong.
        what: String,
    },
}

impl Error {
    /// The same, at a step. What names its place already stays as it is.
    pub(crate) fn at(self, step: String) -> Error {
        match self {
            Error::At { .. } | Error::Sysvol { .. } => self,
            source => Error::At {
                step,
                source: Box::new(source),
            },
        }
    }

    /// What an administrator can do about it.
    pub fn remedy(&self) -> Option<String> {
        let said = |text: &str| Some(text.to_owned());
        match self {
            Error::At { source, .. } => source.remedy(),
            Error::Dns(ResolverError::NoServer) => {
                said("name the domain's name servers in /etc/resolv.conf")
            }
            Error::Dns(_) => said(
                "the name servers in /etc/resolv.conf must be those of the domain, or forward to \
                 them, and be reachable on port 53",
            ),
            Error::NoController { domain, .. } => Some(format!(
                "`host -t SRV _ldap._tcp.dc._msdcs.{domain}` must name controllers, and port 389 \
                 of one be reachable from here; `controller` in `[group-policy]` names one"
            )),
            Error::NoKerberos(_) | Error::Undecided(_) | Error::Missing(_) => None,
            Error::Kerberos(error) => said(match error.kind() {
                ErrorKind::ClockSkew => {
                    "set this machine's clock by the controllers' (chronyc makestep); Kerberos \
                     allows five minutes"
                }
                ErrorKind::Unreachable => {
                    "port 88 of a controller must be reachable from here, and DNS or \
                     /etc/krb5.conf name it"
                }
                ErrorKind::UnknownPrincipal => {
                    "the domain does not know the account or the service: was the account deleted \
                     or renamed? `countersign join` makes a new one"
                }
                ErrorKind::NoCredential | ErrorKind::WrongKey => {
                    "the keytab's keys are not the account's, or the account is disabled: was its \
                     password changed or reset elsewhere? `countersign join DOMAIN --reset` \
                     writes new keys; `klist -kte KEYTAB` shows those there are"
                }
                ErrorKind::Integrity | ErrorKind::Replay | ErrorKind::Malformed => {
                    "what came was changed on its way: who is between this machine and the \
                     controller?"
                }
                ErrorKind::Expired => "the account or its ticket has expired",
                _ => "`KRB5_TRACE=/dev/stderr countersign policy gpo refresh` says more",
            }),
            Error::Io { .. } | Error::Slow { .. } => said(
                "port 389 of the controller must be reachable from here, and the controller well",
            ),
            Error::Peer { .. } => said(
                "this is no answer of a sound controller: look at the controller, and at what is \
                 between it and this machine",
            ),
            Error::Ldap { .. } => {
                said("look at the directory service of the controller, and at the account's rights")
            }
            Error::Keytab { .. } => said(
                "`countersign join DOMAIN` makes a keytab; whoever serves must be able to read it",
            ),
            Error::Container(_) => {
                said("mend gPLink or gPOptions of the container, by the console of Group Policy")
            }
            Error::Sysvol { .. } => said(
                "port 445 of the controller must be reachable from here and its SYSVOL be whole \
                 and replicated; the connection is always signed, and ends when somebody changes it",
            ),
        }
    }

    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { doing, source }
    }

    pub(crate) fn peer(doing: &'static str, what: impl Into<String>) -> Error {
        Error::Peer {
            doing,
            what: what.into(),
        }
    }
}
