//! Opens that outlive their connection, [MS-SMB2] 3.3.5.9.6, .7, .10 and .12.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use countersign_wire::dtyp::Guid;
use countersign_wire::fscc::CreateAction;

use super::FileService;
use super::authorize::CHANGES;
use super::handle::{Durable, Open};
use super::oplock::keeps_handle;
use crate::FsError;
use crate::call::{CallContext, FsReply, OpenCall, Opened, ReconnectCall};
use crate::types::{CachingGrant, Rights};
use crate::wildcard::same_name;

impl FileService {
    /// Makes an open durable if it was asked for and its caching lets it.
    pub(super) fn make_durable(
        &self,
        open: &Arc<Open>,
        call: &OpenCall,
        caching: CachingGrant,
    ) -> Option<Duration> {
        let request = call.durable?;
        if !open.share.options.durable || open.node.directory || !keeps_handle(caching) {
            return None;
        }
        let wanted = if request.timeout.is_zero() {
            self.limits.durable_default
        } else {
            request.timeout
        };
        let timeout = wanted.min(self.limits.durable_longest);
        *open.durable.lock() = Some(Durable {
            timeout,
            generation: 0,
        });
        Some(timeout)
    }

    /// Remembers by which CREATE an open was made, durable or not.
    pub(super) fn note_create_guid(&self, open: &Open) {
        if let Some(guid) = open.create_guid {
            self.create_guids
                .lock()
                .insert((open.client, guid), open.id);
        }
    }

    pub(super) fn forget_durable(&self, open: &Open) {
        if let Some(guid) = open.create_guid {
            let mut guids = self.create_guids.lock();
            if guids.get(&(open.client, guid)) == Some(&open.id) {
                guids.remove(&(open.client, guid));
            }
        }
        if let Some(instance) = open.app_instance {
            let mut instances = self.app_instances.lock();
            if instances.get(&instance) == Some(&open.id) {
                instances.remove(&instance);
            }
        }
        if open.binding.lock().disconnected {
            self.disconnected.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The connection of an open went away. Gives whether it is kept.
    pub(super) fn disconnect(self: &Arc<Self>, open: &Arc<Open>) -> bool {
        if open.is_closed()
            || !keeps_handle(open.caching())
            || open.delete_on_close.load(Ordering::Acquire)
            || open.node.delete_pending.load(Ordering::Acquire)
            || open.delete_pending()
        {
            return false;
        }
        let (timeout, generation) = {
            let mut durable = open.durable.lock();
            let Some(d) = durable.as_mut() else {
                return false;
            };
            d.generation += 1;
            (d.timeout, d.generation)
        };
        if self.disconnected.fetch_add(1, Ordering::Relaxed) >= self.limits.durable_disconnected {
            self.disconnected.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let owner = {
            let mut binding = open.binding.lock();
            binding.disconnected = true;
            binding.sink = Arc::new(super::NoSink);
            binding.owner
        };
        self.opens.detach(open.id, owner.connection);
        self.drop_watch(open);
        let (service, weak) = (Arc::downgrade(self), Arc::downgrade(open));
        self.host.after(
            timeout,
            Box::new(move || {
                if let (Some(service), Some(open)) = (service.upgrade(), weak.upgrade()) {
                    let expired = open.is_disconnected()
                        && open
                            .durable
                            .lock()
                            .is_some_and(|d| d.generation == generation);
                    if expired {
                        service.close_now(&open, None).ok();
                    }
                }
            }),
        );
        // A break that was under way has nobody left to acknowledge it.
        self.abandon_break(open);
        true
    }

    /// Takes up a durable open again.
    pub(super) fn reconnect(
        self: &Arc<Self>,
        context: &CallContext,
        call: &ReconnectCall,
    ) -> Result<FsReply, FsError> {
        let open = self.opens.get(call.id).ok_or(FsError::NameNotFound)?;
        let durable = (*open.durable.lock()).ok_or(FsError::NameNotFound)?;
        // Version 1 does not say which CREATE it was; one made by version 1 has none.
        if call
            .create_guid
            .is_some_and(|guid| guid != open.create_guid.unwrap_or_default())
            || super::share_key(&open.share) != super::share_key(&context.share)
        {
            return Err(FsError::NameNotFound);
        }
        if open.lease_key() != call.lease_key {
            return Err(FsError::NameNotFound);
        }
        if open.lease_key().is_some() {
            if open.client != call.client {
                return Err(FsError::NameNotFound);
            }
            if let Some(path) = &call.path {
                let mine = open.path().to_string();
                if !same_name(&mine, &path.to_string()) {
                    return Err(FsError::InvalidParameter);
                }
            }
        }
        if open.caller.user_sid != context.caller.user_sid {
            return Err(FsError::AccessDenied);
        }
        // The share may be narrower for the caller now than when it was opened.
        if context.share.options.read_only && open.granted.intersects(CHANGES) {
            return Err(FsError::AccessDenied);
        }
        {
            let mut binding = open.binding.lock();
            if !binding.disconnected || open.is_closed() {
                return Err(FsError::NameNotFound);
            }
            binding.disconnected = false;
            binding.owner = call.owner;
            binding.sink = context.sink.clone();
        }
        self.disconnected.fetch_sub(1, Ordering::Relaxed);
        if let Some(d) = open.durable.lock().as_mut() {
            d.generation += 1;
        }
        self.opens.attach(open.id, call.owner.connection);
        let metadata = open.stat()?;
        let caching = open.caching();
        Ok(FsReply::Opened(Box::new(Opened {
            action: CreateAction::Opened,
            metadata,
            caching,
            rights: Rights {
                granted: open.granted,
                maximal: open.maximal,
            },
            durable: Some(durable.timeout),
            reconnected: true,
            open,
        })))
    }

    /// The open made with this CreateGuid by this client, for replayed
    /// CREATEs ([MS-SMB2] 3.3.5.9.10).
    pub fn find_by_create_guid(&self, client: Guid, create_guid: Guid) -> Option<Arc<Open>> {
        let id = *self.create_guids.lock().get(&(client, create_guid))?;
        self.opens.get(id)
    }

    /// An open by the same application from another machine takes the place of
    /// the old one, [MS-SMB2] 3.3.5.9.13.
    pub(super) fn app_instance_takes_over(self: &Arc<Self>, call: &OpenCall) {
        let Some(instance) = call.app_instance else {
            return;
        };
        let old = self.app_instances.lock().get(&instance).copied();
        if let Some(old) = old.and_then(|id| self.opens.get(id))
            && old.client != call.client
        {
            self.force_close(&old);
        }
    }

    /// Remembers which open an application instance has.
    pub(super) fn note_app_instance(&self, open: &Open) {
        if let Some(instance) = open.app_instance {
            self.app_instances.lock().insert(instance, open.id);
        }
    }
}
