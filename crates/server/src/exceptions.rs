//! The store of exceptions in the state folder: what `exception add` wrote.

use std::fs;
use std::io;
use std::path::PathBuf;

use countersign_policy::{Exception, Exceptions};
use serde::{Deserialize, Serialize};

use crate::state::{State, StateError, lock_beside, write_whole};
use crate::store::{current_user, now_ms};

/// Exceptions there may be at once, those that have ended included.
pub const MOST: usize = 1000;
/// Shares one exception may name.
pub const MOST_SHARES: usize = 100;
/// Characters of a name, and of a reason.
pub const LONGEST_NAME: usize = 256;
/// Characters of a reason.
pub const LONGEST_REASON: usize = 1000;

/// An exception, who added it, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// The exception.
    pub exception: Exception,
    /// Who added it.
    pub by: String,
    /// When, milliseconds since 1970.
    pub at: u64,
}

/// The content of the store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stored {
    /// Number of the next exception: none is given twice.
    #[serde(default)]
    pub next: u64,
    /// Who changed it last, and when (milliseconds since 1970).
    #[serde(default)]
    pub changed_by: String,
    /// When it was changed last, milliseconds since 1970.
    #[serde(default)]
    pub changed_at: u64,
    /// The exceptions, the oldest first.
    #[serde(default)]
    pub exceptions: Vec<Entry>,
}

impl Stored {
    /// Those that have not ended.
    pub fn in_force(&self, now: u64) -> Exceptions {
        Exceptions::new(
            self.exceptions
                .iter()
                .map(|entry| entry.exception.clone())
                .filter(|one| one.is_in_force(now)),
        )
    }
}

/// The store of a state folder.
#[derive(Debug, Clone)]
pub struct ExceptionStore {
    state: State,
}

/// Why an exception cannot be added or removed.
#[derive(Debug, thiserror::Error)]
pub enum ExceptionError {
    /// The file.
    #[error(transparent)]
    State(#[from] StateError),
    /// It has no reason.
    #[error("an exception must have a reason")]
    NoReason,
    /// It ends before it begins.
    #[error("an exception must have an end in the future")]
    Ended,
    /// What it names cannot be meant.
    #[error("{0}")]
    Meaningless(String),
    /// There are too many.
    #[error("there are {MOST} exceptions already: remove some")]
    TooMany,
    /// There is none of this name.
    #[error("there is no exception `{0}`")]
    Unknown(String),
}

impl ExceptionStore {
    /// The store of a state folder.
    pub fn new(state: State) -> Self {
        Self { state }
    }

    /// Its file.
    pub fn path(&self) -> PathBuf {
        self.state.file("exceptions.json")
    }

    /// Reads it; a missing file has none.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn load(&self) -> Result<Stored, StateError> {
        let path = self.path();
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| StateError {
                path,
                source: error.into(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stored::default()),
            Err(source) => Err(StateError { path, source }),
        }
    }

    /// Adds one; its id is given here.
    ///
    /// # Errors
    /// When it has no reason or no end ahead, or the store cannot be written.
    pub fn add(&self, mut exception: Exception) -> Result<Entry, ExceptionError> {
        if exception.reason.trim().is_empty() {
            return Err(ExceptionError::NoReason);
        }
        if !exception.is_in_force(now_ms() / 1000) {
            return Err(ExceptionError::Ended);
        }
        meaningful(&exception).map_err(ExceptionError::Meaningless)?;
        self.change(|stored| {
            if stored.exceptions.len() >= MOST {
                return Err(ExceptionError::TooMany);
            }
            stored.next = stored.next.saturating_add(1);
            exception.id = stored.next.to_string();
            let entry = Entry {
                exception,
                by: stored.changed_by.clone(),
                at: stored.changed_at,
            };
            stored.exceptions.push(entry.clone());
            Ok(entry)
        })
    }

