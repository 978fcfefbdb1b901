//! `countersign policy matrix`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use countersign_policy::matrix::{matrix, svg, text};
use serde_json::json;

use super::{exchange, show};
use crate::Outcome;
use crate::arguments::Place;
use crate::output::{say, say_json};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
    Svg,
}

#[derive(Debug, Args)]
pub(crate) struct MatrixArguments {
    /// How
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// The same as `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Write to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(arguments: &MatrixArguments) -> Outcome {
    let servers = show::in_force(&arguments.place)?;
    let here = servers.first().map(show::InForce::effective);
    let tables = matrix(here.as_ref());
    let form = if arguments.json {
        Form::Json
    } else {
        arguments.format
    };
    let written = match form {
        Form::Text => text(&tables),
        Form::Svg => svg(&tables),
        Form::Json => {
            let value = json!({ "tables": tables });
            if arguments.output.is_none() {
                return say_json(&value);
            }
            serde_json::to_string_pretty(&value).map_err(|error| error.to_string())? + "\n"
        }
    };
    match &arguments.output {
        Some(path) => exchange::write_file(path, written.as_bytes()),
        None => {
            say(written.trim_end());
            Ok(())
        }
    }
}
