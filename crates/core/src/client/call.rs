//! What a client can ask for, and what comes back, in no protocol's words.

use bytes::Bytes;
use countersign_auth::SessionKey;
use countersign_auth::ntlm::NtlmCredentials;
use countersign_wire::fscc::{
    AccessMask, CompletionFilter, CreateAction, CreateOptions, DirectoryEntry, Disposition,
    FileAttributes, LeaseState, NotifyInformation, OplockLevel, ShareAccess,
};
use countersign_wire::{FileTime, Guid};

/// A call in progress. Given by [`Engine::submit`](super::Engine::submit).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// A tree connect, in the engine's own numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeId(pub u32);

/// An open, in the engine's own numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpenId(pub u64);

/// Data to be written, behind room for every header it may get, so that it is
/// signed, encrypted and sent from where it lies.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Payload {
    buffer: Vec<u8>,
}

impl Payload {
    /// Bytes of room in front of the data.
    pub const HEADROOM: usize = 256;

    /// An empty payload with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut buffer = Vec::with_capacity(capacity.saturating_add(Self::HEADROOM + 8));
        buffer.resize(Self::HEADROOM, 0);
        Self { buffer }
    }

    /// A payload of these bytes (copied).
    pub fn copy_of(data: &[u8]) -> Self {
        let mut payload = Self::with_capacity(data.len());
        payload.buffer.extend_from_slice(data);
        payload
    }

    /// The data.
    pub fn data(&self) -> &[u8] {
        self.buffer.get(Self::HEADROOM..).unwrap_or_default()
    }

    /// Bytes of data.
    pub fn len(&self) -> usize {
        self.buffer.len().saturating_sub(Self::HEADROOM)
    }

    /// Whether there is no data.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffer to append data to. The first [`Payload::HEADROOM`] bytes are
    /// not data and must stay.
    pub fn buffer_mut(&mut self) -> &mut Vec<u8> {
        if self.buffer.len() < Self::HEADROOM {
            self.buffer.resize(Self::HEADROOM, 0);
        }
        &mut self.buffer
    }

    /// Keeps only the first `length` bytes of data.
    pub fn truncate(&mut self, length: usize) {
        self.buffer.truncate(length.saturating_add(Self::HEADROOM));
    }

    /// The buffer; the data begins at [`Payload::HEADROOM`].
    pub fn into_buffer(mut self) -> Vec<u8> {
        if self.buffer.len() < Self::HEADROOM {
            self.buffer.resize(Self::HEADROOM, 0);
        }
        self.buffer
    }
}

impl core::fmt::Debug for Payload {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

/// What the authentication yielded.
#[derive(Debug, Clone)]
pub struct LogonKey {
    /// The whole session key; `None`: anonymous.
    pub session_key: Option<SessionKey>,
}

/// Caching asked for with an open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Caching {
    /// None.
    #[default]
    None,
    /// An oplock.
    Oplock(OplockLevel),
    /// A lease (SMB 2.1 and later); where there are none, the oplock nearest to it.
    Lease {
        /// LeaseKey.
        key: [u8; 16],
        /// What is asked for.
        state: LeaseState,
    },
}

/// What a durable open is asked for with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durable {
    /// CreateGuid: names the open when it is reconnected to (version 2).
    pub create_guid: Guid,
    /// How long the server shall keep it, milliseconds; 0: as it likes.
    pub timeout: u32,
}

/// A durable open of an earlier connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconnect {
    /// FileId.Persistent of before, as [`Granted::persistent`] gave it.
    pub persistent: u64,
    /// FileId.Volatile of before.
    pub volatile: u64,
    /// CreateGuid of before; `None`: the open was granted by version 1.
    pub create_guid: Option<Guid>,
}

