//! Opening and creating, [MS-FSA] 2.1.5.1.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use countersign_wire::fscc::{
    AccessMask, CreateAction, CreateOptions, Disposition, FileAttributes, LeaseState,
};
use parking_lot::{Mutex, RwLock};

use super::FileService;
use super::attempt::Attempt;
use super::authorize::resolve;
use super::handle::{Binding, Open};
use super::node::{FileNode, Member};
use super::notify::Happened;
use super::oplock::{Aftermath, Holder, LeaseName, after_open, wish};
use super::share_mode::{NewOpen, conflicts, is_stat_open};
use super::times::OpenTimes;
use crate::backend::{BackendOpen, Handle, Lookup};
use crate::call::{CallContext, FsReply, OpenCall, Opened};
use crate::types::{CachingGrant, CachingRequest, Metadata, Rights};
use crate::wildcard::same_name;
use crate::{FsError, SmbPath};

/// How often an open begins again when the file changes under it.
const TRIES: u32 = 8;
/// Attributes that a client may give a file.
const SETTABLE: u32 = 0x7FB7;

/// A file that was found or made, before its share modes are looked at.
struct Found {
    path: SmbPath,
    handle: Arc<dyn Handle>,
    metadata: Metadata,
    rights: Rights,
    action: CreateAction,
}

/// Why an attempt stops.
enum Stop {
    Failed(FsError),
    Wait(Arc<FileNode>, u64),
    Again,
}

impl From<FsError> for Stop {
    fn from(e: FsError) -> Self {
        Self::Failed(e)
    }
}

fn overwrites(d: Disposition) -> bool {
    matches!(
        d,
        Disposition::Supersede | Disposition::Overwrite | Disposition::OverwriteIf
    )
}

fn creates(d: Disposition) -> bool {
    !matches!(d, Disposition::Open | Disposition::Overwrite)
}

impl FileService {
    /// One attempt at an open; it is made again from the start after an oplock break.
    pub(super) fn attempt_open(
        self: &Arc<Self>,
        context: &CallContext,
        call: &OpenCall,
    ) -> Attempt {
        for _ in 0..TRIES {
            match self.try_open(context, call) {
                Ok(opened) => return Attempt::Done(Ok(FsReply::Opened(Box::new(opened)))),
                Err(Stop::Failed(e)) => return Attempt::Done(Err(e)),
                Err(Stop::Wait(node, wakes)) => return Attempt::Wait(node, wakes),
                Err(Stop::Again) => {}
            }
        }
        Attempt::Done(Err(FsError::SharingViolation))
    }

    fn try_open(self: &Arc<Self>, context: &CallContext, call: &OpenCall) -> Result<Opened, Stop> {
        check_options(call)?;
        let desired = resolve(call.access)?;
        if call.snapshot.is_some() {
            return Err(FsError::NameNotFound.into());
        }
        self.app_instance_takes_over(call);
        let share = &context.share;
        let path = target(context, call)?;
        let exact = call.case_sensitive || share.options.case_sensitive;
        if path.named_stream().is_some() && !share.options.streams {
            return Err(FsError::NameInvalid.into());
        }
        let found = match share.backend.lookup(&path.without_stream(), exact)? {
            Lookup::Found { real, metadata } => {
                self.open_existing(context, call, desired, &path, real, *metadata)?
            }
            Lookup::Missing { real } => self.create_file(context, call, desired, &path, real)?,
        };
        self.enter(context, call, found)
    }

