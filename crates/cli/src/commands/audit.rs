//! `countersign audit`.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use countersign_audit::time::{parse_end, parse_span, rfc3339};
use countersign_audit::{
    Affected, Change, Database, Format, Report, Row, Standing, now, what_if as ask,
};
use countersign_server::admin::{Answer, Request, ask_all};
use countersign_server::audit::{database, standing as standing_of};
use countersign_server::config::Config;
use countersign_server::exceptions::ExceptionStore;
use countersign_server::group_policy::GroupPolicyStore;
use countersign_server::state::State;
use countersign_server::store::{self, PolicyStore};

use crate::Outcome;
use crate::arguments::Place;
use crate::output::{printable, say, say_json, table};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Peers that were seen, by what they can do
    Report {
        #[command(flatten)]
        place: Place,
        /// Only what was seen since: 30d, 12h, or a date as 2027-06-30
        #[arg(long, default_value = "30d", value_parser = parse_since)]
        since: u64,
        /// How it is written
        #[arg(long, value_enum, default_value = "table")]
        format: Form,
    },
    /// Which of the peers seen a change would cut off, and which would start to sign
    WhatIf {
        /// server-always=enabled and the like for the four settings, min-dialect=D,
        /// smb1=off, ntlmv1=off, guest=off, encryption=required; several are one change
        #[arg(required = true, value_name = "CHANGE", value_parser = parse_change)]
        changes: Vec<Change>,
        #[command(flatten)]
        place: Place,
        /// Only what was seen since: 30d, 12h, or a date as 2027-06-30
        #[arg(long, default_value = "30d", value_parser = parse_since)]
        since: u64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Form {
    /// Columns
    Table,
    /// JSON
    Json,
    /// Comma-separated values
    Csv,
    /// A page with a chart
    Html,
}

fn parse_since(text: &str) -> Result<u64, String> {
    if let Some(span) = parse_span(text) {
        return Ok(now().saturating_sub(span));
    }
    // A day alone begins at its beginning here.
    let day = text.len() == "2027-06-30".len();
    parse_end(text)
        .map(|end| if day { end.saturating_sub(86_400) } else { end })
        .ok_or_else(|| format!("`{text}` is neither a time as 30d or 12h nor a date as 2027-06-30"))
}

fn parse_change(text: &str) -> Result<Change, String> {
    text.parse()
        .map_err(|error: countersign_audit::ChangeError| error.to_string())
}

pub(crate) fn run(command: AuditCommand) -> Outcome {
    match command {
        AuditCommand::Report {
            place,
            since,
            format,
        } => report(&place, since, format),
        AuditCommand::WhatIf {
            changes,
            place,
            since,
            json,
        } => what_if(&place, &changes, since, json),
    }
}

/// What is recorded; running servers write down first what they have seen.
fn rows(state: &State, since: u64) -> Result<Vec<Row>, String> {
    // A server that does not answer has what it wrote before.
    let _ = ask_all(state, &Request::FlushAudit, PATIENCE);
    Database::open(&database(state))
        .and_then(|database| database.ways(since))
        .map_err(|error| error.to_string())
}

fn report(place: &Place, since: u64, form: Form) -> Outcome {
    let (state, _) = place.state()?;
    let report = Report::of(&rows(&state, since)?, since, now());
    let format = match form {
        Form::Table => Format::Table,
        Form::Json => Format::Json,
        Form::Csv => Format::Csv,
        Form::Html => Format::Html,
    };
    match format {
        Format::Json => return say_json(&report),
        Format::Csv => say(report.csv().trim_end()),
        Format::Html => say(report.html().trim_end()),
        Format::Table => {
            let (head, rows) = report.table();
            let head: Vec<&str> = head.iter().map(String::as_str).collect();
            say(&table(&head, &rows));
            let totals: Vec<String> = report
                .totals
                .iter()
                .map(|(name, count)| format!("{count} {name}"))
                .collect();
            say(&format!(
                "{} peers since {}: {}",
                report.peers.len(),
                rfc3339(since),
                totals.join(", ")
            ));
        }
    }
    Ok(())
}

/// What is in force at the running servers (they must agree), else what a server
/// started with this configuration would have.
fn standing(state: &State, config: &Config) -> Result<Standing, String> {
    let mut found: Option<Standing> = None;
    for asked in ask_all(state, &Request::Standing, PATIENCE) {
        match asked.answer {
            Ok(Answer::Standing(standing)) => match &found {
                Some(one) if *one != *standing => {
                    return Err("the running servers of this state folder differ: ask with \
                                --state and --config of one"
                        .to_owned());
                }
                _ => found = Some(*standing),
            },
            Ok(Answer::Failed { error }) => return Err(format!("server {}: {error}", asked.pid)),
            Ok(_) => return Err(format!("server {}: unexpected answer", asked.pid)),
            Err(error) => return Err(format!("server {}: {error}", asked.pid)),
        }
    }
    if let Some(found) = found {
        return Ok(found);
    }
    let error = |error: countersign_server::state::StateError| error.to_string();
    let local = PolicyStore::new(state.clone()).load().map_err(error)?;
    let stored = ExceptionStore::new(state.clone()).load().map_err(error)?;
    let group = GroupPolicyStore::new(state.clone())
        .layers_of(config)
        .map_err(error)?;
    let policy = store::effective(
        &config.policy,
        countersign_policy::Settings::default(),
        store::now_ms(),
        &local,
        &group,
    )
    .with_exceptions(config.exceptions.allow);
    Ok(standing_of(config, &policy, &stored.in_force(now())))
}

fn what_if(place: &Place, changes: &[Change], since: u64, json: bool) -> Outcome {
    let (state, config) = place.state()?;
    let rows = rows(&state, since)?;
    let standing = standing(&state, &config)?;
    let answer = ask(&rows, &standing, changes, now());
    if json {
        return say_json(&answer);
    }
    list(
        "would be cut off",
        &answer.cut_off,
        "nobody would be cut off",
    );
    list(
        "would start to sign",
        &answer.start_signing,
        "nobody would start to sign",
    );
    if !answer.let_in.is_empty() {
        list("would be let in", &answer.let_in, "");
    }
    say(&format!("{} unaffected", answer.unaffected));
    if answer.cut_off.iter().any(|peer| !peer.certain) {
        say(
            "not certain: an SMB1 peer that does not offer to sign may still sign when it \
             must; only requiring it shows",
        );
    }
    Ok(())
}

fn list(title: &str, peers: &[Affected], nobody: &str) {
    if peers.is_empty() {
        say(nobody);
        return;
    }
    say(&format!("{} {title}:", peers.len()));
    let or = |text: &str| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            printable(text)
        }
    };
    let rows: Vec<Vec<String>> = peers
        .iter()
        .map(|peer| {
            vec![
                peer.address.clone(),
                or(&peer.machine),
                or(&peer.user),
                or(&peer.dialect),
                rfc3339(peer.last_seen),
                peer.connections.to_string(),
                peer.bytes.to_string(),
                match peer.cost {
                    Some(cost) => format!("about {} s of a core", cost.cpu_seconds),
                    None if peer.certain => peer.reason.clone(),
                    None => format!("{} (not certain)", peer.reason),
                },
            ]
        })
        .collect();
    let head = [
        "ADDRESS",
        "MACHINE",
        "USER",
        "DIALECT",
        "LAST SEEN",
        "CONNECTIONS",
        "BYTES",
        "",
    ];
    say(&table(&head, &rows));
}
