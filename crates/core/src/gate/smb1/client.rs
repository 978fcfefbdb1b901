//! The client's gate of SMB1, [MS-CIFS] 3.2.5.1 and [MS-SMB] 3.2.4.2.4: what is
//! announced, numbers of requests, verification of replies, activation.
//!
//! One key and one counter belong to the connection. The key comes with the
//! first logon that is to be signed, and only if the final response proves it:
//! there is no way back to unsigned, and none around it.

use std::collections::HashMap;

use bytes::Bytes;
use countersign_crypto::smb1::{MacKey, SignJob, VerifyJob, sign_batch, verify_batch};
use countersign_policy::{
    CommandClass, Effective, Facts, Family, Identity, MessageFacts, MessageState, Moment,
    PeerFlags, Protection, Reason, SessionFacts, SessionMoment, Side, SignedSoFar, Verdict,
    verdict,
};
use countersign_wire::smb1::files::LockingAndx;
use countersign_wire::smb1::{
    Block, Command, Flags, Flags2, HEADER, Header, SIGNATURE, SIGNATURE_PLACEHOLDER, SecurityMode,
};

use crate::gate::Sealed;

/// MID of what a server sends unasked, [MS-CIFS] 3.3.4.2.
const UNSOLICITED: u16 = 0xFFFF;

/// Request and reply of one exchange have these in common, [MS-CIFS] 2.2.1.6.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Exchange {
    pid: u32,
    mid: u16,
}

impl Exchange {
    /// Of a message.
    pub(crate) fn of(header: &Header) -> Self {
        Self {
            pid: header.pid(),
            mid: header.mid,
        }
    }
}

/// What a request takes of the numbers, [MS-CIFS] 3.2.4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// One for itself and one for its replies.
    Two,
    /// The same, but no reply will come.
    TwoUnanswered,
    /// One: NT_CANCEL, which has no reply.
    One,
}

/// A request to be sealed.
pub(crate) struct Outgoing {
    buffer: Vec<u8>,
    start: usize,
    exchange: Exchange,
    takes: Takes,
}

impl Outgoing {
    /// The message that begins at `start` in `buffer`, with at least four bytes
    /// in front of it and room for the header, which is written here.
    pub(crate) fn new(header: &Header, buffer: Vec<u8>, start: usize, takes: Takes) -> Self {
        let mut out = Self {
            buffer,
            start,
            exchange: Exchange::of(header),
            takes,
        };
        let range = start..start.saturating_add(HEADER);
        if let Some(place) = out.buffer.get_mut(range) {
            place.copy_from_slice(&header.encode());
        }
        out
    }

    fn message(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn message_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.start..).unwrap_or_default()
    }
}

/// A message the gate let in. Only the gate makes one.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    /// Its header.
    pub(crate) header: Header,
    /// The whole message.
    pub(crate) message: Bytes,
}

/// A logon that the server says has succeeded.
pub(crate) struct Logon<'a> {
    /// Policy in force.
    pub(crate) policy: &'a Effective,
    /// Whom it came out as.
    pub(crate) identity: Identity,
    /// The session key, and what is appended to it without extended security.
    pub(crate) key: Option<(&'a [u8], &'a [u8])>,
    /// The final response.
    pub(crate) response: &'a Admitted,
}

/// A logon that policy accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Every message is signed from here on.
    pub(crate) signed: bool,
    /// Why.
    pub(crate) reason: Reason,
}

struct Active {
    key: MacKey,
    next: u32,
    facts: SessionFacts,
}

/// Signing of a client's connection.
#[derive(Default)]
pub(crate) struct Signing {
    peer: PeerFlags,
    announced: Flags2,
    /// Signing was agreed on: until there is a key, SESSION_SETUP carries the
    /// placeholder.
    pending: bool,
    /// A logon that is not signed.
    unsigned: Option<SessionFacts>,
    active: Option<Active>,
    /// Numbers the replies must have.
    awaited: HashMap<Exchange, u32>,
}

impl Signing {
    /// Whether everything is signed.
    pub(crate) fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// Flags2 of requests, as far as signing is concerned.
    pub(crate) fn flags2(&self) -> Flags2 {
        self.announced
    }

    /// What the server says about signing; nothing is yet known of it.
    pub(crate) fn begin(&mut self, policy: &Effective) {
        // Before the answer, only what our policy says alone can be announced.
        // A refusal is impossible without a peer; the answer is judged anyway.
        if let Ok(protection) = negotiate(policy, PeerFlags::default()) {
            self.announce(&protection);
        }
    }

