//! Reports and what-if over rows of every kind.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's own helpers may fail loudly"
)]

use countersign_audit::{
    Change, Counts, Losses, Outcome, Protection, Report, Row, Standing, Switches, Way, events_of,
    once_each, what_if,
};
use countersign_policy::{Exception, Setting, Settings, Value};

fn row(user: &str, dialect: &str, change: impl FnOnce(&mut Way, &mut Counts)) -> Row {
    let mut way = Way {
        address: "10.0.0.1".parse().unwrap(),
        machine: String::new(),
        user: format!("SERVER\\{user}"),
        identity: "user".to_owned(),
        dialect: dialect.to_owned(),
        offered: dialect.to_owned(),
        can_sign: dialect != "smb1",
        insists: false,
        announced: true,
        key: true,
        signing_required: false,
        algorithm: if dialect == "smb1" {
            ""
        } else {
            "AES-128-CMAC"
        }
        .to_owned(),
        cipher: if dialect.starts_with('3') {
            "AES-128-GCM"
        } else {
            ""
        }
        .to_owned(),
        authentication: "ntlmv2".to_owned(),
        outcome: Outcome::Accepted,
        reason: "not-required".to_owned(),
        exception: String::new(),
    };
    let mut counts = Counts {
        connections: 2,
        bytes_in: 1000,
        bytes_out: 5_000_000_000,
        clear: 2,
        ..Counts::default()
    };
    change(&mut way, &mut counts);
    Row {
        way,
        first_seen: 1,
        last_seen: 2,
        counts,
    }
}

fn standing() -> Standing {
    Standing {
        settings: Settings::default().with(Setting::ServerIfClientAgrees, Value::Enabled),
        undefined: Settings::default(),
        declined: false,
        exceptions_allowed: true,
        exceptions: Vec::new(),
        smb1: true,
        min_dialect: "2.0.2".to_owned(),
        ntlmv1: true,
        guest: true,
        encryption: false,
    }
}

fn rows() -> Vec<Row> {
    vec![
        row("old", "smb1", |_, _| {}),
        row("xp", "smb1", |way, counts| {
            way.can_sign = true;
            way.signing_required = true;
            (counts.signed, counts.clear) = (2, 0);
        }),
        row("v1", "smb1", |way, counts| {
            way.can_sign = true;
            way.signing_required = true;
            way.authentication = "ntlmv1".to_owned();
            (counts.signed, counts.clear) = (2, 0);
        }),
        row("seven", "2.1", |_, _| {}),
        row("eleven", "3.1.1", |way, counts| {
            way.insists = true;
            way.signing_required = true;
            (counts.signed, counts.clear) = (2, 0);
        }),
        row("ten", "3.1.1", |_, _| {}),
        row("guest", "3.1.1", |way, _| {
            way.identity = "guest".to_owned();
            way.authentication = "guest".to_owned();
            way.key = false;
        }),
        row("thief", "3.1.1", |way, _| {
            way.outcome = Outcome::Refused;
            way.authentication = "none".to_owned();
            way.reason = "wrong-password".to_owned();
        }),
    ]
}

fn names(list: &[countersign_audit::Affected]) -> Vec<&str> {
    let mut names: Vec<&str> = list
        .iter()
        .map(|one| one.user.trim_start_matches("SERVER\\"))
        .collect();
    names.sort_unstable();
    names
}

fn ask(change: &str, standing: &Standing) -> countersign_audit::Answer {
    let changes: Vec<Change> = change
        .split_whitespace()
        .map(|one| one.parse().unwrap())
        .collect();
    what_if(&rows(), standing, &changes, 1000)
}

#[test]
fn every_change_cuts_off_whom_it_must() {
    let standing = standing();
    for (change, cut_off, start_signing, unaffected) in [
        (
            "server-always=enabled",
            &["guest", "old"][..],
            &["seven", "ten"][..],
            3,
        ),
        ("min-dialect=2.1", &["old", "v1", "xp"], &[], 4),
        ("min-dialect=3.0", &["old", "seven", "v1", "xp"], &[], 3),
        ("smb1=off", &["old", "v1", "xp"], &[], 4),
        ("ntlmv1=off", &["v1"], &[], 6),
        ("guest=off", &["guest"], &[], 6),
        (
            "encryption=required",
            &["guest", "old", "seven", "v1", "xp"],
            &["ten"],
            1,
        ),
        ("client-always=enabled", &[], &[], 7),
        (
            "smb1=off server-always=enabled",
            &["guest", "old", "v1", "xp"],
            &["seven", "ten"],
            1,
        ),
    ] {
        let answer = ask(change, &standing);
        assert_eq!(names(&answer.cut_off), cut_off, "{change}");
        assert_eq!(names(&answer.start_signing), start_signing, "{change}");
        assert_eq!(answer.unaffected, unaffected, "{change}");
        // An SMB1 peer that is silent may sign when it must.
        let uncertain: Vec<_> = answer.cut_off.iter().filter(|one| !one.certain).collect();
        let silent = change.contains("server-always") && !change.contains("smb1=off");
        assert_eq!(uncertain.len(), usize::from(silent), "{change}");
    }
}

