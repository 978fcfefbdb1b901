//! The scanner before hosts that are no SMB servers: silent, garbled, slow, endless.
#![allow(clippy::unwrap_used)] // a test's way to fail

use std::future::pending;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use countersign_scan::target::Targets;
use countersign_scan::{End, HostReport, Options, ScanError, scan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long the scanner waits for an answer here.
const PATIENCE: Duration = Duration::from_millis(300);

fn options() -> Options {
    Options {
        timeout: PATIENCE,
        ..Options::default()
    }
}

fn targets(of: &[String]) -> Targets {
    let mut targets = Targets::new(445, 1000);
    for one in of {
        targets.add(one).unwrap();
    }
    targets
}

/// A host that does the same with every connection.
async fn host<F, R>(mut act: F) -> SocketAddr
where
    F: FnMut(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(act(stream));
        }
    });
    address
}

/// What the scanner says of one host, and how long it took.
async fn ask(address: SocketAddr, options: Options) -> (HostReport, Duration) {
    let begun = Instant::now();
    let mut reports = Vec::new();
    let targets = targets(&[address.to_string()]);
    let end = scan(
        targets,
        options,
        pending(),
        |_, _| {},
        |report| {
            reports.push(report);
            ControlFlow::Continue(())
        },
    );
    let end = end.await.unwrap();
    assert_eq!(
        end,
        End {
            reported: 1,
            stopped: false
        }
    );
    (reports.pop().unwrap(), begun.elapsed())
}

/// A frame of an SMB2 response with a status and nothing behind it.
fn response(status: u32, message_id: u8) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 64, 0xFE, b'S', b'M', b'B', 64, 0, 0, 0];
    out.extend(status.to_le_bytes());
    out.extend([0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, message_id]);
    out.resize(68, 0);
    out
}

#[tokio::test]
async fn nobody_is_there() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let (report, _) = ask(address, options()).await;
    assert_eq!(report.error.as_deref(), Some("connection refused"));
    assert_eq!(report.port, address.port());
    assert!(report.dialects.is_empty());
}

#[tokio::test]
async fn one_that_never_answers() {
    let address = host(|stream| async move {
        let _kept = stream;
        pending::<()>().await;
    });
    let (report, took) = ask(address.await, options()).await;
    let error = report.error.unwrap();
    assert!(error.contains("no answer in time"), "{error}");
    // Two questions, and no more.
    assert!(took < PATIENCE * 5, "{took:?}");
}

#[tokio::test]
async fn one_that_answers_rubbish() {
    for rubbish in [
        b"SSH-2.0-OpenSSH_9.2\r\n".as_slice(),
        b"HTTP/1.0 400 Bad Request\r\n\r\n",
        b"\0\0\0\x04abcd",
        b"\0\0\0\0",
        b"\0\0\0\x20\xFFSMB\x72",
        b"\0\0\0\x44\xFESMB",
        b"\0\xFF\xFF\xFF\xFESMB",
    ] {
        let address = host(move |mut stream| async move {
            let _ = stream.write_all(rubbish).await;
            let mut all = [0; 512];
            while stream.read(&mut all).await.is_ok_and(|n| n > 0) {}
        });
        let (report, took) = ask(address.await, options()).await;
        let error = report.error.unwrap();
        assert!(error.contains("speaks no SMB"), "{rubbish:?}: {error}");
        assert!(took < PATIENCE * 5, "{rubbish:?}: {took:?}");
    }
}

#[tokio::test]
async fn one_that_closes() {
    let address = host(|stream| async move { drop(stream) });
    let (report, _) = ask(address.await, options()).await;
    assert_eq!(
        report.error.as_deref(),
        Some("it takes connections, but speaks no SMB")
    );
    // In the middle of a frame.
    let address = host(|mut stream| async move {
        let _ = stream.write_all(b"\0\0\0\x80\xFESMB").await;
    });
    let (report, _) = ask(address.await, options()).await;
    assert!(report.error.is_some());
}

#[tokio::test]
async fn one_that_dribbles() {
    // A byte every now and then, each well within the patience.
    let address = host(|mut stream| async move {
        let frame = response(0, 0);
        for byte in frame {
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(PATIENCE / 8).await;
        }
    });
    let (report, took) = ask(address.await, options()).await;
    assert!(report.error.unwrap().contains("no answer in time"));
    assert!(took < PATIENCE * 5, "{took:?}");
}

