//! [MS-SMB2] 3.3.5.10 CLOSE.

use countersign_fs::{FsCall, FsReply, Metadata};
use countersign_wire::NtStatus;
use countersign_wire::fscc::FileAttributes;
use countersign_wire::smb2::{CLOSE_FLAG_POSTQUERY_ATTRIB, CloseRequest, CloseResponse};

use super::handler::{Context, Step};
use super::session::OpenKind;
use crate::status;

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    let Ok(request) = CloseRequest::decode(cx.request.message()) else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    let (Some(session), Some(open)) = (cx.session(), cx.open()) else {
        return Step::Fail(NtStatus::FILE_CLOSED);
    };
    session.remove_open(open.id);
    let query = request.flags & CLOSE_FLAG_POSTQUERY_ATTRIB != 0;
    match &open.kind {
        OpenKind::Pipe(pipe) => {
            pipe.close();
            Step::ok(|w| CloseResponse::default().encode(w))
        }
        OpenKind::File(file) => Step::call(
            FsCall::Close {
                open: file.clone(),
                last_write: None,
            },
            move |_, result| match result {
                Ok(FsReply::Closed(facts)) if query => Step::ok(|w| response(&facts).encode(w)),
                Ok(_) => Step::ok(|w| CloseResponse::default().encode(w)),
                Err(error) => Step::Fail(status::of(error)),
            },
        ),
    }
}

fn response(facts: &Metadata) -> CloseResponse {
    CloseResponse {
        flags: CLOSE_FLAG_POSTQUERY_ATTRIB,
        creation_time: facts.times.creation,
        last_access_time: facts.times.last_access,
        last_write_time: facts.times.last_write,
        change_time: facts.times.change,
        allocation_size: facts.allocation_size,
        end_of_file: facts.end_of_file,
        file_attributes: if facts.attributes.is_empty() {
            FileAttributes::NORMAL
        } else {
            facts.attributes
        },
    }
}
