//! Keeps lanes full: each lane works on one message, and takes the next message
//! of the batch when it is done with its own.

/// Most blocks done between two looks at the lanes; what idle lanes read.
const STRIDE: usize = 32;

/// The blocks of one message, in up to four runs one after the other.
pub(super) type Runs<'a, const B: usize> = [&'a [[u8; B]]; 4];

/// The state of all lanes.
pub(super) trait Lanes<const L: usize, const B: usize> {
    /// Lane `lane` begins with message `job` of the batch.
    fn begin(&mut self, lane: usize, job: usize);
    /// Every lane takes in its blocks; all slices have the same length.
    fn advance(&mut self, blocks: &[&[[u8; B]]; L]);
    /// Lane `lane` has taken in all of message `job`.
    fn end(&mut self, lane: usize, job: usize);
}

/// What a lane works on.
#[derive(Clone, Copy)]
struct Work<'a, const B: usize> {
    job: usize,
    now: &'a [[u8; B]],
    later: [&'a [[u8; B]]; 3],
}

/// Runs all messages of a batch through the lanes.
pub(super) fn drive<'a, const L: usize, const B: usize>(
    messages: impl IntoIterator<Item = Runs<'a, B>>,
    lanes: &mut impl Lanes<L, B>,
) {
    let idle = [[0_u8; B]; STRIDE];
    let mut messages = messages.into_iter().enumerate();
    let mut work: [Option<Work<'a, B>>; L] = [None; L];
    loop {
        let mut together = usize::MAX;
        for (lane, slot) in work.iter_mut().enumerate() {
            loop {
                match slot {
                    Some(work) if !work.now.is_empty() => break,
                    Some(work) if work.later.iter().any(|run| !run.is_empty()) => {
                        let [a, b, c] = work.later;
                        work.now = a;
                        work.later = [b, c, &[]];
                    }
                    Some(work) => {
                        lanes.end(lane, work.job);
                        *slot = None;
                    }
                    None => {
                        let Some((job, [now, later @ ..])) = messages.next() else {
                            break;
                        };
                        lanes.begin(lane, job);
                        *slot = Some(Work { job, now, later });
                    }
                }
            }
            if let Some(work) = slot {
                together = together.min(work.now.len());
            }
        }
        if together == usize::MAX {
            return;
        }
        let together = together.min(STRIDE);
        let blocks: [&[[u8; B]]; L] = work.each_mut().map(|slot| match slot {
            Some(work) => {
                let (now, rest) = work.now.split_at(together);
                work.now = rest;
                now
            }
            None => idle.split_at(together).0,
        });
        lanes.advance(&blocks);
    }
}
