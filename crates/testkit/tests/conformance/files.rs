//! What real clients insist on of files: rows 7, 14, 15, 21, 24, 29 and 37 of
//! the project's client checklist, and their neighbours.

use super::*;
use countersign_testkit::wire::Wire;
use countersign_wire::fscc::{AccessMask, CreateOptions, FileAttributes, ShareAccess};
use countersign_wire::smb2::info_type;
use countersign_wire::{Guid, Reader, Writer};

/// Writes the body of a request.
type Body = Box<dyn Fn(&mut Writer<'_>)>;

fn wide(s: &str) -> Vec<u8> {
    s.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// CREATE: opens or creates a file for everything.
fn create<'a>(name: &'a [u8], oplock: u8, contexts: Vec<CreateContext<'a>>) -> CreateRequest<'a> {
    CreateRequest {
        oplock_level: oplock,
        impersonation_level: 2,
        desired_access: AccessMask::from_bits_retain(0x001F_01FF),
        file_attributes: FileAttributes::empty(),
        share_access: ShareAccess::from_bits_retain(7),
        disposition: 3,
        options: CreateOptions::empty(),
        name,
        contexts,
    }
}

fn open(c: &mut Client<MemoryWire>, name: &str) -> FileId {
    let name = wide(name);
    let reply = c
        .call(Command::CREATE, |w| create(&name, 0, vec![]).encode(w))
        .unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    CreateResponse::decode(&reply.message).unwrap().file_id
}

fn write(c: &mut Client<MemoryWire>, file_id: FileId, offset: u64, data: &[u8]) -> NtStatus {
    let request = WriteRequest {
        offset,
        file_id,
        channel: 0,
        remaining_bytes: 0,
        channel_info: &[],
        flags: 0,
        data,
    };
    let charge = u16::try_from(data.len().max(1).div_ceil(65_536)).unwrap();
    c.call_with(
        Command::WRITE,
        |h| h.credit_charge = h.credit_charge.max(charge),
        |w| {
            request.encode(w);
        },
    )
    .unwrap()
    .status()
}

fn read_request(file_id: FileId, offset: u64, length: u32) -> ReadRequest<'static> {
    ReadRequest {
        padding: 0x50,
        flags: 0,
        length,
        offset,
        file_id,
        minimum_count: 0,
        channel: 0,
        remaining_bytes: 0,
        channel_info: &[],
    }
}

fn read(c: &mut Client<MemoryWire>, file_id: FileId, offset: u64, length: u32) -> Reply {
    let charge = u16::try_from(length.max(1).div_ceil(65_536)).unwrap();
    let id = c.message_id;
    let reply = c
        .call_with(
            Command::READ,
            |h| h.credit_charge = h.credit_charge.max(charge),
            |w| {
                read_request(file_id, offset, length).encode(w);
            },
        )
        .unwrap();
    c.message_id = id + u64::from(charge);
    reply
}

fn query(
    c: &mut Client<MemoryWire>,
    file_id: FileId,
    kind: u8,
    class: u8,
    additional: u32,
    room: u32,
) -> (NtStatus, Vec<u8>) {
    let request = QueryInfoRequest {
        info_type: kind,
        information_class: class,
        output_buffer_length: room,
        additional_information: additional,
        flags: 0,
        file_id,
        input: &[],
    };
    let reply = c.call(Command::QUERY_INFO, |w| request.encode(w)).unwrap();
    let data = QueryInfoResponse::decode(&reply.message).map(|r| r.buffer.to_vec());
    (reply.status(), data.unwrap_or_default())
}

fn connected(s: &Subject, dialect: u16) -> Client<MemoryWire> {
    let mut c = s.alice(dialect);
    assert_eq!(
        c.tree_connect(r"\\s\share").unwrap().status(),
        NtStatus::SUCCESS
    );
    c
}

#[test]
fn what_is_written_is_read_in_every_dialect() {
    let s = Subject::new(required());
    for dialect in ALL {
        let mut c = connected(&s, dialect);
        let id = open(&mut c, "file.bin");
        let data: Vec<u8> = (0..60_000u32)
            .flat_map(|i| i.to_le_bytes())
            .take(60_000)
            .collect();
        assert_eq!(write(&mut c, id, 0, &data), NtStatus::SUCCESS);
        let reply = read(&mut c, id, 0, 60_000);
        assert_eq!(reply.signature, Some(true));
        assert_eq!(
            ReadResponse::decode(&reply.message).unwrap().data,
            data,
            "{dialect:#x}"
        );
        // Past the end.
        assert_eq!(read(&mut c, id, 60_000, 10).status(), NtStatus::END_OF_FILE);
    }
}

/// Row 15: macOS and Linux chain CREATE, READ or WRITE or QUERY_INFO, and CLOSE
/// with a FileId of all ones.
#[test]
fn related_chains_find_their_file() {
    let s = Subject::new(required());
    for dialect in ALL {
        let mut c = connected(&s, dialect);
        let name = wide("chain.txt");
        let bodies: [Vec<(Command, Body)>; 3] = [
            vec![(
                Command::WRITE,
                Box::new(|w: &mut Writer<'_>| {
                    WriteRequest {
                        offset: 0,
                        file_id: FileId::NONE,
                        channel: 0,
                        remaining_bytes: 0,
                        channel_info: &[],
                        flags: 0,
                        data: b"hello chain",
                    }
                    .encode(w);
                }),
            )],
            vec![(
                Command::READ,
                Box::new(|w| read_request(FileId::NONE, 0, 11).encode(w)),
            )],
            vec![(
                Command::QUERY_INFO,
                Box::new(|w| {
                    QueryInfoRequest {
                        info_type: info_type::FILE,
                        information_class: 5,
                        output_buffer_length: 24,
                        additional_information: 0,
                        flags: 0,
                        file_id: FileId::NONE,
                        input: &[],
                    }
                    .encode(w);
                }),
            )],
        ];
        for middle in bodies {
            let mut parts: Vec<(Command, Body)> = Vec::new();
            let name = name.clone();
            parts.push((
                Command::CREATE,
                Box::new(move |w| create(&name, 0, vec![]).encode(w)),
            ));
            parts.extend(middle);
            parts.push((
                Command::CLOSE,
                Box::new(|w| {
                    CloseRequest {
                        flags: 0,
                        file_id: FileId::NONE,
                    }
                    .encode(w)
                }),
            ));
            let replies = chain(&mut c, &parts);
            assert_eq!(replies.len(), 3);
            for r in &replies {
                assert_eq!((r.status(), r.signature), (NtStatus::SUCCESS, Some(true)));
            }
            if replies[1].header.command == Command::READ {
                assert_eq!(
                    ReadResponse::decode(&replies[1].message).unwrap().data,
                    b"hello chain"
                );
            }
        }
    }
}

