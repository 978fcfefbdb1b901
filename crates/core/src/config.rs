//! The immutable configuration snapshot a request sees from start to end.

use std::sync::Arc;
use std::time::Duration;

use countersign_fs::Share;

pub use crate::logon::LogonLimits;

/// A dialect this server can speak, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum Dialect {
    /// SMB1, NT LM 0.12.
    Smb1 = 0x0001,
    /// SMB 2.0.2.
    Smb202 = 0x0202,
    /// SMB 2.1.
    Smb210 = 0x0210,
    /// SMB 3.0.
    Smb300 = 0x0300,
    /// SMB 3.0.2.
    Smb302 = 0x0302,
    /// SMB 3.1.1.
    Smb311 = 0x0311,
}

impl Dialect {
    /// The SMB2 dialect with this number on the wire.
    pub fn of(revision: u16) -> Option<Dialect> {
        [
            Dialect::Smb202,
            Dialect::Smb210,
            Dialect::Smb300,
            Dialect::Smb302,
            Dialect::Smb311,
        ]
        .into_iter()
        .find(|one| *one as u16 == revision)
    }
}

/// A share as the engines see it.
#[derive(Clone)]
pub struct ShareConfig {
    /// The file service's share; `None` only for IPC$.
    pub share: Arc<Share>,
    /// Comment in listings.
    pub comment: String,
    /// Left out of listings (names ending in `$` too).
    pub hidden: bool,
    /// Encryption is required on this share (SMB 3.x).
    pub encrypt: bool,
    /// Accounts that may connect (empty: every account); `@name` is a group.
    pub valid_users: Vec<String>,
    /// Accounts that may only read.
    pub read_only_users: Vec<String>,
    /// Guests may connect.
    pub guest_ok: bool,
}

/// Limits; each has a default and a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest READ, WRITE and TRANSACT of SMB 2.1 and later, bytes. Default 8 MiB.
    pub max_transact: u32,
    /// SMB1 MaxBufferSize, bytes. Default 16644, as Windows and smbd have it.
    pub smb1_buffer: u32,
    /// SMB1 MaxMpxCount. Default 50.
    pub smb1_mpx: u16,
    /// Sessions on one connection. Default 128.
    pub sessions_per_connection: usize,
    /// Channels of one session. Default 32, as Windows has it.
    pub channels_per_session: usize,
    /// Tree connects of one session. Default 256.
    pub trees_per_session: usize,
    /// Opens of one session. Default 65,534.
    pub opens_per_session: usize,
    /// Credits one connection may hold. Default 8192.
    pub credits: u16,
    /// Calls of one connection waiting for an answer (locks, notifies, opens). Default 1024.
    pub pending_calls: usize,
    /// Commands in one compound or AndX chain. Default 64.
    pub chain_length: usize,
    /// Searches open at once in one SMB1 session. Default 2048.
    pub smb1_searches: usize,
    /// An SMB1 open that others' share modes refuse is tried again for so long
    /// before the client is told, as Windows does. Default 1 s.
    pub smb1_share_delay: Duration,
    /// Bytes of SMB1 transactions being put together from secondaries, per connection. Default 4 MiB.
    pub smb1_transaction_bytes: usize,
    /// Time a connection may stay without a session. Default 45 s.
    pub unauthenticated: Duration,
    /// Longest frame before a session exists, bytes. Default 128 KiB.
    pub first_frames: usize,
    /// Bytes of one security token. Default 64 KiB.
    pub token_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_transact: 8 << 20,
            smb1_buffer: 16_644,
            smb1_mpx: 50,
            sessions_per_connection: 128,
            channels_per_session: 32,
            trees_per_session: 256,
            opens_per_session: 65_534,
            credits: 8192,
            pending_calls: 1024,
            chain_length: 64,
            smb1_searches: 2048,
            smb1_share_delay: Duration::from_secs(1),
            smb1_transaction_bytes: 4 << 20,
            unauthenticated: Duration::from_secs(45),
            first_frames: 128 << 10,
            token_bytes: 64 << 10,
        }
    }
}

/// Everything the engines need to know; replaced as a whole, never changed.
#[derive(Clone)]
pub struct ServerConfig {
    /// SMB1 is spoken.
    pub smb1: bool,
    /// Lowest SMB2/3 dialect.
    pub min_dialect: Dialect,
    /// Highest SMB2/3 dialect.
    pub max_dialect: Dialect,
    /// The four settings in force, with their sources.
    pub policy: Arc<countersign_policy::Effective>,
    /// Peers that may stay unsigned though the policy requires signing.
    pub exceptions: Arc<countersign_policy::Exceptions>,
    /// Signing algorithms of 3.1.1, best first.
    pub signing_algorithms: Vec<countersign_crypto::SigningAlgorithm>,
    /// Ciphers of 3.x, best first; empty: encryption is not offered.
    pub ciphers: Vec<countersign_crypto::Cipher>,
    /// Encryption is required for every session (3.x only).
    pub encrypt: bool,
    /// Authentication rules and names.
    pub auth: Arc<countersign_auth::AuthConfig>,
    /// Users.
    pub users: Arc<dyn countersign_auth::UserDirectory>,
    /// Anonymous sessions may use IPC$.
    pub anonymous_ipc: bool,
    /// Guests are let in (never under `server-always`).
    pub guest: bool,
    /// Shares without IPC$, which always exists.
    pub shares: Vec<ShareConfig>,
    /// ServerGuid.
    pub guid: [u8; 16],
    /// NetBIOS name, and workgroup or domain.
    pub netbios_name: String,
    /// Workgroup or domain.
    pub workgroup: String,
    /// Comment of the server in listings.
    pub comment: String,
    /// Code page of SMB1 clients without Unicode.
    pub oem_code_page: OemCodePage,
    /// Limits.
    pub limits: Limits,
    /// Failed logons.
    pub logon: LogonLimits,
    /// Live sessions that no longer satisfy a tightened policy.
    pub on_tighten: OnTighten,
}

/// What happens to live sessions that do not satisfy a tightened policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnTighten {
    /// They end.
    #[default]
    End,
    /// They stay as they were agreed.
    Keep,
}

/// Code pages for SMB1's OEM strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OemCodePage {
    /// CP437.
    Cp437,
    /// CP850.
    #[default]
    Cp850,
}
