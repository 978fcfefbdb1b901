//! Every command with good and bad input: exit status and text.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own helpers may fail loudly"
)]

mod harness;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::{Server, bad, good, json, run, run_with_input, text, until};
use serde_json::Value as Json;

#[test]
fn bad_usage_is_code_2_and_says_what_was_meant() {
    for (arguments, expected) in [
        (&["serv"][..], "serve"),
        (&["serve", "--lisen", "x"], "--listen"),
        (&["serve", "--listen", "127.0.0.1"], "is not ADDRESS:PORT"),
        (&["serve", "--share", "public"], "is not NAME=PATH[,ro]"),
        (&["serve", "--share", "a/b=/tmp"], "contains `/`"),
        (&["serve", "--user", "alice"], "not NAME:PASSWORD"),
        (&["serve", "--min-dialect", "3.1"], "did you mean `3.1.1`?"),
        (
            &["serve", "--policy", "server-always"],
            "is not SETTING=VALUE",
        ),
        (
            &["serve", "--policy", "server-allways=enabled"],
            "did you mean `server-always`?",
        ),
        (
            &["serve", "--policy", "server-always=enable"],
            "did you mean `enabled`?",
        ),
        (
            &["serve", "--role", "standalone"],
            "did you mean `stand-alone`?",
        ),
        (
            &["serve", "--profile", "windows-11"],
            "did you mean `windows-1",
        ),
        (&["policy", "set"], "SETTING=VALUE"),
        (
            &["policy", "set", "server-always=on"],
            "`enabled`, `disabled`, `not-defined`",
        ),
        (
            &["policy", "unset", "client-alway"],
            "did you mean `client-always`?",
        ),
        (&["user", "add"], "NAME"),
        (
            &[
                "user",
                "add",
                "a",
                "--password-stdin",
                "--password-file",
                "x",
            ],
            "cannot be used",
        ),
        (&["sessions", "--close", "first"], "invalid"),
        (&["config", "check"], "FILE"),
    ] {
        let complaint = bad(run(arguments), 2);
        assert!(complaint.contains(expected), "{arguments:?}: {complaint}");
    }
}

#[test]
fn a_password_on_a_bad_command_line_is_not_repeated() {
    let complaint = bad(run(&["serve", "--user", "a/b:hunter2"]), 2);
    // clap quotes the argument itself, as the user typed it; what we add does not.
    let ours = complaint.rsplit("': ").next().unwrap_or_default();
    assert!(!ours.contains("hunter2"), "{complaint}");
}

