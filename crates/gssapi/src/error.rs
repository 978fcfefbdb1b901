//! Major and minor status, in words.

use core::ffi::c_int;

use crate::buffer::Output;
use crate::library::Library;
use crate::sys::{self, GSS_CODE, MECH_CODE, OmUint32};

/// The library's answer to a call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    doing: &'static str,
    major: u32,
    minor: u32,
    text: String,
    token: Vec<u8>,
}

/// What a failure comes down to, as far as a caller acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The ticket, the credential or the context has expired.
    Expired,
    /// The peer's clock differs by more than is allowed.
    ClockSkew,
    /// The token was seen before, or came out of order.
    Replay,
    /// No key of the keytab opens the ticket.
    WrongKey,
    /// A checksum does not fit: the bytes were changed, or the key is another.
    Integrity,
    /// There is no credential: no ticket, no keytab entry, or a wrong password.
    NoCredential,
    /// No KDC answered.
    Unreachable,
    /// The KDC knows no such service or user.
    UnknownPrincipal,
    /// The token is malformed.
    Malformed,
    /// Anything else; see the text.
    Other,
}

/// Status bits above the supplementary ones.
pub(crate) const ERRORS: u32 = 0xFFFF_0000;
/// GSS_S_CONTINUE_NEEDED.
pub(crate) const CONTINUE_NEEDED: u32 = 1;
/// GSS_S_DUPLICATE_TOKEN, OLD_TOKEN, UNSEQ_TOKEN, GAP_TOKEN.
const OUT_OF_ORDER: u32 = 0x1E;

/// ERROR_TABLE_BASE_krb5.
pub(crate) const KRB5_BASE: i64 = -1_765_328_384;

impl Error {
    /// The failure of a call of the library.
    pub(crate) fn of(
        library: &'static Library,
        doing: &'static str,
        major: u32,
        minor: u32,
    ) -> Self {
        let mut parts = Vec::new();
        describe(library, major, GSS_CODE, &mut parts);
        if minor != 0 {
            describe(library, minor, MECH_CODE, &mut parts);
        }
        parts.dedup();
        // Where the mechanism has words of its own, GSSAPI's "Unspecified GSS failure" adds none.
        if parts.len() > 1
            && parts
                .first()
                .is_some_and(|one| one.starts_with("Unspecified"))
        {
            parts.remove(0);
        }
        Self {
            doing,
            major,
            minor,
            text: parts.join(": "),
            token: Vec::new(),
        }
    }

    /// A failure this crate finds itself.
    pub(crate) fn own(doing: &'static str, major: u32, text: &str) -> Self {
        Self {
            doing,
            major,
            minor: 0,
            text: text.to_owned(),
            token: Vec::new(),
        }
    }

    /// The failure of a call of libkrb5, which has a code of the table of krb5 alone.
    pub(crate) fn krb5(doing: &'static str, code: i32, text: String) -> Self {
        Self {
            doing,
            // GSS_S_FAILURE.
            major: 13 << 16,
            minor: code.cast_unsigned(),
            text,
            token: Vec::new(),
        }
    }

    pub(crate) fn with_token(mut self, token: Vec<u8>) -> Self {
        self.token = token;
        self
    }

    /// The token that tells the peer (KRB-ERROR); empty when there is none.
    pub fn token(&self) -> &[u8] {
        &self.token
    }

    /// GSSAPI's major status.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The mechanism's minor status.
    pub fn minor(&self) -> u32 {
        self.minor
    }

    /// What it comes down to.
    pub fn kind(&self) -> ErrorKind {
        /// GSS_S_NO_CRED, as a routine error.
        const NO_CRED: u32 = 7;
        let routine = (self.major >> 16) & 0xFF;
        // Codes of the krb5 error table: RFC 4120 7.5.9 below 128, the library's own above.
        let code = i64::from(self.minor.cast_signed()) - KRB5_BASE;
        // There is no credential: often for a reason that says more.
        if routine == NO_CRED && !matches!(code, 6 | 7 | 37 | 154..=156) {
            return ErrorKind::NoCredential;
        }
        match code {
            32 => return ErrorKind::Expired,
            37 => return ErrorKind::ClockSkew,
            34 => return ErrorKind::Replay,
            44 | 45 | 230 => return ErrorKind::WrongKey,
            // A keytab without the entry; that it is not there at all is another matter.
            181 if routine != NO_CRED => return ErrorKind::WrongKey,
            31 | 41 => return ErrorKind::Integrity,
            6 | 7 => return ErrorKind::UnknownPrincipal,
            24 | 18 | 195 => return ErrorKind::NoCredential,
            154..=156 => return ErrorKind::Unreachable,
            _ => {}
        }
        match routine {
            6 => ErrorKind::Integrity,
            9 => ErrorKind::Malformed,
            11 | 12 => ErrorKind::Expired,
            0 if self.major & OUT_OF_ORDER != 0 => ErrorKind::Replay,
            _ => ErrorKind::Other,
        }
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}: {}", self.doing, self.text)
    }
}

impl core::error::Error for Error {}

/// Most messages for one status; the library has one or two.
const MAX_MESSAGES: usize = 8;

fn describe(library: &'static Library, status: OmUint32, of: c_int, out: &mut Vec<String>) {
    let mut mechanism = sys::oid(sys::MECH_KRB5);
    let mut more = 0;
    for _ in 0..MAX_MESSAGES {
        let mut minor = 0;
        let mut message = Output::new(library);
        // SAFETY: all pointers are to live values of the right types; the OID is only read;
        // `more` is the library's own cursor.
        let major = unsafe {
            (library.functions.gss_display_status)(
                &raw mut minor,
                status,
                of,
                &raw mut mechanism,
                &raw mut more,
                message.as_mut(),
            )
        };
        if major & ERRORS != 0 {
            out.push(format!("status {status:#010x}"));
            return;
        }
        out.push(message.text().trim_end_matches('.').to_owned());
        if more == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failure_comes_down_to() {
        let of = |routine: u32, code: i64| {
            let minor = i32::try_from(code + KRB5_BASE).unwrap().cast_unsigned();
            Error {
                doing: "",
                major: routine << 16,
                minor,
                text: String::new(),
                token: Vec::new(),
            }
        };
        for (routine, code, kind) in [
            (7, 181, ErrorKind::NoCredential),
            (7, 24, ErrorKind::NoCredential),
            (7, 154, ErrorKind::Unreachable),
            (7, 37, ErrorKind::ClockSkew),
            (7, 6, ErrorKind::UnknownPrincipal),
            (13, 181, ErrorKind::WrongKey),
            (13, 24, ErrorKind::NoCredential),
            (13, 156, ErrorKind::Unreachable),
            (6, 0, ErrorKind::Integrity),
        ] {
            assert_eq!(of(routine, code).kind(), kind, "{routine} {code}");
        }
    }
}
