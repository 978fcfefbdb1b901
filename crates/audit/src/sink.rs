//! Where events go: a file of JSON lines, syslog (RFC 5424), journald.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::event::AuditEvent;
use crate::printable;
use crate::time::rfc3339_ms;

/// Facility of the messages: security/authorization (10).
const FACILITY: u8 = 10;
/// Name of the program.
const PROGRAM: &str = "countersign";
/// The example enterprise number of RFC 5612 in the id of the structured data.
const STRUCTURED: &str = "audit@32473";
/// How long a local socket may take.
const PATIENCE: Duration = Duration::from_millis(200);
/// One that did not take a message in time gets none for so long: others wait behind it.
const REST: Duration = Duration::from_secs(5);

/// A syslog to send to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Syslog {
    /// A datagram socket of this machine, usually `/dev/log`.
    Local(PathBuf),
    /// UDP.
    Udp(SocketAddr),
}

/// Where events go; nowhere by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SinkConfig {
    /// A file that gets one JSON object a line.
    pub json: Option<PathBuf>,
    /// A syslog.
    pub syslog: Option<Syslog>,
    /// Journald's socket, usually `/run/systemd/journal/socket`.
    pub journald: Option<PathBuf>,
}

/// The sinks, open.
pub struct Sink {
    config: SinkConfig,
    host: String,
    local: Option<UnixDatagram>,
    udp: Option<UdpSocket>,
    /// Local sockets that did not take a message in time, and until when they rest.
    resting: Vec<(PathBuf, Instant)>,
}

impl Sink {
    /// Sinks that open what they need when they need it.
    pub fn new(config: SinkConfig) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host: String = host
            .trim()
            .chars()
            .filter(char::is_ascii_graphic)
            .take(255)
            .collect();
        Self {
            config,
            host: if host.is_empty() {
                "-".to_owned()
            } else {
                host
            },
            local: None,
            udp: None,
            resting: Vec::new(),
        }
    }

    /// Writes an event to every sink.
    ///
    /// # Errors
    /// The first failure, after all were tried.
    pub fn write(&mut self, event: &AuditEvent) -> io::Result<()> {
        let mut outcome = Ok(());
        if let Some(path) = &self.config.json {
            // Opened each time, so that the file may be moved away.
            outcome = outcome.and(append(path, &event.to_json()));
        }
        match self.config.syslog.clone() {
            Some(Syslog::Local(path)) => {
                let message = syslog_message(event, &self.host);
                outcome = outcome.and(self.send_local(&path, message.as_bytes()));
            }
            Some(Syslog::Udp(to)) => {
                let message = syslog_message(event, &self.host);
                outcome = outcome.and(self.send_udp(to, message.as_bytes()));
            }
            None => {}
        }
        if let Some(path) = self.config.journald.clone() {
            outcome = outcome.and(self.send_local(&path, &journal_message(event)));
        }
        outcome
    }

    fn send_local(&mut self, path: &Path, message: &[u8]) -> io::Result<()> {
        let now = Instant::now();
        self.resting.retain(|(_, until)| *until > now);
        if self.resting.iter().any(|(resting, _)| resting == path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let socket = match self.local.take() {
            Some(socket) => socket,
            None => {
                let socket = UnixDatagram::unbound()?;
                socket.set_write_timeout(Some(PATIENCE))?;
                socket
            }
        };
        let sent = socket.send_to(message, path);
        self.local = Some(socket);
        if let Err(error) = &sent
            && matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            )
        {
            self.resting.push((path.to_owned(), now + REST));
        }
        sent.map(|_| ())
    }

    fn send_udp(&mut self, to: SocketAddr, message: &[u8]) -> io::Result<()> {
        let socket = match self.udp.take() {
            Some(socket) => socket,
            None if to.is_ipv4() => UdpSocket::bind("0.0.0.0:0")?,
            None => UdpSocket::bind("[::]:0")?,
        };
        let sent = socket.send_to(message, to);
        self.udp = Some(socket);
        sent.map(|_| ())
    }
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}

/// RFC 5424 6.
fn syslog_message(event: &AuditEvent, host: &str) -> String {
    let priority = FACILITY * 8 + event.severity as u8;
    let message_id = match event.id {
        Some(id) => id.to_string(),
        None => event.name.chars().take(32).collect(),
    };
    let mut data = format!("[{STRUCTURED} event=\"{}\"", event.name);
    for (name, value) in &event.fields {
        data.push_str(&format!(" {name}=\""));
        for c in printable(value).chars() {
            // RFC 5424 6.3.3.
            if matches!(c, '"' | '\\' | ']') {
                data.push('\\');
            }
            data.push(c);
        }
        data.push('"');
    }
    data.push(']');
    format!(
        "<{priority}>1 {} {host} {PROGRAM} {} {message_id} {data} \u{FEFF}{}",
        rfc3339_ms(event.at_ms),
        std::process::id(),
        printable(&event.text)
    )
}

