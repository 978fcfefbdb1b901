//! One connection's task: bytes to frames, frames to the engine, replies to the socket.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use countersign_core::{Connection, Now, Output, PeerInfo, Transport};
use countersign_wire::nbss::{
    FrameError, Framing, KEEP_ALIVE, NegativeResponse, POSITIVE_RESPONSE, PacketType,
    SessionRequest,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::intake::Intake;
use super::mailbox::{Item, Post};
use super::{Seat, State};

/// Most buffers in one vectored write.
const WRITE_SLICES: usize = 64;
/// Most frames the engine gets at once: enough to fill the lanes of its kernels.
const BATCH: usize = 32;
/// Most reads of what a peer still sends when its connection has ended.
const LINGER_READS: usize = 64;

/// Serves one connection until it ends.
pub(crate) async fn run(
    state: Arc<State>,
    seat: Seat,
    stream: TcpStream,
    address: SocketAddr,
    transport: Transport,
) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let peer = PeerInfo {
        address,
        local,
        transport,
    };
    let post = Arc::clone(&seat.post);
    let now = now(&state);
    let engine = Connection::new(Arc::clone(&state.server), peer, Arc::clone(&post) as _, now);
    let mut task = Task {
        intake: Intake::new(match transport {
            Transport::Tcp => Framing::Tcp,
            Transport::NetBios => Framing::NetBios,
        }),
        called: transport == Transport::Tcp,
        started: Instant::now(),
        engine: Engine {
            connection: engine,
            state: Arc::clone(&state),
        },
        stream,
        frames: VecDeque::new(),
        output: Queue::default(),
        read_at: Instant::now(),
        written_at: Instant::now(),
        closing: None,
        state,
        address,
    };
    let reason = task.serve(&post).await;
    tracing::debug!(%address, reason, "connection ended");
    let Task {
        engine,
        stream,
        closing,
        state,
        ..
    } = task;
    // Opens are closed before the peer sees the end of the connection.
    drop(engine);
    if closing.is_some() {
        linger(stream, state.limits.linger).await;
    }
    drop(seat);
}

fn now(state: &State) -> Now {
    let host = &state.server.host;
    Now {
        wall: host.now(),
        monotonic: host.monotonic(),
    }
}

