//! The whole decision table, settings × role × dialect × identity × state of the message,
//! compared with the reviewed `decision-table.txt`. Every case is computed; cases that
//! differ in one dimension only and come out the same share a line (`*`: whatever the
//! value). After an intended change of
//! behaviour: `UPDATE_SNAPSHOTS=1 cargo test -p countersign-policy`, and review the diff.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's own helpers may fail loudly"
)]

use std::collections::HashMap;
use std::fmt::Write as _;

use countersign_policy::explain::{Meeting, explain};
use countersign_policy::{
    CommandClass, Effective, Exception, Facts, Family, Identity, Layers, LiveChange, MessageFacts,
    MessageState, Moment, PeerFlags, Profile, RefuseStatus, ReplyKind, Role, SessionFacts,
    SessionMoment, Setting, Settings, ShareMoment, Side, SignedSoFar, Value, Verdict, live_change,
    reply_is_signed, request_is_signed, verdict,
};

const SIDES: [Side; 2] = [Side::Server, Side::Client];
const FAMILIES: [Family; 3] = [Family::Smb1, Family::Smb2, Family::Smb311];
const IDENTITIES: [Identity; 3] = [Identity::User, Identity::Guest, Identity::Anonymous];
const PEERS: [PeerFlags; 4] = [
    PeerFlags {
        enabled: false,
        required: false,
    },
    PeerFlags {
        enabled: true,
        required: false,
    },
    PeerFlags {
        enabled: true,
        required: true,
    },
    PeerFlags {
        enabled: false,
        required: true,
    },
];
const STATES: [MessageState; 5] = [
    MessageState::Unsigned,
    MessageState::Verified,
    MessageState::BadSignature,
    MessageState::SignedNoKey,
    MessageState::Encrypted,
];
const CLASSES: [CommandClass; 9] = [
    CommandClass::Negotiate,
    CommandClass::SessionSetup,
    CommandClass::SessionBind,
    CommandClass::TreeConnect,
    CommandClass::Cancel,
    CommandClass::ValidateNegotiate,
    CommandClass::Interim,
    CommandClass::Break,
    CommandClass::Other,
];

fn show(verdict: Verdict) -> String {
    match verdict {
        Verdict::Accept(p) => {
            let mut text = String::from("accept");
            for (on, word) in [
                (p.announce_enabled, "announce-enabled"),
                (p.announce_required, "announce-required"),
                (p.sign, "sign"),
                (p.required, "required"),
            ] {
                if on {
                    write!(text, " {word}").unwrap();
                }
            }
            write!(text, " [{}]", p.reason).unwrap();
            text
        }
        Verdict::Refuse {
            status,
            sign,
            reason,
        } => {
            let status = match status {
                RefuseStatus::AccessDenied => "ACCESS_DENIED",
                RefuseStatus::InvalidParameter => "INVALID_PARAMETER",
                RefuseStatus::UserSessionDeleted => "USER_SESSION_DELETED",
            };
            format!(
                "refuse {status}{} [{reason}]",
                if sign { " signed" } else { "" }
            )
        }
        Verdict::Ignore { reason } => format!("ignore [{reason}]"),
        Verdict::Disconnect { reason } => format!("disconnect [{reason}]"),
    }
}

/// Cases of one kind: what the dimensions are called, and every case with its outcome.
struct Cases {
    title: &'static str,
    dimensions: Vec<&'static str>,
    rows: Vec<(Vec<String>, String)>,
}

