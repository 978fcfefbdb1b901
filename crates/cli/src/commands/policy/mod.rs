//! `countersign policy`.

mod change;
mod check;
mod exchange;
mod explain;
mod gpo;
mod history;
mod matrix;
mod show;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use show::without_server;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Subcommand};
use countersign_policy::exchange::Item;
use countersign_policy::{Setting, Value};
use countersign_server::config::flags::parse_word;

use crate::Outcome;
use crate::arguments::{Arguments, Place};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show the four settings in force, who set them, what they do, and what they shadow
    Show {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set settings of the local policy; running servers obey at once
    Set {
        /// SETTING is server-always, server-if-client-agrees, client-always,
        /// client-if-server-agrees or audit-NAME; VALUE is enabled, disabled or not-defined
        #[arg(required = true, value_name = "SETTING=VALUE", value_parser = parse_item_assignment)]
        assignments: Vec<(Item, Value)>,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Group Policy from Active Directory
    #[command(subcommand)]
    Gpo(gpo::GpoCommand),
    /// Take settings out of the local policy
    Unset {
        /// The setting
        #[arg(required = true, value_name = "SETTING", value_parser = parse_item)]
        settings: Vec<Item>,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what happens to a client, or happened to a live session, and which rule says so
    Explain(explain::ExplainArguments),
    /// Print the whole table: every client against every server, in both protocol families
    Matrix(matrix::MatrixArguments),
    /// List the changes of the local policy: who, when, from, to
    History {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take the last changes of the local policy back
    Undo {
        /// How many; changes made together count once
        #[arg(default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
        count: u16,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check for dangerous combinations and published baselines; fails when it finds some
    Check(check::CheckArguments),
    /// Take the local policy from a security template, Registry.pol, .reg, LGPO text or JSON
    Import(exchange::ImportArguments),
    /// Write the policy in a format other programs understand
    Export(exchange::ExportArguments),
}

/// `SETTING=VALUE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) setting: Setting,
    pub(crate) value: Value,
}

pub(crate) fn parse_assignment(text: &str) -> Result<Assignment, String> {
    let (setting, value) = halves(text)?;
    Ok(Assignment {
        setting: parse_word(setting)?,
        value: parse_word(value)?,
    })
}

fn parse_item_assignment(text: &str) -> Result<(Item, Value), String> {
    let (item, value) = halves(text)?;
    Ok((parse_item(item)?, parse_word(value)?))
}

fn halves(text: &str) -> Result<(&str, &str), String> {
    text.split_once('=')
        .ok_or_else(|| format!("`{text}` is not SETTING=VALUE"))
}

fn parse_item(text: &str) -> Result<Item, String> {
    if text.trim().starts_with("audit-") {
        text.parse::<Item>().map_err(|error| error.to_string())
    } else {
        parse_word(text).map(Item::Setting)
    }
}

/// A name out of a list.
fn parse_name<T>(text: &str) -> Result<T, String>
where
    T: std::str::FromStr<Err = countersign_policy::ParseError>,
{
    text.parse().map_err(|error: T::Err| error.to_string())
}

pub(crate) fn run(command: PolicyCommand) -> Outcome {
    match command {
        PolicyCommand::Show { place, json } => show::show(&place, json),
        PolicyCommand::Gpo(command) => gpo::run(command),
        PolicyCommand::Set {
            assignments,
            place,
            json,
        } => {
            let mut wanted = BTreeMap::new();
            for (item, value) in assignments {
                if wanted.insert(item, Some(value)).is_some() {
                    let twice = format!("`{item}` is named twice; nothing was changed");
                    Arguments::command()
                        .error(ErrorKind::ArgumentConflict, twice)
                        .exit();
                }
            }
            change::change(&place, &wanted.into_iter().collect::<Vec<_>>(), "set", json)
        }
        PolicyCommand::Unset {
            settings,
            place,
            json,
        } => change::unset(&place, &settings.into_iter().collect(), json),
        PolicyCommand::Explain(arguments) => explain::run(&arguments),
        PolicyCommand::Matrix(arguments) => matrix::run(&arguments),
        PolicyCommand::History { place, json } => history::history(&place, json),
        PolicyCommand::Undo { count, place, json } => history::undo(&place, count, json),
        PolicyCommand::Check(arguments) => check::run(&arguments),
        PolicyCommand::Import(arguments) => exchange::import(&arguments),
        PolicyCommand::Export(arguments) => exchange::export(&arguments),
    }
}
