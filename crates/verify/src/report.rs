//! What the verifier found.

use std::collections::BTreeMap;

use serde::Serialize;

/// Most findings that are kept; more are only counted.
pub const MAX_FINDINGS: usize = 10_000;

/// Why a message did not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// Signed or encrypted with another key than the session's.
    WrongKey,
    /// There is nothing to derive the key from.
    NoKey,
    /// The signature covers other bytes than the message.
    WrongRange,
    /// SMB1: signed with another sequence number.
    Sequence,
    /// SMB2: signed with another MessageId.
    MessageId,
    /// AES-GMAC: another nonce than the message's.
    Nonce,
    /// Signed with another algorithm.
    Algorithm,
    /// Changed after it was signed.
    Altered,
    /// Not signed where it had to be.
    Unsigned,
    /// SMB1: a response to no request.
    NoRequest,
    /// An encrypted message that does not authenticate.
    Encryption,
    /// A compressed message that cannot be decompressed.
    Compression,
    /// Wrong, but not looked into: the work that may go into causes was used up.
    NotSearched,
}

impl Cause {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::WrongKey => "wrong key",
            Self::NoKey => "no key",
            Self::WrongRange => "wrong range",
            Self::Sequence => "sequence number",
            Self::MessageId => "MessageId",
            Self::Nonce => "nonce",
            Self::Algorithm => "algorithm",
            Self::Altered => "altered",
            Self::Unsigned => "unsigned",
            Self::NoRequest => "no request",
            Self::Encryption => "encryption",
            Self::Compression => "compression",
            Self::NotSearched => "not searched",
        }
    }
}

/// How the message of a finding was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// As bad.
    Bad,
    /// As unsigned.
    Unsigned,
    /// Not at all: integrity of the logon, and messages that cannot be looked into.
    Not,
}

/// One message that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Number of the packet that completed the message, from 1.
    pub frame: u64,
    /// TCP connection, from 0.
    pub connection: u32,
    /// SessionId in hexadecimal (SMB1: Uid).
    pub session: String,
    /// `client` or `server`.
    pub sender: &'static str,
    /// Command and MessageId (SMB1: Mid).
    pub message: String,
    /// How it was counted.
    pub counted: Counted,
    /// Why.
    pub cause: Cause,
    /// What is known besides.
    pub detail: String,
}

/// The three totals, and what was decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Signatures that are right.
    pub verified: u64,
    /// Signatures that are not.
    pub bad: u64,
    /// Messages without one.
    pub unsigned: u64,
    /// Encrypted messages opened (what is in them counts as unsigned).
    pub decrypted: u64,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionSummary {
    /// SessionId in hexadecimal (SMB1: Uid).
    pub session: String,
    /// The connection it began on.
    pub connection: u32,
    /// `SMB 3.1.1`, ...
    pub dialect: String,
    /// Account as the client sent it.
    pub user: String,
    /// How it logged on.
    pub mechanism: String,
    /// Signing algorithm.
    pub algorithm: String,
    /// Cipher, if one was agreed.
    pub cipher: Option<String>,
    /// Either side required signing.
    pub signing_required: bool,
    /// The server said guest.
    pub guest: bool,
    /// An anonymous logon.
    pub anonymous: bool,
    /// The server required encryption.
    pub encrypted: bool,
    /// Connections bound to it.
    pub channels: usize,
    /// Why there is no key, if there is none.
    pub no_key: Option<String>,
    /// NTLM's MIC: right, wrong, or none.
    pub ntlm_mic: Option<bool>,
    /// SPNEGO's mechListMICs: right and wrong.
    pub mech_list_mics: (u64, u64),
    /// Logons again on the live session.
    pub reauthentications: u64,
    /// Its messages.
    #[serde(flatten)]
    pub counts: Counts,
}

/// A TCP connection that carries SMB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionSummary {
    /// Its number, from 0.
    pub connection: u32,
    /// Client's address.
    pub client: String,
    /// Server's address.
    pub server: String,
    /// Dialect, if the negotiation is in the capture.
    pub dialect: Option<String>,
    /// Its start is in the capture.
    pub from_start: bool,
    /// Bytes of the client, then of the server, that the capture lacks.
    pub lost: [u64; 2],
    /// Packets that the capture's snapshot length cut off.
    pub cut: u64,
    /// Compressed messages, decompressed or not.
    pub compressed: u64,
    /// Frames that are no SMB, or compressed in a way that is not decoded.
    pub passed_over: u64,
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Totals.
    #[serde(flatten)]
    pub counts: Counts,
    /// Why messages were unsigned.
    pub reasons_unsigned: BTreeMap<&'static str, u64>,
    /// In order of their frames.
    pub findings: Vec<Finding>,
    /// Findings beyond [`MAX_FINDINGS`].
    pub findings_left_off: u64,
    /// Sessions in the order they began.
    pub sessions: Vec<SessionSummary>,
    /// Sessions beyond [`MAX_SUMMARIES`](crate::MAX_SUMMARIES).
    pub sessions_left_off: u64,
    /// Connections in the order they began.
    pub connections: Vec<ConnectionSummary>,
    /// Connections beyond [`MAX_SUMMARIES`](crate::MAX_SUMMARIES).
    pub connections_left_off: u64,
    /// Packets of link types that are not read, by LINKTYPE.
    pub unknown_links: BTreeMap<u32, u64>,
    /// IP datagrams some of whose fragments are missing.
    pub datagrams_incomplete: u64,
    /// Packets in the capture.
    pub packets: u64,
    /// TCP packets that the snapshot length cut off.
    pub packets_cut: u64,
    /// The capture ends inside a record.
    pub cut: bool,
}

/// `SMB 3.1.1` and so on.
#[must_use]
pub fn dialect_name(dialect: u16) -> String {
    match dialect {
        0 => "NT LM 0.12".to_owned(),
        0x0202 => "SMB 2.0.2".to_owned(),
        0x0210 => "SMB 2.1".to_owned(),
        0x0300 => "SMB 3.0".to_owned(),
        0x0302 => "SMB 3.0.2".to_owned(),
        0x0311 => "SMB 3.1.1".to_owned(),
        other => format!("SMB2 dialect 0x{other:04x}"),
    }
}

/// A session id as it is shown.
pub(crate) fn session_name(id: u64) -> String {
    format!("0x{id:x}")
}
