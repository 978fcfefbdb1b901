//! Reparse points and object ids, [MS-FSCC] 2.3.

use std::sync::Arc;

use countersign_fs::{FsCall, FsReply, Open};
use countersign_wire::NtStatus;
use countersign_wire::fscc::{MAX_REPARSE_DATA, ReparseBuffer};

use super::super::handler::Step;
use super::Asked;
use crate::status;

/// Bytes of FILE_OBJECTID_BUFFER.
const OBJECT_ID: usize = 64;
/// Bytes of a reparse buffer's header.
const HEADER: usize = 8;

/// FSCTL_GET_REPARSE_POINT.
pub(super) fn get(open: &Arc<Open>, asked: Asked) -> Step {
    let call = FsCall::GetReparse {
        open: Arc::clone(open),
    };
    Step::call(call, move |_, result| match result {
        Ok(FsReply::Bytes(_)) if asked.max < HEADER => Step::Fail(NtStatus::BUFFER_TOO_SMALL),
        Ok(FsReply::Bytes(data)) => match data.get(..asked.max) {
            Some(part) if part.len() < data.len() => asked.answer(NtStatus::BUFFER_OVERFLOW, part),
            _ => asked.answer(NtStatus::SUCCESS, &data),
        },
        Ok(_) => Step::Fail(NtStatus::INTERNAL_ERROR),
        Err(error) => Step::Fail(status::of(error)),
    })
}

/// FSCTL_SET_REPARSE_POINT.
pub(super) fn set(open: &Arc<Open>, asked: Asked, input: &[u8]) -> Step {
    if input.len() > MAX_REPARSE_DATA {
        return Step::Fail(NtStatus::IO_REPARSE_DATA_INVALID);
    }
    let Ok(buffer) = ReparseBuffer::decode(input) else {
        return Step::Fail(NtStatus::IO_REPARSE_DATA_INVALID);
    };
    if buffer.guid.is_some() {
        // Tags of third parties carry a GUID; there is no place to keep it.
        return Step::Fail(NtStatus::NOT_SUPPORTED);
    }
    if buffer.data.is_empty() {
        return Step::Fail(NtStatus::IO_REPARSE_DATA_INVALID);
    }
    let (tag, data) = (buffer.tag, buffer.data.to_vec());
    let call = FsCall::SetReparse {
        open: Arc::clone(open),
        tag,
        data,
    };
    Step::call(call, move |_, result| asked.done(result))
}

/// FSCTL_DELETE_REPARSE_POINT.
pub(super) fn delete(open: &Arc<Open>, asked: Asked, input: &[u8]) -> Step {
    let Ok(buffer) = ReparseBuffer::decode(input) else {
        return Step::Fail(NtStatus::IO_REPARSE_DATA_INVALID);
    };
    if !buffer.data.is_empty() {
        return Step::Fail(NtStatus::IO_REPARSE_DATA_INVALID);
    }
    let call = FsCall::SetReparse {
        open: Arc::clone(open),
        tag: buffer.tag,
        data: Vec::new(),
    };
    Step::call(call, move |_, result| asked.done(result))
}

/// FSCTL_CREATE_OR_GET_OBJECT_ID and FSCTL_GET_OBJECT_ID.
pub(super) fn object_id(open: &Arc<Open>, asked: Asked, create: bool) -> Step {
    if asked.max < OBJECT_ID {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let call = FsCall::ObjectId {
        open: Arc::clone(open),
        create,
    };
    Step::call(call, move |_, result| match result {
        Ok(FsReply::Bytes(id)) => asked.answer(NtStatus::SUCCESS, &id),
        Ok(_) => Step::Fail(NtStatus::INTERNAL_ERROR),
        Err(error) => Step::Fail(status::of(error)),
    })
}
