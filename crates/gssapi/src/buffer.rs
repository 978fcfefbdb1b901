//! Buffers of ours the library reads, and buffers of the library's that we read.

use core::ptr;

use zeroize::{Zeroize, Zeroizing};

use crate::library::Library;
use crate::sys::{BufferDesc, BufferSet};

/// Bytes for the library to read. It is given a copy: MIT opens wrapped messages
/// in place, whatever RFC 2744 says of inputs. The copy is wiped.
pub(crate) struct Input {
    bytes: Zeroizing<Vec<u8>>,
    raw: BufferDesc,
}

impl Input {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: Zeroizing::new(bytes.to_vec()),
            raw: BufferDesc {
                length: 0,
                value: ptr::null_mut(),
            },
        }
    }

    /// For a call that does not keep the pointer.
    pub(crate) fn as_mut(&mut self) -> &mut BufferDesc {
        self.raw = BufferDesc {
            length: self.bytes.len(),
            value: self.bytes.as_mut_ptr().cast(),
        };
        &mut self.raw
    }
}

/// A buffer the library fills.
pub(crate) struct Output {
    library: &'static Library,
    raw: BufferDesc,
}

impl Output {
    pub(crate) fn new(library: &'static Library) -> Self {
        Self {
            library,
            raw: BufferDesc {
                length: 0,
                value: ptr::null_mut(),
            },
        }
    }

    /// For the library to fill, once.
    pub(crate) fn as_mut(&mut self) -> &mut BufferDesc {
        &mut self.raw
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        if self.raw.value.is_null() {
            return &[];
        }
        // SAFETY: the library allocated `length` bytes at `value`; they live until this
        // value is dropped and nobody writes to them.
        unsafe { core::slice::from_raw_parts(self.raw.value.cast(), self.raw.length) }
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.bytes().to_vec()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: the buffer is empty or was allocated by this library, and is released once.
        unsafe { (self.library.functions.gss_release_buffer)(&raw mut minor, &raw mut self.raw) };
    }
}

/// A set of buffers the library makes.
pub(crate) struct OutputSet {
    library: &'static Library,
    raw: BufferSet,
}

impl OutputSet {
    pub(crate) fn new(library: &'static Library) -> Self {
        Self {
            library,
            raw: ptr::null_mut(),
        }
    }

    /// For the library to fill, once.
    pub(crate) fn as_mut(&mut self) -> &mut BufferSet {
        &mut self.raw
    }

    /// Takes the first buffer's bytes, and wipes them where they were.
    pub(crate) fn take_first(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        // SAFETY: the set is null or was made by the library and lives until the drop.
        let set = unsafe { self.raw.as_mut() }?;
        if set.count == 0 || set.elements.is_null() {
            return None;
        }
        // SAFETY: `elements` has `count` elements, at least one, that only we look at.
        let first = unsafe { &mut *set.elements };
        if first.value.is_null() {
            return None;
        }
        // SAFETY: the library allocated `length` bytes at `value`; only we look at them.
        let bytes =
            unsafe { core::slice::from_raw_parts_mut(first.value.cast::<u8>(), first.length) };
        let copy = Zeroizing::new(bytes.to_vec());
        bytes.zeroize();
        Some(copy)
    }
}

impl Drop for OutputSet {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: the set is null or was made by this library, and is released once.
        unsafe {
            (self.library.functions.gss_release_buffer_set)(&raw mut minor, &raw mut self.raw)
        };
    }
}
