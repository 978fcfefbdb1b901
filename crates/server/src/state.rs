//! The state folder: where it is, and what makes this server itself.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    folder: PathBuf,
}

/// What cannot be done with a file of the state folder.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .path.display())]
pub struct StateError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl StateError {
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> StateError + '_ {
        move |source| StateError {
            path: path.to_owned(),
            source,
        }
    }
}

/// What makes a server the same server after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerIdentity {
    /// ServerGuid, 32 hexadecimal digits.
    pub guid: String,
    /// The three numbers of the machine's SID.
    pub machine_sid: [u32; 3],
}

impl ServerIdentity {
    /// ServerGuid as bytes.
    pub fn guid_bytes(&self) -> Option<[u8; 16]> {
        u128::from_str_radix(&self.guid, 16)
            .ok()
            .map(u128::to_be_bytes)
    }
}

/// The folder used when none is named.
pub fn default_folder() -> PathBuf {
    let from_environment = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path: &PathBuf| path.is_absolute())
    };
    if let Some(base) = from_environment("XDG_STATE_HOME") {
        return base.join("countersign");
    }
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/countersign");
    }
    match from_environment("HOME") {
        Some(home) => home.join(".local/state/countersign"),
        None => PathBuf::from("/var/lib/countersign"),
    }
}

impl State {
    /// A state folder that need not exist.
    pub fn at(folder: Option<&Path>) -> State {
        State {
            folder: folder.map_or_else(default_folder, Path::to_owned),
        }
    }

    /// Makes the folder, for its owner alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(&self) -> Result<(), StateError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(StateError::at(&self.folder))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file in it.
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// The server's identity; made at the first start.
    ///
    /// # Errors
    /// When the file cannot be read, understood or written.
    pub fn identity(&self) -> Result<ServerIdentity, StateError> {
        let path = self.file("identity.json");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let identity: ServerIdentity =
                    serde_json::from_str(&text).map_err(|error| StateError {
                        path: path.clone(),
                        source: error.into(),
                    })?;
                if identity.guid_bytes().is_none() {
                    let source = io::Error::new(io::ErrorKind::InvalidData, "`guid` is damaged");
                    return Err(StateError { path, source });
                }
                return Ok(identity);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(StateError { path, source }),
        }
        let identity = ServerIdentity {
            guid: format!("{:032x}", random_u128(&path)?),
            machine_sid: {
                let numbers = random_u128(&path)?;
                [0, 32, 64]
                    .map(|shift| u32::try_from((numbers >> shift) & 0xFFFF_FFFF).unwrap_or(0))
            },
        };
        let text = serde_json::to_string_pretty(&identity).map_err(|error| StateError {
            path: path.clone(),
            source: error.into(),
        })?;
        write_whole(&path, text.as_bytes()).map_err(StateError::at(&path))?;
        Ok(identity)
    }
}

fn random_u128(path: &Path) -> Result<u128, StateError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| StateError {
        path: path.to_owned(),
        source: io::Error::other(error),
    })?;
    Ok(u128::from_be_bytes(bytes))
}

/// Replaces a file as a whole: readers see the old content or the new, and a
/// crash leaves one of the two. Readable by the owner alone.
///
/// # Errors
/// When it cannot be written.
pub fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
        return written;
    }
    // The new name must survive a crash too.
    File::open(folder)?.sync_all()
}

/// A lock on a file beside `path`, held until dropped: one writer at a time.
///
/// # Errors
/// When it cannot be taken.
pub fn lock_beside(path: &Path) -> io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(name)?;
    file.lock()?;
    Ok(file)
}

/// What tells one version of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    size: u64,
    modified: Option<std::time::SystemTime>,
    /// A hash of what is in it, where that is looked at.
    content: Option<u64>,
}

impl Stamp {
    /// The file as it is now, its content looked at too: of files that are replaced
    /// several times within a tick of the clock, number and size may come back.
    pub fn with_content(path: &Path) -> Option<Stamp> {
        use std::hash::{DefaultHasher, Hasher};
        let stamp = Stamp::of(path)?;
        let mut hasher = DefaultHasher::new();
        hasher.write(&fs::read(path).ok()?);
        Some(Stamp {
            content: Some(hasher.finish()),
            ..stamp
        })
    }

    /// The file as it is now; `None`: there is none.
    pub fn of(path: &Path) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(path).ok()?;
        Some(Stamp {
            inode: metadata.ino(),
            size: metadata.len(),
            modified: metadata.modified().ok(),
            content: None,
        })
    }
}
