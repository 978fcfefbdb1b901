//! The password of the machine's account, changed by the machine itself.
//!
//! What is on disk at each moment: the keytab with the keys in force, always; from the
//! preparation to the end also `machine-password.json` (which version is new) and
//! `machine-password.keytab` (the keytab as it was) in the state folder. Whoever finds
//! those two later finds out by a logon which keys are right, and takes the others away.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use countersign_directory::Error as DirectoryError;
use countersign_directory::join::LARGEST_KEYTAB;
use countersign_directory::join::rotate::{Settled, newest, only, prepare, settle, without};
use countersign_gssapi::PasswordError;
use serde::{Deserialize, Serialize};

use crate::config::{Config, GroupPolicySection};
use crate::state::{State, write_whole};
use crate::store::now_ms;

/// How long a controller may not yet have heard of a change that another one made: before,
/// keys that were perhaps put in force are not taken away.
const REPLICATION: u64 = 15 * 60;

/// A change that may not have come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Pending {
    account: String,
    domain: String,
    keytab: PathBuf,
    version: u32,
    since: u64,
}

/// A password that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Whose.
    pub principal: String,
    /// The version of its keys.
    pub version: u32,
    /// When, seconds since 1970.
    pub at: u64,
}

/// Why a password was not changed, or it is not known whether it was.
#[derive(Debug, thiserror::Error)]
pub enum PasswordChangeError {
    /// The configuration.
    #[error("{0}")]
    Configuration(String),
    /// Preparing it, or finding out what came of it.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A file.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The domain said no; the old password is in force, the keytab as it was.
    #[error("{0}; the old password stays in force")]
    Refused(String),
    /// It is not known yet: both keys are in the keytab, and the next refresh finds out.
    #[error("{0}; the keytab holds the old keys and the new ones until that is known")]
    Unknown(String),
    /// No key of the keytab is the account's.
    #[error(
        "no key in {} is the account's: somebody else gave it another password; \
         `countersign join DOMAIN --reset` writes new keys", .0.display()
    )]
    Neither(PathBuf),
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> PasswordChangeError + '_ {
    move |source| PasswordChangeError::File {
        path: path.to_owned(),
        source,
    }
}

/// Reads a keytab, at most as large as one may be.
fn read(path: &Path) -> Result<Vec<u8>, PasswordChangeError> {
    let size = fs::metadata(path).map_err(file(path))?.len();
    if usize::try_from(size).map_or(true, |size| size > LARGEST_KEYTAB) {
        let large = io::Error::other(format!("it is larger than {LARGEST_KEYTAB} bytes"));
        return Err(file(path)(large));
    }
    fs::read(path).map_err(file(path))
}

/// Replaces a keytab as a whole. Owner, group and mode stay as they are, and a symbolic link
/// stays one.
///
/// # Errors
/// When it cannot be written.
pub fn write_keytab(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = fs::metadata(&path).ok();
    write_whole(&path, content)?;
    if let Some(before) = before {
        // Whoever may not give files away leaves it to its own user, as it was most likely.
        let _ = std::os::unix::fs::chown(&path, Some(before.uid()), Some(before.gid()));
        fs::set_permissions(&path, fs::Permissions::from_mode(before.mode() & 0o777))?;
    }
    Ok(())
}

struct Places {
    marker: PathBuf,
    old: PathBuf,
    new: PathBuf,
}

impl Places {
    fn of(state: &State) -> Places {
        Places {
            marker: state.file("machine-password.json"),
            old: state.file("machine-password.keytab"),
            new: state.file("machine-password.new.keytab"),
        }
    }

