//! The gate: the one place where messages are decrypted, verified, signed and
//! encrypted, and the only caller of [`countersign_policy`]'s verdict.
//!
//! Three moments: negotiate (what is offered), session (what a logon leads to)
//! and message (whether one request may be carried out). What the gate lets in
//! is an [`smb2::Admitted`] value, which carries the protection its reply must
//! have; what leaves is a [`Sealed`] frame. Nothing else can make either, so a
//! handler can neither act on an unverified request nor forget to sign.

use std::sync::Arc;

use countersign_policy::{
    Effective, Exception, Facts, Moment, Reason, SessionFacts, ShareMoment, Side, Verdict,
    exception_for_share, verdict,
};

use crate::config::ServerConfig;

pub(crate) mod smb1;
pub mod smb2;

/// What a session under exceptions gets of a share.
pub(crate) enum ShareGrant {
    /// What everybody gets.
    Plain,
    /// Its requests may come unsigned, within the exception's limits.
    Excepted(Arc<Exception>),
    /// No exception names it: every request must be signed or encrypted.
    Protected,
    /// Nothing.
    Refused(Option<Arc<Exception>>),
}

/// Policy's verdict on a share that a session under exceptions asks for. `signs`: the
/// request came protected, and no request came in clear so far.
pub(crate) fn share(
    policy: &Effective,
    facts: &SessionFacts,
    exceptions: &[Arc<Exception>],
    (name, ipc): (&str, bool),
    signs: bool,
) -> ShareGrant {
    if exceptions.is_empty() || facts.required || facts.encryption_required {
        return ShareGrant::Plain;
    }
    let exception = exception_for_share(exceptions, name, ipc);
    let judge = |protected| {
        verdict(&Facts {
            side: Side::Server,
            family: facts.family,
            policy,
            exception: exception.map(|one| &**one),
            moment: Moment::Share(ShareMoment {
                name,
                ipc,
                protected,
            }),
        })
    };
    match (judge(false), exception) {
        (Verdict::Accept(protection), Some(one)) if protection.reason == Reason::Exception => {
            return ShareGrant::Excepted(Arc::clone(one));
        }
        (Verdict::Accept(_), _) => return ShareGrant::Plain,
        _ => {}
    }
    match judge(signs) {
        Verdict::Accept(_) => ShareGrant::Protected,
        _ => ShareGrant::Refused(exception.cloned()),
    }
}

/// Whether the exceptions that let an unsigned session in still do.
pub(crate) fn exceptions_hold(
    config: &ServerConfig,
    exceptions: &[Arc<Exception>],
    now: u64,
) -> bool {
    !config.policy.server_requires()
        || exceptions
            .iter()
            .all(|one| config.exceptions.still_has(one, now) && config.policy.exceptions_allowed())
}

/// A frame ready to be sent: transport header, then the protected message.
/// Only the gate makes one.
pub struct Sealed {
    buffer: Vec<u8>,
    start: usize,
}

impl Sealed {
    /// Puts the 4-byte transport header in front of the message that begins at
    /// `message` in `buffer` (at least 4 bytes are free there).
    fn frame(mut buffer: Vec<u8>, message: usize) -> Option<Self> {
        let length = u32::try_from(buffer.len().checked_sub(message)?).ok()?;
        let start = message.checked_sub(4)?;
        if length > 0x00FF_FFFF {
            return None;
        }
        buffer
            .get_mut(start..message)?
            .copy_from_slice(&length.to_be_bytes());
        Some(Self { buffer, start })
    }

    /// The whole frame.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// The buffer and where the frame begins in it.
    pub fn into_parts(self) -> (Vec<u8>, usize) {
        (self.buffer, self.start)
    }
}

impl core::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Sealed({} bytes)", self.bytes().len())
    }
}