impl Cases {
    fn new(title: &'static str, dimensions: &[&'static str]) -> Cases {
        Cases {
            title,
            dimensions: dimensions.to_vec(),
            rows: Vec::new(),
        }
    }

    fn case(&mut self, values: &[&str], outcome: String) {
        assert_eq!(values.len(), self.dimensions.len());
        self.rows.push((
            values.iter().map(|value| (*value).to_owned()).collect(),
            outcome,
        ));
    }

    /// Writes the cases, those that share an outcome together.
    fn write(self, out: &mut String) {
        // The values of each dimension, numbered in the order they appear.
        let mut values: Vec<Vec<String>> = vec![Vec::new(); self.dimensions.len()];
        // Sets of values as bits.
        let mut merged: Vec<(Vec<u32>, &str)> = Vec::new();
        for (row, outcome) in &self.rows {
            let mut cell = Vec::new();
            for (known, value) in values.iter_mut().zip(row) {
                let at = known
                    .iter()
                    .position(|one| one == value)
                    .unwrap_or_else(|| {
                        known.push(value.clone());
                        known.len() - 1
                    });
                cell.push(1 << at);
            }
            merged.push((cell, outcome));
        }
        loop {
            let before = merged.len();
            for dimension in (0..self.dimensions.len()).rev() {
                let mut groups: HashMap<(Vec<u32>, &str), u32> = HashMap::new();
                for (mut cell, outcome) in merged {
                    let own = std::mem::take(&mut cell[dimension]);
                    *groups.entry((cell, outcome)).or_default() |= own;
                }
                merged = groups
                    .into_iter()
                    .map(|((mut cell, outcome), own)| {
                        cell[dimension] = own;
                        (cell, outcome)
                    })
                    .collect();
            }
            if merged.len() == before {
                break;
            }
        }
        let numbers = |bits: u32| (0..32).filter(move |at| bits >> at & 1 == 1);
        merged.sort_by_cached_key(|(cell, outcome)| {
            let sets = cell.iter().map(|bits| numbers(*bits).collect::<Vec<u32>>());
            (sets.collect::<Vec<_>>(), outcome.to_owned())
        });
        writeln!(
            out,
            "\n## {} ({} cases)\n{}",
            self.title,
            self.rows.len(),
            self.dimensions.join(" · ")
        )
        .unwrap();
        for (cell, outcome) in merged {
            let names: Vec<String> = cell
                .iter()
                .zip(&values)
                .map(|(bits, known)| {
                    if bits.count_ones() as usize == known.len() && known.len() > 1 {
                        "*".to_owned()
                    } else {
                        numbers(*bits)
                            .map(|at| known[at as usize].as_str())
                            .collect::<Vec<_>>()
                            .join("|")
                    }
                })
                .collect();
            writeln!(out, "{} → {outcome}", names.join(" · ")).unwrap();
        }
    }
}

/// The policies of one side: nine combinations of values, with and without
/// Declined. Names of "always", "if agrees", and Declined.
fn policies(side: Side) -> Vec<([&'static str; 3], Effective)> {
    let (if_agrees, always) = match side {
        Side::Server => (Setting::ServerIfClientAgrees, Setting::ServerAlways),
        Side::Client => (Setting::ClientIfServerAgrees, Setting::ClientAlways),
    };
    let mut all = Vec::new();
    for first in Value::ALL {
        for second in Value::ALL {
            for declined in [false, true] {
                let settings = Settings::default()
                    .with(always, first)
                    .with(if_agrees, second);
                let names = [
                    first.name(),
                    second.name(),
                    yes(declined, "declined", "plain"),
                ];
                all.push((names, Effective::of(settings).with_declined(declined)));
            }
        }
    }
    all
}

fn peer_name(peer: PeerFlags) -> &'static str {
    match (peer.enabled, peer.required) {
        (true, true) => "insists",
        (false, true) => "only-insists",
        (true, false) => "can",
        (false, false) => "silent",
    }
}

/// Signing is there already: [`SessionMoment::established`].
const ESTABLISHED: [Option<bool>; 3] = [None, Some(false), Some(true)];

const fn established_name(established: Option<bool>) -> &'static str {
    match established {
        None => "new",
        Some(false) => "had-optional",
        Some(true) => "had-required",
    }
}

fn yes(is: bool, name: &'static str, is_not: &'static str) -> &'static str {
    if is { name } else { is_not }
}

