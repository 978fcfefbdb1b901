//! What is written is counted together, pruned, and readable meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's own helpers may fail loudly"
)]

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use countersign_audit::{
    Counts, Database, DatabaseError, KeepLimits, Note, Outcome, SCHEMA, SinkConfig, Way, Writer,
    WriterConfig, now,
};

const DAY: u64 = 86_400;

fn way(user: &str) -> Way {
    Way {
        address: "10.0.5.7".parse().unwrap(),
        machine: "SCANNER".to_owned(),
        user: user.to_owned(),
        identity: "user".to_owned(),
        dialect: "smb1".to_owned(),
        offered: "smb1".to_owned(),
        can_sign: false,
        insists: false,
        announced: true,
        key: true,
        signing_required: false,
        algorithm: String::new(),
        cipher: String::new(),
        authentication: "ntlmv2".to_owned(),
        outcome: Outcome::Accepted,
        reason: "not-required".to_owned(),
        exception: String::new(),
    }
}

fn note(user: &str, at: u64) -> Note {
    Note {
        at,
        way: way(user),
        counts: Counts {
            connections: 1,
            bytes_in: 10,
            bytes_out: 100,
            clear: 1,
            ..Counts::default()
        },
    }
}

#[test]
fn one_way_of_coming_is_one_record_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let mut database = Database::create(&path).unwrap();
    let notes = [
        note("a", 100),
        note("a", 50),
        note("a", DAY + 1),
        note("b", 60),
    ];
    database.write(&notes).unwrap();
    assert_eq!(database.records().unwrap(), 3);
    let rows = database.ways(0).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].way, way("a"), "every column comes back");
    assert_eq!((rows[0].first_seen, rows[0].last_seen), (50, DAY + 1));
    assert_eq!(rows[0].counts.connections, 3);
    assert_eq!(rows[0].counts.bytes(), 330);
    assert_eq!(rows[0].counts.clear, 3);
    assert_eq!(
        database.ways(101).unwrap().len(),
        1,
        "only what was seen since"
    );
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn old_days_and_too_many_records_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut database = Database::create(&folder.path().join("audit.db")).unwrap();
    let all: Vec<Note> = (0..20).map(|n| note(&format!("u{n}"), n * DAY)).collect();
    database.write(&all).unwrap();
    let limits = KeepLimits {
        days: 9,
        records: 1000,
    };
    assert_eq!(database.prune(19 * DAY, &limits).unwrap(), 10);
    let limits = KeepLimits {
        days: 9,
        records: 3,
    };
    assert_eq!(database.prune(19 * DAY, &limits).unwrap(), 7);
    let rows = database.ways(0).unwrap();
    let users: Vec<&str> = rows.iter().map(|row| row.way.user.as_str()).collect();
    assert_eq!(users, ["u19", "u18", "u17"], "the longest unseen went");
    assert_eq!(KeepLimits::default().days, 90);
    assert_eq!(KeepLimits::default().records, 200_000);
}

#[test]
fn several_servers_write_and_a_reader_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let writers: Vec<Writer> = (0..3)
        .map(|_| Writer::start(&path, WriterConfig::default()).unwrap())
        .collect();
    let reader = Database::open(&path).unwrap();
    std::thread::scope(|scope| {
        for writer in &writers {
            scope.spawn(|| {
                for n in 0..200 {
                    writer.feed().note(note(&format!("u{}", n % 10), now()));
                    if n % 50 == 0 {
                        assert!(writer.feed().flush(Duration::from_secs(20)));
                    }
                }
                assert!(writer.feed().flush(Duration::from_secs(20)));
            });
        }
        // Reading goes on meanwhile.
        for _ in 0..20 {
            reader.ways(0).unwrap();
        }
    });
    let rows = reader.ways(0).unwrap();
    assert_eq!(rows.len(), 10);
    let sum: u64 = rows.iter().map(|row| row.counts.connections).sum();
    assert_eq!(sum, 600);
    for writer in writers {
        assert_eq!((writer.feed().dropped(), writer.feed().failed()), (0, 0));
        writer.stop(Duration::from_secs(5));
    }
}

#[test]
fn what_does_not_fit_is_dropped_and_counted_and_nobody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    // Another process holds the database: the writer waits, the feed must not.
    let holder = rusqlite::Connection::open(&path).unwrap();
    let config = WriterConfig {
        queue: 16,
        batch: 1,
        linger: Duration::ZERO,
        sinks: SinkConfig::default(),
        ..WriterConfig::default()
    };
    let writer = Writer::start(&path, config).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    for n in 0..1000 {
        writer.feed().note(note(&format!("u{n}"), 1));
    }
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        writer.feed().dropped() >= 900,
        "{}",
        writer.feed().dropped()
    );
    holder.execute_batch("COMMIT").unwrap();
    assert!(writer.feed().flush(Duration::from_secs(20)));
}

#[test]
fn a_later_schema_and_a_missing_file_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    assert!(matches!(
        Database::open(&path),
        Err(DatabaseError::Missing(_))
    ));
    drop(Database::create(&path).unwrap());
    drop(Database::create(&path).unwrap());
    let later = rusqlite::Connection::open(&path).unwrap();
    later
        .pragma_update(None, "user_version", SCHEMA + 1)
        .unwrap();
    drop(later);
    for result in [Database::open(&path), Database::create(&path)] {
        assert!(matches!(result, Err(DatabaseError::Newer { found, .. }) if found == SCHEMA + 1));
    }
    std::fs::write(
        folder.path().join("no.db"),
        "not a database at all, really not",
    )
    .unwrap();
    assert!(Database::create(&folder.path().join("no.db")).is_err());
}
