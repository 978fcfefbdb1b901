//! The client's SMB1 engine against the server's.

mod files;
mod quirks;
mod rig;
mod signing;

use crate::*;
use rig::*;
