//! The shell over real sockets: framing, limits, the end of connections.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_core::{Server, ServerConfig, Transport};
use countersign_fs::{Backend, FileService};
use countersign_localfs::{LocalFs, LocalOptions};
use countersign_policy::{Effective, Setting, Settings, Value};
use countersign_server::shell::{Listen, Shell, ShellLimits, TokioHost};
use countersign_testkit::smb2::{Client, Logon, Offer};
use countersign_testkit::wire::{TcpWire, Wire};
use countersign_wire::NtStatus;
use countersign_wire::smb2::Command;
use tokio::runtime::Runtime;

/// No wait in these tests is longer.
const PATIENCE: Duration = Duration::from_secs(10);

struct Served {
    shell: Shell,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

fn loopback(transport: Transport) -> Listen {
    Listen {
        address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
        transport,
    }
}

fn serve_on(listen: &[Listen], change: impl FnOnce(&mut ServerConfig, &mut ShellLimits)) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let backend: Arc<dyn Backend> = LocalFs::open(folder.path(), LocalOptions::default()).unwrap();
    let mut config = countersign_testkit::memory::config(Settings::default(), &backend);
    let mut limits = ShellLimits::default();
    change(&mut config, &mut limits);
    let runtime = Runtime::new().unwrap();
    let shell = runtime.block_on(async {
        let host = Arc::new(TokioHost::current());
        let files = FileService::new(Arc::clone(&host) as _);
        Shell::start(Server::new(config, files, host), listen, limits).unwrap()
    });
    Served {
        shell,
        runtime,
        _folder: folder,
    }
}

fn serve(change: impl FnOnce(&mut ServerConfig, &mut ShellLimits)) -> Served {
    serve_on(&[loopback(Transport::Tcp)], change)
}

impl Served {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.shell.addresses()[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn client(&self) -> Client<TcpWire> {
        Client::new(TcpWire::connect(self.shell.addresses()[0], PATIENCE).unwrap())
    }

    fn logged_on(&self) -> Client<TcpWire> {
        let mut client = self.client();
        assert_eq!(
            client.negotiate(Offer::dialect(0x0311)).unwrap().status(),
            NtStatus::SUCCESS
        );
        let reply = client.logon(&Logon::new("alice", "Passw0rd!")).unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        client
    }

    /// Waits until so many connections are left.
    fn until_connections(&self, n: usize) {
        let started = Instant::now();
        while self.shell.connections() != n {
            assert!(
                started.elapsed() < PATIENCE,
                "{} connections",
                self.shell.connections()
            );
            std::thread::yield_now();
        }
    }
}

/// Everything until the peer closes; a reset counts as the end.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut out = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return out,
            Ok(n) => out.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return out,
            Err(e) => panic!("the connection stays open: {e}"),
        }
    }
}

/// A frame with an SMB2 NEGOTIATE for 2.0.2.
fn negotiate() -> Vec<u8> {
    let mut message = b"\xFESMB\x40\0".to_vec();
    message.resize(64, 0);
    message.extend_from_slice(&[36, 0, 1, 0, 1, 0]);
    message.resize(64 + 36, 0);
    message.extend_from_slice(&[0x02, 0x02]);
    let mut frame = u32::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(&message);
    frame
}

fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    let mut message = vec![0; u32::from_be_bytes(head) as usize & 0x00FF_FFFF];
    stream.read_exact(&mut message).unwrap();
    message
}

#[test]
fn every_dialect_over_several_listeners() {
    let v6 = Listen {
        address: SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0),
        transport: Transport::Tcp,
    };
    let served = serve_on(&[loopback(Transport::Tcp), v6], |_, _| {});
    assert_eq!(served.shell.addresses().len(), 2);
    for address in served.shell.addresses() {
        assert_ne!(address.port(), 0);
        for dialect in [0x0202, 0x0210, 0x0300, 0x0302, 0x0311] {
            let mut client = Client::new(TcpWire::connect(*address, PATIENCE).unwrap());
            client.negotiate(Offer::dialect(dialect)).unwrap();
            assert_eq!(client.dialect, dialect);
            let reply = client.logon(&Logon::new("alice", "Passw0rd!")).unwrap();
            assert_eq!(reply.status(), NtStatus::SUCCESS, "{dialect:#x} {address}");
            let reply = client.tree_connect(r"\\server\share").unwrap();
            assert_eq!(reply.status(), NtStatus::SUCCESS, "{dialect:#x} {address}");
            // One client (by its GUID) speaks one dialect at a time.
            drop(client);
            served.until_connections(0);
        }
    }
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    let served = serve(|_, _| {});
    let taken = Listen {
        address: served.shell.addresses()[0],
        transport: Transport::Tcp,
    };
    let server = Arc::clone(served.shell.server());
    let error = served
        .runtime
        .block_on(async { Shell::start(server, &[taken], ShellLimits::default()) });
    let text = error.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains(&taken.address.to_string()), "{text}");
}