    /// The file is there (its stream perhaps not).
    fn open_existing(
        &self,
        context: &CallContext,
        call: &OpenCall,
        desired: AccessMask,
        path: &SmbPath,
        real: SmbPath,
        metadata: Metadata,
    ) -> Result<Found, Stop> {
        let stream = path.named_stream();
        let directory = metadata.is_directory();
        let options = call.options;
        if let Some(node) = self.nodes.find(metadata.key)
            && node.delete_pending.load(Ordering::Acquire)
        {
            return Err(FsError::DeletePending.into());
        }
        if stream.is_none() {
            if call.disposition == Disposition::Create {
                return Err(FsError::NameCollision.into());
            }
            check_kind(call, path, directory)?;
            if directory && overwrites(call.disposition) {
                return Err(if options.contains(CreateOptions::NON_DIRECTORY_FILE) {
                    FsError::IsADirectory
                } else {
                    FsError::NameCollision
                }
                .into());
            }
        } else if options.contains(CreateOptions::DIRECTORY_FILE) {
            return Err(FsError::NotADirectory.into());
        }
        if options.contains(CreateOptions::DELETE_ON_CLOSE) {
            if metadata.attributes.contains(FileAttributes::READONLY) {
                return Err(FsError::CannotDelete.into());
            }
            if real.is_root() && stream.is_none() {
                return Err(FsError::CannotDelete.into());
            }
        }
        let mut overwrite = overwrites(call.disposition);
        let full = match stream {
            Some(name) => real.with_stream(name),
            None => real.clone(),
        };
        let directory_handle = directory && stream.is_none();
        let how = BackendOpen {
            read: !directory_handle && wants_read(desired),
            write: !directory_handle && (wants_write(desired) || overwrite),
            open_reparse: options.contains(CreateOptions::OPEN_REPARSE_POINT),
            ..BackendOpen::default()
        };
        let (path, handle) = match self.open_handle(context, call, &full, &how, desired) {
            Ok(found) => found,
            Err(FsError::NameNotFound) if stream.is_some() => {
                return self.create_stream(context, call, desired, &full, &metadata);
            }
            Err(FsError::NameNotFound) => return Err(Stop::Again),
            Err(e) => return Err(e.into()),
        };
        if stream.is_some() && call.disposition == Disposition::Create {
            return Err(FsError::NameCollision.into());
        }
        let metadata = if stream.is_some() {
            handle.metadata()?
        } else {
            metadata
        };
        let mut also = AccessMask::empty();
        if overwrite {
            also = if call.disposition == Disposition::Supersede {
                AccessMask::DELETE
            } else {
                AccessMask::WRITE_DATA | AccessMask::WRITE_EA | AccessMask::WRITE_ATTRIBUTES
            };
            let kept = FileAttributes::HIDDEN | FileAttributes::SYSTEM;
            if stream.is_none() && !call.attributes.contains(metadata.attributes & kept) {
                return Err(FsError::AccessDenied.into());
            }
            if metadata.attributes.contains(FileAttributes::READONLY) {
                return Err(FsError::AccessDenied.into());
            }
            if context.share.options.read_only {
                return Err(FsError::AccessDenied.into());
            }
        }
        let rights = self.authorize(context, &path, &*handle, &metadata, desired, also)?;
        if options.contains(CreateOptions::DELETE_ON_CLOSE)
            && !rights.granted.contains(AccessMask::DELETE)
        {
            return Err(FsError::AccessDenied.into());
        }
        if directory {
            overwrite = false;
        }
        let action = match (overwrite, call.disposition) {
            (false, _) => CreateAction::Opened,
            (true, Disposition::Supersede) => CreateAction::Superseded,
            (true, _) => CreateAction::Overwritten,
        };
        Ok(Found {
            path,
            handle,
            metadata,
            rights,
            action,
        })
    }

    /// Opens in the backend; a stream is also looked for without regard to case.
    fn open_handle(
        &self,
        context: &CallContext,
        call: &OpenCall,
        path: &SmbPath,
        how: &BackendOpen,
        desired: AccessMask,
    ) -> Result<(SmbPath, Arc<dyn Handle>), FsError> {
        let backend = &context.share.backend;
        let mut error = match backend.open(path, how) {
            Ok(handle) => return Ok((path.clone(), handle)),
            Err(e) => e,
        };
        if error == FsError::NameNotFound
            && let Some(name) = path.named_stream()
            && !call.case_sensitive
        {
            let base = path.without_stream();
            let streams = backend.open(&base, &BackendOpen::default())?.streams()?;
            if let Some(s) = streams.iter().find(|s| same_name(&s.name, name)) {
                let path = base.with_stream(&s.name);
                match backend.open(&path, how) {
                    Ok(handle) => return Ok((path, handle)),
                    Err(e) => error = e,
                }
            }
        }
        if error == FsError::AccessDenied
            && desired.contains(AccessMask::MAXIMUM_ALLOWED)
            && !wants_write(desired - AccessMask::MAXIMUM_ALLOWED)
            && !overwrites(call.disposition)
        {
            // The most that is allowed is less than writing.
            let how = BackendOpen {
                write: false,
                ..how.clone()
            };
            return Ok((path.clone(), backend.open(path, &how)?));
        }
        Err(error)
    }

    /// The file is there, its stream is not.
    fn create_stream(
        &self,
        context: &CallContext,
        call: &OpenCall,
        desired: AccessMask,
        full: &SmbPath,
        base: &Metadata,
    ) -> Result<Found, Stop> {
        if !creates(call.disposition) {
            return Err(FsError::NameNotFound.into());
        }
        if context.share.options.read_only {
            return Err(FsError::AccessDenied.into());
        }
        let backend = &context.share.backend;
        let base_handle = backend.open(&full.without_stream(), &BackendOpen::default())?;
        let rights = self.authorize(
            context,
            full,
            &*base_handle,
            base,
            desired,
            AccessMask::WRITE_DATA,
        )?;
        let handle = match backend.open(full, &new_file(call, false)) {
            Ok(h) => h,
            Err(FsError::NameCollision) => return Err(Stop::Again),
            Err(e) => return Err(e.into()),
        };
        let metadata = handle.metadata()?;
        self.happened(&context.share, full, Happened::StreamAdded);
        Ok(Found {
            path: full.clone(),
            handle,
            metadata,
            rights,
            action: CreateAction::Created,
        })
    }

