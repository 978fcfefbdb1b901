//! The verifier: checks every signature of every SMB session in a capture and says
//! of each failure why.
//!
//! Packets go in ([`Verifier::packet`], or a whole capture by [`verify`]), a
//! [`Report`] comes out. Keys come from passwords, NT hashes, keytabs or session
//! keys ([`Secrets`]) and from what the capture itself shows of the logons, as
//! [MS-NLMP], [MS-SMB] and [MS-SMB2] derive them.
//!
//! ```
//! use countersign_verify::{CaptureReader, Secrets, Verifier, verify};
//!
//! let mut secrets = Secrets::new();
//! secrets.add_password("alice", "Passw0rd!");
//! let capture = include_bytes!("../../../testdata/captures/smb311-badsig.pcapng");
//! let mut verifier = Verifier::new(secrets);
//! verify(CaptureReader::new(&capture[..]), &mut verifier, |_| {})?;
//! let report = verifier.finish();
//! assert_eq!(report.counts.bad, 1);
//! println!("{}", report.findings[0].detail);
//! # Ok::<(), countersign_verify::CaptureError>(())
//! ```
#![forbid(unsafe_code)]

#[cfg(test)]
mod altered;
mod capture;
mod check;
mod compression;
mod connection;
mod diagnosis;
mod fields;
mod flow;
mod ip;
mod kerberos;
mod link;
mod logon;
mod proof;
mod report;
mod secrets;
mod sessions;
mod smb1;
mod smb2;
mod state;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;

use connection::Connection;
use ip::Reassembly;
use link::{Carried, Segment};
use state::{Map, State};

pub use capture::{CaptureError, CaptureReader, MAX_INTERFACES, MAX_RECORD, Next, Packet};
pub use kerberos::{Keytab, KeytabError};
pub use report::{
    Cause, ConnectionSummary, Counted, Counts, Finding, MAX_FINDINGS, Report, SessionSummary,
    dialect_name,
};
pub use secrets::Secrets;
pub use sessions::{MAX_SESSIONS, MAX_SUMMARIES};

/// Connections that are followed at once; the ones that were quiet longest go first, a
/// quarter at a time.
pub const MAX_CONNECTIONS: usize = 1 << 16;
/// Bytes that the connections may keep together (segments out of order, messages not
/// yet whole, logons under way); beyond it the ones go that were quiet longest.
pub const MAX_KEPT: usize = 256 << 20;
/// Link types that are told of which no packet can be read.
const MAX_UNKNOWN_LINKS: usize = 64;
/// Packets, and bytes, after which it is looked what can be let go.
const SWEEP_PACKETS: u64 = 1 << 14;
const SWEEP_BYTES: usize = 64 << 20;

/// Checks the packets of one capture.
pub struct Verifier {
    state: State,
    connections: Vec<Connection>,
    open: Map<(SocketAddr, SocketAddr), usize>,
    /// Summaries of connections that are not followed any more.
    closed: Vec<ConnectionSummary>,
    closed_left_off: u64,
    reassembly: Reassembly,
    unknown_links: BTreeMap<u32, u64>,
    started: u32,
    packets: u64,
    packets_cut: u64,
    swept: u64,
    bytes_since: usize,
    cut: bool,
}

impl core::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Verifier({:?})", self.state.counts)
    }
}

impl Verifier {
    /// A verifier that has seen nothing.
    #[must_use]
    pub fn new(secrets: Secrets) -> Self {
        Self {
            state: State::new(secrets),
            connections: Vec::new(),
            open: Map::default(),
            closed: Vec::new(),
            closed_left_off: 0,
            reassembly: Reassembly::default(),
            unknown_links: BTreeMap::new(),
            started: 0,
            packets: 0,
            packets_cut: 0,
            swept: 0,
            bytes_since: 0,
            cut: false,
        }
    }

    /// Takes a packet in.
    pub fn packet(&mut self, packet: &Packet<'_>) {
        self.packets = packet.number;
        self.state.packet = packet.number;
        self.state.earn(packet.data.len());
        self.bytes_since += packet.data.len();
        if self.packets.saturating_sub(self.swept) >= SWEEP_PACKETS
            || self.bytes_since >= SWEEP_BYTES
        {
            self.sweep();
        }
        let cut = packet.original.saturating_sub(packet.data.len());
        match link::carried(packet.link, packet.data, cut) {
            Carried::Segment(segment) => self.segment(packet.number, &segment),
            Carried::Fragment(fragment) => {
                if let Some(whole) = self.reassembly.take(&fragment)
                    && let Some(segment) = link::tcp(fragment.of.from, fragment.of.to, &whole, 0)
                {
                    self.segment(packet.number, &segment);
                }
            }
            Carried::Nothing => {}
            Carried::UnknownLink => {
                if self.unknown_links.len() < MAX_UNKNOWN_LINKS
                    || self.unknown_links.contains_key(&packet.link)
                {
                    *self.unknown_links.entry(packet.link).or_default() += 1;
                }
            }
        }
    }

