//! Calls, replies, events, and what the service needs of its host.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_wire::dtyp::{FileTime, Guid};
use countersign_wire::fscc::{
    AccessMask, CompletionFilter, CreateAction, CreateOptions, Disposition, FileAttributes,
    LeaseState, OplockLevel, ShareAccess,
};

use crate::service::{Open, Share};
use crate::types::*;
use crate::{FsError, SmbPath};

/// Names a call that may be answered later; chosen by the caller, unique among
/// the calls of its [`EventSink`] that are not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// The answer to a call.
#[derive(Debug)]
pub enum Outcome {
    /// Done.
    Ready(Result<FsReply, FsError>),
    /// [`Event::Reply`] with the call's ticket will come, exactly once, even
    /// when the call is cancelled or its open closed.
    Pending,
}

/// Who calls and how to answer later.
#[derive(Clone)]
pub struct CallContext {
    /// The share the call is for.
    pub share: Arc<Share>,
    /// The caller's identity.
    pub caller: Arc<Caller>,
    /// Where a late answer and breaks go.
    pub sink: Arc<dyn EventSink>,
    /// Name for a late answer.
    pub ticket: Ticket,
}

/// Opens a file, folder or stream.
#[derive(Debug, Clone)]
pub struct OpenCall {
    /// Path in the share.
    pub path: SmbPath,
    /// The path ended in `\`: only a folder will do.
    pub trailing_separator: bool,
    /// Path is relative to this open folder (SMB1 RootDirectoryFid).
    pub relative_to: Option<Arc<Open>>,
    /// FILE_OPEN_BY_FILE_ID: the file's number instead of a path.
    pub by_id: Option<u64>,
    /// Rights asked for, generic bits and MAXIMUM_ALLOWED included.
    pub access: AccessMask,
    /// What others may do.
    pub share_access: ShareAccess,
    /// What to do when it exists or does not.
    pub disposition: Disposition,
    /// Options.
    pub options: CreateOptions,
    /// Attributes of a new file.
    pub attributes: FileAttributes,
    /// Bytes to allocate for a new file.
    pub allocation_size: u64,
    /// Extended attributes of a new file.
    pub eas: Vec<Ea>,
    /// Security descriptor of a new file, self-relative.
    pub security: Option<Vec<u8>>,
    /// Caching asked for.
    pub caching: CachingRequest,
    /// Identifies the client machine (SMB2 ClientGuid; zero for SMB1): leases belong to it.
    pub client: Guid,
    /// Session and tree the open belongs to: opens of one owner can be closed together.
    pub owner: OpenOwner,
    /// SMB1 PID that opened (deny modes and locks of DOS programs).
    pub pid: u32,
    /// DOS/FCB deny mode semantics of SMB1 (compatibility with the same pid), if asked.
    pub deny: Option<DenyMode>,
    /// Ask for a durable handle.
    pub durable: Option<DurableRequest>,
    /// Previous version asked for (@GMT / TWrp), if any.
    pub snapshot: Option<FileTime>,
    /// Names compare with case on this open (POSIX).
    pub case_sensitive: bool,
    /// AppInstanceId, [MS-SMB2] 2.2.13.2.13, if sent.
    pub app_instance: Option<Guid>,
}

/// Who an open belongs to, for closing many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct OpenOwner {
    /// Connection, unique in this process.
    pub connection: u64,
    /// Session (SMB2 SessionId, or SMB1 UID made unique per connection).
    pub session: u64,
    /// Tree connect.
    pub tree: u64,
}

/// Deny modes of SMB1 OPEN that share access cannot express.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenyMode {
    /// DENY_DOS.
    Dos,
    /// DENY_FCB.
    Fcb,
}

/// A durable handle asked for, [MS-SMB2] 2.2.13.2.3 and .11.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurableRequest {
    /// CreateGuid for version 2.
    pub create_guid: Option<Guid>,
    /// How long to keep it after a disconnect (zero: the service's default).
    pub timeout: Duration,
    /// Persistent asked for.
    pub persistent: bool,
}

/// Takes up a durable handle again after a disconnect.
#[derive(Debug, Clone)]
pub struct ReconnectCall {
    /// Persistent id given at open.
    pub id: u64,
    /// CreateGuid for version 2.
    pub create_guid: Option<Guid>,
    /// Client machine.
    pub client: Guid,
    /// New owner.
    pub owner: OpenOwner,
    /// Lease key, when the open had a lease.
    pub lease_key: Option<[u8; 16]>,
    /// Path sent with the reconnect (checked for leases, [MS-SMB2] 3.3.5.9.7).
    pub path: Option<SmbPath>,
}

