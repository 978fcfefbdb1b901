//! Row 41 of the client checklist: how TRANSACTION2 answers are laid out, on
//! which Windows 9x, 2000 and XP insist.

use super::*;
use countersign_testkit::smb1::{Client as Smb1Client, Form, Reply};
use countersign_wire::smb1::{Command as Com, Flags2};

fn connected(s: &Subject, unicode: bool) -> Smb1Client<MemoryWire> {
    let mut c = Smb1Client::new(s.server.connect());
    c.negotiate(&["NT LM 0.12"], true).unwrap();
    let reply = c.logon(Form::Spnego, "alice", "Passw0rd!", false).unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    assert_eq!(
        c.tree_connect(r"\\s\share").unwrap().status(),
        NtStatus::SUCCESS
    );
    c.flags2.set(Flags2::UNICODE, unicode);
    c
}

struct Answer {
    parameters: Vec<u8>,
    data: Vec<u8>,
}

/// TRANS2 with one setup word.
fn trans2(
    c: &mut Smb1Client<MemoryWire>,
    code: u16,
    parameters: &[u8],
    max_data: u16,
) -> Result<Answer, NtStatus> {
    let at = 32 + 1 + 30 + 2 + 3;
    let u = |v: usize| u16::try_from(v).unwrap().to_le_bytes();
    let words = [
        &u(parameters.len())[..],
        &[0; 2],
        &10u16.to_le_bytes(),
        &max_data.to_le_bytes(),
        &[0; 10],
        &u(parameters.len()),
        &u(at),
        &[0; 2],
        &u(at + parameters.len()),
        &[1, 0],
        &code.to_le_bytes(),
    ]
    .concat();
    assert_eq!(words.len(), 30);
    let bytes = [&[0; 3][..], parameters].concat();
    let reply = c.call(Com::TRANSACTION2, false, &words, &bytes).unwrap();
    if reply.status() != NtStatus::SUCCESS {
        return Err(reply.status());
    }
    Ok(taken_apart(&reply))
}

/// Checks the layout every stack depends on: parameters and data begin at
/// multiples of four and lie inside the message.
fn taken_apart(reply: &Reply) -> Answer {
    let w = |i: usize| {
        let words = reply.words();
        usize::from(u16::from_le_bytes([words[i * 2], words[i * 2 + 1]]))
    };
    let (p_count, p_at, d_count, d_at) = (w(3), w(4), w(6), w(7));
    assert!(p_count == 0 || p_at % 4 == 0, "parameters at {p_at}");
    assert!(d_count == 0 || d_at % 4 == 0, "data at {d_at}");
    Answer {
        parameters: reply.message[p_at..p_at + p_count].to_vec(),
        data: reply.message[d_at..d_at + d_count].to_vec(),
    }
}

fn text(s: &str, unicode: bool) -> Vec<u8> {
    if unicode {
        s.encode_utf16()
            .chain([0])
            .flat_map(u16::to_le_bytes)
            .collect()
    } else {
        [s.as_bytes(), &[0]].concat()
    }
}

fn find_first(count: u16, level: u16, pattern: &str, unicode: bool) -> Vec<u8> {
    let mut p = 0x16u16.to_le_bytes().to_vec();
    p.extend_from_slice(&count.to_le_bytes());
    p.extend_from_slice(&0u16.to_le_bytes());
    p.extend_from_slice(&level.to_le_bytes());
    p.extend_from_slice(&[0; 4]);
    p.extend(text(pattern, unicode));
    p
}

fn subject() -> Subject {
    let s = Subject::with(Settings::default(), |c| c.smb1 = true);
    let mut c = connected(&s, true);
    for name in [
        "short.txt",
        "a longer name.text",
        "third",
        "fourth",
        "fifth",
    ] {
        // OPEN_ANDX is 15 words; CREATE_NEW is enough here.
        let bytes = [&[4][..], &text(name, true)].concat();
        // The string begins at 32 + 1 + 6 + 2 + 1 = 42: even.
        let reply = c.call(0x03, false, &[0; 6], &bytes).unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS, "{name}");
    }
    s
}