    /// Judges the SecurityMode of the NEGOTIATE response.
    pub(crate) fn negotiated(
        &mut self,
        policy: &Effective,
        mode: SecurityMode,
    ) -> Result<(), Reason> {
        self.peer = PeerFlags {
            enabled: mode.contains(SecurityMode::SIGNATURES_ENABLED),
            required: mode.contains(SecurityMode::SIGNATURES_REQUIRED),
        };
        let protection = negotiate(policy, self.peer)?;
        self.announce(&protection);
        self.pending = protection.sign;
        Ok(())
    }

    fn announce(&mut self, protection: &Protection) {
        self.announced
            .set(Flags2::SECURITY_SIGNATURE, protection.announce_enabled);
        self.announced.set(
            Flags2::SECURITY_SIGNATURE_REQUIRED,
            protection.announce_required,
        );
    }

    /// Judges messages that have arrived, their signatures as one batch. Behind
    /// one that is refused nothing is looked at.
    pub(crate) fn receive(
        &self,
        frames: Vec<Bytes>,
        policy: &Effective,
    ) -> Vec<Result<Admitted, Reason>> {
        let headers: Vec<Option<Header>> = frames.iter().map(|f| Header::decode(f).ok()).collect();
        let states = self.states(&frames, &headers);
        let mut out = Vec::with_capacity(frames.len());
        for ((message, header), state) in frames.into_iter().zip(headers).zip(states) {
            let admission = match header {
                Some(header) => self
                    .admit(&header, &message, state, policy)
                    .map(|()| Admitted { header, message }),
                // What is no SMB1 message has no signature either.
                None => Err(Reason::BadSignature),
            };
            let refused = admission.is_err();
            out.push(admission);
            if refused {
                break;
            }
        }
        out
    }

