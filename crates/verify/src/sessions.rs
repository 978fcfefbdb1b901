//! The sessions of a capture, bounded: those that were quiet longest are summed up
//! and let go.

use std::sync::Arc;

use bytes::Bytes;
use countersign_crypto::smb1::MacKey;
use countersign_crypto::smb2::{SigningKey, TransformKey};
use countersign_crypto::{Cipher, SigningAlgorithm};
use zeroize::Zeroizing;

use crate::logon::NoKey;
use crate::report::{Counts, SessionSummary, dialect_name, session_name};
use crate::state::Map;

/// Sessions that are followed at once; the ones that were quiet longest go first, a
/// quarter at a time.
pub const MAX_SESSIONS: usize = 1 << 14;
/// Summaries of sessions, and of connections, that are kept for the report of those
/// not followed any more; more are only counted.
pub const MAX_SUMMARIES: usize = 100_000;
/// Connections of a session whose keys are kept.
pub(crate) const MAX_CHANNELS: usize = 64;
/// Bytes of a logon's messages that are kept to explain a wrong key.
pub(crate) const MAX_CHAIN_BYTES: usize = 16 << 10;
/// Sessions begun last among which another key is looked for.
const RECENT: usize = 1024;

/// The key of one connection of an SMB2 session.
pub(crate) struct Channel {
    pub(crate) connection: u32,
    pub(crate) dialect: u16,
    pub(crate) key: Arc<SigningKey>,
    pub(crate) bytes: Zeroizing<[u8; 16]>,
    /// S of the exchange that made it.
    pub(crate) session_key: Zeroizing<Vec<u8>>,
    /// Messages of the pre-authentication hash, NEGOTIATE request and response first;
    /// none if they are long.
    pub(crate) chain: Vec<Bytes>,
    pub(crate) verified: u64,
    /// How often a fault in the exchange itself was looked for.
    pub(crate) exchange_searches: u8,
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
    /// Packet with its last message.
    pub(crate) last: u64,
}

impl Session {
    /// The channel of a connection.
    pub(crate) fn channel(&self, connection: u32) -> Option<usize> {
        self.channels
            .iter()
            .position(|c| c.connection == connection)
    }

    /// Keeps the key of a connection, in place of an earlier one of it.
    pub(crate) fn set_channel(&mut self, mut channel: Channel) {
        let length: usize = channel.chain.iter().map(Bytes::len).sum();
        if length > MAX_CHAIN_BYTES {
            channel.chain.clear();
        }
        let own = self.channel(channel.connection);
        match own.and_then(|c| self.channels.get_mut(c)) {
            Some(own) => *own = channel,
            None => {
                if self.channels.len() >= MAX_CHANNELS {
                    // The first is the one that bindings are signed with.
                    self.channels.remove(1);
                }
                self.channels.push(channel);
            }
        }
    }

    fn summary(&self) -> SessionSummary {
        let algorithm = match (self.dialect, self.algorithm) {
            (0, None) => "MD5",
            (_, Some(SigningAlgorithm::HmacSha256)) => "HMAC-SHA256",
            (_, Some(SigningAlgorithm::AesCmac)) => "AES-128-CMAC",
            (_, Some(SigningAlgorithm::AesGmac)) => "AES-128-GMAC",
            (_, None) => "unknown",
        };
        let cipher = self.cipher.map(|c| match c {
            Cipher::Aes128Ccm => "AES-128-CCM",
            Cipher::Aes128Gcm => "AES-128-GCM",
            Cipher::Aes256Ccm => "AES-256-CCM",
            Cipher::Aes256Gcm => "AES-256-GCM",
        });
        SessionSummary {
            session: session_name(self.id),
            connection: self.connection,
            dialect: dialect_name(self.dialect),
            user: self.user.clone(),
            mechanism: self.mechanism.clone(),
            algorithm: algorithm.to_owned(),
            cipher: cipher.map(str::to_owned),
            signing_required: self.required,
            guest: self.guest,
            anonymous: self.anonymous,
            encrypted: self.encrypted,
            channels: self.channels.len(),
            no_key: self.no_key.as_ref().map(ToString::to_string),
            ntlm_mic: self.ntlm_mic,
            mech_list_mics: self.mech_list_mics,
            reauthentications: self.reauthentications,
            counts: self.counts,
        }
    }
}

/// All that are followed, and what is left of the others.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Map<usize, Session>,
    /// The number of the next one.
    next: usize,
    /// SMB2 sessions by SessionId, latest last.
    by_id: Map<u64, Vec<usize>>,
    closed: Vec<(usize, SessionSummary)>,
    left_off: u64,
}