fn negotiate(out: &mut String) {
    for side in SIDES {
        let title = match side {
            Side::Server => "server, negotiate",
            Side::Client => "client, negotiate",
        };
        let mut cases = Cases::new(
            title,
            &["dialect", "always", "if-agrees", "off means", "peer"],
        );
        for family in FAMILIES {
            for ([always, if_agrees, declined], policy) in policies(side) {
                for peer in PEERS {
                    let facts = Facts {
                        side,
                        family,
                        policy: &policy,
                        moment: Moment::Negotiate(peer),
                        exception: None,
                    };
                    let family = format!("{family:?}");
                    cases.case(
                        &[&family, always, if_agrees, declined, peer_name(peer)],
                        show(verdict(&facts)),
                    );
                }
            }
        }
        cases.write(out);
    }
}

fn session(out: &mut String) {
    for side in SIDES {
        let (title, responses): (_, &[MessageState]) = match side {
            Side::Server => ("server, a logon succeeded", &[MessageState::Unsigned]),
            Side::Client => ("client, a logon succeeded", &STATES),
        };
        let mut cases = Cases::new(
            title,
            &[
                "dialect",
                "always",
                "if-agrees",
                "off means",
                "identity",
                "key",
                "established",
                "peer",
                "response",
            ],
        );
        for family in FAMILIES {
            for ([always, if_agrees, declined], policy) in policies(side) {
                for identity in IDENTITIES {
                    for key in [false, true] {
                        for established in ESTABLISHED {
                            for peer in PEERS {
                                for &response in responses {
                                    let logon = SessionMoment {
                                        identity,
                                        key,
                                        peer,
                                        established,
                                        response,
                                    };
                                    let facts = Facts {
                                        side,
                                        family,
                                        policy: &policy,
                                        moment: Moment::Session(logon),
                                        exception: None,
                                    };
                                    cases.case(
                                        &[
                                            &format!("{family:?}"),
                                            always,
                                            if_agrees,
                                            declined,
                                            &format!("{identity:?}"),
                                            yes(key, "key", "no-key"),
                                            established_name(established),
                                            peer_name(peer),
                                            &format!("{response:?}"),
                                        ],
                                        show(verdict(&facts)),
                                    );
                                }
                            }
                        }
                    }
                }
            }
        }
        cases.write(out);
    }
}

/// Names of identity, key, required, encrypt.
type SessionNames = [String; 4];

fn sessions(family: Family) -> Vec<(SessionNames, SessionFacts)> {
    let mut all = Vec::new();
    for identity in IDENTITIES {
        for key in [false, true] {
            for required in [false, true] {
                for encryption_required in [false, true] {
                    let facts = SessionFacts {
                        family,
                        identity,
                        key,
                        required,
                        encryption_required,
                        signed_so_far: SignedSoFar::Nothing,
                    };
                    let names = [
                        format!("{identity:?}"),
                        yes(key, "key", "no-key").to_owned(),
                        yes(required, "required", "optional").to_owned(),
                        yes(encryption_required, "encrypt", "clear").to_owned(),
                    ];
                    all.push((names, facts));
                }
            }
        }
    }
    all
}

