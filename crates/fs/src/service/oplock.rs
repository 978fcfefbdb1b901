//! Oplocks and leases, [MS-FSA] 2.1.1.10, 2.1.4.12, 2.1.5.18 and [MS-SMB2] 3.3.1.12.
//!
//! Both are one thing here, a [`Cache`]: read, write and handle caching on a
//! stream, held by one open (an oplock) or by all opens with one key (a lease).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use countersign_wire::dtyp::Guid;
use countersign_wire::fscc::{LeaseState, OplockLevel};

use super::FileService;
use super::handle::Open;
use super::node::{FileNode, FileState, StreamNode};
use crate::FsError;
use crate::call::{CallContext, Event};
use crate::types::{CachingGrant, CachingRequest, LeaseRequest};

/// Caching that one open or one lease key holds on a stream.
pub(super) struct Cache {
    pub(super) number: u64,
    pub(super) stream: Arc<StreamNode>,
    pub(super) holder: Holder,
    pub(super) state: LeaseState,
    /// A break to this state awaits acknowledgment.
    pub(super) breaking_to: Option<LeaseState>,
    /// More must go once this break is acknowledged.
    pub(super) then_to: Option<LeaseState>,
    /// Names the break for its timer.
    pub(super) serial: u64,
    pub(super) epoch: u16,
}

/// Who holds a cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// One open: an oplock.
    Open(u64),
    /// A lease.
    Lease(LeaseName, LeaseRequest),
}

/// A lease's name in the whole server: the client machine and its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LeaseName {
    pub(super) client: Guid,
    pub(super) key: [u8; 16],
}

pub(super) const NONE: LeaseState = LeaseState::empty();
const R: LeaseState = LeaseState::READ;
const RH: LeaseState = LeaseState::READ.union(LeaseState::HANDLE);
const RW: LeaseState = LeaseState::READ.union(LeaseState::WRITE);
const RWH: LeaseState = LeaseState::all();

impl Cache {
    pub(super) fn is_lease(&self) -> bool {
        matches!(self.holder, Holder::Lease(..))
    }

    pub(super) fn is_named(&self, name: LeaseName) -> bool {
        matches!(self.holder, Holder::Lease(n, _) if n == name)
    }

    /// The level of an oplock that caches so.
    pub(super) fn level(&self) -> OplockLevel {
        level_of(self.state)
    }

    pub(super) fn grant(&self) -> CachingGrant {
        match self.holder {
            Holder::Open(_) => match self.level() {
                OplockLevel::None => CachingGrant::None,
                level => CachingGrant::Oplock(level),
            },
            Holder::Lease(_, request) => CachingGrant::Lease {
                lease: LeaseRequest {
                    state: self.state,
                    epoch: self.epoch,
                    ..request
                },
                breaking: self.breaking_to.is_some(),
            },
        }
    }
}

/// The oplock level that stands for a caching state.
pub(super) fn level_of(state: LeaseState) -> OplockLevel {
    if state.contains(RWH) {
        OplockLevel::Batch
    } else if state.contains(RW) {
        OplockLevel::Exclusive
    } else if state.contains(R) {
        OplockLevel::LevelTwo
    } else {
        OplockLevel::None
    }
}

/// What a new holder asks for: holder, state.
pub(super) struct Wish {
    pub(super) holder: Holder,
    pub(super) state: LeaseState,
}

/// The wish of an open with number `id`; `None` when it asks for nothing lawful.
pub(super) fn wish(request: CachingRequest, client: Guid, id: u64) -> Option<Wish> {
    match request {
        CachingRequest::None | CachingRequest::Oplock(OplockLevel::None) => None,
        CachingRequest::Oplock(level) => Some(Wish {
            holder: Holder::Open(id),
            state: match level {
                OplockLevel::Batch => RWH,
                OplockLevel::Exclusive => RW,
                _ => R,
            },
        }),
        CachingRequest::Lease(lease) => Some(Wish {
            holder: Holder::Lease(
                LeaseName {
                    client,
                    key: lease.key,
                },
                lease,
            ),
            // Write or handle caching without read caching is no state.
            state: if lease.state.contains(R) {
                lease.state & RWH
            } else {
                NONE
            },
        }),
    }
}

