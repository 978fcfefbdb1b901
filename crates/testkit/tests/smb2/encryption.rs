//! [MS-SMB2] 3.3.4.1.4, 3.3.5.2.1.1, 3.3.5.2.9 and 3.3.5.2.11.

use countersign_testkit::memory::MemoryWire;
use countersign_testkit::smb2::{Client, Logon, Offer};
use countersign_testkit::wire::Wire;
use countersign_wire::smb2::*;
use countersign_wire::{Guid, NtStatus};

use crate::*;

/// Every dialect and cipher that encrypts.
fn encrypting(server: &TestServer) -> Vec<Client<MemoryWire>> {
    let mut out = Vec::new();
    // Different machines: one client speaks one dialect.
    for dialect in [dialect::SMB_3_0, dialect::SMB_3_0_2] {
        let mut client = Client::new(server.connect());
        let guid = Guid([u8::try_from(dialect & 0xFF).unwrap() + 1; 16]);
        client
            .negotiate(Offer {
                guid,
                ..Offer::dialect(dialect)
            })
            .unwrap();
        out.push(client);
    }
    for cipher in [1, 2, 3, 4] {
        let mut client = Client::new(server.connect());
        let offer = Offer {
            ciphers: Some(vec![cipher]),
            ..Offer::dialect(dialect::SMB_3_1_1)
        };
        client.negotiate(offer).unwrap();
        out.push(client);
    }
    out
}

fn alice() -> Logon {
    Logon::new("alice", PASSWORD)
}

#[test]
fn an_encrypted_request_gets_an_encrypted_unsigned_answer() {
    for server in [TestServer::new(|_| {}), TestServer::required()] {
        for mut client in encrypting(&server) {
            client.logon(&alice()).unwrap();
            client.session().encrypt = true;
            let reply = client.tree_connect(r"\\server\share").unwrap();
            assert_eq!((reply.status(), reply.encrypted), (NtStatus::SUCCESS, true));
            let body = TreeConnectResponse::decode(&reply.message).unwrap();
            assert!(!body.share_flags.contains(ShareFlags::ENCRYPT_DATA));
            let reply = echo(&mut client).unwrap();
            assert!(reply.encrypted && !reply.header.is_signed());
            assert_eq!(reply.header.signature, [0; 16]);
            // Plain ones stay plain.
            client.session().encrypt = false;
            let reply = echo(&mut client).unwrap();
            assert_eq!((reply.encrypted, reply.signature), (false, Some(true)));
            // SIGNED inside a transform means nothing.
            client.session().encrypt = true;
            let reply = client
                .call_with(
                    Command::ECHO,
                    |h| {
                        h.flags |= HeaderFlags::SIGNED;
                        h.signature = [7; 16];
                    },
                    |w| EchoRequest.encode(w),
                )
                .unwrap();
            assert_eq!((reply.status(), reply.encrypted), (NtStatus::SUCCESS, true));
            assert_eq!(reply.header.signature, [0; 16]);
        }
    }
}

#[test]
fn a_server_that_encrypts() {
    let server = TestServer::new(|c| c.encrypt = true);
    for mut client in encrypting(&server) {
        let reply = client.logon(&alice()).unwrap();
        assert_eq!((reply.encrypted, reply.signature), (false, Some(true)));
        let body = SessionSetupResponse::decode(&reply.message).unwrap();
        assert!(body.session_flags.contains(SessionFlags::ENCRYPT_DATA));
        let reply = client.tree_connect(r"\\server\share").unwrap();
        assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
        client.session().encrypt = true;
        let reply = client.tree_connect(r"\\server\share").unwrap();
        assert_eq!((reply.status(), reply.encrypted), (NtStatus::SUCCESS, true));
    }
    // Who cannot encrypt is not let in.
    for dialect in DIALECTS {
        let mut client = Client::new(server.connect());
        let offer = Offer {
            capabilities: Capabilities::empty(),
            ciphers: None,
            ..Offer::dialect(dialect)
        };
        client.negotiate(offer).unwrap();
        assert_eq!(
            client.logon(&alice()).unwrap().status(),
            NtStatus::ACCESS_DENIED
        );
    }
}

#[test]
fn a_share_that_encrypts() {
    let server = TestServer::new(|_| {});
    for mut client in encrypting(&server) {
        client.logon(&alice()).unwrap();
        let reply = client.tree_connect(r"\\server\secret").unwrap();
        assert_eq!(
            (reply.status(), reply.encrypted),
            (NtStatus::SUCCESS, false)
        );
        let body = TreeConnectResponse::decode(&reply.message).unwrap();
        assert!(body.share_flags.contains(ShareFlags::ENCRYPT_DATA));
        let plain = client
            .call(Command::TREE_DISCONNECT, |w| {
                TreeDisconnectRequest.encode(w)
            })
            .unwrap();
        assert_eq!(
            (plain.status(), plain.encrypted),
            (NtStatus::ACCESS_DENIED, false)
        );
        client.session().encrypt = true;
        let sealed = client
            .call(Command::TREE_DISCONNECT, |w| {
                TreeDisconnectRequest.encode(w)
            })
            .unwrap();
        assert_eq!(
            (sealed.status(), sealed.encrypted),
            (NtStatus::SUCCESS, true)
        );
    }
    for dialect in DIALECTS {
        let mut client = Client::new(server.connect());
        let offer = Offer {
            capabilities: Capabilities::empty(),
            ciphers: None,
            ..Offer::dialect(dialect)
        };
        client.negotiate(offer).unwrap();
        client.logon(&alice()).unwrap();
        let reply = client.tree_connect(r"\\server\secret").unwrap();
        assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
    }
}

#[test]
fn what_does_not_open_ends_the_connection() {
    let server = TestServer::new(|_| {});
    for at in [0, 4, 20, 36, 42, 44, 52, 60, 119] {
        for mut client in encrypting(&server) {
            client.logon(&alice()).unwrap();
            let header = client.header(Command::ECHO);
            let plain = Client::<MemoryWire>::message(&header, |w| EchoRequest.encode(w));
            let mut sealed = client.seal(&plain);
            assert_eq!(sealed.len(), 120);
            sealed[at] ^= 1;
            client.wire.send(&sealed);
            assert!(client.reply().is_none());
            assert!(client.wire.closed());
        }
    }
    // A message of another session inside the transform.
    for mut client in encrypting(&server) {
        client.logon(&alice()).unwrap();
        let first = client.session().id;
        client.logon(&Logon::new("bob", BOB)).unwrap();
        let mut header = client.header(Command::ECHO);
        header.session_id = first;
        let plain = Client::<MemoryWire>::message(&header, |w| EchoRequest.encode(w));
        let sealed = client.seal(&plain);
        client.wire.send(&sealed);
        assert!(client.wire.closed());
    }
    // Every length of a frame that claims to be encrypted.
    let mut client = encrypting(&server).remove(0);
    client.logon(&alice()).unwrap();
    let header = client.header(Command::ECHO);
    let sealed = client.seal(&Client::<MemoryWire>::message(&header, |w| {
        EchoRequest.encode(w)
    }));
    for length in 4..sealed.len() {
        let mut other = negotiated(&server, dialect::SMB_3_0);
        other.wire.send(&sealed[..length]);
        assert!(other.wire.closed());
    }
}
