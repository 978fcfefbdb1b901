//! One connection's task: bytes to frames, frames to the engine, replies to the socket.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use countersign_core::{Connection, Now, Output, PeerInfo, Transport};
use countersign_wire::nbss::{
    FrameHeader, Framing, HEADER, KEEP_ALIVE, NegativeResponse, POSITIVE_RESPONSE, PacketType,
    SessionRequest,
};
use tokio::net::TcpStream;

use super::mailbox::{Item, Post};
use super::{Seat, State};

/// Most buffers in one vectored write.
const WRITE_SLICES: usize = 64;
/// First read of an idle connection; grows with what arrives.
const SMALL_READ: usize = 16 << 10;

/// Serves one connection until it ends.
pub(crate) async fn run(
    state: Arc<State>,
    seat: Seat,
    stream: TcpStream,
    address: SocketAddr,
    transport: Transport,
) {
    let Ok(local) = stream.local_addr() else { return };
    let peer = PeerInfo { address, local, transport };
    let post = Arc::clone(&seat.post);
    let server = Arc::clone(&state.server);
    let now = now(&state);
    let engine = Connection::new(server, peer, Arc::clone(&post) as _, now);
    let mut task = Task {
        framing: match transport {
            Transport::Tcp => Framing::Tcp,
            Transport::NetBios => Framing::NetBios,
        },
        called: transport == Transport::Tcp,
        started: Instant::now(),
        engine,
        stream,
        input: BytesMut::new(),
        output: Queue::default(),
        read_at: Instant::now(),
        written_at: Instant::now(),
        closing: None,
        state,
        address,
    };
    let reason = task.serve(&post).await;
    let now = task.now();
    task.engine.closed(now);
    tracing::debug!(%address, reason, "connection ended");
    drop(seat);
}

fn now(state: &State) -> Now {
    let host = &state.server.host;
    Now { wall: host.now(), monotonic: host.monotonic() }
}

struct Task {
    state: Arc<State>,
    engine: Connection,
    stream: TcpStream,
    address: SocketAddr,
    framing: Framing,
    /// The NetBIOS session request was answered (or is not needed).
    called: bool,
    started: Instant,
    /// Bytes of frames that are not whole yet. Without memory while idle.
    input: BytesMut,
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

