//! [RFC 2782] SRV records, asked of the machine's name servers.

mod config;

use std::net::SocketAddr;
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Most records of one answer that are looked at.
const MOST: usize = 64;
/// How long one name server may take for one question.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the list of name servers is gone through.
const ROUNDS: usize = 2;

/// Asks name servers.
#[derive(Debug, Clone)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
}

/// A service's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lower is tried first.
    pub priority: u16,
    /// Among equals, share of the tries.
    pub weight: u16,
    /// Port.
    pub port: u16,
    /// Host name, without the final dot.
    pub target: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// There is no name server.
    #[error("/etc/resolv.conf names no name server")]
    NoServer,
    /// A name that cannot be asked for.
    #[error("`{0}` is not a name that DNS can be asked for")]
    Name(String),
    /// No name server answers.
    #[error("no name server answers about {name}: {why}")]
    Silent {
        /// The question.
        name: String,
        /// What the last one did.
        why: String,
    },
}

impl Resolver {
    /// The machine's name servers, of `/etc/resolv.conf`.
    ///
    /// # Errors
    /// When there is none.
    pub fn system() -> Result<Resolver, ResolverError> {
        let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let servers = config::servers(&text);
        if servers.is_empty() {
            return Err(ResolverError::NoServer);
        }
        Ok(Resolver { servers })
    }

    /// These name servers.
    pub fn of(servers: Vec<SocketAddr>) -> Resolver {
        Resolver { servers }
    }

    /// The records of a service, in the order in which they are to be tried; none when
    /// the name does not exist.
    ///
    /// # Errors
    /// When no name server answers.
    pub async fn srv(&self, name: &str) -> Result<Vec<Srv>, ResolverError> {
        let mut last = "there is none".to_owned();
        for server in self
            .servers
            .iter()
            .cycle()
            .take(self.servers.len() * ROUNDS)
        {
            match timeout(PATIENCE, ask(*server, name)).await {
                Ok(Ok(records)) => return Ok(in_order(records)),
                Ok(Err(AskError::Name)) => return Err(ResolverError::Name(name.to_owned())),
                Ok(Err(AskError::Failed(why))) => last = format!("{server}: {why}"),
                Err(_) => last = format!("{server} is silent"),
            }
        }
        Err(ResolverError::Silent {
            name: name.to_owned(),
            why: last,
        })
    }
}

enum AskError {
    Name,
    Failed(String),
}

impl From<std::io::Error> for AskError {
    fn from(error: std::io::Error) -> Self {
        AskError::Failed(error.to_string())
    }
}

async fn ask(server: SocketAddr, name: &str) -> Result<Vec<Srv>, AskError> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(|error| AskError::Failed(error.to_string()))?;
    let question = question(u16::from_be_bytes(id), name).ok_or(AskError::Name)?;
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(&question).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let bytes = buffer.get(..length).unwrap_or_default();
        if bytes.get(..2) != Some(id.as_slice()) {
            continue;
        }
        match decode_answer(bytes, name) {
            Ok(Answer::Records(records)) => return Ok(records),
            Ok(Answer::Truncated) => break,
            Ok(Answer::Other) => {}
            Err(why) => return Err(AskError::Failed(why)),
        }
    }
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(|_| AskError::Name)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&question).await?;
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await?;
    match decode_answer(&bytes, name) {
        Ok(Answer::Records(records)) if bytes.get(..2) == Some(id.as_slice()) => Ok(records),
        Ok(_) => Err(AskError::Failed("an answer to another question".to_owned())),
        Err(why) => Err(AskError::Failed(why)),
    }
}

fn question(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).ok()?;
    packet.questions.push(Question::new(
        name,
        QTYPE::TYPE(TYPE::SRV),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().ok()
}

#[derive(Debug)]
pub(crate) enum Answer {
    Records(Vec<Srv>),
    /// To be asked again over TCP.
    Truncated,
    /// To another question.
    Other,
}

/// Reads an answer about `name`.
pub(crate) fn decode_answer(bytes: &[u8], name: &str) -> Result<Answer, String> {
    let packet = Packet::parse(bytes).map_err(|error| format!("a malformed answer: {error}"))?;
    let asked = packet
        .questions
        .first()
        .is_some_and(|one| one.qname.to_string().eq_ignore_ascii_case(name));
    if !packet.has_flags(PacketFlag::RESPONSE) || !asked {
        return Ok(Answer::Other);
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Ok(Answer::Truncated);
    }
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Answer::Records(Vec::new())),
        other => return Err(format!("it answers {other:?}")),
    }
    let records = packet
        .answers
        .iter()
        .filter_map(|record| match &record.rdata {
            RData::SRV(srv) => Some(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_string().trim_end_matches('.').to_lowercase(),
            }),
            _ => None,
        })
        // [RFC 2782]: "." says that the service is not there.
        .filter(|srv| !srv.target.is_empty())
        .take(MOST);
    Ok(Answer::Records(records.collect()))
}

