//! Opens of DOS: OPEN, OPEN_ANDX, CREATE, CREATE_NEW, CREATE_TEMPORARY and
//! TRANS2_OPEN2; [MS-CIFS] 3.3.5.5, 3.3.5.6, 3.3.5.15, 3.3.5.16, 3.3.5.35.

use std::sync::Arc;

use countersign_fs::call::{DenyMode, OpenCall, Opened};
use countersign_fs::{CachingRequest, Ea, FsCall, Metadata, SetBasic, TimeChange};
use countersign_wire::NtStatus;
use countersign_wire::fscc::{
    AccessMask, CreateAction, CreateOptions, Disposition, FileAttributes, OplockLevel, ShareAccess,
};
use countersign_wire::smb1::info::decode_fea_list;
use countersign_wire::smb1::open as wire;
use countersign_wire::smb1::open::{
    AccessMode, FileExistsOption, ModeAccess, ModeSharing, OpenMode, RESOURCE_DISK,
    RESOURCE_MESSAGE_PIPE,
};
use countersign_wire::smb1::transaction::Answer as TransactionAnswer;
use countersign_wire::smb1::{Block, Flags};

use super::front::oplock_of;
use super::open::{
    GENERIC_READ, GENERIC_WRITE, PIPE_STATUS, clamp32, dos_attributes, is_pipe_tree, open_call,
    open_patiently, open_pipe, register, trailing_separator,
};
use super::request::{Answer, Reply, Request, Stop};

/// Attributes of a new file from a DOS request.
fn from_dos_attributes(bits: u16) -> FileAttributes {
    FileAttributes::from_bits_retain(u32::from(bits))
        & (FileAttributes::READONLY
            | FileAttributes::HIDDEN
            | FileAttributes::SYSTEM
            | FileAttributes::ARCHIVE)
}

/// What OPEN, OPEN_ANDX and OPEN2 say, in the terms of the file service.
struct DosOpen {
    access: AccessMask,
    share_access: ShareAccess,
    deny: Option<DenyMode>,
    disposition: Disposition,
    options: CreateOptions,
}

fn dos_open(mode: AccessMode, open: OpenMode, name: &str) -> Result<DosOpen, Stop> {
    let bad_access = Stop::Status(NtStatus::OS2_INVALID_ACCESS);
    let access = match mode.access().ok_or(bad_access)? {
        ModeAccess::Read | ModeAccess::Execute => GENERIC_READ,
        ModeAccess::Write => GENERIC_WRITE,
        ModeAccess::ReadWrite | ModeAccess::Fcb => GENERIC_READ | GENERIC_WRITE,
    };
    let read_only = access == GENERIC_READ;
    let (read, write) = (ShareAccess::READ, ShareAccess::WRITE);
    let (share_access, deny) = match mode.sharing().ok_or(bad_access)? {
        ModeSharing::DenyAll => (ShareAccess::empty(), None),
        ModeSharing::DenyWrite => (read, None),
        ModeSharing::DenyRead => (write, None),
        ModeSharing::DenyNone => (read | write, None),
        ModeSharing::Compatibility if is_program(name) => (read | write, Some(DenyMode::Dos)),
        ModeSharing::Compatibility if read_only => (read, Some(DenyMode::Dos)),
        ModeSharing::Compatibility => (ShareAccess::empty(), Some(DenyMode::Dos)),
        ModeSharing::Fcb => (ShareAccess::empty(), Some(DenyMode::Fcb)),
    };
    let exists = open.exists().ok_or(bad_access)?;
    let disposition = match (exists, open.create()) {
        (FileExistsOption::Fail, true) => Disposition::Create,
        // As Windows has it for opens for execution.
        (FileExistsOption::Fail, false) if mode.access() == Some(ModeAccess::Execute) => {
            Disposition::Create
        }
        (FileExistsOption::Fail, false) => return Err(bad_access),
        (FileExistsOption::Open, true) => Disposition::OpenIf,
        (FileExistsOption::Open, false) => Disposition::Open,
        (FileExistsOption::Truncate, true) => Disposition::OverwriteIf,
        (FileExistsOption::Truncate, false) => Disposition::Overwrite,
    };
    let mut options = CreateOptions::NON_DIRECTORY_FILE;
    options.set(CreateOptions::WRITE_THROUGH, mode.write_through());
    Ok(DosOpen {
        access: AccessMask::from_bits_retain(access),
        share_access,
        deny,
        disposition,
        options,
    })
}

