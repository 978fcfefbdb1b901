//! What the commands on remote files share: who logs on and how, the connection,
//! progress, and how entries and failures are shown.

pub(crate) mod copying;
pub(crate) mod login;
mod meeting;
pub(crate) mod outcome;
pub(crate) mod present;
pub(crate) mod progress;
pub(crate) mod session;
