//! What a client brings to a connection, fixed for its life.

use std::sync::Arc;
use std::time::Duration;

use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_policy::Effective;
use countersign_wire::Guid;

use crate::config::Dialect;
use crate::connection::Transport;

/// Randomness, given by the shell.
pub trait Entropy: Send {
    /// Fills with random bytes.
    fn fill(&mut self, out: &mut [u8]);
}

/// Encryption of SMB 3.x.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encryption {
    /// Not offered: servers and shares that insist on it refuse us.
    Off,
    /// Offered, and used where the server or the share insists.
    #[default]
    Offered,
    /// Everything behind the logon is encrypted; a server that cannot is refused.
    Required,
}

/// What SMB1's logon without extended security may show a server. LM responses
/// are never made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum ClassicResponse {
    /// Nothing: a server without SPNEGO gets no logon but an anonymous one.
    #[default]
    Never,
    /// An NTLMv2 response.
    NtlmV2,
    /// The 24-byte NTLM response, which is easily broken.
    Ntlm,
}

/// What concerns SMB1 alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Smb1Config {
    /// Extended security (SPNEGO) is asked for. Default true.
    pub extended_security: bool,
    /// What a logon without it may show. Default nothing.
    pub classic: ClassicResponse,
    /// Code page of servers without Unicode.
    pub code_page: countersign_wire::smb1::CodePage,
}

impl Default for Smb1Config {
    fn default() -> Self {
        Self {
            extended_security: true,
            classic: ClassicResponse::default(),
            code_page: countersign_wire::smb1::CodePage::default(),
        }
    }
}

/// Configuration of a client's connection.
#[derive(Clone)]
pub struct ClientConfig {
    /// The four settings in force.
    pub policy: Arc<Effective>,
    /// Lowest dialect accepted.
    pub min_dialect: Dialect,
    /// Highest dialect offered.
    pub max_dialect: Dialect,
    /// Offered in SMB 3.1.1, most wanted first.
    pub signing_algorithms: Vec<SigningAlgorithm>,
    /// Offered in SMB 3.x, most wanted first.
    pub ciphers: Vec<Cipher>,
    /// Whether to encrypt.
    pub encryption: Encryption,
    /// A result of "guest" is accepted (where the policy does not require signing).
    pub allow_guest: bool,
    /// ClientGuid; the same on every connection of this client.
    pub client_guid: Guid,
    /// The server's name as the user wrote it: the negotiate context, tree
    /// paths and the service's name are made of it.
    pub server_name: String,
    /// How the server is connected.
    pub transport: Transport,
    /// What concerns SMB1 alone.
    pub smb1: Smb1Config,
    /// Limits.
    pub limits: ClientLimits,
}

/// Limits; each has a default and a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientLimits {
    /// Longest message taken from a server, bytes. Default 16 MiB less one byte,
    /// the longest the transport can carry; before the logon 128 KiB.
    pub max_frame: usize,
    /// Largest READ asked for and WRITE sent, bytes. Default 1 MiB.
    pub max_io: u32,
    /// Largest answer asked for of listings, notifications and control codes,
    /// bytes. Default 64 KiB, which costs one credit.
    pub max_transact: u32,
    /// Credits to hold (SMB2), requests in flight (SMB1). Default 512.
    pub credits: u16,
    /// Calls that wait to be sent. Default 4096.
    pub queued_calls: usize,
    /// Messages in a compound that are taken from a server. Default 64.
    pub compound: usize,
    /// Breaks kept for the shell until it takes them. Default 1024; what comes
    /// on top is dropped.
    pub notifications: usize,
    /// Opens held by one connection. Default 65536.
    pub opens: usize,
    /// A call nothing is heard of for so long ends the connection. Default 60 s.
    pub request_timeout: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            max_frame: 0x00FF_FFFF,
            max_io: 1 << 20,
            max_transact: 64 << 10,
            credits: 512,
            queued_calls: 4096,
            compound: 64,
            notifications: 1024,
            opens: 65536,
            request_timeout: Duration::from_secs(60),
        }
    }
}
