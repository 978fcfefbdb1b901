//! How a scripted client reaches its server: in memory, or over TCP to any server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Moves whole messages without their transport header.
pub trait Wire {
    /// Sends a message.
    fn send(&mut self, message: &[u8]);
    /// The next message; `None` when the server closed the connection or is silent.
    fn receive(&mut self) -> Option<Vec<u8>>;
    /// Whether the server has closed the connection (after reading what was sent).
    fn closed(&mut self) -> bool;
}

/// Over TCP: another server can be the subject of the same script.
pub struct TcpWire {
    stream: TcpStream,
    gone: bool,
}

impl TcpWire {
    /// Connects; a silence of `patience` counts as no answer.
    ///
    /// # Errors
    /// The connection cannot be made.
    pub fn connect(address: SocketAddr, patience: Duration) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            gone: false,
        })
    }
}

impl Wire for TcpWire {
    fn send(&mut self, message: &[u8]) {
        let length = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
        let frame = [&length, message].concat();
        if self.stream.write_all(&frame).is_err() {
            self.gone = true;
        }
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut head = [0; 4];
        if let Err(e) = self.stream.read_exact(&mut head) {
            let silent = matches!(
                e.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            );
            self.gone |= !silent;
            return None;
        }
        let mut message = vec![0; usize::try_from(u32::from_be_bytes(head)).ok()? & 0x00FF_FFFF];
        self.stream.read_exact(&mut message).ok()?;
        Some(message)
    }

    fn closed(&mut self) -> bool {
        if !self.gone {
            let _ = self.receive();
        }
        self.gone
    }
}