#[test]
fn the_answer_has_what_scripts_depend_on() {
    let answer = serde_json::to_value(ask("server-always=enabled", &standing())).unwrap();
    assert_eq!(answer["unaffected"], 3);
    let one = &answer["cut_off"][0];
    for key in [
        "address",
        "machine",
        "user",
        "dialect",
        "last_seen",
        "connections",
        "bytes",
    ] {
        assert!(!one[key].is_null(), "{key}");
    }
    assert_eq!(one["bytes"], 5_000_001_000_u64);
    let cost = &answer["start_signing"][0]["cost"];
    assert_eq!(cost["bytes"], 5_000_001_000_u64);
    assert!(cost["cpu_seconds"].as_f64().unwrap() > 1.0);
}

#[test]
fn a_silent_peer_is_certain_once_a_refusal_showed_that_it_does_not_sign() {
    let quiet = row("quiet", "smb1", |_, _| {});
    let change = ["server-always=enabled".parse().unwrap()];
    let answer = what_if(std::slice::from_ref(&quiet), &standing(), &change, 1);
    assert_eq!(
        (answer.cut_off.len(), answer.cut_off[0].certain),
        (1, false)
    );
    let refused = |user| {
        row(user, "smb1", |way, _| {
            way.outcome = Outcome::Refused;
            way.reason = "bad-signature".to_owned();
        })
    };
    for (user, certain) in [("other", false), ("quiet", true)] {
        let rows = [quiet.clone(), refused(user)];
        let answer = what_if(&rows, &standing(), &change, 1);
        assert_eq!(
            (answer.cut_off.len(), answer.cut_off[0].certain),
            (1, certain)
        );
    }
}

#[test]
fn a_silent_peer_that_signed_when_it_had_to_starts_to_sign() {
    let quiet = row("quiet", "smb1", |_, _| {});
    // The same peer on a day on which the policy required it: it did not offer, and signed.
    let signed = row("quiet", "smb1", |way, counts| {
        way.signing_required = true;
        way.reason = "policy-requires".to_owned();
        (counts.signed, counts.clear) = (1, 0);
    });
    let change = ["server-always=enabled".parse().unwrap()];
    let answer = what_if(&[quiet.clone(), signed.clone()], &standing(), &change, 1);
    assert_eq!(names(&answer.start_signing), ["quiet"]);
    assert!(answer.start_signing[0].certain && answer.cut_off.is_empty());
    assert_eq!(answer.start_signing[0].connections, 2, "those in clear");
    // The latest word counts: today it was turned away because it did not sign.
    let mut refused = row("quiet", "smb1", |way, _| {
        way.outcome = Outcome::Refused;
        way.reason = "bad-signature".to_owned();
    });
    refused.last_seen = 9;
    let answer = what_if(&[quiet, signed, refused], &standing(), &change, 1);
    assert_eq!(names(&answer.cut_off), ["quiet"]);
    assert!(answer.cut_off[0].certain);
}

#[test]
fn a_peer_that_was_never_told_may_start_to_sign() {
    let mut standing = standing();
    standing
        .settings
        .set(Setting::ServerIfClientAgrees, Value::Disabled);
    let untold = row("untold", "smb1", |way, _| way.announced = false);
    let told = row("told", "smb1", |_, _| {});
    let able = row("able", "smb1", |way, _| way.can_sign = true);
    let rows = [untold, told, able];
    let change = ["server-if-client-agrees=enabled".parse().unwrap()];
    let answer = what_if(&rows, &standing, &change, 1);
    assert_eq!(names(&answer.start_signing), ["able", "untold"]);
    for one in &answer.start_signing {
        assert_eq!(one.certain, one.user.ends_with("able"));
        assert_eq!(one.reason, "both-agree");
    }
    assert_eq!(answer.unaffected, 1);
}