/// DOS lets programs be shared in compatibility mode.
fn is_program(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".com", ".dll", ".exe", ".sym"]
        .iter()
        .any(|e| name.ends_with(e))
}

/// Oplock asked for by the header's flags (core commands) or by Flags.
fn header_oplock(cx: &Request) -> CachingRequest {
    let flags = cx.header.flags;
    if !flags.contains(Flags::OPLOCK) {
        CachingRequest::None
    } else if flags.contains(Flags::OPBATCH) {
        CachingRequest::Oplock(OplockLevel::Batch)
    } else {
        CachingRequest::Oplock(OplockLevel::Exclusive)
    }
}

fn flags_oplock(flags: u16) -> CachingRequest {
    if flags & wire::OPEN_REQUEST_OPBATCH != 0 {
        CachingRequest::Oplock(OplockLevel::Batch)
    } else if flags & wire::OPEN_REQUEST_OPLOCK != 0 {
        CachingRequest::Oplock(OplockLevel::Exclusive)
    } else {
        CachingRequest::None
    }
}

/// Access an open got, as DOS says it.
fn granted_mode(requested: AccessMode, opened: &Opened) -> u16 {
    let granted = opened.open.granted_access();
    let read = granted.contains(AccessMask::READ_DATA);
    let write = granted.contains(AccessMask::WRITE_DATA);
    match (read, write) {
        (true, true) => 2,
        (false, true) => 1,
        _ if requested.0 & 7 == 3 => 3,
        _ => 0,
    }
}

/// OpenResults without the oplock bit.
fn action_taken(opened: &Opened) -> u16 {
    let action = match opened.action {
        CreateAction::Opened => 1,
        CreateAction::Created => 2,
        CreateAction::Overwritten | CreateAction::Superseded => 3,
    };
    let exclusive = matches!(
        oplock_of(&opened.caching),
        OplockLevel::Exclusive | OplockLevel::Batch
    );
    if exclusive {
        action | wire::OPEN_RESULT_OPLOCK
    } else {
        action
    }
}

async fn dos_open_file(
    cx: &Request,
    name: &str,
    how: DosOpen,
    attributes: u16,
    caching: CachingRequest,
    allocation_size: u64,
    eas: Vec<Ea>,
) -> Result<Box<Opened>, Stop> {
    let path = cx.path(name)?;
    let call = OpenCall {
        trailing_separator: trailing_separator(name),
        access: how.access,
        share_access: how.share_access,
        deny: how.deny,
        disposition: how.disposition,
        options: how.options,
        attributes: from_dos_attributes(attributes),
        allocation_size,
        eas,
        caching,
        ..open_call(cx, path)
    };
    Ok(open_patiently(cx, call).await?)
}

/// FCB opens get as much access as can be had.
#[allow(clippy::too_many_arguments)] // they are the request's fields
async fn dos_open_any(
    cx: &Request,
    mode: AccessMode,
    open: OpenMode,
    name: &str,
    attributes: u16,
    caching: CachingRequest,
    allocation_size: u64,
    eas: Vec<Ea>,
) -> Result<Box<Opened>, Stop> {
    let how = dos_open(mode, open, name)?;
    let fcb = how.deny == Some(DenyMode::Fcb);
    let again = eas.clone();
    match dos_open_file(cx, name, how, attributes, caching, allocation_size, eas).await {
        Err(Stop::Status(NtStatus::ACCESS_DENIED)) if fcb => {
            let mut how = dos_open(mode, open, name)?;
            how.access = AccessMask::from_bits_retain(GENERIC_READ);
            dos_open_file(cx, name, how, attributes, caching, allocation_size, again).await
        }
        other => other,
    }
}

/// Sets the time that a DOS create asks for.
async fn set_created(cx: &Request, opened: &Opened, seconds: u32) {
    if opened.action == CreateAction::Opened {
        return;
    }
    if let Some(time) = cx.zone().from_utime(seconds) {
        let set = SetBasic {
            last_write: Some(TimeChange::Set(time)),
            ..SetBasic::default()
        };
        // The file is there; a time that cannot be kept does not undo it.
        let _ = cx
            .call(FsCall::SetBasic {
                open: Arc::clone(&opened.open),
                set,
            })
            .await;
    }
}

