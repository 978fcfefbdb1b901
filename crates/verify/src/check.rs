//! Signatures that wait to be checked together: messages are independent of one
//! another once their keys and numbers are known.

use std::sync::Arc;

use bytes::Bytes;
use countersign_crypto::smb1::{self, MacKey};
use countersign_crypto::smb2::{self, SigningKey};

use crate::diagnosis;
use crate::state::{Place, State};

/// Messages that wait at most.
pub(crate) const MAX_BATCH: usize = 512;
/// Bytes that wait at most.
pub(crate) const MAX_BATCH_BYTES: usize = 1 << 20;

/// An SMB1 message and what it must verify with.
pub(crate) struct Smb1Check {
    pub(crate) place: Place,
    pub(crate) session: Option<usize>,
    /// The session whose key the connection has.
    pub(crate) owner: usize,
    pub(crate) key: Arc<MacKey>,
    pub(crate) sequence: u32,
    pub(crate) message: Bytes,
}

/// An SMB2 message, or part of a compound.
pub(crate) struct Smb2Check {
    pub(crate) place: Place,
    pub(crate) session: usize,
    /// Of the session.
    pub(crate) channel: usize,
    pub(crate) key: Arc<SigningKey>,
    pub(crate) message: Bytes,
    /// The whole frame and where the message is in it.
    pub(crate) frame: Bytes,
    pub(crate) offset: usize,
    /// The signature of the request, if this is its response.
    pub(crate) echo: Option<[u8; 16]>,
}

/// What waits.
#[derive(Default)]
pub(crate) struct Batch {
    smb1: Vec<Smb1Check>,
    smb2: Vec<Smb2Check>,
    bytes: usize,
}

impl State {
    pub(crate) fn check_smb1(&mut self, check: Smb1Check) {
        self.batch.bytes += check.message.len();
        self.batch.smb1.push(check);
        self.flush_full();
    }

    pub(crate) fn check_smb2(&mut self, check: Smb2Check) {
        // The whole frame is kept for it.
        self.batch.bytes += check.frame.len();
        self.batch.smb2.push(check);
        self.flush_full();
    }

    fn flush_full(&mut self) {
        let waiting = self.batch.smb1.len() + self.batch.smb2.len();
        if waiting >= MAX_BATCH || self.batch.bytes >= MAX_BATCH_BYTES {
            self.flush();
        }
    }

    /// Checks all that waits.
    pub(crate) fn flush(&mut self) {
        self.batch.bytes = 0;
        if !self.batch.smb1.is_empty() {
            let mut checks = std::mem::take(&mut self.batch.smb1);
            let jobs: Vec<_> = checks
                .iter()
                .map(|c| smb1::VerifyJob {
                    key: &c.key,
                    sequence: c.sequence,
                    message: &c.message,
                })
                .collect();
            let results = smb1::verify_batch(&jobs);
            drop(jobs);
            // What verifies is counted first: it tells whether a key is the right one.
            for (check, result) in checks.iter().zip(&results) {
                if result.is_ok() {
                    self.good(check.session);
                    if let Some(owner) = self.sessions.get_mut(check.owner) {
                        owner.mac_verified += 1;
                    }
                }
            }
            for (check, result) in checks.iter().zip(&results) {
                if result.is_err() {
                    diagnosis::smb1::failed(self, check);
                }
            }
            checks.clear();
            self.batch.smb1 = checks;
        }
        if !self.batch.smb2.is_empty() {
            let mut checks = std::mem::take(&mut self.batch.smb2);
            let jobs: Vec<_> = checks
                .iter()
                .map(|c| smb2::VerifyJob {
                    key: &c.key,
                    sender: c.place.sender(),
                    message: &c.message,
                })
                .collect();
            let results = smb2::verify_batch(&jobs);
            drop(jobs);
            for (check, result) in checks.iter().zip(&results) {
                if result.is_ok() {
                    self.good(Some(check.session));
                    let session = self.sessions.get_mut(check.session);
                    if let Some(channel) = session.and_then(|s| s.channels.get_mut(check.channel)) {
                        channel.verified += 1;
                    }
                }
            }
            for (check, result) in checks.iter().zip(&results) {
                if result.is_err() {
                    diagnosis::smb2::failed(self, check);
                }
            }
            checks.clear();
            self.batch.smb2 = checks;
        }
    }
}
