//! The SMB client library: connections, shares, files and transfers over tokio,
//! SMB1 to SMB 3.1.1, the two client settings obeyed.
#![forbid(unsafe_code)]

pub mod glob;
pub mod location;
pub mod netrc;
pub mod transfer;
