//! A directory's entries as a stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use countersign_core::client::{Answer, Call, Listing, OpenRequest, PathRequest};
use countersign_wire::NtStatus;
use countersign_wire::fscc::{AccessMask, CreateOptions, DirectoryEntry};
use futures_core::Stream;

use crate::connection::unexpected;
use crate::dfs::Route;
use crate::error::{Error, Result};
use crate::file::File;
use crate::metadata::{FileType, Metadata};
use crate::share::Share;

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    name: String,
    short_name: String,
    path: String,
    metadata: Metadata,
}

impl DirEntry {
    /// Its name.
    pub fn file_name(&self) -> &str {
        &self.name
    }

    /// Its name of old form, `""` where there is none.
    pub fn short_name(&self) -> &str {
        &self.short_name
    }

    /// Its path below the share.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the listing told of it, without another round trip.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// What it is.
    pub fn file_type(&self) -> FileType {
        self.metadata.file_type()
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.metadata.is_dir()
    }
}

type Next = Pin<Box<dyn Future<Output = Result<Listing>> + Send>>;

/// The entries of a directory, without `.` and `..`. The next part is asked for
/// while this one is read.
pub struct ReadDir {
    directory: String,
    pattern: String,
    what: String,
    entries: VecDeque<DirEntry>,
    next: Option<Next>,
    open: Option<File>,
}

impl std::fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReadDir({:?})", self.directory)
    }
}

impl ReadDir {
    pub(crate) async fn start(share: &Share, path: &str, pattern: &str) -> Result<Self> {
        let what = format!("list {}", share.tree.describe(path));
        let mut this = Self {
            directory: path.into(),
            pattern: pattern.into(),
            what,
            entries: VecDeque::new(),
            next: None,
            open: None,
        };
        let mut route = Route::new(share, path.into());
        let (live, answer) = loop {
            let (live, tree) = route.share.tree.ready().await?;
            let call = Call::ListStart {
                at: PathRequest {
                    tree: tree.tree,
                    path: route.path.clone(),
                    no_follow: false,
                },
                pattern: pattern.into(),
            };
            match live.line.call(call).await {
                Ok(answer) => break (live, answer),
                Err(error) if error.status() == Some(NtStatus::NO_SUCH_FILE) => return Ok(this),
                Err(error) if route.follow(&error, false).await? => {}
                Err(error) => return Err(this.named(error)),
            }
        };
        let Answer::ListStarted { opened, listing } = answer else {
            return Err(unexpected());
        };
        let request = OpenRequest {
            options: CreateOptions::DIRECTORY_FILE,
            ..OpenRequest::existing(route.path, AccessMask::READ_DATA)
        };
        this.open = Some(route.share.wrap(request, &live, *opened));
        this.take(listing);
        Ok(this)
    }

    fn named(&self, error: Error) -> Error {
        error.during(|| self.what.clone())
    }

    fn take(&mut self, listing: Listing) {
        self.entries.extend(
            listing
                .entries
                .into_iter()
                .filter(|entry| entry.name != "." && entry.name != "..")
                .map(|entry| self::entry(&self.directory, entry)),
        );
        self.next = None;
        if listing.end {
            self.open = None;
        } else if let Some(file) = &self.open {
            let pending = file.inner.known_call(|open| Call::List {
                open,
                pattern: self.pattern.clone(),
                restart: false,
            });
            self.next = Some(Box::pin(async move {
                match pending?.await? {
                    Answer::Listing(listing) => Ok(listing),
                    _ => Err(unexpected()),
                }
            }));
        }
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// What the server says; nothing follows then.
    pub async fn next_entry(&mut self) -> Result<Option<DirEntry>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx))
            .await
            .transpose()
    }
}

fn entry(directory: &str, entry: DirectoryEntry) -> DirEntry {
    DirEntry {
        metadata: Metadata::of_entry(&entry),
        path: crate::path::join(directory, &entry.name),
        short_name: entry.short_name,
        name: entry.name,
    }
}

impl Stream for ReadDir {
    type Item = Result<DirEntry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                return Poll::Ready(Some(Ok(entry)));
            }
            let Some(next) = &mut self.next else {
                return Poll::Ready(None);
            };
            match ready!(next.as_mut().poll(cx)) {
                Ok(listing) => self.take(listing),
                Err(error) => {
                    self.next = None;
                    self.open = None;
                    let error = self.named(error);
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}