/// Opens or creates a file, directory or pipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRequest {
    /// Path from the root of the share, parts divided by `\`, no `\` in front;
    /// empty: the root. A stream is `file:stream`.
    pub path: String,
    /// DesiredAccess.
    pub access: AccessMask,
    /// FileAttributes of what is created.
    pub attributes: FileAttributes,
    /// ShareAccess.
    pub share: ShareAccess,
    /// CreateDisposition.
    pub disposition: Disposition,
    /// CreateOptions.
    pub options: CreateOptions,
    /// Caching wanted.
    pub caching: Caching,
    /// A durable open is wanted.
    pub durable: Option<Durable>,
    /// This takes up an open of before instead of making one.
    pub reconnect: Option<Reconnect>,
    /// Self-relative security descriptor of what is created.
    pub security_descriptor: Option<Vec<u8>>,
    /// Space to set aside for what is created.
    pub allocation_size: Option<u64>,
    /// The snapshot to look in.
    pub snapshot: Option<FileTime>,
    /// Tell the access the user has.
    pub maximal_access: bool,
}

impl OpenRequest {
    /// Opens what exists, with the access named, shared with everybody.
    pub fn existing(path: impl Into<String>, access: AccessMask) -> Self {
        Self {
            path: path.into(),
            access,
            attributes: FileAttributes::empty(),
            share: ShareAccess::READ | ShareAccess::WRITE | ShareAccess::DELETE,
            disposition: Disposition::Open,
            options: CreateOptions::empty(),
            caching: Caching::None,
            durable: None,
            reconnect: None,
            security_descriptor: None,
            allocation_size: None,
            snapshot: None,
            maximal_access: false,
        }
    }
}

/// What is done with a path in one go, without an open that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRequest {
    /// The tree.
    pub tree: TreeId,
    /// Path, as in [`OpenRequest::path`].
    pub path: String,
    /// The path's last part is not followed where it is a reparse point.
    pub no_follow: bool,
}

/// One range of a LOCK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockRange {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// What to do: `None` unlocks, else whether the lock is exclusive.
    pub exclusive: Option<bool>,
}

/// A break of an oplock or lease that must be (or was) acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Break {
    /// The open; for a lease, one of those that hold it.
    pub open: OpenId,
    /// What may still be cached.
    pub to: Caching,
    /// The server waits for [`Call::AcknowledgeBreak`].
    pub acknowledge: bool,
}

