//! MD5 in eight or sixteen lanes of AVX2.

use core::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_loadu_si256, _mm256_or_si256,
    _mm256_permute2x128_si256, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_slli_epi32,
    _mm256_srli_epi32, _mm256_storeu_si256, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64,
    _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm256_xor_si256,
};

use super::SHORT;
use super::lanes::{Lanes, Runs, drive};
use crate::scalar::MD5_SINES;
use crate::{Md5Job, Tag};

/// Lanes of one register.
const WIDTH: usize = 8;
/// Longest beginning (key, head and field) that is put together in a buffer,
/// a whole number of blocks.
const MAX_BEGINNING: usize = 128;

/// The blocks of a message that do not lie in one piece somewhere.
struct Edges {
    first: [[u8; 64]; MAX_BEGINNING / 64],
    first_blocks: usize,
    /// Bytes of the tail that are in `first`.
    taken: usize,
    last: [[u8; 64]; 2],
    last_blocks: usize,
}

/// Tags of all jobs that are worth it and have no long beginning; the places of
/// the others are given back. Only where [`super::available`] says so.
pub(crate) fn batch(jobs: &[Md5Job<'_>], tags: &mut [Tag]) -> Vec<usize> {
    let mut others = Vec::new();
    let mut places = Vec::with_capacity(jobs.len());
    let mut edges: Vec<Edges> = Vec::with_capacity(jobs.len());
    for (place, job) in jobs.iter().enumerate() {
        match edges_of(job) {
            Some(of_job) => {
                places.push(place);
                edges.push(of_job);
            }
            None => others.push(place),
        }
    }
    let messages = places.iter().zip(&edges).filter_map(|(place, edges)| {
        let tail = jobs.get(*place)?.message.tail.get(edges.taken..)?;
        let runs: Runs<'_, 64> = [
            edges.first.get(..edges.first_blocks)?,
            tail.as_chunks().0,
            edges.last.get(..edges.last_blocks)?,
            &[],
        ];
        Some(runs)
    });
    if jobs.len() <= WIDTH {
        let mut lanes = Md5Lanes::<1> {
            jobs,
            places: &places,
            tags,
            state: [[[0; WIDTH]; 1]; 4],
        };
        drive::<WIDTH, 64>(messages, &mut lanes);
    } else {
        let mut lanes = Md5Lanes::<2> {
            jobs,
            places: &places,
            tags,
            state: [[[0; WIDTH]; 2]; 4],
        };
        drive::<{ 2 * WIDTH }, 64>(messages, &mut lanes);
    }
    others
}

fn edges_of(job: &Md5Job<'_>) -> Option<Edges> {
    let state = &job.key.state;
    let read = (u64::from(state.Nh) << 32 | u64::from(state.Nl)) / 8;
    let buffered = state.data.get(..usize::try_from(read % 64).ok()?)?;
    let message = &job.message;
    let beginning = buffered.len() + message.head.len() + message.field.len();
    if beginning > MAX_BEGINNING || message.tail.len() < SHORT {
        return None;
    }
    let length = message.pieces().iter().try_fold(read, |sum, piece| {
        sum.checked_add(u64::try_from(piece.len()).ok()?)
    })?;
    let end = length.wrapping_mul(8).to_le_bytes();
    let mut edges = Edges {
        first: [[0; 64]; MAX_BEGINNING / 64],
        first_blocks: 0,
        taken: (64 - beginning % 64) % 64,
        last: [[0; 64]; 2],
        last_blocks: 0,
    };
    // The tail is longer than any of these: `SHORT` exceeds a block.
    let (fill, rest) = message.tail.split_at_checked(edges.taken)?;
    let bytes = [buffered, message.head, message.field, fill]
        .into_iter()
        .flatten();
    for (to, from) in edges.first.as_flattened_mut().iter_mut().zip(bytes) {
        *to = *from;
    }
    edges.first_blocks = (beginning + edges.taken) / 64;
    let (_, left) = rest.as_chunks::<64>();
    for (to, from) in edges.last.as_flattened_mut().iter_mut().zip(left) {
        *to = *from;
    }
    edges.last_blocks = pad(edges.last.as_flattened_mut(), left.len(), end)?;
    Some(edges)
}

/// [RFC 1321] 3.1 and 3.2 after the first `filled` bytes; gives the blocks.
fn pad(buffer: &mut [u8], filled: usize, end: [u8; 8]) -> Option<usize> {
    let blocks = (filled + 9).div_ceil(64);
    *buffer.get_mut(filled)? = 0x80;
    buffer
        .get_mut(blocks * 64 - 8..blocks * 64)?
        .copy_from_slice(&end);
    Some(blocks)
}

