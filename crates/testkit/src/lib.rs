//! Test support: captures, fuzzing oracles, engines joined in memory.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test support fails loudly"
)]

pub mod duo;
pub mod fuzz;
pub mod fuzz_client;
pub mod fuzz_engine;
pub mod fuzz_pipes;
pub mod fuzz_smb1_client;
pub mod fuzz_templates;
pub mod fuzz_verifier;
pub mod memory;
pub mod pcapng;
pub mod smb1;
pub mod smb2;
pub mod wire;