/// A call. Paths, masks, classes and structures are those of [MS-FSCC] and [MS-SMB2].
#[derive(Debug)]
pub enum Call {
    /// A token of SPNEGO (or bare NTLM) for the server. Answered with
    /// [`Answer::LogonToken`].
    SessionSetup {
        /// The token.
        token: Vec<u8>,
        /// The session of an earlier connection that this one takes the place of.
        previous_session: u64,
    },
    /// The authentication is complete: the answer of the last
    /// [`Call::SessionSetup`] was stepped through the initiator. The final
    /// response is judged with this key. Answered with [`Answer::LoggedOn`].
    LogonFinish(LogonKey),
    /// A logon of SMB1 without extended security. Answered with [`Answer::LoggedOn`].
    ClassicLogon(NtlmCredentials),
    /// Ends the session, and with it the connection: once it is answered, whatever
    /// is still under way ends with [`CloseReason::LoggedOff`](super::CloseReason).
    Logoff,
    /// Connects to a share, by its bare name.
    TreeConnect {
        /// Name of the share.
        share: String,
    },
    /// Ends a tree connect.
    TreeDisconnect(TreeId),
    /// Opens or creates.
    Open {
        /// The tree.
        tree: TreeId,
        /// What.
        request: Box<OpenRequest>,
    },
    /// Closes. Gives the times and sizes at the end with `query`.
    Close {
        /// The open.
        open: OpenId,
        /// Ask for the attributes ([`Answer::Closed`]).
        query: bool,
    },
    /// Reads. May give less than was asked for; no bytes at the end of the file.
    Read {
        /// The open.
        open: OpenId,
        /// Where.
        offset: u64,
        /// At most so many bytes.
        length: u32,
    },
    /// Writes. May write less than was given.
    Write {
        /// The open.
        open: OpenId,
        /// Where.
        offset: u64,
        /// What.
        data: Payload,
        /// Not before it is on disk.
        write_through: bool,
    },
    /// Flushes to disk.
    Flush(OpenId),
    /// Locks or unlocks ranges, all or none.
    Lock {
        /// The open.
        open: OpenId,
        /// What; all locks, or all unlocks.
        ranges: Vec<LockRange>,
        /// Wait until it can be granted (one range only); cancel to give up.
        wait: bool,
    },
    /// The next entries of a directory.
    List {
        /// The open of the directory.
        open: OpenId,
        /// Pattern with `*` and `?`.
        pattern: String,
        /// From the start.
        restart: bool,
    },
    /// Opens a directory for listing and gives the first entries in the same
    /// round trip. Answered with [`Answer::ListStarted`].
    ListStart {
        /// The directory.
        at: PathRequest,
        /// Pattern with `*` and `?`.
        pattern: String,
    },
    /// Information of a file class ([MS-FSCC] 2.4).
    QueryInfo {
        /// The open.
        open: OpenId,
        /// Number of the class.
        class: u8,
        /// Most bytes to take.
        max: u32,
        /// Input, for FileFullEaInformation.
        input: Vec<u8>,
    },
    /// The same by path.
    QueryPath {
        /// What.
        at: PathRequest,
        /// Number of the class.
        class: u8,
        /// Most bytes to take.
        max: u32,
    },
    /// Sets information of a file class, in the class's bytes. Not for renames,
    /// links and deletions, which have calls of their own.
    SetInfo {
        /// The open.
        open: OpenId,
        /// Number of the class.
        class: u8,
        /// The structure.
        data: Vec<u8>,
    },
    /// The same by path.
    SetPath {
        /// What.
        at: PathRequest,
        /// Number of the class.
        class: u8,
        /// The structure.
        data: Vec<u8>,
    },
    /// Renames what is open.
    Rename {
        /// The open; has DELETE access.
        open: OpenId,
        /// New path from the root of the share.
        to: String,
        /// Replace what has the name.
        replace: bool,
    },
    /// Renames by path.
    RenamePath {
        /// What.
        at: PathRequest,
        /// New path from the root of the share.
        to: String,
        /// Replace what has the name.
        replace: bool,
    },
    /// Makes a hard link.
    Link {
        /// What is to have another name.
        at: PathRequest,
        /// The new path from the root of the share.
        to: String,
        /// Replace what has the name.
        replace: bool,
    },
    /// Deletes what is open when it is closed, or takes that back.
    SetDelete {
        /// The open; has DELETE access.
        open: OpenId,
        /// Delete.
        delete: bool,
    },
    /// Deletes a file or an empty directory.
    Remove {
        /// What.
        at: PathRequest,
        /// It must be a directory (`true`) or must not be one.
        directory: bool,
    },
    /// Makes a directory.
    CreateDirectory {
        /// Which.
        at: PathRequest,
    },
    /// Reads a whole small file: opened, read and closed in one round trip.
    /// Answered with [`Answer::Whole`]; `complete` tells whether there is more.
    ReadFile {
        /// Which.
        at: PathRequest,
        /// Most bytes to read.
        max: u32,
    },
    /// Writes a whole small file: created or overwritten, written and closed in
    /// one round trip. Answered with [`Answer::Written`].
    WriteFile {
        /// Which.
        at: PathRequest,
        /// [`Disposition::OverwriteIf`] and the like.
        disposition: Disposition,
        /// Attributes of a new file.
        attributes: FileAttributes,
        /// All of it.
        data: Payload,
        /// LastWriteTime to set.
        last_write: Option<FileTime>,
    },
    /// Information of a file system class ([MS-FSCC] 2.5).
    QueryFilesystem {
        /// An open of the share.
        open: OpenId,
        /// Number of the class.
        class: u8,
        /// Most bytes to take.
        max: u32,
    },
    /// The self-relative security descriptor ([`Answer::Info`]).
    QuerySecurity {
        /// The open.
        open: OpenId,
        /// SECURITY_INFORMATION: which parts.
        parts: u32,
    },
    /// Sets parts of the security descriptor.
    SetSecurity {
        /// The open.
        open: OpenId,
        /// SECURITY_INFORMATION: which parts.
        parts: u32,
        /// Self-relative.
        descriptor: Vec<u8>,
    },
    /// A control code ([`Answer::Info`] is its output).
    Ioctl {
        /// The tree.
        tree: TreeId,
        /// The open; `None` for codes that concern no open.
        open: Option<OpenId>,
        /// FSCTL code.
        code: u32,
        /// Input.
        input: Vec<u8>,
        /// Most bytes to take.
        max: u32,
    },
    /// Waits for changes in a directory.
    Notify {
        /// The open of the directory.
        open: OpenId,
        /// Which changes.
        filter: CompletionFilter,
        /// Below it as well.
        recursive: bool,
    },
    /// Writes a message to a named pipe and reads the answer.
    PipeTransact {
        /// The open.
        open: OpenId,
        /// The message.
        input: Vec<u8>,
        /// Most bytes to take.
        max: u32,
    },
    /// Gives up caching.
    AcknowledgeBreak(Break),
    /// Are you there?
    Echo,
}

