//! Transactions: put together from primary and secondaries, handed to their
//! sub-commands, answered in one or more messages.
//! [MS-CIFS] 3.3.5.25, 3.3.5.26, 3.3.5.36, 3.3.5.37, 3.3.5.51, 3.3.5.52.

use countersign_wire::NtStatus;
use countersign_wire::smb1::Block;
use countersign_wire::smb1::trans2::{NtTransact, Trans2};
use countersign_wire::smb1::transaction::{
    Answer as TransactionAnswer, Assembly, Fragment, Kind, NO_RESPONSE, Primary,
};

use super::request::{Answer, Reply, Request, Stop};
use super::state::{Head, Incomplete, TransactionKey};
use super::{directory, dos_open, find, fs_information, nt_transact, open, pipe, query, set};

/// A transaction's answer and its status.
pub(super) struct Outcome {
    pub(super) status: NtStatus,
    pub(super) answer: TransactionAnswer,
}

impl From<TransactionAnswer> for Outcome {
    fn from(answer: TransactionAnswer) -> Self {
        Self {
            status: NtStatus::SUCCESS,
            answer,
        }
    }
}

impl Outcome {
    /// Parameters and data.
    pub(super) fn new(status: NtStatus, parameters: Vec<u8>, data: Vec<u8>) -> Self {
        Self {
            status,
            answer: TransactionAnswer {
                setup: Vec::new(),
                parameters,
                data,
            },
        }
    }
}

/// One that is complete.
pub(super) struct Transaction {
    pub(super) head: Head,
    pub(super) parameters: Vec<u8>,
    pub(super) data: Vec<u8>,
}

impl Transaction {
    /// Most data bytes the client takes.
    pub(super) fn max_data(&self) -> usize {
        usize::try_from(self.head.max_data).unwrap_or(usize::MAX)
    }
}

pub(super) async fn primary(cx: &mut Request, block: &Block<'_>) -> Answer {
    let primary = Primary::decode(block, cx.text())?;
    let limit = cx.config.limits.smb1_transaction_bytes;
    let assembly = Assembly::begin(&primary.fragment, limit)?;
    let head = Head::of(&primary, cx.header);
    if assembly.is_complete() {
        let (parameters, data) = assembly.into_parts();
        return run(
            cx,
            Transaction {
                head,
                parameters,
                data,
            },
        )
        .await;
    }
    let key = TransactionKey::of(&cx.header, head.kind.command());
    let mut state = cx.shared.state.lock();
    let held = state.transaction_bytes().saturating_add(assembly.size());
    if held > limit || state.transactions.contains_key(&key) {
        return Err(Stop::Status(NtStatus::INSUFFICIENT_RESOURCES));
    }
    state
        .transactions
        .insert(key, Incomplete { head, assembly });
    drop(state);
    // The interim response: go on.
    Ok(Reply::empty())
}

pub(super) async fn secondary(cx: &mut Request, block: &Block<'_>) -> Answer {
    let kind = Kind::of(block.command).ok_or(Stop::Status(NtStatus::INVALID_SMB))?;
    let fragment = Fragment::decode_secondary(block);
    let key = TransactionKey::of(&cx.header, kind.command());
    let complete = {
        let mut state = cx.shared.state.lock();
        // A secondary of nothing has no response of its own either.
        let Some(incomplete) = state.transactions.get_mut(&key) else {
            return Err(Stop::Silent);
        };
        let added = fragment.and_then(|f| incomplete.assembly.add(&f));
        if added.is_err() {
            state.transactions.remove(&key);
            cx.reply_command = Some(kind.command());
            return Err(Stop::Status(NtStatus::INVALID_PARAMETER));
        }
        if !incomplete.assembly.is_complete() {
            return Err(Stop::Silent);
        }
        state.transactions.remove(&key)
    };
    let Some(Incomplete { head, assembly }) = complete else {
        return Err(Stop::Silent);
    };
    cx.reply_command = Some(kind.command());
    cx.header.flags2 = head.header.flags2;
    let (parameters, data) = assembly.into_parts();
    run(
        cx,
        Transaction {
            head,
            parameters,
            data,
        },
    )
    .await
}

