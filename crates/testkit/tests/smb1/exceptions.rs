//! Exceptions in SMB1: one connection has several sessions, and paths in many commands.

use countersign_policy::{Exception, Exceptions, Value};
use countersign_wire::NtStatus;
use countersign_wire::smb1::{Command, Flags2};

use crate::*;

fn exception(id: &str, account: &str, share: &str, read_only: bool) -> Exception {
    Exception {
        id: id.to_owned(),
        client: "192.0.2.0/24".parse().unwrap(),
        account: Some(account.to_owned()),
        machine: None,
        shares: vec![share.to_owned()],
        until: u64::MAX,
        reason: "an old device".to_owned(),
        read_only,
        no_ipc: true,
        guests: false,
    }
}

/// Signing is required; shares `share` and `other`.
fn server(exceptions: impl IntoIterator<Item = Exception>) -> TestServer {
    TestServer::new(|config| {
        config.policy = policy(Value::Enabled, Value::Enabled);
        let mut other = config.shares[0].clone();
        other.share = Arc::new(countersign_fs::Share {
            name: "other".to_owned(),
            backend: Arc::clone(&other.share.backend),
            options: other.share.options.clone(),
        });
        config.shares.push(other);
        config.exceptions = Arc::new(Exceptions::new(exceptions));
    })
}

/// A client that does not sign.
fn silent(server: &TestServer) -> Client<MemoryWire> {
    let mut client = Client::new(server.connect());
    client.flags2.remove(Flags2::SECURITY_SIGNATURE);
    client.negotiate().unwrap();
    client
}

fn log_on(client: &mut Client<MemoryWire>, uid: u16, user: &str, password: &str) -> u16 {
    client.uid = uid;
    let reply = client.logon(user, password).unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    assert!(client.key.is_none(), "not signed");
    client.uid
}

fn connect(client: &mut Client<MemoryWire>, share: &str) -> Result<u16, NtStatus> {
    let reply = client.tree_connect(&format!(r"\\server\{share}")).unwrap();
    match reply.status() {
        NtStatus::SUCCESS => Ok(reply.header.tid),
        other => Err(other),
    }
}

#[test]
fn one_session_s_share_is_not_another_s() {
    let both = [
        exception("1", "alice", "share", false),
        exception("2", "bob", "other", false),
    ];
    let server = server(both);
    let mut client = silent(&server);
    let alice = log_on(&mut client, 0, "alice", PASSWORD);
    let share = connect(&mut client, "share").unwrap();
    assert_eq!(connect(&mut client, "other"), Err(NtStatus::ACCESS_DENIED));
    assert_eq!(connect(&mut client, "IPC$"), Err(NtStatus::ACCESS_DENIED));
    client.tid = share;
    nt_create(&mut client, "file", create_words()).unwrap();
    let bob = log_on(&mut client, 0, "bob", BOB);
    assert_ne!(alice, bob);
    let other = connect(&mut client, "other").unwrap();
    for (uid, tid, good) in [
        (alice, share, true),
        (bob, other, true),
        (alice, other, false),
        (bob, share, false),
    ] {
        (client.uid, client.tid) = (uid, tid);
        let result = nt_create(&mut client, "file", create_words()).map(|_| ());
        let wanted = if good {
            Ok(())
        } else {
            Err(NtStatus::ACCESS_DENIED)
        };
        assert_eq!(result, wanted, "{uid} {tid}");
    }
}

