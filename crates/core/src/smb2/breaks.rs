//! [MS-SMB2] 3.3.4.6 and 3.3.4.7: oplock and lease break notifications.
//! They are neither signed nor encrypted, and have no MessageId of their own.

use std::sync::Arc;

use countersign_fs::Open;
use countersign_wire::fscc::{LeaseState, OplockLevel};
use countersign_wire::smb2::{
    BREAK_LEASE_ACK_REQUIRED, Command, Header, HeaderFlags, LeaseBreakNotification, OplockBreak,
    UNSOLICITED,
};
use countersign_wire::{Guid, NtStatus};

use super::front::Smb2;
use super::handler::Response;
use crate::gate::smb2::Outgoing;
use crate::link::Link;

/// A lease that breaks.
pub(super) struct Lease {
    pub(super) client: Guid,
    pub(super) key: [u8; 16],
    pub(super) from: LeaseState,
    pub(super) to: LeaseState,
    pub(super) epoch: u16,
    pub(super) acknowledge: bool,
}

fn header() -> Header {
    Header {
        command: Command::OPLOCK_BREAK,
        flags: HeaderFlags::SERVER_TO_REDIR,
        message_id: UNSOLICITED,
        ..Header::default()
    }
}

/// Tells the client that an oplock breaks.
pub(super) fn oplock(
    smb2: &mut Smb2,
    _link: &Link,
    open: &Arc<Open>,
    to: OplockLevel,
    _acknowledge: bool,
) {
    let Some(session) = smb2.state.session_of(open.owner().session) else {
        return;
    };
    let Some(file_id) = session.file_id_of(open) else {
        return;
    };
    let response = Response::new(NtStatus::SUCCESS, |w| {
        OplockBreak {
            oplock_level: to as u8,
            file_id,
        }
        .encode(w);
    });
    let header = Header {
        session_id: session.id,
        ..header()
    };
    smb2.ready.push(Outgoing::notification(
        header,
        response.buffer,
        response.start,
    ));
}

/// Tells the client that a lease breaks.
pub(super) fn lease(smb2: &mut Smb2, lease: &Lease) {
    if smb2
        .state
        .negotiated()
        .is_none_or(|n| n.client_guid != lease.client)
    {
        return;
    }
    let response = Response::new(NtStatus::SUCCESS, |w| {
        LeaseBreakNotification {
            new_epoch: lease.epoch,
            flags: if lease.acknowledge {
                BREAK_LEASE_ACK_REQUIRED
            } else {
                0
            },
            key: lease.key,
            current: lease.from,
            new: lease.to,
        }
        .encode(w);
    });
    smb2.ready.push(Outgoing::notification(
        header(),
        response.buffer,
        response.start,
    ));
}
