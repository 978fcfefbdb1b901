//! What can go wrong on the way to the directory.

use std::io;

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
