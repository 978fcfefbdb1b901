//! Message-authentication primitives, one at a time and in batches, and the
//! two authenticated encryptions SMB 3.x uses.
//!
//! Nothing here knows what SMB is. A key is prepared once ([`Md5Key`],
//! [`HmacSha256Key`], [`CmacKey`], [`GmacKey`], [`AeadKey`]) and then used for
//! many messages, without set-up, without allocation and without copying the
//! message: a [`Message`] is three borrowed pieces read in place.
//!
//! Every primitive has a batch form, because messages are independent of one
//! another where the algorithm inside one message is not. Which implementation
//! computes it is decided once ([`Kernel::active`]); the `_with` forms take the
//! kernel as an argument, for differential tests. [`Kernel::Scalar`] is kept as
//! the oracle of those tests.
//!
//! This is the only crate with `unsafe`: calls into AWS-LC, each with the
//! reason why it is sound.
#![allow(
    unsafe_code,
    reason = "the calls into AWS-LC; every block says why it is sound"
)]
#![deny(unsafe_op_in_unsafe_fn)]

mod aead;
mod aes;
mod cmac;
mod gmac;
mod hmac;
mod kernel;
mod md5;
pub mod scalar;
#[cfg(target_arch = "x86_64")]
mod simd;

pub use aead::{AeadAlgorithm, AeadError, AeadKey};
pub use cmac::{CmacJob, CmacKey};
pub use gmac::{GmacJob, GmacKey};
pub use hmac::{HmacJob, HmacSha256Key};
pub use kernel::{AlreadyChosen, Kernel};
pub use md5::{Md5Job, Md5Key};

/// The result of a message-authentication code, cut to 16 bytes.
pub type Tag = [u8; 16];

/// One message, in three pieces that are read one after the other.
///
/// A signature is computed over a message whose signature field holds something
/// else than what is on the wire; `field` stands in for it, so that neither
/// signing nor verifying needs to change or copy the message.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// What is before the field.
    pub head: &'a [u8],
    /// What is read instead of the field.
    pub field: &'a [u8],
    /// What is after the field.
    pub tail: &'a [u8],
}

impl<'a> Message<'a> {
    /// A message without such a field.
    #[must_use]
    pub fn whole(bytes: &'a [u8]) -> Self {
        Self {
            head: bytes,
            field: &[],
            tail: &[],
        }
    }

    /// The pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> [&'a [u8]; 3] {
        [self.head, self.field, self.tail]
    }
}

/// Runs `one` for each job; what a kernel without lanes does with a batch.
fn each<J>(jobs: &[J], tags: &mut [Tag], mut one: impl FnMut(&J) -> Tag) {
    for (job, tag) in jobs.iter().zip(tags) {
        *tag = one(job);
    }
}
