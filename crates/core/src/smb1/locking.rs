//! [MS-CIFS] 3.3.5.11, 3.3.5.12 and 3.3.5.30: byte-range locks and the
//! acknowledgment of oplock breaks.

use std::sync::Arc;

use countersign_fs::{FsCall, FsError, FsReply, LockElement, LockKind, LockWait, Open, Ticket};
use countersign_wire::NtStatus;
use countersign_wire::fscc::OplockLevel;
use countersign_wire::smb1::Block;
use countersign_wire::smb1::files::{LockByteRangeWords, LockType, LockingAndx, LockingRange};

use super::request::{Answer, Reply, Request, Stop, words_of};
use super::state::PendingLock;

pub(super) async fn locking_andx(cx: &mut Request, block: &Block<'_>) -> Answer {
    let request = LockingAndx::decode(block)?;
    let open = cx.file(request.fid)?;
    let nothing = request.locks.is_empty() && request.unlocks.is_empty();
    if request.kind.contains(LockType::OPLOCK_RELEASE) {
        let level = match request.oplock_level {
            1 => OplockLevel::LevelTwo,
            _ => OplockLevel::None,
        };
        let call = FsCall::AcknowledgeOplock {
            open: Arc::clone(&open),
            level,
        };
        let result = cx.call(call).await;
        if nothing {
            // An acknowledgment has no response, [MS-CIFS] 3.3.5.30.
            if let Err(error) = result {
                tracing::debug!(?error, "oplock acknowledgment without a break");
            }
            return Err(Stop::Silent);
        }
    }
    if request.kind.contains(LockType::CHANGE_LOCKTYPE) {
        return Err(Stop::Status(NtStatus::OS2_ATOMIC_LOCKS_NOT_SUPPORTED));
    }
    if request.kind.contains(LockType::CANCEL_LOCK) {
        return cancel(cx, &request);
    }
    let unlocks: Vec<LockElement> = request
        .unlocks
        .iter()
        .map(|r| element(r, LockKind::Unlock))
        .collect();
    if !unlocks.is_empty() {
        let call = FsCall::Lock {
            open: Arc::clone(&open),
            elements: unlocks,
            wait: LockWait::No,
        };
        cx.call(call).await?;
    }
    if request.locks.is_empty() {
        return Ok(Reply::empty());
    }
    let kind = if request.kind.contains(LockType::SHARED) {
        LockKind::Shared
    } else {
        LockKind::Exclusive
    };
    let elements: Vec<LockElement> = request.locks.iter().map(|r| element(r, kind)).collect();
    let first = elements.first().map_or(0, |e| e.offset);
    let wait = match request.timeout {
        0 => LockWait::No,
        u32::MAX => LockWait::Forever,
        ms => LockWait::Milliseconds(ms),
    };
    let fid = cx.fid(request.fid);
    let task = cx.task;
    if wait != LockWait::No {
        let (kind, ranges) = (request.kind, request.locks.clone());
        cx.shared.state.lock().pending_locks.push(PendingLock {
            task,
            fid,
            kind,
            ranges,
        });
    }
    let result = take(cx, &open, elements, wait).await;
    cx.shared
        .state
        .lock()
        .pending_locks
        .retain(|p| p.task != task);
    match result {
        Ok(_) => Ok(Reply::empty()),
        // A waiting lock that is given up was not granted.
        Err(FsError::Cancelled | FsError::Timeout) => {
            Err(Stop::Status(NtStatus::FILE_LOCK_CONFLICT))
        }
        Err(FsError::LockNotGranted) if wait != LockWait::No => {
            // Remembered like one that did not wait.
            not_granted(cx, request.fid, first);
            Err(Stop::Status(NtStatus::FILE_LOCK_CONFLICT))
        }
        Err(FsError::LockNotGranted) => {
            let status = not_granted(cx, request.fid, first);
            // Several ranges at once are never told which.
            let several = request.locks.len() > 1;
            Err(Stop::Status(if several {
                NtStatus::FILE_LOCK_CONFLICT
            } else {
                status
            }))
        }
        Err(FsError::FileClosed) if wait != LockWait::No => {
            Err(Stop::Status(NtStatus::RANGE_NOT_LOCKED))
        }
        Err(e) => Err(e.into()),
    }
}

