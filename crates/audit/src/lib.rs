//! The audit database: what every peer could and did do, reports over it, and
//! what a change of policy would mean for the peers that were seen.
//!
//! A server feeds [`Writer`] with [`Note`]s and [`AuditEvent`]s through a bounded
//! channel; a thread of its own writes them to SQLite and to the sinks. Commands
//! open the same file with [`Database::open`] while it is written.
#![forbid(unsafe_code)]

mod database;
mod event;
mod record;
mod report;
mod sink;
pub mod time;
mod what_if;
mod writer;

pub use database::{Database, DatabaseError, KeepLimits, SCHEMA};
pub use event::{AuditEvent, Severity, Switches, events_of};
pub use record::{Counts, DIALECTS, Note, Outcome, Row, Way, dialect_rank};
pub use report::{Format, Peer, Protection, Report};
pub use sink::{Sink, SinkConfig, Syslog};
pub use what_if::{Affected, Answer, Change, ChangeError, Cost, Standing, what_if};
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