    fn segment(&mut self, number: u64, segment: &Segment<'_>) {
        self.packets_cut += u64::from(segment.cut > 0);
        let ends = if segment.from <= segment.to {
            (segment.from, segment.to)
        } else {
            (segment.to, segment.from)
        };
        let known = self.open.get(&ends).copied();
        let index = match known {
            Some(index) if !self.replaced(index, segment) => index,
            _ => {
                if let Some(old) = known {
                    self.end(old);
                }
                if self.connections.len() >= MAX_CONNECTIONS {
                    self.forget();
                }
                let index = self.connections.len();
                self.connections
                    .push(Connection::new(self.started, segment));
                self.started = self.started.wrapping_add(1);
                self.open.insert(ends, index);
                index
            }
        };
        if let Some(connection) = self.connections.get_mut(index) {
            connection.segment(&mut self.state, number, segment);
        }
    }

    fn replaced(&self, index: usize, segment: &Segment<'_>) -> bool {
        self.connections
            .get(index)
            .is_none_or(|c| c.is_replaced_by(segment))
    }

    fn end(&mut self, index: usize) {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.end(&mut self.state);
        }
    }

    /// Lets go what is not needed any more, and what is too much.
    fn sweep(&mut self) {
        self.swept = self.packets;
        self.bytes_since = 0;
        let idle = self.packets.saturating_sub(SWEEP_PACKETS);
        let mut kept = 0usize;
        let mut over = false;
        for connection in &mut self.connections {
            if connection.last <= idle {
                connection.trim();
                over |= connection.is_over();
            }
            kept += connection.weight();
        }
        if over {
            self.retain(|c| c.last > idle || !c.is_over());
        }
        while kept > MAX_KEPT && self.connections.len() > 1 {
            self.forget();
            kept = self.connections.iter().map(Connection::weight).sum();
        }
    }

    /// Gives up the quarter of the connections that were quiet longest.
    fn forget(&mut self) {
        let mut last: Vec<u64> = self.connections.iter().map(|c| c.last).collect();
        last.sort_unstable();
        let limit = last.get(last.len() / 4).copied().unwrap_or(0);
        self.retain(|c| c.last > limit);
    }

    /// Follows only some of the connections further.
    fn retain(&mut self, mut keep: impl FnMut(&Connection) -> bool) {
        let all = std::mem::take(&mut self.connections);
        let mut moved: Map<usize, usize> = Map::default();
        for (index, mut connection) in all.into_iter().enumerate() {
            if keep(&connection) {
                moved.insert(index, self.connections.len());
                self.connections.push(connection);
                continue;
            }
            connection.end(&mut self.state);
            if connection.is_ours() {
                if self.closed.len() < MAX_SUMMARIES {
                    self.closed.push(connection.summary());
                } else {
                    self.closed_left_off += 1;
                }
            }
        }
        self.open.retain(|_, index| match moved.get(index) {
            Some(new) => {
                *index = *new;
                true
            }
            None => false,
        });
    }

    /// Checks what still waits to be checked together with more.
    pub fn flush(&mut self) {
        self.state.flush();
    }

    /// The capture ended inside a record.
    pub fn set_cut(&mut self) {
        self.cut = true;
    }

    /// Tells of the findings since the last call; [`Report::findings`] has the first
    /// [`MAX_FINDINGS`] of all.
    pub fn tell(&mut self, each: impl FnMut(&Finding)) {
        self.state.tell(each);
    }

    /// Packets so far.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// The totals so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state.counts
    }

    /// Bytes that connections keep, of [`MAX_KEPT`].
    #[must_use]
    pub fn kept(&self) -> usize {
        self.connections.iter().map(Connection::weight).sum()
    }

    /// Nothing follows: all that was found.
    #[must_use]
    pub fn finish(self) -> Report {
        self.finish_telling(|_| {})
    }

    /// The same, and tells of the last findings.
    #[must_use]
    pub fn finish_telling(mut self, each: impl FnMut(&Finding)) -> Report {
        for connection in &mut self.connections {
            connection.end(&mut self.state);
        }
        self.state.flush();
        self.state.tell(each);
        let mut connections = self.closed;
        let ours = self.connections.iter().filter(|c| c.is_ours());
        connections.extend(ours.map(Connection::summary));
        connections.sort_by_key(|c| c.connection);
        let mut findings = self.state.findings;
        findings.sort_by_key(|f| f.frame);
        let (sessions, sessions_left_off) = self.state.sessions.summaries();
        Report {
            counts: self.state.counts,
            reasons_unsigned: self.state.reasons,
            findings,
            findings_left_off: self.state.left_off,
            sessions,
            sessions_left_off,
            connections,
            connections_left_off: self.closed_left_off,
            unknown_links: self.unknown_links,
            datagrams_incomplete: self.reassembly.incomplete(),
            packets: self.packets,
            packets_cut: self.packets_cut,
            cut: self.cut,
        }
    }
}

/// Checks a whole capture; `each` is told of findings as they are made.
///
/// # Errors
/// It cannot be read.
pub fn verify<R: Read>(
    mut capture: CaptureReader<R>,
    verifier: &mut Verifier,
    mut each: impl FnMut(&Finding),
) -> Result<(), CaptureError> {
    loop {
        match capture.next_packet()? {
            Next::Packet(packet) => verifier.packet(&packet),
            Next::Need => {
                // What is known so far, before waiting for more of a live capture.
                verifier.flush();
                verifier.tell(&mut each);
                if !capture.fill()? {
                    break;
                }
            }
        }
    }
    if capture.is_cut() {
        verifier.set_cut();
    }
    Ok(())
}
