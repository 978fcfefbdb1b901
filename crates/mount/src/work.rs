//! What the requests of the kernel come to on the share.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use countersign_client::transfer::to_remote;
use countersign_client::{
    Error, ErrorKind, File, FileAttributes, FileTimes, Metadata, NtStatus, OpenOptions, Share,
};
use fuser::{Errno, INodeNo};
use parking_lot::Mutex;

use crate::MountOptions;
use crate::attributes::{attributes, errno, of_name};
use crate::files::Files;
use crate::nodes::Nodes;

/// What a request is answered with.
pub(crate) type Answer<T> = Result<T, Errno>;

pub(crate) fn said(error: Error) -> Errno {
    errno(&error)
}

/// The same of what is open: that it is not there means that it is there no longer.
pub(crate) fn of_open(error: Error) -> Errno {
    match error.kind() {
        ErrorKind::NotFound => Errno::ESTALE,
        _ => errno(&error),
    }
}

/// A mounted share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) share: Share,
    pub(crate) options: MountOptions,
    pub(crate) nodes: Mutex<Nodes>,
    pub(crate) files: Files,
}

/// What a SETATTR asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) size: Option<u64>,
    pub(crate) times: Option<FileTimes>,
}

impl Inner {
    pub(crate) fn new(share: Share, root: &str, options: MountOptions) -> Inner {
        Inner {
            share,
            options,
            nodes: Mutex::new(Nodes::new(root)),
            files: Files::default(),
        }
    }

    pub(crate) fn path(&self, ino: INodeNo) -> Answer<String> {
        self.nodes.lock().path(ino.0).ok_or(Errno::ENOENT)
    }

    /// The path of a name that a share can have.
    pub(crate) fn child(&self, parent: INodeNo, name: &OsStr) -> Answer<String> {
        let name = to_remote(name).map_err(of_name)?;
        self.nodes.lock().child(parent.0, name).ok_or(Errno::ENOENT)
    }

    pub(crate) fn attributes(&self, ino: u64, metadata: &Metadata) -> fuser::FileAttr {
        attributes(ino, metadata, &self.options)
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.options.attribute_timeout
    }

    pub(crate) fn file(&self, handle: u64) -> Answer<Arc<File>> {
        self.files.file(handle).ok_or(Errno::EBADF)
    }

    pub(crate) fn writable(&self) -> Answer<()> {
        if self.options.read_only {
            return Err(Errno::EROFS);
        }
        Ok(())
    }

    /// What stands at a path: a link that the server leaves to us is one.
    pub(crate) async fn stat(&self, path: &str) -> Answer<Metadata> {
        match self.share.metadata(path).await {
            Err(error) if error.status() == Some(NtStatus::STOPPED_ON_SYMLINK) => {
                self.share.symlink_metadata(path).await.map_err(said)
            }
            other => other.map_err(said),
        }
    }

    /// What a number stands for, be it by its name or, where that is gone, by what is
    /// open of it.
    pub(crate) async fn look(&self, ino: INodeNo) -> Answer<Metadata> {
        let by_name = match self.path(ino) {
            Ok(path) => self.stat(&path).await,
            Err(gone) => Err(gone),
        };
        match (by_name, self.files.of(ino.0)) {
            (Err(_), Some(file)) => file.metadata().await.map_err(said),
            (by_name, _) => by_name,
        }
    }

    /// What has just been made, for the kernel.
    pub(crate) async fn told(&self, path: &str) -> Answer<(fuser::FileAttr, Duration)> {
        let metadata = self.stat(path).await?;
        let ino = self.nodes.lock().tell(path);
        Ok((self.attributes(ino, &metadata), self.timeout()))
    }

    /// Sets what a SETATTR asks for. What is open is used for it: of a file without a
    /// name there is nothing else, and a time that is set beside an open file would be
    /// lost when that is closed.
    pub(crate) async fn set(
        &self,
        ino: INodeNo,
        handle: Option<u64>,
        wanted: Wanted,
    ) -> Answer<Metadata> {
        let changes = wanted.size.is_some() || wanted.mode.is_some() || wanted.times.is_some();
        if changes {
            self.writable()?;
        }
        // Owners are not stored: one's own is no change.
        let foreign = |wanted: Option<u32>, have: u32| wanted.is_some_and(|id| id != have);
        if foreign(wanted.uid, self.options.uid) || foreign(wanted.gid, self.options.gid) {
            return Err(Errno::EPERM);
        }
        let open = match handle.and_then(|handle| self.files.file(handle)) {
            Some(file) => Some(file),
            None => self.files.of(ino.0),
        };
        if let Some(size) = wanted.size {
            let by_open = match &open {
                Some(file) => Some(file.set_len(size).await),
                None => None,
            };
            // It may be open for reading alone.
            if !matches!(by_open, Some(Ok(()))) {
                let path = self.path(ino)?;
                let write = OpenOptions::new().write(true).durable(false);
                let file = write.open(&self.share, &path).await.map_err(said)?;
                file.set_len(size).await.map_err(said)?;
                file.close().await.map_err(said)?;
            }
        }
        if let Some(mode) = wanted.mode {
            let metadata = self.look(ino).await?;
            let readonly = mode & 0o222 == 0;
            if !metadata.is_dir() && readonly != metadata.is_readonly() {
                let mut attributes = metadata.attributes() - FileAttributes::NORMAL;
                attributes.set(FileAttributes::READONLY, readonly);
                let path = self.path(ino)?;
                let set = self.share.set_attributes(&path, attributes).await;
                set.map_err(said)?;
            }
        }
        if let Some(times) = wanted.times {
            let by_open = match &open {
                Some(file) => Some(file.set_times(times).await),
                None => None,
            };
            if !matches!(by_open, Some(Ok(()))) {
                let path = self.path(ino)?;
                self.share.set_times(&path, times).await.map_err(said)?;
            }
        }
        self.look(ino).await
    }

