//! Bytes from a socket become frames.

use bytes::{Buf, BytesMut};
use countersign_wire::nbss::{FrameError, FrameHeader, Framing, HEADER, PacketType};

/// First read of an idle connection; grows with what arrives.
const SMALL_READ: usize = 16 << 10;
/// Less room than this is not worth a read.
const LEAST_READ: usize = 512;
/// After a packet of such a length the next is read to room of its own at once:
/// the writes of old dialects, of which the first bytes would have to be moved.
const ALIKE: core::ops::RangeInclusive<usize> = 32 << 10..=160 << 10;

/// What is read and is not a whole frame yet. Without memory while there is none.
pub(super) struct Intake {
    framing: Framing,
    bytes: BytesMut,
    /// Length of the last packet.
    last: usize,
}

/// A whole packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) kind: PacketType,
    /// What follows the header.
    pub(super) body: BytesMut,
}

impl Intake {
    pub(super) fn new(framing: Framing) -> Self {
        Self {
            framing,
            bytes: BytesMut::new(),
            last: 0,
        }
    }

    /// Whether part of a packet is here.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Where to read to: room for the rest of the packet that is under way, or a
    /// little. No packet longer than `limit` gets memory.
    pub(super) fn room(&mut self, limit: usize) -> Result<&mut BytesMut, FrameError> {
        let missing = match self.peek(limit)? {
            Some(header) => whole(header).saturating_sub(self.bytes.len()),
            None => 0,
        };
        if self.bytes.capacity().saturating_sub(self.bytes.len()) < missing.max(LEAST_READ) {
            // The rest of a large packet exactly, so that its memory is its own;
            // otherwise room for several small ones.
            let next = if ALIKE.contains(&self.last) && self.bytes.is_empty() {
                self.last
            } else {
                SMALL_READ
            };
            self.bytes.reserve(missing.max(next));
        }
        Ok(&mut self.bytes)
    }

    /// The next whole packet.
    pub(super) fn next(&mut self, limit: usize) -> Result<Option<Packet>, FrameError> {
        let Some(header) = self.peek(limit)? else {
            return Ok(None);
        };
        if self.bytes.len() < whole(header) {
            return Ok(None);
        }
        self.last = whole(header);
        let mut body = self.bytes.split_to(self.last);
        body.advance(HEADER);
        Ok(Some(Packet {
            kind: header.kind,
            body,
        }))
    }

    /// Gives the memory back when nothing is under way.
    pub(super) fn rest(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }

    /// The header of the next packet, checked against the limit.
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
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 100_000;

    /// Takes in a stream cut in pieces, as a socket would give it.
    fn take(stream: &[u8], cuts: &[usize]) -> Result<Vec<Packet>, FrameError> {
        let mut intake = Intake::new(Framing::Tcp);
        let mut packets = Vec::new();
        let mut rest = stream;
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let room = intake.room(LIMIT)?;
            let most = room.capacity() - room.len();
            assert!(most >= LEAST_READ);
            let n = (*cuts.next().unwrap()).min(most).min(rest.len());
            room.extend_from_slice(&rest[..n]);
            rest = &rest[n..];
            while let Some(packet) = intake.next(LIMIT)? {
                packets.push(packet);
            }
        }
        assert!(intake.is_empty());
        intake.rest();
        assert_eq!(intake.bytes.capacity(), 0);
        Ok(packets)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn cuts_do_not_matter(
            lengths in prop::collection::vec(
                prop_oneof![Just(0), 1..200_usize, 15_000..18_000_usize, Just(LIMIT)], 1..8),
            cuts in prop::collection::vec(prop_oneof![1..8_usize, 1..70_000_usize], 1..8),
        ) {
            let mut stream = Vec::new();
            for (n, length) in lengths.iter().enumerate() {
                stream.extend_from_slice(&u32::try_from(*length).unwrap().to_be_bytes());
                stream.extend(std::iter::repeat_n(u8::try_from(n).unwrap(), *length));
            }
            let packets = take(&stream, &cuts).unwrap();
            prop_assert_eq!(packets.len(), lengths.len());
            for (n, (packet, length)) in packets.iter().zip(&lengths).enumerate() {
                prop_assert_eq!(packet.kind, PacketType::Message);
                prop_assert_eq!(packet.body.len(), *length);
                prop_assert!(packet.body.iter().all(|b| usize::from(*b) == n));
            }
        }
    }

    #[test]
    fn an_over_long_packet_gets_no_memory() {
        let mut intake = Intake::new(Framing::Tcp);
        let room = intake.room(1000).unwrap();
        room.extend_from_slice(&[0, 0x10, 0, 0]);
        let before = intake.bytes.capacity();
        let too_long = FrameError::TooLong {
            length: 0x10_0000,
            limit: 1000,
        };
        assert_eq!(intake.room(1000).unwrap_err(), too_long);
        assert_eq!(intake.next(1000).unwrap_err(), too_long);
        assert_eq!(intake.bytes.capacity(), before);
        assert!(before < 2 * SMALL_READ);
    }

    #[test]
    fn a_large_packet_gets_the_memory_it_needs() {
        let mut intake = Intake::new(Framing::Tcp);
        intake
            .room(1 << 24)
            .unwrap()
            .extend_from_slice(&[0, 0x80, 0, 0]);
        let room = intake.room(1 << 24).unwrap();
        assert!(room.capacity() >= 0x80_0004);
        assert!(room.capacity() < 0x81_0000, "{}", room.capacity());
    }

    #[test]
    fn writes_of_old_dialects_are_read_to_where_they_stay() {
        let mut intake = Intake::new(Framing::Tcp);
        let mut write = vec![0, 1, 0, 0x40];
        write.resize(HEADER + 0x1_0040, 7);
        for next in [SMALL_READ, write.len(), write.len()] {
            let room = intake.room(LIMIT).unwrap();
            assert!(room.is_empty() && room.capacity() >= next);
            room.extend_from_slice(&write);
            assert!(intake.next(LIMIT).unwrap().is_some());
        }
        // One that is idle holds nothing.
        intake.rest();
        assert_eq!(intake.bytes.capacity(), 0);
    }
}
