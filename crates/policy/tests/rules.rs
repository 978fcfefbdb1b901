//! The rules as the specifications and the documentation of the settings state them,
//! independent of the generated table.

#![allow(clippy::panic, reason = "a test's own helpers may fail loudly")]

use countersign_policy::{
    CommandClass, ContainerKind, Effective, Facts, Family, GpoLayer, GpoRef, GroupPolicyLayers,
    Identity, Layer, Layers, LiveChange, MessageFacts, MessageState, Moment, PeerFlags, Posture,
    Profile, Reason, RefuseStatus, Role, SessionFacts, SessionMoment, Setting, Settings, Side,
    SignedSoFar, Source, Value, Verdict, live_change, verdict,
};

fn posture_policy(side: Side, posture: Posture) -> Effective {
    let (if_agrees, always) = match side {
        Side::Server => (Setting::ServerIfClientAgrees, Setting::ServerAlways),
        Side::Client => (Setting::ClientIfServerAgrees, Setting::ClientAlways),
    };
    let off = Settings::default();
    match posture {
        Posture::Required => Effective::of(off.with(always, Value::Enabled)),
        Posture::Enabled => Effective::of(off.with(if_agrees, Value::Enabled)),
        Posture::Declined => Effective::of(off).with_declined(true),
        Posture::Disabled => Effective::of(off),
    }
}

fn logon(identity: Identity, key: bool, peer: PeerFlags) -> SessionMoment {
    SessionMoment {
        identity,
        key,
        peer,
        established: None,
        response: MessageState::Unsigned,
    }
}

fn ask(side: Side, family: Family, policy: &Effective, moment: Moment<'_>) -> Verdict {
    verdict(&Facts {
        side,
        family,
        policy,
        moment,
        exception: None,
    })
}

/// What becomes of an SMB1 connection of two of ours.
fn smb1(client: Posture, server: Posture) -> &'static str {
    let (client, server) = (
        posture_policy(Side::Client, client),
        posture_policy(Side::Server, server),
    );
    let Verdict::Accept(announced) = ask(
        Side::Server,
        Family::Smb1,
        &server,
        Moment::Negotiate(PeerFlags::default()),
    ) else {
        panic!("a server does not refuse NEGOTIATE");
    };
    let seen = PeerFlags {
        enabled: announced.announce_enabled,
        required: announced.announce_required,
    };
    let Verdict::Accept(asked) = ask(Side::Client, Family::Smb1, &client, Moment::Negotiate(seen))
    else {
        return "refused";
    };
    let peer = PeerFlags {
        enabled: asked.announce_enabled,
        required: asked.announce_required,
    };
    let Verdict::Accept(agreed) = ask(
        Side::Server,
        Family::Smb1,
        &server,
        Moment::Session(logon(Identity::User, true, peer)),
    ) else {
        return "refused";
    };
    let mut answer = logon(Identity::User, true, seen);
    if agreed.sign {
        answer.response = MessageState::Verified;
    }
    match ask(Side::Client, Family::Smb1, &client, Moment::Session(answer)) {
        Verdict::Accept(believed) => {
            assert_eq!(believed.sign, agreed.sign, "the two sides disagree");
            if believed.sign { "signed" } else { "unsigned" }
        }
        _ => "refused",
    }
}

#[test]
fn smb1_of_every_pair_of_postures() {
    use Posture::{Declined, Disabled, Enabled, Required};
    // The documentation of the settings, with Declined from [MS-SMB] 3.2.4.2.4.
    let table = [
        (Disabled, ["unsigned", "unsigned", "unsigned", "refused"]),
        (Declined, ["unsigned", "unsigned", "unsigned", "signed"]),
        (Enabled, ["unsigned", "unsigned", "signed", "signed"]),
        (Required, ["refused", "signed", "signed", "signed"]),
    ];
    for (client, row) in table {
        for (server, expected) in Posture::ALL.into_iter().zip(row) {
            assert_eq!(
                smb1(client, server),
                expected,
                "client {client}, server {server}"
            );
        }
    }
}