    /// The marker goes last: as long as it is there, somebody will look.
    fn clear(&self) -> Result<(), PasswordChangeError> {
        for path in [&self.new, &self.old, &self.marker] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(file(path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn pending(&self) -> Result<Option<Pending>, PasswordChangeError> {
        match fs::read_to_string(&self.marker) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| file(&self.marker)(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file(&self.marker)(error)),
        }
    }
}

/// A change of the machine's password has not come to its end.
pub(super) fn is_pending(state: &State) -> bool {
    Places::of(state).marker.exists()
}

/// Brings a change that was cut off to its end. **Blocks.** Whoever calls it holds the lock
/// of refreshes.
///
/// # Errors
/// [`PasswordChangeError`].
pub(super) fn finish(state: &State) -> Result<Option<Changed>, PasswordChangeError> {
    let places = Places::of(state);
    let Some(pending) = places.pending()? else {
        return Ok(None);
    };
    let Pending {
        account,
        domain,
        keytab,
        version,
        since,
    } = &pending;
    let bytes = read(keytab)?;
    let Some(new) = only(&bytes, account, domain, *version)? else {
        // The domain was never asked.
        places.clear()?;
        return Ok(None);
    };
    write_whole(&places.new, &new).map_err(file(&places.new))?;
    let rest = without(&bytes, account, domain, *version)?;
    write_whole(&places.old, &rest).map_err(file(&places.old))?;
    let settled = settle(account, domain, &places.new, &places.old).map_err(|error| {
        PasswordChangeError::Unknown(format!("whether the password was changed: {error}"))
    })?;
    match settled {
        Settled::New => {
            places.clear()?;
            tracing::info!("the machine's password was changed: keys of version {version}");
            Ok(Some(Changed {
                principal: format!("{account}@{}", domain.to_uppercase()),
                version: *version,
                at: *since,
            }))
        }
        Settled::Old if (now_ms() / 1000).saturating_sub(*since) < REPLICATION => {
            Err(PasswordChangeError::Unknown(
                "a controller still takes the old password: the change did not happen, or that \
                 controller has not heard of it"
                    .to_owned(),
            ))
        }
        Settled::Old => {
            write_keytab(keytab, &rest).map_err(file(keytab))?;
            places.clear()?;
            tracing::warn!("the machine's password was not changed: the keytab is as it was");
            Ok(None)
        }
        Settled::Neither => {
            places.clear()?;
            Err(PasswordChangeError::Neither(keytab.clone()))
        }
    }
}

/// Gives the machine's account a new password. The new keys are in the keytab before the
/// domain is asked; the keys before them stay there. **Blocks.** Whoever calls it holds the
/// lock of refreshes. `known` is the version of the keys that the directory last had.
///
/// # Errors
/// [`PasswordChangeError`].
pub(super) fn change(
    config: &Config,
    host: &str,
    state: &State,
    known: u32,
) -> Result<Changed, PasswordChangeError> {
    let section = &config.group_policy;
    let configuration = |text: &str| PasswordChangeError::Configuration(text.to_owned());
    let Some(domain) = &section.domain else {
        return Err(configuration(
            "the configuration has no `[group-policy]` with a `domain`",
        ));
    };
    let keytab = section.keytab();
    same_keytab(config, &keytab)?;
    finish(state)?;
    let places = Places::of(state);
    let account = section.account(host);
    let old = read(&keytab)?;
    let now = now_ms() / 1000;
    let change = prepare(&old, &account, domain, known, now)?;
    let pending = Pending {
        account,
        domain: domain.clone(),
        keytab: keytab.clone(),
        version: change.version,
        since: now,
    };
    let text = serde_json::to_vec_pretty(&pending).map_err(|e| file(&places.marker)(e.into()))?;
    state
        .create()
        .map_err(|error| PasswordChangeError::Configuration(error.to_string()))?;
    write_whole(&places.old, &old).map_err(file(&places.old))?;
    write_whole(&places.marker, &text).map_err(file(&places.marker))?;
    if let Err(error) = write_keytab(&keytab, &change.keytab) {
        places.clear()?;
        return Err(file(&keytab)(error));
    }
    match change.ask(&places.old) {
        Ok(()) => {}
        // Nobody was asked, or the answer was no.
        Err(
            error @ (PasswordError::Refused(_)
            | PasswordError::NoTicket(_)
            | PasswordError::Missing(_)),
        ) => {
            write_keytab(&keytab, &old).map_err(file(&keytab))?;
            places.clear()?;
            return Err(PasswordChangeError::Refused(error.to_string()));
        }
        Err(error @ PasswordError::Unknown(_)) => {
            let unknown = || PasswordChangeError::Unknown(error.to_string());
            return finish(state)?.ok_or_else(unknown);
        }
    }
    // The domain said yes: no controller that has not heard of it can take that back. What is
    // older than the keys before goes as soon as a logon with the new ones was seen.
    match finish(state) {
        Ok(Some(_)) => write_keytab(&keytab, &change.confirmed).map_err(file(&keytab))?,
        other => {
            tracing::warn!(
                "the machine's password was changed, and is not accepted yet: {other:?}"
            );
            places.clear()?;
        }
    }
    Ok(Changed {
        principal: change.principal.clone(),
        version: change.version,
        at: now,
    })
}

/// Tickets of clients are opened with `kerberos.keytab`: a file of its own would not get the
/// new keys.
fn same_keytab(config: &Config, keytab: &Path) -> Result<(), PasswordChangeError> {
    let Some(serving) = &config.kerberos.keytab else {
        return Ok(());
    };
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if real(serving) == real(keytab) {
        return Ok(());
    }
    Err(PasswordChangeError::Configuration(format!(
        "`kerberos.keytab` is {} and would not get the new keys: set it to {} as well",
        serving.display(),
        keytab.display()
    )))
}

/// The newest version of the account's keys in the keytab of the configuration.
pub(super) fn version_in_keytab(section: &GroupPolicySection, host: &str) -> Option<u32> {
    let domain = section.domain.as_deref()?;
    let bytes = read(&section.keytab()).ok()?;
    newest(&bytes, &section.account(host), domain).ok()?
}

/// A password of this age is to be changed. 0 days: never.
pub(super) fn is_due(set: Option<u64>, days: u32, now: u64) -> bool {
    let age = set.map(|set| now.saturating_sub(set));
    days > 0 && age.is_some_and(|age| age >= u64::from(days) * 24 * 3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_password_is_due() {
        const DAY: u64 = 24 * 3600;
        assert!(!is_due(Some(0), 0, 1000 * DAY), "off");
        assert!(!is_due(None, 30, 1000 * DAY), "unknown");
        assert!(!is_due(Some(10 * DAY), 30, 39 * DAY));
        assert!(is_due(Some(10 * DAY), 30, 40 * DAY));
        assert!(
            !is_due(Some(50 * DAY), 30, 40 * DAY),
            "a clock that went back"
        );
    }

    #[test]
    fn a_keytab_keeps_its_mode_and_its_link() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, b"old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_keytab(&link, b"new").unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let fresh = folder.path().join("fresh");
        write_keytab(&fresh, b"x").unwrap();
        assert_eq!(fs::metadata(&fresh).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_change_the_domain_was_never_asked_for_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::at(Some(&folder.path().join("state")));
        state.create().unwrap();
        assert_eq!(finish(&state).unwrap(), None);
        let keytab = folder.path().join("keytab");
        fs::write(&keytab, [5, 2]).unwrap();
        let pending = Pending {
            account: "FILES$".to_owned(),
            domain: "lab.example".to_owned(),
            keytab: keytab.clone(),
            version: 3,
            since: 1,
        };
        let places = Places::of(&state);
        fs::write(&places.marker, serde_json::to_vec(&pending).unwrap()).unwrap();
        fs::write(&places.old, [5, 2]).unwrap();
        assert!(is_pending(&state));
        assert_eq!(finish(&state).unwrap(), None);
        assert!(!is_pending(&state) && !places.old.exists());
        assert_eq!(fs::read(&keytab).unwrap(), [5, 2]);
        fs::write(&places.marker, b"{").unwrap();
        let error = finish(&state).unwrap_err().to_string();
        assert!(error.contains("machine-password.json"), "{error}");
    }

    #[test]
    fn keys_for_two_files_are_refused() {
        let mut config = Config::default();
        config.group_policy.domain = Some("lab.example".to_owned());
        config.group_policy.keytab = Some("/etc/a.keytab".into());
        config.kerberos.keytab = Some("/etc/b.keytab".into());
        let folder = tempfile::tempdir().unwrap();
        let state = State::at(Some(folder.path()));
        let error = change(&config, "files", &state, 0).unwrap_err().to_string();
        assert!(
            error.contains("/etc/b.keytab") && error.contains("would not get"),
            "{error}"
        );
    }
}
