//! Changes made by the host, from inotify.
//!
//! One inotify instance and one thread serve all watches of a backend; both
//! begin with the first watch. What this backend's callers did themselves is
//! recognised and left out, since the service reports that.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use countersign_fs::backend::{HostChange, Result, Watch, WatchSink};
use countersign_fs::{Change, ChangeAction, FileKey, FsError};
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::errno::fs_error;
use crate::names;
use crate::root::{join, stat_at};

/// How long an own change is expected to show up.
const OURS_FOR: Duration = Duration::from_secs(2);
/// Own changes remembered at once; behind it some are reported twice.
const OURS_LIMIT: usize = 4096;
/// Events taken in one round.
const ROUND: usize = 4096;

/// By folder and name: when, and how often.
type OwnNames = HashMap<(u64, Vec<u8>), (Instant, u32)>;

/// Changes by this backend's own callers that inotify will tell again.
#[derive(Debug, Default)]
struct Ours {
    active: AtomicUsize,
    names: Mutex<OwnNames>,
    files: Mutex<HashMap<u64, Instant>>,
}

impl Ours {
    fn watched(&self) -> bool {
        self.active.load(Ordering::Relaxed) > 0
    }

    fn take_name(&self, folder: u64, name: &[u8]) -> bool {
        let mut names = self.names.lock();
        let key = (folder, name.to_vec());
        match names.get_mut(&key) {
            Some((when, count)) if when.elapsed() < OURS_FOR && *count > 0 => {
                *count -= 1;
                if *count == 0 {
                    names.remove(&key);
                }
                true
            }
            _ => false,
        }
    }

    fn changed(&self, file: u64) -> bool {
        self.files
            .lock()
            .get(&file)
            .is_some_and(|t| t.elapsed() < OURS_FOR)
    }
}

/// The watches of a backend.
#[derive(Debug)]
pub(crate) struct Watches {
    limit: usize,
    ours: Arc<Ours>,
    running: Mutex<Option<Arc<Running>>>,
}

#[derive(Debug)]
struct Running {
    inotify: OwnedFd,
    wake: OwnedFd,
    limit: usize,
    ours: Arc<Ours>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    watches: HashMap<u64, Subscription>,
    folders: HashMap<i32, Watched>,
}

impl core::fmt::Debug for Table {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Table")
            .field("folders", &self.folders.len())
            .finish_non_exhaustive()
    }
}

struct Subscription {
    /// The folder watched.
    root: Arc<OwnedFd>,
    recursive: bool,
    sink: Arc<dyn WatchSink>,
}

/// A folder inotify watches.
struct Watched {
    /// Its inode.
    file: u64,
    /// Who wants to know, and where it lies below their root (on disk, "" for the root).
    users: Vec<(u64, Vec<u8>)>,
}

fn wanted() -> WatchFlags {
    WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::MODIFY
        | WatchFlags::ATTRIB
        | WatchFlags::ONLYDIR
        | WatchFlags::EXCL_UNLINK
}

impl Watches {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            ours: Arc::default(),
            running: Mutex::new(None),
        })
    }

    /// A name in a folder is about to be added or removed by us.
    pub(crate) fn we_name(&self, folder: FileKey, name: &[u8]) {
        if !self.ours.watched() {
            return;
        }
        let mut names = self.ours.names.lock();
        if names.len() >= OURS_LIMIT {
            names.retain(|_, (when, _)| when.elapsed() < OURS_FOR);
        }
        if names.len() < OURS_LIMIT {
            let entry = names
                .entry((folder.file, name.to_vec()))
                .or_insert((Instant::now(), 0));
            *entry = (Instant::now(), entry.1.saturating_add(1));
        }
    }

    /// Data or attributes of a file are about to be changed by us.
    pub(crate) fn we_changed(&self, file: FileKey) {
        if !self.ours.watched() {
            return;
        }
        let mut files = self.ours.files.lock();
        if files.len() >= OURS_LIMIT {
            files.retain(|_, when| when.elapsed() < OURS_FOR);
        }
        if files.len() < OURS_LIMIT {
            files.insert(file.file, Instant::now());
        }
    }

    fn start(&self) -> Result<Arc<Running>> {
        let mut running = self.running.lock();
        if let Some(r) = running.as_ref() {
            return Ok(Arc::clone(r));
        }
        let r = Arc::new(Running {
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
                .map_err(fs_error)?,
            wake: eventfd(0, EventfdFlags::CLOEXEC).map_err(fs_error)?,
            limit: self.limit,
            ours: Arc::clone(&self.ours),
            table: Mutex::default(),
        });
        let thread = Arc::clone(&r);
        std::thread::Builder::new()
            .name("host-changes".into())
            .spawn(move || thread.run())
            .map_err(|_| FsError::InsufficientResources)?;
        *running = Some(Arc::clone(&r));
        Ok(r)
    }

    /// Begins to watch the folder that `root` is open on.
    pub(crate) fn watch(
        this: &Arc<Self>,
        root: OwnedFd,
        recursive: bool,
        sink: Arc<dyn WatchSink>,
    ) -> Result<Box<dyn Watch>> {
        let running = this.start()?;
        let root = Arc::new(root);
        let mut table = running.table.lock();
        let id = table.next;
        table.next += 1;
        table.watches.insert(
            id,
            Subscription {
                root: Arc::clone(&root),
                recursive,
                sink,
            },
        );
        this.ours.active.fetch_add(1, Ordering::Relaxed);
        let result = running.add(&mut table, id, &root, b"", recursive);
        drop(table);
        let guard = Guard { running, id };
        result?;
        Ok(Box::new(guard))
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        if let Some(r) = self.running.get_mut().take() {
            let _ = rustix::io::write(&r.wake, &1u64.to_ne_bytes());
        }
    }
}