/// Sends a related compound, each part signed over its own padded bytes.
fn chain(c: &mut Client<MemoryWire>, parts: &[(Command, Body)]) -> Vec<Reply> {
    let mut frame = Vec::new();
    for (i, (command, body)) in parts.iter().enumerate() {
        let mut header = c.header(*command);
        if i > 0 {
            header.flags |= HeaderFlags::RELATED_OPERATIONS;
        }
        let mut m = Client::<MemoryWire>::message(&header, |w| body(w));
        if i + 1 < parts.len() {
            m.resize(m.len().next_multiple_of(8), 0);
            let next = u32::try_from(m.len()).unwrap().to_le_bytes();
            m[20..24].copy_from_slice(&next);
        }
        c.sign(&mut m);
        frame.extend(m);
    }
    c.wire.send(&frame);
    let mut replies = Vec::new();
    while replies.len() < parts.len() {
        replies.extend(c.replies().expect("replies of the chain"));
    }
    replies
}

/// Row 21.
#[test]
fn streams_are_listed_and_cut_alone() {
    let s = Subject::new(optional());
    let mut c = connected(&s, 0x311);
    let file = open(&mut c, "doc.txt");
    assert_eq!(
        write(&mut c, file, 0, b"the document itself"),
        NtStatus::SUCCESS
    );
    let (status, data) = query(&mut c, file, info_type::FILE, 22, 0, 4096);
    assert_eq!(status, NtStatus::SUCCESS);
    // One entry, `::$DATA`, nothing behind it.
    assert_eq!(data[..4], [0; 4]);
    assert_eq!(data[24..], wide("::$DATA"));
    assert_eq!(data.len(), 24 + 14);

    let stream = open(&mut c, "doc.txt:Zone.Identifier");
    assert_eq!(
        write(&mut c, stream, 0, b"[ZoneTransfer]"),
        NtStatus::SUCCESS
    );
    let set = SetInfoRequest {
        info_type: info_type::FILE,
        information_class: 20,
        additional_information: 0,
        file_id: stream,
        buffer: &4u64.to_le_bytes(),
    };
    let reply = c.call(Command::SET_INFO, |w| set.encode(w)).unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    let size = |c: &mut Client<MemoryWire>, id| {
        let (_, data) = query(c, id, info_type::FILE, 5, 0, 24);
        u64::from_le_bytes(data[8..16].try_into().unwrap())
    };
    assert_eq!(size(&mut c, stream), 4);
    assert_eq!(
        size(&mut c, file),
        19,
        "the file is not cut with its stream"
    );
    let (_, data) = query(&mut c, file, info_type::FILE, 22, 0, 4096);
    let zone = wide(":Zone.Identifier:$DATA");
    assert!(data.windows(zone.len()).any(|w| w == zone));
}

