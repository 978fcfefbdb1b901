//! The tokio shell of the server: listeners, configuration, live change, administration.
#![forbid(unsafe_code)]

pub mod shell;
