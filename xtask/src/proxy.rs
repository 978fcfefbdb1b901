//! A man in the middle on loopback: sees every frame, may change, drop, repeat
//! or add some.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::Res;

/// Largest frame taken; SMB2's largest write is 8 MiB.
const MAX_FRAME: usize = 0x00FF_FFFF;

/// Who sent a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Client,
    Server,
}

/// What becomes of a frame (without its length): the frames to send instead.
/// Gives whether anything was altered.
pub(crate) trait Tamper: Send {
    fn frame(&mut self, from: From, frame: Vec<u8>) -> (Vec<Vec<u8>>, bool);

    /// One side ended the connection: frames to send in its place before the other
    /// side is told.
    fn ended(&mut self, _from: From) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// Frames to send back to who sent the last one.
    fn answers(&mut self) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

/// A running proxy; ends when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// Where clients come to.
    pub(crate) address: SocketAddr,
    altered: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) fn start(target: u16, tamper: Box<dyn Tamper>) -> Res<Self> {
        Self::before(SocketAddr::from(([127, 0, 0, 1], target)), tamper)
    }

    /// In front of a server anywhere.
    pub(crate) fn before(target: SocketAddr, tamper: Box<dyn Tamper>) -> Res<Self> {
        Self::between(SocketAddr::from(([127, 0, 0, 1], 0)), target, tamper)
    }

    /// Waiting for clients here, in front of a server anywhere.
    pub(crate) fn between(
        listen: SocketAddr,
        target: SocketAddr,
        tamper: Box<dyn Tamper>,
    ) -> Res<Self> {
        let listener = bind(listen)?;
        let address = listener.local_addr().map_err(|e| e.to_string())?;
        let port = address.port();
        let (altered, end) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let tamper = Arc::new(Mutex::new(tamper));
        let (counter, over) = (Arc::clone(&altered), Arc::clone(&end));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let Ok(server) = TcpStream::connect(target) else {
                    continue;
                };
                let (Ok(c2), Ok(s2)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                let (t1, t2) = (Arc::clone(&tamper), Arc::clone(&tamper));
                let (n1, n2) = (Arc::clone(&counter), Arc::clone(&counter));
                std::thread::spawn(move || relay(client, server, From::Client, &t1, &n1));
                std::thread::spawn(move || relay(s2, c2, From::Server, &t2, &n2));
            }
        });
        Ok(Self {
            port,
            address,
            altered,
            end,
        })
    }

    /// Frames altered, dropped or added so far.
    pub(crate) fn altered(&self) -> u64 {
        self.altered.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let mut own = self.address;
        if own.ip().is_unspecified() {
            own.set_ip(match own.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let _ = TcpStream::connect(own);
    }
}

/// The proxy before may still be closing its own.
fn bind(at: SocketAddr) -> Res<TcpListener> {
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        match TcpListener::bind(at) {
            Ok(listener) => return Ok(listener),
            Err(error) if Instant::now() > end => return Err(format!("{at}: {error}")),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn relay(
    mut from: TcpStream,
    mut to: TcpStream,
    who: From,
    tamper: &Mutex<Box<dyn Tamper>>,
    altered: &AtomicU64,
) {
    let _ = from.set_read_timeout(Some(Duration::from_secs(120)));
    while let Some(frame) = read_frame(&mut from) {
        let (frames, changed, back) = match tamper.lock() {
            Ok(mut t) => {
                let (frames, changed) = t.frame(who, frame);
                (frames, changed, t.answers())
            }
            Err(_) => break,
        };
        if changed {
            altered.fetch_add(1, Ordering::Relaxed);
        }
        if to.write_all(&framed(&frames)).is_err() || from.write_all(&framed(&back)).is_err() {
            break;
        }
    }
    let last = tamper.lock().map(|mut t| t.ended(who)).unwrap_or_default();
    if !last.is_empty() && to.write_all(&framed(&last)).is_ok() {
        altered.fetch_add(1, Ordering::Relaxed);
        // Time to act upon them.
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn framed(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap_or(0);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(frame);
    }
    out
}

fn read_frame(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut header = [0u8; 4];
    from.read_exact(&mut header).ok()?;
    let length = usize::try_from(u32::from_be_bytes(header) & 0x00FF_FFFF).ok()?;
    if length > MAX_FRAME {
        return None;
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame).ok()?;
    Some(frame)
}
