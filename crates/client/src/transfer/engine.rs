//! Many files: folders are listed while files are copied.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::task::{JoinSet, spawn_blocking};

use super::file_down::{Taken, get_file};
use super::file_up::put_file;
use super::pieces::{Gate, fault};
use super::remote::{Entry, Kind, Remote, RemoteError};
use super::report::{Action, Cause, Done, Failure, Observer, Report};
use super::tree::{list_down, list_up, remove_local, remove_taken};
use super::{Direction, LISTINGS, MAX_DEPTH, MAX_WAITING, Options};

/// Something to copy: a file, or a folder with its content.
#[derive(Debug, Clone)]
pub struct Item {
    /// The path on the share.
    pub remote: String,
    /// The path on this machine.
    pub local: PathBuf,
    /// What stands on the share, if it is known (for copies from it).
    pub entry: Option<Entry>,
}

/// What is known of a source before it is opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) size: u64,
    pub(super) modified: Option<SystemTime>,
}

impl Known {
    pub(super) fn of(entry: &Entry) -> Known {
        Known {
            size: entry.size,
            modified: entry.modified,
        }
    }
}

/// A folder that waits to be listed.
#[derive(Debug, Clone)]
pub(super) struct FolderWork {
    pub(super) remote: String,
    pub(super) local: PathBuf,
    /// From where the copy starts.
    pub(super) relative: Vec<String>,
    /// What the other side has is looked at.
    pub(super) compare: bool,
}

/// A file that waits to be copied.
#[derive(Debug, Clone)]
pub(super) struct FileWork {
    pub(super) remote: String,
    pub(super) local: PathBuf,
    pub(super) known: Option<Known>,
    /// Named by the caller, so that it may turn out to be a folder.
    pub(super) named: bool,
}

/// What the destination has and the source has not.
#[derive(Debug, Clone)]
pub(super) struct Extra {
    pub(super) remote: String,
    pub(super) local: PathBuf,
    /// From where the copy starts.
    pub(super) relative: Vec<String>,
    pub(super) folder: bool,
}

/// What a folder holds.
#[derive(Debug)]
pub(super) struct Listing<E: std::error::Error + 'static> {
    pub(super) folders: Vec<FolderWork>,
    pub(super) files: Vec<FileWork>,
    pub(super) same: Vec<Done>,
    pub(super) extra: Vec<Extra>,
    pub(super) failures: Vec<Failure<E>>,
    /// The folder was made on the destination.
    pub(super) made: bool,
}

impl<E: std::error::Error + 'static> Default for Listing<E> {
    fn default() -> Self {
        Listing {
            folders: Vec::new(),
            files: Vec::new(),
            same: Vec::new(),
            extra: Vec::new(),
            failures: Vec::new(),
            made: false,
        }
    }
}

enum Outcome<E: std::error::Error + 'static> {
    Listed(FolderWork, Result<Listing<E>, Cause<E>>),
    Copied(FileWork, Result<Taken, Cause<E>>),
}

struct Driver<R: Remote> {
    remotes: Vec<R>,
    turn: usize,
    direction: Direction,
    options: Arc<Options>,
    observer: Arc<dyn Observer>,
    gate: Gate,
    folders: Vec<FolderWork>,
    files: VecDeque<FileWork>,
    extra: Vec<Extra>,
    /// A folder could not be listed: what looks superfluous may not be.
    unsure: bool,
    report: Report<R::Error>,
}

/// Copies files, and folders if [`Options::recursive`] says so. `remotes` are
/// connections to the same share, used in turns; with none nothing is done.
pub async fn copy<R: Remote>(
    remotes: &[R],
    direction: Direction,
    items: Vec<Item>,
    options: &Options,
    observer: Arc<dyn Observer>,
) -> Report<R::Error> {
    let mut driver = Driver::new(remotes, direction, options, observer);
    for item in items {
        match &item.entry {
            Some(entry) if entry.kind == Kind::Folder => driver.folder(item),
            Some(entry) if entry.kind == Kind::Link => driver.fail(item.remote, Cause::Link),
            entry => {
                let known = entry.as_ref().map(Known::of);
                driver
                    .observer
                    .found(1, known.map_or(0, |known| known.size));
                driver.files.push_back(FileWork {
                    remote: item.remote,
                    local: item.local,
                    known,
                    named: true,
                });
            }
        }
    }
    driver.run().await;
    driver.report
}

