//! Group Policy on a running server: what was applied last, kept in the state folder,
//! and the task that asks for it anew.

mod network;
mod password;
mod refresh;
mod store;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

pub use password::{Changed, PasswordChangeError, write_keytab};
pub(crate) use refresh::run;
pub use refresh::{RefreshError, change_password, password_status, refresh_once};
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
    /// A refresh is under way.
    #[serde(default)]
    pub refreshing: bool,
    /// What was applied last.
    pub applied: Option<Stored>,
    /// When it was tried last, seconds since 1970.
    pub last_attempt: Option<u64>,
    /// Why that failed.
    pub error: Option<String>,
    /// What can be done about it.
    #[serde(default)]
    pub remedy: Option<String>,
    /// Tries that failed since the last that did not.
    pub failures: u32,
    /// When it will be tried next, seconds since 1970.
    pub next: Option<u64>,
    /// The password of the machine's account.
    #[serde(default)]
    pub password: PasswordStatus,
}

/// What is known of the password of the machine's account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PasswordStatus {
    /// When it was last changed, seconds since 1970.
    pub set: Option<u64>,
    /// Days after which it is changed; 0: not by this machine.
    pub days: u32,
    /// The version of the keys in the keytab.
    pub keytab_version: Option<u32>,
    /// The version of the keys in the directory.
    pub directory_version: Option<u32>,
    /// A change has not come to its end.
    pub pending: bool,
    /// Why it could not be changed.
    pub error: Option<String>,
}

/// Somebody wants something of the task.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Refresh now, and say what came of it.
    Refresh(oneshot::Sender<GroupPolicyStatus>),
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
        let sent = self.asks.send(Ask::Refresh(done)).await;
        match (sent, when.await) {
            (Ok(()), Ok(status)) => status,
            // The task has ended: the process is about to.
            _ => self.status.lock().clone(),
        }
    }
}
