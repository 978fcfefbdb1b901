//! [MS-SMB2] 2.2.1 the packet header, and compounds of them.

use crate::cursor::{DecodeError, Reader, Result, Writer};
use crate::status::NtStatus;

/// Bytes of a header.
pub const HEADER_LEN: usize = 64;
/// ProtocolId of a plain SMB2 message.
pub const PROTOCOL_ID: [u8; 4] = [0xFE, b'S', b'M', b'B'];
/// ProtocolId of an encrypted message, [MS-SMB2] 2.2.41.
pub const TRANSFORM_PROTOCOL_ID: [u8; 4] = [0xFD, b'S', b'M', b'B'];
/// ProtocolId of a compressed message, [MS-SMB2] 2.2.42.
pub const COMPRESSION_PROTOCOL_ID: [u8; 4] = [0xFC, b'S', b'M', b'B'];
/// MessageId of what the server sends unasked (oplock and lease breaks).
pub const UNSOLICITED: u64 = u64::MAX;

/// What a frame begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// 0xFF: SMB1.
    Smb1,
    /// 0xFE: SMB2 in clear.
    Smb2,
    /// 0xFD: encrypted.
    Encrypted,
    /// 0xFC: compressed.
    Compressed,
}

impl Protocol {
    /// From the first four bytes of a frame.
    pub fn of(frame: &[u8]) -> Option<Self> {
        match frame.first_chunk::<4>()? {
            [0xFF, b'S', b'M', b'B'] => Some(Self::Smb1),
            p if *p == PROTOCOL_ID => Some(Self::Smb2),
            p if *p == TRANSFORM_PROTOCOL_ID => Some(Self::Encrypted),
            p if *p == COMPRESSION_PROTOCOL_ID => Some(Self::Compressed),
            _ => None,
        }
    }
}

/// [MS-SMB2] 2.2.1.2 Command.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Command(pub u16);

macro_rules! commands {
    ($($name:ident = $value:literal,)*) => {
        #[allow(missing_docs, reason = "the names are the specification's")]
        impl Command {
            $(pub const $name: Command = Command($value);)*

            /// The name, for a command the specification has.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

commands! {
    NEGOTIATE = 0x00,
    SESSION_SETUP = 0x01,
    LOGOFF = 0x02,
    TREE_CONNECT = 0x03,
    TREE_DISCONNECT = 0x04,
    CREATE = 0x05,
    CLOSE = 0x06,
    FLUSH = 0x07,
    READ = 0x08,
    WRITE = 0x09,
    LOCK = 0x0A,
    IOCTL = 0x0B,
    CANCEL = 0x0C,
    ECHO = 0x0D,
    QUERY_DIRECTORY = 0x0E,
    CHANGE_NOTIFY = 0x0F,
    QUERY_INFO = 0x10,
    SET_INFO = 0x11,
    OPLOCK_BREAK = 0x12,
    SERVER_TO_CLIENT_NOTIFICATION = 0x13,
}

impl core::fmt::Debug for Command {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "command {:#06x}", self.0),
        }
    }
}

bitflags::bitflags! {
    /// [MS-SMB2] 2.2.1.2 Flags.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct HeaderFlags: u32 {
        /// SMB2_FLAGS_SERVER_TO_REDIR: a response.
        const SERVER_TO_REDIR = 0x0000_0001;
        /// SMB2_FLAGS_ASYNC_COMMAND: the header has an AsyncId.
        const ASYNC_COMMAND = 0x0000_0002;
        /// SMB2_FLAGS_RELATED_OPERATIONS.
        const RELATED_OPERATIONS = 0x0000_0004;
        /// SMB2_FLAGS_SIGNED.
        const SIGNED = 0x0000_0008;
        /// SMB2_FLAGS_PRIORITY_MASK (3.1.1).
        const PRIORITY_MASK = 0x0000_0070;
        /// SMB2_FLAGS_DFS_OPERATIONS.
        const DFS_OPERATIONS = 0x1000_0000;
        /// SMB2_FLAGS_REPLAY_OPERATION (3.x).
        const REPLAY_OPERATION = 0x2000_0000;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// What stands where the tree is named: [MS-SMB2] 2.2.1.1 (ASYNC) or 2.2.1.2 (SYNC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// The synchronous form.
    Sync {
        /// ProcessId (Reserved in later versions), echoed.
        process_id: u32,
        /// TreeId.
        tree_id: u32,
    },
    /// The asynchronous form: the AsyncId.
    Async(u64),
}

impl Default for Target {
    fn default() -> Self {
        Self::Sync {
            process_id: 0,
            tree_id: 0,
        }
    }
}

/// [MS-SMB2] 2.2.1 SMB2 Packet Header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// CreditCharge.
    pub credit_charge: u16,
    /// Status in a response; in a 3.x request its low half is ChannelSequence.
    pub status: NtStatus,
    /// Command.
    pub command: Command,
    /// CreditRequest or CreditResponse.
    pub credits: u16,
    /// Flags.
    pub flags: HeaderFlags,
    /// NextCommand: bytes to the next header of the compound, 0 in the last.
    pub next_command: u32,
    /// MessageId.
    pub message_id: u64,
    /// TreeId, or AsyncId with [`HeaderFlags::ASYNC_COMMAND`].
    pub target: Target,
    /// SessionId.
    pub session_id: u64,
    /// Signature.
    pub signature: [u8; 16],
}

