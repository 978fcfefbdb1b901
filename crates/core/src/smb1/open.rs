//! NT_CREATE_ANDX and NT_TRANSACT_CREATE, [MS-CIFS] 3.3.5.51, 3.3.5.59.1 and
//! [MS-SMB] 3.3.5.5, and what all opens share.

use std::sync::Arc;

use countersign_fs::call::{OpenCall, Opened};
use countersign_fs::{CachingRequest, Ea, FsCall, FsError, FsReply, SmbPath};
use countersign_wire::fscc::{
    AccessMask, CreateAction, CreateOptions, Disposition, FileAttributes, OplockLevel, ShareAccess,
};
use countersign_wire::smb1::open as wire;
use countersign_wire::smb1::open::{RESOURCE_DISK, RESOURCE_MESSAGE_PIPE};
use countersign_wire::smb1::transaction::Answer as TransactionAnswer;
use countersign_wire::smb1::{Block, Capabilities};
use countersign_wire::{FileTime, Guid, NtStatus};

use super::front::oplock_of;
use super::pipe::PipeHandle;
use super::request::{Answer, Reply, Request, Stop};
use super::state::{File, FileKind};

/// FILE_GENERIC_READ.
pub(super) const GENERIC_READ: u32 = 0x0012_0089;
/// FILE_GENERIC_WRITE.
pub(super) const GENERIC_WRITE: u32 = 0x0012_0116;
/// STATUS_TOO_MANY_OPENED_FILES.
const TOO_MANY_OPENED_FILES: NtStatus = NtStatus(0xC000_011F);
/// State of a message pipe as responses tell it: message mode both ways, 255 instances.
pub(super) const PIPE_STATUS: u16 = 0x05FF;

/// A call that opens an existing file and changes nothing: a base to build on.
pub(super) fn open_call(cx: &Request, path: SmbPath) -> OpenCall {
    OpenCall {
        path,
        trailing_separator: false,
        relative_to: None,
        by_id: None,
        access: AccessMask::READ_ATTRIBUTES | AccessMask::SYNCHRONIZE,
        share_access: ShareAccess::READ | ShareAccess::WRITE | ShareAccess::DELETE,
        disposition: Disposition::Open,
        options: CreateOptions::empty(),
        attributes: FileAttributes::empty(),
        allocation_size: 0,
        eas: Vec::new(),
        security: None,
        caching: CachingRequest::None,
        client: Guid::default(),
        owner: cx.owner(),
        pid: cx.header.pid(),
        deny: None,
        durable: None,
        snapshot: None,
        case_sensitive: false,
        app_instance: None,
    }
}

/// Opens; the open is not given a FID yet.
pub(super) async fn open_file(cx: &Request, call: OpenCall) -> Result<Box<Opened>, FsError> {
    let folder = call.trailing_separator || call.options.contains(CreateOptions::DIRECTORY_FILE);
    match cx.call(FsCall::Open(Box::new(call))).await {
        Ok(FsReply::Opened(opened)) => Ok(opened),
        Ok(_) => Err(FsError::Io),
        // A file in the middle of a path is a path that does not exist.
        Err(FsError::NotADirectory) if !folder => Err(FsError::PathNotFound),
        Err(e) => Err(e),
    }
}

/// How long between two tries of an open that share modes refuse.
const SHARE_RETRY: core::time::Duration = core::time::Duration::from_millis(20);

/// Opens for a client that may hold a FID in the way itself: what share modes
/// refuse is tried again for a while.
pub(super) async fn open_patiently(cx: &Request, call: OpenCall) -> Result<Box<Opened>, FsError> {
    let until = cx
        .monotonic()
        .saturating_add(cx.config.limits.smb1_share_delay);
    loop {
        match open_file(cx, call.clone()).await {
            Err(FsError::SharingViolation) if cx.monotonic() < until => {
                cx.sleep_until(cx.monotonic().saturating_add(SHARE_RETRY).min(until))
                    .await;
            }
            other => return other,
        }
    }
}

/// Closes what got no FID.
pub(super) async fn close_file(cx: &Request, open: Arc<countersign_fs::Open>) {
    // A failed close has nobody to tell: the open is gone either way.
    let _ = cx
        .call(FsCall::Close {
            open,
            last_write: None,
        })
        .await;
}

