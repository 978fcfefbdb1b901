//! `countersign config`.

use std::path::PathBuf;

use clap::Subcommand;
use countersign_server::config::{Config, reference};
use countersign_server::kerberos;

use crate::Outcome;
use crate::commands::serve::check_filter;
use crate::output::{complain, say};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration file
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print the reference of the configuration file (Markdown)
    Reference,
}

pub(crate) fn run(command: &ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Check { file } => {
            let config = Config::load(file).map_err(|error| error.to_string())?;
            check_filter(&config.logging.filter)
                .map_err(|error| format!("{}: {error}", file.display()))?;
            for share in &config.share {
                if !share.path.is_dir() {
                    complain(&format!(
                        "warning: the folder {} of share `{}` is not there",
                        share.path.display(),
                        share.name
                    ));
                }
            }
            kerberos::open(&config).map_err(|error| format!("{}: {error}", file.display()))?;
            say(&format!("{}: no mistakes", file.display()));
        }
        ConfigCommand::Reference => say(reference::reference().trim_end()),
    }
    Ok(())
}
