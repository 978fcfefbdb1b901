//! The audit database: what every peer could and did do, reports over it, and
//! what a change of policy would mean for the peers that were seen.
#![forbid(unsafe_code)]
