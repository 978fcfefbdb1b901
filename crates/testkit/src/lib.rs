//! Test support: engines joined in memory, virtual time, captures.
