//! SMB 2.0.2 to 3.1.1: signing, key derivation, pre-authentication integrity
//! and the encryption transform.

mod derive;
mod preauth;
mod signing;
mod transform;

pub use derive::{CipherKey, DeriveError, SessionKeys};
pub use preauth::PreauthHash;
pub use signing::{Sender, SignJob, SigningKey, VerifyJob, sign_batch, verify_batch};
pub use transform::{
    NonceCounter, OpenError, SealError, TRANSFORM_HEADER, TransformKey, WrongKeyLength,
};
