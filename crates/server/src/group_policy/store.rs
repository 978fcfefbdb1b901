//! What was applied last: used at the start and while no controller answers.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use countersign_policy::GroupPolicyLayers;
use countersign_policy::group_policy::{Conclusion, LastGood};
use serde::{Deserialize, Serialize};

use crate::config::snapshot::netbios_name;
use crate::config::{Config, GroupPolicySection};
use crate::state::{State, StateError, lock_beside, write_whole};

/// What was applied last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stored {
    /// The domain it is of.
    pub domain: String,
    /// The account it is for, in small letters.
    pub account: String,
    /// The controller it came from.
    pub controller: String,
    /// The site of this machine.
    pub site: Option<String>,
    /// The distinguished name of the account.
    pub computer: String,
    /// When it was fetched, seconds since 1970.
    pub refreshed: u64,
    /// When what it says last changed, seconds since 1970.
    pub changed: u64,
    /// When the account's password was last changed, seconds since 1970.
    #[serde(default)]
    pub password_set: Option<u64>,
    /// The version of the account's keys in the directory.
    #[serde(default)]
    pub key_version: Option<u32>,
    /// What it says, and what became of every object.
    pub conclusion: Conclusion,
    /// What files of objects said when they could last be read.
    #[serde(default)]
    pub last_good: LastGood,
    /// What should be looked at.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The file of a state folder.
#[derive(Debug, Clone)]
pub struct GroupPolicyStore {
    state: State,
}

impl GroupPolicyStore {
    /// Of a state folder.
    pub fn new(state: State) -> GroupPolicyStore {
        GroupPolicyStore { state }
    }

    /// Its file.
    pub fn path(&self) -> PathBuf {
        self.state.file("group-policy.json")
    }

    /// What was applied last to this machine as the configuration has it: what is of
    /// another domain or another account does not count.
    ///
    /// # Errors
    /// When the file cannot be read or understood: it may hold the one word that
    /// requires signing, and is not passed over.
    pub fn load(
        &self,
        section: &GroupPolicySection,
        host: &str,
    ) -> Result<Option<Stored>, StateError> {
        let Some(domain) = &section.domain else {
            return Ok(None);
        };
        let path = self.path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError { path, source }),
        };
        let stored: Stored = serde_json::from_str(&text).map_err(|error| StateError {
            path,
            source: io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{error}; it holds what Group Policy said last and cannot be used: \
                     `countersign policy gpo refresh` fetches it anew, or remove it to go on \
                     without"
                ),
            ),
        })?;
        let account = section.account(host).to_lowercase();
        let ours = stored.domain.eq_ignore_ascii_case(domain) && stored.account == account;
        Ok(ours.then_some(stored))
    }

    /// The layers of what was applied last; none where there is no Group Policy.
    ///
    /// # Errors
    /// As [`GroupPolicyStore::load`].
    pub fn layers(
        &self,
        section: &GroupPolicySection,
        host: &str,
    ) -> Result<GroupPolicyLayers, StateError> {
        let stored = self.load(section, host)?;
        Ok(stored.map_or_else(GroupPolicyLayers::default, |stored| {
            stored.conclusion.layers
        }))
    }

    /// The same for a whole configuration.
    ///
    /// # Errors
    /// As [`GroupPolicyStore::load`].
    pub fn layers_of(&self, config: &Config) -> Result<GroupPolicyLayers, StateError> {
        self.layers(&config.group_policy, &netbios_name(config))
    }

    /// A lock that whoever refreshes holds from the first question to the last word: of two
    /// refreshes at once the later one asks later, and so knows better. It is waited for.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub async fn refreshing(&self) -> Result<File, StateError> {
        /// How often it is tried.
        const AGAIN: std::time::Duration = std::time::Duration::from_millis(50);
        self.state.create()?;
        let path = self.state.file("group-policy-refresh.lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(StateError::at(&path))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(AGAIN).await,
                Err(TryLockError::Error(error)) => return Err(StateError::at(&path)(error)),
            }
        }
    }

    /// Keeps what is applied now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, stored: &Stored) -> Result<(), StateError> {
        self.state.create()?;
        let path = self.path();
        let _lock = lock_beside(&path).map_err(StateError::at(&path))?;
        let text = serde_json::to_string_pretty(stored).map_err(|error| StateError {
            path: path.clone(),
            source: error.into(),
        })?;
        write_whole(&path, format!("{text}\n").as_bytes()).map_err(StateError::at(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(domain: &str) -> GroupPolicySection {
        GroupPolicySection {
            domain: Some(domain.to_owned()),
            ..GroupPolicySection::default()
        }
    }

    fn stored() -> Stored {
        Stored {
            domain: "lab.example".to_owned(),
            account: "files$".to_owned(),
            controller: "dc1.lab.example".to_owned(),
            site: None,
            computer: "CN=files,DC=lab,DC=example".to_owned(),
            refreshed: 2,
            changed: 1,
            password_set: Some(3),
            key_version: Some(2),
            conclusion: Conclusion::default(),
            last_good: LastGood::default(),
            notes: Vec::new(),
        }
    }

    #[tokio::test]
    async fn one_refresh_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = GroupPolicyStore::new(State::at(Some(folder.path())));
        let first = store.refreshing().await.unwrap();
        let second =
            tokio::time::timeout(std::time::Duration::from_millis(200), store.refreshing());
        assert!(second.await.is_err(), "it waits");
        drop(first);
        store.refreshing().await.unwrap();
    }

    #[test]
    fn what_is_of_another_domain_or_account_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let store = GroupPolicyStore::new(State::at(Some(&folder.path().join("state"))));
        assert_eq!(store.load(&section("lab.example"), "files").unwrap(), None);
        store.save(&stored()).unwrap();
        let found = store.load(&section("LAB.example"), "FILES").unwrap();
        assert_eq!(found, Some(stored()));
        assert_eq!(
            store.load(&section("other.example"), "files").unwrap(),
            None
        );
        assert_eq!(store.load(&section("lab.example"), "other").unwrap(), None);
        let off = GroupPolicySection::default();
        assert_eq!(store.load(&off, "files").unwrap(), None);
    }

    #[test]
    fn a_damaged_file_is_refused_rather_than_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = GroupPolicyStore::new(State::at(Some(folder.path())));
        fs::write(store.path(), "{").unwrap();
        let error = store.layers(&section("lab.example"), "files").unwrap_err();
        assert!(error.to_string().contains("policy gpo refresh"), "{error}");
        let off = GroupPolicySection::default();
        assert!(store.layers(&off, "files").is_ok());
    }
}
