//! Loading the library, once in a process.

use core::ffi::{CStr, c_void};
use std::sync::OnceLock;

use crate::sys::Functions;

/// The file the loader is asked for.
const FILE: &CStr = c"libgssapi_krb5.so.2";

/// MIT's GSSAPI, loaded. It stays loaded as long as the process lives.
pub struct Library {
    pub(crate) functions: Functions,
}

/// Why the library cannot be used, and what to install.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Kerberos needs MIT's libraries libgssapi_krb5.so.2 and libkrb5.so.3, which cannot be used ({reason}); install them: \
     package libgssapi-krb5-2 on Debian and Ubuntu, krb5-libs on Fedora, RHEL and Alpine, krb5 on Arch and openSUSE"
)]
pub struct Missing {
    reason: String,
}

impl core::fmt::Debug for Library {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Library(libgssapi_krb5.so.2)")
    }
}

impl Library {
    /// Loads the library, or answers what the first try of this process came to.
    ///
    /// # Errors
    /// When it is not installed, or is not MIT's of version 1.11 or later.
    pub fn load() -> Result<&'static Self, Missing> {
        static LIBRARY: OnceLock<Result<Library, Missing>> = OnceLock::new();
        LIBRARY
            .get_or_init(|| Self::open(FILE))
            .as_ref()
            .map_err(Missing::clone)
    }

    fn open(file: &CStr) -> Result<Self, Missing> {
        let functions = open(file, |symbol| Functions::find(symbol))?;
        Ok(Self { functions })
    }
}

/// Loads a library for good and finds its functions.
pub(crate) fn open<T>(
    file: &CStr,
    find: impl FnOnce(&dyn Fn(&'static CStr) -> *mut c_void) -> Result<T, &'static str>,
) -> Result<T, Missing> {
    // SAFETY: the name is a terminated string. The initialisers of the libraries are MIT's own
    // and need nothing of the process.
    let handle = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if handle.is_null() {
        return Err(Missing {
            reason: last_error(),
        });
    }
    find(&|name| {
        // SAFETY: the handle was just opened and is never closed; the name is terminated.
        unsafe { libc::dlsym(handle, name.as_ptr()) }
    })
    .map_err(|name| Missing {
        reason: format!("the installed version has no {name}"),
    })
}

fn last_error() -> String {
    // SAFETY: dlerror takes nothing; its answer is this thread's own.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "no reason given".to_owned();
    }
    // SAFETY: a non-null answer is a terminated string, valid until this thread's next call
    // of the loader; it is copied before.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_says_what_to_install() {
        let missing = Library::open(c"libgssapi_nowhere.so.9").unwrap_err();
        let text = missing.to_string();
        assert!(text.contains("libgssapi_nowhere.so.9"), "{text}");
        assert!(text.contains("libgssapi-krb5-2 on Debian"), "{text}");
    }

    #[test]
    fn another_library_is_refused_by_its_missing_function() {
        let text = Library::open(c"libc.so.6").unwrap_err().to_string();
        assert!(text.contains("has no gss_import_name"), "{text}");
    }
}
