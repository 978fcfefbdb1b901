//! Frames that arrive: transforms opened, compounds split, signatures verified
//! as one batch.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use countersign_crypto::smb2::{Sender, TRANSFORM_HEADER, VerifyJob, verify_batch};
use countersign_wire::smb2::{Compound, Header, Part, Protocol, TransformHeader};

use super::{Arrived, ChannelKey, Check, Keys, is_binding};

/// A frame in clear, its messages verified; or one to be opened in its turn.
pub(crate) enum Inbound {
    /// Messages in order.
    Clear(Vec<Arrived>),
    /// Encrypted: [`open`] it when its turn comes, since a logon before it in
    /// the same batch may make its keys.
    Encrypted(BytesMut),
    /// The peer sent nonsense: the connection is closed.
    Broken(&'static str),
}

/// Splits all frames and verifies, as one batch, what can be verified now.
pub(crate) fn receive(frames: Vec<BytesMut>, keys: &dyn Keys, chain: usize) -> Vec<Inbound> {
    let mut inbound: Vec<Inbound> = frames
        .into_iter()
        .map(|frame| match Protocol::of(&frame) {
            Some(Protocol::Smb2) => split(&frame.freeze(), chain, |_| Check::NoKey),
            Some(Protocol::Encrypted) => Inbound::Encrypted(frame),
            Some(Protocol::Compressed) => Inbound::Broken("compression was not negotiated"),
            Some(Protocol::Smb1) => Inbound::Broken("SMB1 message on an SMB2 connection"),
            None => Inbound::Broken("not an SMB2 message"),
        })
        .collect();
    let mut signed: Vec<(&mut Arrived, ChannelKey)> = Vec::new();
    for frame in &mut inbound {
        let Inbound::Clear(parts) = frame else {
            continue;
        };
        let mut session = 0;
        for part in parts {
            if !part.header.is_related() {
                session = part.header.session_id;
            }
            if !part.header.is_signed() {
                part.check = Check::Unsigned;
            } else if !is_binding(&part.header, &part.message)
                && let Some(key) = keys.channel_key(session)
            {
                signed.push((part, key));
            }
        }
    }
    let jobs: Vec<VerifyJob<'_>> = signed
        .iter()
        .map(|(part, key)| VerifyJob {
            key: &key.0,
            sender: Sender::Client,
            message: &part.message,
        })
        .collect();
    let results = verify_batch(&jobs);
    for ((part, key), result) in signed.into_iter().zip(results) {
        part.check = Check::Checked(key, result.is_ok());
    }
    inbound
}

/// Opens an encrypted frame.
pub(crate) fn open(mut frame: BytesMut, keys: &dyn Keys, chain: usize) -> Inbound {
    let Ok(header) = TransformHeader::decode(&frame) else {
        return Inbound::Broken("malformed transform header");
    };
    if header.flags != 1 {
        return Inbound::Broken("unknown flags in the transform header");
    }
    let Some(secrets) = keys.secrets(header.session_id) else {
        return Inbound::Broken("encrypted for an unknown session");
    };
    let Some(transform) = &secrets.transform else {
        return Inbound::Broken("encrypted for a session without a cipher");
    };
    if transform.open.open_in_place(&mut frame).is_err() {
        return Inbound::Broken("encrypted message does not authenticate");
    }
    let plain = frame.freeze().slice(TRANSFORM_HEADER..);
    split(&plain, chain, |_| Check::Encrypted(Arc::clone(&secrets)))
}

fn split(frame: &Bytes, chain: usize, check: impl Fn(&Header) -> Check) -> Inbound {
    let mut parts = Vec::with_capacity(1);
    for part in Compound::new(frame, chain) {
        let Ok(Part { start, end, header }) = part else {
            return Inbound::Broken("malformed header or chain");
        };
        if header.is_response() {
            return Inbound::Broken("a response was sent to a server");
        }
        let message = frame.slice(start..end);
        parts.push(Arrived {
            check: check(&header),
            header,
            message,
        });
    }
    Inbound::Clear(parts)
}
