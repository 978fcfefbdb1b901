//! Causes of a wrong signature in SMB2.

use bytes::Bytes;
use countersign_crypto::SigningAlgorithm;
use countersign_crypto::smb2::{PreauthHash, Sender, SessionKeys, SigningKey};

use super::{MAX_OTHERS, MAX_TAIL, NOT_SEARCHED, distance, restore, restoring, tries};
use crate::check::Smb2Check;
use crate::fields::{le16, le64};
use crate::report::{Cause, session_name};
use crate::sessions::Channel;
use crate::smb2::{describe, is_cancel};
use crate::state::State;

/// Where the signature is in the header.
const FIELD: core::ops::Range<usize> = 48..64;
const MESSAGE_ID: core::ops::Range<usize> = 24..32;
/// MessageIds before and after a message's own that are tried.
pub(crate) const NEAR: u64 = 64;
/// Messages of a channel for which a fault in the exchange is looked for: the first
/// may have a fault of its own.
const EXCHANGE_SEARCHES: u8 = 2;
/// What deriving a key costs, in bytes that are hashed.
const KEY_WORK: u64 = 2048;
/// Bits of a signature that may differ for it to be the right one, changed.
const FEW_BITS: u32 = 16;

/// A signature that is not right.
pub(crate) fn failed(state: &mut State, check: &Smb2Check) {
    let m: &[u8] = &check.message;
    let id = state.sessions.get(check.session).map_or(0, |s| s.id);
    let received = m.get(FIELD).unwrap_or_default();
    if check.echo.is_some_and(|echo| echo == received) {
        let why = "error response that echoes the request's signature";
        state.unsigned(Some(check.session), why);
        return;
    }
    let (cause, detail) = cause(state, check, m);
    state.bad(
        check.place,
        Some(check.session),
        id,
        describe(m),
        cause,
        detail,
    );
}

fn algorithm_name(algorithm: SigningAlgorithm) -> &'static str {
    match algorithm {
        SigningAlgorithm::HmacSha256 => "HMAC-SHA256",
        SigningAlgorithm::AesCmac => "AES-128-CMAC",
        SigningAlgorithm::AesGmac => "AES-128-GMAC",
    }
}

fn cause(state: &mut State, check: &Smb2Check, m: &[u8]) -> (Cause, String) {
    let sender = check.place.sender();
    let key = &*check.key;
    let right = |m: &[u8]| key.verify(sender, m).is_ok();
    let mut own = m.to_vec();
    key.sign(sender, &mut own);
    let (got, want) = (
        m.get(FIELD).unwrap_or_default(),
        own.get(FIELD).unwrap_or_default(),
    );
    let bits = distance(got, want);
    if bits <= FEW_BITS {
        return (
            Cause::Altered,
            format!("the signature itself was changed: {bits} of its 128 bits differ"),
        );
    }
    if got.iter().all(|b| *b == 0) {
        return (
            Cause::Unsigned,
            "SMB2_FLAGS_SIGNED is set, the signature is zeros".to_owned(),
        );
    }
    let tries = 4 * NEAR + 2 * MAX_OTHERS as u64 + 2 * MAX_TAIL as u64;
    if !state.spend(tries * m.len() as u64) {
        return (Cause::NotSearched, NOT_SEARCHED.to_owned());
    }
    if let Some(found) = other_key(state, check, m)
        .or_else(|| other_algorithm(state, check, m))
        .or_else(|| range(check, m, &right))
        .or_else(|| nonce(key, sender, m))
        .or_else(|| message_id(m, &right))
    {
        return found;
    }
    if let Some(found) = exchange(state, check, m) {
        return found;
    }
    if state.spend(restoring(m.len()))
        && let Some(change) = restore(m, FIELD, right)
    {
        return (Cause::Altered, change);
    }
    let channel = state
        .sessions
        .get(check.session)
        .and_then(|s| s.channels.get(check.channel));
    let verified = channel.map_or(0, |c| c.verified);
    if verified > 0 {
        let detail = "the key is right for other messages of the session: this one was changed \
                      after it was signed, or made without the key";
        (Cause::Altered, detail.to_owned())
    } else if channel.is_some_and(|c| c.dialect >= 0x0311) {
        let detail = "no message verifies with the key of this logon: a NEGOTIATE or \
                      SESSION_SETUP message was changed on the way, or the key is another";
        (Cause::WrongKey, detail.to_owned())
    } else {
        let detail = "no message verifies with the key of this logon";
        (Cause::WrongKey, detail.to_owned())
    }
}

