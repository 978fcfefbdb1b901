//! `countersign sessions`.

use std::time::Duration;

use clap::Args;
use countersign_server::admin::{Answer, Request, SessionRow, ask_all};
use serde_json::json;

use crate::Outcome;
use crate::arguments::Place;
use crate::output::{printable, say, say_json, span, table};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct SessionsArguments {
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// List the groups of each user too
    #[arg(long)]
    groups: bool,
    /// End the session with this id instead of listing
    #[arg(long, value_name = "ID")]
    close: Option<u64>,
}

pub(crate) fn run(arguments: &SessionsArguments) -> Outcome {
    let (state, _) = arguments.place.state()?;
    let request = match arguments.close {
        Some(id) => Request::CloseSession { id },
        None => Request::Sessions,
    };
    let asked = ask_all(&state, &request, PATIENCE);
    if asked.is_empty() {
        return Err(format!(
            "no server is running with the state folder {}",
            state.folder().display()
        ));
    }
    let mut sessions: Vec<SessionRow> = Vec::new();
    let mut failures: Vec<String> = Vec::new();
    let mut closed = false;
    for asked in asked {
        match asked.answer {
            Ok(Answer::Sessions { sessions: more }) => sessions.extend(more),
            Ok(Answer::Done) => closed = true,
            Ok(Answer::Failed { error }) => failures.push(error),
            Ok(_) => failures.push(format!("server {}: unexpected answer", asked.pid)),
            Err(error) => failures.push(format!("server {}: {error}", asked.pid)),
        }
    }
    if arguments.close.is_some() {
        return if closed {
            Ok(())
        } else {
            Err(failures.join("; "))
        };
    }
    if arguments.json {
        say_json(&json!({ "sessions": sessions }))?;
    } else {
        say(&listing(&sessions, arguments.groups));
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("; "))
    }
}

fn listing(sessions: &[SessionRow], groups: bool) -> String {
    let mut head = vec![
        "ID",
        "ADDRESS",
        "MACHINE",
        "USER",
        "LOGON",
        "DIALECT",
        "SIGNED",
        "WHY",
        "ENCRYPTED",
        "OPENS",
        "AGE",
        "IDLE",
    ];
    if groups {
        head.push("GROUPS");
    }
    let rows: Vec<Vec<String>> = sessions
        .iter()
        .map(|session| {
            let or = |text: &str, otherwise: &str| {
                if text.is_empty() {
                    otherwise.to_owned()
                } else {
                    printable(text)
                }
            };
            let mut row = vec![
                session.id.to_string(),
                session.address.clone(),
                or(&session.machine, "-"),
                or(&session.user, &session.identity),
                or(&session.authentication, "-"),
                session.dialect.clone(),
                session.algorithm.clone().unwrap_or_else(|| "no".to_owned()),
                or(&session.reason, "-"),
                session.encrypted.clone().unwrap_or_else(|| "no".to_owned()),
                session.opens.to_string(),
                span(session.age),
                span(session.idle),
            ];
            if groups {
                row.push(or(&session.groups.join(", "), "-"));
            }
            row
        })
        .collect();
    table(&head, &rows)
}
