//! SMB1 messages: [MS-CIFS] and [MS-SMB].
//!
//! A message is a [`Header`] and one or more [`Block`]s of parameter words and
//! data bytes. Decoders take a block; encoders give words and bytes. Offsets
//! count from the first byte of the header.

pub mod block;
pub mod code_page;
mod command;
pub mod dos_error;
pub mod echo;
pub mod files;
pub mod header;
pub mod info;
pub mod negotiate;
pub mod open;
pub mod paths;
pub mod search;
pub mod session_setup_andx;
pub mod text;
pub mod time;
pub mod trans2;
pub mod transaction;
pub mod tree;
pub mod words;

pub use block::{Block, Chain, MessageWriter};
pub use code_page::CodePage;
pub use command::Command;
pub use dos_error::DosError;
pub use header::{Flags, Flags2, HEADER, Header, PROTOCOL, SIGNATURE, SIGNATURE_PLACEHOLDER};
pub use negotiate::{Capabilities, SecurityMode};
pub use text::Text;
pub use time::{DosTime, TimeZone};
