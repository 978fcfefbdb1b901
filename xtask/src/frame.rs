//! Bytes of a frame, for whoever alters one on its way.

/// Text as SMB2 sends it.
pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Where some bytes stand in a frame.
pub(crate) fn find(frame: &[u8], what: &[u8]) -> Option<usize> {
    frame.windows(what.len()).position(|w| w == what)
}

/// Puts bytes where others of the same length stand; whether they were there.
pub(crate) fn replace(frame: &mut [u8], old: &[u8], new: &[u8]) -> bool {
    match find(frame, old).and_then(|at| frame.get_mut(at..at + new.len())) {
        Some(slot) => {
            slot.copy_from_slice(new);
            true
        }
        None => false,
    }
}

/// Overwrites bytes, where the frame is long enough.
pub(crate) fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = frame.get_mut(at..at + bytes.len()) {
        slot.copy_from_slice(bytes);
    }
}

/// A byte, or 0 behind the end.
pub(crate) fn byte(frame: &[u8], at: usize) -> u8 {
    frame.get(at).copied().unwrap_or(0)
}