impl FileState {
    /// Numbers of the caches on `stream` that are not `mine`, for which `wanted` holds.
    pub(super) fn caches_of_others(
        &self,
        stream: &Arc<StreamNode>,
        mine: Option<LeaseName>,
        open: u64,
        wanted: impl Fn(&Cache) -> bool,
    ) -> Vec<u64> {
        self.caches
            .iter()
            .filter(|c| Arc::ptr_eq(&c.stream, stream) && !c.state.is_empty())
            .filter(|c| match c.holder {
                Holder::Open(id) => id != open,
                Holder::Lease(name, _) => Some(name) != mine,
            })
            .filter(|c| wanted(c))
            .map(|c| c.number)
            .collect()
    }

    /// Counts again the caches on a stream that a write must break.
    pub(super) fn count_shared(&self, stream: &Arc<StreamNode>) {
        let shared = self
            .caches
            .iter()
            .filter(|c| {
                Arc::ptr_eq(&c.stream, stream)
                    && c.state.contains(R)
                    && !c.state.contains(LeaseState::WRITE)
            })
            .count();
        stream
            .shared_caches
            .store(u32::try_from(shared).unwrap_or(u32::MAX), Ordering::Release);
    }

    /// Tells the opens of a cache what they hold now.
    pub(super) fn mirror(&self, number: u64) {
        let Some(cache) = self.caches.iter().find(|c| c.number == number) else {
            return;
        };
        let grant = cache.grant();
        for m in self.members.iter().filter(|m| m.cache == Some(number)) {
            *m.open.caching.lock() = grant;
        }
    }

    /// The open that a break of this cache is sent to: the latest that has a connection.
    pub(super) fn addressee(&self, number: u64) -> Option<Arc<Open>> {
        self.members
            .iter()
            .rev()
            .filter(|m| m.cache == Some(number))
            .map(|m| &m.open)
            .find(|o| !o.is_disconnected())
            .cloned()
    }
}

/// What a break needs of the caller after the file's lock is let go.
#[derive(Default)]
pub(super) struct Aftermath {
    /// Somebody must acknowledge first.
    pub(super) wait: bool,
    /// Disconnected opens that lost their claim and are to be closed.
    pub(super) close: Vec<Arc<Open>>,
}

impl FileService {
    /// Breaks a cache to (at most) `to`. With the file's lock held.
    pub(super) fn break_cache(
        self: &Arc<Self>,
        node: &Arc<FileNode>,
        state: &mut FileState,
        number: u64,
        to: LeaseState,
        after: &mut Aftermath,
    ) {
        let addressee = state.addressee(number);
        let Some(cache) = state.caches.iter_mut().find(|c| c.number == number) else {
            return;
        };
        let mut to = to & cache.state;
        if let Holder::Open(_) = cache.holder {
            // Oplocks fall to level II or to none.
            to &= R;
        }
        if to == cache.state {
            return;
        }
        if let Some(under_way) = cache.breaking_to {
            if !to.contains(under_way) {
                cache.then_to = Some(cache.then_to.unwrap_or(RWH) & to);
            }
            after.wait = true;
            return;
        }
        let Some(open) = addressee else {
            // Nobody is there to be told: disconnected opens go.
            cache.state = to;
            let stream = cache.stream.clone();
            after.close.extend(
                state
                    .members
                    .iter()
                    .filter(|m| m.cache == Some(number))
                    .map(|m| m.open.clone()),
            );
            state.count_shared(&stream);
            state.mirror(number);
            after.wait = !after.close.is_empty();
            return;
        };
        let from = cache.state;
        let acknowledge = match cache.holder {
            Holder::Open(_) => from.contains(LeaseState::WRITE),
            Holder::Lease(..) => from != R,
        };
        cache.serial += 1;
        if acknowledge {
            cache.breaking_to = Some(to);
            after.wait = true;
        } else {
            cache.state = to;
        }
        let event = match &mut cache.holder {
            Holder::Open(_) => Event::OplockBreak {
                open: open.clone(),
                to: level_of(to),
                acknowledge,
            },
            Holder::Lease(name, request) => {
                let epoch = if request.version >= 2 {
                    cache.epoch = cache.epoch.wrapping_add(1);
                    cache.epoch
                } else {
                    0
                };
                Event::LeaseBreak {
                    client: name.client,
                    key: name.key,
                    from,
                    to,
                    epoch,
                    acknowledge,
                }
            }
        };
        let (serial, stream) = (cache.serial, cache.stream.clone());
        open.binding.lock().sink.clone().send(event);
        state.count_shared(&stream);
        state.mirror(number);
        if acknowledge {
            let (service, node) = (Arc::downgrade(self), Arc::downgrade(node));
            self.host.after(
                self.limits.oplock_break,
                Box::new(move || {
                    if let (Some(service), Some(node)) = (service.upgrade(), node.upgrade()) {
                        service.break_timed_out(&node, number, serial);
                    }
                }),
            );
        }
    }

