//! Information classes ([MS-FSCC] 2.4 and 2.5) made of the file service's
//! facts, for both front ends.
//!
//! A query goes: [`file_source`] says which call the class needs, [`file()`],
//! `streams`, `names`, `eas` or [`volume()`] make the bytes, and [`Info::fit`]
//! applies the rule about buffers that are too small. A set goes: `set`
//! decodes to the [`FsCall`](countersign_fs::FsCall) to make.

mod directory;
mod file;
mod set;
mod volume;

pub use directory::EntrySink;
pub use file::{FileFacts, FileSource, eas, file, file_source, name, needed_right, streams};
pub use set::{SetContext, full_eas, set};
pub use volume::{device, volume};

use countersign_wire::NtStatus;
use countersign_wire::fscc::FileAttributes;

/// Information as it goes on the wire, and how much of it must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The bytes.
    pub data: Vec<u8>,
    /// Size of the structure without its variable part (as compilers lay it
    /// out, one element of the variable part included): less is
    /// STATUS_INFO_LENGTH_MISMATCH.
    pub least: usize,
}

impl Info {
    /// What answers a request with room for `max` bytes: all, or what fits with
    /// STATUS_BUFFER_OVERFLOW.
    ///
    /// # Errors
    /// STATUS_INFO_LENGTH_MISMATCH when not even the fixed part fits.
    pub fn fit(mut self, max: usize) -> Result<(NtStatus, Vec<u8>), NtStatus> {
        if max < self.least {
            return Err(NtStatus::INFO_LENGTH_MISMATCH);
        }
        if self.data.len() > max {
            self.data.truncate(max);
            return Ok((NtStatus::BUFFER_OVERFLOW, self.data));
        }
        Ok((NtStatus::SUCCESS, self.data))
    }
}

/// Attributes as they go on the wire: NORMAL stands for none.
pub fn attributes(attributes: FileAttributes) -> FileAttributes {
    if attributes.is_empty() {
        FileAttributes::NORMAL
    } else {
        attributes
    }
}

#[cfg(test)]
mod tests;
