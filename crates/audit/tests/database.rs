//! What is written is counted together, pruned, and readable meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's own helpers may fail loudly"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use countersign_audit::{
    Counts, Database, DatabaseError, KeepLimits, Losses, Note, Outcome, SCHEMA, SinkConfig, Way,
    Writer, WriterConfig, now,
};

const PATIENCE: Duration = Duration::from_secs(20);

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
        ..KeepLimits::default()
    };
    assert_eq!(
        database.prune(None, &limits).unwrap(),
        0,
        "the time is not known"
    );
    assert_eq!(database.prune(Some(19 * DAY), &limits).unwrap(), 10);
    let limits = KeepLimits {
        records: 3,
        ..limits
    };
    assert_eq!(database.prune(None, &limits).unwrap(), 7);
    let rows = database.ways(0).unwrap();
    let users: Vec<&str> = rows.iter().map(|row| row.way.user.as_str()).collect();
    assert_eq!(users, ["u19", "u18", "u17"], "the longest unseen went");
    assert_eq!(KeepLimits::default().days, 90);
    assert_eq!(KeepLimits::default().records, 200_000);
    assert_eq!(KeepLimits::default().bytes, 256 << 20);
}

#[test]
fn the_size_is_limited_however_long_the_names_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let mut database = Database::create(&path).unwrap();
    let limits = KeepLimits {
        bytes: 2 << 20,
        ..KeepLimits::default()
    };
    let long = "\u{1F4BE}".repeat(256);
    let mut largest = 0;
    for round in 0..6_u64 {
        let notes: Vec<Note> = (0..500)
            .map(|n| {
                let mut note = note(&format!("{long}{round}-{n}"), round * 1000 + n);
                note.way.machine.clone_from(&long);
                note
            })
            .collect();
        database.write(&notes).unwrap();
        database.prune(None, &limits).unwrap();
        assert!(database.used().unwrap() <= limits.bytes);
        largest = largest.max(std::fs::metadata(&path).unwrap().len());
    }
    assert!(database.records().unwrap() > 100, "no more went than must");
    let newest = &database.ways(0).unwrap()[0].way.user;
    assert!(newest.ends_with("5-499"), "the longest unseen went");
    assert!(largest < 12 << 20, "{largest}: pages are used again");
}

#[test]
fn an_earlier_schema_is_made_this_one_and_keeps_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let mut database = Database::create(&path).unwrap();
    database.write(&[note("a", 100)]).unwrap();
    drop(database);
    // What version 1 was: without the table of losses.
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch("DROP TABLE lost; PRAGMA user_version = 1;")
        .unwrap();
    // Commands read it before a server has been started.
    let reader = Database::open(&path).unwrap();
    assert_eq!(reader.ways(0).unwrap().len(), 1);
    assert_eq!(reader.lost(0).unwrap(), Losses::default());
    // A server of the old version goes on writing while the new one starts.
    let mut new = Database::create(&path).unwrap();
    old.execute("UPDATE seen SET connections = connections + 1", [])
        .unwrap();
    let lost = Losses {
        dropped: 2,
        failed: 3,
    };
    new.write_with(&[note("a", 101)], 101, lost).unwrap();
    new.write_with(&[], DAY + 1, lost).unwrap();
    assert_eq!(new.ways(0).unwrap()[0].counts.connections, 3);
    assert_eq!(new.lost(0).unwrap(), lost.plus(lost));
    assert_eq!(new.lost(DAY).unwrap(), lost);
    let version: i64 = old
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, SCHEMA);
}

/// Writes for as long as it lives, when it is started by the test below.
#[test]
#[ignore = "the child of another test"]
fn child_that_writes() {
    let Ok(path) = std::env::var("COUNTERSIGN_AUDIT_CHILD") else {
        return;
    };
    let config = WriterConfig {
        batch: 8,
        linger: Duration::from_millis(1),
        keep: KeepLimits {
            records: 50,
            ..KeepLimits::default()
        },
        ..WriterConfig::default()
    };
    let writer = Writer::start(Path::new(&path), config).unwrap();
    for n in 0_u64.. {
        writer.feed().note(note(&format!("u{}", n % 100), n));
        if n % 16 == 0 {
            writer.feed().flush(PATIENCE);
        }
    }
}