#[test]
fn smb2_signs_unless_neither_side_requires_and_never_refuses_for_lack_of_ability() {
    for family in [Family::Smb2, Family::Smb311] {
        for server in Posture::ALL {
            for insists in [false, true] {
                let policy = posture_policy(Side::Server, server);
                let peer = PeerFlags {
                    enabled: false,
                    required: insists,
                };
                let verdict = ask(
                    Side::Server,
                    family,
                    &policy,
                    Moment::Session(logon(Identity::User, true, peer)),
                );
                let Verdict::Accept(protection) = verdict else {
                    panic!("refused: {server} {insists}");
                };
                assert_eq!(protection.required, server == Posture::Required || insists);
                assert!(
                    protection.sign,
                    "the final SESSION_SETUP response is always signed"
                );
            }
        }
    }
}

#[test]
fn a_logon_without_key_is_refused_where_signing_is_required() {
    let required = posture_policy(Side::Server, Posture::Required);
    for family in [Family::Smb1, Family::Smb2, Family::Smb311] {
        for (identity, reason) in [
            (Identity::User, Reason::NoKeyUnderRequired),
            (Identity::Guest, Reason::GuestUnderRequired),
            (Identity::Anonymous, Reason::GuestUnderRequired),
        ] {
            let moment = Moment::Session(logon(identity, false, PeerFlags::default()));
            assert_eq!(
                ask(Side::Server, family, &required, moment),
                Verdict::Refuse {
                    status: RefuseStatus::AccessDenied,
                    sign: false,
                    reason
                },
            );
        }
    }
}

#[test]
fn smb1_peer_that_requires_is_not_served_without_key() {
    let enabled = posture_policy(Side::Server, Posture::Enabled);
    let peer = PeerFlags {
        enabled: true,
        required: true,
    };
    let moment = Moment::Session(logon(Identity::User, false, peer));
    assert_eq!(
        ask(Side::Server, Family::Smb1, &enabled, moment).reason(),
        Reason::NoKeyUnderRequired
    );
}

fn live_session(family: Family, required: bool) -> SessionFacts {
    SessionFacts {
        family,
        identity: Identity::User,
        key: true,
        required,
        encryption_required: false,
        signed_so_far: SignedSoFar::NotAlways,
    }
}

fn server_message(session: &SessionFacts, class: CommandClass, state: MessageState) -> Verdict {
    let policy = Effective::default();
    let message = MessageFacts::request(class, state, Some(session));
    ask(
        Side::Server,
        session.family,
        &policy,
        Moment::Message(message),
    )
}

#[test]
fn bad_signatures_are_never_acted_upon() {
    use CommandClass::{Cancel, Other, SessionSetup, TreeConnect};
    for required in [false, true] {
        for class in [Other, SessionSetup, TreeConnect] {
            let smb1 = live_session(Family::Smb1, true);
            assert_eq!(
                server_message(&smb1, class, MessageState::BadSignature),
                Verdict::Disconnect {
                    reason: Reason::BadSignature
                },
            );
            for family in [Family::Smb2, Family::Smb311] {
                let session = live_session(family, required);
                assert_eq!(
                    server_message(&session, class, MessageState::BadSignature),
                    Verdict::Refuse {
                        status: RefuseStatus::AccessDenied,
                        sign: true,
                        reason: Reason::BadSignature,
                    },
                );
                assert_eq!(
                    server_message(&session, Cancel, MessageState::BadSignature),
                    Verdict::Ignore {
                        reason: Reason::BadSignature
                    },
                );
            }
        }
    }
}

