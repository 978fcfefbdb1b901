//! What an exception weakens, and what it does not.

#![allow(clippy::unwrap_used, reason = "a test's own helpers may fail loudly")]

use std::net::IpAddr;

use countersign_policy::{
    Effective, Exception, Exceptions, Facts, Family, Identity, MessageFacts, MessageState, Moment,
    Network, Peer, PeerFlags, Reason, SessionFacts, SessionMoment, Setting, Settings, ShareMoment,
    Side, SignedSoFar, Value, Verdict, exception_for_share, verdict,
};

fn required() -> Effective {
    Effective::of(
        Settings::default()
            .with(Setting::ServerAlways, Value::Enabled)
            .with(Setting::ServerIfClientAgrees, Value::Enabled),
    )
}

fn exception() -> Exception {
    Exception {
        id: "1".to_owned(),
        client: "10.0.5.0/24".parse().unwrap(),
        account: Some("Scanner".to_owned()),
        machine: None,
        shares: vec!["scans".to_owned()],
        until: 2000,
        reason: "a scanner".to_owned(),
        read_only: false,
        no_ipc: false,
        guests: false,
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

fn judge(policy: &Effective, family: Family, moment: Moment<'_>, with: bool) -> Verdict {
    let exception = exception();
    verdict(&Facts {
        side: Side::Server,
        family,
        policy,
        moment,
        exception: with.then_some(&exception),
    })
}

const SILENT: PeerFlags = PeerFlags {
    enabled: false,
    required: false,
};
const INSISTS: PeerFlags = PeerFlags {
    enabled: true,
    required: true,
};

#[test]
fn ranges_of_addresses() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let net: Network = "10.0.5.0/24".parse().unwrap();
    assert!(net.contains(address("10.0.5.255")));
    assert!(net.contains(address("::ffff:10.0.5.1")));
    assert!(!net.contains(address("10.0.6.0")));
    assert!(!net.contains(address("::1")));
    let one: Network = "10.0.5.7".parse().unwrap();
    assert_eq!(one.to_string(), "10.0.5.7/32");
    assert!(one.contains(address("10.0.5.7")) && !one.contains(address("10.0.5.6")));
    let all: Network = "0.0.0.0/0".parse().unwrap();
    assert!(all.contains(address("203.0.113.9")) && !all.contains(address("fd00::1")));
    let six: Network = "fd00:1::/32".parse().unwrap();
    assert!(six.contains(address("fd00:1:2::3")) && !six.contains(address("fd00:2::3")));
    assert!("::/0".parse::<Network>().unwrap().contains(address("::1")));
    // Mapped into IPv6 it is the same range, and no other.
    let mapped: Network = "::ffff:10.0.5.0/120".parse().unwrap();
    assert_eq!(mapped, net);
    let wide: Network = "::ffff:0:0/95".parse().unwrap();
    assert!(!wide.contains(address("10.0.5.1")) && !wide.contains(address("::ffff:10.0.5.1")));
    for (text, exact) in [
        ("10.0.5.0/24", true),
        ("10.0.5.7/24", false),
        ("10.0.5.7", true),
        ("0.0.0.0/0", true),
        ("fd00::/8", true),
        ("fd00::1/64", false),
    ] {
        assert_eq!(text.parse::<Network>().unwrap().is_exact(), exact, "{text}");
    }
    for wrong in ["", "x", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/-1"] {
        assert!(wrong.parse::<Network>().is_err(), "{wrong}");
    }
}

#[test]
fn who_is_meant_and_until_when() {
    let all = Exceptions::new([exception()]);
    let peer = |address: &str, account: &'static str, identity| Peer {
        address: address.parse().unwrap(),
        identity,
        account,
        machine: "",
    };
    let user = Identity::User;
    assert_eq!(
        all.at_session(&peer("10.0.5.1", "SCANNER", user), 1999)
            .len(),
        1
    );
    assert!(
        all.at_session(&peer("10.0.5.1", "scanner", user), 2000)
            .is_empty()
    );
    assert!(
        all.at_session(&peer("10.0.6.1", "scanner", user), 1)
            .is_empty()
    );
    assert!(
        all.at_session(&peer("10.0.5.1", "other", user), 1)
            .is_empty()
    );
    assert!(
        all.at_session(&peer("10.0.5.1", "scanner", Identity::Guest), 1)
            .is_empty()
    );
    assert!(all.at_negotiate("10.0.5.9".parse().unwrap(), 1).is_some());
    assert!(
        all.at_negotiate("10.0.5.9".parse().unwrap(), 2000)
            .is_none()
    );
    assert!(all.still_has(&exception(), 1));
    let other = Exception {
        read_only: true,
        ..exception()
    };
    assert!(!all.still_has(&other, 1), "changed: the session must end");
}

