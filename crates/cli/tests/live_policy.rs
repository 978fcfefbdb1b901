//! A policy that changes under live sessions of a real client (smbclient, which must
//! be installed): what does not satisfy it is ended or kept, what does is undisturbed,
//! and both the command and the server say how many.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own helpers may fail loudly"
)]

mod harness;

use std::fs;
use std::time::{Duration, Instant};

use harness::client::{Client, smbclient};
use harness::{Server, Site, good, json, run, run_with_input, text, until};
use serde_json::Value as Json;

const DIALECTS: [(&str, &str); 4] = [
    ("NT1", "smb1"),
    ("SMB2_02", "2.0.2"),
    ("SMB3_00", "3.0"),
    ("SMB3_11", "3.1.1"),
];

struct Scene {
    site: Site,
    port: String,
    server: Server,
    unsigned: Vec<Client>,
    signed: Vec<Client>,
}

/// A server that does not require signing, and in each dialect one client that signs
/// and one that does not.
fn scene(on_tighten: &str) -> Scene {
    let site = Site::new(&format!(
        "[policy]\nprofile = \"balanced\"\non-tighten = \"{on_tighten}\"\n"
    ));
    let (server, port) = site.start();
    let start = |protection: &str| -> Vec<Client> {
        let mut clients: Vec<Client> = DIALECTS
            .iter()
            .map(|(dialect, _)| Client::start(&port, dialect, &["--client-protection", protection]))
            .collect();
        for (client, (dialect, _)) in clients.iter_mut().zip(DIALECTS) {
            assert!(client.works(), "{dialect} {protection}");
        }
        clients
    };
    let (unsigned, signed) = (start("off"), start("sign"));
    let scene = Scene {
        site,
        port,
        server,
        unsigned,
        signed,
    };
    for (_, dialect) in DIALECTS {
        let of = |signed: bool| {
            let sessions = scene.sessions();
            sessions
                .iter()
                .filter(|s| s["dialect"] == dialect && s["signed"] == signed)
                .count()
        };
        assert_eq!(
            (of(false), of(true)),
            (1, 1),
            "{dialect}: {:#?}",
            scene.sessions()
        );
    }
    scene
}

impl Scene {
    fn sessions(&self) -> Vec<Json> {
        let listed = json(&good(run(&[
            "sessions",
            "--json",
            "--state",
            &self.site.state,
        ])));
        listed["sessions"].as_array().unwrap().clone()
    }

    fn require(&self) -> Json {
        let start = Instant::now();
        let set = good(run(&[
            "policy",
            "set",
            "server-always=enabled",
            "--json",
            "--state",
            &self.site.state,
        ]));
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{:?}",
            start.elapsed()
        );
        json(&set)
    }
}

#[test]
fn sessions_that_do_not_sign_are_ended_and_others_go_on() {
    let mut scene = scene("end");
    let count = DIALECTS.len();
    let set = scene.require();
    let counts = (&set["satisfied"], &set["kept"], &set["ended"]);
    assert_eq!(
        counts,
        (&Json::from(count), &Json::from(0), &Json::from(count))
    );
    until("only signed sessions are left", || {
        let sessions = scene.sessions();
        sessions.len() == count && sessions.iter().all(|session| session["signed"] == true)
    });
    for (client, (dialect, _)) in scene.signed.iter_mut().zip(DIALECTS) {
        assert!(
            client.works(),
            "{dialect}: the signed session is undisturbed"
        );
    }
    for (client, (dialect, _)) in scene.unsigned.iter_mut().zip(DIALECTS) {
        assert!(!client.works(), "{dialect}: the unsigned session is over");
    }
    // The next connection that does not sign is refused.
    let refused = smbclient(
        &scene.port,
        "NT1",
        &["--option=client signing=disabled", "-c", "ls"],
    )
    .output()
    .unwrap();
    assert!(!refused.status.success());
    // And one that would not have, but can, now does.
    let signs = smbclient(&scene.port, "SMB3_11", &["-c", "ls"])
        .output()
        .unwrap();
    assert!(
        signs.status.success(),
        "{}",
        String::from_utf8_lossy(&signs.stdout)
    );
    let (code, log) = scene.server.end("-TERM");
    assert_eq!(code, Some(0));
    assert!(
        log.contains(&format!("satisfied={count} kept=0 ended={count}")),
        "{log}"
    );
}

