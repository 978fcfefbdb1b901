//! Paths: case, mapping, short names, and attempts to leave the share.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use countersign_fs::backend::{Backend, Lookup};
use countersign_fs::{FsError, SmbPath};
use countersign_localfs::{LocalFs, LocalOptions};
use proptest::prelude::*;
use support::*;

fn found(fs: &LocalFs, path: &str) -> Option<String> {
    match fs.lookup(&p(path), false) {
        Ok(Lookup::Found { real, .. }) => Some(real.to_string()),
        _ => None,
    }
}

#[test]
fn case_is_kept_and_not_asked_for() {
    let (dir, fs) = share();
    std::fs::create_dir_all(dir.path().join("Some/Deep/Folder")).unwrap();
    std::fs::write(dir.path().join("Some/Deep/Folder/Größe.TXT"), b"x").unwrap();
    assert_eq!(
        found(&fs, r"SOME\deep\fOLDER\grÖSSE.txt"),
        None,
        "ß has no single upper-case letter"
    );
    assert_eq!(
        found(&fs, r"SOME\deep\fOLDER\GRÖßE.txt").unwrap(),
        r"Some\Deep\Folder\Größe.TXT"
    );
    // Exact goes before another case.
    std::fs::write(dir.path().join("a"), b"lower").unwrap();
    std::fs::write(dir.path().join("A"), b"upper").unwrap();
    assert_eq!(found(&fs, "a").unwrap(), "a");
    assert_eq!(found(&fs, "A").unwrap(), "A");
    match fs.lookup(&p("NEW"), false).unwrap() {
        Lookup::Missing { real } => assert_eq!(real.to_string(), "NEW"),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        fs.lookup(&p(r"none\x"), false).unwrap_err(),
        FsError::PathNotFound
    );
    assert_eq!(
        fs.lookup(&p(r"a\x"), false).unwrap_err(),
        FsError::NotADirectory
    );
    assert!(matches!(
        fs.lookup(&p("some"), true).unwrap(),
        Lookup::Missing { .. }
    ));
}

#[test]
fn own_and_host_changes_are_seen_at_once() {
    let (dir, fs) = share();
    assert_eq!(found(&fs, "ONE"), None);
    std::fs::write(dir.path().join("one"), b"").unwrap();
    assert_eq!(found(&fs, "ONE").unwrap(), "one");
    fs.remove(&p("one")).unwrap();
    assert_eq!(found(&fs, "ONE"), None);
    create(&fs, "two");
    assert_eq!(found(&fs, "TWO").unwrap(), "two");
    fs.rename(&p("two"), &p("Three"), false).unwrap();
    assert_eq!(found(&fs, "TWO"), None);
    assert_eq!(found(&fs, "THREE").unwrap(), "Three");
    std::fs::rename(dir.path().join("Three"), dir.path().join("four")).unwrap();
    assert_eq!(found(&fs, "THREE"), None);
    assert_eq!(found(&fs, "FOUR").unwrap(), "four");
}

#[test]
fn a_large_folder_is_read_a_few_times_and_not_for_each_name() {
    let (dir, fs) = share();
    const HOST: usize = 100_000;
    const OURS: usize = 500;
    for i in 0..HOST {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join(format!("File{i}")),
            rustix::fs::FileType::RegularFile,
            rustix::fs::Mode::from_raw_mode(0o644),
            0,
        )
        .unwrap();
    }
    for i in (0..HOST).step_by(50) {
        assert_eq!(found(&fs, &format!("FILE{i}")).unwrap(), format!("File{i}"));
    }
    let before = fs.folder_reads();
    assert!(before <= 4, "read {before} times for look-ups alone");
    for i in 0..OURS {
        assert_eq!(found(&fs, &format!("new{i}")), None);
        create(&fs, &format!("New{i}"));
        assert_eq!(found(&fs, &format!("new{i}")).unwrap(), format!("New{i}"));
        if i % 3 == 0 {
            fs.remove(&p(&format!("New{i}"))).unwrap();
        }
    }
    // Only the age limit may make it read again.
    let reads = fs.folder_reads() - before;
    assert!(reads <= 8, "read {reads} times for {OURS} insertions");
}

#[test]
fn names_windows_forbids_are_mapped_and_back() {
    let (dir, fs) = share();
    for name in [
        "a:b",
        "what?",
        "pipe|",
        "quote\"",
        "back\\slash",
        "end.",
        "end ",
        "bell\x07",
    ] {
        std::fs::write(dir.path().join(name), name).unwrap();
    }
    let listed = list(&fs, "");
    assert_eq!(listed.len(), 8 + 2);
    for name in listed.iter().filter(|n| !matches!(n.as_str(), "." | "..")) {
        assert!(SmbPath::parse(name).is_ok(), "{name:?}");
        assert_eq!(&found(&fs, name).unwrap(), name);
        fs.open(&p(name), &read()).unwrap();
    }
    create(&fs, "new\u{F025}");
    assert!(dir.path().join("new?").exists());
    create(&fs, "other\u{F03C}");
    assert!(dir.path().join("other<").exists());
    // A private character that lies on disk as it is can be reached too.
    std::fs::write(dir.path().join("literal\u{F022}"), b"1").unwrap();
    let handle = fs.open(&p("literal\u{F022}"), &read()).unwrap();
    assert_eq!(handle.metadata().unwrap().end_of_file, 1);
    fs.remove(&p("literal\u{F022}")).unwrap();
    assert!(!dir.path().join("literal\u{F022}").exists());
}

