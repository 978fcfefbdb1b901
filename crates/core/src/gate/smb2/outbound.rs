//! Frames that leave: joined, signed as one batch, encrypted.

use std::sync::Arc;

use countersign_crypto::smb2::{Sender, SignJob, TRANSFORM_HEADER, sign_batch};
use countersign_wire::NtStatus;
use countersign_wire::smb2::{HEADER_LEN, Header, HeaderFlags};

use super::super::Sealed;
use super::{Admitted, ChannelKey, FinalSeal, RefusalSeal, Seal, SessionSecrets};
use crate::smb2::handler::FRAME_HEADROOM;

/// Kinds of reply that differ in protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The last or only reply to a request.
    Final,
    /// STATUS_PENDING: not signed, since its MessageId is signed by the final
    /// reply ([MS-SMB2] 3.3.4.1.1).
    Interim,
}

/// A frame to be sealed: one reply, or those of a compound.
pub(crate) struct Outgoing {
    buffer: Vec<u8>,
    /// Where the first header begins in the buffer; `FRAME_HEADROOM` bytes at
    /// least are free before it.
    start: usize,
    parts: Vec<OutgoingPart>,
    encrypt: Option<Arc<SessionSecrets>>,
}

struct OutgoingPart {
    /// From the start of the first header.
    offset: usize,
    key: Option<ChannelKey>,
}

impl Outgoing {
    /// The reply to an admitted request. `body` is where the body begins in
    /// `buffer`, with room for the headers in front.
    pub(crate) fn reply(
        admitted: &Admitted,
        seal: Option<&FinalSeal>,
        kind: Kind,
        header: Header,
        buffer: Vec<u8>,
        body: usize,
    ) -> Self {
        let mut seal_with = admitted.seal.clone();
        if let Some(FinalSeal(key)) = seal {
            // [MS-SMB2] 3.3.5.5.3: the end of a logon is signed; a transform protects it as well.
            if seal_with.encrypt.is_none() {
                seal_with.sign = key.clone();
            }
        }
        Self::new(seal_with, kind, header, buffer, body)
    }

    /// The reply to a request that was not admitted. `header` still has the
    /// request's flag and signature. Where there is no key they go back as they
    /// came, as smbd sends them: clients that sign let such a failure
    /// (USER_SESSION_DELETED) pass by this alone, and it proves nothing.
    pub(crate) fn refusal(
        seal: &RefusalSeal,
        header: Header,
        buffer: Vec<u8>,
        body: usize,
    ) -> Self {
        let bare = seal.0.sign.is_none() && seal.0.encrypt.is_none();
        let mut out = Self::new(seal.0.clone(), Kind::Final, header, buffer, body);
        if bare && header.is_signed() && header.status == NtStatus::USER_SESSION_DELETED {
            let echo = header.to_bytes();
            if let Some(place) = out.buffer.get_mut(out.start..out.start + HEADER_LEN) {
                place.copy_from_slice(&echo);
            }
        }
        out
    }

    /// What the server sends unasked: neither signed nor encrypted
    /// ([MS-SMB2] 3.3.4.6, 3.3.4.7).
    pub(crate) fn notification(header: Header, buffer: Vec<u8>, body: usize) -> Self {
        Self::new(Seal::default(), Kind::Interim, header, buffer, body)
    }

    fn new(seal: Seal, kind: Kind, mut header: Header, mut buffer: Vec<u8>, body: usize) -> Self {
        let key = seal
            .sign
            .filter(|_| kind == Kind::Final && seal.encrypt.is_none() && header.session_id != 0);
        header.flags.set(HeaderFlags::SIGNED, key.is_some());
        header.signature = [0; 16];
        let mut body = body;
        if body < FRAME_HEADROOM + HEADER_LEN {
            let short = FRAME_HEADROOM + HEADER_LEN - body;
            buffer.splice(0..0, core::iter::repeat_n(0, short));
            body += short;
        }
        let start = body - HEADER_LEN;
        if let Some(place) = buffer.get_mut(start..body) {
            place.copy_from_slice(&header.to_bytes());
        }
        Self {
            buffer,
            start,
            parts: vec![OutgoingPart { offset: 0, key }],
            encrypt: seal.encrypt,
        }
    }

