//! Access checks, [MS-DTYP] 2.5.3.2.

use countersign_wire::fscc::AccessMask;

use super::descriptor::{Ace, SecurityDescriptor};
use super::sids;
use crate::types::Caller;

const GENERIC_READ: u32 = 0x0012_0089;
const GENERIC_WRITE: u32 = 0x0012_0116;
const GENERIC_EXECUTE: u32 = 0x0012_00A0;
const GENERIC_ALL: u32 = 0x001F_01FF;

/// Generic rights turned to those of files, [MS-FSA] 2.1.5.1 and [MS-SMB2] 2.2.13.1.
pub fn unmap_generic(mask: AccessMask) -> AccessMask {
    let mut out = mask
        - (AccessMask::GENERIC_READ
            | AccessMask::GENERIC_WRITE
            | AccessMask::GENERIC_EXECUTE
            | AccessMask::GENERIC_ALL);
    for (generic, rights) in [
        (AccessMask::GENERIC_READ, GENERIC_READ),
        (AccessMask::GENERIC_WRITE, GENERIC_WRITE),
        (AccessMask::GENERIC_EXECUTE, GENERIC_EXECUTE),
        (AccessMask::GENERIC_ALL, GENERIC_ALL),
    ] {
        if mask.contains(generic) {
            out |= AccessMask::from_bits_retain(rights);
        }
    }
    out
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedAccess {
    /// What was asked for and is not allowed; empty: all is.
    pub missing: AccessMask,
}

/// The most `caller` may do.
pub fn maximal(sd: &SecurityDescriptor, caller: &Caller) -> AccessMask {
    let mut allowed = 0u32;
    let owner = is_owner(sd, caller);
    match &sd.dacl {
        None => allowed = GENERIC_ALL,
        Some(acl) => {
            let mut denied = 0u32;
            let mut owner_rights = false;
            for ace in &acl.aces {
                if ace.flags & Ace::INHERIT_ONLY != 0 {
                    continue;
                }
                let for_owner = ace.sid == sids::OWNER_RIGHTS;
                if for_owner {
                    owner_rights = true;
                }
                if !(holds(caller, &ace.sid) || (for_owner && owner)) {
                    continue;
                }
                let mask = unmap_generic(AccessMask::from_bits_retain(ace.mask)).bits();
                match ace.kind {
                    Ace::ALLOWED => allowed |= mask & !denied,
                    Ace::DENIED => denied |= mask & !allowed,
                    _ => {}
                }
            }
            if owner && !owner_rights {
                allowed |= (AccessMask::READ_CONTROL | AccessMask::WRITE_DAC).bits();
            }
        }
    }
    if caller.administrator {
        allowed |= AccessMask::WRITE_OWNER.bits();
    }
    AccessMask::from_bits_retain(allowed & GENERIC_ALL)
}

/// Whether `caller` may do all of `desired` (generic bits resolved before).
pub fn check(sd: &SecurityDescriptor, caller: &Caller, desired: AccessMask) -> CheckedAccess {
    CheckedAccess {
        missing: desired - maximal(sd, caller),
    }
}

fn is_owner(sd: &SecurityDescriptor, caller: &Caller) -> bool {
    sd.owner.as_ref().is_some_and(|o| holds(caller, o))
}

fn holds(caller: &Caller, sid: &[u8]) -> bool {
    !sid.is_empty()
        && (caller.user_sid == sid
            || sid == sids::EVERYONE
            || caller.group_sids.iter().any(|g| g == sid))
}

#[cfg(test)]
mod tests {
    use super::super::descriptor::Acl;
    use super::*;

    const ALICE: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0];
    const BOB: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 2, 0, 0, 0];

    fn caller(sid: &[u8]) -> Caller {
        Caller {
            user_sid: sid.to_vec(),
            group_sids: vec![sids::EVERYONE.to_vec()],
            administrator: false,
            name: "x".into(),
        }
    }

    fn sd(owner: &[u8], aces: Vec<Ace>) -> SecurityDescriptor {
        SecurityDescriptor {
            owner: Some(owner.to_vec()),
            dacl: Some(Acl::new(aces)),
            ..SecurityDescriptor::default()
        }
    }

    #[test]
    fn order_counts() {
        let deny = Ace {
            kind: Ace::DENIED,
            ..Ace::allow(ALICE, 2, 0)
        };
        let first = sd(BOB, vec![deny.clone(), Ace::allow(sids::EVERYONE, 3, 0)]);
        assert_eq!(maximal(&first, &caller(ALICE)).bits(), 1);
        let last = sd(BOB, vec![Ace::allow(sids::EVERYONE, 3, 0), deny]);
        assert_eq!(maximal(&last, &caller(ALICE)).bits(), 3);
    }

    #[test]
    fn owner_may_read_and_change_the_list_unless_owner_rights_say_otherwise() {
        let own = AccessMask::READ_CONTROL | AccessMask::WRITE_DAC;
        assert_eq!(maximal(&sd(ALICE, vec![]), &caller(ALICE)), own);
        assert_eq!(
            maximal(&sd(BOB, vec![]), &caller(ALICE)),
            AccessMask::empty()
        );
        let limited = sd(ALICE, vec![Ace::allow(sids::OWNER_RIGHTS, 1, 0)]);
        assert_eq!(maximal(&limited, &caller(ALICE)), AccessMask::READ_DATA);
        assert_eq!(maximal(&limited, &caller(BOB)), AccessMask::empty());
    }

    #[test]
    fn null_list_allows_and_empty_one_does_not() {
        let null = SecurityDescriptor {
            owner: Some(BOB.to_vec()),
            ..Default::default()
        };
        assert_eq!(maximal(&null, &caller(ALICE)).bits(), GENERIC_ALL);
        assert_eq!(maximal(&sd(BOB, vec![]), &caller(ALICE)).bits(), 0);
    }

    #[test]
    fn inherit_only_does_not_count() {
        let s = sd(BOB, vec![Ace::allow(sids::EVERYONE, 1, Ace::INHERIT_ONLY)]);
        assert_eq!(maximal(&s, &caller(ALICE)).bits(), 0);
    }
}
