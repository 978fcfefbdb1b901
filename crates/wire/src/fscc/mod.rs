//! [MS-FSCC] vocabulary and structures shared by both protocol families.

mod class;
mod directory;
mod ea;
mod file_info;
mod filesystem;
mod fixed;
mod flags;
mod notify;
mod reparse;
mod set_info;
mod stream;

pub use class::*;
pub use directory::*;
pub use ea::*;
pub use file_info::*;
pub use filesystem::*;
pub use flags::*;
pub use notify::*;
pub use reparse::*;
pub use set_info::*;
pub use stream::*;
