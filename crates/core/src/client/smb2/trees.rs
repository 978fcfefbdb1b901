//! [MS-SMB2] 3.2.4.2.4 TREE_CONNECT and 3.2.5.5 its response.

use countersign_policy::Identity;
use countersign_wire::NtStatus;
use countersign_wire::smb2::{
    Command, ShareCapabilities, ShareFlags, TreeConnectRequest, TreeConnectResponse, dialect,
    share_type,
};

use super::flight::{Flight, Kind, Part, Reply};
use super::{Smb2, Tree};
use crate::client::call::{Answer, Call, CallId, ShareKind, TreeConnected, TreeId};
use crate::client::config::ClientConfig;
use crate::client::engine::Link;
use crate::client::failure::Failure;

impl Smb2 {
    pub(super) fn tree_connect(config: &ClientConfig, share: &str) -> Flight {
        let path: Vec<u8> = format!(r"\\{}\{share}", config.server_name)
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let part = Part::new(Command::TREE_CONNECT, |w| {
            TreeConnectRequest {
                flags: 0,
                path: &path,
            }
            .encode(w);
        });
        Flight::new(Kind::TreeConnect(share.to_owned()), None, vec![part])
    }

    pub(super) fn tree_connected(
        &mut self,
        link: &mut Link,
        call: Option<CallId>,
        cancelled: bool,
        share: &str,
        reply: &Reply,
    ) {
        if reply.status != NtStatus::SUCCESS {
            let failure = Self::failure("TREE_CONNECT", reply.status);
            self.conclude(link, call, Err(failure));
            return;
        }
        let command = "TREE_CONNECT";
        let (Ok(response), Some(id)) = (TreeConnectResponse::decode(&reply.message), reply.tree)
        else {
            self.conclude(link, call, Err(Failure::Malformed { command }));
            return;
        };
        let tree = TreeId(id);
        let dfs = response.capabilities.contains(ShareCapabilities::DFS);
        let encrypt = response.share_flags.contains(ShareFlags::ENCRYPT_DATA)
            && self.dialect() >= dialect::SMB_3_0;
        let (can, whole, user) = self.session.as_ref().map_or((false, false, false), |s| {
            (
                s.cipher().is_some(),
                s.encrypt,
                s.facts.key && s.facts.identity == Identity::User,
            )
        });
        self.trees.insert(
            tree,
            Tree {
                id,
                encrypt: encrypt && can,
                // [MS-SMB2] 3.2.4.3: names on it are names of the namespace.
                dfs: dfs.then(|| format!(r"{}\{share}", link.config.server_name)),
            },
        );
        if cancelled || (encrypt && !can) {
            self.own(link, Call::TreeDisconnect(tree));
            let failure = if cancelled {
                Failure::Cancelled
            } else {
                Failure::Unsupported("the share requires encryption, which is off here")
            };
            self.conclude(link, call, Err(failure));
            return;
        }
        let answer = Answer::Tree(TreeConnected {
            tree,
            kind: match response.share_type {
                share_type::PIPE => ShareKind::Pipe,
                share_type::PRINT => ShareKind::Print,
                _ => ShareKind::Disk,
            },
            encrypted: whole || encrypt,
            dfs,
            continuously_available: response
                .capabilities
                .contains(ShareCapabilities::CONTINUOUS_AVAILABILITY),
            maximal_access: Some(response.maximal_access),
        });
        // [MS-SMB2] 3.2.5.5: the first tree of a session that can be proved.
        if !self.validated && user && self.dialect() < dialect::SMB_3_1_1 {
            self.validate(link, tree, call, answer);
            return;
        }
        self.conclude(link, call, Ok(answer));
    }
}
