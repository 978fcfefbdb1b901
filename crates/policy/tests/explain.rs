//! What two sides come to: the table of the four settings' documentation, for every
//! pair, and the words that explain it.

#![allow(clippy::unwrap_used, reason = "a test's own helpers may fail loudly")]

use countersign_policy::explain::{Explanation, Meeting, Outcome, client_of, explain};
use countersign_policy::matrix::{matrix, svg, text};
use countersign_policy::{
    ContainerKind, Effective, Exception, Family, GpoRef, Identity, Layer, Layers, Posture, Profile,
    Reason, Role, Setting, Settings, Source, Value,
};

fn server(always: Value, if_agrees: Value) -> Effective {
    Effective::of(
        Settings::default()
            .with(Setting::ServerAlways, always)
            .with(Setting::ServerIfClientAgrees, if_agrees),
    )
}

fn of(server: &Effective, client: &Effective, family: Family, identity: Identity) -> Explanation {
    explain(&Meeting {
        server,
        client,
        family,
        identity,
        exception: None,
        share: None,
    })
}

#[test]
fn smb1_is_the_table_of_the_settings() {
    // Client, server: as documented for the two settings of each side.
    let documented = [
        (Posture::Required, Posture::Required, Outcome::Signed),
        (Posture::Required, Posture::Enabled, Outcome::Signed),
        (Posture::Required, Posture::Disabled, Outcome::Refused),
        (Posture::Enabled, Posture::Required, Outcome::Signed),
        (Posture::Enabled, Posture::Enabled, Outcome::Signed),
        (Posture::Enabled, Posture::Disabled, Outcome::Unsigned),
        (Posture::Disabled, Posture::Required, Outcome::Refused),
        (Posture::Disabled, Posture::Enabled, Outcome::Unsigned),
        (Posture::Disabled, Posture::Disabled, Outcome::Unsigned),
        // [MS-SMB] 3.2.4.2.4.
        (Posture::Declined, Posture::Required, Outcome::Signed),
        (Posture::Declined, Posture::Enabled, Outcome::Unsigned),
        (Posture::Declined, Posture::Declined, Outcome::Unsigned),
        (Posture::Declined, Posture::Disabled, Outcome::Unsigned),
        (Posture::Required, Posture::Declined, Outcome::Signed),
        (Posture::Enabled, Posture::Declined, Outcome::Unsigned),
        (Posture::Disabled, Posture::Declined, Outcome::Unsigned),
    ];
    let table = &matrix(None)[0];
    assert_eq!(table.cells.len(), documented.len());
    for (client, server, outcome) in documented {
        let cell = table.get(client.name(), server.name()).unwrap();
        assert_eq!(cell.outcome, outcome, "{client} {server}");
    }
}

#[test]
fn every_value_of_the_settings_gives_its_postures_cell() {
    let table = &matrix(None)[0];
    for own_always in Value::ALL {
        for own_if in Value::ALL {
            let here = server(own_always, own_if);
            for always in Value::ALL {
                for if_agrees in Value::ALL {
                    let client = client_of(always, if_agrees, false);
                    let found = of(&here, &client, Family::Smb1, Identity::User);
                    let cell = table
                        .get(client.client_posture().name(), here.server_posture().name())
                        .unwrap();
                    assert_eq!(
                        (found.outcome, found.reason.code()),
                        (cell.outcome, cell.reason)
                    );
                    for family in [Family::Smb2, Family::Smb311] {
                        let found = of(&here, &client, family, Identity::User);
                        let either = always.is_enabled() || own_always.is_enabled();
                        let wanted = if either {
                            Outcome::Signed
                        } else {
                            Outcome::Unsigned
                        };
                        assert_eq!(found.outcome, wanted);
                    }
                }
            }
        }
    }
}

