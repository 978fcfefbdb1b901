//! What holds the bytes: the host's file system, memory, or something else.
//!
//! All methods may block for as long as a disk takes. They are called under no
//! lock of the service's that another connection's reads and writes need.
//! Access checks, share modes, locks, oplocks and delete-on-close are the
//! service's; names, bytes, attributes and their persistence are the backend's.

use std::sync::Arc;

use countersign_wire::dtyp::FileTime;
use countersign_wire::fscc::FileAttributes;

use crate::types::*;
use crate::{FsError, SmbPath};

/// Result of a backend call.
pub type Result<T> = core::result::Result<T, FsError>;

/// Where a path led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// It exists. The path has the case it has on disk (also when it was found
    /// by its short name).
    Found {
        /// The path as it is on disk.
        real: SmbPath,
        /// Its stat (of the base file, without the stream).
        metadata: Box<Metadata>,
    },
    /// All but the last component exist.
    Missing {
        /// Path with the case of the existing part, and the last component as asked.
        real: SmbPath,
    },
}

/// How to open in the backend. The service looked up first and decided.
#[derive(Debug, Clone, Default)]
pub struct BackendOpen {
    /// Reads will come.
    pub read: bool,
    /// Writes will come.
    pub write: bool,
    /// Create it; fail with `NameCollision` when it exists.
    pub create: bool,
    /// With `create`: as a folder.
    pub directory: bool,
    /// With `create`: attributes of the new file.
    pub attributes: FileAttributes,
    /// Open a link itself (FILE_OPEN_REPARSE_POINT).
    pub open_reparse: bool,
}

/// A file system that a share lies on. `path` arguments come from
/// [`Backend::lookup`] (their case is right) unless said otherwise.
pub trait Backend: Send + Sync + 'static {
    /// Resolves a path as a client wrote it, without regard to case and with
    /// illegal characters mapped, never leaving the root. Streams are not
    /// looked at. With `exact`, case counts.
    ///
    /// # Errors
    /// `PathNotFound` when a component before the last is missing,
    /// `NotADirectory` when one is a file, `StoppedOnSymlink`/`AccessDenied`
    /// for links that lead out.
    fn lookup(&self, path: &SmbPath, exact: bool) -> Result<Lookup>;

    /// Opens a file, a folder, or (with `path.named_stream()`) a stream of one.
    ///
    /// # Errors
    /// `NameNotFound`, `NameCollision`, `AccessDenied`, `DiskFull`, `Io`.
    fn open(&self, path: &SmbPath, how: &BackendOpen) -> Result<Arc<dyn Handle>>;

    /// Path of a file by its number, for FILE_OPEN_BY_FILE_ID.
    ///
    /// # Errors
    /// `NotFound`, or `NotSupported` when the backend cannot.
    fn path_of(&self, file: u64) -> Result<SmbPath>;

    /// Removes a name (and the file with its last link). With a named stream, the stream.
    ///
    /// # Errors
    /// `DirectoryNotEmpty`, `AccessDenied`, `NameNotFound`.
    fn remove(&self, path: &SmbPath) -> Result<()>;

    /// Moves `from` to `to`; `replace` takes the place of a file there, atomically.
    ///
    /// # Errors
    /// `NameCollision`, `PathNotFound`, `NotSameDevice`, `AccessDenied`.
    fn rename(&self, from: &SmbPath, to: &SmbPath, replace: bool) -> Result<()>;

    /// Makes a hard link.
    ///
    /// # Errors
    /// `NameCollision`, `NotSupported`, `IsADirectory`.
    fn link(&self, from: &SmbPath, to: &SmbPath, replace: bool) -> Result<()>;

    /// The 8.3 name of an existing path, if it has one or is one.
    ///
    /// # Errors
    /// `NameNotFound` when short names are off.
    fn short_name(&self, path: &SmbPath) -> Result<String>;

    /// Whether a folder holds nothing that a client can see.
    ///
    /// # Errors
    /// `NotADirectory`, `Io`.
    fn is_empty(&self, path: &SmbPath) -> Result<bool>;

    /// Volume facts, fresh.
    ///
    /// # Errors
    /// `Io`.
    fn volume(&self) -> Result<VolumeFacts>;

    /// Begins to watch a folder for changes made by others than this backend's
    /// callers (the host). Dropping the watch ends it.
    ///
    /// # Errors
    /// `NotSupported` where the host cannot, `InsufficientResources` behind the limit.
    fn watch(
        &self,
        path: &SmbPath,
        recursive: bool,
        sink: Arc<dyn WatchSink>,
    ) -> Result<Box<dyn Watch>>;
}

/// A running watch; ends when dropped.
pub trait Watch: Send + Sync {}

/// Takes changes made by the host.
pub trait WatchSink: Send + Sync {
    /// A change; `name` is relative to the watched folder.
    fn changed(&self, change: HostChange);
    /// Changes were lost.
    fn overflow(&self);
}

/// A change the host made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostChange {
    /// Action and path relative to the watched folder.
    pub change: Change,
    /// The entry is a folder.
    pub directory: bool,
    /// Only attributes or times changed, not the data.
    pub metadata_only: bool,
}

/// An open file, folder or stream.
pub trait Handle: Send + Sync + core::fmt::Debug {
    /// Stat. For a stream: times, attributes and key of the base file, sizes of the stream.
    ///
    /// # Errors
    /// `Io`.
    fn metadata(&self) -> Result<Metadata>;