/// Row 24: a buffer too small for one entry, and the wildcards of DOS.
#[test]
fn listings_into_small_buffers_lose_nothing() {
    let s = Subject::new(optional());
    let mut c = connected(&s, 0x311);
    for name in [
        "a.txt",
        "b.TXT",
        "longer name with blanks.text",
        "README",
        "c",
    ] {
        open(&mut c, name);
    }
    let list = |c: &mut Client<MemoryWire>, pattern: &str, room: u32| {
        let name = wide("");
        let root = c
            .call(Command::CREATE, |w| {
                let mut r = create(&name, 0, vec![]);
                r.disposition = 1;
                r.desired_access = AccessMask::READ_DATA | AccessMask::READ_ATTRIBUTES;
                r.encode(w);
            })
            .unwrap();
        let file_id = CreateResponse::decode(&root.message).unwrap().file_id;
        let pattern = wide(pattern);
        let mut names = Vec::new();
        for _ in 0..40 {
            let request = QueryDirectoryRequest {
                information_class: 37,
                flags: QueryDirectoryFlags::empty(),
                file_index: 0,
                file_id,
                pattern: &pattern,
                output_buffer_length: room,
            };
            let reply = c
                .call(Command::QUERY_DIRECTORY, |w| request.encode(w))
                .unwrap();
            if reply.status() != NtStatus::SUCCESS {
                return (names, reply.status());
            }
            let data = QueryDirectoryResponse::decode(&reply.message)
                .unwrap()
                .buffer
                .to_vec();
            assert!(data.len() <= room as usize);
            let mut at = 0;
            loop {
                let r = Reader::new(&data);
                let mut e = r;
                e.seek(at, "entry").unwrap();
                let next = e.u32("next").unwrap() as usize;
                e.seek(at + 60, "length").unwrap();
                let length = e.u32("length").unwrap() as usize;
                let name = r.at(at + 104, length, "name").unwrap();
                names.push(countersign_wire::cursor::utf16_lossy(name));
                if next == 0 {
                    break;
                }
                at += next;
            }
        }
        panic!("the listing does not end");
    };
    let (mut all, end) = list(&mut c, "*", 65_536);
    all.sort();
    assert_eq!(end, NtStatus::NO_MORE_FILES);
    let (mut few, end) = list(&mut c, "*", 200);
    few.sort();
    assert_eq!((few, end), (all.clone(), NtStatus::NO_MORE_FILES));
    assert_eq!(all.len(), 7, "{all:?}");
    // 128 bytes hold no entry of a long name: the client is told, not misled.
    let (_, end) = list(&mut c, "longer*", 128);
    assert!(
        matches!(
            end,
            NtStatus::BUFFER_OVERFLOW | NtStatus::INFO_LENGTH_MISMATCH
        ),
        "{end:?} hides the file"
    );
    for (pattern, expected) in [
        ("*.txt", vec!["a.txt", "b.TXT"]),
        ("<.txt", vec!["a.txt", "b.TXT"]),
        ("?", vec!["c"]),
        (">", vec!["c"]),
        ("README\"", vec!["README"]),
        ("readme", vec!["README"]),
    ] {
        let (mut names, _) = list(&mut c, pattern, 65_536);
        names.retain(|n| n != "." && n != "..");
        names.sort();
        assert_eq!(names, expected, "{pattern}");
    }
    let (_, end) = list(&mut c, "nothing*", 65_536);
    assert_eq!(end, NtStatus::NO_SUCH_FILE);
}

