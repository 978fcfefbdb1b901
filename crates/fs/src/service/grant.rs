//! What caching a new open gets, [MS-FSA] 2.1.5.18 and [MS-SMB2] 3.3.5.9.8.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use countersign_wire::fscc::LeaseState;

use super::FileService;
use super::node::{FileState, StreamNode};
use super::oplock::{Cache, Holder, LeaseName, NONE, Wish};
use crate::types::CachingGrant;

const R: LeaseState = LeaseState::READ;
const RWH: LeaseState = LeaseState::all();

impl FileService {
    /// Grants what can be granted to a new open. With the file's lock held; the
    /// open is not a member yet. Gives the cache's number and the grant.
    pub(super) fn grant(
        &self,
        state: &mut FileState,
        stream: &Arc<StreamNode>,
        wish: &Wish,
        force_level_two: bool,
        directory: bool,
    ) -> (Option<u64>, CachingGrant) {
        if let Holder::Lease(name, request) = wish.holder
            && let Some(at) = state.caches.iter().position(|c| c.is_named(name))
        {
            let others = others_of(state, stream, Some(name));
            let locked = stream.lock_count.load(Ordering::Acquire) > 0;
            let allowed = allowed(state, stream, &wish.holder, &others, locked, directory);
            let Some(cache) = state.caches.get_mut(at) else {
                return (None, CachingGrant::None);
            };
            // Only ever upward, and not while a break is in progress.
            let wanted = wish.state & allowed;
            if cache.breaking_to.is_none()
                && wanted.contains(cache.state)
                && wanted != cache.state
                && wanted == wish.state
            {
                cache.state = wanted;
                cache.epoch = cache.epoch.wrapping_add(1);
            }
            if let Holder::Lease(_, kept) = &mut cache.holder {
                kept.parent = request.parent.or(kept.parent);
            }
            let (number, grant) = (cache.number, cache.grant());
            state.count_shared(stream);
            state.mirror(number);
            return (Some(number), grant);
        }
        let others = others_of(state, stream, lease_of(&wish.holder));
        let locked = stream.lock_count.load(Ordering::Acquire) > 0;
        let mut granted =
            wish.state & allowed(state, stream, &wish.holder, &others, locked, directory);
        if force_level_two && granted.contains(LeaseState::WRITE) {
            granted -= LeaseState::WRITE;
        }
        let mut epoch = 0;
        if let Holder::Open(_) = wish.holder {
            if !granted.contains(LeaseState::WRITE) {
                granted &= R;
            }
            if granted.is_empty() {
                return (None, CachingGrant::None);
            }
        } else if let Holder::Lease(_, request) = wish.holder
            && request.version >= 2
        {
            epoch = request.epoch.wrapping_add(1);
        }
        let number = self.number();
        let cache = Cache {
            number,
            stream: stream.clone(),
            holder: wish.holder,
            state: granted,
            breaking_to: None,
            then_to: None,
            serial: 0,
            epoch,
        };
        let grant = cache.grant();
        state.caches.push(cache);
        state.count_shared(stream);
        (Some(number), grant)
    }
}

fn lease_of(holder: &Holder) -> Option<LeaseName> {
    match holder {
        Holder::Lease(name, _) => Some(*name),
        Holder::Open(_) => None,
    }
}

/// Opens of the stream that are not under this lease: how many count, and
/// whether one of them holds handle caching by lease, or level II.
struct Others {
    opens: usize,
    handle_leases: bool,
    level_two: bool,
    /// Somebody caches, be it an open that only looks.
    cached: bool,
    /// Somebody caches writes still: the new open only looks, and broke nothing.
    writes: bool,
}

fn others_of(state: &FileState, stream: &Arc<StreamNode>, mine: Option<LeaseName>) -> Others {
    let mut others = Others {
        opens: 0,
        handle_leases: false,
        level_two: false,
        cached: false,
        writes: false,
    };
    for m in state
        .members
        .iter()
        .filter(|m| Arc::ptr_eq(&m.open.stream, stream))
    {
        let cache = m
            .cache
            .and_then(|n| state.caches.iter().find(|c| c.number == n));
        if let (Some(c), Some(mine)) = (cache, mine)
            && c.is_named(mine)
        {
            continue;
        }
        if !super::share_mode::is_stat_open(m.open.granted, false) {
            others.opens += 1;
        }
        if let Some(c) = cache {
            others.cached |= !c.state.is_empty();
            others.writes |= c.state.contains(LeaseState::WRITE);
            others.handle_leases |= c.is_lease() && c.state.contains(LeaseState::HANDLE);
            others.level_two |= !c.is_lease() && !c.state.is_empty();
        }
    }
    others
}

/// The most caching that what others hold lets a new holder have.
fn allowed(
    _state: &FileState,
    _stream: &Arc<StreamNode>,
    holder: &Holder,
    others: &Others,
    locked: bool,
    directory: bool,
) -> LeaseState {
    let lease = matches!(holder, Holder::Lease(..));
    let mut most = RWH;
    if others.writes {
        return NONE;
    }
    if others.opens > 0 || others.cached || directory {
        most -= LeaseState::WRITE;
    }
    if others.level_two {
        most -= LeaseState::HANDLE;
    }
    if others.handle_leases && !lease {
        // An oplock does not go with another's handle caching.
        return NONE;
    }
    if locked && others.opens > 0 {
        most = NONE;
    }
    most
}
