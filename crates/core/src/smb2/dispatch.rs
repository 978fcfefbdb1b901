//! One row per command: what must hold before its handler runs.

use countersign_wire::NtStatus;
use countersign_wire::smb2::{Command, FileId, HEADER_LEN, fsctl};

use super::handler::{Context, Handler, Step};
use super::{
    change_notify, close, create, echo, flush, ioctl, lock, logoff, negotiate, oplock_break,
    query_directory, query_info, read, session_setup, set_info, tree_connect, tree_disconnect,
    write,
};

/// What a command needs, checked in this order: session, tree, StructureSize,
/// CreditCharge, open.
pub struct Row {
    /// The command.
    pub command: Command,
    /// StructureSize of the request; `None`: the handler looks (OPLOCK_BREAK has two).
    pub structure_size: Option<u16>,
    /// A session: none, one, or one that may have expired.
    pub session: Need,
    /// A tree connect.
    pub tree: bool,
    /// Where the FileId stands in the message, counted from the body.
    pub file_id: Option<FileIdAt>,
    /// Fields of the body that say how much is sent and how much may come back,
    /// for the CreditCharge check ([MS-SMB2] 3.3.5.2.5).
    pub payload: fn(&[u8]) -> u64,
    /// It changes something and must not be carried out twice ([MS-SMB2] 3.3.5.2.10).
    pub changes: bool,
    /// When STATUS_PENDING is sent for a call that is not answered.
    pub interim: Interim,
    /// Carries it out.
    pub handler: Handler,
}

/// Whether a session is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// None.
    Nothing,
    /// None, but one that is named must be there (ECHO).
    IfNamed,
    /// A valid one.
    Valid,
    /// One that may have expired (LOGOFF, CLOSE, UNLOCK, ECHO work on it).
    Expired,
}

/// Where the FileId stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdAt {
    /// Offset in the body.
    pub offset: usize,
    /// All ones is allowed outside a compound (IOCTL about the server): the
    /// handler then has no open.
    pub optional: bool,
}

/// When an unanswered call gets its interim response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interim {
    /// At once: the command is meant to wait.
    Now,
    /// After so many milliseconds.
    After(u16),
    /// Never (SESSION_SETUP and the like).
    Never,
}

const fn at(offset: usize) -> Option<FileIdAt> {
    Some(FileIdAt {
        offset,
        optional: false,
    })
}

/// Row of a command that needs a session, a tree and an open.
const fn row(
    command: Command,
    structure_size: u16,
    file_id: Option<FileIdAt>,
    handler: Handler,
) -> Row {
    Row {
        command,
        structure_size: Some(structure_size),
        session: Need::Valid,
        tree: true,
        file_id,
        payload: nothing,
        changes: false,
        interim: Interim::After(200),
        handler,
    }
}

