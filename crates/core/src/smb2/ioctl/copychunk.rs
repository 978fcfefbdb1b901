//! [MS-SMB2] 3.3.5.15.5 FSCTL_SRV_REQUEST_RESUME_KEY and 3.3.5.15.6
//! FSCTL_SRV_COPYCHUNK: copies inside the server.

use std::sync::Arc;

use countersign_fs::{FsCall, FsReply, Open};
use countersign_wire::fscc::AccessMask;
use countersign_wire::smb2::{FileId, fsctl};
use countersign_wire::{NtStatus, Reader};

use super::super::handler::{Context, Step};
use super::super::session::FileOpen;
use super::Asked;
use crate::status;

/// ServerSideCopyMaxNumberofChunks.
pub(crate) const MAX_CHUNKS: u32 = 256;
/// ServerSideCopyMaxChunkSize.
pub(crate) const MAX_CHUNK: u32 = 1 << 20;
/// ServerSideCopyMaxDataSize.
pub(crate) const MAX_TOTAL: u32 = 16 << 20;

/// Bytes of SRV_REQUEST_RESUME_KEY.
const RESUME_KEY: usize = 32;

/// Names the open: its FileId, and the session in which it may be used.
pub(super) fn resume_key(cx: &Context<'_>, entry: &FileOpen, asked: Asked) -> Step {
    if asked.max < RESUME_KEY {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let session = cx.session().map_or(0, |s| s.id);
    let mut key = [0; 24];
    let parts = [entry.id.persistent, entry.id.volatile, session];
    for (place, part) in key.chunks_exact_mut(8).zip(parts) {
        place.copy_from_slice(&part.to_le_bytes());
    }
    asked.ok(|w| fsctl::encode_resume_key(&key, w))
}

fn source(cx: &Context<'_>, key: &[u8; 24]) -> Option<Arc<Open>> {
    let mut r = Reader::new(key);
    let id = FileId {
        persistent: r.u64("key").ok()?,
        volatile: r.u64("key").ok()?,
    };
    let session = cx.session()?;
    if r.u64("key").ok()? != session.id {
        return None;
    }
    session.open(id)?.file()
}

/// A copy under way.
struct Copy {
    asked: Asked,
    from: Arc<Open>,
    to: Arc<Open>,
    chunks: std::vec::IntoIter<fsctl::CopyChunk>,
    source_end: u64,
    done: fsctl::CopyChunkResponse,
}

pub(super) fn copy(cx: &mut Context<'_>, to: &Arc<Open>, asked: Asked, input: &[u8]) -> Step {
    if asked.max < fsctl::CopyChunkResponse::LEN {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let Ok(request) = fsctl::CopyChunkCopy::decode(input) else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    if !within_limits(&request.chunks) {
        let limits = fsctl::CopyChunkResponse {
            chunks_written: MAX_CHUNKS,
            chunk_bytes_written: MAX_CHUNK,
            total_bytes_written: MAX_TOTAL,
        };
        return counts(asked, NtStatus::INVALID_PARAMETER, limits);
    }
    let Some(from) = source(cx, &request.source_key) else {
        return Step::Fail(NtStatus::OBJECT_NAME_NOT_FOUND);
    };
    let to = Arc::clone(to);
    let mut wanted = AccessMask::WRITE_DATA;
    if asked.code == fsctl::SRV_COPYCHUNK {
        wanted |= AccessMask::READ_DATA;
    }
    let readable = AccessMask::READ_DATA | AccessMask::EXECUTE;
    if !to.may(wanted) || !from.granted_access().intersects(readable) {
        return Step::Fail(NtStatus::ACCESS_DENIED);
    }
    if from.is_directory() || to.is_directory() {
        return Step::Fail(NtStatus::INVALID_DEVICE_REQUEST);
    }
    if request.chunks.is_empty() {
        return counts(
            asked,
            NtStatus::SUCCESS,
            fsctl::CopyChunkResponse::default(),
        );
    }
    let mut copy = Copy {
        asked,
        from,
        to,
        chunks: request.chunks.into_iter(),
        source_end: 0,
        done: fsctl::CopyChunkResponse::default(),
    };
    let stat = FsCall::Stat {
        open: Arc::clone(&copy.from),
    };
    Step::call(stat, move |_, result| match result {
        Ok(FsReply::Metadata(m)) => {
            copy.source_end = m.end_of_file;
            next(copy)
        }
        Ok(_) => Step::Fail(NtStatus::INTERNAL_ERROR),
        Err(error) => Step::Fail(status::of(error)),
    })
}

fn within_limits(chunks: &[fsctl::CopyChunk]) -> bool {
    let count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    let total: u64 = chunks.iter().map(|c| u64::from(c.length)).sum();
    count <= MAX_CHUNKS
        && total <= u64::from(MAX_TOTAL)
        && chunks.iter().all(|c| (1..=MAX_CHUNK).contains(&c.length))
}

/// The response with what was done so far.
fn counts(asked: Asked, status: NtStatus, counts: fsctl::CopyChunkResponse) -> Step {
    let mut out = Vec::with_capacity(fsctl::CopyChunkResponse::LEN);
    counts.encode(&mut countersign_wire::Writer::new(&mut out));
    asked.answer(status, &out)
}

/// Copies the next chunk, or answers.
fn next(mut copy: Copy) -> Step {
    let Some(chunk) = copy.chunks.next() else {
        return counts(copy.asked, NtStatus::SUCCESS, copy.done);
    };
    let length = u64::from(chunk.length);
    let inside = |offset: u64| {
        offset
            .checked_add(length)
            .filter(|end| i64::try_from(*end).is_ok())
    };
    let (Some(source_end), Some(_)) = (inside(chunk.source_offset), inside(chunk.target_offset))
    else {
        return counts(copy.asked, NtStatus::INVALID_PARAMETER, copy.done);
    };
    // [MS-SMB2] 3.3.5.15.6: a chunk must lie inside the source.
    if source_end > copy.source_end {
        return counts(copy.asked, NtStatus::INVALID_VIEW_SIZE, copy.done);
    }
    let call = FsCall::CopyRange {
        from: Arc::clone(&copy.from),
        from_offset: chunk.source_offset,
        to: Arc::clone(&copy.to),
        to_offset: chunk.target_offset,
        length,
    };
    Step::call(call, move |_, result| match result {
        Ok(FsReply::Written(n)) if n == length => {
            copy.done.chunks_written += 1;
            copy.done.total_bytes_written =
                copy.done.total_bytes_written.saturating_add(chunk.length);
            if Arc::ptr_eq(&copy.from, &copy.to) {
                copy.source_end = copy
                    .source_end
                    .max(chunk.target_offset.saturating_add(length));
            }
            next(copy)
        }
        Ok(FsReply::Written(n)) => {
            copy.done.chunk_bytes_written = u32::try_from(n).unwrap_or(0);
            counts(copy.asked, NtStatus::INVALID_VIEW_SIZE, copy.done)
        }
        Ok(_) => Step::Fail(NtStatus::INTERNAL_ERROR),
        Err(error) => counts(copy.asked, status::of(error), copy.done),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_told() {
        let chunk = |length| fsctl::CopyChunk {
            source_offset: 0,
            target_offset: 0,
            length,
        };
        assert!(within_limits(&[]));
        assert!(within_limits(&[chunk(MAX_CHUNK); 16]));
        assert!(!within_limits(&[chunk(MAX_CHUNK); 17]));
        assert!(!within_limits(&[chunk(MAX_CHUNK + 1)]));
        assert!(!within_limits(&[chunk(0)]));
        assert!(within_limits(&[chunk(1); 256]));
        assert!(!within_limits(&[chunk(1); 257]));
    }
}
