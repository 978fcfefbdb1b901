//! Calls become requests: those on an open, [MS-SMB2] 3.2.4.

use countersign_wire::Writer;
use countersign_wire::fscc::{
    CompletionFilter, DispositionInformation, RenameInformation, file_class,
};
use countersign_wire::smb2::{
    CLOSE_FLAG_POSTQUERY_ATTRIB, ChangeNotifyRequest, CloseRequest, Command, EchoRequest, FileId,
    FlushRequest, IOCTL_IS_FSCTL, IoctlRequest, LeaseBreak, Lock, LockFlags, LockRequest,
    OplockBreak, QueryDirectoryFlags, QueryDirectoryRequest, QueryInfoRequest, ReadRequest,
    SetInfoRequest, TreeDisconnectRequest, WATCH_TREE, WRITEFLAG_WRITE_THROUGH, WriteRequest,
    channel, fsctl, info_type,
};

use super::Smb2;
use super::flight::{Flight, Kind, Part};
use crate::client::call::{Break, Caching, Call, LockRange, OpenId, Payload, TreeId};
use crate::client::engine::Link;
use crate::client::failure::Failure;
use crate::gate::smb2::client::REQUEST_HEADROOM;

type Built = Result<Flight, Failure>;

impl Smb2 {
    /// The FileId of an open and its tree.
    fn at(&self, open: OpenId) -> Result<(FileId, TreeId), Failure> {
        let open = self.opens.get(&open).ok_or(Failure::UnknownHandle)?;
        Ok((open.file_id, open.tree))
    }

    fn on_open(&self, open: OpenId, kind: Kind, part: impl FnOnce(FileId) -> Part) -> Built {
        let (file_id, tree) = self.at(open)?;
        Ok(Flight::new(kind, Some(tree), vec![part(file_id)]))
    }

    /// The requests a call is made of.
    pub(super) fn build(&self, link: &Link, call: Call) -> Built {
        let sizes = self.sizes(&link.config);
        match call {
            Call::Logoff => Ok(Self::logoff()),
            Call::TreeConnect { share } => Ok(Self::tree_connect(&link.config, &share)),
            Call::TreeDisconnect(tree) => {
                self.trees.get(&tree).ok_or(Failure::UnknownHandle)?;
                let part = Part::new(Command::TREE_DISCONNECT, |w| {
                    TreeDisconnectRequest.encode(w);
                });
                Ok(Flight::new(
                    Kind::TreeDisconnect(tree),
                    Some(tree),
                    vec![part],
                ))
            }
            Call::Open { tree, request } => {
                self.trees.get(&tree).ok_or(Failure::UnknownHandle)?;
                let (part, facts) = self.create(tree, &request);
                Ok(Flight::new(
                    Kind::Open(Box::new(facts)),
                    Some(tree),
                    vec![part],
                ))
            }
            Call::Close { open, query } => {
                self.on_open(open, Kind::Close(open, query), |id| close(id, query))
            }
            Call::Read {
                open,
                offset,
                length,
            } => {
                let length = length.min(sizes.read);
                self.on_open(open, Kind::Read(length), |id| read(id, offset, length))
            }
            Call::Write {
                open,
                offset,
                mut data,
                write_through,
            } => {
                data.truncate(usize::try_from(sizes.write).unwrap_or(usize::MAX));
                let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
                self.on_open(open, Kind::Write(length), |id| {
                    write(id, offset, data, write_through)
                })
            }
            Call::Flush(open) => self.on_open(open, Kind::Plain, |file_id| {
                Part::new(Command::FLUSH, |w| {
                    FlushRequest {
                        reserved1: 0,
                        file_id,
                    }
                    .encode(w);
                })
            }),
            Call::Lock { open, ranges, wait } => {
                if ranges.is_empty() {
                    return Err(Failure::Unsupported("a lock of nothing"));
                }
                self.on_open(open, Kind::Plain, |id| lock(id, &ranges, wait))
            }
            Call::List {
                open,
                pattern,
                restart,
            } => self.on_open(open, Kind::List, |id| {
                query_directory(id, &pattern, restart, sizes.transact)
            }),
            Call::QueryInfo {
                open,
                class,
                max,
                input,
            } => self.on_open(open, Kind::Info, |id| {
                query(
                    id,
                    info_type::FILE,
                    class,
                    0,
                    max.min(sizes.transact),
                    &input,
                )
            }),
            Call::QueryFilesystem { open, class, max } => self.on_open(open, Kind::Info, |id| {
                let most = max.min(sizes.transact);
                query(id, info_type::FILESYSTEM, class, 0, most, &[])
            }),
            Call::QuerySecurity { open, parts } => self.on_open(open, Kind::Info, |id| {
                query(id, info_type::SECURITY, 0, parts, sizes.transact, &[])
            }),
            Call::SetInfo { open, class, data } => self.on_open(open, Kind::Plain, |id| {
                set(id, info_type::FILE, class, 0, &data)
            }),
            Call::SetSecurity {
                open,
                parts,
                descriptor,
            } => self.on_open(open, Kind::Plain, |id| {
                set(id, info_type::SECURITY, 0, parts, &descriptor)
            }),
            Call::Rename { open, to, replace } => self.on_open(open, Kind::Plain, |id| {
                rename(id, file_class::RENAME, &to, replace)
            }),
            Call::SetDelete { open, delete } => {
                self.on_open(open, Kind::Plain, |id| set_delete(id, delete))
            }
            Call::Ioctl {
                tree,
                open,
                code,
                input,
                max,
            } => {
                let file_id = match open {
                    Some(open) => self.at(open)?.0,
                    None => FileId::NONE,
                };
                self.trees.get(&tree).ok_or(Failure::UnknownHandle)?;
                let part = ioctl(file_id, code, &input, max.min(sizes.transact));
                Ok(Flight::new(Kind::Ioctl, Some(tree), vec![part]))
            }
            Call::Notify {
                open,
                filter,
                recursive,
            } => self.on_open(open, Kind::Notify, |id| {
                notify(id, filter, recursive, sizes.transact)
            }),
            Call::PipeTransact { open, input, max } => self.on_open(open, Kind::Ioctl, |id| {
                ioctl(id, fsctl::PIPE_TRANSCEIVE, &input, max.min(sizes.transact))
            }),
            Call::AcknowledgeBreak(broken) => self.acknowledge(&broken),
            Call::Echo => {
                let part = Part::new(Command::ECHO, |w| EchoRequest.encode(w));
                Ok(Flight::new(Kind::Plain, None, vec![part]))
            }
            Call::ListStart { .. }
            | Call::QueryPath { .. }
            | Call::SetPath { .. }
            | Call::RenamePath { .. }
            | Call::Link { .. }
            | Call::Remove { .. }
            | Call::CreateDirectory { .. }
            | Call::ReadFile { .. }
            | Call::WriteFile { .. } => self.chain(call, sizes),
            Call::SessionSetup { .. } | Call::LogonFinish(_) | Call::ClassicLogon(_) => {
                Err(Failure::Unsupported("a logon is not made this way"))
            }
        }
    }

