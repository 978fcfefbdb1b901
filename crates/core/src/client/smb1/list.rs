//! TRANS2_FIND_FIRST2, FIND_NEXT2 and FIND_CLOSE2: [MS-CIFS] 3.2.4.26 to
//! 3.2.4.28.

use countersign_wire::fscc::CreateAction;
use countersign_wire::fscc::{FileAttributes, OplockLevel};
use countersign_wire::smb1::Command;
use countersign_wire::smb1::echo::FindClose2Words;
use countersign_wire::smb1::info::{FindLevel, decode_find};
use countersign_wire::smb1::trans2::{
    FindFirst2Parameters, FindFirst2ResponseParameters, FindFlags, FindNext2Parameters,
    FindNext2ResponseParameters, Trans2, encode_find_first2, encode_find_next2,
};
use countersign_wire::{NtStatus, Reader};

use super::Smb1;
use super::exchange::{Reply, Request};
use super::handles::Open;
use super::open::wire_path;
use super::transaction::Transaction;
use crate::client::call::{Answer, CallId, Granted, Listing, OpenId, Opened, PathRequest, Written};
use crate::client::engine::Link;
use crate::client::failure::Failure;
use crate::client::is_name;

/// Hidden, system, directories: everything.
const ALL: u16 = 0x0016;
/// Entries asked for at once.
const ENTRIES: u16 = 4096;

/// A listing in progress.
#[derive(Debug, Clone)]
pub(super) struct Search {
    /// SID; `None` when the server has told everything.
    sid: Option<u16>,
    pattern: String,
    /// Name of the last entry.
    last: String,
}

impl Smb1 {
    /// The next entries.
    pub(super) fn list(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: OpenId,
        pattern: String,
        restart: bool,
    ) -> Result<(), Failure> {
        let entry = self.opens.get_mut(&open).ok_or(Failure::UnknownHandle)?;
        let tid = entry.tid;
        let search = entry.search.take();
        let goes_on = search
            .as_ref()
            .filter(|s| !restart && s.pattern == pattern)
            .cloned();
        match goes_on {
            Some(Search {
                sid: Some(sid),
                last,
                ..
            }) => {
                // While it goes on, the search is where the answer puts it.
                self.next(link, id, open, tid, sid, pattern, last);
            }
            Some(over) => {
                self.put_search(open, over);
                let answer = Answer::Listing(Listing {
                    entries: Vec::new(),
                    end: true,
                });
                self.finish(link, id, Ok(answer));
            }
            None => {
                let path = entry.path.clone();
                self.end_search(link, tid, search);
                self.first(link, id, tid, &path, pattern, move |me, link, result| {
                    let answer = result.map(|(search, listing)| {
                        me.put_search(open, search);
                        Answer::Listing(listing)
                    });
                    me.finish(link, id, answer);
                });
            }
        }
        Ok(())
    }

    /// Lists a directory from the start, in one round trip.
    pub(super) fn list_start(
        &mut self,
        link: &mut Link,
        id: CallId,
        at: PathRequest,
        pattern: String,
    ) -> Result<(), Failure> {
        let tid = self.tree(at.tree)?.tid;
        if self.opens.len() >= link.config.limits.opens {
            return Err(Failure::Limit("too many opens"));
        }
        let path = wire_path(&at.path, None);
        let folder = path.clone();
        self.first(link, id, tid, &folder, pattern, move |me, link, result| {
            let answer = result.map(|(search, listing)| {
                let itself = listing.entries.iter().find(|e| e.name == ".");
                let facts = itself.map_or(
                    Written {
                        attributes: FileAttributes::DIRECTORY,
                        ..Written::default()
                    },
                    |e| Written {
                        creation: e.creation,
                        last_access: e.last_access,
                        last_write: e.last_write,
                        change: e.change,
                        allocation_size: e.allocation_size,
                        end_of_file: e.end_of_file,
                        attributes: e.attributes,
                    },
                );
                let open = me.enter(Open {
                    tree: at.tree,
                    tid,
                    fid: None,
                    path,
                    pipe: false,
                    oplock: OplockLevel::None,
                    search: Some(search),
                });
                Answer::ListStarted {
                    opened: Box::new(Opened {
                        open,
                        action: CreateAction::Opened,
                        facts,
                        directory: true,
                        granted: Granted::default(),
                    }),
                    listing,
                }
            });
            me.finish(link, id, answer);
        });
        Ok(())
    }

    fn put_search(&mut self, open: OpenId, search: Search) {
        if let Some(entry) = self.opens.get_mut(&open) {
            entry.search = Some(search);
        }
    }

    fn first(
        &mut self,
        link: &mut Link,
        id: CallId,
        tid: u16,
        folder: &str,
        pattern: String,
        then: impl FnOnce(&mut Smb1, &mut Link, Result<(Search, Listing), Failure>) + Send + 'static,
    ) {
        let level = self.server.find_level;
        let parameters = FindFirst2Parameters {
            search_attributes: ALL,
            search_count: ENTRIES,
            flags: FindFlags::CLOSE_AT_EOS.bits(),
            information_level: level as u16,
            search_storage_type: 0,
        };
        let folder = folder.to_owned();
        let what = format!(r"{}\{pattern}", folder.trim_end_matches('\\'));
        let parameters = encode_find_first2(&parameters, &what, self.server.text);
        let request = Transaction {
            max_data: self.server.max_transact,
            ..Transaction::two(Trans2::FIND_FIRST2, parameters, Vec::new())
        }
        .request(tid, "TRANS2_FIND_FIRST2");
        self.send(link, id, request, move |me, link, reply| {
            let reply = match reply {
                Ok(reply) => reply,
                Err(failure) => return then(me, link, Err(failure)),
            };
            if let Some(lower) = lower_level(level).filter(|_| is_bad_level(reply.status)) {
                me.server.find_level = lower;
                return me.first(link, id, tid, &folder, pattern, then);
            }
            let result = me.first_found(level, pattern, reply);
            then(me, link, result);
        });
    }

