//! The audit database: what every peer could and did do, reports over it, and
//! what a change of policy would mean for the peers that were seen.
//!
//! A server feeds [`Writer`] with [`Note`]s and [`AuditEvent`]s through a bounded
//! channel; a thread of its own writes them to SQLite and to the sinks. Commands
//! open the same file with [`Database::open`] while it is written.
#![forbid(unsafe_code)]

mod client_event;
mod database;
mod event;
mod printable;
mod prune;
mod record;
mod report;
mod sink;
mod store;
pub mod time;
mod what_if;
mod writer;

pub use client_event::{ClientSwitches, ServerSeen, client_events};
pub use database::{Database, DatabaseError, Losses, SCHEMA};
pub use event::{AuditEvent, Severity, Switches, events_of};
pub use printable::printable;
pub use prune::KeepLimits;
pub use record::{Counts, DIALECTS, Note, Outcome, Row, Way, dialect_rank};
pub use report::{Peer, Protection, Report};
pub use sink::{Sink, SinkConfig, Syslog};
pub use what_if::{Affected, Answer, Change, ChangeError, Cost, Standing, once_each, what_if};
pub use writer::{Feed, Writer, WriterConfig};

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// The database's file in a state folder.
pub const FILE: &str = "audit.db";
