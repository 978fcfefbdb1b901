//! The initiator: a client on its way into a context.

use core::ptr;
use std::sync::Arc;

use crate::buffer::{Input, Output};
use crate::context::{Established, Flags, Handle, Step};
use crate::credential::Credential;
use crate::error::{CONTINUE_NEEDED, ERRORS, Error};
use crate::name::Name;
use crate::sys;

/// A client's context until it is established.
pub struct InitiatorContext {
    credential: Arc<Credential>,
    handle: Handle,
    target: Option<Name>,
    flags: Flags,
}

impl core::fmt::Debug for InitiatorContext {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("InitiatorContext")
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

const DOING: &str = "asking for access by Kerberos";

impl InitiatorContext {
    /// A context with the service `target`, `cifs/files.lab.example` with or without
    /// `@REALM`. The host's name is used as it is written: the name service has no
    /// say in whom is talked to. Without a realm it follows from the host's domain.
    ///
    /// # Errors
    /// When the name is none.
    pub fn new(credential: Arc<Credential>, target: &str, flags: Flags) -> Result<Self, Error> {
        if !credential.initiates() {
            return Err(Error::own(DOING, 0, "the credential is a service's"));
        }
        let library = credential.library;
        let target = if target.contains('@') {
            Name::principal(library, target)?
        } else {
            // The empty realm stands for the one the host's domain maps to, or referrals.
            Name::principal(library, &format!("{target}@"))?
        };
        Ok(Self {
            credential,
            handle: Handle::new(library),
            target: Some(target),
            flags,
        })
    }

    /// Makes the first token (from `None`), and takes each of the peer's. **Blocks**:
    /// KDCs are asked for tickets that are not at hand.
    ///
    /// # Errors
    /// When the peer's token is wrong, there is no ticket to be had, or the context
    /// lacks a flag that was asked for. The context is at its end then.
    pub fn step(&mut self, token: Option<&[u8]>) -> Result<Step, Error> {
        let library = self.credential.library;
        let Some(target) = &self.target else {
            return Err(Error::own(DOING, 0, "the context is over"));
        };
        let mut mechanism = sys::oid(sys::MECH_KRB5);
        let mut received = Input::new(token.unwrap_or_default());
        let mut out = Output::new(library);
        let mut got = 0;
        let mut minor = 0;
        // SAFETY: the credential and the target are live, the mechanism is only read, the token is a copy,
        // the handle is null at first and then what the last call made of it, the buffer is
        // ours and empty; no channel bindings; what we do not want back is null.
        let major = unsafe {
            (library.functions.gss_init_sec_context)(
                &raw mut minor,
                self.credential.raw,
                &raw mut self.handle.raw,
                target.raw,
                &raw mut mechanism,
                self.flags.bits(),
                0,
                ptr::null_mut(),
                token.map_or(ptr::null_mut(), |_| core::ptr::from_mut(received.as_mut())),
                ptr::null_mut(),
                out.as_mut(),
                &raw mut got,
                ptr::null_mut(),
            )
        };
        if major & ERRORS != 0 {
            self.target = None;
            return Err(Error::of(library, DOING, major, minor).with_token(out.to_vec()));
        }
        let token = out.to_vec();
        if major & CONTINUE_NEEDED != 0 {
            return Ok(Step::Continue { token });
        }
        let missing = self.flags - Flags::from_bits_truncate(got);
        let peer = self.target.take();
        if !missing.is_empty() {
            let text = format!("the context lacks {missing:?}");
            return Err(Error::own(DOING, 0, &text));
        }
        let Some(peer) = peer else {
            return Err(Error::own(DOING, 0, "the context is over"));
        };
        Ok(Step::Done {
            token,
            context: Established::new(self.handle.take(), peer, got),
        })
    }
}
