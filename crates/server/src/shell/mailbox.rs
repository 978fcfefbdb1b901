//! A connection's mailbox: other threads leave items, the connection's task takes them.

use std::collections::VecDeque;

use countersign_core::{Mailbox, PolicyOutcome, Signal};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

/// What may lie in a mailbox.
pub(crate) enum Item {
    /// For the engine.
    Signal(Signal),
    /// The configuration changed: compare, and answer here.
    ApplyPolicy(mpsc::UnboundedSender<PolicyOutcome>),
    /// The process stops.
    Stop,
}

/// The mailbox. Small while empty: there is one for every idle connection.
#[derive(Default)]
pub(crate) struct Post {
    items: Mutex<VecDeque<Item>>,
    arrived: Notify,
}

impl Post {
    pub(crate) fn push(&self, item: Item) {
        self.items.lock().push_back(item);
        self.arrived.notify_one();
    }

    /// Waits until something lies there (or did a moment ago).
    pub(crate) async fn wait(&self) {
        self.arrived.notified().await;
    }

    /// Takes all; gives the memory of a long queue back.
    pub(crate) fn take(&self) -> VecDeque<Item> {
        core::mem::take(&mut *self.items.lock())
    }
}

impl Mailbox for Post {
    fn post(&self, signal: Signal) {
        self.push(Item::Signal(signal));
    }
}
