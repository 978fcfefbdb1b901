//! [MS-SMB2] 3.1.4.1 Signing An Outgoing Message, 3.1.5.1 Verifying.
//!
//! The input is one message from its header to its own end (a part of a
//! compound with its padding), with the Signature field as zeros and
//! SMB2_FLAGS_SIGNED already set; signing only fills in the field.

use countersign_kernels::{
    CmacJob, CmacKey, GmacJob, GmacKey, HmacJob, HmacSha256Key, Message, Tag,
};

use crate::{BadSignature, SigningAlgorithm, equal};

/// Offset of Command in the header.
const COMMAND: usize = 12;
/// Offset of MessageId.
const MESSAGE_ID: usize = 24;
/// Offset of Signature.
const SIGNATURE: usize = 48;
/// Bytes of the header; the signature is its end.
const HEADER: usize = 64;
/// SMB2 CANCEL.
const CANCEL: [u8; 2] = [0x0C, 0];

/// Who sent a message; part of the nonce of AES-GMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// A signing key, prepared for its algorithm.
pub struct SigningKey(Prepared);

enum Prepared {
    Hmac(HmacSha256Key),
    Cmac(Box<CmacKey>),
    Gmac(Box<GmacKey>),
}

/// One message to sign.
pub struct SignJob<'a> {
    /// The session's or channel's key.
    pub key: &'a SigningKey,
    /// Who sends it.
    pub sender: Sender,
    /// The message; its Signature field is filled in.
    pub message: &'a mut [u8],
}

/// One message to verify.
#[derive(Clone, Copy)]
pub struct VerifyJob<'a> {
    /// The session's or channel's key.
    pub key: &'a SigningKey,
    /// Who sent it.
    pub sender: Sender,
    /// The message.
    pub message: &'a [u8],
}

impl SigningKey {
    /// Prepares a key.
    #[must_use]
    pub fn new(algorithm: SigningAlgorithm, key: &[u8; 16]) -> Self {
        Self(match algorithm {
            SigningAlgorithm::HmacSha256 => Prepared::Hmac(HmacSha256Key::new(key)),
            SigningAlgorithm::AesCmac => Prepared::Cmac(Box::new(CmacKey::new(key))),
            SigningAlgorithm::AesGmac => Prepared::Gmac(Box::new(GmacKey::new(key))),
        })
    }

    /// The algorithm the key is for.
    #[must_use]
    pub fn algorithm(&self) -> SigningAlgorithm {
        match self.0 {
            Prepared::Hmac(_) => SigningAlgorithm::HmacSha256,
            Prepared::Cmac(_) => SigningAlgorithm::AesCmac,
            Prepared::Gmac(_) => SigningAlgorithm::AesGmac,
        }
    }

    /// Fills in the signature. What is shorter than a header is no message and
    /// stays as it is.
    ///
    /// With AES-GMAC two different messages must never have the same MessageId,
    /// sender and cancel bit: what has no MessageId of its own (interim
    /// responses, notifications) is not signed at all.
    pub fn sign(&self, sender: Sender, message: &mut [u8]) {
        if let Some(tag) = self.tag(sender, message) {
            put(message, &tag);
        }
    }

    /// Checks a message.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, sender: Sender, message: &[u8]) -> Result<(), BadSignature> {
        check(message, &self.tag(sender, message).ok_or(BadSignature)?)
    }

    /// Checks a message of AES-GMAC under another nonce than its own: it tells what
    /// a peer that builds nonces wrongly did. No message of the other algorithms
    /// passes.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify_with_nonce(&self, nonce: &[u8; 12], message: &[u8]) -> Result<(), BadSignature> {
        let Prepared::Gmac(key) = &self.0 else {
            return Err(BadSignature);
        };
        let pieces = pieces(message).ok_or(BadSignature)?;
        check(message, &key.tag(nonce, &pieces))
    }

    fn tag(&self, sender: Sender, message: &[u8]) -> Option<Tag> {
        let pieces = pieces(message)?;
        Some(match &self.0 {
            Prepared::Hmac(key) => key.tag(&pieces),
            Prepared::Cmac(key) => key.tag(&pieces),
            Prepared::Gmac(key) => key.tag(&nonce(sender, message)?, &pieces),
        })
    }
}

impl core::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SigningKey({:?})", self.algorithm())
    }
}

