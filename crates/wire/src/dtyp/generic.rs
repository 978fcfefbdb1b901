//! Generic rights and what they mean for files, [MS-DTYP] 2.4.3.

use crate::fscc::AccessMask;

/// FILE_GENERIC_READ.
pub const FILE_GENERIC_READ: AccessMask = AccessMask::from_bits_retain(0x0012_0089);
/// FILE_GENERIC_WRITE.
pub const FILE_GENERIC_WRITE: AccessMask = AccessMask::from_bits_retain(0x0012_0116);
/// FILE_GENERIC_EXECUTE.
pub const FILE_GENERIC_EXECUTE: AccessMask = AccessMask::from_bits_retain(0x0012_00A0);
/// FILE_ALL_ACCESS.
pub const FILE_ALL_ACCESS: AccessMask = AccessMask::from_bits_retain(0x001F_01FF);

/// Replaces the generic bits by the file rights they stand for; all other bits
/// are kept.
pub fn map_generic(mask: AccessMask) -> AccessMask {
    let table = [
        (AccessMask::GENERIC_READ, FILE_GENERIC_READ),
        (AccessMask::GENERIC_WRITE, FILE_GENERIC_WRITE),
        (AccessMask::GENERIC_EXECUTE, FILE_GENERIC_EXECUTE),
        (AccessMask::GENERIC_ALL, FILE_ALL_ACCESS),
    ];
    let mut out = mask;
    for (generic, rights) in table {
        if mask.contains(generic) {
            out = out.difference(generic).union(rights);
        }
    }
    out
}
