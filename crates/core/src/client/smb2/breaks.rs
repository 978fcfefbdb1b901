//! [MS-SMB2] 3.2.5.19 OPLOCK_BREAK notifications.
//!
//! Nobody signs them, so they are believed only for opens that are known, and
//! only as far as giving up caching.

use countersign_wire::fscc::OplockLevel;
use countersign_wire::smb2::{AnyBreak, BREAK_LEASE_ACK_REQUIRED, Command};

use super::Smb2;
use crate::client::call::{Break, Caching, OpenId};
use crate::client::engine::{Event, Link};
use crate::gate::smb2::client::AdmittedReply;

impl Smb2 {
    pub(super) fn notified(&mut self, link: &mut Link, reply: &AdmittedReply) {
        if reply.header.command != Command::OPLOCK_BREAK {
            return;
        }
        match AnyBreak::decode(&reply.message) {
            Ok(AnyBreak::Oplock(broken)) => {
                let to = match broken.oplock_level {
                    1 => Caching::Oplock(OplockLevel::LevelTwo),
                    _ => Caching::Oplock(OplockLevel::None),
                };
                let found = self
                    .opens
                    .iter_mut()
                    .find(|(_, open)| open.file_id == broken.file_id);
                let Some((id, open)) = found else {
                    return;
                };
                // Level II is given up without a word.
                let acknowledge = matches!(
                    open.caching,
                    Caching::Oplock(OplockLevel::Exclusive | OplockLevel::Batch)
                );
                open.caching = to;
                let open = *id;
                link.tell(Event::Break(Break {
                    open,
                    to,
                    acknowledge,
                }));
            }
            Ok(AnyBreak::LeaseNotification(broken)) => {
                let to = Caching::Lease {
                    key: broken.key,
                    state: broken.new,
                };
                let mut first: Option<OpenId> = None;
                for (id, open) in &mut self.opens {
                    if matches!(open.caching, Caching::Lease { key, .. } if key == broken.key) {
                        open.caching = to;
                        first = Some(first.map_or(*id, |f| f.min(*id)));
                    }
                }
                if let Some(open) = first {
                    link.tell(Event::Break(Break {
                        open,
                        to,
                        acknowledge: broken.flags & BREAK_LEASE_ACK_REQUIRED != 0,
                    }));
                }
            }
            Ok(AnyBreak::Lease(_)) | Err(_) => {}
        }
    }
}
