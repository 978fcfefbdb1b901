//! NTLM, [MS-NLMP].

pub mod verify;