/// The verdict on a message depends on what is pinned in the session and not on
/// the policy: that it does not is checked for every policy. An exception is in force only
/// where the policy requires signing.
fn messages(out: &mut String) {
    let scanners = exception(false, false);
    for (side, excepted, title) in [
        (Side::Server, None, "server, a message came"),
        (
            Side::Server,
            Some(&scanners),
            "server, a message came, in a session with an exception",
        ),
        (Side::Client, None, "client, a message came"),
    ] {
        let mut cases = Cases::new(
            title,
            &[
                "dialect", "identity", "key", "required", "encrypt", "command", "state", "request",
                "status",
            ],
        );
        for family in FAMILIES {
            let none = [
                "none".to_owned(),
                "-".to_owned(),
                "-".to_owned(),
                "-".to_owned(),
            ];
            let mut with = vec![(none, None)];
            with.extend(
                sessions(family)
                    .into_iter()
                    .map(|(names, facts)| (names, Some(facts))),
            );
            for (names, session) in &with {
                for class in CLASSES {
                    for state in STATES {
                        for (request_signed, keyless_failure) in
                            [(false, false), (true, false), (false, true), (true, true)]
                        {
                            if side == Side::Server && (request_signed || keyless_failure) {
                                continue;
                            }
                            let message = MessageFacts {
                                class,
                                state,
                                session: session.as_ref(),
                                request_signed,
                                keyless_failure,
                            };
                            let verdicts: Vec<Verdict> = policies(side)
                                .iter()
                                .filter(|(_, policy)| {
                                    excepted.is_none() || policy.server_requires()
                                })
                                .map(|(_, policy)| {
                                    verdict(&Facts {
                                        side,
                                        family,
                                        policy,
                                        moment: Moment::Message(message),
                                        exception: excepted,
                                    })
                                })
                                .collect();
                            assert!(verdicts.iter().all(|one| *one == verdicts[0]));
                            let [identity, key, required, encrypt] = names;
                            cases.case(
                                &[
                                    &format!("{family:?}"),
                                    identity,
                                    key,
                                    required,
                                    encrypt,
                                    &format!("{class:?}"),
                                    &format!("{state:?}"),
                                    yes(request_signed, "request-signed", "request-unsigned"),
                                    yes(keyless_failure, "keyless-failure", "any-status"),
                                ],
                                show(verdicts[0]),
                            );
                        }
                    }
                }
            }
        }
        cases.write(out);
    }
}

fn sending(out: &mut String) {
    let mut replies = Cases::new(
        "server, what it sends",
        &["dialect", "identity", "key", "required", "reply", "request"],
    );
    let mut requests = Cases::new(
        "client, what it sends",
        &["dialect", "identity", "key", "required", "command"],
    );
    for family in FAMILIES {
        for ([identity, key, required, _], session) in sessions(family) {
            if session.encryption_required {
                // What is sent encrypted is not signed whatever is said here; it says the same.
                let clear = SessionFacts {
                    encryption_required: false,
                    ..session
                };
                assert!(CLASSES.iter().all(|class| {
                    request_is_signed(*class, &session) == request_is_signed(*class, &clear)
                }));
                continue;
            }
            let family = format!("{family:?}");
            for kind in [
                ReplyKind::Final,
                ReplyKind::SessionSetupFinal,
                ReplyKind::Handshake,
                ReplyKind::Interim,
                ReplyKind::Break,
            ] {
                for request_signed in [false, true] {
                    let signed = reply_is_signed(kind, request_signed, &session);
                    replies.case(
                        &[
                            &family,
                            &identity,
                            &key,
                            &required,
                            &format!("{kind:?}"),
                            yes(request_signed, "request-signed", "request-unsigned"),
                        ],
                        yes(signed, "sign", "do not sign").to_owned(),
                    );
                }
            }
            for class in CLASSES {
                let signed = request_is_signed(class, &session);
                requests.case(
                    &[&family, &identity, &key, &required, &format!("{class:?}")],
                    yes(signed, "sign", "do not sign").to_owned(),
                );
            }
        }
    }
    replies.write(out);
    requests.write(out);
}

fn live(out: &mut String) {
    let off = Effective::of(Settings::default());
    let mut cases = Cases::new(
        "a policy changes under a live session",
        &[
            "side", "change", "dialect", "identity", "key", "required", "encrypt", "so far",
        ],
    );
    for side in SIDES {
        let always = match side {
            Side::Server => Setting::ServerAlways,
            Side::Client => Setting::ClientAlways,
        };
        let on = Effective::of(Settings::default().with(always, Value::Enabled));
        for (change, old, new) in [
            ("tighten", &off, &on),
            ("relax", &on, &off),
            ("same", &on, &on),
        ] {
            for family in FAMILIES {
                for ([identity, key, required, encrypt], session) in sessions(family) {
                    for signed_so_far in [
                        SignedSoFar::Nothing,
                        SignedSoFar::Always,
                        SignedSoFar::NotAlways,
                    ] {
                        let session = SessionFacts {
                            signed_so_far,
                            ..session
                        };
                        let outcome = match live_change(old, new, side, &session) {
                            LiveChange::Keep => "keep".to_owned(),
                            LiveChange::Tighten => "keep, and require from now on".to_owned(),
                            LiveChange::End { reason } => format!("end [{reason}]"),
                        };
                        cases.case(
                            &[
                                &format!("{side:?}"),
                                change,
                                &format!("{family:?}"),
                                &identity,
                                &key,
                                &required,
                                &encrypt,
                                &format!("{signed_so_far:?}"),
                            ],
                            outcome,
                        );
                    }
                }
            }
        }
    }
    cases.write(out);
}

