//! What all connections of a process share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use countersign_fs::{FileService, Host};

use crate::config::ServerConfig;

/// The server: configuration, file service, and the registry of sessions.
pub struct Server {
    /// The snapshot in force.
    pub config: ArcSwap<ServerConfig>,
    /// Files.
    pub files: Arc<FileService>,
    /// Clock, timers and entropy.
    pub host: Arc<dyn Host>,
}
