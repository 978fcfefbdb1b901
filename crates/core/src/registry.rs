//! Live sessions of all connections, for listings and administration.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use countersign_wire::FileTime;
use parking_lot::Mutex;

use crate::config::Dialect;
use crate::connection::{Mailbox, Now, Signal};
use crate::observer::Authentication;
use crate::observer::{Abilities, Lookout, Occasion, Sighting};

/// Facts of a session as an administrator sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFacts {
    /// Address of the peer (of the first channel).
    pub address: SocketAddr,
    /// Name the machine gave itself.
    pub machine: String,
    /// Account; "" for anonymous.
    pub user: String,
    /// Domain as logged on.
    pub domain: String,
    /// Names and SIDs of the account's groups.
    pub groups: Vec<String>,
    /// How it was authenticated.
    pub authentication: Authentication,
    /// Dialect.
    pub dialect: Dialect,
    /// Algorithm that signs what is signed, e.g. `AES-128-GMAC`; `None`: there is no key.
    pub signing: Option<&'static str>,
    /// Signing is required on this session.
    pub signing_required: bool,
    /// Why it is signed or not: a stable reason code.
    pub reason: String,
    /// Cipher agreed; whether it is used, [`SessionRecord::seen`] says.
    pub encryption: Option<&'static str>,
    /// Guest.
    pub guest: bool,
    /// Anonymous.
    pub anonymous: bool,
    /// When it was set up.
    pub created: FileTime,
    /// What the peer could do.
    pub abilities: Abilities,
}

/// One live session. The owner drops it with [`Registry::remove`].
pub struct SessionRecord {
    /// Number of the session, unique in this process; SMB2's SessionId.
    pub id: u64,
    /// Opens at the moment.
    pub opens: AtomicUsize,
    facts: Mutex<SessionFacts>,
    used: AtomicU64,
    seen: AtomicU8,
    received: AtomicU64,
    sent: AtomicU64,
    refused: AtomicBool,
    /// What the observer was told of already.
    told: Mutex<Told>,
    mailbox: Arc<dyn Mailbox>,
}

/// What was told of a session.
#[derive(Default)]
struct Told {
    seen: u8,
    received: u64,
    sent: u64,
}

/// What a session did since it was last told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// As it is now.
    pub sighting: Sighting,
    /// How its requests came, as far as that is new.
    pub seen: Seen,
    /// Bytes of its requests.
    pub received: u64,
    /// Bytes of its replies.
    pub sent: u64,
}

/// How the ordinary requests of a session came so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Some were signed.
    pub signed: bool,
    /// Some were encrypted.
    pub encrypted: bool,
    /// Some were neither.
    pub clear: bool,
}

const SIGNED: u8 = 1;
const ENCRYPTED: u8 = 2;
const CLEAR: u8 = 4;

impl Seen {
    fn of(bits: u8) -> Self {
        Self {
            signed: bits & SIGNED != 0,
            encrypted: bits & ENCRYPTED != 0,
            clear: bits & CLEAR != 0,
        }
    }
}

impl SessionRecord {
    /// How the ordinary requests came so far.
    pub fn seen(&self) -> Seen {
        Seen::of(self.seen.load(Ordering::Relaxed))
    }

    /// Tells what it did since it was last told of; `always` also when that is nothing.
    /// What `take` does not take is told again.
    fn tell_progress(&self, always: bool, take: impl FnOnce(Progress) -> bool) -> bool {
        let mut told = self.told.lock();
        let (received, sent) = self.bytes();
        let seen = self.seen.load(Ordering::Relaxed);
        let new = seen & !told.seen;
        if !always && new == 0 && received == told.received && sent == told.sent {
            return true;
        }
        let progress = Progress {
            sighting: Sighting::of(&self.facts()),
            seen: Seen::of(new),
            received: received.saturating_sub(told.received),
            sent: sent.saturating_sub(told.sent),
        };
        let taken = take(progress);
        if taken {
            *told = Told {
                seen,
                received,
                sent,
            };
        }
        taken
    }

    /// Notes how an ordinary request came.
    pub fn saw(&self, signed: bool, encrypted: bool) {
        let bit = match (encrypted, signed) {
            (true, _) => ENCRYPTED,
            (false, true) => SIGNED,
            (false, false) => CLEAR,
        };
        if self.seen.load(Ordering::Relaxed) & bit == 0 {
            self.seen.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Counts the bytes of a request.
    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts the bytes of a reply.
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes of requests and of replies so far.
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.received.load(Ordering::Relaxed),
            self.sent.load(Ordering::Relaxed),
        )
    }

