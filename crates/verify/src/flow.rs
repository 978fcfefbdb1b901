//! One direction of a TCP connection: bytes in order, cut into frames of the
//! NetBIOS session service (RFC 1002 4.3, [MS-SMB2] 2.1).
//!
//! What a capture lost is never waited for longer than the peer did: the caller
//! says what was acknowledged ([`Flow::acknowledged`]). After a loss, and in a
//! connection whose start is not in the capture, framing is found again by the
//! length of the broken frame, or by looking for the next SMB message.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

/// Bytes that may wait behind a gap before it counts as lost.
pub(crate) const MAX_HELD: usize = 4 << 20;
/// Segments that may wait behind a gap before it counts as lost.
pub(crate) const MAX_HELD_SEGMENTS: usize = 4096;
/// Bytes without any SMB message after which a flow is none of ours.
pub(crate) const GIVE_UP: u64 = 32 << 20;
/// What a buffer is grown by at most, beyond what the frame at its start needs.
const GROWTH: usize = 256 << 10;
/// And at least, where SMB flows.
const LEAST_GROWTH: usize = 4 << 10;

/// A frame's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The message, without the 4-byte header.
    pub(crate) message: Bytes,
    /// Bytes were lost before it, since the frame before.
    pub(crate) after_loss: bool,
}

/// How far framing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sync {
    /// A frame begins where the buffer does.
    Framed,
    /// This many more bytes belong to a broken frame.
    Skip(usize),
    /// A frame is looked for.
    Lost,
    /// Not SMB.
    Foreign,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Flow {
    next: Option<u32>,
    held: BTreeMap<u64, Bytes>,
    held_bytes: usize,
    /// Position of `next`, without wrapping.
    position: u64,
    buffer: BytesMut,
    sync: Sync,
    /// A frame was found.
    ours: bool,
    /// The first byte is in the capture.
    from_start: bool,
    searched: u64,
    after_loss: bool,
    /// Length of the last frame.
    last: usize,
    /// Bytes known to be missing.
    pub(crate) lost: u64,
}

impl Flow {
    /// A flow whose start is in the capture, or not.
    pub(crate) fn new() -> Self {
        Self {
            next: None,
            held: BTreeMap::new(),
            held_bytes: 0,
            position: 1 << 32,
            buffer: BytesMut::new(),
            sync: Sync::Lost,
            ours: false,
            from_start: false,
            searched: 0,
            after_loss: false,
            last: 0,
            lost: 0,
        }
    }

    /// The connection begins: the first byte has the number after `seq`.
    pub(crate) fn syn(&mut self, seq: u32) {
        self.next = Some(seq.wrapping_add(1));
        self.sync = Sync::Framed;
        self.from_start = true;
    }

    /// Whether what flows here is not SMB.
    pub(crate) fn is_foreign(&self) -> bool {
        self.sync == Sync::Foreign
    }

    /// Whether any frame was found.
    pub(crate) fn is_ours(&self) -> bool {
        self.ours
    }

    /// A segment.
    pub(crate) fn feed(&mut self, seq: u32, data: &[u8]) {
        if data.is_empty() || self.sync == Sync::Foreign {
            return;
        }
        let next = *self.next.get_or_insert(seq);
        let ahead = seq.wrapping_sub(next);
        if ahead == 0 {
            self.append(data);
        } else if ahead < 0x8000_0000 {
            let at = self.position + u64::from(ahead);
            let longer = self
                .held
                .get(&at)
                .is_none_or(|have| have.len() < data.len());
            if longer {
                self.held_bytes += data.len();
                if let Some(old) = self.held.insert(at, Bytes::copy_from_slice(data)) {
                    self.held_bytes = self.held_bytes.saturating_sub(old.len());
                }
            }
            if self.held_bytes > MAX_HELD || self.held.len() > MAX_HELD_SEGMENTS {
                self.skip_gap();
            }
        } else {
            // Sent before: only what is new of it counts.
            let behind = usize::try_from(next.wrapping_sub(seq)).unwrap_or(usize::MAX);
            if let Some(fresh) = data.get(behind..).filter(|f| !f.is_empty()) {
                self.append(fresh);
            }
        }
        self.release();
    }

    /// The peer has everything before `ack`: what is missing of that was lost by
    /// the capture alone.
    pub(crate) fn acknowledged(&mut self, ack: u32) {
        while let (Some(next), false) = (self.next, self.held.is_empty()) {
            let ahead = ack.wrapping_sub(next);
            let first = self.held.keys().next().map_or(0, |at| at - self.position);
            if ahead >= 0x8000_0000 || u64::from(ahead) < first {
                return;
            }
            self.skip_gap();
            self.release();
        }
    }

    /// Whether the peer has bytes that the capture has not, or not yet.
    pub(crate) fn is_behind(&self, ack: u32) -> bool {
        self.next
            .is_some_and(|next| (1..0x8000_0000).contains(&ack.wrapping_sub(next)))
    }

