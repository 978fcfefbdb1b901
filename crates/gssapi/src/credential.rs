//! Credentials: tickets, keytabs, passwords.

use core::ptr;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::buffer::Input;
use crate::error::{ERRORS, Error};
use crate::library::Library;
use crate::name::Name;
use crate::sys::{self, ACCEPT, INDEFINITE, INITIATE};

/// Where an acceptor remembers the authenticators it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayCache<'a> {
    /// The library's own for this user, shared by all services on the machine.
    System,
    /// A file.
    File(&'a Path),
}

/// A credential. Contexts share it; making contexts with it from several threads
/// is what the library locks for.
pub struct Credential {
    pub(crate) library: &'static Library,
    pub(crate) raw: sys::Cred,
    initiates: bool,
}

// SAFETY: the library guards a credential by a mutex of its own (MIT's documentation of
// thread safety); the value holds nothing else that is not constant.
unsafe impl Send for Credential {}
// SAFETY: as above; `raw` is only ever read, and released when nobody else has the value.
unsafe impl Sync for Credential {}

impl core::fmt::Debug for Credential {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Credential(..)")
    }
}

impl Credential {
    /// Tickets of a cache: `FILE:/tmp/krb5cc_0`, `KEYRING:...`; without a name the
    /// user's default one. Without a principal the cache's own.
    ///
    /// # Errors
    /// When the cache is not there, holds no such principal, or its tickets have expired.
    pub fn from_cache(
        library: &'static Library,
        cache: Option<&str>,
        principal: Option<&str>,
    ) -> Result<Self, Error> {
        const DOING: &str = "reading the ticket cache";
        let store = match cache {
            Some(cache) => vec![(c"ccache", string(DOING, cache.as_bytes())?)],
            None => Vec::new(),
        };
        Self::from_store(library, DOING, principal, INITIATE, &store)
    }

    /// The key of a principal in a keytab; tickets are fetched (and fetched again
    /// before they expire) when contexts need them. They are kept in memory.
    ///
    /// # Errors
    /// When the keytab cannot be read or holds no key of the principal.
    pub fn from_keytab(
        library: &'static Library,
        keytab: &Path,
        principal: &str,
    ) -> Result<Self, Error> {
        const DOING: &str = "reading the keytab for its own tickets";
        let file = string(DOING, keytab.as_os_str().as_bytes())?;
        // One cache for one key: every credential of it shares its tickets. Those of a keytab
        // that was written anew are not used on: the account may be another one by now.
        let version = std::fs::metadata(keytab)
            .map_or((0, 0, 0), |one| (one.ino(), one.mtime(), one.mtime_nsec()));
        let (inode, seconds, nanoseconds) = version;
        let cache = format!(
            "MEMORY:countersign:{}:{inode}:{seconds}:{nanoseconds}:{principal}",
            keytab.display()
        );
        let cache = string(DOING, cache.as_bytes())?;
        let store = [(c"client_keytab", file), (c"ccache", cache)];
        Self::from_store(library, DOING, Some(principal), INITIATE, &store)
    }