/// The commands. A command that is not here is answered INVALID_PARAMETER.
pub static TABLE: &[Row] = &[
    Row {
        session: Need::Nothing,
        tree: false,
        interim: Interim::Never,
        ..row(Command::NEGOTIATE, 36, None, negotiate::handle)
    },
    Row {
        session: Need::Nothing,
        tree: false,
        interim: Interim::Never,
        ..row(Command::SESSION_SETUP, 25, None, session_setup::handle)
    },
    Row {
        session: Need::Expired,
        tree: false,
        ..row(Command::LOGOFF, 4, None, logoff::handle)
    },
    Row {
        tree: false,
        ..row(Command::TREE_CONNECT, 9, None, tree_connect::handle)
    },
    Row {
        session: Need::Expired,
        ..row(Command::TREE_DISCONNECT, 4, None, tree_disconnect::handle)
    },
    Row {
        interim: Interim::After(5),
        ..row(Command::CREATE, 57, None, create::handle)
    },
    Row {
        session: Need::Expired,
        ..row(Command::CLOSE, 24, at(8), close::handle)
    },
    row(Command::FLUSH, 24, at(8), flush::handle),
    Row {
        payload: |b| u32_at(b, 4),
        ..row(Command::READ, 49, at(16), read::handle)
    },
    Row {
        changes: true,
        payload: |b| u32_at(b, 4),
        ..row(Command::WRITE, 49, at(16), write::handle)
    },
    Row {
        session: Need::Expired,
        interim: Interim::Now,
        ..row(Command::LOCK, 48, at(8), lock::handle)
    },
    Row {
        changes: true,
        payload: ioctl_payload,
        ..row(
            Command::IOCTL,
            57,
            Some(FileIdAt {
                offset: 8,
                optional: true,
            }),
            ioctl::handle,
        )
    },
    Row {
        session: Need::IfNamed,
        tree: false,
        ..row(Command::ECHO, 4, None, echo::handle)
    },
    Row {
        payload: |b| u32_at(b, 28),
        ..row(Command::QUERY_DIRECTORY, 33, at(8), query_directory::handle)
    },
    Row {
        payload: |b| u32_at(b, 4),
        interim: Interim::Now,
        ..row(Command::CHANGE_NOTIFY, 32, at(8), change_notify::handle)
    },
    Row {
        payload: |b| u32_at(b, 12).max(u32_at(b, 4)),
        ..row(Command::QUERY_INFO, 41, at(24), query_info::handle)
    },
    Row {
        changes: true,
        payload: |b| u32_at(b, 4),
        ..row(Command::SET_INFO, 33, at(16), set_info::handle)
    },
    Row {
        structure_size: None,
        ..row(Command::OPLOCK_BREAK, 24, None, oplock_break::handle)
    },
];

/// Stands for commands without a row; its handler does not run.
pub(super) static UNKNOWN: Row = Row {
    session: Need::Nothing,
    tree: false,
    ..row(Command(u16::MAX), 0, None, no_such_command)
};

fn no_such_command(_cx: &mut Context<'_>) -> Step {
    Step::Fail(NtStatus::INVALID_PARAMETER)
}

/// The row of a command.
pub(super) fn find(command: Command) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.command == command)
}

/// Whether related messages take the file from a message of this command.
pub(super) fn gives_or_takes_file(command: Command) -> bool {
    command == Command::CREATE || find(command).is_some_and(|row| row.file_id.is_some())
}

/// The control of an IOCTL that is about the server and not about a file.
pub(super) fn server_control(command: Command, message: &[u8]) -> Option<u32> {
    if command != Command::IOCTL {
        return None;
    }
    let code = message.get(HEADER_LEN + 4..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*code)).filter(|code| {
        matches!(
            *code,
            fsctl::VALIDATE_NEGOTIATE_INFO
                | fsctl::QUERY_NETWORK_INTERFACE_INFO
                | fsctl::DFS_GET_REFERRALS
                | fsctl::DFS_GET_REFERRALS_EX
                | fsctl::PIPE_WAIT
        )
    })
}

fn nothing(_body: &[u8]) -> u64 {
    0
}

fn u32_at(body: &[u8], offset: usize) -> u64 {
    body.get(offset..)
        .and_then(|b| b.first_chunk::<4>())
        .map_or(0, |b| u64::from(u32::from_le_bytes(*b)))
}

fn ioctl_payload(body: &[u8]) -> u64 {
    // InputCount + OutputCount, MaxInputResponse + MaxOutputResponse.
    let sent = u32_at(body, 28).saturating_add(u32_at(body, 40));
    let back = u32_at(body, 32).saturating_add(u32_at(body, 44));
    sent.max(back)
}

/// The FileId at `offset` of the body.
pub(super) fn file_id(message: &[u8], at: FileIdAt) -> Option<FileId> {
    let start = HEADER_LEN.checked_add(at.offset)?;
    let (persistent, rest) = message.get(start..)?.split_first_chunk::<8>()?;
    let volatile = rest.first_chunk::<8>()?;
    Some(FileId {
        persistent: u64::from_le_bytes(*persistent),
        volatile: u64::from_le_bytes(*volatile),
    })
}

/// [MS-SMB2] 3.3.5.2.5: the CreditCharge that a payload needs.
pub(super) fn charge_for(payload: u64) -> u64 {
    payload.saturating_sub(1) / 65_536 + 1
}
