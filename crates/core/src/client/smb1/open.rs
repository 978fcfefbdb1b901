//! NT_CREATE_ANDX and NT_TRANSACT_CREATE: [MS-CIFS] 3.2.4.4, 3.2.5.4 and
//! [MS-SMB] 3.2.4.3.

use countersign_wire::FileTime;
use countersign_wire::Reader;
use countersign_wire::fscc::{
    AccessMask, CreateAction, CreateOptions, Disposition, FileAttributes, LeaseState, OplockLevel,
};
use countersign_wire::smb1::open::{
    NT_CREATE_REQUEST_EXTENDED_RESPONSE, NT_CREATE_REQUEST_OPBATCH, NT_CREATE_REQUEST_OPLOCK,
    NtCreateAndxResponseWords, NtCreateAndxWords, NtTransactCreateParameters,
    NtTransactCreateResponseParameters, RESOURCE_DISK, decode_nt_create_andx_response,
    encode_nt_create_andx, encode_nt_transact_create,
};
use countersign_wire::smb1::time::gmt_token;
use countersign_wire::smb1::trans2::NtTransact;
use countersign_wire::smb1::{Capabilities, Command, Flags2, HEADER};

use super::Smb1;
use super::exchange::{Reply, Request};
use super::handles::Open;
use super::transaction::Transaction;
use crate::client::call::{Answer, Caching, CallId, Granted, OpenRequest, Opened, TreeId, Written};
use crate::client::engine::Link;
use crate::client::failure::Failure;

/// SECURITY_IMPERSONATION.
const IMPERSONATION: u32 = 2;
/// Context tracking and effective only, as clients have always sent it.
const SECURITY_FLAGS: u8 = 0x03;

/// A path as it stands on the wire.
pub(super) fn wire_path(path: &str, snapshot: Option<FileTime>) -> String {
    match snapshot {
        Some(time) => format!(r"\{}\{path}", gmt_token(time)),
        None => format!(r"\{path}"),
    }
}

impl Smb1 {
    pub(super) fn open(
        &mut self,
        link: &mut Link,
        id: CallId,
        tree: TreeId,
        request: &OpenRequest,
    ) -> Result<(), Failure> {
        self.open_then(link, id, tree, request, move |me, link, opened| {
            let answer = opened.map(|opened| Answer::Opened(Box::new(opened)));
            me.finish(link, id, answer);
        })
    }

    /// Opens; what is to follow is told what came of it.
    pub(super) fn open_then(
        &mut self,
        link: &mut Link,
        id: CallId,
        tree: TreeId,
        request: &OpenRequest,
        then: impl FnOnce(&mut Smb1, &mut Link, Result<Opened, Failure>) + Send + 'static,
    ) -> Result<(), Failure> {
        let tid = self.tree(tree)?.tid;
        if request.reconnect.is_some() {
            return Err(Failure::Unsupported("SMB1 has no durable opens"));
        }
        if !self.server.can(Capabilities::NT_SMBS) {
            return Err(Failure::Unsupported(
                "the server lacks the commands of Windows NT (CAP_NT_SMBS)",
            ));
        }
        if self.opens.len() >= link.config.limits.opens {
            return Err(Failure::Limit("too many opens"));
        }
        let path = wire_path(&request.path, request.snapshot);
        let mut make = match &request.security_descriptor {
            None => self.create_andx(tid, request, &path),
            Some(descriptor) => self.transact_create(tid, request, &path, descriptor),
        };
        if request.snapshot.is_some() {
            make.flags2 |= Flags2::REPARSE_PATH;
        }
        self.send(link, id, make, move |me, link, reply| {
            let opened = reply
                .and_then(Reply::success)
                .and_then(|reply| me.take_open(tree, tid, path, &reply));
            then(me, link, opened);
        });
        Ok(())
    }

    fn create_andx(&self, tid: u16, request: &OpenRequest, path: &str) -> Request {
        let words = NtCreateAndxWords {
            reserved: 0,
            name_length: 0,
            flags: flags(request),
            root_directory_fid: 0,
            desired_access: request.access.bits(),
            allocation_size: request.allocation_size.unwrap_or(0),
            ext_file_attributes: request.attributes.bits(),
            share_access: request.share.bits(),
            create_disposition: request.disposition as u32,
            create_options: request.options.bits(),
            impersonation_level: IMPERSONATION,
            security_flags: SECURITY_FLAGS,
        };
        let (words, bytes) = encode_nt_create_andx(&words, path, self.server.text, HEADER);
        Request::new(Command::NT_CREATE_ANDX, tid, words, bytes)
    }

    fn transact_create(
        &self,
        tid: u16,
        request: &OpenRequest,
        path: &str,
        descriptor: &[u8],
    ) -> Request {
        let parameters = NtTransactCreateParameters {
            flags: flags(request),
            root_directory_fid: 0,
            desired_access: request.access.bits(),
            allocation_size: request.allocation_size.unwrap_or(0),
            ext_file_attributes: request.attributes.bits(),
            share_access: request.share.bits(),
            create_disposition: request.disposition as u32,
            create_options: request.options.bits(),
            security_descriptor_length: u32::try_from(descriptor.len()).unwrap_or(u32::MAX),
            ea_length: 0,
            name_length: 0,
            impersonation_level: IMPERSONATION,
            security_flags: SECURITY_FLAGS,
        };
        let parameters = encode_nt_transact_create(&parameters, path, self.server.text);
        Transaction {
            max_parameters: 128,
            ..Transaction::nt(
                NtTransact::CREATE,
                Vec::new(),
                parameters,
                descriptor.to_vec(),
            )
        }
        .request(tid, "NT_TRANSACT_CREATE")
    }