/// Gives an open its FID; closes it when there is none, or when session or
/// tree went away meanwhile.
pub(super) async fn register(cx: &mut Request, opened: &Opened) -> Result<u16, Stop> {
    let entry = File {
        uid: cx.header.uid,
        tid: cx.header.tid,
        pid: cx.header.pid(),
        kind: FileKind::File(Arc::clone(&opened.open)),
        position: 0,
        position_information: 0,
        failed_lock: None,
    };
    match enter(cx, entry) {
        Ok(fid) => Ok(fid),
        Err(stop) => {
            close_file(cx, Arc::clone(&opened.open)).await;
            Err(stop)
        }
    }
}

/// Enters a file or pipe into the table.
fn enter(cx: &mut Request, entry: File) -> Result<u16, Stop> {
    let limit = cx.config.limits.opens_per_session;
    let mut state = cx.shared.state.lock();
    if !state.sessions.contains_key(&entry.uid) {
        return Err(Stop::Status(NtStatus::SMB_BAD_UID));
    }
    if !state.trees.contains_key(&entry.tid) {
        return Err(Stop::Status(NtStatus::SMB_BAD_TID));
    }
    if state.files.values().filter(|f| f.uid == entry.uid).count() >= limit {
        return Err(Stop::Status(TOO_MANY_OPENED_FILES));
    }
    let fid = state.new_fid().ok_or(Stop::Status(TOO_MANY_OPENED_FILES))?;
    state.files.insert(fid, entry);
    state.count_opens();
    drop(state);
    cx.chained_fid = Some(fid);
    Ok(fid)
}

/// Opens a named pipe of IPC$.
pub(super) fn open_pipe(cx: &mut Request, name: &str) -> Result<u16, Stop> {
    let pipe = PipeHandle::open(cx, name).ok_or(Stop::Status(NtStatus::OBJECT_NAME_NOT_FOUND))?;
    let entry = File {
        uid: cx.header.uid,
        tid: cx.header.tid,
        pid: cx.header.pid(),
        kind: FileKind::Pipe(pipe),
        position: 0,
        position_information: 0,
        failed_lock: None,
    };
    enter(cx, entry)
}

pub(super) fn is_pipe_tree(cx: &Request) -> Result<bool, Stop> {
    Ok(cx.tree()?.share.is_none())
}

pub(super) fn trailing_separator(name: &str) -> bool {
    name.len() > 1 && name.ends_with(['\\', '/'])
}

/// Attributes as the NT responses have them: NORMAL when there are none.
pub(super) fn ext_attributes(attributes: FileAttributes) -> u32 {
    match attributes.bits() {
        0 => FileAttributes::NORMAL.bits(),
        bits => bits,
    }
}

/// Attributes as the DOS responses have them.
pub(super) fn dos_attributes(attributes: FileAttributes) -> u16 {
    u16::try_from(attributes.bits() & 0x3F).unwrap_or(0)
}

/// Length cut to what 32 bits hold.
pub(super) fn clamp32(v: u64) -> u32 {
    u32::try_from(v).unwrap_or(u32::MAX)
}

// --- NT_CREATE_ANDX and NT_TRANSACT_CREATE

/// What both say.
struct NtCreate {
    flags: u32,
    root_directory_fid: u32,
    desired_access: u32,
    allocation_size: u64,
    ext_file_attributes: u32,
    share_access: u32,
    create_disposition: u32,
    create_options: u32,
    impersonation_level: u32,
    name: String,
    security: Option<Vec<u8>>,
    eas: Vec<Ea>,
}