    fn states(&self, frames: &[Bytes], headers: &[Option<Header>]) -> Vec<MessageState> {
        let Some(active) = &self.active else {
            return vec![MessageState::Unsigned; frames.len()];
        };
        let mut states = vec![MessageState::BadSignature; frames.len()];
        let (places, jobs): (Vec<usize>, Vec<VerifyJob<'_>>) = frames
            .iter()
            .zip(headers)
            .enumerate()
            .filter_map(|(place, (message, header))| {
                let sequence = *self.awaited.get(&Exchange::of(header.as_ref()?))?;
                Some((
                    place,
                    VerifyJob {
                        key: &active.key,
                        sequence,
                        message,
                    },
                ))
            })
            .unzip();
        for (place, result) in places.into_iter().zip(verify_batch(&jobs)) {
            if let (Ok(()), Some(state)) = (result, states.get_mut(place)) {
                *state = MessageState::Verified;
            }
        }
        states
    }

    fn admit(
        &self,
        header: &Header,
        message: &[u8],
        state: MessageState,
        policy: &Effective,
    ) -> Result<(), Reason> {
        let class = match header.command {
            _ if is_break(header, message) => CommandClass::Break,
            Command::NEGOTIATE => CommandClass::Negotiate,
            Command::SESSION_SETUP_ANDX => CommandClass::SessionSetup,
            Command::TREE_CONNECT_ANDX => CommandClass::TreeConnect,
            _ => CommandClass::Other,
        };
        let session = match &self.active {
            Some(active) => Some(&active.facts),
            None => self.unsigned.as_ref(),
        };
        let decision = verdict(&Facts {
            side: Side::Client,
            family: Family::Smb1,
            policy,
            exception: None,
            moment: Moment::Message(MessageFacts {
                request_signed: self.is_active(),
                ..MessageFacts::request(class, state, session)
            }),
        });
        match decision {
            Verdict::Accept(_) => Ok(()),
            other => Err(other.reason()),
        }
    }

    /// Policy's verdict on a logon. The first that is to be signed activates the
    /// key: its last request was number 0, its final response must be number 1.
    pub(crate) fn establish(&mut self, logon: &Logon<'_>) -> Result<Accepted, Reason> {
        let key = logon.key.map(|(key, tail)| MacKey::new(key, tail));
        let response = match (&self.active, &key) {
            // The gate let it in, so it was verified with the key in force.
            (Some(_), _) => MessageState::Verified,
            (None, Some(key)) if key.verify(1, &logon.response.message).is_ok() => {
                MessageState::Verified
            }
            (None, _) => match logon.response.header.signature {
                [0, 0, 0, 0, 0, 0, 0, 0] | SIGNATURE_PLACEHOLDER => MessageState::Unsigned,
                _ if key.is_none() => MessageState::SignedNoKey,
                _ => MessageState::BadSignature,
            },
        };
        let decision = verdict(&Facts {
            side: Side::Client,
            family: Family::Smb1,
            policy: logon.policy,
            exception: None,
            moment: Moment::Session(SessionMoment {
                identity: logon.identity,
                key: key.is_some(),
                peer: self.peer,
                established: self.active.as_ref().map(|_| true),
                response,
            }),
        });
        let protection = match decision {
            Verdict::Accept(protection) => protection,
            other => return Err(other.reason()),
        };
        let mut facts = SessionFacts {
            family: Family::Smb1,
            identity: logon.identity,
            key: false,
            required: false,
            encryption_required: false,
            signed_so_far: SignedSoFar::Nothing,
        };
        if protection.sign && self.active.is_none() {
            // Policy never lets a logon without a key be signed.
            let key = key.ok_or(Reason::NoKeyUnderRequired)?;
            facts.key = true;
            facts.required = true;
            self.active = Some(Active {
                key,
                next: 2,
                facts,
            });
            self.awaited.clear();
        } else if self.active.is_none() {
            self.unsigned = Some(facts);
        }
        Ok(Accepted {
            signed: self.is_active(),
            reason: protection.reason,
        })
    }

    /// An exchange is over: what still comes for it is a replay.
    pub(crate) fn forget(&mut self, exchange: Exchange) {
        self.awaited.remove(&exchange);
    }

    /// Numbers, signs (as one batch) and frames requests, in the order in which
    /// they leave. `None` for what is longer than a frame.
    pub(crate) fn seal(&mut self, mut requests: Vec<Outgoing>) -> Vec<Option<Sealed>> {
        match &mut self.active {
            None => {
                let pending = self.pending;
                for request in &mut requests {
                    let command = request.message().get(4).copied();
                    let placeholder = pending && command == Some(Command::SESSION_SETUP_ANDX);
                    let signature = if placeholder {
                        SIGNATURE_PLACEHOLDER
                    } else {
                        [0; 8]
                    };
                    if let Some(place) = request.message_mut().get_mut(SIGNATURE) {
                        place.copy_from_slice(&signature);
                    }
                }
            }
            Some(active) => {
                let mut jobs = Vec::with_capacity(requests.len());
                for request in &mut requests {
                    let sequence = active.next;
                    let step = match request.takes {
                        Takes::One => 1,
                        Takes::Two => {
                            let number = sequence.wrapping_add(1);
                            self.awaited.insert(request.exchange, number);
                            2
                        }
                        Takes::TwoUnanswered => 2,
                    };
                    active.next = sequence.wrapping_add(step);
                    jobs.push(SignJob {
                        key: &active.key,
                        sequence,
                        message: request.message_mut(),
                    });
                }
                sign_batch(&mut jobs);
            }
        }
        requests
            .into_iter()
            .map(|r| Sealed::frame(r.buffer, r.start))
            .collect()
    }
}

fn negotiate(policy: &Effective, peer: PeerFlags) -> Result<Protection, Reason> {
    let decision = verdict(&Facts {
        side: Side::Client,
        family: Family::Smb1,
        policy,
        exception: None,
        moment: Moment::Negotiate(peer),
    });
    match decision {
        Verdict::Accept(protection) => Ok(protection),
        other => Err(other.reason()),
    }
}

/// The one thing a server sends unasked, and never signs ([MS-CIFS] 3.2.5.42):
/// the break of an oplock, in exactly the shape it has.
fn is_break(header: &Header, message: &[u8]) -> bool {
    header.command == Command::LOCKING_ANDX
        && header.mid == UNSOLICITED
        && !header.flags.contains(Flags::REPLY)
        && Block::decode(message, Command::LOCKING_ANDX, HEADER)
            .and_then(|block| LockingAndx::decode(&block))
            .is_ok_and(|lock| {
                lock.kind
                    .contains(countersign_wire::smb1::files::LockType::OPLOCK_RELEASE)
                    && lock.locks.is_empty()
                    && lock.unlocks.is_empty()
            })
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]
mod tests {
    use super::*;
    use countersign_policy::{Setting, Settings, Value};
    use countersign_wire::smb1::MessageWriter;

    const KEY: &[u8] = b"0123456789abcdef";

