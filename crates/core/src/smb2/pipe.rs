//! Named pipes of IPC$ as SMB2 commands see them, [MS-SMB2] 3.3.5.9, .12, .13
//! and 3.3.5.15.10.

use std::sync::Arc;

use countersign_rpc::PipeRead;
use countersign_wire::fscc::{
    AccessInformation, AccessMask, AlignmentInformation, AllInformation, AttributeTagInformation,
    BasicInformation, EaInformation, FileAttributes, InternalInformation, ModeInformation,
    NetworkOpenInformation, PipeInformation, PipeLocalInformation, PositionInformation,
    StandardInformation, encode_name, file_class,
};
use countersign_wire::smb2::{ReadResponse, WriteResponse, fsctl};
use countersign_wire::{FileTime, NtStatus, Writer};

use super::create;
use super::handler::{Context, READ_HEADROOM, Response, Step, Wait};
use super::ioctl::Asked;
use super::query_info;
use super::session::{FileOpen, OpenKind};
use crate::info::Info;
use crate::pipes::{Facts, PipeOpen};

/// FILE_PIPE_CONNECTED_STATE.
const CONNECTED: u32 = 3;
/// FILE_PIPE_MESSAGE_TYPE and FILE_PIPE_MESSAGE_MODE.
const MESSAGE: u32 = 1;
/// FILE_PIPE_FULL_DUPLEX.
const FULL_DUPLEX: u32 = 2;
/// Bytes told of a pipe's buffers.
const QUOTA: u32 = 4096;

/// Facts for the interfaces behind the pipes.
fn with_facts<T>(cx: &Context<'_>, pipe: &PipeOpen, use_them: impl FnOnce(&Facts<'_>) -> T) -> T {
    use_them(&Facts {
        config: &cx.request.config,
        registry: &cx.link.server.registry,
        identity: pipe.identity.as_deref(),
        now: cx.now,
    })
}

/// CREATE on IPC$: names come with and without a leading backslash.
pub(super) fn create(cx: &mut Context<'_>, name: &str) -> Step {
    let identity = cx.session().and_then(|s| s.identity());
    let Some(pipe) = PipeOpen::open(name, identity) else {
        return Step::Fail(NtStatus::OBJECT_NAME_NOT_FOUND);
    };
    let (Some(session), Some(tree)) = (cx.session(), cx.tree()) else {
        return Step::Fail(NtStatus::NETWORK_NAME_DELETED);
    };
    let persistent = u64::from_le_bytes(cx.link.random());
    let limit = cx.request.config.limits.opens_per_session;
    match session.add_open(tree.id, persistent, OpenKind::Pipe(Arc::new(pipe)), limit) {
        Some(entry) => create::pipe_response(entry.id),
        None => Step::Fail(NtStatus::INSUFFICIENT_RESOURCES),
    }
}

fn of(entry: &FileOpen) -> Result<Arc<PipeOpen>, Step> {
    entry
        .pipe()
        .ok_or(Step::Fail(NtStatus::INVALID_DEVICE_REQUEST))
}

/// What a read of a pipe answers: BUFFER_OVERFLOW says that the message goes on.
fn message_status(read: &PipeRead) -> NtStatus {
    if read.more {
        NtStatus::BUFFER_OVERFLOW
    } else {
        NtStatus::SUCCESS
    }
}

/// READ: waits when there is nothing.
pub(super) fn read(cx: &mut Context<'_>, entry: &Arc<FileOpen>, length: u32) -> Step {
    let pipe = match of(entry) {
        Ok(pipe) => pipe,
        Err(step) => return step,
    };
    let max = usize::try_from(length).unwrap_or(usize::MAX);
    let waiter = (Arc::clone(cx.link.sink()), cx.request.ticket);
    match pipe.read(max, Some(waiter)) {
        Ok(Some(read)) => data(&read),
        Ok(None) => Step::Wait(Wait::Pipe(
            Arc::clone(&pipe),
            Box::new(move |cx, _| match pipe.take(cx.request.ticket) {
                Ok(read) => data(&read),
                Err(status) => Step::Fail(status),
            }),
        )),
        Err(status) => Step::Fail(status),
    }
}

fn data(read: &PipeRead) -> Step {
    let length = u32::try_from(read.data.len()).unwrap_or(u32::MAX);
    let mut buffer = Vec::with_capacity(READ_HEADROOM.saturating_add(read.data.len()));
    buffer.resize(READ_HEADROOM, 0);
    buffer.extend_from_slice(&read.data);
    let fixed = ReadResponse::room(length, 0);
    Step::Reply(Response::in_place(
        message_status(read),
        &fixed,
        buffer,
        READ_HEADROOM,
    ))
}

/// WRITE.
pub(super) fn write(cx: &mut Context<'_>, entry: &Arc<FileOpen>, data: &[u8]) -> Step {
    let pipe = match of(entry) {
        Ok(pipe) => pipe,
        Err(step) => return step,
    };
    match with_facts(cx, &pipe, |facts| pipe.write(data, facts)) {
        Ok(()) => {
            let count = u32::try_from(data.len()).unwrap_or(u32::MAX);
            Step::ok(|w| WriteResponse { count }.encode(w))
        }
        Err(status) => Step::Fail(status),
    }
}

