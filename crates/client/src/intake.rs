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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    fn frame(length: u32) -> Vec<u8> {
        let mut frame = length.to_be_bytes().to_vec();
        frame.resize(HEADER + length as usize, 0xA5);
        frame
    }

    /// What a socket that always has more gives, at most `cut` bytes a read: the
    /// lengths of the frames, and how many reads it took.
    fn feed(intake: &mut Intake, stream: &[u8], cut: usize) -> (Vec<u32>, usize) {
        let (mut got, mut reads) = (Vec::new(), 0);
        let mut rest = stream;
        while !rest.is_empty() {
            let room = intake.room(LIMIT).unwrap();
            let most = room.capacity() - room.len();
            assert!(most > 0);
            let (now, later) = rest.split_at(most.min(cut).min(rest.len()));
            room.extend_from_slice(now);
            rest = later;
            reads += 1;
            while let Some(body) = intake.next(LIMIT).unwrap() {
                assert!(body.iter().all(|b| *b == 0xA5));
                got.push(u32::try_from(body.len()).unwrap());
            }
        }
        (got, reads)
    }

    #[test]
    fn frames_are_the_same_however_they_are_cut() {
        let lengths = [0, 5, 70_000, 65_600, 65_600, 3, 300_000];
        let stream: Vec<u8> = lengths.into_iter().flat_map(frame).collect();
        for cut in [1, 3, 4096, 65_604, usize::MAX] {
            let mut intake = Intake::new(Framing::Tcp);
            assert_eq!(feed(&mut intake, &stream, cut).0, lengths);
        }
    }

    #[test]
    fn long_frames_come_several_in_a_read() {
        let mut intake = Intake::new(Framing::Tcp);
        let stream: Vec<u8> = (0..64).flat_map(|_| frame(65_600)).collect();
        let (got, reads) = feed(&mut intake, &stream, usize::MAX);
        assert_eq!(got.len(), 64);
        assert!(reads <= 12, "{reads}");
    }

    #[test]
    fn a_length_that_is_not_to_be_believed_gets_no_memory() {
        let mut intake = Intake::new(Framing::Tcp);
        let head = &frame(65_600)[..HEADER];
        intake.room(LIMIT).unwrap().extend_from_slice(head);
        let before = intake.bytes.capacity();
        assert!(intake.room(1000).is_err() && intake.next(1000).is_err());
        assert_eq!(intake.bytes.capacity(), before);
    }
}
