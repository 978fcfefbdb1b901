//! Trees and opens: what the engine's numbers stand for on the wire.

use countersign_wire::fscc::OplockLevel;
use countersign_wire::smb1::echo::EchoWords;
use countersign_wire::smb1::files::{CloseWords, FlushWords, LockType, LockingAndx};
use countersign_wire::smb1::{Block, Command, HEADER};

use super::Smb1;
use super::exchange::{Order, Reply, Request};
use super::list::Search;
use crate::client::call::{Answer, Break, Caching, CallId, OpenId, TreeId};
use crate::client::engine::{Event, Link};
use crate::client::failure::Failure;
use crate::gate::smb1::client::Admitted;

/// A tree connect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree {
    /// TID.
    pub(super) tid: u16,
}

/// An open.
#[derive(Debug)]
pub(super) struct Open {
    /// The tree.
    pub(super) tree: TreeId,
    /// Its TID.
    pub(super) tid: u16,
    /// FID; `None`: only a listing.
    pub(super) fid: Option<u16>,
    /// Path as it was opened, as it stands on the wire.
    pub(super) path: String,
    /// A named pipe.
    pub(super) pipe: bool,
    /// Oplock held.
    pub(super) oplock: OplockLevel,
    /// The listing in progress.
    pub(super) search: Option<Search>,
}

/// TID and FID of an open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handle {
    pub(super) tid: u16,
    pub(super) fid: u16,
    pub(super) pipe: bool,
}

impl Handle {
    /// The order of what reads and writes. A pipe's may never end, so nothing
    /// waits for it.
    pub(super) fn order(self) -> Order {
        if self.pipe {
            Order::Free
        } else {
            Order::Io(self.fid)
        }
    }
}

impl Smb1 {
    pub(super) fn tree(&self, tree: TreeId) -> Result<Tree, Failure> {
        self.trees.get(&tree).copied().ok_or(Failure::UnknownHandle)
    }

    pub(super) fn opened(&self, open: OpenId) -> Result<&Open, Failure> {
        self.opens.get(&open).ok_or(Failure::UnknownHandle)
    }

    pub(super) fn handle(&self, open: OpenId) -> Result<Handle, Failure> {
        let open = self.opened(open)?;
        Ok(Handle {
            tid: open.tid,
            fid: open
                .fid
                .ok_or(Failure::Unsupported("this open is only for listing"))?,
            pipe: open.pipe,
        })
    }

    /// Enters an open.
    pub(super) fn enter(&mut self, open: Open) -> OpenId {
        let id = OpenId(self.next_open);
        self.next_open = self.next_open.wrapping_add(1);
        self.opens.insert(id, open);
        id
    }

    /// CLOSE, [MS-CIFS] 3.2.4.5; FIND_CLOSE2 of what is only a listing.
    pub(super) fn close(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: OpenId,
    ) -> Result<(), Failure> {
        let gone = self.opens.remove(&open).ok_or(Failure::UnknownHandle)?;
        self.end_search(link, gone.tid, gone.search);
        let Some(fid) = gone.fid else {
            self.finish(link, id, Ok(Answer::Closed(None)));
            return Ok(());
        };
        self.send(
            link,
            id,
            close_request(gone.tid, fid),
            move |me, link, reply| {
                let done = reply.and_then(Reply::success).map(|_| Answer::Closed(None));
                me.finish(link, id, done);
            },
        );
        Ok(())
    }

    /// Closes what nobody waits for.
    pub(super) fn close_quietly(&mut self, link: &mut Link, open: OpenId) {
        let Some(gone) = self.opens.remove(&open) else {
            return;
        };
        self.end_search(link, gone.tid, gone.search);
        if let Some(fid) = gone.fid {
            // A failed close has nobody to tell: the open is gone either way.
            self.send(link, None, close_request(gone.tid, fid), |_, _, _| {});
        }
    }

    /// FLUSH, [MS-CIFS] 3.2.4.6.
    pub(super) fn flush(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: OpenId,
    ) -> Result<(), Failure> {
        let handle = self.handle(open)?;
        let words = FlushWords { fid: handle.fid }.to_vec();
        let request = Request::new(Command::FLUSH, handle.tid, words, Vec::new());
        self.send_simple(link, id, request);
        Ok(())
    }

    /// ECHO, [MS-CIFS] 3.2.4.29.
    pub(super) fn echo(&mut self, link: &mut Link, id: CallId) -> Result<(), Failure> {
        self.send_simple(link, id, echo_request());
        Ok(())
    }

    /// An ECHO of the engine's own: a server that does not answer it is gone.
    pub(super) fn echo_quietly(&mut self, link: &mut Link) {
        self.send(link, None, echo_request(), |_, _, _| {});
    }

    /// Sends a request whose reply is only success or failure.
    pub(super) fn send_simple(&mut self, link: &mut Link, id: CallId, request: Request) {
        self.send(link, id, request, move |me, link, reply| {
            let done = reply.and_then(Reply::success).map(|_| Answer::Done);
            me.finish(link, id, done);
        });
    }

    /// A server breaks an oplock, [MS-CIFS] 3.2.5.42. It is not signed, so it
    /// is good for nothing but giving up caching, and only of what is open.
    pub(super) fn oplock_break(&mut self, link: &mut Link, message: &Admitted) {
        let lock = Block::decode(&message.message, message.header.command, HEADER)
            .and_then(|block| LockingAndx::decode(&block));
        let Ok(lock) = lock else { return };
        if message.header.command != Command::LOCKING_ANDX
            || !lock.kind.contains(LockType::OPLOCK_RELEASE)
        {
            return;
        }
        let found = self
            .opens
            .iter_mut()
            .find(|(_, open)| open.fid == Some(lock.fid));
        let Some((id, open)) = found else { return };
        let to = match lock.oplock_level {
            1 => OplockLevel::LevelTwo,
            _ => OplockLevel::None,
        };
        if to >= open.oplock {
            return;
        }
        // Of a level II oplock the break is only told.
        let acknowledge = open.oplock > OplockLevel::LevelTwo;
        open.oplock = to;
        let id = *id;
        link.tell(Event::Break(Break {
            open: id,
            to: Caching::Oplock(to),
            acknowledge,
        }));
    }

    /// Gives up caching: a LOCKING_ANDX that has no reply, [MS-CIFS] 3.2.4.18.
    pub(super) fn acknowledge(
        &mut self,
        link: &mut Link,
        id: CallId,
        broken: &Break,
    ) -> Result<(), Failure> {
        let handle = self.handle(broken.open)?;
        let lock = LockingAndx {
            fid: handle.fid,
            kind: LockType::OPLOCK_RELEASE,
            oplock_level: u8::from(broken.to == Caching::Oplock(OplockLevel::LevelTwo)),
            timeout: 0,
            unlocks: Vec::new(),
            locks: Vec::new(),
        };
        let (words, bytes) = lock.encode();
        let request = Request::new(Command::LOCKING_ANDX, handle.tid, words, Vec::new());
        self.send_unanswered(&request, &bytes);
        self.finish(link, id, Ok(Answer::Done));
        Ok(())
    }
}

fn echo_request() -> Request {
    let words = EchoWords { echo_count: 1 }.to_vec();
    Request::new(Command::ECHO, 0xFFFF, words, b"Countersign".to_vec())
}

pub(super) fn close_request(tid: u16, fid: u16) -> Request {
    let words = CloseWords {
        fid,
        last_time_modified: 0,
    };
    Request {
        order: Order::Close(fid),
        ..Request::new(Command::CLOSE, tid, words.to_vec(), Vec::new())
    }
}