#[test]
fn killed_at_any_time_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let mut before = 0;
    for round in 0..15_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes", "--ignored"])
            .env("COUNTERSIGN_AUDIT_CHILD", &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(20 + round * 23));
        child.kill().unwrap();
        child.wait().unwrap();
        // Commands read what a dead server left behind, without one that runs.
        let reader = match Database::open(&path) {
            Err(DatabaseError::Missing(_)) => continue,
            other => other,
        };
        // Killed before the first table.
        let Ok(rows) = reader.and_then(|reader| reader.check().and(reader.ways(0))) else {
            assert_eq!(before, 0, "round {round}");
            continue;
        };
        let sum: u64 = rows.iter().map(|row| row.counts.connections).sum();
        assert!(sum >= before, "round {round}: {sum} after {before}");
        for row in rows {
            // A note is in it whole or not at all.
            let counts = row.counts;
            assert_eq!(
                (counts.bytes_in, counts.bytes_out, counts.clear),
                (
                    counts.connections * 10,
                    counts.connections * 100,
                    counts.connections
                )
            );
        }
        before = sum;
    }
    assert!(before > 0);
}

#[test]
fn a_damaged_database_is_put_aside_and_a_new_one_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let aside = || {
        std::fs::read_dir(folder.path())
            .unwrap()
            .flatten()
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.starts_with("audit.db.damaged-") && !name.ends_with("-wal")
            })
            .count()
    };
    std::fs::write(&path, "not a database at all, really not").unwrap();
    let writer = Writer::start(&path, WriterConfig::default()).unwrap();
    assert_eq!(aside(), 1);
    assert!(writer.feed().news()[0].contains("put aside"));
    writer.feed().note(note("a", now()));
    assert!(writer.feed().flush(PATIENCE));
    assert_eq!(Database::open(&path).unwrap().ways(0).unwrap().len(), 1);
    for n in 0..500 {
        writer.feed().note(note(&format!("u{n}"), now()));
    }
    assert!(writer.feed().flush(PATIENCE));
    writer.stop(PATIENCE);
    let log = folder.path().join("audit.db-wal");
    let end = Instant::now() + PATIENCE;
    while log.exists() {
        assert!(
            Instant::now() < end,
            "the last one to close it clears the log away"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    // Every page but the first: opening it finds nothing, writing does.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    let writer = Writer::start(&path, WriterConfig::default()).unwrap();
    let end = Instant::now() + PATIENCE;
    while aside() < 2 {
        writer.feed().note(note("b", now()));
        writer.feed().flush(PATIENCE);
        assert!(Instant::now() < end, "{:?}", writer.feed().trouble());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(
        writer.feed().flush(PATIENCE),
        "{:?}",
        writer.feed().trouble()
    );
    let reader = Database::open(&path).unwrap();
    reader.check().unwrap();
    assert!(
        reader
            .ways(0)
            .unwrap()
            .iter()
            .any(|row| row.way.user == "b")
    );
    assert_eq!(
        writer.feed().losses(),
        Losses::default(),
        "no note was lost"
    );
}

#[test]
fn what_cannot_be_written_waits_as_long_as_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not-yet/audit.db");
    let config = WriterConfig {
        queue: 20,
        batch: 4,
        ..WriterConfig::default()
    };
    let writer = Writer::start(&path, config).unwrap();
    assert!(writer.feed().trouble().is_some());
    for n in 0..100 {
        writer.feed().note(note(&format!("u{n}"), now()));
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!writer.feed().flush(PATIENCE), "it says so");
    let lost = writer.feed().unwritten_losses();
    assert_eq!(lost.dropped + lost.failed, 80, "{lost:?}");
    // The disk comes back.
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let end = Instant::now() + PATIENCE;
    while !writer.feed().flush(PATIENCE) {
        assert!(Instant::now() < end, "{:?}", writer.feed().trouble());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(writer.feed().trouble(), None);
    let reader = Database::open(&path).unwrap();
    assert_eq!(reader.records().unwrap(), 20);
    assert_eq!(
        reader.lost(0).unwrap(),
        lost,
        "and it is known what is missing"
    );
    assert_eq!(writer.feed().unwritten_losses(), Losses::default());
}

#[test]
fn very_many_peers_do_not_make_it_grow_between_prunings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let config = WriterConfig {
        keep: KeepLimits {
            records: 1000,
            ..KeepLimits::default()
        },
        ..WriterConfig::default()
    };
    let writer = Writer::start(&path, config).unwrap();
    for n in 0..20_500 {
        let mut one = note(&format!("u{n}"), now());
        while !writer.feed().offer(one) {
            std::thread::sleep(Duration::from_millis(1));
            one = note(&format!("u{n}"), now());
        }
    }
    assert!(writer.feed().flush(Duration::from_secs(60)));
    let records = Database::open(&path).unwrap().records().unwrap();
    assert!((1000..=2500).contains(&records), "{records}");
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
        assert_eq!(writer.feed().losses(), Losses::default());
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
    let dropped = writer.feed().losses().dropped;
    assert!(dropped >= 900, "{dropped}");
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
