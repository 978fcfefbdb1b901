//! What a side says about signing in SMB1.

use std::fmt;

/// The state of a side, [MS-SMB] 3.2.1.1 and 3.3.1.1 (MessageSigningPolicy).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Posture {
    /// Never signs. What two settings that are both off mean: a peer that
    /// requires signing is refused.
    Disabled,
    /// Does not announce signing, but signs when the peer requires it.
    Declined,
    /// Announces signing and signs when the peer can.
    Enabled,
    /// Nothing is accepted unsigned.
    Required,
}

impl Posture {
    /// All four, weakest first.
    pub const ALL: [Posture; 4] = [
        Posture::Disabled,
        Posture::Declined,
        Posture::Enabled,
        Posture::Required,
    ];

    /// The posture two settings make: "always" wins, then "if agrees"; neither
    /// is Disabled, or Declined where that is configured.
    pub const fn of(always: bool, if_agrees: bool, declined: bool) -> Posture {
        match (always, if_agrees, declined) {
            (true, _, _) => Posture::Required,
            (false, true, _) => Posture::Enabled,
            (false, false, true) => Posture::Declined,
            (false, false, false) => Posture::Disabled,
        }
    }

    /// SMB1: the capability is announced (server: SecurityMode 0x04; client: Flags2 0x0004).
    pub const fn announces(self) -> bool {
        matches!(self, Posture::Enabled | Posture::Required)
    }

    /// The requirement is announced (server: SecurityMode 0x08; client: Flags2 0x0010).
    pub const fn requires(self) -> bool {
        matches!(self, Posture::Required)
    }

    /// The name in tables and output.
    pub const fn name(self) -> &'static str {
        match self {
            Posture::Disabled => "disabled",
            Posture::Declined => "declined",
            Posture::Enabled => "enabled",
            Posture::Required => "required",
        }
    }
}

impl fmt::Display for Posture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
