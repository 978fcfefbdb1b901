//! A TCP connection that carries SMB.

use std::net::SocketAddr;

use crate::flow::{Flow, Frame};
use crate::link::Segment;
use crate::report::{ConnectionSummary, dialect_name};
use crate::smb1::Smb1;
use crate::smb2::Smb2;
use crate::state::{Place, State};

/// One connection.
pub(crate) struct Connection {
    number: u32,
    /// The end whose flow is the first of the two.
    first: SocketAddr,
    second: SocketAddr,
    flows: [Flow; 2],
    /// Which of them is the server's.
    server: Option<usize>,
    from_start: bool,
    smb1: Smb1,
    smb2: Smb2,
    passed_over: u64,
    /// Packets that the snapshot length cut.
    cut: u64,
    /// Which of the flows said that it ends.
    finished: [bool; 2],
    /// Packet it was last seen in.
    pub(crate) last: u64,
}

impl Connection {
    /// A connection whose first segment is `segment`.
    pub(crate) fn new(number: u32, segment: &Segment<'_>) -> Self {
        let from_start = segment.syn;
        // Who opens a connection is the client; the answer has SYN and ACK. In the
        // midst of one the port may tell.
        let known = |port: u16| matches!(port, 445 | 139);
        let server = match (known(segment.from.port()), known(segment.to.port())) {
            _ if from_start => Some(usize::from(segment.ack.is_none())),
            (true, false) => Some(0),
            (false, true) => Some(1),
            _ => None,
        };
        Self {
            number,
            first: segment.from,
            second: segment.to,
            flows: [Flow::new(), Flow::new()],
            server,
            from_start,
            smb1: Smb1::new(number, from_start),
            smb2: Smb2::new(number),
            passed_over: 0,
            cut: 0,
            finished: [false; 2],
            last: 0,
        }
    }

    /// Whether neither direction can be SMB.
    pub(crate) fn is_foreign(&self) -> bool {
        self.flows.iter().all(Flow::is_foreign)
    }

    /// Whether a frame was found.
    pub(crate) fn is_ours(&self) -> bool {
        self.flows.iter().any(Flow::is_ours)
    }

    /// Whether a new connection between the same ends begins with `segment`.
    pub(crate) fn is_replaced_by(&self, segment: &Segment<'_>) -> bool {
        segment.syn
            && segment.ack.is_none()
            && (self.is_ours() || self.is_foreign() || !self.from_start)
    }

    /// Both sides have ended it, or one has broken it off.
    pub(crate) fn is_over(&self) -> bool {
        self.finished == [true; 2]
    }

    /// Gives back room that is kept for more.
    pub(crate) fn trim(&mut self) {
        self.flows.iter_mut().for_each(Flow::trim);
    }

    /// Bytes that are kept.
    pub(crate) fn weight(&self) -> usize {
        let flows: usize = self.flows.iter().map(Flow::weight).sum();
        flows + self.smb1.weight() + self.smb2.weight()
    }

    pub(crate) fn segment(&mut self, state: &mut State, frame: u64, segment: &Segment<'_>) {
        self.last = frame;
        let own = usize::from(segment.from != self.first);
        if let Some(finished) = self.finished.get_mut(own) {
            *finished |= segment.fin;
        }
        if segment.rst {
            self.finished = [true; 2];
        }
        if self.is_foreign() {
            return;
        }
        if segment.cut > 0 {
            self.cut += 1;
        }
        if let Some(ack) = segment.ack
            && let Some(other) = self.flows.get_mut(1 - own)
        {
            if other.is_waiting() {
                other.acknowledged(ack);
                self.frames(state, frame, 1 - own);
            } else if self.server == Some(own) && other.is_behind(ack) {
                // A request that this answers may be missing.
                self.smb1.lost();
            }
        }
        let Some(flow) = self.flows.get_mut(own) else {
            return;
        };
        if segment.syn {
            flow.syn(segment.seq);
            flow.feed(segment.seq.wrapping_add(1), segment.data);
        } else {
            flow.feed(segment.seq, segment.data);
        }
        self.frames(state, frame, own);
    }

    /// Nothing follows.
    pub(crate) fn end(&mut self, state: &mut State) {
        let frame = self.last;
        for own in 0..2 {
            while let Some(flow) = self.flows.get_mut(own)
                && flow.is_waiting()
            {
                flow.end();
                self.frames(state, frame, own);
            }
        }
    }

    fn frames(&mut self, state: &mut State, frame: u64, own: usize) {
        while let Some(found) = self.flows.get_mut(own).and_then(Flow::frame) {
            self.frame(state, frame, own, found);
        }
    }

    fn frame(&mut self, state: &mut State, number: u64, own: usize, frame: Frame) {
        let m = &frame.message;
        // A connection whose start is missing: responses say that they are.
        if self.server.is_none() {
            let reply = match m.first() {
                Some(0xFF) => m.get(9).map(|f| f & 0x80 != 0),
                Some(0xFE) => m.get(16).map(|f| f & 1 != 0),
                // Either side encrypts alike.
                _ => None,
            };
            self.server = reply.map(|reply| if reply { own } else { 1 - own });
        }
        let from_server = self.server == Some(own);
        let place = Place {
            frame: number,
            connection: self.number,
            from_server,
        };
        if frame.after_loss {
            self.smb2.lost();
            if !from_server {
                self.smb1.lost();
            }
        }
        match m.first_chunk::<4>() {
            Some(b"\xFFSMB") => self.smb1.message(state, place, m),
            Some(b"\xFESMB" | b"\xFDSMB" | b"\xFCSMB") => self.smb2.frame(state, place, m),
            _ => self.passed_over += 1,
        }
    }

    pub(crate) fn summary(&self) -> ConnectionSummary {
        let server = self.server.unwrap_or(1);
        let (client, server_end) = match server {
            0 => (self.second, self.first),
            _ => (self.first, self.second),
        };
        let lost = |n: usize| self.flows.get(n).map_or(0, |f| f.lost);
        let dialect = match self.smb2.dialect {
            Some(dialect) if dialect != 0x02FF => Some(dialect_name(dialect)),
            _ => self.smb1.negotiated.then(|| dialect_name(0)),
        };
        ConnectionSummary {
            connection: self.number,
            client: client.to_string(),
            server: server_end.to_string(),
            dialect,
            from_start: self.from_start,
            lost: [lost(1 - server), lost(server)],
            cut: self.cut,
            compressed: self.smb2.compressed,
            passed_over: self.passed_over + self.smb2.passed_over,
        }
    }
}
