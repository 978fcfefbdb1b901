//! What went wrong, with the server's status and what to do about it.

use std::fmt;

use countersign_core::client::{CloseReason, Failure};
use countersign_policy::Reason;
use countersign_wire::NtStatus;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No such file, directory or path.
    NotFound,
    /// The share does not exist.
    ShareNotFound,
    /// The user may not do that.
    PermissionDenied,
    /// Wrong name or password, or the account may not log on.
    LogonFailed,
    /// It exists already.
    AlreadyExists,
    /// A directory was expected.
    NotADirectory,
    /// A file was expected.
    IsADirectory,
    /// The directory still has something in it.
    DirectoryNotEmpty,
    /// Somebody else has it open in a way that excludes this.
    SharingViolation,
    /// A byte range is locked.
    Locked,
    /// The disk is full, or a quota.
    DiskFull,
    /// The path or an argument is not valid.
    InvalidInput,
    /// The server or the dialect cannot do it.
    Unsupported,
    /// The path leads to another server of a DFS namespace.
    DfsReferral,
    /// It was cancelled.
    Cancelled,
    /// Nothing was heard in time.
    TimedOut,
    /// No connection could be made.
    Unreachable,
    /// The connection was lost.
    Disconnected,
    /// A signature was missing or wrong, or the policy forbids what the server offers.
    Policy,
    /// No dialect, algorithm or cipher in common, or one that is demanded is missing.
    Incompatible,
    /// The server sent nonsense.
    Protocol,
    /// Kerberos, or another mechanism on this side, failed.
    Authentication,
    /// Reading or writing on this side failed.
    Local,
    /// Something else; see the status.
    Other,
}

/// An error: what was tried, what the server said, what to do.
///
/// ```
/// # mod served { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/served/mod.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), countersign_client::Error> {
/// # let running = served::serve();
/// # let share = served::share(&running).await;
/// use countersign_client::{ErrorKind, NtStatus};
///
/// let error = share.read("none").await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.status(), Some(NtStatus::OBJECT_NAME_NOT_FOUND));
/// assert!(!error.hint().is_empty());
/// // In functions of std::io it is what it should be.
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::NotFound);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    status: Option<NtStatus>,
    /// What was tried: `open \\server\share\file`.
    what: String,
    /// What happened, where there is no status.
    text: String,
    close: Option<CloseReason>,
}

