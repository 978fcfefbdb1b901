//! TREE_CONNECT_ANDX and TREE_DISCONNECT: [MS-CIFS] 3.2.4.2.5, 3.2.4.22 and
//! [MS-SMB] 3.2.4.2.5.

use countersign_wire::fscc::AccessMask;
use countersign_wire::smb1::tree::{
    FLAG_EXTENDED_RESPONSE, SHARE_IS_IN_DFS, TreeConnectRequest, TreeConnectResponse,
};
use countersign_wire::smb1::{Command, HEADER};

use super::Smb1;
use super::exchange::{Order, Reply, Request};
use super::handles::Tree;
use crate::client::call::{Answer, CallId, ShareKind, TreeConnected, TreeId};
use crate::client::engine::Link;
use crate::client::failure::Failure;

impl Smb1 {
    pub(super) fn tree_connect(
        &mut self,
        link: &mut Link,
        id: CallId,
        share: &str,
    ) -> Result<(), Failure> {
        let connect = TreeConnectRequest {
            flags: FLAG_EXTENDED_RESPONSE,
            path: format!(r"\\{}\{share}", link.config.server_name),
            service: "?????".into(),
        };
        let (words, bytes) = connect.encode_andx(self.server.text, HEADER);
        let request = Request::new(Command::TREE_CONNECT_ANDX, 0, words, bytes);
        self.send(link, id, request, move |me, link, reply| {
            let answer = reply
                .and_then(Reply::success)
                .and_then(|reply| me.connected(&reply));
            me.finish(link, id, answer);
        });
        Ok(())
    }

    fn connected(&mut self, reply: &Reply) -> Result<Answer, Failure> {
        let response = TreeConnectResponse::decode(&reply.block()?, reply.text)
            .map_err(|_| reply.malformed())?;
        let kind = match response.service.as_str() {
            "IPC" => ShareKind::Pipe,
            "LPT1:" => ShareKind::Print,
            _ => ShareKind::Disk,
        };
        let tree = TreeId(self.next_tree);
        self.next_tree = self.next_tree.wrapping_add(1);
        let tid = reply.header.tid;
        self.trees.insert(tree, Tree { tid });
        Ok(Answer::Tree(TreeConnected {
            tree,
            kind,
            encrypted: false,
            dfs: response.optional_support & SHARE_IS_IN_DFS != 0,
            continuously_available: false,
            maximal_access: response.maximal_access.map(AccessMask::from_bits_retain),
        }))
    }

    pub(super) fn tree_disconnect(
        &mut self,
        link: &mut Link,
        id: CallId,
        tree: TreeId,
    ) -> Result<(), Failure> {
        let gone = self.trees.remove(&tree).ok_or(Failure::UnknownHandle)?;
        self.opens.retain(|_, open| open.tree != tree);
        self.send_simple(link, id, disconnect_request(gone.tid));
        Ok(())
    }

    /// Disconnects what nobody waits for.
    pub(super) fn disconnect_quietly(&mut self, link: &mut Link, tree: TreeId) {
        if let Some(gone) = self.trees.remove(&tree) {
            self.send(link, None, disconnect_request(gone.tid), |_, _, _| {});
        }
    }
}

fn disconnect_request(tid: u16) -> Request {
    Request {
        order: Order::Tree,
        ..Request::new(Command::TREE_DISCONNECT, tid, Vec::new(), Vec::new())
    }
}
