//! The Countersign binary.
fn main() {}
