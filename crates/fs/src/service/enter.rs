//! The place of a new open among those of its file, [MS-FSA] 2.1.5.1.2.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use countersign_wire::fscc::{AccessMask, CreateAction, CreateOptions, FileAttributes, LeaseState};
use parking_lot::{Mutex, RwLock};

use super::FileService;
use super::handle::{Binding, Open};
use super::node::{FileNode, Member};
use super::notify::Happened;
use super::open::{Found, Stop};
use super::oplock::{Aftermath, Holder, LeaseName, after_open, wish};
use super::share_mode::{NewOpen, conflicts, is_stat_open};
use super::times::OpenTimes;
use crate::FsError;
use crate::call::{CallContext, OpenCall, Opened};
use crate::types::{CachingGrant, CachingRequest, Metadata};

impl FileService {
    /// Share modes, oplocks, and the place among the file's opens.
    pub(super) fn enter(
        self: &Arc<Self>,
        context: &CallContext,
        call: &OpenCall,
        found: Found,
    ) -> Result<Opened, Stop> {
        self.opens.reserve(self.limits.opens)?;
        let id = self.number();
        let entered = self.enter_node(context, call, &found, id);
        let (open, caching) = match entered {
            Ok(x) => x,
            Err(stop) => {
                self.opens.unreserve();
                if found.action == CreateAction::Created
                    && matches!(stop, Stop::Failed(FsError::InvalidParameter))
                {
                    context.share.backend.remove(&found.path).ok();
                }
                return Err(stop);
            }
        };
        self.opens.insert(&open);
        self.note_app_instance(&open);
        self.note_create_guid(&open);
        let mut metadata = found.metadata;
        if matches!(
            found.action,
            CreateAction::Overwritten | CreateAction::Superseded
        ) {
            match self.overwrite(context, call, &open, found.action) {
                Ok(m) => metadata = m,
                Err(e) => {
                    self.close_now(&open, None).ok();
                    return Err(e.into());
                }
            }
        } else {
            open.node.times.apply(&mut metadata.times);
        }
        let durable = self.make_durable(&open, call, caching);
        Ok(Opened {
            action: found.action,
            metadata,
            caching,
            rights: found.rights,
            durable,
            reconnected: false,
            open,
        })
    }

    fn enter_node(
        self: &Arc<Self>,
        context: &CallContext,
        call: &OpenCall,
        found: &Found,
        id: u64,
    ) -> Result<(Arc<Open>, CachingGrant), Stop> {
        let directory = found.metadata.is_directory();
        let node = self.nodes.get(found.metadata.key, directory);
        let request = caching_request(
            context,
            call,
            directory && found.path.named_stream().is_none(),
        );
        let wish = wish(request, call.client, id);
        let lease = match &wish {
            Some(w) => match w.holder {
                Holder::Lease(name, _) => Some(name),
                Holder::Open(_) => None,
            },
            None => None,
        };
        let mut after = Aftermath::default();
        let result = {
            let mut state = node.state.lock();
            if state.gone {
                return Err(Stop::Again);
            }
            let stream = state.stream(found.path.named_stream().unwrap_or(""));
            let checked = self.check_in(call, found, &node, &mut state, &stream, lease, &mut after);
            match checked {
                Err(e) => Err(e),
                Ok(())
                    if after.wait
                        && !call.options.contains(CreateOptions::COMPLETE_IF_OPLOCKED) =>
                {
                    Err(Stop::Wait(node.clone(), state.wakes))
                }
                Ok(()) => {
                    let claimed = match lease {
                        Some(name) => self.claim_lease(name, &node, &stream),
                        None => Ok(()),
                    };
                    match claimed {
                        Err(e) => Err(e.into()),
                        Ok(()) => {
                            let (cache, grant) = match &wish {
                                Some(w) => self.grant(
                                    &mut state,
                                    &stream,
                                    w,
                                    context.share.options.force_level_two,
                                    directory,
                                ),
                                None => (None, CachingGrant::None),
                            };
                            let open = Arc::new(new_open(
                                self,
                                context,
                                call,
                                found,
                                id,
                                node.clone(),
                                stream,
                                grant,
                            ));
                            if directory && lease.is_some() {
                                self.folder_leases.fetch_add(1, Ordering::AcqRel);
                            }
                            state.members.push(Member {
                                open: open.clone(),
                                cache,
                            });
                            Ok((open, grant))
                        }
                    }
                }
            }
        };
        if !after.close.is_empty() {
            self.close_orphans(core::mem::take(&mut after.close));
            if result.is_err() {
                return Err(Stop::Again);
            }
        }
        if result.is_err() {
            self.nodes.release(&node);
        }
        result
    }

