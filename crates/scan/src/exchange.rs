//! One TCP connection to a server: whole messages out and in, with limits.

use std::net::SocketAddr;
use std::time::Duration;

use countersign_auth::initiator::InitiatorError;
use countersign_wire::NtStatus;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// Longest message taken from a server, bytes. NEGOTIATE and SESSION_SETUP
/// responses are far below.
pub const MAX_REPLY: usize = 1 << 17;

/// Why a probe came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProbeError {
    /// No connection.
    #[error("{0}")]
    Connect(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// What came back is no SMB.
    #[error("malformed answer: {0}")]
    Malformed(&'static str),
    /// The server answered with a failure.
    #[error("{}", status_text(*.0))]
    Status(NtStatus),
    /// The logon's tokens do not fit together.
    #[error("{0}")]
    Logon(InitiatorError),
    /// The operating system gives no random numbers, so there is no secret to log on with.
    #[error("the operating system gives no random numbers")]
    NoRandomness,
    /// The server chose what was not offered.
    #[error("the server answered with another dialect")]
    OtherDialect,
    /// Enforcement cannot be proved.
    #[error("{0}")]
    Unprovable(String),
}

fn status_text(status: NtStatus) -> String {
    match status.name() {
        Some(name) => name.to_owned(),
        None => format!("status 0x{:08X}", status.0),
    }
}

impl ProbeError {
    /// Whether a server says by it that it does not speak a dialect. Else it was
    /// not heard, or not understood.
    pub(crate) fn declines(&self) -> bool {
        matches!(
            self,
            ProbeError::Closed | ProbeError::Status(_) | ProbeError::OtherDialect
        )
    }
}

/// What a connection runs over.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection.
pub(crate) struct Exchange {
    stream: Box<dyn Stream>,
    patience: Duration,
}

impl Exchange {
    /// Connects within `patience`; every later answer has as long.
    pub(crate) async fn connect(to: SocketAddr, patience: Duration) -> Result<Self, ProbeError> {
        let stream = match timeout(patience, TcpStream::connect(to)).await {
            Err(_) => return Err(ProbeError::Connect("no connection in time".to_owned())),
            Ok(Err(error)) => return Err(ProbeError::Connect(plain(&error))),
            Ok(Ok(stream)) => stream,
        };
        // Only speed is lost without it.
        let _ = stream.set_nodelay(true);
        Ok(Self {
            stream: Box::new(stream),
            patience,
        })
    }

    /// Speaks over a stream that is there already.
    pub(crate) fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        patience: Duration,
    ) -> Self {
        Self {
            stream: Box::new(stream),
            patience,
        }
    }

    /// Sends a message (without transport header).
    pub(crate) async fn send(&mut self, message: &[u8]) -> Result<(), ProbeError> {
        let length = u32::try_from(message.len()).map_err(|_| ProbeError::Malformed("length"))?;
        let mut frame = Vec::with_capacity(message.len().saturating_add(4));
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(message);
        match timeout(self.patience, self.stream.write_all(&frame)).await {
            Err(_) => Err(ProbeError::Timeout),
            Ok(Err(_)) => Err(ProbeError::Closed),
            Ok(Ok(())) => Ok(()),
        }
    }

    /// Until when the answer to a question that was just sent may come, whole.
    pub(crate) fn deadline(&self) -> Instant {
        // A patience beyond the clock's end is none.
        let now = Instant::now();
        now.checked_add(self.patience).unwrap_or(now)
    }

    /// The next message; session keep-alives are passed over.
    pub(crate) async fn receive(&mut self, deadline: Instant) -> Result<Vec<u8>, ProbeError> {
        match timeout_at(deadline, self.message()).await {
            Err(_) => Err(ProbeError::Timeout),
            Ok(result) => result,
        }
    }

    async fn message(&mut self) -> Result<Vec<u8>, ProbeError> {
        loop {
            let mut head = [0; 4];
            self.exact(&mut head).await?;
            let [kind, high, middle, low] = head;
            let length = usize::try_from(u32::from_be_bytes([0, high, middle, low]))
                .map_err(|_| ProbeError::Malformed("frame length"))?;
            match kind {
                0 => {}
                0x85 if length == 0 => continue,
                _ => return Err(ProbeError::Malformed("transport header")),
            }
            if length > MAX_REPLY {
                return Err(ProbeError::Malformed("frame too long"));
            }
            let mut message = vec![0; length];
            self.exact(&mut message).await?;
            return Ok(message);
        }
    }

    async fn exact(&mut self, buffer: &mut [u8]) -> Result<(), ProbeError> {
        match self.stream.read_exact(buffer).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ProbeError::Closed),
        }
    }
}

/// An error of the operating system without its number.
fn plain(error: &std::io::Error) -> String {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => "connection refused".to_owned(),
        Kind::HostUnreachable => "host unreachable".to_owned(),
        Kind::NetworkUnreachable => "network unreachable".to_owned(),
        Kind::TimedOut => "no connection in time".to_owned(),
        Kind::InvalidInput => {
            "no such address here (a link-local one needs its interface)".to_owned()
        }
        Kind::PermissionDenied => "not permitted (a firewall of this machine?)".to_owned(),
        _ => error.to_string(),
    }
}
