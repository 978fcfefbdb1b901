//! `countersign policy explain`.

use std::net::IpAddr;

use clap::Args;
use countersign_audit::time::rfc3339;
use countersign_core::config::Dialect;
use countersign_policy::explain::Outcome as Meeting;
use countersign_policy::{Reason, Setting, Value};
use countersign_server::admin::{Answer, Request, SessionRow, ask_all};
use countersign_server::config::Word as _;
use countersign_server::config::flags::parse_word;
use countersign_server::exceptions::ExceptionStore;
use countersign_server::explain::{Explained, LetIn, Question, answer};
use countersign_server::store;
use serde_json::{Value as Json, json};

use super::{PATIENCE, show};
use crate::Outcome;
use crate::arguments::Place;
use crate::output::{printable, say, say_json};

/// What describes a client that is not there.
const DESCRIBED: [&str; 9] = [
    "client_always",
    "client_if_server_agrees",
    "client_declined",
    "dialect",
    "identity",
    "address",
    "account",
    "machine",
    "share",
];

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// The client's setting "digitally sign communications (always)"
    #[arg(long, value_name = "VALUE", default_value = "disabled", value_parser = parse_word::<Value>)]
    client_always: Value,
    /// The client's setting "digitally sign communications (if server agrees)"
    #[arg(long, value_name = "VALUE", default_value = "enabled", value_parser = parse_word::<Value>)]
    client_if_server_agrees: Value,
    /// With both off, the client still signs when it must (Samba's `if_required`)
    #[arg(long)]
    client_declined: bool,
    /// The dialect: smb1, 2.0.2, 2.1, 3.0, 3.0.2, 3.1.1 [default: one of each family]
    #[arg(long, value_name = "D", value_parser = parse_word::<Dialect>)]
    dialect: Option<Dialect>,
    /// What the logon comes out as
    #[arg(long, default_value = "user", value_parser = ["user", "guest", "anonymous"])]
    identity: String,
    /// The client's address, for exceptions
    #[arg(long, value_name = "ADDR")]
    address: Option<IpAddr>,
    /// The account, for exceptions
    #[arg(long, value_name = "NAME", default_value = "", requires = "address")]
    account: String,
    /// The client machine's name, for exceptions
    #[arg(long, value_name = "NAME", default_value = "", requires = "address")]
    machine: String,
    /// The share it asks for, for exceptions
    #[arg(long, value_name = "NAME", requires = "address")]
    share: Option<String>,
    /// Explain the live session with this id (`countersign sessions`)
    #[arg(long, value_name = "ID", conflicts_with_all = DESCRIBED)]
    session: Option<u64>,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &ExplainArguments) -> Outcome {
    match arguments.session {
        Some(id) => session(arguments, id),
        None => client(arguments),
    }
}

fn client(arguments: &ExplainArguments) -> Outcome {
    let (state, config) = arguments.place.state()?;
    let question = Question {
        client_always: arguments.client_always,
        client_if_server_agrees: arguments.client_if_server_agrees,
        declined: arguments.client_declined,
        dialect: arguments.dialect.map(|dialect| dialect.word().to_owned()),
        identity: arguments.identity.clone(),
        address: arguments.address,
        account: arguments.account.clone(),
        machine: arguments.machine.clone(),
        share: arguments.share.clone(),
    };
    let mut servers: Vec<(Option<u32>, Vec<Explained>)> = Vec::new();
    for asked in ask_all(&state, &Request::Explain(question.clone()), PATIENCE) {
        match asked.answer {
            Ok(Answer::Explained { answers }) => servers.push((Some(asked.pid), answers)),
            Ok(Answer::Failed { error }) => return Err(format!("server {}: {error}", asked.pid)),
            Ok(_) => return Err(format!("server {}: unexpected answer", asked.pid)),
            Err(error) => return Err(format!("server {}: {error}", asked.pid)),
        }
    }
    if servers.is_empty() {
        let policy = show::without_server(&arguments.place)?;
        let now = store::now_ms() / 1000;
        let exceptions = ExceptionStore::new(state)
            .load()
            .map_err(|error| error.to_string())?
            .in_force(now);
        let answers = answer(&policy, &exceptions, &LetIn::of(&config), now, &question)?;
        servers.push((None, answers));
    }
    if arguments.json {
        let whole = |(pid, answers): &(Option<u32>, Vec<Explained>)| {
            // Asked about no dialect, the word at the top is that of SMB 2 and 3.
            let mut object = json!(answers.last());
            if let Json::Object(object) = &mut object {
                object.insert("pid".to_owned(), json!(pid));
                object.insert("dialects".to_owned(), json!(answers));
            }
            object
        };
        let mut all: Vec<Json> = servers.iter().map(whole).collect();
        let mut first = all.first().cloned().unwrap_or_default();
        if all.len() > 1
            && let Json::Object(object) = &mut first
        {
            object.insert("servers".to_owned(), Json::Array(std::mem::take(&mut all)));
        }
        return say_json(&first);
    }
    let several = servers.len() > 1;
    for (pid, answers) in &servers {
        match pid {
            Some(pid) if several => say(&format!("server {pid}")),
            Some(_) => {}
            None => say("no server is running; one that is started now would answer:"),
        }
        for answer in answers {
            say(&format!("{} [{}]", printable(&answer.text), answer.reason));
        }
    }
    Ok(())
}

