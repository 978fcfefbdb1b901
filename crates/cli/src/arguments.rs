//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use countersign_server::config::Config;
use countersign_server::state::State;

use crate::commands::audit::AuditCommand;
use crate::commands::config::ConfigCommand;
use crate::commands::exception::ExceptionCommand;
use crate::commands::files::FileCommand;
use crate::commands::join::JoinArguments;
use crate::commands::policy::PolicyCommand;
use crate::commands::scan::ScanArguments;
use crate::commands::serve::ServeArguments;
use crate::commands::sessions::SessionsArguments;
use crate::commands::user::UserCommand;
use crate::commands::verify::VerifyArguments;

/// An SMB server, from SMB1 to SMB 3.1.1, that signs as its policy says.
///
/// Without a command it serves a new share `public` on 127.0.0.1:4450 to one user with
/// a new password, and says how to connect.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve shares until Ctrl-C or SIGTERM
    Serve(Box<ServeArguments>),
    /// Add, remove and list users, set passwords
    #[command(subcommand)]
    User(UserCommand),
    /// Show and change the local signing policy
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Let a peer stay unsigned, until a date and for a reason
    #[command(subcommand)]
    Exception(ExceptionCommand),
    /// Who was seen and what they can do; what a change would break
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Make this machine a member of a domain, for Kerberos and Group Policy
    Join(Box<JoinArguments>),
    /// List the live sessions
    Sessions(SessionsArguments),
    /// Check every signature in packet captures
    Verify(Box<VerifyArguments>),
    /// Ask SMB servers what they say about signing, and prove what they do
    Scan(Box<ScanArguments>),
    #[command(flatten)]
    Files(FileCommand),
    /// Check a configuration file, print the reference
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Where the state folder is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// State folder [default: as `serve` has it]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Configuration file, if it names the state folder or the user file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl Place {
    /// The configuration, or the default.
    pub(crate) fn configuration(&self) -> Result<Config, String> {
        match &self.config {
            Some(file) => Config::load(file).map_err(|error| error.to_string()),
            None => Ok(Config::default()),
        }
    }

    /// The state folder, and the configuration.
    pub(crate) fn state(&self) -> Result<(State, Config), String> {
        let config = self.configuration()?;
        let folder = self.state.as_deref().or(config.state.as_deref());
        Ok((State::at(folder), config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// No two options of a command have one name.
    #[test]
    fn all_commands_are_in_order() {
        Arguments::command().debug_assert();
    }
}
