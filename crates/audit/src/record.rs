//! What is kept of a peer.

use std::net::IpAddr;

use countersign_policy::{Family, Identity, PeerFlags, SessionMoment};
use serde::{Deserialize, Serialize};

/// Dialects by the names of configuration and reports, weakest first.
pub const DIALECTS: [&str; 6] = ["smb1", "2.0.2", "2.1", "3.0", "3.0.2", "3.1.1"];

/// Where a dialect stands in [`DIALECTS`]; `None`: no dialect, or an unknown one.
pub fn dialect_rank(dialect: &str) -> Option<usize> {
    DIALECTS.iter().position(|one| *one == dialect)
}

/// Whether a peer was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A session was set up.
    Accepted,
    /// It was turned away.
    Refused,
}

impl Outcome {
    /// The name in the database and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Refused => "refused",
        }
    }
}

/// One way in which a peer came: what it is, what it could do, what became of it.
/// Connections that agree in all of it are counted together, day by day.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Way {
    /// Address, without the port.
    pub address: IpAddr,
    /// Name the machine gave itself.
    pub machine: String,
    /// Account with its domain; empty for anonymous.
    pub user: String,
    /// `user`, `guest` or `anonymous`.
    pub identity: String,
    /// Dialect spoken; empty: none was agreed.
    pub dialect: String,
    /// Highest dialect offered; empty: not known.
    pub offered: String,
    /// SMB1: it says it can sign.
    pub can_sign: bool,
    /// It insists on signing.
    pub insists: bool,
    /// The server said that it can sign.
    pub announced: bool,
    /// The logon left a key.
    pub key: bool,
    /// Signing was required on the session.
    pub signing_required: bool,
    /// Algorithm that signs what is signed; empty: none.
    pub algorithm: String,
    /// Cipher agreed; empty: it cannot encrypt, or not with this server.
    pub cipher: String,
    /// `kerberos`, `ntlmv2`, `ntlmv1`, `guest`, `anonymous` or `none`.
    pub authentication: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why: a stable code.
    pub reason: String,
    /// The exceptions it was let in by, separated by commas.
    pub exception: String,
}

impl Way {
    /// The facts the policy judges a logon by. SMB 2 and 3 can always sign.
    pub fn moment(&self) -> SessionMoment {
        SessionMoment {
            identity: self.identity(),
            key: self.key,
            peer: PeerFlags {
                enabled: self.can_sign || self.family() != Family::Smb1,
                required: self.insists,
            },
            established: None,
            response: countersign_policy::MessageState::Unsigned,
        }
    }

    /// The dialect's family.
    pub fn family(&self) -> Family {
        match self.dialect.as_str() {
            "smb1" => Family::Smb1,
            "3.1.1" => Family::Smb311,
            _ => Family::Smb2,
        }
    }

    /// The identity's class.
    pub fn identity(&self) -> Identity {
        match self.identity.as_str() {
            "guest" => Identity::Guest,
            "anonymous" => Identity::Anonymous,
            _ => Identity::User,
        }
    }
}

/// What is added to a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Connections, or refusals.
    pub connections: u64,
    /// Bytes of requests.
    pub bytes_in: u64,
    /// Bytes of replies.
    pub bytes_out: u64,
    /// Sessions that sent signed requests.
    pub signed: u64,
    /// Sessions that sent encrypted requests.
    pub encrypted: u64,
    /// Sessions that sent requests in clear.
    pub clear: u64,
}

impl Counts {
    /// The sum.
    pub fn add(&mut self, other: &Counts) {
        self.connections = self.connections.saturating_add(other.connections);
        self.bytes_in = self.bytes_in.saturating_add(other.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
        self.signed = self.signed.saturating_add(other.signed);
        self.encrypted = self.encrypted.saturating_add(other.encrypted);
        self.clear = self.clear.saturating_add(other.clear);
    }

    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes_in.saturating_add(self.bytes_out)
    }
}

/// A note for the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// When, seconds since 1970.
    pub at: u64,
    /// Who and how.
    pub way: Way,
    /// What to add.
    pub counts: Counts,
}

/// A way with what is known of it in a span of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Who and how.
    #[serde(flatten)]
    pub way: Way,
    /// First seen in the span, seconds since 1970.
    pub first_seen: u64,
    /// Last seen.
    pub last_seen: u64,
    /// How much.
    #[serde(flatten)]
    pub counts: Counts,
}