/// The native protocol of systemd-journald: `NAME=value` lines, or, for a value with
/// line breaks, the name, a line break, the length and the value.
fn journal_message(event: &AuditEvent) -> Vec<u8> {
    let mut out = Vec::new();
    let mut field = |name: &str, value: &str| {
        out.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            out.push(b'\n');
            out.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            out.push(b'=');
        }
        out.extend_from_slice(value.as_bytes());
        out.push(b'\n');
    };
    field("MESSAGE", &printable(&event.text));
    field("PRIORITY", &(event.severity as u8).to_string());
    field("SYSLOG_IDENTIFIER", PROGRAM);
    field("COUNTERSIGN_CHANNEL", event.channel);
    field("COUNTERSIGN_EVENT", event.name);
    if let Some(id) = event.id {
        field("COUNTERSIGN_EVENT_ID", &id.to_string());
    }
    for (name, value) in &event.fields {
        let name = name.to_uppercase().replace('-', "_");
        field(&format!("COUNTERSIGN_{name}"), value);
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's own helpers may fail loudly")]
mod tests {
    use super::*;
    use crate::event::Severity;

    fn event(user: &str) -> AuditEvent {
        let mut event = AuditEvent::own(
            1_795_365_875_123,
            "ExceptionUsed",
            Severity::Notice,
            "an exception was used".to_owned(),
            vec![("user", user.to_owned())],
        );
        event.id = Some(3021);
        event
    }

    #[test]
    fn syslog_is_rfc_5424_and_cannot_be_forged() {
        let text = syslog_message(&event("a\"]\\\n<1>x"), "host");
        let pid = std::process::id();
        assert_eq!(
            text,
            format!(
                "<85>1 2026-11-22T16:44:35.123Z host countersign {pid} 3021 \
                 [audit@32473 event=\"ExceptionUsed\" user=\"a\\\"\\]\\\\\u{FFFD}<1>x\"] \
                 \u{FEFF}an exception was used"
            )
        );
    }

    #[test]
    fn every_sink_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        let (log, journal) = (folder.path().join("log"), folder.path().join("journal"));
        let (log_socket, journal_socket) = (
            UnixDatagram::bind(&log).unwrap(),
            UnixDatagram::bind(&journal).unwrap(),
        );
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let json = folder.path().join("events.jsonl");
        let mut buffer = [0; 2048];
        let mut local = Sink::new(SinkConfig {
            json: Some(json.clone()),
            syslog: Some(Syslog::Local(log)),
            journald: Some(journal),
        });
        local.write(&event("x\ny")).unwrap();
        let n = log_socket.recv(&mut buffer).unwrap();
        assert!(buffer[..n].starts_with(b"<85>1 "));
        let n = journal_socket.recv(&mut buffer).unwrap();
        let message = buffer[..n].to_vec();
        let binary = b"COUNTERSIGN_USER\n\x03\0\0\0\0\0\0\0x\ny\n";
        assert!(message.windows(binary.len()).any(|w| w == binary));
        assert!(message.starts_with(b"MESSAGE=an exception was used\nPRIORITY=5\n"));
        local.write(&event("second")).unwrap();
        let lines = std::fs::read_to_string(json).unwrap();
        assert_eq!(lines.lines().count(), 2);
        let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!(first["user"], "x\ny");
        assert_eq!(first["id"], 3021);
        let mut remote = Sink::new(SinkConfig {
            syslog: Some(Syslog::Udp(udp.local_addr().unwrap())),
            ..SinkConfig::default()
        });
        remote.write(&event("u")).unwrap();
        let n = udp.recv(&mut buffer).unwrap();
        assert!(buffer[..n].starts_with(b"<85>1 "));
        // Somebody who does not read: one message waits, those behind it do not.
        let full = folder.path().join("full");
        let _deaf = UnixDatagram::bind(&full).unwrap();
        let mut deaf = Sink::new(SinkConfig {
            syslog: Some(Syslog::Local(full)),
            ..SinkConfig::default()
        });
        while deaf.write(&event("u")).is_ok() {}
        let begun = Instant::now();
        for _ in 0..100 {
            assert!(deaf.write(&event("u")).is_err());
        }
        assert!(begun.elapsed() < PATIENCE * 3, "{:?}", begun.elapsed());
        // Nobody listens: an error, and no panic.
        let mut nobody = Sink::new(SinkConfig {
            syslog: Some(Syslog::Local(folder.path().join("none"))),
            ..SinkConfig::default()
        });
        assert!(nobody.write(&event("u")).is_err());
    }
}
