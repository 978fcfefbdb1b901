//! Group Policy of a machine: what the directory and SYSVOL have, made into layers.
//!
//! Deciding is [`countersign_policy::group_policy`]; here is the asking.

mod object;
mod path;
mod run;
mod sysvol;

pub use path::SysvolPath;
pub use run::{Run, run};
pub use sysvol::{SmbSysvol, Sysvol};
