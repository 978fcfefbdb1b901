//! The few calls of MIT's libkrb5 that GSSAPI has no words for: logging on with a
//! keytab's key itself, and changing a password by it ([RFC 3244], kpasswd).

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::error::{Error, KRB5_BASE};
use crate::library::{Missing, open};

/// The file the loader is asked for; libgssapi_krb5 itself is made of it.
const FILE: &CStr = c"libkrb5.so.3";
/// The service that changes passwords.
const CHANGE_PASSWORD: &CStr = c"kadmin/changepw";
/// Longest text of a server that is passed on.
const LONGEST_TEXT: usize = 512;

type Context = *mut c_void;
type Principal = *mut c_void;
type Table = *mut c_void;

/// krb5_data.
#[repr(C)]
struct Data {
    magic: i32,
    length: u32,
    data: *mut c_char,
}

/// krb5_creds, 120 bytes on 64-bit machines; only the library looks inside.
#[repr(C, align(16))]
struct Creds([u8; 512]);

macro_rules! functions {
    ($($name:ident($($argument:ty),* $(,)?) $(-> $answer:ty)?;)*) => {
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $answer)?,)*
        }

        impl Functions {
            fn find(symbol: impl Fn(&'static CStr) -> *mut c_void) -> Result<Self, &'static str> {
                Ok(Self {
                    $($name: {
                        let name = concat!(stringify!($name), "\0");
                        let found = CStr::from_bytes_with_nul(name.as_bytes())
                            .map_or(ptr::null_mut(), &symbol);
                        if found.is_null() {
                            return Err(stringify!($name));
                        }
                        // SAFETY: the symbol of this name in libkrb5.so.3 is a function of this
                        // type (krb5.h, unchanged since the library has this name); it is not
                        // null, and the library is never unloaded.
                        unsafe {
                            core::mem::transmute::<
                                *mut c_void,
                                unsafe extern "C" fn($($argument),*) $(-> $answer)?,
                            >(found)
                        }
                    },)*
                })
            }
        }
    };
}

functions! {
    krb5_init_context(*mut Context) -> i32;
    krb5_free_context(Context);
    krb5_parse_name(Context, *const c_char, *mut Principal) -> i32;
    krb5_free_principal(Context, Principal);
    krb5_kt_resolve(Context, *const c_char, *mut Table) -> i32;
    krb5_kt_close(Context, Table) -> i32;
    krb5_get_init_creds_keytab(
        Context, *mut Creds, Principal, Table, i32, *const c_char, *mut c_void,
    ) -> i32;
    krb5_free_cred_contents(Context, *mut Creds);
    krb5_change_password(
        Context, *mut Creds, *const c_char, *mut c_int, *mut Data, *mut Data,
    ) -> i32;
    krb5_free_data_contents(Context, *mut Data);
    krb5_get_error_message(Context, i32) -> *const c_char;
    krb5_free_error_message(Context, *const c_char);
}

fn library() -> Result<&'static Functions, Missing> {
    static LIBRARY: OnceLock<Result<Functions, Missing>> = OnceLock::new();
    LIBRARY
        .get_or_init(|| open(FILE, |symbol| Functions::find(symbol)))
        .as_ref()
        .map_err(Missing::clone)
}

/// Why a password was not changed, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// There is no Kerberos on this machine.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// Nothing was asked for: there is no ticket for it.
    #[error(transparent)]
    NoTicket(Error),
    /// The server refuses.
    #[error("the password server refuses: {0}")]
    Refused(String),
    /// It was asked for, and no answer came that can be understood: it may have happened.
    #[error("the answer of the password server is missing: {0}")]
    Unknown(Error),
}

/// A context, a principal and its keytab, given back at the end.
struct Place {
    functions: &'static Functions,
    context: Context,
    principal: Principal,
    table: Table,
}

impl Drop for Place {
    fn drop(&mut self) {
        // SAFETY: each is null or was made by this library with this context, is given back
        // once, and the context last.
        unsafe {
            if !self.table.is_null() {
                (self.functions.krb5_kt_close)(self.context, self.table);
            }
            if !self.principal.is_null() {
                (self.functions.krb5_free_principal)(self.context, self.principal);
            }
            (self.functions.krb5_free_context)(self.context);
        }
    }
}

/// A ticket.
struct Ticket<'a> {
    place: &'a Place,
    creds: Box<Creds>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        // SAFETY: the contents are the library's, and given back once; it wipes the key.
        unsafe {
            (self.place.functions.krb5_free_cred_contents)(
                self.place.context,
                &raw mut *self.creds,
            );
        }
    }
}

impl Place {
    fn open(doing: &'static str, keytab: &Path, principal: &str) -> Result<Self, PasswordError> {
        let functions = library()?;
        let own = |text| PasswordError::NoTicket(Error::own(doing, 0, text));
        let mut table = b"FILE:".to_vec();
        table.extend_from_slice(keytab.as_os_str().as_bytes());
        let (Ok(table), Ok(principal)) = (CString::new(table), CString::new(principal)) else {
            return Err(own("a name with a zero byte"));
        };
        let mut context = ptr::null_mut();
        // SAFETY: the pointer is ours and empty.
        if unsafe { (functions.krb5_init_context)(&raw mut context) } != 0 || context.is_null() {
            return Err(own("the Kerberos configuration cannot be read"));
        }
        let mut place = Self {
            functions,
            context,
            principal: ptr::null_mut(),
            table: ptr::null_mut(),
        };
        // SAFETY: the context is live, the text terminated and only read, the pointer ours.
        let code = unsafe {
            (functions.krb5_parse_name)(context, principal.as_ptr(), &raw mut place.principal)
        };
        place.check(doing, code).map_err(PasswordError::NoTicket)?;
        // SAFETY: as above.
        let code =
            unsafe { (functions.krb5_kt_resolve)(context, table.as_ptr(), &raw mut place.table) };
        place.check(doing, code).map_err(PasswordError::NoTicket)?;
        Ok(place)
    }