#[test]
fn unsigned_on_required_is_access_denied_and_tree_connect_of_3_1_1_disconnects() {
    for family in [Family::Smb2, Family::Smb311] {
        assert_eq!(
            server_message(
                &live_session(family, true),
                CommandClass::Other,
                MessageState::Unsigned
            ),
            Verdict::Refuse {
                status: RefuseStatus::AccessDenied,
                sign: true,
                reason: Reason::UnsignedOnRequired,
            },
        );
    }
    let tree = |family, required, state| {
        server_message(
            &live_session(family, required),
            CommandClass::TreeConnect,
            state,
        )
    };
    assert_eq!(
        tree(Family::Smb311, false, MessageState::Unsigned),
        Verdict::Disconnect {
            reason: Reason::TreeConnectUnsigned
        },
    );
    // Where signing is required, that check comes first ([MS-SMB2] 3.3.5.2.4).
    assert_eq!(
        tree(Family::Smb311, true, MessageState::Unsigned).reason(),
        Reason::UnsignedOnRequired,
    );
    assert!(matches!(
        tree(Family::Smb2, false, MessageState::Unsigned),
        Verdict::Accept(_)
    ));
    assert!(matches!(
        tree(Family::Smb311, true, MessageState::Encrypted),
        Verdict::Accept(_)
    ));
    let mut guest = live_session(Family::Smb311, false);
    guest.identity = Identity::Guest;
    guest.key = false;
    let verdict = server_message(&guest, CommandClass::TreeConnect, MessageState::Unsigned);
    assert!(matches!(verdict, Verdict::Accept(_)));
}

#[test]
fn a_client_never_falls_back() {
    let enabled = posture_policy(Side::Client, Posture::Enabled);
    let announced = PeerFlags {
        enabled: true,
        required: false,
    };
    for state in [MessageState::Unsigned, MessageState::BadSignature] {
        let mut end = logon(Identity::User, true, announced);
        end.response = state;
        assert!(matches!(
            ask(Side::Client, Family::Smb1, &enabled, Moment::Session(end)),
            Verdict::Disconnect { .. }
        ));
    }
    let required = posture_policy(Side::Client, Posture::Required);
    for family in [Family::Smb1, Family::Smb2, Family::Smb311] {
        let guest = logon(Identity::Guest, false, announced);
        assert_eq!(
            ask(Side::Client, family, &required, Moment::Session(guest)),
            Verdict::Disconnect {
                reason: Reason::GuestUnderRequired
            },
        );
    }
}

#[test]
fn tightening_ends_what_does_not_sign_and_leaves_what_does() {
    let off = posture_policy(Side::Server, Posture::Enabled);
    let on = posture_policy(Side::Server, Posture::Required);
    for family in [Family::Smb1, Family::Smb2, Family::Smb311] {
        let mut unsigned = live_session(family, false);
        unsigned.key = family != Family::Smb1;
        assert_eq!(
            live_change(&off, &on, Side::Server, &unsigned),
            LiveChange::End {
                reason: Reason::PolicyTightened
            },
        );
        let signed = live_session(family, true);
        assert_eq!(
            live_change(&off, &on, Side::Server, &signed),
            LiveChange::Keep
        );
        assert_eq!(
            live_change(&on, &off, Side::Server, &unsigned),
            LiveChange::Keep
        );
    }
    let mut willing = live_session(Family::Smb2, false);
    willing.signed_so_far = SignedSoFar::Always;
    assert_eq!(
        live_change(&off, &on, Side::Server, &willing),
        LiveChange::Tighten
    );
}

fn gpo(kind: ContainerKind, name: &str) -> Source {
    Source::GroupPolicy(GpoRef {
        name: name.to_owned(),
        guid: "{31B2F340-016D-11D2-945F-00C04FB984F9}".to_owned(),
        container: "DC=example".to_owned(),
        kind,
        enforced: false,
    })
}

