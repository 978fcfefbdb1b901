//! What an onlooker is told: who was let in or turned away, and what they could do.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use countersign_auth::{AuthFailure, FailureReason, Mechanism, NtlmVersion};
use countersign_policy::{Exception, Identity, PeerFlags, Reason};

use crate::config::Dialect;
use crate::registry::{Progress, SessionFacts};

/// How a peer proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Authentication {
    /// It did not get that far.
    #[default]
    None,
    /// Kerberos.
    Kerberos,
    /// NTLMv2 (also LMv2).
    NtlmV2,
    /// NTLMv1, with or without extended session security.
    NtlmV1,
    /// Let in as a guest, without proof.
    Guest,
    /// A null session.
    Anonymous,
}

impl Authentication {
    /// The name in records and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Authentication::None => "none",
            Authentication::Kerberos => "kerberos",
            Authentication::NtlmV2 => "ntlmv2",
            Authentication::NtlmV1 => "ntlmv1",
            Authentication::Guest => "guest",
            Authentication::Anonymous => "anonymous",
        }
    }

    pub(crate) fn of(identity: Identity, mechanism: Mechanism) -> Self {
        match (identity, mechanism) {
            (Identity::Guest, _) => Authentication::Guest,
            (Identity::Anonymous, _) => Authentication::Anonymous,
            (Identity::User, Mechanism::Ntlm(version)) => Self::of_version(identity, version),
            (Identity::User, Mechanism::Kerberos) => Authentication::Kerberos,
        }
    }

    pub(crate) fn of_version(identity: Identity, version: Option<NtlmVersion>) -> Self {
        match (identity, version) {
            (Identity::Guest, _) => Authentication::Guest,
            (Identity::Anonymous, _) => Authentication::Anonymous,
            (Identity::User, Some(NtlmVersion::V1 | NtlmVersion::V1Ess)) => Authentication::NtlmV1,
            (Identity::User, _) => Authentication::NtlmV2,
        }
    }
}

/// What a peer said it can do, and what it was told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Abilities {
    /// The highest dialect it offered.
    pub offered: Option<Dialect>,
    /// What it says about signing. SMB 2 and 3 can always sign.
    pub signing: PeerFlags,
    /// We announced that we can sign. Where we did not, SMB1 peers that could may have kept silent.
    pub announced: bool,
    /// It can encrypt: SMB 3 and a cipher in common.
    pub encryption: bool,
    /// The logon left a key.
    pub key: bool,
    /// How it proved who it is.
    pub authentication: Authentication,
    /// The exceptions that let it stay unsigned.
    pub exceptions: Vec<Arc<Exception>>,
}

/// A peer as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Its address.
    pub address: SocketAddr,
    /// The name its machine gave itself.
    pub machine: String,
    /// The account; "" for anonymous, and before a name was seen.
    pub user: String,
    /// The account's domain.
    pub domain: String,
    /// The dialect spoken; `None`: none was agreed.
    pub dialect: Option<Dialect>,
    /// What it logged on as.
    pub identity: Identity,
    /// What it could do.
    pub abilities: Abilities,
    /// Algorithm that signs; `None`: there is no key.
    pub signing: Option<&'static str>,
    /// Signing is required on the session.
    pub signing_required: bool,
    /// Cipher agreed.
    pub encryption: Option<&'static str>,
    /// Why it was let in so, or turned away: a stable code.
    pub reason: String,
}

impl Sighting {
    /// A peer of which only the connection is known.
    pub(crate) fn stranger(address: SocketAddr, dialect: Option<Dialect>) -> Self {
        Self {
            address,
            machine: String::new(),
            user: String::new(),
            domain: String::new(),
            dialect,
            identity: Identity::Anonymous,
            abilities: Abilities::default(),
            signing: None,
            signing_required: false,
            encryption: None,
            reason: String::new(),
        }
    }

    /// The same with a reason.
    pub(crate) fn because(mut self, reason: &str) -> Self {
        reason.clone_into(&mut self.reason);
        self
    }

    /// The same with what it could do.
    pub(crate) fn able(mut self, abilities: Abilities) -> Self {
        self.abilities = abilities;
        self
    }

    /// The same with the names of a logon.
    pub(crate) fn named(mut self, user: &str, domain: &str, machine: &str) -> Self {
        user.clone_into(&mut self.user);
        domain.clone_into(&mut self.domain);
        machine.clone_into(&mut self.machine);
        self
    }

