//! The tokio shell of the server: listeners, configuration, live change, administration.
#![forbid(unsafe_code)]

pub mod admin;
pub mod audit;
pub mod change;
pub mod config;
pub mod control;
pub mod exceptions;
pub mod explain;
pub mod group_policy;
pub mod history;
pub mod kerberos;
pub mod run;
pub mod shell;
pub mod state;
pub mod store;
pub mod users;

pub use run::{MadeUp, Running};
