//! A [`Share`] as what the transfers need.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use countersign_core::client::{Answer, Call, PathRequest, Payload};
use countersign_wire::fscc::{Disposition, FileAttributes};
use countersign_wire::{FileTime, NtStatus};

use super::remote::{Entry, Kind, Remote, RemoteError, RemoteFile, Whole, WriteMode};
use crate::connection::unexpected;
use crate::error::{Error, ErrorKind, Result};
use crate::file::File;
use crate::metadata::{FileTimes, FileType, Metadata, file_time};
use crate::open_options::OpenOptions;
use crate::path::normalise;
use crate::share::Share;

/// Names of one folder that are kept; a server that sends more is not believed.
pub const MAX_ENTRIES: usize = 10_000_000;

impl RemoteError for Error {
    fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    fn is_exists(&self) -> bool {
        self.kind() == ErrorKind::AlreadyExists
    }

    fn is_folder(&self) -> bool {
        self.kind() == ErrorKind::IsADirectory
    }

    fn is_transient(&self) -> bool {
        Error::is_transient(self)
    }

    fn is_fatal(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Unreachable
                | ErrorKind::Disconnected
                | ErrorKind::TimedOut
                | ErrorKind::Policy
                | ErrorKind::Incompatible
                | ErrorKind::LogonFailed
        )
    }
}

/// A time of the protocol; 0 is none ([MS-FSCC] 2.4.7).
pub(crate) fn system_time(time: FileTime) -> Option<SystemTime> {
    if time.0 == 0 {
        return None;
    }
    let (seconds, nanoseconds) = time.to_unix();
    let part = Duration::from_nanos(nanoseconds.into());
    match u64::try_from(seconds) {
        Ok(seconds) => UNIX_EPOCH.checked_add(Duration::from_secs(seconds) + part),
        Err(_) => UNIX_EPOCH
            .checked_sub(Duration::from_secs(seconds.unsigned_abs()))
            .and_then(|time| time.checked_add(part)),
    }
}

impl Entry {
    /// What is known of a name.
    pub fn of(name: &str, metadata: &Metadata) -> Entry {
        let kind = match metadata.file_type() {
            FileType::Symlink => Kind::Link,
            // Other reparse points on folders lead elsewhere too; those on files
            // (placeholders, deduplication) read like files.
            FileType::Other if metadata.is_dir() => Kind::Link,
            FileType::Directory => Kind::Folder,
            FileType::File | FileType::Other => Kind::File,
        };
        Entry {
            name: name.to_owned(),
            kind,
            size: metadata.len(),
            modified: system_time(metadata.modified()),
            attributes: metadata.attributes(),
        }
    }
}

fn last_part(path: &str) -> &str {
    path.rsplit('\\').next().unwrap_or(path)
}

impl Share {
    fn transfer_sizes(&self) -> (usize, usize, usize) {
        let transfer = self.connection().current().transfer();
        let size = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX).max(1);
        // Where the protocol has no single turn the calls are made of several.
        let whole = match transfer.whole {
            0 => transfer.read.min(transfer.write),
            whole => whole,
        };
        (size(transfer.read), size(transfer.write), size(whole))
    }
}

impl Remote for Share {
    type Error = Error;
    type File = OpenFile;

    fn read_size(&self) -> usize {
        self.transfer_sizes().0
    }

    fn write_size(&self) -> usize {
        self.transfer_sizes().1
    }

    fn whole_size(&self) -> usize {
        self.transfer_sizes().2
    }

    async fn list(&self, path: &str) -> Result<Vec<Entry>> {
        let mut listing = self.read_dir(path).await?;
        let mut entries = Vec::new();
        while let Some(entry) = listing.next_entry().await? {
            if entries.len() == MAX_ENTRIES {
                return Err(Error::new(
                    ErrorKind::Protocol,
                    "the server lists more names than a folder can have",
                ));
            }
            entries.push(Entry::of(entry.file_name(), entry.metadata()));
        }
        Ok(entries)
    }

    async fn entry(&self, path: &str) -> Result<Entry> {
        let metadata = match self.metadata(path).await {
            // A link that the server leaves to us is what stands there, if it is the
            // last part of the path.
            Err(error) if error.status() == Some(NtStatus::STOPPED_ON_SYMLINK) => {
                self.symlink_metadata(path).await?
            }
            other => other?,
        };
        Ok(Entry::of(last_part(path), &metadata))
    }

