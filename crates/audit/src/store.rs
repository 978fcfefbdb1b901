//! The writer's database: opened when it can be, again when it could not, anew when it
//! is damaged. Without it the server serves all the same.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::database::{Database, DatabaseError, Losses};
use crate::prune::KeepLimits;
use crate::record::Note;

/// After a failure the database is left alone for so long.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// The database as the writer has it.
pub(crate) struct Store {
    path: PathBuf,
    database: Option<Database>,
    /// Not before.
    next: Option<Instant>,
    trouble: Option<String>,
    /// What is to be told once.
    pub(crate) news: Vec<String>,
}

impl Store {
    /// One that is opened now; where that fails it is tried again later.
    pub(crate) fn open(path: &Path) -> Self {
        let mut store = Self {
            path: path.to_owned(),
            database: None,
            next: None,
            trouble: None,
            news: Vec::new(),
        };
        store.ready();
        store
    }

    /// What is wrong, if something is.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether it is time to try again.
    pub(crate) fn may(&self) -> bool {
        self.next.is_none_or(|at| Instant::now() >= at)
    }

    fn ready(&mut self) -> Option<&mut Database> {
        if self.database.is_none() {
            if !self.may() {
                return None;
            }
            match open(&self.path) {
                Ok((database, aside)) => {
                    self.database = Some(database);
                    if let Some(aside) = aside {
                        self.news.push(begun_anew(&self.path, &aside));
                    }
                }
                Err(error) => self.failed(&error),
            }
        }
        self.database.as_mut()
    }

    fn failed(&mut self, error: &DatabaseError) {
        self.trouble = Some(error.to_string());
        self.next = Some(Instant::now() + PAUSE);
        // A file that was moved away, or a disk that came back, is another file.
        self.database = None;
    }

    /// Writes notes and losses; whether that was done.
    pub(crate) fn write(&mut self, notes: &[Note], at: u64, lost: Losses) -> bool {
        if !self.may() {
            return false;
        }
        let Some(database) = self.ready() else {
            return false;
        };
        let Err(error) = database.write_with(notes, at, lost) else {
            self.next = None;
            self.trouble = None;
            return true;
        };
        let damaged = error.is_damage();
        self.failed(&error);
        if damaged {
            // It is looked at, and begun anew, at once.
            self.next = None;
            self.examine();
        }
        false
    }

    /// After a write met damage: where it is real, a new database.
    fn examine(&mut self) {
        let sound = Database::create(&self.path).and_then(|database| database.check());
        match sound {
            Err(error) if error.is_damage() => {
                let _lock = lock(&self.path);
                let still = Database::create(&self.path).and_then(|database| database.check());
                if still.is_err_and(|error| error.is_damage())
                    && let Ok(aside) = put_aside(&self.path)
                {
                    self.news.push(begun_anew(&self.path, &aside));
                }
                self.ready();
            }
            _ => {}
        }
    }

    /// Forgets what is too much; what cannot be pruned now is pruned later.
    pub(crate) fn prune(&mut self, now: Option<u64>, limits: &KeepLimits) {
        if let Some(database) = &mut self.database
            && let Err(error) = database.prune(now, limits)
        {
            self.failed(&error);
        }
    }
}

fn begun_anew(path: &Path, aside: &Path) -> String {
    format!(
        "{} was damaged: it was put aside as {}, and a new one begun",
        path.display(),
        aside.display()
    )
}

/// A damaged database is put aside and a new one begun. Of several servers one does it;
/// the others find the new one.
fn open(path: &Path) -> Result<(Database, Option<PathBuf>), DatabaseError> {
    let error = match Database::create(path) {
        Ok(database) => return Ok((database, None)),
        Err(error) if !error.is_damage() => return Err(error),
        Err(error) => error,
    };
    let _lock = lock(path);
    match Database::create(path).and_then(|database| database.check().map(|()| database)) {
        Ok(database) => return Ok((database, None)),
        Err(again) if !again.is_damage() => return Err(again),
        Err(_) => {}
    }
    let aside = put_aside(path).map_err(|_| error)?;
    Database::create(path).map(|database| (database, Some(aside)))
}

/// Renames the file, and what belongs to it, to a name that says when.
fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let with = |path: &Path, end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let aside = with(path, &format!(".damaged-{}", crate::now()));
    fs::rename(path, &aside)?;
    for end in ["-wal", "-shm"] {
        let _ = fs::rename(with(path, end), with(&aside, end));
    }
    Ok(aside)
}

fn lock(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
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
