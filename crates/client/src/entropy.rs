//! Randomness of the operating system.

use countersign_core::client::Entropy;

/// The operating system's generator.
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        fill(out);
    }
}

/// Fills with random bytes. Without randomness there is no secure way on: the
/// operating system has been broken, and the process ends.
pub(crate) fn fill(out: &mut [u8]) {
    if let Err(error) = getrandom::fill(out) {
        tracing::error!(%error, "the operating system gives no random numbers");
        std::process::abort();
    }
}

/// Random bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    fill(&mut out);
    out
}
