//! `countersign policy gpo`.

use std::time::Duration;

use clap::Subcommand;
use countersign_policy::group_policy::Considered;
use countersign_server::admin::{Answer, Request, ask_all};
use countersign_server::config::snapshot::netbios_name;
use countersign_server::group_policy::{
    GroupPolicyStatus, GroupPolicyStore, change_password, password_status, refresh_once,
};
use serde_json::{Map, Value as Json, json};

use crate::Outcome;
use crate::arguments::Place;
use crate::output::{date, printable, say, say_json, span, table};

/// How long a server may take to ask a domain controller and to act: a refresh that is under
/// way comes first.
const PATIENCE: Duration = Duration::from_secs(260);
/// Days after which Windows changes the password of a machine's account.
const WINDOWS_DAYS: u64 = 30;

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
    /// Give the machine's account a new password now; the keytab gets the new keys and keeps
    /// those before them
    Password {
        #[command(flatten)]
        place: Place,
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
        GpoCommand::Password { place } => password(&place),
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
    let applied = GroupPolicyStore::new(state.clone())
        .load(section, &host)
        .map_err(|error| error.to_string())?;
    Ok(GroupPolicyStatus {
        domain: section.domain.clone(),
        account: section.domain.is_some().then(|| section.account(&host)),
        password: password_status(section, &host, &state, applied.as_ref()),
        applied,
        ..GroupPolicyStatus::default()
    })
}

fn password(place: &Place) -> Outcome {
    let (state, config) = place.state()?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let changed = runtime
        .block_on(change_password(&config, &state))
        .map_err(|error| printable(&error.to_string()))?;
    say(&format!(
        "new password for {}; keys of version {} in {}, those before them stay there",
        changed.principal,
        changed.version,
        config.group_policy.keytab().display()
    ));
    Ok(())
}

fn refresh(place: &Place, json: bool) -> Outcome {
    let servers = ask(place, &Request::RefreshGroupPolicy)?;
    if servers.is_empty() {
        let (state, config) = place.state()?;
        let host = netbios_name(&config);
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        runtime
            .block_on(refresh_once(&config.group_policy, &host, &state))
            .map_err(|error| failed(&error.to_string(), error.remedy().as_deref()))?;
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
            let why = failed(error, status.remedy.as_deref());
            return Err(format!("server {pid}: {why}"));
        }
    }
    Ok(())
}

/// What happened, and what to do about it.
fn failed(error: &str, remedy: Option<&str>) -> String {
    let mut text = printable(error);
    if let Some(remedy) = remedy {
        text.push_str("\n  what helps: ");
        text.push_str(&printable(remedy));
    }
    text
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
        for line in lines(status, now()) {
            say(&line);
        }
    }
    Ok(())
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// A time, and how far away it is.
fn when(at: u64, now: u64) -> String {
    match at.cmp(&now) {
        std::cmp::Ordering::Greater => format!("{}, in {}", date(at), span(at - now)),
        _ => format!("{}, {} ago", date(at), span(now - at)),
    }
}

/// The state in one line, first of all: right or wrong, and what is in force.
fn state(status: &GroupPolicyStatus, now: u64) -> Vec<String> {
    let refreshing = if status.refreshing {
        "; a refresh is under way"
    } else {
        ""
    };
    let Some(error) = &status.error else {
        return match &status.applied {
            Some(applied) => vec![format!(
                "state: applied, refreshed {}{refreshing}",
                when(applied.refreshed, now)
            )],
            None => vec![format!("state: nothing was applied yet{refreshing}")],
        };
    };
    let mut lines = vec![format!(
        "state: FAILED {} time(s) in a row, last {}{refreshing}",
        status.failures,
        status
            .last_attempt
            .map_or_else(|| "-".to_owned(), |at| when(at, now)),
    )];
    lines.push(format!("  why: {}", printable(error)));
    if let Some(remedy) = &status.remedy {
        lines.push(format!("  what helps: {}", printable(remedy)));
    }
    lines.push(match &status.applied {
        Some(applied) => format!(
            "  in force: what was applied {}",
            when(applied.refreshed, now)
        ),
        None => "  in force: nothing of Group Policy, since nothing was ever applied".to_owned(),
    });
    lines
}

