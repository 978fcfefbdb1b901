//! Sparse files, zeroes, allocated ranges and trim, [MS-FSCC] 2.3.

use std::sync::Arc;

use countersign_fs::{FsCall, FsReply, Open};
use countersign_wire::NtStatus;
use countersign_wire::fscc::AccessMask;
use countersign_wire::smb2::fsctl;

use super::super::handler::Step;
use super::Asked;
use crate::status;

/// Bytes of one FILE_ALLOCATED_RANGE_BUFFER.
const RANGE: usize = 16;

/// FSCTL_SET_SPARSE; without a buffer it means yes.
pub(super) fn set_sparse(open: &Arc<Open>, asked: Asked, input: &[u8]) -> Step {
    let sparse = input.first().is_none_or(|b| *b != 0);
    let call = FsCall::SetSparse {
        open: Arc::clone(open),
        sparse,
    };
    Step::call(call, move |_, result| asked.done(result))
}

/// FSCTL_SET_ZERO_DATA.
pub(super) fn zero(open: &Arc<Open>, asked: Asked, input: &[u8]) -> Step {
    let (offset, beyond) = match fsctl::decode_zero_data(input) {
        Ok(range) => range,
        Err(_) => return Step::Fail(NtStatus::INVALID_PARAMETER),
    };
    if offset > beyond || i64::try_from(beyond).is_err() {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let call = FsCall::ZeroRange {
        open: Arc::clone(open),
        offset,
        beyond,
    };
    Step::call(call, move |_, result| asked.done(result))
}

/// FSCTL_QUERY_ALLOCATED_RANGES.
pub(super) fn allocated(open: &Arc<Open>, asked: Asked, input: &[u8]) -> Step {
    let (offset, length) = match fsctl::decode_allocated_range(input) {
        Ok(range) => range,
        Err(_) => return Step::Fail(NtStatus::INVALID_PARAMETER),
    };
    let end = offset.checked_add(length);
    if end.is_none_or(|end| i64::try_from(end).is_err()) {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let call = FsCall::AllocatedRanges {
        open: Arc::clone(open),
        offset,
        length,
    };
    Step::call(call, move |_, result| match result {
        Ok(FsReply::Ranges(ranges)) => {
            let fit = ranges.len().min(asked.max / RANGE);
            if fit == 0 && !ranges.is_empty() {
                return Step::Fail(NtStatus::BUFFER_TOO_SMALL);
            }
            let mut out = Vec::with_capacity(fit * RANGE);
            for (offset, length) in ranges.iter().take(fit) {
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(&length.to_le_bytes());
            }
            let all = fit == ranges.len();
            asked.answer(
                if all {
                    NtStatus::SUCCESS
                } else {
                    NtStatus::BUFFER_OVERFLOW
                },
                &out,
            )
        }
        Ok(_) => Step::Fail(NtStatus::INTERNAL_ERROR),
        Err(error) => Step::Fail(status::of(error)),
    })
}

/// FSCTL_FILE_LEVEL_TRIM: a hint, of which nothing is made.
pub(super) fn trim(open: &Arc<Open>, input: &[u8]) -> Step {
    let Ok(request) = fsctl::FileLevelTrim::decode(input) else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    if request.key != 0 || request.extents.is_empty() {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    if !open.may(AccessMask::WRITE_DATA) {
        return Step::Fail(NtStatus::ACCESS_DENIED);
    }
    Step::Fail(NtStatus::NO_RANGES_PROCESSED)
}