#[test]
fn users_are_added_listed_changed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let state = text(&folder.path().join("state"));
    let state = ["--state", &state];
    let with = |arguments: &[&'static str]| -> Vec<String> {
        arguments
            .iter()
            .chain(&state)
            .map(ToString::to_string)
            .collect()
    };
    let run_in = |arguments: &[&'static str], input: &str| {
        let all = with(arguments);
        run_with_input(&all.iter().map(String::as_str).collect::<Vec<_>>(), input)
    };
    assert_eq!(
        good(run_in(&["user", "list"], "")),
        "NAME  RID  STATE  GROUPS\n"
    );
    good(run_in(
        &[
            "user",
            "add",
            "alice",
            "--password-stdin",
            "--group",
            "staff",
        ],
        "secret\n",
    ));
    let complaint = bad(
        run_in(&["user", "add", "Alice", "--password-stdin"], "secret\n"),
        1,
    );
    assert!(
        complaint.contains("there is a user \"Alice\" already"),
        "{complaint}"
    );
    let complaint = bad(
        run_in(&["user", "add", "a:b", "--password-stdin"], "secret\n"),
        1,
    );
    assert!(
        complaint.contains("cannot be the name of an account"),
        "{complaint}"
    );
    let complaint = bad(run_in(&["user", "add", "bob", "--password-stdin"], "\n"), 1);
    assert!(complaint.contains("empty password"), "{complaint}");
    let complaint = bad(run_in(&["user", "add", "bob"], "secret\n"), 1);
    assert!(complaint.contains("--password-stdin"), "{complaint}");

    let list = json(&good(run_in(&["user", "list", "--json"], "")));
    assert_eq!(list["users"][0]["name"], "alice");
    assert_eq!(list["users"][0]["groups"][0], "staff");

    let file = folder.path().join("state/users");
    let before = fs::read_to_string(&file).unwrap();
    assert!(!before.contains("secret"), "never in clear");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let password = folder.path().join("password");
    fs::write(&password, "other\n").unwrap();
    let password = text(&password);
    let mut passwd = with(&["user", "passwd", "ALICE", "--password-file"]);
    passwd.insert(4, password);
    good(run(&passwd.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_ne!(fs::read_to_string(&file).unwrap(), before);
    let complaint = bad(
        run_in(&["user", "passwd", "bob", "--password-stdin"], "x\n"),
        1,
    );
    assert!(
        complaint.contains("there is no user \"bob\""),
        "{complaint}"
    );

    good(run_in(&["user", "remove", "alice"], ""));
    let complaint = bad(run_in(&["user", "remove", "alice"], ""), 1);
    assert!(complaint.contains("there is no user"), "{complaint}");

    fs::write(&file, "user:broken\n").unwrap();
    let complaint = bad(run_in(&["user", "list"], ""), 1);
    assert!(complaint.contains("line 1"), "{complaint}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let complaint = bad(run_in(&["user", "list"], ""), 1);
    assert!(complaint.contains("chmod 600"), "{complaint}");
}

#[test]
fn the_policy_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let state = text(folder.path());
    let shown = good(run(&["policy", "show", "--state", &state]));
    assert!(shown.contains("no server is running"), "{shown}");
    let set = good(run(&[
        "policy",
        "set",
        "server-always=disabled",
        "--state",
        &state,
    ]));
    assert!(
        set.contains("server-always: disabled (was not set)"),
        "{set}"
    );
    let shown = json(&good(run(&["policy", "show", "--json", "--state", &state])));
    assert_eq!(shown["stored"]["server-always"]["value"], "disabled");
    assert_eq!(shown["servers"][0]["effect"]["server"]["smb1"], "enabled");
    let unset = good(run(&[
        "policy",
        "unset",
        "server-always",
        "--state",
        &state,
    ]));
    assert!(
        unset.contains("server-always: not set (was disabled)"),
        "{unset}"
    );
    let shown = json(&good(run(&["policy", "show", "--json", "--state", &state])));
    assert_eq!(shown["servers"][0]["effect"]["server"]["smb2"], "required");

    fs::write(folder.path().join("policy.json"), "{]").unwrap();
    let complaint = bad(
        run(&["policy", "set", "server-always=enabled", "--state", &state]),
        1,
    );
    assert!(complaint.contains("policy.json"), "{complaint}");
    let none = [
        "policy",
        "set",
        "server-always=enabled",
        "--state",
        "/proc/none",
    ];
    let complaint = bad(run(&none), 1);
    assert!(complaint.contains("/proc/none"), "{complaint}");
}

#[test]
fn sessions_without_a_server_fail() {
    let folder = tempfile::tempdir().unwrap();
    let complaint = bad(run(&["sessions", "--state", &text(folder.path())]), 1);
    assert!(complaint.contains("no server is running"), "{complaint}");
}

#[test]
fn a_configuration_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.toml");
    let path = text(&file);
    let complaint = bad(run(&["config", "check", &path]), 1);
    assert!(complaint.contains("No such file"), "{complaint}");
    fs::write(
        &file,
        "[policy]\nserver-allways = \"enabled\"\n[logging]\nfilter = 1\n",
    )
    .unwrap();
    let complaint = bad(run(&["config", "check", &path]), 1);
    assert!(
        complaint.contains(&format!("{path}:2:1: unknown key `server-allways`")),
        "{complaint}"
    );
    assert!(
        complaint.contains("did you mean `server-always`?"),
        "{complaint}"
    );
    assert!(complaint.contains(&format!("{path}:4:10:")), "{complaint}");
    fs::write(&file, "[logging]\nfilter = \"a=b=c\"\n").unwrap();
    let complaint = bad(run(&["config", "check", &path]), 1);
    assert!(complaint.contains("log filter"), "{complaint}");
    fs::write(&file, "[[share]]\nname = \"a\"\npath = \"/not/there\"\n").unwrap();
    let output = run(&["config", "check", &path]);
    let warning = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(warning.contains("/not/there"), "{warning}");
    assert!(good(output).contains("no mistakes"));
    assert!(good(run(&["config", "reference"])).contains("# Configuration"));
}

