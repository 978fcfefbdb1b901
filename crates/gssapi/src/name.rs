//! Principal names.

use core::ptr;

use crate::buffer::{Input, Output};
use crate::error::{ERRORS, Error};
use crate::library::Library;
use crate::sys;

/// A name of the library's.
pub(crate) struct Name {
    library: &'static Library,
    pub(crate) raw: sys::Name,
}

impl Name {
    /// A name that is still to be filled by the library.
    pub(crate) fn empty(library: &'static Library) -> Self {
        Self {
            library,
            raw: ptr::null_mut(),
        }
    }

    /// A principal, `primary/instance@REALM`.
    pub(crate) fn principal(library: &'static Library, text: &str) -> Result<Self, Error> {
        let mut name = Self::empty(library);
        let mut kind = sys::oid(sys::NT_PRINCIPAL);
        let mut text = Input::new(text.as_bytes());
        let mut minor = 0;
        // SAFETY: the OID is live and only read, the text is a copy; the name is ours and empty.
        let major = unsafe {
            (library.functions.gss_import_name)(
                &raw mut minor,
                text.as_mut(),
                &raw mut kind,
                &raw mut name.raw,
            )
        };
        if major & ERRORS != 0 {
            return Err(Error::of(
                library,
                "reading a principal's name",
                major,
                minor,
            ));
        }
        Ok(name)
    }

    pub(crate) fn text(&self) -> Result<String, Error> {
        let mut out = Output::new(self.library);
        let mut minor = 0;
        // SAFETY: the name is a name of this library, not null (see the callers); the
        // buffer is empty; no OID is asked for.
        let major = unsafe {
            (self.library.functions.gss_display_name)(
                &raw mut minor,
                self.raw,
                out.as_mut(),
                ptr::null_mut(),
            )
        };
        if major & ERRORS != 0 {
            return Err(Error::of(self.library, "writing a name", major, minor));
        }
        Ok(out.text())
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.raw.is_null() {
            return;
        }
        let mut minor = 0;
        // SAFETY: the name is this library's and released once.
        unsafe { (self.library.functions.gss_release_name)(&raw mut minor, &raw mut self.raw) };
    }
}

// SAFETY: a name is an allocation of its own that no thread owns; access is by `&mut`
// or by functions that only read it.
unsafe impl Send for Name {}
