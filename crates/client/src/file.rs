//! An open file.

use std::sync::Arc;

use bytes::Bytes;
use countersign_core::client::{
    Answer, Call, Granted, LockRange, OpenId, OpenRequest, Opened, Payload, Reconnect,
};
use countersign_wire::Writer;
use countersign_wire::dtyp::{SecurityDescriptor, SecurityInfo};
use countersign_wire::fscc::{
    BasicInformation, Disposition, EndOfFileInformation, FileAttributes, NetworkOpenInformation,
    StreamInformation, file_class,
};
use parking_lot::Mutex;

use crate::connection::unexpected;
use crate::dfs::Route;
use crate::error::{Error, ErrorKind, Result};
use crate::file_stream::Position;
use crate::live::{Live, Pending};
use crate::metadata::{FileTimes, Metadata, StreamInfo};
use crate::pipeline::Pipeline;
use crate::share::Share;
use crate::tree::{TRIES, Tree};

/// Most bytes taken of a class whose length is not fixed.
const MAX_INFO: u32 = 64 << 10;

/// A lock on a byte range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Nobody else may read either.
    pub exclusive: bool,
}

/// An open file or directory.
///
/// Reads and writes at a position need only `&self` and may run side by side. The
/// traits of tokio (`AsyncRead`, `AsyncWrite`, `AsyncSeek`) keep a position, read
/// ahead and write behind. Dropped, it is closed in the background; what was
/// written through `AsyncWrite` must be flushed or shut down before.
///
/// ```
/// # mod served { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/served/mod.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let running = served::serve();
/// # let share = served::share(&running).await;
/// use countersign_client::Lock;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// // As tokio has it:
/// let mut file = share.create("numbers").await?;
/// file.write_all(b"one two three").await?;
/// file.shutdown().await?;
/// file.close().await?;
///
/// // At positions, locked meanwhile:
/// let file = share.open("numbers").await?;
/// let lock = Lock { offset: 4, length: 3, exclusive: false };
/// file.lock(lock, true).await?;
/// let mut two = [0; 3];
/// assert_eq!(file.read_at(&mut two, 4).await?, 3);
/// assert_eq!(&two, b"two");
/// file.unlock(4, 3).await?;
///
/// let mut text = String::new();
/// share.open("numbers").await?.read_to_string(&mut text).await?;
/// assert_eq!(text, "one two three");
/// # Ok(())
/// # }
/// ```
pub struct File {
    pub(crate) inner: Arc<FileInner>,
    pub(crate) position: Position,
}

pub(crate) struct FileInner {
    pub(crate) tree: Arc<Tree>,
    request: OpenRequest,
    state: Mutex<State>,
    reopening: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy)]
struct State {
    generation: u64,
    opened: Opened,
    closed: bool,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({:?})", self.inner.describe())
    }
}

impl FileInner {
    pub(crate) fn describe(&self) -> String {
        self.tree.describe(&self.request.path)
    }

    pub(crate) fn opened(&self) -> Opened {
        self.state.lock().opened
    }

    /// The connection and the open on it; taken up again after a reconnection
    /// where the server kept it.
    pub(crate) async fn ready(&self) -> Result<(Arc<Live>, OpenId)> {
        let (live, tree) = self.tree.ready().await?;
        if let Some(open) = self.known(&live)? {
            return Ok((live, open));
        }
        let _reopening = self.reopening.lock().await;
        if let Some(open) = self.known(&live)? {
            return Ok((live, open));
        }
        let before = self.state.lock().opened.granted;
        let Some(create_guid) = before.durable else {
            return Err(Error::new(
                ErrorKind::Disconnected,
                "the connection was lost, and with it this open file: the server did not grant a durable open",
            ));
        };
        let request = OpenRequest {
            reconnect: Some(Reconnect {
                persistent: before.persistent,
                volatile: before.volatile,
                create_guid,
            }),
            durable: None,
            disposition: Disposition::Open,
            ..self.request.clone()
        };
        let call = Call::Open {
            tree: tree.tree,
            request: Box::new(request),
        };
        match live.line.call(call).await? {
            Answer::Opened(opened) => {
                let mut state = self.state.lock();
                let granted = Granted {
                    durable: before.durable,
                    ..opened.granted
                };
                *state = State {
                    generation: live.generation,
                    opened: Opened { granted, ..*opened },
                    closed: false,
                };
                Ok((live, opened.open))
            }
            _ => Err(unexpected()),
        }
    }