/// The key of another channel or session.
fn other_key(state: &State, check: &Smb2Check, m: &[u8]) -> Option<(Cause, String)> {
    let sender = check.place.sender();
    let own = state.sessions.get(check.session)?;
    let siblings = own.channels.iter().enumerate();
    for (_, channel) in siblings
        .filter(|(n, _)| *n != check.channel)
        .take(MAX_OTHERS)
    {
        if channel.key.verify(sender, m).is_ok() {
            let detail = format!(
                "signed with the session's key of its channel on connection {}",
                channel.connection
            );
            return Some((Cause::WrongKey, detail));
        }
    }
    let others = state.sessions.recent();
    for (_, session) in others.filter(|(n, _)| *n != check.session).take(MAX_OTHERS) {
        if session
            .channels
            .iter()
            .take(MAX_OTHERS)
            .any(|c| c.key.verify(sender, m).is_ok())
        {
            let detail = format!(
                "signed with the key of session {}",
                session_name(session.id)
            );
            return Some((Cause::WrongKey, detail));
        }
    }
    None
}

/// Another algorithm, or the key derivation of another dialect.
fn other_algorithm(state: &State, check: &Smb2Check, m: &[u8]) -> Option<(Cause, String)> {
    use SigningAlgorithm::{AesCmac, AesGmac, HmacSha256};
    let sender = check.place.sender();
    let channel = state
        .sessions
        .get(check.session)?
        .channels
        .get(check.channel)?;
    let due = check.key.algorithm();
    let all = [HmacSha256, AesCmac, AesGmac];
    let tries = |bytes: &[u8; 16]| {
        all.into_iter()
            .find(|a| SigningKey::new(*a, bytes).verify(sender, m).is_ok())
    };
    if let Some(used) = tries(&channel.bytes) {
        let detail = format!(
            "signed with {} where {} was agreed",
            algorithm_name(used),
            algorithm_name(due)
        );
        return Some((Cause::Algorithm, detail));
    }
    for (dialect, name) in [
        (0x0210u16, "the session key itself, as SMB 2.x does"),
        (0x0300, "the key of SMB 3.0's derivation"),
    ] {
        let keys = SessionKeys::derive(dialect, &channel.session_key, None, None).ok()?;
        if let Some(used) = tries(&keys.signing_key) {
            let detail = format!("signed with {} and {name}", algorithm_name(used));
            return Some((Cause::WrongKey, detail));
        }
    }
    None
}

/// A fault in the exchange that made the key of a 3.1.1 channel, with which nothing
/// verified yet. It is the same for all messages, so that it is not looked for again
/// and again.
fn exchange(state: &mut State, check: &Smb2Check, m: &[u8]) -> Option<(Cause, String)> {
    let session = state.sessions.get_mut(check.session)?;
    let channel = session.channels.get_mut(check.channel)?;
    if channel.verified > 0
        || channel.dialect < 0x0311
        || channel.exchange_searches >= EXCHANGE_SEARCHES
    {
        return None;
    }
    channel.exchange_searches += 1;
    let bytes: usize = channel.chain.iter().map(Bytes::len).sum();
    let each = (bytes as u64).saturating_add(KEY_WORK);
    let negotiation = channel.chain.iter().take(2).map(|m| tries(m.len()));
    let tries = negotiation.fold(2 * channel.chain.len() as u64, u64::saturating_add);
    if !state.spend(tries.saturating_mul(each)) {
        return None;
    }
    let session = state.sessions.get(check.session)?;
    let channel = session.channels.get(check.channel)?;
    hashed(channel, check, m).or_else(|| preauth(channel, check, m))
}