struct Md5Lanes<'a, const G: usize> {
    jobs: &'a [Md5Job<'a>],
    places: &'a [usize],
    tags: &'a mut [Tag],
    state: [[[u32; WIDTH]; G]; 4],
}

impl<const G: usize> Md5Lanes<'_, G> {
    fn begin_lane(&mut self, lane: usize, job: usize) {
        let Some(job) = self.places.get(job).and_then(|place| self.jobs.get(*place)) else {
            return;
        };
        for (words, value) in self.state.iter_mut().zip(job.key.state.h) {
            if let Some(word) = words.as_flattened_mut().get_mut(lane) {
                *word = value;
            }
        }
    }

    fn end_lane(&mut self, lane: usize, job: usize) {
        let Some(tag) = self
            .places
            .get(job)
            .and_then(|place| self.tags.get_mut(*place))
        else {
            return;
        };
        for (to, words) in tag.as_chunks_mut::<4>().0.iter_mut().zip(&self.state) {
            if let Some(word) = words.as_flattened().get(lane) {
                *to = word.to_le_bytes();
            }
        }
    }
}

macro_rules! lanes {
    ($groups:literal, $lanes:expr) => {
        impl Lanes<{ $lanes }, 64> for Md5Lanes<'_, $groups> {
            fn begin(&mut self, lane: usize, job: usize) {
                self.begin_lane(lane, job);
            }
            fn advance(&mut self, blocks: &[&[[u8; 64]]; $lanes]) {
                // SAFETY: the caller of `batch` checked that the machine has AVX2.
                unsafe { advance::<$groups>(&mut self.state, blocks.as_chunks().0) };
            }
            fn end(&mut self, lane: usize, job: usize) {
                self.end_lane(lane, job);
            }
        }
    };
}
lanes!(1, WIDTH);
lanes!(2, 2 * WIDTH);

/// One value of a lane, for each group.
type Row<const G: usize> = [__m256i; G];

#[target_feature(enable = "avx2")]
fn advance<const G: usize>(state: &mut [[[u32; WIDTH]; G]; 4], runs: &[[&[[u8; 64]]; WIDTH]]) {
    let count = runs
        .iter()
        .flatten()
        .map(|run| run.len())
        .min()
        .unwrap_or(0);
    let mut h = [[_mm256_setzero_si256(); G]; 4];
    for (h, words) in h.as_flattened_mut().iter_mut().zip(state.as_flattened()) {
        // SAFETY: a row has eight words of 4 bytes; no alignment is needed.
        *h = unsafe { _mm256_loadu_si256(words.as_ptr().cast()) };
    }
    let mut words = [[_mm256_setzero_si256(); G]; 16];
    for i in 0..count {
        for (group, runs) in runs.iter().enumerate().take(G) {
            for half in 0..2 {
                let mut rows = [_mm256_setzero_si256(); WIDTH];
                for (row, run) in rows.iter_mut().zip(runs) {
                    // SAFETY: `i` is below the length of every run, and either half
                    // of a block has 32 bytes; no alignment is needed.
                    *row = unsafe {
                        let block = run.get_unchecked(i).as_ptr().add(32 * half);
                        _mm256_loadu_si256(block.cast())
                    };
                }
                for (n, row) in transpose(rows).into_iter().enumerate() {
                    words[half * 8 + n][group] = row;
                }
            }
        }
        compress(&mut h, &words);
    }
    for (h, words) in h.as_flattened().iter().zip(state.as_flattened_mut()) {
        // SAFETY: a row has eight words of 4 bytes; no alignment is needed.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), *h) };
    }
}

/// Eight rows of eight words become eight columns.
#[target_feature(enable = "avx2")]
#[inline]
fn transpose(rows: [__m256i; 8]) -> [__m256i; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    let pairs = |x, y, z, w| {
        let (low, high) = (_mm256_unpacklo_epi32(x, y), _mm256_unpackhi_epi32(x, y));
        let (low2, high2) = (_mm256_unpacklo_epi32(z, w), _mm256_unpackhi_epi32(z, w));
        [
            _mm256_unpacklo_epi64(low, low2),
            _mm256_unpackhi_epi64(low, low2),
            _mm256_unpacklo_epi64(high, high2),
            _mm256_unpackhi_epi64(high, high2),
        ]
    };
    let [p, q, r, s] = pairs(a, b, c, d);
    let [t, u, v, w] = pairs(e, f, g, h);
    [
        _mm256_permute2x128_si256::<0x20>(p, t),
        _mm256_permute2x128_si256::<0x20>(q, u),
        _mm256_permute2x128_si256::<0x20>(r, v),
        _mm256_permute2x128_si256::<0x20>(s, w),
        _mm256_permute2x128_si256::<0x31>(p, t),
        _mm256_permute2x128_si256::<0x31>(q, u),
        _mm256_permute2x128_si256::<0x31>(r, v),
        _mm256_permute2x128_si256::<0x31>(s, w),
    ]
}

