//! What all connections of a capture share: secrets, sessions, results.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use countersign_crypto::smb1::MacKey;
use countersign_crypto::smb2::{Sender, SigningKey, TransformKey};
use countersign_crypto::{Cipher, SigningAlgorithm};
use zeroize::Zeroizing;

use crate::check::Batch;
use crate::logon::NoKey;
use crate::report::{Cause, Counted, Counts, Finding, MAX_FINDINGS, session_name};
use crate::secrets::Secrets;

pub(crate) type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// Where a message was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) frame: u64,
    pub(crate) connection: u32,
    pub(crate) from_server: bool,
}

impl Place {
    pub(crate) fn sender(self) -> Sender {
        if self.from_server {
            Sender::Server
        } else {
            Sender::Client
        }
    }
}

/// The key of one connection of an SMB2 session.
pub(crate) struct Channel {
    pub(crate) connection: u32,
    pub(crate) dialect: u16,
    pub(crate) key: Arc<SigningKey>,
    pub(crate) bytes: Zeroizing<[u8; 16]>,
    /// S of the exchange that made it.
    pub(crate) session_key: Zeroizing<Vec<u8>>,
    /// Messages of the pre-authentication hash; the first `negotiates` of them are
    /// the NEGOTIATE request and response.
    pub(crate) chain: Vec<Bytes>,
    pub(crate) verified: u64,
}

/// A session of either protocol.
#[derive(Default)]
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) connection: u32,
    /// 0 for SMB1.
    pub(crate) dialect: u16,
    pub(crate) user: String,
    pub(crate) mechanism: String,
    pub(crate) algorithm: Option<SigningAlgorithm>,
    pub(crate) cipher: Option<Cipher>,
    pub(crate) required: bool,
    pub(crate) guest: bool,
    pub(crate) anonymous: bool,
    pub(crate) encrypted: bool,
    /// Keys were derived.
    pub(crate) ready: bool,
    pub(crate) no_key: Option<NoKey>,
    pub(crate) channels: Vec<Channel>,
    /// Client to server, server to client.
    pub(crate) transform: Option<(TransformKey, TransformKey)>,
    /// SMB1: the connection's key, if this session made it.
    pub(crate) mac: Option<Arc<MacKey>>,
    pub(crate) mac_verified: u64,
    pub(crate) ntlm_mic: Option<bool>,
    pub(crate) mech_list_mics: (u64, u64),
    pub(crate) reauthentications: u64,
    pub(crate) counts: Counts,
}

impl Session {
    /// The channel of a connection.
    pub(crate) fn channel(&self, connection: u32) -> Option<usize> {
        self.channels
            .iter()
            .position(|c| c.connection == connection)
    }
}

/// The state.
pub(crate) struct State {
    pub(crate) secrets: Secrets,
    pub(crate) sessions: Vec<Session>,
    /// SMB2 sessions by SessionId, latest last.
    pub(crate) by_id: Map<u64, Vec<usize>>,
    pub(crate) counts: Counts,
    pub(crate) reasons: BTreeMap<&'static str, u64>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) left_off: u64,
    /// Findings already handed out.
    pub(crate) told: usize,
    pub(crate) batch: Batch,
    /// Bytes that may still be hashed to find causes.
    pub(crate) work: u64,
}

impl State {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self {
            secrets,
            sessions: Vec::new(),
            by_id: Map::default(),
            counts: Counts::default(),
            reasons: BTreeMap::new(),
            findings: Vec::new(),
            left_off: 0,
            told: 0,
            batch: Batch::default(),
            work: crate::diagnosis::MAX_WORK,
        }
    }

    /// Whether this many bytes may be hashed to find a cause.
    pub(crate) fn spend(&mut self, bytes: u64) -> bool {
        let left = self.work.checked_sub(bytes);
        self.work = left.unwrap_or(self.work);
        left.is_some()
    }

    pub(crate) fn session(&mut self, index: Option<usize>) -> Option<&mut Session> {
        self.sessions.get_mut(index?)
    }

    pub(crate) fn good(&mut self, session: Option<usize>) {
        self.counts.verified += 1;
        if let Some(session) = self.session(session) {
            session.counts.verified += 1;
        }
    }

    pub(crate) fn decrypted(&mut self, session: usize) {
        self.counts.decrypted += 1;
        if let Some(session) = self.sessions.get_mut(session) {
            session.counts.decrypted += 1;
        }
    }

    /// An unsigned message that is in order.
    pub(crate) fn unsigned(&mut self, session: Option<usize>, why: &'static str) {
        self.counts.unsigned += 1;
        *self.reasons.entry(why).or_default() += 1;
        if let Some(session) = self.session(session) {
            session.counts.unsigned += 1;
        }
    }

    /// A message that is bad.
    pub(crate) fn bad(
        &mut self,
        place: Place,
        session: Option<usize>,
        id: u64,
        message: String,
        cause: Cause,
        detail: String,
    ) {
        self.counts.bad += 1;
        if let Some(session) = self.session(session) {
            session.counts.bad += 1;
        }
        self.find(place, id, message, Counted::Bad, cause, detail);
    }

    pub(crate) fn find(
        &mut self,
        place: Place,
        id: u64,
        message: String,
        counted: Counted,
        cause: Cause,
        detail: String,
    ) {
        if self.findings.len() >= MAX_FINDINGS {
            self.left_off += 1;
            return;
        }
        self.findings.push(Finding {
            frame: place.frame,
            connection: place.connection,
            session: session_name(id),
            sender: if place.from_server {
                "server"
            } else {
                "client"
            },
            message,
            counted,
            cause,
            detail,
        });
    }
}
