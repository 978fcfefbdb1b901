//! Acknowledgments of breaks, [MS-SMB2] 3.3.5.22.

use std::sync::Arc;

use countersign_wire::dtyp::Guid;
use countersign_wire::fscc::{LeaseState, OplockLevel};

use super::FileService;
use super::handle::Open;
use super::oplock::{Aftermath, Cache, LeaseName, NONE, level_of, settle};
use crate::FsError;
use crate::types::CachingGrant;

const R: LeaseState = LeaseState::READ;

impl FileService {
    /// The client acknowledges an oplock break, [MS-SMB2] 3.3.5.22.1.
    pub(super) fn acknowledge_oplock(
        self: &Arc<Self>,
        open: &Arc<Open>,
        level: OplockLevel,
    ) -> Result<CachingGrant, FsError> {
        let grant = {
            let mut state = open.node.state.lock();
            let number = state
                .members
                .iter()
                .find(|m| m.open.id == open.id)
                .and_then(|m| m.cache)
                .ok_or(FsError::InvalidOplockProtocol)?;
            let cache = state
                .caches
                .iter()
                .find(|c| c.number == number && !c.is_lease())
                .ok_or(FsError::InvalidOplockProtocol)?;
            let Some(to) = cache.breaking_to else {
                return Err(FsError::InvalidOplockProtocol);
            };
            let kept = match level {
                OplockLevel::None => NONE,
                OplockLevel::LevelTwo => R,
                OplockLevel::Exclusive | OplockLevel::Batch => {
                    settle(&mut state, number, NONE);
                    drop(state);
                    self.wake(&open.node);
                    return Err(FsError::InvalidOplockProtocol);
                }
            };
            settle(&mut state, number, kept & to);
            CachingGrant::Oplock(level_of(kept & to))
        };
        self.wake(&open.node);
        Ok(grant)
    }

    /// The client acknowledges a lease break, [MS-SMB2] 3.3.5.22.2.
    pub(super) fn acknowledge_lease(
        self: &Arc<Self>,
        client: Guid,
        key: [u8; 16],
        kept: LeaseState,
    ) -> Result<CachingGrant, FsError> {
        let name = LeaseName { client, key };
        let node = self
            .leases
            .lock()
            .get(&name)
            .map(|l| l.0.clone())
            .ok_or(FsError::NameNotFound)?;
        let mut after = Aftermath::default();
        let grant = {
            let mut state = node.state.lock();
            let cache = state
                .caches
                .iter()
                .find(|c| c.is_named(name))
                .ok_or(FsError::NameNotFound)?;
            let number = cache.number;
            let Some(to) = cache.breaking_to else {
                return Err(FsError::NotBreaking);
            };
            if !to.contains(kept) {
                return Err(FsError::RequestNotAccepted);
            }
            let then = cache.then_to;
            settle(&mut state, number, kept);
            let grant = state
                .caches
                .iter()
                .find(|c| c.number == number)
                .map(Cache::grant)
                .unwrap_or_default();
            if let Some(then) = then {
                // What was asked meanwhile: handle caching goes before read caching.
                let next =
                    if kept.contains(LeaseState::HANDLE) && !then.contains(LeaseState::HANDLE) {
                        kept - LeaseState::HANDLE
                    } else {
                        kept & then
                    };
                let left = if next == then & kept {
                    None
                } else {
                    Some(then)
                };
                self.break_cache(&node, &mut state, number, next, &mut after);
                if let Some(c) = state.caches.iter_mut().find(|c| c.number == number)
                    && c.breaking_to.is_some()
                {
                    c.then_to = left;
                }
            }
            grant
        };
        self.close_orphans(after.close);
        // The next break of the same chain keeps everybody waiting.
        if !after.wait {
            self.wake(&node);
        }
        Ok(grant)
    }

    /// The last open of a cache lost its connection while a break was under way.
    pub(super) fn abandon_break(self: &Arc<Self>, open: &Arc<Open>) {
        let mut lost = Vec::new();
        {
            let mut state = open.node.state.lock();
            let number = state
                .members
                .iter()
                .find(|m| m.open.id == open.id)
                .and_then(|m| m.cache);
            let breaking = number
                .and_then(|n| state.caches.iter().find(|c| c.number == n))
                .is_some_and(|c| c.breaking_to.is_some());
            if let Some(number) = number
                && breaking
                && state.addressee(number).is_none()
            {
                lost.extend(
                    state
                        .members
                        .iter()
                        .filter(|m| m.cache == Some(number))
                        .map(|m| m.open.clone()),
                );
                settle(&mut state, number, NONE);
            }
        }
        self.close_orphans(lost);
    }
}
