//! What the tests of this crate share.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::sync::Arc;

use countersign_fs::SmbPath;
use countersign_fs::backend::{Backend, BackendOpen, Handle};
use countersign_localfs::{LocalFs, LocalOptions};

pub fn p(path: &str) -> SmbPath {
    SmbPath::parse(path).unwrap()
}

pub fn share() -> (tempfile::TempDir, Arc<LocalFs>) {
    let dir = tempfile::tempdir().unwrap();
    let fs = LocalFs::open(dir.path(), LocalOptions::default()).unwrap();
    (dir, fs)
}

pub fn read() -> BackendOpen {
    BackendOpen {
        read: true,
        ..BackendOpen::default()
    }
}

pub fn read_write() -> BackendOpen {
    BackendOpen {
        read: true,
        write: true,
        ..BackendOpen::default()
    }
}

pub fn new_file() -> BackendOpen {
    BackendOpen {
        create: true,
        attributes: countersign_wire::fscc::FileAttributes::ARCHIVE,
        ..read_write()
    }
}

pub fn new_folder() -> BackendOpen {
    BackendOpen {
        create: true,
        directory: true,
        ..read()
    }
}

pub fn create(fs: &LocalFs, path: &str) -> Arc<dyn Handle> {
    fs.open(&p(path), &new_file()).unwrap()
}

pub fn list(fs: &LocalFs, path: &str) -> Vec<String> {
    let handle = fs.open(&p(path), &read()).unwrap();
    let mut cursor = handle.list().unwrap();
    let mut out = Vec::new();
    while let Some(entry) = cursor.next(&mut |_, _| true).unwrap() {
        out.push(entry.name);
    }
    out.sort();
    out
}