#[test]
fn a_frame_in_single_bytes_is_a_frame() {
    let served = serve(|_, _| {});
    let mut stream = served.connect();
    stream.set_nodelay(true).unwrap();
    for byte in negotiate() {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(&read_frame(&mut stream)[..4], b"\xFESMB");
}

#[test]
fn frames_that_arrive_together_are_all_answered_in_order() {
    let served = serve(|_, _| {});
    let mut client = served.logged_on();
    for _ in 0..200 {
        let header = client.header(Command::ECHO);
        let echo = Client::<TcpWire>::message(&header, |w| w.bytes(&[4, 0, 0, 0]));
        client.send(echo);
        if client.message_id % 40 == 0 {
            // Credits: not more in flight than were given.
            while client.message_id > 0 {
                let reply = client.reply().unwrap();
                assert_eq!(reply.status(), NtStatus::SUCCESS);
                if reply.header.message_id + 1 == client.message_id {
                    break;
                }
            }
        }
    }
}

#[test]
fn an_over_long_frame_is_refused_by_its_header() {
    let served = serve(|config, _| config.limits.first_frames = 1000);
    let mut stream = served.connect();
    // Only the header is ever sent: the refusal needs no more.
    stream.write_all(&1001_u32.to_be_bytes()).unwrap();
    assert_eq!(rest(&mut stream), b"");
    served.until_connections(0);
    // Once there is a session, the same length is fine.
    let mut client = served.logged_on();
    let header = client.header(Command::ECHO);
    let echo = Client::<TcpWire>::message(&header, |w| w.bytes(&[4, 0, 0, 0].repeat(300)));
    client.send(echo);
    assert!(client.reply().is_some());
}

#[test]
fn what_is_no_smb_ends_the_connection() {
    let served = serve(|_, _| {});
    for start in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\0\0\0\x04ABCD",
        b"\x81\0\0\0",
        b"\0\0\0\0",
    ] {
        let mut stream = served.connect();
        stream.write_all(start).unwrap();
        assert_eq!(rest(&mut stream), b"", "{start:?}");
    }
    served.until_connections(0);
}

/// [RFC 1002] 4.3.1 with an encoded name.
fn session_request(called: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0, 0, 68];
    for name in [called, "CLIENT"] {
        frame.push(32);
        for byte in format!("{name:<15}\0").bytes().take(16) {
            let byte = if byte == 0 { 0x20 } else { byte };
            frame.extend_from_slice(&[b'A' + (byte >> 4), b'A' + (byte & 15)]);
        }
        frame.push(0);
    }
    frame
}

#[test]
fn the_netbios_session_service() {
    let served = serve_on(&[loopback(Transport::NetBios)], |_, limits| {
        limits.session_request = Duration::from_secs(1);
    });
    for name in ["*SMBSERVER", "*SMBSERV", "MEMORY"] {
        let mut stream = served.connect();
        stream.write_all(&session_request(name)).unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0x82, 0, 0, 0], "{name}");
        // A keep-alive, then the first message.
        stream.write_all(&[0x85, 0, 0, 0]).unwrap();
        stream.write_all(&negotiate()).unwrap();
        assert_eq!(&read_frame(&mut stream)[..4], b"\xFESMB", "{name}");
        // A second request is out of place.
        stream.write_all(&session_request(name)).unwrap();
        assert_eq!(rest(&mut stream), b"");
    }
    let mut stream = served.connect();
    stream.write_all(&session_request("ELSEWHERE")).unwrap();
    assert_eq!(rest(&mut stream), [0x83, 0, 0, 1, 0x82]);
    // A message without a session request, and none at all.
    let mut stream = served.connect();
    stream.write_all(&negotiate()).unwrap();
    assert_eq!(rest(&mut stream), b"");
    let started = Instant::now();
    assert_eq!(rest(&mut served.connect()), b"");
    assert!(started.elapsed() >= Duration::from_secs(1));
    served.until_connections(0);
}

#[test]
fn who_stalls_in_a_frame_is_cut_off() {
    let served = serve(|_, limits| limits.stalled_frame = Duration::from_millis(200));
    let mut stream = served.connect();
    let started = Instant::now();
    stream.write_all(&negotiate()[..20]).unwrap();
    assert_eq!(rest(&mut stream), b"");
    assert!(started.elapsed() >= Duration::from_millis(200));
    served.until_connections(0);
}

