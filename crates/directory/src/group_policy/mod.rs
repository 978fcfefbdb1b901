//! Group Policy of a machine: what the directory and SYSVOL have, made into layers.
//!
//! Deciding is [`countersign_policy::group_policy`]; here is the asking.

mod ask;
mod object;
mod path;
mod run;
mod sysvol;

pub use path::SysvolPath;
pub use run::{Run, run};
pub use sysvol::{Content, SmbSysvol, Sysvol};

#[cfg(test)]
mod tests;
