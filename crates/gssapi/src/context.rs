//! Security contexts: what both ends have once one is established.

use core::ffi::c_int;
use core::ptr;
use core::time::Duration;

use zeroize::Zeroizing;

use crate::buffer::{Input, Output, OutputSet};
use crate::error::{ERRORS, Error};
use crate::library::Library;
use crate::name::Name;
use crate::sys;

bitflags::bitflags! {
    /// What is asked of a context, and what it has, RFC 2743 1.2.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Flags: u32 {
        /// The acceptor proves itself too.
        const MUTUAL = 0x2;
        /// Tokens that come twice are noticed.
        const REPLAY = 0x4;
        /// Tokens out of order are noticed.
        const SEQUENCE = 0x8;
        /// Messages can be encrypted.
        const CONFIDENTIALITY = 0x10;
        /// Messages can be signed.
        const INTEGRITY = 0x20;
    }
}

impl Flags {
    /// What SMB asks for.
    pub const SMB: Self = Self::MUTUAL
        .union(Self::REPLAY)
        .union(Self::SEQUENCE)
        .union(Self::INTEGRITY);
    /// What a sealed connection asks for.
    pub const SEALED: Self = Self::SMB.union(Self::CONFIDENTIALITY);
}

/// What came of a token.
#[derive(Debug)]
pub enum Step {
    /// The peer must answer this token.
    Continue {
        /// For the peer.
        token: Vec<u8>,
    },
    /// The context is established.
    Done {
        /// For the peer; empty when there is none.
        token: Vec<u8>,
        /// The context.
        context: Established,
    },
}

/// How long a context is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Without end.
    Indefinite,
    /// From now on.
    Left(Duration),
    /// No longer.
    Expired,
}

/// A message that was wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwrapped {
    /// The message.
    pub message: Vec<u8>,
    /// It was encrypted, not only signed.
    pub confidential: bool,
}

/// An attribute of a name, RFC 6680 7.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The issuer's signature was verified.
    pub authenticated: bool,
    /// The value.
    pub value: Vec<u8>,
}

/// A context's handle, from its first token to its end.
pub(crate) struct Handle {
    pub(crate) library: &'static Library,
    pub(crate) raw: sys::Ctx,
}

impl Handle {
    pub(crate) fn new(library: &'static Library) -> Self {
        Self {
            library,
            raw: ptr::null_mut(),
        }
    }

    /// Takes the handle out, leaving an empty one.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new(self.library))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.raw.is_null() {
            return;
        }
        let mut minor = 0;
        // SAFETY: the context is this library's and deleted once; no token is asked for.
        unsafe {
            (self.library.functions.gss_delete_sec_context)(
                &raw mut minor,
                &raw mut self.raw,
                ptr::null_mut(),
            )
        };
    }
}

// SAFETY: a context belongs to no thread; the library only forbids its use by several at
// the same time, which `&mut self` (and the missing Sync) rules out.
unsafe impl Send for Handle {}

/// An established context.
pub struct Established {
    handle: Handle,
    /// The initiator's name; only the acceptor has its attributes.
    peer: Name,
    flags: Flags,
}

impl core::fmt::Debug for Established {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Established")
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

impl Established {
    pub(crate) fn new(handle: Handle, peer: Name, flags: u32) -> Self {
        Self {
            handle,
            peer,
            flags: Flags::from_bits_truncate(flags),
        }
    }

    fn library(&self) -> &'static Library {
        self.handle.library
    }

    fn check(&self, doing: &'static str, major: u32, minor: u32) -> Result<(), Error> {
        // Supplementary bits say that a token came twice or out of order.
        if major == 0 {
            Ok(())
        } else {
            Err(Error::of(self.library(), doing, major, minor))
        }
    }

    /// What the context has.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// The peer's principal: `alice@LAB.EXAMPLE`, `cifs/files.lab.example@LAB.EXAMPLE`.
    ///
    /// # Errors
    /// When the library has no memory left.
    pub fn peer(&self) -> Result<String, Error> {
        self.peer.text()
    }

    /// The session key: the acceptor's subkey where there is one, as long as its
    /// encryption type makes it (32 bytes for AES-256).
    ///
    /// # Errors
    /// When the context has none.
    pub fn session_key(&mut self) -> Result<Zeroizing<Vec<u8>>, Error> {
        const DOING: &str = "asking for the session key";
        let library = self.library();
        let mut set = OutputSet::new(library);
        let mut wanted = sys::oid(sys::INQ_SESSION_KEY);
        let mut minor = 0;
        // SAFETY: the context is established and ours alone; the OID is only read; the set
        // is ours and empty.
        let major = unsafe {
            (library.functions.gss_inquire_sec_context_by_oid)(
                &raw mut minor,
                self.handle.raw,
                &raw mut wanted,
                set.as_mut(),
            )
        };
        self.check(DOING, major, minor)?;
        set.take_first()
            .filter(|key| !key.is_empty())
            .ok_or_else(|| Error::own(DOING, 0, "there is none"))
    }

