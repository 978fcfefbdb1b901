//! What the transfers need of a share.

use std::future::Future;
use std::time::SystemTime;

use bytes::Bytes;
use countersign_core::client::Payload;
use countersign_wire::fscc::FileAttributes;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A reparse point ([MS-FSCC] 2.1.2): not followed.
    Link,
}

/// A name with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last part of the path.
    pub name: String,
    /// File or folder.
    pub kind: Kind,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the content.
    pub modified: Option<SystemTime>,
    /// Attributes.
    pub attributes: FileAttributes,
}

/// A file read at once, or why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whole {
    /// All of it.
    Data {
        /// The content.
        data: Bytes,
        /// Last change of the content.
        modified: Option<SystemTime>,
    },
    /// It is longer than was allowed.
    Large(Entry),
    /// It is a folder.
    Folder,
}

/// How a file is opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Made, or emptied.
    Replace,
    /// Made, or kept as it is.
    Keep,
    /// Made; fails if it is there.
    New,
}

/// An error of a share.
pub trait RemoteError: std::error::Error + Send + Sync + 'static {
    /// The name is not there.
    fn is_not_found(&self) -> bool;
    /// The name is there already.
    fn is_exists(&self) -> bool;
    /// A folder stands where a file was meant.
    fn is_folder(&self) -> bool;
    /// The same again may succeed: the connection was lost, and there will be another.
    fn is_transient(&self) -> bool;
    /// Nothing more can be done on this connection.
    fn is_fatal(&self) -> bool;
}

/// A share, or a folder of paths like one. Clones are the same share.
pub trait Remote: Clone + Send + Sync + 'static {
    /// Why something failed.
    type Error: RemoteError;
    /// An open file.
    type File: RemoteFile<Error = Self::Error>;

    /// Most bytes that one read brings.
    fn read_size(&self) -> usize;
    /// Most bytes that one write takes.
    fn write_size(&self) -> usize;
    /// Longest file that is read or written at once.
    fn whole_size(&self) -> usize {
        self.read_size().min(self.write_size())
    }

    /// The names in a folder.
    fn list(&self, path: &str) -> impl Future<Output = Result<Vec<Entry>, Self::Error>> + Send;
    /// What stands at a path.
    fn entry(&self, path: &str) -> impl Future<Output = Result<Entry, Self::Error>> + Send;
    /// Reads a file of at most `limit` bytes at once, in one turn where it can be done.
    fn read_whole(
        &self,
        path: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Whole, Self::Error>> + Send;
    /// Writes a file of at most [`whole_size`](Self::whole_size) bytes at once.
    fn write_whole(
        &self,
        path: &str,
        data: Payload,
        modified: Option<SystemTime>,
        mode: WriteMode,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// Opens a file for reading.
    fn open_read(
        &self,
        path: &str,
    ) -> impl Future<Output = Result<(Self::File, Entry), Self::Error>> + Send;
    /// Opens a file for writing (and reading, with [`WriteMode::Keep`]); its length comes along.
    fn open_write(
        &self,
        path: &str,
        mode: WriteMode,
    ) -> impl Future<Output = Result<(Self::File, u64), Self::Error>> + Send;
    /// Makes a folder.
    fn create_folder(&self, path: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// Removes a file.
    fn remove_file(&self, path: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// Removes an empty folder (or the reparse point that stands for one).
    fn remove_folder(&self, path: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// An open file of a share. Clones are the same open.
pub trait RemoteFile: Clone + Send + Sync + 'static {
    /// Why something failed.
    type Error: RemoteError;

    /// Reads; fewer bytes only at the end of the file.
    fn read_at(
        &self,
        offset: u64,
        length: usize,
    ) -> impl Future<Output = Result<Bytes, Self::Error>> + Send;
    /// Writes; says how many bytes were taken. Nothing is kept to be sent again: after
    /// fewer bytes, or an error that [may pass](RemoteError::is_transient), the caller
    /// gives the rest again.
    fn write_at(
        &self,
        offset: u64,
        data: Payload,
    ) -> impl Future<Output = Result<usize, Self::Error>> + Send;
    /// Sets the length.
    fn set_length(&self, length: u64) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// Sets the time of the last change.
    fn set_modified(
        &self,
        time: SystemTime,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// Closes it: errors of what was written show here at the latest.
    fn close(&self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// A path of a share: parts joined by backslashes.
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}\\{name}")
    }
}