/// Signs messages that are independent of one another.
pub fn sign_batch(jobs: &mut [SignJob<'_>]) {
    if let [job] = jobs {
        return job.key.sign(job.sender, job.message);
    }
    let mut batch = Batch::default();
    for (place, job) in jobs.iter().enumerate() {
        batch.add(place, job.key, job.sender, job.message);
    }
    for (place, tag) in batch.tags() {
        if let Some(job) = jobs.get_mut(place) {
            put(job.message, &tag);
        }
    }
}

/// Checks messages that are independent of one another; the results are in the
/// order of the jobs.
#[must_use]
pub fn verify_batch(jobs: &[VerifyJob<'_>]) -> Vec<Result<(), BadSignature>> {
    if let [job] = jobs {
        return vec![job.key.verify(job.sender, job.message)];
    }
    let mut batch = Batch::default();
    for (place, job) in jobs.iter().enumerate() {
        batch.add(place, job.key, job.sender, job.message);
    }
    let mut results = vec![Err(BadSignature); jobs.len()];
    for (place, tag) in batch.tags() {
        if let (Some(result), Some(job)) = (results.get_mut(place), jobs.get(place)) {
            *result = check(job.message, &tag);
        }
    }
    results
}

/// The jobs by algorithm, each with its place in the order of the caller.
#[derive(Default)]
struct Batch<'a> {
    hmac: (Vec<usize>, Vec<HmacJob<'a>>),
    cmac: (Vec<usize>, Vec<CmacJob<'a>>),
    gmac: (Vec<usize>, Vec<GmacJob<'a>>),
}

impl<'a> Batch<'a> {
    fn add(&mut self, place: usize, key: &'a SigningKey, sender: Sender, bytes: &'a [u8]) {
        let Some(message) = pieces(bytes) else { return };
        match &key.0 {
            Prepared::Hmac(key) => {
                self.hmac.0.push(place);
                self.hmac.1.push(HmacJob { key, message });
            }
            Prepared::Cmac(key) => {
                self.cmac.0.push(place);
                self.cmac.1.push(CmacJob { key, message });
            }
            Prepared::Gmac(key) => {
                let Some(nonce) = nonce(sender, bytes) else {
                    return;
                };
                self.gmac.0.push(place);
                self.gmac.1.push(GmacJob {
                    key,
                    nonce,
                    message,
                });
            }
        }
    }

    fn tags(self) -> Vec<(usize, Tag)> {
        let mut all = Vec::with_capacity(self.hmac.0.len() + self.cmac.0.len() + self.gmac.0.len());
        let mut collect = |places: Vec<usize>, run: &dyn Fn(&mut [Tag])| {
            if !places.is_empty() {
                let mut tags = vec![Tag::default(); places.len()];
                run(&mut tags);
                all.extend(places.into_iter().zip(tags));
            }
        };
        collect(self.hmac.0, &|tags| {
            HmacSha256Key::batch(&self.hmac.1, tags)
        });
        collect(self.cmac.0, &|tags| CmacKey::batch(&self.cmac.1, tags));
        collect(self.gmac.0, &|tags| GmacKey::batch(&self.gmac.1, tags));
        all
    }
}

fn pieces(message: &[u8]) -> Option<Message<'_>> {
    Some(Message {
        head: message.get(..SIGNATURE)?,
        field: &[0; HEADER - SIGNATURE],
        tail: message.get(HEADER..)?,
    })
}

/// [MS-SMB2] 3.1.4.1: MessageId, then bit 0 for the server and bit 1 for a
/// CANCEL request.
fn nonce(sender: Sender, message: &[u8]) -> Option<[u8; 12]> {
    let id = message.get(MESSAGE_ID..MESSAGE_ID + 8)?;
    let cancel = message.get(COMMAND..COMMAND + 2)? == CANCEL;
    let role = match (sender, cancel) {
        (Sender::Server, _) => 1,
        (Sender::Client, true) => 2,
        (Sender::Client, false) => 0,
    };
    let mut nonce = [0; 12];
    for (to, from) in nonce.iter_mut().zip(id.iter().chain(&[role])) {
        *to = *from;
    }
    Some(nonce)
}

fn put(message: &mut [u8], tag: &Tag) {
    for (to, from) in message.iter_mut().skip(SIGNATURE).zip(tag) {
        *to = *from;
    }
}

fn check(message: &[u8], tag: &Tag) -> Result<(), BadSignature> {
    equal(tag, message.get(SIGNATURE..HEADER).ok_or(BadSignature)?)
}
