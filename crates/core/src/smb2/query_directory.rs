//! [MS-SMB2] 3.3.5.18 QUERY_DIRECTORY.

use countersign_fs::{FsCall, FsReply};
use countersign_wire::NtStatus;
use countersign_wire::fscc::DirectoryClass;
use countersign_wire::smb2::{QueryDirectoryFlags, QueryDirectoryRequest, QueryDirectoryResponse};

use super::handler::{BODY_HEADROOM, Context, Response, Step};
use super::session::OpenKind;
use crate::info::EntrySink;
use crate::status;

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    let Ok(request) = QueryDirectoryRequest::decode(cx.request.message()) else {
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
    let Some(class) = DirectoryClass::from_u8(request.information_class) else {
        return Step::Fail(NtStatus::INVALID_INFO_CLASS);
    };
    let pattern = request.pattern_text();
    if pattern.is_empty() || pattern.contains(['\\', '/', '\0']) {
        return Step::Fail(NtStatus::OBJECT_NAME_INVALID);
    }
    let max = usize::try_from(request.output_buffer_length).unwrap_or(usize::MAX);
    if max < class.fixed_len() {
        return Step::Fail(NtStatus::INFO_LENGTH_MISMATCH);
    }
    let again = QueryDirectoryFlags::RESTART_SCANS | QueryDirectoryFlags::REOPEN;
    let headroom = BODY_HEADROOM + QueryDirectoryResponse::ROOM;
    let call = FsCall::List {
        open,
        pattern,
        restart: request.flags.intersects(again),
        single: request
            .flags
            .contains(QueryDirectoryFlags::RETURN_SINGLE_ENTRY),
        resume_after: None,
        attributes: None,
        sink: Box::new(EntrySink::new(class, headroom, max)),
    };
    Step::call(call, |_, result| match result {
        Ok(FsReply::Listing { count: 0, .. }) => {
            // There is a next entry, and not even that one fits.
            Step::Fail(NtStatus::INFO_LENGTH_MISMATCH)
        }
        Ok(FsReply::Listing { sink, .. }) => match sink.into_any().downcast::<EntrySink>() {
            Ok(sink) => {
                let (buffer, headroom) = sink.into_buffer();
                let length = u32::try_from(buffer.len().saturating_sub(headroom)).unwrap_or(0);
                let fixed = QueryDirectoryResponse::room(length);
                Step::Reply(Response::in_place(
                    NtStatus::SUCCESS,
                    &fixed,
                    buffer,
                    headroom,
                ))
            }
            Err(_) => Step::Fail(NtStatus::INTERNAL_ERROR),
        },
        Ok(_) => Step::Fail(NtStatus::INTERNAL_ERROR),
        Err(error) => Step::Fail(status::of(error)),
    })
}
