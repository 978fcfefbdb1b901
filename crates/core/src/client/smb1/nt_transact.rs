//! NT_TRANSACT: security descriptors, control codes, NOTIFY_CHANGE: [MS-CIFS]
//! 3.2.4.37 to 3.2.4.39 and [MS-SMB] 3.2.4.12.

use countersign_wire::fscc::{CompletionFilter, NotifyInformation};
use countersign_wire::smb1::trans2::{
    IoctlSetup, NotifyChangeSetup, NtTransact, SecurityDescParameters,
};
use countersign_wire::{NtStatus, Reader};

use super::Smb1;
use super::exchange::{Reply, Request};
use super::handles::Handle;
use super::transaction::Transaction;
use crate::client::call::{Answer, CallId, ChangeList, OpenId};
use crate::client::engine::Link;
use crate::client::failure::Failure;

/// Largest security descriptor: an ACL tells its size in 16 bits, and there are two.
const MAX_DESCRIPTOR: u32 = 0x2_0000;

impl Smb1 {
    pub(super) fn query_security(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: OpenId,
        parts: u32,
    ) -> Result<(), Failure> {
        let handle = self.handle(open)?;
        let request = query_security_request(handle, parts, self.server.max_transact);
        self.send(link, id, request, move |me, link, reply| {
            let needed = match &reply {
                Ok(reply) if reply.status == NtStatus::BUFFER_TOO_SMALL => {
                    Reader::new(&reply.transaction.parameters).u32("LengthNeeded")
                }
                _ => Ok(0),
            };
            match needed {
                Ok(n @ 1..=MAX_DESCRIPTOR) => {
                    let request = query_security_request(handle, parts, n);
                    me.send(link, id, request, move |me, link, reply| {
                        me.finish(link, id, reply.and_then(info));
                    });
                }
                _ => me.finish(link, id, reply.and_then(info)),
            }
        });
        Ok(())
    }

    pub(super) fn set_security(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: OpenId,
        parts: u32,
        descriptor: Vec<u8>,
    ) -> Result<(), Failure> {
        let handle = self.handle(open)?;
        let parameters = SecurityDescParameters {
            fid: handle.fid,
            reserved: 0,
            security_information: parts,
        };
        let request = Transaction::nt(
            NtTransact::SET_SECURITY_DESC,
            Vec::new(),
            parameters.to_vec(),
            descriptor,
        )
        .request(handle.tid, "NT_TRANSACT_SET_SECURITY_DESC");
        self.send_simple(link, id, request);
        Ok(())
    }

    pub(super) fn ioctl(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: Option<OpenId>,
        code: u32,
        input: Vec<u8>,
        max: u32,
    ) -> Result<(), Failure> {
        let open = open.ok_or(Failure::Unsupported(
            "control codes of SMB1 concern an open",
        ))?;
        let handle = self.handle(open)?;
        let setup = IoctlSetup {
            function_code: code,
            fid: handle.fid,
            is_fsctl: 1,
            is_flags: 0,
        };
        let request = Request {
            patient: handle.pipe,
            ..Transaction {
                max_parameters: 0,
                max_data: max.clamp(1, link.config.limits.max_transact),
                ..Transaction::nt(NtTransact::IOCTL, setup.to_vec(), Vec::new(), input)
            }
            .request(handle.tid, "NT_TRANSACT_IOCTL")
        };
        self.send(link, id, request, move |me, link, reply| {
            let answer = reply
                .and_then(|reply| reply.allow(&[NtStatus::BUFFER_OVERFLOW]))
                .map(|reply| Answer::Info(reply.transaction.data.into()));
            me.finish(link, id, answer);
        });
        Ok(())
    }

    pub(super) fn notify(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: OpenId,
        filter: CompletionFilter,
        recursive: bool,
    ) -> Result<(), Failure> {
        let handle = self.handle(open)?;
        if self.server.requests < 2 {
            return Err(Failure::Unsupported(
                "the server takes one request at a time, and this one would keep the others out",
            ));
        }
        let setup = NotifyChangeSetup {
            completion_filter: filter.bits(),
            fid: handle.fid,
            watch_tree: u8::from(recursive),
            reserved: 0,
        };
        let request = Request {
            patient: true,
            ..Transaction {
                max_parameters: self.server.max_transact,
                ..Transaction::nt(
                    NtTransact::NOTIFY_CHANGE,
                    setup.to_vec(),
                    Vec::new(),
                    Vec::new(),
                )
            }
            .request(handle.tid, "NT_TRANSACT_NOTIFY_CHANGE")
        };
        self.send(link, id, request, move |me, link, reply| {
            me.finish(link, id, reply.and_then(changes));
        });
        Ok(())
    }
}

fn query_security_request(handle: Handle, parts: u32, max: u32) -> Request {
    let parameters = SecurityDescParameters {
        fid: handle.fid,
        reserved: 0,
        security_information: parts,
    };
    Transaction {
        max_data: max,
        ..Transaction::nt(
            NtTransact::QUERY_SECURITY_DESC,
            Vec::new(),
            parameters.to_vec(),
            Vec::new(),
        )
    }
    .request(handle.tid, "NT_TRANSACT_QUERY_SECURITY_DESC")
}

fn info(reply: Reply) -> Result<Answer, Failure> {
    let reply = reply.success()?;
    Ok(Answer::Info(reply.transaction.data.into()))
}

fn changes(reply: Reply) -> Result<Answer, Failure> {
    let closed = reply.status == NtStatus::NOTIFY_CLEANUP;
    let reply = reply.allow(&[NtStatus::NOTIFY_CLEANUP, NtStatus::NOTIFY_ENUM_DIR])?;
    let changes = NotifyInformation::decode_list(&reply.transaction.parameters)
        .map_err(|_| reply.malformed())?;
    Ok(Answer::Changes(ChangeList {
        overflow: changes.is_empty() && !closed,
        changes,
        closed,
    }))
}
