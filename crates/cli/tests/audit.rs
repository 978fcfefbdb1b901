//! `countersign audit` and `countersign exception`, with a server and without.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own helpers may fail loudly"
)]

mod harness;

use std::fs;

use harness::client::{Client, smbclient};
use harness::{Site, bad, good, json, until};

fn comes(port: &str, dialect: &str, protection: &str) -> bool {
    let output = smbclient(
        port,
        dialect,
        &["--client-protection", protection, "-c", "ls"],
    )
    .output()
    .expect("smbclient and stdbuf must be installed");
    output.status.success() && String::from_utf8_lossy(&output.stdout).contains("blocks available")
}

#[test]
fn who_came_is_reported_and_what_if_has_its_contract() {
    let scene = Site::new("[policy]\nprofile = \"balanced\"\n");
    let nothing = bad(scene.run(&["audit", "report"]), 1);
    assert!(nothing.contains("nothing was recorded"), "{nothing}");
    let (server, port) = scene.start();
    for (dialect, protection) in [("NT1", "off"), ("SMB2_10", "off"), ("SMB3_11", "sign")] {
        assert!(comes(&port, dialect, protection), "{dialect}");
    }
    let ask = ["audit", "what-if", "server-always=enabled", "--json"];
    let answer = json(&good(scene.run(&ask)));
    assert_eq!(answer["unaffected"], 1);
    let one = |key: &str, dialect: &str| {
        let list = answer[key].as_array().unwrap();
        assert_eq!(list.len(), 1, "{key}");
        let peer = &list[0];
        assert_eq!(peer["address"], "127.0.0.1");
        assert_eq!(peer["dialect"], dialect);
        assert!(peer["user"].as_str().unwrap().ends_with("\\bob"));
        assert!(peer["machine"].is_string());
        for number in ["last_seen", "connections", "bytes"] {
            assert!(peer[number].as_u64().unwrap() > 0, "{number}");
        }
    };
    one("cut_off", "smb1");
    one("start_signing", "2.1");
    let table = good(scene.run(&["audit", "report"]));
    assert!(
        table.contains("3 peers since") && table.contains("AES-128-GMAC"),
        "{table}"
    );
    let text_answer = good(scene.run(&["audit", "what-if", "smb1=off", "--since", "1h"]));
    assert!(text_answer.contains("1 would be cut off"), "{text_answer}");
    assert!(text_answer.contains("2 unaffected"), "{text_answer}");
    // Without the server the records are still there.
    let (code, _) = server.end("-TERM");
    assert_eq!(code, Some(0));
    let report = json(&good(scene.run(&["audit", "report", "--format", "json"])));
    assert_eq!(report["peers"].as_array().unwrap().len(), 3);
    assert_eq!(report["totals"]["signed"], 1);
    let later = ["audit", "report", "--since", "0s", "--format", "csv"];
    assert!(good(scene.run(&later)).lines().count() <= 4);
    for wrong in [
        &["audit", "what-if"][..],
        &["audit", "what-if", "smb1=on"],
        &[
            "audit",
            "what-if",
            "server-always=enabled",
            "--since",
            "soon",
        ],
        &["audit", "report", "--format", "pdf"],
    ] {
        bad(scene.run(wrong), 2);
    }
}

#[test]
fn an_exception_must_say_who_until_when_and_why() {
    let scene = Site::new("");
    let whole = [
        "exception",
        "add",
        "--client",
        "10.0.5.0/24",
        "--until",
        "2999-01-01",
        "--reason",
        "x",
    ];
    for without in ["--client", "--until", "--reason"] {
        let at = whole.iter().position(|one| *one == without).unwrap();
        let mut less = whole.to_vec();
        less.drain(at..at + 2);
        bad(scene.run(&less), 2);
    }
    for (option, value, code) in [
        ("--client", "10.0.5.0/33", 2),
        ("--until", "tomorrow", 2),
        ("--until", "2020-01-01", 1),
        ("--reason", " ", 1),
    ] {
        let at = whole.iter().position(|one| *one == option).unwrap();
        let mut other = whole.to_vec();
        other[at + 1] = value;
        bad(scene.run(&other), code);
    }
    assert_eq!(good(scene.run(&whole)).lines().next(), Some("exception 1"));
    let list = json(&good(scene.run(&["exception", "list", "--json"])));
    let one = &list["exceptions"][0];
    assert_eq!(one["exception"]["client"], "10.0.5.0/24");
    assert_eq!(one["in_force"], true);
    assert!(good(scene.run(&["exception", "list"])).contains("10.0.5.0/24"));
    bad(scene.run(&["exception", "remove", "2"]), 1);
    good(scene.run(&["exception", "remove", "1"]));
    let list = json(&good(scene.run(&["exception", "list", "--json"])));
    assert!(list["exceptions"].as_array().unwrap().is_empty());
}

