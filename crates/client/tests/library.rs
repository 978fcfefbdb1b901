//! The library over sockets, against our own server: futures that are dropped,
//! connections that are lost, servers that say nothing or nonsense.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod served;

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use countersign_client::{
    Client, ClientBuilder, Connection, Credentials, ErrorKind, Lock, OpenOptions, Signing,
    TransferOptions,
};
use futures_core::Stream;
use served::serve;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

fn builder() -> ClientBuilder {
    Client::builder().credentials(Credentials::password("alice", "Passw0rd!"))
}

async fn connect(address: SocketAddr) -> Connection {
    builder()
        .build()
        .connect(&address.to_string())
        .await
        .unwrap()
}

/// Waits until something holds; ten seconds are enough for anything here.
async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it does not come to hold");
}

/// A way to a server that can be cut.
async fn cuttable(to: SocketAddr) -> (SocketAddr, watch::Sender<u32>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (cut, seen) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut seen = seen.clone();
            seen.mark_unchanged();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    _ = seen.changed() => {}
                }
            });
        }
    });
    (address, cut)
}

#[tokio::test]
async fn a_session_ends_with_its_connection() {
    let test = serve();
    let connection = connect(test.address).await;
    let share = connection.share("share").await.unwrap();
    let file = share.create("x").await.unwrap();
    drop(connection);
    assert_eq!(test.server.registry.list().len(), 1);
    drop(share);
    // The file keeps all of it.
    file.write_at(b"x", 0).await.unwrap();
    drop(file);
    until(|| test.server.registry.list().is_empty()).await;
    let connection = connect(test.address).await;
    connection.close().await.unwrap();
    until(|| test.server.registry.list().is_empty()).await;
}

#[tokio::test]
async fn a_watch_ends_with_the_session_and_says_so() {
    let test = serve();
    for signing in [Signing::Off, Signing::Required] {
        let client = builder().signing(signing).build();
        let connection = client.connect(&test.address.to_string()).await.unwrap();
        let share = connection.share("share").await.unwrap();
        let mut watch = share.watch("", false).await.unwrap();
        share.write("x", b"x").await.unwrap();
        assert!(watch.next_change().await.unwrap().is_some());
        let patience = Duration::from_secs(10);
        let closed = tokio::time::timeout(patience, connection.close()).await;
        closed.expect("closing takes no time").unwrap();
        // As the server ends it, or as LOGOFF does, but never as an attack.
        loop {
            match watch.next_change().await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
                    break;
                }
            }
        }
        let late = share.metadata("x").await.unwrap_err();
        assert!(late.to_string().contains("LOGOFF"), "{late}");
    }
}

#[tokio::test]
async fn dropped_waits_are_cancelled_at_the_server() {
    let test = serve();
    let connection = connect(test.address).await;
    let share = connection.share("share").await.unwrap();
    share.write("x", &[0; 100]).await.unwrap();
    let open = || async {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(&share, "x")
            .await
            .unwrap()
    };
    let (one, two) = (open().await, open().await);
    let lock = Lock {
        offset: 0,
        length: 10,
        exclusive: true,
    };
    one.lock(lock, false).await.unwrap();
    let wait = tokio::time::timeout(Duration::from_millis(200), two.lock(lock, true)).await;
    assert!(wait.is_err());
    one.unlock(0, 10).await.unwrap();
    one.lock(lock, false).await.unwrap();
    // Opens that are dropped on the way leave nothing open.
    for n in 0..30u64 {
        let _ = tokio::time::timeout(Duration::from_micros(n * 30), share.open("x")).await;
    }
    drop((one, two));
    until(|| test.server.files.statistics().opens == 0).await;
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_durable_opens_live_on() {
    let test = serve();
    let (address, cut) = cuttable(test.address).await;
    let connection = connect(address).await;
    let share = connection.share("share").await.unwrap();
    let data: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    share.write("x", &data).await.unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&share, "x")
        .await
        .unwrap();
    assert!(file.granted().durable.is_some());
    cut.send_modify(|n| *n += 1);
    let mut back = vec![0; data.len()];
    assert_eq!(file.read_at(&mut back, 0).await.unwrap(), data.len());
    assert!(back == data);
    // In the middle of a transfer.
    let cutter = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(15)).await;
            cut.send_modify(|n| *n += 1);
        }
    };
    let (written, ()) = tokio::join!(file.write_at(&data, 1_000_000), cutter);
    written.unwrap();
    let mut back = vec![0; data.len()];
    assert_eq!(
        file.read_at(&mut back, 1_000_000).await.unwrap(),
        data.len()
    );
    assert!(back == data);
    file.close().await.unwrap();
    // What was not durable is lost, and says so.
    let plain = OpenOptions::new()
        .read(true)
        .durable(false)
        .open(&share, "x")
        .await
        .unwrap();
    cut.send_modify(|n| *n += 1);
    let mut some = [0; 10];
    let lost = plain.read_at(&mut some, 0).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Disconnected, "{lost}");
    // The share goes on.
    assert_eq!(share.metadata("x").await.unwrap().len(), 4_000_000);
}

