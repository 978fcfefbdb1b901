use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use super::memory::{Memory, MemoryError, T0};
use super::*;

fn content(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|at| {
            let [low, high, ..] = at.to_le_bytes();
            low.wrapping_mul(31).wrapping_add(seed) ^ high
        })
        .collect()
}

fn item(remote: &str, local: impl AsRef<Path>) -> Item {
    Item {
        remote: remote.to_owned(),
        local: local.as_ref().to_owned(),
        entry: None,
    }
}

fn narrow() -> Options {
    Options {
        window: 3000,
        ..Options::default()
    }
}

fn recursive() -> Options {
    Options {
        recursive: true,
        window: 5000,
        ..Options::default()
    }
}

async fn go(
    memory: &Memory,
    direction: Direction,
    items: Vec<Item>,
    options: &Options,
) -> Report<MemoryError> {
    let report = copy(
        std::slice::from_ref(memory),
        direction,
        items,
        options,
        Arc::new(Silent),
    )
    .await;
    assert_eq!(memory.under_way.load(Ordering::SeqCst), 0);
    report
}

fn causes(report: &Report<MemoryError>) -> Vec<(String, String)> {
    let mut all: Vec<_> = report
        .failures
        .iter()
        .map(|f| (f.path.clone(), f.cause.to_string()))
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn files_of_every_length_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    for length in [0, 1, 999, 1000, 1001, 5000, 12_345] {
        let source = folder.path().join(format!("up{length}"));
        let target = folder.path().join(format!("down{length}"));
        let data = content(length, 3);
        fs::write(&source, &data).unwrap();
        let name = format!("f{length}");
        let options = Options {
            window: 3000,
            ..Options::default()
        };
        let up = go(&memory, Direction::Up, vec![item(&name, &source)], &options).await;
        assert!(up.complete(), "{:?}", up.failures);
        assert_eq!((up.files, up.bytes), (1, length as u64));
        assert_eq!(memory.get(&name).unwrap(), data);
        let down = go(
            &memory,
            Direction::Down,
            vec![item(&name, &target)],
            &options,
        )
        .await;
        assert!(down.complete(), "{:?}", down.failures);
        assert_eq!(fs::read(&target).unwrap(), data);
    }
    let left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .filter(|e| {
            e.as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .ends_with(".part")
        })
        .collect();
    assert!(left.is_empty());
}

#[tokio::test]
async fn small_files_take_one_turn_and_many_are_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    memory.folder("many");
    for at in 0..300 {
        memory.file(&format!("many\\f{at}"), &content(at, 1));
    }
    let options = Options {
        jobs: 16,
        ..recursive()
    };
    let target = folder.path().join("out");
    memory.turns.store(0, Ordering::SeqCst);
    let report = go(
        &memory,
        Direction::Down,
        vec![item("many", &target)],
        &options,
    )
    .await;
    assert!(report.complete(), "{:?}", report.failures);
    assert_eq!((report.files, report.folders), (300, 1));
    // One attempt to read `many`, one list, one turn each.
    assert_eq!(memory.turns.load(Ordering::SeqCst), 302);
    let most = memory.most_under_way.load(Ordering::SeqCst);
    assert!((2..=16).contains(&most), "{most}");
    assert_eq!(fs::read(target.join("f299")).unwrap(), content(299, 1));
}

#[tokio::test]
async fn trees_go_both_ways_with_all_names() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("src");
    fs::create_dir_all(source.join("a b/ä/空")).unwrap();
    fs::create_dir_all(source.join("empty")).unwrap();
    fs::write(source.join("a b/ä/空/x y.txt"), b"deep").unwrap();
    fs::write(source.join("top"), content(7000, 9)).unwrap();
    let memory = Memory::default();
    let up = go(
        &memory,
        Direction::Up,
        vec![item("dst", &source)],
        &recursive(),
    )
    .await;
    assert!(up.complete(), "{:?}", up.failures);
    assert_eq!((up.files, up.folders), (2, 5));
    assert_eq!(memory.get("dst\\a b\\ä\\空\\x y.txt").unwrap(), b"deep");
    let back = folder.path().join("back");
    let down = go(
        &memory,
        Direction::Down,
        vec![item("dst", &back)],
        &recursive(),
    )
    .await;
    assert!(down.complete(), "{:?}", down.failures);
    assert!(back.join("empty").is_dir());
    assert_eq!(fs::read(back.join("top")).unwrap(), content(7000, 9));
}

