//! [MS-FSCC] vocabulary shared by both protocol families.

mod flags;

pub use flags::*;
