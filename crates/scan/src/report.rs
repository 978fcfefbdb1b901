//! What a scan found: the JSON of `countersign scan --json`.

use serde::Serialize;

use crate::prove::Proof;

/// What a server says of signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Signing {
    /// SMB1: it does not sign. SMB2: neither bit is set, which the specification
    /// does not allow; such a server signs for a client that requires it.
    Disabled,
    /// It signs when the client requires it (SMB2), or wants it too (SMB1).
    Enabled,
    /// It insists.
    Required,
}

impl Signing {
    /// As it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Signing::Disabled => "disabled",
            Signing::Enabled => "enabled",
            Signing::Required => "required",
        }
    }
}

/// One dialect a server accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DialectReport {
    /// `smb1`, `2.0.2`, `2.1`, `3.0`, `3.0.2`, `3.1.1`.
    pub dialect: &'static str,
    /// What the server announces.
    pub signing: Signing,
    /// Signing algorithms it accepts, its own choice first (3.1.1; else what the dialect uses).
    pub signing_algorithms: Vec<String>,
    /// Ciphers it accepts, its own choice first.
    pub ciphers: Vec<String>,
    /// Compression algorithms it accepts.
    pub compression: Vec<String>,
    /// Capabilities by the specification's names.
    pub capabilities: Vec<&'static str>,
    /// Mechanisms in its SPNEGO hint: `ntlm`, `kerberos`, `negoex`, or an OID.
    pub mechanisms: Vec<String>,
    /// Longest read, write and transaction, bytes (SMB1: MaxBufferSize thrice).
    pub max_read: u32,
    /// See `max_read`.
    pub max_write: u32,
    /// See `max_read`.
    pub max_transact: u32,
    /// SMB1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smb1: Option<Smb1Facts>,
}

/// What only SMB1 says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Smb1Facts {
    /// It authenticates by SPNEGO.
    pub extended_security: bool,
    /// Passwords may be sent as challenge and response (else in clear).
    pub encrypts_passwords: bool,
    /// User-level (else share-level) security.
    pub user_security: bool,
    /// NativeOS of its SESSION_SETUP response.
    pub native_os: String,
    /// NativeLanMan.
    pub native_lan_man: String,
    /// Requests it takes at once.
    pub max_mpx: u16,
}

/// Names from the NTLM challenge.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Names {
    /// NetBIOS name of the computer.
    pub computer: String,
    /// NetBIOS name of its domain.
    pub domain: String,
    /// DNS name of the computer.
    pub dns_computer: String,
    /// DNS name of its domain.
    pub dns_domain: String,
    /// DNS name of its forest.
    pub dns_tree: String,
    /// Version of its operating system, `10.0.20348`.
    pub os_version: String,
}

/// The server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Clock {
    /// Its time, seconds since 1970.
    pub time: i64,
    /// Its time less ours, milliseconds.
    pub skew_ms: i64,
    /// When it was started, seconds since 1970, if it says.
    pub started: Option<i64>,
}

/// Which logons without a password it takes (only when asked for).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accounts {
    /// A null session: `allowed`, `refused`, or what happened instead.
    pub anonymous: String,
    /// An unknown user with a wrong password: `guest`, `allowed` (as somebody),
    /// `refused`, or what happened instead.
    pub guest: String,
}

/// One host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct HostReport {
    /// Address; of a name that has none, the name.
    pub address: String,
    /// Port.
    pub port: u16,
    /// The name it was asked for by, if not its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Why there is nothing below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it gave no answer to, or none that can be read: it may speak more than
    /// is told here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<String>,
    /// Dialects it accepts, oldest first.
    pub dialects: Vec<DialectReport>,
    /// ServerGuid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guid: Option<String>,
    /// Its names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Names>,
    /// Its clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// Logons without a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Accounts>,
    /// Whether it does what it says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proof: Vec<Proof>,
    /// How long it took, milliseconds.
    pub took_ms: u64,
}

impl HostReport {
    /// A host of which there is nothing to tell.
    pub(crate) fn failed(address: String, port: u16, error: String) -> Self {
        Self {
            address,
            port,
            error: Some(error),
            ..Self::default()
        }
    }

    /// Address and port in one.
    pub fn endpoint(&self) -> String {
        if self.address.contains(':') {
            format!("[{}]:{}", self.address, self.port)
        } else {
            format!("{}:{}", self.address, self.port)
        }
    }

    /// Not every question was answered.
    pub fn is_incomplete(&self) -> bool {
        self.error.is_some() || !self.unanswered.is_empty()
    }

    /// Proof was wanted, and there is a dialect it could not be had in.
    pub fn lacks_proof(&self) -> bool {
        self.proof.iter().any(|proof| proof.error.is_some())
    }

    /// The weakest announcement over all dialects; `None` when it speaks none.
    pub fn weakest(&self) -> Option<Signing> {
        self.dialects.iter().map(|d| d.signing).min()
    }

    /// The announcement behind SMB1, which is the same in all its dialects.
    pub fn smb2(&self) -> Option<&DialectReport> {
        self.dialects.iter().rev().find(|d| d.dialect != "smb1")
    }

    /// SMB1, if it speaks it.
    pub fn smb1(&self) -> Option<&DialectReport> {
        self.dialects.iter().find(|d| d.dialect == "smb1")
    }

    /// A relayed logon would be of use: in some dialect signing is not required.
    pub fn can_be_relayed_to(&self) -> bool {
        self.weakest()
            .is_some_and(|weakest| weakest != Signing::Required)
    }

    /// It was proved to act on unsigned or badly signed requests though it
    /// announces that it requires signing.
    pub fn breaks_its_word(&self) -> bool {
        self.proof.iter().any(Proof::breaks_its_word)
    }
}
