//! [MS-SMB2] 3.3.5.17 ECHO.

use countersign_wire::NtStatus;
use countersign_wire::smb2::{EchoRequest, EchoResponse};

use super::handler::{Context, Step};

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    if EchoRequest::decode(cx.request.message()).is_err() {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    Step::ok(|w| EchoResponse.encode(w))
}
