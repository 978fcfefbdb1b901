//! [MS-SMB2] 3.3.5.13 WRITE. The data is a slice of the received frame.

use countersign_fs::{FsCall, FsReply};
use countersign_wire::NtStatus;
use countersign_wire::fscc::{AccessMask, CreateOptions};
use countersign_wire::smb2::{
    WRITEFLAG_WRITE_THROUGH, WRITEFLAG_WRITE_UNBUFFERED, WriteRequest, WriteResponse, channel,
    dialect,
};

use super::handler::{Context, Step};
use super::pipe;
use super::session::OpenKind;
use crate::status;

/// Offset that means the end of the file.
const APPEND: u64 = u64::MAX;

/// Where a file ends at the latest, [MS-FSA] 2.1.5.3 MAXFILESIZE.
const MAX_FILE_SIZE: u64 = 0x0FFF_FFFF_0000;

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    let Ok(request) = WriteRequest::decode(cx.request.message()) else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    let length = u32::try_from(request.data.len()).unwrap_or(u32::MAX);
    if length > cx.max_transact() || request.channel != channel::NONE {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let Some(entry) = cx.open() else {
        return Step::Fail(NtStatus::FILE_CLOSED);
    };
    let open = match &entry.kind {
        OpenKind::File(open) => open.clone(),
        OpenKind::Pipe(_) => return pipe::write(cx, &entry, request.data),
    };
    if open.is_directory() {
        return Step::Fail(NtStatus::INVALID_DEVICE_REQUEST);
    }
    let end = request.offset.checked_add(u64::from(length));
    let too_far =
        end.is_none_or(|end| i64::try_from(end).is_err() || (length > 0 && end > MAX_FILE_SIZE));
    // Only an open that may do nothing but append has no use for an offset.
    let appends = request.offset == APPEND && !open.may(AccessMask::WRITE_DATA);
    if too_far && !appends {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let mut through = open.options().contains(CreateOptions::WRITE_THROUGH);
    if cx.state.dialect() >= dialect::SMB_2_1 {
        through |= request.flags & WRITEFLAG_WRITE_THROUGH != 0;
    }
    if cx.state.dialect() >= dialect::SMB_3_0_2 {
        through |= request.flags & WRITEFLAG_WRITE_UNBUFFERED != 0;
    }
    let call = FsCall::Write {
        open,
        offset: request.offset,
        data: cx.request.slice(request.data),
        write_through: through,
        lock_owner: 0,
    };
    Step::call(call, |_, result| match result {
        Ok(FsReply::Written(count)) => {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            Step::ok(|w| WriteResponse { count }.encode(w))
        }
        Ok(_) => Step::Fail(NtStatus::INTERNAL_ERROR),
        Err(error) => Step::Fail(status::of(error)),
    })
}
