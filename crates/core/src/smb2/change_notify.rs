//! [MS-SMB2] 3.3.5.19 CHANGE_NOTIFY.

use countersign_fs::{FsCall, FsError, FsReply};
use countersign_wire::NtStatus;
use countersign_wire::fscc::NotifyInformation;
use countersign_wire::smb2::{ChangeNotifyRequest, ChangeNotifyResponse, WATCH_TREE};

use super::handler::{Context, Response, Step};
use super::session::OpenKind;
use crate::status;

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    let Ok(request) = ChangeNotifyRequest::decode(cx.request.message()) else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    let Some(entry) = cx.open() else {
        return Step::Fail(NtStatus::FILE_CLOSED);
    };
    let open = match &entry.kind {
        OpenKind::File(open) if open.is_directory() => open.clone(),
        _ => return Step::Fail(NtStatus::INVALID_PARAMETER),
    };
    if request.output_buffer_length > cx.max_transact() {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let call = FsCall::Notify {
        open,
        filter: request.filter,
        recursive: request.flags & WATCH_TREE != 0,
        max_bytes: request.output_buffer_length,
    };
    let max = usize::try_from(request.output_buffer_length).unwrap_or(usize::MAX);
    Step::call(call, move |_, result| match result {
        Ok(FsReply::Changes(changes)) => {
            let list = || changes.iter().map(|c| (c.action as u32, c.name.as_str()));
            let length = NotifyInformation::list_len(list().map(|c| c.1));
            if changes.is_empty() || length > max {
                return enumerate();
            }
            let mut buffer = Vec::with_capacity(length);
            let mut w = countersign_wire::Writer::new(&mut buffer);
            NotifyInformation::encode_list(list(), &mut w);
            Step::ok(|w| ChangeNotifyResponse { buffer: &buffer }.encode(w))
        }
        Err(FsError::NotifyEnumDir) => enumerate(),
        Ok(_) => Step::Fail(NtStatus::INTERNAL_ERROR),
        Err(error) => Step::Fail(status::of(error)),
    })
}

/// Too much changed: an empty response that is no error, [MS-SMB2] 3.3.4.4.
fn enumerate() -> Step {
    let empty = ChangeNotifyResponse { buffer: &[] };
    Step::Reply(Response::new(NtStatus::NOTIFY_ENUM_DIR, |w| {
        empty.encode(w)
    }))
}