    /// A session that was set up.
    pub(crate) fn of(facts: &SessionFacts) -> Self {
        Self {
            address: facts.address,
            machine: facts.machine.clone(),
            user: facts.user.clone(),
            domain: facts.domain.clone(),
            dialect: Some(facts.dialect),
            identity: match (facts.anonymous, facts.guest) {
                (true, _) => Identity::Anonymous,
                (_, true) => Identity::Guest,
                _ => Identity::User,
            },
            abilities: facts.abilities.clone(),
            signing: facts.signing,
            signing_required: facts.signing_required,
            encryption: facts.encryption,
            reason: facts.reason.clone(),
        }
    }
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Occasion {
    /// A session was set up.
    SetUp(Sighting),
    /// A peer was turned away; `Sighting::reason` says why.
    Refused(Sighting),
    /// A session ended: what it did since it was last told of
    /// ([`Registry::tell_progress`](crate::registry::Registry::tell_progress)).
    Ended(Progress),
    /// An unsigned session under an exception asked for a share.
    ExceptionUsed {
        /// The session.
        sighting: Sighting,
        /// The exception's id.
        exception: String,
        /// The share.
        share: String,
        /// It got it.
        granted: bool,
    },
}

/// Is told what happens. Must not block: it is called on the way of requests.
pub trait Observer: Send + Sync {
    /// Takes note.
    fn observe(&self, occasion: Occasion);
}

/// Where an observer may stand.
#[derive(Default)]
pub struct Lookout(OnceLock<Arc<dyn Observer>>);

impl Lookout {
    /// Puts the observer there; the first one stays.
    pub fn post(&self, observer: Arc<dyn Observer>) {
        let _ = self.0.set(observer);
    }

    /// Tells the observer, if there is one.
    pub(crate) fn tell(&self, occasion: impl FnOnce() -> Occasion) {
        if let Some(observer) = self.0.get() {
            observer.observe(occasion());
        }
    }
}

impl core::fmt::Debug for Lookout {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Lookout({})", self.0.get().is_some())
    }
}

/// Refusals that are not the policy's.
pub(crate) mod refusal {
    /// SMB1 is off, and the peer offers nothing else.
    pub(crate) const SMB1_OFF: &str = "smb1-off";
    /// No dialect in common.
    pub(crate) const NO_DIALECT: &str = "no-common-dialect";
    /// The server encrypts, and the peer cannot or has no key for it.
    pub(crate) const CANNOT_ENCRYPT: &str = "encryption-required";
    /// Guests are not let in.
    pub(crate) const GUEST: &str = "guest-refused";
    /// Too many failed logons from this address.
    pub(crate) const LOCKED_OUT: &str = "address-locked-out";
}

/// The code of a failed logon.
pub(crate) fn failure_code(failure: &AuthFailure) -> &'static str {
    match failure.reason {
        FailureReason::UnknownUser => "unknown-user",
        FailureReason::BadPassword => "wrong-password",
        FailureReason::Disabled => "account-disabled",
        FailureReason::Ntlmv1Refused => "ntlmv1-refused",
        FailureReason::LmRefused => "lm-refused",
        FailureReason::ClassicNtlmv2Refused => "classic-ntlmv2-refused",
        FailureReason::PlainText => "plain-text-refused",
        FailureReason::AnonymousRefused => "anonymous-refused",
        FailureReason::NoMechanism => "no-common-mechanism",
        FailureReason::BadMic | FailureReason::BadMechListMic | FailureReason::NoMechListMic => {
            "logon-altered"
        }
        FailureReason::NtlmRefused => "ntlm-refused",
        FailureReason::TicketExpired => "ticket-expired",
        FailureReason::ClockSkew => "clock-skew",
        FailureReason::TicketReplayed => "ticket-replayed",
        FailureReason::WrongKey => "ticket-wrong-key",
        FailureReason::NoPac => "ticket-without-pac",
        FailureReason::Kerberos => "kerberos-failed",
        FailureReason::Malformed(_) | FailureReason::OutOfOrder(_) => "logon-malformed",
    }
}

/// Whether a message's refusal says something of what its peer can do.
pub(crate) fn is_telling(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::BadSignature
            | Reason::UnsignedOnRequired
            | Reason::UnencryptedOnRequired
            | Reason::TreeConnectUnsigned
            | Reason::BindUnsigned
    )
}