    fn known(&self, live: &Live) -> Result<Option<OpenId>> {
        let state = self.state.lock();
        if state.closed {
            return Err(Error::new(ErrorKind::InvalidInput, "the file is closed"));
        }
        Ok((state.generation == live.generation).then_some(state.opened.open))
    }

    /// A call that may be made again when the connection is lost under it.
    pub(crate) async fn call(&self, make: impl Fn(OpenId) -> Call) -> Result<Answer> {
        let mut tries = 0;
        loop {
            let (live, open) = self.ready().await?;
            match live.line.call(make(open)).await {
                Err(error) if error.is_transient() && tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }

    /// Sends a call off at once on the connection the open is on.
    pub(crate) fn known_call(&self, make: impl FnOnce(OpenId) -> Call) -> Result<Pending> {
        let live = self.tree.connection.current();
        match self.known(&live)? {
            Some(open) => Ok(live.line.start(make(open))),
            None => Err(Error::new(
                ErrorKind::Disconnected,
                "the connection was lost meanwhile",
            )),
        }
    }

    pub(crate) async fn read(&self, offset: u64, length: u32) -> Result<Bytes> {
        match self
            .call(|open| Call::Read {
                open,
                offset,
                length,
            })
            .await?
        {
            Answer::Data(data) => Ok(data),
            _ => Err(unexpected()),
        }
    }

    /// Reads until `length` bytes are there or the file ends.
    pub(crate) async fn read_full(&self, offset: u64, length: u32) -> Result<Vec<Bytes>> {
        let mut parts = Vec::with_capacity(1);
        let mut done = 0u32;
        while done < length {
            let data = self
                .read(offset.saturating_add(done.into()), length - done)
                .await?;
            let Ok(count @ 1..) = u32::try_from(data.len()) else {
                break;
            };
            done = done.saturating_add(count);
            parts.push(data);
        }
        Ok(parts)
    }

    /// Writes a payload by one request; how many bytes the server took.
    pub(crate) async fn write_once(
        &self,
        offset: u64,
        data: Payload,
        through: bool,
    ) -> Result<usize> {
        let (live, open) = self.ready().await?;
        let call = Call::Write {
            open,
            offset,
            data,
            write_through: through,
        };
        match live.line.call(call).await? {
            Answer::Count(count) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
            _ => Err(unexpected()),
        }
    }

    /// Writes all of a payload. The data is copied again only when the server
    /// takes less than was given or the connection is lost.
    pub(crate) async fn write(&self, offset: u64, data: Payload, through: bool) -> Result<()> {
        let total = data.len();
        // A copy is kept only where there is a way to send it again.
        let again = self
            .opened()
            .granted
            .durable
            .is_some()
            .then(|| data.clone());
        let mut done = match self.write_once(offset, data, through).await {
            Ok(count) => count,
            Err(error) if error.is_transient() && again.is_some() => 0,
            Err(error) => return Err(error),
        };
        if done >= total {
            return Ok(());
        }
        let Some(again) = again else {
            return Err(Error::new(
                ErrorKind::DiskFull,
                "the server wrote less than it was given",
            ));
        };
        while let Some(rest) = again.data().get(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            let answer = self
                .call(|open| Call::Write {
                    open,
                    offset: at,
                    data: Payload::copy_of(rest),
                    write_through: through,
                })
                .await?;
            match answer {
                Answer::Count(0) => {
                    return Err(Error::new(ErrorKind::DiskFull, "the server writes nothing"));
                }
                Answer::Count(count) => {
                    done = done.saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
                }
                _ => return Err(unexpected()),
            }
        }
        Ok(())
    }

    pub(crate) async fn info(&self, class: u8, max: u32) -> Result<Bytes> {
        match self
            .call(|open| Call::QueryInfo {
                open,
                class,
                max,
                input: Vec::new(),
            })
            .await?
        {
            Answer::Info(data) => Ok(data),
            _ => Err(unexpected()),
        }
    }

    async fn set(&self, class: u8, data: Vec<u8>) -> Result<()> {
        self.call(|open| Call::SetInfo {
            open,
            class,
            data: data.clone(),
        })
        .await
        .map(|_| ())
    }

    /// Largest read, largest write, how many at once.
    pub(crate) fn sizes(&self) -> (u32, u32, usize) {
        let connection = &self.tree.connection;
        let transfer = connection.current().transfer();
        (
            transfer.read.max(1),
            transfer.write.max(1),
            transfer.pipeline.clamp(1, connection.options().in_flight),
        )
    }

    pub(crate) fn close_call(&self) -> Option<(Arc<Live>, Call)> {
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        state.closed = true;
        let live = self.tree.connection.current();
        (live.generation == state.generation && !live.is_closed()).then(|| {
            let call = Call::Close {
                open: state.opened.open,
                query: false,
            };
            (live, call)
        })
    }
}

impl Drop for FileInner {
    fn drop(&mut self) {
        if let Some((live, call)) = self.close_call() {
            live.line.forget(call);
        }
    }
}

impl File {
    pub(crate) async fn open(share: &Share, request: OpenRequest, append: bool) -> Result<Self> {
        let mut route = Route::new(share, request.path.clone());
        loop {
            let tree = Arc::clone(&route.share.tree);
            let request = OpenRequest {
                path: route.path.clone(),
                ..request.clone()
            };
            let what = || format!("open {}", tree.describe(&request.path));
            let (live, connected) = tree.ready().await.map_err(|e| e.during(what))?;
            let call = Call::Open {
                tree: connected.tree,
                request: Box::new(request.clone()),
            };
            match live.line.call(call).await.map_err(|e| e.during(what)) {
                Ok(Answer::Opened(opened)) => {
                    return Ok(Self::of(Arc::clone(&tree), request, &live, *opened, append));
                }
                Ok(_) => return Err(unexpected()),
                Err(error) if route.follow(&error, false).await? => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn of(
        tree: Arc<Tree>,
        request: OpenRequest,
        live: &Live,
        opened: Opened,
        append: bool,
    ) -> Self {
        let position = if append { opened.facts.end_of_file } else { 0 };
        Self {
            inner: Arc::new(FileInner {
                tree,
                request,
                state: Mutex::new(State {
                    generation: live.generation,
                    opened,
                    closed: false,
                }),
                reopening: tokio::sync::Mutex::new(()),
            }),
            position: Position::at(position),
        }
    }

    fn what<'a>(&'a self, verb: &'a str) -> impl FnOnce(Error) -> Error + 'a {
        move |error| error.during(|| format!("{verb} {}", self.inner.describe()))
    }

    /// The path below the share.
    pub fn path(&self) -> &str {
        &self.inner.request.path
    }

    /// What the server told when the file was opened.
    pub fn opened_metadata(&self) -> Metadata {
        Metadata::new(self.inner.opened().facts)
    }

    /// What was granted: caching, durability.
    pub fn granted(&self) -> Granted {
        self.inner.opened().granted
    }

    /// Reads at a position; gives how many bytes, 0 at the end. Large buffers are
    /// filled by several requests at once.
    ///
    /// # Errors
    /// What the server says.
    pub async fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0usize;
        let (most, _, depth) = self.inner.sizes();
        let chunk = usize::try_from(most).unwrap_or(usize::MAX);
        let mut pipeline: Pipeline<Result<Vec<Bytes>>> = Pipeline::new();
        let mut asked = 0usize;
        loop {
            while pipeline.len() < depth && asked < buffer.len() {
                let length = (buffer.len() - asked).min(chunk);
                let inner = Arc::clone(&self.inner);
                let at = offset.saturating_add(u64::try_from(asked).unwrap_or(u64::MAX));
                let length32 = u32::try_from(length).unwrap_or(most);
                pipeline.push(async move { inner.read_full(at, length32).await });
                asked += length;
            }
            let Some(parts) = pipeline.front().await else {
                return Ok(done);
            };
            let before = done;
            for part in parts.map_err(self.what("read"))? {
                let Some(place) = buffer.get_mut(done..done.saturating_add(part.len())) else {
                    return Err(Error::new(
                        ErrorKind::Protocol,
                        "the server gave more than was asked for",
                    ));
                };
                place.copy_from_slice(&part);
                done += part.len();
            }
            if done - before < chunk.min(buffer.len() - before) {
                // The end of the file.
                return Ok(done);
            }
        }
    }

    /// Reads at a position without copying: one request, at most `length` bytes.
    ///
    /// # Errors
    /// What the server says.
    pub async fn read_bytes_at(&self, length: u32, offset: u64) -> Result<Bytes> {
        let length = length.min(self.inner.sizes().0);
        self.inner
            .read(offset, length)
            .await
            .map_err(self.what("read"))
    }

    /// Writes all of `data` at a position, by several requests at once if it is
    /// large.
    ///
    /// # Errors
    /// What the server says. Of a large write that fails a part may have been written.
    pub async fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        let (_, most, depth) = self.inner.sizes();
        let chunk = usize::try_from(most).unwrap_or(usize::MAX);
        let mut pipeline: Pipeline<Result<()>> = Pipeline::new();
        let mut chunks = data.chunks(chunk);
        let mut at = offset;
        loop {
            while pipeline.len() < depth
                && let Some(part) = chunks.next()
            {
                let inner = Arc::clone(&self.inner);
                let payload = Payload::copy_of(part);
                let here = at;
                pipeline.push(async move { inner.write(here, payload, false).await });
                at = at.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
            }
            match pipeline.front().await {
                Some(result) => result.map_err(self.what("write"))?,
                None => return Ok(()),
            }
        }
    }

    /// Writes a payload without copying it: one request.
    ///
    /// # Errors
    /// What the server says, and a payload that is larger than one request takes.
    pub async fn write_payload_at(&self, data: Payload, offset: u64) -> Result<()> {
        if data.len() > usize::try_from(self.inner.sizes().1).unwrap_or(usize::MAX) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "too large for one request",
            ));
        }
        self.inner
            .write(offset, data, false)
            .await
            .map_err(self.what("write"))
    }