async fn nt_open(cx: &Request, create: NtCreate) -> Result<Box<Opened>, Stop> {
    let disposition = Disposition::from_u32(create.create_disposition)
        .ok_or(Stop::Status(NtStatus::INVALID_PARAMETER))?;
    if create.impersonation_level > 3 {
        return Err(Stop::Status(NtStatus(0xC000_00A5))); // BAD_IMPERSONATION_LEVEL
    }
    let options = CreateOptions::from_bits_retain(create.create_options);
    if options.contains(CreateOptions::OPEN_BY_FILE_ID) {
        return Err(Stop::Status(NtStatus::NOT_SUPPORTED));
    }
    let relative_to = match u16::try_from(create.root_directory_fid) {
        Ok(0) => None,
        Ok(fid) => Some(cx.file(fid)?),
        Err(_) => return Err(Stop::Status(NtStatus::INVALID_HANDLE)),
    };
    let mut path = cx.path(&create.name)?;
    if create.flags & wire::NT_CREATE_OPEN_TARGET_DIR != 0 {
        path = path
            .parent()
            .ok_or(Stop::Status(NtStatus::OBJECT_NAME_INVALID))?;
    }
    let caching = if create.flags & wire::NT_CREATE_REQUEST_OPLOCK == 0 {
        CachingRequest::None
    } else if create.flags & wire::NT_CREATE_REQUEST_OPBATCH != 0 {
        CachingRequest::Oplock(OplockLevel::Batch)
    } else {
        CachingRequest::Oplock(OplockLevel::Exclusive)
    };
    let call = OpenCall {
        trailing_separator: trailing_separator(&create.name),
        relative_to,
        access: AccessMask::from_bits_retain(create.desired_access),
        share_access: ShareAccess::from_bits_retain(create.share_access),
        disposition,
        options,
        attributes: FileAttributes::from_bits_retain(create.ext_file_attributes),
        allocation_size: create.allocation_size,
        eas: create.eas,
        security: create.security,
        caching,
        ..open_call(cx, path)
    };
    Ok(open_patiently(cx, call).await?)
}

/// Oplock level as NT responses have it.
fn nt_oplock(cx: &Request, opened: &Opened) -> u8 {
    // Who does not know level II is not told of it, and later not of its break.
    let level_two = cx
        .session()
        .is_ok_and(|s| s.capabilities.contains(Capabilities::LEVEL_II_OPLOCKS));
    match oplock_of(&opened.caching) {
        OplockLevel::Exclusive => 1,
        OplockLevel::Batch => 2,
        OplockLevel::LevelTwo if level_two => 3,
        OplockLevel::None | OplockLevel::LevelTwo => 0,
    }
}

pub(super) async fn nt_create_andx(cx: &mut Request, block: &Block<'_>) -> Answer {
    let (words, name) = wire::decode_nt_create_andx(block, cx.text())?;
    let extended = words.flags & wire::NT_CREATE_REQUEST_EXTENDED_RESPONSE != 0;
    if is_pipe_tree(cx)? {
        let fid = open_pipe(cx, &name)?;
        return Ok(nt_reply(&pipe_words(fid), extended.then_some(0x001F_01FF)));
    }
    let create = NtCreate {
        flags: words.flags,
        root_directory_fid: words.root_directory_fid,
        desired_access: words.desired_access,
        allocation_size: words.allocation_size,
        ext_file_attributes: words.ext_file_attributes,
        share_access: words.share_access,
        create_disposition: words.create_disposition,
        create_options: words.create_options,
        impersonation_level: words.impersonation_level,
        name,
        security: None,
        eas: Vec::new(),
    };
    let opened = nt_open(cx, create).await?;
    let fid = register(cx, &opened).await?;
    let response = opened_words(cx, &opened, fid, extended);
    Ok(nt_reply(
        &response,
        extended.then_some(opened.rights.maximal.bits()),
    ))
}

/// What both responses tell of a file.
fn opened_words(
    cx: &Request,
    opened: &Opened,
    fid: u16,
    extended: bool,
) -> wire::NtCreateAndxResponseWords {
    let m = &opened.metadata;
    wire::NtCreateAndxResponseWords {
        oplock_level: nt_oplock(cx, opened),
        fid,
        create_disposition: opened.action as u32,
        create_time: m.times.creation,
        last_access_time: m.times.last_access,
        last_write_time: m.times.last_write,
        last_change_time: m.times.change,
        ext_file_attributes: ext_attributes(m.attributes),
        allocation_size: m.allocation_size,
        end_of_file: m.end_of_file,
        resource_type: RESOURCE_DISK,
        nm_pipe_status: if extended { 7 } else { 0 },
        directory: u8::from(m.is_directory()),
    }
}

/// What both responses tell of a pipe.
fn pipe_words(fid: u16) -> wire::NtCreateAndxResponseWords {
    wire::NtCreateAndxResponseWords {
        oplock_level: 0,
        fid,
        create_disposition: CreateAction::Opened as u32,
        create_time: FileTime::ZERO,
        last_access_time: FileTime::ZERO,
        last_write_time: FileTime::ZERO,
        last_change_time: FileTime::ZERO,
        ext_file_attributes: FileAttributes::NORMAL.bits(),
        allocation_size: 4096,
        end_of_file: 0,
        resource_type: RESOURCE_MESSAGE_PIPE,
        nm_pipe_status: PIPE_STATUS,
        directory: 0,
    }
}