    fn take_open(
        &mut self,
        tree: TreeId,
        tid: u16,
        path: String,
        reply: &Reply,
    ) -> Result<Opened, Failure> {
        let (words, maximal) = if reply.header.command == Command::NT_CREATE_ANDX {
            let (words, tail) =
                decode_nt_create_andx_response(&reply.block()?).map_err(|_| reply.malformed())?;
            (words, tail.map(|t| t.maximal_access_rights))
        } else {
            let p = NtTransactCreateResponseParameters::decode(&mut Reader::new(
                &reply.transaction.parameters,
            ))
            .map_err(|_| reply.malformed())?;
            (like_andx(&p), None)
        };
        let oplock = match words.oplock_level {
            1 => OplockLevel::Exclusive,
            2 => OplockLevel::Batch,
            3 => OplockLevel::LevelTwo,
            _ => OplockLevel::None,
        };
        let open = self.enter(Open {
            tree,
            tid,
            fid: Some(words.fid),
            path,
            pipe: words.resource_type != RESOURCE_DISK,
            oplock,
            search: None,
        });
        Ok(Opened {
            open,
            action: match words.create_disposition {
                0 => CreateAction::Superseded,
                2 => CreateAction::Created,
                3 => CreateAction::Overwritten,
                _ => CreateAction::Opened,
            },
            facts: Written {
                creation: words.create_time,
                last_access: words.last_access_time,
                last_write: words.last_write_time,
                change: words.last_change_time,
                allocation_size: words.allocation_size,
                end_of_file: words.end_of_file,
                attributes: FileAttributes::from_bits_retain(words.ext_file_attributes),
            },
            directory: words.directory != 0,
            granted: Granted {
                caching: match oplock {
                    OplockLevel::None => Caching::None,
                    level => Caching::Oplock(level),
                },
                maximal_access: maximal.map(AccessMask::from_bits_retain),
                ..Granted::default()
            },
        })
    }
}

fn flags(request: &OpenRequest) -> u32 {
    let write_and_handle = LeaseState::WRITE | LeaseState::HANDLE;
    let mut flags = match request.caching {
        Caching::Oplock(OplockLevel::Batch) => NT_CREATE_REQUEST_OPLOCK | NT_CREATE_REQUEST_OPBATCH,
        Caching::Oplock(OplockLevel::Exclusive) => NT_CREATE_REQUEST_OPLOCK,
        Caching::Lease { state, .. } if state.contains(write_and_handle) => {
            NT_CREATE_REQUEST_OPLOCK | NT_CREATE_REQUEST_OPBATCH
        }
        Caching::Lease { state, .. } if state.contains(LeaseState::WRITE) => {
            NT_CREATE_REQUEST_OPLOCK
        }
        // Level II cannot be asked for.
        _ => 0,
    };
    if request.maximal_access {
        flags |= NT_CREATE_REQUEST_EXTENDED_RESPONSE;
    }
    flags
}

fn like_andx(p: &NtTransactCreateResponseParameters) -> NtCreateAndxResponseWords {
    NtCreateAndxResponseWords {
        oplock_level: p.oplock_level,
        fid: p.fid,
        create_disposition: p.create_action,
        create_time: p.creation_time,
        last_access_time: p.last_access_time,
        last_write_time: p.last_write_time,
        last_change_time: p.last_change_time,
        ext_file_attributes: p.ext_file_attributes,
        allocation_size: p.allocation_size,
        end_of_file: p.end_of_file,
        resource_type: p.resource_type,
        nm_pipe_status: p.nm_pipe_status,
        directory: p.directory,
    }
}

/// A request that opens a file to read it, whatever others do with it.
pub(super) fn to_read(path: String, no_follow: bool) -> OpenRequest {
    let mut request = OpenRequest::existing(
        path,
        AccessMask::READ_DATA | AccessMask::READ_ATTRIBUTES | AccessMask::SYNCHRONIZE,
    );
    request.options = CreateOptions::NON_DIRECTORY_FILE;
    if no_follow {
        request.options |= CreateOptions::OPEN_REPARSE_POINT;
    }
    request
}

/// A request that makes or overwrites a file.
pub(super) fn to_write(
    path: String,
    disposition: Disposition,
    attributes: FileAttributes,
) -> OpenRequest {
    OpenRequest {
        disposition,
        attributes,
        options: CreateOptions::NON_DIRECTORY_FILE,
        ..OpenRequest::existing(
            path,
            AccessMask::WRITE_DATA
                | AccessMask::WRITE_ATTRIBUTES
                | AccessMask::READ_ATTRIBUTES
                | AccessMask::SYNCHRONIZE,
        )
    }
}
