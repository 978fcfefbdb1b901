//! [MS-FSCC] 2.4.49 FileStreamInformation.

use crate::cursor::{Reader, Result, Writer, utf16_lossy};

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInformation {
    /// StreamName, whole: `::$DATA`, `:name:$DATA`.
    pub name: String,
    /// StreamSize.
    pub size: u64,
    /// StreamAllocationSize.
    pub allocation_size: u64,
}

impl StreamInformation {
    /// Bytes of an entry in front of its name.
    pub const FIXED: usize = 24;

    /// Appends the entry with NextEntryOffset 0.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u32(0);
        let at = w.len();
        w.u32(0);
        w.u64(self.size);
        w.u64(self.allocation_size);
        let length = w.utf16(&self.name);
        w.patch_u32(at, u32::try_from(length).unwrap_or(u32::MAX));
    }

    /// Appends a list, entries at multiples of 8, nothing behind the last.
    pub fn encode_list(entries: &[StreamInformation], w: &mut Writer<'_>) {
        let mut previous: Option<usize> = None;
        for entry in entries {
            if let Some(start) = previous {
                w.align(8);
                let next = u32::try_from(w.len() - start).unwrap_or(u32::MAX);
                w.patch_u32(start, next);
            }
            previous = Some(w.len());
            entry.encode(w);
        }
    }

    /// Reads a list; an empty buffer is an empty list.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode_list(buffer: &[u8]) -> Result<Vec<Self>> {
        let mut out = Vec::new();
        let mut rest = buffer;
        while !rest.is_empty() {
            let mut r = Reader::new(rest);
            let next = usize::try_from(r.u32("NextEntryOffset")?).unwrap_or(usize::MAX);
            let len = usize::try_from(r.u32("StreamNameLength")?).unwrap_or(usize::MAX);
            let size = r.u64("StreamSize")?;
            let allocation_size = r.u64("StreamAllocationSize")?;
            let name = utf16_lossy(r.take(len, "StreamName")?);
            out.push(Self {
                name,
                size,
                allocation_size,
            });
            match super::following(rest, next, r.position())? {
                Some(behind) => rest = behind,
                None => break,
            }
        }
        Ok(out)
    }
}
