//! The local side of a large file: a thread that reads or writes block by block
//! while the network goes on.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use bytes::Bytes;
use countersign_core::client::Payload;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, spawn_blocking};

use super::pieces::fault;
use super::report::Cause;

/// Where bytes from a share go, in order.
pub type Sink = Box<dyn Write + Send>;

/// Pieces of a block; each holds its room until it is written.
pub(super) type Block<T> = Vec<(T, OwnedSemaphorePermit)>;

/// Writes blocks in order. Dropped before [`finish`](Self::finish), it leaves out
/// what it has not written yet.
pub(super) struct Writer {
    blocks: mpsc::Sender<Block<Bytes>>,
    left: Left,
    thread: JoinHandle<io::Result<Sink>>,
}

/// Tells the thread that it was left.
struct Left(Arc<AtomicBool>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Writer {
    pub(super) fn start(mut sink: Sink) -> Writer {
        let (blocks, received) = mpsc::channel::<Block<Bytes>>();
        let left = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&left);
        let thread = spawn_blocking(move || {
            for (data, permit) in received.into_iter().flatten() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                sink.write_all(&data)?;
                drop(permit);
            }
            Ok(sink)
        });
        Writer {
            blocks,
            left: Left(left),
            thread,
        }
    }

    /// Gives it a block; `false`: writing has failed, [`finish`](Self::finish) says why.
    pub(super) fn write(&self, block: Block<Bytes>) -> bool {
        self.blocks.send(block).is_ok()
    }

    /// Waits until everything is written; the sink comes back.
    pub(super) async fn finish<E: std::error::Error + 'static>(self) -> Result<Sink, Cause<E>> {
        let Writer {
            blocks,
            left,
            thread,
        } = self;
        drop(blocks);
        let sink = thread.await.map_err(fault)??;
        drop(left);
        Ok(sink)
    }
}

/// Reads blocks in order.
pub(super) struct Reader {
    asked: mpsc::Sender<Block<usize>>,
    blocks: UnboundedReceiver<io::Result<Block<Payload>>>,
    waiting: usize,
}

impl Reader {
    pub(super) fn start(source: File) -> Reader {
        let (asked, requests) = mpsc::channel();
        let (answers, blocks) = unbounded_channel();
        spawn_blocking(move || read_blocks(source, &requests, &answers));
        Reader {
            asked,
            blocks,
            waiting: 0,
        }
    }

    /// Blocks that were asked for and not taken.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Asks for a block: the lengths of its pieces.
    pub(super) fn ask(&mut self, block: Block<usize>) {
        // A thread that is gone left its error in `blocks`.
        let _ = self.asked.send(block);
        self.waiting += 1;
    }

    /// The next block that was asked for.
    pub(super) async fn next<E: std::error::Error + 'static>(
        &mut self,
    ) -> Result<Block<Payload>, Cause<E>> {
        match self.blocks.recv().await {
            Some(Ok(block)) => {
                self.waiting = self.waiting.saturating_sub(1);
                Ok(block)
            }
            Some(Err(error)) => Err(local(error)),
            None => Err(Cause::Task("the local file is no longer read".to_owned())),
        }
    }
}

/// What a failed read of the local file means.
pub(super) fn local<E: std::error::Error + 'static>(error: io::Error) -> Cause<E> {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Cause::Changed,
        _ => Cause::Local(error),
    }
}

fn read_blocks(
    mut source: File,
    requests: &mpsc::Receiver<Block<usize>>,
    answers: &UnboundedSender<io::Result<Block<Payload>>>,
) {
    for request in requests {
        let block: io::Result<Block<Payload>> = request
            .into_iter()
            .map(|(length, permit)| read_piece(&mut source, length).map(|data| (data, permit)))
            .collect();
        let failed = block.is_err();
        if answers.send(block).is_err() || failed {
            return;
        }
    }
}

/// The next bytes; fewer are [`io::ErrorKind::UnexpectedEof`].
fn read_piece(source: &mut File, length: usize) -> io::Result<Payload> {
    let mut data = Payload::with_capacity(length);
    let read = source.take(length as u64).read_to_end(data.buffer_mut())?;
    if read == length {
        Ok(data)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// The same at a place, whatever [`read_piece`] does meanwhile.
pub(super) fn read_piece_at(source: &File, offset: u64, length: usize) -> io::Result<Payload> {
    let mut data = vec![0; length];
    source.read_exact_at(&mut data, offset)?;
    Ok(Payload::copy_of(&data))
}
