//! [MS-CIFS] 3.3.5.18 PROCESS_EXIT: what a process left open is closed.

use countersign_fs::OpenOwner;
use countersign_wire::smb1::Block;

use super::request::{Answer, Reply, Request};

pub(super) fn handle(cx: &mut Request, block: &Block<'_>) -> Answer {
    block.expect_words(&[0])?;
    let session = cx.session()?;
    let (uid, pid) = (cx.header.uid, cx.header.pid());
    {
        let mut state = cx.shared.state.lock();
        state.forget_files(|f| f.uid == uid && f.pid == pid);
        state
            .searches
            .retain(|_, s| !(s.uid == uid && s.pid == pid));
        state
            .core_searches
            .retain(|_, s| !(s.uid == uid && s.pid == pid));
        state.count_opens();
    }
    let owner = OpenOwner {
        connection: cx.shared.connection,
        session: session.number,
        tree: 0,
    };
    cx.shared.server.files.close_process(owner, pid);
    Ok(Reply::empty())
}
