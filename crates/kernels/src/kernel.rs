//! Which implementation runs.

use std::sync::OnceLock;

/// An implementation of all primitives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kernel {
    /// Plain Rust, the oracle of differential tests. Its AES looks bytes up in
    /// a table, so it is not constant-time: never the active kernel by itself.
    Scalar,
    /// AWS-LC: assembly for one message at a time.
    AwsLc,
    /// Batches of MD5 and CMAC in lanes of AVX2 and AES-NI; the rest as
    /// [`Self::AwsLc`].
    Lanes,
}

/// The kernel was chosen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlreadyChosen(
    /// The kernel in use.
    pub Kernel,
);

static ACTIVE: OnceLock<Kernel> = OnceLock::new();

impl Kernel {
    /// Kernels this machine can run, the best one last.
    #[must_use]
    pub fn available() -> &'static [Self] {
        #[cfg(target_arch = "x86_64")]
        if crate::simd::available() {
            return &[Self::Scalar, Self::AwsLc, Self::Lanes];
        }
        &[Self::Scalar, Self::AwsLc]
    }

    /// The kernel in use: the best available, unless [`Self::force`] came first.
    #[must_use]
    pub fn active() -> Self {
        *ACTIVE.get_or_init(|| Self::available().last().copied().unwrap_or(Self::AwsLc))
    }

    /// Makes this kernel the active one of the process, for tests.
    ///
    /// # Errors
    /// Another one is in use already, or this machine cannot run it.
    pub fn force(self) -> Result<(), AlreadyChosen> {
        if !Self::available().contains(&self) {
            return Err(AlreadyChosen(Self::active()));
        }
        match ACTIVE.set(self) {
            Ok(()) => Ok(()),
            Err(_) if Self::active() == self => Ok(()),
            Err(_) => Err(AlreadyChosen(Self::active())),
        }
    }
}
