//! `countersign policy` where many speak at once: every layer in `policy show`, changes that
//! a stronger layer overrules, exceptions that are forbidden; and how the commands refuse
//! what cannot be meant.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own helpers may fail loudly"
)]

mod harness;

use std::fs;
use std::path::{Path, PathBuf};

use harness::client::Client;
use harness::{Server, bad, good, json, run, text};
use serde_json::{Value as Json, json};

struct Place {
    folder: tempfile::TempDir,
    state: String,
    config: String,
}

impl Place {
    fn new(config: &str) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let state = text(&folder.path().join("state"));
        let file = folder.path().join("server.toml");
        fs::write(&file, config).unwrap();
        Place {
            state,
            config: text(&file),
            folder,
        }
    }

    fn all<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let mut all = arguments.to_vec();
        all.extend(["--state", &self.state, "--config", &self.config]);
        all
    }

    fn good(&self, arguments: &[&str]) -> String {
        good(run(&self.all(arguments)))
    }

    fn json(&self, arguments: &[&str]) -> Json {
        let mut all = arguments.to_vec();
        all.push("--json");
        json(&self.good(&all))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Group Policy as it was fetched last.
    fn group_policy(&self, objects: &Json) {
        let stored = json!({
            "domain": "lab.example",
            "account": "files$",
            "controller": "dc1.lab.example",
            "site": "Berlin",
            "computer": "CN=FILES,OU=Servers,DC=lab,DC=example",
            "refreshed": 1_795_000_000,
            "changed": 1_795_000_000,
            "conclusion": {"layers": objects, "considered": []},
        });
        fs::create_dir_all(&self.state).unwrap();
        let path = Path::new(&self.state).join("group-policy.json");
        fs::write(path, stored.to_string()).unwrap();
    }
}

const DOMAIN: &str = "[group-policy]\ndomain = \"lab.example\"\naccount = \"FILES$\"\n";

fn object(name: &str, guid: &str, at: (&str, &str), enforced: bool, settings: &Json) -> Json {
    let (kind, container) = at;
    json!({
        "gpo": {"name": name, "guid": guid, "container": container, "kind": kind, "enforced": enforced},
        "settings": settings,
        "since": 1_795_000_000,
    })
}

fn four_objects() -> Json {
    let always = |value: &str| json!({"server-always": value});
    json!([
        object(
            "Site",
            "{1}",
            (
                "site",
                "CN=Berlin,CN=Sites,CN=Configuration,DC=lab,DC=example"
            ),
            false,
            &always("disabled"),
        ),
        object(
            "Domain",
            "{2}",
            ("domain", "DC=lab,DC=example"),
            false,
            &always("enabled"),
        ),
        object(
            "Servers",
            "{3}",
            ("ou", "OU=Servers,DC=lab,DC=example"),
            false,
            &json!({"server-always": "disabled", "client-always": "disabled"}),
        ),
        object(
            "Must",
            "{4}",
            ("domain", "DC=lab,DC=example"),
            true,
            &always("enabled"),
        ),
    ])
}

