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
}

/// The kernel was chosen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlreadyChosen(
    /// The kernel in use.
    pub Kernel,
);

static ACTIVE: OnceLock<Kernel> = OnceLock::new();

impl Kernel {
    /// Kernels this machine can run.
    #[must_use]
    pub fn available() -> &'static [Self] {
        &[Self::Scalar, Self::AwsLc]
    }

    /// The kernel in use: the best available, unless [`Self::force`] came first.
    #[must_use]
    pub fn active() -> Self {
        *ACTIVE.get_or_init(|| Self::AwsLc)
    }

    /// Makes this kernel the active one of the process, for tests.
    ///
    /// # Errors
    /// Another one is in use already.
    pub fn force(self) -> Result<(), AlreadyChosen> {
        match ACTIVE.set(self) {
            Ok(()) => Ok(()),
            Err(_) if Self::active() == self => Ok(()),
            Err(_) => Err(AlreadyChosen(Self::active())),
        }
    }
}
