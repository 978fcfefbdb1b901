//! From a message to its handlers: the chain, the preconditions, the table.

use bytes::Bytes;
use countersign_wire::NtStatus;
use countersign_wire::smb1::{Block, Chain, Command};

use super::request::{Answer, Finished, Request, Stop};
use super::{
    close, directory, disk, dos_open, echo, exit, file_io, information, locking, logoff, names,
    negotiate, open, search, session_setup, transaction, tree,
};

/// What must hold before a command is carried out, checked in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Nothing.
    Nothing,
    /// A session was negotiated.
    Dialect,
    /// A valid UID.
    Session,
    /// A valid UID and TID.
    Tree,
    /// The same, of a disk share.
    Disk,
}

fn needs(command: u8) -> Needs {
    match command {
        Command::NEGOTIATE => Needs::Nothing,
        // A tree may be disconnected after its session was logged off.
        Command::SESSION_SETUP_ANDX | Command::ECHO | Command::TREE_DISCONNECT => Needs::Dialect,
        Command::LOGOFF_ANDX
        | Command::TREE_CONNECT
        | Command::TREE_CONNECT_ANDX
        | Command::PROCESS_EXIT => Needs::Session,
        Command::NT_CREATE_ANDX
        | Command::OPEN_ANDX
        | Command::OPEN
        | Command::CLOSE
        | Command::FLUSH
        | Command::READ
        | Command::READ_ANDX
        | Command::WRITE
        | Command::WRITE_ANDX
        | Command::WRITE_AND_CLOSE
        | Command::TRANSACTION
        | Command::TRANSACTION_SECONDARY
        | Command::TRANSACTION2
        | Command::TRANSACTION2_SECONDARY
        | Command::NT_TRANSACT
        | Command::NT_TRANSACT_SECONDARY
        | Command::FIND_CLOSE2
        | Command::QUERY_INFORMATION2
        | Command::LOCKING_ANDX => Needs::Tree,
        _ => Needs::Disk,
    }
}

/// Carries out a message: each command of its chain in turn, until one fails.
/// `full`: too many others wait already.
pub(crate) async fn run(mut request: Request, full: bool) -> Finished {
    let frame: Bytes = request.frame.clone();
    let command = request.header.command;
    if full {
        request.push_error(command, NtStatus::INSUFFICIENT_RESOURCES);
        return Finished {
            messages: request.finish(),
            close: None,
        };
    }
    for block in Chain::new(&frame, command, request.config.limits.chain_length) {
        let Ok(block) = block else {
            request.push_error(command, NtStatus::INVALID_SMB);
            break;
        };
        match carry_out(&mut request, &block).await {
            Ok(reply) => {
                let status = reply.status.0;
                let last = matches!(block.next(), Ok(None));
                request.push(block.command, reply, last);
                if status != NtStatus::SUCCESS {
                    break;
                }
            }
            Err(Stop::Status(status)) => {
                request.push_error(block.command, status);
                break;
            }
            Err(Stop::Dos(error)) => {
                request.push_error(block.command, NtStatus(error.to_wire()));
                break;
            }
            Err(Stop::Silent) => break,
            Err(Stop::Close(reason)) => {
                return Finished {
                    messages: Vec::new(),
                    close: Some(reason),
                };
            }
        }
    }
    Finished {
        messages: request.finish(),
        close: None,
    }
}

async fn carry_out(cx: &mut Request, block: &Block<'_>) -> Answer {
    check(cx, block.command)?;
    match block.command {
        // The commands that move data stay in the task itself; the others get
        // memory of their own, so that tasks stay small.
        Command::READ_ANDX => file_io::read_andx(cx, block).await,
        Command::WRITE_ANDX => file_io::write_andx(cx, block).await,
        Command::NEGOTIATE => negotiate::handle(cx, block),
        Command::ECHO => echo::handle(cx, block),
        _ => Box::pin(other(cx, block)).await,
    }
}

fn check(cx: &Request, command: u8) -> Result<(), Stop> {
    let needs = needs(command);
    if needs == Needs::Nothing {
        return Ok(());
    }
    if cx.shared.state.lock().negotiated.is_none() {
        return Err(Stop::Close("command before NEGOTIATE"));
    }
    if needs == Needs::Dialect {
        return Ok(());
    }
    let session = cx.session()?;
    let now = cx.shared.state.lock().now;
    session.record.touch(now);
    // [MS-SMB] 3.3.5.1: with credentials that have run out only what ends things works.
    if session.expires.is_some_and(|at| at <= now.monotonic) && !ends_things(command) {
        return Err(Stop::Status(NtStatus::NETWORK_SESSION_EXPIRED));
    }
    if needs == Needs::Session {
        return Ok(());
    }
    let tree = cx.tree()?;
    if needs == Needs::Disk && tree.share.is_none() {
        return Err(Stop::Status(NtStatus::INVALID_DEVICE_REQUEST));
    }
    Ok(())
}