struct Guard {
    running: Arc<Running>,
    id: u64,
}

impl Watch for Guard {}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut table = self.running.table.lock();
        table.watches.remove(&self.id);
        self.running.ours.active.fetch_sub(1, Ordering::Relaxed);
        self.running.forget(&mut table, self.id, b"");
    }
}

/// An event, copied out of the kernel's buffer.
struct Raw {
    wd: i32,
    flags: ReadFlags,
    cookie: u32,
    name: Vec<u8>,
}

type Deliveries = Vec<(Arc<dyn WatchSink>, HostChange)>;

impl Running {
    fn run(&self) {
        loop {
            let mut fds = [
                PollFd::new(&self.inotify, PollFlags::IN),
                PollFd::new(&self.wake, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => {
                    tracing::warn!(%e, "watching the host's changes ended");
                    return;
                }
            }
            let [_, wake] = &fds;
            if !wake.revents().is_empty() {
                return;
            }
            self.round();
        }
    }

    fn round(&self) {
        let mut buffer = vec![MaybeUninit::uninit(); 64 * 1024];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut events = Vec::new();
        while events.len() < ROUND || !reader.is_buffer_empty() {
            match reader.next() {
                Ok(e) => events.push(Raw {
                    wd: e.wd(),
                    flags: e.events(),
                    cookie: e.cookie(),
                    name: e
                        .file_name()
                        .map(|n| n.to_bytes().to_vec())
                        .unwrap_or_default(),
                }),
                Err(_) => break,
            }
        }
        let mut out = Vec::new();
        let mut overflow = Vec::new();
        {
            let mut table = self.table.lock();
            for (at, event) in events.iter().enumerate() {
                if event.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                    overflow.extend(table.watches.values().map(|w| Arc::clone(&w.sink)));
                } else if event.flags.contains(ReadFlags::IGNORED) {
                    table.folders.remove(&event.wd);
                } else if !event.name.is_empty() && !names::is_reserved(&event.name) {
                    self.take(&mut table, &events, at, event, &mut out);
                }
            }
        }
        // Without the lock: a sink may end its watch.
        for sink in overflow {
            sink.overflow();
        }
        for (sink, change) in out {
            sink.changed(change);
        }
    }

    fn take(
        &self,
        table: &mut Table,
        events: &[Raw],
        at: usize,
        event: &Raw,
        out: &mut Deliveries,
    ) {
        let Some(watched) = table.folders.get(&event.wd) else {
            return;
        };
        let directory = event.flags.contains(ReadFlags::ISDIR);
        let users = watched.users.clone();
        let about_names =
            ReadFlags::CREATE | ReadFlags::DELETE | ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO;
        if event.flags.intersects(about_names) {
            let ours = self.ours.take_name(watched.file, &event.name);
            let partner = |flag: ReadFlags| {
                let mut near = events.iter().enumerate();
                near.find(|(i, e)| *i != at && e.cookie == event.cookie && e.flags.contains(flag))
                    .map(|(_, e)| e.wd)
                    .and_then(|wd| table.folders.get(&wd))
                    .map(|w| w.users.iter().map(|(id, _)| *id).collect::<Vec<_>>())
                    .unwrap_or_default()
            };
            let (from, to) = (
                event.flags.contains(ReadFlags::MOVED_FROM),
                event.flags.contains(ReadFlags::MOVED_TO),
            );
            let also = if from {
                partner(ReadFlags::MOVED_TO)
            } else if to {
                partner(ReadFlags::MOVED_FROM)
            } else {
                Vec::new()
            };
            for (id, below) in users {
                let action = match (from, to, also.contains(&id)) {
                    (true, _, true) => ChangeAction::RenamedOldName,
                    (_, true, true) => ChangeAction::RenamedNewName,
                    (true, _, false) => ChangeAction::Removed,
                    (_, true, false) => ChangeAction::Added,
                    _ if event.flags.contains(ReadFlags::CREATE) => ChangeAction::Added,
                    _ => ChangeAction::Removed,
                };
                let path = join(&below, &event.name);
                let Some(w) = table.watches.get(&id) else {
                    continue;
                };
                let (sink, root, recursive) =
                    (Arc::clone(&w.sink), Arc::clone(&w.root), w.recursive);
                if directory && recursive {
                    if action == ChangeAction::Removed {
                        self.forget(table, id, &path);
                    } else if action != ChangeAction::RenamedOldName
                        && self.add(table, id, &root, &path, true).is_err()
                    {
                        sink.overflow();
                    }
                }
                if !ours {
                    out.push((sink, change(action, &path, directory, false)));
                }
            }
            return;
        }
        for (id, below) in users {
            let Some(w) = table.watches.get(&id) else {
                continue;
            };
            let path = join(&below, &event.name);
            // Whose change it was shows in the file's number.
            let parent = beneath(&w.root, &below);
            let Ok(stat) = parent.and_then(|p| stat_at(p.as_fd(), &event.name)) else {
                continue;
            };
            if self.ours.changed(stat.stx_ino) {
                continue;
            }
            let metadata_only = !event.flags.contains(ReadFlags::MODIFY);
            let change = change(ChangeAction::Modified, &path, directory, metadata_only);
            out.push((Arc::clone(&w.sink), change));
        }
    }

