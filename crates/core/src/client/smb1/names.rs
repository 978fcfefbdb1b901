//! RENAME, NT_RENAME, DELETE, DELETE_DIRECTORY, CREATE_DIRECTORY: [MS-CIFS]
//! 3.2.4.7 to 3.2.4.11, 3.2.4.40.

use countersign_wire::fscc::{RenameInformation, file_class};
use countersign_wire::smb1::open::encode_formatted;
use countersign_wire::smb1::paths::{NtRenameWords, RENAME_SET_LINK_INFO, SearchAttributesWords};
use countersign_wire::smb1::{Capabilities, Command, HEADER};
use countersign_wire::{NtStatus, Writer};

use super::Smb1;
use super::exchange::{Reply, Request};
use super::info::Target;
use super::open::wire_path;
use crate::client::call::{Answer, CallId, OpenId, PathRequest, TreeId};
use crate::client::engine::Link;
use crate::client::failure::Failure;

/// Hidden, system, directories: everything.
const EVERYTHING: u16 = 0x0016;
/// Hidden and system files, no directories.
const FILES: u16 = 0x0006;

/// These commands take patterns, and a pattern is never meant: it would name
/// other files.
fn literal<'a>(path: &'a str, command: &'static str) -> Result<&'a str, Failure> {
    if path.contains(['*', '?', '<', '>', '"']) {
        return Err(Failure::Status {
            status: NtStatus::OBJECT_NAME_INVALID,
            command,
        });
    }
    Ok(path)
}

/// Folder and name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('\\').unwrap_or(("", path))
}

impl Smb1 {
    /// A request whose bytes are names behind format bytes.
    fn named(&self, command: u8, tid: u16, words: Vec<u8>, names: &[&str]) -> Request {
        let start = HEADER + 1 + words.len() + 2;
        let bytes = encode_formatted(self.server.text, start, names);
        Request::new(command, tid, words, bytes)
    }

    pub(super) fn create_directory(
        &mut self,
        link: &mut Link,
        id: CallId,
        at: &PathRequest,
    ) -> Result<(), Failure> {
        let tid = self.tree(at.tree)?.tid;
        let path = wire_path(&at.path, None);
        let request = self.named(Command::CREATE_DIRECTORY, tid, Vec::new(), &[&path]);
        self.send_simple(link, id, request);
        Ok(())
    }

    pub(super) fn remove(
        &mut self,
        link: &mut Link,
        id: CallId,
        at: &PathRequest,
        directory: bool,
    ) -> Result<(), Failure> {
        let tid = self.tree(at.tree)?.tid;
        let request = self.remove_request(tid, &wire_path(&at.path, None), directory)?;
        self.send_simple(link, id, request);
        Ok(())
    }

    fn remove_request(&self, tid: u16, path: &str, directory: bool) -> Result<Request, Failure> {
        if directory {
            let path = literal(path, "DELETE_DIRECTORY")?;
            return Ok(self.named(Command::DELETE_DIRECTORY, tid, Vec::new(), &[path]));
        }
        let path = literal(path, "DELETE")?;
        let words = SearchAttributesWords {
            search_attributes: FILES,
        };
        Ok(self.named(Command::DELETE, tid, words.to_vec(), &[path]))
    }

    pub(super) fn rename_open(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: OpenId,
        to: &str,
        replace: bool,
    ) -> Result<(), Failure> {
        let entry = self.opened(open)?;
        let tree = entry.tree;
        let new = wire_path(to, None);
        let within = split(&entry.path).0 == split(&new).0;
        if within && self.server.can(Capabilities::INFOLEVEL_PASSTHRU) {
            // RENAME would stumble over the open itself.
            let handle = self.handle(open)?;
            let target = Target::File {
                tid: handle.tid,
                fid: handle.fid,
            };
            let request = self.rename_information(&target, &new, replace)?;
            self.send(link, id, request, move |me, link, reply| {
                let done = reply.and_then(Reply::success).map(|_| Answer::Done);
                if let (Ok(_), Some(entry)) = (&done, me.opens.get_mut(&open)) {
                    entry.path = new;
                }
                me.finish(link, id, done);
            });
            return Ok(());
        }
        let from = entry.path.trim_start_matches('\\').to_owned();
        self.rename_then(link, id, tree, &from, to, replace, move |me, link, done| {
            if let (Ok(()), Some(entry)) = (&done, me.opens.get_mut(&open)) {
                entry.path = new;
            }
            me.finish(link, id, done.map(|()| Answer::Done));
        })
    }

