//! `countersign policy show`.

use countersign_policy::{Effective, Setting, Settings};
use countersign_server::admin::{Answer, Request, ask_all};
use countersign_server::config::Config;
use countersign_server::group_policy::GroupPolicyStore;
use countersign_server::state::State;
use countersign_server::store::{self, PolicyStore};
use serde_json::{Map, Value as Json, json};

use super::PATIENCE;
use crate::Outcome;
use crate::arguments::Place;
use crate::output::{date, printable, say, say_json, table};

/// The policy of one server, or of one that would be started now.
pub(super) struct InForce {
    /// Its process id; nothing: none is running.
    pub(super) pid: Option<u32>,
    /// An [`Effective`] as JSON.
    pub(super) policy: Json,
}

impl InForce {
    /// The policy; its layers are left behind.
    pub(super) fn effective(&self) -> Effective {
        let mut settings = Settings::default();
        for setting in Setting::ALL {
            let value = self.row(setting).and_then(|row| row.get("effective"));
            if let Some(Ok(value)) = value.and_then(Json::as_str).map(str::parse) {
                settings.set(setting, value);
            }
        }
        let declined = self.policy.get("declined").and_then(Json::as_bool);
        Effective::of(settings).with_declined(declined.unwrap_or(false))
    }

    /// Who set a setting.
    pub(super) fn set_by(&self, setting: Setting) -> String {
        source(self.row(setting).and_then(|row| row.get("source")))
    }

    /// A word about where a setting comes from: `layer`, `text`.
    pub(super) fn origin(&self, setting: Setting, word: &str) -> &str {
        self.row(setting)
            .and_then(|row| row.get("source")?.get(word)?.as_str())
            .unwrap_or("?")
    }

    fn row(&self, setting: Setting) -> Option<&Json> {
        self.policy.get("settings")?.get(setting.name())
    }
}

/// What a server started now would have.
pub(crate) fn without_server(place: &Place) -> Result<Effective, String> {
    let (state, config) = place.state()?;
    let group = GroupPolicyStore::new(state.clone())
        .layers_of(&config)
        .map_err(|error| error.to_string())?;
    let local = PolicyStore::new(state)
        .load()
        .map_err(|error| error.to_string())?;
    let effective = store::effective(
        &config.policy,
        Settings::default(),
        store::now_ms(),
        &local,
        &group,
    );
    Ok(if config.exceptions.allow {
        effective
    } else {
        effective.with_exceptions(false)
    })
}

/// The policy of every running server of the state folder; without any, what a server
/// started now would have.
pub(super) fn in_force(place: &Place) -> Result<Vec<InForce>, String> {
    let (state, _) = place.state()?;
    let mut servers = Vec::new();
    for asked in ask_all(&state, &Request::Policy, PATIENCE) {
        match asked.answer {
            Ok(Answer::Policy { policy }) => servers.push(InForce {
                pid: Some(asked.pid),
                policy,
            }),
            Ok(Answer::Failed { error }) => return Err(format!("server {}: {error}", asked.pid)),
            Ok(_) => return Err(format!("server {}: unexpected answer", asked.pid)),
            Err(error) => return Err(format!("server {}: {error}", asked.pid)),
        }
    }
    if servers.is_empty() {
        let effective = without_server(place)?;
        servers.push(InForce {
            pid: None,
            policy: to_json(&effective)?,
        });
    }
    Ok(servers)
}

/// Whether a server speaks SMB1; one that does not say counts as one that does.
fn speaks_smb1(state: &State, config: &Config, servers: &[InForce]) -> Vec<bool> {
    let asked = ask_all(state, &Request::Hardening, PATIENCE);
    servers
        .iter()
        .map(|server| match server.pid {
            None => config.hardening().smb1,
            Some(pid) => {
                asked
                    .iter()
                    .find(|asked| asked.pid == pid)
                    .is_none_or(|asked| match &asked.answer {
                        Ok(Answer::Hardening(hardening)) => hardening.smb1,
                        _ => true,
                    })
            }
        })
        .collect()
}