pub(super) async fn open_andx(cx: &mut Request, block: &Block<'_>) -> Answer {
    let (w, name) = wire::decode_open_andx(block, cx.text())?;
    if is_pipe_tree(cx)? {
        let fid = open_pipe(cx, &name)?;
        return Ok(Reply::words(
            wire::OpenAndxResponseWords {
                fid,
                file_attrs: 0,
                last_write_time: 0,
                file_data_size: 0,
                access_rights: 2,
                resource_type: RESOURCE_MESSAGE_PIPE,
                nm_pipe_status: PIPE_STATUS,
                open_results: 1,
                server_fid: 0,
                reserved: 0,
            }
            .to_vec(),
        ));
    }
    let mode = AccessMode(w.access_mode);
    let caching = match flags_oplock(w.flags) {
        CachingRequest::None => header_oplock(cx),
        asked => asked,
    };
    let opened = dos_open_any(
        cx,
        mode,
        OpenMode(w.open_mode),
        &name,
        w.file_attrs,
        caching,
        u64::from(w.allocation_size),
        Vec::new(),
    )
    .await?;
    let mut metadata = opened.metadata.clone();
    if w.allocation_size > 0 && opened.action != CreateAction::Opened {
        grow(cx, &opened, u64::from(w.allocation_size), &mut metadata).await;
    }
    set_created(cx, &opened, w.creation_time).await;
    let fid = register(cx, &opened).await?;
    let zone = cx.zone();
    let mut words = wire::OpenAndxResponseWords {
        fid,
        file_attrs: dos_attributes(metadata.attributes),
        last_write_time: zone.to_utime(metadata.times.last_write),
        file_data_size: clamp32(metadata.end_of_file),
        access_rights: granted_mode(mode, &opened),
        resource_type: RESOURCE_DISK,
        nm_pipe_status: 0,
        open_results: action_taken(&opened),
        server_fid: 0,
        reserved: 0,
    }
    .to_vec();
    if w.flags & wire::OPEN_REQUEST_EXTENDED_RESPONSE != 0 {
        let tail = wire::OpenAndxExtendedTail {
            maximal_access_rights: opened.rights.maximal.bits(),
            guest_maximal_access_rights: 0,
        };
        words.extend(tail.to_vec());
    }
    Ok(Reply::words(words))
}

/// DOS opens give a new file its AllocationSize as length.
async fn grow(cx: &Request, opened: &Opened, size: u64, metadata: &mut Metadata) {
    let open = Arc::clone(&opened.open);
    if cx.call(FsCall::SetEndOfFile { open, size }).await.is_ok() {
        metadata.end_of_file = size;
    }
}

pub(super) async fn open(cx: &mut Request, block: &Block<'_>) -> Answer {
    let (w, name) = wire::decode_open(block, cx.text())?;
    let mode = AccessMode(w.access_mode);
    if is_pipe_tree(cx)? {
        let fid = open_pipe(cx, &name)?;
        let words = wire::OpenResponseWords {
            fid,
            file_attrs: 0,
            last_modified: 0,
            file_size: 0,
            access_mode: 2,
        };
        return Ok(Reply::words(words.to_vec()));
    }
    let caching = header_oplock(cx);
    let opened = dos_open_any(cx, mode, OpenMode(1), &name, 0, caching, 0, Vec::new()).await?;
    let fid = register(cx, &opened).await?;
    let m = &opened.metadata;
    let words = wire::OpenResponseWords {
        fid,
        file_attrs: dos_attributes(m.attributes),
        last_modified: cx.zone().to_utime(m.times.last_write),
        file_size: clamp32(m.end_of_file),
        access_mode: granted_mode(mode, &opened),
    };
    grant_in_header(cx, &opened);
    Ok(Reply::words(words.to_vec()))
}

/// Core opens tell an oplock granted in the header's flags.
fn grant_in_header(cx: &mut Request, opened: &Opened) {
    let level = oplock_of(&opened.caching);
    let granted = matches!(level, OplockLevel::Exclusive | OplockLevel::Batch);
    cx.header.flags.set(Flags::OPLOCK, granted);
    cx.header
        .flags
        .set(Flags::OPBATCH, level == OplockLevel::Batch);
    cx.core_oplock = granted;
}

fn create_how(disposition: Disposition) -> DosOpen {
    DosOpen {
        access: AccessMask::from_bits_retain(GENERIC_READ | GENERIC_WRITE),
        share_access: ShareAccess::READ | ShareAccess::WRITE,
        deny: None,
        disposition,
        options: CreateOptions::NON_DIRECTORY_FILE,
    }
}

