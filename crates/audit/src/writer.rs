//! The thread that writes: fed by a bounded channel, so that requests never wait for
//! the disk. What does not fit is dropped and counted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::database::{Database, DatabaseError, KeepLimits};
use crate::event::AuditEvent;
use crate::record::Note;
use crate::sink::{Sink, SinkConfig};

/// How the writer works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterConfig {
    /// What is kept.
    pub keep: KeepLimits,
    /// Notes that may wait; further ones are dropped and counted. Default 8192.
    pub queue: usize,
    /// Notes written in one transaction. Default 512.
    pub batch: usize,
    /// How long a note may wait for others before it is written. Default 200 ms.
    pub linger: Duration,
    /// Where events go.
    pub sinks: SinkConfig,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self {
            keep: KeepLimits::default(),
            queue: 8192,
            batch: 512,
            linger: Duration::from_millis(200),
            sinks: SinkConfig::default(),
        }
    }
}

/// How often old records are looked for.
const PRUNE: Duration = Duration::from_secs(600);

/// Something for the writer.
enum Item {
    Note(Box<Note>),
    Event(Box<AuditEvent>),
    /// A line to be appended to a file.
    Line(PathBuf, String),
    Sinks(SinkConfig),
    Keep(KeepLimits),
    /// Answer when everything before is written.
    Flush(SyncSender<()>),
}

/// Feeds the writer. Cheap to clone; never blocks.
#[derive(Clone)]
pub struct Feed {
    channel: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl Feed {
    fn put(&self, item: Item) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.channel.try_send(item)
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A note for the database.
    pub fn note(&self, note: Note) {
        self.put(Item::Note(Box::new(note)));
    }

    /// An event for the sinks.
    pub fn event(&self, event: AuditEvent) {
        self.put(Item::Event(Box::new(event)));
    }

    /// A line for a file.
    pub fn line(&self, path: &Path, line: String) {
        self.put(Item::Line(path.to_owned(), line));
    }

    /// Other sinks from here on.
    pub fn set_sinks(&self, sinks: SinkConfig) {
        self.put(Item::Sinks(sinks));
    }

    /// Other limits from here on.
    pub fn set_keep(&self, keep: KeepLimits) {
        self.put(Item::Keep(keep));
    }

    /// Notes and events that did not fit and were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Notes and events that could not be written.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Waits until what was fed before is written, or the time is over. Not for the way
    /// of requests.
    pub fn flush(&self, patience: Duration) -> bool {
        let (done, wait) = sync_channel(1);
        let end = Instant::now() + patience;
        let mut item = Item::Flush(done);
        loop {
            match self.channel.try_send(item) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < end => {
                    item = back;
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(_) => return false,
            }
        }
        wait.recv_timeout(end.saturating_duration_since(Instant::now()))
            .is_ok()
    }
}

/// The writer's thread; ends when every [`Feed`] is gone.
pub struct Writer {
    feed: Feed,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Opens the database and starts the thread.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub fn start(path: &Path, config: WriterConfig) -> Result<Self, DatabaseError> {
        let database = Database::create(path)?;
        let (channel, items) = sync_channel(config.queue.max(1));
        let feed = Feed {
            channel,
            dropped: Arc::default(),
            failed: Arc::default(),
        };
        let failed = Arc::clone(&feed.failed);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || run(database, &items, config, &failed))
            .map_err(|_| DatabaseError::Missing(path.to_owned()))?;
        Ok(Self {
            feed,
            thread: Some(thread),
        })
    }

    /// Feeds it.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Writes what is there and ends; other feeds that live on keep it alive until then.
    pub fn stop(mut self, patience: Duration) {
        self.feed.flush(patience);
        // The thread ends with the last feed; nobody waits for it.
        drop(self.thread.take());
    }
}

fn run(
    mut database: Database,
    items: &Receiver<Item>,
    mut config: WriterConfig,
    failed: &AtomicU64,
) {
    let mut sink = Sink::new(config.sinks.clone());
    let mut notes: Vec<Note> = Vec::new();
    let mut since = Instant::now();
    let mut pruned: Option<Instant> = None;
    loop {
        let wait = if notes.is_empty() {
            PRUNE
        } else {
            config.linger.saturating_sub(since.elapsed())
        };
        let mut flushed = None;
        match items.recv_timeout(wait) {
            Ok(Item::Note(note)) => {
                if notes.is_empty() {
                    since = Instant::now();
                }
                notes.push(*note);
            }
            Ok(Item::Event(event)) => {
                if sink.write(&event).is_err() {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(Item::Line(path, line)) => {
                if append(&path, &line).is_err() {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(Item::Sinks(sinks)) => sink = Sink::new(sinks),
            Ok(Item::Keep(keep)) => {
                config.keep = keep;
                pruned = None;
            }
            Ok(Item::Flush(done)) => flushed = Some(done),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let _ = database.write(&notes);
                return;
            }
        }
        let due = notes.len() >= config.batch
            || flushed.is_some()
            || (!notes.is_empty() && since.elapsed() >= config.linger);
        if due {
            if database.write(&notes).is_err() {
                failed.fetch_add(notes.len() as u64, Ordering::Relaxed);
            }
            notes.clear();
        }
        if let Some(done) = flushed {
            let _ = done.send(());
        }
        if notes.is_empty() && pruned.is_none_or(|at| at.elapsed() >= PRUNE) {
            pruned = Some(Instant::now());
            // What cannot be pruned now is pruned later.
            let _ = database.prune(crate::now(), &config.keep);
        }
    }
}

fn append(path: &Path, line: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(line.as_bytes())
}
