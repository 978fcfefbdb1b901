//! Administration of running servers: one Unix socket for each process in the
//! state folder, for its owner alone; a request and an answer are one JSON object
//! a line.

mod ask;
mod serve;
mod socket;

use countersign_audit::{Losses, Standing};
use countersign_policy::Effective;
use countersign_policy::check::Hardening;
use serde::{Deserialize, Serialize};

use crate::explain::{Explained, Question};
use crate::group_policy::GroupPolicyStatus;

pub use ask::{Asked, ask, ask_all};
pub use serve::AdminSocket;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// Facts of the process.
    Status,
    /// The live sessions.
    Sessions,
    /// The policy in force.
    Policy,
    /// What would happen to a client.
    Explain(Question),
    /// What else of the configuration makes the policy safe or not.
    Hardening,
    /// Read the local policy store now, and say what became of the sessions.
    ApplyPolicy,
    /// Read the store of exceptions now.
    ApplyExceptions,
    /// What decides who is let in.
    Standing,
    /// Write down what the audit has seen so far, of live sessions too.
    FlushAudit,
    /// What Group Policy there is.
    GroupPolicy,
    /// Ask for Group Policy now.
    RefreshGroupPolicy,
    /// Read the configuration file now.
    Reload,
    /// End a session.
    CloseSession {
        /// Its id.
        id: u64,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Answer {
    /// To `Status`.
    Status(Status),
    /// To `Sessions`.
    Sessions {
        /// The sessions, oldest first.
        sessions: Vec<SessionRow>,
    },
    /// To `Policy`: an [`Effective`] as JSON.
    Policy {
        /// The four settings with source, since and what they shadow.
        policy: serde_json::Value,
    },
    /// To `Explain`.
    Explained {
        /// For each dialect.
        answers: Vec<Explained>,
    },
    /// To `Hardening`.
    Hardening(Hardening),
    /// To `ApplyPolicy`.
    Applied(Applied),
    /// To `Standing`.
    Standing(Box<Standing>),
    /// To `FlushAudit`.
    Flushed {
        /// It is written.
        written: bool,
        /// What was lost and is not noted there.
        lost: Losses,
        /// What keeps it from being written.
        trouble: Option<String>,
    },
    /// To `GroupPolicy` and `RefreshGroupPolicy`.
    GroupPolicy(Box<GroupPolicyStatus>),
    /// Done.
    Done,
    /// Not done.
    Failed {
        /// Why.
        error: String,
    },
}

impl Answer {
    /// The policy as an answer.
    pub fn policy(effective: &Effective) -> Answer {
        match serde_json::to_value(effective) {
            Ok(policy) => Answer::Policy { policy },
            Err(error) => Answer::Failed {
                error: error.to_string(),
            },
        }
    }
}

/// Facts of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Process id.
    pub pid: u32,
    /// Version.
    pub version: String,
    /// Addresses served.
    pub addresses: Vec<String>,
    /// When it was started, seconds since 1970.
    pub started: u64,
    /// Connections.
    pub connections: usize,
    /// Sessions.
    pub sessions: usize,
    /// Counters.
    pub counters: Vec<(String, u64)>,
}

/// What a change of policy did to the live sessions of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Applied {
    /// Sessions that satisfy the new policy.
    pub satisfied: usize,
    /// Sessions that do not, and were kept because the configuration says so.
    pub kept: usize,
    /// Sessions that do not, and were ended.
    pub ended: usize,
    /// Milliseconds from the change until new connections came under it.
    #[serde(default)]
    pub in_force_ms: u64,
}

impl Applied {
    /// Sums the processes of a state folder; the slowest counts.
    #[must_use]
    pub fn plus(self, other: Applied) -> Applied {
        Applied {
            satisfied: self.satisfied.saturating_add(other.satisfied),
            kept: self.kept.saturating_add(other.kept),
            ended: self.ended.saturating_add(other.ended),
            in_force_ms: self.in_force_ms.max(other.in_force_ms),
        }
    }
}

/// A session as `sessions` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Number, unique in the process.
    pub id: u64,
    /// The process.
    pub pid: u32,
    /// Address of the peer.
    pub address: String,
    /// Name the machine gave itself.
    pub machine: String,
    /// Account, with its domain; empty for anonymous.
    pub user: String,
    /// `user`, `guest` or `anonymous`.
    pub identity: String,
    /// Names of the account's groups; a domain's groups also by their SIDs.
    pub groups: Vec<String>,
    /// How it was authenticated: `kerberos`, `ntlmv2`, `ntlmv1`, `guest`, `anonymous`.
    pub authentication: String,
    /// Dialect.
    pub dialect: String,
    /// It is signed: signing is required on it, or all requests so far were signed.
    pub signed: bool,
    /// Signing is required on it.
    pub signing_required: bool,
    /// The algorithm that signs.
    pub algorithm: Option<String>,
    /// Why it is signed or not: a code of `docs/reasons.md`.
    pub reason: String,
    /// The exceptions that let it stay unsigned.
    #[serde(default)]
    pub exceptions: Vec<String>,
    /// The cipher, if requests came encrypted.
    pub encrypted: Option<String>,
    /// Opens.
    pub opens: usize,
    /// Seconds since it was set up.
    pub age: u64,
    /// Seconds since the last request.
    pub idle: u64,
}
