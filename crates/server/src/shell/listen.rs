//! Listeners.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use countersign_core::Transport;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{State, connection};

/// An address to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// How peers speak there.
    pub transport: Transport,
}

impl Listen {
    /// Direct TCP, or the NetBIOS session service for port 139.
    pub fn new(address: SocketAddr) -> Self {
        let transport = if address.port() == 139 {
            Transport::NetBios
        } else {
            Transport::Tcp
        };
        Self { address, transport }
    }

    pub(crate) fn bind(&self) -> Result<TcpListener, ListenError> {
        self.socket().map_err(|source| ListenError {
            address: self.address,
            source,
        })
    }

    fn socket(&self) -> io::Result<TcpListener> {
        let socket = Socket::new(
            Domain::for_address(self.address),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )?;
        if self.address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.bind(&self.address.into())?;
        socket.listen(1024)?;
        TcpListener::from_std(socket.into())
    }
}

/// An address that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the operating system said.
    pub source: io::Error,
}

/// Accepts until stopped.
pub(crate) async fn accept(
    state: Arc<State>,
    listener: TcpListener,
    transport: Transport,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopped.changed() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let Some(seat) = state.enter(address.ip()) else {
                    // One line for many: whoever floods us must not fill the log.
                    if state.may_complain() {
                        let refused = state.refused.load(Ordering::Relaxed);
                        tracing::warn!(%address, refused, "connection refused: too many connections");
                    }
                    continue;
                };
                if let Err(error) = prepare(&stream, state.limits.keep_alive) {
                    tracing::debug!(%address, %error, "socket options");
                }
                tokio::spawn(connection::run(
                    Arc::clone(&state),
                    seat,
                    stream,
                    address,
                    transport,
                ));
            }
            Err(error) => {
                // Out of file descriptors, or the peer went away meanwhile: wait a
                // little rather than turn in a circle.
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn prepare(stream: &TcpStream, idle: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let probe = TcpKeepalive::new().with_time(idle).with_interval(idle / 4);
    SockRef::from(stream).set_tcp_keepalive(&probe)
}
