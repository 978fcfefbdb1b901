//! The rules of signing written again, from the documentation of the settings and the
//! specifications, by name of the case and without the crate's code; compared with every
//! case of `decision-table.txt`. What each is taken from: `docs/decision-table.md`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own helpers may fail loudly"
)]

mod case;
mod client;
mod server;
mod table;
mod together;

use std::fs;
use std::path::PathBuf;

use case::*;
use client::{client_logon, client_message, client_negotiate, client_sends};
use server::{
    excepted_logon, excepted_negotiate, server_logon, server_message, server_message_excepted,
    server_negotiate, server_sends, shares,
};
use table::{product, reviewed, written};
use together::{live, meetings, profiles};

/// A session has facts, or there is none.
fn whole_session(case: &Case<'_>) -> bool {
    let none = case.is("identity", "none");
    ["key", "required", "encrypt"]
        .iter()
        .all(|name| case.is(name, "-") == none)
}

fn all(_: &Case<'_>) -> bool {
    true
}

struct Section {
    title: &'static str,
    dimensions: Vec<(&'static str, Values)>,
    exists: fn(&Case<'_>) -> bool,
    rule: fn(&Case<'_>) -> String,
}

fn section(
    title: &'static str,
    dimensions: &[(&'static str, Values)],
    exists: fn(&Case<'_>) -> bool,
    rule: fn(&Case<'_>) -> String,
) -> Section {
    Section {
        title,
        dimensions: dimensions.to_vec(),
        exists,
        rule,
    }
}

fn sections() -> Vec<Section> {
    let dialect = ("dialect", DIALECTS);
    let settings = [
        ("always", VALUES),
        ("if-agrees", VALUES),
        ("off means", OFF),
    ];
    let [always, if_agrees, off] = settings;
    let peer = ("peer", PEERS);
    let who = ("identity", WHO);
    let key = ("key", KEY);
    let required = ("required", REQUIRED);
    let established = ("established", ESTABLISHED);
    let exceptions = ("exceptions", &["allowed", "forbidden"][..]);
    let session: [(&str, Values); 4] = [
        ("identity", WHO_OR_NONE),
        ("key", KEY_OR_NONE),
        ("required", REQUIRED_OR_NONE),
        ("encrypt", ENCRYPT_OR_NONE),
    ];
    let [s_who, s_key, s_required, s_encrypt] = session;
    let command = ("command", COMMANDS);
    let state = ("state", STATES);
    let received: [(&str, Values); 2] = [
        ("request", &["request-unsigned"]),
        ("status", &["any-status"]),
    ];
    let request = ("request", &["request-unsigned", "request-signed"][..]);
    let status = ("status", &["any-status", "keyless-failure"][..]);
    let offer = [dialect, always, if_agrees, off, peer];
    let logon = [dialect, always, if_agrees, off, who, key, established, peer];
    let message = [dialect, s_who, s_key, s_required, s_encrypt, command, state];
    let with =
        |base: &[(&'static str, Values)], more: &[(&'static str, Values)]| [base, more].concat();
    let side = |name| -> [(&'static str, Values); 3] {
        match name {
            "client" => [
                ("client always", VALUES),
                ("client if-agrees", VALUES),
                ("client off means", OFF),
            ],
            _ => [
                ("server always", VALUES),
                ("server if-agrees", VALUES),
                ("server off means", OFF),
            ],
        }
    };
    vec![
        section("server, negotiate", &offer, all, server_negotiate),
        section("client, negotiate", &offer, all, client_negotiate),
        section(
            "server, a logon succeeded",
            &with(&logon, &[("response", UNSIGNED)]),
            all,
            server_logon,
        ),
        section(
            "client, a logon succeeded",
            &with(&logon, &[("response", STATES)]),
            all,
            client_logon,
        ),
        section(
            "server, a message came",
            &with(&message, &received),
            whole_session,
            server_message,
        ),
        section(
            "server, a message came, in a session with an exception",
            &with(&message, &received),
            whole_session,
            server_message_excepted,
        ),
        section(
            "client, a message came",
            &with(&message, &[request, status]),
            whole_session,
            client_message,
        ),
        section(
            "server, what it sends",
            &[
                dialect,
                who,
                key,
                required,
                (
                    "reply",
                    &[
                        "Final",
                        "SessionSetupFinal",
                        "Handshake",
                        "Interim",
                        "Break",
                    ],
                ),
                request,
            ],
            all,
            server_sends,
        ),
        section(
            "client, what it sends",
            &[dialect, who, key, required, command],
            all,
            client_sends,
        ),
        section(
            "a policy changes under a live session",
            &[
                ("side", &["Server", "Client"]),
                ("change", &["tighten", "relax", "same"]),
                dialect,
                who,
                key,
                required,
                ("encrypt", ENCRYPT),
                ("so far", &["Nothing", "Always", "NotAlways"]),
            ],
            all,
            live,
        ),
        section(
            "profiles, where no other layer speaks",
            &[
                (
                    "profile",
                    &[
                        "secure",
                        "balanced",
                        "windows-10",
                        "windows-11-24h2",
                        "windows-server-2025",
                    ],
                ),
                (
                    "role",
                    &["stand-alone", "member", "domain-controller", "client"],
                ),
                ("side", &["Server", "Client"]),
                dialect,
            ],
            all,
            profiles,
        ),
        section(
            "a client and a server meet",
            &with(&with(&[dialect, who], &side("client")), &side("server")),
            all,
            meetings,
        ),
        section(
            "server, negotiate, with an exception for the peer's address",
            &[dialect, always, if_agrees, off, exceptions, peer],
            all,
            excepted_negotiate,
        ),
        section(
            "server, a logon succeeded, with an exception for the peer",
            &[
                dialect,
                always,
                if_agrees,
                off,
                exceptions,
                ("exception", &["users", "guests too"]),
                who,
                key,
                established,
                peer,
            ],
            all,
            excepted_logon,
        ),
        section(
            "server, a share is asked for",
            &[
                always,
                exceptions,
                ("exception", &["none", "with IPC$", "no IPC$"]),
                ("share", &["SCANS", "payroll", "IPC$"]),
                ("session", &["unsigned", "protected"]),
            ],
            all,
            shares,
        ),
    ]
}

#[test]
fn every_case_of_the_reviewed_table_is_what_the_sources_say() {
    let written = written(&reviewed());
    let sections = sections();
    let titles: Vec<&str> = written.iter().map(|one| one.title.as_str()).collect();
    let known: Vec<&str> = sections.iter().map(|one| one.title).collect();
    assert_eq!(titles, known, "sections");
    let (mut cases, mut differences) = (0, Vec::new());
    for (section, written) in sections.iter().zip(&written) {
        let names: Vec<&'static str> = section.dimensions.iter().map(|(name, _)| *name).collect();
        assert_eq!(written.names, names, "{}", section.title);
        let mut count = 0;
        for values in product(&section.dimensions) {
            let case = Case {
                names: &names,
                values: &values,
            };
            if !(section.exists)(&case) {
                continue;
            }
            count += 1;
            let covers = |cells: &[Vec<String>]| {
                cells
                    .iter()
                    .zip(&values)
                    .all(|(cell, value)| cell.iter().any(|one| one == "*" || one == value))
            };
            let found: Vec<&str> = written
                .rows
                .iter()
                .filter(|(cells, _)| covers(cells))
                .map(|(_, outcome)| outcome.as_str())
                .collect();
            let wanted = (section.rule)(&case);
            if found != [wanted.as_str()] {
                differences.push(format!(
                    "{}: {}: the table says {found:?}, the sources {wanted:?}",
                    section.title,
                    values.join(" · ")
                ));
            }
        }
        assert_eq!(written.count, count, "{}: cases", section.title);
        cases += count;
    }
    assert!(
        differences.is_empty(),
        "{} of {cases} cases differ, the first:\n{}",
        differences.len(),
        differences[..differences.len().min(20)].join("\n")
    );
    assert!(cases > 40_000, "{cases}");
}

/// FNV-1a, 64 bits.
fn fingerprint(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[test]
fn the_review_is_that_of_this_table() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/decision-table.md");
    let review = fs::read_to_string(path).unwrap();
    let now = fingerprint(&reviewed());
    assert!(
        review.contains(&format!("`{now}`")),
        "decision-table.txt is now {now}: review the difference, then write that into docs/decision-table.md"
    );
}