#[test]
fn who_never_logs_on_is_cut_off() {
    let served = serve(|config, _| config.limits.unauthenticated = Duration::from_secs(1));
    let mut with_session = served.logged_on();
    let started = Instant::now();
    let mut silent = served.connect();
    let mut client = served.client();
    client.negotiate(Offer::dialect(0x0302)).unwrap();
    assert_eq!(rest(&mut silent), b"");
    assert!(client.wire.closed());
    assert!(started.elapsed() >= Duration::from_secs(1));
    let reply = with_session
        .call(Command::ECHO, |w| w.bytes(&[4, 0, 0, 0]))
        .unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
}

/// A peer with a small window that can stop listening.
struct Deaf(TcpStream);

impl Wire for Deaf {
    fn send(&mut self, message: &[u8]) {
        let mut frame = u32::try_from(message.len()).unwrap().to_be_bytes().to_vec();
        frame.extend_from_slice(message);
        // Once the server no longer reads, nothing goes through.
        let _ = self.0.write_all(&frame);
    }
    fn receive(&mut self) -> Option<Vec<u8>> {
        Some(read_frame(&mut self.0))
    }
    fn closed(&mut self) -> bool {
        false
    }
}

#[test]
fn who_does_not_read_is_cut_off() {
    let served = serve(|_, limits| {
        limits.queued_output = 64 << 10;
        limits.stalled_output = Duration::from_millis(300);
    });
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&served.shell.addresses()[0].into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .set_write_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let mut client = Client::new(Deaf(stream));
    client.negotiate(Offer::dialect(0x0311)).unwrap();
    client.logon(&Logon::new("alice", "Passw0rd!")).unwrap();
    let started = Instant::now();
    let mut sent = 0;
    while served.shell.connections() > 0 {
        assert!(
            started.elapsed() < PATIENCE,
            "{sent} requests and still there"
        );
        let header = client.header(Command::ECHO);
        client.send(Client::<Deaf>::message(&header, |w| w.bytes(&[4, 0, 0, 0])));
        sent += 1;
    }
    // It was not for a few replies that the connection ended.
    assert!(sent * 72 > 64 << 10, "{sent} requests");
}

#[test]
fn limits_of_connections() {
    let served = serve(|_, limits| {
        limits.connections = 3;
        limits.connections_per_address = 2;
    });
    let first = served.connect();
    let second = served.connect();
    served.until_connections(2);
    assert_eq!(rest(&mut served.connect()), b"");
    assert_eq!(served.shell.refused(), 1);
    drop(first);
    served.until_connections(1);
    let mut third = served.connect();
    third.write_all(&negotiate()).unwrap();
    assert_eq!(&read_frame(&mut third)[..4], b"\xFESMB");
    drop((second, third));
    served.until_connections(0);
    // Another address has its own count, within the total.
    let elsewhere = |last: u8| {
        let from: SocketAddr = (IpAddr::from([127, 0, 0, last]), 0).into();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("socket");
        socket.bind(&from.into()).unwrap();
        socket.connect(&served.shell.addresses()[0].into()).unwrap();
        TcpStream::from(socket)
    };
    let held = [elsewhere(2), elsewhere(2), elsewhere(3)];
    served.until_connections(3);
    let mut fourth = elsewhere(4);
    fourth.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(rest(&mut fourth), b"");
    assert_eq!(served.shell.refused(), 2);
    drop(held);
}

#[test]
fn a_change_of_policy_reaches_live_sessions() {
    let served = serve(|_, _| {});
    let mut unsigned = served.logged_on();
    unsigned.session().sign = false;
    let mut idle = served.client();
    idle.negotiate(Offer::dialect(0x0311)).unwrap();
    let mut config = ServerConfig::clone(&served.shell.server().config.load());
    let always = Settings::default().with(Setting::ServerAlways, Value::Enabled);
    config.policy = Arc::new(Effective::of(always));
    let outcome = served.runtime.block_on(served.shell.apply(config));
    assert_eq!((outcome.satisfied, outcome.kept, outcome.ended), (0, 0, 1));
    // The one without a session logs on under the new policy.
    let reply = idle.logon(&Logon::new("alice", "Passw0rd!")).unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
}

#[test]
fn stopping_ends_connections_and_frees_the_addresses() {
    let served = serve(|_, _| {});
    let address = served.shell.addresses()[0];
    let mut client = served.logged_on();
    let mut idle = served.connect();
    served.until_connections(2);
    served.runtime.block_on(served.shell.stop(PATIENCE));
    assert_eq!(served.shell.connections(), 0);
    assert!(client.wire.closed());
    assert_eq!(rest(&mut idle), b"");
    assert!(TcpStream::connect(address).is_err());
    assert!(served.shell.server().registry.list().is_empty());
}
