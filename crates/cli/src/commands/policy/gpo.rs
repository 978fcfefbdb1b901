//! `countersign policy gpo`.

use std::time::Duration;

use clap::Subcommand;
use countersign_policy::group_policy::Considered;
use countersign_server::admin::{Answer, Request, ask_all};
use countersign_server::config::snapshot::netbios_name;
use countersign_server::group_policy::{GroupPolicyStatus, GroupPolicyStore, refresh_once};
use serde_json::{Map, Value as Json, json};

use crate::Outcome;
use crate::arguments::Place;
use crate::output::{complain, date, printable, say, say_json, table};

/// How long a server may take to ask a domain controller and to act.
const PATIENCE: Duration = Duration::from_secs(140);

#[derive(Debug, Subcommand)]
pub(crate) enum GpoCommand {
    /// Show what Group Policy came to: every object, whether it applies and why not, the
    /// versions, the last refresh and the next
    Status {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask the domain controller now; running servers act at once
    Refresh {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(command: GpoCommand) -> Outcome {
    match command {
        GpoCommand::Status { place, json } => {
            let servers = ask(&place, &Request::GroupPolicy)?;
            let servers = if servers.is_empty() {
                vec![(None, kept(&place)?)]
            } else {
                servers
            };
            show(&servers, json)
        }
        GpoCommand::Refresh { place, json } => refresh(&place, json),
    }
}

type Shown = (Option<u32>, GroupPolicyStatus);

fn ask(place: &Place, request: &Request) -> Result<Vec<Shown>, String> {
    let (state, _) = place.state()?;
    let mut servers = Vec::new();
    for asked in ask_all(&state, request, PATIENCE) {
        match asked.answer {
            Ok(Answer::GroupPolicy(status)) => servers.push((Some(asked.pid), *status)),
            Ok(Answer::Failed { error }) => return Err(format!("server {}: {error}", asked.pid)),
            Ok(_) => return Err(format!("server {}: unexpected answer", asked.pid)),
            Err(error) => return Err(format!("server {}: {error}", asked.pid)),
        }
    }
    Ok(servers)
}

/// What was applied last, without a server.
fn kept(place: &Place) -> Result<GroupPolicyStatus, String> {
    let (state, config) = place.state()?;
    let host = netbios_name(&config);
    let section = &config.group_policy;
    let applied = GroupPolicyStore::new(state)
        .load(section, &host)
        .map_err(|error| error.to_string())?;
    Ok(GroupPolicyStatus {
        domain: section.domain.clone(),
        account: section.domain.is_some().then(|| section.account(&host)),
        applied,
        ..GroupPolicyStatus::default()
    })
}

fn refresh(place: &Place, json: bool) -> Outcome {
    let servers = ask(place, &Request::RefreshGroupPolicy)?;
    if servers.is_empty() {
        let (state, config) = place.state()?;
        let host = netbios_name(&config);
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        runtime
            .block_on(refresh_once(&config.group_policy, &host, &state))
            .map_err(|error| error.to_string())?;
        return show(&[(None, kept(place)?)], json);
    }
    show(&servers, json)?;
    for (pid, status) in &servers {
        let Some(pid) = pid else { continue };
        if status.domain.is_none() {
            return Err(format!(
                "server {pid} has no `[group-policy]` with a `domain`"
            ));
        }
        if let Some(error) = &status.error {
            return Err(format!("server {pid}: {error}"));
        }
    }
    Ok(())
}

fn show(servers: &[Shown], json: bool) -> Outcome {
    if json {
        let object = |(pid, status): &Shown| -> Result<Map<String, Json>, String> {
            let mut object = Map::new();
            object.insert("pid".to_owned(), json!(pid));
            if let Json::Object(status) =
                serde_json::to_value(status).map_err(|error| error.to_string())?
            {
                object.extend(status);
            }
            Ok(object)
        };
        let all = servers.iter().map(object).collect::<Result<Vec<_>, _>>()?;
        // The first server's at the top, where scripts look; all of them below.
        let mut top = all.first().cloned().unwrap_or_default();
        top.insert(
            "running".to_owned(),
            json!(servers.iter().any(|(pid, _)| pid.is_some())),
        );
        top.insert("servers".to_owned(), json!(all));
        return say_json(&Json::Object(top));
    }
    for (pid, status) in servers {
        match pid {
            Some(pid) => say(&format!("server {pid}")),
            None => say("no server is running; what was applied last:"),
        }
        for line in lines(status) {
            say(&line);
        }
        if let Some(error) = &status.error {
            complain(error);
        }
    }
    Ok(())
}

fn lines(status: &GroupPolicyStatus) -> Vec<String> {
    let Some(domain) = &status.domain else {
        return vec![
            "no Group Policy: the configuration has no `[group-policy]` with a `domain`".to_owned(),
        ];
    };
    let when = |seconds: Option<u64>| seconds.map_or_else(|| "-".to_owned(), date);
    let mut lines = vec![format!(
        "domain {}, account {}",
        printable(domain),
        printable(status.account.as_deref().unwrap_or("-"))
    )];
    if status.last_attempt.is_some() {
        lines.push(format!(
            "last tried {}, failures since {}, next {}",
            when(status.last_attempt),
            status.failures,
            when(status.next)
        ));
    }
    let Some(applied) = &status.applied else {
        lines.push("nothing was applied yet".to_owned());
        return lines;
    };
    lines.push(format!(
        "refreshed {} from {}, site {}; last change {}",
        date(applied.refreshed),
        printable(&applied.controller),
        printable(applied.site.as_deref().unwrap_or("-")),
        date(applied.changed)
    ));
    lines.push(format!("computer {}", printable(&applied.computer)));
    for note in &applied.notes {
        lines.push(format!("note: {}", printable(note)));
    }
    let considered = applied.conclusion.considered.iter();
    let rows: Vec<Vec<String>> = considered.map(row).collect();
    lines.push(String::new());
    if rows.is_empty() {
        lines.push("no Group Policy object is linked".to_owned());
    } else {
        lines.push("in the order in which they apply, the last one overrules:".to_owned());
        lines.push(table(
            &["OBJECT", "LINKED TO", "LINK", "VERSION", "STATE"],
            &rows,
        ));
    }
    for (switch, (on, gpo)) in &applied.conclusion.switches {
        let value = if *on { "on" } else { "off" };
        lines.push(format!(
            "{}: {value}, by {}",
            switch.windows_name(),
            printable(&gpo.name)
        ));
    }
    if let Some((allowed, gpo)) = &applied.conclusion.allow_exceptions {
        let value = if *allowed { "allowed" } else { "forbidden" };
        lines.push(format!("exceptions: {value}, by {}", printable(&gpo.name)));
    }
    lines
}

fn row(considered: &Considered) -> Vec<String> {
    let gpo = &considered.gpo;
    let versions = considered.versions.map_or_else(
        || "-".to_owned(),
        |versions| match versions.sysvol {
            Some(sysvol) if sysvol != versions.directory => {
                format!("{sysvol} (directory {})", versions.directory)
            }
            _ => versions.directory.to_string(),
        },
    );
    let mut state = printable(&considered.fate.to_string());
    for note in &considered.notes {
        state.push_str("; ");
        state.push_str(&printable(note));
    }
    vec![
        printable(&format!("{} {}", gpo.name, gpo.guid)),
        printable(&format!("{} {}", gpo.kind, gpo.container)),
        if gpo.enforced {
            format!("{} enforced", considered.link_number)
        } else {
            considered.link_number.to_string()
        },
        versions,
        state,
    ]
}