/// What the profiles come to: every role, both sides, both protocol families.
fn profiles(out: &mut String) {
    let mut cases = Cases::new(
        "profiles, where no other layer speaks",
        &["profile", "role", "side", "dialect"],
    );
    for profile in Profile::ALL {
        for role in Role::ALL {
            let policy = Layers::new(profile, role).effective();
            for side in SIDES {
                for family in FAMILIES {
                    let verdict = verdict(&Facts {
                        side,
                        family,
                        policy: &policy,
                        moment: Moment::Negotiate(PeerFlags::default()),
                        exception: None,
                    });
                    let posture = match side {
                        Side::Server => policy.server_posture(),
                        Side::Client => policy.client_posture(),
                    };
                    let outcome = match family {
                        Family::Smb1 => format!("{posture}: {}", show(verdict)),
                        _ => show(verdict),
                    };
                    cases.case(
                        &[
                            profile.name(),
                            role.name(),
                            &format!("{side:?}"),
                            &format!("{family:?}"),
                        ],
                        outcome,
                    );
                }
            }
        }
    }
    cases.write(out);
}

/// Both sides together: what negotiation and logon end in.
fn meetings(out: &mut String) {
    let mut cases = Cases::new(
        "a client and a server meet",
        &[
            "dialect",
            "identity",
            "client always",
            "client if-agrees",
            "client off means",
            "server always",
            "server if-agrees",
            "server off means",
        ],
    );
    for family in FAMILIES {
        for identity in IDENTITIES {
            for (of_client, client) in policies(Side::Client) {
                for (of_server, server) in policies(Side::Server) {
                    let found = explain(&Meeting {
                        server: &server,
                        client: &client,
                        family,
                        identity,
                        exception: None,
                        share: None,
                    });
                    let [client_always, client_if, client_off] = of_client;
                    let [server_always, server_if, server_off] = of_server;
                    cases.case(
                        &[
                            &format!("{family:?}"),
                            &format!("{identity:?}"),
                            client_always,
                            client_if,
                            client_off,
                            server_always,
                            server_if,
                            server_off,
                        ],
                        format!("{} [{}]", found.outcome, found.reason),
                    );
                }
            }
        }
    }
    cases.write(out);
}

fn exception(guests: bool, no_ipc: bool) -> Exception {
    Exception {
        id: "scanners".to_owned(),
        client: "10.0.5.0/24".parse().unwrap(),
        account: None,
        machine: None,
        shares: vec!["scans".to_owned()],
        until: u64::MAX,
        reason: "old firmware".to_owned(),
        read_only: false,
        no_ipc,
        guests,
    }
}

