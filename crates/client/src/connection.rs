//! A connection to a server: made, logged on, and made again when it was lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_auth::Initiator;
use countersign_core::client::{
    Answer, Break, Call, Engine, LoggedOn, LogonKey, LogonKind, PeerSigning,
};
use countersign_core::config::Dialect;
use countersign_core::connection::Transport;
use countersign_crypto::Cipher;
use countersign_policy::{Identity, Reason};
use countersign_wire::nbss::{FrameHeader, Framing, NetBiosName, PacketType, SessionRequest};
use countersign_wire::{FileTime, Guid};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use crate::builder::Options;
use crate::credentials::LogonTarget;
use crate::entropy::SystemEntropy;
use crate::error::{Error, ErrorKind, Result};
use crate::live::{Line, Live, Shared};
use crate::pipe::Pipe;
use crate::share::Share;
use crate::srvsvc::{self, ShareInfo};
use crate::task::Task;

/// Rounds of tokens a logon may take.
const LOGON_ROUNDS: usize = 16;
/// Tries to make a lost connection again, and the pause between them.
const RECONNECTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(250);

/// How the server is reached.
#[derive(Clone)]
pub(crate) enum Dial {
    Host {
        host: String,
        port: u16,
        address: Option<SocketAddr>,
    },
    /// A stream somebody else made: once.
    Once { name: String },
}

impl Dial {
    fn name(&self) -> &str {
        match self {
            Self::Host { host, .. } => host,
            Self::Once { name } => name,
        }
    }
}

/// What protects a connection, and what is at its other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The server as it was named.
    pub server: String,
    /// The dialect agreed on.
    pub dialect: Dialect,
    /// Every message is signed (unless it is encrypted).
    pub signed: bool,
    /// What signs: `MD5` (SMB1), `HMAC-SHA256`, `AES-128-CMAC`, `AES-128-GMAC`.
    pub signing_algorithm: Option<&'static str>,
    /// Why it is signed or not.
    pub signing_reason: Reason,
    /// Cipher, when the whole session is encrypted.
    pub encrypted: Option<Cipher>,
    /// Cipher agreed on, used where a share asks for it.
    pub cipher: Option<Cipher>,
    /// Whom the logon came out as.
    pub identity: Identity,
    /// How: `NTLM`, `Kerberos`.
    pub mechanism: &'static str,
    /// The server proved who it is.
    pub mutual: bool,
    /// What the server says about signing.
    pub server_signing: PeerSigning,
    /// ServerGuid.
    pub server_guid: Guid,
    /// The server's clock when it was asked.
    pub server_time: FileTime,
    /// Capabilities in the dialect's own bits.
    pub capabilities: u32,
    /// Largest read and write in one message, bytes.
    pub max_read: u32,
    /// Largest write in one message, bytes.
    pub max_write: u32,
}

/// A connection to a server, logged on. Cheap to clone; closed when the last
/// clone, share and file of it is dropped.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    options: Arc<Options>,
    dial: Dial,
    live: Mutex<Arc<Live>>,
    making: tokio::sync::Mutex<()>,
    generations: AtomicU64,
}

impl Connection {
    pub(crate) async fn open(options: Arc<Options>, dial: Dial) -> Result<Self> {
        let live = make(&options, &dial, 1)
            .await
            .map_err(|e| e.during(|| format!("connect to {}", dial.name())))?;
        Ok(Self::new(options, dial, live))
    }