    /// Sets the length.
    ///
    /// # Errors
    /// What the server says.
    pub async fn set_len(&self, length: u64) -> Result<()> {
        let mut data = Vec::new();
        EndOfFileInformation {
            end_of_file: length,
        }
        .encode(&mut Writer::new(&mut data));
        self.inner
            .set(file_class::END_OF_FILE, data)
            .await
            .map_err(self.what("set the length of"))
    }

    /// Has the server write everything to disk.
    ///
    /// # Errors
    /// What the server says.
    pub async fn sync_all(&self) -> Result<()> {
        self.inner
            .call(Call::Flush)
            .await
            .map(|_| ())
            .map_err(self.what("flush"))
    }

    /// Times, sizes and attributes as they are now.
    ///
    /// # Errors
    /// What the server says.
    pub async fn metadata(&self) -> Result<Metadata> {
        let what = self.what("stat");
        let info = match self.inner.info(file_class::NETWORK_OPEN, 56).await {
            Ok(info) => info,
            Err(error) => return Err(what(error)),
        };
        NetworkOpenInformation::decode(&info)
            .map(|info| Metadata::of_open(&info))
            .map_err(|_| what(malformed()))
    }

    /// Sets times.
    ///
    /// # Errors
    /// What the server says.
    pub async fn set_times(&self, times: FileTimes) -> Result<()> {
        self.set_basic(times, FileAttributes::empty())
            .await
            .map_err(self.what("set the times of"))
    }

