//! What real peers sent, through the decoders and back.

use countersign_testkit::pcapng;
use countersign_wire::Writer;
use countersign_wire::smb1::block::{Block, Chain};
use countersign_wire::smb1::files::{LockingAndx, ReadAndx, WriteAndx};
use countersign_wire::smb1::negotiate::{
    NtResponse, NtResponseBytes, decode_dialects, encode_dialects,
};
use countersign_wire::smb1::session_setup_andx::{SessionSetupRequest, SessionSetupResponse};
use countersign_wire::smb1::transaction::{AnswerFragment, Fragment, Kind, Primary};
use countersign_wire::smb1::{CodePage, Command, Flags, HEADER, Header, Text};

/// Decodes one block as what it is; gives whether it was encoded again and
/// came out as it was.
fn check(header: &Header, block: &Block<'_>) -> bool {
    let text = Text::of(header.flags2, CodePage::Cp850);
    let reply = header.flags.contains(Flags::REPLY);
    let after = block.words_after_andx().rest();
    match (block.command, reply) {
        _ if reply && block.word_count() == 0 => false,
        (Command::NEGOTIATE, false) => {
            let dialects = decode_dialects(block.byte_slice()).unwrap();
            assert_eq!(encode_dialects(&dialects), block.byte_slice());
            true
        }
        (Command::NEGOTIATE, true) if block.word_count() == 17 => {
            let words = NtResponse::decode(&mut block.words()).unwrap();
            assert_eq!(words.to_vec(), block.words);
            let bytes = NtResponseBytes::decode(&words, text, block.byte_slice()).unwrap();
            let mut out = Vec::new();
            bytes.encode(text, &mut Writer::new(&mut out));
            assert_eq!(out, block.byte_slice());
            true
        }
        (Command::SESSION_SETUP_ANDX, false) => {
            let request = SessionSetupRequest::decode(block, text).unwrap();
            let (words, bytes) = request.encode(text, block.bytes_start);
            assert_eq!(words, after);
            // Peers differ in the padding behind their strings.
            let both = bytes.len().min(block.byte_slice().len());
            assert_eq!(bytes[..both], block.byte_slice()[..both]);
            true
        }
        (Command::SESSION_SETUP_ANDX, true) => {
            SessionSetupResponse::decode(block, text).unwrap();
            false
        }
        (Command::READ_ANDX, false) => {
            let mut read = ReadAndx::decode(block).unwrap();
            // Old fields that are counts of other things are not kept.
            read.min_count = 0;
            assert_eq!(read.encode()[..6], after[..6]);
            true
        }
        (Command::WRITE_ANDX, false) => {
            let write = WriteAndx::decode(block).unwrap();
            assert!(block.message.ends_with(write.data) || block.next().unwrap().is_some());
            true
        }
        (Command::LOCKING_ANDX, _) if block.word_count() == 8 => {
            let (words, bytes) = LockingAndx::decode(block).unwrap().encode();
            assert_eq!(
                (words.as_slice(), bytes.as_slice()),
                (after, block.byte_slice())
            );
            true
        }
        (Command::TRANSACTION | Command::TRANSACTION2 | Command::NT_TRANSACT, false) => {
            let primary = Primary::decode(block, text).unwrap();
            let (words, _) = primary.encode(text, HEADER);
            assert_eq!(words.len(), block.words.len());
            true
        }
        (command, false) if Kind::of(command).is_some() => {
            Fragment::decode_secondary(block).unwrap();
            true
        }
        (Command::TRANSACTION | Command::TRANSACTION2 | Command::NT_TRANSACT, true) => {
            AnswerFragment::decode(block).unwrap();
            true
        }
        _ => false,
    }
}

#[test]
fn messages_of_smbclient_smbd_impacket_and_pysmb() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/captures");
    let (mut messages, mut again) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // Altered traffic has captures of its own.
        if !name.contains("nt1") || name.starts_with("mitm") || !name.ends_with(".pcapng") {
            continue;
        }
        for frame in pcapng::frames(&std::fs::read(&path).unwrap()) {
            let Ok(header) = Header::decode(&frame.bytes) else {
                continue;
            };
            assert_eq!(
                header.encode()[..],
                frame.bytes[..22]
                    .iter()
                    .chain(&[0, 0])
                    .chain(&frame.bytes[24..HEADER])
                    .copied()
                    .collect::<Vec<u8>>()
            );
            messages += 1;
            for block in Chain::new(&frame.bytes, header.command, 64) {
                // smbd's raw writes and cut frames are no blocks.
                let Ok(block) = block else { break };
                again += usize::from(check(&header, &block));
            }
        }
    }
    assert!(messages > 1000, "{messages} messages");
    assert!(again > 400, "{again} encoded again");
}
