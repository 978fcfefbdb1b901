//! smbd and smbclient with the smb.conf that is exported do what `policy explain` says of
//! the same settings. Between them stands a listener that looks which requests are signed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own helpers may fail loudly"
)]

mod harness;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use harness::{good, json, run, text};

const PAIRS: [(&str, &str); 4] = [
    ("enabled", "enabled"),
    ("enabled", "disabled"),
    ("disabled", "enabled"),
    ("disabled", "disabled"),
];

/// Sets both settings of a side and exports the smb.conf.
fn export(folder: &Path, side: &str, always: &str, if_agrees: &str) -> (String, String) {
    let state = text(&folder.join(format!("{side}-{always}-{if_agrees}")));
    let other = if side == "server" { "client" } else { "server" };
    let wanted = [
        format!("{side}-always={always}"),
        format!("{side}-if-{other}-agrees={if_agrees}"),
    ];
    good(run(&[
        "policy", "set", &wanted[0], &wanted[1], "--state", &state,
    ]));
    let from = ["--from", "local", "--state", &state];
    let conf = good(run(&[
        &["policy", "export", "--format", "smb-conf"][..],
        &from,
    ]
    .concat()));
    (state, conf)
}

struct Smbd(Child);

impl Drop for Smbd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// smbd with that section and a share; nothing: it is not here, or does not come up.
fn smbd(folder: &Path, conf: &str) -> Option<(Smbd, u16)> {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut whole = format!(
        "{conf}\tserver min protocol = NT1\n\tsmb ports = {port}\n\tinterfaces = 127.0.0.1\n\tbind interfaces only = yes\n"
    );
    for (key, name) in [
        ("lock directory", "lock"),
        ("state directory", "state"),
        ("cache directory", "cache"),
        ("pid directory", "pid"),
        ("private dir", "private"),
        ("ncalrpc dir", "ncalrpc"),
    ] {
        let own = folder.join(name);
        fs::create_dir_all(&own).unwrap();
        whole.push_str(&format!("\t{key} = {}\n", text(&own)));
    }
    let share = text(&folder.join("lock"));
    whole.push_str(&format!(
        "\tlog file = {}\n\tpassdb backend = smbpasswd:{}\n[files]\n\tpath = {share}\n",
        text(&folder.join("log")),
        text(&folder.join("private/smbpasswd")),
    ));
    let file = text(&folder.join("smb.conf"));
    fs::write(&file, whole).unwrap();
    let mut adding = Command::new("smbpasswd")
        .args(["-c", &file, "-s", "-a", "root"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    adding.stdin.take()?.write_all(b"secret\nsecret\n").ok()?;
    if !adding.wait().ok()?.success() {
        return None;
    }
    let child = Command::new("smbd")
        .args(["-F", "--no-process-group", "-s", &file])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let smbd = Smbd(child);
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > end {
            return None;
        }
        thread::sleep(Duration::from_millis(50));
    }
    Some((smbd, port))
}

/// What clients sent through here.
struct Between {
    port: u16,
    sent: Arc<Mutex<Vec<u8>>>,
}

fn between(server: u16) -> Between {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sent);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                return;
            };
            let (from_server, to_client) =
                (server.try_clone().unwrap(), client.try_clone().unwrap());
            let seen = Arc::clone(&seen);
            thread::spawn(move || carry(client, server, Some(&seen)));
            thread::spawn(move || carry(from_server, to_client, None));
        }
    });
    Between { port, sent }
}

fn carry(mut from: TcpStream, mut to: TcpStream, seen: Option<&Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if let Some(seen) = seen {
            seen.lock().unwrap().extend(&buffer[..count]);
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Whether ordinary requests (SMB1 TRANSACTION2, SMB2 QUERY_DIRECTORY) were signed;
/// nothing: there was none.
fn signed(mut sent: &[u8]) -> Option<bool> {
    let mut found = None;
    while let Some((head, rest)) = sent.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*head) & 0x00FF_FFFF).unwrap();
        let (message, rest) = rest.split_at_checked(length)?;
        sent = rest;
        let one = match message {
            [0xFF, b'S', b'M', b'B', 0x32, ..] => message[14..22] != [0; 8],
            [0xFE, b'S', b'M', b'B', ..] if message[12] == 14 => message[16] & 0x08 != 0,
            _ => continue,
        };
        assert!(
            found.is_none_or(|before| before == one),
            "some signed, some not"
        );
        found = Some(one);
    }
    found
}

#[test]
fn samba_with_what_is_exported_does_what_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    // smbd's "disabled" still signs for who requires it.
    let config = text(&folder.path().join("declined.toml"));
    fs::write(
        &config,
        "[policy]\ndeclined = true\n[dialects]\nsmb1 = true\n",
    )
    .unwrap();
    let mut cells = 0;
    for (always, if_agrees) in PAIRS {
        let (state, conf) = export(folder.path(), "server", always, if_agrees);
        let own = folder.path().join(format!("smbd-{always}-{if_agrees}"));
        fs::create_dir_all(&own).unwrap();
        let Some((_smbd, port)) = smbd(&own, &conf) else {
            eprintln!("skipped: no smbd comes up here");
            return;
        };
        for (client_always, client_if) in PAIRS {
            let (_, conf) = export(folder.path(), "client", client_always, client_if);
            let file = text(&folder.path().join("client.conf"));
            fs::write(&file, conf).unwrap();
            for (dialect, word) in [("NT1", "smb1"), ("SMB3_11", "3.1.1")] {
                let between = between(port);
                let Ok(output) = Command::new("smbclient")
                    .args(["//127.0.0.1/files", "-U", "root%secret", "-m", dialect])
                    .args(["-p", &between.port.to_string(), "-s", &file])
                    .args(["--option=client min protocol=NT1", "-c", "ls"])
                    .output()
                else {
                    eprintln!("skipped: smbclient is not here");
                    return;
                };
                let explained = json(&good(run(&[
                    "policy",
                    "explain",
                    "--json",
                    "--state",
                    &state,
                    "--config",
                    &config,
                    "--dialect",
                    word,
                    "--client-always",
                    client_always,
                    "--client-if-server-agrees",
                    client_if,
                ])));
                let seen = match signed(&between.sent.lock().unwrap()) {
                    _ if !output.status.success() => "refused",
                    Some(true) => "signed",
                    Some(false) => "unsigned",
                    None => panic!("no request: {output:?}"),
                };
                // smbclient's "desired" signs of its own will in SMB 2 and 3.
                let willing = dialect != "NT1" && client_if == "enabled";
                let wanted = explained["outcome"].as_str().unwrap();
                let wanted = if willing && wanted == "unsigned" {
                    "signed"
                } else {
                    wanted
                };
                assert_eq!(
                    seen, wanted,
                    "server {always} {if_agrees}, client {client_always} {client_if}, {dialect}: {explained}"
                );
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 32);
}
