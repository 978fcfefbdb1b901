//! The task that owns a connection: one socket, one engine.

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Buf;
use countersign_core::Now;
use countersign_core::client::{
    Answer, Call, CallId, CloseReason, Engine, Event, Failure, Negotiated,
};
use countersign_wire::nbss::Framing;
use countersign_wire::{FileTime, NtStatus};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::intake::Intake;
use crate::live::{Command, Shared};

/// Commands taken at once before their requests are signed as one batch.
const COMMANDS_AT_ONCE: usize = 64;
/// How long a connection that is to be closed waits for what was asked before, after
/// the last that it could send.
const LINGER: Duration = Duration::from_secs(60);
/// Buffers given to one write.
const SLICES: usize = 64;
/// Bytes that wait for the socket before calls have to wait.
const UNSENT: usize = 16 << 20;

type Reply = Option<oneshot::Sender<Result<Answer, Failure>>>;

/// Bytes of a frame that are to be sent.
struct Frame {
    buffer: Vec<u8>,
    at: usize,
}

impl Frame {
    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }
}

pub(crate) struct Task {
    engine: Engine,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedReceiver<Command>,
    negotiated: Option<oneshot::Sender<Negotiated>>,
    /// Who waits, by call.
    waiting: HashMap<CallId, (u64, Reply)>,
    /// Calls by ticket.
    tickets: HashMap<u64, CallId>,
    unsent: VecDeque<Frame>,
    unsent_bytes: usize,
    epoch: Instant,
    /// Until when what was asked before is waited for.
    closing: Option<Instant>,
}