    /// A principal's password. **Blocks**: a KDC is asked for a ticket.
    ///
    /// # Errors
    /// When the KDC refuses it or cannot be reached; some failures show only in
    /// the first context.
    pub fn from_password(
        library: &'static Library,
        principal: &str,
        password: &str,
    ) -> Result<Self, Error> {
        let name = Name::principal(library, principal)?;
        let mut password = Input::new(password.as_bytes());
        let (mut mechanism, mut set) = krb5_only();
        set.elements = &raw mut mechanism;
        let mut raw = ptr::null_mut();
        let mut minor = 0;
        // SAFETY: the name and the set are live and only read, the password is a copy; the credential is ours
        // and empty; what we do not want back is null.
        let major = unsafe {
            (library.functions.gss_acquire_cred_with_password)(
                &raw mut minor,
                name.raw,
                password.as_mut(),
                INDEFINITE,
                &raw mut set,
                INITIATE,
                &raw mut raw,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        if major & ERRORS != 0 {
            return Err(Error::of(
                library,
                "logging on with a password",
                major,
                minor,
            ));
        }
        Ok(Self {
            library,
            raw,
            initiates: true,
        })
    }

    /// A service's keys. Without a principal every key in the keytab opens tickets.
    /// The keytab is read again for every ticket, so a key added to it works at once.
    ///
    /// # Errors
    /// When the keytab cannot be read or holds no key of the principal.
    pub fn acceptor(
        library: &'static Library,
        keytab: &Path,
        principal: Option<&str>,
        replay: ReplayCache<'_>,
    ) -> Result<Self, Error> {
        const DOING: &str = "reading the keytab";
        let mut store = vec![(c"keytab", string(DOING, keytab.as_os_str().as_bytes())?)];
        if let ReplayCache::File(file) = replay {
            let mut value = b"file2:".to_vec();
            value.extend_from_slice(file.as_os_str().as_bytes());
            store.push((c"rcache", string(DOING, &value)?));
        }
        Self::from_store(library, DOING, principal, ACCEPT, &store)
    }

    /// The principal, as the library writes it.
    ///
    /// # Errors
    /// When the credential has none (an acceptor's for every key), or has expired.
    pub fn name(&self) -> Result<String, Error> {
        let mut name = Name::empty(self.library);
        let mut minor = 0;
        // SAFETY: the credential is live; the name is ours and empty; the rest is not asked for.
        let major = unsafe {
            (self.library.functions.gss_inquire_cred)(
                &raw mut minor,
                self.raw,
                &raw mut name.raw,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        if major & ERRORS != 0 || name.raw.is_null() {
            let doing = "asking a credential for its name";
            return Err(Error::of(self.library, doing, major, minor));
        }
        name.text()
    }

    pub(crate) fn initiates(&self) -> bool {
        self.initiates
    }

    fn from_store(
        library: &'static Library,
        doing: &'static str,
        principal: Option<&str>,
        usage: core::ffi::c_int,
        store: &[(&core::ffi::CStr, CString)],
    ) -> Result<Self, Error> {
        let name = principal.map(|p| Name::principal(library, p)).transpose()?;
        let mut elements: Vec<sys::KeyValueElement> = store
            .iter()
            .map(|(key, value)| sys::KeyValueElement {
                key: key.as_ptr(),
                value: value.as_ptr(),
            })
            .collect();
        let set = sys::KeyValueSet {
            count: u32::try_from(elements.len()).unwrap_or(0),
            elements: elements.as_mut_ptr(),
        };
        let (mut mechanism, mut mechanisms) = krb5_only();
        mechanisms.elements = &raw mut mechanism;
        let mut raw = ptr::null_mut();
        let mut minor = 0;
        // SAFETY: name (null means any), store and set of mechanisms are live, of the right
        // types and only read; the credential is ours and empty; what we do not want is null.
        let major = unsafe {
            (library.functions.gss_acquire_cred_from)(
                &raw mut minor,
                name.as_ref().map_or(ptr::null_mut(), |n| n.raw),
                INDEFINITE,
                &raw mut mechanisms,
                usage,
                &raw const set,
                &raw mut raw,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        if major & ERRORS != 0 {
            return Err(Error::of(library, doing, major, minor));
        }
        Ok(Self {
            library,
            raw,
            initiates: usage == INITIATE,
        })
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: the credential is this library's, nobody else has it, and it is released once.
        unsafe { (self.library.functions.gss_release_cred)(&raw mut minor, &raw mut self.raw) };
    }
}

/// The set with Kerberos alone; `elements` is set by the caller, where the OID stays.
fn krb5_only() -> (sys::OidDesc, sys::OidSetDesc) {
    (
        sys::oid(sys::MECH_KRB5),
        sys::OidSetDesc {
            count: 1,
            elements: ptr::null_mut(),
        },
    )
}

fn string(doing: &'static str, bytes: &[u8]) -> Result<CString, Error> {
    CString::new(bytes).map_err(|_| Error::own(doing, 0, "a name with a zero byte"))
}