    /// [MS-SMB2] 3.3.2.1 and 3.3.2.5: no acknowledgment came, all caching is lost.
    fn break_timed_out(self: &Arc<Self>, node: &Arc<FileNode>, number: u64, serial: u64) {
        {
            let mut state = node.state.lock();
            let Some(cache) = state.caches.iter_mut().find(|c| c.number == number) else {
                return;
            };
            if cache.serial != serial || cache.breaking_to.is_none() {
                return;
            }
            settle(&mut state, number, NONE);
        }
        self.wake(node);
    }

    /// Breaks what others cache of the data, for a change of it: writes, locks, lengths.
    pub(super) fn break_readers(self: &Arc<Self>, open: &Arc<Open>) {
        if open.stream.shared_caches.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut after = Aftermath::default();
        {
            let mut state = open.node.state.lock();
            let mine = open.lease_name();
            // A level II oplock goes whoever writes, its holder included.
            let numbers = state.caches_of_others(&open.stream, mine, u64::MAX, |c| {
                !c.state.contains(LeaseState::WRITE)
            });
            for number in numbers {
                self.break_cache(&open.node, &mut state, number, NONE, &mut after);
            }
        }
        self.close_orphans(after.close);
    }

    /// Takes handle caching from others before the file is renamed or deleted.
    /// Gives the number of wakes to wait behind, when somebody must acknowledge.
    pub(super) fn break_handles(self: &Arc<Self>, open: &Arc<Open>) -> Option<u64> {
        let mut after = Aftermath::default();
        let wakes = {
            let mut state = open.node.state.lock();
            let mine = open.lease_name();
            let streams: Vec<Arc<StreamNode>> = state.streams.clone();
            for stream in streams {
                let numbers = state.caches_of_others(&stream, mine, open.id, |c| {
                    c.is_lease() && c.state.contains(LeaseState::HANDLE)
                });
                for number in numbers {
                    let to = state
                        .caches
                        .iter()
                        .find(|c| c.number == number)
                        .map_or(NONE, |c| c.state - LeaseState::HANDLE);
                    self.break_cache(&open.node, &mut state, number, to, &mut after);
                }
            }
            state.wakes
        };
        let waited = after.wait;
        let orphans = !after.close.is_empty();
        self.close_orphans(after.close);
        // Closing them called the waiters: there is nobody left to wait for.
        (waited && !orphans).then_some(wakes)
    }

    /// Closes disconnected opens that stood in somebody's way.
    pub(super) fn close_orphans(self: &Arc<Self>, opens: Vec<Arc<Open>>) {
        for open in opens {
            self.close_now(&open, None).ok();
        }
    }

