//! A frame on its way out, of whichever side: one message or a chain of them,
//! each signed with its key, or all in one transform.

use std::sync::Arc;

use countersign_crypto::smb2::{Sender, SignJob, TRANSFORM_HEADER, sign_batch};
use countersign_wire::smb2::{HEADER_LEN, Header, HeaderFlags};

use super::super::Sealed;
use super::{ChannelKey, SessionSecrets};
use crate::smb2::handler::FRAME_HEADROOM;

/// Messages behind one another, with what their side keeps of each.
pub(super) struct Frame<T> {
    buffer: Vec<u8>,
    /// Where the first header begins in the buffer; `FRAME_HEADROOM` bytes at
    /// least are free before it.
    start: usize,
    parts: Vec<Part<T>>,
    encrypt: Option<Arc<SessionSecrets>>,
    sender: Sender,
}

struct Part<T> {
    /// From the start of the first header.
    offset: usize,
    /// What it is still to be signed with.
    key: Option<ChannelKey>,
    kept: T,
}

impl<T: Clone> Frame<T> {
    /// A message whose body begins at `body` in `buffer`, with room for the
    /// headers in front. The header's SIGNED flag is set as there is a key.
    pub(super) fn new(
        sender: Sender,
        key: Option<ChannelKey>,
        encrypt: Option<Arc<SessionSecrets>>,
        mut header: Header,
        mut buffer: Vec<u8>,
        mut body: usize,
        kept: T,
    ) -> Self {
        header.flags.set(HeaderFlags::SIGNED, key.is_some());
        header.signature = [0; 16];
        if body < FRAME_HEADROOM + HEADER_LEN {
            let short = FRAME_HEADROOM + HEADER_LEN - body;
            buffer.splice(0..0, core::iter::repeat_n(0, short));
            body += short;
        }
        let mut frame = Self {
            buffer,
            start: body - HEADER_LEN,
            parts: vec![Part {
                offset: 0,
                key,
                kept,
            }],
            encrypt,
            sender,
        };
        frame.set_first_header(&header);
        frame
    }

    /// Writes the first header as it is given.
    pub(super) fn set_first_header(&mut self, header: &Header) {
        if let Some(place) = self.buffer.get_mut(self.start..self.start + HEADER_LEN) {
            place.copy_from_slice(&header.to_bytes());
        }
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether it leaves in a transform.
    pub(super) fn is_encrypted(&self) -> bool {
        self.encrypt.is_some()
    }

    /// Another frame's messages behind these, at a multiple of 8 ([MS-SMB2]
    /// 3.2.4.1.4, 3.3.4.1.3). The transform stays that of the first.
    pub(super) fn append(&mut self, next: &Self) {
        let last = self.parts.last().map_or(0, |p| p.offset);
        let padded = self.pad();
        let next_command = u32::try_from(padded.saturating_sub(last)).unwrap_or(0);
        let at = self.start + last + 20;
        if let Some(place) = self.buffer.get_mut(at..at + 4) {
            place.copy_from_slice(&next_command.to_le_bytes());
        }
        self.buffer
            .extend_from_slice(next.buffer.get(next.start..).unwrap_or_default());
        self.parts.extend(next.parts.iter().map(|part| Part {
            offset: padded + part.offset,
            key: part.key.clone(),
            kept: part.kept.clone(),
        }));
    }

    /// Fills up to a multiple of 8; the length from the first header.
    pub(super) fn pad(&mut self) -> usize {
        let padded = self
            .buffer
            .len()
            .saturating_sub(self.start)
            .next_multiple_of(8);
        self.buffer.resize(self.start.saturating_add(padded), 0);
        padded
    }

    /// Signs what is to be signed now, and gives the message as it will be on
    /// the wire: the pre-authentication hash covers signatures too.
    pub(super) fn signed_message(&mut self) -> &[u8] {
        sign_batch(&mut self.jobs());
        for part in &mut self.parts {
            part.key = None;
        }
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// What is still to be signed.
    pub(super) fn jobs(&mut self) -> Vec<SignJob<'_>> {
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
                    sender: self.sender,
                    message,
                });
            }
        }
        jobs
    }

    /// What is kept of each message, with its signature. For after signing.
    pub(super) fn signatures(&self) -> impl Iterator<Item = (&T, [u8; 16])> {
        self.parts.iter().map(|part| {
            let at = self.start + part.offset + 48;
            let mut signature = [0; 16];
            if let Some(bytes) = self.buffer.get(at..at + 16) {
                signature.copy_from_slice(bytes);
            }
            (&part.kept, signature)
        })
    }

    /// Encrypts what is to be encrypted. For after signing.
    pub(super) fn finish(mut self) -> Result<Sealed, &'static str> {
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