/// What a [`Call`] comes back with.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It was done.
    Done,
    /// The server's token; step the initiator with it. `finished`: the server is
    /// content, so [`Call::LogonFinish`] is next, else another [`Call::SessionSetup`].
    LogonToken {
        /// The token, which may be empty.
        token: Vec<u8>,
        /// The server said success.
        finished: bool,
    },
    /// The logon is complete and its proof verified.
    LoggedOn(super::LoggedOn),
    /// A tree connect.
    Tree(TreeConnected),
    /// An open.
    Opened(Box<Opened>),
    /// Closed; attributes if they were asked for and told.
    Closed(Option<Written>),
    /// Data of a read. None at the end of the file.
    Data(Bytes),
    /// Bytes written.
    Count(u32),
    /// Entries of a directory.
    Listing(Listing),
    /// A directory was opened, and its first entries.
    ListStarted {
        /// The open, to be listed on and closed.
        opened: Box<Opened>,
        /// First entries.
        listing: Listing,
    },
    /// A structure of the class asked for, or a control code's output.
    Info(Bytes),
    /// A whole file.
    Whole {
        /// What was opened; it is closed again.
        opened: Box<Opened>,
        /// Its beginning.
        data: Bytes,
        /// That is all.
        complete: bool,
    },
    /// A whole file was written.
    Written(Written),
    /// Changes of a directory.
    Changes(ChangeList),
}

/// Times, sizes and attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// CreationTime.
    pub creation: FileTime,
    /// LastAccessTime.
    pub last_access: FileTime,
    /// LastWriteTime.
    pub last_write: FileTime,
    /// ChangeTime.
    pub change: FileTime,
    /// AllocationSize.
    pub allocation_size: u64,
    /// EndOfFile.
    pub end_of_file: u64,
    /// FileAttributes.
    pub attributes: FileAttributes,
}

/// What a share is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShareKind {
    /// Files.
    Disk,
    /// Named pipes.
    Pipe,
    /// A printer.
    Print,
}

/// A tree connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeConnected {
    /// The tree.
    pub tree: TreeId,
    /// What it is.
    pub kind: ShareKind,
    /// Everything on it is encrypted.
    pub encrypted: bool,
    /// It is part of a DFS namespace.
    pub dfs: bool,
    /// Its opens can outlive the server (persistent handles).
    pub continuously_available: bool,
    /// MaximalAccess, where the dialect tells.
    pub maximal_access: Option<AccessMask>,
}

/// What was granted besides the open itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Granted {
    /// Caching granted.
    pub caching: Caching,
    /// The open outlives the connection; with what CreateGuid it is durable
    /// (version 2), or `None` inside (version 1).
    pub durable: Option<Option<Guid>>,
    /// FileId.Persistent, for a reconnection.
    pub persistent: u64,
    /// FileId.Volatile, for a reconnection.
    pub volatile: u64,
    /// The access the user has.
    pub maximal_access: Option<AccessMask>,
}

/// An open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The open.
    pub open: OpenId,
    /// What was done.
    pub action: CreateAction,
    /// Times, sizes and attributes.
    pub facts: Written,
    /// It is a directory.
    pub directory: bool,
    /// What was granted.
    pub granted: Granted,
}

/// A part of a directory.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Entries, `.` and `..` among them.
    pub entries: Vec<DirectoryEntry>,
    /// There are no more.
    pub end: bool,
}

/// Changes of a directory.
#[derive(Debug, Clone, Default)]
pub struct ChangeList {
    /// The changes in order.
    pub changes: Vec<NotifyInformation>,
    /// More changed than could be told: list the directory again.
    pub overflow: bool,
    /// The directory was closed or deleted: no more will come.
    pub closed: bool,
}
