//! [MS-DTYP] 2.4.2 SID.

use crate::cursor::{DecodeError, Reader, Result, Writer};

/// A security identifier, in its bytes ([MS-DTYP] 2.4.2.2): revision 1, at
/// most 15 sub-authorities. Two SIDs are equal when their bytes are.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid(Vec<u8>);

impl Sid {
    /// Most sub-authorities.
    pub const MAX_SUB_AUTHORITIES: usize = 15;

    /// From an authority (48 bits count) and sub-authorities (at most 15 count).
    pub fn new(authority: u64, sub_authorities: &[u32]) -> Self {
        let subs = sub_authorities
            .get(..Self::MAX_SUB_AUTHORITIES)
            .unwrap_or(sub_authorities);
        let mut out = Vec::with_capacity(8 + subs.len() * 4);
        out.push(1);
        out.push(u8::try_from(subs.len()).unwrap_or(15));
        let [_, _, rest @ ..] = authority.to_be_bytes();
        out.extend_from_slice(&rest);
        for s in subs {
            out.extend_from_slice(&s.to_le_bytes());
        }
        Self(out)
    }

    /// S-1-1-0 Everyone.
    pub fn everyone() -> Self {
        Self::new(1, &[0])
    }

    /// S-1-3-0 Creator Owner.
    pub fn creator_owner() -> Self {
        Self::new(3, &[0])
    }

    /// S-1-3-1 Creator Group.
    pub fn creator_group() -> Self {
        Self::new(3, &[1])
    }

    /// S-1-3-4 Owner Rights.
    pub fn owner_rights() -> Self {
        Self::new(3, &[4])
    }

    /// S-1-5-7 Anonymous Logon.
    pub fn anonymous() -> Self {
        Self::new(5, &[7])
    }

    /// S-1-5-11 Authenticated Users.
    pub fn authenticated_users() -> Self {
        Self::new(5, &[11])
    }

    /// S-1-5-18 Local System.
    pub fn local_system() -> Self {
        Self::new(5, &[18])
    }

    /// S-1-5-2 Network.
    pub fn network() -> Self {
        Self::new(5, &[2])
    }

    /// S-1-5-32-544 Builtin\Administrators.
    pub fn administrators() -> Self {
        Self::new(5, &[32, 544])
    }

    /// S-1-5-32-545 Builtin\Users.
    pub fn users() -> Self {
        Self::new(5, &[32, 545])
    }

    /// S-1-5-32-546 Builtin\Guests.
    pub fn guests() -> Self {
        Self::new(5, &[32, 546])
    }

    /// This SID with one more sub-authority (a RID); unchanged at the limit.
    #[must_use]
    pub fn with_rid(&self, rid: u32) -> Self {
        let mut subs: Vec<u32> = self.sub_authorities().collect();
        if subs.len() < Self::MAX_SUB_AUTHORITIES {
            subs.push(rid);
        }
        Self::new(self.authority(), &subs)
    }

    /// Reads a SID from the reader's place.
    ///
    /// # Errors
    /// Too short, another revision, more than 15 sub-authorities.
    pub fn read(r: &mut Reader<'_>) -> Result<Self> {
        let start = r.position();
        let revision = r.u8("SID.Revision")?;
        let count = usize::from(r.u8("SID.SubAuthorityCount")?);
        if revision != 1 || count > Self::MAX_SUB_AUTHORITIES {
            let (field, reason) = ("SID", "revision is not 1, or too many sub-authorities");
            return Err(DecodeError::Invalid { field, reason });
        }
        r.skip(6 + count * 4, "SID")?;
        Ok(Self(r.at(start, 8 + count * 4, "SID")?.to_vec()))
    }

    /// From bytes that hold nothing else.
    ///
    /// # Errors
    /// As [`Sid::read`], and when bytes are left over.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let sid = Self::read(&mut r)?;
        if r.remaining() == 0 {
            Ok(sid)
        } else {
            Err(DecodeError::Invalid {
                field: "SID",
                reason: "bytes left over",
            })
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends its bytes.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.bytes(&self.0);
    }

    /// IdentifierAuthority.
    pub fn authority(&self) -> u64 {
        let bytes = self.0.get(2..8).unwrap_or_default();
        bytes.iter().fold(0, |v, b| v << 8 | u64::from(*b))
    }

    /// SubAuthority values.
    pub fn sub_authorities(&self) -> impl Iterator<Item = u32> + '_ {
        let (parts, _) = self.0.get(8..).unwrap_or_default().as_chunks::<4>();
        parts.iter().map(|p| u32::from_le_bytes(*p))
    }

    /// From `S-1-5-21-…`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text
            .strip_prefix("S-1-")
            .or_else(|| text.strip_prefix("s-1-"))?
            .split('-');
        let authority = parts.next()?;
        let authority = match authority.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok()?,
            None => authority.parse().ok()?,
        };
        let subs = parts
            .map(|p| p.parse().ok())
            .collect::<Option<Vec<u32>>>()?;
        (subs.len() <= Self::MAX_SUB_AUTHORITIES && authority >> 48 == 0)
            .then(|| Self::new(authority, &subs))
    }
}

impl core::fmt::Display for Sid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let authority = self.authority();
        if authority >> 32 == 0 {
            write!(f, "S-1-{authority}")?;
        } else {
            write!(f, "S-1-{authority:#014x}")?;
        }
        self.sub_authorities().try_for_each(|s| write!(f, "-{s}"))
    }
}

impl core::fmt::Debug for Sid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}
