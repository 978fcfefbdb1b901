//! The tokio shell: sockets in, sockets out. It frames bytes, moves them between
//! the socket and the engine, and keeps the limits of the transport; what a
//! message means is the engine's business.

mod connection;
mod files;
mod host;
mod intake;
mod limits;
mod listen;
mod mailbox;
mod name_service;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_core::{PolicyOutcome, Server, ServerConfig};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use files::raise_file_limit;
pub use host::TokioHost;
pub use limits::ShellLimits;
pub use listen::{Listen, ListenError};
pub use name_service::NameService;

use mailbox::{Item, Post};

/// A running server: its listeners and connections.
pub struct Shell {
    server: Arc<Server>,
    state: Arc<State>,
    bound: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Option<JoinSet<()>>>,
}

/// What listeners and connections share.
pub(crate) struct State {
    pub(crate) server: Arc<Server>,
    pub(crate) limits: ShellLimits,
    /// Mailboxes of the live connections, by a number of the shell's own.
    connections: Mutex<Connections>,
    next: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// Second of the monotonic clock in which a refusal was last logged.
    complained: AtomicU64,
}

#[derive(Default)]
struct Connections {
    all: HashMap<u64, Arc<Post>>,
    by_address: HashMap<IpAddr, usize>,
}

impl State {
    /// Whether a refusal may be logged: once a second.
    pub(crate) fn may_complain(&self) -> bool {
        let second = self.server.host.monotonic().as_secs();
        self.complained.swap(second, Ordering::Relaxed) != second
    }

    /// Enters a connection, unless a limit is reached.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let mut connections = self.connections.lock();
        let here = connections.by_address.get(&address).copied().unwrap_or(0);
        if connections.all.len() >= self.limits.connections
            || here >= self.limits.connections_per_address
        {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let post = Arc::new(Post::default());
        connections.all.insert(id, Arc::clone(&post));
        connections
            .by_address
            .insert(address, here.saturating_add(1));
        Some(Seat {
            state: Arc::clone(self),
            id,
            address,
            post,
        })
    }
}

/// A connection's place in the table; given back when dropped.
pub(crate) struct Seat {
    state: Arc<State>,
    id: u64,
    address: IpAddr,
    pub(crate) post: Arc<Post>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut connections = self.state.connections.lock();
        connections.all.remove(&self.id);
        if let Some(n) = connections.by_address.get_mut(&self.address) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                connections.by_address.remove(&self.address);
            }
        }
    }
}

impl Shell {
    /// Binds all listeners and begins to serve. Must be called inside a tokio
    /// runtime. Either all addresses are bound or none is served.
    ///
    /// # Errors
    /// [`ListenError`] names the address that could not be bound.
    pub fn start(
        server: Arc<Server>,
        listen: &[Listen],
        limits: ShellLimits,
    ) -> Result<Self, ListenError> {
        let mut sockets = Vec::new();
        for l in listen {
            sockets.push((l.bind()?, l.transport));
        }
        let bound = sockets
            .iter()
            .filter_map(|(s, _)| s.local_addr().ok())
            .collect();
        let state = Arc::new(State {
            server: Arc::clone(&server),
            limits,
            connections: Mutex::new(Connections::default()),
            next: AtomicU64::new(1),
            refused: AtomicU64::new(0),
            complained: AtomicU64::new(u64::MAX),
        });
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for (socket, transport) in sockets {
            tasks.spawn(listen::accept(
                Arc::clone(&state),
                socket,
                transport,
                stopped.clone(),
            ));
        }
        Ok(Self {
            server,
            state,
            bound,
            stop,
            tasks: Mutex::new(Some(tasks)),
        })
    }

    /// The addresses served, in the order asked for, with real port numbers.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.bound
    }

    /// The engine.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Connections at the moment.
    pub fn connections(&self) -> usize {
        self.state.connections.lock().all.len()
    }

    /// Connections refused because a limit was reached.
    pub fn refused(&self) -> u64 {
        self.state.refused.load(Ordering::Relaxed)
    }

    /// Puts a new configuration in force: at once for new connections and
    /// requests; each live connection then compares its sessions with the new
    /// policy. Gives the sum over all connections, those that do not answer
    /// within `limits.policy_answer` left out.
    pub async fn apply(&self, config: ServerConfig) -> PolicyOutcome {
        self.server.config.store(Arc::new(config));
        let (answer, mut answers) = mpsc::unbounded_channel();
        {
            let connections = self.state.connections.lock();
            for post in connections.all.values() {
                post.push(Item::ApplyPolicy(answer.clone()));
            }
        }
        drop(answer);
        let mut sum = PolicyOutcome::default();
        let collect = async {
            while let Some(one) = answers.recv().await {
                let one: PolicyOutcome = one;
                sum.satisfied = sum.satisfied.saturating_add(one.satisfied);
                sum.kept = sum.kept.saturating_add(one.kept);
                sum.ended = sum.ended.saturating_add(one.ended);
            }
        };
        if tokio::time::timeout(self.state.limits.policy_answer, collect)
            .await
            .is_err()
        {
            tracing::warn!("not every connection answered to the change of policy in time");
        }
        sum
    }

    /// Stops accepting, closes every connection after what is being sent, and
    /// returns when all are gone or `patience` is over.
    pub async fn stop(&self, patience: Duration) {
        let _ = self.stop.send(true);
        for post in self.state.connections.lock().all.values() {
            post.push(Item::Stop);
        }
        let tasks = self.tasks.lock().take();
        if let Some(mut tasks) = tasks {
            let all = async { while tasks.join_next().await.is_some() {} };
            if tokio::time::timeout(patience, all).await.is_err() {
                tracing::warn!("listeners did not end in time");
            }
        }
        let deadline = tokio::time::Instant::now() + patience;
        while self.connections() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