    /// Sets attributes.
    ///
    /// # Errors
    /// What the server says.
    pub async fn set_attributes(&self, attributes: FileAttributes) -> Result<()> {
        self.set_basic(FileTimes::default(), some_attributes(attributes))
            .await
            .map_err(self.what("set the attributes of"))
    }

    async fn set_basic(&self, times: FileTimes, attributes: FileAttributes) -> Result<()> {
        self.inner
            .set(file_class::BASIC, basic_information(times, attributes))
            .await
    }

    /// Locks a range; with `wait` only when it can be had. Dropping the future
    /// gives the wait up.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] and others.
    pub async fn lock(&self, lock: Lock, wait: bool) -> Result<()> {
        self.lock_call(
            LockRange {
                offset: lock.offset,
                length: lock.length,
                exclusive: Some(lock.exclusive),
            },
            wait,
        )
        .await
        .map_err(self.what("lock"))
    }

    /// Unlocks a range that was locked as it is.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when there is no such lock.
    pub async fn unlock(&self, offset: u64, length: u64) -> Result<()> {
        let range = LockRange {
            offset,
            length,
            exclusive: None,
        };
        self.lock_call(range, false)
            .await
            .map_err(self.what("unlock"))
    }

    async fn lock_call(&self, range: LockRange, wait: bool) -> Result<()> {
        let (live, open) = self.inner.ready().await?;
        live.line
            .call(Call::Lock {
                open,
                ranges: vec![range],
                wait,
            })
            .await
            .map(|_| ())
    }

    /// The security descriptor, as far as `parts` says.
    ///
    /// # Errors
    /// What the server says; the parts need access rights of their own.
    pub async fn security(&self, parts: SecurityInfo) -> Result<SecurityDescriptor> {
        let what = self.what("read the security of");
        let answer = self
            .inner
            .call(|open| Call::QuerySecurity {
                open,
                parts: parts.bits(),
            })
            .await;
        match answer {
            Ok(Answer::Info(data)) => {
                SecurityDescriptor::decode(&data).map_err(|_| what(malformed()))
            }
            Ok(_) => Err(unexpected()),
            Err(error) => Err(what(error)),
        }
    }