    fn first_found(
        &self,
        level: FindLevel,
        pattern: String,
        reply: Reply,
    ) -> Result<(Search, Listing), Failure> {
        if is_nothing(reply.status) {
            let search = Search {
                sid: None,
                pattern,
                last: String::new(),
            };
            return Ok((search, over()));
        }
        let reply = reply.success()?;
        let answer = &reply.transaction;
        let p = FindFirst2ResponseParameters::decode(&mut Reader::new(&answer.parameters))
            .map_err(|_| reply.malformed())?;
        let (sid, count, end) = (p.sid, p.search_count, p.end_of_search != 0);
        let listing = self.entries(level, count, end, &reply)?;
        let search = Search {
            sid: (!end).then_some(sid),
            pattern,
            last: last_name(&listing),
        };
        Ok((search, listing))
    }

    #[allow(clippy::too_many_arguments, reason = "what a search goes on with")]
    fn next(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: OpenId,
        tid: u16,
        sid: u16,
        pattern: String,
        last: String,
    ) {
        let level = self.server.find_level;
        let parameters = FindNext2Parameters {
            sid,
            search_count: ENTRIES,
            information_level: level as u16,
            resume_key: 0,
            flags: (FindFlags::CLOSE_AT_EOS | FindFlags::CONTINUE_FROM_LAST).bits(),
        };
        let parameters = encode_find_next2(&parameters, &last, self.server.text);
        let request = Transaction {
            max_parameters: 8,
            max_data: self.server.max_transact,
            ..Transaction::two(Trans2::FIND_NEXT2, parameters, Vec::new())
        }
        .request(tid, "TRANS2_FIND_NEXT2");
        self.send(link, id, request, move |me, link, reply| {
            let answer = reply.and_then(|reply| {
                let (listing, sid) = me.next_found(level, sid, reply)?;
                let search = Search {
                    sid,
                    pattern,
                    last: last_name(&listing),
                };
                me.put_search(open, search);
                Ok(Answer::Listing(listing))
            });
            me.finish(link, id, answer);
        });
    }

    fn next_found(
        &self,
        level: FindLevel,
        sid: u16,
        reply: Reply,
    ) -> Result<(Listing, Option<u16>), Failure> {
        if is_nothing(reply.status) {
            return Ok((over(), None));
        }
        let reply = reply.success()?;
        let answer = &reply.transaction;
        let p = FindNext2ResponseParameters::decode(&mut Reader::new(&answer.parameters))
            .map_err(|_| reply.malformed())?;
        // A server that gives nothing and says there is more would be asked for ever.
        let end = p.end_of_search != 0 || p.search_count == 0;
        let listing = self.entries(level, p.search_count, end, &reply)?;
        Ok((listing, (!end).then_some(sid)))
    }

    fn entries(
        &self,
        level: FindLevel,
        count: u16,
        end: bool,
        reply: &Reply,
    ) -> Result<Listing, Failure> {
        let entries = decode_find(
            level,
            count,
            &reply.transaction.data,
            reply.text,
            self.server.zone,
        )
        .map_err(|_| reply.malformed())?;
        if entries.iter().any(|e| !is_name(&e.name)) {
            return Err(reply.malformed());
        }
        Ok(Listing { entries, end })
    }

    /// FIND_CLOSE2 of a search that the server still has open.
    pub(super) fn end_search(&mut self, link: &mut Link, tid: u16, search: Option<Search>) {
        if let Some(sid) = search.and_then(|s| s.sid) {
            let words = FindClose2Words { search_handle: sid }.to_vec();
            let request = Request::new(Command::FIND_CLOSE2, tid, words, Vec::new());
            self.send(link, None, request, |_, _, _| {});
        }
    }
}

fn over() -> Listing {
    Listing {
        entries: Vec::new(),
        end: true,
    }
}

fn last_name(listing: &Listing) -> String {
    listing
        .entries
        .last()
        .map(|e| e.name.clone())
        .unwrap_or_default()
}

/// Nothing matches the pattern.
fn is_nothing(status: NtStatus) -> bool {
    matches!(status, NtStatus::NO_SUCH_FILE | NtStatus::NO_MORE_FILES)
}

fn is_bad_level(status: NtStatus) -> bool {
    matches!(
        status,
        NtStatus::INVALID_LEVEL
            | NtStatus::INVALID_INFO_CLASS
            | NtStatus::NOT_SUPPORTED
            | NtStatus::OS2_INVALID_LEVEL
    )
}

/// The level to fall back to.
fn lower_level(level: FindLevel) -> Option<FindLevel> {
    match level {
        FindLevel::IdBothDirectoryInfo => Some(FindLevel::BothDirectoryInfo),
        FindLevel::BothDirectoryInfo => Some(FindLevel::InfoStandard),
        _ => None,
    }
}
