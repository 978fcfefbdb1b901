//! The database: one SQLite file in the state folder, in WAL mode, so that several
//! servers write it and commands read it while it is written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, params};
use serde::{Deserialize, Serialize};

use crate::prune::{self, DAY, KeepLimits};
use crate::record::{Counts, Note, Outcome, Row, Way};

/// Version of the schema, SQLite's `user_version`.
pub const SCHEMA: i64 = 2;
/// How long a statement waits for another server's.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of the write-ahead log that are kept for the next one.
const JOURNAL: i64 = 16 << 20;

/// What should have been recorded and was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Losses {
    /// Notes and events that did not fit into the queue.
    pub dropped: u64,
    /// Notes and events that could not be written.
    pub failed: u64,
}

impl Losses {
    /// Something was lost.
    pub fn any(&self) -> bool {
        self.dropped > 0 || self.failed > 0
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Losses) -> Losses {
        Losses {
            dropped: self.dropped.saturating_add(other.dropped),
            failed: self.failed.saturating_add(other.failed),
        }
    }

    /// What is here and not in an earlier count.
    #[must_use]
    pub(crate) fn since(self, before: Losses) -> Losses {
        Losses {
            dropped: self.dropped.saturating_sub(before.dropped),
            failed: self.failed.saturating_sub(before.failed),
        }
    }
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// There is none.
    #[error("{}: nothing was recorded yet", .0.display())]
    Missing(PathBuf),
    /// It was made by a later version.
    #[error("{}: schema {found} is newer than {SCHEMA}, which this version knows", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
    },
    /// SQLite's.
    #[error("{}: {source}", .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl DatabaseError {
    /// What is in the file is no database, or a damaged one.
    pub fn is_damage(&self) -> bool {
        let DatabaseError::Sqlite { source, .. } = self else {
            return false;
        };
        matches!(
            source.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    }
}

