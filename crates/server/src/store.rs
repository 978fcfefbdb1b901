//! The local policy store: what `policy set` wrote, in the state folder.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use countersign_policy::{
    Effective, GroupPolicyLayers, Layer, Layers, Setting, Settings, Source, Value,
};
use serde::{Deserialize, Serialize};

use crate::config::schema::PolicySection;
use crate::state::{State, StateError, lock_beside, write_whole};

/// One setting of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its value.
    pub value: Value,
    /// When it was set, milliseconds since 1970.
    pub since: u64,
    /// Who set it.
    pub by: String,
}

/// The content of the store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalPolicy {
    /// The settings that are set.
    #[serde(default)]
    pub settings: BTreeMap<Setting, Entry>,
}

/// One change, a line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When, milliseconds since 1970.
    pub at: u64,
    /// Who.
    pub by: String,
    /// What.
    pub setting: Setting,
    /// What it was; nothing: it was not set.
    pub from: Option<Value>,
    /// What it became; nothing: it was taken out.
    pub to: Option<Value>,
}

/// The store of a state folder.
#[derive(Debug, Clone)]
pub struct PolicyStore {
    state: State,
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Who runs this process, for the history.
pub fn current_user() -> String {
    user_name(rustix::process::getuid().as_raw())
}

/// The name of an account of this machine.
pub(crate) fn user_name(id: u32) -> String {
    let name = fs::read_to_string("/etc/passwd").ok().and_then(|text| {
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse::<u32>().ok()? == id).then(|| name.to_owned())
        })
    });
    name.unwrap_or_else(|| format!("uid {id}"))
}

impl PolicyStore {
    /// The store of a state folder.
    pub fn new(state: State) -> Self {
        Self { state }
    }

    /// Its file.
    pub fn path(&self) -> PathBuf {
        self.state.file("policy.json")
    }

    /// The file of its history: one JSON object a line, oldest first.
    pub fn history_path(&self) -> PathBuf {
        self.state.file("policy-history.jsonl")
    }

    /// Reads it; a missing file says nothing.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn load(&self) -> Result<LocalPolicy, StateError> {
        let path = self.path();
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| StateError {
                path,
                source: error.into(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LocalPolicy::default()),
            Err(source) => Err(StateError { path, source }),
        }
    }

    /// The last change that the history tells of.
    pub fn last_change(&self) -> Option<Change> {
        let text = fs::read_to_string(self.history_path()).ok()?;
        text.lines()
            .rev()
            .find_map(|line| serde_json::from_str(line).ok())
    }

    /// Sets settings, or takes them out (`None`): all of them or none.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn change(&self, wanted: &[(Setting, Option<Value>)]) -> Result<Vec<Change>, StateError> {
        self.state.create()?;
        let path = self.path();
        let _lock = lock_beside(&path).map_err(StateError::at(&path))?;
        let mut policy = self.load()?;
        let (at, by) = (now_ms(), current_user());
        let mut changes = Vec::new();
        for &(setting, value) in wanted {
            let before = match value {
                Some(value) => policy.settings.insert(
                    setting,
                    Entry {
                        value,
                        since: at,
                        by: by.clone(),
                    },
                ),
                None => policy.settings.remove(&setting),
            };
            let from = before.map(|entry| entry.value);
            changes.push(Change {
                at,
                by: by.clone(),
                setting,
                from,
                to: value,
            });
        }
        let text = serde_json::to_string_pretty(&policy).map_err(|error| StateError {
            path: path.clone(),
            source: error.into(),
        })?;
        write_whole(&path, format!("{text}\n").as_bytes()).map_err(StateError::at(&path))?;
        self.note(&changes)
            .map_err(StateError::at(&self.history_path()))?;
        Ok(changes)
    }

    fn note(&self, changes: &[Change]) -> io::Result<()> {
        let mut lines = String::new();
        for change in changes {
            lines.push_str(&serde_json::to_string(change)?);
            lines.push('\n');
        }
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(self.history_path())?;
        file.write_all(lines.as_bytes())?;
        file.sync_data()
    }
}