#[test]
fn an_exception_lets_in_at_once_and_taken_back_ends_the_session() {
    let scene = Site::new("");
    let (server, port) = scene.start();
    assert!(!comes(&port, "NT1", "off"));
    let add = [
        "exception",
        "add",
        "--client",
        "127.0.0.1",
        "--share",
        "files",
        "--until",
        "2999-01-01",
        "--reason",
        "an old scanner",
        "--json",
    ];
    let told = json(&good(scene.run(&add)));
    assert!(
        told["servers"][0]["in_force_ms"].as_u64().unwrap() < 1000,
        "{told}"
    );
    let mut held = Client::start(&port, "NT1", &["--client-protection", "off"]);
    assert!(held.works());
    let sessions = json(&good(scene.run(&["sessions", "--json"])));
    assert_eq!(sessions["sessions"][0]["reason"], "exception");
    let told = json(&good(scene.run(&["exception", "remove", "1", "--json"])));
    assert_eq!(told["servers"][0]["ended"], 1);
    assert!(!held.works());
    assert!(!comes(&port, "NT1", "off"));
    assert!(server.log().contains("share under an exception"));
}

#[test]
fn exceptions_may_be_forbidden() {
    let scene = Site::new("[exceptions]\nallow = false\n");
    let (_server, port) = scene.start();
    let add = [
        "exception",
        "add",
        "--client",
        "127.0.0.1",
        "--until",
        "2999-01-01",
        "--reason",
        "x",
    ];
    let complaint = bad(scene.run(&add), 1);
    assert!(complaint.contains("allow = false"), "{complaint}");
    // Also one that is in the store all the same.
    let store = format!(
        "{{\"exceptions\": [{{\"exception\": {{\"id\": \"1\", \"client\": \"127.0.0.1/32\", \
         \"until\": {}, \"reason\": \"x\"}}, \"by\": \"x\", \"at\": 0}}]}}",
        u32::MAX
    );
    fs::write(scene.folder.path().join("state/exceptions.json"), store).unwrap();
    let ask = ["exception", "list", "--json"];
    assert_eq!(
        json(&good(scene.run(&ask)))["exceptions"][0]["in_force"],
        true
    );
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert!(!comes(&port, "NT1", "off"));
}

#[test]
fn a_server_that_dies_before_it_acts_obeys_when_it_comes_back() {
    let scene = Site::new("[policy]\nprofile = \"balanced\"\n");
    let (server, port) = scene.start();
    assert!(comes(&port, "NT1", "off"));
    // It cannot act, and dies with the change written and not acted upon.
    server.signal("-STOP");
    bad(scene.run(&["policy", "set", "server-always=enabled"]), 1);
    server.signal("-KILL");
    drop(server);
    let (server, port) = scene.start();
    assert!(!comes(&port, "NT1", "off"));
    let show = json(&good(scene.run(&["policy", "show", "--json"])));
    assert_eq!(show["settings"]["server-always"]["effective"], "enabled");
    drop(server);
}

#[test]
fn a_change_is_reported_with_who_and_how_long() {
    let scene = Site::new("[policy]\nprofile = \"balanced\"\n[audit]\njson = \"events.jsonl\"\n");
    let (server, port) = scene.start();
    let mut unsigned = Client::start(&port, "SMB3_11", &["--client-protection", "off"]);
    assert!(unsigned.works());
    let told = json(&good(scene.run(&[
        "policy",
        "set",
        "server-always=enabled",
        "--json",
    ])));
    assert_eq!(
        (told["ended"].as_u64(), told["satisfied"].as_u64()),
        (Some(1), Some(0))
    );
    assert!(told["in_force_ms"].as_u64().unwrap() < 5000, "{told}");
    assert!(comes(&port, "SMB3_11", "sign"));
    let effect = || {
        let history = json(&good(scene.run(&["policy", "history", "--json"])));
        history["effects"][0].clone()
    };
    until("the first connection is in the history", || {
        effect()["first-connection-ms"].is_u64()
    });
    let one = effect();
    assert_eq!(one["cause"], "local policy");
    assert_eq!(one["ended"], 1);
    assert_eq!(one["changes"][0]["setting"], "server-always");
    assert!(!one["by"].as_str().unwrap().is_empty());
    // A configuration is a cause too.
    let config = fs::read_to_string(&scene.file).unwrap();
    let other = config.replace(
        "profile = \"balanced\"",
        "profile = \"balanced\"\nserver-if-client-agrees = \"disabled\"",
    );
    fs::write(&scene.file, other).unwrap();
    until("the configuration is read again", || {
        server.log().contains("configuration reloaded")
    });
    until("it is reported", || {
        let history = json(&good(scene.run(&["policy", "history", "--json"])));
        history["effects"].as_array().unwrap().iter().any(|one| {
            one["cause"] == "configuration"
                && one["changes"][0]["setting"] == "server-if-client-agrees"
        })
    });
    let events = fs::read_to_string(scene.folder.path().join("state/events.jsonl")).unwrap();
    assert!(events.contains("\"PolicyChanged\""), "{events}");
}

#[test]
fn the_local_policy_switches_events() {
    let scene = Site::new("[policy]\nprofile = \"balanced\"\n[audit]\njson = \"events.jsonl\"\n");
    let (_server, port) = scene.start();
    let events = || {
        // The report makes the server write down what it has.
        let _ = scene.run(&["audit", "report"]);
        let path = scene.folder.path().join("state/events.jsonl");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.matches("\"AuditSmb1Access\"").count()
    };
    assert!(comes(&port, "NT1", "sign"));
    assert_eq!(events(), 1);
    good(scene.run(&["policy", "set", "audit-smb1-access=disabled"]));
    assert!(comes(&port, "NT1", "sign"));
    assert_eq!(events(), 1);
    good(scene.run(&["policy", "set", "audit-smb1-access=enabled"]));
    assert!(comes(&port, "NT1", "sign"));
    assert_eq!(events(), 2);
}
