//! SMB 2.0.2 to 3.1.1, the client's side.

use std::time::Duration;

use bytes::BytesMut;

use super::call::{Call, CallId};
use super::engine::{Link, Protocol, Transfer};
use super::failure::{CloseReason, Failure};
use crate::connection::Now;
use crate::gate::Sealed;

/// The client's SMB2 engine.
pub(super) struct Smb2;

impl Protocol for Smb2 {
    fn start(&mut self, link: &mut Link, _: Now) {
        link.close(CloseReason::Incompatible("SMB2 is not there yet"));
    }
    fn receive(&mut self, _: &mut Link, _: Vec<BytesMut>, _: Now) {}
    fn submit(&mut self, link: &mut Link, id: CallId, _: Call, _: Now) {
        link.done(id, Err(Failure::Unsupported("SMB2 is not there yet")));
    }
    fn cancel(&mut self, _: &mut Link, _: CallId) {}
    fn seal(&mut self, _: &mut Link) -> Vec<Sealed> {
        Vec::new()
    }
    fn handle_timeout(&mut self, _: &mut Link, _: Now) {}
    fn next_timeout(&self) -> Option<Duration> {
        None
    }
    fn frame_limit(&self, link: &Link) -> usize {
        link.config.limits.max_frame
    }
    fn transfer(&self) -> Transfer {
        Transfer {
            read: 0,
            write: 0,
            transact: 0,
            whole: 0,
            pipeline: 0,
        }
    }
    fn abandon(&mut self, _: &mut Link, _: &CloseReason) {}
}
