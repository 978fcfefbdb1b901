//! Changes by the host.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use countersign_fs::backend::{Backend, HostChange, WatchSink};
use countersign_fs::{ChangeAction, FsError};
use countersign_localfs::{LocalFs, LocalLimits, LocalOptions};
use parking_lot::Mutex;
use support::*;

struct Sink(Mutex<Sender<HostChange>>);

impl WatchSink for Sink {
    fn changed(&self, change: HostChange) {
        let _ = self.0.lock().send(change);
    }
    fn overflow(&self) {}
}

fn sink() -> (Arc<Sink>, Receiver<HostChange>) {
    let (tx, rx) = channel();
    (Arc::new(Sink(Mutex::new(tx))), rx)
}

/// The next change, past repeated modifications.
fn next(rx: &Receiver<HostChange>) -> (ChangeAction, String, bool) {
    let c = rx.recv_timeout(Duration::from_secs(10)).unwrap();
    (c.change.action, c.change.name, c.directory)
}

fn until(rx: &Receiver<HostChange>, action: ChangeAction, name: &str) -> HostChange {
    loop {
        let c = rx.recv_timeout(Duration::from_secs(10)).unwrap();
        if c.change.action == action && c.change.name == name {
            return c;
        }
    }
}

#[test]
fn a_folder_tells_what_the_host_does() {
    use ChangeAction::*;
    let (dir, fs) = share();
    let (s, rx) = sink();
    let _watch = fs.watch(&p(""), false, s).unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    assert_eq!(next(&rx), (Added, "d".into(), true));
    std::fs::write(dir.path().join("d/below"), b"not reported").unwrap();
    std::fs::write(dir.path().join("a:b"), b"x").unwrap();
    assert_eq!(next(&rx), (Added, "a\u{F022}b".into(), false));
    assert!(!until(&rx, Modified, "a\u{F022}b").metadata_only);
    std::fs::rename(dir.path().join("a:b"), dir.path().join("c")).unwrap();
    until(&rx, RenamedOldName, "a\u{F022}b");
    assert_eq!(next(&rx), (RenamedNewName, "c".into(), false));
    std::fs::rename(dir.path().join("c"), dir.path().join("d/c")).unwrap();
    assert_eq!(next(&rx), (Removed, "c".into(), false));
    std::fs::remove_file(dir.path().join("d/c")).unwrap();
    std::fs::remove_file(dir.path().join("d/below")).unwrap();
    std::fs::remove_dir(dir.path().join("d")).unwrap();
    assert_eq!(next(&rx), (Removed, "d".into(), true));
}

#[test]
fn a_tree_tells_of_new_folders_too() {
    use ChangeAction::*;
    let (dir, fs) = share();
    std::fs::create_dir_all(dir.path().join("w/one/two")).unwrap();
    let (s, rx) = sink();
    let watch = fs.watch(&p("w"), true, s).unwrap();
    std::fs::write(dir.path().join("w/one/two/f"), b"").unwrap();
    assert_eq!(next(&rx), (Added, r"one\two\f".into(), false));
    std::fs::create_dir(dir.path().join("w/new")).unwrap();
    assert_eq!(next(&rx), (Added, "new".into(), true));
    std::fs::write(dir.path().join("w/new/f"), b"").unwrap();
    until(&rx, Added, r"new\f");
    std::fs::rename(dir.path().join("w/new"), dir.path().join("w/one/moved")).unwrap();
    until(&rx, RenamedNewName, r"one\moved");
    std::fs::write(dir.path().join("w/one/moved/g"), b"").unwrap();
    until(&rx, Added, r"one\moved\g");
    // What leaves the tree is not told any more.
    std::fs::rename(dir.path().join("w/one/moved"), dir.path().join("gone")).unwrap();
    until(&rx, Removed, r"one\moved");
    std::fs::write(dir.path().join("gone/h"), b"").unwrap();
    std::fs::write(dir.path().join("w/last"), b"").unwrap();
    assert_eq!(next(&rx), (Added, "last".into(), false));
    drop(watch);
}

#[test]
fn own_changes_are_left_out() {
    let (dir, fs) = share();
    let (s, rx) = sink();
    let _watch = fs.watch(&p(""), true, s).unwrap();
    let h = create(&fs, "ours");
    h.write(b"data", 0).unwrap();
    h.set_attributes(countersign_wire::fscc::FileAttributes::HIDDEN)
        .unwrap();
    fs.rename(&p("ours"), &p("renamed"), false).unwrap();
    fs.open(&p("folder"), &new_folder()).unwrap();
    fs.remove(&p("renamed")).unwrap();
    std::fs::write(dir.path().join("host"), b"").unwrap();
    assert_eq!(next(&rx), (ChangeAction::Added, "host".into(), false));
}

#[test]
fn watched_folders_are_limited_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..20 {
        std::fs::create_dir(dir.path().join(format!("d{i}"))).unwrap();
    }
    let limits = LocalLimits {
        watched_folders: 15,
        ..LocalLimits::default()
    };
    let fs = LocalFs::open(
        dir.path(),
        LocalOptions {
            limits,
            ..LocalOptions::default()
        },
    )
    .unwrap();
    let (s, rx) = sink();
    assert_eq!(
        fs.watch(&p(""), true, s.clone()).map(|_| ()).unwrap_err(),
        FsError::InsufficientResources
    );
    for _ in 0..50 {
        drop(fs.watch(&p("d1"), false, s.clone()).unwrap());
    }
    let _a = fs.watch(&p("d1"), false, s.clone()).unwrap();
    let _b = fs.watch(&p("D1"), false, s).unwrap();
    std::fs::write(dir.path().join("d1/f"), b"").unwrap();
    for _ in 0..2 {
        assert_eq!(next(&rx), (ChangeAction::Added, "f".into(), false));
    }
    create(&fs, "file");
    assert!(fs.watch(&p("file"), false, sink().0).is_err());
    assert!(fs.watch(&p("none"), false, sink().0).is_err());
}
