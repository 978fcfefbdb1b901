//! Bytes to types and back: NetBIOS session framing, [MS-CIFS], [MS-SMB],
//! [MS-SMB2], [MS-FSCC], [MS-DFSC], [MS-DTYP] and NTSTATUS.
//!
//! No I/O, no state, no `unsafe`, and no panic on any input: every decoder
//! reads through [`cursor::Reader`], which checks each length.
#![forbid(unsafe_code)]

pub mod civil;
pub mod cursor;
pub mod dfsc;
pub mod dtyp;
pub mod fscc;
pub mod nbns;
pub mod nbss;
pub mod smb1;
pub mod smb2;
pub mod status;

pub use cursor::{DecodeError, Reader, Writer};
pub use dtyp::{FileTime, Guid};
pub use status::NtStatus;