/// What is in force for one process: profile, configuration file, then command
/// line and local policy store, of which the later word wins, setting by setting.
/// (Starting a server with `--policy` is a word said at its start.) Group Policy is
/// above all of it.
pub fn effective(
    section: &PolicySection,
    flags: Settings,
    started: u64,
    local: &LocalPolicy,
    group: &GroupPolicyLayers,
) -> Effective {
    let mut layers = Layers::new(section.profile, section.role);
    layers.set_declined(section.declined);
    let mut file = section.settings();
    let mut command_line = flags;
    let mut early = Layer::new(Source::Local, Settings::default(), None);
    let mut late = early.clone();
    for (at, setting) in Setting::ALL.into_iter().enumerate() {
        let Some(entry) = local.settings.get(&setting) else {
            continue;
        };
        let newer = entry.since >= started;
        let layer = if newer { &mut late } else { &mut early };
        layer.settings.set(setting, entry.value);
        if let Some(since) = layer.since.get_mut(at) {
            *since = Some(entry.since / 1000);
        }
        // "Not defined", said in the local layer, takes back what that layer said.
        if entry.value == Value::NotDefined {
            file.set(setting, Value::NotDefined);
            if newer {
                command_line.set(setting, Value::NotDefined);
            }
        }
    }
    layers.push(Layer::new(Source::Configuration, file, None));
    layers.push(early);
    layers.push(Layer::new(
        Source::CommandLine,
        command_line,
        Some(started / 1000),
    ));
    layers.push(late);
    group.push_onto(&mut layers);
    layers.effective()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALWAYS: Setting = Setting::ServerAlways;

    fn store() -> (tempfile::TempDir, PolicyStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = PolicyStore::new(State::at(Some(&folder.path().join("state"))));
        (folder, store)
    }

    #[test]
    fn changes_are_kept_and_their_history_says_who() {
        let (_folder, store) = store();
        assert_eq!(store.load().unwrap(), LocalPolicy::default());
        store.change(&[(ALWAYS, Some(Value::Enabled))]).unwrap();
        let changes = store.change(&[(ALWAYS, Some(Value::Disabled))]).unwrap();
        assert_eq!(
            (changes[0].from, changes[0].to),
            (Some(Value::Enabled), Some(Value::Disabled))
        );
        assert_eq!(
            store.load().unwrap().settings[&ALWAYS].value,
            Value::Disabled
        );
        store.change(&[(ALWAYS, None)]).unwrap();
        assert!(store.load().unwrap().settings.is_empty());
        let history = fs::read_to_string(store.history_path()).unwrap();
        let lines: Vec<Change> = history
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2].to, None);
        assert_eq!(lines[0].by, current_user());
    }

    #[test]
    fn concurrent_changes_are_not_lost() {
        let (_folder, store) = store();
        std::thread::scope(|scope| {
            for setting in Setting::ALL {
                let store = &store;
                scope.spawn(move || {
                    for _ in 0..5 {
                        store.change(&[(setting, Some(Value::Enabled))]).unwrap();
                    }
                });
            }
        });
        assert_eq!(store.load().unwrap().settings.len(), 4);
        assert_eq!(
            fs::read_to_string(store.history_path())
                .unwrap()
                .lines()
                .count(),
            20
        );
    }

    #[test]
    fn a_damaged_store_is_refused_rather_than_forgotten() {
        let (_folder, store) = store();
        store.change(&[(ALWAYS, Some(Value::Enabled))]).unwrap();
        fs::write(store.path(), "{").unwrap();
        assert!(store.load().is_err());
        assert!(store.change(&[(ALWAYS, None)]).is_err());
    }

    fn said(value: Value, since: u64) -> LocalPolicy {
        let entry = Entry {
            value,
            since,
            by: "test".to_owned(),
        };
        LocalPolicy {
            settings: BTreeMap::from([(ALWAYS, entry)]),
        }
    }

    #[test]
    fn of_command_line_and_store_the_later_word_wins() {
        let section = PolicySection::default();
        let flags = Settings::default().with(ALWAYS, Value::Disabled);
        let source = |local: &LocalPolicy| {
            let effective = effective(&section, flags, 1000, local, &GroupPolicyLayers::default());
            let standing = effective.get(ALWAYS).clone();
            (standing.value, standing.source)
        };
        assert_eq!(
            source(&LocalPolicy::default()),
            (Value::Disabled, Source::CommandLine)
        );
        assert_eq!(
            source(&said(Value::Enabled, 999)),
            (Value::Disabled, Source::CommandLine)
        );
        assert_eq!(
            source(&said(Value::Enabled, 1000)),
            (Value::Enabled, Source::Local)
        );
        let profile = Source::Profile(section.profile, section.role);
        assert_eq!(
            source(&said(Value::NotDefined, 1001)),
            (Value::Enabled, profile)
        );
        assert_eq!(
            source(&said(Value::NotDefined, 999)),
            (Value::Disabled, Source::CommandLine)
        );
    }

    #[test]
    fn the_store_is_stronger_than_the_file() {
        let section = PolicySection {
            server_always: Value::Disabled,
            ..PolicySection::default()
        };
        let none = Settings::default();
        let effective = effective(
            &section,
            none,
            1000,
            &said(Value::Enabled, 1),
            &GroupPolicyLayers::default(),
        );
        let standing = effective.get(ALWAYS);
        assert_eq!(
            (standing.value, &standing.source),
            (Value::Enabled, &Source::Local)
        );
        assert_eq!(standing.shadowed.len(), 2);
    }
}