    /// Nothing follows: what waits behind gaps is taken.
    pub(crate) fn end(&mut self) {
        if !self.held.is_empty() {
            self.skip_gap();
            self.release();
        }
    }

    /// Gives back room that is kept for more.
    pub(crate) fn trim(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// Bytes that are kept.
    pub(crate) fn weight(&self) -> usize {
        self.buffer.capacity() + self.held_bytes + self.held.len() * 64
    }

    /// Whether segments still wait behind a gap.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.held.is_empty()
    }

    fn append(&mut self, data: &[u8]) {
        self.advance(data.len() as u64);
        let mut data = data;
        if let Sync::Skip(left) = self.sync {
            let cut = left.min(data.len());
            data = data.get(cut..).unwrap_or_default();
            self.sync = if left > cut {
                Sync::Skip(left - cut)
            } else {
                Sync::Framed
            };
        }
        if data.is_empty() {
            return;
        }
        let room = self.buffer.capacity() - self.buffer.len();
        if room < data.len() {
            let frame = self
                .frame_length()
                .unwrap_or(0)
                .saturating_sub(self.buffer.len());
            // A length is only believed as far as bytes have come.
            let frame = frame.min(self.buffer.len() * 2 + 4 * GROWTH);
            // Room for a few frames like the last; none for what may be no SMB at all.
            let growth = match self.ours {
                true => (self.last * 4).clamp(LEAST_GROWTH, GROWTH),
                false => 0,
            };
            self.buffer.reserve(frame.max(data.len()).max(growth));
        }
        self.buffer.extend_from_slice(data);
    }

    fn advance(&mut self, bytes: u64) {
        self.position += bytes;
        let step = u32::try_from(bytes & 0xFFFF_FFFF).unwrap_or(0);
        self.next = self.next.map(|n| n.wrapping_add(step));
    }

    /// Takes what was held and is now due.
    fn release(&mut self) {
        while let Some(entry) = self.held.first_entry() {
            if *entry.key() > self.position {
                return;
            }
            let (at, data) = entry.remove_entry();
            self.held_bytes = self.held_bytes.saturating_sub(data.len());
            let behind = usize::try_from(self.position - at).unwrap_or(usize::MAX);
            if let Some(fresh) = data.get(behind..).filter(|f| !f.is_empty()) {
                self.append(fresh);
            }
        }
    }

    /// Gives the bytes before the first held segment up.
    fn skip_gap(&mut self) {
        let Some(first) = self.held.keys().next().copied() else {
            return;
        };
        let missing = first.saturating_sub(self.position);
        self.lost += missing;
        self.after_loss = true;
        let gap = usize::try_from(missing).unwrap_or(usize::MAX);
        self.sync = match (self.sync, self.frame_length()) {
            (Sync::Foreign, _) => Sync::Foreign,
            (Sync::Skip(left), _) if left >= gap => Sync::Skip(left - gap),
            (Sync::Framed, Some(length)) if length >= self.buffer.len() + gap => {
                Sync::Skip(length - self.buffer.len() - gap)
            }
            _ => Sync::Lost,
        };
        if self.sync == Sync::Skip(0) {
            self.sync = Sync::Framed;
        }
        self.buffer.clear();
        self.advance(missing);
    }

    /// Length of the frame at the start of the buffer, header included.
    fn frame_length(&self) -> Option<usize> {
        let [_, a, b, c] = *self.buffer.first_chunk::<4>()?;
        Some((usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)) + 4)
    }

    /// The next whole frame.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        loop {
            match self.sync {
                Sync::Foreign | Sync::Skip(_) => {
                    return None;
                }
                Sync::Lost => {
                    if !self.search() {
                        return None;
                    }
                }
                Sync::Framed => {
                    let length = self.frame_length()?;
                    let kind = self.buffer.first().copied().unwrap_or(0xFF);
                    // Session message, request, responses, keep-alive.
                    let plausible = matches!(kind, 0 | 0x81..=0x85);
                    if !self.ours && plausible && kind == 0 && self.buffer.len() < 8 {
                        return None;
                    }
                    if !plausible || !self.ours && kind == 0 && !is_smb(self.buffer.get(4..8)) {
                        // Never SMB, from the first byte on; or framing went wrong.
                        if self.ours || self.after_loss || !self.from_start {
                            self.sync = Sync::Lost;
                        } else {
                            self.give_up();
                        }
                        continue;
                    }
                    if self.buffer.len() < length {
                        return None;
                    }
                    let frame = self.buffer.split_to(length).freeze();
                    if kind != 0 {
                        continue;
                    }
                    self.ours = true;
                    self.last = length;
                    let after_loss = std::mem::take(&mut self.after_loss);
                    return Some(Frame {
                        message: frame.slice(4..),
                        after_loss,
                    });
                }
            }
        }
    }

    /// Looks for a frame; drops what is before it.
    fn search(&mut self) -> bool {
        let found = self
            .buffer
            .windows(8)
            .position(|w| matches!(w, [0, _, _, _, magic @ ..] if is_smb(Some(magic))));
        let drop = found.unwrap_or_else(|| self.buffer.len().saturating_sub(7));
        if drop > 0 {
            self.after_loss = true;
        }
        self.searched += drop as u64;
        let _ = self.buffer.split_to(drop);
        if found.is_some() {
            self.sync = Sync::Framed;
            self.searched = 0;
            self.after_loss = true;
            return true;
        }
        if self.searched > GIVE_UP && !self.ours {
            self.give_up();
        }
        false
    }

    fn give_up(&mut self) {
        self.sync = Sync::Foreign;
        self.buffer = BytesMut::new();
        self.held.clear();
        self.held_bytes = 0;
    }
}