fn entries(data: &[u8]) -> Vec<&[u8]> {
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        let next = u32::from_le_bytes(data[at..at + 4].try_into().unwrap()) as usize;
        out.push(&data[at..if next == 0 { data.len() } else { at + next }]);
        if next == 0 {
            return out;
        }
        at += next;
    }
}

#[test]
fn find_gives_no_more_than_was_asked_for() {
    let s = subject();
    for unicode in [true, false] {
        let mut c = connected(&s, unicode);
        // Windows 95 asks for six entries in 2.4 KB and drops a server that gives more.
        let answer = trans2(&mut c, 1, &find_first(2, 0x104, r"\*", unicode), 2400).unwrap();
        let count = u16::from_le_bytes([answer.parameters[2], answer.parameters[3]]);
        assert_eq!(count, 2);
        assert_eq!(entries(&answer.data).len(), 2);
        for room in [150, 300, 600] {
            let answer = trans2(&mut c, 1, &find_first(100, 0x104, r"\*", unicode), room).unwrap();
            assert!(
                answer.data.len() <= usize::from(room),
                "{} of {room}",
                answer.data.len()
            );
        }
    }
}

#[test]
fn names_of_both_directory_info() {
    let s = subject();
    for unicode in [true, false] {
        let mut c = connected(&s, unicode);
        let answer = trans2(
            &mut c,
            1,
            &find_first(10, 0x104, r"\a longer*", unicode),
            4000,
        )
        .unwrap();
        let all = entries(&answer.data);
        let [entry] = all[..] else {
            panic!("{} entries", all.len())
        };
        let length = u32::from_le_bytes(entry[60..64].try_into().unwrap()) as usize;
        let name = text("a longer name.text", unicode);
        let bare = name.len() - if unicode { 2 } else { 1 };
        assert_eq!(entry[94..94 + bare], name[..bare]);
        // A terminator is there, whether the length counts it or not.
        assert!(length == bare || length == name.len());
        assert!(
            entry.len() >= 94 + name.len(),
            "XP SP3 reads the terminator"
        );
        if !unicode {
            // A UCS-2 short name crashes shell32 in an OEM session.
            assert_eq!(entry[68], 0);
        }
    }
}

/// FILE_NAMES_INFO must not be terminated, or Windows 2000 loops.
#[test]
fn names_info_is_not_terminated() {
    let s = subject();
    let mut c = connected(&s, true);
    let answer = trans2(&mut c, 1, &find_first(10, 0x103, r"\third", true), 4000).unwrap();
    let length = u32::from_le_bytes(answer.data[8..12].try_into().unwrap());
    assert_eq!(length, 10);
}

/// The file system's name must not be terminated, or Windows 98 believes there
/// are no long names; volume labels should be.
#[test]
fn the_file_system_is_named_without_a_terminator() {
    let s = subject();
    let mut c = connected(&s, true);
    let answer = trans2(&mut c, 3, &0x105u16.to_le_bytes(), 1000).unwrap();
    let length = u32::from_le_bytes(answer.data[8..12].try_into().unwrap()) as usize;
    let ntfs: Vec<u8> = "NTFS".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(answer.data[12..12 + length], ntfs);
    let answer = trans2(&mut c, 3, &2u16.to_le_bytes(), 1000).unwrap();
    let characters = usize::from(answer.data[4]);
    assert!(answer.data.len() >= 5 + characters);
}

#[test]
fn a_search_without_result_is_no_such_file() {
    let s = subject();
    let mut c = connected(&s, true);
    let error = trans2(&mut c, 1, &find_first(10, 0x104, r"\nothing*", true), 4000).err();
    assert_eq!(error, Some(NtStatus::NO_SUCH_FILE));
}