    /// How long the context is good for: the ticket's end, and on the acceptor's
    /// side the clock skew allowed.
    pub fn lifetime(&mut self) -> Lifetime {
        let library = self.library();
        let mut left = 0;
        let mut minor = 0;
        // SAFETY: the context is established and ours alone; only the lifetime is asked for.
        let major = unsafe {
            (library.functions.gss_inquire_context)(
                &raw mut minor,
                self.handle.raw,
                ptr::null_mut(),
                ptr::null_mut(),
                &raw mut left,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        lifetime(major, left)
    }

    /// An attribute of the peer's name, as [`crate::PAC_LOGON_INFO`]; `None` when it
    /// has none. Only acceptors see any.
    ///
    /// # Errors
    /// When the library cannot say.
    pub fn peer_attribute(&mut self, attribute: &str) -> Result<Option<Attribute>, Error> {
        let library = self.library();
        let mut name = Input::new(attribute.as_bytes());
        let mut value = Output::new(library);
        let mut display = Output::new(library);
        let (mut authenticated, mut complete, mut more): (c_int, c_int, c_int) = (0, 0, -1);
        let mut minor = 0;
        // SAFETY: the name is live, the attribute's name is a copy, the buffers are ours
        // and empty, the numbers are ours; `more` is -1 for the first value.
        let major = unsafe {
            (library.functions.gss_get_name_attribute)(
                &raw mut minor,
                self.peer.raw,
                name.as_mut(),
                &raw mut authenticated,
                &raw mut complete,
                value.as_mut(),
                display.as_mut(),
                &raw mut more,
            )
        };
        /// GSS_S_UNAVAILABLE: no such attribute.
        const UNAVAILABLE: u32 = 16;
        if (major >> 16) & 0xFF == UNAVAILABLE {
            return Ok(None);
        }
        self.check("reading an attribute of the peer", major, minor)?;
        Ok(Some(Attribute {
            authenticated: authenticated != 0,
            value: value.to_vec(),
        }))
    }

    /// Signs a message, and encrypts it when `confidential`.
    ///
    /// # Errors
    /// When the context has expired, or cannot encrypt.
    pub fn wrap(&mut self, confidential: bool, message: &[u8]) -> Result<Vec<u8>, Error> {
        const DOING: &str = "wrapping a message";
        let library = self.library();
        let mut message = Input::new(message);
        let mut out = Output::new(library);
        let mut encrypted: c_int = 0;
        let mut minor = 0;
        // SAFETY: the context is established and ours alone; the message is a copy; the
        // buffer is ours and empty.
        let major = unsafe {
            (library.functions.gss_wrap)(
                &raw mut minor,
                self.handle.raw,
                c_int::from(confidential),
                0,
                message.as_mut(),
                &raw mut encrypted,
                out.as_mut(),
            )
        };
        self.check(DOING, major, minor)?;
        if confidential && encrypted == 0 {
            return Err(Error::own(DOING, 0, "the context cannot encrypt"));
        }
        Ok(out.to_vec())
    }

    /// Verifies and opens a message of the peer.
    ///
    /// # Errors
    /// When it was changed, came twice or out of order, or the context has expired.
    pub fn unwrap(&mut self, message: &[u8]) -> Result<Unwrapped, Error> {
        let library = self.library();
        let mut message = Input::new(message);
        let mut out = Output::new(library);
        let mut encrypted: c_int = 0;
        let mut minor = 0;
        // SAFETY: as in `wrap`; the quality of protection is not asked for.
        let major = unsafe {
            (library.functions.gss_unwrap)(
                &raw mut minor,
                self.handle.raw,
                message.as_mut(),
                out.as_mut(),
                &raw mut encrypted,
                ptr::null_mut(),
            )
        };
        self.check("unwrapping a message", major, minor)?;
        Ok(Unwrapped {
            message: out.to_vec(),
            confidential: encrypted != 0,
        })
    }

    /// The longest message whose wrapped form is no longer than `wrapped`.
    ///
    /// # Errors
    /// When the context has expired.
    pub fn wrap_size_limit(&mut self, confidential: bool, wrapped: u32) -> Result<u32, Error> {
        let library = self.library();
        let mut limit = 0;
        let mut minor = 0;
        // SAFETY: the context is established and ours alone; the number is ours.
        let major = unsafe {
            (library.functions.gss_wrap_size_limit)(
                &raw mut minor,
                self.handle.raw,
                c_int::from(confidential),
                0,
                wrapped,
                &raw mut limit,
            )
        };
        self.check("asking for the longest message", major, minor)?;
        Ok(limit)
    }

    /// The signature of a message that travels apart.
    ///
    /// # Errors
    /// When the context has expired.
    pub fn get_mic(&mut self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let library = self.library();
        let mut message = Input::new(message);
        let mut out = Output::new(library);
        let mut minor = 0;
        // SAFETY: the context is established and ours alone; the message is a copy; the
        // buffer is ours and empty.
        let major = unsafe {
            (library.functions.gss_get_mic)(
                &raw mut minor,
                self.handle.raw,
                0,
                message.as_mut(),
                out.as_mut(),
            )
        };
        self.check("signing a message", major, minor)?;
        Ok(out.to_vec())
    }

    /// Verifies the signature of a message of the peer.
    ///
    /// # Errors
    /// When it does not fit, came twice or out of order, or the context has expired.
    pub fn verify_mic(&mut self, message: &[u8], mic: &[u8]) -> Result<(), Error> {
        let library = self.library();
        let mut message = Input::new(message);
        let mut mic = Input::new(mic);
        let mut minor = 0;
        // SAFETY: the context is established and ours alone; both inputs are copies; the
        // quality of protection is not asked for.
        let major = unsafe {
            (library.functions.gss_verify_mic)(
                &raw mut minor,
                self.handle.raw,
                message.as_mut(),
                mic.as_mut(),
                ptr::null_mut(),
            )
        };
        self.check("verifying a message's signature", major, minor)
    }
}

fn lifetime(major: u32, left: u32) -> Lifetime {
    if major & ERRORS != 0 || left == 0 {
        Lifetime::Expired
    } else if left == sys::INDEFINITE {
        Lifetime::Indefinite
    } else {
        Lifetime::Left(Duration::from_secs(u64::from(left)))
    }
}
