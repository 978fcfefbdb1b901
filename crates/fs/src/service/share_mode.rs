//! Share modes, [MS-FSA] 2.1.5.1.2.2.

use std::sync::Arc;

use countersign_wire::fscc::{AccessMask, ShareAccess};

use super::handle::Open;
use super::node::{FileState, StreamNode};
use crate::call::{DenyMode, OpenOwner};

const READS: AccessMask = AccessMask::READ_DATA.union(AccessMask::EXECUTE);
const WRITES: AccessMask = AccessMask::WRITE_DATA.union(AccessMask::APPEND_DATA);
const COUNTED: AccessMask = READS.union(WRITES).union(AccessMask::DELETE);

/// An open that looks only at attributes: it breaks no oplock. Against leases
/// READ_CONTROL does not count either.
pub(super) fn is_stat_open(granted: AccessMask, against_lease: bool) -> bool {
    let mut harmless =
        AccessMask::READ_ATTRIBUTES | AccessMask::WRITE_ATTRIBUTES | AccessMask::SYNCHRONIZE;
    if against_lease {
        harmless |= AccessMask::READ_CONTROL;
    }
    harmless.contains(granted)
}

/// What a new open brings to the check.
pub(super) struct NewOpen<'a> {
    pub(super) granted: AccessMask,
    pub(super) share: ShareAccess,
    pub(super) stream: &'a Arc<StreamNode>,
    pub(super) deny: Option<DenyMode>,
    pub(super) owner: OpenOwner,
    pub(super) pid: u32,
}

/// Opens that stand in the way of a new one.
pub(super) fn conflicts(state: &FileState, new: &NewOpen<'_>) -> Vec<Arc<Open>> {
    if !new.granted.intersects(COUNTED) {
        return Vec::new();
    }
    state
        .members
        .iter()
        .map(|m| &m.open)
        .filter(|o| o.granted.intersects(COUNTED) && in_the_way(o, new))
        .cloned()
        .collect()
}

fn in_the_way(old: &Open, new: &NewOpen<'_>) -> bool {
    if !Arc::ptr_eq(&old.stream, new.stream) {
        // Streams have share modes of their own, but the file goes with all of
        // them: who may delete it needs the others' consent.
        let deletes_file = |granted: AccessMask, stream: &StreamNode| {
            granted.contains(AccessMask::DELETE) && stream.name.is_empty()
        };
        return (deletes_file(new.granted, new.stream)
            && !old.share_access.contains(ShareAccess::DELETE))
            || (deletes_file(old.granted, &old.stream)
                && !new.share.contains(ShareAccess::DELETE));
    }
    if clash(new.granted, old.share_access) || clash(old.granted, new.share) {
        return !same_program(old, new);
    }
    false
}

fn clash(granted: AccessMask, share: ShareAccess) -> bool {
    (granted.intersects(READS) && !share.contains(ShareAccess::READ))
        || (granted.intersects(WRITES) && !share.contains(ShareAccess::WRITE))
        || (granted.contains(AccessMask::DELETE) && !share.contains(ShareAccess::DELETE))
}

/// Opens in a DOS deny mode by one program do not shut each other out,
/// [MS-CIFS] 3.3.5.5 and 2.2.4.41.
fn same_program(old: &Open, new: &NewOpen<'_>) -> bool {
    let (Some(held), Some(_)) = (old.deny, new.deny) else {
        return false;
    };
    // Programs in compatibility mode are shared by their share access alone.
    if held == DenyMode::Dos && is_program(old) {
        return false;
    }
    let owner = old.owner();
    owner.connection == new.owner.connection
        && owner.session == new.owner.session
        && old.pid == new.pid
        && old.granted.intersects(WRITES)
}

/// Whether an open is of a file that DOS would run.
fn is_program(open: &Open) -> bool {
    let path = open.path();
    let name = path.file_name().unwrap_or_default().to_ascii_lowercase();
    [".com", ".dll", ".exe", ".sym"]
        .iter()
        .any(|e| name.ends_with(e))
}
