//! The tokio shell of the server: listeners, configuration, live change, administration.
#![forbid(unsafe_code)]

// Joins the build with the engine's Connection (frames in, signals in, frames out).
// pub mod shell;
