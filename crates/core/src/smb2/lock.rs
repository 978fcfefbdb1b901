//! [MS-SMB2] 3.3.5.14 LOCK.

use countersign_fs::{FsCall, LockElement, LockKind, LockWait};
use countersign_wire::NtStatus;
use countersign_wire::smb2::{Capabilities, Lock, LockFlags, LockRequest, LockResponse, dialect};

use super::handler::{Context, Step};
use super::session::{OpenKind, SessionState};
use crate::status;

/// Largest LockSequenceIndex, [MS-SMB2] 3.3.5.14.
const MAX_SEQUENCE_INDEX: u32 = 64;

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    let Ok(request) = LockRequest::decode(cx.request.message()) else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    let Some(entry) = cx.open() else {
        return Step::Fail(NtStatus::FILE_CLOSED);
    };
    let OpenKind::File(open) = &entry.kind else {
        return Step::Fail(NtStatus::INVALID_DEVICE_REQUEST);
    };
    let number = u8::try_from(request.lock_sequence & 0xF).unwrap_or(0);
    let index = request.lock_sequence >> 4;
    let checked =
        cx.state.dialect() != dialect::SMB_2_0_2 && (1..=MAX_SEQUENCE_INDEX).contains(&index) && {
            // A client with several channels sends again what was lost with one.
            let channels = cx
                .state
                .negotiated()
                .is_some_and(|n| n.capabilities.contains(Capabilities::MULTI_CHANNEL));
            let state = entry.state.lock();
            channels || state.durable || state.resilient
        };
    if checked {
        let mut state = entry.state.lock();
        if state.lock_sequence.get(&index) == Some(&number) {
            // A replay of what was done.
            return Step::ok(|w| LockResponse.encode(w));
        }
        state.lock_sequence.remove(&index);
    }
    let unlock = request
        .locks
        .first()
        .is_some_and(|l| l.flags.contains(LockFlags::UNLOCK));
    let expired = cx
        .session()
        .is_some_and(|s| s.state() == SessionState::Expired);
    if expired && !unlock {
        return Step::Fail(NtStatus::NETWORK_SESSION_EXPIRED);
    }
    let plan = if unlock {
        unlocks(&request.locks)
    } else {
        locks(&request.locks)
    };
    let (elements, wait, then) = match plan {
        Ok(plan) => plan,
        Err(status) => return Step::Fail(status),
    };
    if elements.is_empty() {
        return Step::Fail(then);
    }
    let call = FsCall::Lock {
        open: open.clone(),
        elements,
        wait,
    };
    Step::call(call, move |_, result| match result {
        Err(error) => Step::Fail(status::of(error)),
        Ok(_) if then != NtStatus::SUCCESS => Step::Fail(then),
        Ok(_) => {
            if checked {
                entry.state.lock().lock_sequence.insert(index, number);
            }
            Step::ok(|w| LockResponse.encode(w))
        }
    })
}

/// What to ask of the file service, how to wait, and what is answered when it succeeds.
type Plan = (Vec<LockElement>, LockWait, NtStatus);

/// [MS-SMB2] 3.3.5.14.1: unlocks are done in order up to the first element that
/// is none.
fn unlocks(list: &[Lock]) -> Result<Plan, NtStatus> {
    let mut elements = Vec::with_capacity(list.len());
    for lock in list {
        if lock.flags != LockFlags::UNLOCK {
            return Ok((elements, LockWait::No, NtStatus::INVALID_PARAMETER));
        }
        elements.push(element(lock, LockKind::Unlock)?);
    }
    Ok((elements, LockWait::No, NtStatus::SUCCESS))
}

/// [MS-SMB2] 3.3.5.14.2: several locks at once must not wait.
fn locks(list: &[Lock]) -> Result<Plan, NtStatus> {
    let mut elements = Vec::with_capacity(list.len());
    let mut wait = LockWait::No;
    for lock in list {
        let at_once = lock.flags.contains(LockFlags::FAIL_IMMEDIATELY);
        let kind = match lock.flags.difference(LockFlags::FAIL_IMMEDIATELY) {
            LockFlags::SHARED_LOCK => LockKind::Shared,
            LockFlags::EXCLUSIVE_LOCK => LockKind::Exclusive,
            _ => return Err(NtStatus::INVALID_PARAMETER),
        };
        if !at_once {
            if list.len() > 1 {
                return Err(NtStatus::INVALID_PARAMETER);
            }
            wait = LockWait::Forever;
        }
        elements.push(element(lock, kind)?);
    }
    Ok((elements, wait, NtStatus::SUCCESS))
}

fn element(lock: &Lock, kind: LockKind) -> Result<LockElement, NtStatus> {
    // [MS-FSA] 2.1.5.8: the last byte must have an offset.
    if lock.length > 0 && lock.offset.checked_add(lock.length - 1).is_none() {
        return Err(NtStatus::INVALID_LOCK_RANGE);
    }
    Ok(LockElement {
        offset: lock.offset,
        length: lock.length,
        kind,
        owner: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(flags: u32) -> Lock {
        Lock {
            offset: 0,
            length: 1,
            flags: LockFlags::from_bits_retain(flags),
        }
    }

    #[test]
    fn one_lock_waits_several_must_not() {
        assert_eq!(locks(&[lock(2)]).unwrap().1, LockWait::Forever);
        assert_eq!(locks(&[lock(0x12)]).unwrap().1, LockWait::No);
        assert_eq!(locks(&[lock(0x11), lock(0x12)]).unwrap().0.len(), 2);
        assert_eq!(
            locks(&[lock(0x11), lock(2)]).unwrap_err(),
            NtStatus::INVALID_PARAMETER
        );
    }

    #[test]
    fn flags_that_make_no_sense_are_refused() {
        for flags in [0, 3, 0x10, 0x14, 0x20, 6] {
            assert_eq!(
                locks(&[lock(flags)]).unwrap_err(),
                NtStatus::INVALID_PARAMETER
            );
        }
        // What stands in front of a wrong unlock is unlocked nevertheless.
        let (elements, _, status) = unlocks(&[lock(4), lock(2)]).unwrap();
        assert_eq!((elements.len(), status), (1, NtStatus::INVALID_PARAMETER));
    }

    #[test]
    fn ranges_end_at_the_last_offset() {
        let at = |offset, length| {
            element(
                &Lock {
                    offset,
                    length,
                    ..lock(2)
                },
                LockKind::Shared,
            )
        };
        assert!(at(u64::MAX, 1).is_ok());
        assert!(at(u64::MAX, 0).is_ok());
        assert_eq!(at(u64::MAX, 2).unwrap_err(), NtStatus::INVALID_LOCK_RANGE);
        assert_eq!(at(2, u64::MAX).unwrap_err(), NtStatus::INVALID_LOCK_RANGE);
    }
}