/// Takes the locks of one request. Without waiting it is all or nothing at once;
/// a request that waits takes one lock after the other and keeps what it has
/// while it waits for the next, so that no later request overtakes it. What was
/// taken is given back when a later one is not granted.
async fn take(
    cx: &mut Request,
    open: &Arc<Open>,
    elements: Vec<LockElement>,
    wait: LockWait,
) -> Result<FsReply, FsError> {
    let at_once = wait == LockWait::No || elements.len() < 2;
    let groups: Vec<Vec<LockElement>> = if at_once {
        vec![elements]
    } else {
        elements.into_iter().map(|element| vec![element]).collect()
    };
    let begun = cx.monotonic();
    let mut taken: Vec<LockElement> = Vec::new();
    let mut result = Ok(FsReply::Done);
    for group in groups {
        let wait = match wait {
            LockWait::Milliseconds(all) => {
                let spent = cx.monotonic().saturating_sub(begun).as_millis();
                LockWait::Milliseconds(all.saturating_sub(u32::try_from(spent).unwrap_or(all)))
            }
            other => other,
        };
        let call = FsCall::Lock {
            open: Arc::clone(open),
            elements: group.clone(),
            wait,
        };
        result = cx.call(call).await;
        if result.is_err() {
            break;
        }
        taken.extend(group);
    }
    if result.is_err() && !taken.is_empty() {
        for element in &mut taken {
            element.kind = LockKind::Unlock;
        }
        let call = FsCall::Lock {
            open: Arc::clone(open),
            elements: taken,
            wait: LockWait::No,
        };
        if let Err(error) = cx.call(call).await {
            tracing::debug!(?error, "locks of a request that failed were gone already");
        }
    }
    result
}

/// Locks from here on (but for those with the top bit) always conflict.
const ALWAYS_CONFLICT: u64 = 0xEF00_0000;

/// The status of a lock that was not granted: a second try at the same place
/// through the same FID is told of a conflict, as Windows does.
fn not_granted(cx: &Request, fid: u16, offset: u64) -> NtStatus {
    let fid = cx.fid(fid);
    let mut state = cx.shared.state.lock();
    let known = match state.files.get_mut(&fid) {
        Some(file) => file.failed_lock.replace(offset) == Some(offset),
        None => false,
    };
    if known || (offset >= ALWAYS_CONFLICT && offset >> 63 == 0) {
        NtStatus::FILE_LOCK_CONFLICT
    } else {
        NtStatus::LOCK_NOT_GRANTED
    }
}

/// Locks or unlocks one range of this request's process at once.
pub(super) async fn lock_one(
    cx: &Request,
    fid: u16,
    open: Arc<countersign_fs::Open>,
    offset: u32,
    length: u32,
    kind: LockKind,
) -> Result<(), Stop> {
    let (offset, owner) = (u64::from(offset), cx.lock_owner());
    let element = LockElement {
        offset,
        length: u64::from(length),
        kind,
        owner,
    };
    match cx
        .call(FsCall::Lock {
            open,
            elements: vec![element],
            wait: LockWait::No,
        })
        .await
    {
        Ok(_) => Ok(()),
        Err(FsError::LockNotGranted) => Err(Stop::Status(not_granted(cx, fid, offset))),
        Err(e) => Err(e.into()),
    }
}

fn element(range: &LockingRange, kind: LockKind) -> LockElement {
    LockElement {
        offset: range.offset,
        length: range.length,
        kind,
        owner: u32::from(range.pid),
    }
}

/// CANCEL_LOCK: gives up a lock that waits for just these ranges.
fn cancel(cx: &Request, request: &LockingAndx) -> Answer {
    let fid = cx.fid(request.fid);
    // Size and sharing of the ranges must be the same.
    let told = LockType::LARGE_FILES | LockType::SHARED;
    let same = |kind: LockType| (kind ^ request.kind).intersection(told).is_empty();
    let tickets: Vec<Ticket> = {
        let state = cx.shared.state.lock();
        let tasks: Vec<u64> = state
            .pending_locks
            .iter()
            .filter(|p| {
                p.fid == fid
                    && request.locks.first().is_some_and(|l| p.ranges.contains(l))
                    && same(p.kind)
            })
            .map(|p| p.task)
            .collect();
        state
            .waiting
            .iter()
            .filter(|(_, t)| tasks.contains(t))
            .map(|(k, _)| *k)
            .collect()
    };
    if tickets.is_empty() {
        return Err(Stop::Status(NtStatus::OS2_CANCEL_VIOLATION));
    }
    for ticket in tickets {
        cx.shared.server.files.cancel(&cx.shared.sink, ticket);
    }
    Ok(Reply::empty())
}

async fn one(cx: &Request, w: LockByteRangeWords, kind: LockKind) -> Answer {
    let open = cx.file(w.fid)?;
    lock_one(cx, w.fid, open, w.offset, w.count_of_bytes, kind).await?;
    Ok(Reply::empty())
}

pub(super) async fn lock_byte_range(cx: &mut Request, block: &Block<'_>) -> Answer {
    let words = words_of(block, &[5], LockByteRangeWords::decode)?;
    one(cx, words, LockKind::Exclusive).await
}

pub(super) async fn unlock_byte_range(cx: &mut Request, block: &Block<'_>) -> Answer {
    let words = words_of(block, &[5], LockByteRangeWords::decode)?;
    one(cx, words, LockKind::Unlock).await
}