#[test]
fn names_that_are_not_utf8_can_be_listed_opened_renamed_and_removed() {
    let (dir, fs) = share();
    let raw = std::ffi::OsStr::from_bytes(b"caf\xe9.txt");
    std::fs::write(dir.path().join(raw), b"latin").unwrap();
    let shown = list(&fs, "")
        .into_iter()
        .find(|n| n.starts_with("caf"))
        .unwrap();
    assert_eq!(shown, "caf\u{F1E9}.txt");
    assert_eq!(
        fs.open(&p(&shown), &read())
            .unwrap()
            .metadata()
            .unwrap()
            .end_of_file,
        5
    );
    assert_eq!(found(&fs, "CAF\u{F1E9}.TXT").unwrap(), shown);
    fs.rename(&p(&shown), &p("plain.txt"), false).unwrap();
    assert!(dir.path().join("plain.txt").exists());
    fs.rename(&p("plain.txt"), &p(&shown), false).unwrap();
    assert!(dir.path().join(raw).exists());
    fs.remove(&p(&shown)).unwrap();
    assert!(!dir.path().join(raw).exists());
}

#[test]
fn short_names_lead_to_the_file() {
    let (dir, fs) = share();
    std::fs::create_dir(dir.path().join("Program Files")).unwrap();
    std::fs::write(dir.path().join("Program Files/A long name.html"), b"x").unwrap();
    let folder = fs.short_name(&p("Program Files")).unwrap();
    let file = fs
        .short_name(&p(r"Program Files\A long name.html"))
        .unwrap();
    assert_eq!(
        found(&fs, &format!(r"{folder}\{}", file.to_lowercase())).unwrap(),
        r"Program Files\A long name.html"
    );
    let off = LocalOptions {
        short_names: false,
        ..LocalOptions::default()
    };
    let fs = LocalFs::open(dir.path(), off).unwrap();
    assert_eq!(found(&fs, &folder), None);
    assert_eq!(
        fs.short_name(&p("Program Files")).unwrap_err(),
        FsError::NameNotFound
    );
}