    /// One frame of several replies: each is padded to 8 bytes, the last too, as
    /// Windows does, and leads to the next. The transform is the first one's.
    pub(crate) fn join(replies: Vec<Outgoing>) -> Option<Self> {
        let mut replies = replies.into_iter();
        let mut joined = replies.next()?;
        for next in replies {
            joined.append(&next);
        }
        if joined.parts.len() > 1 {
            joined.pad();
        }
        Some(joined)
    }

    fn pad(&mut self) -> usize {
        let padded = (self.buffer.len() - self.start).next_multiple_of(8);
        self.buffer.resize(self.start + padded, 0);
        padded
    }

    fn append(&mut self, next: &Outgoing) {
        let last = self.parts.last().map_or(0, |p| p.offset);
        let padded = self.pad();
        let next_command = u32::try_from(padded - last).unwrap_or(0).to_le_bytes();
        let at = self.start + last + 20;
        if let Some(place) = self.buffer.get_mut(at..at + 4) {
            place.copy_from_slice(&next_command);
        }
        self.buffer
            .extend_from_slice(next.buffer.get(next.start..).unwrap_or_default());
        self.parts.extend(next.parts.iter().map(|p| OutgoingPart {
            offset: padded + p.offset,
            key: p.key.clone(),
        }));
    }

    /// Signs what is to be signed now, and gives the message as it will be on
    /// the wire: the pre-authentication hash covers signatures too.
    pub(crate) fn signed_message(&mut self) -> &[u8] {
        sign_batch(&mut self.jobs());
        for part in &mut self.parts {
            part.key = None;
        }
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn jobs(&mut self) -> Vec<SignJob<'_>> {
        let ends: Vec<usize> = self
            .parts
            .iter()
            .skip(1)
            .map(|p| p.offset)
            .chain([self.buffer.len().saturating_sub(self.start)])
            .collect();
        let mut rest = self.buffer.get_mut(self.start..).unwrap_or_default();
        let mut jobs = Vec::new();
        for (part, end) in self.parts.iter().zip(ends) {
            let length = end.saturating_sub(part.offset).min(rest.len());
            let (message, after) = rest.split_at_mut(length);
            rest = after;
            if let Some(key) = &part.key {
                jobs.push(SignJob {
                    key: &key.0,
                    sender: Sender::Server,
                    message,
                });
            }
        }
        jobs
    }

    fn finish(mut self) -> Result<Sealed, &'static str> {
        let mut message = self.start;
        if let Some(secrets) = &self.encrypt {
            let transform = secrets.transform.as_ref().ok_or("no cipher")?;
            message = message
                .checked_sub(TRANSFORM_HEADER)
                .ok_or("no room for a transform")?;
            let nonce = transform
                .nonces
                .next()
                .map_err(|_| "nonces are exhausted")?;
            let place = self
                .buffer
                .get_mut(message..)
                .ok_or("no room for a transform")?;
            transform
                .seal
                .seal_in_place(place, secrets.session, nonce)
                .map_err(|_| "encryption failed")?;
        }
        Sealed::frame(self.buffer, message).ok_or("frame is too long")
    }
}

/// Signs, as one batch, and encrypts frames; they leave in this order.
pub(crate) fn seal(mut frames: Vec<Outgoing>) -> Vec<Result<Sealed, &'static str>> {
    let mut jobs: Vec<SignJob<'_>> = frames.iter_mut().flat_map(Outgoing::jobs).collect();
    sign_batch(&mut jobs);
    drop(jobs);
    frames.into_iter().map(Outgoing::finish).collect()
}
