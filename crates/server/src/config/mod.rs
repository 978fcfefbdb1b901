//! The configuration: file, flags, and the snapshot they make.

pub mod fields;
pub mod flags;
mod group_policy;
pub mod reader;
pub mod reference;
pub mod schema;
pub mod snapshot;
#[cfg(test)]
mod tests;
mod validate;

use std::path::{Path, PathBuf};

pub use countersign_core::config::OnTighten;
pub use fields::{LogFormat, Word};
pub use flags::{Flags, ShareFlag, UserFlag};
pub use group_policy::{DEFAULT_KEYTAB, GroupPolicySection, REFRESH_SECONDS};
pub use reader::Problem;
pub use schema::{Config, DEFAULT_LISTEN};

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Mistakes in the file.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Mistakes(Vec<Problem>),
    /// Something that is not tied to a place in the file, as a bad flag.
    #[error("{0}")]
    Other(String),
}

impl Config {
    /// Reads a file and checks what can be checked without touching the machine.
    ///
    /// # Errors
    /// Every mistake, with its place.
    pub fn load(file: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|source| ConfigError::Unreadable {
            file: file.to_owned(),
            source,
        })?;
        Config::parse(&text, file)
    }

    /// The same for a text.
    ///
    /// # Errors
    /// Every mistake, with its place.
    pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigError> {
        let config: Config = reader::Reader::new(file, text)
            .document()
            .map_err(ConfigError::Mistakes)?;
        validate::check(&config, text, file).map_err(ConfigError::Mistakes)?;
        Ok(config)
    }
}
