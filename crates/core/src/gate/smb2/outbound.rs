//! Frames that leave: joined, signed as one batch, encrypted.

use countersign_crypto::smb2::{Sender, SignJob, sign_batch};
use countersign_wire::NtStatus;
use countersign_wire::smb2::Header;

use super::super::Sealed;
use super::frame::Frame;
use super::{Admitted, FinalSeal, RefusalSeal, Seal};

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
pub(crate) struct Outgoing(Frame<()>);

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
            out.0.set_first_header(&header);
        }
        out
    }

    /// What the server sends unasked: neither signed nor encrypted
    /// ([MS-SMB2] 3.3.4.6, 3.3.4.7).
    pub(crate) fn notification(header: Header, buffer: Vec<u8>, body: usize) -> Self {
        Self::new(Seal::default(), Kind::Interim, header, buffer, body)
    }

    fn new(seal: Seal, kind: Kind, header: Header, buffer: Vec<u8>, body: usize) -> Self {
        let key = seal
            .sign
            .filter(|_| kind == Kind::Final && seal.encrypt.is_none() && header.session_id != 0);
        let sender = Sender::Server;
        Self(Frame::new(
            sender,
            key,
            seal.encrypt,
            header,
            buffer,
            body,
            (),
        ))
    }

    /// One frame of several replies: each is padded to 8 bytes, the last too, as
    /// Windows does, and leads to the next. The transform is the first one's.
    pub(crate) fn join(replies: Vec<Outgoing>) -> Option<Self> {
        let mut replies = replies.into_iter();
        let mut joined = replies.next()?;
        for next in replies {
            joined.0.append(&next.0);
        }
        if joined.0.len() > 1 {
            joined.0.pad();
        }
        Some(joined)
    }

    /// Signs what is to be signed now, and gives the message as it will be on
    /// the wire: the pre-authentication hash covers signatures too.
    pub(crate) fn signed_message(&mut self) -> &[u8] {
        self.0.signed_message()
    }
}

/// Signs, as one batch, and encrypts frames; they leave in this order.
pub(crate) fn seal(mut frames: Vec<Outgoing>) -> Vec<Result<Sealed, &'static str>> {
    let mut jobs: Vec<SignJob<'_>> = frames.iter_mut().flat_map(|f| f.0.jobs()).collect();
    sign_batch(&mut jobs);
    drop(jobs);
    frames.into_iter().map(|f| f.0.finish()).collect()
}
