//! Named pipes of IPC$ and TRANSACTION on them, [MS-CIFS] 3.3.5.57, and the
//! remote administration protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_auth::Identity;
use countersign_rpc::{PipeRead, rap};
use countersign_wire::fscc::file_class;
use countersign_wire::smb1::files::{WRITE_RAW_PIPE, WRITE_START_OF_MESSAGE};
use countersign_wire::smb1::trans2::{PeekNmPipeResponse, TransPipe};
use countersign_wire::smb1::transaction::Answer as TransactionAnswer;
use countersign_wire::{NtStatus, Reader, Writer};

use super::file_io::read_andx_words;
use super::open::PIPE_STATUS;
use super::request::{Answer, READ_HEADROOM, Reply, Request, Stop, code_page};
use super::state::FileKind;
use super::transaction::{Outcome, Transaction};
use crate::gate::smb1::FRAME_HEADROOM;
use crate::pipes::{Facts, PipeOpen};

/// Bytes a pipe's buffers are said to hold.
const PIPE_BUFFER: u16 = 4280;

/// An open pipe.
pub(crate) struct PipeHandle {
    open: PipeOpen,
    /// Reads give whole messages ([MS-CIFS] 2.2.1.3 SMB_NMPIPE_STATUS).
    message_mode: AtomicBool,
}

impl PipeHandle {
    /// Opens a pipe by name, for the account of the session.
    pub(super) fn open(cx: &Request, name: &str) -> Option<Arc<Self>> {
        let identity = cx.session().ok().map(|s| Arc::clone(&s.identity));
        let open = PipeOpen::open(name, identity)?;
        Some(Arc::new(Self {
            open,
            message_mode: AtomicBool::new(true),
        }))
    }

    /// Closes it; who waits for it is told.
    pub(super) fn close(&self) {
        self.open.close();
    }

    /// Gives up a read that waits.
    pub(super) fn cancel(&self, ticket: countersign_fs::Ticket) {
        self.open.cancel(ticket);
    }
}

