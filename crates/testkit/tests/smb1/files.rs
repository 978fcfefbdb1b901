//! Files: opens of each kind, large reads and writes, searches, times.

use countersign_wire::NtStatus;
use countersign_wire::Reader;
use countersign_wire::smb1::files::{
    ReadAndx, ReadAndxResponseWords, WriteAndx, WriteAndxResponseWords,
};
use countersign_wire::smb1::open::encode_formatted;
use countersign_wire::smb1::search::{DirectoryInformation, ENTRY, SearchRequest, SearchWords};
use countersign_wire::smb1::trans2::{FindFirst2Parameters, FindFirst2ResponseParameters};
use countersign_wire::smb1::transaction::{AnswerFragment, Fragment, Kind, Primary};
use countersign_wire::smb1::{Command, Flags2, HEADER};

use crate::*;

fn write(client: &mut Client<MemoryWire>, fid: u16, offset: u64, data: &[u8]) -> u32 {
    let write = WriteAndx {
        fid,
        offset,
        mode: 0,
        data,
        short_form: false,
    };
    let (w, b) = write.encode(HEADER);
    let reply = client.command(Command::WRITE_ANDX, w, b).unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    let words = WriteAndxResponseWords::decode(&mut reply.block().words_after_andx()).unwrap();
    u32::from(words.count_high) << 16 | u32::from(words.count)
}

fn read(client: &mut Client<MemoryWire>, fid: u16, offset: u64, max_count: u32) -> Vec<u8> {
    let read = ReadAndx {
        fid,
        offset,
        max_count,
        min_count: 0,
        short_form: false,
    };
    let reply = client
        .command(Command::READ_ANDX, read.encode(), Vec::new())
        .unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    let block = reply.block();
    let w = ReadAndxResponseWords::decode(&mut block.words_after_andx()).unwrap();
    let length = usize::from(w.data_length_high) << 16 | usize::from(w.data_length);
    block
        .at(usize::from(w.data_offset), length, "data")
        .unwrap()
        .to_vec()
}

#[test]
fn large_writes_and_reads_beyond_64_kib_and_4_gib() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    let file = nt_create(&mut client, "big", create_words()).unwrap();
    let data: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    assert_eq!(write(&mut client, file.fid, 5 << 32, &data), 100_000);
    assert_eq!(read(&mut client, file.fid, 5 << 32, 100_000), data);
    // At and behind the end there is nothing, which is no error.
    assert_eq!(read(&mut client, file.fid, (5 << 32) + 100_000, 10), [0; 0]);
    assert_eq!(read(&mut client, file.fid, 6 << 32, 10), [0; 0]);
}

#[test]
fn a_read_stands_where_its_words_say() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    let file = nt_create(&mut client, "f", create_words()).unwrap();
    write(&mut client, file.fid, 0, b"0123456789");
    let read = ReadAndx {
        fid: file.fid,
        offset: 3,
        max_count: 4,
        min_count: 0,
        short_form: true,
    };
    let reply = client
        .command(Command::READ_ANDX, read.encode(), Vec::new())
        .unwrap();
    // 32 header, 1 + 24 words, 2 ByteCount, 1 pad.
    assert_eq!(reply.message.len(), 60 + 4);
    assert_eq!(&reply.message[60..], b"3456");
}

fn names(client: &mut Client<MemoryWire>, pattern: &str, level: u16) -> Result<Vec<u8>, NtStatus> {
    let mut parameters = FindFirst2Parameters {
        search_attributes: 0x16,
        search_count: 100,
        flags: 2,
        information_level: level,
        search_storage_type: 0,
    }
    .to_vec();
    parameters.extend(client.text().encode(pattern));
    parameters.extend([0, 0]);
    let primary = Primary {
        kind: Kind::Transaction2,
        function: 1,
        flags: 0,
        timeout: 0,
        max_parameters: 10,
        max_data: 16_000,
        max_setup: 0,
        setup: &[1, 0],
        name: String::new(),
        fragment: Fragment {
            total_parameters: u32::try_from(parameters.len()).unwrap(),
            total_data: 0,
            parameters: &parameters,
            parameter_displacement: 0,
            data: &[],
            data_displacement: 0,
        },
    };
    let (w, b) = primary.encode(client.text(), HEADER);
    let reply = client.command(Command::TRANSACTION2, w, b).unwrap();
    if reply.status() != NtStatus::SUCCESS {
        return Err(reply.status());
    }
    let block = reply.block();
    let fragment = AnswerFragment::decode(&block).unwrap().fragment;
    let p = FindFirst2ResponseParameters::decode(&mut Reader::new(fragment.parameters)).unwrap();
    assert_eq!(p.end_of_search, 1);
    // Parameters and data begin at multiples of four.
    for part in [fragment.parameters, fragment.data] {
        let at = part.as_ptr() as usize - reply.message.as_ptr() as usize;
        assert_eq!(at % 4, 0);
    }
    Ok(fragment.data.to_vec())
}

