//! [MS-SMB2] 3.3.5.6 LOGOFF.

use countersign_wire::NtStatus;
use countersign_wire::smb2::{LogoffRequest, LogoffResponse};

use super::handler::{Context, Step};

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    if LogoffRequest::decode(cx.request.message()).is_err() {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let Some(session) = cx.session() else {
        return Step::Fail(NtStatus::USER_SESSION_DELETED);
    };
    cx.state.channels.remove(&session.id);
    // Durable opens outlive a logoff as they outlive a disconnect.
    session.end(
        &cx.link.server,
        true,
        cx.link.id,
        "logged off on another channel",
    );
    Step::ok(|w| LogoffResponse.encode(w))
}
