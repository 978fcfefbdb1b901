//! LOCKING_ANDX, [MS-CIFS] 3.2.4.18.

use countersign_wire::smb1::Command;
use countersign_wire::smb1::files::{LockType, LockingAndx, LockingRange};

use super::Smb1;
use super::exchange::Request;
use crate::client::call::{CallId, LockRange, OpenId};
use crate::client::engine::Link;
use crate::client::failure::Failure;

impl Smb1 {
    pub(super) fn lock(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: OpenId,
        ranges: &[LockRange],
        wait: bool,
    ) -> Result<(), Failure> {
        let handle = self.handle(open)?;
        let Some(first) = ranges.first() else {
            return Err(Failure::Unsupported("no ranges to lock"));
        };
        if ranges.iter().any(|r| r.exclusive != first.exclusive) {
            return Err(Failure::Unsupported(
                "one request of SMB1 locks all ranges in one way",
            ));
        }
        // Byte ranges for 16-bit counts, which a message holds only a part of.
        let room = self.max_message().saturating_sub(64) / 20;
        if ranges.len() > room {
            return Err(Failure::Limit("too many ranges for one request"));
        }
        if wait && self.server.requests < 2 {
            return Err(Failure::Unsupported(
                "the server takes one request at a time, and this one would keep the others out",
            ));
        }
        let mut kind = LockType::LARGE_FILES;
        kind.set(LockType::SHARED, first.exclusive == Some(false));
        let list: Vec<LockingRange> = ranges
            .iter()
            .map(|r| LockingRange {
                pid: self.pid,
                offset: r.offset,
                length: r.length,
            })
            .collect();
        let (unlocks, locks) = match first.exclusive {
            None => (list, Vec::new()),
            Some(_) => (Vec::new(), list),
        };
        let lock = LockingAndx {
            fid: handle.fid,
            kind,
            oplock_level: 0,
            timeout: if wait { u32::MAX } else { 0 },
            unlocks,
            locks,
        };
        let (words, bytes) = lock.encode();
        let request = Request {
            patient: wait,
            ..Request::new(Command::LOCKING_ANDX, handle.tid, words, bytes)
        };
        self.send_simple(link, id, request);
        Ok(())
    }
}