/// [RFC 1321] 3.4, the function of the first round.
#[target_feature(enable = "avx2")]
#[inline]
fn f(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
    _mm256_xor_si256(z, _mm256_and_si256(x, _mm256_xor_si256(y, z)))
}

/// Of the second.
#[target_feature(enable = "avx2")]
#[inline]
fn g(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
    _mm256_xor_si256(y, _mm256_and_si256(z, _mm256_xor_si256(x, y)))
}

/// Of the third.
#[target_feature(enable = "avx2")]
#[inline]
fn h(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
    _mm256_xor_si256(x, _mm256_xor_si256(y, z))
}

/// Of the fourth.
#[target_feature(enable = "avx2")]
#[inline]
fn k(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
    _mm256_xor_si256(
        y,
        _mm256_or_si256(x, _mm256_xor_si256(z, _mm256_set1_epi32(-1))),
    )
}

/// [RFC 1321] 3.4, all lanes at once.
#[target_feature(enable = "avx2")]
#[inline]
fn compress<const G: usize>(state: &mut [Row<G>; 4], words: &[Row<G>; 16]) {
    let [mut a, mut b, mut c, mut d] = *state;
    macro_rules! step {
        ($f:ident $a:ident $b:ident $c:ident $d:ident $i:expr, $x:expr, $s:literal) => {
            for group in 0..G {
                let constant = _mm256_set1_epi32(MD5_SINES[$i].cast_signed());
                let sum = _mm256_add_epi32(
                    _mm256_add_epi32($a[group], _mm256_add_epi32(words[$x][group], constant)),
                    $f($b[group], $c[group], $d[group]),
                );
                let turned = _mm256_or_si256(
                    _mm256_slli_epi32::<$s>(sum),
                    _mm256_srli_epi32::<{ 32 - $s }>(sum),
                );
                $a[group] = _mm256_add_epi32($b[group], turned);
            }
        };
    }
    macro_rules! four {
        (f $i:literal: $p:literal $q:literal $r:literal $s:literal) => {
            step!(f a b c d $i, $p, 7);
            step!(f d a b c $i + 1, $q, 12);
            step!(f c d a b $i + 2, $r, 17);
            step!(f b c d a $i + 3, $s, 22);
        };
        (g $i:literal: $p:literal $q:literal $r:literal $s:literal) => {
            step!(g a b c d $i, $p, 5);
            step!(g d a b c $i + 1, $q, 9);
            step!(g c d a b $i + 2, $r, 14);
            step!(g b c d a $i + 3, $s, 20);
        };
        (h $i:literal: $p:literal $q:literal $r:literal $s:literal) => {
            step!(h a b c d $i, $p, 4);
            step!(h d a b c $i + 1, $q, 11);
            step!(h c d a b $i + 2, $r, 16);
            step!(h b c d a $i + 3, $s, 23);
        };
        (k $i:literal: $p:literal $q:literal $r:literal $s:literal) => {
            step!(k a b c d $i, $p, 6);
            step!(k d a b c $i + 1, $q, 10);
            step!(k c d a b $i + 2, $r, 15);
            step!(k b c d a $i + 3, $s, 21);
        };
    }
    four!(f 0: 0 1 2 3);
    four!(f 4: 4 5 6 7);
    four!(f 8: 8 9 10 11);
    four!(f 12: 12 13 14 15);
    four!(g 16: 1 6 11 0);
    four!(g 20: 5 10 15 4);
    four!(g 24: 9 14 3 8);
    four!(g 28: 13 2 7 12);
    four!(h 32: 5 8 11 14);
    four!(h 36: 1 4 7 10);
    four!(h 40: 13 0 3 6);
    four!(h 44: 9 12 15 2);
    four!(k 48: 0 7 14 5);
    four!(k 52: 12 3 10 1);
    four!(k 56: 8 15 6 13);
    four!(k 60: 4 11 2 9);
    for (row, new) in state.iter_mut().zip([a, b, c, d]) {
        for (value, new) in row.iter_mut().zip(new) {
            *value = _mm256_add_epi32(*value, new);
        }
    }
}
