//! Win32 and network management error codes, [MS-ERREF] 2.2.

pub(crate) const SUCCESS: u32 = 0;
pub(crate) const ACCESS_DENIED: u32 = 5;
pub(crate) const INVALID_PARAMETER: u32 = 87;
pub(crate) const INVALID_NAME: u32 = 123;
pub(crate) const INVALID_LEVEL: u32 = 124;
pub(crate) const NERR_NET_NAME_NOT_FOUND: u32 = 2310;
pub(crate) const NERR_DEVICE_NOT_SHARED: u32 = 2311;
