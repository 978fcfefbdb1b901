//! Why a logon failed.

use countersign_wire::NtStatus;

/// A failed logon: the reason and who tried, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthFailure {
    /// The reason.
    pub reason: FailureReason,
    /// Account name the client sent, when it got that far.
    pub user: String,
    /// Domain the client sent.
    pub domain: String,
    /// Workstation the client named.
    pub workstation: String,
    /// What the mechanism's library says, for the log; often empty.
    pub detail: String,
}

impl AuthFailure {
    /// A failure before any name was seen.
    pub fn nameless(reason: FailureReason) -> Self {
        Self {
            reason,
            user: String::new(),
            domain: String::new(),
            workstation: String::new(),
            detail: String::new(),
        }
    }

    /// What the client is told.
    pub fn status(&self) -> NtStatus {
        self.reason.status()
    }

    /// Whether this counts as a try at a password, for delays and lock-outs.
    pub fn is_bad_password(&self) -> bool {
        matches!(
            self.reason,
            FailureReason::UnknownUser | FailureReason::BadPassword
        )
    }
}

impl core::fmt::Display for AuthFailure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.detail.is_empty() {
            write!(f, "{}", self.reason)
        } else {
            write!(f, "{} ({})", self.reason, self.detail)
        }
    }
}

/// Reasons; the client sees only [`FailureReason::status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FailureReason {
    /// Bytes that are no token, or fields outside the message.
    #[error("malformed token: {0}")]
    Malformed(&'static str),
    /// A token that does not fit the state of the exchange.
    #[error("token out of order: {0}")]
    OutOfOrder(&'static str),
    /// The client offers no mechanism this server has.
    #[error("no mechanism in common")]
    NoMechanism,
    /// No such user.
    #[error("unknown user")]
    UnknownUser,
    /// The proof of the password is wrong.
    #[error("wrong password")]
    BadPassword,
    /// The password was right, the account is disabled.
    #[error("account disabled")]
    Disabled,
    /// NTLMv1 is not allowed here.
    #[error("NTLMv1 is not allowed")]
    Ntlmv1Refused,
    /// LM responses are never accepted.
    #[error("LM responses are not accepted")]
    LmRefused,
    /// NTLMv2 without extended security is not allowed here.
    #[error("NTLMv2 without extended security is not allowed")]
    ClassicNtlmv2Refused,
    /// A plain-text password was sent.
    #[error("plain-text passwords are not accepted")]
    PlainText,
    /// Anonymous logons are not allowed.
    #[error("anonymous logon is not allowed")]
    AnonymousRefused,
    /// The NTLM MIC does not fit the three messages.
    #[error("the integrity code of the NTLM messages is wrong")]
    BadMic,
    /// The SPNEGO mechListMIC does not fit the list of mechanisms.
    #[error("the integrity code of the mechanism list is wrong")]
    BadMechListMic,
    /// A mechListMIC was due and none came.
    #[error("the integrity code of the mechanism list is missing")]
    NoMechListMic,
    /// NTLM is not allowed here.
    #[error("NTLM is not allowed")]
    NtlmRefused,
    /// The Kerberos ticket has expired.
    #[error("the Kerberos ticket has expired")]
    TicketExpired,
    /// The clocks of client and server differ by more than Kerberos allows.
    #[error("the clocks of client and server differ too much")]
    ClockSkew,
    /// The Kerberos authenticator was used before.
    #[error("the Kerberos authenticator was used before")]
    TicketReplayed,
    /// No key of the keytab opens the Kerberos ticket.
    #[error("no key of the keytab opens the Kerberos ticket")]
    WrongKey,
    /// The Kerberos ticket has no (rightly signed) PAC.
    #[error("the Kerberos ticket does not say which groups the user is in")]
    NoPac,
    /// Kerberos failed in another way.
    #[error("Kerberos failed")]
    Kerberos,
}

impl FailureReason {
    /// What the client is told.
    pub fn status(self) -> NtStatus {
        match self {
            FailureReason::Malformed(_)
            | FailureReason::OutOfOrder(_)
            | FailureReason::BadMic
            | FailureReason::BadMechListMic
            | FailureReason::NoMechListMic => NtStatus::INVALID_PARAMETER,
            FailureReason::NoMechanism
            | FailureReason::UnknownUser
            | FailureReason::BadPassword
            | FailureReason::Ntlmv1Refused
            | FailureReason::LmRefused
            | FailureReason::ClassicNtlmv2Refused
            | FailureReason::PlainText
            | FailureReason::NtlmRefused
            | FailureReason::TicketExpired
            | FailureReason::TicketReplayed
            | FailureReason::WrongKey
            | FailureReason::NoPac
            | FailureReason::Kerberos => NtStatus::LOGON_FAILURE,
            FailureReason::ClockSkew => NtStatus::TIME_DIFFERENCE_AT_DC,
            FailureReason::Disabled => NtStatus::ACCOUNT_DISABLED,
            FailureReason::AnonymousRefused => NtStatus::ACCESS_DENIED,
        }
    }
}
