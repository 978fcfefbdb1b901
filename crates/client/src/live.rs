//! A connection that is up: calls go to its task, answers come back.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use countersign_core::client::{
    Answer, Break, Call, CloseReason, Failure, LoggedOn, Negotiated, Transfer,
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};

/// What the connection's task is told.
pub(crate) enum Command {
    /// Make a call.
    Call {
        /// Names it, to cancel it.
        ticket: u64,
        /// The call.
        call: Call,
        /// Where the answer goes; `None`: nobody wants it.
        answer: Option<oneshot::Sender<std::result::Result<Answer, Failure>>>,
    },
    /// Nobody wants the answer any more.
    Cancel(u64),
    /// An answer that nobody took: what it opened is to be closed.
    Dispose(Answer),
    /// Close the connection, once what was asked before is done.
    Close,
}

/// What the task tells besides answers.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) closed: Mutex<Option<CloseReason>>,
    pub(crate) transfer: Mutex<Option<Transfer>>,
    /// Who hears of breaks.
    pub(crate) breaks: Mutex<Option<mpsc::Sender<Break>>>,
}

/// A connection that is (or was) up.
pub(crate) struct Live {
    pub(crate) generation: u64,
    pub(crate) negotiated: Negotiated,
    pub(crate) logged_on: LoggedOn,
    pub(crate) mechanism: &'static str,
    pub(crate) mutual: bool,
    pub(crate) shared: std::sync::Arc<Shared>,
    pub(crate) line: Line,
}

/// The way to a connection's task.
#[derive(Clone)]
pub(crate) struct Line {
    commands: mpsc::UnboundedSender<Command>,
    tickets: std::sync::Arc<AtomicU64>,
    shared: std::sync::Arc<Shared>,
}

impl Line {
    pub(crate) fn new(
        commands: mpsc::UnboundedSender<Command>,
        shared: std::sync::Arc<Shared>,
    ) -> Self {
        Self {
            commands,
            tickets: std::sync::Arc::default(),
            shared,
        }
    }

    /// Sends a call off at once; the answer is awaited with what is returned.
    pub(crate) fn start(&self, call: Call) -> Pending {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        let sent = self.commands.send(Command::Call {
            ticket,
            call,
            answer: Some(sender),
        });
        Pending {
            ticket,
            receiver: sent.is_ok().then_some(receiver),
            line: self.clone(),
        }
    }

    /// Sends a call whose answer nobody wants.
    pub(crate) fn forget(&self, call: Call) {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let _ = self.commands.send(Command::Call {
            ticket,
            call,
            answer: None,
        });
    }

    pub(crate) async fn call(&self, call: Call) -> Result<Answer> {
        self.start(call).await
    }

    pub(crate) fn close(&self) {
        let _ = self.commands.send(Command::Close);
    }

    fn closed(&self) -> Error {
        let reason = self.shared.closed.lock().clone();
        Error::from_close(reason.unwrap_or(CloseReason::Peer))
    }
}

impl Live {
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closed.lock().is_some() || self.line.commands.is_closed()
    }

    pub(crate) fn transfer(&self) -> Transfer {
        let told = *self.shared.transfer.lock();
        told.unwrap_or(Transfer {
            read: 4096,
            write: 4096,
            transact: 4096,
            whole: 0,
            pipeline: 1,
        })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.line.close();
    }
}

/// A call that is under way. Dropped, it is cancelled at the server, and what it
/// opened all the same is closed.
pub(crate) struct Pending {
    ticket: u64,
    receiver: Option<oneshot::Receiver<std::result::Result<Answer, Failure>>>,
    line: Line,
}

impl Future for Pending {
    type Output = Result<Answer>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(receiver) = &mut self.receiver else {
            return Poll::Ready(Err(self.line.closed()));
        };
        match Pin::new(receiver).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => {
                self.receiver = None;
                Poll::Ready(match result {
                    Ok(Ok(answer)) => Ok(answer),
                    Ok(Err(failure)) => Err(failure.into()),
                    Err(_) => Err(self.line.closed()),
                })
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(mut receiver) = self.receiver.take() {
            receiver.close();
            match receiver.try_recv() {
                Ok(Ok(answer)) => {
                    let _ = self.line.commands.send(Command::Dispose(answer));
                }
                Ok(Err(_)) => {}
                Err(_) => {
                    let _ = self.line.commands.send(Command::Cancel(self.ticket));
                }
            }
        }
    }
}
