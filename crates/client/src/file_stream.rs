//! A file as a stream: reading ahead, writing behind, seeking.

use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use countersign_core::client::Payload;
use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use crate::error::{Error, Result};
use crate::file::{File, FileInner};
use crate::pipeline::Pipeline;

/// Where the stream of a file is, and what is under way for it.
pub(crate) struct Position {
    /// Next byte to give or take.
    at: u64,
    /// Reads under way; what they start at.
    reads: Pipeline<Result<(u32, Bytes)>>,
    /// Next byte to ask for.
    ahead: u64,
    /// Read, not yet given.
    data: Bytes,
    end: bool,
    /// Reads so far without a seek: how far to read ahead.
    run: usize,
    /// Writes under way.
    writes: Pipeline<Result<()>>,
    /// Collected, not yet sent.
    buffer: Payload,
    failed: Option<Error>,
    /// End of what was written.
    written: u64,
}

impl Position {
    pub(crate) fn at(at: u64) -> Self {
        Self {
            at,
            reads: Pipeline::new(),
            ahead: at,
            data: Bytes::new(),
            end: false,
            run: 1,
            writes: Pipeline::new(),
            buffer: Payload::default(),
            failed: None,
            written: 0,
        }
    }

    fn restart(&mut self, at: u64) {
        self.reads.clear();
        self.data = Bytes::new();
        self.at = at;
        self.ahead = at;
        self.end = false;
        self.run = 1;
    }

    fn send(&mut self, inner: &Arc<FileInner>) {
        if self.buffer.is_empty() {
            return;
        }
        let data = std::mem::take(&mut self.buffer);
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let at = self.at.saturating_sub(length);
        let inner = Arc::clone(inner);
        self.writes
            .push(async move { inner.write(at, data, false).await });
    }

    /// Until at most `left` writes are under way.
    fn poll_writes(&mut self, cx: &mut Context<'_>, left: usize) -> Poll<Result<()>> {
        loop {
            if let Some(error) = &self.failed {
                return Poll::Ready(Err(error.clone()));
            }
            if self.writes.len() <= left {
                // The rest is driven along.
                if left > 0
                    && let Poll::Ready(Some(Err(error))) = self.writes.poll_front(cx)
                {
                    self.failed = Some(error);
                    continue;
                }
                return Poll::Ready(Ok(()));
            }
            if let Some(Err(error)) = ready!(self.writes.poll_front(cx)) {
                self.failed = Some(error);
            }
        }
    }

    /// Sends what is collected and waits until all is written.
    pub(crate) async fn flushed(&mut self, inner: &Arc<FileInner>) -> Result<()> {
        self.send(inner);
        std::future::poll_fn(|cx| self.poll_writes(cx, 0)).await
    }
}

fn named(inner: &FileInner, verb: &str, error: Error) -> io::Error {
    error
        .during(|| format!("{verb} {}", inner.describe()))
        .into()
}

impl AsyncRead for File {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let File { inner, position } = self.get_mut();
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        position.send(inner);
        if let Err(error) = ready!(position.poll_writes(cx, 0)) {
            return Poll::Ready(Err(named(inner, "write", error)));
        }
        loop {
            if !position.data.is_empty() {
                let count = position.data.len().min(out.remaining());
                out.put_slice(position.data.get(..count).unwrap_or_default());
                position.data.advance(count);
                position.at = position
                    .at
                    .saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
                return Poll::Ready(Ok(()));
            }
            if position.end && position.reads.is_empty() {
                // A file may grow: the next read looks again.
                position.restart(position.at);
                return Poll::Ready(Ok(()));
            }
            let (most, _, depth) = inner.sizes();
            while !position.end && position.reads.len() < depth.min(position.run) {
                let (file, at) = (Arc::clone(inner), position.ahead);
                position.ahead = at.saturating_add(most.into());
                position
                    .reads
                    .push(async move { Ok((most, file.read(at, most).await?)) });
            }
            match ready!(position.reads.poll_front(cx)) {
                None => {}
                Some(Err(error)) => {
                    position.restart(position.at);
                    return Poll::Ready(Err(named(inner, "read", error)));
                }
                Some(Ok((asked, data))) => {
                    position.run = position.run.saturating_mul(2).min(64);
                    if data.is_empty() {
                        position.end = true;
                        position.reads.clear();
                    } else if u64::try_from(data.len()).unwrap_or(u64::MAX) < asked.into() {
                        // Less than asked for: what was asked behind it does not join on.
                        position.reads.clear();
                        position.ahead = position
                            .at
                            .saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
                        position.run = 1;
                    }
                    position.data = data;
                }
            }
        }
    }
}

impl AsyncWrite for File {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let File { inner, position } = self.get_mut();
        let (_, most, depth) = inner.sizes();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if let Err(error) = ready!(position.poll_writes(cx, depth.saturating_sub(1))) {
            return Poll::Ready(Err(named(inner, "write", error)));
        }
        if !position.reads.is_empty() || !position.data.is_empty() {
            position.restart(position.at);
        }
        // Another connection may take less than the one before.
        if position.buffer.len() >= most {
            position.send(inner);
        }
        if position.buffer.is_empty() {
            position.buffer = Payload::with_capacity(most.min(data.len().max(64 << 10)));
        }
        let count = data.len().min(most.saturating_sub(position.buffer.len()));
        position
            .buffer
            .buffer_mut()
            .extend_from_slice(data.get(..count).unwrap_or_default());
        position.at = position
            .at
            .saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        position.ahead = position.at;
        position.written = position.written.max(position.at);
        if position.buffer.len() >= most {
            position.send(inner);
            // Started now, not at the next write.
            if let Poll::Ready(Err(error)) = position.poll_writes(cx, depth) {
                return Poll::Ready(Err(named(inner, "write", error)));
            }
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let File { inner, position } = self.get_mut();
        position.send(inner);
        match ready!(position.poll_writes(cx, 0)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(named(inner, "write", error))),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl AsyncSeek for File {
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let File { inner, position } = self.get_mut();
        let (base, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(by) => (position.at, by),
            // The end as it was when the file was opened, or as it was written to.
            SeekFrom::End(by) => (inner.opened().facts.end_of_file.max(position.written), by),
        };
        let at = base
            .checked_add_signed(by)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        position.send(inner);
        if at != position.at {
            position.restart(at);
        }
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let File { inner, position } = self.get_mut();
        match ready!(position.poll_writes(cx, 0)) {
            Ok(()) => Poll::Ready(Ok(position.at)),
            Err(error) => Poll::Ready(Err(named(inner, "write", error))),
        }
    }
}
