//! Reading, writing and seeking: [MS-CIFS] 3.3.5.13, 3.3.5.14, 3.3.5.19 to
//! 3.3.5.21, 3.3.5.34, 3.3.5.36, 3.3.5.37 and [MS-SMB] 3.3.5.7, 3.3.5.8.

use std::sync::Arc;

use countersign_fs::{FsCall, FsError, FsReply, LockKind, Open};
use countersign_wire::NtStatus;
use countersign_wire::smb1::block::byte_count;
use countersign_wire::smb1::files as wire;
use countersign_wire::smb1::{Block, Flags2};

use super::close::close_fid;
use super::locking::lock_one;
use super::pipe;
use super::request::{Answer, READ_HEADROOM, Reply, Request, Stop, words_of};
use super::state::FileKind;

/// Most bytes one READ_ANDX gives: what a 17-bit frame can carry with its header.
pub(super) const MAX_READ: u32 = 0x1_FF00;

pub(super) async fn read_andx(cx: &mut Request, block: &Block<'_>) -> Answer {
    let read = wire::ReadAndx::decode(block)?;
    let (_, file) = cx.file_entry(read.fid)?;
    let open = match file.kind {
        FileKind::File(open) => open,
        FileKind::Pipe(pipe) => return pipe::read_andx(cx, &pipe, read.max_count).await,
    };
    if open.is_directory() {
        return Err(Stop::Status(NtStatus::INVALID_DEVICE_REQUEST));
    }
    let length = read.max_count.min(MAX_READ);
    let buffer = read_data(cx, open, read.offset, length, READ_HEADROOM).await?;
    let count = buffer.len().saturating_sub(READ_HEADROOM);
    let data_offset = cx.bytes_start(12) + 1;
    Ok(Reply {
        payload: Some(buffer),
        ..Reply::words(read_andx_words(count, data_offset))
    })
}

/// Words of a READ_ANDX response.
pub(super) fn read_andx_words(count: usize, data_offset: usize) -> Vec<u8> {
    wire::ReadAndxResponseWords {
        available: 0xFFFF,
        data_compaction_mode: 0,
        reserved1: 0,
        data_length: byte_count(count),
        data_offset: byte_count(data_offset),
        data_length_high: u16::try_from(count >> 16).unwrap_or(0),
        reserved2: [0; 8],
    }
    .to_vec()
}

/// Reads; at and behind the end there is nothing, which is no error.
async fn read_data(
    cx: &Request,
    open: Arc<Open>,
    offset: u64,
    length: u32,
    headroom: usize,
) -> Result<Vec<u8>, Stop> {
    let call = FsCall::Read {
        open,
        offset,
        length,
        minimum: 0,
        headroom,
        lock_owner: cx.lock_owner(),
        execute: cx.header.flags2.contains(Flags2::PAGING_IO),
    };
    match cx.call(call).await {
        Ok(FsReply::Data {
            mut buffer,
            headroom: start,
        }) => {
            if start != headroom {
                let data = buffer.split_off(start.min(buffer.len()));
                buffer = vec![0; headroom];
                buffer.extend_from_slice(&data);
            }
            Ok(buffer)
        }
        Ok(_) => Err(Stop::Status(NtStatus::INTERNAL_ERROR)),
        Err(FsError::EndOfFile) => Ok(vec![0; headroom]),
        Err(e) => Err(e.into()),
    }
}

async fn write_data(
    cx: &Request,
    open: Arc<Open>,
    offset: u64,
    data: &[u8],
    write_through: bool,
) -> Result<u64, Stop> {
    let call = FsCall::Write {
        open,
        offset,
        data: cx.slice(data),
        write_through,
        lock_owner: cx.lock_owner(),
    };
    match cx.call(call).await? {
        FsReply::Written(n) => Ok(n),
        _ => Err(Stop::Status(NtStatus::INTERNAL_ERROR)),
    }
}