/// Calls. Each names what it needs of the open's granted access; the service checks it.
#[derive(Debug)]
pub enum FsCall {
    /// Open or create. Answer: [`FsReply::Opened`].
    Open(Box<OpenCall>),
    /// Reconnect a durable handle. Answer: [`FsReply::Opened`].
    Reconnect(Box<ReconnectCall>),
    /// Close. Answer: [`FsReply::Closed`] with the state at close.
    Close {
        /// The open.
        open: Arc<Open>,
        /// SMB1 CLOSE may set the last write time.
        last_write: Option<FileTime>,
    },
    /// Read. Answer: [`FsReply::Data`].
    Read {
        /// The open.
        open: Arc<Open>,
        /// First byte.
        offset: u64,
        /// At most so many bytes.
        length: u32,
        /// Fewer than this many read is `EndOfFile`.
        minimum: u32,
        /// Bytes to leave free in front of the data in the answer's buffer, so
        /// that headers go in front without a copy.
        headroom: usize,
        /// Lock owner (SMB1 PID, 0 for SMB2).
        lock_owner: u32,
        /// Reading for execution: EXECUTE right will do.
        execute: bool,
    },
    /// Write. Answer: [`FsReply::Written`].
    Write {
        /// The open.
        open: Arc<Open>,
        /// First byte; `u64::MAX` appends (only with APPEND_DATA).
        offset: u64,
        /// The bytes, a slice of the received frame.
        data: Bytes,
        /// Answer only when on disk.
        write_through: bool,
        /// Lock owner (SMB1 PID, 0 for SMB2).
        lock_owner: u32,
    },
    /// Flush to disk. Answer: [`FsReply::Done`].
    Flush {
        /// The open.
        open: Arc<Open>,
    },
    /// Lock and unlock. Answer: [`FsReply::Done`].
    Lock {
        /// The open.
        open: Arc<Open>,
        /// Elements, taken in order; all or none are locked.
        elements: Vec<LockElement>,
        /// How to wait.
        wait: LockWait,
    },
    /// Stat. Answer: [`FsReply::Metadata`]. Needs no right (the front end checks READ_ATTRIBUTES).
    Stat {
        /// The open.
        open: Arc<Open>,
    },
    /// Streams. Answer: [`FsReply::Streams`].
    Streams {
        /// The open.
        open: Arc<Open>,
    },
    /// Short (8.3) name. Answer: [`FsReply::Name`].
    ShortName {
        /// The open.
        open: Arc<Open>,
    },
    /// Path in the share with the case it has on disk. Answer: [`FsReply::Name`].
    NormalizedName {
        /// The open.
        open: Arc<Open>,
    },
    /// Extended attributes, all or those named. Answer: [`FsReply::Eas`].
    QueryEa {
        /// The open.
        open: Arc<Open>,
        /// Only these.
        names: Option<Vec<String>>,
    },
    /// Sets extended attributes. Answer: [`FsReply::Done`].
    SetEa {
        /// The open.
        open: Arc<Open>,
        /// Attributes to set; an empty value removes one.
        eas: Vec<Ea>,
    },
    /// Times and attributes. Needs WRITE_ATTRIBUTES. Answer: [`FsReply::Done`].
    SetBasic {
        /// The open.
        open: Arc<Open>,
        /// What to change.
        set: SetBasic,
    },
    /// Delete on close, on or off. Needs DELETE. Answer: [`FsReply::Done`].
    SetDisposition {
        /// The open.
        open: Arc<Open>,
        /// Delete when the last open is closed.
        delete: bool,
        /// [MS-FSCC] 2.4.11.1 POSIX semantics: the name goes at this open's close.
        posix: bool,
        /// Ignore READONLY.
        ignore_readonly: bool,
    },
    /// Length. Needs WRITE_DATA. Answer: [`FsReply::Done`].
    SetEndOfFile {
        /// The open.
        open: Arc<Open>,
        /// New length.
        size: u64,
    },
    /// Allocation. Needs WRITE_DATA. Answer: [`FsReply::Done`].
    SetAllocation {
        /// The open.
        open: Arc<Open>,
        /// New allocation; smaller than the length cuts the file.
        size: u64,
    },
    /// Rename or move, stream renames included. Needs DELETE. Answer: [`FsReply::Done`].
    Rename {
        /// The open.
        open: Arc<Open>,
        /// New path in the share (for `:stream` the base path with the stream).
        to: SmbPath,
        /// Replace an existing file.
        replace: bool,
    },
    /// Hard link. Answer: [`FsReply::Done`].
    Link {
        /// The open.
        open: Arc<Open>,
        /// Path of the new name.
        to: SmbPath,
        /// Replace an existing file.
        replace: bool,
    },
    /// Position information kept per open. Answer: [`FsReply::Done`].
    SetPosition {
        /// The open.
        open: Arc<Open>,
        /// New position.
        position: u64,
    },
    /// Security descriptor. Answer: [`FsReply::Security`].
    QuerySecurity {
        /// The open.
        open: Arc<Open>,
        /// Which parts.
        parts: SecurityInformation,
    },
    /// Sets parts of the security descriptor. Answer: [`FsReply::Done`].
    SetSecurity {
        /// The open.
        open: Arc<Open>,
        /// Which parts.
        parts: SecurityInformation,
        /// Self-relative descriptor.
        descriptor: Vec<u8>,
    },
    /// Lists a folder. Answer: [`FsReply::Listing`].
    List {
        /// The open.
        open: Arc<Open>,
        /// Pattern with `*`, `?` and the DOS wildcards `<` `>` `"`; kept from the
        /// first call of a scan, a new one counts only with `restart`.
        pattern: String,
        /// Begin again.
        restart: bool,
        /// At most one entry.
        single: bool,
        /// Continue behind the entry of this name (SMB1 resume), when given.
        resume_after: Option<String>,
        /// Only entries whose HIDDEN/SYSTEM/DIRECTORY bits are all in this mask (SMB1); `None`: all.
        attributes: Option<FileAttributes>,
        /// Takes the entries.
        sink: Box<dyn DirSink>,
    },
    /// Waits for changes in a folder. Answer: [`FsReply::Changes`], often late.
    Notify {
        /// The open.
        open: Arc<Open>,
        /// Which changes.
        filter: CompletionFilter,
        /// The whole tree below.
        recursive: bool,
        /// Largest answer in bytes as FILE_NOTIFY_INFORMATION; more is `NotifyEnumDir`.
        max_bytes: u32,
    },
    /// Volume facts. Answer: [`FsReply::Volume`].
    Volume,
    /// The client acknowledges an oplock break. Answer: [`FsReply::Caching`].
    AcknowledgeOplock {
        /// The open.
        open: Arc<Open>,
        /// Level it keeps.
        level: OplockLevel,
    },
    /// The client acknowledges a lease break. Answer: [`FsReply::Caching`].
    AcknowledgeLease {
        /// Client machine.
        client: Guid,
        /// Lease key.
        key: [u8; 16],
        /// State it keeps.
        state: LeaseState,
    },
    /// Copies a range on the server. Answer: [`FsReply::Written`].
    CopyRange {
        /// Source open.
        from: Arc<Open>,
        /// Source offset.
        from_offset: u64,
        /// Target open.
        to: Arc<Open>,
        /// Target offset.
        to_offset: u64,
        /// Bytes.
        length: u64,
    },
    /// Sparse on or off. Answer: [`FsReply::Done`].
    SetSparse {
        /// The open.
        open: Arc<Open>,
        /// Sparse or not.
        sparse: bool,
    },
    /// Zeroes a range (punches a hole when sparse). Answer: [`FsReply::Done`].
    ZeroRange {
        /// The open.
        open: Arc<Open>,
        /// First byte.
        offset: u64,
        /// First byte behind.
        beyond: u64,
    },
    /// Allocated ranges inside a range. Answer: [`FsReply::Ranges`].
    AllocatedRanges {
        /// The open.
        open: Arc<Open>,
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// Reads a reparse point's data buffer. Answer: [`FsReply::Bytes`].
    GetReparse {
        /// The open.
        open: Arc<Open>,
    },
    /// Sets or (empty data) removes a reparse point. Answer: [`FsReply::Done`].
    SetReparse {
        /// The open.
        open: Arc<Open>,
        /// Tag.
        tag: u32,
        /// Data buffer.
        data: Vec<u8>,
    },
    /// Object id, created when asked and missing. Answer: [`FsReply::Bytes`] (64 bytes).
    ObjectId {
        /// The open.
        open: Arc<Open>,
        /// Make one if there is none.
        create: bool,
    },
}

/// Answers.
#[derive(Debug)]
pub enum FsReply {
    /// Nothing to tell.
    Done,
    /// A file is open.
    Opened(Box<Opened>),
    /// Closed; the last state for CLOSE with POSTQUERY_ATTRIB.
    Closed(Box<Metadata>),
    /// Data behind `headroom` bytes of space in front.
    Data {
        /// Buffer: `headroom` bytes, then the data.
        buffer: Vec<u8>,
        /// Where the data begin.
        headroom: usize,
    },
    /// Bytes written or copied.
    Written(u64),
    /// Stat.
    Metadata(Box<Metadata>),
    /// Streams; the unnamed one first for files.
    Streams(Vec<StreamFacts>),
    /// A name.
    Name(String),
    /// Extended attributes.
    Eas(Vec<Ea>),
    /// Self-relative security descriptor.
    Security(Vec<u8>),
    /// The sink with what it took, and whether the end was reached. A scan with
    /// no entry at all is `NoSuchFile` (first call) or `NoMoreFiles`.
    Listing {
        /// The sink of the call.
        sink: Box<dyn DirSink>,
        /// Entries taken.
        count: u32,
        /// No more entries follow.
        end: bool,
    },
    /// Changes.
    Changes(Vec<Change>),
    /// Volume.
    Volume(Box<VolumeFacts>),
    /// Caching after an acknowledgment.
    Caching(CachingGrant),
    /// Ranges: offset and length.
    Ranges(Vec<(u64, u64)>),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// The answer to an open.
#[derive(Debug)]
pub struct Opened {
    /// The open.
    pub open: Arc<Open>,
    /// What was done.
    pub action: CreateAction,
    /// Stat after the open.
    pub metadata: Metadata,
    /// Caching granted.
    pub caching: CachingGrant,
    /// Rights granted and possible.
    pub rights: Rights,
    /// Durable timeout granted, if durable.
    pub durable: Option<Duration>,
    /// Disconnected before and taken up again.
    pub reconnected: bool,
}

/// Takes directory entries; the front end encodes them straight into its reply.
pub trait DirSink: Send + core::fmt::Debug {
    /// Takes an entry, or gives `false` when it does not fit any more (the
    /// entry then comes first in the next call).
    fn push(&mut self, entry: &DirEntry) -> bool;
    /// For taking the front end's own type back out.
    fn into_any(self: Box<Self>) -> Box<dyn core::any::Any + Send>;
}

/// What comes without being waited for.
#[derive(Debug)]
pub enum Event {
    /// The late answer to a call.
    Reply {
        /// The call's ticket.
        ticket: Ticket,
        /// Its result.
        result: Result<FsReply, FsError>,
    },
    /// An oplock breaks; the client must be told and, unless the level goes to
    /// `LevelTwo`→`None`, must acknowledge.
    OplockBreak {
        /// The open.
        open: Arc<Open>,
        /// Level it falls to.
        to: OplockLevel,
        /// Whether an acknowledgment is awaited.
        acknowledge: bool,
    },
    /// A lease breaks.
    LeaseBreak {
        /// Client machine.
        client: Guid,
        /// Key.
        key: [u8; 16],
        /// Present state.
        from: LeaseState,
        /// State it falls to.
        to: LeaseState,
        /// New epoch (version 2; 0 for version 1).
        epoch: u16,
        /// Whether an acknowledgment is awaited.
        acknowledge: bool,
    },
    /// An open was closed by the service (AppInstanceId, administrator).
    Closed {
        /// The open.
        open: Arc<Open>,
    },
}

/// Where events go: a connection's mailbox. Must not block and must not call
/// back into the service.
pub trait EventSink: Send + Sync {
    /// Delivers an event; silently dropped when the connection is gone.
    fn send(&self, event: Event);
}

/// A job for the blocking pool or a timer.
pub type Job = Box<dyn FnOnce() + Send + 'static>;

/// What the service needs of the process it lives in.
pub trait Host: Send + Sync + 'static {
    /// Wall-clock time.
    fn now(&self) -> FileTime;
    /// Monotonic time since some start, for timeouts.
    fn monotonic(&self) -> Duration;
    /// Runs work that may block, elsewhere.
    fn offload(&self, job: Job);
    /// Runs a job after a time; it must not block.
    fn after(&self, delay: Duration, job: Job);
    /// Fills with random bytes.
    fn random(&self, out: &mut [u8]);
}
