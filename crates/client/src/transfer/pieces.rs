//! One large file in pieces: several under way, written in order.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use countersign_core::client::Payload;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, spawn_blocking};

use super::remote::RemoteFile;
use super::report::Cause;

/// Where bytes from a share go, in order.
pub type Sink = Box<dyn Write + Send>;

/// A task that ends when nobody waits for it any more.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Send + 'static> Task<T> {
    fn start(work: impl Future<Output = T> + Send + 'static) -> Self {
        Task(tokio::spawn(work))
    }

    async fn wait<E: std::error::Error + 'static>(mut self) -> Result<T, Cause<E>> {
        (&mut self.0).await.map_err(fault)
    }
}

pub(super) fn fault<E: std::error::Error + 'static>(error: tokio::task::JoinError) -> Cause<E> {
    Cause::Task(error.to_string())
}

/// Bytes that may be under way, of all files together.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    permits: Arc<Semaphore>,
    bytes: usize,
}

impl Gate {
    pub(super) fn new(bytes: usize) -> Gate {
        let bytes = bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Gate {
            permits: Arc::new(Semaphore::new(bytes)),
            bytes,
        }
    }

    /// A piece is no longer than the gate is wide.
    fn piece(&self, longest: usize) -> usize {
        longest.clamp(1, self.bytes)
    }

    fn try_enter(&self, length: usize) -> Option<OwnedSemaphorePermit> {
        let length = u32::try_from(length).ok()?;
        Arc::clone(&self.permits)
            .try_acquire_many_owned(length)
            .ok()
    }

    async fn enter(&self, length: usize) -> Option<OwnedSemaphorePermit> {
        let length = u32::try_from(length).ok()?;
        Arc::clone(&self.permits)
            .acquire_many_owned(length)
            .await
            .ok()
    }
}

/// Reads `from..size` of a file into a sink; the sink comes back.
pub(super) async fn down<F: RemoteFile>(
    file: &F,
    from: u64,
    size: u64,
    piece: usize,
    gate: &Gate,
    mut sink: Sink,
    tell: impl Fn(u64),
) -> Result<Sink, Cause<F::Error>> {
    type Piece<E> = Task<(usize, Result<Bytes, E>, OwnedSemaphorePermit)>;
    let piece = gate.piece(piece);
    let mut next = from;
    let mut under_way: VecDeque<Piece<F::Error>> = VecDeque::new();
    loop {
        while next < size {
            let length = usize::try_from(size - next).unwrap_or(piece).min(piece);
            // Who has pieces that wait to be written must not wait for room: it
            // holds the room itself.
            let permit = if under_way.is_empty() {
                gate.enter(length).await
            } else {
                gate.try_enter(length)
            };
            let Some(permit) = permit else { break };
            let (file, offset) = (file.clone(), next);
            under_way.push_back(Task::start(async move {
                (length, file.read_at(offset, length).await, permit)
            }));
            next += length as u64;
        }
        let Some(oldest) = under_way.pop_front() else {
            return Ok(sink);
        };
        let (length, data, permit) = oldest.wait().await?;
        let data = data.map_err(Cause::Remote)?;
        if data.len() != length {
            return Err(Cause::Changed);
        }
        let (back, written) = spawn_blocking(move || {
            let written = sink.write_all(&data);
            (sink, written)
        })
        .await
        .map_err(fault)?;
        sink = back;
        written?;
        drop(permit);
        tell(length as u64);
    }
}

/// Reads a file of a share into a sink, in order (what `cat` does).
///
/// # Errors
/// When the share or the sink fails.
pub async fn stream_down<F: RemoteFile>(
    file: &F,
    size: u64,
    piece: usize,
    window: usize,
    sink: Sink,
) -> Result<Sink, Cause<F::Error>> {
    let mut sink = down(file, 0, size, piece, &Gate::new(window), sink, |_| {}).await?;
    spawn_blocking(move || sink.flush().map(|()| sink))
        .await
        .map_err(fault)?
        .map_err(Cause::Local)
}

/// A piece on its way: its length, and what became of it.
type Written<E> = Task<(usize, Result<(), E>)>;

/// Writes `from..size` of a local file, which stands at `from`, to a share.
pub(super) async fn up<F: RemoteFile>(
    mut source: File,
    file: &F,
    from: u64,
    size: u64,
    piece: usize,
    gate: &Gate,
    tell: impl Fn(u64),
) -> Result<(), Cause<F::Error>> {
    let piece = gate.piece(piece);
    let mut next = from;
    let mut under_way: VecDeque<Written<F::Error>> = VecDeque::new();
    while next < size {
        let length = usize::try_from(size - next).unwrap_or(piece).min(piece);
        let permit = loop {
            if let Some(permit) = gate.try_enter(length) {
                break permit;
            }
            match under_way.pop_front() {
                Some(oldest) => {
                    let (length, written) = oldest.wait().await?;
                    written.map_err(Cause::Remote)?;
                    tell(length as u64);
                }
                None => {
                    let fault = || Cause::Task("closed".to_owned());
                    break gate.enter(length).await.ok_or_else(fault)?;
                }
            }
        };
        let (back, data) = spawn_blocking(move || {
            let mut data = Payload::with_capacity(length);
            let read = (&mut source)
                .take(length as u64)
                .read_to_end(data.buffer_mut());
            (source, read.map(|_| data))
        })
        .await
        .map_err(fault)?;
        source = back;
        let data = data?;
        if data.len() != length {
            return Err(Cause::Changed);
        }
        let (file, offset) = (file.clone(), next);
        under_way.push_back(Task::start(async move {
            let written = file.write_at(offset, data).await;
            drop(permit);
            (length, written)
        }));
        next += length as u64;
    }
    for task in under_way {
        let (length, written) = task.wait().await?;
        written.map_err(Cause::Remote)?;
        tell(length as u64);
    }
    Ok(())
}