    /// Share modes and oplock breaks, with the file's lock held.
    #[allow(clippy::too_many_arguments)] // one place, all of it the state of one open
    fn check_in(
        self: &Arc<Self>,
        call: &OpenCall,
        found: &Found,
        node: &Arc<FileNode>,
        state: &mut super::node::FileState,
        stream: &Arc<super::node::StreamNode>,
        lease: Option<LeaseName>,
        after: &mut Aftermath,
    ) -> Result<(), Stop> {
        if node.delete_pending.load(Ordering::Acquire)
            || stream.delete_pending.load(Ordering::Acquire)
        {
            return Err(FsError::DeletePending.into());
        }
        let overwrite = matches!(
            found.action,
            CreateAction::Overwritten | CreateAction::Superseded
        );
        let mut granted = found.rights.granted;
        if overwrite {
            granted |= AccessMask::WRITE_DATA;
        }
        let in_the_way = conflicts(
            state,
            &NewOpen {
                granted,
                share: call.share_access,
                stream,
                deny: call.deny,
                owner: call.owner,
                pid: call.pid,
            },
        );
        if !in_the_way.is_empty() {
            // Handles that their clients only cache are let go when asked.
            for other in &in_the_way {
                let number = state
                    .members
                    .iter()
                    .find(|m| m.open.id == other.id)
                    .and_then(|m| m.cache);
                let cached = number.and_then(|n| state.caches.iter().find(|c| c.number == n));
                if let Some(c) = cached
                    && (c.state.contains(LeaseState::HANDLE) || c.breaking_to.is_some())
                    && !lease.is_some_and(|l| c.is_named(l))
                {
                    let (number, to) = (c.number, c.state - LeaseState::HANDLE);
                    self.break_cache(node, state, number, to, after);
                }
            }
            if after.wait && !call.options.contains(CreateOptions::COMPLETE_IF_OPLOCKED) {
                return Ok(());
            }
            return Err(FsError::SharingViolation.into());
        }
        let others = state.caches_of_others(stream, lease, u64::MAX, |c| {
            let stat = is_stat_open(granted, c.is_lease()) && !overwrite;
            !stat && (overwrite || c.state.contains(LeaseState::WRITE) || c.then_to.is_some())
        });
        for number in others {
            let Some(c) = state.caches.iter().find(|c| c.number == number) else {
                continue;
            };
            let to = after_open(c.state, overwrite);
            // Read and handle caching is lost without anybody waiting.
            // But when more than one break is needed, all wait for the last.
            let several = c.then_to.is_some();
            let waits = several || c.state.contains(LeaseState::WRITE);
            let before = after.wait;
            self.break_cache(node, state, number, to, after);
            if !waits {
                after.wait = before;
            }
            after.wait |= several;
        }
        Ok(())
    }

    /// Truncates and gives the new attributes, [MS-FSA] 2.1.5.1.2.
    pub(super) fn overwrite(
        self: &Arc<Self>,
        context: &CallContext,
        call: &OpenCall,
        open: &Arc<Open>,
        action: CreateAction,
    ) -> Result<Metadata, FsError> {
        let handle = &open.handle;
        handle.set_len(0)?;
        if !open.is_stream() {
            let attributes =
                (call.attributes - FileAttributes::DIRECTORY) | FileAttributes::ARCHIVE;
            handle.set_attributes(attributes - FileAttributes::NORMAL)?;
            let path = open.path();
            if context.share.options.streams {
                for s in handle.streams()?.iter().filter(|s| !s.name.is_empty()) {
                    context
                        .share
                        .backend
                        .remove(&path.with_stream(&s.name))
                        .ok();
                    self.happened(
                        &context.share,
                        &path.with_stream(&s.name),
                        Happened::StreamRemoved,
                    );
                }
            }
            if action == CreateAction::Superseded || !call.eas.is_empty() {
                for ea in handle.eas()? {
                    handle.set_ea(&crate::types::Ea {
                        value: Vec::new(),
                        ..ea
                    })?;
                }
            }
            for ea in &call.eas {
                handle.set_ea(ea)?;
            }
            if call.allocation_size > 0 {
                handle.allocate(call.allocation_size)?;
            }
            self.happened(&context.share, &path, Happened::Overwritten);
        } else {
            self.happened(&context.share, &open.path(), Happened::StreamChanged);
        }
        open.note_write();
        open.stat()
    }
}

#[allow(clippy::too_many_arguments)] // the parts of one open
fn new_open(
    service: &FileService,
    context: &CallContext,
    call: &OpenCall,
    found: &Found,
    id: u64,
    node: Arc<FileNode>,
    stream: Arc<super::node::StreamNode>,
    grant: CachingGrant,
) -> Open {
    Open {
        id,
        share: context.share.clone(),
        caller: context.caller.clone(),
        handle: found.handle.clone(),
        node,
        stream,
        granted: found.rights.granted,
        maximal: found.rights.maximal,
        share_access: call.share_access,
        options: call.options,
        action: found.action,
        deny: call.deny,
        pid: call.pid,
        client: call.client,
        app_instance: call.app_instance,
        create_guid: call.durable.and_then(|d| d.create_guid),
        parent_lease: parent_key(call.caching),
        opened_at: service.host.now(),
        case_sensitive: call.case_sensitive,
        path: RwLock::new(Arc::new(found.path.clone())),
        binding: Mutex::new(Binding {
            owner: call.owner,
            sink: context.sink.clone(),
            disconnected: false,
        }),
        position: AtomicU64::new(0),
        closed: AtomicBool::new(false),
        delete_on_close: AtomicBool::new(call.options.contains(CreateOptions::DELETE_ON_CLOSE)),
        posix_delete: AtomicBool::new(false),
        times: OpenTimes::default(),
        scan: Mutex::new(None),
        watcher: Mutex::new(None),
        caching: Mutex::new(grant),
        durable: Mutex::new(None),
    }
}

pub(super) fn parent_key(caching: CachingRequest) -> Option<[u8; 16]> {
    match caching {
        CachingRequest::Lease(lease) => lease.parent,
        CachingRequest::None | CachingRequest::Oplock(_) => None,
    }
}

/// Folders have leases of version 2 only, and no oplocks.
fn caching_request(context: &CallContext, call: &OpenCall, directory: bool) -> CachingRequest {
    let request = FileService::caching_allowed(context, call.caching);
    if !directory {
        return request;
    }
    match request {
        CachingRequest::Lease(l) if l.version >= 2 && context.share.options.directory_leases => {
            request
        }
        _ => CachingRequest::None,
    }
}
