//! The gate of SMB1: numbers, signatures, admission, sealing.
//!
//! One key and one counter belong to the connection ([MS-CIFS] 3.3.1.3). The
//! key comes with the first logon that policy wants signed; from then on every
//! message is verified, whatever its flags say, and there is no way back.

pub(crate) mod client;

use bytes::Bytes;
use countersign_auth::SessionKey;
use countersign_crypto::smb1::{MacKey, SignJob, VerifyJob, sign_batch, verify_batch};
use countersign_policy::{
    CommandClass, Effective, Exception, Facts, Family, Identity, MessageFacts, MessageState,
    Moment, PeerFlags, Protection, Reason, SessionFacts, SessionMoment, Side, SignedSoFar, Verdict,
    verdict,
};
use countersign_wire::NtStatus;
use countersign_wire::smb1::{Command, Flags2, HEADER, Header, SIGNATURE, SIGNATURE_PLACEHOLDER};

use super::Sealed;

/// Bytes in front of a message for the transport header.
pub(crate) const FRAME_HEADROOM: usize = 4;

/// Signing of one connection.
#[derive(Default)]
pub(crate) struct Signing {
    active: Option<Active>,
    /// Signing was offered or asked for: until there is a key, SESSION_SETUP
    /// carries the placeholder.
    pending: bool,
}

struct Active {
    key: MacKey,
    next: u32,
    facts: SessionFacts,
}

/// The right to act on a message; carries the number of its reply. Only the
/// gate makes one.
pub(crate) struct Admitted {
    number: Option<u32>,
}

impl Admitted {
    /// The message came with a right signature.
    pub(crate) fn is_signed(&self) -> bool {
        self.number.is_some()
    }
}

/// What policy decided of a logon.
pub(crate) struct Accepted {
    /// To pin in the session.
    pub(crate) facts: SessionFacts,
    /// Why it is signed or not.
    pub(crate) reason: Reason,
    /// This logon activated signing: its reply is sealed with this instead of
    /// with what the request was admitted with.
    pub(crate) seal: Option<Admitted>,
}

/// A logon that policy refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogonRefused {
    /// What the client is told.
    pub(crate) status: NtStatus,
    /// Why.
    pub(crate) reason: Reason,
}

/// A logon that succeeded, for the policy to judge.
pub(crate) struct Logon<'a> {
    /// Policy in force.
    pub(crate) policy: &'a Effective,
    /// Who has logged on.
    pub(crate) identity: Identity,
    /// The key, and what is appended to it for logons without extended security.
    pub(crate) key: Option<(&'a SessionKey, &'a [u8])>,
    /// Flags2 of the request.
    pub(crate) flags2: Flags2,
    /// An exception that is for this peer.
    pub(crate) exception: Option<&'a Exception>,
}

/// What NEGOTIATE announces: signing is possible, signing is required.
pub(crate) fn announce(policy: &Effective, exception: Option<&Exception>) -> (bool, bool) {
    let decision = verdict(&Facts {
        side: Side::Server,
        family: Family::Smb1,
        policy,
        exception,
        moment: Moment::Negotiate(PeerFlags::default()),
    });
    match decision {
        Verdict::Accept(Protection {
            announce_enabled,
            announce_required,
            ..
        }) => (announce_enabled || announce_required, announce_required),
        // There is no refusal here; if there were one, insisting is the safe side.
        _ => (true, true),
    }
}

impl Signing {
    /// Whether a key is active.
    pub(crate) fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// Notes that NEGOTIATE offered signing.
    pub(crate) fn offered(&mut self, offered: bool) {
        self.pending |= offered;
    }

    /// Verifies messages that have arrived, as one batch, and gives each its
    /// number in the order of arrival. Behind one that is refused nothing is
    /// looked at.
    pub(crate) fn receive(
        &mut self,
        frames: &[Bytes],
        policy: &Effective,
    ) -> Vec<Result<Admitted, Reason>> {
        let Some(active) = &mut self.active else {
            return frames
                .iter()
                .map(|f| admit(f, MessageState::Unsigned, None, policy))
                .collect();
        };
        let mut next = active.next;
        let numbers: Vec<u32> = frames
            .iter()
            .map(|frame| {
                let number = next;
                // NT_CANCEL has no reply, so it takes one number only.
                let step = if command(frame) == Some(Command::NT_CANCEL) {
                    1
                } else {
                    2
                };
                next = next.wrapping_add(step);
                number
            })
            .collect();
        active.next = next;
        let jobs: Vec<VerifyJob<'_>> = frames
            .iter()
            .zip(&numbers)
            .map(|(message, sequence)| VerifyJob {
                key: &active.key,
                sequence: *sequence,
                message,
            })
            .collect();
        let results = verify_batch(&jobs);
        let facts = active.facts;
        let mut out = Vec::with_capacity(frames.len());
        for ((frame, number), result) in frames.iter().zip(numbers).zip(results) {
            let state = match result {
                Ok(()) => MessageState::Verified,
                Err(_) => MessageState::BadSignature,
            };
            let admission = admit(frame, state, Some(&facts), policy).map(|_| Admitted {
                number: Some(number.wrapping_add(1)),
            });
            let refused = admission.is_err();
            out.push(admission);
            if refused {
                break;
            }
        }
        out
    }