    /// Watches a folder below a watch's root, and those below it if wanted.
    fn add(
        &self,
        table: &mut Table,
        id: u64,
        root: &OwnedFd,
        below: &[u8],
        recursive: bool,
    ) -> Result<()> {
        let mut todo = vec![below.to_vec()];
        while let Some(below) = todo.pop() {
            let fd = match beneath(root, &below) {
                Ok(fd) => fd,
                // It is gone already.
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(e) => return Err(fs_error(e)),
            };
            let file = crate::root::stat_fd(fd.as_fd()).map_err(fs_error)?.stx_ino;
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let wd = inotify::add_watch(&self.inotify, path, wanted()).map_err(|e| match e {
                Errno::NOSPC => FsError::InsufficientResources,
                e => fs_error(e),
            })?;
            if !table.folders.contains_key(&wd) && table.folders.len() >= self.limit {
                let _ = inotify::remove_watch(&self.inotify, wd);
                return Err(FsError::InsufficientResources);
            }
            let watched = table.folders.entry(wd).or_insert(Watched {
                file,
                users: Vec::new(),
            });
            watched.users.retain(|(other, _)| *other != id);
            watched.users.push((id, below.clone()));
            if !recursive {
                break;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let Ok(open) = rustix::fs::openat(&fd, c".", flags, Mode::empty()) else {
                continue;
            };
            let Ok(mut dir) = Dir::new(open) else {
                continue;
            };
            while let Some(Ok(entry)) = dir.read() {
                let name = entry.file_name().to_bytes();
                let folder = match entry.file_type() {
                    FileType::Directory => true,
                    FileType::Unknown => stat_at(fd.as_fd(), name)
                        .is_ok_and(|s| crate::root::file_type(&s) == FileType::Directory),
                    _ => false,
                };
                if folder && !matches!(name, b"." | b"..") && !names::is_reserved(name) {
                    todo.push(join(&below, name));
                }
            }
        }
        Ok(())
    }

    /// A watch wants to know no more of what lies at or below a path.
    fn forget(&self, table: &mut Table, id: u64, below: &[u8]) {
        let inside = |p: &[u8]| {
            below.is_empty()
                || p == below
                || (p.starts_with(below) && p.get(below.len()) == Some(&b'/'))
        };
        table.folders.retain(|wd, watched| {
            watched
                .users
                .retain(|(user, path)| *user != id || !inside(path));
            if watched.users.is_empty() {
                let _ = inotify::remove_watch(&self.inotify, *wd);
            }
            !watched.users.is_empty()
        });
    }
}

/// A folder below a watch's root, not through links.
fn beneath(root: &OwnedFd, below: &[u8]) -> core::result::Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if below.is_empty() {
        return rustix::fs::openat(root, c".", flags, Mode::empty());
    }
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(root, below, flags, Mode::empty(), how) {
        Err(Errno::NOSYS | Errno::PERM) => {
            let mut here: Option<OwnedFd> = None;
            for part in below.split(|b| *b == b'/') {
                let parent = here.as_ref().map_or(root.as_fd(), OwnedFd::as_fd);
                here = Some(rustix::fs::openat(parent, part, flags, Mode::empty())?);
            }
            here.ok_or(Errno::NOENT)
        }
        other => other,
    }
}

fn change(action: ChangeAction, path: &[u8], directory: bool, metadata_only: bool) -> HostChange {
    let name: Vec<String> = path.split(|b| *b == b'/').map(names::from_disk).collect();
    HostChange {
        change: Change {
            action,
            name: name.join("\\"),
        },
        directory,
        metadata_only,
    }
}
