//! Security descriptors, [MS-DTYP] 2.4: taken apart, put together, checked and inherited.

mod access;
mod descriptor;
mod inherit;
mod set;

pub use access::{CheckedAccess, check, maximal, unmap_generic};
pub use descriptor::{Ace, Acl, Control, SecurityDescriptor};
pub use inherit::inherit;
pub use set::{assign, select};

/// Well-known SIDs, in their bytes.
pub mod sids {
    /// S-1-1-0, Everyone.
    pub const EVERYONE: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    /// S-1-3-0, CREATOR OWNER.
    pub const CREATOR_OWNER: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0];
    /// S-1-3-1, CREATOR GROUP.
    pub const CREATOR_GROUP: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0];
    /// S-1-3-4, OWNER RIGHTS.
    pub const OWNER_RIGHTS: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0];
    /// S-1-5-18, SYSTEM.
    pub const SYSTEM: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
    /// S-1-5-32-544, BUILTIN\Administrators.
    pub const ADMINISTRATORS: &[u8] = &[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 0x02, 0, 0];
    /// S-1-5-32-545, BUILTIN\Users.
    pub const USERS: &[u8] = &[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x21, 0x02, 0, 0];
}

/// SECURITY_INFORMATION bits, [MS-DTYP] 2.4.7.
pub mod information {
    /// Owner.
    pub const OWNER: u32 = 0x1;
    /// Primary group.
    pub const GROUP: u32 = 0x2;
    /// Discretionary list.
    pub const DACL: u32 = 0x4;
    /// System list.
    pub const SACL: u32 = 0x8;
    /// Integrity label.
    pub const LABEL: u32 = 0x10;
    /// The system list does not inherit.
    pub const PROTECTED_SACL: u32 = 0x4000_0000;
    /// The discretionary list does not inherit.
    pub const PROTECTED_DACL: u32 = 0x8000_0000;
}