#[tokio::test]
async fn a_folder_needs_the_word() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    memory.folder("d");
    let options = Options::default();
    let down = go(
        &memory,
        Direction::Down,
        vec![item("d", folder.path())],
        &options,
    )
    .await;
    assert!(matches!(down.failures[0].cause, Cause::Folder));
    let up = go(
        &memory,
        Direction::Up,
        vec![item("d", folder.path())],
        &options,
    )
    .await;
    assert!(matches!(up.failures[0].cause, Cause::Folder));
}

#[tokio::test]
async fn one_failure_leaves_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    memory.folder("d");
    memory.file("d\\a", b"a");
    memory.file("d\\b", &content(9000, 1));
    memory.file("d\\c", b"c");
    memory.node("d\\link", Kind::Link, b"");
    memory.deny("d\\b");
    let target = folder.path().join("t");
    let report = go(
        &memory,
        Direction::Down,
        vec![item("d", &target)],
        &recursive(),
    )
    .await;
    assert_eq!(report.files, 2);
    assert!(!report.complete());
    let causes = causes(&report);
    assert_eq!(causes[0], ("d/b".to_owned(), "Denied".to_owned()));
    assert_eq!(causes[1].0, "d/link");
    assert!(!target.join("b").exists() && target.join("c").exists());
}

#[tokio::test]
async fn a_server_cannot_write_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    memory.folder("d");
    let inner = folder.path().join("in");
    for name in ["..", "../evil", "x/y", "/tmp/countersign-evil"] {
        memory.node(&format!("d\\{name}"), Kind::File, b"evil");
    }
    let report = go(
        &memory,
        Direction::Down,
        vec![item("d", &inner)],
        &recursive(),
    )
    .await;
    assert_eq!((report.files, report.failures.len()), (0, 4));
    assert!(
        report
            .failures
            .iter()
            .all(|f| matches!(f.cause, Cause::Name(NameError::Unsafe)))
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn an_interrupted_download_is_continued() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let data = content(20_000, 5);
    memory.file("big", &data);
    let target = folder.path().join("big");
    memory.lose_after(Some(10_000));
    let options = Options {
        window: 2000,
        ..Options::default()
    };
    let lost = go(
        &memory,
        Direction::Down,
        vec![item("big", &target)],
        &options,
    )
    .await;
    assert!(!lost.complete() && !target.exists());
    memory.lose_after(None);
    let options = Options {
        existing: Existing::Resume,
        ..options
    };
    let report = go(
        &memory,
        Direction::Down,
        vec![item("big", &target)],
        &options,
    )
    .await;
    assert!(report.complete(), "{:?}", report.failures);
    assert!(
        report.bytes > 0 && report.bytes < 20_000,
        "{}",
        report.bytes
    );
    assert_eq!(fs::read(&target).unwrap(), data);
    // Nothing is left to do, and nothing lies around.
    let again = go(
        &memory,
        Direction::Down,
        vec![item("big", &target)],
        &options,
    )
    .await;
    assert_eq!((again.files, again.skipped, again.bytes), (0, 1, 0));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_partial_file_of_another_version_is_not_continued() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    memory.file("big", &content(20_000, 5));
    let target = folder.path().join("big");
    memory.lose_after(Some(10_000));
    let options = Options {
        window: 2000,
        existing: Existing::Resume,
        ..Options::default()
    };
    go(
        &memory,
        Direction::Down,
        vec![item("big", &target)],
        &options,
    )
    .await;
    memory.lose_after(None);
    memory.file("big", &content(20_000, 6));
    memory.age("big", T0 + 60);
    let report = go(
        &memory,
        Direction::Down,
        vec![item("big", &target)],
        &options,
    )
    .await;
    assert_eq!(report.bytes, 20_000);
    assert_eq!(fs::read(&target).unwrap(), content(20_000, 6));
}

