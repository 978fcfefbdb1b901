//! Replies become answers.

use bytes::Bytes;
use countersign_wire::fscc::{
    DirectoryClass, DirectoryEntry, NetworkOpenInformation, NotifyInformation,
};
use countersign_wire::smb2::{
    ChangeNotifyResponse, CloseResponse, IoctlResponse, QueryDirectoryResponse, QueryInfoResponse,
    ReadResponse, WriteResponse,
};
use countersign_wire::{NtStatus, Writer};

use super::Smb2;
use super::create::written;
use super::flight::{Flight, Kind, OpenFacts, Reply};
use crate::client::call::{Answer, Call, ChangeList, Listing, OpenId, TreeId, Written};
use crate::client::engine::Link;
use crate::client::failure::{CloseReason, Failure};
use crate::client::is_name;

type Outcome = Result<Answer, Failure>;

/// Entries taken of one answer; a listing of a share has no more on 64 KiB.
const MAX_ENTRIES: usize = 1 << 16;

/// `part` of `message`, without copying.
fn slice(message: &Bytes, part: &[u8]) -> Bytes {
    if part.is_empty() {
        Bytes::new()
    } else {
        message.slice_ref(part)
    }
}

fn check(command: &'static str, reply: &Reply, also: &[NtStatus]) -> Result<(), Failure> {
    if reply.status == NtStatus::SUCCESS || also.contains(&reply.status) {
        Ok(())
    } else {
        Err(Smb2::failure(command, reply.status))
    }
}

impl Smb2 {
    /// All replies of a flight are there.
    pub(super) fn finish(&mut self, link: &mut Link, flight: Flight) {
        let Flight {
            call,
            kind,
            replies,
            cancelled,
            tree,
            rest,
            written,
            ..
        } = flight;
        let replies: Vec<Reply> = replies.into_iter().flatten().collect();
        let Some(first) = replies.first() else {
            return;
        };
        let outcome = match kind {
            Kind::Negotiate => return self.negotiated(link, first),
            Kind::SessionSetup => return self.logon_continues(link, call, first),
            Kind::TreeConnect(share) => {
                return self.tree_connected(link, call, cancelled, &share, first);
            }
            Kind::Beg => return,
            Kind::Validate(waiting, answer) => match self.is_validated(first) {
                Ok(()) => {
                    self.validated = true;
                    return self.conclude(link, waiting, Ok(*answer));
                }
                Err(what) => {
                    let reason = CloseReason::Violation(what);
                    self.conclude(link, waiting, Err(Failure::Closed(reason.clone())));
                    return link.close(reason);
                }
            },
            Kind::Plain => check(command_of(first), first, &[]).map(|()| Answer::Done),
            Kind::Logoff => {
                let outcome = check("LOGOFF", first, &[]).map(|()| Answer::Done);
                self.conclude(link, call, outcome);
                // What may still come was asked on a session that is gone: there is
                // no key to believe it with.
                return link.close(CloseReason::LoggedOff);
            }
            Kind::TreeDisconnect(tree) => {
                self.trees.remove(&tree);
                self.opens.retain(|_, open| open.tree != tree);
                check("TREE_DISCONNECT", first, &[]).map(|()| Answer::Done)
            }
            Kind::Open(facts) => self.open_answer(link, &facts, first, cancelled),
            Kind::Close(open, query) => {
                self.opens.remove(&open);
                check("CLOSE", first, &[]).map(|()| Answer::Closed(closed(first).filter(|_| query)))
            }
            Kind::Read(length) => read_answer(first, length).map(Answer::Data),
            Kind::Write(length) => match (count(first, length - written.min(length)), rest) {
                (Ok(count), Some(rest)) if count > 0 && !cancelled => {
                    // As much as there were credits for; the rest of the same call.
                    let mut flight = Flight::new(Kind::Write(length), tree, vec![rest]);
                    flight.written = written.saturating_add(count);
                    return self.launch(link, call, flight);
                }
                (count, _) => count.map(|count| Answer::Count(written.saturating_add(count))),
            },
            Kind::List => listing(first).map(Answer::Listing),
            Kind::Info => info(first).map(Answer::Info),
            Kind::Ioctl => ioctl(first).map(Answer::Info),
            Kind::Notify => notify(first).map(Answer::Changes),
            Kind::Stat => self
                .chain_done(link, tree, &replies)
                .and_then(|()| stat(first)),
            Kind::PathDone => self.chain_done(link, tree, &replies).map(|()| Answer::Done),
            Kind::PathInfo => self
                .chain_done(link, tree, &replies)
                .and_then(|()| replies.get(1).map_or(Err(malformed("QUERY_INFO")), info))
                .map(Answer::Info),
            Kind::Written(length) => self
                .chain_done(link, tree, &replies)
                .and_then(|()| whole_written(&replies, length)),
            Kind::Whole(length) => self
                .chain_done(link, tree, &replies)
                .and_then(|()| whole_read(&replies, length)),
            Kind::ListStart(facts) => self.list_started(link, &facts, &replies, cancelled),
        };
        let outcome = match outcome {
            Err(Failure::Status {
                status: NtStatus::CANCELLED,
                ..
            }) if cancelled => Err(Failure::Cancelled),
            other => other,
        };
        self.conclude(link, call, outcome);
    }

