//! Bytes, attributes, times, streams, extended attributes, listings, renames.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use countersign_fs::backend::{Backend, BackendOpen, Lookup, SetTimes};
use countersign_fs::{Ea, FsError};
use countersign_localfs::LocalFs;
use countersign_wire::dtyp::FileTime;
use countersign_wire::fscc::FileAttributes;
use support::*;

fn attributes(fs: &LocalFs, path: &str) -> FileAttributes {
    match fs.lookup(&p(path), false).unwrap() {
        Lookup::Found { metadata, .. } => metadata.attributes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_are_written_and_read_behind_the_headroom() {
    let (_dir, fs) = share();
    let h = create(&fs, "f");
    let data: Vec<u8> = (0..1_000_000u32)
        .map(|i| u8::try_from(i % 251).unwrap())
        .collect();
    h.write(&data, 5).unwrap();
    let mut buffer = vec![0xAA; 64];
    assert_eq!(h.read(&mut buffer, 5, 2_000_000).unwrap(), data.len());
    assert_eq!(buffer[..64], [0xAA; 64]);
    assert_eq!(buffer[64..], data);
    // More room than asked for does not mean more bytes.
    let mut roomy = Vec::with_capacity(1 << 20);
    assert_eq!(h.read(&mut roomy, 5, 10).unwrap(), 10);
    assert_eq!(roomy, data[..10]);
    let mut now = Vec::new();
    assert_eq!(h.read_now(&mut now, 5, 700_000).unwrap(), Some(700_000));
    assert_eq!(now, data[..700_000]);
    assert_eq!(h.read_now(&mut now, 1_000_005, 10).unwrap(), Some(0));
    assert_eq!(h.read(&mut now, u64::MAX - 2, 10).unwrap(), 0);
    assert_eq!(
        h.write(b"x", u64::MAX - 2).unwrap_err(),
        FsError::InvalidParameter
    );
    h.set_len(10).unwrap();
    assert_eq!(h.metadata().unwrap().end_of_file, 10);
    assert_eq!(h.set_len(u64::MAX).unwrap_err(), FsError::InvalidParameter);
    h.allocate(1 << 20).unwrap();
    let m = h.metadata().unwrap();
    assert_eq!(m.end_of_file, 10);
    assert!(m.allocation_size >= 1 << 20);
    h.flush().unwrap();
    let root = fs.open(&p(""), &read()).unwrap();
    root.flush().unwrap();
    assert_eq!(
        root.read(&mut now, 0, 1).unwrap_err(),
        FsError::IsADirectory
    );
    assert_eq!(h.list().unwrap_err(), FsError::NotADirectory);
}

#[test]
fn holes_are_punched_and_told() {
    let (_dir, fs) = share();
    let h = create(&fs, "sparse");
    h.set_sparse(true).unwrap();
    assert!(
        h.metadata()
            .unwrap()
            .attributes
            .contains(FileAttributes::SPARSE_FILE)
    );
    h.write(&[1; 256 * 1024], 0).unwrap();
    h.zero(64 * 1024, 64 * 1024).unwrap();
    let ranges = h.allocated(0, 1 << 30).unwrap();
    assert_eq!(ranges, [(0, 65536), (131_072, 131_072)]);
    assert_eq!(h.allocated(70_000, 10).unwrap(), []);
    let mut buffer = Vec::new();
    h.read(&mut buffer, 65_535, 3).unwrap();
    assert_eq!(buffer, [1, 0, 0]);
    h.zero(0, u64::MAX).unwrap();
    assert_eq!(h.metadata().unwrap().end_of_file, 256 * 1024);
    assert_eq!(h.allocated(0, 1 << 30).unwrap(), []);
    // A file that is not sparse is all there, and zeros take its space.
    let dense = create(&fs, "dense");
    dense.write(&[1; 8192], 0).unwrap();
    dense.zero(0, 4096).unwrap();
    assert_eq!(dense.allocated(0, 1 << 20).unwrap(), [(0, 8192)]);
    assert_eq!(dense.allocated(8192, 1 << 20).unwrap(), []);
    assert!(dense.metadata().unwrap().allocation_size >= 8192);
    let mut start = Vec::new();
    dense.read(&mut start, 0, 4097).unwrap();
    assert_eq!((start[0], start[4095], start[4096]), (0, 0, 1));
    // Attributes set later keep the flag.
    h.set_attributes(FileAttributes::HIDDEN).unwrap();
    let m = h.metadata().unwrap();
    assert_eq!(
        m.attributes,
        FileAttributes::HIDDEN | FileAttributes::SPARSE_FILE
    );
    h.set_sparse(false).unwrap();
    assert_eq!(h.metadata().unwrap().attributes, FileAttributes::HIDDEN);
}

#[test]
fn copies_stay_in_the_host() {
    let (_dir, fs) = share();
    let (a, b) = (create(&fs, "a"), create(&fs, "b"));
    a.write(b"0123456789", 0).unwrap();
    assert_eq!(b.copy_from(a.as_ref(), 2, 3, 100).unwrap(), 8);
    let mut buffer = Vec::new();
    b.read(&mut buffer, 0, 100).unwrap();
    assert_eq!(buffer, b"\0\0\x0023456789");
}

#[test]
fn attributes_and_times_are_kept_with_the_file() {
    let (dir, fs) = share();
    let h = create(&fs, "f");
    assert_eq!(attributes(&fs, "f"), FileAttributes::ARCHIVE);
    let all = FileAttributes::READONLY | FileAttributes::HIDDEN | FileAttributes::SYSTEM;
    h.set_attributes(all).unwrap();
    assert_eq!(attributes(&fs, "f"), all);
    h.set_attributes(FileAttributes::NORMAL).unwrap();
    assert_eq!(attributes(&fs, "f"), FileAttributes::empty());
    let t = |n: u64| FileTime(133_000_000_000_000_000 + n);
    let times = SetTimes {
        creation: Some(t(1)),
        last_access: Some(t(20)),
        last_write: Some(t(300)),
        change: None,
    };
    h.set_times(&times).unwrap();
    let got = h.metadata().unwrap().times;
    assert_eq!(
        (got.creation, got.last_access, got.last_write),
        (t(1), t(20), t(300))
    );
    h.set_attributes(FileAttributes::ARCHIVE).unwrap();
    h.set_times(&SetTimes {
        last_write: Some(t(5)),
        ..SetTimes::default()
    })
    .unwrap();
    let got = h.metadata().unwrap().times;
    assert_eq!(
        (got.creation, got.last_access, got.last_write),
        (t(1), t(20), t(5))
    );
    fs.rename(&p("f"), &p("g"), false).unwrap();
    let again = LocalFs::open(dir.path(), countersign_localfs::LocalOptions::default()).unwrap();
    assert_eq!(
        again
            .open(&p("G"), &read())
            .unwrap()
            .metadata()
            .unwrap()
            .times
            .creation,
        t(1)
    );
    // What nobody may write on the host is read-only.
    std::fs::write(dir.path().join("host"), b"").unwrap();
    let mut mode = std::fs::metadata(dir.path().join("host"))
        .unwrap()
        .permissions();
    mode.set_readonly(true);
    std::fs::set_permissions(dir.path().join("host"), mode).unwrap();
    assert!(attributes(&fs, "host").contains(FileAttributes::READONLY));
    fs.open(&p("host"), &BackendOpen::default())
        .unwrap()
        .set_attributes(FileAttributes::ARCHIVE)
        .unwrap();
    assert!(
        !std::fs::metadata(dir.path().join("host"))
            .unwrap()
            .permissions()
            .readonly()
    );
    // A folder made with attributes has them.
    let how = BackendOpen {
        attributes: FileAttributes::HIDDEN,
        ..new_folder()
    };
    fs.open(&p("d"), &how).unwrap();
    assert_eq!(
        attributes(&fs, "d"),
        FileAttributes::HIDDEN | FileAttributes::DIRECTORY
    );
}

#[test]
fn streams_live_and_die_with_their_file() {
    let (dir, fs) = share();
    create(&fs, "f").write(b"base", 0).unwrap();
    assert_eq!(
        fs.open(&p("f:s"), &read()).unwrap_err(),
        FsError::NameNotFound
    );
    let s = fs.open(&p("f:Zone.Identifier"), &new_file()).unwrap();
    let big = vec![7u8; 300_000];
    s.write(&big, 0).unwrap();
    let m = s.metadata().unwrap();
    assert_eq!(m.end_of_file, 300_000);
    assert_eq!(
        m.key,
        fs.open(&p("f"), &read()).unwrap().metadata().unwrap().key
    );
    assert_eq!(
        fs.open(&p("f:ZONE.identifier"), &new_file()).unwrap_err(),
        FsError::NameCollision
    );
    let names = |path: &str| -> Vec<(String, u64)> {
        let h = fs.open(&p(path), &read()).unwrap();
        h.streams()
            .unwrap()
            .into_iter()
            .map(|s| (s.name, s.size))
            .collect()
    };
    let expected = [(String::new(), 4), ("Zone.Identifier".to_owned(), 300_000)];
    assert_eq!(names("f"), expected);
    // The name follows the file; hard links share it.
    fs.rename(&p("f"), &p("g"), false).unwrap();
    fs.link(&p("g"), &p("h"), false).unwrap();
    assert_eq!(names("h"), expected);
    let mut buffer = Vec::new();
    fs.open(&p("H:zone.identifier"), &read())
        .unwrap()
        .read(&mut buffer, 0, 1 << 20)
        .unwrap();
    assert_eq!(buffer, big);
    fs.rename(&p("h:zone.identifier"), &p("h:other"), false)
        .unwrap();
    assert_eq!(names("g")[1].0, "other");
    fs.open(&p("g:third"), &new_file()).unwrap();
    assert_eq!(
        fs.rename(&p("g:third"), &p("g:OTHER"), false).unwrap_err(),
        FsError::NameCollision
    );
    fs.rename(&p("g:third"), &p("g:OTHER"), true).unwrap();
    assert_eq!(names("g"), [(String::new(), 4), ("OTHER".to_owned(), 0)]);
    fs.remove(&p("g")).unwrap();
    assert_eq!(names("h").len(), 2);
    let depot = || -> usize {
        let fans = std::fs::read_dir(dir.path().join(".countersign/streams")).unwrap();
        fans.map(|f| std::fs::read_dir(f.unwrap().path()).unwrap().count())
            .sum()
    };
    assert_eq!(depot(), 1);
    fs.remove(&p("h")).unwrap();
    assert_eq!(depot(), 0);
    // A new file does not inherit, whatever its inode.
    for i in 0..50 {
        create(&fs, &format!("n{i}"));
        assert_eq!(names(&format!("n{i}")).len(), 1);
    }
    // Replaced by a rename: gone too. On folders: allowed. Of a missing file: makes it.
    fs.open(&p("n0:x"), &new_file()).unwrap();
    fs.rename(&p("n1"), &p("N0"), true).unwrap();
    assert_eq!(depot(), 0);
    fs.open(&p("folder"), &new_folder()).unwrap();
    let on_folder = fs.open(&p("folder:x"), &new_file()).unwrap();
    assert!(!on_folder.metadata().unwrap().is_directory());
    assert_eq!(names("folder"), [("x".to_owned(), 0)]);
    fs.remove(&p("folder:x")).unwrap();
    assert_eq!(names("folder"), []);
    fs.open(&p("made:x"), &new_file()).unwrap();
    assert_eq!(attributes(&fs, "made"), FileAttributes::ARCHIVE);
    // Nearly any character may be in a stream's name, and it stays where it belongs.
    for odd in ["?Stream*", "\u{5}Four\n", "end.", "a \"b\" "] {
        let path = p("made").with_stream(odd);
        fs.open(&path, &new_file())
            .unwrap()
            .write(odd.as_bytes(), 0)
            .unwrap();
        assert!(names("made").iter().any(|(n, _)| n == odd), "{odd:?}");
        assert_eq!(
            fs.open(&path, &new_file()).unwrap_err(),
            FsError::NameCollision
        );
        fs.remove(&path).unwrap();
    }
    for bad in ["..", ".", "a/b", "\u{F029}\u{F029}"] {
        assert!(
            fs.open(&p("made").with_stream(bad), &new_file()).is_err(),
            "{bad}"
        );
    }
    assert_eq!(names("made").len(), 2);
}

#[test]
fn a_host_copy_does_not_share_streams() {
    let (dir, fs) = share();
    create(&fs, "a");
    fs.open(&p("a:s"), &new_file()).unwrap();
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(dir.path().join("a"))
        .arg(dir.path().join("b"))
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(
        fs.open(&p("b"), &read()).unwrap().streams().unwrap().len(),
        1
    );
    fs.remove(&p("b")).unwrap();
    assert_eq!(
        fs.open(&p("a"), &read()).unwrap().streams().unwrap().len(),
        2
    );
}

#[test]
fn extended_attributes_hide_what_is_ours() {
    let (_dir, fs) = share();
    let h = create(&fs, "f");
    h.set_attributes(FileAttributes::HIDDEN).unwrap();
    h.set_security(b"descriptor").unwrap();
    h.set_property("object-id", b"sixteen").unwrap();
    h.set_reparse(Some((0xA000_000C, b"target"))).unwrap();
    assert_eq!(h.eas().unwrap(), []);
    assert_eq!(h.metadata().unwrap().ea_size, 0);
    let ea = |name: &str, value: &[u8]| Ea {
        flags: 0,
        name: name.into(),
        value: value.into(),
    };
    h.set_ea(&ea("Author", b"me")).unwrap();
    h.set_ea(&ea("AUTHOR", b"you")).unwrap();
    assert_eq!(h.eas().unwrap(), [ea("Author", b"you")]);
    assert_eq!(h.metadata().unwrap().ea_size, 4 + 5 + 6 + 3);
    for bad in ["", "countersign.sd", "DOSattrib", "a*b", "ü"] {
        assert_eq!(
            h.set_ea(&ea(bad, b"x")).unwrap_err(),
            FsError::InvalidEaName,
            "{bad}"
        );
    }
    let huge = vec![1; 100_000];
    assert_eq!(
        h.set_ea(&ea("huge", &huge)).unwrap_err(),
        FsError::EaTooLarge
    );
    h.set_ea(&ea("author", b"")).unwrap();
    h.set_ea(&ea("never", b"")).unwrap();
    assert_eq!(h.eas().unwrap(), []);
    assert_eq!(h.security().unwrap().unwrap(), b"descriptor");
    assert_eq!(h.property("object-id").unwrap().unwrap(), b"sixteen");
    assert_eq!(h.property("other").unwrap(), None);
    assert_eq!(
        h.reparse().unwrap(),
        Some((0xA000_000C, b"target".to_vec()))
    );
    let m = h.metadata().unwrap();
    assert!(m.attributes.contains(FileAttributes::REPARSE_POINT));
    assert_eq!(m.reparse_tag, 0xA000_000C);
    h.set_reparse(None).unwrap();
    assert_eq!(h.metadata().unwrap().reparse_tag, 0);
}

#[test]
fn renames_and_links_collide_without_regard_to_case() {
    let (dir, fs) = share();
    create(&fs, "foo").write(b"foo", 0).unwrap();
    create(&fs, "bar").write(b"bar", 0).unwrap();
    fs.open(&p("d"), &new_folder()).unwrap();
    assert_eq!(
        fs.open(&p("FOO"), &new_file()).unwrap_err(),
        FsError::NameCollision
    );
    assert_eq!(
        fs.open(&p("FOO"), &new_folder()).unwrap_err(),
        FsError::NameCollision
    );
    fs.rename(&p("foo"), &p("FOO"), false).unwrap();
    assert!(dir.path().join("FOO").exists() && !dir.path().join("foo").exists());
    assert_eq!(
        fs.rename(&p("FOO"), &p("BAR"), false).unwrap_err(),
        FsError::NameCollision
    );
    fs.rename(&p("FOO"), &p("BAR"), true).unwrap();
    assert_eq!(std::fs::read(dir.path().join("BAR")).unwrap(), b"foo");
    assert_eq!(list(&fs, ""), [".", "..", "BAR", "d"]);
    assert_eq!(
        fs.rename(&p("BAR"), &p("D"), true).unwrap_err(),
        FsError::AccessDenied
    );
    fs.rename(&p("BAR"), &p(r"d\moved"), false).unwrap();
    assert_eq!(fs.remove(&p("d")).unwrap_err(), FsError::DirectoryNotEmpty);
    assert!(!fs.is_empty(&p("d")).unwrap());
    fs.link(&p(r"d\moved"), &p("linked"), false).unwrap();
    assert_eq!(
        fs.open(&p("linked"), &read())
            .unwrap()
            .metadata()
            .unwrap()
            .links,
        2
    );
    create(&fs, "old").write(b"old", 0).unwrap();
    assert_eq!(
        fs.link(&p("linked"), &p("OLD"), false).unwrap_err(),
        FsError::NameCollision
    );
    fs.link(&p("linked"), &p("OLD"), true).unwrap();
    assert_eq!(std::fs::read(dir.path().join("OLD")).unwrap(), b"foo");
    assert!(!dir.path().join("old").exists());
    // Onto another link of the same file: the old name goes.
    fs.rename(&p("linked"), &p("OLD"), true).unwrap();
    assert_eq!(list(&fs, ""), [".", "..", "OLD", "d"]);
    assert_eq!(
        fs.link(&p("d"), &p("d2"), false).unwrap_err(),
        FsError::IsADirectory
    );
    fs.remove(&p(r"d\MOVED")).unwrap();
    assert!(fs.is_empty(&p("d")).unwrap());
    fs.remove(&p("d")).unwrap();
    assert_eq!(fs.remove(&p("d")).unwrap_err(), FsError::NameNotFound);
    assert!(fs.rename(&p(""), &p("x"), false).is_err());
    assert!(fs.remove(&p("")).is_err());
}

#[test]
fn listings_stay_whole_while_the_folder_changes() {
    let (dir, fs) = share();
    for i in 0..1000 {
        std::fs::write(dir.path().join(format!("f{i:04}")), b"").unwrap();
    }
    let h = fs.open(&p(""), &read()).unwrap();
    let mut cursor = h.list().unwrap();
    assert_eq!(cursor.next(&mut |_, _| true).unwrap().unwrap().name, ".");
    assert_eq!(cursor.next(&mut |_, _| true).unwrap().unwrap().name, "..");
    let mut seen = Vec::new();
    let mut asked = 0;
    let mut wanted = |name: &str, _: Option<&str>| {
        asked += 1;
        name.ends_with('7')
    };
    while let Some(e) = cursor.next(&mut wanted).unwrap() {
        assert_eq!(e.metadata.attributes, FileAttributes::ARCHIVE);
        std::fs::remove_file(dir.path().join(&e.name)).unwrap();
        create(&fs, &format!("new{}", e.name));
        seen.push(e.name);
    }
    assert!(asked >= 1000);
    let mut old: Vec<_> = seen
        .iter()
        .filter(|n| n.starts_with('f'))
        .cloned()
        .collect();
    old.sort();
    assert_eq!(old.len(), 100);
    old.dedup();
    assert_eq!(old.len(), 100);
    // Two listings of one handle do not share a position.
    let (mut a, mut b) = (h.list().unwrap(), h.list().unwrap());
    for _ in 0..10 {
        let x = a.next(&mut |_, _| true).unwrap().unwrap();
        assert_eq!(b.next(&mut |_, _| true).unwrap().unwrap().name, x.name);
    }
}

#[test]
fn files_are_found_by_number_after_a_rename() {
    let (_dir, fs) = share();
    let key = create(&fs, "f").metadata().unwrap().key.file;
    assert_eq!(fs.path_of(key).unwrap().to_string(), "f");
    fs.rename(&p("f"), &p("g"), false).unwrap();
    assert_eq!(fs.path_of(key).unwrap().to_string(), "g");
    fs.remove(&p("g")).unwrap();
    assert_eq!(fs.path_of(key).unwrap_err(), FsError::NotFound);
    assert_eq!(fs.path_of(1).unwrap_err(), FsError::NotFound);
}

#[test]
fn volume_facts_add_up() {
    let (_dir, fs) = share();
    let v = fs.volume().unwrap();
    assert!(v.total_bytes >= v.free_bytes && v.free_bytes >= v.available_bytes);
    assert!(v.total_bytes > 0 && v.sector_size <= 4096 && v.sectors_per_unit >= 1);
    assert_ne!(v.creation, FileTime::ZERO);
}