    /// Reads at most `length` bytes at `offset`, appending to `buffer` (which
    /// already holds the headroom). Gives the bytes read; 0 at the end.
    ///
    /// # Errors
    /// `Io`, `IsADirectory`.
    fn read(&self, buffer: &mut Vec<u8>, offset: u64, length: u32) -> Result<usize>;

    /// As [`Handle::read`] but only what needs no disk; `None` when it would block.
    ///
    /// # Errors
    /// As [`Handle::read`].
    fn read_now(&self, buffer: &mut Vec<u8>, offset: u64, length: u32) -> Result<Option<usize>> {
        self.read(buffer, offset, length).map(Some)
    }

    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// `DiskFull`, `Io`.
    fn write(&self, data: &[u8], offset: u64) -> Result<()>;

    /// Sets the length.
    ///
    /// # Errors
    /// `DiskFull`, `Io`.
    fn set_len(&self, size: u64) -> Result<()>;

    /// Reserves space up to `size` without changing the length.
    ///
    /// # Errors
    /// `DiskFull`, `Io`.
    fn allocate(&self, size: u64) -> Result<()>;

    /// To disk.
    ///
    /// # Errors
    /// `Io`, `DiskFull`.
    fn flush(&self) -> Result<()>;

    /// Sets times (zero leaves one alone), change time included where the
    /// backend can keep it.
    ///
    /// # Errors
    /// `AccessDenied`, `Io`.
    fn set_times(&self, times: &SetTimes) -> Result<()>;

    /// Sets DOS attributes (DIRECTORY, SPARSE_FILE, REPARSE_POINT bits are not changed by it).
    ///
    /// # Errors
    /// `AccessDenied`, `Io`.
    fn set_attributes(&self, attributes: FileAttributes) -> Result<()>;

    /// Marks sparse or not.
    ///
    /// # Errors
    /// `AccessDenied`, `Io`.
    fn set_sparse(&self, sparse: bool) -> Result<()>;

    /// Zeroes a range; a hole where possible.
    ///
    /// # Errors
    /// `Io`, `DiskFull`.
    fn zero(&self, offset: u64, length: u64) -> Result<()>;

    /// Allocated ranges inside a range.
    ///
    /// # Errors
    /// `Io`.
    fn allocated(&self, offset: u64, length: u64) -> Result<Vec<(u64, u64)>>;

    /// Copies from another handle of the same backend without passing the bytes
    /// through memory where possible. Gives bytes copied; fewer at the source's end.
    ///
    /// # Errors
    /// `Io`, `DiskFull`, `NotSupported` (the service then copies itself).
    fn copy_from(
        &self,
        from: &dyn Handle,
        from_offset: u64,
        to_offset: u64,
        length: u64,
    ) -> Result<u64>;

    /// Streams of the file (the unnamed one first, for files).
    ///
    /// # Errors
    /// `Io`.
    fn streams(&self) -> Result<Vec<StreamFacts>>;

    /// Extended attributes.
    ///
    /// # Errors
    /// `Io`.
    fn eas(&self) -> Result<Vec<Ea>>;

    /// Sets one (empty value: removes it).
    ///
    /// # Errors
    /// `EaTooLarge`, `InvalidEaName`, `Io`.
    fn set_ea(&self, ea: &Ea) -> Result<()>;

    /// The stored security descriptor (self-relative), if one was stored.
    ///
    /// # Errors
    /// `Io`.
    fn security(&self) -> Result<Option<Vec<u8>>>;

    /// Stores a security descriptor.
    ///
    /// # Errors
    /// `AccessDenied`, `Io`, `DiskFull`.
    fn set_security(&self, descriptor: &[u8]) -> Result<()>;

    /// Reparse data: tag and buffer, if it is a reparse point.
    ///
    /// # Errors
    /// `Io`.
    fn reparse(&self) -> Result<Option<(u32, Vec<u8>)>>;

    /// Sets or removes (`None`) reparse data.
    ///
    /// # Errors
    /// `NotSupported`, `Io`.
    fn set_reparse(&self, data: Option<(u32, &[u8])>) -> Result<()>;

    /// A small named value kept with the file (object id and the like).
    ///
    /// # Errors
    /// `Io`.
    fn property(&self, name: &str) -> Result<Option<Vec<u8>>>;

    /// Stores a small named value.
    ///
    /// # Errors
    /// `Io`, `DiskFull`.
    fn set_property(&self, name: &str, value: &[u8]) -> Result<()>;

    /// Lists the folder: `.` and `..` first, each other name once, in an order
    /// that is stable while the cursor lives.
    ///
    /// # Errors
    /// `NotADirectory`, `Io`.
    fn list(&self) -> Result<Box<dyn DirCursor>>;

    /// For finding the backend's own type in [`Handle::copy_from`].
    fn as_any(&self) -> &dyn core::any::Any;
}

/// Times to set; `None` leaves one alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetTimes {
    /// Creation.
    pub creation: Option<FileTime>,
    /// Last access.
    pub last_access: Option<FileTime>,
    /// Last write.
    pub last_write: Option<FileTime>,
    /// Change.
    pub change: Option<FileTime>,
}

/// A position in a listing.
pub trait DirCursor: Send + core::fmt::Debug {
    /// The next name for which `wanted` says yes, with its stat; `None` at the end.
    /// Names that vanish meanwhile are passed over. Stat is made only of wanted names.
    ///
    /// # Errors
    /// `Io`.
    fn next(
        &mut self,
        wanted: &mut dyn FnMut(&str, Option<&str>) -> bool,
    ) -> Result<Option<DirEntry>>;
}
