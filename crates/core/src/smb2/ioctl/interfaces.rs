//! [MS-SMB2] 3.3.5.15.11 FSCTL_QUERY_NETWORK_INTERFACE_INFO.

use countersign_wire::NtStatus;
use countersign_wire::smb2::{Capabilities, fsctl};

use super::super::handler::{Context, Step};
use super::Asked;

/// Speed told of an interface whose speed is not known: 1 Gbit/s.
const LINK_SPEED: u64 = 1_000_000_000;

/// The address this connection came in on; more would invite clients to
/// addresses that no listener has.
pub(super) fn query(cx: &Context<'_>, asked: Asked) -> Step {
    let multi_channel = cx
        .state
        .negotiated()
        .is_some_and(|n| n.capabilities.contains(Capabilities::MULTI_CHANNEL));
    if !multi_channel {
        let pipe = cx.tree().is_some_and(|t| t.is_pipe());
        return Step::Fail(if pipe {
            NtStatus::FS_DRIVER_REQUIRED
        } else {
            NtStatus::INVALID_DEVICE_REQUEST
        });
    }
    if asked.max < fsctl::NetworkInterface::LEN {
        return Step::Fail(NtStatus::BUFFER_TOO_SMALL);
    }
    let interface = fsctl::NetworkInterface {
        index: 1,
        capability: 0,
        link_speed: LINK_SPEED,
        address: cx.link.peer.local.ip().to_canonical(),
    };
    asked.ok(|w| fsctl::NetworkInterface::encode_list(&[interface], w))
}
