//! Requests in flight whose results are wanted in order.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use parking_lot::Mutex;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum Slot<T> {
    /// Never locked: it makes what holds it Sync, so that futures that borrow a file
    /// can move between threads.
    Running(Mutex<Boxed<T>>),
    Ready(T),
}

/// Futures that run side by side; results come out in the order they went in.
pub(crate) struct Pipeline<T> {
    slots: VecDeque<Slot<T>>,
}

impl<T: Unpin> Pipeline<T> {
    pub(crate) fn new() -> Self {
        Self {
            slots: VecDeque::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn push(&mut self, future: impl Future<Output = T> + Send + 'static) {
        self.slots
            .push_back(Slot::Running(Mutex::new(Box::pin(future))));
    }

    pub(crate) fn clear(&mut self) {
        self.slots.clear();
    }

    /// Drives all.
    pub(crate) fn start(&mut self, cx: &mut Context<'_>) {
        for slot in &mut self.slots {
            if let Slot::Running(future) = slot
                && let Poll::Ready(value) = future.get_mut().as_mut().poll(cx)
            {
                *slot = Slot::Ready(value);
            }
        }
    }

    /// Drives all; gives the first in order when it is ready, `None` when there
    /// is none.
    pub(crate) fn poll_front(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.start(cx);
        match self.slots.pop_front() {
            None => Poll::Ready(None),
            Some(Slot::Ready(value)) => Poll::Ready(Some(value)),
            Some(running) => {
                self.slots.push_front(running);
                Poll::Pending
            }
        }
    }

    /// The first in order.
    pub(crate) async fn front(&mut self) -> Option<T> {
        std::future::poll_fn(|cx| self.poll_front(cx)).await
    }
}
