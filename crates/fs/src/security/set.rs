//! Reading and setting parts of a descriptor, [MS-FSA] 2.1.5.13 and 2.1.5.16.

use countersign_wire::fscc::AccessMask;

use super::access::unmap_generic;
use super::descriptor::{Ace, Acl, Control, SecurityDescriptor};
use super::information as info;

/// The parts asked for.
pub fn select(sd: &SecurityDescriptor, parts: u32) -> SecurityDescriptor {
    let mut out = SecurityDescriptor {
        control: Control::SELF_RELATIVE,
        ..Default::default()
    };
    if parts & info::OWNER != 0 {
        out.owner.clone_from(&sd.owner);
        out.control |= sd.control & Control::OWNER_DEFAULTED;
    }
    if parts & info::GROUP != 0 {
        out.group.clone_from(&sd.group);
        out.control |= sd.control & Control::GROUP_DEFAULTED;
    }
    if parts & info::DACL != 0 {
        out.dacl.clone_from(&sd.dacl);
        out.control |= sd.control
            & (Control::DACL_PRESENT
                | Control::DACL_DEFAULTED
                | Control::DACL_AUTO_INHERITED
                | Control::DACL_PROTECTED);
    }
    if parts & (info::SACL | info::LABEL) != 0
        && let Some(sacl) = &sd.sacl
    {
        let labels = parts & info::LABEL != 0;
        let audits = parts & info::SACL != 0;
        let aces: Vec<Ace> = sacl
            .aces
            .iter()
            .filter(|a| if a.kind == Ace::LABEL { labels } else { audits })
            .cloned()
            .collect();
        out.control |= sd.control & (Control::SACL_AUTO_INHERITED | Control::SACL_PROTECTED);
        out.sacl = Some(Acl {
            revision: sacl.revision,
            aces,
        });
    }
    out
}

/// Entries that count for the file itself name its rights, not generic ones.
pub(super) fn resolve_generic(dacl: &mut Option<Acl>) {
    for ace in dacl.iter_mut().flat_map(|acl| &mut acl.aces) {
        if ace.flags & Ace::INHERIT_ONLY == 0 {
            ace.mask = unmap_generic(AccessMask::from_bits_retain(ace.mask)).bits();
        }
    }
}

/// Takes over the parts of `new` into `sd`.
pub fn assign(sd: &mut SecurityDescriptor, new: &SecurityDescriptor, parts: u32) {
    if parts & info::OWNER != 0 && new.owner.is_some() {
        sd.owner.clone_from(&new.owner);
    }
    if parts & info::GROUP != 0 && new.group.is_some() {
        sd.group.clone_from(&new.group);
    }
    if parts & info::DACL != 0 {
        sd.dacl.clone_from(&new.dacl);
        let bits = Control::DACL_PRESENT
            | Control::DACL_DEFAULTED
            | Control::DACL_AUTO_INHERITED
            | Control::DACL_PROTECTED;
        sd.control.remove(bits);
        // A list that is set is there, the NULL list too.
        sd.control |= Control::DACL_PRESENT
            | (new.control & (Control::DACL_DEFAULTED | Control::DACL_PROTECTED));
        resolve_generic(&mut sd.dacl);
        // AUTO_INHERITED is taken over only when the client asks for automatic inheritance.
        if new
            .control
            .contains(Control::DACL_AUTO_INHERIT_REQ | Control::DACL_AUTO_INHERITED)
        {
            sd.control |= Control::DACL_AUTO_INHERITED;
        }
    }
    if parts & info::PROTECTED_DACL != 0 {
        sd.control |= Control::DACL_PROTECTED;
    }
    if parts & (info::SACL | info::LABEL) != 0 {
        let of_part = |a: &&Ace| {
            if a.kind == Ace::LABEL {
                parts & info::LABEL != 0
            } else {
                parts & info::SACL != 0
            }
        };
        let mut aces: Vec<Ace> = sd
            .sacl
            .iter()
            .flat_map(|l| l.aces.iter())
            .filter(|a| !of_part(a))
            .cloned()
            .collect();
        aces.extend(
            new.sacl
                .iter()
                .flat_map(|l| l.aces.iter())
                .filter(of_part)
                .cloned(),
        );
        let bits = Control::SACL_AUTO_INHERITED | Control::SACL_PROTECTED;
        sd.control.remove(bits);
        sd.control |= new.control & Control::SACL_PROTECTED;
        if new
            .control
            .contains(Control::SACL_AUTO_INHERIT_REQ | Control::SACL_AUTO_INHERITED)
        {
            sd.control |= Control::SACL_AUTO_INHERITED;
        }
        sd.sacl = if new.sacl.is_none() && aces.is_empty() {
            None
        } else {
            Some(Acl::new(aces))
        };
    }
    sd.control -= Control::DACL_AUTO_INHERIT_REQ | Control::SACL_AUTO_INHERIT_REQ;
}
