//! `countersign policy`.

use std::time::Duration;

use clap::Subcommand;
use countersign_policy::{Effective, Setting, Settings, Value};
use countersign_server::admin::{Answer, Applied, Request, ask_all};
use countersign_server::config::flags::parse_word;
use countersign_server::state::State;
use countersign_server::store::{self, Change, PolicyStore};
use serde_json::{Map, Value as Json, json};

use crate::Outcome;
use crate::arguments::Place;
use crate::output::{date, say, say_json, table};

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
        PolicyCommand::Show { place, json } => show(&place, json),
        PolicyCommand::Set {
            assignments,
            place,
            json,
        } => {
            let changes = assignments
                .into_iter()
                .map(|one| (one.setting, Some(one.value)));
            change(&place, &changes.collect::<Vec<_>>(), json)
        }
        PolicyCommand::Unset {
            settings,
            place,
            json,
        } => {
            let changes = settings.into_iter().map(|one| (one, None));
            change(&place, &changes.collect::<Vec<_>>(), json)
        }
    }
}

fn change(place: &Place, changes: &[(Setting, Option<Value>)], json: bool) -> Outcome {
    let (state, _) = place.state()?;
    let store = PolicyStore::new(state.clone());
    let done = store.change(changes).map_err(|error| error.to_string())?;
    let mut servers = Vec::new();
    let mut failures = Vec::new();
    for asked in ask_all(&state, &Request::ApplyPolicy, PATIENCE) {
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
            })).collect::<Vec<_>>(),
            "failures": failures.iter().map(|(pid, error)| json!({
                "pid": pid,
                "error": error,
            })).collect::<Vec<_>>(),
            "satisfied": total.satisfied,
            "kept": total.kept,
            "ended": total.ended,
        }))?;
    } else {
        for change in &done {
            say(&describe(change));
        }
        for (pid, applied) in &servers {
            say(&format!(
                "server {pid}: {} sessions satisfy the policy, {} kept though they do not, {} ended",
                applied.satisfied, applied.kept, applied.ended
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

fn describe(change: &Change) -> String {
    let before = change
        .from
        .map_or_else(|| "not set".to_owned(), |value| value.to_string());
    match change.to {
        Some(value) => format!("{}: {value} (was {before})", change.setting),
        None => format!("{}: not set (was {before})", change.setting),
    }
}

fn show(place: &Place, json: bool) -> Outcome {
    let (state, config) = place.state()?;
    let local = PolicyStore::new(state.clone())
        .load()
        .map_err(|error| error.to_string())?;
    let mut servers: Vec<(Option<u32>, Json)> = Vec::new();
    for asked in ask_all(&state, &Request::Policy, PATIENCE) {
        match asked.answer {
            Ok(Answer::Policy { policy }) => servers.push((Some(asked.pid), policy)),
            Ok(Answer::Failed { error }) => return Err(format!("server {}: {error}", asked.pid)),
            Ok(_) => return Err(format!("server {}: unexpected answer", asked.pid)),
            Err(error) => return Err(format!("server {}: {error}", asked.pid)),
        }
    }
    let running = !servers.is_empty();
    if !running {
        let effective =
            store::effective(&config.policy, Settings::default(), store::now_ms(), &local);
        servers.push((None, to_json(&effective)?));
    }
    if json {
        let all: Vec<Json> = servers
            .into_iter()
            .map(|(pid, policy)| {
                let mut object = Map::new();
                object.insert("pid".to_owned(), json!(pid));
                if let Json::Object(policy) = policy {
                    object.extend(policy);
                }
                Json::Object(object)
            })
            .collect();
        return say_json(&json!({
            "state": state.folder(),
            "running": running,
            "stored": local.settings,
            "servers": all,
        }));
    }
    for (pid, policy) in &servers {
        match pid {
            Some(pid) => say(&format!("server {pid}")),
            None => say(&absent(&state, config.policy.profile.name())),
        }
        say(&rows(policy));
    }
    Ok(())
}

fn absent(state: &State, profile: &str) -> String {
    format!(
        "no server is running with the state folder {}; one with profile {profile} would have",
        state.folder().display()
    )
}

fn to_json(effective: &Effective) -> Result<Json, String> {
    match Answer::policy(effective) {
        Answer::Policy { policy } => Ok(policy),
        Answer::Failed { error } => Err(error),
        _ => Err("unexpected answer".to_owned()),
    }
}

fn rows(policy: &Json) -> String {
    let text = |json: Option<&Json>| {
        json.and_then(Json::as_str)
            .map_or_else(|| "?".to_owned(), str::to_owned)
    };
    let mut rows = Vec::new();
    for standing in policy
        .get("settings")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
    {
        let shadowed: Vec<String> = standing
            .get("shadowed")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .map(|one| format!("{} by {}", text(one.get("value")), text(one.get("source"))))
            .collect();
        rows.push(vec![
            text(standing.get("setting")),
            text(standing.get("value")),
            text(standing.get("source")),
            standing
                .get("since")
                .and_then(Json::as_u64)
                .map_or_else(|| "-".to_owned(), date),
            if shadowed.is_empty() {
                "-".to_owned()
            } else {
                shadowed.join(", ")
            },
        ]);
    }
    let mut out = table(&["SETTING", "VALUE", "SET BY", "SINCE", "SHADOWS"], &rows);
    for side in ["server", "client"] {
        let effect = policy.get("effect").and_then(|effect| effect.get(side));
        out.push_str(&format!(
            "\n{side}: SMB1 signing {}; SMB 2 and 3 signing {}",
            text(effect.and_then(|effect| effect.get("smb1"))),
            text(effect.and_then(|effect| effect.get("smb2"))),
        ));
    }
    out
}