#[test]
fn who_logs_on_again_as_another_does_not_keep_the_shares_of_the_first() {
    let both = [
        exception("1", "alice", "share", false),
        exception("2", "bob", "other", false),
    ];
    let server = server(both);
    let mut client = silent(&server);
    let uid = log_on(&mut client, 0, "alice", PASSWORD);
    client.tid = connect(&mut client, "share").unwrap();
    let share = client.tid;
    let open = nt_create(&mut client, "file", create_words()).unwrap();
    assert_eq!(log_on(&mut client, uid, "bob", BOB), uid);
    client.tid = share;
    assert_eq!(
        nt_create(&mut client, "file", create_words()).map(|_| ()),
        Err(NtStatus::ACCESS_DENIED)
    );
    // Nor what was opened there: WRITE.
    let words = [&open.fid.to_le_bytes()[..], &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
    let reply = client
        .command(Command::WRITE, words, b"\x01\x01\x00x".to_vec())
        .unwrap();
    assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
}

#[test]
fn read_only_holds_for_every_command_that_changes_something() {
    let server = server([exception("1", "alice", "share", true)]);
    let at = |name: &str| server.folder.path().join(name);
    std::fs::write(at("file"), b"content").unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    let mut client = silent(&server);
    log_on(&mut client, 0, "alice", PASSWORD);
    client.tid = connect(&mut client, "share").unwrap();
    client.flags2.remove(Flags2::UNICODE);
    let path = |names: &[&str]| -> Vec<u8> {
        names
            .iter()
            .flat_map(|name| [b"\x04\\", name.as_bytes(), b"\0"].concat())
            .collect()
    };
    let zeros = |count: usize| vec![0; 2 * count];
    // OPEN for writing, OPEN_ANDX that makes it if it must, CREATE, CREATE_NEW,
    // CREATE_TEMPORARY, NT_RENAME as hard link, and the rest of the core.
    let open_write = vec![1, 0, 0, 0];
    let link = [&[0, 0][..], &[0x03, 0x01], &[0; 4]].concat();
    let changes: Vec<(&str, u8, Vec<u8>, Vec<u8>)> = vec![
        ("CREATE_DIRECTORY", 0x00, Vec::new(), path(&["new"])),
        ("DELETE_DIRECTORY", 0x01, Vec::new(), path(&["folder"])),
        ("OPEN", 0x02, open_write, path(&["file"])),
        ("CREATE", 0x03, zeros(3), path(&["file"])),
        ("DELETE", 0x06, zeros(1), path(&["file"])),
        ("RENAME", 0x07, zeros(1), path(&["file", "other"])),
        (
            "SET_INFORMATION",
            0x09,
            [vec![1, 0], zeros(7)].concat(),
            path(&["file"]),
        ),
        ("CREATE_NEW", 0x0F, zeros(3), path(&["new"])),
        ("NT_RENAME", 0xA5, link, path(&["file", "other"])),
    ];
    for (what, command, words, bytes) in changes {
        let reply = client.command(command, words, bytes).unwrap();
        assert_eq!(reply.status(), NtStatus::ACCESS_DENIED, "{what}");
    }
    client.flags2.insert(Flags2::UNICODE);
    // Each right that changes something, asked for by itself, and files that go when
    // they are closed.
    for access in [
        0x0000_0002,
        0x0000_0004,
        0x0000_0010,
        0x0000_0040,
        0x0000_0100,
        0x0001_0000,
        0x0004_0000,
        0x0008_0000,
        0x4000_0000,
        0x1000_0000,
    ] {
        let words = NtCreateAndxWords {
            desired_access: access,
            create_disposition: 1,
            ..create_words()
        };
        let result = nt_create(&mut client, "file", words).map(|_| ());
        assert_eq!(result, Err(NtStatus::ACCESS_DENIED), "{access:#x}");
    }
    for (disposition, options) in [(0, 0), (2, 0), (3, 0), (4, 0), (5, 0), (1, 0x1000)] {
        let name = if disposition == 2 || disposition == 3 {
            "new"
        } else {
            "file"
        };
        let words = NtCreateAndxWords {
            // What goes when it is closed must be asked for with DELETE.
            desired_access: if options == 0 { 0x1 } else { 0x0001_0001 },
            create_disposition: disposition,
            create_options: options,
            ..create_words()
        };
        let result = nt_create(&mut client, name, words).map(|_| ());
        assert_eq!(
            result,
            Err(NtStatus::ACCESS_DENIED),
            "{disposition} {options:#x}"
        );
    }
    // What may be had of it reads, and no more.
    let most = NtCreateAndxWords {
        desired_access: 0x0200_0000,
        create_disposition: 1,
        ..create_words()
    };
    let open = nt_create(&mut client, "file", most).unwrap();
    let words = [&open.fid.to_le_bytes()[..], &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
    let reply = client
        .command(Command::WRITE, words, b"\x01\x01\x00x".to_vec())
        .unwrap();
    assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
    assert_eq!(std::fs::read(at("file")).unwrap(), b"content");
    let mut names: Vec<_> = std::fs::read_dir(server.folder.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["file", "folder"]);
}