    /// Remembers which file a lease is on, [MS-SMB2] 3.3.5.9.8: a key that is in
    /// use for another file is refused.
    pub(super) fn claim_lease(
        &self,
        name: LeaseName,
        node: &Arc<FileNode>,
        stream: &Arc<StreamNode>,
    ) -> Result<(), FsError> {
        let mut leases = self.leases.lock();
        match leases.get_mut(&name) {
            Some((n, s, count)) => {
                if !Arc::ptr_eq(n, node) || !Arc::ptr_eq(s, stream) {
                    return Err(FsError::InvalidParameter);
                }
                *count += 1;
            }
            None => {
                leases.insert(name, (node.clone(), stream.clone(), 1));
            }
        }
        Ok(())
    }

    /// Whether a lease of this key exists, on whatever file.
    pub(super) fn is_lease_claimed(&self, client: Guid, key: [u8; 16]) -> bool {
        self.leases.lock().contains_key(&LeaseName { client, key })
    }

    pub(super) fn unclaim_lease(&self, name: LeaseName) {
        let mut leases = self.leases.lock();
        if let Some(l) = leases.get_mut(&name) {
            l.2 -= 1;
            if l.2 == 0 {
                leases.remove(&name);
            }
        }
    }

    /// Calls all that wait for this file to try again.
    pub(super) fn wake(self: &Arc<Self>, node: &Arc<FileNode>) {
        let waiters = {
            let mut state = node.state.lock();
            state.wakes += 1;
            core::mem::take(&mut state.waiters)
        };
        for w in waiters {
            if !w.pending.is_done() {
                self.run_waiting(&w.context, w.call, Some(w.pending));
            }
        }
        self.nodes.release(node);
    }

    /// An open that asks for caching on a share that grants none asks for none.
    pub(super) fn caching_allowed(
        context: &CallContext,
        request: CachingRequest,
    ) -> CachingRequest {
        let options = &context.share.options;
        match request {
            CachingRequest::Lease(_) if !options.leases => CachingRequest::None,
            CachingRequest::Oplock(_) if !options.oplocks => CachingRequest::None,
            other => other,
        }
    }
}

impl Open {
    /// The name of its lease.
    pub(super) fn lease_name(&self) -> Option<LeaseName> {
        self.lease_key().map(|key| LeaseName {
            client: self.client,
            key,
        })
    }
}

/// A break ends with this state.
pub(super) fn settle(state: &mut FileState, number: u64, kept: LeaseState) {
    let Some(cache) = state.caches.iter_mut().find(|c| c.number == number) else {
        return;
    };
    cache.breaking_to = None;
    cache.then_to = None;
    cache.state = kept;
    cache.serial += 1;
    let stream = cache.stream.clone();
    state.mirror(number);
    state.count_shared(&stream);
}

/// A member leaves: its cache goes with the last that shares it.
pub(super) fn release_cache(state: &mut FileState, number: u64) {
    if state.members.iter().any(|m| m.cache == Some(number)) {
        return;
    }
    if let Some(at) = state.caches.iter().position(|c| c.number == number) {
        let cache = state.caches.swap_remove(at);
        state.count_shared(&cache.stream);
    }
}

/// What remains of a state after an open: without write caching, or nothing
/// when the file is overwritten.
pub(super) fn after_open(state: LeaseState, overwrite: bool) -> LeaseState {
    if overwrite {
        NONE
    } else {
        state - LeaseState::WRITE
    }
}

/// A state in which a handle survives a disconnect, [MS-SMB2] 3.3.5.9.6.
pub(super) fn keeps_handle(grant: CachingGrant) -> bool {
    match grant {
        CachingGrant::Oplock(level) => level == OplockLevel::Batch,
        CachingGrant::Lease { lease, .. } => lease.state.contains(RH),
        CachingGrant::None => false,
    }
}