    pub(super) fn rename(
        &mut self,
        link: &mut Link,
        id: CallId,
        tree: TreeId,
        from: String,
        to: String,
        replace: bool,
    ) -> Result<(), Failure> {
        self.rename_then(
            link,
            id,
            tree,
            &from,
            &to,
            replace,
            move |me, link, done| {
                me.finish(link, id, done.map(|()| Answer::Done));
            },
        )
    }

    /// RENAME replaces nothing. Within a folder a pass-through level does so in
    /// one step; else what has the name is deleted first, which is not atomic.
    #[allow(
        clippy::too_many_arguments,
        reason = "a call's fields, and what follows it"
    )]
    fn rename_then(
        &mut self,
        link: &mut Link,
        id: CallId,
        tree: TreeId,
        from: &str,
        to: &str,
        replace: bool,
        then: impl FnOnce(&mut Smb1, &mut Link, Result<(), Failure>) + Send + 'static,
    ) -> Result<(), Failure> {
        let tid = self.tree(tree)?.tid;
        let (from, to) = (wire_path(from, None), wire_path(to, None));
        let request = self.rename_request(tid, &from, &to)?;
        self.send(link, id, request, move |me, link, reply| {
            let collision = matches!(
                &reply,
                Ok(reply) if reply.status == NtStatus::OBJECT_NAME_COLLISION
            );
            if !(replace && collision) {
                return then(me, link, reply.and_then(Reply::success).map(|_| ()));
            }
            let one_step =
                me.server.can(Capabilities::INFOLEVEL_PASSTHRU) && split(&from).0 == split(&to).0;
            let request = if one_step {
                let target = Target::Path {
                    tid,
                    path: from.clone(),
                };
                me.rename_information(&target, &to, true)
            } else {
                me.remove_request(tid, &to, false)
            };
            let request = match request {
                Ok(request) => request,
                Err(failure) => return then(me, link, Err(failure)),
            };
            me.send(link, id, request, move |me, link, reply| {
                let gone = match reply.and_then(Reply::success) {
                    Ok(_) if !one_step => me.rename_request(tid, &from, &to),
                    other => return then(me, link, other.map(|_| ())),
                };
                match gone {
                    Ok(request) => me.send(link, id, request, move |me, link, reply| {
                        then(me, link, reply.and_then(Reply::success).map(|_| ()));
                    }),
                    Err(failure) => then(me, link, Err(failure)),
                }
            });
        });
        Ok(())
    }

    fn rename_request(&self, tid: u16, from: &str, to: &str) -> Result<Request, Failure> {
        let (from, to) = (literal(from, "RENAME")?, literal(to, "RENAME")?);
        let words = SearchAttributesWords {
            search_attributes: EVERYTHING,
        };
        Ok(self.named(Command::RENAME, tid, words.to_vec(), &[from, to]))
    }

    /// FileRenameInformation, [MS-FSCC] 2.4.42.1: over SMB1 a name without path.
    fn rename_information(
        &self,
        target: &Target,
        to: &str,
        replace: bool,
    ) -> Result<Request, Failure> {
        let rename = RenameInformation {
            flags: u32::from(replace),
            root_directory: 0,
            name: split(to).1.to_owned(),
        };
        let mut data = Vec::new();
        rename.encode_smb1(&mut Writer::new(&mut data));
        self.set_request(target, file_class::RENAME, data)
    }

    pub(super) fn link(
        &mut self,
        link: &mut Link,
        id: CallId,
        at: PathRequest,
        to: String,
        replace: bool,
    ) -> Result<(), Failure> {
        if replace {
            return Err(Failure::Unsupported(
                "a hard link of SMB1 does not replace what has the name",
            ));
        }
        let tid = self.tree(at.tree)?.tid;
        let (from, to) = (wire_path(&at.path, None), wire_path(&to, None));
        let names = [literal(&from, "NT_RENAME")?, literal(&to, "NT_RENAME")?];
        let words = NtRenameWords {
            search_attributes: EVERYTHING,
            information_level: RENAME_SET_LINK_INFO,
            reserved: 0,
        };
        let request = self.named(Command::NT_RENAME, tid, words.to_vec(), &names);
        self.send_simple(link, id, request);
        Ok(())
    }

    pub(super) fn set_delete(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: OpenId,
        delete: bool,
    ) -> Result<(), Failure> {
        let handle = self.handle(open)?;
        let target = Target::File {
            tid: handle.tid,
            fid: handle.fid,
        };
        let request = self.set_request(&target, file_class::DISPOSITION, vec![u8::from(delete)])?;
        self.send_simple(link, id, request);
        Ok(())
    }
}
