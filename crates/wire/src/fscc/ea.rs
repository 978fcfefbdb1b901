//! [MS-FSCC] 2.4.16 FileFullEaInformation and the list of names that asks for some.

use crate::cursor::{DecodeError, Reader, Result, Writer};

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullEa<'a> {
    /// Flags: 0x80 = FILE_NEED_EA.
    pub flags: u8,
    /// EaName, without its terminator.
    pub name: &'a [u8],
    /// EaValue; empty removes the attribute when it is set.
    pub value: &'a [u8],
}

impl<'a> FullEa<'a> {
    /// Bytes of the entry, without padding behind it.
    pub fn encoded_len(&self) -> usize {
        self.name
            .len()
            .saturating_add(self.value.len())
            .saturating_add(9)
    }

    /// Appends the entry with NextEntryOffset 0.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u32(0);
        w.u8(self.flags);
        w.u8(u8::try_from(self.name.len()).unwrap_or(u8::MAX));
        w.u16(u16::try_from(self.value.len()).unwrap_or(u16::MAX));
        w.bytes(self.name);
        w.u8(0);
        w.bytes(self.value);
    }

    /// Appends a list, entries at multiples of 4, nothing behind the last.
    pub fn encode_list(entries: &[FullEa<'_>], w: &mut Writer<'_>) {
        let mut previous: Option<usize> = None;
        for entry in entries {
            if let Some(start) = previous {
                w.align(4);
                let next = u32::try_from(w.len() - start).unwrap_or(u32::MAX);
                w.patch_u32(start, next);
            }
            previous = Some(w.len());
            entry.encode(w);
        }
    }

    /// Reads a list.
    ///
    /// # Errors
    /// [`DecodeError`]; offsets that are not multiples of 4 or lead nowhere too.
    pub fn decode_list(list: &'a [u8]) -> Result<Vec<Self>> {
        let mut out = Vec::new();
        let mut rest = list;
        loop {
            let mut r = Reader::new(rest);
            let next = r.u32("NextEntryOffset")?;
            let flags = r.u8("Flags")?;
            let name_len = usize::from(r.u8("EaNameLength")?);
            let value_len = usize::from(r.u16("EaValueLength")?);
            let name = r.take(name_len, "EaName")?;
            r.skip(1, "EaName")?;
            let value = r.take(value_len, "EaValue")?;
            out.push(Self { flags, name, value });
            match follow(rest, next, r.position())? {
                Some(more) => rest = more,
                None => return Ok(out),
            }
        }
    }
}

/// [MS-FSCC] 2.4.16.1 FILE_GET_EA_INFORMATION: the names asked for.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_ea_names(list: &[u8]) -> Result<Vec<&[u8]>> {
    let mut out = Vec::new();
    let mut rest = list;
    loop {
        let mut r = Reader::new(rest);
        let next = r.u32("NextEntryOffset")?;
        let len = usize::from(r.u8("EaNameLength")?);
        out.push(r.take(len, "EaName")?);
        match follow(rest, next, r.position())? {
            Some(more) => rest = more,
            None => return Ok(out),
        }
    }
}

fn follow(rest: &[u8], next: u32, used: usize) -> Result<Option<&[u8]>> {
    if next == 0 {
        return Ok(None);
    }
    let next = usize::try_from(next).unwrap_or(usize::MAX);
    match rest.get(next..) {
        Some(more) if next >= used && next % 4 == 0 && !more.is_empty() => Ok(Some(more)),
        _ => Err(DecodeError::Invalid {
            field: "NextEntryOffset",
            reason: "leads nowhere",
        }),
    }
}