    /// Removes one.
    ///
    /// # Errors
    /// When there is none, or the store cannot be written.
    pub fn remove(&self, id: &str) -> Result<Entry, ExceptionError> {
        self.change(|stored| {
            let at = stored
                .exceptions
                .iter()
                .position(|entry| entry.exception.id == id)
                .ok_or_else(|| ExceptionError::Unknown(id.to_owned()))?;
            Ok(stored.exceptions.remove(at))
        })
    }

    fn change<T>(
        &self,
        how: impl FnOnce(&mut Stored) -> Result<T, ExceptionError>,
    ) -> Result<T, ExceptionError> {
        self.state.create()?;
        let path = self.path();
        let _lock = lock_beside(&path).map_err(StateError::at(&path))?;
        let mut stored = self.load()?;
        (stored.changed_by, stored.changed_at) = (current_user(), now_ms());
        let done = how(&mut stored)?;
        let text = serde_json::to_string_pretty(&stored).map_err(|error| StateError {
            path: path.clone(),
            source: error.into(),
        })?;
        write_whole(&path, format!("{text}\n").as_bytes()).map_err(StateError::at(&path))?;
        Ok(done)
    }
}

/// An exception that names what no peer has would be taken for one that works, and a
/// range with a slip in it is wider than it looks.
fn meaningful(exception: &Exception) -> Result<(), String> {
    let name = |what: &str, name: &str| {
        if name.trim().is_empty() {
            Err(format!("the {what} is empty"))
        } else if name.chars().count() > LONGEST_NAME {
            Err(format!(
                "the {what} has more than {LONGEST_NAME} characters"
            ))
        } else if name.chars().any(char::is_control) {
            Err(format!("the {what} has control characters"))
        } else {
            Ok(())
        }
    };
    if !exception.client.is_exact() {
        return Err(format!(
            "{} names one address and a range: leave the length out, or give the range's first \
             address",
            exception.client
        ));
    }
    if let Some(account) = &exception.account {
        name("account", account)?;
        if account.contains(['\\', '/', '@']) {
            return Err(format!(
                "`{account}`: accounts are named without their domain"
            ));
        }
    }
    if let Some(machine) = &exception.machine {
        name("machine", machine)?;
    }
    if exception.shares.len() > MOST_SHARES {
        return Err(format!("more than {MOST_SHARES} shares"));
    }
    for share in &exception.shares {
        name("share", share)?;
        if share.eq_ignore_ascii_case("IPC$") {
            return Err(
                "IPC$ is no share to name: it goes with every exception but those with --no-ipc"
                    .to_owned(),
            );
        }
        if share.contains(['\\', '/']) {
            return Err(format!("`{share}` is a path: name the share alone"));
        }
    }
    if exception.reason.chars().count() > LONGEST_REASON {
        return Err(format!(
            "the reason has more than {LONGEST_REASON} characters"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, ExceptionStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = ExceptionStore::new(State::at(Some(&folder.path().join("state"))));
        (folder, store)
    }

    fn exception(until: u64) -> Exception {
        Exception {
            id: String::new(),
            client: "10.0.5.0/24".parse().unwrap(),
            account: None,
            machine: None,
            shares: vec!["scans".to_owned()],
            until,
            reason: "a scanner".to_owned(),
            read_only: true,
            no_ipc: false,
            guests: false,
        }
    }

    #[test]
    fn one_must_have_an_end_and_a_reason() {
        let (_folder, store) = store();
        let now = now_ms() / 1000;
        assert!(matches!(
            store.add(exception(now)),
            Err(ExceptionError::Ended)
        ));
        let nameless = Exception {
            reason: " ".to_owned(),
            ..exception(now + 100)
        };
        assert!(matches!(store.add(nameless), Err(ExceptionError::NoReason)));
        assert!(store.load().unwrap().exceptions.is_empty());
    }

    #[test]
    fn what_no_peer_can_be_is_refused() {
        let (_folder, store) = store();
        let later = now_ms() / 1000 + 1000;
        let base = exception(later);
        let wrong: [(&str, Exception); 10] = [
            (
                "a slip",
                Exception {
                    client: "10.0.5.7/2".parse().unwrap(),
                    ..base.clone()
                },
            ),
            (
                "account",
                Exception {
                    account: Some(" ".to_owned()),
                    ..base.clone()
                },
            ),
            (
                "domain",
                Exception {
                    account: Some("LAB\\bob".to_owned()),
                    ..base.clone()
                },
            ),
            (
                "long",
                Exception {
                    account: Some("a".repeat(LONGEST_NAME + 1)),
                    ..base.clone()
                },
            ),
            (
                "machine",
                Exception {
                    machine: Some(String::new()),
                    ..base.clone()
                },
            ),
            (
                "share",
                Exception {
                    shares: vec![String::new()],
                    ..base.clone()
                },
            ),
            (
                "path",
                Exception {
                    shares: vec!["//server/scans".to_owned()],
                    ..base.clone()
                },
            ),
            (
                "pipes",
                Exception {
                    shares: vec!["ipc$".to_owned()],
                    ..base.clone()
                },
            ),
            (
                "shares",
                Exception {
                    shares: vec!["s".to_owned(); MOST_SHARES + 1],
                    ..base.clone()
                },
            ),
            (
                "reason",
                Exception {
                    reason: "r".repeat(LONGEST_REASON + 1),
                    ..base.clone()
                },
            ),
        ];
        for (what, one) in wrong {
            assert!(
                matches!(store.add(one), Err(ExceptionError::Meaningless(_))),
                "{what}"
            );
        }
        store.add(base).unwrap();
        assert_eq!(store.load().unwrap().exceptions.len(), 1);
    }

    #[test]
    fn ids_are_not_given_twice_and_ended_ones_have_no_effect() {
        let (_folder, store) = store();
        let later = now_ms() / 1000 + 1000;
        let first = store.add(exception(later)).unwrap();
        assert_eq!(first.exception.id, "1");
        assert_eq!(first.by, current_user());
        store.remove("1").unwrap();
        assert!(matches!(store.remove("1"), Err(ExceptionError::Unknown(_))));
        assert_eq!(store.add(exception(later)).unwrap().exception.id, "2");
        let stored = store.load().unwrap();
        assert_eq!(stored.in_force(later - 1).all().len(), 1);
        assert!(stored.in_force(later).all().is_empty());
        assert_eq!(
            stored.exceptions[0].exception,
            Exception {
                id: "2".to_owned(),
                ..exception(later)
            }
        );
    }

    #[test]
    fn simultaneous_changes_come_one_after_the_other() {
        let (_folder, store) = store();
        let later = now_ms() / 1000 + 1000;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        store.add(exception(later)).unwrap();
                    }
                });
            }
        });
        let stored = store.load().unwrap();
        let ids: std::collections::BTreeSet<&str> = stored
            .exceptions
            .iter()
            .map(|entry| entry.exception.id.as_str())
            .collect();
        assert_eq!((stored.exceptions.len(), ids.len()), (20, 20));
    }

    #[test]
    fn the_number_is_limited() {
        let (_folder, store) = store();
        let later = now_ms() / 1000 + 1000;
        let entry = Entry {
            exception: exception(later),
            by: String::new(),
            at: 0,
        };
        let full = Stored {
            exceptions: vec![entry; MOST],
            ..Stored::default()
        };
        store.state.create().unwrap();
        fs::write(store.path(), serde_json::to_string(&full).unwrap()).unwrap();
        assert!(matches!(
            store.add(exception(later)),
            Err(ExceptionError::TooMany)
        ));
    }

    #[test]
    fn a_damaged_store_is_refused_and_what_a_crash_left_does_not_matter() {
        let (_folder, store) = store();
        let later = now_ms() / 1000 + 1000;
        store.add(exception(later)).unwrap();
        // A writer that died before it renamed.
        let left = store.state.file(".exceptions.json.1.new");
        fs::write(&left, "{\"next\": 7").unwrap();
        assert_eq!(store.load().unwrap().exceptions.len(), 1);
        store.add(exception(later)).unwrap();
        assert_eq!(store.load().unwrap().next, 2);
        fs::write(store.path(), "{").unwrap();
        assert!(store.load().is_err());
        assert!(store.add(exception(later)).is_err());
    }
}