/// [RFC 2782]: by priority; among equals by chance, as the weights say.
fn in_order(mut records: Vec<Srv>) -> Vec<Srv> {
    let mut order = Vec::new();
    records.sort_by_key(|record| record.priority);
    while let Some(lowest) = records.first().map(|record| record.priority) {
        let equals = records
            .iter()
            .take_while(|record| record.priority == lowest);
        let weights: Vec<u64> = equals.map(|record| u64::from(record.weight) + 1).collect();
        let mut bytes = [0; 8];
        // Without randomness the first is as good as any.
        let _ = getrandom::fill(&mut bytes);
        let mut draw = u64::from_le_bytes(bytes) % weights.iter().sum::<u64>().max(1);
        let mut chosen = 0;
        for (at, weight) in weights.iter().enumerate() {
            chosen = at;
            match draw.checked_sub(*weight) {
                Some(rest) => draw = rest,
                None => break,
            }
        }
        order.push(records.remove(chosen));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::SRV;

    fn answer(name: &str, flags: PacketFlag, targets: &[(u16, &'static str)]) -> Vec<u8> {
        let mut packet = Packet::new_reply(7);
        packet.set_flags(flags);
        packet.questions.push(Question::new(
            Name::new_unchecked(name),
            QTYPE::TYPE(TYPE::SRV),
            QCLASS::CLASS(CLASS::IN),
            false,
        ));
        for (priority, target) in targets {
            let srv = SRV {
                priority: *priority,
                weight: 1,
                port: 389,
                target: Name::new_unchecked(target),
            };
            packet.answers.push(ResourceRecord::new(
                Name::new_unchecked(name),
                CLASS::IN,
                60,
                RData::SRV(srv),
            ));
        }
        packet.build_bytes_vec().unwrap()
    }

    const NAME: &str = "_ldap._tcp.dc._msdcs.lab.example";

    #[test]
    fn answers() {
        let bytes = answer(
            NAME,
            PacketFlag::empty(),
            &[(0, "DC1.lab.example"), (1, "b.x")],
        );
        let Ok(Answer::Records(records)) = decode_answer(&bytes, NAME) else {
            panic!("records");
        };
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].target, "dc1.lab.example");
        let other = decode_answer(&bytes, "_ldap._tcp.other");
        assert!(matches!(other, Ok(Answer::Other)));
        let cut = answer(NAME, PacketFlag::TRUNCATION, &[]);
        assert!(matches!(decode_answer(&cut, NAME), Ok(Answer::Truncated)));
        let question = question(7, NAME).unwrap();
        assert!(matches!(decode_answer(&question, NAME), Ok(Answer::Other)));
        for length in 0..bytes.len() {
            let _ = decode_answer(&bytes[..length], NAME);
        }
    }

    #[test]
    fn order_is_by_priority() {
        let record = |priority, target: &str| Srv {
            priority,
            weight: 0,
            port: 389,
            target: target.to_owned(),
        };
        let records = vec![
            record(2, "c"),
            record(0, "a"),
            record(1, "b"),
            record(0, "a2"),
        ];
        let order = in_order(records);
        let priorities: Vec<u16> = order.iter().map(|record| record.priority).collect();
        assert_eq!(priorities, [0, 0, 1, 2]);
    }

    #[tokio::test]
    async fn asks_over_udp_and_then_tcp() {
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let server = tokio::spawn(async move {
            let mut buffer = [0; 512];
            let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
            // An answer with another id is not believed.
            let mut wrong = answer(NAME, PacketFlag::empty(), &[(0, "evil.example")]);
            wrong[0] = !buffer[0];
            udp.send_to(&wrong, from).await.unwrap();
            let mut cut = answer(NAME, PacketFlag::TRUNCATION, &[]);
            cut[..2].copy_from_slice(&buffer[..2]);
            udp.send_to(&cut, from).await.unwrap();
            let (mut stream, _) = tcp.accept().await.unwrap();
            let mut asked = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut asked).await.unwrap();
            assert_eq!(asked, buffer[..length]);
            let mut whole = answer(NAME, PacketFlag::empty(), &[(0, "dc1.lab.example")]);
            whole[..2].copy_from_slice(&asked[..2]);
            stream
                .write_u16(u16::try_from(whole.len()).unwrap())
                .await
                .unwrap();
            stream.write_all(&whole).await.unwrap();
        });
        let records = Resolver::of(vec![address]).srv(NAME).await.unwrap();
        assert_eq!(records[0].target, "dc1.lab.example");
        server.await.unwrap();
    }
}