/// Row 37.
#[test]
fn the_root_is_named_and_files_have_their_own_ids() {
    let s = Subject::new(optional());
    let mut c = connected(&s, 0x311);
    let name = wide("");
    let reply = c
        .call(Command::CREATE, |w| {
            let mut r = create(&name, 0, vec![]);
            r.disposition = 1;
            r.encode(w);
        })
        .unwrap();
    let root = CreateResponse::decode(&reply.message).unwrap().file_id;
    let (status, all) = query(&mut c, root, info_type::FILE, 18, 0, 4096);
    assert_eq!((status, all.len()), (NtStatus::SUCCESS, 102));
    assert_eq!(all[96..], [2, 0, 0, 0, b'\\', 0]);
    let mut ids = std::collections::BTreeSet::new();
    for name in ["one", "two", "three"] {
        let id = open(&mut c, name);
        let (_, data) = query(&mut c, id, info_type::FILE, 6, 0, 8);
        let id = u64::from_le_bytes(data.try_into().unwrap());
        assert!(id != 0 && ids.insert(id));
    }
    // Owner, group, SACL, DACL: clients parse by order.
    let (status, sd) = query(&mut c, root, info_type::SECURITY, 0, 7, 65_536);
    assert_eq!(status, NtStatus::SUCCESS);
    let at = |i: usize| u32::from_le_bytes(sd[i..i + 4].try_into().unwrap());
    let (owner, group, dacl) = (at(4), at(8), at(16));
    assert!(
        owner == 20 && owner < group && group < dacl,
        "{owner} {group} {dacl}"
    );
    // A volume that says NTFS and NAMED_STREAMS.
    let (_, fs) = query(&mut c, root, info_type::FILESYSTEM, 5, 0, 4096);
    assert_eq!(fs[12..], wide("NTFS"));
    assert_ne!(
        u32::from_le_bytes(fs[..4].try_into().unwrap()) & 0x0004_0000,
        0
    );
    // Sectors of at most 4096 bytes.
    let (_, sector) = query(&mut c, root, info_type::FILESYSTEM, 11, 0, 4096);
    assert!(u32::from_le_bytes(sector[..4].try_into().unwrap()) <= 4096);
}

/// Row 7: unsigned, in clear, MessageId of all ones, even when everything else
/// is signed or encrypted.
#[test]
fn breaks_are_unsigned_and_in_clear() {
    let s = Subject::new(required());
    for (dialect, encrypt) in [
        (0x202, false),
        (0x210, false),
        (0x302, false),
        (0x311, true),
    ] {
        let mut holder = connected(&s, dialect);
        holder.session().encrypt = encrypt;
        let name = wide("cached");
        let reply = holder
            .call(Command::CREATE, |w| create(&name, 9, vec![]).encode(w))
            .unwrap();
        let opened = CreateResponse::decode(&reply.message).unwrap();
        assert_eq!(opened.oplock_level, 9, "a batch oplock on {dialect:#x}");
        let mut other = connected(&s, dialect);
        let header = other.header(Command::CREATE);
        let m = Client::<MemoryWire>::message(&header, |w| create(&name, 0, vec![]).encode(w));
        other.send(m);
        other.wire.settle();
        let notice = holder.any_reply().unwrap();
        assert_eq!(notice.header.command, Command::OPLOCK_BREAK);
        assert_eq!(notice.header.message_id, u64::MAX);
        assert_eq!(notice.header.signature, [0; 16]);
        assert!(!notice.header.is_signed() && !notice.encrypted);
        // The acknowledgment and its answer are protected as usual.
        let ack = OplockBreak {
            oplock_level: 1,
            file_id: opened.file_id,
        };
        let reply = holder
            .call(Command::OPLOCK_BREAK, |w| ack.encode(w))
            .unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        assert_eq!(
            (reply.encrypted, reply.signature),
            (encrypt, (!encrypt).then_some(true))
        );
        let reply = other.reply().unwrap();
        assert_eq!(
            (reply.status(), reply.signature),
            (NtStatus::SUCCESS, Some(true))
        );
        // Clean up for the next dialect: both hang up.
        holder.wire.hang_up();
        other.wire.hang_up();
    }
}