    /// Policy's verdict on a logon. The first that is to be signed activates
    /// the key: its request was number 0, its reply is number 1.
    pub(crate) fn establish(&mut self, logon: &Logon<'_>) -> Result<Accepted, LogonRefused> {
        let peer = PeerFlags {
            enabled: logon.flags2.contains(Flags2::SECURITY_SIGNATURE),
            required: logon.flags2.contains(Flags2::SECURITY_SIGNATURE_REQUIRED),
        };
        let decision = verdict(&Facts {
            side: Side::Server,
            family: Family::Smb1,
            policy: logon.policy,
            exception: logon.exception,
            moment: Moment::Session(SessionMoment {
                identity: logon.identity,
                key: logon.key.is_some(),
                peer,
                established: self.active.as_ref().map(|_| true),
                response: MessageState::Unsigned,
            }),
        });
        let protection = match decision {
            Verdict::Accept(protection) => protection,
            Verdict::Refuse { reason, .. }
            | Verdict::Ignore { reason }
            | Verdict::Disconnect { reason } => {
                return Err(LogonRefused {
                    status: NtStatus::ACCESS_DENIED,
                    reason,
                });
            }
        };
        let mut facts = SessionFacts {
            family: Family::Smb1,
            identity: logon.identity,
            key: self.active.is_some(),
            required: self.active.is_some(),
            encryption_required: false,
            signed_so_far: SignedSoFar::Nothing,
        };
        let mut seal = None;
        if protection.sign && self.active.is_none() {
            let Some((key, response)) = logon.key else {
                // Policy never lets a logon without a key be signed.
                return Err(LogonRefused {
                    status: NtStatus::ACCESS_DENIED,
                    reason: Reason::NoKeyUnderRequired,
                });
            };
            facts.key = true;
            facts.required = true;
            self.active = Some(Active {
                key: MacKey::new(key.as_bytes(), response),
                next: 2,
                facts,
            });
            seal = Some(Admitted { number: Some(1) });
        }
        Ok(Accepted {
            facts,
            reason: protection.reason,
            seal,
        })
    }

    /// Signs, as one batch, and frames messages; they leave in this order.
    pub(crate) fn seal(&self, mut messages: Vec<Outgoing>) -> Vec<Option<Sealed>> {
        for message in &mut messages {
            let placeholder = self.pending
                && message.number.is_none()
                && !message.unsolicited
                && command(message.message()) == Some(Command::SESSION_SETUP_ANDX);
            message.set_signature(if placeholder {
                SIGNATURE_PLACEHOLDER
            } else {
                [0; 8]
            });
        }
        if let Some(active) = &self.active {
            let mut jobs: Vec<SignJob<'_>> = messages
                .iter_mut()
                .filter_map(|m| {
                    let sequence = m.number?;
                    let message = m.buffer.get_mut(FRAME_HEADROOM..)?;
                    Some(SignJob {
                        key: &active.key,
                        sequence,
                        message,
                    })
                })
                .collect();
            sign_batch(&mut jobs);
        }
        messages
            .into_iter()
            .map(|m| Sealed::frame(m.buffer, FRAME_HEADROOM))
            .collect()
    }
}

fn admit(
    frame: &Bytes,
    state: MessageState,
    session: Option<&SessionFacts>,
    policy: &Effective,
) -> Result<Admitted, Reason> {
    let class = match command(frame) {
        Some(Command::NEGOTIATE) => CommandClass::Negotiate,
        Some(Command::SESSION_SETUP_ANDX) => CommandClass::SessionSetup,
        Some(Command::TREE_CONNECT | Command::TREE_CONNECT_ANDX) => CommandClass::TreeConnect,
        Some(Command::NT_CANCEL) => CommandClass::Cancel,
        _ => CommandClass::Other,
    };
    let decision = verdict(&Facts {
        side: Side::Server,
        family: Family::Smb1,
        policy,
        exception: None,
        moment: Moment::Message(MessageFacts::request(class, state, session)),
    });
    match decision {
        Verdict::Accept(_) => Ok(Admitted { number: None }),
        other => Err(other.reason()),
    }
}

fn command(message: &[u8]) -> Option<u8> {
    message.get(4).copied()
}

/// A message to be sealed.
pub(crate) struct Outgoing {
    /// [`FRAME_HEADROOM`] unused bytes, then the message.
    buffer: Vec<u8>,
    number: Option<u32>,
    unsolicited: bool,
}

impl Outgoing {
    /// The reply to an admitted request; several replies to one request have
    /// one number.
    pub(crate) fn reply(admitted: &Admitted, header: &Header, buffer: Vec<u8>) -> Self {
        let mut out = Self {
            buffer,
            number: admitted.number,
            unsolicited: false,
        };
        out.set_header(header);
        out
    }

    /// What the server sends unasked (oplock breaks): never signed, [MS-CIFS] 3.3.4.1.
    pub(crate) fn unsolicited(header: &Header, buffer: Vec<u8>) -> Self {
        let mut out = Self {
            buffer,
            number: None,
            unsolicited: true,
        };
        out.set_header(header);
        out
    }

    /// Bytes of the message.
    pub(crate) fn len(&self) -> usize {
        self.message().len()
    }

    fn message(&self) -> &[u8] {
        self.buffer.get(FRAME_HEADROOM..).unwrap_or_default()
    }

    fn set_header(&mut self, header: &Header) {
        if let Some(place) = self.buffer.get_mut(FRAME_HEADROOM..FRAME_HEADROOM + HEADER) {
            place.copy_from_slice(&header.encode());
        }
    }

    fn set_signature(&mut self, signature: [u8; 8]) {
        let range = FRAME_HEADROOM + SIGNATURE.start..FRAME_HEADROOM + SIGNATURE.end;
        if let Some(place) = self.buffer.get_mut(range) {
            place.copy_from_slice(&signature);
        }
    }
}
