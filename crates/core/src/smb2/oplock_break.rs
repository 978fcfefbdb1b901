//! [MS-SMB2] 3.3.5.22 OPLOCK_BREAK: acknowledgments of oplock and lease breaks.

use countersign_fs::{CachingGrant, FsCall, FsReply};
use countersign_wire::NtStatus;
use countersign_wire::fscc::OplockLevel;
use countersign_wire::smb2::{AnyBreak, LeaseBreak, OplockBreak};

use super::handler::{Context, Step};
use super::session::OpenKind;
use crate::status;

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    match AnyBreak::decode(cx.request.message()) {
        Ok(AnyBreak::Oplock(ack)) => oplock(cx, ack),
        Ok(AnyBreak::Lease(ack)) => lease(cx, ack),
        Ok(AnyBreak::LeaseNotification(_)) | Err(_) => Step::Fail(NtStatus::INVALID_PARAMETER),
    }
}

/// [MS-SMB2] 3.3.5.22.1.
fn oplock(cx: &mut Context<'_>, ack: OplockBreak) -> Step {
    let Some(entry) = cx.session().and_then(|s| s.open(ack.file_id)) else {
        return Step::Fail(NtStatus::FILE_CLOSED);
    };
    let OpenKind::File(open) = &entry.kind else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    let levels = [
        OplockLevel::None,
        OplockLevel::LevelTwo,
        OplockLevel::Exclusive,
        OplockLevel::Batch,
    ];
    let Some(level) = levels.into_iter().find(|l| *l as u8 == ack.oplock_level) else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    let call = FsCall::AcknowledgeOplock {
        open: open.clone(),
        level,
    };
    Step::call(call, move |_, result| match result {
        Ok(FsReply::Caching(grant)) => {
            let kept = match grant {
                CachingGrant::Oplock(level) => level,
                CachingGrant::None | CachingGrant::Lease { .. } => OplockLevel::None,
            };
            let file_id = ack.file_id;
            Step::ok(|w| {
                OplockBreak {
                    oplock_level: kept as u8,
                    file_id,
                }
                .encode(w)
            })
        }
        Ok(_) => Step::Fail(NtStatus::INTERNAL_ERROR),
        Err(error) => Step::Fail(status::of(error)),
    })
}

/// [MS-SMB2] 3.3.5.22.2.
fn lease(cx: &mut Context<'_>, ack: LeaseBreak) -> Step {
    let client = cx
        .state
        .negotiated()
        .map(|n| n.client_guid)
        .unwrap_or_default();
    let call = FsCall::AcknowledgeLease {
        client,
        key: ack.key,
        state: ack.state,
    };
    Step::call(call, move |_, result| match result {
        Ok(FsReply::Caching(grant)) => {
            let state = match grant {
                CachingGrant::Lease { lease, .. } => lease.state,
                CachingGrant::None | CachingGrant::Oplock(_) => ack.state,
            };
            Step::ok(|w| {
                LeaseBreak {
                    flags: 0,
                    key: ack.key,
                    state,
                }
                .encode(w)
            })
        }
        Ok(_) => Step::Fail(NtStatus::INTERNAL_ERROR),
        Err(error) => Step::Fail(status::of(error)),
    })
}