/// The first bytes of SMB1, SMB2, transformed and compressed messages.
fn is_smb(magic: Option<&[u8]>) -> bool {
    matches!(magic, Some([0xFC..=0xFF, b'S', b'M', b'B']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(n: u8) -> Vec<u8> {
        let mut m = b"\xFESMB".to_vec();
        m.extend([n; 20]);
        m
    }

    fn framed(n: u8) -> Vec<u8> {
        [&[0, 0, 0, 24][..], &message(n)].concat()
    }

    fn got(flow: &mut Flow) -> Vec<(u8, bool)> {
        std::iter::from_fn(|| flow.frame())
            .map(|f| (f.message[4], f.after_loss))
            .collect()
    }

    #[test]
    fn out_of_order_repeated_and_overlapping() {
        let stream: Vec<u8> = (1..=4).flat_map(framed).collect();
        let mut flow = Flow::new();
        // The sequence number wraps inside.
        let start = u32::MAX - 30;
        flow.syn(start.wrapping_sub(1));
        for (from, to) in [
            (40, 80),
            (0, 30),
            (10, 50),
            (0, 20),
            (70, 112),
            (50, 60),
            (100, 112),
        ] {
            flow.feed(start.wrapping_add(from), &stream[from as usize..to]);
        }
        assert_eq!(
            got(&mut flow),
            [(1, false), (2, false), (3, false), (4, false)]
        );
        assert_eq!(flow.lost, 0);
    }

    #[test]
    fn a_gap_inside_a_frame_costs_that_frame() {
        let stream: Vec<u8> = (1..=4).flat_map(framed).collect();
        let mut flow = Flow::new();
        flow.syn(0);
        flow.feed(1, &stream[..40]);
        flow.feed(1 + 50, &stream[50..]);
        assert_eq!(got(&mut flow), [(1, false)]);
        flow.acknowledged(1 + 45);
        assert!(flow.is_waiting());
        flow.acknowledged(1 + 112);
        assert_eq!(got(&mut flow), [(3, true), (4, false)]);
        assert_eq!(flow.lost, 10);
    }

    #[test]
    fn a_gap_over_several_frames_is_searched_behind() {
        let stream: Vec<u8> = (1..=5).flat_map(framed).collect();
        let mut flow = Flow::new();
        flow.syn(0);
        flow.feed(1, &stream[..40]);
        assert_eq!(got(&mut flow), [(1, false)]);
        flow.feed(1 + 70, &stream[70..]);
        flow.end();
        assert_eq!(got(&mut flow), [(4, true), (5, false)]);
    }

    #[test]
    fn a_start_in_the_middle_is_found() {
        let stream: Vec<u8> = (1..=3).flat_map(framed).collect();
        for cut in 1..28 {
            let mut flow = Flow::new();
            flow.feed(1000, &stream[cut..]);
            assert_eq!(got(&mut flow), [(2, true), (3, false)], "{cut}");
        }
    }

    #[test]
    fn other_protocols_are_given_up() {
        let mut flow = Flow::new();
        flow.syn(0);
        flow.feed(1, b"GET / HTTP/1.1");
        assert_eq!(flow.frame(), None);
        assert!(flow.is_foreign());
        // Without its start it may be in the middle of a message.
        let mut flow = Flow::new();
        let mut at = 1u32;
        let junk = vec![0x55; 60_000];
        while !flow.is_foreign() {
            flow.feed(at, &junk);
            at += 60_000;
            assert_eq!(flow.frame(), None);
            assert!(u64::from(at) < GIVE_UP + 200_000);
        }
        flow.feed(at, &framed(1));
        assert_eq!(flow.frame(), None);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut flow = Flow::new();
        flow.feed(1, &[0x55; 10]);
        for n in 0..200u32 {
            flow.feed(100 + n * 60_000, &[0x55; 59_000]);
            assert!(flow.held_bytes <= MAX_HELD + 60_000);
            assert_eq!(flow.frame(), None);
        }
        assert!(flow.lost > 0);
    }
}