    fn policy(always: bool, agrees: bool) -> Effective {
        let value = |v| if v { Value::Enabled } else { Value::Disabled };
        Effective::of(
            Settings::default()
                .with(Setting::ClientAlways, value(always))
                .with(Setting::ClientIfServerAgrees, value(agrees)),
        )
    }

    fn message(command: u8, mid: u16, flags: Flags) -> (Header, Vec<u8>) {
        let header = Header {
            command,
            flags,
            pid_low: 7,
            mid,
            ..Header::default()
        };
        let mut w = MessageWriter::new(4);
        w.block(command, false, &[], b"payload");
        (header, w.finish(&header.encode()))
    }

    fn request(command: u8, mid: u16, takes: Takes) -> Outgoing {
        let (header, buffer) = message(command, mid, Flags::empty());
        Outgoing::new(&header, buffer, 4, takes)
    }

    fn reply(command: u8, mid: u16, number: Option<u32>) -> Bytes {
        let (_, buffer) = message(command, mid, Flags::REPLY);
        let mut out = buffer[4..].to_vec();
        if let Some(number) = number {
            MacKey::new(KEY, &[]).sign(number, &mut out);
        }
        out.into()
    }

    fn admitted(message: Bytes) -> Admitted {
        Admitted {
            header: Header::decode(&message).unwrap(),
            message,
        }
    }

    fn logon(signing: &mut Signing, policy: &Effective, response: Bytes) -> Result<bool, Reason> {
        signing
            .establish(&Logon {
                policy,
                identity: Identity::User,
                key: Some((KEY, &[])),
                response: &admitted(response),
            })
            .map(|a| a.signed)
    }

    fn active(policy: &Effective) -> Signing {
        let mut signing = Signing::default();
        signing
            .negotiated(policy, SecurityMode::from_bits_retain(0x0F))
            .unwrap();
        let last = reply(Command::SESSION_SETUP_ANDX, 2, Some(1));
        assert_eq!(logon(&mut signing, policy, last), Ok(true));
        signing
    }

    #[test]
    fn the_table_of_both_sides() {
        // Rows: required, enabled, disabled; columns: 0x03, 0x07, 0x0F.
        let rows = [
            (policy(true, false), [Ok(true), Ok(true), Ok(true)]),
            (policy(false, true), [Ok(false), Ok(true), Ok(true)]),
            (
                policy(false, false),
                [Ok(false), Ok(false), Err(Reason::ServerRequiresWeCannot)],
            ),
        ];
        for (policy, row) in rows {
            for (mode, expected) in [0x03, 0x07, 0x0F].into_iter().zip(row) {
                let mut signing = Signing::default();
                let agreed = signing.negotiated(&policy, SecurityMode::from_bits_retain(mode));
                let last = reply(Command::SESSION_SETUP_ANDX, 2, Some(1));
                let got = agreed.and_then(|()| logon(&mut signing, &policy, last));
                assert_eq!(got, expected, "{mode:#x}");
            }
        }
    }

    #[test]
    fn an_unsigned_or_wrong_final_response_is_never_taken() {
        for policy in [policy(true, true), policy(false, true)] {
            for (response, reason) in [
                (
                    reply(Command::SESSION_SETUP_ANDX, 2, None),
                    Reason::FinalResponseUnsigned,
                ),
                (
                    reply(Command::SESSION_SETUP_ANDX, 2, Some(3)),
                    Reason::BadSignature,
                ),
            ] {
                let mut signing = Signing::default();
                signing
                    .negotiated(&policy, SecurityMode::from_bits_retain(0x07))
                    .unwrap();
                assert_eq!(logon(&mut signing, &policy, response), Err(reason));
                assert!(!signing.is_active());
            }
        }
    }

    #[test]
    fn the_placeholder_stands_until_there_is_a_key() {
        let policy = policy(true, true);
        let mut signing = Signing::default();
        signing
            .negotiated(&policy, SecurityMode::from_bits_retain(0x07))
            .unwrap();
        let sealed = signing.seal(vec![
            request(Command::SESSION_SETUP_ANDX, 1, Takes::Two),
            request(Command::ECHO, 2, Takes::Two),
        ]);
        let signature = |i: usize| sealed[i].as_ref().unwrap().bytes()[18..26].to_vec();
        assert_eq!(signature(0), SIGNATURE_PLACEHOLDER);
        assert_eq!(signature(1), [0; 8]);
    }

