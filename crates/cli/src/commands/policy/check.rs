//! `countersign policy check`.

use std::path::{Path, PathBuf};

use clap::Args;
use countersign_policy::check::{Baseline, Hardening, Level, ReportFormat, Subject, check, write};
use countersign_policy::exchange::{Document, Format, Item};
use countersign_policy::{Setting, Settings};
use countersign_server::admin::{Answer, Request, ask_all};
use countersign_server::store::PolicyStore;

use super::{PATIENCE, exchange, parse_name, show};
use crate::Outcome;
use crate::arguments::Place;
use crate::output::say;

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Check a file (security template, .reg, LGPO text, JSON) in place of the servers
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Check the local policy store alone
    #[arg(long, conflicts_with = "file")]
    local: bool,
    /// Baseline that must be met: recommended, highly-secure, cis, microsoft,
    /// stig-server-2016, -2019, -2022, -2025, stig-windows-11; may be repeated
    #[arg(long, value_name = "NAME", value_parser = parse_name::<Baseline>)]
    baseline: Vec<Baseline>,
    /// What fails the check: note, warning, error
    #[arg(long, value_name = "LEVEL", default_value = "warning", value_parser = parse_name::<Level>)]
    fail_on: Level,
    /// How the report is written: text, json, sarif, junit
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = parse_name::<ReportFormat>)]
    format: ReportFormat,
    /// The same as `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Write the report to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(arguments: &CheckArguments) -> Outcome {
    let subjects = match &arguments.file {
        Some(file) => {
            let bytes = exchange::read_file(file)?;
            let format = exchange::format_of(file, &bytes, None)?;
            vec![template(file, format, &bytes)?]
        }
        None if arguments.local => vec![local(&arguments.place)?],
        None => servers(&arguments.place)?,
    };
    let all: Vec<_> = subjects
        .iter()
        .map(|subject| check(subject, &arguments.baseline))
        .collect();
    let format = if arguments.json {
        ReportFormat::Json
    } else {
        arguments.format
    };
    let report = write(format, &all, arguments.fail_on, env!("CARGO_PKG_VERSION"));
    match &arguments.output {
        Some(path) => exchange::write_file(path, report.as_bytes())?,
        None => say(report.trim_end()),
    }
    let failed: usize = all
        .iter()
        .map(|checked| checked.failed(arguments.fail_on).count())
        .sum();
    if failed == 0 {
        return Ok(());
    }
    Err(format!(
        "policy check: {failed} findings at or above {}",
        arguments.fail_on
    ))
}

fn template(file: &Path, format: Format, bytes: &[u8]) -> Result<Subject, String> {
    let document =
        Document::parse(format, bytes).map_err(|flaws| exchange::refused(file, &flaws))?;
    Ok(Subject {
        name: file.display().to_string(),
        settings: document.contents().settings(),
        set_by: [const { String::new() }; 4],
        template: true,
        file: Some(place_of(file)),
        lines: Setting::ALL.map(|setting| document.line(Item::Setting(setting))),
        hardening: None,
    })
}

/// A path as reports have it: seen from the working folder, where it is below that.
fn place_of(path: &Path) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let here = std::env::current_dir().unwrap_or_default();
    let below = whole.strip_prefix(&here).unwrap_or(&whole);
    below.display().to_string()
}

fn local(place: &Place) -> Result<Subject, String> {
    let (state, _) = place.state()?;
    let store = PolicyStore::new(state);
    let local = store.load().map_err(|error| error.to_string())?;
    let mut settings = Settings::default();
    for (setting, entry) in &local.settings {
        settings.set(*setting, entry.value);
    }
    let by = |setting| {
        local
            .settings
            .get(&setting)
            .map_or_else(String::new, |entry| entry.by.clone())
    };
    Ok(Subject {
        name: "local policy".to_owned(),
        settings,
        set_by: Setting::ALL.map(by),
        template: true,
        file: Some(place_of(&store.path())),
        lines: [None; 4],
        hardening: None,
    })
}

/// Every running server, or one that would be started now.
fn servers(place: &Place) -> Result<Vec<Subject>, String> {
    let (state, config) = place.state()?;
    let file = match &place.config {
        Some(file) => place_of(file),
        None => place_of(&PolicyStore::new(state.clone()).path()),
    };
    let mut hardenings: Vec<(u32, Hardening)> = Vec::new();
    for asked in ask_all(&state, &Request::Hardening, PATIENCE) {
        match asked.answer {
            Ok(Answer::Hardening(hardening)) => hardenings.push((asked.pid, hardening)),
            Ok(Answer::Failed { error }) => return Err(format!("server {}: {error}", asked.pid)),
            Ok(_) => return Err(format!("server {}: unexpected answer", asked.pid)),
            Err(error) => return Err(format!("server {}: {error}", asked.pid)),
        }
    }
    let subject = |server: &show::InForce| {
        let policy = server.effective();
        let hardening = match server.pid {
            Some(pid) => hardenings
                .iter()
                .find(|(one, _)| *one == pid)
                .map(|(_, hardening)| hardening.clone()),
            None => Some(config.hardening()),
        };
        Subject {
            name: match server.pid {
                Some(pid) => format!("server {pid}"),
                None => "a server started now".to_owned(),
            },
            settings: policy.settings(),
            set_by: Setting::ALL.map(|setting| server.set_by(setting)),
            template: false,
            file: Some(file.clone()),
            lines: [None; 4],
            hardening,
        }
    };
    Ok(show::in_force(place)?.iter().map(subject).collect())
}