#[tokio::test]
async fn one_that_never_ends() {
    // Frames without end, of which none is the answer: keep-alives, and interim answers.
    for frame in [vec![0x85, 0, 0, 0], response(0x0000_0103, 0)] {
        let address = host(move |mut stream| {
            let many = frame.repeat(100);
            async move { while stream.write_all(&many).await.is_ok() {} }
        });
        let (report, took) = ask(address.await, options()).await;
        let error = report.error.unwrap();
        assert!(error.contains("speaks no SMB"), "{error}");
        assert!(took < PATIENCE * 9, "{took:?}");
    }
}

#[tokio::test]
async fn all_of_a_host_has_a_limit() {
    let address = host(|stream| async move {
        let _kept = stream;
        pending::<()>().await;
    });
    let (report, took) = ask(
        address.await,
        Options {
            timeout: Duration::from_secs(20),
            host_timeout: PATIENCE,
            ..Options::default()
        },
    )
    .await;
    assert_eq!(report.error.as_deref(), Some("not finished within 0.3 s"));
    assert!(took < PATIENCE * 5, "{took:?}");
}

#[tokio::test]
async fn reports_come_in_the_order_of_the_targets() {
    let slow = host(|stream| async move {
        let _kept = stream;
        pending::<()>().await;
    })
    .await;
    let fast = host(|stream| async move { drop(stream) }).await;
    let list = [slow, fast].map(|address| address.to_string());
    let (mut finished, mut order) = (Vec::new(), Vec::new());
    let end = scan(
        targets(&list),
        options(),
        pending(),
        |_, report| finished.push(report.port),
        |report| {
            order.push(report.port);
            ControlFlow::Continue(())
        },
    );
    end.await.unwrap();
    assert_eq!(finished, [fast.port(), slow.port()]);
    assert_eq!(order, [slow.port(), fast.port()]);
}

#[tokio::test]
async fn what_was_found_is_given_when_it_is_stopped() {
    let fast = host(|stream| async move { drop(stream) }).await;
    let slow = host(|stream| async move {
        let _kept = stream;
        pending::<()>().await;
    })
    .await;
    let list = [slow, fast].map(|address| address.to_string());
    let mut order = Vec::new();
    let end = scan(
        targets(&list),
        Options {
            timeout: Duration::from_secs(30),
            ..Options::default()
        },
        tokio::time::sleep(PATIENCE),
        |_, _| {},
        |report| {
            order.push(report.port);
            ControlFlow::Continue(())
        },
    );
    assert_eq!(
        end.await,
        Ok(End {
            reported: 1,
            stopped: true
        })
    );
    assert_eq!(order, [fast.port()]);
}

#[tokio::test]
async fn whoever_takes_the_reports_may_end_it() {
    let end = scan(
        targets(&["127.0.0.1:1".to_owned(), "127.0.0.2:1".to_owned()]),
        Options {
            parallel: 1,
            ..options()
        },
        pending(),
        |_, _| {},
        |_| ControlFlow::Break(()),
    );
    assert_eq!(
        end.await,
        Ok(End {
            reported: 1,
            stopped: true
        })
    );
}

#[tokio::test]
async fn the_rate_is_kept() {
    let list: Vec<String> = (1..=21).map(|n| format!("127.0.0.{n}:1")).collect();
    for (rate, least, most) in [(50, 395, 1500), (2000, 9, 400)] {
        let begun = Instant::now();
        let end = scan(
            targets(&list),
            Options {
                rate: Some(rate),
                ..options()
            },
            pending(),
            |_, _| {},
            |_| ControlFlow::Continue(()),
        );
        assert_eq!(end.await.unwrap().reported, 21);
        let took = begun.elapsed().as_millis();
        assert!((least..most).contains(&took), "{rate} a second: {took} ms");
    }
    for (options, error) in [
        (
            Options {
                rate: Some(0),
                ..options()
            },
            ScanError::Rate,
        ),
        (
            Options {
                parallel: 0,
                ..options()
            },
            ScanError::Parallel(0),
        ),
    ] {
        let end = scan(
            targets(&list),
            options,
            pending(),
            |_, _| {},
            |_| ControlFlow::Continue(()),
        );
        assert_eq!(end.await, Err(error));
    }
}

#[tokio::test]
async fn a_name_does_not_lead_to_an_excluded_address() {
    let mut targets = Targets::new(1, 9);
    targets.exclude("127.0.0.0/8").unwrap();
    targets.exclude("::1").unwrap();
    targets.add("localhost").unwrap();
    targets.add("no-such-host.invalid").unwrap();
    let mut reports = Vec::new();
    let end = scan(
        targets,
        options(),
        pending(),
        |_, _| {},
        |report| {
            reports.push(report.error.unwrap_or_default());
            ControlFlow::Continue(())
        },
    );
    end.await.unwrap();
    assert!(reports[0].contains("excluded"), "{reports:?}");
    assert!(reports[1].contains("resolved"), "{reports:?}");
}
