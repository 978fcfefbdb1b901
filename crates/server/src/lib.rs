//! The tokio shell of the server: listeners, configuration, live change, administration.
