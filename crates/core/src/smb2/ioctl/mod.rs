//! [MS-SMB2] 3.3.5.15 IOCTL: one file per group of controls.

mod copychunk;
mod interfaces;
mod ranges;
mod reparse;

use std::sync::Arc;

use countersign_fs::{FsError, FsReply, Open};
use countersign_wire::smb2::{IOCTL_IS_FSCTL, IoctlRequest, IoctlResponse, fsctl};
use countersign_wire::{NtStatus, Writer};

use super::handler::{Context, Response, Step};
use super::session::{FileOpen, OpenKind};
use super::{pipe, validate_negotiate};
use crate::status;

/// Longest time a client may ask a resilient handle to be kept, in milliseconds.
const COMPRESSION_FORMAT_NONE: u16 = 0;

/// What an answer needs to know of the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) code: u32,
    pub(super) file_id: countersign_wire::smb2::FileId,
    /// MaxOutputResponse.
    pub(super) max: usize,
}

impl Asked {
    /// A response with this status and output.
    pub(super) fn answer(self, status: NtStatus, output: &[u8]) -> Step {
        let body = IoctlResponse {
            ctl_code: self.code,
            file_id: self.file_id,
            input: &[],
            output,
            flags: 0,
        };
        let room = output.len().saturating_add(64);
        Step::Reply(Response::with_capacity(status, room, |w| body.encode(w)))
    }

    /// SUCCESS with what `encode` writes.
    pub(super) fn ok(self, encode: impl FnOnce(&mut Writer<'_>)) -> Step {
        let mut out = Vec::new();
        encode(&mut Writer::new(&mut out));
        self.answer(NtStatus::SUCCESS, &out)
    }

    /// SUCCESS without output when a call is done.
    pub(super) fn done(self, result: Result<FsReply, FsError>) -> Step {
        match result {
            Ok(_) => self.answer(NtStatus::SUCCESS, &[]),
            Err(error) => Step::Fail(status::of(error)),
        }
    }
}

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    let Ok(request) = IoctlRequest::decode(cx.request.message()) else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    if request.flags != IOCTL_IS_FSCTL {
        return Step::Fail(NtStatus::NOT_SUPPORTED);
    }
    let limit = cx.max_transact();
    let input = u32::try_from(request.input.len()).unwrap_or(u32::MAX);
    if input > limit || request.max_output_response > limit || request.max_input_response > limit {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let asked = Asked {
        code: request.ctl_code,
        file_id: request.file_id,
        max: usize::try_from(request.max_output_response).unwrap_or(usize::MAX),
    };
    let input = request.input;
    match request.ctl_code {
        fsctl::VALIDATE_NEGOTIATE_INFO => validate(cx, asked, input, request.max_output_response),
        fsctl::QUERY_NETWORK_INTERFACE_INFO => interfaces::query(cx, asked),
        fsctl::DFS_GET_REFERRALS | fsctl::DFS_GET_REFERRALS_EX => {
            Step::Fail(NtStatus::FS_DRIVER_REQUIRED)
        }
        fsctl::PIPE_WAIT => pipe::wait(cx, asked, input),
        _ => match cx.open() {
            Some(entry) => match &entry.kind {
                OpenKind::Pipe(_) => on_pipe(cx, &entry, asked, input),
                OpenKind::File(open) => on_file(cx, &entry, open, asked, input),
            },
            // [MS-SMB2] 3.3.5.15: every other control is about an open.
            None => Step::Fail(NtStatus::FILE_CLOSED),
        },
    }
}

/// What is answered to a control nobody knows.
fn unknown(cx: &Context<'_>) -> Step {
    let pipe = cx.tree().is_some_and(|t| t.is_pipe());
    Step::Fail(if pipe {
        NtStatus::FS_DRIVER_REQUIRED
    } else {
        NtStatus::INVALID_DEVICE_REQUEST
    })
}

fn validate(cx: &Context<'_>, asked: Asked, input: &[u8], max: u32) -> Step {
    match validate_negotiate::validate(cx, input, max) {
        validate_negotiate::Validated::Output(output) => asked.answer(NtStatus::SUCCESS, &output),
        validate_negotiate::Validated::Drop(reason) => Step::Drop(reason),
    }
}

fn on_pipe(cx: &mut Context<'_>, entry: &Arc<FileOpen>, asked: Asked, input: &[u8]) -> Step {
    match asked.code {
        fsctl::PIPE_TRANSCEIVE => pipe::transceive(cx, entry, asked, input),
        fsctl::PIPE_PEEK => pipe::peek(cx, entry, asked),
        _ => Step::Fail(NtStatus::FS_DRIVER_REQUIRED),
    }
}

fn on_file(
    cx: &mut Context<'_>,
    entry: &Arc<FileOpen>,
    open: &Arc<Open>,
    asked: Asked,
    input: &[u8],
) -> Step {
    match asked.code {
        fsctl::SRV_ENUMERATE_SNAPSHOTS if asked.max < 16 => Step::Fail(NtStatus::INVALID_PARAMETER),
        fsctl::SRV_ENUMERATE_SNAPSHOTS => {
            asked.ok(|w| fsctl::SnapshotArray::default().encode(asked.max, w))
        }
        fsctl::SRV_REQUEST_RESUME_KEY => copychunk::resume_key(cx, entry, asked),
        fsctl::SRV_COPYCHUNK | fsctl::SRV_COPYCHUNK_WRITE => {
            copychunk::copy(cx, open, asked, input)
        }
        fsctl::SET_SPARSE => ranges::set_sparse(open, asked, input),
        fsctl::SET_ZERO_DATA => ranges::zero(open, asked, input),
        fsctl::QUERY_ALLOCATED_RANGES => ranges::allocated(open, asked, input),
        fsctl::FILE_LEVEL_TRIM => ranges::trim(open, input),
        fsctl::GET_REPARSE_POINT => reparse::get(open, asked),
        fsctl::SET_REPARSE_POINT => reparse::set(open, asked, input),
        fsctl::DELETE_REPARSE_POINT => reparse::delete(open, asked, input),
        fsctl::CREATE_OR_GET_OBJECT_ID => reparse::object_id(open, asked, true),
        fsctl::GET_OBJECT_ID => reparse::object_id(open, asked, false),
        fsctl::GET_COMPRESSION if asked.max < 2 => Step::Fail(NtStatus::INVALID_PARAMETER),
        fsctl::GET_COMPRESSION => asked.ok(|w| w.u16(COMPRESSION_FORMAT_NONE)),
        fsctl::SET_COMPRESSION => match input.first_chunk::<2>() {
            None => Step::Fail(NtStatus::INVALID_PARAMETER),
            Some(format) if u16::from_le_bytes(*format) == COMPRESSION_FORMAT_NONE => {
                asked.answer(NtStatus::SUCCESS, &[])
            }
            Some(_) => Step::Fail(NtStatus::NOT_SUPPORTED),
        },
        fsctl::IS_PATHNAME_VALID => asked.answer(NtStatus::SUCCESS, &[]),
        fsctl::LMR_REQUEST_RESILIENCY => Step::Fail(NtStatus::NOT_SUPPORTED),
        fsctl::PIPE_TRANSCEIVE | fsctl::PIPE_PEEK => Step::Fail(NtStatus::NOT_SUPPORTED),
        _ => unknown(cx),
    }
}
