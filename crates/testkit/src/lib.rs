//! Test support: captures, fuzzing oracles, engines joined in memory.
#![forbid(unsafe_code)]

pub mod pcapng;