pub(super) async fn write_andx(cx: &mut Request, block: &Block<'_>) -> Answer {
    let write = wire::WriteAndx::decode(block)?;
    let (_, file) = cx.file_entry(write.fid)?;
    let written = match file.kind {
        FileKind::Pipe(pipe) => pipe::write(cx, &pipe, write.data, write.mode)?,
        FileKind::File(open) if write.data.is_empty() => {
            if !open.may(countersign_wire::fscc::AccessMask::WRITE_DATA)
                && !open.may(countersign_wire::fscc::AccessMask::APPEND_DATA)
            {
                return Err(Stop::Status(NtStatus::ACCESS_DENIED));
            }
            0
        }
        FileKind::File(open) => {
            let through = write.mode & wire::WRITE_THROUGH != 0;
            write_data(cx, open, write.offset, write.data, through).await?
        }
    };
    let [c0, c1, c2, c3, ..] = written.to_le_bytes();
    let words = wire::WriteAndxResponseWords {
        count: u16::from_le_bytes([c0, c1]),
        available: 0xFFFF,
        count_high: u16::from_le_bytes([c2, c3]),
        reserved: 0,
    };
    Ok(Reply::words(words.to_vec()))
}

/// Most bytes a core READ gives: what the negotiated buffer takes.
fn core_read_limit(cx: &Request) -> u32 {
    cx.config.limits.smb1_buffer.saturating_sub(64)
}

fn core_read_reply(buffer: &[u8]) -> Reply {
    let count = byte_count(buffer.len());
    let words = wire::ReadResponseWords {
        count_of_bytes_returned: count,
        reserved: [0; 8],
    }
    .to_vec();
    let mut bytes = vec![1];
    bytes.extend(count.to_le_bytes());
    bytes.extend_from_slice(buffer);
    Reply::new(words, bytes)
}

pub(super) async fn read(cx: &mut Request, block: &Block<'_>) -> Answer {
    let w = words_of(block, &[5], wire::ReadWords::decode)?;
    let (_, file) = cx.file_entry(w.fid)?;
    let length = u32::from(w.count_of_bytes_to_read).min(core_read_limit(cx));
    let buffer = match file.kind {
        FileKind::Pipe(pipe) => pipe::read(cx, &pipe, length).await?,
        FileKind::File(open) if open.is_directory() => {
            return Err(Stop::Status(NtStatus::INVALID_DEVICE_REQUEST));
        }
        FileKind::File(open) => read_data(cx, open, u64::from(w.read_offset), length, 0).await?,
    };
    Ok(core_read_reply(&buffer))
}

pub(super) async fn lock_and_read(cx: &mut Request, block: &Block<'_>) -> Answer {
    let w = words_of(block, &[5], wire::ReadWords::decode)?;
    let open = cx.file(w.fid)?;
    let count = u32::from(w.count_of_bytes_to_read);
    lock_one(
        cx,
        w.fid,
        Arc::clone(&open),
        w.read_offset,
        count,
        LockKind::Exclusive,
    )
    .await?;
    let length = u32::from(w.count_of_bytes_to_read).min(core_read_limit(cx));
    let buffer = read_data(cx, open, u64::from(w.read_offset), length, 0).await?;
    Ok(core_read_reply(&buffer))
}

/// The write of WRITE, WRITE_AND_UNLOCK and WRITE_AND_CLOSE.
async fn core_write(
    cx: &Request,
    fid: u16,
    offset: u32,
    data: &[u8],
) -> Result<(u16, Option<Arc<Open>>), Stop> {
    let (_, file) = cx.file_entry(fid)?;
    let open = match file.kind {
        FileKind::Pipe(pipe) => {
            let n = pipe::write(cx, &pipe, data, 0)?;
            return Ok((u16::try_from(n).unwrap_or(u16::MAX), None));
        }
        FileKind::File(open) => open,
    };
    let written = write_data(cx, Arc::clone(&open), u64::from(offset), data, false).await?;
    Ok((u16::try_from(written).unwrap_or(u16::MAX), Some(open)))
}

