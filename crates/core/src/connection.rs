//! One connection: frames and signals in, frames out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use countersign_fs::Event;
use countersign_wire::FileTime;

use crate::config::Dialect;
use crate::gate::Sealed;
use crate::link::{FrontEnd, Link, PolicyOutcome};
use crate::observer::{Abilities, Occasion, Sighting, refusal};
use crate::server::Server;
use crate::{smb1, smb2};

/// Time, as the shell sees it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall clock.
    pub wall: FileTime,
    /// Monotonic, since some start (the same as `Host::monotonic`).
    pub monotonic: Duration,
}

impl Now {
    /// Seconds since 1970.
    pub fn unix(self) -> u64 {
        u64::try_from(self.wall.to_unix().0).unwrap_or(0)
    }
}

/// How the peer is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Direct TCP (445 and the like).
    Tcp,
    /// NetBIOS session service (139): 17-bit lengths, session request first.
    NetBios,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Address of the peer.
    pub address: SocketAddr,
    /// Our address it connected to.
    pub local: SocketAddr,
    /// Transport.
    pub transport: Transport,
}

/// What comes to a connection from elsewhere in the process.
#[derive(Debug)]
pub enum Signal {
    /// From the file service: a late answer, an oplock or lease break, a closed open.
    Files(Event),
    /// The session was ended elsewhere: an administrator, or the same user's
    /// reconnection naming it as PreviousSessionId.
    EndSession {
        /// Number of the session in the [registry](crate::registry).
        session: u64,
        /// Why, for the log.
        reason: &'static str,
    },
    /// The credentials of the session have run out: it must authenticate again
    /// ([MS-SMB2] 3.3.5.2.9); what it has open stays.
    ExpireSession {
        /// Number of the session in the [registry](crate::registry).
        session: u64,
    },
}

/// Where signals for a connection go. Must not block and must not call back
/// into the connection; the owner later gives them to [`Connection::handle_signal`].
pub trait Mailbox: Send + Sync {
    /// Leaves a signal; dropped when the connection is gone.
    fn post(&self, signal: Signal);
}

/// What the shell must do.
#[derive(Debug)]
pub enum Output {
    /// Send this frame, transport header included.
    Send(Sealed),
    /// Close the connection after what was sent before. The reason is for the log.
    Close(&'static str),
}

/// One connection, owned by one task.
///
/// The shell's loop: give all whole frames that have arrived to
/// [`handle_frames`](Self::handle_frames), signals to
/// [`handle_signal`](Self::handle_signal), and call
/// [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout);
/// after each, drain [`poll_output`](Self::poll_output) into one vectored write.
/// After [`Output::Close`], or when the socket died, call [`closed`](Self::closed).
pub struct Connection {
    link: Link,
    front: Front,
    /// Without a front end or a session by then, the connection is closed.
    deadline: Duration,
}

enum Front {
    /// No frame yet.
    Undecided,
    Chosen(Box<dyn FrontEnd>),
    Closed,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(server: Arc<Server>, peer: PeerInfo, mailbox: Arc<dyn Mailbox>, now: Now) -> Self {
        let limit = server.config.load().limits.unauthenticated;
        Self {
            link: Link::new(server, peer, mailbox),
            front: Front::Undecided,
            deadline: now.monotonic.saturating_add(limit),
        }
    }

    /// Number of the connection, unique in this process.
    pub fn id(&self) -> u64 {
        self.link.id
    }

    /// Longest message (without transport header) that may be read: longer
    /// frames are refused by the shell before memory is given to them.
    pub fn frame_limit(&self) -> usize {
        let limits = &self.link.server.config.load().limits;
        let authenticated = match &self.front {
            Front::Chosen(front) => front.authenticated(),
            Front::Undecided | Front::Closed => false,
        };
        if !authenticated {
            return limits.first_frames;
        }
        // Header, fixed body and contexts of the largest WRITE or IOCTL, inside a transform.
        usize::try_from(limits.max_transact)
            .unwrap_or(usize::MAX)
            .saturating_add(64 << 10)
    }

    /// Takes whole messages without their 4-byte transport header, in order,
    /// all that have arrived.
    pub fn handle_frames(&mut self, frames: Vec<BytesMut>, now: Now) {
        if matches!(self.front, Front::Undecided)
            && let Some(first) = frames.first()
        {
            self.choose(first, now);
        }
        if let Front::Chosen(front) = &mut self.front
            && !self.link.is_closing()
        {
            front.handle_frames(&mut self.link, frames, now);
        }
    }

