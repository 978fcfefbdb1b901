//! Copies on the server, [MS-FSA] 2.1.5.10.4 and [MS-SMB2] 3.3.5.15.6.

use std::sync::Arc;

use countersign_wire::fscc::AccessMask;

use super::FileService;
use super::handle::Open;
use super::io::MAX_OFFSET;
use crate::FsError;
use crate::call::{CallContext, FsReply, Outcome};

/// Bytes copied through memory at a time when the backend cannot copy itself.
const PIECE: u32 = 1 << 20;

impl FileService {
    pub(super) fn copy_range(
        self: &Arc<Self>,
        context: &CallContext,
        from: Arc<Open>,
        from_offset: u64,
        to: Arc<Open>,
        to_offset: u64,
        length: u64,
    ) -> Outcome {
        if let Err(e) = check(&from, from_offset, &to, to_offset, length) {
            return Outcome::Ready(Err(e));
        }
        let service = self.clone();
        self.maybe_offload(context, true, move || {
            if from.handle.metadata()?.end_of_file < from_offset.saturating_add(length) {
                return Err(FsError::EndOfFile);
            }
            service.break_readers(&to);
            let copied = copy(&from, from_offset, &to, to_offset, length)?;
            to.note_write();
            service.data_changed(&to);
            Ok(FsReply::Written(copied))
        })
    }
}

fn check(
    from: &Open,
    from_offset: u64,
    to: &Open,
    to_offset: u64,
    length: u64,
) -> Result<(), FsError> {
    if from.is_closed() {
        return Err(FsError::FileClosed);
    }
    if from.is_directory() || to.is_directory() {
        return Err(FsError::InvalidDeviceRequest);
    }
    let behind = |o: u64| o.checked_add(length).is_none_or(|end| end > MAX_OFFSET);
    if behind(from_offset) || behind(to_offset) {
        return Err(FsError::InvalidParameter);
    }
    if !from
        .granted
        .intersects(AccessMask::READ_DATA | AccessMask::EXECUTE)
        || !to
            .granted
            .intersects(AccessMask::WRITE_DATA | AccessMask::APPEND_DATA)
    {
        return Err(FsError::AccessDenied);
    }
    from.stream
        .check_locks(from.id, 0, from_offset, length, false)?;
    to.stream.check_locks(to.id, 0, to_offset, length, true)
}

fn copy(
    from: &Open,
    from_offset: u64,
    to: &Open,
    to_offset: u64,
    length: u64,
) -> Result<u64, FsError> {
    let same = from.node.key == to.node.key && from.stream.name == to.stream.name;
    let overlaps = same && from_offset < to_offset + length && to_offset < from_offset + length;
    if !overlaps {
        match to
            .handle
            .copy_from(&*from.handle, from_offset, to_offset, length)
        {
            Err(FsError::NotSupported) => {}
            other => return other,
        }
    }
    let mut done = 0u64;
    let mut buffer = Vec::new();
    while done < length {
        let piece = u32::try_from(length - done).unwrap_or(PIECE).min(PIECE);
        // An overlapping copy to a higher place begins at its end.
        let at = if overlaps && to_offset > from_offset {
            length - done - u64::from(piece)
        } else {
            done
        };
        buffer.clear();
        let n = from.handle.read(&mut buffer, from_offset + at, piece)?;
        if n == 0 {
            break;
        }
        to.handle.write(&buffer, to_offset + at)?;
        done += u64::try_from(n).unwrap_or(0);
    }
    Ok(done)
}