fn lease(key: u8, state: u32, epoch: u16) -> CreateContext<'static> {
    let mut data = vec![key; 16];
    data.extend_from_slice(&state.to_le_bytes());
    data.extend_from_slice(&[0; 12]);
    data.extend_from_slice(&[0; 16]);
    data.extend_from_slice(&epoch.to_le_bytes());
    data.extend_from_slice(&[0; 2]);
    CreateContext {
        name: b"RqLs",
        data: data.into(),
    }
}

fn durable_v2(guid: &[u8; 16]) -> CreateContext<'static> {
    let mut data = vec![0; 16];
    data.extend_from_slice(guid);
    CreateContext {
        name: b"DH2Q",
        data: data.into(),
    }
}

/// Row 29: leases of version 2, their epoch, and a durable handle that survives.
#[test]
fn leases_break_and_durable_handles_come_back() {
    let s = Subject::new(required());
    let mut c = connected(&s, 0x311);
    let name = wide("leased");
    let guid = *b"create-guid-0001";
    let reply = c
        .call(Command::CREATE, |w| {
            create(&name, 0xFF, vec![lease(1, 7, 4), durable_v2(&guid)]).encode(w);
        })
        .unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    let opened = CreateResponse::decode(&reply.message).unwrap();
    assert_eq!(opened.oplock_level, 0xFF);
    let granted = |r: &CreateResponse<'_>| {
        let data = r
            .contexts
            .iter()
            .find(|x| x.name == b"RqLs")
            .unwrap()
            .data
            .to_vec();
        (
            u32::from_le_bytes(data[16..20].try_into().unwrap()),
            u16::from_le_bytes(data[48..50].try_into().unwrap()),
        )
    };
    assert_eq!(granted(&opened), (7, 5), "state and epoch");
    assert!(opened.contexts.iter().any(|x| x.name == b"DH2Q"));
    let file_id = opened.file_id;
    assert_eq!(write(&mut c, file_id, 0, b"survives"), NtStatus::SUCCESS);
    c.wire.hang_up();

    // Another connection of the same client takes it up again.
    let mut c = connected(&s, 0x311);
    let mut data = file_id.persistent.to_le_bytes().to_vec();
    data.extend_from_slice(&file_id.volatile.to_le_bytes());
    data.extend_from_slice(&guid);
    data.extend_from_slice(&[0; 4]);
    let again = CreateContext {
        name: b"DH2C",
        data: data.into(),
    };
    let reply = c
        .call(Command::CREATE, |w| {
            create(&name, 0xFF, vec![lease(1, 7, 5), again]).encode(w)
        })
        .unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    let back = CreateResponse::decode(&reply.message).unwrap().file_id;
    let reply = read(&mut c, back, 0, 8);
    assert_eq!(
        ReadResponse::decode(&reply.message).unwrap().data,
        b"survives"
    );

    // A second machine opens it: the lease breaks, epoch and all.
    let mut other = s.connect();
    let offer = Offer {
        guid: Guid(*b"another machine!"),
        ..Offer::dialect(0x311)
    };
    other.negotiate(offer).unwrap();
    other.logon(&Logon::new("bob", "S3cret#2b")).unwrap();
    other.tree_connect(r"\\s\share").unwrap();
    let header = other.header(Command::CREATE);
    let m = Client::<MemoryWire>::message(&header, |w| create(&name, 0, vec![]).encode(w));
    other.send(m);
    other.wire.settle();
    let notice = c.any_reply().unwrap();
    assert_eq!(notice.header.command, Command::OPLOCK_BREAK);
    assert_eq!(
        (notice.header.message_id, notice.header.session_id),
        (u64::MAX, 0)
    );
    let AnyBreak::LeaseNotification(b) = AnyBreak::decode(&notice.message).unwrap() else {
        panic!("not a lease break");
    };
    assert!(!b.new.bits() & 4 != 0, "write caching goes");
    let ack = LeaseBreak {
        flags: 0,
        key: b.key,
        state: b.new,
    };
    let reply = c.call(Command::OPLOCK_BREAK, |w| ack.encode(w)).unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    assert_eq!(other.reply().unwrap().status(), NtStatus::SUCCESS);
}