/// Commands that work though the session's credentials have run out.
fn ends_things(command: u8) -> bool {
    matches!(
        command,
        Command::CLOSE | Command::FLUSH | Command::LOCKING_ANDX | Command::LOGOFF_ANDX
    )
}

async fn other(cx: &mut Request, block: &Block<'_>) -> Answer {
    match block.command {
        Command::SESSION_SETUP_ANDX => session_setup::handle(cx, block).await,
        Command::LOGOFF_ANDX => logoff::handle(cx, block),
        Command::TREE_CONNECT => tree::connect(cx, block),
        Command::TREE_CONNECT_ANDX => tree::connect_andx(cx, block),
        Command::TREE_DISCONNECT => tree::disconnect(cx, block),
        Command::PROCESS_EXIT => exit::handle(cx, block),

        Command::NT_CREATE_ANDX => open::nt_create_andx(cx, block).await,
        Command::OPEN_ANDX => dos_open::open_andx(cx, block).await,
        Command::OPEN => dos_open::open(cx, block).await,
        Command::CREATE => dos_open::create(cx, block, false).await,
        Command::CREATE_NEW => dos_open::create(cx, block, true).await,
        Command::CREATE_TEMPORARY => dos_open::create_temporary(cx, block).await,
        Command::CLOSE => close::handle(cx, block).await,
        Command::FLUSH => close::flush(cx, block).await,

        Command::READ => file_io::read(cx, block).await,
        Command::LOCK_AND_READ => file_io::lock_and_read(cx, block).await,
        Command::WRITE => file_io::write(cx, block).await,
        Command::WRITE_AND_CLOSE => file_io::write_and_close(cx, block).await,
        Command::WRITE_AND_UNLOCK => file_io::write_and_unlock(cx, block).await,
        Command::SEEK => file_io::seek(cx, block).await,
        Command::LOCKING_ANDX => locking::locking_andx(cx, block).await,
        Command::LOCK_BYTE_RANGE => locking::lock_byte_range(cx, block).await,
        Command::UNLOCK_BYTE_RANGE => locking::unlock_byte_range(cx, block).await,

        Command::DELETE => names::delete(cx, block).await,
        Command::RENAME => names::rename(cx, block).await,
        Command::NT_RENAME => names::nt_rename(cx, block).await,
        Command::CREATE_DIRECTORY => directory::create(cx, block).await,
        Command::DELETE_DIRECTORY => directory::delete(cx, block).await,
        Command::CHECK_DIRECTORY => directory::check(cx, block).await,
        Command::QUERY_INFORMATION => information::query(cx, block).await,
        Command::SET_INFORMATION => information::set(cx, block).await,
        Command::QUERY_INFORMATION2 => information::query2(cx, block).await,
        Command::SET_INFORMATION2 => information::set2(cx, block).await,
        Command::QUERY_INFORMATION_DISK => disk::handle(cx, block).await,

        Command::SEARCH | Command::FIND => search::search(cx, block).await,
        Command::FIND_UNIQUE => search::find_unique(cx, block).await,
        Command::FIND_CLOSE => search::find_close(cx, block).await,
        Command::FIND_CLOSE2 => search::find_close2(cx, block).await,

        Command::TRANSACTION | Command::TRANSACTION2 | Command::NT_TRANSACT => {
            transaction::primary(cx, block).await
        }
        Command::TRANSACTION_SECONDARY
        | Command::TRANSACTION2_SECONDARY
        | Command::NT_TRANSACT_SECONDARY => transaction::secondary(cx, block).await,

        // Raw mode is not offered; with signing it cannot be served at all.
        Command::READ_RAW | Command::WRITE_RAW if cx.admitted.is_signed() => {
            Err(Stop::Close("raw mode on a signed connection"))
        }
        // [MS-CIFS] 3.3.5.22: a failed raw read is an empty message.
        Command::READ_RAW => Err(Stop::Status(NtStatus::NOT_SUPPORTED)),
        // No share is a printer.
        Command::OPEN_PRINT_FILE | Command::WRITE_PRINT_FILE | Command::GET_PRINT_QUEUE => {
            Err(Stop::Status(NtStatus::ACCESS_DENIED))
        }
        Command::CLOSE_PRINT_FILE => Err(Stop::Dos(countersign_wire::smb1::DosError::ERROR)),
        Command::WRITE_MPX
        | Command::READ_MPX
        | Command::WRITE_RAW
        | Command::READ_MPX_SECONDARY
        | Command::WRITE_MPX_SECONDARY
        | Command::WRITE_COMPLETE => Err(Stop::Dos(USE_STANDARD)),
        _ => Err(Stop::Status(NtStatus::SMB_BAD_COMMAND)),
    }
}

/// ERRSRV/ERRuseSTD: use the standard read and write commands.
const USE_STANDARD: countersign_wire::smb1::DosError = countersign_wire::smb1::DosError {
    class: 2,
    code: 251,
};
