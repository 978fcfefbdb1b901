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

pub use countersign_wire::dtyp::Sid;

/// S-1-5-32-rid.
pub fn builtin(rid: u32) -> Sid {
    Sid::new(5, &[32, rid])
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
        let sub: Vec<u32> = sid.sub_authorities().collect();
        match (sid.authority(), sub.as_slice()) {
            (5, [21, a, b, c, rid]) if [*a, *b, *c] == self.0 => Some(*rid),
            _ => None,
        }
    }

    /// From the text form `S-1-5-21-a-b-c`.
    pub fn parse(text: &str) -> Option<Self> {
        let sid = Sid::parse(text)?;
        let sub: Vec<u32> = sid.sub_authorities().collect();
        match (sid.authority(), sub.as_slice()) {
            (5, [21, a, b, c]) => Some(Self([*a, *b, *c])),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_this_machine_and_of_others() {
        let machine = MachineSid([1, 2, u32::MAX]);
        let sid = Sid::parse("S-1-5-21-1-2-4294967295-1001").unwrap();
        assert_eq!(machine.account(1001), sid);
        assert_eq!(machine.rid_of(&sid), Some(1001));
        assert_eq!(MachineSid([1, 2, 3]).rid_of(&sid), None);
        assert_eq!(MachineSid::parse("S-1-5-21-1-2-4294967295"), Some(machine));
        assert_eq!(MachineSid::parse("S-1-5-32-544"), None);
    }
}
