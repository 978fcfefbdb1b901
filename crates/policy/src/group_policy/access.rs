//! Security filtering, [MS-GPOL] 3.2.5.1.6 step 3: does the computer have the right
//! Apply Group Policy on an object?

use std::collections::BTreeSet;

/// The extended right Apply-Group-Policy, edacfd8f-ffb3-11d1-b41d-00a0c968f939, in the
/// bytes of an ACE.
pub const APPLY_GROUP_POLICY: [u8; 16] = [
    0x8F, 0xFD, 0xAC, 0xED, 0xB3, 0xFF, 0xD1, 0x11, 0xB4, 0x1D, 0x00, 0xA0, 0xC9, 0x68, 0xF9, 0x39,
];

/// RIGHT_DS_CONTROL_ACCESS.
const CONTROL_ACCESS: u32 = 0x0000_0100;
/// GENERIC_ALL.
const GENERIC_ALL: u32 = 0x1000_0000;

/// What an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It allows.
    Allow,
    /// It denies.
    Deny,
}

/// An entry of a DACL, as far as this question needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessEntry {
    /// What it does.
    pub decision: Decision,
    /// It has a condition (a callback ACE).
    pub conditional: bool,
    /// It is for children only.
    pub inherit_only: bool,
    /// Its mask.
    pub mask: u32,
    /// The one right it is about; `None`: all.
    pub object: Option<[u8; 16]>,
    /// Whom it is about, as `S-1-...`.
    pub sid: String,
}

/// The DACL of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dacl {
    /// There is none: everybody may do everything.
    Null,
    /// Its entries, in order.
    Entries(Vec<AccessEntry>),
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Right {
    /// The right is there.
    Granted,
    /// An entry takes it away; of whom it speaks.
    Denied(String),
    /// No entry gives it.
    Missing,
    /// An entry with a condition decides, and conditions cannot be evaluated here.
    Conditional(String),
}

/// The first entry about the right and one of the computer's SIDs decides.
pub fn may_apply(dacl: &Dacl, token: &BTreeSet<String>) -> Right {
    let entries = match dacl {
        Dacl::Null => return Right::Granted,
        Dacl::Entries(entries) => entries,
    };
    for entry in entries {
        let about = entry.object.is_none_or(|right| right == APPLY_GROUP_POLICY);
        let whole = entry.mask & (CONTROL_ACCESS | GENERIC_ALL) != 0;
        if entry.inherit_only || !about || !whole || !token.contains(&entry.sid) {
            continue;
        }
        return match entry.decision {
            _ if entry.conditional => Right::Conditional(entry.sid.clone()),
            Decision::Allow => Right::Granted,
            Decision::Deny => Right::Denied(entry.sid.clone()),
        };
    }
    Right::Missing
}
