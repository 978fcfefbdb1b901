//! Batches in SIMD lanes, for x86-64: messages are independent of one another
//! where the blocks inside one message are not.
#![allow(
    clippy::indexing_slicing,
    reason = "lanes and words of arrays of fixed size"
)]

mod cmac;
mod lanes;
mod md5;

pub(crate) use cmac::{Schedule, batch as cmac_batch};
pub(crate) use md5::batch as md5_batch;

/// Messages shorter than this are done sooner than lanes are filled.
const SHORT: usize = 256;

/// The lanes can be used on this machine.
pub(crate) fn available() -> bool {
    is_x86_feature_detected!("aes")
        && is_x86_feature_detected!("sse4.1")
        && is_x86_feature_detected!("avx2")
}