#[test]
fn guests_are_refused_where_either_side_requires() {
    for family in [Family::Smb1, Family::Smb2, Family::Smb311] {
        for identity in [Identity::Guest, Identity::Anonymous] {
            for own in [Value::Enabled, Value::Disabled] {
                for peer in [Value::Enabled, Value::Disabled] {
                    let found = of(
                        &server(own, Value::Enabled),
                        &client_of(peer, Value::Enabled, false),
                        family,
                        identity,
                    );
                    let refused = own.is_enabled() || peer.is_enabled();
                    assert_eq!(
                        found.outcome == Outcome::Refused,
                        refused,
                        "{family:?} {identity:?} {own} {peer}"
                    );
                    let wanted = if refused {
                        Reason::GuestUnderRequired
                    } else {
                        Reason::NoKeyForIdentity
                    };
                    assert_eq!(found.reason, wanted);
                }
            }
        }
    }
}

#[test]
fn the_text_names_the_setting_and_who_set_it() {
    let mut layers = Layers::new(Profile::Balanced, Role::Member);
    layers.push(Layer::new(
        Source::GroupPolicy(GpoRef {
            name: "Signing servers".to_owned(),
            guid: "{C532ABFE-4425-4493-A1DB-3CC8A7F61061}".to_owned(),
            container: "OU=Servers,DC=lab,DC=example".to_owned(),
            kind: ContainerKind::Ou,
            enforced: false,
        }),
        Settings::default().with(Setting::ServerAlways, Value::Enabled),
        None,
    ));
    let here = layers.effective();
    let client = client_of(Value::Disabled, Value::Disabled, false);
    let mut meeting = Meeting {
        server: &here,
        client: &client,
        family: Family::Smb1,
        identity: Identity::User,
        exception: None,
        share: None,
    };
    let refused = explain(&meeting);
    assert_eq!(
        refused.text(&meeting),
        "SMB1: refused, because the server requires signing (server-always is enabled, set by ou policy Signing servers {C532ABFE-4425-4493-A1DB-3CC8A7F61061}), and on the client both settings are off."
    );
    meeting.family = Family::Smb311;
    assert!(explain(&meeting).text(&meeting).starts_with(
        "SMB 2 and 3: signed, because the server requires it (server-always is enabled, set by ou policy"
    ));
    let exception = Exception {
        id: "scanners".to_owned(),
        client: "10.0.5.0/24".parse().unwrap(),
        account: None,
        machine: None,
        shares: vec!["scans".to_owned()],
        until: u64::MAX,
        reason: "cannot sign before the new firmware".to_owned(),
        read_only: false,
        no_ipc: false,
        guests: false,
    };
    meeting.family = Family::Smb1;
    meeting.exception = Some(&exception);
    let excepted = explain(&meeting);
    assert_eq!(
        (excepted.outcome, excepted.reason),
        (Outcome::Unsigned, Reason::Exception)
    );
    assert!(excepted.text(&meeting).contains("the exception scanners"));
    meeting.share = Some("SCANS");
    assert_eq!(explain(&meeting).outcome, Outcome::Unsigned);
    meeting.share = Some("payroll");
    let other = explain(&meeting);
    assert_eq!(
        (other.outcome, other.reason),
        (Outcome::Refused, Reason::ExceptionShare)
    );
}

#[test]
fn the_matrix_is_written_as_text_and_as_a_picture() {
    let here = server(Value::Disabled, Value::Enabled);
    let tables = matrix(Some(&here));
    let written = text(&tables);
    assert!(
        written.contains("SMB1\nclient \\ server  required"),
        "{written}"
    );
    assert!(written.contains("enabled *"), "{written}");
    assert!(written.contains("not required *"), "{written}");
    assert_eq!(written.matches("* this server").count(), 1);
    let picture = svg(&tables);
    assert!(picture.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
    assert!(picture.trim_end().ends_with("</svg>"));
    let cells: usize = tables.iter().map(|table| table.cells.len()).sum();
    assert_eq!(cells, 2 * (16 + 4));
    assert_eq!(picture.matches("<rect class=").count(), cells);
    for tag in ["<text", "<g>", "<title>"] {
        let close = format!("</{}>", tag.trim_matches(['<', '>']));
        assert_eq!(
            picture.matches(tag).count(),
            picture.matches(&close).count()
        );
    }
}
