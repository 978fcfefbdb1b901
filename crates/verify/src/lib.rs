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

mod capture;
mod check;
mod connection;
mod diagnosis;
mod fields;
mod flow;
mod kerberos;
mod link;
mod logon;
mod report;
mod secrets;
mod smb1;
mod smb2;
mod state;

use std::io::Read;
use std::net::SocketAddr;

use connection::Connection;
use report::session_name;
use state::{Map, State};

pub use capture::{CaptureError, CaptureReader, MAX_INTERFACES, MAX_RECORD, Next, Packet};
pub use kerberos::{Keytab, KeytabError};
pub use report::{
    Cause, ConnectionSummary, Counted, Counts, Finding, MAX_FINDINGS, Report, SessionSummary,
    dialect_name,
};
pub use secrets::Secrets;

/// Most connections that are followed at once; the ones that were quiet longest go
/// first, a quarter at a time.
pub const MAX_CONNECTIONS: usize = 1 << 16;

/// Checks the packets of one capture.
pub struct Verifier {
    state: State,
    connections: Vec<Connection>,
    open: Map<(SocketAddr, SocketAddr), usize>,
    /// Summaries of connections that are not followed any more.
    closed: Vec<ConnectionSummary>,
    started: u32,
    packets: u64,
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
            started: 0,
            packets: 0,
            cut: false,
        }
    }

    /// Takes a packet in.
    pub fn packet(&mut self, packet: &Packet<'_>) {
        self.packets = packet.number;
        let Some(segment) = link::tcp(packet.link, packet.data) else {
            return;
        };
        let ends = if segment.from <= segment.to {
            (segment.from, segment.to)
        } else {
            (segment.to, segment.from)
        };
        let known = self.open.get(&ends).copied();
        let index = match known {
            Some(index) if !self.replaced(index, &segment) => index,
            _ => {
                if self.connections.len() >= MAX_CONNECTIONS {
                    self.forget();
                }
                if let Some(old) = known {
                    self.end(old);
                }
                let index = self.connections.len();
                self.connections
                    .push(Connection::new(self.started, &segment));
                self.started = self.started.wrapping_add(1);
                self.open.insert(ends, index);
                index
            }
        };
        if let Some(connection) = self.connections.get_mut(index)
            && !connection.is_foreign()
        {
            connection.segment(&mut self.state, packet.number, &segment);
        }
    }

    fn replaced(&self, index: usize, segment: &link::Segment<'_>) -> bool {
        self.connections
            .get(index)
            .is_none_or(|c| c.is_replaced_by(segment))
    }

    fn end(&mut self, index: usize) {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.end(&mut self.state);
        }
    }

    /// Gives up the quarter of the connections that were quiet longest.
    fn forget(&mut self) {
        let mut last: Vec<u64> = self.connections.iter().map(|c| c.last).collect();
        last.sort_unstable();
        let limit = last.get(last.len() / 4).copied().unwrap_or(0);
        let all = std::mem::take(&mut self.connections);
        let mut moved: Map<usize, usize> = Map::default();
        for (index, mut connection) in all.into_iter().enumerate() {
            if connection.last > limit {
                moved.insert(index, self.connections.len());
                self.connections.push(connection);
            } else {
                connection.end(&mut self.state);
                if connection.is_ours() {
                    self.closed.push(connection.summary());
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

    /// Findings since the last call.
    pub fn new_findings(&mut self) -> &[Finding] {
        let from = self.state.told.min(self.state.findings.len());
        self.state.told = self.state.findings.len();
        self.state.findings.get(from..).unwrap_or_default()
    }

    /// The totals so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state.counts
    }

    /// Nothing follows: all that was found.
    #[must_use]
    pub fn finish(mut self) -> Report {
        for connection in &mut self.connections {
            connection.end(&mut self.state);
        }
        self.state.flush();
        let mut connections = self.closed;
        let ours = self.connections.iter().filter(|c| c.is_ours());
        connections.extend(ours.map(Connection::summary));
        connections.sort_by_key(|c| c.connection);
        let mut findings = self.state.findings;
        findings.sort_by_key(|f| f.frame);
        Report {
            counts: self.state.counts,
            reasons_unsigned: self.state.reasons,
            findings,
            findings_left_off: self.state.left_off,
            sessions: self.state.sessions.iter().map(summary).collect(),
            connections,
            packets: self.packets,
            cut: self.cut,
        }
    }
}

fn summary(s: &state::Session) -> SessionSummary {
    use countersign_crypto::{Cipher, SigningAlgorithm};
    let counts = s.counts;
    let algorithm = match (s.dialect, s.algorithm) {
        (0, None) => "MD5",
        (_, Some(SigningAlgorithm::HmacSha256)) => "HMAC-SHA256",
        (_, Some(SigningAlgorithm::AesCmac)) => "AES-128-CMAC",
        (_, Some(SigningAlgorithm::AesGmac)) => "AES-128-GMAC",
        (_, None) => "unknown",
    };
    let cipher = s.cipher.map(|c| match c {
        Cipher::Aes128Ccm => "AES-128-CCM",
        Cipher::Aes128Gcm => "AES-128-GCM",
        Cipher::Aes256Ccm => "AES-256-CCM",
        Cipher::Aes256Gcm => "AES-256-GCM",
    });
    SessionSummary {
        session: session_name(s.id),
        connection: s.connection,
        dialect: dialect_name(s.dialect),
        user: s.user.clone(),
        mechanism: s.mechanism.clone(),
        algorithm: algorithm.to_owned(),
        cipher: cipher.map(str::to_owned),
        signing_required: s.required,
        guest: s.guest,
        anonymous: s.anonymous,
        encrypted: s.encrypted,
        channels: s.channels.len(),
        no_key: s.no_key.as_ref().map(ToString::to_string),
        ntlm_mic: s.ntlm_mic,
        mech_list_mics: s.mech_list_mics,
        reauthentications: s.reauthentications,
        counts,
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
                verifier.new_findings().iter().for_each(&mut each);
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
