//! [MS-SMB2] 3.3.5.12 READ. The data is read behind room for all headers and
//! stays where it is until it is sent.

use countersign_fs::{FsCall, FsReply};
use countersign_wire::NtStatus;
use countersign_wire::smb2::{ReadRequest, ReadResponse, channel};

use super::handler::{Context, READ_HEADROOM, Response, Step};
use super::pipe;
use super::session::OpenKind;
use crate::status;

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    let Ok(request) = ReadRequest::decode(cx.request.message()) else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    if request.length > cx.max_transact() || request.channel != channel::NONE {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let Some(entry) = cx.open() else {
        return Step::Fail(NtStatus::FILE_CLOSED);
    };
    let open = match &entry.kind {
        OpenKind::File(open) => open.clone(),
        OpenKind::Pipe(_) => return pipe::read(cx, &entry, request.length),
    };
    if open.is_directory() {
        return Step::Fail(NtStatus::INVALID_DEVICE_REQUEST);
    }
    let end = request.offset.checked_add(u64::from(request.length));
    if end.is_none_or(|end| i64::try_from(end).is_err()) {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let call = FsCall::Read {
        open,
        offset: request.offset,
        length: request.length,
        minimum: request.minimum_count,
        headroom: READ_HEADROOM,
        lock_owner: 0,
        execute: true,
    };
    Step::call(call, |_, result| match result {
        Ok(FsReply::Data { buffer, headroom }) => {
            let length = u32::try_from(buffer.len().saturating_sub(headroom)).unwrap_or(0);
            let fixed = ReadResponse::room(length, 0);
            Step::Reply(Response::in_place(
                NtStatus::SUCCESS,
                &fixed,
                buffer,
                headroom,
            ))
        }
        Ok(_) => Step::Fail(NtStatus::INTERNAL_ERROR),
        Err(error) => Step::Fail(status::of(error)),
    })
}
