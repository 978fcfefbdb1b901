//! Whole files between a share and a stream or a local file: pipelined, with
//! progress, resumable.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use countersign_core::client::Payload;
use countersign_wire::fscc::Disposition;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::error::{Error, ErrorKind, Result};
use crate::file::File;
use crate::metadata::{FileTimes, file_time};
use crate::open_options::OpenOptions;
use crate::path::normalise;
use crate::pipeline::Pipeline;
use crate::share::Share;

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are there, those of a resumed transfer's beginning included.
    pub done: u64,
    /// Bytes in all, where that is known.
    pub total: Option<u64>,
}

type Callback = Arc<dyn Fn(Progress) + Send + Sync>;

/// How a transfer is made.
///
/// ```
/// # mod served { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/served/mod.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), countersign_client::Error> {
/// # let running = served::serve();
/// # let share = served::share(&running).await;
/// use countersign_client::TransferOptions;
///
/// let options = TransferOptions::new().progress(|progress| {
///     println!("{} of {:?} bytes", progress.done, progress.total);
/// });
/// let data = vec![7; 100_000];
/// share.upload(&mut data.as_slice(), "big", &options).await?;
///
/// // From where an earlier one stopped:
/// let mut rest = Vec::new();
/// share.download("big", &mut rest, &TransferOptions::new().offset(90_000)).await?;
/// assert_eq!(rest.len(), 10_000);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct TransferOptions {
    offset: u64,
    size: Option<u64>,
    progress: Option<Callback>,
    times: bool,
    create_new: bool,
}

impl std::fmt::Debug for TransferOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransferOptions")
            .field("offset", &self.offset)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl TransferOptions {
    /// A whole file from its beginning.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins here: what is before is there already.
    pub fn offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Size of the source if it is known, such as from a listing: a small file
    /// then takes one round trip, and a large one no detour.
    pub fn size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    /// Is told how far the transfer is.
    pub fn progress(mut self, progress: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// The time of the last write goes along (local files only).
    pub fn keep_times(mut self, keep: bool) -> Self {
        self.times = keep;
        self
    }

    /// The target must not be there.
    pub fn create_new(mut self, create_new: bool) -> Self {
        self.create_new = create_new;
        self
    }

    fn tell(&self, done: u64, total: Option<u64>) {
        if let Some(progress) = &self.progress {
            progress(Progress { done, total });
        }
    }
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Where what is read goes: awaits until it is taken.
trait Sink {
    fn take(&mut self, data: Bytes) -> impl Future<Output = Result<()>> + Send;
}

struct Stream<'a, W>(&'a mut W);

impl<W: AsyncWrite + Unpin + Send> Sink for Stream<'_, W> {
    async fn take(&mut self, data: Bytes) -> Result<()> {
        self.0.write_all(&data).await.map_err(Error::from)
    }
}

impl Sink for mpsc::Sender<Bytes> {
    async fn take(&mut self, data: Bytes) -> Result<()> {
        self.send(data)
            .await
            .map_err(|_| Error::new(ErrorKind::Local, "the local file cannot be written"))
    }
}

impl Share {
    /// Copies a file's contents into a writer; gives the bytes copied.
    ///
    /// # Errors
    /// What the server says, or the writer.
    pub async fn download<W>(
        &self,
        path: &str,
        to: &mut W,
        options: &TransferOptions,
    ) -> Result<u64>
    where
        W: AsyncWrite + Unpin + Send,
    {
        let done = self.fetch(path, &mut Stream(&mut *to), options).await?;
        to.flush().await?;
        Ok(done)
    }

    async fn fetch(
        &self,
        path: &str,
        sink: &mut impl Sink,
        options: &TransferOptions,
    ) -> Result<u64> {
        let path = normalise(path)?;
        let mut at = options.offset;
        let whole = self.connection().current().transfer().whole;
        let worth = options.size.is_none_or(|size| size <= whole.into());
        if at == 0 && whole > 0 && worth {
            // With the size known one byte more would tell that it has grown.
            let max = options
                .size
                .and_then(|size| u32::try_from(size).ok())
                .map_or(whole, |size| size.saturating_add(1).min(whole));
            let (data, more) = self.read_start(&path, max).await?;
            at = wide(data.len());
            if !data.is_empty() {
                sink.take(data).await?;
            }
            options.tell(at, Some(more.unwrap_or(at)));
            if more.is_none() {
                return Ok(at);
            }
        }
        let file = OpenOptions::new().read(true).open(self, &path).await?;
        let done = file.fetch(at, sink, options).await?;
        file.close().await?;
        Ok(done.saturating_sub(options.offset))
    }