    fn open_answer(
        &mut self,
        link: &mut Link,
        facts: &OpenFacts,
        reply: &Reply,
        cancelled: bool,
    ) -> Outcome {
        check("CREATE", reply, &[])?;
        let response = Self::created(&reply.message)?;
        let opened = match self.opened(link, facts, &response) {
            Ok(opened) => opened,
            Err(failure) => {
                self.close_stray(link, facts, reply);
                return Err(failure);
            }
        };
        if cancelled {
            self.drop_open(link, opened.open);
            return Err(Failure::Cancelled);
        }
        Ok(Answer::Opened(Box::new(opened)))
    }

    fn drop_open(&mut self, link: &mut Link, open: OpenId) {
        self.own(link, Call::Close { open, query: false });
    }

    /// Closes an open that cannot be taken in.
    fn close_stray(&mut self, link: &mut Link, facts: &OpenFacts, reply: &Reply) {
        if let Ok(response) = Self::created(&reply.message) {
            let part = super::requests::close(response.file_id, false);
            let flight = Flight::new(Kind::Plain, Some(facts.tree), vec![part]);
            self.launch(link, None, flight);
        }
    }

    /// A chain of CREATE, something, CLOSE: its first failure. What was opened
    /// and not closed is closed.
    fn chain_done(
        &mut self,
        link: &mut Link,
        tree: Option<TreeId>,
        replies: &[Reply],
    ) -> Result<(), Failure> {
        let (Some(create), Some(close)) = (replies.first(), replies.last()) else {
            return Err(malformed("CREATE"));
        };
        check("CREATE", create, &[])?;
        if close.status != NtStatus::SUCCESS
            && let Ok(response) = Self::created(&create.message)
        {
            let part = super::requests::close(response.file_id, false);
            self.launch(link, None, Flight::new(Kind::Plain, tree, vec![part]));
        }
        let between = replies
            .get(1..replies.len().saturating_sub(1))
            .unwrap_or_default();
        for reply in between {
            check(
                command_of(reply),
                reply,
                &[NtStatus::BUFFER_OVERFLOW, NtStatus::END_OF_FILE],
            )?;
        }
        check("CLOSE", close, &[])
    }

    fn list_started(
        &mut self,
        link: &mut Link,
        facts: &OpenFacts,
        replies: &[Reply],
        cancelled: bool,
    ) -> Outcome {
        let [create, first, second] = replies else {
            return Err(malformed("QUERY_DIRECTORY"));
        };
        let Answer::Opened(opened) = self.open_answer(link, facts, create, cancelled)? else {
            return Err(malformed("CREATE"));
        };
        let both = listing(first).map(|mut found| {
            // What is wrong with the second part is told when it is asked for again.
            if !found.end
                && let Ok(more) = listing(second)
            {
                found.entries.extend(more.entries);
                found.end = more.end;
            }
            found
        });
        match both {
            Ok(listing) => Ok(Answer::ListStarted { opened, listing }),
            Err(failure) => {
                self.drop_open(link, opened.open);
                Err(failure)
            }
        }
    }
}

fn malformed(command: &'static str) -> Failure {
    Failure::Malformed { command }
}

/// The command a reply is one to, as the specification names it.
fn command_of(reply: &Reply) -> &'static str {
    use countersign_wire::smb2::Command as C;
    let Ok(header) = countersign_wire::smb2::Header::decode(&reply.message) else {
        return "request";
    };
    match header.command {
        C::CREATE => "CREATE",
        C::CLOSE => "CLOSE",
        C::FLUSH => "FLUSH",
        C::LOCK => "LOCK",
        C::IOCTL => "IOCTL",
        C::ECHO => "ECHO",
        C::OPLOCK_BREAK => "OPLOCK_BREAK",
        C::READ => "READ",
        C::WRITE => "WRITE",
        C::QUERY_INFO => "QUERY_INFO",
        C::SET_INFO => "SET_INFO",
        C::QUERY_DIRECTORY => "QUERY_DIRECTORY",
        _ => "request",
    }
}

fn read_answer(reply: &Reply, asked: u32) -> Result<Bytes, Failure> {
    if reply.status == NtStatus::END_OF_FILE {
        return Ok(Bytes::new());
    }
    check("READ", reply, &[NtStatus::BUFFER_OVERFLOW])?;
    let response = ReadResponse::decode(&reply.message).map_err(|_| malformed("READ"))?;
    if u32::try_from(response.data.len()).is_ok_and(|n| n <= asked) {
        return Ok(slice(&reply.message, response.data));
    }
    Err(malformed("READ"))
}

