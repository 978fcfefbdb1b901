//! One large file in pieces: several under way, written in order.

use std::fs::File;
use std::sync::Arc;

use countersign_core::client::Payload;
use futures_util::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use super::disk::{Reader, Sink, Writer, local, read_piece_at};
use super::remote::{RemoteError, RemoteFile};
use super::report::Cause;
use super::{BLOCK, BLOCKS_AHEAD, PIECES};
use crate::tree::TRIES;

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
    sink: Sink,
    tell: impl Fn(u64),
) -> Result<Sink, Cause<F::Error>> {
    let piece = gate.piece(piece);
    let writer = Writer::start(sink);
    let mut next = from;
    let mut under_way = FuturesOrdered::new();
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
            under_way
                .push_back(async move { (length, file.read_at(offset, length).await, permit) });
            next += length as u64;
        }
        // The oldest, and what is there behind it: one turn of the disk for all.
        let Some(mut oldest) = under_way.next().await else {
            return writer.finish().await;
        };
        let mut block = Vec::new();
        let mut bytes = 0;
        loop {
            let (length, data, permit) = oldest;
            let data = data.map_err(Cause::Remote)?;
            if data.len() != length {
                return Err(Cause::Changed);
            }
            bytes += length;
            block.push((data, permit));
            if bytes >= BLOCK {
                break;
            }
            match under_way.next().now_or_never() {
                Some(Some(next)) => oldest = next,
                _ => break,
            }
        }
        if !writer.write(block) {
            return writer.finish().await;
        }
        tell(bytes as u64);
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

/// Writes `from..size` of a local file, which stands at `from`, to a share.
pub(super) async fn up<F: RemoteFile>(
    source: File,
    file: &F,
    from: u64,
    size: u64,
    piece: usize,
    gate: &Gate,
    tell: impl Fn(u64),
) -> Result<(), Cause<F::Error>> {
    let piece = gate.piece(piece);
    let again = Arc::new(source.try_clone()?);
    let mut reader = Reader::start(source);
    // Up to where reading was asked for, and where the next write goes.
    let (mut asked, mut at) = (from, from);
    let mut done = from;
    let most = PIECES.saturating_mul(piece) as u64;
    // A piece that is done keeps its room until those before it are done: how far a
    // later one is ahead of one that is missing is bounded, which a resumed copy
    // relies on.
    let mut under_way = FuturesOrdered::new();
    loop {
        while asked < size && reader.waiting() < BLOCKS_AHEAD {
            let mut block = Vec::new();
            let mut bytes = 0;
            while asked < size && bytes < BLOCK && asked - done < most {
                let length = usize::try_from(size - asked).unwrap_or(piece).min(piece);
                let idle = block.is_empty() && reader.waiting() == 0 && under_way.is_empty();
                let permit = if idle {
                    gate.enter(length).await
                } else {
                    gate.try_enter(length)
                };
                let Some(permit) = permit else { break };
                block.push((length, permit));
                bytes += length;
                asked += length as u64;
            }
            if block.is_empty() {
                break;
            }
            reader.ask(block);
        }
        if reader.waiting() == 0 && under_way.is_empty() {
            return Ok(());
        }
        tokio::select! {
            biased;
            Some((written, permit)) = under_way.next() => {
                let length: usize = written?;
                drop::<OwnedSemaphorePermit>(permit);
                done += length as u64;
                tell(length as u64);
            }
            block = reader.next(), if reader.waiting() > 0 => {
                for (data, permit) in block? {
                    let (file, again, offset) = (file.clone(), Arc::clone(&again), at);
                    at += data.len() as u64;
                    under_way.push_back(async move {
                        (write_piece(&file, offset, data, &again).await, permit)
                    });
                }
            }
        }
    }
}

/// Writes a piece; its length. What the server does not take, or a lost connection
/// swallows, is read from the local file once more.
async fn write_piece<F: RemoteFile>(
    file: &F,
    offset: u64,
    data: Payload,
    source: &Arc<File>,
) -> Result<usize, Cause<F::Error>> {
    let length = data.len();
    let mut done = 0;
    let mut lost = 0;
    let mut rest = data;
    loop {
        match file.write_at(offset + done as u64, rest).await {
            Ok(0) => return Err(Cause::Full),
            Ok(count) => done += count,
            Err(error) if error.is_transient() && lost < TRIES => lost += 1,
            Err(error) => return Err(Cause::Remote(error)),
        }
        if done >= length {
            return Ok(length);
        }
        let (source, at) = (Arc::clone(source), offset + done as u64);
        rest = spawn_blocking(move || read_piece_at(&source, at, length - done))
            .await
            .map_err(fault)?
            .map_err(local)?;
    }
}