    /// Sets parts of the security descriptor.
    ///
    /// # Errors
    /// What the server says.
    pub async fn set_security(
        &self,
        parts: SecurityInfo,
        descriptor: &SecurityDescriptor,
    ) -> Result<()> {
        let descriptor = descriptor.to_bytes();
        self.inner
            .call(|open| Call::SetSecurity {
                open,
                parts: parts.bits(),
                descriptor: descriptor.clone(),
            })
            .await
            .map(|_| ())
            .map_err(self.what("set the security of"))
    }

    /// The streams of the file.
    ///
    /// # Errors
    /// What the server says.
    pub async fn streams(&self) -> Result<Vec<StreamInfo>> {
        let what = self.what("list the streams of");
        let info = match self.inner.info(file_class::STREAM, MAX_INFO).await {
            Ok(info) => info,
            Err(error) => return Err(what(error)),
        };
        let list = StreamInformation::decode_list(&info).map_err(|_| what(malformed()))?;
        Ok(list
            .into_iter()
            .map(|stream| {
                let name = stream.name.strip_prefix(':').unwrap_or(&stream.name);
                let name = name.strip_suffix(":$DATA").unwrap_or(name);
                StreamInfo {
                    name: name.into(),
                    size: stream.size,
                    allocation_size: stream.allocation_size,
                }
            })
            .collect())
    }

    /// Renames the file while it is open; it must have been opened with DELETE access.
    ///
    /// # Errors
    /// What the server says.
    pub async fn rename(&self, to: &str, replace: bool) -> Result<()> {
        let to = crate::path::normalise(to)?;
        let (live, open) = self.inner.ready().await?;
        live.line
            .call(Call::Rename { open, to, replace })
            .await
            .map(|_| ())
            .map_err(self.what("rename"))
    }

    /// Deletes the file when it is closed, or takes that back; it must have been
    /// opened with DELETE access.
    ///
    /// # Errors
    /// What the server says.
    pub async fn set_delete_on_close(&self, delete: bool) -> Result<()> {
        self.inner
            .call(|open| Call::SetDelete { open, delete })
            .await
            .map(|_| ())
            .map_err(self.what("delete"))
    }

    /// Sends a control code.
    ///
    /// # Errors
    /// What the server says.
    pub async fn ioctl(&self, code: u32, input: &[u8], max: u32) -> Result<Bytes> {
        let (live, tree) = self.inner.tree.ready().await?;
        let (_, open) = self.inner.ready().await?;
        let call = Call::Ioctl {
            tree: tree.tree,
            open: Some(open),
            code,
            input: input.to_vec(),
            max,
        };
        match live.line.call(call).await {
            Ok(Answer::Info(data)) => Ok(data),
            Ok(_) => Err(unexpected()),
            Err(error) => Err(error.during(|| format!("control {}", self.inner.describe()))),
        }
    }

    /// Closes, and tells whether that went well.
    ///
    /// # Errors
    /// What the server says; also when writes that were not flushed failed.
    pub async fn close(mut self) -> Result<()> {
        self.position.flushed(&self.inner).await?;
        match self.inner.close_call() {
            Some((live, call)) => live
                .line
                .call(call)
                .await
                .map(|_| ())
                .map_err(self.what("close")),
            None => Ok(()),
        }
    }
}

pub(crate) fn malformed() -> Error {
    Error::new(ErrorKind::Protocol, "the server's answer is malformed")
}

/// Attributes to set: none at all is `NORMAL`, since zero leaves them as they are.
pub(crate) fn some_attributes(attributes: FileAttributes) -> FileAttributes {
    if attributes.is_empty() {
        FileAttributes::NORMAL
    } else {
        attributes
    }
}

pub(crate) fn basic_information(times: FileTimes, attributes: FileAttributes) -> Vec<u8> {
    let mut data = Vec::new();
    BasicInformation {
        creation: times.created.unwrap_or_default(),
        last_access: times.accessed.unwrap_or_default(),
        last_write: times.modified.unwrap_or_default(),
        change: times.changed.unwrap_or_default(),
        attributes,
    }
    .encode(&mut Writer::new(&mut data));
    data
}

/// Futures that borrow a share or a file move between threads.
const _: () = {
    const fn sync<T: Send + Sync>() {}
    sync::<File>();
    sync::<Share>();
    sync::<crate::Connection>();
};