async fn run(cx: &mut Request, transaction: Transaction) -> Answer {
    let kind = transaction.head.kind;
    let silent = kind != Kind::NtTransact && transaction.head.flags & NO_RESPONSE != 0;
    let disconnect = kind != Kind::NtTransact
        && transaction.head.flags & countersign_wire::smb1::transaction::DISCONNECT_TID != 0;
    let result = match kind {
        Kind::Transaction => pipe::transaction(cx, transaction).await,
        Kind::Transaction2 => trans2(cx, transaction).await,
        Kind::NtTransact => nt(cx, transaction).await,
    };
    if disconnect {
        super::tree::end(&cx.shared, cx.header.tid);
    }
    let outcome = result?;
    if silent {
        return Err(Stop::Silent);
    }
    let mut parts = outcome.answer.encode(kind, max_message(cx)).into_iter();
    let Some(first) = parts.next() else {
        return Err(Stop::Status(NtStatus::INTERNAL_ERROR));
    };
    let reply = Reply {
        more: parts.collect(),
        ..Reply::new(first.words, first.bytes)
    };
    Ok(reply.with_status(outcome.status))
}

/// Largest response message: what the client said it takes.
fn max_message(cx: &Request) -> usize {
    let client = cx.session().map(|s| usize::from(s.max_buffer)).unwrap_or(0);
    client.clamp(1024, 0xFFFF)
}

async fn trans2(cx: &mut Request, t: Transaction) -> Result<Outcome, Stop> {
    let pipe = cx.tree()?.share.is_none();
    match t.head.function {
        Trans2::QUERY_FILE_INFORMATION => query::file(cx, &t).await,
        Trans2::QUERY_FS_INFORMATION => fs_information::query(cx, &t).await,
        Trans2::GET_DFS_REFERRAL => Err(Stop::Status(NtStatus::NOT_FOUND)),
        Trans2::SET_FILE_INFORMATION => set::file(cx, &t).await,
        _ if pipe => Err(Stop::Status(NtStatus::INVALID_DEVICE_REQUEST)),
        Trans2::OPEN2 => dos_open::open2(cx, &t.parameters, &t.data)
            .await
            .map(Outcome::from),
        Trans2::FIND_FIRST2 => find::first(cx, &t).await,
        Trans2::FIND_NEXT2 => find::next(cx, &t).await,
        Trans2::QUERY_PATH_INFORMATION => query::path(cx, &t).await,
        Trans2::SET_PATH_INFORMATION => set::path(cx, &t).await,
        Trans2::CREATE_DIRECTORY => directory::create2(cx, &t.parameters, &t.data)
            .await
            .map(Outcome::from),
        Trans2::SET_FS_INFORMATION => Err(Stop::Status(NtStatus::ACCESS_DENIED)),
        Trans2::FSCTL
        | Trans2::IOCTL2
        | Trans2::FIND_NOTIFY_FIRST
        | Trans2::FIND_NOTIFY_NEXT
        | Trans2::SESSION_SETUP
        | Trans2::REPORT_DFS_INCONSISTENCY => Err(Stop::Status(NtStatus::NOT_IMPLEMENTED)),
        _ => Err(Stop::Status(NtStatus::INVALID_LEVEL)),
    }
}

async fn nt(cx: &mut Request, t: Transaction) -> Result<Outcome, Stop> {
    match t.head.function {
        NtTransact::CREATE => open::nt_transact_create(cx, &t.parameters, &t.data)
            .await
            .map(Outcome::from),
        NtTransact::IOCTL => nt_transact::ioctl(cx, &t).await,
        NtTransact::SET_SECURITY_DESC => nt_transact::set_security(cx, &t).await,
        NtTransact::NOTIFY_CHANGE => nt_transact::notify(cx, &t).await,
        NtTransact::RENAME => nt_transact::rename(cx, &t),
        NtTransact::QUERY_SECURITY_DESC => nt_transact::query_security(cx, &t).await,
        NtTransact::QUERY_QUOTA | NtTransact::SET_QUOTA => {
            Err(Stop::Status(NtStatus::NOT_SUPPORTED))
        }
        _ => Err(Stop::Status(NtStatus::INVALID_PARAMETER)),
    }
}