/// What an exception changes, and that it changes nothing where the policy forbids it
/// or requires nothing.
fn exceptions(out: &mut String) {
    let mut offers = Cases::new(
        "server, negotiate, with an exception for the peer's address",
        &[
            "dialect",
            "always",
            "if-agrees",
            "off means",
            "exceptions",
            "peer",
        ],
    );
    let mut logons = Cases::new(
        "server, a logon succeeded, with an exception for the peer",
        &[
            "dialect",
            "always",
            "if-agrees",
            "off means",
            "exceptions",
            "exception",
            "identity",
            "key",
            "established",
            "peer",
        ],
    );
    let mut shares = Cases::new(
        "server, a share is asked for",
        &["always", "exceptions", "exception", "share", "session"],
    );
    for allowed in [true, false] {
        let said = yes(allowed, "allowed", "forbidden");
        for ([always, if_agrees, off], policy) in policies(Side::Server) {
            let policy = policy.with_exceptions(allowed);
            let scanners = exception(false, false);
            for (family, peer) in FAMILIES.into_iter().flat_map(|f| PEERS.map(|p| (f, p))) {
                let facts = Facts {
                    side: Side::Server,
                    family,
                    policy: &policy,
                    moment: Moment::Negotiate(peer),
                    exception: Some(&scanners),
                };
                let family = format!("{family:?}");
                offers.case(
                    &[&family, always, if_agrees, off, said, peer_name(peer)],
                    show(verdict(&facts)),
                );
            }
            for guests in [false, true] {
                let exception = exception(guests, false);
                for family in FAMILIES {
                    for identity in IDENTITIES {
                        for key in [false, true] {
                            for (peer, established) in PEERS
                                .into_iter()
                                .flat_map(|peer| ESTABLISHED.map(|established| (peer, established)))
                            {
                                let logon = SessionMoment {
                                    identity,
                                    key,
                                    peer,
                                    established,
                                    response: MessageState::Unsigned,
                                };
                                let facts = Facts {
                                    side: Side::Server,
                                    family,
                                    policy: &policy,
                                    moment: Moment::Session(logon),
                                    exception: Some(&exception),
                                };
                                logons.case(
                                    &[
                                        &format!("{family:?}"),
                                        always,
                                        if_agrees,
                                        off,
                                        said,
                                        yes(guests, "guests too", "users"),
                                        &format!("{identity:?}"),
                                        yes(key, "key", "no-key"),
                                        established_name(established),
                                        peer_name(peer),
                                    ],
                                    show(verdict(&facts)),
                                );
                            }
                        }
                    }
                }
            }
            if if_agrees != "enabled" || off == "declined" {
                continue;
            }
            for (name, exception) in [
                ("none", None),
                ("with IPC$", Some(exception(false, false))),
                ("no IPC$", Some(exception(false, true))),
            ] {
                for (asked, ipc) in [("SCANS", false), ("payroll", false), ("IPC$", true)] {
                    for protected in [false, true] {
                        let facts = Facts {
                            side: Side::Server,
                            family: Family::Smb311,
                            policy: &policy,
                            moment: Moment::Share(ShareMoment {
                                name: asked,
                                ipc,
                                protected,
                            }),
                            exception: exception.as_ref(),
                        };
                        shares.case(
                            &[
                                always,
                                said,
                                name,
                                asked,
                                yes(protected, "protected", "unsigned"),
                            ],
                            show(verdict(&facts)),
                        );
                    }
                }
            }
        }
    }
    offers.write(out);
    logons.write(out);
    shares.write(out);
}

#[test]
fn the_decision_table_is_the_reviewed_one() {
    let mut table = String::from(
        "# What the policy decides in every case. A change here is a change of behaviour.\n\
         # Generated and compared by decision_table.rs. `*`: whatever the value.\n\
         # How to read it, what it was reviewed against, and where sources differ:\n\
         # docs/decision-table.md. Every case is compared with the rules restated in restated/.\n",
    );
    negotiate(&mut table);
    session(&mut table);
    messages(&mut table);
    sending(&mut table);
    live(&mut table);
    profiles(&mut table);
    meetings(&mut table);
    exceptions(&mut table);

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/decision-table.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    let reviewed = std::fs::read_to_string(path).unwrap();
    let difference = table
        .lines()
        .zip(reviewed.lines())
        .enumerate()
        .find(|(_, (now, before))| now != before)
        .map(|(at, (now, before))| {
            format!("line {}:\n  reviewed {before}\n  now      {now}", at + 1)
        });
    assert!(
        table == reviewed,
        "the decision table changed: {}",
        difference.unwrap_or_default()
    );
}
