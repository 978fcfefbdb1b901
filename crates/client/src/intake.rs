//! Bytes from a socket become frames.

use bytes::{Buf, BytesMut};
use countersign_wire::nbss::{FrameError, FrameHeader, Framing, HEADER, PacketType};

/// Least room to read to.
const SMALL_READ: usize = 64 << 10;
/// Least room to read to while long frames come: a buffer holds several of the
/// 64 KiB of old dialects, and few of them are cut by its end.
const LARGE_READ: usize = 1 << 20;
/// Frames of this length are long.
const LONG_FRAME: usize = 32 << 10;
/// Less room than this is not worth a read.
const LEAST_READ: usize = 4 << 10;

/// What is read and is not a whole frame yet.
pub(crate) struct Intake {
    framing: Framing,
    bytes: BytesMut,
    /// Length of the last frame.
    last: usize,
}

impl Intake {
    pub(crate) fn new(framing: Framing) -> Self {
        Self {
            framing,
            bytes: BytesMut::new(),
            last: 0,
        }
    }

    /// Where to read to: room for the rest of the frame that is under way, or a
    /// little. No frame longer than `limit` gets memory.
    pub(crate) fn room(&mut self, limit: usize) -> Result<&mut BytesMut, FrameError> {
        let missing = match self.peek(limit)? {
            Some(header) => whole(header).saturating_sub(self.bytes.len()),
            None => 0,
        };
        if self.bytes.capacity().saturating_sub(self.bytes.len()) < missing.max(LEAST_READ) {
            let least = if self.last >= LONG_FRAME {
                // What is likely to come.
                LARGE_READ.max(self.last)
            } else {
                SMALL_READ
            };
            self.bytes.reserve(missing.max(least));
        }
        Ok(&mut self.bytes)
    }

    /// The next whole message; keep-alives are passed over.
    pub(crate) fn next(&mut self, limit: usize) -> Result<Option<BytesMut>, FrameError> {
        loop {
            let Some(header) = self.peek(limit)? else {
                return Ok(None);
            };
            if self.bytes.len() < whole(header) {
                return Ok(None);
            }
            self.last = whole(header);
            let mut body = self.bytes.split_to(self.last);
            body.advance(HEADER);
            match header.kind {
                PacketType::Message => return Ok(Some(body)),
                PacketType::KeepAlive => {}
                _ => return Err(FrameError::UnknownType(header.kind as u8)),
            }
        }
    }

    fn peek(&self, limit: usize) -> Result<Option<FrameHeader>, FrameError> {
        let Some(head) = self.bytes.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let limit = limit.min(self.framing.max_length());
        FrameHeader::decode(*head, self.framing, limit).map(Some)
    }
}

fn whole(header: FrameHeader) -> usize {
    HEADER.saturating_add(header.length)
}
