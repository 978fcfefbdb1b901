//! The SMB1 front end (NT LM 0.12).

use crate::link::{FrontEnd, Link};

/// The front end for a connection whose first message was an SMB1 NEGOTIATE
/// that is not for SMB2; that message comes next in `handle_frames`.
pub(crate) fn start(_link: &mut Link) -> Box<dyn FrontEnd> {
    Box::new(Unserved)
}

/// Until SMB1 is here: closes the connection.
struct Unserved;

impl FrontEnd for Unserved {
    fn handle_frames(
        &mut self,
        link: &mut Link,
        _frames: Vec<bytes::BytesMut>,
        _now: crate::Now,
    ) {
        link.close("SMB1 is not served");
    }
    fn handle_signal(&mut self, _: &mut Link, _: crate::Signal, _: crate::Now) {}
    fn handle_timeout(&mut self, _: &mut Link, _: crate::Now) {}
    fn next_timeout(&self) -> Option<std::time::Duration> {
        None
    }
    fn apply_policy(&mut self, _: &mut Link, _: crate::Now) -> crate::PolicyOutcome {
        crate::PolicyOutcome::default()
    }
    fn disconnected(&mut self, _: &mut Link, _: crate::Now) {}
}
