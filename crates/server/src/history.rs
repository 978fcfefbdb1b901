//! The history of the local policy: who changed what, when, and taking it back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use countersign_policy::exchange::Item;

use crate::state::{StateError, lock_beside, write_whole};
use crate::store::{Change, LocalPolicy, PolicyStore};

/// What cannot be undone.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// The store or its history cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// There are not that many changes.
    #[error("{}", match .0 {
        0 => "there is no change that can be undone".to_owned(),
        1 => "there is only one change that can be undone".to_owned(),
        count => format!("there are only {count} changes that can be undone"),
    })]
    TooMany(usize),
    /// The store was changed by other means, so what was before is not known.
    #[error(
        "{setting} is {is} in the store, but its last change made it {should}: the store was \
         changed by other means; set what you want with `policy set`"
    )]
    Changed {
        /// The setting.
        setting: Item,
        /// What it is.
        is: String,
        /// What the history says.
        should: String,
    },
}

fn shown(value: Option<countersign_policy::Value>) -> String {
    value.map_or_else(|| "not set".to_owned(), |value| value.to_string())
}

/// The lines of a history; the last may be cut off.
fn read_lines(text: &str) -> io::Result<(Vec<Change>, bool)> {
    let mut changes = Vec::new();
    let mut lines = text.split_inclusive('\n').enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        match serde_json::from_str(line) {
            Ok(change) => changes.push(change),
            // A crash in the middle of writing; what it should say is in the store.
            Err(_) if lines.peek().is_none() && !line.ends_with('\n') => {
                return Ok((changes, true));
            }
            Err(error) => {
                let error = error.to_string();
                let what = error.split(" at line ").next().unwrap_or_default();
                let text = format!(
                    "line {}: {what}; the policy itself is in policy.json: move the history away to go on without it",
                    number + 1
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
    }
    let cut = !text.is_empty() && !text.ends_with('\n');
    Ok((changes, cut))
}

fn lines_of(changes: &[Change]) -> io::Result<String> {
    let mut lines = String::new();
    for change in changes {
        lines.push_str(&serde_json::to_string(change)?);
        lines.push('\n');
    }
    Ok(lines)
}

/// The numbers that can be undone, oldest first: changes that are neither undone nor
/// an undoing.
fn open_numbers(history: &[Change]) -> Vec<u64> {
    let mut open = Vec::new();
    for change in history {
        if !change.undoes.is_empty() {
            open.retain(|number| !change.undoes.contains(number));
        } else if !open.contains(&change.number) {
            open.push(change.number);
        }
    }
    open
}

impl PolicyStore {
    /// All changes, oldest first. What a crash left out of the history's file is put
    /// in from the store.
    ///
    /// # Errors
    /// When store or history cannot be read or understood.
    pub fn history(&self) -> Result<Vec<Change>, StateError> {
        let last = self.load()?.last;
        Ok(self.whole(&last)?.0)
    }

    /// The history with the store's last changes in it, and whether the file lacks
    /// something.
    fn whole(&self, last: &[Change]) -> Result<(Vec<Change>, bool), StateError> {
        let path = self.history_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(StateError { path, source }),
        };
        let (mut changes, cut) = read_lines(&text).map_err(StateError::at(&path))?;
        let Some(number) = last.first().map(|change| change.number) else {
            return Ok((changes, cut));
        };
        let noted = changes
            .iter()
            .filter(|change| change.number == number)
            .count();
        if noted == last.len() {
            return Ok((changes, cut));
        }
        changes.retain(|change| change.number != number);
        changes.extend_from_slice(last);
        Ok((changes, true))
    }

    /// Under the lock: puts into the file what a crash left out, and takes away what it
    /// left behind. The last number.
    pub(crate) fn mend(&self, policy: &LocalPolicy) -> Result<u64, StateError> {
        let (changes, incomplete) = self.whole(&policy.last)?;
        let path = self.history_path();
        if incomplete {
            let text = lines_of(&changes).map_err(StateError::at(&path))?;
            write_whole(&path, text.as_bytes()).map_err(StateError::at(&path))?;
        }
        if let Some(folder) = path.parent() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let ours = ["policy.json", "policy-history.jsonl"]
                    .iter()
                    .any(|file| name.starts_with(&format!(".{file}.")));
                if ours && name.ends_with(".new") {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        Ok(changes
            .iter()
            .map(|change| change.number)
            .max()
            .unwrap_or(0))
    }

    /// Adds lines to the history.
    pub(crate) fn note(&self, changes: &[Change]) -> io::Result<()> {
        let path = self.history_path();
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(lines_of(changes)?.as_bytes())?;
        file.sync_data()?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    /// Takes the last `count` changes back (changes made together count once), all or
    /// none. Undoing again goes on with the change before.
    ///
    /// # Errors
    /// [`UndoError`].
    pub fn undo(&self, count: usize) -> Result<Vec<Change>, UndoError> {
        let path = self.path();
        if !path.exists() {
            return Err(UndoError::TooMany(0));
        }
        let _lock = lock_beside(&path).map_err(StateError::at(&path))?;
        let policy = self.load()?;
        let (history, _) = self.whole(&policy.last)?;
        let open = open_numbers(&history);
        let Some(first) = open.len().checked_sub(count) else {
            return Err(UndoError::TooMany(open.len()));
        };
        let undone: Vec<u64> = open.get(first..).unwrap_or_default().to_vec();
        let mut now: Vec<(Item, Option<countersign_policy::Value>)> = Vec::new();
        for change in history.iter().rev() {
            if !undone.contains(&change.number) {
                continue;
            }
            let known = now.iter_mut().find(|(item, _)| *item == change.setting);
            let is = match &known {
                Some((_, value)) => *value,
                None => policy.get(change.setting).map(|entry| entry.value),
            };
            if is != change.to {
                return Err(UndoError::Changed {
                    setting: change.setting,
                    is: shown(is),
                    should: shown(change.to),
                });
            }
            match known {
                Some((_, value)) => *value = change.from,
                None => now.push((change.setting, change.from)),
            }
        }
        Ok(self.apply(policy, &now, "undo", undone)?)
    }
}

#[cfg(test)]
mod tests {
    use countersign_policy::{Setting, Value};

    use super::*;
    use crate::state::State;
    use crate::store::{Wanted, current_user};

    const ALWAYS: Item = Item::Setting(Setting::ServerAlways);
    const IF_AGREES: Item = Item::Setting(Setting::ServerIfClientAgrees);
    const ON: Option<Value> = Some(Value::Enabled);
    const OFF: Option<Value> = Some(Value::Disabled);

    fn store() -> (tempfile::TempDir, PolicyStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = PolicyStore::new(State::at(Some(&folder.path().join("state"))));
        (folder, store)
    }

    fn value(store: &PolicyStore, item: Item) -> Option<Value> {
        store.load().unwrap().get(item).map(|entry| entry.value)
    }

    /// What the history comes to when it is played from the start.
    fn played(history: &[Change], item: Item) -> Option<Value> {
        let mut value = None;
        for change in history.iter().filter(|change| change.setting == item) {
            assert_eq!(change.from, value, "{change:?}");
            value = change.to;
        }
        value
    }

    #[test]
    fn changes_are_kept_and_their_history_says_who() {
        let (_folder, store) = store();
        assert_eq!(store.load().unwrap(), LocalPolicy::default());
        assert_eq!(store.history().unwrap(), []);
        store.change(&[(ALWAYS, ON)], "set").unwrap();
        let changes = store.change(&[(ALWAYS, OFF)], "set").unwrap();
        assert_eq!((changes[0].from, changes[0].to), (ON, OFF));
        assert_eq!(value(&store, ALWAYS), OFF);
        store.change(&[(ALWAYS, None)], "unset").unwrap();
        assert!(store.load().unwrap().settings.is_empty());
        let history = store.history().unwrap();
        assert_eq!(history.len(), 3);
        assert_eq!(history[2].to, None);
        assert_eq!(history[2].how, "unset");
        assert_eq!(history[0].by, current_user());
        assert_eq!(
            history.iter().map(|one| one.number).collect::<Vec<_>>(),
            [1, 2, 3]
        );
    }

    #[test]
    fn concurrent_changes_are_not_lost() {
        let (_folder, store) = store();
        std::thread::scope(|scope| {
            for setting in Setting::ALL {
                let store = &store;
                scope.spawn(move || {
                    for _ in 0..5 {
                        store
                            .change(&[(Item::Setting(setting), ON)], "set")
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(store.load().unwrap().settings.len(), 4);
        let numbers: Vec<u64> = store
            .history()
            .unwrap()
            .iter()
            .map(|one| one.number)
            .collect();
        assert_eq!(numbers, (1..=20).collect::<Vec<u64>>());
    }

    #[test]
    fn a_damaged_store_or_history_is_refused_rather_than_forgotten() {
        let (_folder, store) = store();
        store.change(&[(ALWAYS, ON)], "set").unwrap();
        let good = fs::read(store.path()).unwrap();
        fs::write(store.path(), "{").unwrap();
        assert!(store.load().is_err());
        assert!(store.change(&[(ALWAYS, None)], "unset").is_err());
        assert!(store.undo(1).is_err());
        fs::write(store.path(), good).unwrap();
        fs::write(store.history_path(), "{\n{}\n").unwrap();
        let error = store.change(&[(ALWAYS, None)], "unset").unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
        assert_eq!(value(&store, ALWAYS), ON);
    }

    #[test]
    fn undo_goes_back_step_by_step_and_over_changes_made_together() {
        let (_folder, store) = store();
        assert!(matches!(store.undo(1), Err(UndoError::TooMany(0))));
        store.change(&[(ALWAYS, ON)], "set").unwrap();
        let both: [Wanted; 2] = [(ALWAYS, OFF), (IF_AGREES, ON)];
        store.change(&both, "import template.inf").unwrap();
        store.change(&[(IF_AGREES, OFF)], "set").unwrap();
        let undone = store.undo(1).unwrap();
        assert_eq!((undone[0].setting, undone[0].to), (IF_AGREES, ON));
        assert_eq!(undone[0].undoes, [3]);
        store.undo(1).unwrap();
        assert_eq!(
            (value(&store, ALWAYS), value(&store, IF_AGREES)),
            (ON, None)
        );
        // A new change after an undoing is the next to be undone.
        store.change(&[(IF_AGREES, OFF)], "set").unwrap();
        store.undo(2).unwrap();
        assert_eq!(
            (value(&store, ALWAYS), value(&store, IF_AGREES)),
            (None, None)
        );
        assert!(matches!(store.undo(1), Err(UndoError::TooMany(0))));
        let history = store.history().unwrap();
        assert_eq!(played(&history, ALWAYS), None);
        assert_eq!(played(&history, IF_AGREES), None);
    }

    #[test]
    fn more_than_there_is_undoes_nothing() {
        let (_folder, store) = store();
        store.change(&[(ALWAYS, ON)], "set").unwrap();
        assert!(matches!(store.undo(2), Err(UndoError::TooMany(1))));
        assert_eq!(value(&store, ALWAYS), ON);
    }

    #[test]
    fn a_store_changed_by_other_means_is_not_undone_blindly() {
        let (_folder, store) = store();
        store.change(&[(ALWAYS, ON)], "set").unwrap();
        let text = fs::read_to_string(store.path()).unwrap();
        let (entry, last) = text.split_once("\"last\"").unwrap();
        let changed = entry.replace("\"enabled\"", "\"disabled\"");
        fs::write(store.path(), format!("{changed}\"last\"{last}")).unwrap();
        let error = store.undo(1).unwrap_err();
        assert!(
            error.to_string().contains("changed by other means"),
            "{error}"
        );
        assert_eq!(value(&store, ALWAYS), OFF);
    }

    /// Every point at which a process can die while it changes the store: what is there
    /// afterwards is the old state or the new one, and the history tells of it.
    #[test]
    fn a_crash_at_any_point_leaves_a_consistent_store() {
        let (_folder, store) = store();
        store.change(&[(ALWAYS, ON)], "set").unwrap();
        let before = (
            fs::read(store.path()).unwrap(),
            fs::read(store.history_path()).unwrap(),
        );
        store
            .change(&[(ALWAYS, OFF), (IF_AGREES, ON)], "set")
            .unwrap();
        let after = (
            fs::read(store.path()).unwrap(),
            fs::read(store.history_path()).unwrap(),
        );
        let left_behind = store.path().with_file_name(".policy.json.4711.new");
        // Before the store is in place, with its new file half written.
        fs::write(store.path(), &before.0).unwrap();
        fs::write(store.history_path(), &before.1).unwrap();
        fs::write(&left_behind, &after.0[..after.0.len() / 2]).unwrap();
        assert_eq!(value(&store, ALWAYS), ON);
        assert_eq!(store.history().unwrap().len(), 1);
        store.change(&[(IF_AGREES, OFF)], "set").unwrap();
        assert!(!left_behind.exists());
        // After it, the history written to any extent.
        for length in before.1.len()..=after.1.len() {
            fs::write(store.path(), &after.0).unwrap();
            fs::write(store.history_path(), &after.1[..length]).unwrap();
            assert_eq!((value(&store, ALWAYS), value(&store, IF_AGREES)), (OFF, ON));
            let history = store.history().unwrap();
            assert_eq!(history.len(), 3, "{length}");
            assert_eq!(played(&history, ALWAYS), OFF);
            if length % 2 == 0 {
                store.undo(1).unwrap();
                assert_eq!(
                    (value(&store, ALWAYS), value(&store, IF_AGREES)),
                    (ON, None)
                );
            } else {
                store.change(&[(ALWAYS, None)], "unset").unwrap();
                assert_eq!(value(&store, ALWAYS), None);
            }
            let history = store.history().unwrap();
            let (noted, cut) =
                read_lines(&fs::read_to_string(store.history_path()).unwrap()).unwrap();
            assert_eq!((&noted, cut), (&history, false), "the file is mended");
            assert_eq!(played(&history, ALWAYS), value(&store, ALWAYS));
            assert_eq!(played(&history, IF_AGREES), value(&store, IF_AGREES));
        }
    }
}
