//! [MS-SMB2] 3.3.5.8 TREE_DISCONNECT.

use std::sync::atomic::Ordering;

use countersign_wire::NtStatus;
use countersign_wire::smb2::{TreeDisconnectRequest, TreeDisconnectResponse};

use super::handler::{Context, Step};

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    if TreeDisconnectRequest::decode(cx.request.message()).is_err() {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let (Some(session), Some(tree)) = (cx.session(), cx.tree()) else {
        return Step::Fail(NtStatus::NETWORK_NAME_DELETED);
    };
    session.remove_tree(tree.id);
    tree.gone.store(true, Ordering::Release);
    cx.link
        .server
        .files
        .close_owned(session.owner(tree.id), false);
    Step::ok(|w| TreeDisconnectResponse.encode(w))
}