#[test]
fn show_has_every_layer_and_a_change_that_is_overruled_is_told() {
    let place = Place::new(&format!(
        "[policy]\nprofile = \"balanced\"\nserver-always = \"disabled\"\n{DOMAIN}"
    ));
    place.group_policy(&four_objects());
    let told = place.good(&["policy", "set", "server-always=disabled"]);
    assert!(
        told.contains("server-always stays enabled, because domain policy Must {4} (enforced) is stronger than the local policy"),
        "{told}"
    );
    let shown = place.json(&["policy", "show"]);
    let row = &shown["settings"]["server-always"];
    assert_eq!(row["effective"], "enabled");
    let source = &row["source"];
    let of = |word: &str| source[word].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        [of("layer"), of("name"), of("guid"), of("link")],
        ["domain", "Must", "{4}", "DC=lab,DC=example"]
    );
    assert_eq!(source["enforced"], true);
    assert_eq!(row["since"], 1_795_000_000);
    let shadowed: Vec<(String, String)> = row["shadowed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let of = |json: &Json| json.as_str().unwrap().to_owned();
            (of(&one["source"]["layer"]), of(&one["value"]))
        })
        .collect();
    let expected = [
        ("ou", "disabled"),
        ("domain", "enabled"),
        ("site", "disabled"),
        ("local", "disabled"),
        ("local", "disabled"),
        ("profile", "disabled"),
    ];
    let expected = expected.map(|(layer, value)| (layer.to_owned(), value.to_owned()));
    assert_eq!(shadowed, expected);
    // Every source has every field.
    let profile = &shown["settings"]["client-if-server-agrees"]["source"];
    assert_eq!(profile["layer"], "profile");
    for word in ["guid", "link", "enforced"] {
        assert_eq!(profile.get(word), Some(&Json::Null), "{word}");
    }
    let table = place.good(&["policy", "show"]);
    for line in [
        "server-always: the policy is linked to DC=lab,DC=example",
        "server-always: shadows disabled by ou policy Servers {3} since 2026-11-18 11:06:40Z",
        "server-always: shadows disabled by configuration file",
        "client-always: shadows disabled by profile balanced (stand-alone)",
    ] {
        assert!(table.contains(line), "{line}: {table}");
    }
    assert_eq!(shown["speaks_smb1"], false);
    assert!(table.contains("SMB1 is off"), "{table}");
    let old = Place::new("[dialects]\nsmb1 = true\n");
    assert_eq!(old.json(&["policy", "show"])["speaks_smb1"], true);
    assert!(!old.good(&["policy", "show"]).contains("SMB1 is off"));
    // In JSON too, and not where nobody stronger speaks.
    let set = place.json(&[
        "policy",
        "set",
        "client-always=enabled",
        "client-if-server-agrees=disabled",
    ]);
    let overruled = set["overruled"].as_array().unwrap();
    assert_eq!(overruled.len(), 1, "{set}");
    assert_eq!(overruled[0]["setting"], "client-always");
    assert_eq!(overruled[0]["effective"], "disabled");
    assert!(
        overruled[0]["source"]
            .as_str()
            .unwrap()
            .contains("ou policy Servers"),
        "{set}"
    );
}