    /// [MS-SMB2] 3.3.5.1 and 3.3.5.3.1: the first message decides the protocol.
    fn choose(&mut self, first: &[u8], now: Now) {
        let config = self.link.config();
        self.front = match first.get(..4) {
            Some(b"\xFESMB") => Front::Chosen(Box::new(smb2::Smb2::new(&self.link, now))),
            Some(b"\xFFSMB") => match multi_protocol(first) {
                // With SMB1 as the highest dialect the offer of SMB2 is passed over.
                Some(offer)
                    if config.max_dialect > Dialect::Smb1 && (offer.wildcard || offer.smb202) =>
                {
                    Front::Chosen(Box::new(smb2::Smb2::new(&self.link, now)))
                }
                Some(_) if config.smb1 => Front::Chosen(smb1::start(&mut self.link, now)),
                Some(_) => {
                    self.turned_away(refusal::SMB1_OFF);
                    self.refuse("SMB1 is off")
                }
                None => self.refuse("first message is not a NEGOTIATE"),
            },
            _ => self.refuse("not SMB"),
        };
    }

    /// Tells the observer of a peer that only speaks SMB1.
    fn turned_away(&self, reason: &str) {
        let abilities = Abilities {
            offered: Some(Dialect::Smb1),
            ..Abilities::default()
        };
        let peer = self.link.peer.address;
        self.link.server.lookout.tell(|| {
            Occasion::Refused(
                Sighting::stranger(peer, None)
                    .able(abilities)
                    .because(reason),
            )
        });
    }

    fn refuse(&mut self, reason: &'static str) -> Front {
        self.link.close(reason);
        Front::Closed
    }

    /// Takes a signal from the mailbox.
    pub fn handle_signal(&mut self, signal: Signal, now: Now) {
        if let Front::Chosen(front) = &mut self.front {
            front.handle_signal(&mut self.link, signal, now);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        match &mut self.front {
            Front::Undecided if self.deadline <= now.monotonic => {
                self.link.close("no message in time");
            }
            Front::Chosen(front) => front.handle_timeout(&mut self.link, now),
            _ => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted, in monotonic time.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match &self.front {
            Front::Undecided => Some(self.deadline),
            Front::Chosen(front) => front.next_timeout(),
            Front::Closed => None,
        }
    }

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.link.pop()
    }

    /// The snapshot in [`Server::config`] was replaced: sessions that do not
    /// satisfy the new policy end, or stay, as the configuration says.
    pub fn apply_policy(&mut self, now: Now) -> PolicyOutcome {
        match &mut self.front {
            Front::Chosen(front) => front.apply_policy(&mut self.link, now),
            _ => PolicyOutcome::default(),
        }
    }

    /// The socket is gone. Opens are closed (durable ones kept), sessions end.
    pub fn closed(&mut self, now: Now) {
        self.link.gone();
        if let Front::Chosen(mut front) = core::mem::replace(&mut self.front, Front::Closed) {
            front.disconnected(&mut self.link, now);
        }
    }
}

impl Drop for Connection {
    /// A connection that nobody closed gives up what it holds all the same.
    fn drop(&mut self) {
        let host = &self.link.server.host;
        let now = Now {
            wall: host.now(),
            monotonic: host.monotonic(),
        };
        self.closed(now);
    }
}

/// What an SMB1 NEGOTIATE offers of SMB2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct MultiProtocol {
    /// "SMB 2.???".
    pub(crate) wildcard: bool,
    /// "SMB 2.002".
    pub(crate) smb202: bool,
}

/// Reads the dialect strings of an SMB1 NEGOTIATE, [MS-CIFS] 2.2.4.52.1; `None`
/// when the message is none.
pub(crate) fn multi_protocol(message: &[u8]) -> Option<MultiProtocol> {
    if message.get(..5)? != b"\xFFSMB\x72" {
        return None;
    }
    let words = usize::from(*message.get(32)?);
    let data = message.get(33 + words * 2 + 2..)?;
    let mut offer = MultiProtocol::default();
    for dialect in data.split(|b| *b == 0) {
        match dialect {
            b"\x02SMB 2.???" => offer.wildcard = true,
            b"\x02SMB 2.002" => offer.smb202 = true,
            _ => {}
        }
    }
    Some(offer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialect_strings_of_a_multi_protocol_negotiate() {
        let mut m = b"\xFFSMB\x72".to_vec();
        m.resize(32, 0);
        m.push(0);
        let text = b"\x02NT LM 0.12\0\x02SMB 2.002\0\x02SMB 2.???\0";
        m.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
        m.extend_from_slice(text);
        assert_eq!(
            multi_protocol(&m),
            Some(MultiProtocol {
                wildcard: true,
                smb202: true
            })
        );
        assert_eq!(multi_protocol(&m[..40]), Some(MultiProtocol::default()));
        assert_eq!(multi_protocol(&m[..20]), None);
        m[4] = 0x73;
        assert_eq!(multi_protocol(&m), None);
    }
}
