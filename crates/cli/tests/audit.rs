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
use harness::{Server, Site, bad, good, json, until};

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
        &["audit", "what-if", "smb1=off", "smb1=off"],
        &[
            "audit",
            "what-if",
            "server-always=enabled",
            "server-always=disabled",
        ],
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

#[test]
fn a_live_session_is_known_and_a_killed_server_leaves_what_it_knew() {
    let scene = Site::new("[policy]\nprofile = \"balanced\"\n");
    let (server, port) = scene.start();
    let mut held = Client::start(&port, "SMB3_11", &["--client-protection", "off"]);
    assert!(held.works());
    let ask = [
        "audit",
        "what-if",
        "server-always=enabled",
        "--json",
        "--config",
        &scene.file,
    ];
    let bytes = || {
        let answer = json(&good(scene.run(&ask)));
        let one = &answer["start_signing"][0];
        assert_eq!(one["connections"], 1, "{answer}");
        assert_eq!(one["cost"]["bytes"], one["bytes"]);
        one["bytes"].as_u64().unwrap()
    };
    let first = bytes();
    assert!(first > 100, "{first}: the session lives");
    let report = ["audit", "report", "--format", "json"];
    let peer = || json(&good(scene.run(&report)))["peers"][0].clone();
    assert_eq!(peer()["protection"], "unsigned");
    assert_eq!(peer()["clear"], 1);
    assert!(held.works());
    let second = bytes();
    assert!(second > first, "{second} after {first}");
    assert_eq!(peer()["clear"], 1, "it is counted once");
    server.end("-KILL");
    assert_eq!(bytes(), second, "nothing of it was lost");
    // The next server goes on with the file.
    let (server, port) = scene.start();
    assert!(comes(&port, "SMB3_11", "off"));
    assert_eq!(
        json(&good(scene.run(&report)))["peers"][0]["connections"],
        2
    );
    drop(server);
}

#[test]
fn a_server_serves_whatever_becomes_of_its_records() {
    // Damaged: put aside, and begun anew.
    let scene = Site::new("[policy]\nprofile = \"balanced\"\n");
    let audit = scene.folder.path().join("state/audit.db");
    fs::create_dir(scene.folder.path().join("state")).unwrap();
    fs::write(&audit, "no database, certainly not, by no means").unwrap();
    let damaged = bad(scene.run(&["audit", "report"]), 1);
    assert!(damaged.contains("damaged"), "{damaged}");
    let (server, port) = scene.start();
    assert!(comes(&port, "SMB3_11", "off"));
    assert!(good(scene.run(&["audit", "report"])).contains("1 peers since"));
    assert!(server.log().contains("put aside"), "{}", server.log());
    drop(server);
    // Not to be written at all: it says so, and writes when it can again.
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", audit.display()));
    }
    fs::create_dir(&audit).unwrap();
    let (server, port) = scene.start();
    assert!(comes(&port, "SMB3_11", "off"));
    let told = bad(scene.run(&["audit", "report"]), 1);
    assert!(told.contains("has not written all it has seen"), "{told}");
    assert!(server.log().contains("the audit cannot be written"));
    fs::remove_dir(&audit).unwrap();
    until("it writes again", || {
        let output = scene.run(&["audit", "report"]);
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 peers since")
    });
}

#[test]
fn without_the_audit_changes_are_reported_all_the_same() {
    let scene = Site::new("[policy]\nprofile = \"balanced\"\n[audit]\nenabled = false\n");
    let (_server, port) = scene.start();
    good(scene.run(&["policy", "set", "server-always=enabled"]));
    assert!(comes(&port, "SMB3_11", "sign"));
    until("the change is reported", || {
        let history = json(&good(scene.run(&["policy", "history", "--json"])));
        history["effects"][0]["first-connection-ms"].is_u64()
    });
    assert!(!scene.folder.path().join("state/audit.db").exists());
}

