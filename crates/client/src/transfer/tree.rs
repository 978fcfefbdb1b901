//! Folders: what they hold on both sides, everything below one, and its removal.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::task::{JoinSet, spawn_blocking};

use super::engine::{Extra, FileWork, FolderWork, Known, Listing};
use super::names::{NameError, check_from_remote, to_remote};
use super::pieces::fault;
use super::remote::{Entry, Kind, Remote, RemoteError, join};
use super::report::{Action, Cause, Done, Failure, Observer, Report};
use super::{Compare, Filter, LISTINGS, MAX_DEPTH, Options, SAME_TIME};
use crate::glob::{folded, is_pattern, matches};

/// A name of a local folder.
struct Local {
    name: OsString,
    /// None: neither file nor folder, or a link to a folder.
    kind: Option<Kind>,
    size: u64,
    modified: Option<SystemTime>,
}

/// Reads a local folder; links to files count as files.
fn read_local(folder: &Path) -> io::Result<Vec<Local>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let direct = entry.file_type()?;
        let metadata = if direct.is_symlink() {
            fs::metadata(entry.path())
        } else {
            entry.metadata()
        };
        let mut local = Local {
            name: entry.file_name(),
            kind: None,
            size: 0,
            modified: None,
        };
        // A link that leads nowhere has no metadata.
        if let Ok(metadata) = metadata {
            local.size = metadata.len();
            local.modified = metadata.modified().ok();
            local.kind = if metadata.is_file() {
                Some(Kind::File)
            } else if metadata.is_dir() && direct.is_symlink() {
                Some(Kind::Link)
            } else if metadata.is_dir() {
                Some(Kind::Folder)
            } else {
                None
            };
        }
        all.push(local);
    }
    Ok(all)
}

fn same(source: Known, there: Known, compare: Compare) -> bool {
    if source.size != there.size {
        return false;
    }
    if compare == Compare::Size {
        return true;
    }
    match (source.modified, there.modified) {
        (Some(a), Some(b)) => {
            let apart = a.duration_since(b).or_else(|_| b.duration_since(a));
            apart.is_ok_and(|apart| apart <= SAME_TIME)
        }
        _ => false,
    }
}

fn below(relative: &[String], name: &str) -> Vec<String> {
    let mut path = relative.to_vec();
    path.push(name.to_owned());
    path
}

pub(super) async fn list_down<R: Remote>(
    remote: &R,
    work: &FolderWork,
    options: &Options,
) -> Result<Listing<R::Error>, Cause<R::Error>> {
    let mut listing = Listing::default();
    let entries = remote.list(&work.remote).await.map_err(Cause::Remote)?;
    let (local, dry, compare) = (work.local.clone(), options.dry_run, work.compare);
    let (made, there) = spawn_blocking(move || -> io::Result<(bool, Vec<Local>)> {
        let made = match fs::symlink_metadata(&local) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !dry {
                    fs::create_dir_all(&local)?;
                }
                true
            }
            Err(error) => return Err(error),
            Ok(_) if !local.is_dir() => return Err(io::ErrorKind::NotADirectory.into()),
            Ok(_) => false,
        };
        if made || !compare {
            return Ok((made, Vec::new()));
        }
        Ok((false, read_local(&local)?))
    })
    .await
    .map_err(fault)??;
    listing.made = made;
    let mut there: HashMap<OsString, Local> = there
        .into_iter()
        .map(|local| (local.name.clone(), local))
        .collect();
    for entry in entries {
        let path = join(&work.remote, &entry.name);
        let mut fail = |cause| {
            listing.failures.push(Failure {
                path: path.replace('\\', "/"),
                cause,
            });
        };
        if let Err(error) = check_from_remote(&entry.name) {
            fail(Cause::Name(error));
            continue;
        }
        let relative = below(&work.relative, &entry.name);
        let on_disk = there.remove(&OsString::from(&entry.name));
        let kind_there = on_disk.as_ref().map(|local| local.kind);
        let local = work.local.join(&entry.name);
        match entry.kind {
            Kind::Link => fail(Cause::Link),
            Kind::Folder if !options.filter.takes_folder(&relative) => {}
            Kind::Folder if kind_there.is_some_and(|kind| kind != Some(Kind::Folder)) => {
                fail(Cause::Conflict);
            }
            Kind::Folder => listing.folders.push(FolderWork {
                remote: path,
                local,
                relative,
                compare: work.compare,
            }),
            Kind::File if !options.filter.takes_file(&relative) => {}
            Kind::File if kind_there == Some(Some(Kind::Folder)) => fail(Cause::Conflict),
            Kind::File => {
                let known = Known::of(&entry);
                let equal = on_disk.is_some_and(|local| {
                    let there = Known {
                        size: local.size,
                        modified: local.modified,
                    };
                    same(known, there, options.compare)
                });
                if equal {
                    listing.same.push(skipped(path, &local));
                } else {
                    listing.files.push(FileWork {
                        remote: path,
                        local,
                        known: Some(known),
                        named: false,
                    });
                }
            }
        }
    }
    for (name, local) in there {
        let shown = name.to_string_lossy().into_owned();
        let relative = below(&work.relative, &shown);
        let folder = local.kind == Some(Kind::Folder);
        let taken = if folder {
            options.filter.takes_folder(&relative)
        } else {
            options.filter.takes_file(&relative)
        };
        if taken {
            listing.extra.push(Extra {
                remote: join(&work.remote, &shown),
                local: work.local.join(&name),
                relative,
                folder,
            });
        }
    }
    Ok(listing)
}

