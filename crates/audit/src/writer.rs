//! The thread that writes: fed by a bounded channel, so that requests never wait for
//! the disk. What does not fit is dropped and counted; what cannot be written is tried
//! again for as long as there is room for it, then it is counted too.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::database::Losses;
use crate::event::AuditEvent;
use crate::prune::{Clock, KeepLimits};
use crate::record::Note;
use crate::sink::{Sink, SinkConfig};
use crate::store::{PAUSE, Store};

/// How the writer works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterConfig {
    /// Peers are recorded; else only events and lines are written. Default true.
    pub records: bool,
    /// What is kept.
    pub keep: KeepLimits,
    /// Notes that may wait in the queue; further ones are dropped and counted. As many
    /// again may wait for a database that cannot be written. Default 8192.
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
            records: true,
            keep: KeepLimits::default(),
            queue: 8192,
            batch: 512,
            linger: Duration::from_millis(200),
            sinks: SinkConfig::default(),
        }
    }
}

/// How often old records are looked for, and how soon after the start.
const PRUNE: Duration = Duration::from_secs(600);
const PRUNE_FIRST: Duration = Duration::from_secs(60);
/// After so many notes the number and size of the records are looked at in any case.
const PRUNE_AFTER: u64 = 20_000;

/// Something for the writer.
enum Item {
    Note(Box<Note>),
    Event(Box<AuditEvent>),
    /// A line to be appended to a file.
    Line(PathBuf, String),
    Sinks(SinkConfig),
    Keep(KeepLimits),
    /// Answer when everything before is written, or could not be.
    Flush(SyncSender<bool>),
}

/// What goes wrong.
#[derive(Default)]
struct Health {
    dropped: AtomicU64,
    failed: AtomicU64,
    /// Losses that stand in the database.
    told: Mutex<Losses>,
    trouble: Mutex<Option<String>>,
    /// What is to be told once.
    news: Mutex<Vec<String>>,
}

/// News that wait to be told; the first ones are.
const NEWS: usize = 16;

impl Health {
    fn losses(&self) -> Losses {
        Losses {
            dropped: self.dropped.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// All losses, and those that do not stand in the database.
    fn unwritten(&self) -> (Losses, Losses) {
        let all = self.losses();
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        (all, all.since(told))
    }

    fn fail(&self, number: u64) {
        self.failed.fetch_add(number, Ordering::Relaxed);
    }

    /// Takes over what a store has to say.
    fn hear(&self, store: &mut Store) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let mut said = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if said.as_deref() != store.trouble() {
            *said = store.trouble().map(str::to_owned);
            match &*said {
                Some(trouble) => news.push(format!("the audit cannot be written: {trouble}")),
                None => news.push("the audit is written again".to_owned()),
            }
        }
        news.append(&mut store.news);
        news.truncate(NEWS);
    }
}

/// Feeds the writer. Cheap to clone; never blocks.
#[derive(Clone)]
pub struct Feed {
    channel: SyncSender<Item>,
    health: Arc<Health>,
}

impl Feed {
    fn put(&self, item: Item) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.channel.try_send(item)
        {
            self.health.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A note for the database.
    pub fn note(&self, note: Note) {
        self.put(Item::Note(Box::new(note)));
    }

    /// A note that can be made again later: whether there was room. It is not counted
    /// as lost.
    pub fn offer(&self, note: Note) -> bool {
        self.channel.try_send(Item::Note(Box::new(note))).is_ok()
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

    /// Notes and events that were lost since the start.
    pub fn losses(&self) -> Losses {
        self.health.losses()
    }

    /// Those of them that do not stand in the database.
    pub fn unwritten_losses(&self) -> Losses {
        self.health.unwritten().1
    }

    /// What keeps the database from being written at the moment.
    pub fn trouble(&self) -> Option<String> {
        self.health
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What happened to the database since this was asked last, for a log.
    pub fn news(&self) -> Vec<String> {
        let mut news = self
            .health
            .news
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *news)
    }

    /// Waits until what was fed before is written; false when it could not be, or the
    /// time is over. Not for the way of requests.
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
            .unwrap_or(false)
    }
}

/// The writer's thread; ends when every [`Feed`] is gone.
pub struct Writer {
    feed: Feed,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. A database that cannot be opened now is tried again later
    /// ([`Feed::trouble`] says why it cannot).
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(path: &Path, config: WriterConfig) -> std::io::Result<Self> {
        let (channel, items) = sync_channel(config.queue.max(1));
        let feed = Feed {
            channel,
            health: Arc::default(),
        };
        let health = Arc::clone(&feed.health);
        let mut store = config.records.then(|| Store::open(path));
        if let Some(store) = &mut store {
            health.hear(store);
        }
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || Work::new(store, config, health).run(&items))?;
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

/// What the thread works with.
struct Work {
    store: Option<Store>,
    config: WriterConfig,
    health: Arc<Health>,
    sink: Sink,
    notes: Vec<Note>,
    /// When the first of the notes came.
    since: Instant,
    clock: Clock,
    prune_at: Instant,
    written: u64,
}

impl Work {
    fn new(store: Option<Store>, config: WriterConfig, health: Arc<Health>) -> Self {
        Self {
            store,
            sink: Sink::new(config.sinks.clone()),
            config,
            health,
            notes: Vec::new(),
            since: Instant::now(),
            clock: Clock::new(crate::now()),
            prune_at: Instant::now() + PRUNE_FIRST,
            written: 0,
        }
    }

