//! [MS-SMB2] 3.3.5.11 FLUSH.

use countersign_fs::FsCall;
use countersign_wire::NtStatus;
use countersign_wire::fscc::AccessMask;
use countersign_wire::smb2::{FlushRequest, FlushResponse};

use super::handler::{Context, Step};
use super::session::OpenKind;
use crate::status;

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    if FlushRequest::decode(cx.request.message()).is_err() {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let Some(entry) = cx.open() else {
        return Step::Fail(NtStatus::FILE_CLOSED);
    };
    let OpenKind::File(open) = &entry.kind else {
        return Step::ok(|w| FlushResponse.encode(w));
    };
    if !open
        .granted_access()
        .intersects(AccessMask::WRITE_DATA | AccessMask::APPEND_DATA)
    {
        return Step::Fail(NtStatus::ACCESS_DENIED);
    }
    Step::call(
        FsCall::Flush { open: open.clone() },
        |_, result| match result {
            Ok(_) => Step::ok(|w| FlushResponse.encode(w)),
            Err(error) => Step::Fail(status::of(error)),
        },
    )
}
