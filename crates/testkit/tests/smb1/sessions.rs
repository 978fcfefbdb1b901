//! NEGOTIATE, logons, trees, ECHO.

use crate::client::Client;
use countersign_testkit::wire::Wire;
use countersign_wire::NtStatus;
use countersign_wire::smb1::negotiate::encode_dialects;
use countersign_wire::smb1::open::encode_formatted;
use countersign_wire::smb1::session_setup_andx::{LanmanWords, Names, SessionSetupRequest};
use countersign_wire::smb1::{Command, DosError, Flags2, HEADER};

use crate::*;

#[test]
fn the_dialect_chosen_is_nt_lm_0_12_wherever_it_stands() {
    let server = TestServer::new(|_| {});
    for (dialects, index) in [
        (vec!["NT LM 0.12"], 0),
        (vec!["PC NETWORK PROGRAM 1.0", "LANMAN1.0", "NT LM 0.12"], 2),
        (vec!["PC NETWORK PROGRAM 1.0", "LANMAN1.0"], 0xFFFF),
        (vec![], 0xFFFF),
    ] {
        let mut client = Client::new(server.connect());
        let reply = client
            .command(Command::NEGOTIATE, Vec::new(), encode_dialects(&dialects))
            .unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        assert_eq!(reply.block().words[..2], u16::to_le_bytes(index));
        assert_eq!(reply.block().word_count() == 17, index != 0xFFFF);
    }
}

#[test]
fn a_second_negotiate_ends_the_connection() {
    let server = TestServer::new(|_| {});
    let mut client = server.negotiated();
    assert!(client.negotiate().is_none());
    assert!(client.wire.closed());
}

#[test]
fn smb1_is_not_spoken_when_it_is_off() {
    let server = TestServer::new(|c| c.smb1 = false);
    let mut client = Client::new(server.connect());
    assert!(client.negotiate().is_none());
    assert!(client.wire.closed());
}

#[test]
fn echo_is_answered_before_there_is_a_session() {
    let server = TestServer::new(|_| {});
    let mut client = server.negotiated();
    let reply = echo(&mut client).unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    assert_eq!(reply.header.signature, [0; 8]);
}

#[test]
fn both_forms_of_logon_in_both_alphabets() {
    let server = TestServer::new(|_| {});
    for unicode in [true, false] {
        for classic in [true, false] {
            let mut client = Client::new(server.connect());
            client.flags2.set(Flags2::UNICODE, unicode);
            client.flags2.set(Flags2::EXTENDED_SECURITY, !classic);
            client.negotiate().unwrap();
            let reply = if classic {
                client.classic_logon("alice", PASSWORD).unwrap()
            } else {
                client.logon("alice", PASSWORD).unwrap()
            };
            assert_eq!(
                reply.status(),
                NtStatus::SUCCESS,
                "unicode {unicode} classic {classic}"
            );
            assert_eq!(reply.signature, Some(true));
            let reply = client.tree_connect(r"\\10.0.0.1\SHARE").unwrap();
            assert_eq!(reply.status(), NtStatus::SUCCESS);
            assert!(reply.block().byte_slice().starts_with(b"A:\0"));
        }
    }
}

#[test]
fn ten_words_are_understood_and_lm_responses_refused() {
    let server = TestServer::new(|_| {});
    let mut client = Client::new(server.connect());
    client.flags2.remove(Flags2::EXTENDED_SECURITY);
    client.negotiate().unwrap();
    let request = SessionSetupRequest::Lanman {
        words: LanmanWords {
            max_buffer_size: 4356,
            max_mpx_count: 2,
            vc_number: 0,
            session_key: 0,
            password_length: 24,
            reserved: 0,
        },
        password: &[7; 24],
        names: Names {
            account: "ALICE".into(),
            ..Names::default()
        },
    };
    let (words, bytes) = request.encode(client.text(), HEADER + 1 + 20 + 2);
    let reply = client
        .command(Command::SESSION_SETUP_ANDX, words, bytes)
        .unwrap();
    assert_eq!(reply.status(), NtStatus::LOGON_FAILURE);
}

#[test]
fn a_failed_logon_is_answered_after_the_delay() {
    let server = TestServer::new(|_| {});
    let mut client = server.negotiated();
    let before = server.host_time();
    let reply = client.logon("alice", "wrong").unwrap();
    assert_eq!(reply.status(), NtStatus::LOGON_FAILURE);
    assert_eq!(
        server.host_time() - before,
        server.server.config.load().logon.delay
    );
    assert_eq!(server.server.statistics.failed_logons.get(), 1);
}