/// An open database.
pub struct Database {
    path: PathBuf,
    connection: Connection,
    /// Schema of the file as it was when it was opened.
    schema: i64,
}

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS seen (
  day INTEGER NOT NULL,
  address TEXT NOT NULL, machine TEXT NOT NULL, user TEXT NOT NULL,
  identity TEXT NOT NULL, dialect TEXT NOT NULL, offered TEXT NOT NULL,
  can_sign INTEGER NOT NULL, insists INTEGER NOT NULL, announced INTEGER NOT NULL,
  key INTEGER NOT NULL, signing_required INTEGER NOT NULL,
  algorithm TEXT NOT NULL, cipher TEXT NOT NULL, authentication TEXT NOT NULL,
  outcome TEXT NOT NULL, reason TEXT NOT NULL, exception TEXT NOT NULL,
  first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL,
  connections INTEGER NOT NULL, bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL,
  signed INTEGER NOT NULL, encrypted INTEGER NOT NULL, clear INTEGER NOT NULL,
  PRIMARY KEY (day, address, machine, user, identity, dialect, offered, can_sign,
    insists, announced, key, signing_required, algorithm, cipher, authentication,
    outcome, reason, exception)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_last ON seen (last_seen);
";

/// Schema 2: what was lost, day by day.
const SECOND: &str = "
CREATE TABLE IF NOT EXISTS lost (
  day INTEGER NOT NULL PRIMARY KEY,
  dropped INTEGER NOT NULL, failed INTEGER NOT NULL
) WITHOUT ROWID;
";

/// The columns that make a way.
pub(crate) const COLUMNS: &str =
    "address, machine, user, identity, dialect, offered, can_sign, insists,
  announced, key, signing_required, algorithm, cipher, authentication, outcome, reason,
  exception";

/// SQLite's integers are signed.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

impl Database {
    /// Opens it for writing; makes it, readable by its owner alone, if it is not there.
    ///
    /// # Errors
    /// When it cannot be opened or is of a later version.
    pub fn create(path: &Path) -> Result<Self, DatabaseError> {
        let failed = |source| DatabaseError::Sqlite {
            path: path.to_owned(),
            source,
        };
        private(path);
        let connection = Connection::open(path).map_err(failed)?;
        let mut database = Self::over(path, connection)?;
        database.prepare().map_err(failed)?;
        Ok(database)
    }

    /// Makes the tables, or those that an earlier version did not have; two servers that
    /// start at once do it one after the other.
    fn prepare(&mut self) -> rusqlite::Result<()> {
        self.connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
        self.connection
            .pragma_update(None, "journal_size_limit", JOURNAL)?;
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found < 1 {
            transaction.execute_batch(TABLES)?;
        }
        if found < 2 {
            transaction.execute_batch(SECOND)?;
            transaction.pragma_update(None, "user_version", SCHEMA)?;
        }
        transaction.commit()?;
        self.schema = found.max(SCHEMA);
        Ok(())
    }

    /// Opens it for reading, also while it is written.
    ///
    /// # Errors
    /// When there is none, it cannot be read or is of a later version.
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        if !path.exists() {
            return Err(DatabaseError::Missing(path.to_owned()));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|source| DatabaseError::Sqlite {
                path: path.to_owned(),
                source,
            })?;
        Self::over(path, connection)
    }

    fn over(path: &Path, connection: Connection) -> Result<Self, DatabaseError> {
        let failed = |source| DatabaseError::Sqlite {
            path: path.to_owned(),
            source,
        };
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        let found: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(failed)?;
        if found > SCHEMA {
            return Err(DatabaseError::Newer {
                path: path.to_owned(),
                found,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            connection,
            schema: found,
        })
    }

    /// Whether all of it can be read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), DatabaseError> {
        let said: String = self
            .connection
            .pragma_query_value(None, "quick_check", |row| row.get(0))
            .map_err(|error| self.failed(error))?;
        if said == "ok" {
            return Ok(());
        }
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        Err(self.failed(rusqlite::Error::SqliteFailure(code, Some(said))))
    }

    fn failed(&self, source: rusqlite::Error) -> DatabaseError {
        DatabaseError::Sqlite {
            path: self.path.clone(),
            source,
        }
    }

    /// Writes notes down, all of them or none.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, notes: &[Note]) -> Result<(), DatabaseError> {
        self.write_with(notes, 0, Losses::default())
    }

    /// The same, and what was lost until `at`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write_with(
        &mut self,
        notes: &[Note],
        at: u64,
        lost: Losses,
    ) -> Result<(), DatabaseError> {
        self.try_write(notes, at, lost)
            .map_err(|error| self.failed(error))
    }

    fn try_write(&mut self, notes: &[Note], at: u64, lost: Losses) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        if lost.any() {
            transaction.execute(
                "INSERT INTO lost (day, dropped, failed) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET dropped = dropped + excluded.dropped,
                   failed = failed + excluded.failed",
                [
                    integer(at / DAY),
                    integer(lost.dropped),
                    integer(lost.failed),
                ],
            )?;
        }
        {
            let mut statement = transaction.prepare_cached(&format!(
                "INSERT INTO seen (day, {COLUMNS}, first_seen, last_seen, connections,
                   bytes_in, bytes_out, signed, encrypted, clear)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,
                   ?16, ?17, ?18, ?19, ?19, ?20, ?21, ?22, ?23, ?24, ?25)
                 ON CONFLICT DO UPDATE SET
                   first_seen = min(first_seen, excluded.first_seen),
                   last_seen = max(last_seen, excluded.last_seen),
                   connections = connections + excluded.connections,
                   bytes_in = bytes_in + excluded.bytes_in,
                   bytes_out = bytes_out + excluded.bytes_out,
                   signed = signed + excluded.signed,
                   encrypted = encrypted + excluded.encrypted,
                   clear = clear + excluded.clear"
            ))?;
            for Note { at, way, counts } in notes {
                statement.execute(params![
                    integer(at / DAY),
                    way.address.to_string(),
                    way.machine,
                    way.user,
                    way.identity,
                    way.dialect,
                    way.offered,
                    way.can_sign,
                    way.insists,
                    way.announced,
                    way.key,
                    way.signing_required,
                    way.algorithm,
                    way.cipher,
                    way.authentication,
                    way.outcome.name(),
                    way.reason,
                    way.exception,
                    integer(*at),
                    integer(counts.connections),
                    integer(counts.bytes_in),
                    integer(counts.bytes_out),
                    integer(counts.signed),
                    integer(counts.encrypted),
                    integer(counts.clear),
                ])?;
            }
        }
        transaction.commit()
    }

    /// Forgets what is too old, too many or too much; gives how many records went.
    /// Without a time nothing is too old.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn prune(&mut self, now: Option<u64>, limits: &KeepLimits) -> Result<u64, DatabaseError> {
        prune::prune(&mut self.connection, now, limits).map_err(|error| self.failed(error))
    }

    /// What was lost since a time (its whole first day).
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn lost(&self, since: u64) -> Result<Losses, DatabaseError> {
        if self.schema < 2 {
            return Ok(Losses::default());
        }
        self.connection
            .query_row(
                "SELECT coalesce(sum(dropped), 0), coalesce(sum(failed), 0) FROM lost
                 WHERE day >= ?1",
                [integer(since / DAY)],
                |row| {
                    Ok(Losses {
                        dropped: natural(row.get(0)?),
                        failed: natural(row.get(1)?),
                    })
                },
            )
            .map_err(|error| self.failed(error))
    }

    /// Bytes it uses.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn used(&self) -> Result<u64, DatabaseError> {
        prune::used(&self.connection).map_err(|error| self.failed(error))
    }

    /// The ways seen since a time (seconds since 1970), each once, the last seen first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn ways(&self, since: u64) -> Result<Vec<Row>, DatabaseError> {
        self.try_ways(since).map_err(|error| self.failed(error))
    }

    fn try_ways(&self, since: u64) -> rusqlite::Result<Vec<Row>> {
        let mut statement = self.connection.prepare(&format!(
            "SELECT {COLUMNS}, min(first_seen), max(last_seen), sum(connections),
               sum(bytes_in), sum(bytes_out), sum(signed), sum(encrypted), sum(clear)
             FROM seen WHERE last_seen >= ?1 GROUP BY {COLUMNS} ORDER BY max(last_seen) DESC"
        ))?;
        let rows = statement.query_map([integer(since)], |row| {
            let address: String = row.get(0)?;
            let outcome: String = row.get(14)?;
            let number = |at: usize| row.get::<_, i64>(at).map(natural);
            Ok(Row {
                way: Way {
                    address: address
                        .parse()
                        .unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
                    machine: row.get(1)?,
                    user: row.get(2)?,
                    identity: row.get(3)?,
                    dialect: row.get(4)?,
                    offered: row.get(5)?,
                    can_sign: row.get(6)?,
                    insists: row.get(7)?,
                    announced: row.get(8)?,
                    key: row.get(9)?,
                    signing_required: row.get(10)?,
                    algorithm: row.get(11)?,
                    cipher: row.get(12)?,
                    authentication: row.get(13)?,
                    outcome: if outcome == Outcome::Refused.name() {
                        Outcome::Refused
                    } else {
                        Outcome::Accepted
                    },
                    reason: row.get(15)?,
                    exception: row.get(16)?,
                },
                first_seen: number(17)?,
                last_seen: number(18)?,
                counts: Counts {
                    connections: number(19)?,
                    bytes_in: number(20)?,
                    bytes_out: number(21)?,
                    signed: number(22)?,
                    encrypted: number(23)?,
                    clear: number(24)?,
                },
            })
        })?;
        rows.collect()
    }

    /// Records there are.
    ///
    /// # Errors
    /// When they cannot be counted.
    pub fn records(&self) -> Result<u64, DatabaseError> {
        prune::records(&self.connection).map_err(|error| self.failed(error))
    }
}

/// The file is there, for its owner alone, before SQLite makes it for all.
fn private(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt;
    // Where this fails, opening the database says why.
    let _ = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path);
}
