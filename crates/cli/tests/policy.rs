//! `countersign policy` beyond setting: explain, matrix, history, undo, check, import,
//! export; without a server, with one, and killed in the middle.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own helpers may fail loudly"
)]

mod harness;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use harness::client::Client;
use harness::{Server, bad, command, good, json, run, run_with_input, text};
use serde_json::Value as Json;

struct Place {
    folder: tempfile::TempDir,
    state: String,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let state = text(&folder.path().join("state"));
        Place { folder, state }
    }

    fn all<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let mut all = vec!["policy"];
        all.extend(arguments);
        all.extend(["--state", &self.state]);
        all
    }

    fn good(&self, arguments: &[&str]) -> String {
        good(run(&self.all(arguments)))
    }

    fn bad(&self, arguments: &[&str]) -> String {
        bad(run(&self.all(arguments)), 1)
    }

    fn json(&self, arguments: &[&str]) -> Json {
        let mut all = arguments.to_vec();
        all.push("--json");
        json(&self.good(&all))
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        text(&path)
    }

    fn value(&self, setting: &str) -> String {
        let shown = self.json(&["show"]);
        shown["settings"][setting]["effective"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

fn templates(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/templates")
        .join(name)
}

#[test]
fn show_says_what_each_setting_does_and_shadows() {
    let place = Place::new();
    place.good(&["set", "server-always=disabled"]);
    let shown = place.json(&["show"]);
    let row = &shown["settings"]["server-always"];
    assert_eq!(row["effective"], "disabled");
    assert_eq!(row["source"]["layer"], "local");
    assert_eq!(row["shadowed"][0]["source"]["layer"], "profile");
    assert_eq!(row["shadowed"][0]["value"], "enabled");
    assert!(row["since"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!(row["smb1"], "not required: server-if-client-agrees decides");
    assert_eq!(
        row["smb2"],
        "not required: signed when the client requires it"
    );
    assert_eq!(shown["settings"].as_object().unwrap().len(), 4);
    let table = place.good(&["show"]);
    assert!(
        table.contains("server-always: shadows enabled by profile secure (stand-alone)"),
        "{table}"
    );
    assert!(table.contains("ON SMB 2 AND 3"), "{table}");
}

#[test]
fn explain_answers_for_a_client_without_and_with_a_server() {
    let place = Place::new();
    place.good(&[
        "set",
        "server-always=disabled",
        "server-if-client-agrees=disabled",
    ]);
    let ask = |always: &str, if_agrees: &str, dialect: &str, identity: &str| {
        let explained = place.json(&[
            "explain",
            "--client-always",
            always,
            "--client-if-server-agrees",
            if_agrees,
            "--dialect",
            dialect,
            "--identity",
            identity,
        ]);
        assert!(explained["text"].as_str().unwrap().len() > 20);
        (
            explained["outcome"].as_str().unwrap().to_owned(),
            explained["reason"].as_str().unwrap().to_owned(),
        )
    };
    let is = |outcome: &str, reason: &str| (outcome.to_owned(), reason.to_owned());
    let check = |server: &str| {
        for dialect in ["2.0.2", "2.1", "3.0", "3.0.2", "3.1.1"] {
            let wanted = match server {
                "off" => is("unsigned", "not-required"),
                _ => is("signed", "policy-requires"),
            };
            assert_eq!(ask("disabled", "disabled", dialect, "user"), wanted);
            let wanted = match server {
                "off" => is("signed", "peer-requires"),
                _ => is("signed", "policy-requires"),
            };
            assert_eq!(ask("enabled", "disabled", dialect, "user"), wanted);
            let wanted = match server {
                "off" => is("unsigned", "no-key-for-identity"),
                _ => is("refused", "guest-under-required"),
            };
            assert_eq!(ask("disabled", "enabled", dialect, "guest"), wanted);
        }
        let smb1 = |always, if_agrees| ask(always, if_agrees, "smb1", "user");
        match server {
            "off" => {
                let refused = is("refused", "peer-requires-we-cannot");
                assert_eq!(smb1("enabled", "enabled"), refused);
                assert_eq!(smb1("disabled", "enabled"), is("unsigned", "not-required"));
            }
            _ => {
                let refused = is("refused", "server-requires-we-cannot");
                assert_eq!(smb1("disabled", "disabled"), refused);
                assert_eq!(smb1("disabled", "enabled"), is("signed", "policy-requires"));
            }
        }
    };
    check("off");
    let server = Server::start(&["serve", "--state", &place.state, "--listen", "127.0.0.1:0"]);
    let _ = server.address();
    check("off");
    place.good(&["set", "server-always=enabled"]);
    check("required");
    let both = place.json(&["explain"]);
    assert_eq!(both["dialects"].as_array().unwrap().len(), 2);
    let told = place.good(&["explain"]);
    assert!(told.contains("SMB1: signed, because the server requires it (server-always is enabled, set by local policy). The configuration leaves this dialect out, though (`[dialects]`). [policy-requires]"), "{told}");
    assert!(told.contains("SMB 2 and 3: signed"), "{told}");
    let complaint = bad(run(&place.all(&["explain", "--client-always", "on"])), 2);
    assert!(complaint.contains("enabled"), "{complaint}");
    let complaint = bad(run(&place.all(&["explain", "--dialect", "3.1"])), 2);
    assert!(complaint.contains("did you mean `3.1.1`?"), "{complaint}");
}

#[test]
fn explain_tells_of_live_sessions() {
    let place = Place::new();
    let files = text(&place.folder.path().join("files"));
    fs::create_dir(&files).unwrap();
    let share = format!("files={files}");
    let server = Server::start(&[
        "serve",
        "--state",
        &place.state,
        "--listen",
        "127.0.0.1:0",
        "--share",
        &share,
        "--user",
        "bob:secret",
        "--profile",
        "balanced",
    ]);
    let address = server.address();
    let port = address.strip_prefix("127.0.0.1:").unwrap();
    let mut signed = Client::start(port, "SMB3_11", &["--client-protection", "sign"]);
    let mut unsigned = Client::start(port, "SMB2_10", &["--client-protection", "off"]);
    assert!(signed.works() && unsigned.works());
    let listed = json(&good(run(&["sessions", "--json", "--state", &place.state])));
    let sessions = listed["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    for session in sessions {
        let id = session["id"].to_string();
        let told = place.json(&["explain", "--session", &id]);
        let (outcome, reason) = if session["dialect"] == "3.1.1" {
            ("signed", "peer-requires")
        } else {
            ("unsigned", "not-required")
        };
        assert_eq!(told["outcome"], outcome, "{told}");
        assert_eq!(told["reason"], reason, "{told}");
        assert!(told["text"].as_str().unwrap().contains("bob"), "{told}");
    }
    let complaint = place.bad(&["explain", "--session", "4711"]);
    assert!(
        complaint.contains("there is no session 4711"),
        "{complaint}"
    );
}

#[test]
fn the_matrix_is_printed_in_three_ways() {
    let place = Place::new();
    let table = place.good(&["matrix"]);
    assert!(table.contains("required *"), "{table}");
    assert!(table.contains("SMB 2 and 3, guests"), "{table}");
    let tables = place.json(&["matrix"]);
    let cells = tables["tables"][0]["cells"].as_array().unwrap();
    let cell = cells
        .iter()
        .find(|cell| cell["client"] == "disabled" && cell["server"] == "required")
        .unwrap();
    assert_eq!(cell["outcome"], "refused");
    assert_eq!(cell["reason"], "server-requires-we-cannot");
    assert_eq!(tables["tables"][1]["here"], "required");
    let picture = text(&place.folder.path().join("matrix.svg"));
    place.good(&["matrix", "--format", "svg", "-o", &picture]);
    let picture = fs::read_to_string(picture).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    let complaint = place.bad(&["matrix", "-o", "/proc/none/x"]);
    assert!(complaint.contains("/proc/none/x"), "{complaint}");
}

#[test]
fn history_tells_who_and_undo_takes_back() {
    let place = Place::new();
    assert_eq!(place.json(&["history"])["changes"], Json::Array(Vec::new()));
    assert!(
        place
            .bad(&["undo"])
            .contains("no change that can be undone")
    );
    let server = Server::start(&["serve", "--state", &place.state, "--listen", "127.0.0.1:0"]);
    let _ = server.address();
    place.good(&["set", "server-always=disabled"]);
    place.good(&["set", "server-always=enabled", "client-always=disabled"]);
    assert_eq!(place.value("client-always"), "disabled");
    let undone = place.json(&["undo"]);
    assert_eq!(undone["servers"].as_array().unwrap().len(), 1);
    assert_eq!(place.value("server-always"), "disabled");
    assert_eq!(place.value("client-always"), "enabled");
    let told = place.good(&["undo"]);
    assert!(
        told.contains("server-always: not set (was disabled)"),
        "{told}"
    );
    assert_eq!(place.value("server-always"), "enabled");
    assert!(
        place
            .bad(&["undo"])
            .contains("no change that can be undone")
    );
    let history = place.json(&["history"]);
    let changes = history["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 6);
    assert_eq!(changes[0]["from"], Json::Null);
    assert_eq!(changes[0]["to"], "disabled");
    assert_eq!(changes[0]["how"], "set");
    assert!(!changes[0]["by"].as_str().unwrap().is_empty());
    assert_eq!(changes[5]["undoes"], Json::from(vec![1]));
    let table = place.good(&["history"]);
    assert!(table.contains("set (undone)"), "{table}");
    assert!(table.contains("undo 2"), "{table}");
    bad(run(&place.all(&["undo", "0"])), 2);
    bad(run(&place.all(&["undo", "some"])), 2);
    // Several at once, and more than there are: none.
    place.good(&["set", "server-always=disabled"]);
    place.good(&["set", "server-always=enabled"]);
    assert!(place.bad(&["undo", "3"]).contains("only 2 changes"));
    place.good(&["undo", "2"]);
    assert_eq!(
        place.json(&["show"])["stored"],
        Json::Object(serde_json::Map::new())
    );
}

/// The command killed at any moment: the store is whole, its history tells what it is,
/// and a running server obeys what is in it.
#[test]
fn a_change_that_is_killed_leaves_a_consistent_store() {
    let place = Place::new();
    let server = Server::start(&["serve", "--state", &place.state, "--listen", "127.0.0.1:0"]);
    let _ = server.address();
    let mut killed = 0;
    for round in 0..40_u64 {
        let value = if round % 2 == 0 {
            "disabled"
        } else {
            "enabled"
        };
        let (one, two) = (
            format!("server-always={value}"),
            format!("client-always={value}"),
        );
        let arguments = place.all(&["set", &one, &two]);
        let mut child = command(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(300 * round));
        let _ = child.kill();
        if !child.wait().unwrap().success() {
            killed += 1;
        }
        let history = place.json(&["history"]);
        let stored = place.json(&["show"])["stored"].clone();
        for setting in ["server-always", "client-always"] {
            let mut played = Json::Null;
            for change in history["changes"].as_array().unwrap() {
                if change["setting"] == setting {
                    assert_eq!(change["from"], played, "round {round}: {history}");
                    played = change["to"].clone();
                }
            }
            assert_eq!(stored[setting]["value"], played, "round {round}");
        }
        assert_eq!(
            stored["server-always"]["value"], stored["client-always"]["value"],
            "round {round}: both or none"
        );
    }
    assert!(killed > 0, "no command was killed in time");
    place.good(&["set", "server-always=enabled", "client-always=enabled"]);
    assert_eq!(place.value("server-always"), "enabled");
}

#[test]
fn check_fails_where_it_should_and_writes_reports() {
    let place = Place::new();
    let told = place.good(&["check"]);
    assert!(told.contains("a server started now"), "{told}");
    assert!(told.contains("CIS benchmark"), "{told}");
    place.good(&[
        "check",
        "--baseline",
        "cis",
        "--baseline",
        "stig-server-2025",
        "--fail-on",
        "note",
    ]);
    place.good(&[
        "set",
        "server-always=disabled",
        "server-if-client-agrees=disabled",
    ]);
    let output = run(&place.all(&["check"]));
    let report = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        report.contains("error: both settings of the server are off [server-off]"),
        "{report}"
    );
    assert!(report.contains("remedy: countersign policy set server-always=enabled"));
    assert!(bad(output, 1).contains("findings at or above warning"));
    let local = place.bad(&["check", "--local", "--baseline", "stig-server-2022"]);
    assert!(local.contains("findings"), "{local}");

    // What only a server knows: it is asked.
    let server = Server::start(&[
        "serve",
        "--state",
        &place.state,
        "--listen",
        "127.0.0.1:0",
        "--smb1",
    ]);
    let _ = server.address();
    let report = run(&place.all(&["check", "--json"])).stdout;
    let report: Json = serde_json::from_slice(&report).unwrap();
    let failed = |rule: &str| {
        report["subjects"][0]["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["rule"] == rule && one["status"] == "failed")
    };
    assert!(failed("smb1") && failed("smb1-unsigned") && !failed("ntlmv1"));

    // A file, and the formats of pipelines.
    let file = text(&templates("good/member-server.inf"));
    place.good(&["check", &file, "--baseline", "recommended"]);
    for (format, starts) in [("sarif", "{"), ("junit", "<?xml"), ("json", "{")] {
        let written = text(&place.folder.path().join(format));
        let complaint = place.bad(&[
            "check",
            &file,
            "--baseline",
            "cis",
            "--format",
            format,
            "-o",
            &written,
        ]);
        assert!(
            complaint.contains("1 findings at or above warning"),
            "{complaint}"
        );
        let written = fs::read_to_string(written).unwrap();
        assert!(written.starts_with(starts), "{written}");
        assert!(written.contains("cis/client-always"), "{written}");
    }
    let complaint = place.bad(&["check", &text(&templates("bad/data-2.inf"))]);
    assert!(complaint.contains("data-2.inf:7:"), "{complaint}");
    bad(run(&place.all(&["check", "--baseline", "cos"])), 2);
}

#[test]
fn import_takes_files_whole_or_not_at_all() {
    let place = Place::new();
    let server = Server::start(&["serve", "--state", &place.state, "--listen", "127.0.0.1:0"]);
    let _ = server.address();
    let member = text(&templates("good/member-server.inf"));
    let dry = place.good(&["import", &member, "--dry-run"]);
    assert!(
        dry.contains("client-always: would be disabled (is not set)"),
        "{dry}"
    );
    assert_eq!(place.json(&["history"])["changes"], Json::Array(Vec::new()));
    let done = place.json(&["import", &member]);
    assert_eq!(done["changes"].as_array().unwrap().len(), 4);
    assert_eq!(place.value("client-always"), "disabled");
    assert_eq!(place.value("server-always"), "enabled");
    let again = place.good(&["import", &member]);
    assert!(again.contains("the local policy says the same"), "{again}");
    let history = place.json(&["history"]);
    assert_eq!(history["changes"][0]["how"], "import member-server.inf");

    // One bad line, and nothing of the good ones is taken.
    let bad_file = place.file(
        "bad.inf",
        "[Registry Values]\r\nMACHINE\\System\\CurrentControlSet\\Services\\LanmanWorkstation\\Parameters\\RequireSecuritySignature=4,1\r\nMACHINE\\System\\CurrentControlSet\\Services\\LanManServer\\Parameters\\RequireSecuritySignature=4,yes\r\n",
    );
    let complaint = place.bad(&["import", &bad_file]);
    assert!(complaint.contains("nothing was changed"), "{complaint}");
    assert!(
        complaint.contains("bad.inf:3:94: the data is `yes`; it must be 0 or 1"),
        "{complaint}"
    );
    assert_eq!(place.value("client-always"), "disabled");
    for entry in fs::read_dir(templates("bad")).unwrap() {
        let path = entry.unwrap().path();
        let name = text(&path);
        if name.ends_with(".expected") {
            continue;
        }
        let format = match path.extension().unwrap().to_str().unwrap() {
            "txt" => "lgpo",
            other => other,
        };
        place.bad(&["import", "--format", format, &name]);
    }
    assert_eq!(place.json(&["history"]), history, "nothing was changed");

    // The audit switches, from standard input, and undone as one.
    let pol = fs::read(templates("good/audit.pol")).unwrap();
    let mut child = command(&place.all(&["import", "-"]))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &pol).unwrap();
    assert!(child.wait().unwrap().success());
    let history = place.json(&["history"]);
    let last = history["changes"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert!(
        last["setting"].as_str().unwrap().starts_with("audit-"),
        "{last}"
    );
    let exported = place.json_of(&["export", "--format", "json", "--from", "local"]);
    assert_eq!(
        exported["audit"]["client-does-not-support-signing"],
        "enabled"
    );
    place.good(&["undo"]);
    let exported = place.json_of(&["export", "--format", "json", "--from", "local"]);
    assert_eq!(exported["audit"], Json::Null);

    let nothing = place.good(&["import", &text(&templates("good/nothing-of-ours.inf"))]);
    assert!(nothing.contains("says nothing about signing"), "{nothing}");
    let odd = place.file("odd", "what is this?");
    assert!(place.bad(&["import", &odd]).contains("`--format` says"));
    assert!(place.bad(&["import", "/not/there"]).contains("/not/there"));
    let piped = run_with_input(
        &place.all(&["import", "-", "--format", "json"]),
        "{\"settings\":{}}",
    );
    assert!(good(piped).contains("says nothing"));
}

impl Place {
    fn json_of(&self, arguments: &[&str]) -> Json {
        json(&self.good(arguments))
    }
}

#[test]
fn what_is_exported_is_imported_elsewhere() {
    let here = Place::new();
    here.good(&[
        "set",
        "server-always=enabled",
        "server-if-client-agrees=disabled",
        "client-always=disabled",
        "client-if-server-agrees=enabled",
        "audit-smb1-access=enabled",
        "audit-client-insecure-guest-logon=disabled",
    ]);
    for format in ["inf", "reg", "lgpo", "json", "pol"] {
        let file = text(&here.folder.path().join(format!("policy.{format}")));
        here.good(&["export", "--format", format, "-o", &file]);
        let there = Place::new();
        there.good(&["import", &file]);
        let stored =
            |place: &Place| place.json_of(&["export", "--format", "json", "--from", "local"]);
        let (mut wanted, found) = (stored(&here), stored(&there));
        match format {
            "inf" => wanted
                .as_object_mut()
                .unwrap()
                .remove("audit")
                .map_or((), drop),
            "pol" => wanted["settings"] = Json::Object(serde_json::Map::new()),
            _ => {}
        }
        assert_eq!(found, wanted, "{format}");
    }
    // A template of somebody else's is kept but for our four values.
    let member = text(&templates("good/member-server.inf"));
    let merged = text(&here.folder.path().join("merged.inf"));
    here.good(&[
        "export", "--format", "inf", "--into", &member, "-o", &merged,
    ]);
    let (before, after) = (fs::read(&member).unwrap(), fs::read(&merged).unwrap());
    assert_eq!(before.len(), after.len());
    let differ = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    assert_eq!(differ, 1, "server-if-client-agrees alone has another value");
    for (format, word) in [
        ("powershell", "Set-SmbServerConfiguration"),
        ("dsc", "SecurityOption"),
        ("intune", "LocURI"),
        ("smb-conf", "server signing = mandatory"),
    ] {
        assert!(here.good(&["export", "--format", format]).contains(word));
    }
    let refused = here.bad(&["export", "--format", "dsc", "--into", &member]);
    assert!(refused.contains("written, never read"), "{refused}");
    bad(run(&here.all(&["export", "--format", "docx"])), 2);
}
