//! The local policy store: what `policy set` wrote, in the state folder.
//!
//! A change is written as a whole and carries itself (`last`), then it is noted in the
//! history. A crash between the two loses nothing: the history is mended from the store
//! when it is read next, and running servers look at the store themselves.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use countersign_policy::exchange::Item;
use countersign_policy::{
    AuditSwitch, Effective, GroupPolicyLayers, Layer, Layers, Setting, Settings, Source, Value,
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
    /// The audit switches that are set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub audit: BTreeMap<AuditSwitch, Entry>,
    /// The changes that made it what it is: those of the last number in the history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last: Vec<Change>,
}

impl LocalPolicy {
    /// What is set.
    pub fn get(&self, item: Item) -> Option<&Entry> {
        match item {
            Item::Setting(setting) => self.settings.get(&setting),
            Item::Audit(switch) => self.audit.get(&switch),
        }
    }

    fn put(&mut self, item: Item, entry: Option<Entry>) -> Option<Entry> {
        match (item, entry) {
            (Item::Setting(setting), Some(entry)) => self.settings.insert(setting, entry),
            (Item::Setting(setting), None) => self.settings.remove(&setting),
            (Item::Audit(switch), Some(entry)) => self.audit.insert(switch, entry),
            (Item::Audit(switch), None) => self.audit.remove(&switch),
        }
    }
}

/// One change, a line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Changes made together have one number; numbers rise.
    #[serde(default)]
    pub number: u64,
    /// When, milliseconds since 1970.
    pub at: u64,
    /// Who.
    pub by: String,
    /// How: `set`, `unset`, `import FILE`, `undo`.
    #[serde(default)]
    pub how: String,
    /// What.
    pub setting: Item,
    /// What it was; nothing: it was not set.
    pub from: Option<Value>,
    /// What it became; nothing: it was taken out.
    pub to: Option<Value>,
    /// The numbers that were undone by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undoes: Vec<u64>,
}

/// What is wanted of a setting; `None`: it is taken out.
pub type Wanted = (Item, Option<Value>);

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
    let id = rustix::process::getuid();
    let name = user_name(id.as_raw());
    match std::env::var("SUDO_USER") {
        Ok(user) if id.is_root() && !user.is_empty() && user != name => {
            format!("{name} for {user}")
        }
        _ => name,
    }
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

    /// The last change of the store.
    pub fn last_change(&self) -> Option<Change> {
        self.load().ok()?.last.pop()
    }

    /// Sets settings, or takes them out (`None`): all of them or none. `how` is for the
    /// history.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn change(&self, wanted: &[Wanted], how: &str) -> Result<Vec<Change>, StateError> {
        self.state.create()?;
        let path = self.path();
        let _lock = lock_beside(&path).map_err(StateError::at(&path))?;
        let policy = self.load()?;
        self.apply(policy, wanted, how, Vec::new())
    }

    /// Under the lock: history first mended, then the store, then the history.
    pub(crate) fn apply(
        &self,
        mut policy: LocalPolicy,
        wanted: &[Wanted],
        how: &str,
        undoes: Vec<u64>,
    ) -> Result<Vec<Change>, StateError> {
        let number = self.mend(&policy)? + 1;
        let (at, by) = (now_ms(), current_user());
        let mut changes = Vec::new();
        for &(item, value) in wanted {
            let entry = value.map(|value| Entry {
                value,
                since: at,
                by: by.clone(),
            });
            let before = policy.put(item, entry);
            changes.push(Change {
                number,
                at,
                by: by.clone(),
                how: how.to_owned(),
                setting: item,
                from: before.map(|entry| entry.value),
                to: value,
                undoes: undoes.clone(),
            });
        }
        policy.last = changes.clone();
        let path = self.path();
        let text = serde_json::to_string_pretty(&policy).map_err(|error| StateError {
            path: path.clone(),
            source: error.into(),
        })?;
        write_whole(&path, format!("{text}\n").as_bytes()).map_err(StateError::at(&path))?;
        self.note(&changes)
            .map_err(StateError::at(&self.history_path()))?;
        Ok(changes)
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

    fn said(value: Value, since: u64) -> LocalPolicy {
        let entry = Entry {
            value,
            since,
            by: "test".to_owned(),
        };
        LocalPolicy {
            settings: BTreeMap::from([(ALWAYS, entry)]),
            ..LocalPolicy::default()
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