#[test]
fn what_is_in_force_serialises_as_scripts_expect() {
    let mut layers = Layers::new(Profile::Secure, Role::StandAlone);
    let off = Settings::default().with(Setting::ServerAlways, Value::Disabled);
    layers.push(Layer::new(Source::Local, off, Some(100)));
    let on = Settings::default().with(Setting::ServerAlways, Value::Enabled);
    GroupPolicyLayers {
        objects: vec![GpoLayer {
            gpo: GpoRef {
                name: "Signing".to_owned(),
                guid: "{1}".to_owned(),
                container: "OU=Servers,DC=lab,DC=example".to_owned(),
                kind: ContainerKind::Ou,
                enforced: true,
            },
            settings: on,
            since: Some(200),
            forbid_exceptions: false,
        }],
    }
    .push_onto(&mut layers);
    let json = serde_json::to_value(layers.effective()).unwrap();
    let row = &json["settings"]["server-always"];
    assert_eq!(row["effective"], "enabled");
    assert_eq!(row["since"], 200);
    assert_eq!(row["source"]["layer"], "ou");
    assert_eq!(row["source"]["name"], "Signing");
    assert_eq!(row["source"]["guid"], "{1}");
    assert_eq!(row["source"]["link"], "OU=Servers,DC=lab,DC=example");
    assert_eq!(row["source"]["enforced"], true);
    let shadowed = row["shadowed"].as_array().unwrap();
    assert_eq!(shadowed.len(), 2);
    assert_eq!(shadowed[0]["source"]["layer"], "local");
    assert_eq!(shadowed[0]["value"], "disabled");
    assert_eq!(shadowed[0]["since"], 100);
    assert_eq!(shadowed[1]["source"]["layer"], "profile");
    assert_eq!(
        row["smb1"],
        "required: a client that cannot sign is refused"
    );
    for setting in Setting::ALL {
        assert!(json["settings"][setting.name()]["smb2"].is_string());
    }
}

#[test]
fn layers_shadow_from_weak_to_strong_and_not_defined_says_nothing() {
    let always = Setting::ServerAlways;
    let mut layers = Layers::new(Profile::Secure, Role::StandAlone);
    let local = Settings::default().with(always, Value::Disabled);
    layers.push(Layer::new(Source::Local, local, Some(100)));
    layers.push(Layer::new(
        gpo(ContainerKind::Site, "Berlin"),
        Settings::default(),
        Some(200),
    ));
    let effective = layers.effective();
    let standing = effective.get(always);
    assert_eq!(
        (standing.value, &standing.source),
        (Value::Disabled, &Source::Local)
    );
    assert_eq!(standing.since, Some(100));
    assert_eq!(standing.shadowed.len(), 1);
    assert_eq!(standing.shadowed[0].value, Value::Enabled);
    assert!(!effective.server_requires());
    assert_eq!(effective.server_posture(), Posture::Enabled);

    let domain = Settings::default().with(always, Value::Enabled);
    layers.push(Layer::new(
        gpo(ContainerKind::Domain, "example"),
        domain,
        None,
    ));
    let effective = layers.effective();
    assert!(effective.server_requires());
    assert_eq!(effective.get(always).shadowed.len(), 2);
    assert_eq!(effective.get(always).shadowed[0].source, Source::Local);
}

#[test]
fn nobody_defining_a_setting_acts_as_disabled() {
    let effective = Effective::of(Settings::default());
    assert_eq!(effective.server_posture(), Posture::Disabled);
    assert_eq!(effective.client_posture(), Posture::Disabled);
    let nobody = Layers::default().effective();
    assert_eq!(nobody.get(Setting::ServerAlways).source, Source::Nobody);
    // Where the profile says "not defined", that is where it comes from.
    let profile = Layers::new(Profile::Windows10, Role::Member).effective();
    let standing = profile.get(Setting::ServerAlways);
    assert_eq!(standing.value, Value::NotDefined);
    assert_eq!(
        standing.source,
        Source::Profile(Profile::Windows10, Role::Member)
    );
    assert_eq!(
        effective.with_declined(true).server_posture(),
        Posture::Declined
    );
}

#[test]
fn names_read_back_and_others_are_refused_with_the_names_allowed() {
    for setting in Setting::ALL {
        assert_eq!(setting.name().parse(), Ok(setting));
    }
    for value in Value::ALL {
        assert_eq!(value.name().to_uppercase().parse(), Ok(value));
    }
    for role in Role::ALL {
        assert_eq!(role.name().parse(), Ok(role));
    }
    for profile in Profile::ALL {
        assert_eq!(profile.name().parse(), Ok(profile));
        let json = serde_json::to_string(&profile).unwrap();
        assert_eq!(json, format!("\"{}\"", profile.name()));
    }
    let error = "always".parse::<Setting>().unwrap_err();
    assert!(error.to_string().contains("server-always"), "{error}");
}

#[test]
fn codes_of_reasons_are_unique() {
    let mut codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), Reason::ALL.len());
}