fn skipped(remote: String, local: &Path) -> Done {
    Done {
        remote,
        local: Some(local.to_owned()),
        action: Action::Skipped,
        bytes: 0,
    }
}

pub(super) async fn list_up<R: Remote>(
    remote: &R,
    work: &FolderWork,
    options: &Options,
) -> Result<Listing<R::Error>, Cause<R::Error>> {
    let mut listing = Listing::default();
    let folder = work.local.clone();
    let mut locals = spawn_blocking(move || read_local(&folder))
        .await
        .map_err(fault)??;
    locals.sort_by(|a, b| a.name.cmp(&b.name));
    let mut entries = Vec::new();
    if work.compare {
        match remote.list(&work.remote).await {
            Ok(there) => entries = there,
            Err(error) if error.is_not_found() => listing.made = true,
            Err(error) => return Err(Cause::Remote(error)),
        }
    }
    if !options.dry_run && (listing.made || !work.compare) && !work.remote.is_empty() {
        match remote.create_folder(&work.remote).await {
            Ok(()) => listing.made = true,
            Err(error) if error.is_exists() => {
                let there = remote.entry(&work.remote).await.map_err(Cause::Remote)?;
                if there.kind != Kind::Folder {
                    return Err(Cause::Conflict);
                }
            }
            Err(error) => return Err(Cause::Remote(error)),
        }
    }
    let mut there: HashMap<String, Entry> = entries
        .into_iter()
        .map(|entry| (folded(&entry.name), entry))
        .collect();
    let mut seen = HashSet::new();
    for local in locals {
        let path = work.local.join(&local.name);
        let mut fail = |cause| {
            listing.failures.push(Failure {
                path: path.display().to_string(),
                cause,
            });
        };
        let lossy = below(&work.relative, &local.name.to_string_lossy());
        let taken = match local.kind {
            Some(Kind::File) => options.filter.takes_file(&lossy),
            _ => options.filter.takes_folder(&lossy),
        };
        if !taken {
            there.remove(&folded(&local.name.to_string_lossy()));
            continue;
        }
        let name = match to_remote(&local.name) {
            Ok(name) => name,
            Err(error) => {
                fail(Cause::Name(error));
                continue;
            }
        };
        let key = folded(name);
        let entry = there.remove(&key);
        if !seen.insert(key) {
            fail(Cause::Name(NameError::Twice));
            continue;
        }
        let kind_there = entry.as_ref().map(|entry| entry.kind);
        let remote_path = join(&work.remote, name);
        match local.kind {
            None => fail(Cause::Name(NameError::Special)),
            Some(Kind::Link) => fail(Cause::Link),
            Some(Kind::Folder) if kind_there.is_some_and(|kind| kind != Kind::Folder) => {
                fail(Cause::Conflict);
            }
            Some(Kind::Folder) => listing.folders.push(FolderWork {
                remote: remote_path,
                local: path,
                relative: lossy,
                compare: work.compare,
            }),
            Some(Kind::File) if kind_there == Some(Kind::Folder) => fail(Cause::Conflict),
            Some(Kind::File) => {
                let known = Known {
                    size: local.size,
                    modified: local.modified,
                };
                if entry.is_some_and(|entry| same(known, Known::of(&entry), options.compare)) {
                    listing.same.push(skipped(remote_path, &path));
                } else {
                    listing.files.push(FileWork {
                        remote: remote_path,
                        local: path,
                        known: Some(known),
                        named: false,
                    });
                }
            }
        }
    }
    for entry in there.into_values() {
        let relative = below(&work.relative, &entry.name);
        let folder = entry.kind == Kind::Folder;
        let taken = if folder {
            options.filter.takes_folder(&relative)
        } else {
            options.filter.takes_file(&relative)
        };
        if taken {
            listing.extra.push(Extra {
                remote: join(&work.remote, &entry.name),
                local: work.local.join(&entry.name),
                relative,
                folder,
            });
        }
    }
    Ok(listing)
}