    /// Copies a reader's contents into a file, created or replaced; gives the
    /// bytes copied.
    ///
    /// # Errors
    /// What the server says, or the reader.
    pub async fn upload<R>(
        &self,
        from: &mut R,
        path: &str,
        options: &TransferOptions,
    ) -> Result<u64>
    where
        R: AsyncRead + Unpin + Send,
    {
        let transfer = self.connection().current().transfer();
        let most = usize::try_from(transfer.write.max(1)).unwrap_or(usize::MAX);
        let whole = usize::try_from(transfer.whole).unwrap_or(0);
        let mut source = async || -> Result<Payload> {
            let mut payload = Payload::with_capacity(most);
            let mut limited = (&mut *from).take(wide(most));
            while limited.read_buf(payload.buffer_mut()).await? > 0 {}
            Ok(payload)
        };
        let first = source().await?;
        let mut sender = Upload::new(self, path, options)?;
        if first.len() < most && sender.small(&first, whole) {
            return sender.whole(first, None).await;
        }
        let mut next = first;
        while !next.is_empty() {
            let last = next.len() < most;
            sender.push(next).await?;
            if last {
                break;
            }
            next = source().await?;
        }
        sender.finish(None).await
    }

    /// Copies a file of the share to a local one; gives the bytes copied. The
    /// local file is read and written by a thread of its own. With an offset the
    /// local file is continued there, else it is replaced.
    ///
    /// # Errors
    /// What the server says, or the local file system.
    pub async fn get(&self, path: &str, to: &Path, options: &TransferOptions) -> Result<u64> {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(4);
        let (to, offset, new) = (to.to_owned(), options.offset, options.create_new);
        let name = to.display().to_string();
        // Made when the first data is there (or the end): not before the server
        // has said that there is something.
        let writer = tokio::task::spawn_blocking(move || -> std::io::Result<fs::File> {
            let first = receiver.blocking_recv();
            let mut open = fs::OpenOptions::new();
            open.write(true)
                .create(!new)
                .create_new(new)
                .truncate(offset == 0);
            let mut file = open.open(&to)?;
            if offset > 0 {
                file.seek(SeekFrom::Start(offset))?;
            }
            if let Some(first) = first {
                file.write_all(&first)?;
            }
            while let Some(data) = receiver.blocking_recv() {
                file.write_all(&data)?;
            }
            Ok(file)
        });
        let mut sink = sender;
        let metadata = if options.times {
            Some(self.metadata(path).await?)
        } else {
            None
        };
        let fetched = self.fetch(path, &mut sink, options).await;
        if fetched.is_err() && writer.is_finished() {
            // The local file's error is the cause.
            drop(sink);
            written(writer.await, &name)?;
            return fetched;
        }
        let done = match fetched {
            Ok(done) => done,
            Err(error) => {
                writer.abort();
                return Err(error);
            }
        };
        drop(sink);
        let file = written(writer.await, &name)?;
        if let Some(metadata) = metadata {
            let (seconds, nanoseconds) = metadata.modified().to_unix();
            if let Ok(seconds) = u64::try_from(seconds) {
                let time = std::time::UNIX_EPOCH + std::time::Duration::new(seconds, nanoseconds);
                let _ = file.set_modified(time);
            }
        }
        Ok(done)
    }

    /// Copies a local file to the share; gives the bytes copied. With an offset
    /// the file on the share is continued there, else it is replaced.
    ///
    /// # Errors
    /// What the server says, or the local file system.
    pub async fn put(&self, from: &Path, path: &str, options: &TransferOptions) -> Result<u64> {
        let transfer = self.connection().current().transfer();
        let most = usize::try_from(transfer.write.max(1)).unwrap_or(usize::MAX);
        let whole = usize::try_from(transfer.whole).unwrap_or(0);
        let name = from.display().to_string();
        let local =
            move |error: std::io::Error| Error::new(ErrorKind::Local, format!("{name}: {error}"));
        let (from, offset) = (from.to_owned(), options.offset);
        let opened = tokio::task::spawn_blocking(move || -> std::io::Result<_> {
            let mut file = fs::File::open(from)?;
            if offset > 0 {
                file.seek(SeekFrom::Start(offset))?;
            }
            let metadata = file.metadata()?;
            let left = metadata.len().saturating_sub(offset);
            let room = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .saturating_add(1);
            let first = fill(&mut file, room.min(most))?;
            Ok((file, metadata, first))
        })
        .await;
        let (mut file, metadata, first) = flat(opened).map_err(&local)?;
        let mut sized = options.clone();
        sized.size = Some(metadata.len());
        let times = options
            .times
            .then(|| metadata.modified().ok())
            .flatten()
            .map(|time| FileTimes::modified(file_time(time)));
        let mut sender = Upload::new(self, path, &sized)?;
        if wide(first.len()) >= metadata.len().saturating_sub(offset)
            && first.len() < most
            && sender.small(&first, whole)
        {
            return sender.whole(first, times).await;
        }
        let (ahead, mut payloads) = mpsc::channel::<std::io::Result<Payload>>(4);
        let reader = tokio::task::spawn_blocking(move || {
            loop {
                let next = fill(&mut file, most);
                let end = next.as_ref().map_or(true, Payload::is_empty);
                if ahead.blocking_send(next).is_err() || end {
                    return;
                }
            }
        });
        sender.push(first).await?;
        while let Some(next) = payloads.recv().await {
            let next = next.map_err(&local)?;
            if next.is_empty() {
                break;
            }
            sender.push(next).await?;
        }
        drop(payloads);
        let _ = reader.await;
        sender.finish(times).await
    }
}