#[test]
fn links_inside_are_followed_and_links_out_are_refused() {
    for kernel_resolution in [true, false] {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("share");
        std::fs::create_dir_all(root.join("inside/deeper")).unwrap();
        std::fs::write(root.join("inside/file"), b"in").unwrap();
        std::fs::write(outer.path().join("secret"), b"out").unwrap();
        symlink("inside", root.join("in-link")).unwrap();
        symlink("../file", root.join("inside/deeper/up-link")).unwrap();
        symlink("..", root.join("out")).unwrap();
        symlink("../secret", root.join("secret-link")).unwrap();
        symlink(outer.path().join("secret"), root.join("absolute")).unwrap();
        symlink("/proc/self/root", root.join("magic")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let options = LocalOptions {
            kernel_resolution,
            ..LocalOptions::default()
        };
        let fs = LocalFs::open(&root, options).unwrap();

        for path in [r"in-link\file", r"IN-LINK\FILE", r"inside\deeper\up-link"] {
            let got = fs.open(&p(path), &read());
            assert_eq!(got.is_ok(), kernel_resolution, "{path}");
        }
        for path in [
            r"out\secret",
            r"OUT\secret",
            "secret-link",
            "SECRET-LINK",
            "absolute",
            r"magic\etc\passwd",
            "dangling",
            "loop",
        ] {
            let e = fs.open(&p(path), &read()).unwrap_err();
            assert!(
                matches!(
                    e,
                    FsError::AccessDenied | FsError::NotADirectory | FsError::PathNotFound
                ),
                "{path} {e:?}"
            );
            assert!(
                !matches!(fs.lookup(&p(path), false), Ok(Lookup::Found { .. })),
                "{path}"
            );
        }
        for path in [r"out\new", r"magic\tmp\new", "dangling"] {
            assert!(fs.open(&p(path), &new_file()).is_err(), "{path}");
            assert!(
                fs.rename(&p(r"inside\file"), &p(&format!(r"{path}\x")), true)
                    .is_err()
            );
        }
        assert!(fs.remove(&p(r"out\secret")).is_err());
        assert!(fs.link(&p(r"out\secret"), &p("got"), false).is_err());
        assert!(fs.rename(&p(r"out\secret"), &p("got"), false).is_err());
        assert!(fs.open(&p(r"secret-link:stream"), &new_file()).is_err());
        let listed = list(&fs, "");
        assert!(
            !listed
                .iter()
                .any(|n| matches!(n.as_str(), "out" | "absolute" | "dangling"))
        );
        // Removing a link removes the link.
        if kernel_resolution {
            fs.remove(&p("secret-link")).unwrap();
        }
        assert_eq!(std::fs::read(outer.path().join("secret")).unwrap(), b"out");
        assert!(!outer.path().join("new").exists());
    }
}

#[test]
fn the_reserved_folder_is_invisible_at_every_depth() {
    let (dir, fs) = share();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    for base in ["", r"sub\"] {
        let path = |s: &str| p(&format!("{base}{s}"));
        std::fs::create_dir_all(
            dir.path()
                .join(base.replace('\\', "/"))
                .join(".countersign/streams"),
        )
        .unwrap();
        assert!(matches!(
            fs.lookup(&path(".countersign"), false).unwrap(),
            Lookup::Missing { .. }
        ));
        assert!(matches!(
            fs.lookup(&path(".CounterSign"), false).unwrap(),
            Lookup::Missing { .. }
        ));
        assert_eq!(
            fs.lookup(&path(r".countersign\streams"), false)
                .unwrap_err(),
            FsError::PathNotFound
        );
        assert!(fs.open(&path(".COUNTERSIGN"), &read()).is_err());
        assert!(
            fs.open(&path(r".countersign\streams\x"), &new_file())
                .is_err()
        );
        assert!(fs.open(&path(r".Countersign"), &new_folder()).is_err());
        create(&fs, &format!("{base}f"));
        assert!(fs.rename(&path("f"), &path(".countersign"), true).is_err());
        assert!(
            fs.rename(&path("f"), &path(r".countersign\f"), true)
                .is_err()
        );
        assert!(
            fs.rename(&path(".countersign"), &path("taken"), true)
                .is_err()
        );
        assert!(fs.remove(&path(".countersign")).is_err());
        assert!(
            fs.link(&path("f"), &path(r".countersign\f"), false)
                .is_err()
        );
        fs.remove(&path("f")).unwrap();
        assert!(
            !list(&fs, base)
                .iter()
                .any(|n| n.to_lowercase().contains("countersign"))
        );
    }
}

#[test]
fn pipes_and_devices_are_neither_shown_nor_opened() {
    let (dir, fs) = share();
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    for name in ["pipe", "socket", "PIPE"] {
        assert!(fs.open(&p(name), &read()).is_err(), "{name}");
        assert!(!matches!(
            fs.lookup(&p(name), false),
            Ok(Lookup::Found { .. })
        ));
        assert!(fs.remove(&p(name)).is_err());
    }
    assert_eq!(list(&fs, ""), [".", ".."]);
}

fn component() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just("out".to_owned()),
        Just("OUT".to_owned()),
        Just("in".to_owned()),
        Just("secret".to_owned()),
        Just("\u{F029}\u{F029}".to_owned()),
        Just("..\u{F029}".to_owned()),
        Just(".countersign".to_owned()),
        Just("\u{F02F}etc".to_owned()),
        Just("proc".to_owned()),
        "[a-c]{1,2}",
        "\\PC{1,4}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_path_reaches_what_lies_outside(
        parts in proptest::collection::vec(component(), 1..6),
        separator in prop_oneof![Just("\\"), Just("/"), Just("\\\\")],
        lead in prop_oneof![Just(""), Just("\\"), Just("/")],
        stream in prop_oneof![Just(""), Just(":s"), Just(":..")],
    ) {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("share");
        std::fs::create_dir_all(root.join("in")).unwrap();
        std::fs::write(outer.path().join("secret"), b"secret!").unwrap();
        symlink("..", root.join("out")).unwrap();
        symlink("/", root.join("in/out")).unwrap();
        let fs = LocalFs::open(&root, LocalOptions::default()).unwrap();
        let wire = format!("{lead}{}{stream}", parts.join(separator));
        if let Ok(path) = SmbPath::parse(&wire) {
            let _ = fs.lookup(&path, false);
            if let Ok(handle) = fs.open(&path, &read_write()) {
                let mut buffer = Vec::new();
                if handle.read(&mut buffer, 0, 100).is_ok() {
                    prop_assert!(buffer != b"secret!");
                }
                let _ = handle.write(b"altered", 0);
            }
            let _ = fs.open(&path, &new_file());
            let _ = fs.rename(&path, &p("moved"), true);
            let _ = fs.remove(&path);
        }
        prop_assert_eq!(std::fs::read(outer.path().join("secret")).unwrap(), b"secret!");
        let mut outside: Vec<_> = std::fs::read_dir(outer.path()).unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        outside.sort();
        prop_assert_eq!(outside, ["secret", "share"]);
    }
}
