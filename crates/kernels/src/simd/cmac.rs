//! AES-128-CMAC in eight lanes of AES-NI.

use core::arch::x86_64::{
    __m128i, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_aeskeygenassist_si128, _mm_loadu_si128,
    _mm_shuffle_epi32, _mm_slli_si128, _mm_storeu_si128, _mm_xor_si128,
};

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::SHORT;
use super::lanes::{Lanes, Runs, drive};
use crate::{CmacJob, Tag};

const LANES: usize = 8;
const ROUND_KEYS: usize = 11;

/// The round keys of an AES-128 key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Schedule([[u8; 16]; ROUND_KEYS]);

impl Schedule {
    /// Expands a key. Only where [`super::available`] says so.
    pub(crate) fn new(key: &[u8; 16]) -> Self {
        // SAFETY: the caller checked that the machine has AES-NI.
        unsafe { expand(key) }
    }
}

#[target_feature(enable = "aes,sse4.1")]
fn expand(key: &[u8; 16]) -> Schedule {
    let mut keys = [[0; 16]; ROUND_KEYS];
    let mut now = load(key);
    macro_rules! rounds {
        ($($n:literal $constant:literal),*) => {
            store(&mut keys[0], now);
            $(
                let word = _mm_shuffle_epi32::<0xFF>(_mm_aeskeygenassist_si128::<$constant>(now));
                now = _mm_xor_si128(now, _mm_slli_si128::<4>(now));
                now = _mm_xor_si128(now, _mm_slli_si128::<8>(now));
                now = _mm_xor_si128(now, word);
                store(&mut keys[$n], now);
            )*
        };
    }
    rounds!(1 0x01, 2 0x02, 3 0x04, 4 0x08, 5 0x10, 6 0x20, 7 0x40, 8 0x80, 9 0x1b, 10 0x36);
    Schedule(keys)
}

#[target_feature(enable = "sse4.1")]
#[inline]
fn load(block: &[u8; 16]) -> __m128i {
    // SAFETY: the reference is to 16 bytes; the load needs no alignment.
    unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
}

#[target_feature(enable = "sse4.1")]
#[inline]
fn store(block: &mut [u8; 16], value: __m128i) {
    // SAFETY: the reference is to 16 bytes; the store needs no alignment.
    unsafe { _mm_storeu_si128(block.as_mut_ptr().cast(), value) };
}

/// The last block of a message, ready to be taken in.
type Last = [[u8; 16]; 1];

/// Tags of all jobs whose pieces end at block boundaries and that are worth it;
/// the places of the others are given back.
pub(crate) fn batch(jobs: &[CmacJob<'_>], tags: &mut [Tag]) -> Vec<usize> {
    let mut others = Vec::new();
    let mut places = Vec::with_capacity(jobs.len());
    let mut lasts: Vec<Last> = Vec::with_capacity(jobs.len());
    for (place, job) in jobs.iter().enumerate() {
        let message = &job.message;
        let aligned = message.head.len() % 16 == 0 && message.field.len() % 16 == 0;
        if !aligned || message.tail.len() < SHORT || job.key.schedule.is_none() {
            others.push(place);
            continue;
        }
        let (_, rest) = message.tail.split_at(whole(message.tail) * 16);
        let (mut last, key) = (
            [0x80; 16],
            if rest.len() == 16 {
                &job.key.whole
            } else {
                &job.key.padded
            },
        );
        for (i, (byte, key)) in last.iter_mut().zip(key).enumerate() {
            *byte = key
                ^ rest
                    .get(i)
                    .copied()
                    .unwrap_or(if i == rest.len() { 0x80 } else { 0 });
        }
        places.push(place);
        lasts.push([last]);
    }
    let messages = places.iter().zip(&lasts).filter_map(|(place, last)| {
        let message = &jobs.get(*place)?.message;
        let tail = message.tail.as_chunks().0.split_at(whole(message.tail)).0;
        let runs: Runs<'_, 16> = [
            message.head.as_chunks().0,
            message.field.as_chunks().0,
            tail,
            last,
        ];
        Some(runs)
    });
    let mut lanes = CmacLanes {
        jobs,
        places: &places,
        tags,
        keys: [[[0; 16]; LANES]; ROUND_KEYS],
        chains: [[0; 16]; LANES],
    };
    drive(messages, &mut lanes);
    lanes.keys.zeroize();
    lanes.chains.zeroize();
    lasts.zeroize();
    others
}

/// Whole blocks before the last one.
fn whole(tail: &[u8]) -> usize {
    tail.len().saturating_sub(1) / 16
}

struct CmacLanes<'a> {
    jobs: &'a [CmacJob<'a>],
    places: &'a [usize],
    tags: &'a mut [Tag],
    /// Round keys, those of one round side by side.
    keys: [[[u8; 16]; LANES]; ROUND_KEYS],
    chains: [[u8; 16]; LANES],
}

impl Lanes<LANES, 16> for CmacLanes<'_> {
    fn begin(&mut self, lane: usize, job: usize) {
        let schedule = self
            .places
            .get(job)
            .and_then(|place| self.jobs.get(*place))
            .and_then(|job| job.key.schedule.as_ref());
        if let Some(schedule) = schedule {
            for (round, key) in self.keys.iter_mut().zip(&schedule.0) {
                if let Some(slot) = round.get_mut(lane) {
                    *slot = *key;
                }
            }
        }
        if let Some(chain) = self.chains.get_mut(lane) {
            *chain = [0; 16];
        }
    }

    fn advance(&mut self, blocks: &[&[[u8; 16]]; LANES]) {
        // SAFETY: a schedule exists only where the machine has AES-NI, and jobs
        // without one are not in lanes.
        unsafe { advance(&self.keys, &mut self.chains, blocks) };
    }

    fn end(&mut self, lane: usize, job: usize) {
        let tag = self
            .places
            .get(job)
            .and_then(|place| self.tags.get_mut(*place));
        if let (Some(tag), Some(chain)) = (tag, self.chains.get(lane)) {
            *tag = *chain;
        }
    }
}

#[target_feature(enable = "aes,sse4.1")]
fn advance(
    keys: &[[[u8; 16]; LANES]; ROUND_KEYS],
    chains: &mut [[u8; 16]; LANES],
    blocks: &[&[[u8; 16]]; LANES],
) {
    let count = blocks.iter().map(|run| run.len()).min().unwrap_or(0);
    let [first, middle @ .., last] = keys;
    let mut state = [load(&[0; 16]); LANES];
    for (state, chain) in state.iter_mut().zip(chains.iter()) {
        *state = load(chain);
    }
    for i in 0..count {
        for lane in 0..LANES {
            // SAFETY: `i` is below the length of every run.
            let block = load(unsafe { blocks[lane].get_unchecked(i) });
            state[lane] = _mm_xor_si128(state[lane], _mm_xor_si128(block, load(&first[lane])));
        }
        for round in middle {
            for lane in 0..LANES {
                state[lane] = _mm_aesenc_si128(state[lane], load(&round[lane]));
            }
        }
        for lane in 0..LANES {
            state[lane] = _mm_aesenclast_si128(state[lane], load(&last[lane]));
        }
    }
    for (state, chain) in state.iter().zip(chains) {
        store(chain, *state);
    }
}
