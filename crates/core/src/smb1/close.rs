//! [MS-CIFS] 3.3.5.7 CLOSE and 3.3.5.8 FLUSH.

use std::sync::Arc;

use countersign_fs::{FsCall, Open};
use countersign_wire::NtStatus;
use countersign_wire::smb1::Block;
use countersign_wire::smb1::files::{CloseWords, FlushWords};

use super::request::{Answer, Reply, Request, Stop, words_of};
use super::state::FileKind;

pub(super) async fn handle(cx: &mut Request, block: &Block<'_>) -> Answer {
    let words = words_of(block, &[3], CloseWords::decode)?;
    let time = cx.zone().from_utime(words.last_time_modified);
    close_fid(cx, words.fid, time).await?;
    Ok(Reply::empty())
}

/// Closes a FID.
pub(super) async fn close_fid(
    cx: &mut Request,
    fid: u16,
    last_write: Option<countersign_wire::FileTime>,
) -> Result<(), Stop> {
    let (fid, file) = cx.file_entry(fid)?;
    cx.shared.state.lock().remove_file(fid);
    if let FileKind::File(open) = file.kind {
        cx.call(FsCall::Close { open, last_write }).await?;
    }
    Ok(())
}

pub(super) async fn flush(cx: &mut Request, block: &Block<'_>) -> Answer {
    let words = words_of(block, &[1], FlushWords::decode)?;
    if words.fid != 0xFFFF {
        let (_, file) = cx.file_entry(words.fid)?;
        if let FileKind::File(open) = file.kind {
            cx.call(FsCall::Flush { open }).await?;
        }
        return Ok(Reply::empty());
    }
    // [MS-CIFS] 2.2.4.6.1: 0xFFFF is every file this process has open.
    let (uid, tid, pid) = (cx.header.uid, cx.header.tid, cx.header.pid());
    let opens: Vec<Arc<Open>> = {
        let state = cx.shared.state.lock();
        let own = state
            .files
            .values()
            .filter(|f| f.uid == uid && f.tid == tid && f.pid == pid);
        own.filter_map(|f| match &f.kind {
            FileKind::File(open) => Some(Arc::clone(open)),
            FileKind::Pipe(_) => None,
        })
        .collect()
    };
    for open in opens {
        match cx.call(FsCall::Flush { open }).await {
            // Files open for reading only have nothing to flush.
            Ok(_) | Err(countersign_fs::FsError::AccessDenied) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(Reply::empty().with_status(NtStatus::SUCCESS))
}