/// FSCTL_PIPE_TRANSCEIVE.
pub(super) fn transceive(
    cx: &mut Context<'_>,
    entry: &Arc<FileOpen>,
    asked: Asked,
    input: &[u8],
) -> Step {
    let pipe = match of(entry) {
        Ok(pipe) => pipe,
        Err(step) => return step,
    };
    let waiter = (Arc::clone(cx.link.sink()), cx.request.ticket);
    match with_facts(cx, &pipe, |facts| {
        pipe.transact(input, asked.max, facts, Some(waiter))
    }) {
        Ok(Some(read)) => asked.answer(message_status(&read), &read.data),
        Ok(None) => Step::Wait(Wait::Pipe(
            Arc::clone(&pipe),
            Box::new(move |cx, _| match pipe.take(cx.request.ticket) {
                Ok(read) => asked.answer(message_status(&read), &read.data),
                Err(status) => Step::Fail(status),
            }),
        )),
        Err(status) => Step::Fail(status),
    }
}

/// FSCTL_PIPE_PEEK, [MS-FSCC] 2.3.46.
pub(super) fn peek(_cx: &mut Context<'_>, entry: &Arc<FileOpen>, asked: Asked) -> Step {
    const FIXED: usize = 16;
    let pipe = match of(entry) {
        Ok(pipe) => pipe,
        Err(step) => return step,
    };
    let Some(room) = asked.max.checked_sub(FIXED) else {
        return Step::Fail(NtStatus::BUFFER_TOO_SMALL);
    };
    let (read, message, all) = pipe.peek(room);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    asked.ok(|w| {
        w.u32(CONNECTED);
        w.u32(count(all));
        w.u32(u32::from(message > 0));
        w.u32(count(message));
        w.bytes(&read.data);
    })
}

/// FSCTL_PIPE_WAIT: every pipe there is has a free instance.
pub(super) fn wait(cx: &mut Context<'_>, asked: Asked, input: &[u8]) -> Step {
    if !cx.tree().is_some_and(|t| t.is_pipe()) {
        return Step::Fail(NtStatus::INVALID_DEVICE_REQUEST);
    }
    let Ok(request) = fsctl::PipeWait::decode(input) else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    match PipeOpen::open(&request.name, None) {
        Some(_) => asked.answer(NtStatus::SUCCESS, &[]),
        None => Step::Fail(NtStatus::OBJECT_NAME_NOT_FOUND),
    }
}

fn standard() -> StandardInformation {
    StandardInformation {
        allocation_size: u64::from(QUOTA),
        end_of_file: 0,
        links: 1,
        delete_pending: true,
        directory: false,
    }
}

fn basic() -> BasicInformation {
    BasicInformation {
        creation: FileTime::ZERO,
        last_access: FileTime::ZERO,
        last_write: FileTime::ZERO,
        change: FileTime::ZERO,
        attributes: FileAttributes::NORMAL,
    }
}

/// QUERY_INFO on a pipe: Windows asks for these and repeats itself on an error.
pub(super) fn query_info(
    _cx: &mut Context<'_>,
    entry: &Arc<FileOpen>,
    class: u8,
    max: usize,
) -> Step {
    let pipe = match of(entry) {
        Ok(pipe) => pipe,
        Err(step) => return step,
    };
    let name = format!("\\{}", pipe.name);
    let index = entry.id.persistent;
    let access = AccessMask::from_bits_retain(0x0012_019F);
    let mut data = Vec::new();
    let mut w = Writer::new(&mut data);
    let w = &mut w;
    let least = match class {
        file_class::BASIC => {
            basic().encode(w);
            BasicInformation::LEN
        }
        file_class::STANDARD => {
            standard().encode(w);
            StandardInformation::LEN
        }
        file_class::INTERNAL => {
            InternalInformation {
                index_number: index,
            }
            .encode(w);
            InternalInformation::LEN
        }
        file_class::EA => {
            EaInformation { ea_size: 0 }.encode(w);
            EaInformation::LEN
        }
        file_class::NAME => {
            encode_name(&name, w);
            8
        }
        file_class::ALL => {
            AllInformation {
                basic: basic(),
                standard: standard(),
                internal: InternalInformation {
                    index_number: index,
                },
                ea: EaInformation { ea_size: 0 },
                access: AccessInformation { access },
                position: PositionInformation { position: 0 },
                mode: ModeInformation { mode: 0 },
                alignment: AlignmentInformation { alignment: 0 },
                name,
            }
            .encode(w);
            AllInformation::FIXED + 4
        }
        file_class::PIPE => {
            PipeInformation {
                read_mode: MESSAGE,
                completion_mode: 0,
            }
            .encode(w);
            PipeInformation::LEN
        }
        file_class::PIPE_LOCAL => {
            let (_, message, _) = pipe.peek(0);
            PipeLocalInformation {
                pipe_type: MESSAGE,
                configuration: FULL_DUPLEX,
                maximum_instances: u32::MAX,
                current_instances: 1,
                inbound_quota: QUOTA,
                read_data_available: u32::try_from(message).unwrap_or(u32::MAX),
                outbound_quota: QUOTA,
                write_quota_available: QUOTA,
                state: CONNECTED,
                end: 0,
            }
            .encode(w);
            PipeLocalInformation::LEN
        }
        file_class::NETWORK_OPEN => {
            let b = basic();
            NetworkOpenInformation {
                creation: b.creation,
                last_access: b.last_access,
                last_write: b.last_write,
                change: b.change,
                allocation_size: u64::from(QUOTA),
                end_of_file: 0,
                attributes: b.attributes,
            }
            .encode(w);
            NetworkOpenInformation::LEN
        }
        file_class::ATTRIBUTE_TAG => {
            AttributeTagInformation {
                attributes: FileAttributes::NORMAL,
                reparse_tag: 0,
            }
            .encode(w);
            AttributeTagInformation::LEN
        }
        _ => return Step::Fail(NtStatus::INVALID_PARAMETER),
    };
    query_info::fit(Info { data, least }, max)
}