fn count(reply: &Reply, given: u32) -> Result<u32, Failure> {
    check("WRITE", reply, &[])?;
    match WriteResponse::decode(&reply.message) {
        Ok(response) if response.count <= given => Ok(response.count),
        _ => Err(malformed("WRITE")),
    }
}

fn closed(reply: &Reply) -> Option<Written> {
    let response = CloseResponse::decode(&reply.message).ok()?;
    (response.flags & countersign_wire::smb2::CLOSE_FLAG_POSTQUERY_ATTRIB != 0).then_some(Written {
        creation: response.creation_time,
        last_access: response.last_access_time,
        last_write: response.last_write_time,
        change: response.change_time,
        allocation_size: response.allocation_size,
        end_of_file: response.end_of_file,
        attributes: response.file_attributes,
    })
}

fn listing(reply: &Reply) -> Result<Listing, Failure> {
    let command = "QUERY_DIRECTORY";
    if reply.status == NtStatus::NO_MORE_FILES {
        return Ok(Listing {
            entries: Vec::new(),
            end: true,
        });
    }
    check(command, reply, &[])?;
    let response =
        QueryDirectoryResponse::decode(&reply.message).map_err(|_| malformed(command))?;
    let entries = DirectoryEntry::decode_list(DirectoryClass::IdBothDirectory, response.buffer)
        .map_err(|_| malformed(command))?;
    // A part without entries would go on for ever.
    if entries.is_empty() || entries.len() > MAX_ENTRIES {
        return Err(malformed(command));
    }
    if entries.iter().any(|e| !is_name(&e.name)) {
        return Err(malformed(command));
    }
    Ok(Listing {
        entries,
        end: false,
    })
}

fn info(reply: &Reply) -> Result<Bytes, Failure> {
    let command = "QUERY_INFO";
    check(command, reply, &[NtStatus::BUFFER_OVERFLOW])?;
    let response = QueryInfoResponse::decode(&reply.message).map_err(|_| malformed(command))?;
    Ok(slice(&reply.message, response.buffer))
}

fn ioctl(reply: &Reply) -> Result<Bytes, Failure> {
    let command = "IOCTL";
    check(command, reply, &[NtStatus::BUFFER_OVERFLOW])?;
    let response = IoctlResponse::decode(&reply.message).map_err(|_| malformed(command))?;
    Ok(slice(&reply.message, response.output))
}

fn notify(reply: &Reply) -> Result<ChangeList, Failure> {
    let command = "CHANGE_NOTIFY";
    match reply.status {
        NtStatus::NOTIFY_ENUM_DIR => {
            return Ok(ChangeList {
                overflow: true,
                ..ChangeList::default()
            });
        }
        NtStatus::NOTIFY_CLEANUP | NtStatus::DELETE_PENDING => {
            return Ok(ChangeList {
                closed: true,
                ..ChangeList::default()
            });
        }
        _ => check(command, reply, &[])?,
    }
    let response = ChangeNotifyResponse::decode(&reply.message).map_err(|_| malformed(command))?;
    let changes =
        NotifyInformation::decode_list(response.buffer).map_err(|_| malformed(command))?;
    Ok(ChangeList {
        // Nothing told though something happened: more than fits.
        overflow: changes.is_empty(),
        changes,
        closed: false,
    })
}

fn stat(create: &Reply) -> Outcome {
    let response = Smb2::created(&create.message)?;
    let facts = written(&response);
    let mut out = Vec::with_capacity(56);
    NetworkOpenInformation {
        creation: facts.creation,
        last_access: facts.last_access,
        last_write: facts.last_write,
        change: facts.change,
        allocation_size: facts.allocation_size,
        end_of_file: facts.end_of_file,
        attributes: facts.attributes,
    }
    .encode(&mut Writer::new(&mut out));
    Ok(Answer::Info(out.into()))
}

fn whole_read(replies: &[Reply], asked: u32) -> Outcome {
    let [create, read, _] = replies else {
        return Err(malformed("READ"));
    };
    let response = Smb2::created(&create.message)?;
    let data = read_answer(read, asked)?;
    let complete =
        u64::try_from(data.len()).unwrap_or(u64::MAX) >= response.end_of_file || data.is_empty();
    Ok(Answer::Whole {
        opened: Box::new(Smb2::passing(&response)),
        data,
        complete,
    })
}

fn whole_written(replies: &[Reply], length: u32) -> Outcome {
    if length > 0 {
        let written = replies
            .get(1)
            .map_or(Err(malformed("WRITE")), |reply| count(reply, length))?;
        if written != length {
            return Err(Smb2::failure("WRITE", NtStatus::DISK_FULL));
        }
    }
    let create = replies.first().ok_or(malformed("CREATE"))?;
    let response = Smb2::created(&create.message)?;
    let end = replies.last().and_then(closed);
    Ok(Answer::Written(end.unwrap_or_else(|| written(&response))))
}