/// Ends a connection so that the peer gets what was sent last: a socket closed
/// with unread input is reset, and a reset overtakes data.
async fn linger(mut stream: TcpStream, patience: Duration) {
    let last_bytes = async {
        stream.shutdown().await?;
        let mut discarded = [0; 512];
        for _ in 0..LINGER_READS {
            if stream.read(&mut discarded).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // Whatever comes of it, the connection is over.
    let _ = tokio::time::timeout(patience, last_bytes).await;
}

/// The engine of a connection; told that the connection is gone when dropped,
/// also when a defect made the task panic.
struct Engine {
    connection: Connection,
    state: Arc<State>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let now = now(&self.state);
        let closed = AssertUnwindSafe(|| self.connection.closed(now));
        if catch_unwind(closed).is_err() {
            tracing::error!("the engine failed while a connection was closed");
        }
    }
}

struct Task {
    state: Arc<State>,
    engine: Engine,
    stream: TcpStream,
    address: SocketAddr,
    /// The NetBIOS session request was answered (or is not needed).
    called: bool,
    started: Instant,
    intake: Intake,
    /// Whole frames the engine has not got yet.
    frames: VecDeque<BytesMut>,
    output: Queue,
    read_at: Instant,
    written_at: Instant,
    /// Close when the output is sent.
    closing: Option<&'static str>,
}

/// Why the task went on.
enum Wake {
    Readable,
    Writable,
    Mail,
    Time,
}

impl Task {
    fn now(&self) -> Now {
        now(&self.state)
    }

    /// Replies wait to be sent: nothing more is read or begun.
    fn congested(&self) -> bool {
        self.output.bytes >= self.state.limits.queued_output
    }

    fn may_read(&self) -> bool {
        self.closing.is_none() && self.frames.is_empty() && !self.congested()
    }

    async fn serve(&mut self, post: &Post) -> &'static str {
        loop {
            self.collect();
            if let Err(end) = self.write() {
                return end;
            }
            if let Some(reason) = self.closing {
                self.frames.clear();
                if self.output.bytes == 0 {
                    return reason;
                }
            }
            if !self.frames.is_empty() && !self.congested() {
                self.feed();
                tokio::task::consume_budget().await;
                continue;
            }
            self.intake.rest();
            match self.wait(post).await {
                Wake::Readable => {
                    if let Err(end) = self.read() {
                        return end;
                    }
                }
                Wake::Mail => self.mail(post),
                Wake::Writable => {}
                Wake::Time => {
                    if let Some(end) = self.overdue() {
                        return end;
                    }
                    let now = self.now();
                    self.engine.connection.handle_timeout(now);
                }
            }
        }
    }

    /// Waits for the next thing to do.
    async fn wait(&mut self, post: &Post) -> Wake {
        let may_read = self.may_read();
        let must_write = self.output.bytes > 0;
        let sleep = self
            .deadline()
            .map(|at| at.saturating_duration_since(Instant::now()));
        let wake = tokio::select! {
            biased;
            () = post.wait() => Wake::Mail,
            _ = self.stream.writable(), if must_write => Wake::Writable,
            _ = self.stream.readable(), if may_read => Wake::Readable,
            () = tokio::time::sleep(sleep.unwrap_or_default()), if sleep.is_some() => Wake::Time,
        };
        if !may_read {
            // Time in which nothing was read is not the peer's.
            self.read_at = Instant::now();
        }
        wake
    }

    /// The next time at which something is due.
    fn deadline(&self) -> Option<Instant> {
        let limits = &self.state.limits;
        let engine = self.engine.connection.poll_timeout().map(|at| {
            let left = at.saturating_sub(self.now().monotonic);
            // A little late rather than early: an early call does nothing.
            Instant::now() + left + Duration::from_millis(1)
        });
        let stalled = (!self.intake.is_empty() && self.may_read())
            .then(|| self.read_at + limits.stalled_frame);
        let unsent = (self.output.bytes > 0).then(|| self.written_at + limits.stalled_output);
        let call = (!self.called).then(|| self.started + limits.session_request);
        [engine, stalled, unsent, call].into_iter().flatten().min()
    }

    /// A limit of the transport that has run out.
    fn overdue(&self) -> Option<&'static str> {
        let limits = &self.state.limits;
        if !self.intake.is_empty()
            && self.may_read()
            && self.read_at.elapsed() >= limits.stalled_frame
        {
            return Some("peer stalled in the middle of a frame");
        }
        if self.output.bytes > 0 && self.written_at.elapsed() >= limits.stalled_output {
            return Some("peer does not read its replies");
        }
        if !self.called && self.started.elapsed() >= limits.session_request {
            return Some("no NetBIOS session request in time");
        }
        None
    }

    fn mail(&mut self, post: &Post) {
        let now = self.now();
        for item in post.take() {
            match item {
                Item::Signal(signal) => self.engine.connection.handle_signal(signal, now),
                Item::ApplyPolicy(answer) => {
                    let _ = answer.send(self.engine.connection.apply_policy(now));
                }
                Item::Stop => {
                    self.closing.get_or_insert("server stops");
                }
            }
        }
    }

    /// Takes what the engine wants sent.
    fn collect(&mut self) {
        while let Some(output) = self.engine.connection.poll_output() {
            match output {
                Output::Send(frame) => {
                    let (buffer, start) = frame.into_parts();
                    self.enqueue(buffer, start);
                }
                Output::Close(reason) => {
                    tracing::debug!(address = %self.address, reason, "engine closes the connection");
                    self.closing.get_or_insert(reason);
                }
            }
        }
    }

    fn enqueue(&mut self, buffer: Vec<u8>, start: usize) {
        if self.output.bytes == 0 {
            self.written_at = Instant::now();
        }
        self.output.push(buffer, start);
    }

    /// Gives the engine the next frames. Not all at once: their replies may be
    /// much longer than they are, and must not pile up.
    fn feed(&mut self) {
        let count = self.frames.len().min(BATCH);
        let batch: Vec<_> = self.frames.drain(..count).collect();
        if self.frames.is_empty() && self.frames.capacity() > BATCH {
            self.frames = VecDeque::new();
        }
        let now = self.now();
        self.engine.connection.handle_frames(batch, now);
    }

    /// Reads what the socket has, up to a limit, and takes whole frames out of it.
    fn read(&mut self) -> Result<(), &'static str> {
        let mut taken = 0_usize;
        let mut ended = false;
        while taken < self.state.limits.read_batch {
            let limit = self.engine.connection.frame_limit();
            let read = match self.intake.room(limit) {
                Ok(room) => {
                    let read = self.stream.try_read_buf(room);
                    read.map(|n| (n, room.len() == room.capacity()))
                }
                Err(error) => return Err(self.refused(error)),
            };
            match read {
                Ok((0, _)) => {
                    ended = true;
                    break;
                }
                Ok((n, full)) => {
                    taken = taken.saturating_add(n);
                    self.read_at = Instant::now();
                    if !full {
                        // The socket had no more.
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Err("peer reset the connection"),
            }
        }
        self.split()?;
        // What came before the end is still done: the peer may have shut down
        // only its own direction.
        if ended {
            self.closing.get_or_insert("peer closed the connection");
            while !self.frames.is_empty() && !self.congested() {
                self.feed();
                self.collect();
            }
        }
        Ok(())
    }

    /// Logs why the peer's bytes are no frame.
    fn refused(&self, error: FrameError) -> &'static str {
        tracing::info!(address = %self.address, %error, "frame refused");
        "frame refused"
    }

    /// Splits whole frames off the input.
    fn split(&mut self) -> Result<(), &'static str> {
        loop {
            let limit = self.engine.connection.frame_limit();
            let packet = match self.intake.next(limit) {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.refused(error)),
            };
            match packet.kind {
                PacketType::Message if self.called => self.frames.push_back(packet.body),
                PacketType::KeepAlive => {}
                PacketType::Probe => self.answer(&KEEP_ALIVE),
                PacketType::Request if !self.called => self.session_request(&packet.body)?,
                _ => return Err("NetBIOS packet out of place"),
            }
        }
    }

    /// RFC 1002 4.3.2: the peer calls a name; it must be one of ours.
    fn session_request(&mut self, body: &[u8]) -> Result<(), &'static str> {
        let config = self.state.server.config.load();
        let ours = [config.netbios_name.as_str(), "*SMBSERVER", "*SMBSERV"];
        match SessionRequest::decode(body) {
            Ok(request) if request.calls(ours.into_iter()) => {
                self.called = true;
                self.answer(&POSITIVE_RESPONSE);
                Ok(())
            }
            Ok(_) => {
                self.answer(&NegativeResponse::CalledNameNotPresent.encode());
                self.closing
                    .get_or_insert("NetBIOS session request for another name");
                Ok(())
            }
            Err(_) => Err("malformed NetBIOS session request"),
        }
    }

    fn answer(&mut self, packet: &[u8]) {
        self.enqueue(packet.to_vec(), 0);
    }

    /// Sends as much as the socket takes.
    fn write(&mut self) -> Result<(), &'static str> {
        while self.output.bytes > 0 {
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            let n = self.output.slices(&mut slices);
            match self
                .stream
                .try_write_vectored(slices.get(..n).unwrap_or_default())
            {
                Ok(0) => return Err("peer closed the connection"),
                Ok(n) => {
                    self.output.sent(n);
                    self.written_at = Instant::now();
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Err("peer reset the connection"),
            }
        }
        Ok(())
    }
}

