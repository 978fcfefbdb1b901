//! Changes of a directory as a stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use countersign_core::client::{Answer, Call, ChangeList, OpenRequest};
use countersign_wire::fscc::{AccessMask, CompletionFilter, CreateOptions};
use futures_core::Stream;

use crate::connection::unexpected;
use crate::error::{Error, Result};
use crate::file::File;
use crate::share::Share;

/// What happened, [MS-FSCC] 2.4.42 (FILE_NOTIFY_INFORMATION Action).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// Added.
    Added,
    /// Removed.
    Removed,
    /// Changed.
    Modified,
    /// Renamed: the name of before. The new one follows.
    RenamedFrom,
    /// Renamed: the new name.
    RenamedTo,
    /// More happened than could be told: look at the directory again.
    Overflow,
    /// Another action, by its number (streams).
    Other(u32),
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// Path relative to the directory that is watched.
    pub path: String,
}

type Next = Pin<Box<dyn Future<Output = Result<ChangeList>> + Send>>;

/// Changes of a directory. Dropped, the watch ends.
///
/// ```
/// # mod served { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/served/mod.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), countersign_client::Error> {
/// # let running = served::serve();
/// # let share = served::share(&running).await;
/// use countersign_client::ChangeKind;
///
/// let mut watch = share.watch("", true).await?;
/// share.write("new.txt", b"").await?;
/// let change = watch.next_change().await?.expect("the directory is still there");
/// assert_eq!((change.kind, change.path.as_str()), (ChangeKind::Added, "new.txt"));
/// # Ok(())
/// # }
/// ```
pub struct Watch {
    file: File,
    filter: CompletionFilter,
    recursive: bool,
    changes: VecDeque<Change>,
    next: Option<Next>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watch({:?})", self.file)
    }
}

impl Watch {
    pub(crate) async fn start(
        share: &Share,
        path: &str,
        recursive: bool,
        filter: CompletionFilter,
    ) -> Result<Self> {
        let request = OpenRequest {
            options: CreateOptions::DIRECTORY_FILE,
            ..OpenRequest::existing(path, AccessMask::READ_DATA | AccessMask::SYNCHRONIZE)
        };
        let file = File::open(share, request, false).await?;
        let mut this = Self {
            file,
            filter,
            recursive,
            changes: VecDeque::new(),
            next: None,
        };
        this.ask();
        Ok(this)
    }

    /// Asks for the next changes at once, so that none falls between.
    fn ask(&mut self) {
        let (filter, recursive) = (self.filter, self.recursive);
        let pending = self.file.inner.known_call(|open| Call::Notify {
            open,
            filter,
            recursive,
        });
        self.next = Some(Box::pin(async move {
            match pending?.await? {
                Answer::Changes(changes) => Ok(changes),
                _ => Err(unexpected()),
            }
        }));
    }

    /// The next change. `None` when the directory was deleted or closed.
    ///
    /// # Errors
    /// What the server says, and a lost connection; nothing follows then.
    pub async fn next_change(&mut self) -> Result<Option<Change>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx))
            .await
            .transpose()
    }

    fn named(&self, error: Error) -> Error {
        error.during(|| format!("watch {}", self.file.inner.describe()))
    }
}

impl Stream for Watch {
    type Item = Result<Change>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return Poll::Ready(Some(Ok(change)));
            }
            let Some(next) = &mut self.next else {
                return Poll::Ready(None);
            };
            match ready!(next.as_mut().poll(cx)) {
                Ok(list) => {
                    self.next = None;
                    if !list.closed {
                        self.ask();
                    }
                    if list.overflow {
                        self.changes.push_back(Change {
                            kind: ChangeKind::Overflow,
                            path: String::new(),
                        });
                    }
                    self.changes
                        .extend(list.changes.into_iter().map(|change| Change {
                            kind: match change.action {
                                1 => ChangeKind::Added,
                                2 => ChangeKind::Removed,
                                3 => ChangeKind::Modified,
                                4 => ChangeKind::RenamedFrom,
                                5 => ChangeKind::RenamedTo,
                                other => ChangeKind::Other(other),
                            },
                            path: change.name,
                        }));
                }
                Err(error) => {
                    self.next = None;
                    let error = self.named(error);
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}