fn fill(file: &mut fs::File, most: usize) -> std::io::Result<Payload> {
    let mut payload = Payload::with_capacity(most);
    file.take(wide(most)).read_to_end(payload.buffer_mut())?;
    Ok(payload)
}

fn flat<T>(
    joined: std::result::Result<std::io::Result<T>, tokio::task::JoinError>,
) -> std::io::Result<T> {
    joined.unwrap_or_else(|_| Err(std::io::Error::other("interrupted")))
}

fn written(
    joined: std::result::Result<std::io::Result<fs::File>, tokio::task::JoinError>,
    name: &str,
) -> Result<fs::File> {
    flat(joined).map_err(|error| Error::new(ErrorKind::Local, format!("{name}: {error}")))
}

impl File {
    /// Reads from here to the end, several requests at once, in order.
    async fn fetch(
        &self,
        mut at: u64,
        sink: &mut impl Sink,
        options: &TransferOptions,
    ) -> Result<u64> {
        let (most, _, depth) = self.inner.sizes();
        let total = self.opened_metadata().len();
        let mut ahead = at;
        let mut pipeline: Pipeline<Result<Vec<Bytes>>> = Pipeline::new();
        loop {
            // Up to the size known, then on until the end is seen.
            while pipeline.len() < depth && (ahead < total || pipeline.is_empty()) {
                let left = total.saturating_sub(ahead);
                let length = u32::try_from(left).unwrap_or(u32::MAX).min(most);
                let length = if length == 0 { most } else { length };
                let (inner, from) = (Arc::clone(&self.inner), ahead);
                pipeline.push(async move { inner.read_full(from, length).await });
                ahead = ahead.saturating_add(length.into());
            }
            let Some(parts) = pipeline.front().await else {
                return Ok(at);
            };
            let parts =
                parts.map_err(|e| e.during(|| format!("read {}", self.inner.describe())))?;
            let before = at;
            for part in parts {
                at = at.saturating_add(wide(part.len()));
                sink.take(part).await?;
            }
            if at == before {
                return Ok(at);
            }
            options.tell(at, Some(total.max(at)));
            if at >= total && pipeline.is_empty() {
                return Ok(at);
            }
        }
    }
}

/// A file that is being written from its beginning or on from an offset.
struct Upload<'a> {
    share: &'a Share,
    path: String,
    options: &'a TransferOptions,
    file: Option<File>,
    at: u64,
    done: u64,
    pipeline: Pipeline<Result<u64>>,
}

impl<'a> Upload<'a> {
    fn new(share: &'a Share, path: &str, options: &'a TransferOptions) -> Result<Self> {
        Ok(Self {
            share,
            path: normalise(path)?,
            options,
            file: None,
            at: options.offset,
            done: options.offset,
            pipeline: Pipeline::new(),
        })
    }

    /// Whether it all fits into one round trip.
    fn small(&self, data: &Payload, whole: usize) -> bool {
        self.options.offset == 0 && data.len() <= whole
    }

    async fn whole(self, data: Payload, times: Option<FileTimes>) -> Result<u64> {
        let length = wide(data.len());
        let disposition = if self.options.create_new {
            Disposition::Create
        } else {
            Disposition::OverwriteIf
        };
        self.share
            .write_small(&self.path, data, disposition, times)
            .await?;
        self.options.tell(length, Some(length));
        Ok(length)
    }

    async fn open(&mut self) -> Result<&File> {
        if self.file.is_none() {
            let fresh = self.options.offset == 0;
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .create_new(self.options.create_new)
                .truncate(fresh)
                .open(self.share, &self.path)
                .await?;
            self.file = Some(file);
        }
        self.file
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::Other, "no file"))
    }

    async fn push(&mut self, data: Payload) -> Result<()> {
        let (inner, depth) = {
            let file = self.open().await?;
            (Arc::clone(&file.inner), file.inner.sizes().2)
        };
        while self.pipeline.len() >= depth {
            self.settle().await?;
        }
        let (from, length) = (self.at, wide(data.len()));
        self.at = self.at.saturating_add(length);
        self.pipeline.push(async move {
            inner.write(from, data, false).await?;
            Ok(length)
        });
        // Sent off now.
        std::future::poll_fn(|cx| {
            self.pipeline.start(cx);
            std::task::Poll::Ready(())
        })
        .await;
        Ok(())
    }

    async fn settle(&mut self) -> Result<()> {
        if let Some(written) = self.pipeline.front().await {
            let describe = || format!("write {}", self.share.tree.describe(&self.path));
            self.done = self
                .done
                .saturating_add(written.map_err(|e| e.during(describe))?);
            let total = self.options.size.map(|size| size.max(self.done));
            self.options.tell(self.done, total);
        }
        Ok(())
    }

    async fn finish(mut self, times: Option<FileTimes>) -> Result<u64> {
        self.open().await?;
        while !self.pipeline.is_empty() {
            self.settle().await?;
        }
        if let Some(file) = self.file.take() {
            if let Some(times) = times {
                file.set_times(times).await?;
            }
            file.close().await?;
        }
        Ok(self.done.saturating_sub(self.options.offset))
    }
}