#[test]
fn who_would_no_longer_have_to_sign_is_named() {
    let mut standing = standing();
    standing.settings.set(Setting::ServerAlways, Value::Enabled);
    let signs = |user, insists| {
        row(user, "3.1.1", |way, counts| {
            way.signing_required = true;
            way.insists = insists;
            (counts.signed, counts.clear) = (2, 0);
        })
    };
    let rows = [signs("seven", false), signs("eleven", true)];
    let change = ["server-always=disabled".parse().unwrap()];
    let answer = what_if(&rows, &standing, &change, 1);
    assert_eq!(names(&answer.stop_signing), ["seven"]);
    assert_eq!((answer.unaffected, answer.cut_off.len()), (1, 0));
}

#[test]
fn not_defined_means_what_would_come_to_be_in_force() {
    let change = ["server-always=not-defined".parse().unwrap()];
    for (below, cut_off) in [
        (Value::Enabled, 2),
        (Value::Disabled, 0),
        (Value::NotDefined, 0),
    ] {
        let mut standing = standing();
        standing.undefined.set(Setting::ServerAlways, below);
        let answer = what_if(&rows(), &standing, &change, 1000);
        assert_eq!(answer.cut_off.len(), cut_off, "{below:?}");
    }
}

#[test]
fn nothing_is_asked_twice() {
    let changes = |text: &str| -> Vec<Change> {
        text.split_whitespace()
            .map(|one| one.parse().unwrap())
            .collect()
    };
    assert!(once_each(&changes("smb1=off guest=off server-always=enabled")).is_ok());
    for twice in [
        "smb1=off smb1=off",
        "min-dialect=3.0 guest=off min-dialect=2.1",
        "server-always=enabled server-always=disabled",
    ] {
        assert!(once_each(&changes(twice)).is_err(), "{twice}");
    }
}

