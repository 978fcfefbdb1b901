//! Takes directory entries and encodes them straight into the reply.

use std::any::Any;

use countersign_fs::DirEntry;
use countersign_fs::call::DirSink;
use countersign_wire::Writer;
use countersign_wire::fscc::{DirectoryClass, DirectoryEntry, FileAttributes};

use super::attributes;

/// A buffer that entries of one class are written into, behind headroom.
#[derive(Debug)]
pub struct EntrySink {
    class: DirectoryClass,
    headroom: usize,
    max: usize,
    buffer: Vec<u8>,
    last: Option<usize>,
}

impl EntrySink {
    /// A sink for at most `max` bytes of entries behind `headroom` bytes.
    pub fn new(class: DirectoryClass, headroom: usize, max: usize) -> Self {
        let mut buffer = Vec::with_capacity(headroom.saturating_add(max.min(64 << 10)));
        buffer.resize(headroom, 0);
        Self {
            class,
            headroom,
            max,
            buffer,
            last: None,
        }
    }

    /// The buffer with headroom, and the headroom.
    pub fn into_buffer(self) -> (Vec<u8>, usize) {
        (self.buffer, self.headroom)
    }

    /// Bytes of entries so far.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.headroom
    }

    /// Whether no entry was taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl DirSink for EntrySink {
    fn push(&mut self, entry: &DirEntry) -> bool {
        let entry = wire_entry(entry, self.class);
        let start = self.len().next_multiple_of(8);
        let fits = start
            .checked_add(entry.encoded_len(self.class))
            .is_some_and(|end| end <= self.max);
        if !fits {
            return false;
        }
        let mut w = Writer::with_base(&mut self.buffer, self.headroom);
        w.align(8);
        if let Some(last) = self.last {
            w.patch_u32(last, u32::try_from(start - last).unwrap_or(0));
        }
        entry.encode(self.class, &mut w);
        self.last = Some(start);
        true
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

fn wire_entry(entry: &DirEntry, class: DirectoryClass) -> DirectoryEntry {
    let m = &entry.metadata;
    let reparse = m.attributes.contains(FileAttributes::REPARSE_POINT);
    let has_tag = matches!(
        class,
        DirectoryClass::IdExtdDirectory | DirectoryClass::IdExtdBothDirectory
    );
    DirectoryEntry {
        file_index: 0,
        creation: m.times.creation,
        last_access: m.times.last_access,
        last_write: m.times.last_write,
        change: m.times.change,
        end_of_file: m.end_of_file,
        allocation_size: m.allocation_size,
        attributes: attributes(m.attributes),
        // [MS-FSCC] 2.4.8: the tag stands in place of the size for reparse points.
        ea_size: if reparse && !has_tag {
            m.reparse_tag
        } else {
            m.ea_size
        },
        reparse_tag: m.reparse_tag,
        short_name: entry.short_name.clone().unwrap_or_default(),
        file_id: m.key.file,
        name: entry.name.clone(),
    }
}