    /// A copy of the facts.
    pub fn facts(&self) -> SessionFacts {
        self.facts.lock().clone()
    }

    /// Changes the facts (re-authentication, first encrypted tree).
    pub fn update(&self, change: impl FnOnce(&mut SessionFacts)) {
        change(&mut self.facts.lock());
    }

    /// Notes that a request was made.
    pub fn touch(&self, now: Now) {
        let ms = u64::try_from(now.monotonic.as_millis()).unwrap_or(u64::MAX);
        self.used.store(ms, Ordering::Relaxed);
    }

    /// Time since the last request.
    pub fn idle(&self, now: Now) -> Duration {
        now.monotonic
            .saturating_sub(Duration::from_millis(self.used.load(Ordering::Relaxed)))
    }

    /// Tells the owning connection that the session's credentials have run out.
    pub fn expire(&self) {
        self.mailbox
            .post(Signal::ExpireSession { session: self.id });
    }

    /// Asks the owning connection to end the session.
    pub fn end(&self, reason: &'static str) {
        self.mailbox.post(Signal::EndSession {
            session: self.id,
            reason,
        });
    }
}

/// The sessions.
pub struct Registry {
    next: AtomicU64,
    sessions: Mutex<HashMap<u64, Arc<SessionRecord>>>,
    lookout: Arc<Lookout>,
}

impl Registry {
    pub(crate) fn new(seed: u64, lookout: Arc<Lookout>) -> Self {
        // SessionIds start at a random place, so that ids of an earlier run are
        // unknown rather than someone else's; never 0 nor all ones.
        // Tools that keep an id in 32 bits exist.
        let start = (seed & 0x3FFF_0000) | 1;
        Self {
            next: AtomicU64::new(start),
            sessions: Mutex::new(HashMap::new()),
            lookout,
        }
    }

    /// A session number, never given before.
    pub fn next_id(&self) -> u64 {
        self.next.fetch_add(4, Ordering::Relaxed)
    }

    /// Enters a session that was set up.
    pub fn insert(
        &self,
        id: u64,
        facts: SessionFacts,
        mailbox: Arc<dyn Mailbox>,
        now: Now,
    ) -> Arc<SessionRecord> {
        let record = Arc::new(SessionRecord {
            id,
            opens: AtomicUsize::new(0),
            facts: Mutex::new(facts),
            used: AtomicU64::new(0),
            seen: AtomicU8::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            refused: AtomicBool::new(false),
            told: Mutex::default(),
            mailbox,
        });
        record.touch(now);
        self.sessions.lock().insert(id, Arc::clone(&record));
        self.lookout
            .tell(|| Occasion::SetUp(Sighting::of(&record.facts())));
        record
    }

    /// Removes a session that ended.
    pub fn remove(&self, id: u64) {
        let Some(record) = self.sessions.lock().remove(&id) else {
            return;
        };
        record.tell_progress(true, |progress| {
            self.lookout.tell(|| Occasion::Ended(progress));
            true
        });
    }

    /// What the live sessions did since they were last told of. `take` says whether it
    /// took note of one; where it did not, the rest is left for the next time, and false
    /// comes back.
    pub fn tell_progress(&self, mut take: impl FnMut(Progress) -> bool) -> bool {
        self.list()
            .iter()
            .all(|record| record.tell_progress(false, &mut take))
    }

    /// A request of this session was refused by the policy: the observer is told once
    /// in a session.
    pub(crate) fn refused(&self, record: &SessionRecord, reason: &'static str) {
        if !record.refused.swap(true, Ordering::Relaxed) {
            self.lookout
                .tell(|| Occasion::Refused(Sighting::of(&record.facts()).because(reason)));
        }
    }

    /// All sessions, oldest first.
    pub fn list(&self) -> Vec<Arc<SessionRecord>> {
        let mut all: Vec<_> = self.sessions.lock().values().cloned().collect();
        all.sort_by_key(|s| s.id);
        all
    }

    /// One session.
    pub fn get(&self, id: u64) -> Option<Arc<SessionRecord>> {
        self.sessions.lock().get(&id).cloned()
    }
}