/// 3.1.1 with fewer messages in the hash than belong there.
fn hashed(channel: &Channel, check: &Smb2Check, m: &[u8]) -> Option<(Cause, String)> {
    for length in 0..channel.chain.len() {
        let hash = hash_of(channel.chain.iter().take(length));
        if verifies(channel, check, &hash, m) {
            let detail = format!(
                "the key's pre-authentication hash ends after {length} of {} messages",
                channel.chain.len()
            );
            return Some((Cause::WrongKey, detail));
        }
        let without = channel.chain.iter().enumerate();
        let hash = hash_of(without.filter(|(n, _)| *n != length).map(|(_, m)| m));
        if verifies(channel, check, &hash, m) {
            let detail = format!(
                "the key's pre-authentication hash leaves out `{}`",
                channel
                    .chain
                    .get(length)
                    .map(|m| describe(m))
                    .unwrap_or_default()
            );
            return Some((Cause::WrongKey, detail));
        }
    }
    None
}

fn hash_of<'a>(messages: impl Iterator<Item = &'a Bytes>) -> PreauthHash {
    let mut hash = PreauthHash::new();
    messages.for_each(|m| hash.update(m));
    hash
}

fn verifies(channel: &Channel, check: &Smb2Check, hash: &PreauthHash, m: &[u8]) -> bool {
    SessionKeys::derive(
        channel.dialect,
        &channel.session_key,
        Some(hash.value()),
        None,
    )
    .is_ok_and(|keys| {
        SigningKey::new(check.key.algorithm(), &keys.signing_key)
            .verify(check.place.sender(), m)
            .is_ok()
    })
}

/// More or fewer bytes than the message, or other flags than it has.
fn range(check: &Smb2Check, m: &[u8], right: &impl Fn(&[u8]) -> bool) -> Option<(Cause, String)> {
    for cut in 1..=MAX_TAIL.min(m.len().saturating_sub(64)) {
        if m.get(..m.len() - cut).is_some_and(right) {
            let padding = le64(m, 16).is_some_and(|f| f >> 32 != 0);
            let detail = if padding {
                format!(
                    "the signature does not cover the {cut} bytes of padding before the next part"
                )
            } else {
                format!("the signature does not cover the last {cut} bytes of the message")
            };
            return Some((Cause::WrongRange, detail));
        }
    }
    let rest = check.frame.get(check.offset..).unwrap_or_default();
    if rest.len() > m.len() {
        if right(rest) {
            let detail = "the signature covers the following parts of the compound, too";
            return Some((Cause::WrongRange, detail.to_owned()));
        }
        // Signed before NextCommand was filled in, with and without its padding.
        let mut alone = m.to_vec();
        if let Some(next) = alone.get_mut(20..24) {
            next.fill(0);
        }
        for cut in 0..8.min(m.len().saturating_sub(63)) {
            if alone.get(..m.len() - cut).is_some_and(right) {
                let detail = "signed before NextCommand of the compound was filled in";
                return Some((Cause::WrongRange, detail.to_owned()));
            }
        }
    }
    if m.len() > 64 && m.get(..64).is_some_and(right) {
        return Some((
            Cause::WrongRange,
            "the signature covers the header only".to_owned(),
        ));
    }
    let mut unflagged = m.to_vec();
    if let Some(flags) = unflagged.get_mut(16) {
        *flags &= !8;
    }
    right(&unflagged).then(|| {
        let detail = "signed before SMB2_FLAGS_SIGNED was set in the header";
        (Cause::WrongRange, detail.to_owned())
    })
}

