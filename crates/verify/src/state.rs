//! What all connections of a capture share: secrets, sessions, results.

use std::collections::BTreeMap;

use countersign_crypto::smb2::Sender;

use crate::check::Batch;
use crate::report::{Cause, Counted, Counts, Finding, MAX_FINDINGS, session_name};
use crate::secrets::Secrets;
use crate::sessions::{Session, Sessions};

pub(crate) type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// Findings that wait to be handed out at most.
pub(crate) const MAX_FRESH: usize = 100_000;

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

/// The state.
pub(crate) struct State {
    pub(crate) secrets: Secrets,
    pub(crate) sessions: Sessions,
    /// Number of the packet that is looked at.
    pub(crate) packet: u64,
    pub(crate) counts: Counts,
    pub(crate) reasons: BTreeMap<&'static str, u64>,
    /// Findings that were handed out, as far as they are kept.
    pub(crate) findings: Vec<Finding>,
    pub(crate) left_off: u64,
    /// Findings not handed out yet.
    pub(crate) fresh: Vec<Finding>,
    pub(crate) batch: Batch,
    /// Bytes that may still be hashed to find causes.
    pub(crate) work: u64,
}

impl State {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self {
            secrets,
            sessions: Sessions::default(),
            packet: 0,
            counts: Counts::default(),
            reasons: BTreeMap::new(),
            findings: Vec::new(),
            left_off: 0,
            fresh: Vec::new(),
            batch: Batch::default(),
            work: crate::diagnosis::MAX_WORK,
        }
    }

    /// A packet of this length came: each gives back some of what finding causes
    /// has cost, so that a capture without end is looked into to its end.
    pub(crate) fn earn(&mut self, bytes: usize) {
        let earned = self.work.saturating_add(bytes as u64);
        self.work = earned.min(crate::diagnosis::MAX_WORK);
    }

    /// Findings since the last call.
    pub(crate) fn tell(&mut self, mut each: impl FnMut(&Finding)) {
        for finding in self.fresh.drain(..) {
            each(&finding);
            if self.findings.len() < MAX_FINDINGS {
                self.findings.push(finding);
            } else {
                self.left_off += 1;
            }
        }
    }

    /// Whether this many bytes may be hashed to find a cause.
    pub(crate) fn spend(&mut self, bytes: u64) -> bool {
        let left = self.work.checked_sub(bytes);
        self.work = left.unwrap_or(self.work);
        left.is_some()
    }

    /// A session begins.
    pub(crate) fn begin(&mut self, mut session: Session, known: bool) -> usize {
        if self.sessions.is_full() {
            // What waits counts for those that are let go now.
            self.flush();
        }
        session.last = self.packet;
        self.sessions.push(session, known)
    }

    pub(crate) fn session(&mut self, index: Option<usize>) -> Option<&mut Session> {
        let session = self.sessions.get_mut(index?)?;
        session.last = self.packet;
        Some(session)
    }

    pub(crate) fn good(&mut self, session: Option<usize>) {
        self.counts.verified += 1;
        if let Some(session) = self.session(session) {
            session.counts.verified += 1;
        }
    }

    pub(crate) fn decrypted(&mut self, session: usize) {
        self.counts.decrypted += 1;
        if let Some(session) = self.session(Some(session)) {
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
        if self.fresh.len() >= MAX_FRESH {
            self.left_off += 1;
            return;
        }
        self.fresh.push(Finding {
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