    fn run(mut self, items: &Receiver<Item>) {
        loop {
            let mut flush = None;
            match items.recv_timeout(self.wait()) {
                Ok(Item::Note(note)) => self.take(*note),
                Ok(Item::Event(event)) => {
                    if self.sink.write(&event).is_err() {
                        self.health.fail(1);
                    }
                }
                Ok(Item::Line(path, line)) => {
                    if append(&path, &line).is_err() {
                        self.health.fail(1);
                    }
                }
                Ok(Item::Sinks(sinks)) => self.sink = Sink::new(sinks),
                Ok(Item::Keep(keep)) => {
                    self.config.keep = keep;
                    self.prune(None);
                }
                Ok(Item::Flush(done)) => flush = Some(done),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    if !self.write() {
                        self.health.fail(self.notes.len() as u64);
                    }
                    return;
                }
            }
            let due = self.notes.len() >= self.config.batch
                || (!self.notes.is_empty() && self.since.elapsed() >= self.config.linger);
            let written = if due || flush.is_some() {
                self.write()
            } else {
                true
            };
            if let Some(done) = flush {
                let _ = done.send(written);
            }
            if Instant::now() >= self.prune_at {
                self.prune_at = Instant::now() + PRUNE;
                let now = self.clock.look(crate::now());
                self.prune(now);
            } else if self.written >= PRUNE_AFTER {
                self.prune(None);
            }
        }
    }

    fn wait(&self) -> Duration {
        let prune = self.prune_at.saturating_duration_since(Instant::now());
        if self.notes.is_empty() {
            return prune;
        }
        match &self.store {
            Some(store) if !store.may() => PAUSE,
            _ => self.config.linger.saturating_sub(self.since.elapsed()),
        }
        .min(prune)
    }

    fn take(&mut self, note: Note) {
        if self.store.is_none() {
            return;
        }
        // More than a batch is there only while the database cannot be written.
        if self.notes.len() >= self.config.queue.max(self.config.batch) {
            self.health.fail(1);
            return;
        }
        if self.notes.is_empty() {
            self.since = Instant::now();
        }
        self.notes.push(note);
    }

    /// Writes the notes; those that could not be written stay.
    fn write(&mut self) -> bool {
        let Some(store) = &mut self.store else {
            self.notes.clear();
            return true;
        };
        let (losses, news) = self.health.unwritten();
        if self.notes.is_empty() && !news.any() && store.trouble().is_none() {
            return true;
        }
        let written = store.write(&self.notes, crate::now(), news);
        if written {
            self.written = self.written.saturating_add(self.notes.len() as u64);
            self.notes.clear();
            *self
                .health
                .told
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = losses;
        }
        self.health.hear(store);
        written
    }

    fn prune(&mut self, now: Option<u64>) {
        if let Some(store) = &mut self.store {
            store.prune(now, &self.config.keep);
        }
        self.written = 0;
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
