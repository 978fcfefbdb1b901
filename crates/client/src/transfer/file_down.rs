//! One file from a share to this machine.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::engine::Known;
use super::partial::{self, Target};
use super::pieces::{Gate, down, fault};
use super::remote::{Entry, Kind, Remote, RemoteFile, Whole};
use super::report::{Action, Cause, Done, Observer};
use super::{Existing, Options, PIECE, SMALL, TAIL};

/// What became of a file.
pub(super) enum Taken {
    Done(Done),
    /// It is a folder after all.
    Folder,
}

pub(super) async fn get_file<R: Remote>(
    remote: &R,
    path: &str,
    target: &Path,
    known: Option<Known>,
    options: &Options,
    gate: &Gate,
    observer: &Arc<dyn Observer>,
) -> Result<Taken, Cause<R::Error>> {
    let done = |action, bytes| {
        Taken::Done(Done {
            remote: path.to_owned(),
            local: Some(target.to_owned()),
            action,
            bytes,
        })
    };
    if options.existing != Existing::Replace {
        let target = target.to_owned();
        let there = spawn_blocking(move || fs::metadata(target).ok())
            .await
            .map_err(fault)?;
        // A folder is looked into.
        if let Some(there) = there.filter(|there| !there.is_dir()) {
            if options.existing == Existing::Keep {
                return Ok(done(Action::Skipped, 0));
            }
            let known = match known {
                Some(known) => known,
                None => Known::of(&remote.entry(path).await.map_err(Cause::Remote)?),
            };
            if partial::complete(
                known.size,
                known.modified,
                there.len(),
                there.modified().ok(),
            ) {
                return Ok(done(Action::Skipped, 0));
            }
        }
    }
    if options.dry_run {
        let size = match known {
            Some(known) => known.size,
            None => match remote.entry(path).await.map_err(Cause::Remote)? {
                Entry {
                    kind: Kind::Folder, ..
                } => return Ok(Taken::Folder),
                Entry {
                    kind: Kind::Link, ..
                } => return Err(Cause::Link),
                entry => entry.size,
            },
        };
        return Ok(done(Action::Copied, size));
    }
    let limit = SMALL.min(remote.whole_size());
    if known.is_none_or(|known| known.size <= limit as u64) {
        match remote
            .read_whole(path, limit)
            .await
            .map_err(Cause::Remote)?
        {
            Whole::Data { data, modified } => {
                let bytes = data.len() as u64;
                if known.is_none() {
                    observer.found(0, bytes);
                }
                observer.begin(path, bytes, 0);
                let target = target.to_owned();
                let preserved = modified.filter(|_| options.preserve);
                let part = partial::partial_path(&target, path, bytes, modified);
                spawn_blocking(move || write_small(&target, &part, &data, preserved))
                    .await
                    .map_err(fault)??;
                observer.advance(path, bytes);
                return Ok(done(Action::Copied, bytes));
            }
            Whole::Large(entry) => {
                if known.is_none() {
                    observer.found(0, entry.size);
                }
            }
            Whole::Folder => return Ok(Taken::Folder),
        }
    }
    let (file, entry) = remote.open_read(path).await.map_err(Cause::Remote)?;
    let copied = get_large(remote, &file, &entry, path, target, options, gate, observer).await;
    let closed = file.close().await;
    let (action, bytes) = copied?;
    closed.map_err(Cause::Remote)?;
    Ok(done(action, bytes))
}

/// Writes a new file at the place itself: all content is here, nothing is left to go
/// wrong but the disk. What is there already stays until the other is complete.
fn write_small(
    target: &Path,
    part: &Path,
    data: &Bytes,
    modified: Option<SystemTime>,
) -> io::Result<()> {
    let at_place = File::options().write(true).create_new(true).open(target);
    let Target { mut file, partial } = match at_place {
        Ok(file) => Target {
            file,
            partial: None,
        },
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            partial::create(target, part)?
        }
        Err(error) => return Err(error),
    };
    let new = partial
        .as_deref()
        .map_or(target, |partial| partial)
        .to_owned();
    let written = file.write_all(data).and_then(|()| {
        let sink: super::Sink = Box::new(io::sink());
        complete(sink, &file, modified, partial, target)
    });
    // Half of a small file is of no use to anybody.
    if written.is_err() && fs::symlink_metadata(&new).is_ok_and(|new| new.is_file()) {
        let _ = fs::remove_file(&new);
    }
    written
}

#[allow(
    clippy::too_many_arguments,
    reason = "the parts of one transfer, used nowhere else"
)]
async fn get_large<R: Remote>(
    remote: &R,
    file: &R::File,
    entry: &Entry,
    path: &str,
    target: &Path,
    options: &Options,
    gate: &Gate,
    observer: &Arc<dyn Observer>,
) -> Result<(Action, u64), Cause<R::Error>> {
    let part = partial::partial_path(target, path, entry.size, entry.modified);
    let left = if options.existing == Existing::Resume {
        left_over(
            file,
            target,
            &part,
            entry.size,
            TAIL.min(remote.read_size()),
        )
        .await?
    } else {
        None
    };
    let (from, target_file) = match left {
        Some(left) => left,
        None => {
            let (target, part) = (target.to_owned(), part.clone());
            let made = spawn_blocking(move || partial::create(&target, &part))
                .await
                .map_err(fault)??;
            (0, made)
        }
    };
    observer.begin(path, entry.size, from);
    let Target {
        file: local,
        partial,
    } = target_file;
    let finish = local.try_clone()?;
    let piece = PIECE.min(remote.read_size());
    let tell = |bytes| observer.advance(path, bytes);
    let sink = down(file, from, entry.size, piece, gate, Box::new(local), tell).await?;
    let modified = entry.modified.filter(|_| options.preserve);
    let target = target.to_owned();
    spawn_blocking(move || complete(sink, &finish, modified, partial, &target))
        .await
        .map_err(fault)??;
    let action = if from > 0 {
        Action::Resumed
    } else {
        Action::Copied
    };
    Ok((action, entry.size - from))
}

fn complete(
    mut sink: super::Sink,
    file: &File,
    modified: Option<SystemTime>,
    partial: Option<PathBuf>,
    target: &Path,
) -> io::Result<()> {
    sink.flush()?;
    if let Some(modified) = modified {
        file.set_modified(modified)?;
    }
    if let Some(partial) = partial {
        // The permissions of a file that is replaced stay.
        if let Ok(there) = fs::metadata(target) {
            file.set_permissions(there.permissions())?;
        }
        fs::rename(partial, target)?;
    }
    Ok(())
}

/// What is there and agrees at its end with the share's file.
async fn left_over<F: RemoteFile>(
    file: &F,
    target: &Path,
    part: &Path,
    size: u64,
    tail: usize,
) -> Result<Option<(u64, Target)>, Cause<F::Error>> {
    let (place, part) = (target.to_owned(), part.to_owned());
    let left = spawn_blocking(move || partial::find(&place, &part, size, tail))
        .await
        .map_err(fault)??;
    let Some(left) = left else { return Ok(None) };
    let length = left.tail.len();
    let tail = file
        .read_at(left.length - length as u64, length)
        .await
        .map_err(Cause::Remote)?;
    Ok((tail == left.tail).then_some((left.length, left.target)))
}
