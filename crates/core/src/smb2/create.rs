//! [MS-SMB2] 3.3.5.9 CREATE.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use countersign_fs::call::{DurableRequest, OpenCall, Opened, ReconnectCall};
use countersign_fs::{
    CachingGrant, CachingRequest, FsCall, FsError, FsReply, LeaseRequest, Open, Rights, SmbPath,
};
use countersign_wire::dtyp::{FileTime, Guid};
use countersign_wire::fscc::{
    AccessMask, CreateAction, CreateOptions, Disposition, FileAttributes, OplockLevel, ShareAccess,
};
use countersign_wire::smb2::{
    CREATE_FLAG_REPARSEPOINT, Capabilities, CreateContext, CreateRequest, CreateResponse,
    DurableFlags, FileId, HeaderFlags, LeaseContext, LeaseFlags, LeaseV2, OPLOCK_LEVEL_LEASE,
    RequestContext, ResponseContext, dialect,
};
use countersign_wire::{NtStatus, Writer};

use super::handler::{Context, Response, Step};
use super::pipe;
use super::session::{OpenKind, SessionState};
use crate::{info, status};

/// Attributes that a CREATE may name; others are INVALID_PARAMETER.
const ATTRIBUTES: u32 = 0x0000_7FB7;
/// CreateOptions that do not exist: INVALID_PARAMETER.
const OPTIONS_INVALID: u32 = 0xFF00_0000;
/// CreateOptions that are not for the network: NOT_SUPPORTED.
const OPTIONS_UNSUPPORTED: u32 = CreateOptions::CREATE_TREE_CONNECTION.bits()
    | CreateOptions::OPEN_BY_FILE_ID.bits()
    | CreateOptions::RESERVE_OPFILTER.bits();
/// Bits of an access mask that mean nothing: ACCESS_DENIED, [MS-SMB2] 3.3.5.9.
const ACCESS_INVALID: u32 = 0x0CE0_FE00;
/// CreateOptions of a reconnect and a replay are not looked at.
const MAX_IMPERSONATION: u32 = 3;

/// What the create contexts of a request ask for.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    eas: Vec<countersign_fs::Ea>,
    security: Option<Vec<u8>>,
    allocation_size: u64,
    maximal_access: Option<Option<FileTime>>,
    snapshot: Option<FileTime>,
    on_disk_id: bool,
    lease: Option<LeaseContext>,
    durable: Option<Durable>,
    reconnect: Option<Reconnect>,
    app_instance: Option<Guid>,
    apple: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy)]
enum Durable {
    V1,
    V2 {
        timeout: u32,
        persistent: bool,
        create_guid: Guid,
    },
}

#[derive(Debug, Clone, Copy)]
enum Reconnect {
    V1(FileId),
    V2 { file_id: FileId, create_guid: Guid },
}

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    let Ok(request) = CreateRequest::decode(cx.request.message()) else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    match start(cx, &request) {
        Ok(step) => step,
        Err(status) => Step::Fail(status),
    }
}