#[test]
fn only_the_requirement_is_lifted() {
    let policy = required();
    for family in [Family::Smb1, Family::Smb2, Family::Smb311] {
        let session = |identity, key, peer| {
            judge(
                &policy,
                family,
                Moment::Session(logon(identity, key, peer)),
                true,
            )
        };
        match session(Identity::User, true, SILENT) {
            Verdict::Accept(protection) => {
                assert!(!protection.required);
                assert_eq!(protection.reason, Reason::Exception);
            }
            other => panic!("{family:?}: {other:?}"),
        }
        // Who insists is signed as ever.
        match session(Identity::User, true, INSISTS) {
            Verdict::Accept(protection) => assert!(protection.required && protection.sign),
            other => panic!("{family:?}: {other:?}"),
        }
        // Guests are not named, null sessions never.
        for identity in [Identity::Guest, Identity::Anonymous] {
            let refused = session(identity, false, SILENT);
            assert_eq!(refused.reason(), Reason::GuestUnderRequired, "{family:?}");
        }
        // In SMB1 NEGOTIATE does not insist: who cannot sign would give up. In SMB 2 and 3
        // it does: who can sign does then, and needs no exception.
        match judge(&policy, family, Moment::Negotiate(SILENT), true) {
            Verdict::Accept(p) => {
                assert!(p.announce_enabled);
                assert_eq!(p.announce_required, family != Family::Smb1);
            }
            other => panic!("{family:?}: {other:?}"),
        }
    }
}

#[test]
fn a_wrong_signature_is_never_excused() {
    let policy = required();
    for family in [Family::Smb1, Family::Smb2, Family::Smb311] {
        let session = SessionFacts {
            family,
            identity: Identity::User,
            key: true,
            required: false,
            encryption_required: false,
            signed_so_far: SignedSoFar::Nothing,
        };
        let message = MessageFacts::request(
            countersign_policy::CommandClass::Other,
            MessageState::BadSignature,
            Some(&session),
        );
        let with = judge(&policy, family, Moment::Message(message), true);
        assert_eq!(
            with,
            judge(&policy, family, Moment::Message(message), false)
        );
        assert_eq!(with.reason(), Reason::BadSignature);
    }
}

#[test]
fn shares_that_are_not_named_are_refused() {
    let policy = required();
    let share = |name: &'static str, ipc, protected| {
        let moment = Moment::Share(ShareMoment {
            name,
            ipc,
            protected,
        });
        judge(&policy, Family::Smb2, moment, true).reason()
    };
    assert_eq!(share("SCANS", false, false), Reason::Exception);
    assert_eq!(share("IPC$", true, false), Reason::Exception);
    assert_eq!(share("other", false, false), Reason::ExceptionShare);
    assert_eq!(share("other", false, true), Reason::PolicyRequires);
    let no_ipc = Exception {
        no_ipc: true,
        ..exception()
    };
    let facts = Facts {
        side: Side::Server,
        family: Family::Smb2,
        policy: &policy,
        moment: Moment::Share(ShareMoment {
            name: "IPC$",
            ipc: true,
            protected: false,
        }),
        exception: Some(&no_ipc),
    };
    assert_eq!(verdict(&facts).reason(), Reason::ExceptionShare);
}

#[test]
fn of_two_exceptions_the_one_that_names_the_share_counts() {
    let all = Exceptions::new([
        exception(),
        Exception {
            id: "2".to_owned(),
            shares: vec!["other".to_owned()],
            read_only: true,
            ..exception()
        },
    ]);
    let all = all.all();
    let id = |share| exception_for_share(all, share, false).unwrap().id.clone();
    assert_eq!(
        (id("other"), id("scans"), id("third")),
        ("2".into(), "1".into(), "1".into())
    );
}

#[test]
fn group_policy_can_forbid_them() {
    let policy = required().with_exceptions(false);
    let moment = Moment::Session(logon(Identity::User, true, SILENT));
    for family in [Family::Smb1, Family::Smb2, Family::Smb311] {
        assert_eq!(
            judge(&policy, family, moment, true),
            judge(&policy, family, moment, false)
        );
    }
}