    /// [MS-SMB2] 3.2.4.26 and 3.2.4.27.
    fn acknowledge(&self, broken: &Break) -> Built {
        let open = self.opens.get(&broken.open).ok_or(Failure::UnknownHandle)?;
        let part = Part::new(Command::OPLOCK_BREAK, |w| match broken.to {
            Caching::Lease { key, state } => LeaseBreak {
                flags: 0,
                key,
                state,
            }
            .encode(w),
            Caching::Oplock(level) => OplockBreak {
                oplock_level: level as u8,
                file_id: open.file_id,
            }
            .encode(w),
            Caching::None => OplockBreak {
                oplock_level: 0,
                file_id: open.file_id,
            }
            .encode(w),
        });
        Ok(Flight::new(Kind::Plain, Some(open.tree), vec![part]))
    }
}

pub(super) fn close(file_id: FileId, query: bool) -> Part {
    Part::new(Command::CLOSE, |w| {
        CloseRequest {
            flags: if query {
                CLOSE_FLAG_POSTQUERY_ATTRIB
            } else {
                0
            },
            file_id,
        }
        .encode(w);
    })
}

pub(super) fn read(file_id: FileId, offset: u64, length: u32) -> Part {
    Part::new(Command::READ, |w| {
        ReadRequest {
            padding: 80,
            flags: 0,
            length,
            offset,
            file_id,
            minimum_count: 0,
            channel: channel::NONE,
            remaining_bytes: 0,
            channel_info: &[],
        }
        .encode(w);
    })
    .costing(length)
}