/// The machine's password: who changes it, and what is wrong with it.
fn password_lines(status: &GroupPolicyStatus, now: u64) -> Vec<String> {
    let password = &status.password;
    let Some(set) = password.set else {
        return Vec::new();
    };
    let age = now.saturating_sub(set) / 86_400;
    let who = match password.days {
        0 => "this machine does not change it (`machine-password-days` is 0)".to_owned(),
        days => format!("changed every {days} days"),
    };
    let mut lines = vec![format!(
        "machine password: of {}, {age} days old, {who}",
        date(set)
    )];
    if password.days == 0 && age > WINDOWS_DAYS {
        lines.push(format!(
            "  warning: Windows would have changed it after {WINDOWS_DAYS} days. Where no other \
             program uses the account, set `machine-password-days = {WINDOWS_DAYS}`"
        ));
    }
    if let (Some(ours), Some(theirs)) = (password.keytab_version, password.directory_version) {
        lines.push(format!(
            "  keys: version {ours} in the keytab, {theirs} in the directory"
        ));
    }
    if password.pending {
        lines.push(
            "  a change has not come to its end; the next refresh finds out which keys are right"
                .to_owned(),
        );
    }
    if let Some(error) = &password.error {
        lines.push(format!("  it could not be changed: {}", printable(error)));
    }
    lines
}

fn lines(status: &GroupPolicyStatus, now: u64) -> Vec<String> {
    let Some(domain) = &status.domain else {
        return vec![
            "no Group Policy: the configuration has no `[group-policy]` with a `domain`".to_owned(),
        ];
    };
    let mut lines = vec![format!(
        "domain {}, account {}",
        printable(domain),
        printable(status.account.as_deref().unwrap_or("-"))
    )];
    lines.extend(state(status, now));
    if let Some(next) = status.next {
        lines.push(format!("next refresh: {}", when(next, now)));
    }
    lines.extend(password_lines(status, now));
    let Some(applied) = &status.applied else {
        return lines;
    };
    lines.push(format!(
        "from {}, site {}; last change {}",
        printable(&applied.controller),
        printable(applied.site.as_deref().unwrap_or("-")),
        when(applied.changed, now)
    ));
    lines.push(format!("computer {}", printable(&applied.computer)));
    for note in &applied.notes {
        lines.push(format!("note: {}", printable(note)));
    }
    let considered = applied.conclusion.considered.iter();
    for one in considered.clone() {
        for problem in &one.problems {
            lines.push(format!(
                "error in {}: {}",
                printable(&one.gpo.name),
                printable(problem)
            ));
        }
    }
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
    if !considered.problems.is_empty() {
        state.push_str(" WITH ERRORS, see above");
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_server::group_policy::PasswordStatus;

    const DAY: u64 = 86_400;

    fn failing() -> GroupPolicyStatus {
        GroupPolicyStatus {
            domain: Some("lab.example".to_owned()),
            account: Some("FILES$".to_owned()),
            last_attempt: Some(100 * DAY),
            error: Some("LDAP at dc1.lab.example: closed\u{1b}[2J".to_owned()),
            remedy: Some("look at it".to_owned()),
            failures: 3,
            next: Some(100 * DAY + 40),
            password: PasswordStatus {
                set: Some(60 * DAY),
                ..PasswordStatus::default()
            },
            ..GroupPolicyStatus::default()
        }
    }

    #[test]
    fn what_is_wrong_comes_first_with_what_helps() {
        let text = lines(&failing(), 100 * DAY + 10).join("\n");
        for wanted in [
            "state: FAILED 3 time(s) in a row",
            "why: LDAP at dc1.lab.example: closed\u{FFFD}[2J",
            "what helps: look at it",
            "in force: nothing of Group Policy",
            "next refresh: 1970-04-11 00:00:40Z, in 30s",
            "40 days old, this machine does not change it",
            "warning: Windows would have changed it",
        ] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }

    #[test]
    fn a_password_somebody_changes_is_no_warning() {
        let mut status = failing();
        status.password.days = 30;
        status.password.error = Some("refused".to_owned());
        let text = lines(&status, 100 * DAY).join("\n");
        assert!(!text.contains("warning"), "{text}");
        assert!(text.contains("changed every 30 days"), "{text}");
        assert!(text.contains("could not be changed: refused"), "{text}");
    }

    #[test]
    fn a_first_refresh_is_no_lack_of_configuration() {
        let status = GroupPolicyStatus {
            domain: Some("lab.example".to_owned()),
            refreshing: true,
            ..GroupPolicyStatus::default()
        };
        let text = lines(&status, 0).join("\n");
        assert!(
            text.contains("nothing was applied yet; a refresh is under way"),
            "{text}"
        );
    }
}
