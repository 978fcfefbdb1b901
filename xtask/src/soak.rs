//! `cargo xtask soak`: what idle signed sessions cost, and many connections.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::process::Beside;
use crate::report::Tally;
use crate::server::{PASSWORD, Setup, USER};
use crate::{Res, number, workspace};

/// Memory one idle signed session may cost.
const PER_SESSION: u64 = 64 * 1024;

pub(crate) fn run(args: &[String]) -> Res<bool> {
    let mut args = args.to_vec();
    let sessions = number(&mut args, "--sessions", 1000)?;
    let connections = number(&mut args, "--connections", 10_000)?;
    let mut tally = Tally::new();
    tally.suite("soak");
    let binary = workspace::build_release()?;
    let status = workspace::cargo()
        .args([
            "build",
            "--release",
            "--package",
            "countersign-testkit",
            "--example",
            "idle-sessions",
        ])
        .status()
        .map_err(|e| e.to_string())?;
    if !status.success() {
        return Err("the client does not build".to_owned());
    }
    let client = workspace::target().join("release/examples/idle-sessions");
    let folder = workspace::scratch("soak")?;
    let limits = format!(
        "[limits]\nconnections = {0}\nconnections-per-address = {0}\nunauthenticated = \"10m\"\n",
        connections + sessions + 100
    );
    let setup = Setup::new(&binary, &folder)
        .policy("enabled", "enabled")
        .config(&limits);

    // Both ends hold a descriptor for each; what runs here inherits the limit.
    let allowed = raise_open_files();
    let most = allowed.saturating_sub(500);
    if most < connections.max(sessions) {
        let why = format!("only {allowed} open files are allowed here (ulimit -Hn)");
        tally.skip(
            &format!("more than {most} of {connections} connections"),
            &why,
        );
    }
    let (sessions, connections) = (sessions.min(most), connections.min(most));
    let mut server = setup.start()?;

    // What the process needs with none: after it served one.
    hold(&client, &folder, server.port, 1, || ())?;
    let before = memory(server.pid())?;
    let during = hold(&client, &folder, server.port, sessions, || {
        memory(server.pid())
    })??;
    let each = during.saturating_sub(before) / sessions.max(1);
    println!(
        "{sessions} idle signed sessions: {each} bytes each ({before} before, {during} during)"
    );
    tally.check(
        &format!("{sessions} idle sessions below {PER_SESSION} bytes each"),
        if each < PER_SESSION {
            Ok(())
        } else {
            Err(format!("{each} bytes each"))
        },
    );

    tally.check(
        &format!("{connections} connections"),
        many(connections, server.port),
    );
    tally.check(
        "a session works after them",
        hold(&client, &folder, server.port, 1, || ()),
    );
    tally.check("healthy", server.healthy());
    tally.check("clean stop", server.stop());
    Ok(tally.finish())
}

/// Holds sessions while `look` looks.
fn hold<T>(
    client: &std::path::Path,
    folder: &std::path::Path,
    port: u16,
    sessions: u64,
    look: impl FnOnce() -> T,
) -> Res<T> {
    let mut c = std::process::Command::new(client);
    c.args([
        &format!("127.0.0.1:{port}"),
        USER,
        PASSWORD,
        "share",
        &sessions.to_string(),
    ]);
    let mut client = Beside::start(c, &folder.join("client.log"))?;
    client.until(Duration::from_secs(120), |l| {
        l.starts_with("ready").then_some(())
    })?;
    Ok(look())
}

/// Raises the limit of open files as far as it goes; how far that is.
fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Resident memory of a process, in bytes.
fn memory(pid: u32) -> Res<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(|e| e.to_string())?;
    let kib = text
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse::<u64>().ok())
        .ok_or("no VmRSS")?;
    Ok(kib * 1024)
}

/// Opens many connections at once, all of which must still be there at the end.
fn many(count: u64, port: u16) -> Res<()> {
    use std::io::Read;
    let begun = Instant::now();
    let mut held = Vec::new();
    for n in 0..count {
        // One address has 28,000 ports; 127.0.0.0/8 has more addresses.
        let stream =
            TcpStream::connect(("127.0.0.1", port)).map_err(|e| format!("connection {n}: {e}"))?;
        stream.set_nonblocking(true).map_err(|e| e.to_string())?;
        held.push(stream);
    }
    println!(
        "{count} connections in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let mut gone = 0;
    for stream in &mut held {
        match stream.read(&mut [0u8; 1]) {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => gone += 1,
        }
    }
    if gone == 0 {
        Ok(())
    } else {
        Err(format!("{gone} of them were closed"))
    }
}