/// Makes the destination like the source: what differs is copied, and with
/// [`Options::delete`] what the source does not have is removed (not if a folder of
/// the source could not be read).
pub async fn sync<R: Remote>(
    remotes: &[R],
    direction: Direction,
    remote: &str,
    local: &Path,
    options: &Options,
    observer: Arc<dyn Observer>,
) -> Report<R::Error> {
    let mut driver = Driver::new(remotes, direction, options, observer);
    driver.folders.push(FolderWork {
        remote: remote.to_owned(),
        local: local.to_owned(),
        relative: Vec::new(),
        compare: true,
    });
    driver.run().await;
    if options.delete && !driver.unsure {
        driver.remove_extra().await;
    } else if options.delete && !driver.extra.is_empty() {
        let path = format!("{} superfluous names", driver.extra.len());
        driver.fail(path, Cause::Unsure);
    }
    driver.report
}

impl<R: Remote> Driver<R> {
    fn new(
        remotes: &[R],
        direction: Direction,
        options: &Options,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Driver {
            remotes: remotes.to_vec(),
            turn: 0,
            direction,
            gate: Gate::new(options.window),
            options: Arc::new(options.clone()),
            observer,
            folders: Vec::new(),
            files: VecDeque::new(),
            extra: Vec::new(),
            unsure: false,
            report: Report::default(),
        }
    }

    fn fail(&mut self, path: String, cause: Cause<R::Error>) {
        self.report.fail(&*self.observer, path, cause);
    }

    fn folder(&mut self, item: Item) {
        if self.options.recursive {
            self.folders.push(FolderWork {
                remote: item.remote,
                local: item.local,
                relative: Vec::new(),
                compare: false,
            });
        } else {
            let path = self.shown(&item.remote, &item.local);
            self.fail(path, Cause::Folder);
        }
    }

    /// The path of the source.
    fn shown(&self, remote: &str, local: &Path) -> String {
        match self.direction {
            Direction::Down => remote.replace('\\', "/"),
            Direction::Up => local.display().to_string(),
        }
    }

    fn next_remote(&mut self) -> Option<R> {
        let remote = self
            .remotes
            .get(self.turn % self.remotes.len().max(1))
            .cloned();
        self.turn = self.turn.wrapping_add(1);
        remote
    }

    async fn run(&mut self) {
        let mut tasks: JoinSet<Outcome<R::Error>> = JoinSet::new();
        let (mut listing, mut copying) = (0, 0);
        loop {
            while copying < self.options.jobs.max(1)
                && let Some(work) = self.files.pop_front()
            {
                let Some(remote) = self.next_remote() else {
                    return;
                };
                copying += 1;
                tasks.spawn(self.copy_file(remote, work));
            }
            while listing < LISTINGS
                && self.files.len() < MAX_WAITING
                && let Some(work) = self.folders.pop()
            {
                let Some(remote) = self.next_remote() else {
                    return;
                };
                listing += 1;
                let (direction, options) = (self.direction, Arc::clone(&self.options));
                tasks.spawn(async move {
                    let listed = match direction {
                        Direction::Down => list_down(&remote, &work, &options).await,
                        Direction::Up => list_up(&remote, &work, &options).await,
                    };
                    Outcome::Listed(work, listed)
                });
            }
            match tasks.join_next().await {
                None => return,
                Some(Err(error)) => self.fail(String::new(), fault(error)),
                Some(Ok(Outcome::Listed(work, listed))) => {
                    listing -= 1;
                    self.listed(&work, listed);
                }
                Some(Ok(Outcome::Copied(work, taken))) => {
                    copying -= 1;
                    self.copied(work, taken);
                }
            }
        }
    }