#[test]
fn an_exception_the_configuration_forbids_is_explained_away_without_a_server_too() {
    let ask = |config: &str| {
        let place = Place::new("");
        place.good(&[
            "exception",
            "add",
            "--client",
            "10.0.5.0/24",
            "--until",
            "2099-01-01",
            "--reason",
            "old scanners",
        ]);
        fs::write(&place.config, config).unwrap();
        let explained = place.json(&[
            "policy",
            "explain",
            "--address",
            "10.0.5.7",
            "--client-always",
            "disabled",
            "--dialect",
            "3.1.1",
        ]);
        explained["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(ask(""), "exception");
    assert_eq!(ask("[exceptions]\nallow = false\n"), "policy-requires");
}

#[test]
fn what_cannot_be_meant_is_bad_usage() {
    let place = Place::new("");
    for arguments in [
        &[
            "policy",
            "set",
            "server-always=enabled",
            "server-always=disabled",
        ][..],
        &["policy", "set", "server-always"],
        &["policy", "set", "server-always=yes"],
        &["policy", "set"],
        &["policy", "unset", "always"],
        &["policy", "explain", "--session", "1", "--dialect", "smb1"],
        &[
            "policy",
            "explain",
            "--session",
            "1",
            "--client-always",
            "disabled",
        ],
        &["policy", "explain", "--account", "bob"],
        &["policy", "explain", "--share", "scans"],
        &["policy", "explain", "--session", "one"],
        &["policy", "matrix", "--json", "--format", "svg"],
        &["policy", "check", "a.inf", "--local"],
        &["policy", "export"],
    ] {
        bad(run(&place.all(arguments)), 2);
    }
    assert_eq!(place.json(&["policy", "history"])["changes"], json!([]));
    let complaint = bad(run(&place.all(&["policy", "explain", "--session", "1"])), 1);
    assert!(complaint.contains("no server is running"), "{complaint}");
    // What is not set is not taken out, and nothing is noted.
    let told = place.good(&["policy", "unset", "server-always"]);
    assert!(told.contains("server-always: is not set"), "{told}");
    assert_eq!(
        place.json(&["policy", "unset", "server-always"])["changes"],
        json!([])
    );
    assert_eq!(place.json(&["policy", "history"])["changes"], json!([]));
}

#[test]
fn explain_says_when_the_configuration_lets_nobody_in_like_that() {
    let place = Place::new("[policy]\nprofile = \"balanced\"\n");
    let guest = [
        "policy",
        "explain",
        "--identity",
        "guest",
        "--dialect",
        "3.1.1",
    ];
    let explained = place.json(&guest);
    assert_eq!(explained["outcome"], "unsigned");
    assert_eq!(explained["configured"], false);
    assert!(
        explained["text"]
            .as_str()
            .unwrap()
            .contains("makes nobody a guest"),
        "{explained}"
    );
    assert_eq!(
        place.json(&["policy", "explain", "--dialect", "3.1.1"])["configured"],
        true
    );
    assert_eq!(
        place.json(&["policy", "explain", "--dialect", "smb1"])["configured"],
        false
    );
    let open = Place::new(
        "[policy]\nprofile = \"balanced\"\n[authentication]\nguest = \"unknown-user\"\n",
    );
    assert_eq!(open.json(&guest)["configured"], true);
}

#[test]
fn sessions_are_explained_whichever_server_has_them() {
    let place = Place::new("[policy]\nprofile = \"balanced\"\n");
    let share = format!("files={}", text(place.folder.path()));
    let start = || {
        let flags = [
            "--listen",
            "127.0.0.1:0",
            "--share",
            &share,
            "--user",
            "bob:secret",
        ];
        Server::start(&place.all(&[&["serve"][..], &flags].concat()))
    };
    let servers = [start(), start()];
    let mut clients: Vec<Client> = servers
        .iter()
        .zip(["off", "sign"])
        .map(|(server, how)| {
            Client::start(&server.port(), "SMB3_11", &["--client-protection", how])
        })
        .collect();
    for client in &mut clients {
        assert!(client.works());
    }
    let listed = json(&good(run(&["sessions", "--json", "--state", &place.state])));
    let ids: Vec<String> = listed["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| session["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 2, "{listed}");
    let mut outcomes = Vec::new();
    for (id, session) in ids.iter().zip(listed["sessions"].as_array().unwrap()) {
        let told = place.json(&["policy", "explain", "--session", id]);
        assert_eq!(told["session"]["pid"], session["pid"]);
        let text = told["text"].as_str().unwrap();
        assert!(
            text.contains("In force now: server-always is disabled, set by profile balanced"),
            "{text}"
        );
        outcomes.push(told["outcome"].as_str().unwrap().to_owned());
    }
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["signed", "unsigned"]);
}

#[test]
fn reports_name_the_line_of_the_file() {
    let place = Place::new("");
    let file = place.path("member.inf");
    fs::write(
        &file,
        "[Unicode]\nUnicode=yes\n[Registry Values]\nMACHINE\\System\\CurrentControlSet\\Services\\LanManServer\\Parameters\\EnableSecuritySignature=4,0\nMACHINE\\System\\CurrentControlSet\\Services\\LanManServer\\Parameters\\RequireSecuritySignature=4,0\n",
    )
    .unwrap();
    let file = text(&file);
    let output = run(&place.all(&["policy", "check", &file, "--format", "sarif"]));
    let report: Json = serde_json::from_slice(&output.stdout).unwrap();
    bad(output, 1);
    let results = report["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 1, "{report}");
    let place_of = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(results[0]["ruleId"], "server-off");
    assert_eq!(place_of["region"]["startLine"], 5);
    assert_eq!(place_of["artifactLocation"]["uri"], file.as_str());
    // A file that says nothing has nothing wrong with it.
    let nothing = place.path("nothing.inf");
    fs::write(&nothing, "[Unicode]\nUnicode=yes\n").unwrap();
    place.good(&["policy", "check", &text(&nothing), "--fail-on", "note"]);
    bad(
        run(&place.all(&["policy", "check", &text(&nothing), "--baseline", "cis"])),
        1,
    );
}

#[test]
fn what_is_written_through_a_link_stays_behind_it() {
    let place = Place::new("");
    let (real, link) = (place.path("real.json"), place.path("link.json"));
    fs::write(&real, "old").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    place.good(&["policy", "export", "--format", "json", "-o", &text(&link)]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let written: Json = serde_json::from_str(&fs::read_to_string(&real).unwrap()).unwrap();
    assert_eq!(written["settings"]["server-always"], "enabled");
}