/// A path with what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The path on the share.
    pub path: String,
    /// What stands there.
    pub entry: Entry,
}

/// A folder that was listed.
#[derive(Debug)]
pub struct Walked<'a> {
    /// Its path.
    pub path: &'a str,
    /// 0: where the walk began.
    pub depth: usize,
    /// What it holds, by name; folders that are taken out are not entered.
    pub entries: &'a mut Vec<Entry>,
}

/// Lists a folder and everything below it, several folders at once, in no order but
/// parents before children. Reparse points are not entered.
pub async fn walk<R: Remote>(
    remote: &R,
    root: &str,
    mut visit: impl FnMut(Walked<'_>),
) -> Vec<Failure<R::Error>> {
    let mut failures = Vec::new();
    let mut waiting = vec![(root.to_owned(), 0_usize)];
    let mut tasks = JoinSet::new();
    loop {
        while tasks.len() < LISTINGS
            && let Some((path, depth)) = waiting.pop()
        {
            if depth > MAX_DEPTH {
                let path = path.replace('\\', "/");
                failures.push(Failure {
                    path,
                    cause: Cause::TooDeep,
                });
                continue;
            }
            let remote = remote.clone();
            tasks.spawn(async move {
                let listed = remote.list(&path).await;
                (path, depth, listed)
            });
        }
        match tasks.join_next().await {
            None => return failures,
            Some(Err(error)) => failures.push(Failure {
                path: String::new(),
                cause: fault(error),
            }),
            Some(Ok((path, _, Err(error)))) => {
                let fatal = error.is_fatal();
                let path = path.replace('\\', "/");
                let cause = Cause::Remote(error);
                failures.push(Failure { path, cause });
                if fatal {
                    return failures;
                }
            }
            Some(Ok((path, depth, Ok(mut entries)))) => {
                entries.sort_by(|a, b| a.name.cmp(&b.name));
                visit(Walked {
                    path: &path,
                    depth,
                    entries: &mut entries,
                });
                for entry in entries.iter().rev() {
                    if entry.kind == Kind::Folder && check_from_remote(&entry.name).is_ok() {
                        waiting.push((join(&path, &entry.name), depth + 1));
                    }
                }
            }
        }
    }
}

/// Everything that fits a path with wildcards, sorted. A path without wildcards is
/// looked up as it is.
///
/// # Errors
/// When a folder on the way cannot be listed, or the path is not there.
pub async fn expand<R: Remote>(
    remote: &R,
    parts: &[String],
) -> Result<Vec<Found>, Cause<R::Error>> {
    let first = parts.iter().position(|part| is_pattern(part));
    let Some(first) = first else {
        let path = parts.join("\\");
        let entry = remote.entry(&path).await.map_err(Cause::Remote)?;
        return Ok(vec![Found { path, entry }]);
    };
    let mut bases = vec![parts.get(..first).unwrap_or_default().join("\\")];
    let rest = parts.get(first..).unwrap_or_default();
    let mut found = Vec::new();
    for (at, part) in rest.iter().enumerate() {
        let last = at + 1 == rest.len();
        let mut next = Vec::new();
        for base in &bases {
            if part == "**" {
                next.push(base.clone());
                let mut more = Vec::new();
                let failures = walk(remote, base, |walked| {
                    for entry in walked.entries.iter() {
                        more.push(Found {
                            path: join(walked.path, &entry.name),
                            entry: entry.clone(),
                        });
                    }
                })
                .await;
                if let Some(failure) = failures.into_iter().next() {
                    return Err(failure.cause);
                }
                for one in more {
                    if last {
                        found.push(one);
                    } else if one.entry.kind == Kind::Folder {
                        next.push(one.path);
                    }
                }
            } else if !is_pattern(part) {
                let path = join(base, part);
                match remote.entry(&path).await {
                    Ok(entry) if last => found.push(Found { path, entry }),
                    Ok(_) => next.push(path),
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(Cause::Remote(error)),
                }
            } else {
                for entry in remote.list(base).await.map_err(Cause::Remote)? {
                    if matches(part, &entry.name) && check_from_remote(&entry.name).is_ok() {
                        let path = join(base, &entry.name);
                        if last {
                            found.push(Found { path, entry });
                        } else if entry.kind == Kind::Folder {
                            next.push(path);
                        }
                    }
                }
            }
        }
        bases = next;
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    Ok(found)
}

/// Removes a folder with everything in it: files first, several at once, then the
/// folders from below. What cannot be removed stays, with the folders above it.
pub async fn remove_tree<R: Remote>(
    remote: &R,
    root: &str,
    jobs: usize,
    observer: Arc<dyn Observer>,
) -> Report<R::Error> {
    remove_taken(remote, root, &[], &Filter::default(), jobs, observer).await
}

/// Removes a file or a link. A link to a folder is removed as one.
///
/// # Errors
/// When it cannot be removed.
pub async fn remove_one<R: Remote>(remote: &R, path: &str, kind: Kind) -> Result<(), R::Error> {
    match remote.remove_file(path).await {
        Err(error) if kind == Kind::Link && error.is_folder() => remote.remove_folder(path).await,
        other => other,
    }
}

/// Removes of a folder what a filter takes, given the folder's path from where the
/// filter counts; what it does not take stays, with the folders it is in.
pub(super) async fn remove_taken<R: Remote>(
    remote: &R,
    root: &str,
    relative: &[String],
    filter: &Filter,
    jobs: usize,
    observer: Arc<dyn Observer>,
) -> Report<R::Error> {
    let mut report = Report::default();
    let mut files = Vec::new();
    let mut folders = vec![(0, root.to_owned())];
    let mut stays = false;
    let start = root.split('\\').count();
    let failures = walk(remote, root, |walked| {
        let mut at = relative.to_vec();
        at.extend(walked.path.split('\\').skip(start).map(str::to_owned));
        walked.entries.retain(|entry| {
            let path = below(&at, &entry.name);
            let taken = match entry.kind {
                Kind::Folder => filter.takes_folder(&path),
                Kind::File | Kind::Link => filter.takes_file(&path),
            };
            stays |= !taken;
            taken
        });
        for entry in walked.entries.iter() {
            let path = join(walked.path, &entry.name);
            match entry.kind {
                _ if check_from_remote(&entry.name).is_err() => {}
                Kind::Folder => folders.push((walked.depth + 1, path)),
                kind => files.push((path, kind)),
            }
        }
    })
    .await;
    for failure in failures {
        report.fail(&*observer, failure.path, failure.cause);
    }
    observer.found(files.len() as u64, 0);
    let mut tasks = JoinSet::new();
    let mut files = files.into_iter();
    let mut kept = stays || !report.complete();
    loop {
        while tasks.len() < jobs.max(1)
            && let Some((path, kind)) = files.next()
        {
            let remote = remote.clone();
            tasks.spawn(async move {
                let removed = remove_one(&remote, &path, kind).await;
                (path, removed)
            });
        }
        match tasks.join_next().await {
            None => break,
            Some(Err(error)) => {
                kept = true;
                report.fail(&*observer, String::new(), fault(error));
            }
            Some(Ok((path, removed))) => {
                kept |= removed.is_err();
                note(&mut report, &*observer, path, removed);
            }
        }
    }
    folders.sort_by_key(|(depth, _)| std::cmp::Reverse(*depth));
    for (_, path) in folders {
        let removed = remote.remove_folder(&path).await;
        // A folder above something that stayed is no news.
        if !(kept && removed.is_err()) {
            kept |= removed.is_err();
            note(&mut report, &*observer, path, removed);
        }
    }
    report
}

/// Removes of a local folder what a filter takes; whether all of it is gone. **Blocks.**
pub(super) fn remove_local(
    folder: &Path,
    relative: &[String],
    filter: &Filter,
) -> io::Result<bool> {
    if filter.include.is_empty() && filter.exclude.is_empty() {
        return fs::remove_dir_all(folder).map(|()| true);
    }
    let mut gone = true;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = below(relative, &entry.file_name().to_string_lossy());
        // A link to a folder is no folder.
        gone &= if entry.file_type()?.is_dir() {
            filter.takes_folder(&path) && remove_local(&entry.path(), &path, filter)?
        } else if filter.takes_file(&path) {
            fs::remove_file(entry.path())?;
            true
        } else {
            false
        };
    }
    if gone {
        fs::remove_dir(folder)?;
    }
    Ok(gone)
}

fn note<E: RemoteError>(
    report: &mut Report<E>,
    observer: &dyn Observer,
    path: String,
    removed: Result<(), E>,
) {
    match removed {
        Ok(()) => report.done(
            observer,
            &Done {
                remote: path,
                local: None,
                action: Action::Removed,
                bytes: 0,
            },
        ),
        Err(error) => report.fail(observer, path.replace('\\', "/"), Cause::Remote(error)),
    }
}