    fn copy_file(
        &self,
        remote: R,
        work: FileWork,
    ) -> impl Future<Output = Outcome<R::Error>> + Send + 'static {
        let options = Arc::clone(&self.options);
        let observer = Arc::clone(&self.observer);
        let gate = self.gate.clone();
        let direction = self.direction;
        async move {
            let (path, local, known) = (&work.remote, &work.local, work.known);
            let taken = match direction {
                Direction::Down => {
                    get_file(&remote, path, local, known, &options, &gate, &observer).await
                }
                Direction::Up => {
                    let found = known.is_some();
                    put_file(&remote, path, local, found, &options, &gate, &observer).await
                }
            };
            Outcome::Copied(work, taken)
        }
    }

    fn listed(&mut self, work: &FolderWork, listed: Result<Listing<R::Error>, Cause<R::Error>>) {
        let listing = match listed {
            Ok(listing) => listing,
            Err(cause) => {
                self.unsure = true;
                let path = self.shown(&work.remote, &work.local);
                return self.failed(path, cause);
            }
        };
        if listing.made {
            let done = Done {
                remote: work.remote.clone(),
                local: Some(work.local.clone()),
                action: Action::Made,
                bytes: 0,
            };
            self.report.done(&*self.observer, &done);
        }
        for failure in listing.failures {
            self.fail(failure.path, failure.cause);
        }
        for done in listing.same {
            self.report.done(&*self.observer, &done);
        }
        self.extra.extend(listing.extra);
        let bytes = listing
            .files
            .iter()
            .filter_map(|file| file.known)
            .map(|known| known.size)
            .fold(0, u64::saturating_add);
        self.observer.found(listing.files.len() as u64, bytes);
        self.files.extend(listing.files);
        for folder in listing.folders {
            if folder.relative.len() > MAX_DEPTH {
                self.unsure = true;
                let path = self.shown(&folder.remote, &folder.local);
                self.fail(path, Cause::TooDeep);
            } else {
                self.folders.push(folder);
            }
        }
    }

    fn copied(&mut self, work: FileWork, taken: Result<Taken, Cause<R::Error>>) {
        match taken {
            Ok(Taken::Done(done)) => self.report.done(&*self.observer, &done),
            Ok(Taken::Folder) if work.named => self.folder(Item {
                remote: work.remote,
                local: work.local,
                entry: None,
            }),
            Ok(Taken::Folder) => {
                let path = self.shown(&work.remote, &work.local);
                self.fail(path, Cause::Conflict);
            }
            Err(cause) => {
                let path = self.shown(&work.remote, &work.local);
                self.failed(path, cause);
            }
        }
    }

    /// After a failure that ends the connection nothing else is begun.
    fn failed(&mut self, path: String, cause: Cause<R::Error>) {
        let fatal = matches!(&cause, Cause::Remote(error) if error.is_fatal());
        self.fail(path, cause);
        if !fatal {
            return;
        }
        self.unsure = true;
        let (files, folders) = (self.files.len(), self.folders.len());
        self.files.clear();
        self.folders.clear();
        if files + folders > 0 {
            let path = format!("{files} more files and {folders} more folders");
            let lost = "not begun, because the connection was lost".to_owned();
            self.fail(path, Cause::Task(lost));
        }
    }

    async fn remove_extra(&mut self) {
        for extra in std::mem::take(&mut self.extra) {
            let done = Done {
                remote: extra.remote.clone(),
                local: Some(extra.local.clone()),
                action: Action::Removed,
                bytes: 0,
            };
            if self.options.dry_run {
                self.report.done(&*self.observer, &done);
                continue;
            }
            match self.direction {
                Direction::Down => {
                    let (local, options) = (extra.local.clone(), Arc::clone(&self.options));
                    let removed = spawn_blocking(move || {
                        if extra.folder {
                            remove_local(&local, &extra.relative, &options.filter)
                        } else {
                            std::fs::remove_file(local).map(|()| true)
                        }
                    })
                    .await
                    .map_err(fault)
                    .and_then(|removed| removed.map_err(Cause::Local));
                    match removed {
                        Ok(true) => self.report.done(&*self.observer, &done),
                        // What is in it was not to be touched.
                        Ok(false) => {}
                        Err(cause) => self.fail(extra.local.display().to_string(), cause),
                    }
                }
                Direction::Up => {
                    let Some(remote) = self.next_remote() else {
                        return;
                    };
                    if extra.folder {
                        let jobs = self.options.jobs;
                        let observer = Arc::clone(&self.observer);
                        let filter = &self.options.filter;
                        let (root, from) = (&extra.remote, &extra.relative);
                        let report = remove_taken(&remote, root, from, filter, jobs, observer);
                        self.report.add(report.await);
                        continue;
                    }
                    match remote.remove_file(&extra.remote).await {
                        Ok(()) => self.report.done(&*self.observer, &done),
                        Err(error) => self.fail(extra.remote, Cause::Remote(error)),
                    }
                }
            }
        }
    }
}
