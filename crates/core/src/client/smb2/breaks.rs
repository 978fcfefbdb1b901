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

/// Whether an oplock of one level is more than the other.
fn is_less(held: Caching, to: Caching) -> bool {
    matches!((held, to), (Caching::Oplock(held), Caching::Oplock(to)) if to < held)
}

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
                if !is_less(open.caching, to) {
                    return;
                }
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
                    // Only what takes something away: an invention cannot be told twice.
                    let less = matches!(
                        open.caching,
                        Caching::Lease { key, state }
                            if key == broken.key
                                && state.contains(broken.new)
                                && state != broken.new
                    );
                    if less {
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
