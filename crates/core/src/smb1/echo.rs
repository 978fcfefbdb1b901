//! [MS-CIFS] 3.3.5.33 ECHO. All its responses have the request's number.

use countersign_wire::NtStatus;
use countersign_wire::smb1::Block;
use countersign_wire::smb1::echo::{EchoResponseWords, EchoWords};
use countersign_wire::smb1::transaction::AnswerPart;

use super::request::{Answer, Reply, Request, Stop, words_of};

/// Most responses one ECHO gets.
pub(super) const MAX_ECHOES: u16 = 100;

pub(super) fn handle(cx: &mut Request, block: &Block<'_>) -> Answer {
    let words = words_of(block, &[1], EchoWords::decode)?;
    let state = cx.shared.state.lock();
    // [MS-CIFS] 3.3.5.32: a TID that is neither valid nor 0xFFFF is an error.
    if cx.header.tid != 0xFFFF
        && !state.sessions.is_empty()
        && !state.trees.contains_key(&cx.header.tid)
        && cx.header.tid != 0
    {
        return Err(Stop::Status(NtStatus::SMB_BAD_TID));
    }
    drop(state);
    if words.echo_count == 0 {
        return Err(Stop::Silent);
    }
    let part = |sequence_number| AnswerPart {
        words: EchoResponseWords { sequence_number }.to_vec(),
        bytes: block.byte_slice().to_vec(),
    };
    let first = part(1);
    let more = (2..=words.echo_count.min(MAX_ECHOES)).map(part).collect();
    Ok(Reply {
        more,
        ..Reply::new(first.words, first.bytes)
    })
}
