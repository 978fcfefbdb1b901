//! Causes of a wrong MAC in SMB1.

use std::sync::Arc;

use countersign_crypto::smb1::MacKey;

use super::{MAX_OTHERS, MAX_TAIL, NOT_SEARCHED, distance, restore, restoring};
use crate::check::Smb1Check;
use crate::fields::le16;
use crate::report::{Cause, Counted};
use crate::smb1::describe;
use crate::state::State;

/// Where the MAC is in the header.
const FIELD: core::ops::Range<usize> = 14..22;
/// Numbers before and after the right one that are tried.
pub(crate) const NEAR: u32 = 512;
/// Bytes that are hashed to try them.
const NEAR_BYTES: usize = 8 << 20;
/// Bits of a MAC that may differ for it to be the right one, changed.
const FEW_BITS: u32 = 8;

/// A MAC that is not right.
pub(crate) fn failed(state: &mut State, check: &Smb1Check) {
    let m: &[u8] = &check.message;
    let uid = u64::from(le16(m, 28).unwrap_or(0));
    let what = describe(m);
    if m.get(FIELD).is_some_and(|s| s.iter().all(|b| *b == 0)) {
        state.unsigned(check.session, "unsigned on a signed connection");
        let detail = "signing is active on this connection, the signature is zeros".to_owned();
        let (counted, cause) = (Counted::Unsigned, Cause::Unsigned);
        state.find(check.place, uid, what, counted, cause, detail);
        return;
    }
    let (cause, detail) = cause(state, check, m);
    state.bad(check.place, check.session, uid, what, cause, detail);
}

fn cause(state: &mut State, check: &Smb1Check, m: &[u8]) -> (Cause, String) {
    let (key, expected) = (&check.key, check.sequence);
    let mut own = m.to_vec();
    key.sign(expected, &mut own);
    let (got, want) = (
        m.get(FIELD).unwrap_or_default(),
        own.get(FIELD).unwrap_or_default(),
    );
    let bits = distance(got, want);
    if bits <= FEW_BITS {
        return (
            Cause::Altered,
            format!("the signature itself was changed: {bits} of its 64 bits differ"),
        );
    }
    // The numbers, the other keys, the ranges.
    let tries = u64::from(near(m)) * 2 + (MAX_OTHERS + MAX_TAIL) as u64;
    if !state.spend(tries * m.len() as u64) {
        return (Cause::NotSearched, NOT_SEARCHED.to_owned());
    }
    if let Some(number) = number(key, expected, m) {
        let off = i64::from(number) - i64::from(expected);
        let like = match off {
            ..0 => "a replayed or reordered message has a number that was used",
            _ => "messages before it were dropped, or the sender counts otherwise",
        };
        return (
            Cause::Sequence,
            format!("signed as number {number} where {expected} is due ({off:+}); {like}"),
        );
    }
    if let Some(cut) = (1..=MAX_TAIL.min(m.len().saturating_sub(33))).find(|cut| {
        m.get(..m.len() - cut)
            .is_some_and(|m| key.verify(expected, m).is_ok())
    }) {
        return (
            Cause::WrongRange,
            format!("the signature does not cover the last {cut} bytes of the message"),
        );
    }
    for (end, name) in blocks(m) {
        if m.get(..end)
            .is_some_and(|m| key.verify(expected, m).is_ok())
        {
            return (Cause::WrongRange, format!("the signature ends with {name}"));
        }
    }
    if let Some(id) = other_key(state, check, m) {
        return (
            Cause::WrongKey,
            format!("signed with the key of session 0x{id:x} of another connection"),
        );
    }
    if state.spend(restoring(m.len()))
        && let Some(change) = restore(m, FIELD, |m| key.verify(expected, m).is_ok())
    {
        return (Cause::Altered, change);
    }
    let works = state
        .sessions
        .get(check.owner)
        .is_some_and(|s| s.mac_verified > 0);
    if works {
        (
            Cause::Altered,
            "the key and the number are right for other messages of the connection: this one \
             was changed after it was signed, or made without the key"
                .to_owned(),
        )
    } else {
        (
            Cause::WrongKey,
            "no message of the connection verifies with the key of its logon".to_owned(),
        )
    }
}

/// How far from the number due is tried: less with long messages.
fn near(m: &[u8]) -> u32 {
    let affordable = NEAR_BYTES / m.len().max(1);
    u32::try_from(affordable).unwrap_or(NEAR).clamp(8, NEAR)
}

/// The number near the one due that the message was signed with.
fn number(key: &MacKey, expected: u32, m: &[u8]) -> Option<u32> {
    (1..=near(m))
        .flat_map(|d| [expected.checked_add(d), expected.checked_sub(d)])
        .flatten()
        .find(|n| key.verify(*n, m).is_ok())
}

/// Ends of the first blocks of a message: signers that forget the AndX chain.
fn blocks(m: &[u8]) -> Vec<(usize, &'static str)> {
    let mut out = vec![(32, "the header")];
    let words = m.get(32).map_or(0, |w| usize::from(*w) * 2);
    if let Some(bytes) = le16(m, 33 + words) {
        out.push((35 + words + usize::from(bytes), "the first block"));
        out.push((35 + words, "the first parameter words"));
    }
    out.retain(|(end, _)| *end >= 32 && *end < m.len());
    out
}

fn other_key(state: &State, check: &Smb1Check, m: &[u8]) -> Option<u64> {
    state
        .sessions
        .recent()
        .filter_map(|(_, s)| Some((s.id, s.mac.as_ref()?)))
        .filter(|(_, key)| !Arc::ptr_eq(key, &check.key))
        .take(MAX_OTHERS)
        .find(|(_, key)| {
            key.verify(check.sequence, m).is_ok() || number(key, check.sequence, m).is_some()
        })
        .map(|(id, _)| id)
}
