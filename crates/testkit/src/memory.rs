//! A server in memory: the real engine, virtual time, no socket.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use countersign_auth::{AuthConfig, GuestRule, NtHash, NtlmRules, UserFile};
use countersign_core::config::{Limits, LogonLimits, OnTighten, ShareConfig};
use countersign_core::connection::Signal;
use countersign_core::{
    Connection, Mailbox, Now, Output, PeerInfo, Server, ServerConfig, Transport, config::Dialect,
};
use countersign_crypto::{Cipher, SigningAlgorithm};
pub use countersign_fs::testing::TestHost;
use countersign_fs::{Backend, FileService, Host, Share, ShareOptions};
use countersign_policy::{Effective, Settings};
use parking_lot::Mutex;

use crate::wire::Wire;

/// Both clocks of a host.
pub fn times(host: &TestHost) -> Now {
    Now {
        wall: host.now(),
        monotonic: host.monotonic(),
    }
}

/// Users alice (Passw0rd!) and bob (S3cret#2b), share `share`, encrypted share `secret`.
pub struct MemoryServer {
    /// The engine's shared part.
    pub server: Arc<Server>,
    /// Its clock.
    pub host: Arc<TestHost>,
}

/// The configuration tests begin with: all dialects but SMB1, the given settings,
/// shares on `backend`.
pub fn config(settings: Settings, backend: &Arc<dyn Backend>) -> ServerConfig {
    let mut users = UserFile::default();
    for (name, password) in [("alice", "Passw0rd!"), ("bob", "S3cret#2b")] {
        users
            .add(name, NtHash::from_password(password), &[])
            .expect("user");
    }
    let share = |name: &str, encrypt: bool| ShareConfig {
        share: Arc::new(Share {
            name: name.into(),
            backend: Arc::clone(backend),
            options: ShareOptions::default(),
        }),
        comment: String::new(),
        hidden: false,
        encrypt,
        valid_users: Vec::new(),
        read_only_users: Vec::new(),
        guest_ok: true,
    };
    let auth = AuthConfig {
        rules: NtlmRules {
            anonymous: true,
            guest: GuestRule::Never,
            ..NtlmRules::default()
        },
        ..AuthConfig::default()
    };
    ServerConfig {
        smb1: false,
        min_dialect: Dialect::Smb202,
        max_dialect: Dialect::Smb311,
        policy: Arc::new(Effective::of(settings)),
        exceptions: Arc::default(),
        signing_algorithms: vec![
            SigningAlgorithm::AesGmac,
            SigningAlgorithm::AesCmac,
            SigningAlgorithm::HmacSha256,
        ],
        ciphers: vec![
            Cipher::Aes128Gcm,
            Cipher::Aes128Ccm,
            Cipher::Aes256Gcm,
            Cipher::Aes256Ccm,
        ],
        encrypt: false,
        auth: Arc::new(auth),
        users: Arc::new(users),
        anonymous_ipc: true,
        guest: false,
        shares: vec![share("share", false), share("secret", true)],
        guid: *b"countersign-mem!",
        netbios_name: "MEMORY".into(),
        workgroup: "WORKGROUP".into(),
        comment: String::new(),
        oem_code_page: Default::default(),
        limits: Limits::default(),
        logon: LogonLimits::default(),
        on_tighten: OnTighten::End,
    }
}

impl MemoryServer {
    /// A server of this configuration.
    pub fn new(config: ServerConfig) -> Self {
        Self::with_host(config, TestHost::new())
    }

    /// The same with a host whose clock the backend shares.
    pub fn with_host(config: ServerConfig, host: Arc<TestHost>) -> Self {
        let files = FileService::new(Arc::clone(&host) as _);
        Self {
            server: Server::new(config, files, Arc::clone(&host) as _),
            host,
        }
    }

    /// Puts another configuration in force (not yet told to the connections).
    pub fn reconfigure(&self, change: impl FnOnce(&mut ServerConfig)) {
        let mut config = ServerConfig::clone(&self.server.config.load());
        change(&mut config);
        self.server.config.store(Arc::new(config));
    }

    /// A new connection.
    pub fn connect(&self) -> MemoryWire {
        let mail = Arc::new(Mail::default());
        let peer = PeerInfo {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 40_000),
            local: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 445),
            transport: Transport::Tcp,
        };
        let now = times(&self.host);
        MemoryWire {
            connection: Connection::new(
                Arc::clone(&self.server),
                peer,
                Arc::clone(&mail) as _,
                now,
            ),
            mail,
            host: Arc::clone(&self.host),
            out: VecDeque::new(),
            closed: None,
            patience: Duration::from_secs(10),
        }
    }
}

#[derive(Default)]
struct Mail(Mutex<VecDeque<Signal>>);

impl Mailbox for Mail {
    fn post(&self, signal: Signal) {
        self.0.lock().push_back(signal);
    }
}

/// A connection in memory. Waiting moves the clock.
pub struct MemoryWire {
    /// The engine's connection.
    pub connection: Connection,
    mail: Arc<Mail>,
    host: Arc<TestHost>,
    out: VecDeque<Vec<u8>>,
    /// Why the server closed it.
    pub closed: Option<&'static str>,
    /// Virtual time [`Wire::receive`] waits at most.
    pub patience: Duration,
}

impl MemoryWire {
    /// Lets the engine work on what is there; the clock stands still.
    pub fn settle(&mut self) {
        loop {
            let mut any = self.host.run_jobs() > 0;
            loop {
                let Some(signal) = self.mail.0.lock().pop_front() else {
                    break;
                };
                any = true;
                if self.closed.is_none() {
                    self.connection.handle_signal(signal, times(&self.host));
                }
            }
            while let Some(output) = self.connection.poll_output() {
                any = true;
                match output {
                    Output::Send(frame) => {
                        let message = frame.bytes().get(4..).unwrap_or_default();
                        self.out.push_back(message.to_vec());
                    }
                    Output::Close(reason) => {
                        self.closed.get_or_insert(reason);
                        self.connection.closed(times(&self.host));
                    }
                }
            }
            if !any {
                return;
            }
        }
    }

    /// Sends several messages that arrive at once.
    pub fn send_all(&mut self, messages: &[&[u8]]) {
        if self.closed.is_none() {
            let frames = messages.iter().map(|m| BytesMut::from(*m)).collect();
            self.connection.handle_frames(frames, times(&self.host));
        }
        self.settle();
    }

    /// A message that is there already; the clock stands still.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.settle();
        self.out.pop_front()
    }

    /// The socket dies.
    pub fn hang_up(&mut self) {
        self.connection.closed(times(&self.host));
        self.closed.get_or_insert("hung up");
        self.settle();
    }
}

impl Wire for MemoryWire {
    fn send(&mut self, message: &[u8]) {
        self.send_all(&[message]);
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let end = self.host.monotonic() + self.patience;
        loop {
            self.settle();
            if let Some(message) = self.out.pop_front() {
                return Some(message);
            }
            if self.closed.is_some() {
                return None;
            }
            let now = self.host.monotonic();
            let due = [self.connection.poll_timeout(), self.host.next_timer()];
            let next = due.into_iter().flatten().min()?.max(now);
            if next > end {
                return None;
            }
            self.host.advance(next - now);
            self.connection.handle_timeout(times(&self.host));
        }
    }

    fn closed(&mut self) -> bool {
        self.settle();
        self.closed.is_some()
    }
}
