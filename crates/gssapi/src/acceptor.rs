//! The acceptor: a service that lets clients in.

use core::ptr;
use std::sync::Arc;

use crate::buffer::{Input, Output};
use crate::context::{Established, Handle, Step};
use crate::credential::Credential;
use crate::error::{CONTINUE_NEEDED, ERRORS, Error};
use crate::name::Name;
use crate::sys;

/// A service's context until it is established. No KDC is asked: tickets are
/// opened with the keytab's keys.
pub struct AcceptorContext {
    credential: Arc<Credential>,
    handle: Handle,
    over: bool,
}

impl core::fmt::Debug for AcceptorContext {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AcceptorContext").finish_non_exhaustive()
    }
}

const DOING: &str = "letting a client in by Kerberos";

impl AcceptorContext {
    /// A context that has seen nothing yet.
    ///
    /// # Errors
    /// When the credential is not a service's.
    pub fn new(credential: Arc<Credential>) -> Result<Self, Error> {
        if credential.initiates() {
            return Err(Error::own(DOING, 0, "the credential is a client's"));
        }
        let handle = Handle::new(credential.library);
        Ok(Self {
            credential,
            handle,
            over: false,
        })
    }

    /// Takes a token of the client (AP-REQ in its GSS-API frame).
    ///
    /// # Errors
    /// When the ticket or the authenticator is wrong, expired, or was seen before;
    /// [`Error::token`] may hold what to tell the client. The context is at its end then.
    pub fn step(&mut self, token: &[u8]) -> Result<Step, Error> {
        let library = self.credential.library;
        if core::mem::replace(&mut self.over, true) {
            return Err(Error::own(DOING, 0, "the context is over"));
        }
        let mut received = Input::new(token);
        let mut out = Output::new(library);
        let mut peer = Name::empty(library);
        let mut mechanism: sys::Oid = ptr::null_mut();
        let mut got = 0;
        let mut minor = 0;
        // SAFETY: the credential is live, the token is a copy, the handle is null at first
        // and then what the last call made of it, name and buffer are ours and empty, the
        // mechanism's OID is static; no channel bindings; no delegated credential and no
        // lifetime are asked for.
        let major = unsafe {
            (library.functions.gss_accept_sec_context)(
                &raw mut minor,
                &raw mut self.handle.raw,
                self.credential.raw,
                received.as_mut(),
                ptr::null_mut(),
                &raw mut peer.raw,
                &raw mut mechanism,
                out.as_mut(),
                &raw mut got,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        if major & ERRORS != 0 {
            return Err(Error::of(library, DOING, major, minor).with_token(out.to_vec()));
        }
        let token = out.to_vec();
        if major & CONTINUE_NEEDED != 0 {
            self.over = false;
            return Ok(Step::Continue { token });
        }
        if peer.raw.is_null() {
            return Err(Error::own(DOING, 0, "the client has no name"));
        }
        if major != 0 {
            // Supplementary bits: the token came twice or is too old.
            return Err(Error::of(library, DOING, major, minor));
        }
        Ok(Step::Done {
            token,
            context: Established::new(self.handle.take(), peer, got),
        })
    }
}