#[test]
fn every_change_is_reported_with_what_it_was() {
    let scene = Site::new("[policy]\nprofile = \"balanced\"\n");
    let (server, _port) = scene.start();
    let others = |cause: &str| -> Vec<String> {
        let history = json(&good(scene.run(&["policy", "history", "--json"])));
        history["effects"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["cause"] == cause)
            .flat_map(|one| one["others"].as_array().unwrap().clone())
            .map(|one| one.as_str().unwrap().to_owned())
            .collect()
    };
    good(scene.run(&["policy", "set", "audit-smb1-access=disabled"]));
    until("the switch", || {
        others("local policy") == ["audit-smb1-access=off (was on)"]
    });
    let config = fs::read_to_string(&scene.file).unwrap();
    fs::write(
        &scene.file,
        config.replace("smb1 = true", "smb1 = false\nmin = \"3.0\"")
            + "[encryption]\nrequired = true\n",
    )
    .unwrap();
    until("the configuration", || {
        let mut all = others("configuration");
        all.sort();
        all == [
            "encryption-required=on (was off)",
            "min-dialect=3.0 (was 2.0.2)",
            "smb1=off (was on)",
        ]
    });
    let add = [
        "exception",
        "add",
        "--client",
        "10.0.0.1",
        "--until",
        "2999-01-01",
        "--reason",
        "x",
    ];
    good(scene.run(&add));
    good(scene.run(&["exception", "remove", "1"]));
    until("the exceptions", || {
        others("exceptions")
            == [
                "exception 1 is in force",
                "exception 1 is not in force any more",
            ]
    });
    // Reading the same again is no change.
    let count = || {
        let history = json(&good(scene.run(&["policy", "history", "--json"])));
        history["effects"].as_array().unwrap().len()
    };
    let before = count();
    let reloads = server.log().matches("configuration reloaded").count();
    server.signal("-HUP");
    until("it is read again", || {
        server.log().matches("configuration reloaded").count() > reloads
    });
    assert_eq!(count(), before);
}

