//! The descriptor of a new file, [MS-DTYP] 2.5.3.4 and [MS-FSA] 2.1.5.1.1.

use countersign_wire::fscc::AccessMask;

use super::access::unmap_generic;
use super::descriptor::{Ace, Acl, Control, SecurityDescriptor};
use super::set::resolve_generic;
use super::sids;
use crate::types::Caller;

const FULL: u32 = 0x001F_01FF;

/// The descriptor of a new file or folder: what its creator sent, else what the
/// folder it lies in passes on, else full control for owner and SYSTEM.
pub fn inherit(
    parent: Option<&SecurityDescriptor>,
    sent: Option<&SecurityDescriptor>,
    directory: bool,
    caller: &Caller,
) -> SecurityDescriptor {
    let owner = sent
        .and_then(|s| s.owner.clone())
        .unwrap_or_else(|| caller.user_sid.clone());
    let group = sent
        .and_then(|s| s.group.clone())
        .or_else(|| caller.group_sids.iter().find(|g| is_account(g)).cloned())
        .unwrap_or_else(|| caller.user_sid.clone());
    let mut new = SecurityDescriptor {
        control: Control::SELF_RELATIVE,
        owner: Some(owner),
        group: Some(group),
        sacl: None,
        dacl: None,
    };
    match sent {
        Some(sent) if sent.control.contains(Control::DACL_PRESENT) => {
            new.control |= sent.control
                & (Control::DACL_PRESENT | Control::DACL_PROTECTED | Control::DACL_DEFAULTED);
            if sent
                .control
                .contains(Control::DACL_AUTO_INHERIT_REQ | Control::DACL_AUTO_INHERITED)
            {
                new.control |= Control::DACL_AUTO_INHERITED;
            }
            new.dacl = sent.dacl.clone();
            resolve_generic(&mut new.dacl);
        }
        _ => {
            new.control |= Control::DACL_PRESENT;
            let auto = parent.is_some_and(|p| p.control.contains(Control::DACL_AUTO_INHERITED));
            let aces = parent
                .and_then(|p| p.dacl.as_ref())
                .map(|acl| pass_on(acl, directory, auto, &new))
                .unwrap_or_default();
            if aces.is_empty() {
                let owner = new.owner.clone().unwrap_or_default();
                new.dacl = Some(Acl::new(vec![
                    Ace::allow(&owner, FULL, 0),
                    Ace::allow(sids::SYSTEM, FULL, 0),
                ]));
            } else {
                if auto {
                    new.control |= Control::DACL_AUTO_INHERITED;
                }
                new.dacl = Some(Acl::new(aces));
            }
        }
    }
    if let Some(sent) = sent
        && let Some(sacl) = &sent.sacl
    {
        new.control |= Control::SACL_PRESENT;
        new.sacl = Some(sacl.clone());
    }
    new
}

/// A SID below a domain or machine rather than a well-known one.
fn is_account(sid: &[u8]) -> bool {
    sid.get(1).is_some_and(|&n| n >= 4)
}

fn pass_on(acl: &Acl, directory: bool, auto: bool, new: &SecurityDescriptor) -> Vec<Ace> {
    let mut out = Vec::new();
    let inherited = if auto { Ace::INHERITED } else { 0 };
    for ace in &acl.aces {
        let object = ace.flags & Ace::OBJECT_INHERIT != 0;
        let container = ace.flags & Ace::CONTAINER_INHERIT != 0;
        let stops = ace.flags & Ace::NO_PROPAGATE != 0;
        if !directory {
            if object {
                out.push(effective(ace, inherited, new));
            }
            continue;
        }
        if !container {
            // Files below inherit it; this folder only hands it on.
            if object && !stops {
                out.push(Ace {
                    flags: Ace::OBJECT_INHERIT | Ace::INHERIT_ONLY | inherited,
                    ..ace.clone()
                });
            }
            continue;
        }
        let onward = ace.flags & (Ace::OBJECT_INHERIT | Ace::CONTAINER_INHERIT);
        let here = effective(ace, inherited, new);
        let changed = here.sid != ace.sid || here.mask != ace.mask;
        if stops {
            out.push(here);
        } else if changed {
            out.push(here);
            out.push(Ace {
                flags: onward | Ace::INHERIT_ONLY | inherited,
                ..ace.clone()
            });
        } else {
            out.push(Ace {
                flags: onward | inherited,
                ..ace.clone()
            });
        }
    }
    out
}

/// The entry as it works on the new file itself.
fn effective(ace: &Ace, flags: u8, new: &SecurityDescriptor) -> Ace {
    let sid = if ace.sid == sids::CREATOR_OWNER {
        new.owner.clone().unwrap_or_default()
    } else if ace.sid == sids::CREATOR_GROUP {
        new.group.clone().unwrap_or_default()
    } else {
        ace.sid.clone()
    };
    Ace {
        kind: ace.kind,
        flags,
        mask: unmap_generic(AccessMask::from_bits_retain(ace.mask)).bits(),
        sid,
        rest: ace.rest.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0];

    fn caller() -> Caller {
        Caller {
            user_sid: ALICE.to_vec(),
            group_sids: vec![],
            administrator: false,
            name: "a".into(),
        }
    }

    fn parent(aces: Vec<Ace>, auto: bool) -> SecurityDescriptor {
        SecurityDescriptor {
            control: if auto {
                Control::DACL_AUTO_INHERITED
            } else {
                Control::empty()
            },
            owner: Some(ALICE.to_vec()),
            dacl: Some(Acl::new(aces)),
            ..Default::default()
        }
    }

    fn flags_of(sd: &SecurityDescriptor) -> Vec<(Vec<u8>, u8)> {
        sd.dacl
            .as_ref()
            .unwrap()
            .aces
            .iter()
            .map(|a| (a.sid.clone(), a.flags))
            .collect()
    }

    #[test]
    fn creator_owner_becomes_two_on_a_folder_and_one_on_a_file() {
        let p = parent(
            vec![Ace::allow(sids::CREATOR_OWNER, FULL, 3 | Ace::INHERIT_ONLY)],
            true,
        );
        let d = inherit(Some(&p), None, true, &caller());
        assert_eq!(
            flags_of(&d),
            [
                (ALICE.to_vec(), 0x10),
                (sids::CREATOR_OWNER.to_vec(), 3 | 8 | 0x10)
            ]
        );
        let f = inherit(Some(&p), None, false, &caller());
        assert_eq!(flags_of(&f), [(ALICE.to_vec(), 0x10)]);
    }

    #[test]
    fn no_propagation_and_object_only() {
        let p = parent(
            vec![
                Ace::allow(sids::USERS, 1, 3 | Ace::NO_PROPAGATE),
                Ace::allow(sids::EVERYONE, 1, Ace::OBJECT_INHERIT),
            ],
            false,
        );
        let d = inherit(Some(&p), None, true, &caller());
        assert_eq!(
            flags_of(&d),
            [(sids::USERS.to_vec(), 0), (sids::EVERYONE.to_vec(), 1 | 8)]
        );
    }

    #[test]
    fn nothing_to_inherit_gives_owner_and_system() {
        let d = inherit(
            Some(&parent(vec![Ace::allow(sids::USERS, 1, 0)], true)),
            None,
            false,
            &caller(),
        );
        assert_eq!(
            flags_of(&d),
            [(ALICE.to_vec(), 0), (sids::SYSTEM.to_vec(), 0)]
        );
    }
}