impl Task {
    pub(crate) fn new(
        engine: Engine,
        shared: Arc<Shared>,
        commands: mpsc::UnboundedReceiver<Command>,
        negotiated: oneshot::Sender<Negotiated>,
    ) -> Self {
        Self {
            engine,
            shared,
            commands,
            negotiated: Some(negotiated),
            waiting: HashMap::new(),
            tickets: HashMap::new(),
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            epoch: Instant::now(),
            closing: None,
        }
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            wall: FileTime::from_unix(
                i64::try_from(wall.as_secs()).unwrap_or(i64::MAX),
                wall.subsec_nanos(),
            ),
            monotonic: self.epoch.elapsed(),
        }
    }

    /// Runs until the connection is over.
    pub(crate) async fn run<S>(mut self, stream: S, framing: Framing)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut intake = Intake::new(framing);
        self.engine.start(self.now());
        loop {
            self.drain();
            if self.engine.closed().is_some() {
                break;
            }
            let done = self.waiting.is_empty() && self.unsent.is_empty();
            if self.closing.is_some_and(|by| done || by <= Instant::now()) {
                self.engine.close(CloseReason::Local);
                continue;
            }
            let limit = self.engine.frame_limit();
            let room = match intake.room(limit) {
                Ok(room) => room,
                Err(_) => {
                    self.engine
                        .close(CloseReason::Violation("a frame is too long or malformed"));
                    continue;
                }
            };
            let slices: Vec<IoSlice<'_>> = self
                .unsent
                .iter()
                .take(SLICES)
                .map(|frame| IoSlice::new(frame.rest()))
                .collect();
            let deadline = self.engine.poll_timeout().map(|at| self.epoch + at);
            let deadline = deadline
                .into_iter()
                .chain(self.closing)
                .min()
                .unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            let happened = tokio::select! {
                written = writer.write_vectored(&slices), if !slices.is_empty() => {
                    Happened::Written(written)
                }
                read = reader.read_buf(room) => Happened::Read(read),
                command = self.commands.recv(),
                    if self.closing.is_none() && self.unsent_bytes < UNSENT => Happened::Command(command),
                () = tokio::time::sleep_until(deadline) => Happened::Timeout,
            };
            match happened {
                Happened::Written(Ok(0)) | Happened::Read(Ok(0)) => {
                    self.engine.close(CloseReason::Peer);
                }
                Happened::Written(Err(error)) | Happened::Read(Err(error)) => {
                    tracing::debug!(%error, "the socket failed");
                    self.engine.close(CloseReason::Peer);
                }
                Happened::Written(Ok(count)) => self.written(count),
                Happened::Read(Ok(_)) => {
                    let mut frames = Vec::new();
                    loop {
                        match intake.next(limit) {
                            Ok(Some(frame)) => frames.push(frame),
                            Ok(None) => break,
                            Err(_) => {
                                self.engine.close(CloseReason::Violation(
                                    "a frame is too long or malformed",
                                ));
                                break;
                            }
                        }
                    }
                    if !frames.is_empty() {
                        let now = self.now();
                        self.engine.receive(frames, now);
                    }
                }
                Happened::Command(command) => {
                    self.command(command);
                    for _ in 1..COMMANDS_AT_ONCE {
                        match self.commands.try_recv() {
                            Ok(command) => self.command(Some(command)),
                            Err(_) => break,
                        }
                    }
                }
                Happened::Timeout => {
                    let now = self.now();
                    self.engine.handle_timeout(now);
                }
            }
        }
        // What is ready, such as a LOGOFF, still goes out; nobody waits for it long.
        let last = async {
            while let Some(frame) = self.unsent.pop_front() {
                if writer.write_all(frame.rest()).await.is_err() {
                    break;
                }
            }
            let _ = writer.shutdown().await;
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), last).await;
    }

    fn written(&mut self, mut count: usize) {
        self.unsent_bytes = self.unsent_bytes.saturating_sub(count);
        if self.closing.is_some() {
            self.closing = Some(Instant::now() + LINGER);
        }
        while let Some(frame) = self.unsent.front_mut() {
            let rest = frame.rest().remaining();
            if count < rest {
                frame.at += count;
                return;
            }
            count -= rest;
            self.unsent.pop_front();
        }
    }

    fn command(&mut self, command: Option<Command>) {
        let now = self.now();
        match command {
            Some(Command::Call {
                ticket,
                call,
                answer,
            }) => {
                let id = self.engine.submit(call, now);
                self.tickets.insert(ticket, id);
                self.waiting.insert(id, (ticket, answer));
            }
            Some(Command::Cancel(ticket)) => {
                if let Some(id) = self.tickets.get(&ticket) {
                    self.engine.cancel(*id);
                }
            }
            Some(Command::Dispose(answer)) => self.dispose(answer),
            Some(Command::Close) | None => self.closing = Some(Instant::now() + LINGER),
        }
    }

    /// Closes what an answer opened that nobody took.
    fn dispose(&mut self, answer: Answer) {
        let call = match answer {
            Answer::Opened(opened) | Answer::ListStarted { opened, .. } => Call::Close {
                open: opened.open,
                query: false,
            },
            Answer::Tree(tree) => Call::TreeDisconnect(tree.tree),
            _ => return,
        };
        let now = self.now();
        let _ = self.engine.submit(call, now);
    }

    /// Takes what the engine has ready.
    fn drain(&mut self) {
        loop {
            let mut busy = false;
            while let Some(event) = self.engine.poll_event() {
                busy = true;
                self.event(event);
            }
            while let Some(sealed) = self.engine.poll_transmit() {
                busy = true;
                let (buffer, at) = sealed.into_parts();
                self.unsent_bytes += buffer.len().saturating_sub(at);
                self.unsent.push_back(Frame { buffer, at });
            }
            if !busy {
                return;
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Negotiated(negotiated) => {
                self.tell_transfer();
                if let Some(to) = self.negotiated.take() {
                    let _ = to.send(*negotiated);
                }
            }
            Event::Done { id, result } => {
                if matches!(result, Ok(Answer::LoggedOn(_) | Answer::Tree(_))) {
                    self.tell_transfer();
                }
                let Some((ticket, answer)) = self.waiting.remove(&id) else {
                    return;
                };
                self.tickets.remove(&ticket);
                // The credentials have run out: another logon is another connection.
                let expired = NtStatus::NETWORK_SESSION_EXPIRED;
                let result = if matches!(&result, Err(f) if f.status() == Some(expired)) {
                    self.engine.close(CloseReason::SessionDeleted);
                    Err(Failure::Closed(CloseReason::SessionDeleted))
                } else {
                    result
                };
                let lost = match answer {
                    Some(answer) => answer.send(result).err(),
                    None => Some(result),
                };
                if let Some(Ok(answer)) = lost {
                    self.dispose(answer);
                }
            }
            Event::Break(broken) => {
                if let Some(to) = &*self.shared.breaks.lock() {
                    // Who does not listen misses some: a server must not fill memory.
                    let _ = to.try_send(broken);
                }
                // Nothing is cached here, so nothing has to be written back.
                if broken.acknowledge {
                    let now = self.now();
                    let _ = self.engine.submit(Call::AcknowledgeBreak(broken), now);
                }
            }
            Event::Closed(reason) => {
                *self.shared.closed.lock() = Some(reason);
                self.negotiated = None;
            }
        }
    }

    fn tell_transfer(&self) {
        *self.shared.transfer.lock() = Some(self.engine.transfer());
    }
}

enum Happened {
    Written(std::io::Result<usize>),
    Read(std::io::Result<usize>),
    Command(Option<Command>),
    Timeout,
}