#[tokio::test]
async fn a_shorter_file_at_the_place_is_continued_only_if_it_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let data = content(20_000, 5);
    memory.file("big", &data);
    let target = folder.path().join("big");
    let options = Options {
        existing: Existing::Resume,
        ..Options::default()
    };
    fs::write(&target, &data[..7777]).unwrap();
    let report = go(
        &memory,
        Direction::Down,
        vec![item("big", &target)],
        &options,
    )
    .await;
    assert_eq!(report.bytes, 20_000 - 7777);
    assert_eq!(fs::read(&target).unwrap(), data);
    fs::write(&target, content(7777, 1)).unwrap();
    let report = go(
        &memory,
        Direction::Down,
        vec![item("big", &target)],
        &options,
    )
    .await;
    assert_eq!(report.bytes, 20_000);
    assert_eq!(fs::read(&target).unwrap(), data);
}

#[tokio::test]
async fn an_interrupted_upload_is_continued() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let data = content(20_000, 5);
    let source = folder.path().join("big");
    fs::write(&source, &data).unwrap();
    let options = Options {
        existing: Existing::Resume,
        window: 3000,
        ..Options::default()
    };
    for (there, moved) in [
        (&data[..12_000], 8000),
        (&content(12_000, 9)[..], 20_000),
        (&[], 20_000),
        (&data[..], 0),
    ] {
        memory.file("big", there);
        let report = go(&memory, Direction::Up, vec![item("big", &source)], &options).await;
        assert!(report.complete(), "{:?}", report.failures);
        assert_eq!(report.bytes, moved);
        assert_eq!(memory.get("big").unwrap(), data);
    }
    memory.file("big", b"");
    memory.lose_after(Some(9000));
    let lost = go(&memory, Direction::Up, vec![item("big", &source)], &options).await;
    assert!(!lost.complete());
    memory.lose_after(None);
    let report = go(&memory, Direction::Up, vec![item("big", &source)], &options).await;
    assert!(report.complete(), "{:?}", report.failures);
    assert_eq!(memory.get("big").unwrap(), data);
}

#[tokio::test]
async fn what_a_server_does_not_take_is_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let data = content(7777, 9);
    fs::write(&source, &data).unwrap();
    let memory = Memory::default();
    let options = narrow();
    let put = || go(&memory, Direction::Up, vec![item("f", &source)], &options);
    // Every write takes a third of a piece.
    memory.take(Some(333));
    let report = put().await;
    assert!(report.complete(), "{:?}", report.failures);
    assert_eq!(report.bytes, 7777);
    assert_eq!(memory.get("f").unwrap(), data);
    // A connection that comes back loses nothing.
    memory.take(None);
    memory.break_writes(3);
    let report = put().await;
    assert!(report.complete(), "{:?}", report.failures);
    assert_eq!(memory.get("f").unwrap(), data);
    // One that breaks again and again is given up.
    memory.break_writes(usize::MAX);
    let broken = [(source.display().to_string(), "Broken".to_owned())];
    assert_eq!(causes(&put().await), broken);
    memory.break_writes(0);
    // A full disk.
    memory.take(Some(0));
    let [(_, cause)] = &causes(&put().await)[..] else {
        panic!("one failure");
    };
    assert!(cause.contains("disk is full"), "{cause}");
}