impl Sessions {
    pub(crate) fn get(&self, index: usize) -> Option<&Session> {
        self.open.get(&index)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut Session> {
        self.open.get_mut(&index)
    }

    /// Whether the next will make others go.
    pub(crate) fn is_full(&self) -> bool {
        self.open.len() >= MAX_SESSIONS
    }

    /// The latest SMB2 session of an id.
    pub(crate) fn latest(&self, id: u64) -> Option<usize> {
        self.by_id.get(&id)?.last().copied()
    }

    /// A new one; `known`: by its id, to other connections too. Its index is never
    /// another's.
    pub(crate) fn push(&mut self, session: Session, known: bool) -> usize {
        if self.is_full() {
            self.forget();
        }
        let index = self.next;
        self.next += 1;
        if known {
            self.by_id.entry(session.id).or_default().push(index);
        }
        self.open.insert(index, session);
        index
    }

    /// Those begun last, latest first.
    pub(crate) fn recent(&self) -> impl Iterator<Item = (usize, &Session)> {
        (self.next.saturating_sub(RECENT)..self.next)
            .rev()
            .filter_map(|n| Some((n, self.open.get(&n)?)))
    }

    /// Lets the quarter go that was quiet longest.
    fn forget(&mut self) {
        let mut last: Vec<u64> = self.open.values().map(|s| s.last).collect();
        last.sort_unstable();
        let limit = last.get(last.len() / 4).copied().unwrap_or(0);
        let mut gone: Vec<usize> = self
            .open
            .iter()
            .filter(|(_, s)| s.last <= limit)
            .map(|(n, _)| *n)
            .collect();
        gone.sort_unstable();
        // Where all are equally old, the first begun.
        gone.truncate(MAX_SESSIONS / 4 + 1);
        for index in gone {
            let Some(session) = self.open.remove(&index) else {
                continue;
            };
            if let Some(same) = self.by_id.get_mut(&session.id) {
                same.retain(|n| *n != index);
                if same.is_empty() {
                    self.by_id.remove(&session.id);
                }
            }
            if self.closed.len() < MAX_SUMMARIES {
                self.closed.push((index, session.summary()));
            } else {
                self.left_off += 1;
            }
        }
    }

    /// All in the order they began, and how many more there were.
    pub(crate) fn summaries(self) -> (Vec<SessionSummary>, u64) {
        let mut all = self.closed;
        all.extend(self.open.iter().map(|(n, s)| (*n, s.summary())));
        all.sort_by_key(|(n, _)| *n);
        (all.into_iter().map(|(_, s)| s).collect(), self.left_off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_bounded_and_none_is_forgotten_silently() {
        let mut sessions = Sessions::default();
        let many = MAX_SUMMARIES + 3 * MAX_SESSIONS;
        let busy = sessions.push(Session::default(), true);
        for n in 1..=many {
            let id = n as u64;
            if let Some(session) = sessions.get_mut(busy) {
                session.last = id;
            }
            let session = Session {
                id,
                last: id,
                ..Session::default()
            };
            sessions.push(session, true);
            assert!(sessions.open.len() <= MAX_SESSIONS);
            assert!(sessions.by_id.len() <= MAX_SESSIONS);
        }
        // The one that is in use stays, and the latest.
        assert!(sessions.get(busy).is_some());
        assert_eq!(sessions.latest(many as u64), Some(many));
        assert_eq!(sessions.recent().next().map(|(n, _)| n), Some(many));
        let (all, left_off) = sessions.summaries();
        assert_eq!(all.len() as u64 + left_off, many as u64 + 1);
        assert!(left_off > 0 && all.len() <= MAX_SUMMARIES + MAX_SESSIONS);
    }

    #[test]
    fn channels_of_a_session_are_bounded() {
        let mut session = Session::default();
        for connection in 0..200 {
            session.set_channel(Channel {
                connection,
                dialect: 0x0311,
                key: Arc::new(SigningKey::new(SigningAlgorithm::AesCmac, &[1; 16])),
                bytes: Zeroizing::new([1; 16]),
                session_key: Zeroizing::new(vec![1; 16]),
                chain: vec![Bytes::from(vec![0; 2 * MAX_CHAIN_BYTES])],
                verified: 0,
                exchange_searches: 0,
            });
            assert!(session.channels.len() <= MAX_CHANNELS);
        }
        assert_eq!(session.channel(0), Some(0));
        assert_eq!(session.channel(199), Some(MAX_CHANNELS - 1));
        assert!(session.channels.iter().all(|c| c.chain.is_empty()));
    }
}