#[test]
fn simultaneous_changes_come_one_after_the_other() {
    let scene = Site::new("[policy]\nprofile = \"balanced\"\n");
    let (server, port) = scene.start();
    let config = fs::read_to_string(&scene.file).unwrap();
    let settings = ["server-always", "server-if-client-agrees"];
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let scene = &scene;
            scope.spawn(move || {
                for n in 0..6 {
                    let value = if (thread + n) % 2 == 0 {
                        "enabled"
                    } else {
                        "disabled"
                    };
                    let one = format!("{}={value}", settings[thread % 2]);
                    good(scene.run(&["policy", "set", &one]));
                }
            });
        }
        let (scene, config) = (&scene, &config);
        scope.spawn(move || {
            for n in 0..8 {
                let new = format!("{}.new", scene.file);
                let smb1 = format!("smb1 = {}", n % 2 == 1);
                fs::write(&new, config.replace("smb1 = true", &smb1)).unwrap();
                fs::rename(&new, &scene.file).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(60));
            }
        });
        scope.spawn(move || {
            for n in 1..=4 {
                let add = [
                    "exception",
                    "add",
                    "--client",
                    "10.0.0.1",
                    "--until",
                    "2999-01-01",
                    "--reason",
                    "x",
                ];
                good(scene.run(&add));
                good(scene.run(&["exception", "remove", &n.to_string()]));
            }
        });
    });
    // All changes are in the store, once each; the last one is in force.
    let history = || json(&good(scene.run(&["policy", "history", "--json"])));
    let changes = history()["changes"].as_array().unwrap().clone();
    let numbers: Vec<u64> = changes
        .iter()
        .map(|c| c["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=24).collect::<Vec<u64>>());
    let last = |setting: &str| {
        let of_setting = |change: &&serde_json::Value| change["setting"] == setting;
        changes.iter().rev().find(of_setting).unwrap()["to"].clone()
    };
    for setting in settings {
        until("the server has the last word of the store", || {
            let show = json(&good(scene.run(&["policy", "show", "--json"])));
            show["settings"][setting]["effective"] == last(setting)
        });
    }
    // The reports are a chain: what one left is what the next one found.
    until("the reports end with what is in force", || {
        let mut value = std::collections::HashMap::new();
        for effect in history()["effects"].as_array().unwrap() {
            for change in effect["changes"].as_array().unwrap() {
                let setting = change["setting"].as_str().unwrap().to_owned();
                if let Some(before) = value.insert(setting, change["to"].clone()) {
                    assert_eq!(change["from"], before, "{effect}");
                }
            }
        }
        settings
            .iter()
            .all(|one| value.get(*one).is_none_or(|value| *value == last(one)))
    });
    assert!(comes(&port, "SMB3_11", "sign"));
    assert!(
        !server.log().contains("refused, the old"),
        "{}",
        server.log()
    );
}

#[test]
fn what_an_exception_names_must_be_meant() {
    let scene = Site::new("");
    let add = |more: &[&str]| {
        let mut all = vec!["exception", "add", "--until", "2999-01-01", "--reason", "x"];
        all.extend(more);
        all.extend(["--config", &scene.file]);
        scene.run(&all)
    };
    for (more, says) in [
        (&["--client", "10.0.5.7/2"][..], "one address and a range"),
        (&["--client", "10.0.5.7", "--account", "LAB\\bob"], "domain"),
        (&["--client", "10.0.5.7", "--share", "IPC$"], "--no-ipc"),
        (&["--client", "10.0.5.7", "--machine", ""], "empty"),
    ] {
        let told = bad(add(more), 1);
        assert!(told.contains(says), "{told}");
    }
    let output = add(&["--client", "::ffff:10.0.5.7", "--share", "nowhere"]);
    assert!(output.status.success());
    let note = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(note.contains("no share `nowhere`"), "{note}");
    let list = good(scene.run(&["exception", "list"]));
    assert!(list.contains("10.0.5.7/32"), "{list}");
    // Read before a server runs: forbidden is forbidden, and explained so.
    fs::write(
        &scene.file,
        fs::read_to_string(&scene.file).unwrap() + "[exceptions]\nallow = false\n",
    )
    .unwrap();
    let ask = [
        "policy",
        "explain",
        "--dialect",
        "smb1",
        "--address",
        "10.0.5.7",
        "--share",
        "nowhere",
        "--client-if-server-agrees",
        "disabled",
        "--json",
        "--config",
        &scene.file,
    ];
    assert_eq!(json(&good(scene.run(&ask)))["outcome"], "refused");
}

#[test]
fn a_session_under_an_exception_is_explained() {
    let scene = Site::new("");
    let (_server, port) = scene.start();
    let add = [
        "exception",
        "add",
        "--client",
        "127.0.0.1",
        "--account",
        "BOB",
        "--share",
        "FILES",
        "--until",
        "2999-01-01",
        "--reason",
        "the old press",
    ];
    good(scene.run(&add));
    let mut held = Client::start(&port, "NT1", &["--client-protection", "off"]);
    assert!(held.works());
    let sessions = json(&good(scene.run(&["sessions", "--json"])));
    let row = &sessions["sessions"][0];
    assert_eq!(row["exceptions"][0], "1");
    let id = row["id"].as_u64().unwrap().to_string();
    let told = good(scene.run(&["policy", "explain", "--session", &id]));
    assert!(
        told.contains("exception 1, until 2999-01-02") && told.contains("the old press"),
        "{told}"
    );
}

#[test]
fn the_client_tells_of_servers_that_cannot_sign_or_encrypt() {
    let server = Site::new(
        "min = \"smb1\"\nmax = \"2.1\"\n[policy]\nserver-always = \"disabled\"\n\
         server-if-client-agrees = \"disabled\"\n",
    );
    let (_running, port) = server.start();
    let client = tempfile::tempdir().unwrap();
    let file = client.path().join("client.toml");
    let state = harness::text(&client.path().join("state"));
    fs::write(
        &file,
        format!("state = \"{state}\"\n[audit]\njson = \"events.jsonl\"\n"),
    )
    .unwrap();
    let password = client.path().join("password");
    fs::write(&password, "secret\n").unwrap();
    let list = |port: &str, dialect: &str, sign: &str| {
        let (config, password) = (harness::text(&file), harness::text(&password));
        let location = format!("smb://127.0.0.1:{port}/files");
        harness::run(&[
            "ls",
            &location,
            "-U",
            "bob",
            "--password-file",
            &password,
            "--config",
            &config,
            "--sign",
            sign,
            "--dialect",
            dialect,
        ])
    };
    let events = || -> Vec<String> {
        let text = fs::read_to_string(client.path().join("state/events.jsonl"));
        text.unwrap_or_default()
            .lines()
            .map(|line| {
                let event = json(line);
                assert_eq!(event["channel"], "Microsoft-Windows-SMBClient/Audit");
                assert_eq!(event["server"], "127.0.0.1");
                format!("{} {}", event["id"], event["event"].as_str().unwrap())
            })
            .collect()
    };
    let signing = "31998 AuditServerDoesNotSupportSigning";
    let encryption = "31999 AuditServerDoesNotSupportEncryption";
    fs::create_dir(client.path().join("state")).unwrap();
    good(list(&port, "smb1", "offered"));
    assert_eq!(events(), [signing]);
    // Every server of SMB 2 signs; encryption is told of when its switch is on.
    good(list(&port, "2.1..3.1.1", "offered"));
    assert_eq!(events(), [signing]);
    let on = [
        "policy",
        "set",
        "audit-server-does-not-support-encryption=enabled",
        "--state",
        &state,
    ];
    good(harness::run(&on));
    good(list(&port, "2.1..3.1.1", "offered"));
    assert_eq!(events(), [signing, encryption]);
    // A dialect that was not offered is not the server's fault.
    good(list(&port, "2.1", "offered"));
    assert_eq!(events(), [signing, encryption]);
    // A guest cannot sign: who must gives up, and that is told of too.
    let guests = Site::new(
        "[policy]\nserver-always = \"disabled\"\n[authentication]\n\
         guest = \"unknown-user\"\n",
    );
    let running = Server::start(&["serve", "--config", &guests.file, "--user", "eve:other"]);
    bad(list(&running.port(), "3.1.1", "required"), 1);
    assert_eq!(
        events(),
        [signing, encryption, "null AuditInsecureGuestLogon"]
    );
}
