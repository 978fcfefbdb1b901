//! Named pipes of IPC$: the state of an open one, for both front ends.
//!
//! A read of a pipe with nothing to give waits. Its answer comes as the late
//! answer of a call does: an [`Event::Reply`] with the reader's ticket; the front
//! end then takes it with [`PipeOpen::take`].

mod facts;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use countersign_auth::Identity;
use countersign_fs::{Event, EventSink, FsReply, Ticket};
use countersign_rpc::{Pipe, PipeError, PipeRead, ServerFacts};
use countersign_wire::NtStatus;
use parking_lot::Mutex;

pub use facts::Facts;

/// Reads that may wait on one pipe. A client needs one, or two while it changes
/// buffers.
pub const MAX_WAITING: usize = 64;

/// What a read, or a write with an answer, came to.
pub type PipeResult = Result<PipeRead, NtStatus>;

/// Who waits for a read: where to send the event, and its ticket.
pub type Waiter = (Arc<dyn EventSink>, Ticket);

/// An open pipe.
pub struct PipeOpen {
    /// Name without `\pipe\`, in lower case.
    pub name: String,
    /// Who opened it: the calls made through it are that account's, whoever the
    /// session is authenticated as later.
    pub identity: Option<Arc<Identity>>,
    state: Mutex<State>,
}

struct State {
    pipe: Pipe,
    waiting: VecDeque<(Waiter, usize)>,
    taken: HashMap<Ticket, PipeResult>,
    closed: bool,
}

impl core::fmt::Debug for PipeOpen {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PipeOpen({})", self.name)
    }
}

fn status(error: PipeError) -> NtStatus {
    match error {
        PipeError::Disconnected => NtStatus::PIPE_DISCONNECTED,
        PipeError::Full => NtStatus::INSUFFICIENT_RESOURCES,
        PipeError::Busy => NtStatus::PIPE_BUSY,
        PipeError::Empty => NtStatus::PIPE_EMPTY,
    }
}

impl PipeOpen {
    /// Opens the pipe of this name: without case, with or without a leading
    /// backslash. `None`: OBJECT_NAME_NOT_FOUND.
    pub fn open(name: &str, identity: Option<Arc<Identity>>) -> Option<Self> {
        let pipe = Pipe::open(name)?;
        let name = pipe.name().to_owned();
        let (waiting, taken) = (VecDeque::new(), HashMap::new());
        Some(Self {
            name,
            identity,
            state: Mutex::new(State {
                pipe,
                waiting,
                taken,
                closed: false,
            }),
        })
    }

    /// Takes what a client wrote; reads that wait get their answers.
    ///
    /// # Errors
    /// PIPE_DISCONNECTED and INSUFFICIENT_RESOURCES.
    pub fn write(&self, data: &[u8], facts: &dyn ServerFacts) -> Result<(), NtStatus> {
        let mut state = self.state.lock();
        let result = state
            .usable()
            .and_then(|p| p.write(data, facts).map_err(status));
        let woken = state.serve();
        drop(state);
        wake(woken);
        result
    }

    /// Reads at most `max` bytes of the next message. With nothing to read:
    /// `Ok(None)` when `waiter` waits now, PIPE_EMPTY without one.
    ///
    /// # Errors
    /// PIPE_EMPTY, PIPE_DISCONNECTED, INSUFFICIENT_RESOURCES.
    pub fn read(&self, max: usize, waiter: Option<Waiter>) -> Result<Option<PipeRead>, NtStatus> {
        let mut state = self.state.lock();
        state.read(max, waiter)
    }

    /// Writes, and reads the answer: FSCTL_PIPE_TRANSCEIVE, TRANS_TRANSACT_NMPIPE.
    /// `Ok(None)`: there is no answer yet and `waiter` waits.
    ///
    /// # Errors
    /// PIPE_BUSY when something waits to be read; as [`PipeOpen::read`].
    pub fn transact(
        &self,
        data: &[u8],
        max: usize,
        facts: &dyn ServerFacts,
        waiter: Option<Waiter>,
    ) -> Result<Option<PipeRead>, NtStatus> {
        let mut state = self.state.lock();
        if state.usable()?.is_ready() || !state.waiting.is_empty() {
            return Err(NtStatus::PIPE_BUSY);
        }
        state.usable()?.write(data, facts).map_err(status)?;
        state.read(max, waiter)
    }

    /// The first bytes of the next message without taking them, and how many
    /// bytes can be read of it and in all: FSCTL_PIPE_PEEK.
    pub fn peek(&self, max: usize) -> (PipeRead, usize, usize) {
        let state = self.state.lock();
        let (message, all) = state.pipe.available();
        (state.pipe.peek(max), message, all)
    }

    /// The answer of a read that waited, after its event.
    ///
    /// # Errors
    /// CANCELLED, PIPE_BROKEN when the pipe was closed, and as [`PipeOpen::read`].
    pub fn take(&self, ticket: Ticket) -> PipeResult {
        self.state
            .lock()
            .taken
            .remove(&ticket)
            .unwrap_or(Err(NtStatus::CANCELLED))
    }

    /// Gives a waiting read up: its event comes, with CANCELLED to take.
    pub fn cancel(&self, ticket: Ticket) {
        let mut state = self.state.lock();
        let at = state.waiting.iter().position(|((_, t), _)| *t == ticket);
        let woken = at
            .and_then(|at| state.waiting.remove(at))
            .map(|(waiter, _)| waiter);
        if let Some((_, ticket)) = &woken {
            state.taken.insert(*ticket, Err(NtStatus::CANCELLED));
        }
        drop(state);
        wake(woken);
    }

    /// The open is closed: reads that wait end with PIPE_BROKEN.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let woken: Vec<Waiter> = state.waiting.drain(..).map(|(waiter, _)| waiter).collect();
        for (_, ticket) in &woken {
            state.taken.insert(*ticket, Err(NtStatus::PIPE_BROKEN));
        }
        drop(state);
        wake(woken);
    }
}

impl State {
    fn usable(&mut self) -> Result<&mut Pipe, NtStatus> {
        if self.closed {
            Err(NtStatus::PIPE_DISCONNECTED)
        } else {
            Ok(&mut self.pipe)
        }
    }

    fn read(&mut self, max: usize, waiter: Option<Waiter>) -> Result<Option<PipeRead>, NtStatus> {
        self.usable()?;
        if self.waiting.is_empty() {
            match (self.pipe.read(max), &waiter) {
                (Err(PipeError::Empty), Some(_)) => {}
                (result, _) => return result.map(Some).map_err(status),
            }
        }
        // Who came first reads first.
        let waiter = waiter.ok_or(NtStatus::PIPE_EMPTY)?;
        if self.waiting.len() >= MAX_WAITING {
            return Err(NtStatus::INSUFFICIENT_RESOURCES);
        }
        self.waiting.push_back((waiter, max));
        Ok(None)
    }

    /// Reads for those who wait; gives whom to tell.
    fn serve(&mut self) -> Vec<Waiter> {
        let mut woken = Vec::new();
        while let Some(((_, ticket), max)) = self.waiting.front() {
            let result = match self.pipe.read(*max) {
                Err(PipeError::Empty) => break,
                result => result.map_err(status),
            };
            self.taken.insert(*ticket, result);
            woken.extend(self.waiting.pop_front().map(|(waiter, _)| waiter));
        }
        woken
    }
}

fn wake(waiters: impl IntoIterator<Item = Waiter>) {
    for (sink, ticket) in waiters {
        sink.send(Event::Reply {
            ticket,
            result: Ok(FsReply::Done),
        });
    }
}

#[cfg(test)]
mod tests;
