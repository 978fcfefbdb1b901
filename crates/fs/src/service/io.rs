//! Reading, writing and flushing, [MS-FSA] 2.1.5.2, 2.1.5.3 and 2.1.5.6.

use std::sync::Arc;

use bytes::Bytes;
use countersign_wire::fscc::{AccessMask, CompletionFilter, CreateOptions};

use super::FileService;
use super::handle::Open;
use super::notify::Happened;
use crate::FsError;
use crate::call::{CallContext, FsReply, Outcome};

/// Largest offset of a byte.
pub(super) const MAX_OFFSET: u64 = i64::MAX as u64;

impl FileService {
    #[allow(clippy::too_many_arguments)] // the fields of FsCall::Read
    pub(super) fn read(
        self: &Arc<Self>,
        context: &CallContext,
        open: Arc<Open>,
        offset: u64,
        length: u32,
        minimum: u32,
        headroom: usize,
        lock_owner: u32,
        execute: bool,
    ) -> Outcome {
        let mut buffer = match self.may_read(&open, offset, length, headroom, lock_owner, execute) {
            Ok(buffer) => buffer,
            Err(e) => return Outcome::Ready(Err(e)),
        };
        match open.handle.read_now(&mut buffer, offset, length) {
            Ok(Some(n)) => {
                Outcome::Ready(data(&open, buffer, headroom, offset, length, minimum, n))
            }
            Err(e) => Outcome::Ready(Err(e)),
            Ok(None) => {
                let pending = self.pend(context, true, None);
                let service = self.clone();
                self.host.offload(Box::new(move || {
                    if pending.is_done() {
                        return;
                    }
                    buffer.truncate(headroom);
                    let result = open
                        .handle
                        .read(&mut buffer, offset, length)
                        .and_then(|n| data(&open, buffer, headroom, offset, length, minimum, n));
                    service.answer(&pending, result);
                }));
                Outcome::Pending
            }
        }
    }

    fn may_read(
        &self,
        open: &Open,
        offset: u64,
        length: u32,
        headroom: usize,
        lock_owner: u32,
        execute: bool,
    ) -> Result<Vec<u8>, FsError> {
        if open.is_directory() {
            return Err(FsError::InvalidDeviceRequest);
        }
        let mut enough = AccessMask::READ_DATA;
        if execute {
            enough |= AccessMask::EXECUTE;
        }
        if !open.granted.intersects(enough) {
            return Err(FsError::AccessDenied);
        }
        if offset
            .checked_add(u64::from(length))
            .is_none_or(|end| end > MAX_OFFSET)
        {
            return Err(FsError::InvalidParameter);
        }
        if length > self.limits.read {
            return Err(FsError::InvalidParameter);
        }
        open.stream
            .check_locks(open.id, lock_owner, offset, u64::from(length), false)?;
        let room = usize::try_from(length).unwrap_or(0);
        let mut buffer = Vec::with_capacity(headroom.saturating_add(room));
        buffer.resize(headroom, 0);
        Ok(buffer)
    }

    pub(super) fn write(
        self: &Arc<Self>,
        context: &CallContext,
        open: Arc<Open>,
        offset: u64,
        data: Bytes,
        write_through: bool,
        lock_owner: u32,
    ) -> Outcome {
        if let Err(e) = may_write(&open, offset, data.len()) {
            return Outcome::Ready(Err(e));
        }
        let through = write_through || open.options.contains(CreateOptions::WRITE_THROUGH);
        if !through {
            return Outcome::Ready(self.write_now(&open, offset, &data, lock_owner));
        }
        let pending = self.pend(context, false, None);
        let service = self.clone();
        self.host.offload(Box::new(move || {
            let result = service
                .write_now(&open, offset, &data, lock_owner)
                .and_then(|reply| open.handle.flush().map(|()| reply));
            service.answer(&pending, result);
        }));
        Outcome::Pending
    }

    fn write_now(
        self: &Arc<Self>,
        open: &Arc<Open>,
        offset: u64,
        data: &[u8],
        lock_owner: u32,
    ) -> Result<FsReply, FsError> {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        if offset == u64::MAX {
            // Only one append at a time, so that none lands on another.
            let _one = open.stream.appending.lock();
            let end = open.handle.metadata()?.end_of_file;
            return self.write_at(open, end, data, length, lock_owner);
        }
        self.write_at(open, offset, data, length, lock_owner)
    }

    fn write_at(
        self: &Arc<Self>,
        open: &Arc<Open>,
        offset: u64,
        data: &[u8],
        length: u64,
        lock_owner: u32,
    ) -> Result<FsReply, FsError> {
        open.stream
            .check_locks(open.id, lock_owner, offset, length, true)?;
        if length == 0 {
            return Ok(FsReply::Written(0));
        }
        self.break_readers(open);
        open.handle.write(data, offset)?;
        open.note_write();
        open.set_position(offset.saturating_add(length));
        self.data_changed(open);
        Ok(FsReply::Written(length))
    }

    /// Tells watchers that data changed.
    pub(super) fn data_changed(&self, open: &Open) {
        if !self.is_watched() {
            return;
        }
        let what = if open.is_stream() {
            Happened::StreamChanged
        } else {
            Happened::Modified(CompletionFilter::LAST_WRITE | CompletionFilter::SIZE)
        };
        self.happened(&open.share, &open.path(), what);
    }

    pub(super) fn flush(self: &Arc<Self>, context: &CallContext, open: Arc<Open>) -> Outcome {
        let enough = AccessMask::WRITE_DATA | AccessMask::APPEND_DATA;
        if !open.granted.intersects(enough) {
            return Outcome::Ready(Err(FsError::AccessDenied));
        }
        let pending = self.pend(context, true, None);
        let service = self.clone();
        self.host.offload(Box::new(move || {
            let result = open.handle.flush().map(|()| FsReply::Done);
            service.answer(&pending, result);
        }));
        Outcome::Pending
    }
}

fn may_write(open: &Open, offset: u64, length: usize) -> Result<(), FsError> {
    if open.is_directory() {
        return Err(FsError::InvalidDeviceRequest);
    }
    let append = offset == u64::MAX;
    let enough = if append {
        AccessMask::WRITE_DATA | AccessMask::APPEND_DATA
    } else {
        AccessMask::WRITE_DATA
    };
    if !open.granted.intersects(enough) {
        // APPEND_DATA alone lets write behind the end.
        let behind_end = open.granted.contains(AccessMask::APPEND_DATA)
            && open.handle.metadata()?.end_of_file <= offset;
        if !behind_end {
            return Err(FsError::AccessDenied);
        }
    }
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    if !append
        && offset
            .checked_add(length)
            .is_none_or(|end| end > MAX_OFFSET)
    {
        return Err(FsError::InvalidParameter);
    }
    Ok(())
}

fn data(
    open: &Open,
    buffer: Vec<u8>,
    headroom: usize,
    offset: u64,
    length: u32,
    minimum: u32,
    n: usize,
) -> Result<FsReply, FsError> {
    let minimum = usize::try_from(minimum).unwrap_or(usize::MAX);
    if (n == 0 && length > 0) || n < minimum {
        return Err(FsError::EndOfFile);
    }
    open.set_position(offset.saturating_add(u64::try_from(n).unwrap_or(0)));
    Ok(FsReply::Data { buffer, headroom })
}