/// CREATE and CREATE_NEW.
pub(super) async fn create(cx: &mut Request, block: &Block<'_>, new: bool) -> Answer {
    let (w, name) = wire::decode_create(block, cx.text())?;
    let disposition = if new {
        Disposition::Create
    } else {
        Disposition::OverwriteIf
    };
    let caching = header_oplock(cx);
    let how = create_how(disposition);
    let opened = dos_open_file(cx, &name, how, w.file_attributes, caching, 0, Vec::new()).await?;
    set_created(cx, &opened, w.creation_time).await;
    let fid = register(cx, &opened).await?;
    grant_in_header(cx, &opened);
    Ok(Reply::words(wire::FidWords { fid }.to_vec()))
}

/// How many names CREATE_TEMPORARY tries before it gives up.
const TEMPORARY_TRIES: u32 = 16;

pub(super) async fn create_temporary(cx: &mut Request, block: &Block<'_>) -> Answer {
    let (w, folder) = wire::decode_create(block, cx.text())?;
    let folder = folder.trim_end_matches(['\\', '/']).to_owned();
    for _ in 0..TEMPORARY_TRIES {
        let mut random = [0; 4];
        cx.shared.server.host.random(&mut random);
        let file = format!("TMP{:05X}", u32::from_le_bytes(random) & 0xF_FFFF);
        let name = format!("{folder}\\{file}");
        let caching = header_oplock(cx);
        let how = create_how(Disposition::Create);
        match dos_open_file(cx, &name, how, w.file_attributes, caching, 0, Vec::new()).await {
            Err(Stop::Status(NtStatus::OBJECT_NAME_COLLISION)) => {}
            Err(stop) => return Err(stop),
            Ok(opened) => {
                set_created(cx, &opened, w.creation_time).await;
                let fid = register(cx, &opened).await?;
                grant_in_header(cx, &opened);
                let mut bytes = vec![4];
                bytes.extend(cx.text().oem().encode(&file));
                bytes.push(0);
                return Ok(Reply::new(wire::FidWords { fid }.to_vec(), bytes));
            }
        }
    }
    Err(Stop::Status(NtStatus::OBJECT_NAME_COLLISION))
}

/// TRANS2_OPEN2, [MS-CIFS] 3.3.5.58.1.
pub(super) async fn open2(
    cx: &mut Request,
    parameters: &[u8],
    data: &[u8],
) -> Result<TransactionAnswer, Stop> {
    let (p, name) = wire::decode_open2(parameters, cx.text())?;
    if is_pipe_tree(cx)? {
        return Err(Stop::Status(NtStatus::NOT_SUPPORTED));
    }
    let eas = decode_fea_list(data)?
        .into_iter()
        .map(|ea| Ea {
            flags: ea.flags,
            name: ea.name,
            value: ea.value,
        })
        .collect();
    let mode = AccessMode(p.access_mode);
    if p.open_mode & 0x13 == 0 {
        // Neither to open nor to create: OPEN_ANDX has another answer to that.
        return Err(Stop::Status(NtStatus::OBJECT_NAME_COLLISION));
    }
    let opened = dos_open_any(
        cx,
        mode,
        OpenMode(p.open_mode),
        &name,
        p.file_attributes,
        flags_oplock(p.flags),
        u64::from(p.allocation_size),
        eas,
    )
    .await?;
    let mut metadata = opened.metadata.clone();
    if p.allocation_size > 0 && opened.action != CreateAction::Opened {
        grow(cx, &opened, u64::from(p.allocation_size), &mut metadata).await;
    }
    set_created(cx, &opened, p.creation_time).await;
    let fid = register(cx, &opened).await?;
    let zone = cx.zone();
    let response = wire::Open2ResponseParameters {
        fid,
        file_attributes: dos_attributes(metadata.attributes),
        creation_time: zone.to_utime(metadata.times.last_write),
        file_data_size: clamp32(metadata.end_of_file),
        // What was asked for, deny mode included.
        access_mode: p.access_mode,
        resource_type: RESOURCE_DISK,
        nm_pipe_status: 0,
        action_taken: action_taken(&opened),
        reserved: clamp32(metadata.key.file & 0xFFFF_FFFF),
        extended_attribute_error_offset: 0xFFFF,
        extended_attribute_length: metadata.ea_size,
    };
    Ok(TransactionAnswer {
        parameters: response.to_vec(),
        ..TransactionAnswer::default()
    })
}
