//! All opens: by number, and by the connection that owns them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::handle::Open;
use crate::FsError;
use crate::call::OpenOwner;

const SHARDS: usize = 64;

type Shard<K, V> = Mutex<HashMap<K, V, RandomState>>;

/// The table of opens.
pub(super) struct OpenTable {
    by_id: Vec<Shard<u64, Arc<Open>>>,
    by_connection: Vec<Shard<u64, HashSet<u64, RandomState>>>,
    count: AtomicUsize,
}

/// Whether `owner` is `wanted`, in which a session or tree of 0 stands for any.
pub(super) fn owned_by(owner: OpenOwner, wanted: OpenOwner) -> bool {
    owner.connection == wanted.connection
        && (wanted.session == 0 || owner.session == wanted.session)
        && (wanted.tree == 0 || owner.tree == wanted.tree)
}

fn shard<K, V>(shards: &[Shard<K, V>], key: u64) -> Option<&Shard<K, V>> {
    shards.get(usize::try_from(key % SHARDS as u64).unwrap_or(0))
}

impl OpenTable {
    pub(super) fn new() -> Self {
        Self {
            by_id: (0..SHARDS).map(|_| Mutex::default()).collect(),
            by_connection: (0..SHARDS).map(|_| Mutex::default()).collect(),
            count: AtomicUsize::new(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Takes a place for one more open.
    pub(super) fn reserve(&self, limit: usize) -> Result<(), FsError> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= limit {
            self.unreserve();
            return Err(FsError::TooManyOpens);
        }
        Ok(())
    }

    /// Gives a place back that no open took.
    pub(super) fn unreserve(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn insert(&self, open: &Arc<Open>) {
        if let Some(s) = shard(&self.by_id, open.id) {
            s.lock().insert(open.id, open.clone());
        }
        self.attach(open.id, open.owner().connection);
    }

    /// Puts an open under a connection.
    pub(super) fn attach(&self, id: u64, connection: u64) {
        if let Some(s) = shard(&self.by_connection, connection) {
            s.lock().entry(connection).or_default().insert(id);
        }
    }

    /// Takes an open away from a connection.
    pub(super) fn detach(&self, id: u64, connection: u64) {
        if let Some(s) = shard(&self.by_connection, connection) {
            let mut s = s.lock();
            if let Some(ids) = s.get_mut(&connection) {
                ids.remove(&id);
                if ids.is_empty() {
                    s.remove(&connection);
                }
            }
        }
    }

    pub(super) fn remove(&self, open: &Open) {
        let there =
            shard(&self.by_id, open.id).is_some_and(|s| s.lock().remove(&open.id).is_some());
        if there {
            self.unreserve();
        }
        self.detach(open.id, open.owner().connection);
    }

    pub(super) fn get(&self, id: u64) -> Option<Arc<Open>> {
        shard(&self.by_id, id)?.lock().get(&id).cloned()
    }

    /// Opens of an owner.
    pub(super) fn owned(&self, owner: OpenOwner) -> Vec<Arc<Open>> {
        let ids: Vec<u64> = shard(&self.by_connection, owner.connection)
            .and_then(|s| {
                s.lock()
                    .get(&owner.connection)
                    .map(|i| i.iter().copied().collect())
            })
            .unwrap_or_default();
        let mut ids = ids;
        ids.sort_unstable();
        ids.into_iter()
            .filter_map(|id| self.get(id))
            .filter(|o| owned_by(o.owner(), owner))
            .collect()
    }

    /// Every open for which `wanted` says yes.
    pub(super) fn find_all(&self, wanted: impl Fn(&Open) -> bool) -> Vec<Arc<Open>> {
        let mut out = Vec::new();
        for s in &self.by_id {
            out.extend(s.lock().values().filter(|o| wanted(o)).cloned());
        }
        out
    }
}