#[test]
fn many_peers_are_judged_in_time() {
    let mut standing = standing();
    let exception = Exception {
        id: "1".to_owned(),
        client: "192.0.2.0/24".parse().unwrap(),
        account: None,
        machine: None,
        shares: Vec::new(),
        until: 2000,
        reason: "x".to_owned(),
        read_only: false,
        no_ipc: false,
        guests: false,
    };
    standing.exceptions = vec![exception];
    let rows: Vec<Row> = (0..20_000)
        .map(|n| row(&format!("u{n}"), "smb1", |_, _| {}))
        .collect();
    let begun = std::time::Instant::now();
    let change = ["server-always=enabled".parse().unwrap()];
    let answer = what_if(&rows, &standing, &change, 1000);
    assert_eq!(answer.cut_off.len(), 20_000);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn an_exception_keeps_its_peer() {
    let mut standing = standing();
    standing.exceptions.push(Exception {
        id: "1".to_owned(),
        client: "10.0.0.0/8".parse().unwrap(),
        account: Some("old".to_owned()),
        machine: None,
        shares: Vec::new(),
        until: 2000,
        reason: "old".to_owned(),
        read_only: false,
        no_ipc: false,
        guests: false,
    });
    assert_eq!(
        names(&ask("server-always=enabled", &standing).cut_off),
        ["guest"]
    );
    standing.exceptions_allowed = false;
    let answer = ask("server-always=enabled", &standing);
    assert_eq!(names(&answer.cut_off), ["guest", "old"]);
}

#[test]
fn changes_that_are_none_are_refused() {
    for wrong in [
        "",
        "server-always",
        "server-always=on",
        "smb1=on",
        "min-dialect=4",
        "guests=off",
        "encryption=off",
    ] {
        assert!(wrong.parse::<Change>().is_err(), "{wrong}");
    }
}

#[test]
fn who_is_turned_away_now_may_be_let_in() {
    let mut standing = standing();
    standing.settings.set(Setting::ServerAlways, Value::Enabled);
    let rows = [row("old", "smb1", |way, _| {
        way.outcome = Outcome::Refused;
        way.reason = "guest-under-required".to_owned();
        way.identity = "guest".to_owned();
        way.authentication = "guest".to_owned();
    })];
    let change = ["server-always=disabled".parse().unwrap()];
    assert_eq!(what_if(&rows, &standing, &change, 1).let_in.len(), 1);
}

#[test]
fn a_report_in_every_form() {
    let mut rows = rows();
    rows.push(row("=cmd,\"<script>\"\u{1b}", "3.0", |way, _| {
        way.machine = "=EVIL".to_owned();
    }));
    let report = Report::of(&rows, 0, 10);
    assert_eq!(report.peers.len(), 9);
    assert_eq!(report.totals["unsigned"], 5);
    assert_eq!(report.totals["signed"], 3);
    assert_eq!(report.totals["refused"], 1);
    assert!(
        report
            .peers
            .iter()
            .any(|p| p.protection == Protection::Refused)
    );
    let (head, table) = report.table();
    assert_eq!((head.len(), table.len()), (12, 9));
    let csv = report.csv();
    assert_eq!(csv.lines().count(), 10);
    assert!(report.lost_in_words().is_none());
    let lost = report.clone().with_losses(Losses {
        dropped: 7,
        failed: 0,
    });
    assert!(lost.html().contains("7 notes did not fit"));
    assert_eq!(serde_json::to_value(&lost).unwrap()["lost"]["dropped"], 7);
    assert!(
        csv.contains(",'=EVIL,\"SERVER\\=cmd,\"\"<script>\"\"\u{FFFD}\","),
        "{csv}"
    );
    let html = report.html();
    assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"));
    assert!(html.contains("<svg") && html.matches("<rect").count() >= 8);
    for loaded in ["src=", "href=", "@import", "url("] {
        assert!(!html.contains(loaded), "{loaded}");
    }
}

#[test]
fn no_cell_is_a_formula_in_any_program() {
    for evil in [
        "=1+1",
        "+1",
        "-1+2",
        "@SUM(A1)",
        " =1+1",
        "\t=1",
        "\u{FF1D}1+1",
        "a;=1+1",
        "a\t=1",
        "a|=1",
        "\"=1",
        "a\r\n=1",
    ] {
        let one = row("x", "3.0", |way, _| {
            way.machine = evil.to_owned();
            way.user = String::new();
        });
        let csv = Report::of(&[one], 0, 1).csv();
        assert_eq!(csv.lines().count(), 2, "{evil:?}: {csv}");
        let line = csv.lines().nth(1).unwrap();
        let cell = line.strip_prefix("10.0.0.1,").unwrap();
        // What stands in it: without its own quotes.
        let first = match cell.strip_prefix('"') {
            Some(quoted) => quoted.chars().next().unwrap(),
            None => cell.chars().next().unwrap(),
        };
        assert!(
            !matches!(first, '=' | '+' | '-' | '@' | ' ' | '\u{FF1D}'),
            "{evil:?}: {cell}"
        );
        if evil.contains([';', '|']) {
            assert!(cell.starts_with('"'), "{evil:?}: {cell}");
        }
    }
}

#[test]
fn events_have_windows_names_and_ids() {
    let all = Switches {
        client_does_not_support_encryption: true,
        ..Switches::default()
    };
    let ids = |row: &Row, switches: &Switches| -> Vec<(&'static str, Option<u16>)> {
        events_of(1, &row.way, switches)
            .iter()
            .map(|event| (event.name, event.id))
            .collect()
    };
    let smb1 = ("AuditSmb1Access", Some(3000));
    let signing = ("AuditClientDoesNotSupportSigning", Some(3021));
    let encryption = ("AuditClientDoesNotSupportEncryption", Some(3022));
    let guest = ("AuditInsecureGuestLogon", None);
    let rows = rows();
    assert_eq!(ids(&rows[0], &all), [smb1, signing, encryption]);
    assert_eq!(ids(&rows[0], &Switches::default()), [smb1, signing]);
    // Where signing is required its next message shows it, not what it offers.
    let required = |outcome, reason: &str| {
        row("old", "smb1", |way, _| {
            way.signing_required = true;
            way.outcome = outcome;
            way.reason = reason.to_owned();
        })
    };
    let held = required(Outcome::Accepted, "policy-requires");
    assert_eq!(ids(&held, &Switches::default()), [smb1]);
    let caught = required(Outcome::Refused, "bad-signature");
    assert_eq!(ids(&caught, &Switches::default()), [smb1, signing]);
    assert_eq!(ids(&rows[4], &all), []);
    assert_eq!(ids(&rows[6], &Switches::default()), [guest]);
    let none = Switches {
        smb1_access: false,
        client_does_not_support_signing: false,
        client_does_not_support_encryption: false,
        insecure_guest_logon: false,
    };
    assert!(rows.iter().all(|row| ids(row, &none).is_empty()));
}