/// [MS-SMB2] 3.3.5.2.5.
#[test]
fn credit_charge_must_cover_the_payload() {
    let s = Subject::new(optional());
    for dialect in [0x210, 0x300, 0x311] {
        let mut c = connected(&s, dialect);
        let id = open(&mut c, "big");
        let big = |c: &mut Client<MemoryWire>, charge: u16, length: u32| {
            let next = c.message_id;
            let reply = c
                .call_with(
                    Command::READ,
                    |h| h.credit_charge = charge,
                    |w| {
                        read_request(id, 0, length).encode(w);
                    },
                )
                .unwrap();
            c.message_id = next + u64::from(charge.max(1));
            reply.status()
        };
        assert_eq!(
            big(&mut c, 1, 65_537),
            NtStatus::INVALID_PARAMETER,
            "{dialect:#x}"
        );
        assert_eq!(
            big(&mut c, 0, 65_537),
            NtStatus::INVALID_PARAMETER,
            "{dialect:#x}"
        );
        assert_eq!(big(&mut c, 1, 65_536), NtStatus::END_OF_FILE);
        assert_eq!(big(&mut c, 2, 65_537), NtStatus::END_OF_FILE);
        assert_eq!(big(&mut c, 0, 1), NtStatus::END_OF_FILE);
    }
}

#[test]
fn a_change_is_notified_asynchronously_and_cancel_ends_it() {
    let s = Subject::new(required());
    for dialect in ALL {
        let mut c = connected(&s, dialect);
        let name = wide("");
        let reply = c
            .call(Command::CREATE, |w| {
                let mut r = create(&name, 0, vec![]);
                r.disposition = 1;
                r.encode(w);
            })
            .unwrap();
        let root = CreateResponse::decode(&reply.message).unwrap().file_id;
        let watch = ChangeNotifyRequest {
            flags: 0,
            output_buffer_length: 4096,
            file_id: root,
            filter: countersign_wire::fscc::CompletionFilter::FILE_NAME,
        };
        for cancel in [false, true] {
            let id = c.message_id;
            let header = c.header(Command::CHANGE_NOTIFY);
            let m = Client::<MemoryWire>::message(&header, |w| watch.encode(w));
            c.send(m);
            let interim = c.any_reply().unwrap();
            assert_eq!(interim.status(), NtStatus::PENDING);
            assert!(
                !interim.header.is_signed(),
                "interim responses are unsigned"
            );
            let async_id = interim.header.async_id().expect("an AsyncId");
            if cancel {
                let header = Header {
                    target: Target::Async(async_id),
                    message_id: id,
                    ..c.header(Command::CANCEL)
                };
                c.message_id -= 1;
                let m = Client::<MemoryWire>::message(&header, |w| CancelRequest.encode(w));
                c.send(m);
            } else {
                let mut other = connected(&s, dialect);
                open(&mut other, &format!("new-{dialect:x}"));
            }
            let last = c.reply().unwrap();
            assert_eq!(
                (last.header.message_id, last.header.async_id()),
                (id, Some(async_id))
            );
            assert_eq!(last.signature, Some(true), "{dialect:#x} cancel {cancel}");
            let expected = if cancel {
                NtStatus::CANCELLED
            } else {
                NtStatus::SUCCESS
            };
            assert_eq!(last.status(), expected);
        }
    }
}