/// Frames waiting to be sent.
#[derive(Default)]
struct Queue {
    frames: VecDeque<(Vec<u8>, usize)>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, buffer: Vec<u8>, start: usize) {
        self.bytes = self
            .bytes
            .saturating_add(buffer.len().saturating_sub(start));
        self.frames.push_back((buffer, start));
    }

    fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut n = 0;
        for ((buffer, start), slot) in self.frames.iter().zip(out.iter_mut()) {
            *slot = IoSlice::new(buffer.get(*start..).unwrap_or_default());
            n += 1;
        }
        n
    }

    fn sent(&mut self, mut n: usize) {
        self.bytes = self.bytes.saturating_sub(n);
        while let Some((buffer, start)) = self.frames.front_mut() {
            let left = buffer.len().saturating_sub(*start);
            if n < left {
                *start = start.saturating_add(n);
                return;
            }
            n = n.saturating_sub(left);
            self.frames.pop_front();
        }
        if self.frames.capacity() > WRITE_SLICES {
            self.frames = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_write_goes_on_where_it_stopped() {
        let mut q = Queue::default();
        q.push(vec![9, 1, 2, 3], 1);
        q.push(vec![4, 5], 0);
        q.sent(2);
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(q.slices(&mut slices), 2);
        assert_eq!(&*slices[0], &[3]);
        q.sent(2);
        assert_eq!(q.bytes, 1);
        q.sent(1);
        assert_eq!((q.bytes, q.frames.len()), (0, 0));
    }
}
