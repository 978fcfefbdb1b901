//! The user file on disk, and the users of all sources together.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use countersign_auth::users::UserFileError;
use countersign_auth::{NtHash, UserFile};
use zeroize::Zeroizing;

use crate::config::UserFlag;
use crate::config::schema::UserSection;
use crate::state::{StateError, lock_beside, write_whole};

/// Relative ids of users who stand in the configuration begin here, so that they
/// never meet those the user file gives out.
const CONFIGURED_RIDS: u32 = 0x4000_0000;

/// Why users cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its content.
    #[error("{}: {source}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: UserFileError,
    },
    /// Others can read the hashes.
    #[error("{}: others may read this file (mode {mode:03o}); its hashes are as good as passwords: chmod 600 it", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// Reads the user file; a missing one has no users.
///
/// # Errors
/// When it cannot be read, is not understood, or others may read it.
pub fn load(path: &Path) -> Result<UserFile, UsersError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(UserFile::default()),
        Err(source) => {
            return Err(StateError {
                path: path.to_owned(),
                source,
            }
            .into());
        }
    };
    if metadata.mode() & 0o077 != 0 {
        return Err(UsersError::Exposed {
            path: path.to_owned(),
            mode: metadata.mode() & 0o777,
        });
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(StateError::at(path))?);
    UserFile::parse(&text).map_err(|source| UsersError::Content {
        path: path.to_owned(),
        source,
    })
}

/// Changes the user file under a lock.
///
/// # Errors
/// When it cannot be read or written, or the change is refused.
pub fn change(
    path: &Path,
    how: impl FnOnce(&mut UserFile) -> Result<(), UserFileError>,
) -> Result<(), UsersError> {
    let _lock = lock_beside(path).map_err(StateError::at(path))?;
    let mut users = load(path)?;
    how(&mut users).map_err(|source| UsersError::Content {
        path: path.to_owned(),
        source,
    })?;
    write_whole(path, users.to_text().as_bytes()).map_err(StateError::at(path))?;
    Ok(())
}

/// The user file's users with those of the configuration and the command line;
/// the later wins where names are the same.
///
/// # Errors
/// When the names or ids cannot stand together.
pub fn together(
    mut file: UserFile,
    configured: &[UserSection],
    flags: &[UserFlag],
) -> Result<UserFile, UserFileError> {
    let mut added: Vec<(&str, &NtHash, &[String], bool)> = Vec::new();
    for user in configured {
        if let Some(hash) = &user.nt_hash {
            added.push((&user.name, &hash.0, &user.groups, user.disabled));
        }
    }
    for flag in flags {
        added.push((&flag.name, &flag.nt_hash, &[], false));
    }
    if added.is_empty() {
        return Ok(file);
    }
    let mut lines: Vec<(String, u32, Zeroizing<String>)> = Vec::new();
    for (name, hash, groups, disabled) in added {
        // A name that is in the file already is replaced.
        let _ = file.remove(name);
        let folded = name.to_lowercase();
        lines.retain(|(other, _, _)| *other != folded);
        let mut rid = CONFIGURED_RIDS + (fnv1a(folded.as_bytes()) & 0x0FFF_FFFF);
        while lines.iter().any(|(_, other, _)| *other == rid) {
            rid += 1;
        }
        let flag = if disabled { "disabled" } else { "" };
        let mut line = Zeroizing::new(format!("user:{name}:{rid}:"));
        for byte in hash.as_bytes() {
            line.push_str(&format!("{byte:02x}"));
        }
        line.push_str(&format!(":{flag}:{}:\n", groups.join(",")));
        lines.push((folded, rid, line));
    }
    let mut text = file.to_text();
    for (_, _, line) in &lines {
        text.push_str(line);
    }
    UserFile::parse(&text)
}

/// FNV-1a: the same name has the same relative id at every start.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811C_9DC5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use countersign_auth::UserDirectory as _;

    use super::*;

    #[test]
    fn the_file_is_private_and_survives_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        assert_eq!(load(&path).unwrap().users().count(), 0);
        change(&path, |users| {
            users
                .add("alice", NtHash::from_password("a"), &[])
                .map(|_| ())
        })
        .unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = change(&path, |users| {
            users
                .add("ALICE", NtHash::from_password("b"), &[])
                .map(|_| ())
        });
        assert!(matches!(again, Err(UsersError::Content { .. })));
        assert_eq!(
            load(&path).unwrap().find("Alice").unwrap().nt_hash,
            NtHash::from_password("a")
        );
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load(&path), Err(UsersError::Exposed { .. })));
    }

    #[test]
    fn users_of_all_sources_stand_together() {
        let mut file = UserFile::default();
        file.add("alice", NtHash::from_password("file"), &[])
            .unwrap();
        file.add("bob", NtHash::from_password("file"), &[]).unwrap();
        let flag: UserFlag = "Alice:flag".parse().unwrap();
        let all = together(file.clone(), &[], std::slice::from_ref(&flag)).unwrap();
        assert_eq!(
            all.find("alice").unwrap().nt_hash,
            NtHash::from_password("flag")
        );
        assert_eq!(
            all.find("bob").unwrap().nt_hash,
            NtHash::from_password("file")
        );
        let again = together(UserFile::default(), &[], &[flag]).unwrap();
        assert_eq!(
            all.find("alice").unwrap().rid,
            again.find("alice").unwrap().rid
        );
    }
}