#[tokio::test]
async fn without_reconnection_a_lost_connection_stays_lost() {
    let test = serve();
    let (address, cut) = cuttable(test.address).await;
    let client = builder().reconnect(false).build();
    let connection = client.connect(&address.to_string()).await.unwrap();
    let share = connection.share("share").await.unwrap();
    cut.send_modify(|n| *n += 1);
    until(|| !connection.is_connected()).await;
    let lost = share.metadata("").await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Disconnected);
    assert!(lost.to_string().contains("connect again"), "{lost}");
}

#[tokio::test]
async fn silent_and_senseless_servers_are_given_up() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (say, mut said) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let Some(bytes) = said.recv().await else {
                return;
            };
            tokio::spawn(async move {
                let mut some = [0; 1000];
                let _ = client.read(&mut some).await;
                let _ = client.write_all(&bytes).await;
                tokio::time::sleep(Duration::from_secs(5)).await;
            });
        }
    });
    let client = builder()
        .connect_timeout(Duration::from_millis(500))
        .build();
    for (bytes, kind) in [
        (Vec::new(), ErrorKind::TimedOut),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            ErrorKind::Protocol,
        ),
        (vec![0, 0xFF, 0xFF, 0xFF, 0xFE], ErrorKind::Protocol),
        (
            [&[0, 0, 0, 64][..], b"\xFESMB", &[0; 60]].concat(),
            ErrorKind::Protocol,
        ),
    ] {
        say.send(bytes.clone()).await.unwrap();
        let refused = client.connect(&address.to_string()).await.err().unwrap();
        assert_eq!(refused.kind(), kind, "{bytes:?}: {refused}");
    }
    // Nobody is there at all.
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let refused = client.connect(&address.to_string()).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Unreachable, "{refused}");
}

#[tokio::test]
async fn errors_say_what_was_tried_and_what_to_do() {
    let test = serve();
    let wrong = Client::builder()
        .credentials(Credentials::password("alice", "wrong"))
        .build();
    let refused = wrong
        .connect(&test.address.to_string())
        .await
        .err()
        .unwrap();
    assert_eq!(refused.kind(), ErrorKind::LogonFailed);
    let text = refused.to_string();
    assert!(
        text.contains("LOGON_FAILURE") && text.contains("wrong user name or password"),
        "{text}"
    );
    let connection = connect(test.address).await;
    let none = connection.share("none").await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::ShareNotFound, "{none}");
    let share = connection.share("share").await.unwrap();
    let none = share.read("dir/none").await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound);
    assert!(none.to_string().contains(r"share\dir\none"), "{none}");
    // NTLM proves nothing of the server.
    let mutual = builder().require_mutual_authentication(true).build();
    let refused = mutual
        .connect(&test.address.to_string())
        .await
        .err()
        .unwrap();
    assert_eq!(refused.kind(), ErrorKind::Policy, "{refused}");
    // Signing that the server's NTLM guests cannot give is not asked of users.
    let off = builder().signing(Signing::Off).build();
    let connection = off.connect(&test.address.to_string()).await.unwrap();
    assert!(!connection.info().signed);
}

#[tokio::test]
async fn listings_are_streams_and_transfers_tell_how_far_they_are() {
    let test = serve();
    let connection = connect(test.address).await;
    let share = connection.share("share").await.unwrap();
    for n in 0..1500 {
        share.write(&format!("file-{n}"), b"x").await.unwrap();
    }
    let mut listing = share.read_dir("").await.unwrap();
    let mut names = std::collections::HashSet::new();
    loop {
        let next = std::future::poll_fn(|cx| Pin::new(&mut listing).poll_next(cx)).await;
        match next {
            Some(entry) => assert!(names.insert(entry.unwrap().file_name().to_owned())),
            None => break,
        }
    }
    assert!(names.len() >= 1500, "{}", names.len());
    // Ended is ended.
    let again = std::future::poll_fn(|cx| match Pin::new(&mut listing).poll_next(cx) {
        Poll::Ready(next) => Poll::Ready(next.is_none()),
        Poll::Pending => Poll::Pending,
    });
    assert!(again.await);

    let data: Vec<u8> = (0..7_000_000u32).map(|n| (n % 253) as u8).collect();
    let last = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&last);
    let options = TransferOptions::new().progress(move |progress| {
        let before = told.swap(progress.done, Ordering::Relaxed);
        assert!(progress.done >= before, "progress goes on");
    });
    let sent = share
        .upload(&mut data.as_slice(), "big", &options)
        .await
        .unwrap();
    assert_eq!(sent, 7_000_000);
    assert_eq!(last.swap(0, Ordering::Relaxed), 7_000_000);
    let mut back = Vec::new();
    share.download("big", &mut back, &options).await.unwrap();
    assert!(back == data);
    assert_eq!(last.load(Ordering::Relaxed), 7_000_000);
    let mut tail = Vec::new();
    let from = TransferOptions::new().offset(6_999_990);
    assert_eq!(share.download("big", &mut tail, &from).await.unwrap(), 10);
    assert_eq!(tail, data[6_999_990..]);
}