/// A WRITE whose data stays where it lies.
pub(super) fn write(file_id: FileId, offset: u64, data: Payload, through: bool) -> Part {
    const FIXED: usize = 48;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut head = vec![0; 64];
    WriteRequest {
        offset,
        file_id,
        channel: channel::NONE,
        remaining_bytes: 0,
        channel_info: &[],
        flags: if through { WRITEFLAG_WRITE_THROUGH } else { 0 },
        data: &[],
    }
    .encode(&mut Writer::with_base(&mut head, 0));
    if let Some(place) = head.get_mut(68..72) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    let body = Payload::HEADROOM - FIXED;
    const { assert!(Payload::HEADROOM >= REQUEST_HEADROOM + 64 + FIXED) };
    let mut buffer = data.into_buffer();
    if let (Some(place), Some(head)) = (
        buffer.get_mut(body..Payload::HEADROOM),
        head.get(64..64 + FIXED),
    ) {
        place.copy_from_slice(head);
    }
    Part {
        command: Command::WRITE,
        class: countersign_policy::CommandClass::Other,
        buffer,
        body,
        payload: length,
        dfs: false,
    }
}

fn lock(file_id: FileId, ranges: &[LockRange], wait: bool) -> Part {
    let locks = ranges
        .iter()
        .map(|range| {
            let mut flags = match range.exclusive {
                None => LockFlags::UNLOCK,
                Some(true) => LockFlags::EXCLUSIVE_LOCK,
                Some(false) => LockFlags::SHARED_LOCK,
            };
            if range.exclusive.is_some() && !wait {
                flags |= LockFlags::FAIL_IMMEDIATELY;
            }
            Lock {
                offset: range.offset,
                length: range.length,
                flags,
            }
        })
        .collect();
    Part::new(Command::LOCK, |w| {
        LockRequest {
            lock_sequence: 0,
            file_id,
            locks,
        }
        .encode(w);
    })
}

pub(super) fn query_directory(file_id: FileId, pattern: &str, restart: bool, most: u32) -> Part {
    let pattern: Vec<u8> = pattern.encode_utf16().flat_map(u16::to_le_bytes).collect();
    Part::new(Command::QUERY_DIRECTORY, |w| {
        QueryDirectoryRequest {
            information_class: file_class::ID_BOTH_DIRECTORY,
            flags: if restart {
                QueryDirectoryFlags::RESTART_SCANS
            } else {
                QueryDirectoryFlags::empty()
            },
            file_index: 0,
            file_id,
            pattern: &pattern,
            output_buffer_length: most,
        }
        .encode(w);
    })
    .costing(most)
}

pub(super) fn query(
    file_id: FileId,
    kind: u8,
    class: u8,
    additional: u32,
    most: u32,
    input: &[u8],
) -> Part {
    Part::new(Command::QUERY_INFO, |w| {
        QueryInfoRequest {
            info_type: kind,
            information_class: class,
            output_buffer_length: most,
            additional_information: additional,
            flags: 0,
            file_id,
            input,
        }
        .encode(w);
    })
    .costing(most)
}

pub(super) fn set(file_id: FileId, kind: u8, class: u8, additional: u32, buffer: &[u8]) -> Part {
    Part::new(Command::SET_INFO, |w| {
        SetInfoRequest {
            info_type: kind,
            information_class: class,
            additional_information: additional,
            file_id,
            buffer,
        }
        .encode(w);
    })
    .costing(0)
}

pub(super) fn rename(file_id: FileId, class: u8, to: &str, replace: bool) -> Part {
    let mut data = Vec::new();
    RenameInformation {
        flags: u32::from(replace),
        root_directory: 0,
        name: to.into(),
    }
    .encode_smb2(false, &mut Writer::new(&mut data));
    set(file_id, info_type::FILE, class, 0, &data)
}

pub(super) fn set_delete(file_id: FileId, delete: bool) -> Part {
    let mut data = Vec::new();
    DispositionInformation {
        delete_pending: delete,
    }
    .encode(&mut Writer::new(&mut data));
    set(file_id, info_type::FILE, file_class::DISPOSITION, 0, &data)
}

fn ioctl(file_id: FileId, code: u32, input: &[u8], most: u32) -> Part {
    Part::new(Command::IOCTL, |w| {
        IoctlRequest {
            ctl_code: code,
            file_id,
            input,
            max_input_response: 0,
            output_count: 0,
            max_output_response: most,
            flags: IOCTL_IS_FSCTL,
        }
        .encode(w);
    })
    .costing(most)
}

fn notify(file_id: FileId, filter: CompletionFilter, recursive: bool, most: u32) -> Part {
    Part::new(Command::CHANGE_NOTIFY, |w| {
        ChangeNotifyRequest {
            flags: if recursive { WATCH_TREE } else { 0 },
            output_buffer_length: most,
            file_id,
            filter,
        }
        .encode(w);
    })
    .costing(most)
}