fn session(arguments: &ExplainArguments, id: u64) -> Outcome {
    let (state, _) = arguments.place.state()?;
    let folder = state.folder().display();
    let asked = ask_all(&state, &Request::Sessions, PATIENCE);
    if asked.is_empty() {
        return Err(format!(
            "there is no session {id}: no server is running with the state folder {folder}"
        ));
    }
    let mut found: Option<SessionRow> = None;
    for asked in asked {
        match asked.answer {
            Ok(Answer::Sessions { sessions }) => {
                found = found.or_else(|| sessions.into_iter().find(|session| session.id == id));
            }
            Ok(Answer::Failed { error }) => return Err(format!("server {}: {error}", asked.pid)),
            Ok(_) => return Err(format!("server {}: unexpected answer", asked.pid)),
            Err(error) => return Err(format!("server {}: {error}", asked.pid)),
        }
    }
    let row = found.ok_or_else(|| {
        format!(
            "there is no session {id} in a server with the state folder {folder}; `countersign sessions` lists them"
        )
    })?;
    let servers = show::in_force(&arguments.place).unwrap_or_default();
    let mut told = Told::of(&row, &servers);
    for id in &row.exceptions {
        let known = ExceptionStore::new(state.clone())
            .load()
            .map(|stored| stored.exceptions)
            .unwrap_or_default();
        let words = match known.iter().find(|entry| entry.exception.id == *id) {
            Some(entry) => format!(
                " It lives by exception {id}, until {}: {}.",
                rfc3339(entry.exception.until),
                entry.exception.reason
            ),
            None => format!(" It lives by exception {id}."),
        };
        told.text.push_str(&printable(&words));
    }
    if arguments.json {
        return say_json(&json!({
            "outcome": told.outcome,
            "reason": told.reason,
            "text": told.text,
            "session": row,
        }));
    }
    say(&format!("{} [{}]", told.text, told.reason));
    Ok(())
}

/// What is to be said of a live session.
struct Told {
    outcome: Meeting,
    reason: String,
    text: String,
}

impl Told {
    fn of(row: &SessionRow, servers: &[show::InForce]) -> Told {
        let outcome = if row.signed || row.encrypted.is_some() {
            Meeting::Signed
        } else {
            Meeting::Unsigned
        };
        let reason = match (&row.encrypted, row.signed) {
            (Some(_), false) => Reason::Encrypted.code().to_owned(),
            _ => row.reason.clone(),
        };
        let because = Reason::ALL
            .iter()
            .find(|one| one.code() == reason)
            .map_or_else(
                || reason.clone(),
                |one| {
                    one.documentation()
                        .split_whitespace()
                        .collect::<Vec<_>>()
                        .join(" ")
                },
            );
        let who = if row.user.is_empty() {
            row.identity.clone()
        } else {
            row.user.clone()
        };
        let how = match (&row.encrypted, row.signed, &row.algorithm) {
            (Some(cipher), _, _) => format!("encrypted with {cipher}"),
            (None, true, Some(algorithm)) => format!("signed with {algorithm}"),
            (None, true, None) => "signed".to_owned(),
            (None, false, _) => "not signed".to_owned(),
        };
        let mut text = format!(
            "session {} of {who} from {} ({}): {how}. {because}",
            row.id, row.address, row.dialect
        );
        // What counts in the dialect, and who says it.
        let counts: &[Setting] = if row.dialect == "smb1" {
            &[Setting::ServerAlways, Setting::ServerIfClientAgrees]
        } else {
            &[Setting::ServerAlways]
        };
        if let Some(server) = servers.iter().find(|server| server.pid == Some(row.pid)) {
            let policy = server.effective();
            let said: Vec<String> = counts
                .iter()
                .map(|setting| {
                    let value = policy.get(*setting).value;
                    format!("{setting} is {value}, set by {}", server.set_by(*setting))
                })
                .collect();
            text.push_str(&format!(" In force now: {}.", said.join("; ")));
        }
        Told {
            outcome,
            reason,
            text: printable(&text),
        }
    }
}