#[test]
fn they_are_kept_where_the_configuration_says_so() {
    let mut scene = scene("keep");
    let count = DIALECTS.len();
    let set = scene.require();
    let counts = (&set["satisfied"], &set["kept"], &set["ended"]);
    assert_eq!(
        counts,
        (&Json::from(count), &Json::from(count), &Json::from(0))
    );
    for (client, (dialect, _)) in scene.unsigned.iter_mut().zip(DIALECTS) {
        assert!(client.works(), "{dialect}: the unsigned session is kept");
    }
    for (client, (dialect, _)) in scene.signed.iter_mut().zip(DIALECTS) {
        assert!(
            client.works(),
            "{dialect}: the signed session is undisturbed"
        );
    }
    let refused = smbclient(
        &scene.port,
        "NT1",
        &["--option=client signing=disabled", "-c", "ls"],
    )
    .output()
    .unwrap();
    assert!(!refused.status.success(), "new connections must sign");
}

#[test]
fn shares_users_and_the_log_change_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (state, files) = (
        text(&folder.path().join("state")),
        text(&folder.path().join("files")),
    );
    fs::create_dir(&files).unwrap();
    let file = folder.path().join("server.toml");
    let write = |more: &str| {
        let start = format!("listen = [\"127.0.0.1:0\"]\nstate = \"{state}\"\n");
        fs::write(&file, start + more).unwrap();
    };
    let share = |name: &str| format!("[[share]]\nname = \"{name}\"\npath = \"{files}\"\n");
    write(&share("other"));
    let server = Server::start(&["serve", "--config", &text(&file)]);
    let port = server.port();
    let lists = || {
        let output = smbclient(&port, "SMB3_11", &["-c", "ls"]).output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    assert!(
        lists().1.contains("NT_STATUS_LOGON_FAILURE"),
        "there is no bob yet"
    );
    let add = ["user", "add", "bob", "--password-stdin", "--state", &state];
    good(run_with_input(&add, "secret\n"));
    until("bob is known", || {
        lists().1.contains("NT_STATUS_BAD_NETWORK_NAME")
    });
    write(&(share("other") + &share("files") + "[logging]\nfilter = \"debug\"\n"));
    until("the share is there", || lists().0);
    let mut held = Client::start(&port, "SMB3_11", &[]);
    assert!(held.works());
    write(&share("files"));
    until("the reload is logged", || {
        server.log().matches("configuration reloaded").count() >= 2 && held.works()
    });
    assert!(server.log().contains("DEBUG"), "the log filter changed");
    write(&share("other"));
    until("the share is gone for new connections", || {
        lists().1.contains("NT_STATUS_BAD_NETWORK_NAME")
    });
}

#[test]
fn the_highest_dialect_may_be_smb1() {
    let folder = tempfile::tempdir().unwrap();
    let state = text(&folder.path().join("state"));
    let share = format!("files={}", text(folder.path()));
    let server = Server::start(&[
        "serve",
        "--state",
        &state,
        "--listen",
        "127.0.0.1:0",
        "--share",
        &share,
        "--user",
        "bob:secret",
        "--max-dialect",
        "smb1",
        "--min-dialect",
        "smb1",
    ]);
    let port = server.port();
    let lists = |most: &str| {
        smbclient(&port, most, &["-c", "ls"])
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(lists("NT1"));
    assert!(
        lists("SMB3_11"),
        "falls back to SMB1, which the client offers too"
    );
    let sessions = json(&good(run(&["sessions", "--json", "--state", &state])));
    assert!(
        sessions["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .all(|s| s["dialect"] == "smb1")
    );
    let only_smb2 = smbclient(
        &port,
        "SMB3_11",
        &["--option=client min protocol=SMB2_02", "-c", "ls"],
    );
    assert!(!{ only_smb2 }.output().unwrap().status.success());
}

#[test]
fn an_administrator_ends_a_session() {
    let mut scene = scene("end");
    let ids: Vec<String> = scene
        .sessions()
        .iter()
        .map(|session| session["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 2 * DIALECTS.len());
    for id in &ids {
        good(run(&[
            "sessions",
            "--close",
            id,
            "--state",
            &scene.site.state,
        ]));
    }
    until("the sessions are gone", || {
        let left = scene.sessions();
        let left: Vec<String> = left
            .iter()
            .map(|session| session["id"].to_string())
            .collect();
        ids.iter().all(|id| !left.contains(id))
    });
    for client in scene.unsigned.iter_mut().chain(&mut scene.signed) {
        assert!(!client.works(), "the session is over");
    }
}