    /// Nothing of this name is there.
    fn create_file(
        self: &Arc<Self>,
        context: &CallContext,
        call: &OpenCall,
        desired: AccessMask,
        path: &SmbPath,
        real: SmbPath,
    ) -> Result<Found, Stop> {
        if !creates(call.disposition) {
            return Err(FsError::NameNotFound.into());
        }
        let share = &context.share;
        let stream = path.named_stream();
        let directory = call.options.contains(CreateOptions::DIRECTORY_FILE) && stream.is_none();
        if call.options.contains(CreateOptions::DIRECTORY_FILE)
            && (stream.is_some() || path.stream().is_some())
        {
            return Err(FsError::NotADirectory.into());
        }
        if call.trailing_separator && !directory {
            return Err(FsError::NameInvalid.into());
        }
        if directory && call.attributes.contains(FileAttributes::TEMPORARY) {
            return Err(FsError::InvalidParameter.into());
        }
        if call.options.contains(CreateOptions::DELETE_ON_CLOSE)
            && call.attributes.contains(FileAttributes::READONLY)
        {
            return Err(FsError::CannotDelete.into());
        }
        if desired.contains(AccessMask::ACCESS_SYSTEM_SECURITY) && !context.caller.administrator {
            return Err(FsError::PrivilegeNotHeld.into());
        }
        let parent = real.parent().ok_or(FsError::NameInvalid)?;
        self.refuse_in_deleted_folder(context, &parent)?;
        let folder_sd = self.authorize_create(share, &context.caller, &parent, directory)?;
        let sent = match &call.security {
            Some(bytes) if bytes.len() > self.limits.security_bytes => {
                return Err(FsError::InvalidSecurityDescriptor.into());
            }
            Some(bytes) => Some(crate::security::SecurityDescriptor::parse(bytes)?),
            None => None,
        };
        let base = match share.backend.open(&real, &new_file(call, directory)) {
            Ok(h) => h,
            Err(FsError::NameCollision) if call.disposition == Disposition::Create => {
                return Err(FsError::NameCollision.into());
            }
            Err(FsError::NameCollision) => return Err(Stop::Again),
            Err(e) => return Err(e.into()),
        };
        let filled = self.fill_new(context, call, &*base, folder_sd.as_deref(), sent, directory);
        let (handle, path) = match (filled, stream) {
            (Err(e), _) => {
                share.backend.remove(&real).ok();
                return Err(e.into());
            }
            (Ok(()), None) => (base, real.clone()),
            (Ok(()), Some(name)) => {
                let full = real.with_stream(name);
                match share.backend.open(&full, &new_file(call, false)) {
                    Ok(h) => (h, full),
                    Err(e) => {
                        share.backend.remove(&real).ok();
                        return Err(e.into());
                    }
                }
            }
        };
        let metadata = handle.metadata()?;
        let granted = if desired.contains(AccessMask::MAXIMUM_ALLOWED) {
            super::authorize::ALL | (desired - AccessMask::MAXIMUM_ALLOWED)
        } else {
            desired
        };
        let maximal = match super::authorize::effective_security(share, &*handle)? {
            None => super::authorize::ALL,
            Some(sd) => crate::security::maximal(&sd, &context.caller),
        };
        self.happened(share, &real, Happened::Added { directory });
        if stream.is_some() {
            self.happened(share, &path, Happened::StreamAdded);
        }
        self.break_folder(share, &real, call.client, parent_key(call.caching));
        Ok(Found {
            path,
            handle,
            metadata,
            rights: Rights { granted, maximal },
            action: CreateAction::Created,
        })
    }

    /// Gives a new file what its creator and its folder say.
    fn fill_new(
        &self,
        context: &CallContext,
        call: &OpenCall,
        handle: &dyn Handle,
        folder: Option<&crate::security::SecurityDescriptor>,
        sent: Option<crate::security::SecurityDescriptor>,
        directory: bool,
    ) -> Result<(), FsError> {
        if folder.is_some() || sent.is_some() {
            let sd = crate::security::inherit(folder, sent.as_ref(), directory, &context.caller);
            handle.set_security(&sd.encode())?;
        }
        for ea in &call.eas {
            handle.set_ea(ea)?;
        }
        if call.allocation_size > 0 && !directory && call.path.named_stream().is_none() {
            handle.allocate(call.allocation_size)?;
        }
        Ok(())
    }

