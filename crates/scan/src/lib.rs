//! The scanner: which dialects an SMB server speaks, what it says about signing
//! in each, with which algorithms and under which names, and (with credentials)
//! whether it does what it says.
//!
//! A scan asks in ordinary requests; only the proof, with credentials, sends what is
//! badly signed. [`scan`] takes
//! [targets](target::Targets) and gives one [`HostReport`] for each, in their order;
//! [`output`] writes reports in the forms other tools read.
#![forbid(unsafe_code)]

mod clock;
mod exchange;
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod ntlm;
pub mod output;
mod prove;
mod report;
mod run;
mod session1;
mod session2;
mod smb1;
mod smb2;
mod spans;
pub mod target;

pub use exchange::{MAX_REPLY, ProbeError};
pub use prove::{Credentials, Enforcement, Proof};
pub use report::{Accounts, Clock, DialectReport, HostReport, Names, Signing, Smb1Facts};
pub use run::{End, Options, ScanError, scan};