fn nt_reply(words: &wire::NtCreateAndxResponseWords, extended: Option<u32>) -> Reply {
    let mut out = words.to_vec();
    let mut word_count = None;
    if let Some(maximal_access_rights) = extended {
        let tail = wire::ExtendedCreateTail {
            volume_guid: [0; 16],
            // Zero: with the WordCount above, clients find ByteCount here.
            file_id: 0,
            maximal_access_rights,
            guest_maximal_access_rights: 0,
        };
        out.extend(tail.to_vec());
        word_count = Some(wire::EXTENDED_CREATE_WORD_COUNT);
    }
    Reply {
        word_count,
        ..Reply::words(out)
    }
}

/// NT_TRANSACT_CREATE, [MS-CIFS] 3.3.5.57.1.
pub(super) async fn nt_transact_create(
    cx: &mut Request,
    parameters: &[u8],
    data: &[u8],
) -> Result<TransactionAnswer, Stop> {
    let (p, name) = wire::decode_nt_transact_create(parameters, cx.text())?;
    let extended = p.flags & wire::NT_CREATE_REQUEST_EXTENDED_RESPONSE != 0;
    if is_pipe_tree(cx)? {
        let fid = open_pipe(cx, &name)?;
        return Ok(nt_transact_answer(
            &pipe_words(fid),
            extended.then_some(0x001F_01FF),
        ));
    }
    let length = |v: u32| usize::try_from(v).unwrap_or(usize::MAX);
    let security = match length(p.security_descriptor_length) {
        0 => None,
        n => Some(
            data.get(..n)
                .ok_or(Stop::Status(NtStatus::INVALID_PARAMETER))?
                .to_vec(),
        ),
    };
    let eas = match length(p.ea_length) {
        0 => Vec::new(),
        n => {
            let start = length(p.security_descriptor_length).next_multiple_of(4);
            let end = start.saturating_add(n);
            let list = data
                .get(start..end)
                .ok_or(Stop::Status(NtStatus::INVALID_PARAMETER))?;
            crate::info::full_eas(list)?
        }
    };
    let create = NtCreate {
        flags: p.flags,
        root_directory_fid: p.root_directory_fid,
        desired_access: p.desired_access,
        allocation_size: p.allocation_size,
        ext_file_attributes: p.ext_file_attributes,
        share_access: p.share_access,
        create_disposition: p.create_disposition,
        create_options: p.create_options,
        impersonation_level: p.impersonation_level,
        name,
        security,
        eas,
    };
    let opened = nt_open(cx, create).await?;
    let fid = register(cx, &opened).await?;
    let words = opened_words(cx, &opened, fid, extended);
    Ok(nt_transact_answer(
        &words,
        extended.then_some(opened.rights.maximal.bits()),
    ))
}

fn nt_transact_answer(
    w: &wire::NtCreateAndxResponseWords,
    extended: Option<u32>,
) -> TransactionAnswer {
    let mut parameters = wire::NtTransactCreateResponseParameters {
        oplock_level: w.oplock_level,
        reserved: 0,
        fid: w.fid,
        create_action: w.create_disposition,
        ea_error_offset: 0,
        creation_time: w.create_time,
        last_access_time: w.last_access_time,
        last_write_time: w.last_write_time,
        last_change_time: w.last_change_time,
        ext_file_attributes: w.ext_file_attributes,
        allocation_size: w.allocation_size,
        end_of_file: w.end_of_file,
        resource_type: w.resource_type,
        nm_pipe_status: w.nm_pipe_status,
        directory: w.directory,
    }
    .to_vec();
    if let Some(maximal_access_rights) = extended {
        // [MS-SMB] 2.2.7.1.2: one byte of padding, then the tail.
        parameters.push(0);
        let tail = wire::ExtendedCreateTail {
            volume_guid: [0; 16],
            file_id: 0,
            maximal_access_rights,
            guest_maximal_access_rights: 0,
        };
        parameters.extend(tail.to_vec());
    }
    TransactionAnswer {
        setup: Vec::new(),
        parameters,
        data: Vec::new(),
    }
}