    /// Share modes, oplocks, and the place among the file's opens.
    fn enter(
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
                                    is_stat_open(found.rights.granted, false),
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
            !stat
                && (overwrite
                    || c.state.contains(LeaseState::WRITE)
                    || c.breaking_to
                        .is_some_and(|_| c.state.contains(LeaseState::WRITE)))
        });
        for number in others {
            let Some(c) = state.caches.iter().find(|c| c.number == number) else {
                continue;
            };
            let to = after_open(c.state, overwrite);
            // Read and handle caching is lost without anybody waiting.
            let waits = c.state.contains(LeaseState::WRITE);
            let before = after.wait;
            self.break_cache(node, state, number, to, after);
            if !waits {
                after.wait = before;
            }
        }
        Ok(())
    }

    /// Truncates and gives the new attributes, [MS-FSA] 2.1.5.1.2.
    fn overwrite(
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

    /// Nothing is made in a folder that is about to go.
    fn refuse_in_deleted_folder(
        &self,
        context: &CallContext,
        folder: &SmbPath,
    ) -> Result<(), FsError> {
        if self.deleting_folders.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        if let Lookup::Found { metadata, .. } = context.share.backend.lookup(folder, true)?
            && let Some(node) = self.nodes.find(metadata.key)
            && node.delete_pending.load(Ordering::Acquire)
        {
            return Err(FsError::DeletePending);
        }
        Ok(())
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

fn parent_key(caching: CachingRequest) -> Option<[u8; 16]> {
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

/// Refusals that need no look at the file, [MS-FSA] 2.1.5.1 phase 1.
fn check_options(call: &OpenCall) -> Result<(), FsError> {
    let o = call.options;
    let both = CreateOptions::DIRECTORY_FILE | CreateOptions::NON_DIRECTORY_FILE;
    if o.contains(both) {
        return Err(FsError::InvalidParameter);
    }
    if o.contains(CreateOptions::DIRECTORY_FILE) && overwrites(call.disposition) {
        return Err(FsError::InvalidParameter);
    }
    if o.contains(CreateOptions::DELETE_ON_CLOSE)
        && !call
            .access
            .intersects(AccessMask::DELETE | AccessMask::GENERIC_ALL | AccessMask::MAXIMUM_ALLOWED)
    {
        return Err(FsError::InvalidParameter);
    }
    if call.attributes.bits() & !(SETTABLE | 0x50) != 0 {
        return Err(FsError::InvalidParameter);
    }
    Ok(())
}

/// The path asked for, seen from the share's root.
fn target(context: &CallContext, call: &OpenCall) -> Result<SmbPath, FsError> {
    if let Some(file) = call.by_id {
        let path = context.share.backend.path_of(file)?;
        return Ok(match call.path.named_stream() {
            Some(s) => path.with_stream(s),
            None => path,
        });
    }
    let Some(folder) = &call.relative_to else {
        return Ok(call.path.clone());
    };
    if !folder.is_directory() && !call.path.components().is_empty() {
        return Err(FsError::NotADirectory);
    }
    let mut path = folder.path().without_stream();
    for c in call.path.components() {
        path = path.join(c)?;
    }
    Ok(match call.path.stream() {
        Some(s) => path.with_stream(s),
        None => path,
    })
}

/// Folder asked for and file found, or the other way round.
fn check_kind(call: &OpenCall, path: &SmbPath, directory: bool) -> Result<(), FsError> {
    if directory {
        // `folder::$DATA` is no folder.
        if call.options.contains(CreateOptions::NON_DIRECTORY_FILE) || path.stream().is_some() {
            return Err(FsError::IsADirectory);
        }
    } else {
        if call.options.contains(CreateOptions::DIRECTORY_FILE) {
            return Err(FsError::NotADirectory);
        }
        if call.trailing_separator {
            return Err(FsError::NameInvalid);
        }
    }
    Ok(())
}

fn wants_read(desired: AccessMask) -> bool {
    desired.intersects(AccessMask::READ_DATA | AccessMask::EXECUTE | AccessMask::MAXIMUM_ALLOWED)
}

fn wants_write(desired: AccessMask) -> bool {
    desired
        .intersects(AccessMask::WRITE_DATA | AccessMask::APPEND_DATA | AccessMask::MAXIMUM_ALLOWED)
}

/// How a new file is opened in the backend: its creator may do everything.
fn new_file(call: &OpenCall, directory: bool) -> BackendOpen {
    let mut attributes = call.attributes
        & FileAttributes::from_bits_retain(SETTABLE)
            - (FileAttributes::NORMAL | FileAttributes::DIRECTORY);
    if directory {
        attributes |= FileAttributes::DIRECTORY;
        attributes -= FileAttributes::ARCHIVE;
    } else {
        attributes |= FileAttributes::ARCHIVE;
    }
    BackendOpen {
        read: !directory,
        write: !directory,
        create: true,
        directory,
        attributes,
        open_reparse: false,
    }
}
