//! One file from this machine to a share.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use countersign_core::client::Payload;
use tokio::task::spawn_blocking;

use super::file_down::Taken;
use super::partial;
use super::pieces::{Gate, fault, up};
use super::remote::{Remote, RemoteError, RemoteFile, WriteMode};
use super::report::{Action, Cause, Done, Observer};
use super::{Existing, Options, PIECE, SMALL, WINDOW};

/// A local file as it was found.
enum Source {
    Small(Payload),
    Large(File, u64),
    Folder,
    /// A device, a socket or a pipe.
    Special,
}

struct Opened {
    source: Source,
    modified: Option<SystemTime>,
}

fn open(path: &Path, limit: usize) -> io::Result<Opened> {
    // Looked at before it is opened: a pipe without a writer would not open.
    let metadata = fs::metadata(path)?;
    let modified = metadata.modified().ok();
    if !metadata.is_file() {
        let source = if metadata.is_dir() {
            Source::Folder
        } else {
            Source::Special
        };
        return Ok(Opened { source, modified });
    }
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let source = if size <= limit as u64 {
        let mut data = Payload::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
        // One byte more than it may have shows a file that grew meanwhile.
        Read::by_ref(&mut file)
            .take(limit as u64 + 1)
            .read_to_end(data.buffer_mut())?;
        if data.len() > limit {
            file.seek(SeekFrom::Start(0))?;
            let size = file.metadata()?.len();
            if size <= limit as u64 {
                // The files of /proc tell no length.
                return Err(io::Error::other(
                    "it is longer than its length; copy it as standard input, `-`",
                ));
            }
            Source::Large(file, size)
        } else {
            Source::Small(data)
        }
    } else {
        Source::Large(file, size)
    };
    Ok(Opened { source, modified })
}

pub(super) async fn put_file<R: Remote>(
    remote: &R,
    path: &str,
    source: &Path,
    found: bool,
    options: &Options,
    gate: &Gate,
    observer: &Arc<dyn Observer>,
) -> Result<Taken, Cause<R::Error>> {
    let done = |action, bytes| {
        Taken::Done(Done {
            remote: path.to_owned(),
            local: Some(source.to_owned()),
            action,
            bytes,
        })
    };
    let limit = SMALL.min(remote.whole_size());
    let local = source.to_owned();
    let opened = spawn_blocking(move || open(&local, limit))
        .await
        .map_err(fault)??;
    let size = match &opened.source {
        Source::Small(data) => data.len() as u64,
        Source::Large(_, size) => *size,
        Source::Folder => return Ok(Taken::Folder),
        Source::Special => return Err(Cause::Special),
    };
    if !found {
        observer.found(0, size);
    }
    let mut there = None;
    if options.existing == Existing::Resume {
        match remote.entry(path).await {
            Ok(entry) if partial::complete(size, opened.modified, entry.size, entry.modified) => {
                return Ok(done(Action::Skipped, 0));
            }
            Ok(entry) => there = Some(entry.size),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(Cause::Remote(error)),
        }
    }
    if options.dry_run {
        let keep = options.existing == Existing::Keep;
        if keep && remote.entry(path).await.is_ok() {
            return Ok(done(Action::Skipped, 0));
        }
        return Ok(done(Action::Copied, size));
    }
    let modified = opened.modified.filter(|_| options.preserve);
    let new = options.existing == Existing::Keep;
    let skip_existing = |error: R::Error| {
        if new && error.is_exists() {
            Ok(done(Action::Skipped, 0))
        } else {
            Err(Cause::Remote(error))
        }
    };
    let mode = if new {
        WriteMode::New
    } else {
        WriteMode::Replace
    };
    let (mut file, size) = match opened.source {
        Source::Small(data) => {
            observer.begin(path, size, 0);
            if let Err(error) = remote.write_whole(path, data, modified, mode).await {
                return skip_existing(error);
            }
            observer.advance(path, size);
            return Ok(done(Action::Copied, size));
        }
        Source::Large(file, size) => (file, size),
        Source::Folder => return Ok(Taken::Folder),
        Source::Special => return Err(Cause::Special),
    };
    let partial = there.is_some_and(|there| there > 0 && there <= size);
    let mode = if partial { WriteMode::Keep } else { mode };
    let (target, length) = match remote.open_write(path, mode).await {
        Ok(opened) => opened,
        Err(error) => return skip_existing(error),
    };
    let mut from = 0;
    let copied: Result<(), Cause<R::Error>> = async {
        if partial && length <= size {
            let piece = PIECE.min(remote.read_size());
            (file, from) = agreed(file, &target, length, options.window, piece).await?;
        }
        if from == 0 && length > 0 && partial {
            target.set_length(0).await.map_err(Cause::Remote)?;
        }
        file.seek(SeekFrom::Start(from))?;
        observer.begin(path, size, from);
        let piece = PIECE.min(remote.write_size());
        let tell = |bytes| observer.advance(path, bytes);
        up(file, &target, from, size, piece, gate, tell).await?;
        if let Some(modified) = modified {
            target.set_modified(modified).await.map_err(Cause::Remote)?;
        }
        Ok(())
    }
    .await;
    let closed = target.close().await;
    copied?;
    closed.map_err(Cause::Remote)?;
    let action = if from > 0 {
        Action::Resumed
    } else {
        Action::Copied
    };
    Ok(done(action, size - from))
}

/// From where a file that is there in part is continued; 0 if it is another.
///
/// Several pieces were under way when the copy ended, and a later one may have been
/// written where an earlier one was not: as much as may have been under way is compared.
async fn agreed<F: RemoteFile>(
    mut file: File,
    target: &F,
    length: u64,
    window: usize,
    piece: usize,
) -> Result<(File, u64), Cause<F::Error>> {
    let uncertain = (window.max(WINDOW) as u64).saturating_add(piece as u64);
    let start = length.saturating_sub(uncertain);
    let mut at = start;
    while at < length {
        let end = length.min(at.saturating_add(piece as u64));
        let (back, ours) = spawn_blocking(move || {
            let ours = partial::read_tail(&mut file, end, piece);
            (file, ours)
        })
        .await
        .map_err(fault)?;
        file = back;
        let ours = ours?;
        let theirs = target
            .read_at(end - ours.len() as u64, ours.len())
            .await
            .map_err(Cause::Remote)?;
        if ours.is_empty() || theirs != ours {
            break;
        }
        at = end;
    }
    // Where not even the beginning agrees the rest is not believed either.
    Ok((file, if at == start { 0 } else { at }))
}
