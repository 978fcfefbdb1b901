//! [MS-CIFS] 3.3.5.40, 3.3.5.41, 3.3.5.45 and [MS-SMB] 3.3.5.4: tree connects.

use countersign_fs::OpenOwner;
use countersign_wire::NtStatus;
use countersign_wire::smb1::Block;
use countersign_wire::smb1::tree::{
    EXTENDED_SIGNATURES, FLAG_DISCONNECT_TID, FLAG_EXTENDED_RESPONSE, FLAG_EXTENDED_SIGNATURES,
    SUPPORT_SEARCH_BITS, TreeConnectAndxExtendedResponseWords, TreeConnectAndxResponseWords,
    TreeConnectRequest, TreeConnectResponseWords, encode_response_bytes,
};

use super::request::{Answer, Reply, Request, Stop};
use super::state::{Shared, Tree};
use crate::smb2::session::ShareTarget;
use crate::smb2::tree_connect::{READ_ONLY, find, tell_used, under_exceptions};

pub(super) fn connect_andx(cx: &mut Request, block: &Block<'_>) -> Answer {
    let request = TreeConnectRequest::decode_andx(block, cx.text())?;
    if request.flags & FLAG_DISCONNECT_TID != 0 {
        end(&cx.shared, cx.header.tid);
    }
    let tree = connect_to(cx, &request)?;
    let mut optional_support = SUPPORT_SEARCH_BITS;
    if request.flags & FLAG_EXTENDED_SIGNATURES != 0 {
        // The key handed to applications is derived once more; nothing here
        // hands it out, and the key of the signatures stays what it is.
        optional_support |= EXTENDED_SIGNATURES;
    }
    let words = if request.flags & FLAG_EXTENDED_RESPONSE != 0 {
        TreeConnectAndxExtendedResponseWords {
            optional_support,
            maximal_share_access_rights: tree.access,
            guest_maximal_share_access_rights: tree.access,
        }
        .to_vec()
    } else {
        TreeConnectAndxResponseWords { optional_support }.to_vec()
    };
    let (service, file_system) = match tree.share {
        Some(_) => ("A:", "NTFS"),
        None => ("IPC", ""),
    };
    let bytes_start = cx.bytes_start(2 + words.len() / 2);
    let bytes = encode_response_bytes(cx.text(), bytes_start, service, file_system);
    Ok(Reply::new(words, bytes))
}

pub(super) fn connect(cx: &mut Request, block: &Block<'_>) -> Answer {
    block.expect_words(&[0])?;
    let request = TreeConnectRequest::decode_core(block, cx.text())?;
    connect_to(cx, &request)?;
    let max_buffer_size = u16::try_from(cx.config.limits.smb1_buffer).unwrap_or(u16::MAX);
    let words = TreeConnectResponseWords {
        max_buffer_size,
        tid: cx.header.tid,
    };
    Ok(Reply::words(words.to_vec()))
}

fn connect_to(cx: &mut Request, request: &TreeConnectRequest) -> Result<Tree, Stop> {
    let session = cx.session()?;
    let name = request
        .share()
        .map_err(|_| Stop::Status(NtStatus::BAD_NETWORK_NAME))?;
    let mut found = find(&cx.config, name, &session.identity).map_err(Stop::Status)?;
    // In SMB1 a session is signed or not from its beginning.
    let under = under_exceptions(
        &cx.shared.server,
        &cx.config,
        &session.facts,
        &session.exceptions,
        false,
        Some(&session.record),
        &found,
    )
    .map_err(Stop::Status)?;
    if let Some(exception) = &under.exception {
        tell_used(
            &cx.shared.server,
            &session.record,
            exception,
            &found.name,
            true,
        );
    }
    if let (Some(limited), ShareTarget::Disk { share, .. }) = (under.limited, &mut found.target) {
        *share = limited;
        found.access = READ_ONLY;
    }
    if found.encrypt {
        // SMB1 cannot encrypt.
        return Err(Stop::Status(NtStatus::ACCESS_DENIED));
    }
    let share = match found.target {
        ShareTarget::Disk { share, .. } => Some(share),
        ShareTarget::Pipe => None,
    };
    let fits = match request.service.trim_end() {
        "?????" => true,
        "A:" => share.is_some(),
        "IPC" => share.is_none(),
        _ => false,
    };
    if !fits {
        return Err(Stop::Status(NtStatus::BAD_DEVICE_TYPE));
    }
    let tree = Tree {
        uid: cx.header.uid,
        name: found.name,
        share,
        access: found.access,
        exception: under.exception,
    };
    let mut state = cx.shared.state.lock();
    let limit = cx.config.limits.trees_per_session;
    if state
        .trees
        .values()
        .filter(|t| t.uid == cx.header.uid)
        .count()
        >= limit
    {
        return Err(Stop::Status(NtStatus::INSUFFICIENT_RESOURCES));
    }
    let tid = state
        .new_tid()
        .ok_or(Stop::Status(NtStatus::INSUFFICIENT_RESOURCES))?;
    state.trees.insert(tid, tree.clone());
    drop(state);
    cx.header.tid = tid;
    Ok(tree)
}

pub(super) fn disconnect(cx: &mut Request, block: &Block<'_>) -> Answer {
    block.expect_words(&[0])?;
    cx.tree()?;
    end(&cx.shared, cx.header.tid);
    Ok(Reply::empty())
}

/// Ends a tree connect: the opens of all sessions through it go.
pub(super) fn end(shared: &Shared, tid: u16) {
    let existed = {
        let mut state = shared.state.lock();
        let existed = state.trees.remove(&tid).is_some();
        state.forget(|_, t| t == tid);
        existed
    };
    if existed {
        let owner = OpenOwner {
            connection: shared.connection,
            session: 0,
            tree: u64::from(tid),
        };
        shared.server.files.close_owned(owner, false);
    }
}