fn count_words(count_of_bytes_written: u16) -> Vec<u8> {
    wire::WriteResponseWords {
        count_of_bytes_written,
    }
    .to_vec()
}

pub(super) async fn write(cx: &mut Request, block: &Block<'_>) -> Answer {
    let w = words_of(block, &[5], wire::WriteWords::decode)?;
    let data = wire::decode_write_data(block, w.count_of_bytes_to_write)?;
    if data.is_empty() {
        // [MS-CIFS] 2.2.4.12: no bytes set the file's length to the offset.
        if let FileKind::File(open) = cx.file_entry(w.fid)?.1.kind {
            cx.call(FsCall::SetEndOfFile {
                open,
                size: u64::from(w.write_offset),
            })
            .await?;
        }
        return Ok(Reply::words(count_words(0)));
    }
    let (count, _) = core_write(cx, w.fid, w.write_offset, data).await?;
    Ok(Reply::words(count_words(count)))
}

pub(super) async fn write_and_unlock(cx: &mut Request, block: &Block<'_>) -> Answer {
    let w = words_of(block, &[5], wire::WriteWords::decode)?;
    let data = wire::decode_write_data(block, w.count_of_bytes_to_write)?;
    let (count, open) = if data.is_empty() {
        (0, Some(cx.file(w.fid)?))
    } else {
        core_write(cx, w.fid, w.write_offset, data).await?
    };
    if let Some(open) = open.filter(|_| w.count_of_bytes_to_write > 0) {
        let count = u32::from(w.count_of_bytes_to_write);
        lock_one(cx, w.fid, open, w.write_offset, count, LockKind::Unlock).await?;
    }
    Ok(Reply::words(count_words(count)))
}

pub(super) async fn write_and_close(cx: &mut Request, block: &Block<'_>) -> Answer {
    let w = words_of(block, &[6, 12], wire::WriteAndCloseWords::decode)?;
    let data = wire::decode_write_and_close_data(block, w.count_of_bytes_to_write)?;
    if data.is_empty() {
        // As Windows 2000: nothing written leaves the file open.
        cx.file(w.fid)?;
        return Ok(Reply::words(count_words(0)));
    }
    let (count, _) = core_write(cx, w.fid, w.write_offset, data).await?;
    let time = cx.zone().from_utime(w.last_write_time);
    close_fid(cx, w.fid, time).await?;
    Ok(Reply::words(count_words(count)))
}

pub(super) async fn seek(cx: &mut Request, block: &Block<'_>) -> Answer {
    let w = words_of(block, &[4], wire::SeekWords::decode)?;
    let (fid, file) = cx.file_entry(w.fid)?;
    let FileKind::File(open) = file.kind else {
        return Err(Stop::Status(NtStatus::INVALID_DEVICE_REQUEST));
    };
    let base = match w.mode {
        0 => 0,
        1 => file.position,
        2 => match cx.call(FsCall::Stat { open }).await? {
            FsReply::Metadata(m) => m.end_of_file,
            _ => return Err(Stop::Status(NtStatus::INTERNAL_ERROR)),
        },
        _ => return Err(Stop::Status(NtStatus::OS2_INVALID_ACCESS)),
    };
    // A position before the start is the start, one beyond 32 bits begins again
    // from there. With mode 0 the offset has no sign: only so can a DOS program
    // reach beyond 2 GiB.
    let position = if w.mode == 0 {
        u64::from(u32::from_le_bytes(w.offset.to_le_bytes()))
    } else {
        base.saturating_add_signed(i64::from(w.offset)) & u64::from(u32::MAX)
    };
    let mut state = cx.shared.state.lock();
    if let Some(f) = state.files.get_mut(&fid) {
        f.position = position;
    }
    drop(state);
    let offset = u32::try_from(position).unwrap_or(u32::MAX);
    Ok(Reply::words(wire::SeekResponseWords { offset }.to_vec()))
}
