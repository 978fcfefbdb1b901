//! [MS-CIFS] 3.1.5.1, [MS-SMB] 3.1.4.1: message signing of SMB1.
//!
//! The first 8 bytes of `MD5(key || header[0..14] || number as u64 || the rest
//! from 22 on)`. A message reaches from its 0xFF to the end of its frame, AndX
//! chain and padding included.

use countersign_kernels::{Md5Job, Md5Key, Message, Tag};
use zeroize::Zeroizing;

use crate::{BadSignature, equal};

/// Offset of SecurityFeatures in the header.
const SIGNATURE: usize = 14;
/// Bytes of it.
const LENGTH: usize = 8;
/// Bytes of the header.
const HEADER: usize = 32;

/// The MAC key of a connection, already read by the hash.
#[derive(Clone)]
pub struct MacKey(Md5Key);

/// One message to sign.
pub struct SignJob<'a> {
    /// The connection's key.
    pub key: &'a MacKey,
    /// The message's number.
    pub sequence: u32,
    /// The message; its signature field is filled in.
    pub message: &'a mut [u8],
}

/// One message to verify.
#[derive(Clone, Copy)]
pub struct VerifyJob<'a> {
    /// The connection's key.
    pub key: &'a MacKey,
    /// The number the message must have.
    pub sequence: u32,
    /// The message.
    pub message: &'a [u8],
}

impl MacKey {
    /// The session key as the mechanism made it, followed by the challenge
    /// response for a logon without extended security, and by nothing with it.
    #[must_use]
    pub fn new(session_key: &[u8], challenge_response: &[u8]) -> Self {
        let mut key = Zeroizing::new(Vec::with_capacity(
            session_key.len() + challenge_response.len(),
        ));
        key.extend_from_slice(session_key);
        key.extend_from_slice(challenge_response);
        Self(Md5Key::new(&key))
    }

    /// Fills in the signature of a message with this number. What is shorter
    /// than a header is no message and stays as it is.
    pub fn sign(&self, sequence: u32, message: &mut [u8]) {
        let field = u64::from(sequence).to_le_bytes();
        if let Some(pieces) = pieces(message, &field) {
            let tag = self.0.tag(&pieces);
            put(message, &tag);
        }
    }

    /// Checks a message that must have this number.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, sequence: u32, message: &[u8]) -> Result<(), BadSignature> {
        let field = u64::from(sequence).to_le_bytes();
        let pieces = pieces(message, &field).ok_or(BadSignature)?;
        check(message, &self.0.tag(&pieces))
    }
}

impl core::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("MacKey")
    }
}

/// Signs messages that are independent of one another.
pub fn sign_batch(jobs: &mut [SignJob<'_>]) {
    if let [job] = jobs {
        return job.key.sign(job.sequence, job.message);
    }
    let views: Vec<_> = jobs
        .iter()
        .map(|job| VerifyJob {
            key: job.key,
            sequence: job.sequence,
            message: job.message,
        })
        .collect();
    let tags = tags(&views);
    for (job, tag) in jobs.iter_mut().zip(tags) {
        if let Some(tag) = tag {
            put(job.message, &tag);
        }
    }
}

/// Checks messages that are independent of one another; the results are in the
/// order of the jobs.
#[must_use]
pub fn verify_batch(jobs: &[VerifyJob<'_>]) -> Vec<Result<(), BadSignature>> {
    if let [job] = jobs {
        return vec![job.key.verify(job.sequence, job.message)];
    }
    jobs.iter()
        .zip(tags(jobs))
        .map(|(job, tag)| check(job.message, &tag.ok_or(BadSignature)?))
        .collect()
}

/// The hash of each message; `None` of what is too short to be one.
fn tags(jobs: &[VerifyJob<'_>]) -> Vec<Option<Tag>> {
    let fields: Vec<_> = jobs
        .iter()
        .map(|job| u64::from(job.sequence).to_le_bytes())
        .collect();
    let (places, hashes): (Vec<_>, Vec<_>) = jobs
        .iter()
        .zip(&fields)
        .enumerate()
        .filter_map(|(place, (job, field))| {
            let message = pieces(job.message, field)?;
            Some((
                place,
                Md5Job {
                    key: &job.key.0,
                    message,
                },
            ))
        })
        .unzip();
    let mut made = vec![Tag::default(); hashes.len()];
    Md5Key::batch(&hashes, &mut made);
    let mut out = vec![None; jobs.len()];
    for (place, tag) in places.into_iter().zip(made) {
        if let Some(slot) = out.get_mut(place) {
            *slot = Some(tag);
        }
    }
    out
}

fn pieces<'a>(message: &'a [u8], field: &'a [u8; LENGTH]) -> Option<Message<'a>> {
    if message.len() < HEADER {
        return None;
    }
    Some(Message {
        head: message.get(..SIGNATURE)?,
        field,
        tail: message.get(SIGNATURE + LENGTH..)?,
    })
}

fn put(message: &mut [u8], tag: &Tag) {
    for (to, from) in message.iter_mut().skip(SIGNATURE).take(LENGTH).zip(tag) {
        *to = *from;
    }
}

fn check(message: &[u8], tag: &Tag) -> Result<(), BadSignature> {
    let received = message
        .get(SIGNATURE..SIGNATURE + LENGTH)
        .ok_or(BadSignature)?;
    equal(tag.get(..LENGTH).ok_or(BadSignature)?, received)
}