pub(super) fn show(place: &Place, json: bool) -> Outcome {
    let (state, config) = place.state()?;
    let local = PolicyStore::new(state.clone())
        .load()
        .map_err(|error| error.to_string())?;
    let servers = in_force(place)?;
    let running = servers.iter().any(|server| server.pid.is_some());
    let smb1 = speaks_smb1(&state, &config, &servers);
    if json {
        // The first server's at the top, where scripts look; all of them below.
        let mut object = match servers.first().map(|server| server.policy.clone()) {
            Some(Json::Object(policy)) => policy,
            _ => Map::new(),
        };
        object.insert("speaks_smb1".to_owned(), json!(smb1.first()));
        object.insert("state".to_owned(), json!(state.folder()));
        object.insert("running".to_owned(), json!(running));
        object.insert("stored".to_owned(), json!(local.settings));
        let all: Vec<Json> = servers
            .into_iter()
            .zip(smb1)
            .map(|(server, smb1)| {
                let mut object = Map::new();
                object.insert("pid".to_owned(), json!(server.pid));
                object.insert("speaks_smb1".to_owned(), json!(smb1));
                if let Json::Object(policy) = server.policy {
                    object.extend(policy);
                }
                Json::Object(object)
            })
            .collect();
        object.insert("servers".to_owned(), Json::Array(all));
        return say_json(&Json::Object(object));
    }
    for (server, smb1) in servers.iter().zip(smb1) {
        match server.pid {
            Some(pid) => say(&format!("server {pid}")),
            None => say(&format!(
                "no server is running with the state folder {}; one with profile {} would have",
                state.folder().display(),
                config.policy.profile.name()
            )),
        }
        say(&rows(&server.policy));
        if !smb1 {
            say("SMB1 is off (`[dialects] smb1`): what is said of it would hold if it were on");
        }
    }
    Ok(())
}

fn to_json(effective: &Effective) -> Result<Json, String> {
    match Answer::policy(effective) {
        Answer::Policy { policy } => Ok(policy),
        Answer::Failed { error } => Err(error),
        _ => Err("unexpected answer".to_owned()),
    }
}

fn text(json: Option<&Json>) -> String {
    json.and_then(Json::as_str)
        .map_or_else(|| "?".to_owned(), printable)
}

fn since(json: Option<&Json>) -> String {
    json.and_then(Json::as_u64)
        .map_or_else(|| "-".to_owned(), date)
}

/// Who said a value.
fn source(json: Option<&Json>) -> String {
    text(json.and_then(|source| source.get("text")))
}

/// The table of one server.
fn rows(policy: &Json) -> String {
    let settings = policy.get("settings");
    let row_of = |setting: Setting| settings.and_then(|all| all.get(setting.name()));
    let mut values = Vec::new();
    let mut effects = Vec::new();
    let mut more = Vec::new();
    for setting in Setting::ALL {
        let row = row_of(setting);
        let of = |key: &str| row.and_then(|row| row.get(key));
        values.push(vec![
            setting.name().to_owned(),
            text(of("effective")),
            source(of("source")),
            since(of("since")),
        ]);
        effects.push(vec![
            setting.name().to_owned(),
            text(of("smb1")),
            text(of("smb2")),
        ]);
        let link = of("source").and_then(|source| source.get("link"));
        if let Some(link) = link.filter(|link| link.is_string()) {
            more.push(format!(
                "{setting}: the policy is linked to {}",
                text(Some(link))
            ));
        }
        for one in of("shadowed")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
        {
            let when = match one.get("since").and_then(Json::as_u64) {
                Some(when) => format!(" since {}", date(when)),
                None => String::new(),
            };
            more.push(format!(
                "{setting}: shadows {} by {}{when}",
                text(one.get("value")),
                source(one.get("source")),
            ));
        }
    }
    let mut out = table(&["SETTING", "VALUE", "SET BY", "SINCE"], &values);
    out.push_str("\n\n");
    out.push_str(&table(&["SETTING", "ON SMB1", "ON SMB 2 AND 3"], &effects));
    out.push('\n');
    for line in more {
        out.push('\n');
        out.push_str(&line);
    }
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
