//! `countersign audit`.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use countersign_audit::time::{parse_end, parse_span, rfc3339};
use countersign_audit::{
    Affected, Change, Database, Losses, Report, Row, Standing, now, once_each, what_if as ask,
};
use countersign_server::admin::{Answer, Request, ask_all};
use countersign_server::audit::{database, standing as standing_of, undefined};
use countersign_server::config::Config;
use countersign_server::exceptions::ExceptionStore;
use countersign_server::group_policy::GroupPolicyStore;
use countersign_server::state::State;
use countersign_server::store::{self, PolicyStore};

use crate::Outcome;
use crate::arguments::Place;
use crate::output::{complain, printable, say, say_json, table};

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

/// What is recorded, and what was lost; running servers write down first what they have
/// seen. What a server cannot write is said, and the answer is that of what is there.
fn rows(state: &State, since: u64) -> Result<(Vec<Row>, Losses), String> {
    let mut unwritten = Losses::default();
    for asked in ask_all(state, &Request::FlushAudit, PATIENCE) {
        let pid = asked.pid;
        match asked.answer {
            Ok(Answer::Flushed { written: true, .. }) => {}
            Ok(Answer::Flushed { lost, trouble, .. }) => {
                unwritten = unwritten.plus(lost);
                complain(&format!(
                    "note: server {pid} has not written all it has seen: {}",
                    trouble.as_deref().unwrap_or("it is not done yet")
                ));
            }
            Ok(_) => complain(&format!("note: server {pid}: unexpected answer")),
            Err(error) => complain(&format!("note: server {pid} does not answer: {error}")),
        }
    }
    let read = || {
        let database = Database::open(&database(state))?;
        Ok((database.ways(since)?, database.lost(since)?.plus(unwritten)))
    };
    read().map_err(|error: countersign_audit::DatabaseError| {
        if error.is_damage() {
            format!(
                "{error}: the file is damaged; a running server puts it aside and begins a new \
                 one with its next record"
            )
        } else {
            error.to_string()
        }
    })
}

fn report(place: &Place, since: u64, form: Form) -> Outcome {
    let (state, _) = place.state()?;
    let (rows, lost) = rows(&state, since)?;
    let report = Report::of(&rows, since, now()).with_losses(lost);
    match form {
        Form::Json => return say_json(&report),
        Form::Csv => say(report.csv().trim_end()),
        Form::Html => say(report.html().trim_end()),
        Form::Table => {
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
            if let Some(words) = report.lost_in_words() {
                say(&words);
            }
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
    let flags = countersign_policy::Settings::default();
    let now_ms = store::now_ms();
    let mut policy = store::effective(&config.policy, flags, now_ms, &local, &group);
    if !config.exceptions.allow {
        policy = policy.with_exceptions(false);
    }
    let undefined = undefined(config, flags, now_ms, &local, &group);
    let exceptions = stored.in_force(now());
    Ok(standing_of(config, &policy, &exceptions, undefined))
}

fn what_if(place: &Place, changes: &[Change], since: u64, json: bool) -> Outcome {
    if let Err(error) = once_each(changes) {
        // As every other mistake in the arguments.
        clap::Error::raw(
            clap::error::ErrorKind::ArgumentConflict,
            format!("{error}\n"),
        )
        .exit();
    }
    let (state, config) = place.state()?;
    let (rows, lost) = rows(&state, since)?;
    let standing = standing(&state, &config)?;
    let mut answer = ask(&rows, &standing, changes, now());
    answer.lost = lost;
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
    if !answer.stop_signing.is_empty() {
        list("would no longer have to sign", &answer.stop_signing, "");
    }
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
    if answer.start_signing.iter().any(|peer| !peer.certain) {
        say(
            "not certain: an SMB1 peer that was never told that the server can sign may offer \
             to once it is",
        );
    }
    if answer.lost.any() {
        say(&format!(
            "Not complete: {} notes did not fit into the queue, {} could not be written.",
            answer.lost.dropped, answer.lost.failed
        ));
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
                match (peer.cost, peer.certain) {
                    (Some(cost), true) => format!("about {} s of a core", cost.cpu_seconds),
                    (Some(cost), false) => {
                        format!("about {} s of a core (not certain)", cost.cpu_seconds)
                    }
                    (None, true) => peer.reason.clone(),
                    (None, false) => format!("{} (not certain)", peer.reason),
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
