//! [MS-SMB2] 3.3.4.1.4, 3.3.5.2.1.1, 3.3.5.2.9, 3.3.5.2.11.

use super::*;
use countersign_testkit::wire::Wire;

const THREE: [u16; 3] = [0x300, 0x302, 0x311];

#[test]
fn an_encrypted_request_is_answered_encrypted_without_any_setting() {
    let s = Subject::new(optional());
    for dialect in THREE {
        let mut c = s.alice(dialect);
        c.session().encrypt = true;
        let reply = c.tree_connect(r"\\s\share").unwrap();
        assert_eq!(
            (reply.status(), reply.encrypted),
            (NtStatus::SUCCESS, true),
            "{dialect:#x}"
        );
        let flags = TreeConnectResponse::decode(&reply.message)
            .unwrap()
            .share_flags;
        assert!(!flags.contains(ShareFlags::ENCRYPT_DATA));
        // Inside a transform nothing is signed.
        assert!(!reply.header.is_signed());
        assert_eq!(reply.header.signature, [0; 16]);
        c.session().encrypt = false;
        let reply = echo(&mut c).unwrap();
        assert!(!reply.encrypted);
    }
}

#[test]
fn every_cipher_of_311() {
    let s = Subject::new(required());
    for cipher in 1..=4 {
        let mut c = s.connect();
        c.negotiate(Offer {
            ciphers: Some(vec![cipher]),
            ..Offer::dialect(0x311)
        })
        .unwrap();
        c.logon(&Logon::new("alice", "Passw0rd!")).unwrap();
        c.session().encrypt = true;
        let reply = echo(&mut c).unwrap();
        assert_eq!(
            (reply.status(), reply.encrypted),
            (NtStatus::SUCCESS, true),
            "{cipher}"
        );
    }
}

#[test]
fn an_encrypted_share_says_so_and_refuses_what_is_in_clear() {
    let s = Subject::new(optional());
    for dialect in THREE {
        let mut c = s.alice(dialect);
        let reply = c.tree_connect(r"\\s\secret").unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        let flags = TreeConnectResponse::decode(&reply.message)
            .unwrap()
            .share_flags;
        assert!(flags.contains(ShareFlags::ENCRYPT_DATA));
        let reply = c
            .call(Command::TREE_DISCONNECT, |w| {
                TreeDisconnectRequest.encode(w)
            })
            .unwrap();
        assert_eq!(reply.status(), NtStatus::ACCESS_DENIED, "{dialect:#x}");
        c.session().encrypt = true;
        let reply = c
            .call(Command::TREE_DISCONNECT, |w| {
                TreeDisconnectRequest.encode(w)
            })
            .unwrap();
        assert_eq!((reply.status(), reply.encrypted), (NtStatus::SUCCESS, true));
    }
    // A client that cannot encrypt is not let in.
    for dialect in [0x202, 0x210] {
        let mut c = s.alice(dialect);
        let reply = c.tree_connect(r"\\s\secret").unwrap();
        assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
    }
}

#[test]
fn global_encryption() {
    let s = Subject::with(optional(), |c| c.encrypt = true);
    for dialect in [0x202, 0x210] {
        let reply = s
            .dialect(dialect)
            .logon(&Logon::new("alice", "Passw0rd!"))
            .unwrap();
        assert_eq!(reply.status(), NtStatus::ACCESS_DENIED, "{dialect:#x}");
    }
    for dialect in THREE {
        let mut c = s.dialect(dialect);
        let reply = c.logon(&Logon::new("alice", "Passw0rd!")).unwrap();
        let flags = SessionSetupResponse::decode(&reply.message)
            .unwrap()
            .session_flags;
        assert!(flags.contains(SessionFlags::ENCRYPT_DATA), "{dialect:#x}");
        // The final response is in clear and signed.
        assert_eq!((reply.encrypted, reply.signature), (false, Some(true)));
        let reply = c.tree_connect(r"\\s\share").unwrap();
        assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
        c.session().encrypt = true;
        assert_eq!(
            c.tree_connect(r"\\s\share").unwrap().status(),
            NtStatus::SUCCESS
        );
    }
}

#[test]
fn a_transform_that_does_not_open_disconnects() {
    let s = Subject::new(optional());
    for dialect in THREE {
        for at in [4, 30, 60] {
            let mut c = s.alice(dialect);
            let header = c.header(Command::ECHO);
            let m = Client::<MemoryWire>::message(&header, |w| EchoRequest.encode(w));
            let mut sealed = c.seal(&m);
            sealed[at] ^= 1;
            c.wire.send(&sealed);
            assert!(
                c.reply().is_none() && c.wire.closed(),
                "{dialect:#x} byte {at}"
            );
        }
    }
}

#[test]
fn the_signed_flag_inside_a_transform_means_nothing() {
    let s = Subject::new(required());
    let mut c = s.alice(0x311);
    let header = Header {
        flags: HeaderFlags::SIGNED,
        ..c.header(Command::ECHO)
    };
    let m = Client::<MemoryWire>::message(&header, |w| EchoRequest.encode(w));
    let sealed = c.seal(&m);
    c.wire.send(&sealed);
    let reply = c.reply().unwrap();
    assert_eq!((reply.status(), reply.encrypted), (NtStatus::SUCCESS, true));
    assert!(!reply.header.is_signed());
}
