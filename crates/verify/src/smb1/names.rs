//! What SMB1 messages are called.

use super::header;

/// Command, direction and MID of a message.
pub(crate) fn describe(m: &[u8]) -> String {
    header(m).map_or_else(
        || "SMB1 message without a whole header".to_owned(),
        |h| command_name(h.command, h.reply, h.mid),
    )
}

pub(super) fn command_name(command: u8, reply: bool, mid: u16) -> String {
    let name = match command {
        0x00 => "CREATE_DIRECTORY",
        0x01 => "DELETE_DIRECTORY",
        0x04 => "CLOSE",
        0x05 => "FLUSH",
        0x06 => "DELETE",
        0x07 => "RENAME",
        0x08 => "QUERY_INFORMATION",
        0x0A => "READ",
        0x0B => "WRITE",
        0x1A => "READ_RAW",
        0x1D => "WRITE_RAW",
        0x24 => "LOCKING_ANDX",
        0x25 => "TRANSACTION",
        0x26 => "TRANSACTION_SECONDARY",
        0x2B => "ECHO",
        0x2D => "OPEN_ANDX",
        0x2E => "READ_ANDX",
        0x2F => "WRITE_ANDX",
        0x32 => "TRANSACTION2",
        0x33 => "TRANSACTION2_SECONDARY",
        0x34 => "FIND_CLOSE2",
        0x71 => "TREE_DISCONNECT",
        0x72 => "NEGOTIATE",
        0x73 => "SESSION_SETUP_ANDX",
        0x74 => "LOGOFF_ANDX",
        0x75 => "TREE_CONNECT_ANDX",
        0xA0 => "NT_TRANSACT",
        0xA1 => "NT_TRANSACT_SECONDARY",
        0xA2 => "NT_CREATE_ANDX",
        0xA4 => "NT_CANCEL",
        _ => "",
    };
    let direction = if reply { "response" } else { "request" };
    if name.is_empty() {
        format!("SMB1 command 0x{command:02x} {direction}, MID {mid}")
    } else {
        format!("SMB1 {name} {direction}, MID {mid}")
    }
}
