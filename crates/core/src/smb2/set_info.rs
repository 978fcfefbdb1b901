//! [MS-SMB2] 3.3.5.21 SET_INFO.

use countersign_fs::FsCall;
use countersign_wire::NtStatus;
use countersign_wire::fscc::file_class;
use countersign_wire::smb2::{SetInfoRequest, SetInfoResponse, info_type};

use super::handler::{Context, Step};
use super::session::OpenKind;
use crate::info::{self, SetContext};
use crate::status;

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    let Ok(request) = SetInfoRequest::decode(cx.request.message()) else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    let length = u32::try_from(request.buffer.len()).unwrap_or(u32::MAX);
    if length > cx.max_transact() {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let Some(entry) = cx.open() else {
        return Step::Fail(NtStatus::FILE_CLOSED);
    };
    let class = request.information_class;
    let open = match &entry.kind {
        OpenKind::File(open) => open,
        // Read and completion mode of a pipe are what they are.
        OpenKind::Pipe(_) if class == file_class::PIPE => return done(),
        OpenKind::Pipe(_) => return Step::Fail(NtStatus::INVALID_DEVICE_REQUEST),
    };
    let call = match request.info_type {
        info_type::FILE => match info::set(SetContext::Smb2, class, open, request.buffer) {
            Ok(Some(call)) => call,
            Ok(None) => return done(),
            Err(status) => return Step::Fail(status),
        },
        info_type::SECURITY => FsCall::SetSecurity {
            open: open.clone(),
            parts: request.additional_information,
            descriptor: request.buffer.to_vec(),
        },
        info_type::FILESYSTEM => return Step::Fail(NtStatus::INVALID_INFO_CLASS),
        info_type::QUOTA => return Step::Fail(NtStatus::NOT_SUPPORTED),
        _ => return Step::Fail(NtStatus::INVALID_PARAMETER),
    };
    Step::call(call, |_, result| match result {
        Ok(_) => done(),
        Err(error) => Step::Fail(status::of(error)),
    })
}

fn done() -> Step {
    Step::ok(|w| SetInfoResponse.encode(w))
}
