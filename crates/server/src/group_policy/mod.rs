//! Group Policy on a running server: what was applied last, kept in the state folder,
//! and the task that asks for it anew.

mod network;
mod refresh;
mod store;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

pub(crate) use refresh::run;
pub use refresh::{RefreshError, refresh_once};
pub use store::{GroupPolicyStore, Stored};

/// Requests that may wait for the task.
const WAITING: usize = 64;

/// What `policy gpo status` shows of a process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GroupPolicyStatus {
    /// The domain of the configuration; nothing: there is no Group Policy.
    pub domain: Option<String>,
    /// The machine's account.
    pub account: Option<String>,
    /// What was applied last.
    pub applied: Option<Stored>,
    /// When it was tried last, seconds since 1970.
    pub last_attempt: Option<u64>,
    /// Why that failed.
    pub error: Option<String>,
    /// Tries that failed since the last that did not.
    pub failures: u32,
    /// When it will be tried next, seconds since 1970.
    pub next: Option<u64>,
}

/// Somebody wants something of the task.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Refresh now, and say when it is done.
    Refresh(oneshot::Sender<()>),
    /// The configuration changed.
    Changed,
}

/// The way to the task.
#[derive(Debug)]
pub(crate) struct GroupPolicy {
    pub(crate) status: parking_lot::Mutex<GroupPolicyStatus>,
    asks: mpsc::Sender<Ask>,
    task: parking_lot::Mutex<Option<mpsc::Receiver<Ask>>>,
}

impl GroupPolicy {
    pub(crate) fn new() -> GroupPolicy {
        let (asks, task) = mpsc::channel(WAITING);
        GroupPolicy {
            status: parking_lot::Mutex::default(),
            asks,
            task: parking_lot::Mutex::new(Some(task)),
        }
    }

    /// For the task, once.
    pub(crate) fn take(&self) -> Option<mpsc::Receiver<Ask>> {
        self.task.lock().take()
    }

    /// The configuration changed.
    pub(crate) fn changed(&self) {
        // A full queue is being worked on anyway.
        let _ = self.asks.try_send(Ask::Changed);
    }

    /// Refreshes now; returns when it is done.
    pub(crate) async fn refresh(&self) -> GroupPolicyStatus {
        let (done, when) = oneshot::channel();
        if self.asks.send(Ask::Refresh(done)).await.is_ok() {
            let _ = when.await;
        }
        self.status.lock().clone()
    }
}
