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
use countersign_fs::call::Job;
use countersign_fs::{Backend, FileService, Host, Share, ShareOptions};
use countersign_policy::{Effective, Settings};
use countersign_wire::FileTime;
use parking_lot::Mutex;

use crate::wire::Wire;

/// A clock that stands until a test moves it, and a queue for work and timers.
#[derive(Default)]
pub struct TestHost {
    state: Mutex<HostState>,
}

#[derive(Default)]
struct HostState {
    time: Duration,
    jobs: VecDeque<Job>,
    timers: Vec<(Duration, Job)>,
    random: u64,
}

impl TestHost {
    /// Runs offloaded jobs and due timers until there are none.
    pub fn run(&self) -> bool {
        let mut any = false;
        loop {
            let job = {
                let mut s = self.state.lock();
                let now = s.time;
                let due = s.timers.iter().position(|(at, _)| *at <= now);
                match s.jobs.pop_front() {
                    Some(job) => Some(job),
                    None => due.map(|i| s.timers.swap_remove(i).1),
                }
            };
            let Some(job) = job else { return any };
            job();
            any = true;
        }
    }

    /// When the next timer is due.
    pub fn next_timer(&self) -> Option<Duration> {
        self.state.lock().timers.iter().map(|(at, _)| *at).min()
    }

    /// Moves the clock.
    pub fn advance(&self, by: Duration) {
        self.state.lock().time += by;
    }

    /// Both clocks.
    pub fn now_both(&self) -> Now {
        Now { wall: self.now(), monotonic: self.monotonic() }
    }
}

impl Host for TestHost {
    fn now(&self) -> FileTime {
        let t = self.state.lock().time;
        FileTime::from_unix(1_800_000_000 + i64::try_from(t.as_secs()).unwrap_or(0), t.subsec_nanos())
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().time
    }

    fn offload(&self, job: Job) {
        self.state.lock().jobs.push_back(job);
    }

    fn after(&self, delay: Duration, job: Job) {
        let mut s = self.state.lock();
        let at = s.time + delay;
        s.timers.push((at, job));
    }

    /// Not random: the same on every run.
    fn random(&self, out: &mut [u8]) {
        let mut s = self.state.lock();
        for b in out {
            s.random = s.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *b = s.random.to_be_bytes()[1];
        }
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
        users.add(name, NtHash::from_password(password), &[]).expect("user");
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
        rules: NtlmRules { anonymous: true, guest: GuestRule::Never, ..NtlmRules::default() },
        ..AuthConfig::default()
    };
    ServerConfig {
        smb1: false,
        min_dialect: Dialect::Smb202,
        max_dialect: Dialect::Smb311,
        policy: Arc::new(Effective::of(settings)),
        signing_algorithms: vec![
            SigningAlgorithm::AesGmac,
            SigningAlgorithm::AesCmac,
            SigningAlgorithm::HmacSha256,
        ],
        ciphers: vec![Cipher::Aes128Gcm, Cipher::Aes128Ccm, Cipher::Aes256Gcm, Cipher::Aes256Ccm],
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
        let host = Arc::new(TestHost::default());
        let files = FileService::new(Arc::clone(&host) as _);
        Self { server: Server::new(config, files, Arc::clone(&host) as _), host }
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
        let now = self.host.now_both();
        MemoryWire {
            connection: Connection::new(Arc::clone(&self.server), peer, Arc::clone(&mail) as _, now),
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
            let mut any = self.host.run();
            loop {
                let Some(signal) = self.mail.0.lock().pop_front() else { break };
                any = true;
                if self.closed.is_none() {
                    self.connection.handle_signal(signal, self.host.now_both());
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
                        self.connection.closed(self.host.now_both());
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
            self.connection.handle_frames(frames, self.host.now_both());
        }
        self.settle();
    }

    /// The socket dies.
    pub fn hang_up(&mut self) {
        self.connection.closed(self.host.now_both());
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
            self.connection.handle_timeout(self.host.now_both());
        }
    }

    fn closed(&mut self) -> bool {
        self.settle();
        self.closed.is_some()
    }
}
