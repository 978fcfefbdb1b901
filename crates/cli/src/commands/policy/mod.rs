//! `countersign policy`.

mod change;
mod show;

use std::time::Duration;

use clap::Subcommand;
use countersign_policy::{Setting, Value};
use countersign_server::config::flags::parse_word;

use crate::Outcome;
use crate::arguments::Place;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show the four settings in force, who set them, and what they shadow
    Show {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set settings of the local policy; running servers obey at once
    Set {
        /// SETTING is server-always, server-if-client-agrees, client-always or
        /// client-if-server-agrees; VALUE is enabled, disabled or not-defined
        #[arg(required = true, value_name = "SETTING=VALUE", value_parser = parse_assignment)]
        assignments: Vec<Assignment>,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take settings out of the local policy
    Unset {
        /// The setting
        #[arg(required = true, value_name = "SETTING", value_parser = parse_word::<Setting>)]
        settings: Vec<Setting>,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `SETTING=VALUE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) setting: Setting,
    pub(crate) value: Value,
}

pub(crate) fn parse_assignment(text: &str) -> Result<Assignment, String> {
    let (setting, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not SETTING=VALUE"))?;
    Ok(Assignment {
        setting: parse_word(setting)?,
        value: parse_word(value)?,
    })
}

pub(crate) fn run(command: PolicyCommand) -> Outcome {
    match command {
        PolicyCommand::Show { place, json } => show::show(&place, json),
        PolicyCommand::Set {
            assignments,
            place,
            json,
        } => {
            let changes = assignments
                .into_iter()
                .map(|one| (one.setting, Some(one.value)));
            change::change(&place, &changes.collect::<Vec<_>>(), json)
        }
        PolicyCommand::Unset {
            settings,
            place,
            json,
        } => {
            let changes = settings.into_iter().map(|one| (one, None));
            change::change(&place, &changes.collect::<Vec<_>>(), json)
        }
    }
}