#[tokio::test]
async fn what_is_there_stays_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    memory.file("f", b"remote");
    let local = folder.path().join("f");
    fs::write(&local, b"local").unwrap();
    let options = Options {
        existing: Existing::Keep,
        ..Options::default()
    };
    let down = go(&memory, Direction::Down, vec![item("f", &local)], &options).await;
    let up = go(&memory, Direction::Up, vec![item("f", &local)], &options).await;
    assert_eq!((down.skipped, up.skipped), (1, 1));
    assert_eq!(fs::read(&local).unwrap(), b"local");
    assert_eq!(memory.get("f").unwrap(), b"remote");
}

#[tokio::test]
async fn times_are_preserved_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let at = UNIX_EPOCH + Duration::from_secs(T0);
    let options = Options {
        preserve: true,
        ..Options::default()
    };
    for length in [10, 5000] {
        memory.file("f", &content(length, 1));
        let local = folder.path().join("f");
        go(&memory, Direction::Down, vec![item("f", &local)], &options).await;
        assert_eq!(fs::metadata(&local).unwrap().modified().unwrap(), at);
        go(&memory, Direction::Up, vec![item("g", &local)], &options).await;
        assert_eq!(memory.modified("g"), at);
    }
}

#[tokio::test]
async fn a_lost_connection_ends_the_transfer_once() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    memory.folder("d");
    for at in 0..500 {
        memory.file(&format!("d\\{at}"), &content(100, 1));
    }
    memory.lose_after(Some(2000));
    let options = Options {
        jobs: 4,
        ..recursive()
    };
    let report = go(
        &memory,
        Direction::Down,
        vec![item("d", folder.path())],
        &options,
    )
    .await;
    assert!(report.failures.len() <= 6, "{}", report.failures.len());
    let last = causes(&report)
        .into_iter()
        .find(|(path, _)| path.contains("more files"));
    assert!(last.is_some());
}

#[tokio::test]
async fn local_names_a_share_cannot_have() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("s");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a:b"), b"x").unwrap();
    fs::write(source.join("Same"), b"1").unwrap();
    fs::write(source.join("same"), b"2").unwrap();
    symlink("nowhere", source.join("dangling")).unwrap();
    symlink(".", source.join("round")).unwrap();
    symlink("Same", source.join("linked")).unwrap();
    let memory = Memory::default();
    let report = go(
        &memory,
        Direction::Up,
        vec![item("d", &source)],
        &recursive(),
    )
    .await;
    let paths: Vec<String> = causes(&report).into_iter().map(|(path, _)| path).collect();
    let at = |name: &str| source.join(name).display().to_string();
    assert_eq!(paths, [at("a:b"), at("dangling"), at("round"), at("same")]);
    assert_eq!(memory.get("d\\linked").unwrap(), b"1");
    assert_eq!(memory.get("d\\same").unwrap(), b"1");
}

