//! [MS-CIFS] 3.3.5.44 LOGOFF_ANDX, and the end of a session for other reasons.

use countersign_fs::OpenOwner;
use countersign_wire::smb1::Block;

use super::request::{Answer, Reply, Request};
use super::state::Shared;

pub(super) fn handle(cx: &mut Request, block: &Block<'_>) -> Answer {
    block.expect_words(&[2])?;
    end(&cx.shared, cx.header.uid);
    Ok(Reply::empty())
}

/// Ends a session: its opens, searches and transactions go. The key that signs
/// stays, it is the connection's.
pub(super) fn end(shared: &Shared, uid: u16) {
    let session = {
        let mut state = shared.state.lock();
        let Some(session) = state.sessions.remove(&uid) else {
            return;
        };
        state.forget(|u, _| u == uid);
        session
    };
    shared.server.registry.remove(session.number);
    let owner = OpenOwner {
        connection: shared.connection,
        session: session.number,
        tree: 0,
    };
    shared.server.files.close_owned(owner, false);
}
