//! One file for each command.

pub(crate) mod audit;
pub(crate) mod config;
pub(crate) mod exception;
pub(crate) mod files;
pub(crate) mod join;
pub(crate) mod policy;
pub(crate) mod scan;
pub(crate) mod serve;
pub(crate) mod sessions;
pub(crate) mod user;
pub(crate) mod verify;