#[tokio::test]
async fn sync_copies_what_differs_and_removes_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    memory.folder("s");
    memory.folder("s\\sub");
    memory.file("s\\same", b"same");
    memory.file("s\\newer", b"new");
    memory.file("s\\sub\\longer", b"longer");
    memory.file("s\\skip.tmp", b"no");
    let local = folder.path();
    fs::create_dir_all(local.join("old/x")).unwrap();
    fs::create_dir_all(local.join("sub")).unwrap();
    for (name, text) in [
        ("same", "same"),
        ("newer", "old"),
        ("sub/longer", "x"),
        ("gone", "g"),
        ("kept.tmp", "k"),
    ] {
        fs::write(local.join(name), text).unwrap();
        let file = fs::File::options()
            .write(true)
            .open(local.join(name))
            .unwrap();
        let time = if name == "newer" { T0 - 100 } else { T0 + 1 };
        file.set_modified(UNIX_EPOCH + Duration::from_secs(time))
            .unwrap();
    }
    let mut options = Options {
        preserve: true,
        delete: true,
        dry_run: true,
        filter: Filter {
            include: Vec::new(),
            exclude: vec![crate::glob::PathPattern::new("*.tmp")],
        },
        ..recursive()
    };
    let remotes = [memory.clone()];
    let dry = sync(
        &remotes,
        Direction::Down,
        "s",
        local,
        &options,
        Arc::new(Silent),
    )
    .await;
    assert_eq!((dry.files, dry.skipped, dry.removed), (2, 1, 2));
    assert_eq!(fs::read(local.join("newer")).unwrap(), b"old");
    options.dry_run = false;
    let real = sync(
        &remotes,
        Direction::Down,
        "s",
        local,
        &options,
        Arc::new(Silent),
    )
    .await;
    assert!(real.complete(), "{:?}", real.failures);
    assert_eq!((real.files, real.skipped, real.removed), (2, 1, 2));
    assert_eq!(fs::read(local.join("sub/longer")).unwrap(), b"longer");
    assert!(!local.join("old").exists() && !local.join("gone").exists());
    assert!(local.join("kept.tmp").exists() && !local.join("skip.tmp").exists());
    let again = sync(
        &remotes,
        Direction::Down,
        "s",
        local,
        &options,
        Arc::new(Silent),
    )
    .await;
    assert_eq!((again.files, again.skipped, again.removed), (0, 3, 0));

    // And the other way, to a folder that is not there.
    let up = sync(
        &remotes,
        Direction::Up,
        "t",
        local,
        &options,
        Arc::new(Silent),
    )
    .await;
    assert!(up.complete(), "{:?}", up.failures);
    assert_eq!((up.files, up.folders), (3, 2));
    memory.folder("t\\extra");
    memory.file("t\\extra\\x", b"x");
    memory.file("t\\SAME", b"same");
    memory.age("t\\SAME", T0 + 1);
    let up = sync(
        &remotes,
        Direction::Up,
        "t",
        local,
        &options,
        Arc::new(Silent),
    )
    .await;
    assert!(up.complete(), "{:?}", up.failures);
    assert_eq!((up.files, up.removed), (0, 2));
    assert_eq!(memory.get("t\\extra"), None);
}

#[tokio::test]
async fn nothing_is_removed_when_the_source_could_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    memory.folder("s");
    memory.deny("s");
    fs::write(folder.path().join("mine"), b"x").unwrap();
    let options = Options {
        delete: true,
        ..recursive()
    };
    let report = sync(
        &[memory],
        Direction::Down,
        "s",
        folder.path(),
        &options,
        Arc::new(Silent),
    )
    .await;
    assert!(!report.complete());
    assert!(folder.path().join("mine").exists());
}

#[tokio::test]
async fn wildcards_and_removal() {
    let memory = Memory::default();
    for name in ["a", "a\\b", "c"] {
        memory.folder(name);
    }
    for name in [
        "a\\1.TXT",
        "a\\b\\2.txt",
        "a\\b\\3.log",
        "c\\4.txt",
        "5.txt",
    ] {
        memory.file(name, b"x");
    }
    for (pattern, expected) in [
        ("*.txt", &["5.txt"][..]),
        ("a\\*.txt", &["a\\1.TXT"]),
        ("*\\?.txt", &["a\\1.TXT", "c\\4.txt"]),
        (
            "**\\*.txt",
            &["5.txt", "a\\1.TXT", "a\\b\\2.txt", "c\\4.txt"],
        ),
        ("A\\B", &["A\\B"]),
        ("none*", &[]),
    ] {
        let parts: Vec<String> = pattern.split('\\').map(str::to_owned).collect();
        let found = expand(&memory, &parts).await.unwrap();
        let paths: Vec<&str> = found.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(paths, expected, "{pattern}");
    }
    let missing = expand(&memory, &["nope".to_owned()]).await;
    assert!(matches!(
        missing.unwrap_err(),
        Cause::Remote(MemoryError::NotFound)
    ));
    // What cannot be looked into is not passed over.
    memory.deny("c");
    let deep = ["**".to_owned(), "*.txt".to_owned()];
    assert!(expand(&memory, &deep).await.is_err());
    memory.allow("c");
    memory.deny("a\\b\\3.log");
    let report = remove_tree(&memory, "a", 4, Arc::new(Silent)).await;
    assert_eq!((report.removed, report.failures.len()), (2, 1));
    let memory2 = memory.clone();
    memory2.node("c\\l", Kind::Link, b"");
    let report = remove_tree(&memory2, "c", 4, Arc::new(Silent)).await;
    assert!(report.complete());
    assert_eq!(report.removed, 3);
}