impl TestServer {
    fn host_time(&self) -> std::time::Duration {
        countersign_testkit::memory::times(&self.host).monotonic
    }
}

#[test]
fn unknown_identifiers_are_told_as_such() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    let uid = client.uid;
    client.uid = 7777;
    let reply = client
        .command(Command::CLOSE, vec![0; 6], Vec::new())
        .unwrap();
    assert_eq!(reply.status(), NtStatus::SMB_BAD_UID);
    assert!(
        !reply.header.flags2.contains(Flags2::NT_STATUS),
        "a class and code of its own"
    );
    client.uid = uid;
    client.tid += 1;
    let reply = client
        .command(Command::CLOSE, vec![0; 6], Vec::new())
        .unwrap();
    assert_eq!(reply.status(), NtStatus::SMB_BAD_TID);
    client.tid -= 1;
    let reply = client
        .command(Command::CLOSE, vec![0; 6], Vec::new())
        .unwrap();
    assert_eq!(reply.status(), NtStatus::INVALID_HANDLE);
    // A FID belongs to the UID that opened it.
    let file = nt_create(&mut client, "mine", create_words()).unwrap();
    client.uid = 0;
    client.logon("bob", BOB).unwrap();
    let words = countersign_wire::smb1::files::CloseWords {
        fid: file.fid,
        last_time_modified: 0,
    };
    let reply = client
        .command(Command::CLOSE, words.to_vec(), Vec::new())
        .unwrap();
    assert_eq!(reply.status(), NtStatus::INVALID_HANDLE);
}

#[test]
fn errors_of_dos_for_clients_without_ntstatus() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    client.flags2.remove(Flags2::NT_STATUS);
    let bytes = encode_formatted(client.text(), HEADER + 1 + 2 + 2, &["missing"]);
    let reply = client.command(Command::DELETE, vec![6, 0], bytes).unwrap();
    assert_eq!(
        DosError::from_wire(reply.header.status),
        DosError { class: 1, code: 2 }
    );
}

#[test]
fn trees_of_the_wrong_kind_are_refused() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    for (path, service, status) in [
        ("nosuch", "?????", NtStatus::BAD_NETWORK_NAME),
        ("IPC$", "A:", NtStatus::BAD_DEVICE_TYPE),
        ("share", "IPC", NtStatus::BAD_DEVICE_TYPE),
        ("share", "LPT1:", NtStatus::BAD_DEVICE_TYPE),
        ("secret", "?????", NtStatus::ACCESS_DENIED),
        (r"\\server\share\", "A:", NtStatus::SUCCESS),
        ("IPC$", "IPC", NtStatus::SUCCESS),
    ] {
        let request = countersign_wire::smb1::tree::TreeConnectRequest {
            flags: 0,
            path: path.into(),
            service: service.into(),
        };
        let (w, b) = request.encode_andx(client.text(), HEADER);
        let reply = client.command(Command::TREE_CONNECT_ANDX, w, b).unwrap();
        assert_eq!(reply.status(), status, "{path} {service}");
    }
}

#[test]
fn logoff_and_tree_disconnect_end_what_belongs_to_them() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    nt_create(&mut client, "f", create_words()).unwrap();
    assert_eq!(server.server.files.statistics().opens, 1);
    let reply = client
        .command(Command::TREE_DISCONNECT, Vec::new(), Vec::new())
        .unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    assert_eq!(server.server.files.statistics().opens, 0);
    client.tree_connect("share").unwrap();
    nt_create(&mut client, "f", create_words()).unwrap();
    assert_eq!(server.server.registry.list().len(), 1);
    client
        .command(Command::LOGOFF_ANDX, Vec::new(), Vec::new())
        .unwrap();
    assert_eq!(server.server.files.statistics().opens, 0);
    assert!(server.server.registry.list().is_empty());
    // The connection dies with everything on it.
    client.uid = 0;
    client.logon("alice", PASSWORD).unwrap();
    client.tree_connect("share").unwrap();
    nt_create(&mut client, "f", create_words()).unwrap();
    client.wire.hang_up();
    assert_eq!(server.server.files.statistics().opens, 0);
    assert!(server.server.registry.list().is_empty());
}