#[test]
fn serve_refuses_what_it_cannot_do() {
    let folder = tempfile::tempdir().unwrap();
    let state = text(&folder.path().join("state"));
    let serve = |more: &[&str]| {
        let mut all = vec!["serve", "--state", &state, "--listen", "127.0.0.1:0"];
        all.extend(more);
        bad(run(&all), 1)
    };
    let complaint = serve(&["--share", "a=/not/there"]);
    assert!(complaint.contains("/not/there"), "{complaint}");
    let complaint = serve(&["--config", "/not/there.toml"]);
    assert!(complaint.contains("/not/there.toml"), "{complaint}");
    let complaint = serve(&["--min-dialect", "3.1.1", "--max-dialect", "2.1"]);
    assert!(complaint.contains("is above the highest"), "{complaint}");
    let complaint = serve(&["--log", "a=b=c"]);
    assert!(complaint.contains("log filter"), "{complaint}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let complaint = serve(&["--listen", &address]);
    assert!(
        complaint.contains(&format!("cannot listen on {address}")),
        "{complaint}"
    );
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let complaint = bad(run(&["serve", "--state", &text(&file)]), 1);
    assert!(complaint.contains(&text(&file)), "{complaint}");
}

#[test]
fn the_embedded_default_says_how_to_connect_and_stops_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    for signal in ["-TERM", "-INT"] {
        let state = text(&folder.path().join(signal));
        let server = Server::start(&[
            "serve",
            "--state",
            &state,
            "--listen",
            "127.0.0.1:0",
            "--listen",
            "[::1]:0",
        ]);
        let address = server.address();
        let port = address.strip_prefix("127.0.0.1:").unwrap();
        assert!(server.address().starts_with("[::1]:"));
        let mut told = String::new();
        until("what to type", || {
            told.push_str(&server.line());
            told.push('\n');
            told.contains("Ctrl-C stops")
        });
        assert!(told.contains(&format!("smbclient //127.0.0.1/public -p {port} -U 'user%")));
        assert!(told.contains(r"net use * \\127.0.0.1\public /user:user "));
        assert!(told.contains(&format!("/TCPPORT:{port}")));
        assert!(told.contains(&format!("open smb://user@127.0.0.1:{port}/public")));
        // The line works as it is printed (smbclient must be installed).
        let line = told
            .lines()
            .map(str::trim)
            .find(|line| line.starts_with("smbclient"))
            .unwrap();
        let line = format!("{line} --configfile=/dev/null -c 'mkdir made'");
        let client = Command::new("sh").args(["-c", &line]).output().unwrap();
        assert!(
            client.status.success(),
            "{}",
            String::from_utf8_lossy(&client.stdout)
        );
        assert!(Path::new(&state).join("public/made").is_dir());
        assert!(Path::new(&state).join("public").is_dir());
        std::net::TcpStream::connect(&address).unwrap();
        let (code, log) = server.end(signal);
        assert_eq!(code, Some(0), "{log}");
        let left: Vec<_> = fs::read_dir(&state)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".sock"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn value_of(state: &str, setting: &str) -> (String, String) {
    let shown = json(&good(run(&["policy", "show", "--json", "--state", state])));
    let one = &shown["settings"][setting];
    assert_eq!(one, &shown["servers"][0]["settings"][setting]);
    (
        one["effective"].as_str().unwrap().to_owned(),
        one["source"]["name"].as_str().unwrap().to_owned(),
    )
}

#[test]
fn policy_set_reaches_every_running_server_of_the_state_folder() {
    let folder = tempfile::tempdir().unwrap();
    let state = text(&folder.path().join("state"));
    let arguments = [
        "serve",
        "--state",
        &state,
        "--listen",
        "127.0.0.1:0",
        "--policy",
        "server-always=disabled",
    ];
    let (one, two) = (Server::start(&arguments), Server::start(&arguments));
    let _ = (one.address(), two.address());
    assert_eq!(
        value_of(&state, "server-always"),
        ("disabled".to_owned(), "command line".to_owned())
    );
    let set = json(&good(run(&[
        "policy",
        "set",
        "server-always=enabled",
        "--json",
        "--state",
        &state,
    ])));
    assert_eq!(set["servers"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&set["kept"], &set["ended"]),
        (&Json::from(0), &Json::from(0))
    );
    assert_eq!(
        value_of(&state, "server-always"),
        ("enabled".to_owned(), "local policy".to_owned())
    );
    // A store written by other means is obeyed too, within a second.
    let store = folder.path().join("state/policy.json");
    let changed = fs::read_to_string(&store)
        .unwrap()
        .replace("\"enabled\"", "\"disabled\"");
    fs::write(&store, changed).unwrap();
    let start = Instant::now();
    until("the store is obeyed", || {
        value_of(&state, "server-always").0 == "disabled"
    });
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    good(run(&[
        "policy",
        "unset",
        "server-always",
        "--state",
        &state,
    ]));
    assert_eq!(value_of(&state, "server-always").1, "command line");
    let sessions = json(&good(run(&["sessions", "--json", "--state", &state])));
    assert_eq!(sessions["sessions"], Json::Array(Vec::new()));
    let complaint = bad(run(&["sessions", "--close", "7", "--state", &state]), 1);
    assert!(complaint.contains("there is no session 7"), "{complaint}");
    let (code, log) = one.end("-TERM");
    assert_eq!(code, Some(0));
    assert!(
        log.contains("policy: server-always is now enabled"),
        "{log}"
    );
    assert!(log.contains("policy applied to the live sessions"), "{log}");
}

#[test]
fn the_configuration_is_reloaded_and_a_bad_one_keeps_the_old() {
    let folder = tempfile::tempdir().unwrap();
    let state = text(&folder.path().join("state"));
    let file = folder.path().join("server.toml");
    let write = |server_always: &str| {
        let text = format!(
            "listen = [\"127.0.0.1:0\"]\nstate = \"{state}\"\n[policy]\nserver-always = \"{server_always}\"\n"
        );
        fs::write(&file, text).unwrap();
    };
    write("disabled");
    let server = Server::start(&["serve", "--config", &text(&file)]);
    let _ = server.address();
    let now = || value_of(&state, "server-always");
    assert_eq!(
        now(),
        ("disabled".to_owned(), "configuration file".to_owned())
    );
    write("enabled");
    until("the changed file is in force", || now().0 == "enabled");
    write("enable");
    let refusals = || server.log().matches("the old one stays in force").count();
    until("the bad file is refused", || refusals() >= 1);
    assert_eq!(now().0, "enabled", "a bad file keeps the old configuration");
    let before = refusals();
    server.signal("-HUP");
    until("SIGHUP reads it again", || refusals() > before);
    assert_eq!(now().0, "enabled");
    write("disabled");
    until("the mended file is in force", || now().0 == "disabled");
    let (code, log) = server.end("-TERM");
    assert_eq!(code, Some(0));
    assert!(
        log.contains("configuration refused, the old one stays in force"),
        "{log}"
    );
    assert!(log.contains("server.toml:4:17"), "{log}");
    assert!(log.contains("SIGHUP"), "{log}");
}

#[test]
fn a_state_folder_may_have_a_long_path() {
    let folder = tempfile::tempdir().unwrap();
    let state = text(
        &folder
            .path()
            .join("a-name-of-forty-characters-and-a-few-more")
            .join(
                "another-name-of-forty-characters-and-some-more-so-that-no-socket-address-holds-it",
            ),
    );
    assert!(state.len() > 107);
    let server = Server::start(&["serve", "--state", &state, "--listen", "127.0.0.1:0"]);
    let _ = server.address();
    assert_eq!(value_of(&state, "server-always").0, "enabled");
    let set = good(run(&[
        "policy",
        "set",
        "server-always=disabled",
        "--state",
        &state,
    ]));
    assert!(set.contains("0 ended"), "{set}");
}

#[test]
fn a_server_that_was_killed_leaves_nothing_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let state = text(folder.path());
    let server = Server::start(&["serve", "--state", &state, "--listen", "127.0.0.1:0"]);
    let _ = server.address();
    let _ = server.end("-KILL");
    let complaint = bad(run(&["sessions", "--state", &state]), 1);
    assert!(complaint.contains("no server is running"), "{complaint}");
    let set = good(run(&[
        "policy",
        "set",
        "server-always=disabled",
        "--state",
        &state,
    ]));
    assert!(set.contains("no server is running"), "{set}");
}