impl Error {
    /// One of an [`crate::InitiatorFactory`] or the like.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                status: None,
                what: String::new(),
                text: text.into(),
                close: None,
            }),
        }
    }

    /// The same with what was tried, unless that is known already.
    pub(crate) fn during(mut self, what: impl FnOnce() -> String) -> Self {
        if self.inner.what.is_empty() {
            self.inner.what = what();
        }
        self
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The server's status, if it answered.
    pub fn status(&self) -> Option<NtStatus> {
        self.inner.status
    }

    /// Why the connection ended, where that is the error.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.inner.close.as_ref()
    }

    /// The policy's reason, where the gate refused.
    pub fn policy_reason(&self) -> Option<Reason> {
        match self.inner.close {
            Some(CloseReason::Policy(reason)) => Some(reason),
            _ => None,
        }
    }

    /// What was tried, such as `open \\server\share\file`; may be empty.
    pub fn what(&self) -> &str {
        &self.inner.what
    }

    /// What to do, in words; empty where there is nothing to advise.
    pub fn hint(&self) -> &'static str {
        if self.policy_reason() == Some(Reason::GuestUnderRequired) {
            return "log on as a user the server knows, or do not require signing";
        }
        if matches!(&self.inner.close, Some(CloseReason::Incompatible(why)) if why.contains("guest"))
        {
            return "it does not know this user, or the password is wrong; correct them, or allow guests";
        }
        match self.inner.status {
            Some(status) => status_hint(status).unwrap_or_else(|| kind_hint(self.inner.kind)),
            None => kind_hint(self.inner.kind),
        }
    }

    /// Whether another connection may do better.
    pub(crate) fn is_transient(&self) -> bool {
        self.inner
            .close
            .as_ref()
            .is_some_and(CloseReason::is_transient)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.inner.what.is_empty() {
            write!(f, "{}: ", self.inner.what)?;
        }
        match self.inner.status {
            Some(status) => write!(f, "{status}")?,
            None => f.write_str(&self.inner.text)?,
        }
        let hint = self.hint();
        if !hint.is_empty() {
            write!(f, ": {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        use std::io::ErrorKind as K;
        let kind = match error.kind() {
            ErrorKind::NotFound | ErrorKind::ShareNotFound => K::NotFound,
            ErrorKind::PermissionDenied | ErrorKind::LogonFailed | ErrorKind::Policy => {
                K::PermissionDenied
            }
            ErrorKind::AlreadyExists => K::AlreadyExists,
            ErrorKind::NotADirectory => K::NotADirectory,
            ErrorKind::IsADirectory => K::IsADirectory,
            ErrorKind::DirectoryNotEmpty => K::DirectoryNotEmpty,
            ErrorKind::SharingViolation | ErrorKind::Locked => K::ResourceBusy,
            ErrorKind::DiskFull => K::StorageFull,
            ErrorKind::InvalidInput => K::InvalidInput,
            ErrorKind::Unsupported | ErrorKind::Incompatible => K::Unsupported,
            ErrorKind::TimedOut => K::TimedOut,
            ErrorKind::Unreachable => K::HostUnreachable,
            ErrorKind::Disconnected => K::NotConnected,
            ErrorKind::Cancelled => K::Interrupted,
            _ => K::Other,
        };
        Self::new(kind, error)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        match error.downcast::<Error>() {
            Ok(ours) => ours,
            Err(error) => Self::new(ErrorKind::Local, error.to_string()),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        match failure {
            Failure::Status { status, command } => {
                let mut error = Self::from_status(status);
                error.inner.text = format!("{command}: {status}");
                error
            }
            Failure::Cancelled => Self::new(ErrorKind::Cancelled, text),
            Failure::Closed(reason) => Self::from_close(reason),
            Failure::Unsupported(_) => Self::new(ErrorKind::Unsupported, text),
            Failure::Malformed { .. } => Self::new(ErrorKind::Protocol, text),
            Failure::UnknownHandle | Failure::Limit(_) => Self::new(ErrorKind::Other, text),
        }
    }
}

impl Error {
    pub(crate) fn from_status(status: NtStatus) -> Self {
        let mut error = Self::new(kind_of(status), status.to_string());
        error.inner.status = Some(status);
        error
    }

    pub(crate) fn from_close(reason: CloseReason) -> Self {
        let kind = match &reason {
            CloseReason::Local
            | CloseReason::Peer
            | CloseReason::SessionDeleted
            | CloseReason::LoggedOff => ErrorKind::Disconnected,
            CloseReason::Timeout => ErrorKind::TimedOut,
            CloseReason::Policy(_) => ErrorKind::Policy,
            CloseReason::Violation(_) => ErrorKind::Protocol,
            CloseReason::Incompatible(_) | CloseReason::Negotiation(_) => ErrorKind::Incompatible,
        };
        let mut error = Self::new(kind, reason.to_string());
        error.inner.close = Some(reason);
        error
    }
}

fn kind_of(status: NtStatus) -> ErrorKind {
    use ErrorKind as K;
    match status {
        NtStatus::OBJECT_NAME_NOT_FOUND
        | NtStatus::OBJECT_PATH_NOT_FOUND
        | NtStatus::NO_SUCH_FILE
        | NtStatus::NOT_FOUND
        | NtStatus::FILE_DELETED
        | NtStatus::DELETE_PENDING => K::NotFound,
        NtStatus::BAD_NETWORK_NAME => K::ShareNotFound,
        NtStatus::ACCESS_DENIED
        | NtStatus::NETWORK_ACCESS_DENIED
        | NtStatus::PRIVILEGE_NOT_HELD
        | NtStatus::CANNOT_DELETE
        | NtStatus::INVALID_OWNER
        | NtStatus::MEDIA_WRITE_PROTECTED => K::PermissionDenied,
        NtStatus::LOGON_FAILURE
        | NtStatus::NO_SUCH_USER
        | NtStatus::WRONG_PASSWORD
        | NtStatus::ACCOUNT_RESTRICTION
        | NtStatus::PASSWORD_EXPIRED
        | NtStatus::ACCOUNT_DISABLED
        | NtStatus::ACCOUNT_LOCKED_OUT
        | NtStatus::LOGON_TYPE_NOT_GRANTED => K::LogonFailed,
        NtStatus::OBJECT_NAME_COLLISION => K::AlreadyExists,
        NtStatus::NOT_A_DIRECTORY => K::NotADirectory,
        NtStatus::FILE_IS_A_DIRECTORY => K::IsADirectory,
        NtStatus::DIRECTORY_NOT_EMPTY => K::DirectoryNotEmpty,
        NtStatus::SHARING_VIOLATION => K::SharingViolation,
        NtStatus::FILE_LOCK_CONFLICT | NtStatus::LOCK_NOT_GRANTED => K::Locked,
        NtStatus::DISK_FULL => K::DiskFull,
        NtStatus::OBJECT_NAME_INVALID
        | NtStatus::OBJECT_PATH_INVALID
        | NtStatus::OBJECT_PATH_SYNTAX_BAD
        | NtStatus::NAME_TOO_LONG
        | NtStatus::INVALID_PARAMETER
        | NtStatus::RANGE_NOT_LOCKED => K::InvalidInput,
        NtStatus::NOT_SUPPORTED
        | NtStatus::NOT_IMPLEMENTED
        | NtStatus::INVALID_DEVICE_REQUEST
        | NtStatus::INVALID_INFO_CLASS
        | NtStatus::FS_DRIVER_REQUIRED => K::Unsupported,
        NtStatus::PATH_NOT_COVERED => K::DfsReferral,
        NtStatus::CANCELLED => K::Cancelled,
        NtStatus::IO_TIMEOUT => K::TimedOut,
        NtStatus::USER_SESSION_DELETED
        | NtStatus::NETWORK_NAME_DELETED
        | NtStatus::CONNECTION_DISCONNECTED => K::Disconnected,
        _ => K::Other,
    }
}

fn status_hint(status: NtStatus) -> Option<&'static str> {
    Some(match status {
        NtStatus::DELETE_PENDING => "it is being deleted; wait until whoever has it open closes it",
        NtStatus::PASSWORD_EXPIRED => "the password has expired; change it",
        NtStatus::ACCOUNT_DISABLED => "the account is disabled; ask the administrator",
        NtStatus::ACCOUNT_LOCKED_OUT => {
            "too many wrong passwords; wait, or ask the administrator to unlock the account"
        }
        NtStatus::ACCOUNT_RESTRICTION | NtStatus::LOGON_TYPE_NOT_GRANTED => {
            "the server does not let this account log on this way; an empty password or guest is often the cause"
        }
        NtStatus::MEDIA_WRITE_PROTECTED => "the share is read-only",
        NtStatus::CANNOT_DELETE => "it is read-only; clear that attribute first",
        NtStatus::OBJECT_PATH_NOT_FOUND => "a directory on the way does not exist",
        NtStatus::STOPPED_ON_SYMLINK => {
            "the path leads through a symbolic link that the server leaves to the client"
        }
        NtStatus::INSUFFICIENT_RESOURCES | NtStatus::TOO_MANY_SESSIONS => {
            "the server is at a limit; try again later"
        }
        NtStatus::REQUEST_NOT_ACCEPTED => {
            "the server takes no more connections now; try again later"
        }
        NtStatus::NETWORK_SESSION_EXPIRED => "the logon has expired; log on again",
        NtStatus::INVALID_SIGNATURE => {
            "the server found a signature wrong; something between alters messages, or the clocks or keys differ"
        }
        _ => return None,
    })
}

fn kind_hint(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "no such file or directory; check the spelling",
        ErrorKind::ShareNotFound => "the server has no share of this name; list its shares",
        ErrorKind::PermissionDenied => {
            "this account may not do that; use another, or have the rights changed"
        }
        ErrorKind::LogonFailed => "wrong user name or password",
        ErrorKind::AlreadyExists => "something of this name exists already",
        ErrorKind::NotADirectory => "this is not a directory",
        ErrorKind::IsADirectory => "this is a directory",
        ErrorKind::DirectoryNotEmpty => "the directory is not empty; remove what is in it first",
        ErrorKind::SharingViolation => {
            "another program has it open in a way that excludes this; close it there or try later"
        }
        ErrorKind::Locked => "another program has locked this part of the file; try later",
        ErrorKind::DiskFull => "no space is left on the server, or the quota is used up",
        ErrorKind::InvalidInput => "the name or an argument is not valid there",
        ErrorKind::Unsupported => "this server cannot do that",
        ErrorKind::DfsReferral => {
            "the path lies elsewhere in a DFS namespace: see whether its targets can be reached by name on port 445, or connect to one of them directly; over SMB1 referrals are not followed"
        }
        ErrorKind::Unreachable => {
            "check the name and the port, that the server is up, and that no firewall is between"
        }
        ErrorKind::Disconnected => "the connection is gone; connect again",
        ErrorKind::TimedOut => "check that the server is up and reachable",
        ErrorKind::Policy => {
            "nothing was trusted; see the documentation of the reason, and suspect the network between"
        }
        ErrorKind::Incompatible => {
            "allow another dialect, algorithm or cipher, on this side or the server's"
        }
        ErrorKind::Authentication => {
            "look at the tickets (klist; kinit gets new ones), the clock and the realm, and call the server by its name, not its address; or use a password"
        }
        ErrorKind::Protocol | ErrorKind::Cancelled | ErrorKind::Local | ErrorKind::Other => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_status_and_says_what_to_do() {
        let error = Error::from(Failure::Status {
            status: NtStatus::SHARING_VIOLATION,
            command: "CREATE",
        })
        .during(|| r"open \\server\share\file".into())
        .during(|| "something else".into());
        let text = error.to_string();
        assert!(text.starts_with(r"open \\server\share\file: "), "{text}");
        assert!(text.contains("SHARING_VIOLATION"), "{text}");
        assert!(text.contains("another program has it open"), "{text}");
        assert_eq!(error.kind(), ErrorKind::SharingViolation);
    }

    #[test]
    fn a_policy_refusal_keeps_its_reason_through_io_error() {
        let error = Error::from_close(CloseReason::Policy(Reason::ResponseUnsigned));
        let io = std::io::Error::from(error);
        assert_eq!(io.kind(), std::io::ErrorKind::PermissionDenied);
        let back = Error::from(io);
        assert_eq!(back.policy_reason(), Some(Reason::ResponseUnsigned));
    }
}