    async fn read_whole(&self, path: &str, limit: usize) -> Result<Whole> {
        let path = normalise(path)?;
        let max = u32::try_from(limit.min(self.whole_size())).unwrap_or(u32::MAX);
        let answer = self
            .tree
            .call(|tree| Call::ReadFile {
                at: PathRequest {
                    tree,
                    path: path.clone(),
                    no_follow: false,
                },
                max,
            })
            .await
            .map_err(|e| e.during(|| format!("read {}", self.tree.describe(&path))));
        match answer {
            Ok(Answer::Whole {
                opened,
                data,
                complete,
            }) => {
                let metadata = Metadata::new(opened.facts);
                if metadata.is_dir() {
                    return Ok(Whole::Folder);
                }
                if !complete {
                    return Ok(Whole::Large(Entry::of(last_part(&path), &metadata)));
                }
                let modified = system_time(opened.facts.last_write);
                Ok(Whole::Data { data, modified })
            }
            Ok(_) => Err(unexpected()),
            Err(error) if error.is_folder() => Ok(Whole::Folder),
            Err(error) => Err(error),
        }
    }

    async fn write_whole(
        &self,
        path: &str,
        data: Payload,
        modified: Option<SystemTime>,
        mode: WriteMode,
    ) -> Result<()> {
        let disposition = match mode {
            WriteMode::Replace => Disposition::OverwriteIf,
            WriteMode::Keep => Disposition::OpenIf,
            WriteMode::New => Disposition::Create,
        };
        let times = modified.map(|time| FileTimes::modified(file_time(time)));
        self.write_small(&normalise(path)?, data, disposition, times)
            .await
    }

    async fn open_read(&self, path: &str) -> Result<(OpenFile, Entry)> {
        let file = OpenOptions::new().read(true).open(self, path).await?;
        let entry = Entry::of(last_part(path), &file.opened_metadata());
        Ok((OpenFile(Arc::new(file)), entry))
    }

    async fn open_write(&self, path: &str, mode: WriteMode) -> Result<(OpenFile, u64)> {
        let file = OpenOptions::new()
            .read(mode == WriteMode::Keep)
            .write(true)
            .create(true)
            .create_new(mode == WriteMode::New)
            .truncate(mode == WriteMode::Replace)
            .open(self, path)
            .await?;
        let length = file.opened_metadata().len();
        Ok((OpenFile(Arc::new(file)), length))
    }

    async fn create_folder(&self, path: &str) -> Result<()> {
        self.create_dir(path).await
    }

    async fn remove_file(&self, path: &str) -> Result<()> {
        match Share::remove_file(self, path).await {
            // What is read-only must not be before it is deleted.
            Err(error) if error.status() == Some(NtStatus::CANNOT_DELETE) => {
                self.set_attributes(path, FileAttributes::NORMAL).await?;
                Share::remove_file(self, path).await
            }
            other => other,
        }
    }

    async fn remove_folder(&self, path: &str) -> Result<()> {
        self.remove_dir(path).await
    }
}

/// An open file that several tasks use.
#[derive(Debug, Clone)]
pub struct OpenFile(Arc<File>);

impl RemoteFile for OpenFile {
    type Error = Error;

    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes> {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let first = self.0.read_bytes_at(length, offset).await?;
        let got = u32::try_from(first.len()).unwrap_or(u32::MAX);
        if got == length || first.is_empty() {
            return Ok(first);
        }
        // A server may give less than it could.
        let mut all = first.to_vec();
        let mut got = got;
        while got < length {
            let at = offset.saturating_add(got.into());
            let more = self.0.read_bytes_at(length - got, at).await?;
            let Ok(count @ 1..) = u32::try_from(more.len()) else {
                break;
            };
            got = got.saturating_add(count);
            all.extend_from_slice(&more);
        }
        Ok(all.into())
    }

    async fn write_at(&self, offset: u64, data: Payload) -> Result<usize> {
        let inner = &self.0.inner;
        let written = inner.write_once(offset, data, false).await;
        written.map_err(|error| error.during(|| format!("write {}", inner.describe())))
    }

    async fn set_length(&self, length: u64) -> Result<()> {
        self.0.set_len(length).await
    }

    async fn set_modified(&self, time: SystemTime) -> Result<()> {
        let times = FileTimes::modified(file_time(time));
        self.0.set_times(times).await
    }

    async fn close(&self) -> Result<()> {
        let inner = &self.0.inner;
        match inner.close_call() {
            Some((live, call)) => match live.line.call(call).await {
                Ok(_) => Ok(()),
                Err(error) => Err(error.during(|| format!("close {}", inner.describe()))),
            },
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_protocol() {
        assert_eq!(system_time(FileTime(0)), None);
        for seconds in [0, 1, 1_700_000_000, 4_000_000_000] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(100);
            assert_eq!(system_time(file_time(time)), Some(time));
        }
        let before = system_time(FileTime(1)).unwrap();
        assert!(before < UNIX_EPOCH);
    }
}
