//! The four signing settings, their layers, and the verdict for a peer.
#![forbid(unsafe_code)]

/// The four settings in force.
#[derive(Debug, Clone, Default)]
pub struct Effective {}