    /// Removes a file. One that is open here gets another name before, so that its own
    /// is free at once as POSIX has it; the server removes it when it is closed.
    pub(crate) async fn unlink(&self, path: &str) -> Answer<()> {
        let open = self.is_open(path);
        if open && let Ok(hidden) = self.hide(path).await {
            return self.remove(&hidden).await;
        }
        self.remove(path).await
    }

    async fn remove(&self, path: &str) -> Answer<()> {
        let removed = match self.share.remove_file(path).await {
            // What is read-only must not be before it is removed; in POSIX it may be.
            Err(error) if error.status() == Some(NtStatus::CANNOT_DELETE) => {
                let attributes = FileAttributes::NORMAL;
                let set = self.share.set_attributes(path, attributes).await;
                set.map_err(said)?;
                self.share.remove_file(path).await
            }
            // A link to a folder is a folder to the server.
            Err(error) if error.kind() == ErrorKind::IsADirectory => {
                self.share.remove_dir(path).await
            }
            other => other,
        };
        removed.map_err(said)?;
        self.nodes.lock().removed(path);
        Ok(())
    }

    fn is_open(&self, path: &str) -> bool {
        let number = self.nodes.lock().number(path);
        number.is_some_and(|number| self.files.of(number).is_some())
    }

    /// Gives a file that is open a name of its own in its folder.
    async fn hide(&self, path: &str) -> Answer<String> {
        let name = format!(".fuse_hidden{:016x}", self.files.handle());
        let hidden = match path.rsplit_once('\\') {
            Some((folder, _)) => format!("{folder}\\{name}"),
            None => name,
        };
        let renamed = self.share.rename_with(path, &hidden, false).await;
        renamed.map_err(said)?;
        self.nodes.lock().renamed(path, &hidden);
        Ok(hidden)
    }

    /// Renames as POSIX does: what has the name is replaced, be it open, read-only or
    /// an empty folder.
    pub(crate) async fn rename(&self, from: &str, to: &str, replace: bool) -> Answer<()> {
        let refused = match self.share.rename_with(from, to, replace).await {
            Ok(()) => {
                self.nodes.lock().renamed(from, to);
                return Ok(());
            }
            Err(error) => error,
        };
        let in_the_way = matches!(
            refused.kind(),
            ErrorKind::PermissionDenied | ErrorKind::SharingViolation | ErrorKind::AlreadyExists
        );
        if !replace || !in_the_way {
            return Err(said(refused));
        }
        // Without something there the refusal was about something else.
        let (Ok(source), Ok(target)) = (self.stat(from).await, self.stat(to).await) else {
            return Err(said(refused));
        };
        match (source.is_dir(), target.is_dir()) {
            (true, true) => {
                self.share.remove_dir(to).await.map_err(said)?;
                self.nodes.lock().removed(to);
            }
            (true, false) => return Err(Errno::ENOTDIR),
            (false, true) => return Err(Errno::EISDIR),
            (false, false) if self.is_open(to) => return self.replace_open(from, to).await,
            (false, false) if target.is_readonly() => {
                let set = self.share.set_attributes(to, FileAttributes::NORMAL);
                set.await.map_err(said)?;
            }
            (false, false) => return Err(said(refused)),
        }
        let renamed = self.share.rename_with(from, to, true).await;
        renamed.map_err(said)?;
        self.nodes.lock().renamed(from, to);
        Ok(())
    }

    /// The open file steps aside, and back if the other cannot take its place.
    async fn replace_open(&self, from: &str, to: &str) -> Answer<()> {
        let hidden = self.hide(to).await?;
        if let Err(error) = self.share.rename_with(from, to, false).await {
            if self.share.rename_with(&hidden, to, false).await.is_ok() {
                self.nodes.lock().renamed(&hidden, to);
            }
            return Err(said(error));
        }
        self.nodes.lock().renamed(from, to);
        self.remove(&hidden).await
    }
}
