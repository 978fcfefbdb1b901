//! `countersign policy set` and `unset`, and what every change ends with.

use std::collections::BTreeSet;

use countersign_policy::Value;
use countersign_policy::exchange::Item;
use countersign_server::admin::{Answer, Applied, Request, ask_all};
use countersign_server::store::{Change, PolicyStore, Wanted};
use serde_json::json;

use super::{PATIENCE, show};
use crate::Outcome;
use crate::arguments::Place;
use crate::output::{printable, say, say_json};

pub(super) fn change(place: &Place, wanted: &[Wanted], how: &str, json: bool) -> Outcome {
    let (state, _) = place.state()?;
    let store = PolicyStore::new(state);
    let done = store
        .change(wanted, how)
        .map_err(|error| error.to_string())?;
    tell_servers(place, &done, json)
}

/// Takes settings out; what is not set is no change.
pub(super) fn unset(place: &Place, items: &BTreeSet<Item>, json: bool) -> Outcome {
    let (state, _) = place.state()?;
    let local = PolicyStore::new(state)
        .load()
        .map_err(|error| error.to_string())?;
    let (there, not): (Vec<Item>, Vec<Item>) =
        items.iter().partition(|item| local.get(**item).is_some());
    if !json {
        for item in &not {
            say(&format!("{item}: is not set; nothing was changed"));
        }
    }
    if there.is_empty() {
        return if json {
            tell_servers(place, &[], json)
        } else {
            Ok(())
        };
    }
    let wanted: Vec<Wanted> = there.into_iter().map(|item| (item, None)).collect();
    change(place, &wanted, "unset", json)
}

/// A setting that was given a value, and for which somebody stronger speaks.
struct Overruled {
    pid: Option<u32>,
    setting: countersign_policy::Setting,
    effective: Value,
    source: String,
}

/// What of a change has no effect now, because a stronger layer speaks.
fn overruled(place: &Place, done: &[Change]) -> Vec<Overruled> {
    let mut found = Vec::new();
    // Servers that do not answer are told of elsewhere.
    for server in show::in_force(place).unwrap_or_default() {
        let policy = server.effective();
        for change in done {
            let (Item::Setting(setting), Some(Value::Enabled | Value::Disabled)) =
                (change.setting, change.to)
            else {
                continue;
            };
            if server.origin(setting, "layer") != "local" {
                found.push(Overruled {
                    pid: server.pid,
                    setting,
                    effective: policy.get(setting).value,
                    source: printable(server.origin(setting, "text")),
                });
            }
        }
    }
    found
}

/// Tells the running servers of a change that is stored, and says what became of it.
pub(super) fn tell_servers(place: &Place, done: &[Change], json: bool) -> Outcome {
    let (state, _) = place.state()?;
    let state = &state;
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
    let overruled = overruled(place, done);
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
            "overruled": overruled.iter().map(|one| json!({
                "pid": one.pid,
                "setting": one.setting,
                "effective": one.effective,
                "source": one.source,
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
        for one in &overruled {
            let whose = one
                .pid
                .map_or_else(String::new, |pid| format!("server {pid}: "));
            say(&format!(
                "{whose}{} stays {}, because {} is stronger than the local policy",
                one.setting, one.effective, one.source
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