#[tokio::test]
async fn patterns_choose_files() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    memory.folder("d");
    memory.folder("d\\skip");
    for name in ["d\\a.txt", "d\\b.bin", "d\\skip\\c.txt"] {
        memory.file(name, b"x");
    }
    let options = Options {
        filter: Filter {
            include: vec![crate::glob::PathPattern::new("*.TXT")],
            exclude: vec![crate::glob::PathPattern::new("skip")],
        },
        ..recursive()
    };
    let report = go(
        &memory,
        Direction::Down,
        vec![item("d", folder.path())],
        &options,
    )
    .await;
    assert_eq!(report.files, 1);
    assert!(folder.path().join("a.txt").exists());
}

/// A server that was cut off may have written a later piece and not an earlier one.
#[tokio::test]
async fn a_hole_in_an_interrupted_upload_is_filled() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let data = content(20_000, 5);
    let source = folder.path().join("big");
    fs::write(&source, &data).unwrap();
    let mut there = data[..15_000].to_vec();
    there[8_000..9_000].fill(0);
    memory.file("big", &there);
    let options = Options {
        existing: Existing::Resume,
        window: 3000,
        ..Options::default()
    };
    let report = go(&memory, Direction::Up, vec![item("big", &source)], &options).await;
    assert!(report.complete(), "{:?}", report.failures);
    assert_eq!(memory.get("big").unwrap(), data);
    assert!(report.bytes < 20_000, "{}", report.bytes);
}

#[tokio::test]
async fn no_piece_runs_far_ahead_of_a_missing_one() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let data = content(50_000, 7);
    let source = folder.path().join("big");
    fs::write(&source, &data).unwrap();
    memory.hold_first(2000);
    let options = narrow();
    let report = go(&memory, Direction::Up, vec![item("big", &source)], &options).await;
    assert!(report.complete(), "{:?}", report.failures);
    assert_eq!(memory.get("big").unwrap(), data);
    // Others were written meanwhile, but not beyond what may be under way.
    let window = options.window as u64;
    assert!((1..=window).contains(&memory.ahead()), "{}", memory.ahead());
}

#[tokio::test]
async fn pieces_of_an_upload_under_way_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let data = content(200_000, 3);
    let source = folder.path().join("big");
    fs::write(&source, &data).unwrap();
    memory.hold_first(2000);
    let options = Options::default();
    let report = go(&memory, Direction::Up, vec![item("big", &source)], &options).await;
    assert!(report.complete(), "{:?}", report.failures);
    assert_eq!(memory.get("big").unwrap(), data);
    // The window would take the whole file.
    assert_eq!(memory.ahead(), (PIECES as u64 - 1) * 1000);
}