    pub(crate) async fn over_stream<S>(options: Arc<Options>, stream: S, name: &str) -> Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let dial = Dial::Once { name: name.into() };
        let what = start(&options, name, Transport::Tcp, stream, 1, 0);
        let live = tokio::time::timeout(options.connect_timeout, what)
            .await
            .map_err(|_| timed_out())?
            .map_err(|e| e.during(|| format!("connect to {name}")))?;
        Ok(Self::new(options, dial, live))
    }

    fn new(options: Arc<Options>, dial: Dial, live: Live) -> Self {
        Self {
            inner: Arc::new(Inner {
                options,
                dial,
                live: Mutex::new(Arc::new(live)),
                making: tokio::sync::Mutex::new(()),
                generations: AtomicU64::new(2),
            }),
        }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    /// The server as it was named.
    pub fn server(&self) -> &str {
        self.inner.dial.name()
    }

    /// What protects the connection.
    pub fn info(&self) -> ConnectionInfo {
        let live = self.current();
        let transfer = live.transfer();
        ConnectionInfo {
            server: self.server().into(),
            dialect: live.negotiated.dialect,
            signed: live.logged_on.signed,
            signing_algorithm: live.logged_on.algorithm,
            signing_reason: live.logged_on.reason,
            encrypted: live.logged_on.encrypted,
            cipher: live.negotiated.cipher,
            identity: live.logged_on.identity,
            mechanism: live.mechanism,
            mutual: live.mutual,
            server_signing: live.negotiated.signing,
            server_guid: live.negotiated.server_guid,
            server_time: live.negotiated.system_time,
            capabilities: live.negotiated.capabilities,
            max_read: transfer.read,
            max_write: transfer.write,
        }
    }

    /// Connects to a share. Where the server has none of this name, but knows a DFS
    /// namespace of it (as `\\domain\namespace` at a domain controller), the share is
    /// that namespace's root, on the server it lies on.
    ///
    /// # Errors
    /// [`ErrorKind::ShareNotFound`], [`ErrorKind::PermissionDenied`] and others.
    pub async fn share(&self, name: &str) -> Result<Share> {
        Share::find(self.clone(), name, 0).await
    }

    /// A connection with the same choices to another server.
    pub(crate) async fn to_another(&self, server: &str) -> Result<Self> {
        let dial = Dial::Host {
            host: server.into(),
            port: 445,
            address: None,
        };
        Self::open(Arc::clone(&self.inner.options), dial).await
    }

    /// The shares the server tells of (srvsvc NetrShareEnum).
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] for users the server tells nothing.
    pub async fn shares(&self) -> Result<Vec<ShareInfo>> {
        srvsvc::shares(self)
            .await
            .map_err(|e| e.during(|| format!("list the shares of {}", self.server())))
    }

    /// Opens a named pipe of `IPC$`, such as `srvsvc`.
    ///
    /// # Errors
    /// When there is no such pipe, or the user may not open it.
    pub async fn pipe(&self, name: &str) -> Result<Pipe> {
        let share = self.share("IPC$").await?;
        Pipe::open(share, name).await
    }

    /// Asks whether the server is there.
    ///
    /// # Errors
    /// When it is not.
    pub async fn echo(&self) -> Result<()> {
        let live = self.live().await?;
        live.line.call(Call::Echo).await.map(|_| ())
    }

    /// Hears of oplock and lease breaks. They are acknowledged by themselves:
    /// this crate caches nothing. As many as
    /// [`ClientLimits::notifications`](crate::ClientLimits::notifications) wait to
    /// be taken; more are dropped.
    pub fn breaks(&self) -> mpsc::Receiver<Break> {
        let most = self.options().limits.notifications.max(1);
        let (sender, receiver) = mpsc::channel(most);
        *self.current().shared.breaks.lock() = Some(sender);
        receiver
    }

    /// Logs off and closes. What is still under way when the server has answered
    /// that, such as a watch, ends with [`ErrorKind::Disconnected`].
    ///
    /// # Errors
    /// What the server says to LOGOFF; the connection is gone in any case.
    pub async fn close(self) -> Result<()> {
        let live = self.current();
        if live.is_closed() {
            return Ok(());
        }
        let result = live.line.call(Call::Logoff).await;
        live.line.close();
        result.map(|_| ())
    }

    /// Whether the connection is up.
    pub fn is_connected(&self) -> bool {
        !self.current().is_closed()
    }

    pub(crate) fn current(&self) -> Arc<Live> {
        Arc::clone(&self.inner.live.lock())
    }

    /// The connection as it is, or made again.
    pub(crate) async fn live(&self) -> Result<Arc<Live>> {
        let live = self.current();
        if !live.is_closed() {
            return Ok(live);
        }
        let reason = live.shared.closed.lock().clone();
        let error =
            Error::from_close(reason.unwrap_or(countersign_core::client::CloseReason::Peer));
        let inner = &self.inner;
        if !inner.options.reconnect
            || !error.is_transient()
            || matches!(inner.dial, Dial::Once { .. })
        {
            return Err(error);
        }
        let _making = inner.making.lock().await;
        let current = self.current();
        if !current.is_closed() {
            return Ok(current);
        }
        let mut failure = error;
        for attempt in 0..RECONNECTS {
            if attempt > 0 {
                tokio::time::sleep(PAUSE * attempt).await;
            }
            let generation = inner.generations.fetch_add(1, Ordering::Relaxed);
            match make_again(
                &inner.options,
                &inner.dial,
                generation,
                current.logged_on.session,
            )
            .await
            {
                Ok(live) => {
                    let live = Arc::new(live);
                    *inner.live.lock() = Arc::clone(&live);
                    return Ok(live);
                }
                Err(error) if error.kind() == ErrorKind::LogonFailed => return Err(error),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

fn timed_out() -> Error {
    Error::new(ErrorKind::TimedOut, "the server did not answer in time")
}

async fn make(options: &Arc<Options>, dial: &Dial, generation: u64) -> Result<Live> {
    make_again(options, dial, generation, 0).await
}

async fn make_again(
    options: &Arc<Options>,
    dial: &Dial,
    generation: u64,
    previous: u64,
) -> Result<Live> {
    let Dial::Host {
        host,
        port,
        address,
    } = dial
    else {
        return Err(Error::new(ErrorKind::Disconnected, "the stream is gone"));
    };
    let made = async {
        let mut stream = match address {
            Some(address) => TcpStream::connect(address).await,
            None => TcpStream::connect((host.as_str(), *port)).await,
        }
        .map_err(|e| Error::new(ErrorKind::Unreachable, e.to_string()))?;
        let _ = stream.set_nodelay(true);
        let transport = if *port == 139 {
            netbios(&mut stream).await?;
            Transport::NetBios
        } else {
            Transport::Tcp
        };
        start(options, host, transport, stream, generation, previous).await
    };
    tokio::time::timeout(options.connect_timeout, made)
        .await
        .map_err(|_| timed_out())?
}

/// RFC 1002 4.3.2: asks for the file server whatever its name.
async fn netbios(stream: &mut TcpStream) -> Result<()> {
    let lost = |e: std::io::Error| Error::new(ErrorKind::Disconnected, e.to_string());
    let request = SessionRequest {
        called: NetBiosName::new("*SMBSERVER", 0x20),
        calling: NetBiosName::new("COUNTERSIGN", 0),
    };
    stream.write_all(&request.encode()).await.map_err(lost)?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(lost)?;
    match FrameHeader::decode(head, Framing::NetBios, 6) {
        Ok(header) if header.kind == PacketType::PositiveResponse => Ok(()),
        _ => Err(Error::new(
            ErrorKind::Incompatible,
            "the server refused the NetBIOS session",
        )),
    }
}

/// Starts the task, negotiates and logs on.
async fn start<S>(
    options: &Arc<Options>,
    name: &str,
    transport: Transport,
    stream: S,
    generation: u64,
    previous: u64,
) -> Result<Live>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let framing = match transport {
        Transport::Tcp => Framing::Tcp,
        Transport::NetBios => Framing::NetBios,
    };
    let shared = Arc::new(Shared::default());
    let (commands, receiver) = mpsc::unbounded_channel();
    let (negotiated, negotiation) = oneshot::channel();
    let engine = Engine::new(options.config(name, transport), Box::new(SystemEntropy));
    let task = Task::new(engine, Arc::clone(&shared), receiver, negotiated);
    let line = Line::new(commands, Arc::clone(&shared));
    tokio::spawn(task.run(stream, framing));
    let guard = CloseOnDrop(Some(line.clone()));
    let negotiated = match negotiation.await {
        Ok(negotiated) => negotiated,
        Err(_) => {
            let reason = shared.closed.lock().clone();
            return Err(Error::from_close(
                reason.unwrap_or(countersign_core::client::CloseReason::Peer),
            ));
        }
    };
    let (logged_on, mechanism, mutual) = match negotiated.logon {
        LogonKind::Classic => classic(options, &line).await?,
        LogonKind::Tokens => log_on(options, &line, name, previous).await?,
    };
    if options.mutual && !mutual {
        return Err(Error::new(
            ErrorKind::Policy,
            "the server has not proved who it is, and mutual authentication is required",
        ));
    }
    guard.keep();
    Ok(Live {
        generation,
        negotiated,
        logged_on,
        mechanism,
        mutual,
        shared,
        line,
    })
}

/// Closes a connection whose logon was not completed.
struct CloseOnDrop(Option<Line>);

impl CloseOnDrop {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(line) = &self.0 {
            line.close();
        }
    }
}

async fn classic(options: &Options, line: &Line) -> Result<(LoggedOn, &'static str, bool)> {
    let credentials = options.credentials.classic().ok_or_else(|| {
        Error::new(
            ErrorKind::Incompatible,
            "the server takes logons by password only, and none was given",
        )
    })?;
    match line.call(Call::ClassicLogon(credentials)).await? {
        Answer::LoggedOn(logged_on) => Ok((logged_on, "NTLM", false)),
        _ => Err(unexpected()),
    }
}

pub(crate) fn unexpected() -> Error {
    Error::new(
        ErrorKind::Protocol,
        "the engine gave another answer than was asked for",
    )
}

async fn log_on(
    options: &Arc<Options>,
    line: &Line,
    name: &str,
    previous: u64,
) -> Result<(LoggedOn, &'static str, bool)> {
    let target = LogonTarget {
        host: name.into(),
        service: format!("cifs/{name}"),
        mutual: options.mutual,
    };
    let credentials = options.credentials.clone();
    // A mechanism may ask a KDC or read a file.
    let mut initiator = blocking(move || credentials.initiator(&target)).await??;
    let (step, mut initiator_back) = step(initiator, None).await?;
    initiator = initiator_back;
    let mut token = step.token.unwrap_or_default();
    for _ in 0..LOGON_ROUNDS {
        let call = Call::SessionSetup {
            token,
            previous_session: previous,
        };
        let (answer, finished) = match line.call(call).await? {
            Answer::LogonToken { token, finished } => (token, finished),
            _ => return Err(unexpected()),
        };
        let (next, back) = self::step(initiator, Some(answer)).await?;
        initiator_back = back;
        initiator = initiator_back;
        match (finished, next.done) {
            (true, Some(done)) => {
                let key = LogonKey {
                    session_key: done.session_key,
                };
                return match line.call(Call::LogonFinish(key)).await? {
                    Answer::LoggedOn(logged_on) => Ok((logged_on, done.mechanism, done.mutual)),
                    _ => Err(unexpected()),
                };
            }
            (true, None) => {
                return Err(Error::new(
                    ErrorKind::Authentication,
                    "the server ended the authentication before it was complete",
                ));
            }
            (false, _) => token = next.token.unwrap_or_default(),
        }
    }
    Err(Error::new(
        ErrorKind::Authentication,
        "the authentication does not come to an end",
    ))
}

async fn step(
    mut initiator: Box<dyn Initiator>,
    token: Option<Vec<u8>>,
) -> Result<(countersign_auth::InitiatorStep, Box<dyn Initiator>)> {
    let (step, initiator) = blocking(move || {
        let step = initiator.step(token.as_deref());
        (step, initiator)
    })
    .await?;
    match step {
        Ok(step) => Ok((step, initiator)),
        Err(error) => Err(Error::new(ErrorKind::Authentication, error.to_string())),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::new(ErrorKind::Other, "the authentication was interrupted"))
}