    async fn serve(&mut self, post: &Post) -> &'static str {
        loop {
            self.collect();
            if let Err(end) = self.write() {
                return end;
            }
            if let Some(reason) = self.closing
                && self.output.bytes == 0
            {
                return reason;
            }
            if self.input.is_empty() {
                self.input = BytesMut::new();
            }
            match self.wait(post).await {
                Wake::Readable => {
                    if let Err(end) = self.read() {
                        return end;
                    }
                }
                Wake::Mail => {
                    if let Err(end) = self.mail(post) {
                        return end;
                    }
                }
                Wake::Writable => {}
                Wake::Time => {
                    if let Some(end) = self.overdue() {
                        return end;
                    }
                    let now = self.now();
                    self.engine.handle_timeout(now);
                }
            }
        }
    }

    /// Waits for the next thing to do.
    async fn wait(&self, post: &Post) -> Wake {
        let may_read = self.closing.is_none() && self.output.bytes < self.state.limits.queued_output;
        let must_write = self.output.bytes > 0;
        let sleep = self.deadline().map(|at| at.saturating_duration_since(Instant::now()));
        tokio::select! {
            biased;
            () = post.wait() => Wake::Mail,
            _ = self.stream.writable(), if must_write => Wake::Writable,
            _ = self.stream.readable(), if may_read => Wake::Readable,
            () = tokio::time::sleep(sleep.unwrap_or(Duration::ZERO)), if sleep.is_some() => Wake::Time,
        }
    }

    /// The next time at which something is due.
    fn deadline(&self) -> Option<Instant> {
        let limits = &self.state.limits;
        let engine = self.engine.poll_timeout().map(|at| {
            let left = at.saturating_sub(self.now().monotonic);
            // A little late rather than early: an early call does nothing.
            Instant::now() + left + Duration::from_millis(1)
        });
        let stalled = (!self.input.is_empty()).then(|| self.read_at + limits.stalled_frame);
        let unsent = (self.output.bytes > 0).then(|| self.written_at + limits.stalled_output);
        let call = (!self.called).then(|| self.started + limits.session_request);
        [engine, stalled, unsent, call].into_iter().flatten().min()
    }

    /// A limit of the transport that has run out.
    fn overdue(&self) -> Option<&'static str> {
        let limits = &self.state.limits;
        if !self.input.is_empty() && self.read_at.elapsed() >= limits.stalled_frame {
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

    fn mail(&mut self, post: &Post) -> Result<(), &'static str> {
        let now = self.now();
        for item in post.take() {
            match item {
                Item::Signal(signal) => self.engine.handle_signal(signal, now),
                Item::ApplyPolicy(answer) => {
                    let _ = answer.send(self.engine.apply_policy(now));
                }
                Item::Stop => {
                    self.closing.get_or_insert("server stops");
                }
            }
        }
        Ok(())
    }

    /// Takes what the engine wants sent.
    fn collect(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send(frame) => {
                    if self.output.bytes == 0 {
                        self.written_at = Instant::now();
                    }
                    let (buffer, start) = frame.into_parts();
                    self.output.push(buffer, start);
                }
                Output::Close(reason) => {
                    tracing::debug!(address = %self.address, reason, "engine closes the connection");
                    self.closing.get_or_insert(reason);
                }
            }
        }
    }

    /// Reads what the socket has, up to a batch, and gives whole frames to the engine.
    fn read(&mut self) -> Result<(), &'static str> {
        let mut taken = 0;
        let mut ended = false;
        while taken < self.state.limits.read_batch {
            self.reserve()?;
            match self.stream.try_read_buf(&mut self.input) {
                Ok(0) => {
                    ended = true;
                    break;
                }
                Ok(n) => {
                    taken = taken.saturating_add(n);
                    self.read_at = Instant::now();
                    if self.input.capacity() > self.input.len() {
                        // The socket had no more.
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Err("peer reset the connection"),
            }
        }
        let frames = self.frames()?;
        if !frames.is_empty() {
            let now = self.now();
            self.engine.handle_frames(frames, now);
        }
        if ended { Err("peer closed the connection") } else { Ok(()) }
    }

    /// Makes room: for the rest of the frame that is under way, or a little.
    fn reserve(&mut self) -> Result<(), &'static str> {
        let missing = match self.peek()? {
            Some(h) => HEADER.saturating_add(h.length).saturating_sub(self.input.len()),
            None => 0,
        };
        // The rest of a large frame exactly, so that its memory is its own;
        // otherwise room for several small ones.
        let want = if missing > SMALL_READ { missing } else { SMALL_READ };
        if self.input.capacity().saturating_sub(self.input.len()) < missing.max(512) {
            self.input.reserve(want);
        }
        Ok(())
    }

    /// The header of the next frame, checked against the limit.
    fn peek(&self) -> Result<Option<FrameHeader>, &'static str> {
        let Some(head) = self.input.first_chunk::<HEADER>() else { return Ok(None) };
        let limit = self.engine.frame_limit().min(self.framing.max_length());
        FrameHeader::decode(*head, self.framing, limit).map(Some).map_err(|error| {
            tracing::info!(address = %self.address, %error, "frame refused");
            "frame refused"
        })
    }

    /// Splits whole frames off the input.
    fn frames(&mut self) -> Result<Vec<BytesMut>, &'static str> {
        let mut out = Vec::new();
        while let Some(header) = self.peek()? {
            let whole = HEADER.saturating_add(header.length);
            if self.input.len() < whole {
                break;
            }
            let mut frame = self.input.split_to(whole);
            frame.advance(HEADER);
            match header.kind {
                PacketType::Message if self.called => out.push(frame),
                PacketType::KeepAlive => {}
                PacketType::Probe => self.answer(&KEEP_ALIVE),
                PacketType::Request if !self.called => self.session_request(&frame)?,
                _ => return Err("NetBIOS packet out of place"),
            }
        }
        Ok(out)
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
                self.closing.get_or_insert("NetBIOS session request for another name");
                Ok(())
            }
            Err(_) => Err("malformed NetBIOS session request"),
        }
    }

    fn answer(&mut self, packet: &[u8]) {
        self.output.push(packet.to_vec(), 0);
    }

    /// Sends as much as the socket takes.
    fn write(&mut self) -> Result<(), &'static str> {
        while self.output.bytes > 0 {
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            let n = self.output.slices(&mut slices);
            match self.stream.try_write_vectored(slices.get(..n).unwrap_or_default()) {
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
        self.bytes = self.bytes.saturating_add(buffer.len().saturating_sub(start));
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