/// Runs something with what the interfaces answer from.
fn with_facts<T>(
    cx: &Request,
    identity: Option<&Identity>,
    run: impl FnOnce(&Facts<'_>) -> T,
) -> Result<T, Stop> {
    let now = cx.shared.state.lock().now;
    Ok(run(&Facts {
        config: &cx.config,
        registry: &cx.shared.server.registry,
        identity,
        now,
    }))
}

fn length(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn status_of(read: &PipeRead) -> NtStatus {
    if read.more {
        NtStatus::BUFFER_OVERFLOW
    } else {
        NtStatus::SUCCESS
    }
}

/// READ_ANDX on a pipe.
pub(super) async fn read_andx(cx: &Request, pipe: &PipeHandle, max: u32) -> Answer {
    let read = read_message(cx, pipe, length(max.min(0xFFFF))).await?;
    let mut buffer = vec![0; READ_HEADROOM];
    buffer.extend_from_slice(&read.data);
    let data_offset = READ_HEADROOM - FRAME_HEADROOM;
    Ok(Reply {
        payload: Some(buffer),
        ..Reply::words(read_andx_words(read.data.len(), data_offset))
    }
    .with_status(status_of(&read)))
}

/// Reads a message, or as much of it as is wanted; waits until there is one.
async fn read_message(cx: &Request, pipe: &PipeHandle, max: usize) -> Result<PipeRead, Stop> {
    let ticket = cx.ticket();
    let waiter = (Arc::clone(&cx.shared.sink), ticket);
    match pipe.open.read(max, Some(waiter)) {
        Ok(Some(read)) => Ok(read),
        Ok(None) => {
            // What came is with the pipe, whatever the event says.
            let _ = cx.late(ticket).await;
            Ok(pipe.open.take(ticket)?)
        }
        Err(e) => Err(e.into()),
    }
}

/// READ on a pipe.
pub(super) async fn read(cx: &Request, pipe: &PipeHandle, max: u32) -> Result<Vec<u8>, Stop> {
    Ok(read_message(cx, pipe, length(max)).await?.data)
}

/// WRITE in any form on a pipe.
pub(super) fn write(cx: &Request, pipe: &PipeHandle, data: &[u8], mode: u16) -> Result<u64, Stop> {
    // [MS-CIFS] 2.2.4.43.1: the first write of a raw message begins with its length.
    let start_of_raw = WRITE_RAW_PIPE | WRITE_START_OF_MESSAGE;
    let message = if mode & start_of_raw == start_of_raw {
        data.get(2..)
            .ok_or(Stop::Status(NtStatus::INVALID_PARAMETER))?
    } else {
        data
    };
    with_facts(cx, pipe.open.identity.as_deref(), |facts| {
        pipe.open.write(message, facts)
    })??;
    Ok(u64::try_from(data.len()).unwrap_or(0))
}

/// Writes and reads the answer.
pub(super) async fn transact(
    cx: &Request,
    pipe: &PipeHandle,
    data: &[u8],
    max: usize,
) -> Result<(NtStatus, Vec<u8>), Stop> {
    let ticket = cx.ticket();
    let waiter = (Arc::clone(&cx.shared.sink), ticket);
    let read = match with_facts(cx, pipe.open.identity.as_deref(), |facts| {
        pipe.open.transact(data, max, facts, Some(waiter))
    })?? {
        Some(read) => read,
        None => {
            // What came is with the pipe, whatever the event says.
            let _ = cx.late(ticket).await;
            pipe.open.take(ticket)?
        }
    };
    Ok((status_of(&read), read.data))
}

/// What QUERY_FILE_INFORMATION tells of a pipe.
pub(super) fn query(
    pipe: &PipeHandle,
    class: Option<u8>,
    t: &Transaction,
) -> Result<Outcome, Stop> {
    let message_mode = pipe.message_mode.load(Ordering::Relaxed);
    let mut data = Vec::new();
    let mut w = Writer::new(&mut data);
    match class {
        Some(file_class::STANDARD) => {
            w.u64(4096);
            w.u64(0);
            w.u32(1);
            w.u8(1);
            w.u8(0);
            w.u16(0);
        }
        Some(file_class::NAME) => {
            let name = format!("\\{}", pipe.open.name);
            let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            w.u32(u32::try_from(units.len()).unwrap_or(0));
            w.bytes(&units);
        }
        // FilePipeInformation: read mode and completion mode.
        Some(23) => {
            w.u32(u32::from(message_mode));
            w.u32(0);
        }
        // FilePipeLocalInformation.
        Some(24) => {
            let (_, first, _) = pipe.open.peek(0);
            for v in [
                1,
                2,
                0xFF,
                1,
                u32::from(PIPE_BUFFER),
                u32::try_from(first).unwrap_or(u32::MAX),
                u32::from(PIPE_BUFFER),
                u32::from(PIPE_BUFFER),
                3,
                1,
            ] {
                w.u32(v);
            }
        }
        _ => return Err(Stop::Status(NtStatus::INVALID_PARAMETER)),
    }
    if data.len() > t.max_data() {
        return Err(Stop::Status(NtStatus::INFO_LENGTH_MISMATCH));
    }
    Ok(Outcome::new(NtStatus::SUCCESS, vec![0, 0], data))
}

/// FilePipeInformation is all that can be set of a pipe.
pub(super) fn set(pipe: &PipeHandle, level: u16, data: &[u8]) -> Result<(), Stop> {
    if level != 1023 {
        return Err(Stop::Status(NtStatus::INVALID_LEVEL));
    }
    let message_mode = Reader::new(data).u32("ReadMode")? != 0;
    pipe.message_mode.store(message_mode, Ordering::Relaxed);
    Ok(())
}

/// A TRANSACTION: a pipe or RAP.
pub(super) async fn transaction(cx: &mut Request, t: Transaction) -> Result<Outcome, Stop> {
    let name = t.head.name.to_ascii_uppercase();
    // Windows CE puts \SERVER in front of \PIPE.
    let Some(at) = name.find(r"\PIPE") else {
        return Err(Stop::Status(if name.contains(r"\MAILSLOT") {
            NtStatus::NOT_SUPPORTED
        } else {
            NtStatus::OBJECT_NAME_INVALID
        }));
    };
    let rest = name
        .get(at + 5..)
        .unwrap_or("")
        .trim_start_matches('\\')
        .to_owned();
    if rest == "LANMAN" {
        let page = code_page(cx.config.oem_code_page);
        let session = cx.session()?;
        let reply = with_facts(cx, Some(&session.identity), |facts| {
            rap::call(&t.parameters, t.max_data(), page, facts)
        })?;
        return Ok(Outcome::new(
            NtStatus::SUCCESS,
            reply.parameters,
            reply.data,
        ));
    }
    if cx.tree()?.share.is_some() {
        return Err(Stop::Status(NtStatus::INVALID_DEVICE_REQUEST));
    }
    let mut setup = Reader::new(&t.head.setup);
    let function = setup
        .u16("Subcommand")
        .map_err(|_| Stop::Status(NtStatus::INVALID_PARAMETER))?;
    match function {
        TransPipe::WAIT_NM_PIPE => match PipeHandle::open(cx, &rest) {
            // All instances are free always. Windows 9x waits with a handle in
            // the place of a name.
            Some(_) => Ok(TransactionAnswer::default().into()),
            None if rest.is_empty() => Ok(TransactionAnswer::default().into()),
            None => Err(Stop::Status(NtStatus::OBJECT_NAME_NOT_FOUND)),
        },
        TransPipe::CALL_NM_PIPE => {
            let pipe =
                PipeHandle::open(cx, &rest).ok_or(Stop::Status(NtStatus::OBJECT_NAME_NOT_FOUND))?;
            let (status, data) = transact(cx, &pipe, &t.data, t.max_data()).await?;
            Ok(Outcome::new(status, Vec::new(), data))
        }
        _ => {
            let fid = setup.u16("FID")?;
            let FileKind::Pipe(pipe) = cx.file_entry(fid)?.1.kind else {
                return Err(Stop::Status(NtStatus::INVALID_HANDLE));
            };
            on_pipe(cx, &pipe, function, &t).await
        }
    }
}

async fn on_pipe(
    cx: &Request,
    pipe: &PipeHandle,
    function: u16,
    t: &Transaction,
) -> Result<Outcome, Stop> {
    match function {
        TransPipe::TRANSACT_NM_PIPE => {
            let (status, data) = transact(cx, pipe, &t.data, t.max_data()).await?;
            Ok(Outcome::new(status, Vec::new(), data))
        }
        TransPipe::PEEK_NM_PIPE => {
            let (read, first, all) = pipe.open.peek(t.max_data());
            let cut = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
            let parameters = PeekNmPipeResponse {
                read_data_available: cut(all),
                message_bytes_length: cut(first),
                named_pipe_state: 3,
            };
            Ok(Outcome::new(
                status_of(&read),
                parameters.to_vec(),
                read.data,
            ))
        }
        TransPipe::SET_NM_PIPE_STATE => {
            let mode = Reader::new(&t.parameters).u16("PipeState")?;
            pipe.message_mode
                .store(mode & 0x0100 != 0, Ordering::Relaxed);
            Ok(TransactionAnswer::default().into())
        }
        TransPipe::QUERY_NM_PIPE_STATE => {
            let message_mode = pipe.message_mode.load(Ordering::Relaxed);
            let mode = if message_mode {
                PIPE_STATUS
            } else {
                PIPE_STATUS & !0x0100
            };
            Ok(Outcome::new(
                NtStatus::SUCCESS,
                mode.to_le_bytes().to_vec(),
                Vec::new(),
            ))
        }
        TransPipe::QUERY_NM_PIPE_INFO => {
            let mut data = Vec::new();
            let mut w = Writer::new(&mut data);
            w.u16(PIPE_BUFFER);
            w.u16(PIPE_BUFFER);
            w.u8(0xFF);
            w.u8(1);
            let name = format!("\\PIPE\\{}", pipe.open.name);
            w.u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
            w.bytes(name.as_bytes());
            w.u8(0);
            Ok(Outcome::new(NtStatus::SUCCESS, Vec::new(), data))
        }
        TransPipe::READ_NM_PIPE | TransPipe::RAW_READ_NM_PIPE => {
            let read = read_message(cx, pipe, t.max_data()).await?;
            Ok(Outcome::new(status_of(&read), Vec::new(), read.data))
        }
        TransPipe::WRITE_NM_PIPE | TransPipe::RAW_WRITE_NM_PIPE => {
            let written = write(cx, pipe, &t.data, 0)?;
            let count = u16::try_from(written).unwrap_or(u16::MAX);
            Ok(Outcome::new(
                NtStatus::SUCCESS,
                count.to_le_bytes().to_vec(),
                Vec::new(),
            ))
        }
        _ => Err(Stop::Status(NtStatus::INVALID_PARAMETER)),
    }
}
