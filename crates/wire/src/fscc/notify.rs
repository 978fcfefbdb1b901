//! [MS-FSCC] 2.7.1 FILE_NOTIFY_INFORMATION.

use crate::cursor::{Reader, Result, Writer, utf16_lossy};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyInformation {
    /// Action.
    pub action: u32,
    /// FileName, relative to the watched folder.
    pub name: String,
}

impl NotifyInformation {
    /// Bytes of an entry in front of its name.
    pub const FIXED: usize = 12;

    /// Bytes of the whole list.
    pub fn list_len<'n>(names: impl IntoIterator<Item = &'n str>) -> usize {
        let mut len = 0usize;
        for name in names {
            let own = name
                .encode_utf16()
                .count()
                .saturating_mul(2)
                .saturating_add(Self::FIXED);
            len = len.next_multiple_of(4).saturating_add(own);
        }
        len
    }

    /// Appends a list of action and name, entries at multiples of 4, nothing
    /// behind the last.
    pub fn encode_list<'n>(changes: impl IntoIterator<Item = (u32, &'n str)>, w: &mut Writer<'_>) {
        let mut previous: Option<usize> = None;
        for (action, name) in changes {
            if let Some(start) = previous {
                w.align(4);
                let next = u32::try_from(w.len() - start).unwrap_or(u32::MAX);
                w.patch_u32(start, next);
            }
            let start = w.len();
            previous = Some(start);
            w.u32(0);
            w.u32(action);
            w.u32(0);
            let length = w.utf16(name);
            w.patch_u32(start + 8, u32::try_from(length).unwrap_or(u32::MAX));
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
            let action = r.u32("Action")?;
            let len = usize::try_from(r.u32("FileNameLength")?).unwrap_or(usize::MAX);
            out.push(Self {
                action,
                name: utf16_lossy(r.take(len, "FileName")?),
            });
            match super::following(rest, next, r.position())? {
                Some(behind) => rest = behind,
                None => break,
            }
        }
        Ok(out)
    }
}