#[tokio::test]
async fn what_a_filter_leaves_out_is_not_removed_with_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    for (name, kind) in [
        ("s", Kind::Folder),
        ("s\\old", Kind::Folder),
        ("s\\old\\x.txt", Kind::File),
        ("s\\old\\y.bak", Kind::File),
        ("s\\old\\all", Kind::Folder),
        ("s\\old\\all\\z.txt", Kind::File),
    ] {
        memory.node(name, kind, b"");
    }
    let local = folder.path().join("local");
    fs::create_dir_all(&local).unwrap();
    let pattern = |text: &str| vec![crate::glob::PathPattern::new(text)];
    let mut options = Options {
        delete: true,
        ..recursive()
    };
    for filter in [
        Filter {
            include: pattern("*.txt"),
            exclude: Vec::new(),
        },
        Filter {
            include: Vec::new(),
            exclude: pattern("*.bak"),
        },
    ] {
        options.filter = filter;
        memory.node("s\\old\\x.txt", Kind::File, b"");
        let remotes = [memory.clone()];
        let up = Direction::Up;
        let report = sync(&remotes, up, "s", &local, &options, Arc::new(Silent)).await;
        assert!(report.complete(), "{:?}", report.failures);
        assert!(memory.get("s\\old\\x.txt").is_none());
        assert!(memory.get("s\\old\\all").is_none());
        assert!(memory.get("s\\old\\y.bak").is_some());

        let other = folder.path().join("other");
        fs::create_dir_all(other.join("old/all")).unwrap();
        for name in ["old/x.txt", "old/y.bak", "old/all/z.txt"] {
            fs::write(other.join(name), b"").unwrap();
        }
        memory.folder("empty");
        let down = Direction::Down;
        let report = sync(&remotes, down, "empty", &other, &options, Arc::new(Silent)).await;
        assert!(report.complete(), "{:?}", report.failures);
        assert!(!other.join("old/x.txt").exists() && !other.join("old/all").exists());
        assert!(other.join("old/y.bak").exists());
    }
}

#[tokio::test]
async fn a_dry_run_looks_but_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    memory.folder("d");
    memory.file("d\\a", b"1");
    memory.file("d\\b", b"22");
    let options = Options {
        dry_run: true,
        ..recursive()
    };
    let target = folder.path().join("d");
    let report = go(&memory, Direction::Down, vec![item("d", &target)], &options).await;
    assert_eq!((report.files, report.folders, report.bytes), (2, 1, 3));
    assert!(!target.exists());
    let nowhere = [item("none", folder.path().join("none"))].to_vec();
    let report = go(&memory, Direction::Down, nowhere, &options).await;
    assert!(!report.complete());
    fs::create_dir(&target).unwrap();
    fs::write(target.join("c"), b"333").unwrap();
    let report = go(&memory, Direction::Up, vec![item("e", &target)], &options).await;
    assert_eq!((report.files, report.bytes), (1, 3));
    assert!(memory.get("e").is_none());
    fs::write(target.join("b"), b"x").unwrap();
    let keep = Options {
        existing: Existing::Keep,
        ..options
    };
    let report = go(&memory, Direction::Down, vec![item("d", &target)], &keep).await;
    assert_eq!((report.files, report.skipped), (1, 1));
}

#[tokio::test]
async fn a_folder_does_not_come_to_stand_where_a_file_is() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    memory.folder("empty");
    memory.file("file", b"x");
    let (file, empty) = (folder.path().join("file"), folder.path().join("empty"));
    fs::write(&file, b"x").unwrap();
    fs::create_dir(&empty).unwrap();
    let down = vec![item("empty", &file)];
    let report = go(&memory, Direction::Down, down, &recursive()).await;
    assert_eq!(report.failures.len(), 1);
    let up = vec![item("file", &empty)];
    let report = go(&memory, Direction::Up, up, &recursive()).await;
    assert_eq!(report.failures.len(), 1);
}

/// Files whose length is not what can be read of them, and what has no length.
#[tokio::test]
async fn what_is_no_ordinary_file_is_not_sent_as_an_empty_one() {
    let memory = Memory::default();
    let paths = [
        ("/proc/self/comm", true),
        // Longer than goes in one turn here, and without a length.
        ("/proc/self/status", false),
        ("/dev/zero", false),
    ];
    for (path, good) in paths {
        if !Path::new(path).exists() {
            continue;
        }
        let report = go(
            &memory,
            Direction::Up,
            vec![item("p", path)],
            &Options::default(),
        )
        .await;
        assert_eq!(report.complete(), good, "{path}: {:?}", report.failures);
        if good {
            assert!(!memory.get("p").unwrap().is_empty());
        }
    }
}
