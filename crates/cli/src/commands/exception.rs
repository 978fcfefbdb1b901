//! `countersign exception`.

use std::time::Duration;

use clap::{Args, Subcommand};
use countersign_audit::time::{parse_end, rfc3339};
use countersign_policy::{Exception, Network};
use countersign_server::admin::{Answer, Applied, Request, ask_all};
use countersign_server::exceptions::{Entry, ExceptionStore};
use countersign_server::state::State;
use countersign_server::store::now_ms;
use serde_json::json;

use crate::Outcome;
use crate::arguments::Place;
use crate::output::{complain, printable, say, say_json, table};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(crate) enum ExceptionCommand {
    /// Let a peer stay unsigned though the policy requires signing
    Add(Box<AddArguments>),
    /// List the exceptions, those that have ended too
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take exceptions back; sessions that live by them end
    Remove {
        /// Their ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddArguments {
    /// Addresses it is for: 10.0.5.7, 10.0.5.0/24, fd00::/64
    #[arg(long, value_name = "CIDR", value_parser = parse_network)]
    client: Network,
    /// Only for this account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only for the machine that gives itself this name (it is the peer's word)
    #[arg(long, value_name = "NAME")]
    machine: Option<String>,
    /// Only for this share; may be repeated [default: all shares]
    #[arg(long, value_name = "NAME")]
    share: Vec<String>,
    /// Its end, UTC: 2027-06-30 (that day is in), or 2027-06-30T12:00
    #[arg(long, value_name = "DATE", value_parser = parse_until)]
    until: u64,
    /// Why it is needed
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Nothing may be changed
    #[arg(long)]
    read_only: bool,
    /// No named pipes (IPC$): no lists of shares and the like
    #[arg(long)]
    no_ipc: bool,
    /// Guests too, where there are guests
    #[arg(long)]
    guests: bool,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn parse_network(text: &str) -> Result<Network, String> {
    text.parse()
        .map_err(|error: countersign_policy::NetworkError| error.to_string())
}

fn parse_until(text: &str) -> Result<u64, String> {
    parse_end(text)
        .ok_or_else(|| format!("`{text}` is not a date as 2027-06-30 or 2027-06-30T12:00"))
}

pub(crate) fn run(command: ExceptionCommand) -> Outcome {
    match command {
        ExceptionCommand::Add(arguments) => add(*arguments),
        ExceptionCommand::List { place, json } => list(&place, json),
        ExceptionCommand::Remove { ids, place, json } => remove(&place, &ids, json),
    }
}

fn add(arguments: AddArguments) -> Outcome {
    let (state, config) = arguments.place.state()?;
    let forbidden = "exceptions are forbidden: `[exceptions] allow = false`";
    if !config.exceptions.allow {
        return Err(format!("{forbidden} in the configuration"));
    }
    let servers = ask_all(&state, &Request::Standing, PATIENCE);
    for asked in &servers {
        if let Ok(Answer::Standing(standing)) = &asked.answer
            && !standing.exceptions_allowed
        {
            return Err(format!(
                "{forbidden} in the configuration or Group Policy of server {}",
                asked.pid
            ));
        }
    }
    if !super::policy::without_server(&arguments.place)?.exceptions_allowed() {
        return Err(format!("{forbidden} in Group Policy"));
    }
    for share in &arguments.share {
        let wanted = share.to_lowercase();
        let known = |name: &str| name.to_lowercase() == wanted;
        if !config.share.is_empty() && !config.share.iter().any(|one| known(&one.name)) {
            complain(&format!(
                "note: the configuration has no share `{}`",
                printable(share)
            ));
        }
    }
    let exception = Exception {
        id: String::new(),
        client: arguments.client,
        account: arguments.account,
        machine: arguments.machine,
        shares: arguments.share,
        until: arguments.until,
        reason: arguments.reason,
        read_only: arguments.read_only,
        no_ipc: arguments.no_ipc,
        guests: arguments.guests,
    };
    let entry = ExceptionStore::new(state.clone())
        .add(exception)
        .map_err(|error| error.to_string())?;
    if !arguments.json {
        say(&format!("exception {}", entry.exception.id));
    }
    tell_servers(&state, &[entry], arguments.json)
}

fn remove(place: &Place, ids: &[String], json: bool) -> Outcome {
    let (state, _) = place.state()?;
    let store = ExceptionStore::new(state.clone());
    let mut removed = Vec::new();
    let mut wrong = Vec::new();
    for id in ids {
        match store.remove(id) {
            Ok(entry) => removed.push(entry),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    tell_servers(&state, &removed, json)?;
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("; "))
    }
}

/// Tells the running servers, and says what became of their sessions.
fn tell_servers(state: &State, entries: &[Entry], json: bool) -> Outcome {
    let mut servers: Vec<(u32, Applied)> = Vec::new();
    let mut failures = Vec::new();
    for asked in ask_all(state, &Request::ApplyExceptions, PATIENCE) {
        match asked.answer {
            Ok(Answer::Applied(applied)) => servers.push((asked.pid, applied)),
            Ok(Answer::Failed { error }) => failures.push(format!("server {}: {error}", asked.pid)),
            Ok(_) => failures.push(format!("server {}: unexpected answer", asked.pid)),
            Err(error) => failures.push(format!("server {}: {error}", asked.pid)),
        }
    }
    if json {
        say_json(&json!({
            "exceptions": entries,
            "servers": servers.iter().map(|(pid, applied)| json!({
                "pid": pid,
                "satisfied": applied.satisfied,
                "kept": applied.kept,
                "ended": applied.ended,
                "in_force_ms": applied.in_force_ms,
            })).collect::<Vec<_>>(),
        }))?;
    } else {
        for (pid, applied) in &servers {
            say(&format!(
                "server {pid}: in force after {} ms, {} sessions ended",
                applied.in_force_ms, applied.ended
            ));
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "stored, but not in force everywhere: {}",
            failures.join("; ")
        ))
    }
}

fn list(place: &Place, json: bool) -> Outcome {
    let (state, _) = place.state()?;
    let stored = ExceptionStore::new(state)
        .load()
        .map_err(|error| error.to_string())?;
    let now = now_ms() / 1000;
    if json {
        return say_json(&json!({
            "exceptions": stored.exceptions.iter().map(|entry| json!({
                "exception": entry.exception,
                "by": entry.by,
                "at": entry.at / 1000,
                "in_force": entry.exception.is_in_force(now),
            })).collect::<Vec<_>>(),
        }));
    }
    let rows: Vec<Vec<String>> = stored
        .exceptions
        .iter()
        .map(|entry| {
            let one = &entry.exception;
            let or = |name: &Option<String>| {
                name.as_ref()
                    .map_or_else(|| "any".to_owned(), |n| printable(n))
            };
            let mut limits = Vec::new();
            for (is, word) in [
                (one.read_only, "read only"),
                (one.no_ipc, "no IPC$"),
                (one.guests, "guests too"),
            ] {
                if is {
                    limits.push(word);
                }
            }
            vec![
                one.id.clone(),
                one.client.to_string(),
                or(&one.account),
                or(&one.machine),
                if one.shares.is_empty() {
                    "all".to_owned()
                } else {
                    printable(&one.shares.join(", "))
                },
                if limits.is_empty() {
                    "-".to_owned()
                } else {
                    limits.join(", ")
                },
                if one.is_in_force(now) {
                    rfc3339(one.until)
                } else {
                    "ended".to_owned()
                },
                entry.by.clone(),
                printable(&one.reason),
            ]
        })
        .collect();
    let head = [
        "ID", "CLIENT", "ACCOUNT", "MACHINE", "SHARES", "LIMITS", "UNTIL", "BY", "REASON",
    ];
    say(&table(&head, &rows));
    Ok(())
}
