//! Security identifiers, [MS-DTYP] 2.4.2.

/// Rid of the built-in Guest account.
pub const RID_GUEST: u32 = 501;
/// Rid of the group `None`, every local account's primary group.
pub const RID_NONE_GROUP: u32 = 513;
/// Rid of BUILTIN\Administrators.
pub const RID_ADMINISTRATORS: u32 = 544;
/// Rid of BUILTIN\Users.
pub const RID_USERS: u32 = 545;
/// Rid of BUILTIN\Guests.
pub const RID_GUESTS: u32 = 546;

/// Most sub-authorities a SID may have, [MS-DTYP] 2.4.2.2.
const MAX_SUB_AUTHORITIES: usize = 15;

/// A SID.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sid {
    authority: u64,
    sub: Vec<u32>,
}

impl Sid {
    /// A SID of revision 1; sub-authorities beyond 15 are left out.
    pub fn new(authority: u64, sub: &[u32]) -> Self {
        let sub = sub.iter().copied().take(MAX_SUB_AUTHORITIES).collect();
        Self {
            authority: authority & 0xFFFF_FFFF_FFFF,
            sub,
        }
    }

    /// S-1-1-0.
    pub fn everyone() -> Self {
        Self::new(1, &[0])
    }

    /// S-1-5-2.
    pub fn network() -> Self {
        Self::new(5, &[2])
    }

    /// S-1-5-7.
    pub fn anonymous() -> Self {
        Self::new(5, &[7])
    }

    /// S-1-5-11.
    pub fn authenticated_users() -> Self {
        Self::new(5, &[11])
    }

    /// S-1-5-18.
    pub fn local_system() -> Self {
        Self::new(5, &[18])
    }

    /// S-1-5-32-rid.
    pub fn builtin(rid: u32) -> Self {
        Self::new(5, &[32, rid])
    }

    /// IdentifierAuthority.
    pub fn authority(&self) -> u64 {
        self.authority
    }

    /// SubAuthority values.
    pub fn sub_authorities(&self) -> &[u32] {
        &self.sub
    }

    /// The bytes on the wire, [MS-DTYP] 2.4.2.2.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + 4 * self.sub.len());
        out.push(1);
        out.push(u8::try_from(self.sub.len()).unwrap_or(15));
        out.extend_from_slice(self.authority.to_be_bytes().get(2..).unwrap_or_default());
        for s in &self.sub {
            out.extend_from_slice(&s.to_le_bytes());
        }
        out
    }

    /// From the bytes on the wire; `None` unless they are exactly one SID.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[revision, count, a, b, c, d, e, f], rest) = bytes.split_first_chunk::<8>()?;
        let (words, odd) = rest.as_chunks::<4>();
        if revision != 1
            || usize::from(count) > MAX_SUB_AUTHORITIES
            || words.len() != usize::from(count)
            || !odd.is_empty()
        {
            return None;
        }
        let authority = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        Some(Self {
            authority,
            sub: words.iter().map(|w| u32::from_le_bytes(*w)).collect(),
        })
    }

    /// From the text form `S-1-...`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text
            .strip_prefix("S-1-")
            .or_else(|| text.strip_prefix("s-1-"))?
            .split('-');
        let authority: u64 = parts.next()?.parse().ok()?;
        let sub: Vec<u32> = parts.map(|p| p.parse().ok()).collect::<Option<_>>()?;
        let fits = sub.len() <= MAX_SUB_AUTHORITIES && authority < 1 << 48;
        fits.then_some(Self { authority, sub })
    }
}

impl core::fmt::Display for Sid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "S-1-{}", self.authority)?;
        for s in &self.sub {
            write!(f, "-{s}")?;
        }
        Ok(())
    }
}

impl core::fmt::Debug for Sid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

/// The machine's SID: S-1-5-21-a-b-c.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MachineSid(pub [u32; 3]);

impl Default for MachineSid {
    /// A fixed SID for tests and throw-away servers; a real installation draws its own.
    fn default() -> Self {
        Self([1, 1, 1])
    }
}

impl MachineSid {
    /// The SID itself.
    pub fn sid(self) -> Sid {
        let [a, b, c] = self.0;
        Sid::new(5, &[21, a, b, c])
    }

    /// The SID of an account of this machine.
    pub fn account(self, rid: u32) -> Sid {
        let [a, b, c] = self.0;
        Sid::new(5, &[21, a, b, c, rid])
    }

    /// The rid, when the SID is an account of this machine.
    pub fn rid_of(self, sid: &Sid) -> Option<u32> {
        match (sid.authority, sid.sub.as_slice()) {
            (5, [21, a, b, c, rid]) if [*a, *b, *c] == self.0 => Some(*rid),
            _ => None,
        }
    }

    /// From the text form `S-1-5-21-a-b-c`.
    pub fn parse(text: &str) -> Option<Self> {
        let sid = Sid::parse(text)?;
        match (sid.authority, sid.sub.as_slice()) {
            (5, [21, a, b, c]) => Some(Self([*a, *b, *c])),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_agree() {
        let sid = Sid::parse("S-1-5-21-1-2-4294967295-1001").unwrap();
        assert_eq!(sid.to_string(), "S-1-5-21-1-2-4294967295-1001");
        let bytes = sid.to_bytes();
        assert_eq!(bytes[..8], [1, 5, 0, 0, 0, 0, 0, 5]);
        assert_eq!(Sid::from_bytes(&bytes), Some(sid.clone()));
        assert_eq!(Sid::from_bytes(&bytes[..bytes.len() - 1]), None);
        assert_eq!(MachineSid([1, 2, u32::MAX]).rid_of(&sid), Some(1001));
        assert_eq!(MachineSid([1, 2, 3]).rid_of(&sid), None);
    }

    #[test]
    fn wrong_text_is_refused() {
        for text in [
            "",
            "S-1",
            "S-1-",
            "S-2-5",
            "S-1-5-x",
            "S-1-281474976710656",
            "S-1-5--1",
        ] {
            assert_eq!(Sid::parse(text), None, "{text}");
        }
        let long = format!("S-1-5{}", "-1".repeat(16));
        assert_eq!(Sid::parse(&long), None);
    }
}
