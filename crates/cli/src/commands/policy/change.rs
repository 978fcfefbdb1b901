//! `countersign policy set` and `unset`, and what every change ends with.

use countersign_server::admin::{Answer, Applied, Request, ask_all};
use countersign_server::state::State;
use countersign_server::store::{Change, PolicyStore, Wanted};
use serde_json::json;

use super::PATIENCE;
use crate::Outcome;
use crate::arguments::Place;
use crate::output::{say, say_json};

pub(super) fn change(place: &Place, wanted: &[Wanted], how: &str, json: bool) -> Outcome {
    let (state, _) = place.state()?;
    let store = PolicyStore::new(state.clone());
    let done = store
        .change(wanted, how)
        .map_err(|error| error.to_string())?;
    tell_servers(&state, &done, json)
}

/// Tells the running servers of a change that is stored, and says what became of it.
pub(super) fn tell_servers(state: &State, done: &[Change], json: bool) -> Outcome {
    let mut servers = Vec::new();
    let mut failures = Vec::new();
    for asked in ask_all(state, &Request::ApplyPolicy, PATIENCE) {
        match asked.answer {
            Ok(Answer::Applied(applied)) => servers.push((asked.pid, applied)),
            Ok(Answer::Failed { error }) => failures.push((asked.pid, error)),
            Ok(_) => failures.push((asked.pid, "unexpected answer".to_owned())),
            Err(error) => failures.push((asked.pid, error.to_string())),
        }
    }
    if json {
        let total = servers
            .iter()
            .fold(Applied::default(), |sum, (_, one)| sum.plus(*one));
        say_json(&json!({
            "changes": done,
            "servers": servers.iter().map(|(pid, applied)| json!({
                "pid": pid,
                "satisfied": applied.satisfied,
                "kept": applied.kept,
                "ended": applied.ended,
                "in_force_ms": applied.in_force_ms,
            })).collect::<Vec<_>>(),
            "failures": failures.iter().map(|(pid, error)| json!({
                "pid": pid,
                "error": error,
            })).collect::<Vec<_>>(),
            "satisfied": total.satisfied,
            "kept": total.kept,
            "ended": total.ended,
            "in_force_ms": total.in_force_ms,
        }))?;
    } else {
        for change in done {
            say(&describe(change));
        }
        for (pid, applied) in &servers {
            say(&format!(
                "server {pid}: {} sessions satisfy the policy, {} kept though they do not, {} ended; new connections obey since {} ms after the change",
                applied.satisfied, applied.kept, applied.ended, applied.in_force_ms
            ));
        }
        if servers.is_empty() && failures.is_empty() {
            say(&format!(
                "no server is running with the state folder {}",
                state.folder().display()
            ));
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    let failures: Vec<String> = failures
        .iter()
        .map(|(pid, error)| format!("server {pid}: {error}"))
        .collect();
    Err(format!(
        "stored, but not in force everywhere: {}",
        failures.join("; ")
    ))
}

pub(super) fn describe(change: &Change) -> String {
    let before = change
        .from
        .map_or_else(|| "not set".to_owned(), |value| value.to_string());
    match change.to {
        Some(value) => format!("{}: {value} (was {before})", change.setting),
        None => format!("{}: not set (was {before})", change.setting),
    }
}