impl Header {
    /// Reads the header at the start of `message`.
    ///
    /// # Errors
    /// Too short, another protocol, or a StructureSize that is not 64.
    pub fn decode(message: &[u8]) -> Result<Self> {
        let mut r = Reader::new(message);
        if r.array::<4>("ProtocolId")? != PROTOCOL_ID {
            return Err(DecodeError::Invalid {
                field: "ProtocolId",
                reason: "is not SMB2",
            });
        }
        if r.u16("StructureSize")? != 64 {
            return Err(DecodeError::Invalid {
                field: "StructureSize",
                reason: "is not 64",
            });
        }
        let credit_charge = r.u16("CreditCharge")?;
        let status = NtStatus(r.u32("Status")?);
        let command = Command(r.u16("Command")?);
        let credits = r.u16("CreditRequest")?;
        let flags = HeaderFlags::from_bits_retain(r.u32("Flags")?);
        let next_command = r.u32("NextCommand")?;
        let message_id = r.u64("MessageId")?;
        let target = if flags.contains(HeaderFlags::ASYNC_COMMAND) {
            Target::Async(r.u64("AsyncId")?)
        } else {
            Target::Sync {
                process_id: r.u32("Reserved")?,
                tree_id: r.u32("TreeId")?,
            }
        };
        let session_id = r.u64("SessionId")?;
        let signature = r.array("Signature")?;
        Ok(Self {
            credit_charge,
            status,
            command,
            credits,
            flags,
            next_command,
            message_id,
            target,
            session_id,
            signature,
        })
    }

    /// The 64 bytes. The async form is written when `target` is
    /// [`Target::Async`], whatever the flag says; the flag is set to agree.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = Vec::with_capacity(HEADER_LEN);
        self.encode(&mut Writer::new(&mut out));
        let mut bytes = [0; HEADER_LEN];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// Appends the 64 bytes.
    pub fn encode(&self, w: &mut Writer<'_>) {
        let mut flags = self.flags;
        flags.set(
            HeaderFlags::ASYNC_COMMAND,
            matches!(self.target, Target::Async(_)),
        );
        w.bytes(&PROTOCOL_ID);
        w.u16(64);
        w.u16(self.credit_charge);
        w.u32(self.status.0);
        w.u16(self.command.0);
        w.u16(self.credits);
        w.u32(flags.bits());
        w.u32(self.next_command);
        w.u64(self.message_id);
        match self.target {
            Target::Sync {
                process_id,
                tree_id,
            } => {
                w.u32(process_id);
                w.u32(tree_id);
            }
            Target::Async(id) => w.u64(id),
        }
        w.u64(self.session_id);
        w.bytes(&self.signature);
    }

    /// TreeId; `None` in the asynchronous form.
    pub fn tree_id(&self) -> Option<u32> {
        match self.target {
            Target::Sync { tree_id, .. } => Some(tree_id),
            Target::Async(_) => None,
        }
    }

    /// AsyncId; `None` in the synchronous form.
    pub fn async_id(&self) -> Option<u64> {
        match self.target {
            Target::Sync { .. } => None,
            Target::Async(id) => Some(id),
        }
    }

    /// ChannelSequence of a 3.x request.
    #[allow(clippy::cast_possible_truncation, reason = "the field is the low half")]
    pub fn channel_sequence(&self) -> u16 {
        self.status.0 as u16
    }

    /// Whether this is a response.
    pub fn is_response(&self) -> bool {
        self.flags.contains(HeaderFlags::SERVER_TO_REDIR)
    }

    /// Whether [`HeaderFlags::SIGNED`] is set.
    pub fn is_signed(&self) -> bool {
        self.flags.contains(HeaderFlags::SIGNED)
    }

    /// Whether [`HeaderFlags::RELATED_OPERATIONS`] is set.
    pub fn is_related(&self) -> bool {
        self.flags.contains(HeaderFlags::RELATED_OPERATIONS)
    }
}

/// One message of a compound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where it begins in the frame.
    pub start: usize,
    /// Where it ends: at the next header (padding included) or the frame's end.
    pub end: usize,
    /// Its header.
    pub header: Header,
}

impl Part {
    /// The message's bytes; `frame` is the one it was found in.
    pub fn message<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        frame.get(self.start..self.end).unwrap_or_default()
    }
}

/// Walks the messages of a frame, [MS-SMB2] 3.2.4.1.4. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Compound<'a> {
    frame: &'a [u8],
    next: Option<usize>,
    left: usize,
}

impl<'a> Compound<'a> {
    /// The messages of `frame`, at most `limit` of them.
    pub fn new(frame: &'a [u8], limit: usize) -> Self {
        Self {
            frame,
            next: Some(0),
            left: limit,
        }
    }

    fn step(&mut self, start: usize) -> Result<Part> {
        self.left = self.left.checked_sub(1).ok_or(DecodeError::Invalid {
            field: "NextCommand",
            reason: "too many messages in the compound",
        })?;
        let rest = self.frame.get(start..).unwrap_or_default();
        let header = Header::decode(rest)?;
        let mut end = self.frame.len();
        if header.next_command != 0 {
            let next = usize::try_from(header.next_command).unwrap_or(usize::MAX);
            if !next.is_multiple_of(8) {
                let reason = "is not a multiple of 8";
                return Err(DecodeError::Invalid {
                    field: "NextCommand",
                    reason,
                });
            }
            if next < HEADER_LEN || next > rest.len().saturating_sub(HEADER_LEN) {
                let reason = "leads out of the frame";
                return Err(DecodeError::Invalid {
                    field: "NextCommand",
                    reason,
                });
            }
            end = start.saturating_add(next);
            self.next = Some(end);
        }
        Ok(Part { start, end, header })
    }
}

impl Iterator for Compound<'_> {
    type Item = Result<Part>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next.take()?;
        let part = self.step(start);
        if part.is_err() {
            self.next = None;
        }
        Some(part)
    }
}
