//! Why a call failed and why a connection ended.

use countersign_policy::Reason;
use countersign_wire::NtStatus;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server refused it.
    #[error("{command}: {status}")]
    Status {
        /// The server's status.
        status: NtStatus,
        /// The command of the protocol, as the specification names it.
        command: &'static str,
    },
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The connection is closed, or was before the answer came.
    #[error("{0}")]
    Closed(CloseReason),
    /// The dialect has no such request, or the server did not offer it.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The answer cannot be understood; the connection is kept.
    #[error("the server's answer to {command} is malformed")]
    Malformed {
        /// The command of the protocol.
        command: &'static str,
    },
    /// The tree or open named is not (or no longer) known.
    #[error("the share or file is not open on this connection")]
    UnknownHandle,
    /// A limit of [`ClientLimits`](super::ClientLimits).
    #[error("{0}")]
    Limit(&'static str),
}

impl Failure {
    /// The server's status, if it answered.
    pub fn status(&self) -> Option<NtStatus> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// We closed it.
    #[error("the connection was closed")]
    Local,
    /// The peer closed it, or the network did.
    #[error("the server closed the connection")]
    Peer,
    /// The gate refused what the server sent or offered.
    #[error("{}", .0.text())]
    Policy(Reason),
    /// The server sent something that is not SMB, or against its rules.
    #[error("protocol violation by the server: {0}")]
    Violation(&'static str),
    /// Both sides have no dialect, algorithm or cipher in common, or one that
    /// was demanded is missing.
    #[error("{0}")]
    Incompatible(&'static str),
    /// The server refused NEGOTIATE.
    #[error("the server refused the negotiation: {0}")]
    Negotiation(NtStatus),
    /// Nothing was heard in time.
    #[error("the server did not answer in time")]
    Timeout,
    /// The server ended the session.
    #[error("the server ended the session")]
    SessionDeleted,
    /// We ended the session with LOGOFF; what was still asked for has no answer.
    #[error("the session was ended here (LOGOFF) before this was answered")]
    LoggedOff,
}

impl CloseReason {
    /// Whether another connection may do better: not where the server, or
    /// somebody between, broke a rule.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Peer | Self::Timeout | Self::SessionDeleted)
    }
}