/// Other nonces of AES-GMAC.
fn nonce(key: &SigningKey, sender: Sender, m: &[u8]) -> Option<(Cause, String)> {
    if key.algorithm() != SigningAlgorithm::AesGmac {
        return None;
    }
    let own = le64(m, MESSAGE_ID.start)?;
    let role = match (sender, is_cancel(m)) {
        (Sender::Server, _) => 1u32,
        (Sender::Client, true) => 2,
        (Sender::Client, false) => 0,
    };
    let build = |id: [u8; 8], role: [u8; 4]| -> [u8; 12] {
        let mut nonce = [0; 12];
        for (to, from) in nonce.iter_mut().zip(id.into_iter().chain(role)) {
            *to = from;
        }
        nonce
    };
    let plain = own.to_le_bytes();
    for other in 0..4u32 {
        let detail = match (other ^ role) & 3 {
            0 => continue,
            1 => "the nonce has the bit of the other side",
            2 => "the nonce has the bit of CANCEL wrong",
            _ => "the nonce has the bits of side and CANCEL wrong",
        };
        if key
            .verify_with_nonce(&build(plain, other.to_le_bytes()), m)
            .is_ok()
        {
            return Some((Cause::Nonce, detail.to_owned()));
        }
    }
    let odd = [
        (
            build([0; 8], role.to_le_bytes()),
            "the nonce has MessageId 0",
        ),
        (build([0; 8], [0; 4]), "the nonce is zeros"),
        (
            build(plain, role.to_be_bytes()),
            "the nonce has its bits in big-endian order",
        ),
        (
            build(own.to_be_bytes(), role.to_be_bytes()),
            "the nonce has the MessageId in big-endian order",
        ),
    ];
    for (nonce, detail) in odd {
        if key.verify_with_nonce(&nonce, m).is_ok() {
            return Some((Cause::Nonce, detail.to_owned()));
        }
    }
    let near = (1..=NEAR).flat_map(|d| [own.wrapping_add(d), own.wrapping_sub(d)]);
    for other in near {
        if key
            .verify_with_nonce(&build(other.to_le_bytes(), role.to_le_bytes()), m)
            .is_ok()
        {
            let detail = format!("the nonce has MessageId {other}, the header {own}");
            return Some((Cause::Nonce, detail));
        }
    }
    None
}

/// A MessageId that was changed after signing.
fn message_id(m: &[u8], right: &impl Fn(&[u8]) -> bool) -> Option<(Cause, String)> {
    let own = le64(m, MESSAGE_ID.start)?;
    let mut copy = m.to_vec();
    let near = (1..=NEAR).flat_map(|d| [own.wrapping_sub(d), own.wrapping_add(d)]);
    for other in near.chain([0]) {
        if let Some(field) = copy.get_mut(MESSAGE_ID) {
            field.copy_from_slice(&other.to_le_bytes());
        }
        if right(&copy) {
            let off = i128::from(own) - i128::from(other);
            let detail = format!("signed as MessageId {other}, sent as {own} ({off:+})");
            return Some((Cause::MessageId, detail));
        }
    }
    None
}

/// A NEGOTIATE message that was changed: bits of it are turned until the key that
/// follows is right.
fn preauth(channel: &Channel, check: &Smb2Check, m: &[u8]) -> Option<(Cause, String)> {
    for (place, message) in channel.chain.iter().enumerate().take(2) {
        if le16(message, 12) != Some(0) {
            continue;
        }
        let found = restore(message, 0..0, |changed| {
            let mut hash = PreauthHash::new();
            for (n, message) in channel.chain.iter().enumerate() {
                hash.update(if n == place { changed } else { message });
            }
            verifies(channel, check, &hash, m)
        });
        if let Some(change) = found {
            let name = describe(message);
            return Some((Cause::Altered, format!("{name}: {change}")));
        }
    }
    None
}
