//! The SMB1 front end (NT LM 0.12), [MS-CIFS] 3.3 and [MS-SMB] 3.3.
//!
//! `front` takes frames: the gate numbers and verifies them, each becomes a
//! task, its replies leave through the gate. A task carries out the commands
//! of its message's AndX chain (`dispatch`); commands are async functions
//! polled by hand (`request` says how to write one). What the connection
//! holds is in `state`.

mod close;
mod directory;
mod disk;
mod dispatch;
mod dos_open;
mod echo;
mod exit;
mod file_io;
mod find;
mod front;
mod fs_information;
mod information;
mod locking;
mod logoff;
mod names;
mod negotiate;
mod nt_transact;
mod open;
mod path;
mod pipe;
mod query;
mod request;
mod search;
mod session_setup;
mod set;
mod state;
mod transaction;
mod tree;

use crate::connection::Now;
use crate::link::{FrontEnd, Link};

/// The front end for a connection whose first message was an SMB1 NEGOTIATE
/// that is not for SMB2; that message comes next in `handle_frames`.
pub(crate) fn start(link: &mut Link, now: Now) -> Box<dyn FrontEnd> {
    Box::new(front::Smb1::new(link, now))
}