    fn check(&self, doing: &'static str, code: i32) -> Result<(), Error> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the context is live; the answer is a terminated text of the library's, that
        // is copied and given back once.
        let text = unsafe {
            let text = (self.functions.krb5_get_error_message)(self.context, code);
            if text.is_null() {
                format!("error {}", i64::from(code) - KRB5_BASE)
            } else {
                let copy = CStr::from_ptr(text).to_string_lossy().into_owned();
                (self.functions.krb5_free_error_message)(self.context, text);
                copy
            }
        };
        Err(Error::krb5(doing, code, text))
    }

    /// An initial ticket for a service; null: to get others with.
    fn ticket(&self, doing: &'static str, service: *const c_char) -> Result<Ticket<'_>, Error> {
        let mut creds = Box::new(Creds([0; 512]));
        // SAFETY: context, principal and keytab are live; the buffer is larger than what the
        // library fills, and zero as it wants it; the service is null or terminated; no options.
        let code = unsafe {
            (self.functions.krb5_get_init_creds_keytab)(
                self.context,
                &raw mut *creds,
                self.principal,
                self.table,
                0,
                service,
                ptr::null_mut(),
            )
        };
        self.check(doing, code)?;
        Ok(Ticket { place: self, creds })
    }
}

/// Asks a KDC whether the newest key of `principal` in a keytab is the account's.
/// **Blocks.**
///
/// # Errors
/// [`PasswordError::NoTicket`], whose [`Error::kind`] tells a wrong key
/// ([`crate::ErrorKind::NoCredential`]) from a KDC that does not answer.
pub fn check_keytab(keytab: &Path, principal: &str) -> Result<(), PasswordError> {
    const DOING: &str = "logging on with the keytab";
    let place = Place::open(DOING, keytab, principal)?;
    place
        .ticket(DOING, ptr::null())
        .map(drop)
        .map_err(PasswordError::NoTicket)
}

/// Changes the password of `principal`, as itself, with its newest key in a keytab.
/// **Blocks.**
///
/// # Errors
/// [`PasswordError`]; after [`PasswordError::Unknown`] the old password or the new one is
/// right, which [`check_keytab`] tells.
pub fn change_password(
    keytab: &Path,
    principal: &str,
    password: &str,
) -> Result<(), PasswordError> {
    const DOING: &str = "changing the password";
    let place = Place::open(DOING, keytab, principal)?;
    let no_ticket = PasswordError::NoTicket;
    let zero = || no_ticket(Error::own(DOING, 0, "a password with a zero byte"));
    let mut text = Zeroizing::new(password.as_bytes().to_vec());
    if text.contains(&0) {
        return Err(zero());
    }
    text.push(0);
    let mut ticket = place
        .ticket(DOING, CHANGE_PASSWORD.as_ptr())
        .map_err(no_ticket)?;
    let empty = || Data {
        magic: 0,
        length: 0,
        data: ptr::null_mut(),
    };
    let (mut result, mut word, mut reason) = (0, empty(), empty());
    // SAFETY: context and ticket are live, the password is terminated and only read, number
    // and buffers are ours and empty.
    let code = unsafe {
        (place.functions.krb5_change_password)(
            place.context,
            &raw mut *ticket.creds,
            text.as_ptr().cast(),
            &raw mut result,
            &raw mut word,
            &raw mut reason,
        )
    };
    let mut said = Vec::new();
    for data in [&mut word, &mut reason] {
        let length = usize::try_from(data.length).unwrap_or(0).min(LONGEST_TEXT);
        if !data.data.is_null() && length > 0 {
            // SAFETY: the library allocated `length` bytes and more there.
            let bytes = unsafe { core::slice::from_raw_parts(data.data.cast::<u8>(), length) };
            // Active Directory answers with bytes that are no text.
            let text = String::from_utf8_lossy(bytes);
            if !text.chars().any(|c| c.is_control() || c == '\u{FFFD}') {
                said.push(text.into_owned());
            }
        }
        // SAFETY: the buffer is empty or the library's, and given back once.
        unsafe { (place.functions.krb5_free_data_contents)(place.context, data) };
    }
    place.check(DOING, code).map_err(PasswordError::Unknown)?;
    match result {
        0 => Ok(()),
        // [RFC 3244] 2: soft errors are the rules for passwords.
        other => Err(PasswordError::Refused(format!(
            "{} (result {other})",
            said.join(": ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keytab_that_is_not_there() {
        // No KDC is asked: there is none of this realm, or no library at all.
        let error = check_keytab(Path::new("/nonexistent/keytab"), "X$@NOWHERE.INVALID");
        assert!(error.is_err());
        let zero = change_password(Path::new("/x"), "X\0", "y").unwrap_err();
        assert!(matches!(
            zero,
            PasswordError::NoTicket(_) | PasswordError::Missing(_)
        ));
    }
}