    #[test]
    fn numbers_of_requests_and_replies() {
        let policy = policy(true, true);
        let mut signing = active(&policy);
        let key = MacKey::new(KEY, &[]);
        let sealed = signing.seal(vec![
            request(Command::READ_ANDX, 10, Takes::Two),
            request(Command::NT_CANCEL, 10, Takes::One),
            request(Command::LOCKING_ANDX, 11, Takes::TwoUnanswered),
            request(Command::ECHO, 12, Takes::Two),
        ]);
        for (frame, number) in sealed.iter().zip([2, 4, 5, 7]) {
            let bytes = frame.as_ref().unwrap().bytes();
            assert!(key.verify(number, &bytes[4..]).is_ok(), "{number}");
        }
        // In any order; each with its own number, several times until it is forgotten.
        let got = signing.receive(
            vec![
                reply(Command::ECHO, 12, Some(8)),
                reply(Command::READ_ANDX, 10, Some(3)),
                reply(Command::ECHO, 12, Some(8)),
            ],
            &policy,
        );
        assert!(got.len() == 3 && got.iter().all(Result::is_ok));
        signing.forget(Exchange { pid: 7, mid: 12 });
        let again = signing.receive(vec![reply(Command::ECHO, 12, Some(8))], &policy);
        assert_eq!(again[0].as_ref().err(), Some(&Reason::BadSignature));
        // The oplock acknowledgement has no reply.
        let none = signing.receive(vec![reply(Command::LOCKING_ANDX, 11, Some(6))], &policy);
        assert!(none[0].is_err());
    }

    #[test]
    fn a_secondary_moves_the_number_of_the_answer() {
        let policy = policy(true, true);
        let mut signing = active(&policy);
        signing.seal(vec![request(Command::TRANSACTION2, 5, Takes::Two)]);
        let go_on = signing.receive(vec![reply(Command::TRANSACTION2, 5, Some(3))], &policy);
        assert!(go_on[0].is_ok());
        signing.seal(vec![
            request(Command::TRANSACTION2_SECONDARY, 5, Takes::Two),
            request(Command::TRANSACTION2_SECONDARY, 5, Takes::Two),
        ]);
        let old = signing.receive(vec![reply(Command::TRANSACTION2, 5, Some(3))], &policy);
        assert!(old[0].is_err());
        let last = signing.receive(vec![reply(Command::TRANSACTION2, 5, Some(7))], &policy);
        assert!(last[0].is_ok());
    }

    #[test]
    fn what_is_wrong_ends_the_batch() {
        let policy = policy(true, true);
        let mut signing = active(&policy);
        signing.seal(vec![
            request(Command::ECHO, 1, Takes::Two),
            request(Command::ECHO, 2, Takes::Two),
        ]);
        let mut altered = reply(Command::ECHO, 1, Some(3)).to_vec();
        altered[40] ^= 1;
        for bad in [
            altered.into(),
            reply(Command::ECHO, 1, None),
            reply(Command::ECHO, 1, Some(5)),
            Bytes::from_static(b"short"),
        ] {
            let got = signing.receive(vec![bad, reply(Command::ECHO, 2, Some(5))], &policy);
            assert_eq!(got.len(), 1);
            assert!(got[0].is_err());
        }
    }

    #[test]
    fn only_breaks_come_unsigned() {
        let policy = policy(true, true);
        let signing = active(&policy);
        let lock = LockingAndx {
            fid: 9,
            kind: countersign_wire::smb1::files::LockType::OPLOCK_RELEASE,
            oplock_level: 1,
            timeout: 0,
            unlocks: Vec::new(),
            locks: Vec::new(),
        };
        let make = |lock: &LockingAndx, flags, mid| {
            let (words, bytes) = lock.encode();
            let mut w = MessageWriter::new(0);
            w.block(Command::LOCKING_ANDX, true, &words, &bytes);
            let header = Header {
                command: Command::LOCKING_ANDX,
                flags,
                mid,
                ..Header::default()
            };
            Bytes::from(w.finish(&header.encode()))
        };
        let ok = |m: Bytes| signing.receive(vec![m], &policy)[0].is_ok();
        assert!(ok(make(&lock, Flags::empty(), UNSOLICITED)));
        assert!(!ok(make(&lock, Flags::REPLY, UNSOLICITED)));
        assert!(!ok(make(&lock, Flags::empty(), 5)));
        let other = LockingAndx {
            kind: Default::default(),
            ..lock
        };
        assert!(!ok(make(&other, Flags::empty(), UNSOLICITED)));
    }
}