fn start(cx: &mut Context<'_>, request: &CreateRequest<'_>) -> Result<Step, NtStatus> {
    let tree = cx.tree().ok_or(NtStatus::NETWORK_NAME_DELETED)?;
    if tree.is_pipe() {
        return Ok(pipe::create(cx, &request.name_text()));
    }
    let wishes = wishes(cx, request)?;
    if let Some(reconnect) = wishes.reconnect {
        return reconnect_call(cx, request, wishes, reconnect);
    }
    if request.impersonation_level > MAX_IMPERSONATION {
        return Err(NtStatus::BAD_IMPERSONATION_LEVEL);
    }
    let disposition =
        Disposition::from_u32(request.disposition).ok_or(NtStatus::INVALID_PARAMETER)?;
    let options = request.options.bits();
    if options & OPTIONS_INVALID != 0
        || request.file_attributes.bits() & !ATTRIBUTES != 0
        || request.share_access.bits() & !ShareAccess::from_bits_truncate(7).bits() != 0
    {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if options & OPTIONS_UNSUPPORTED != 0 {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    if request.desired_access.is_empty() || request.desired_access.bits() & ACCESS_INVALID != 0 {
        return Err(NtStatus::ACCESS_DENIED);
    }
    if request.options.contains(CreateOptions::DIRECTORY_FILE)
        && (request.options.contains(CreateOptions::NON_DIRECTORY_FILE)
            || matches!(
                disposition,
                Disposition::Supersede | Disposition::Overwrite | Disposition::OverwriteIf
            ))
    {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let name = request.name_text();
    let path = path(&name)?;
    if let Some(step) = replayed(cx, request.oplock_level, &wishes) {
        return step;
    }
    let client = client(cx);
    let call = OpenCall {
        path,
        trailing_separator: name.ends_with('\\'),
        relative_to: None,
        by_id: None,
        access: request.desired_access,
        share_access: request.share_access,
        disposition,
        options: request.options,
        attributes: request.file_attributes,
        allocation_size: wishes.allocation_size,
        eas: wishes.eas.clone(),
        security: wishes.security.clone(),
        caching: caching(request.oplock_level, &wishes),
        client,
        owner: cx.owner(),
        pid: 0,
        deny: None,
        durable: wishes.durable.map(|d| match d {
            Durable::V1 => DurableRequest {
                create_guid: None,
                timeout: Duration::ZERO,
                persistent: false,
            },
            Durable::V2 {
                timeout,
                persistent,
                create_guid,
            } => DurableRequest {
                create_guid: Some(create_guid),
                timeout: Duration::from_millis(timeout.into()),
                persistent,
            },
        }),
        snapshot: wishes.snapshot,
        case_sensitive: false,
        app_instance: wishes.app_instance,
    };
    Ok(Step::call(
        FsCall::Open(Box::new(call)),
        move |cx, result| opened(cx, result, &wishes),
    ))
}

fn client(cx: &Context<'_>) -> Guid {
    cx.state
        .negotiated()
        .map(|n| n.client_guid)
        .unwrap_or_default()
}

/// A name relative to the share: no leading backslash, no way upwards.
fn path(name: &str) -> Result<SmbPath, NtStatus> {
    if name.starts_with('\\') {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    SmbPath::parse(name).map_err(status::of)
}

/// Reads the create contexts; none may come twice, and the durable ones
/// exclude each other ([MS-SMB2] 3.3.5.9.6, .7, .10, .12).
fn wishes(cx: &Context<'_>, request: &CreateRequest<'_>) -> Result<Wishes, NtStatus> {
    let invalid = NtStatus::INVALID_PARAMETER;
    let revision = cx.state.dialect();
    let capabilities = cx
        .state
        .negotiated()
        .map(|n| n.capabilities)
        .unwrap_or_default();
    let leasing = capabilities.contains(Capabilities::LEASING);
    let mut out = Wishes::default();
    let (mut dhnq, mut dhnc, mut dh2q, mut dh2c) = (None, None, None, None);
    for (i, context) in request.contexts.iter().enumerate() {
        if request
            .contexts
            .iter()
            .take(i)
            .any(|c| c.name == context.name)
        {
            return Err(invalid);
        }
        match RequestContext::decode(context).map_err(|_| invalid)? {
            RequestContext::EaBuffer(data) => out.eas = info::full_eas(data)?,
            RequestContext::SecurityDescriptor(data) => out.security = Some(data.to_vec()),
            RequestContext::DurableRequest => dhnq = Some(Durable::V1),
            RequestContext::DurableReconnect(id) => dhnc = Some(Reconnect::V1(id)),
            RequestContext::AllocationSize(size) => out.allocation_size = size,
            RequestContext::MaximalAccess(time) => out.maximal_access = Some(time),
            RequestContext::Timewarp(time) => out.snapshot = Some(time),
            RequestContext::OnDiskId => out.on_disk_id = true,
            RequestContext::Lease(lease) => {
                let known = lease.v2.is_none() || revision >= dialect::SMB_3_0;
                if leasing && known {
                    out.lease = Some(lease);
                }
            }
            RequestContext::DurableRequestV2 {
                timeout,
                flags,
                create_guid,
            } => {
                let persistent = flags.contains(DurableFlags::PERSISTENT);
                dh2q = Some(Durable::V2 {
                    timeout,
                    persistent,
                    create_guid,
                });
            }
            RequestContext::DurableReconnectV2 {
                file_id,
                create_guid,
                ..
            } => {
                dh2c = Some(Reconnect::V2 {
                    file_id,
                    create_guid,
                });
            }
            RequestContext::AppInstanceId(id) if revision >= dialect::SMB_3_0 => {
                out.app_instance = Some(id);
            }
            RequestContext::Apple(data) => out.apple = Some(data.to_vec()),
            RequestContext::AppInstanceId(_)
            | RequestContext::AppInstanceVersion { .. }
            | RequestContext::Posix { .. }
            | RequestContext::Unknown { .. } => {}
        }
    }
    let second = dh2q.is_some() || dh2c.is_some();
    if second && (dhnq.is_some() || dhnc.is_some()) || dh2q.is_some() && dh2c.is_some() {
        return Err(invalid);
    }
    let smb3 = revision >= dialect::SMB_3_0;
    out.reconnect = dhnc.or(dh2c.filter(|_| smb3));
    if out.reconnect.is_none() && request.oplock_level != OPLOCK_LEVEL_LEASE {
        // A reconnection names its lease whatever level it asks for.
        out.lease = None;
    }
    out.durable = dhnq.or(dh2q.filter(|_| smb3));
    Ok(out)
}

fn caching(level: u8, wishes: &Wishes) -> CachingRequest {
    if level == OPLOCK_LEVEL_LEASE {
        return match &wishes.lease {
            None => CachingRequest::None,
            Some(lease) => CachingRequest::Lease(LeaseRequest {
                key: lease.key,
                state: lease.state,
                parent: lease
                    .v2
                    .filter(|_| lease.flags.contains(LeaseFlags::PARENT_LEASE_KEY_SET))
                    .map(|v2| v2.parent_key),
                epoch: lease.v2.map_or(0, |v2| v2.epoch),
                version: if lease.v2.is_some() { 2 } else { 1 },
            }),
        };
    }
    for asked in [
        OplockLevel::LevelTwo,
        OplockLevel::Exclusive,
        OplockLevel::Batch,
    ] {
        if level == asked as u8 {
            return CachingRequest::Oplock(asked);
        }
    }
    CachingRequest::None
}

/// [MS-SMB2] 3.3.5.9.7 and .12: takes up a durable handle again.
fn reconnect_call(
    cx: &mut Context<'_>,
    request: &CreateRequest<'_>,
    wishes: Wishes,
    reconnect: Reconnect,
) -> Result<Step, NtStatus> {
    let (id, create_guid) = match reconnect {
        Reconnect::V1(id) => (id, None),
        Reconnect::V2 {
            file_id,
            create_guid,
        } => (file_id, Some(create_guid)),
    };
    let name = request.name_text();
    let call = ReconnectCall {
        id: id.persistent,
        create_guid,
        client: client(cx),
        owner: cx.owner(),
        lease_key: wishes.lease.map(|l| l.key),
        path: SmbPath::parse(&name).ok(),
    };
    let wishes = Wishes {
        durable: None,
        ..wishes
    };
    Ok(Step::call(
        FsCall::Reconnect(Box::new(call)),
        move |cx, result| match result {
            Err(FsError::NotFound | FsError::NameNotFound) => {
                Step::Fail(NtStatus::OBJECT_NAME_NOT_FOUND)
            }
            result => opened(cx, result, &wishes),
        },
    ))
}

/// [MS-SMB2] 3.3.5.9.10: a CREATE that was carried out before, sent again over
/// another channel, gets the same open; the same CreateGuid without the flag
/// is refused.
fn replayed(cx: &mut Context<'_>, level: u8, wishes: &Wishes) -> Option<Result<Step, NtStatus>> {
    let Some(Durable::V2 { create_guid, .. }) = wishes.durable else {
        return None;
    };
    let replay = cx
        .request
        .header
        .flags
        .contains(HeaderFlags::REPLAY_OPERATION);
    let name = (client(cx), create_guid);
    if cx.link.server.files.is_create_pending(name.0, name.1) {
        // The first one still waits, for a break or the disk.
        return Some(Err(if replay {
            NtStatus::FILE_NOT_AVAILABLE
        } else {
            NtStatus::DUPLICATE_OBJECTID
        }));
    }
    let open = cx.link.server.files.find_by_create_guid(name.0, name.1)?;
    if !replay {
        return Some(Err(NtStatus::DUPLICATE_OBJECTID));
    }
    if open.is_disconnected() {
        return Some(Err(NtStatus::FILE_NOT_AVAILABLE));
    }
    let session = cx.session()?;
    let Some(file_id) = session.file_id_of(&open) else {
        return Some(Err(NtStatus::ACCESS_DENIED));
    };
    if session
        .open(file_id)
        .is_some_and(|entry| entry.state.lock().used)
    {
        // It was worked with since: not the same CREATE again but a new one.
        return None;
    }
    let lease_key = wishes.lease.map(|l| l.key);
    if lease_key.is_some() && open.lease_key() != lease_key {
        return Some(Err(NtStatus::ACCESS_DENIED));
    }
    let again = Wishes {
        durable: wishes.durable,
        maximal_access: wishes.maximal_access,
        on_disk_id: wishes.on_disk_id,
        ..Wishes::default()
    };
    Some(Ok(Step::call(
        FsCall::Stat {
            open: Arc::clone(&open),
        },
        move |_, result| match result {
            Ok(FsReply::Metadata(metadata)) => {
                // The level of a replay is given back as it was sent; the open keeps its own.
                let caching = match open.caching() {
                    lease @ CachingGrant::Lease { .. } => lease,
                    _ => match caching(level, &Wishes::default()) {
                        CachingRequest::Oplock(level) => CachingGrant::Oplock(level),
                        _ => CachingGrant::None,
                    },
                };
                let keeps = match caching {
                    CachingGrant::Oplock(level) => level == OplockLevel::Batch,
                    CachingGrant::Lease { .. } => true,
                    CachingGrant::None => false,
                };
                let opened = Opened {
                    action: open.create_action(),
                    caching,
                    rights: Rights {
                        granted: open.granted_access(),
                        maximal: open.maximal_access(),
                    },
                    durable: open.durable_timeout().filter(|_| keeps),
                    metadata: *metadata,
                    reconnected: false,
                    open,
                };
                respond(file_id, &opened, &again)
            }
            Ok(_) => Step::Fail(NtStatus::INTERNAL_ERROR),
            Err(error) => Step::Fail(status::of(error)),
        },
    )))
}

/// The file service answered: enters the open in the session and responds.
fn opened(cx: &mut Context<'_>, result: Result<FsReply, FsError>, wishes: &Wishes) -> Step {
    let opened = match result {
        Ok(FsReply::Opened(opened)) => opened,
        Ok(_) => return Step::Fail(NtStatus::INTERNAL_ERROR),
        Err(error) => return Step::Fail(status::of(error)),
    };
    let (Some(session), Some(tree)) = (cx.session(), cx.tree()) else {
        return give_back(&opened.open, NtStatus::NETWORK_NAME_DELETED);
    };
    // The answer may have come late, to a tree or session that is gone.
    if session.state() == SessionState::Ended {
        return give_back(&opened.open, NtStatus::USER_SESSION_DELETED);
    }
    if tree.gone.load(Ordering::Acquire) {
        return give_back(&opened.open, NtStatus::NETWORK_NAME_DELETED);
    }
    let limit = cx.request.config.limits.opens_per_session;
    let kind = OpenKind::File(Arc::clone(&opened.open));
    let Some(entry) = session.add_open(tree.id, opened.open.id(), kind, limit) else {
        return give_back(&opened.open, NtStatus::INSUFFICIENT_RESOURCES);
    };
    entry.state.lock().durable = opened.durable.is_some();
    respond(entry.id, &opened, wishes)
}

/// An open that cannot be entered is closed again.
fn give_back(open: &Arc<Open>, status: NtStatus) -> Step {
    let open = Arc::clone(open);
    Step::call(
        FsCall::Close {
            open,
            last_write: None,
        },
        move |_, _| Step::Fail(status),
    )
}

fn respond(file_id: FileId, opened: &Opened, wishes: &Wishes) -> Step {
    let m = &opened.metadata;
    let contexts = answers(opened, wishes);
    let contexts: Vec<CreateContext<'_>> =
        contexts.iter().map(ResponseContext::to_context).collect();
    let reparse = m.attributes.contains(FileAttributes::REPARSE_POINT);
    let response = CreateResponse {
        oplock_level: match opened.caching {
            CachingGrant::None => OplockLevel::None as u8,
            CachingGrant::Oplock(level) => level as u8,
            CachingGrant::Lease { .. } => OPLOCK_LEVEL_LEASE,
        },
        flags: if reparse { CREATE_FLAG_REPARSEPOINT } else { 0 },
        action: opened.action as u32,
        creation_time: m.times.creation,
        last_access_time: m.times.last_access,
        last_write_time: m.times.last_write,
        change_time: m.times.change,
        allocation_size: m.allocation_size,
        end_of_file: m.end_of_file,
        file_attributes: info::attributes(m.attributes),
        file_id,
        contexts,
    };
    let reply = Response::with_capacity(NtStatus::SUCCESS, 256, |w| response.encode(w));
    Step::Reply(reply.opened(file_id))
}

/// The contexts of a response.
fn answers(opened: &Opened, wishes: &Wishes) -> Vec<ResponseContext> {
    let m = &opened.metadata;
    let mut out = Vec::new();
    if let Some(time) = wishes.maximal_access {
        // [MS-SMB2] 3.3.5.9.5: nothing is told when the file did not change.
        let same = time.is_some_and(|t| t == m.times.last_write && t != FileTime::ZERO);
        out.push(if same {
            let status = NtStatus::NONE_MAPPED;
            ResponseContext::MaximalAccess {
                status,
                access: AccessMask::empty(),
            }
        } else {
            let access = opened.rights.maximal;
            ResponseContext::MaximalAccess {
                status: NtStatus::SUCCESS,
                access,
            }
        });
    }
    if wishes.on_disk_id {
        out.push(ResponseContext::OnDiskId {
            file: m.key.file,
            volume: m.key.volume,
        });
    }
    match (wishes.durable, opened.durable) {
        (Some(Durable::V1), Some(_)) => out.push(ResponseContext::Durable),
        (Some(Durable::V2 { .. }), Some(timeout)) => out.push(ResponseContext::DurableV2 {
            timeout: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
            flags: DurableFlags::empty(),
        }),
        _ => {}
    }
    if let CachingGrant::Lease { lease, breaking } = opened.caching {
        let mut flags = LeaseFlags::empty();
        flags.set(LeaseFlags::BREAK_IN_PROGRESS, breaking);
        let v2 = (lease.version >= 2).then(|| LeaseV2 {
            parent_key: lease.parent.unwrap_or_default(),
            epoch: lease.epoch,
        });
        flags.set(
            LeaseFlags::PARENT_LEASE_KEY_SET,
            v2.is_some() && lease.parent.is_some(),
        );
        out.push(ResponseContext::Lease(LeaseContext {
            key: lease.key,
            state: lease.state,
            flags,
            v2,
        }));
    }
    if let Some(apple) = wishes.apple.as_deref().and_then(apple) {
        out.push(ResponseContext::Apple(apple));
    }
    out
}

/// Apple's extension: the server's capabilities (none) and the volume's (a
/// FLUSH reaches the disk).
fn apple(request: &[u8]) -> Option<Vec<u8>> {
    const SERVER_QUERY: u32 = 1;
    const SERVER_CAPS: u64 = 1;
    const VOLUME_CAPS: u64 = 2;
    const FULL_SYNC: u64 = 4;
    let mut r = countersign_wire::Reader::new(request);
    if r.u32("CommandCode").ok()? != SERVER_QUERY {
        return None;
    }
    r.skip(4, "Reserved").ok()?;
    let asked = r.u64("RequestBitmap").ok()?;
    let told = asked & (SERVER_CAPS | VOLUME_CAPS);
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    w.u32(SERVER_QUERY);
    w.u32(0);
    w.u64(told);
    if told & SERVER_CAPS != 0 {
        w.u64(0);
    }
    if told & VOLUME_CAPS != 0 {
        w.u64(FULL_SYNC);
    }
    Some(out)
}

/// The response to an opened pipe.
pub(super) fn pipe_response(file_id: FileId) -> Step {
    let response = CreateResponse {
        action: CreateAction::Opened as u32,
        allocation_size: 4096,
        file_attributes: FileAttributes::NORMAL,
        file_id,
        ..CreateResponse::default()
    };
    Step::Reply(Response::new(NtStatus::SUCCESS, |w| response.encode(w)).opened(file_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_relative_and_do_not_lead_upwards() {
        assert_eq!(path("\\a").unwrap_err(), NtStatus::INVALID_PARAMETER);
        assert_eq!(path("..").unwrap_err(), NtStatus::OBJECT_PATH_SYNTAX_BAD);
        assert_eq!(
            path("a\\..\\..\\b").unwrap_err(),
            NtStatus::OBJECT_PATH_SYNTAX_BAD
        );
        assert_eq!(path("a\\..\\b").unwrap().to_string(), "b");
        assert_eq!(path("a*").unwrap_err(), NtStatus::OBJECT_NAME_INVALID);
        assert!(path("").unwrap().is_root());
        assert_eq!(path("a\\.\\b").unwrap().to_string(), "a\\b");
    }

    #[test]
    fn oplock_levels_and_leases() {
        let none = Wishes::default();
        assert_eq!(
            caching(9, &none),
            CachingRequest::Oplock(OplockLevel::Batch)
        );
        assert_eq!(caching(7, &none), CachingRequest::None);
        // A lease level without the context asks for nothing.
        assert_eq!(caching(OPLOCK_LEVEL_LEASE, &none), CachingRequest::None);
        let lease = LeaseContext {
            key: [1; 16],
            state: countersign_wire::fscc::LeaseState::READ,
            flags: LeaseFlags::empty(),
            v2: Some(LeaseV2 {
                parent_key: [2; 16],
                epoch: 3,
            }),
        };
        let with = Wishes {
            lease: Some(lease),
            ..Wishes::default()
        };
        let CachingRequest::Lease(asked) = caching(OPLOCK_LEVEL_LEASE, &with) else {
            panic!("a lease")
        };
        // The parent key counts only with its flag.
        assert_eq!((asked.version, asked.epoch, asked.parent), (2, 3, None));
    }

    #[test]
    fn apple_gets_what_it_asks_for() {
        let mut ask = vec![1, 0, 0, 0, 0, 0, 0, 0, 3];
        ask.resize(24, 0);
        let answer = apple(&ask).unwrap();
        assert_eq!(answer.len(), 32);
        assert_eq!(answer[24], 4);
        ask[0] = 2;
        assert_eq!(apple(&ask), None);
        assert_eq!(apple(&[1, 0, 0]), None);
    }
}