#[test]
fn listings_in_both_alphabets() {
    let server = TestServer::new(|_| {});
    std::fs::write(server.folder.path().join("Gr\u{fc}n.txt"), b"x").unwrap();
    for unicode in [true, false] {
        let mut client = server.alice();
        client.flags2.set(Flags2::UNICODE, unicode);
        let data = names(&mut client, r"\*", 0x104).unwrap();
        let name = client.text().encode("Gr\u{fc}n.txt");
        let at = data
            .windows(name.len())
            .position(|w| w == name)
            .expect("the name");
        let length = u32::from_le_bytes(data[at - 94 + 60..at - 94 + 64].try_into().unwrap());
        // Without Unicode the terminator is counted, and no short name is given.
        let expected = if unicode { name.len() } else { name.len() + 1 };
        assert_eq!(usize::try_from(length).unwrap(), expected);
        if !unicode {
            assert_eq!(data[at - 26], 0, "ShortNameLength");
        }
        assert_eq!(
            names(&mut client, r"\nothing*", 0x104),
            Err(NtStatus::NO_SUCH_FILE)
        );
        assert_eq!(
            names(&mut client, r"\no\*", 0x104),
            Err(NtStatus::OBJECT_PATH_NOT_FOUND)
        );
        assert_eq!(
            names(&mut client, r"\*", 0x777),
            Err(NtStatus::INVALID_LEVEL)
        );
    }
}

#[test]
fn core_searches_go_on_from_any_entry() {
    let server = TestServer::new(|_| {});
    for n in 0..7 {
        std::fs::write(server.folder.path().join(format!("FILE{n}.TXT")), b"x").unwrap();
    }
    std::fs::write(
        server
            .folder
            .path()
            .join("a name far too long for DOS.text"),
        b"x",
    )
    .unwrap();
    let mut client = server.alice();
    client.flags2.remove(Flags2::UNICODE);
    let mut search = |key: Option<_>, max_count| {
        let request = SearchRequest {
            words: SearchWords {
                max_count,
                search_attributes: 0x16,
            },
            file_name: if key.is_none() {
                r"\*.*".into()
            } else {
                String::new()
            },
            resume_key: key,
        };
        let (w, b) = request.encode(client.text(), HEADER);
        let reply = client.command(Command::SEARCH, w, b).unwrap();
        let block = reply.block();
        let entries: Vec<DirectoryInformation> = block
            .byte_slice()
            .get(3..)
            .unwrap_or_default()
            .chunks_exact(ENTRY)
            .map(|e| DirectoryInformation::decode(&mut Reader::new(e)).unwrap())
            .collect();
        (reply.status(), entries)
    };
    let (_, all) = search(None, 100);
    assert_eq!(
        all.len(),
        10,
        "two dots, seven files, and the long name by its short one"
    );
    let long = all.iter().filter(|e| e.file_name.contains(&b'~')).count();
    assert_eq!(long, 1);
    // In small steps the same.
    let (mut key, mut stepped) = (None, Vec::new());
    loop {
        let (status, entries) = search(key, 3);
        assert_eq!(status, NtStatus::SUCCESS);
        if entries.is_empty() {
            break;
        }
        key = entries.last().map(|e| e.resume_key);
        stepped.extend(entries);
    }
    let name = |e: &DirectoryInformation| e.file_name;
    assert_eq!(
        all.iter().map(name).collect::<Vec<_>>(),
        stepped.iter().map(name).collect::<Vec<_>>()
    );
    // From the middle again.
    let (_, again) = search(None, 100);
    let (_, rest) = search(Some(again[4].resume_key), 100);
    assert_eq!(
        rest.iter().map(name).collect::<Vec<_>>(),
        all[5..].iter().map(name).collect::<Vec<_>>()
    );
}

#[test]
fn wildcards_delete_and_rename() {
    let server = TestServer::new(|_| {});
    let path = |n: &str| server.folder.path().join(n);
    for n in ["a1.txt", "a2.txt", "b.txt"] {
        std::fs::write(path(n), b"x").unwrap();
    }
    let mut client = server.alice();
    let bytes = encode_formatted(client.text(), HEADER + 1 + 2 + 2, &[r"\a*.txt", r"\c*.bak"]);
    let reply = client.command(Command::RENAME, vec![6, 0], bytes).unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    assert!(!path("a1.txt").exists());
    let bytes = encode_formatted(client.text(), HEADER + 1 + 2 + 2, &[r"\*.bak"]);
    let reply = client
        .command(Command::DELETE, vec![6, 0], bytes.clone())
        .unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    let reply = client.command(Command::DELETE, vec![6, 0], bytes).unwrap();
    assert_eq!(reply.status(), NtStatus::NO_SUCH_FILE);
    assert!(path("b.txt").exists());
}

#[test]
fn nothing_outside_the_share_can_be_reached() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    for (name, status) in [
        (r"..\x", NtStatus::OBJECT_PATH_SYNTAX_BAD),
        (r"a\..\..\x", NtStatus::OBJECT_PATH_SYNTAX_BAD),
        (r".\x", NtStatus::OBJECT_PATH_NOT_FOUND),
        (".", NtStatus::OBJECT_NAME_INVALID),
        ("a*", NtStatus::OBJECT_NAME_INVALID),
    ] {
        assert_eq!(
            nt_create(&mut client, name, create_words()).unwrap_err(),
            status,
            "{name}"
        );
    }
}
