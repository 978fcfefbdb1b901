//! A mounted share, used like any folder.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Commands, LIMIT, same};
use crate::Res;
use crate::process::{Beside, find, run};
use crate::suites::noise;

pub(super) fn mount(c: &Commands) -> Res<()> {
    if let Err(why) = fs::File::options().read(true).write(true).open("/dev/fuse") {
        return Err(format!("skip: /dev/fuse: {why}"));
    }
    let point = c.folder.join("mounted");
    fs::create_dir_all(&point).map_err(|e| e.to_string())?;
    let location = c.at("");
    let args = ["mount", &location, &point.display().to_string()];
    let mut mounted = Beside::start(c.command(&args), &c.folder.join("mount.log"))?;
    let ready = mounted.until(Duration::from_secs(20), |line| {
        line.contains("is mounted on").then_some(())
    });
    if let Err(why) = ready {
        if why.contains("Operation not permitted") || why.contains("fusermount") {
            return Err(format!("skip: FUSE is not permitted: {why}"));
        }
        return Err(why);
    }
    let used = use_it(c)
        .and_then(|()| as_posix(c))
        .and_then(|()| sqlite(c))
        .and_then(|()| busy(&mut mounted, &point))
        .map_err(|e| format!("{e}; it said: {}", mounted.output()));
    let stopped = mounted.stop(Signal::INT, Duration::from_secs(20));
    used?;
    match stopped? {
        Some(0) => {}
        other => return Err(format!("ended with {other:?}: {}", mounted.output())),
    }
    let mounts = fs::read_to_string("/proc/mounts").map_err(|e| e.to_string())?;
    if mounts.contains(&point.display().to_string()) {
        return Err("it is still mounted".to_owned());
    }
    Ok(())
}

fn use_it(c: &Commands) -> Res<()> {
    let text = |what: &str| {
        let what = what.to_owned();
        move |e: std::io::Error| format!("{what}: {e}")
    };
    let here = c.folder.join("mounted");
    let there = &c.share;
    fs::create_dir_all(here.join("dir/ä b")).map_err(text("mkdir"))?;
    let big = noise(3_333_333, 5);
    fs::write(here.join("dir/ä b/big.bin"), &big).map_err(text("write"))?;
    same(&there.join("dir/ä b/big.bin"), &big)?;
    same(&here.join("dir/ä b/big.bin"), &big)?;
    // In the middle, at the end, and shorter.
    let path = here.join("dir/file");
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(text("create"))?;
    file.write_all(b"0123456789").map_err(text("write"))?;
    file.seek(SeekFrom::Start(3)).map_err(text("seek"))?;
    file.write_all(b"abc").map_err(text("write"))?;
    file.sync_all().map_err(text("fsync"))?;
    file.set_len(8).map_err(text("truncate"))?;
    file.seek(SeekFrom::Start(0)).map_err(text("seek"))?;
    let mut back = String::new();
    file.read_to_string(&mut back).map_err(text("read"))?;
    drop(file);
    if back != "012abc67" {
        return Err(format!("read {back:?}"));
    }
    same(&there.join("dir/file"), b"012abc67")?;
    if fs::File::options()
        .write(true)
        .create_new(true)
        .open(&path)
        .is_ok()
    {
        return Err("a file was made where one is".to_owned());
    }
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let file = fs::File::options()
        .write(true)
        .open(&path)
        .map_err(text("open"))?;
    file.set_modified(time).map_err(text("utimes"))?;
    drop(file);
    let metadata = fs::metadata(there.join("dir/file")).map_err(text("stat"))?;
    if metadata.modified().ok() != Some(time) {
        return Err("the time was not set".to_owned());
    }
    fs::write(here.join("dir/other"), b"other").map_err(text("write"))?;
    fs::rename(&path, here.join("dir/other")).map_err(text("rename"))?;
    same(&there.join("dir/other"), b"012abc67")?;
    fs::rename(here.join("dir"), here.join("moved")).map_err(text("rename"))?;
    same(&here.join("moved/other"), b"012abc67")?;
    for at in 0..300 {
        fs::write(here.join(format!("moved/f{at}")), b"").map_err(text("write"))?;
    }
    let count = fs::read_dir(here.join("moved"))
        .map_err(text("readdir"))?
        .count();
    if count != 302 {
        return Err(format!("{count} names are listed"));
    }
    let missing = fs::metadata(here.join("none-such")).err().map(|e| e.kind());
    if missing != Some(std::io::ErrorKind::NotFound) {
        return Err(format!("a missing name: {missing:?}"));
    }
    let full = fs::remove_dir(here.join("moved")).err().map(|e| e.kind());
    if full != Some(std::io::ErrorKind::DirectoryNotEmpty) {
        return Err(format!("a full folder: {full:?}"));
    }
    let space = rustix::fs::statvfs(&here).map_err(|e| format!("statfs: {e}"))?;
    if space.f_blocks == 0 {
        return Err("statfs tells no space".to_owned());
    }
    // What is changed behind its back is seen when the attributes are too old.
    fs::write(there.join("moved/other"), b"changed").map_err(text("write"))?;
    std::thread::sleep(Duration::from_millis(1100));
    same(&here.join("moved/other"), b"changed")?;
    fs::remove_file(here.join("moved/other")).map_err(text("unlink"))?;
    fs::remove_dir_all(here.join("moved")).map_err(text("remove"))?;
    if there.join("moved").exists() {
        return Err("it is still there".to_owned());
    }
    Ok(())
}

/// What programs for Linux expect of a file system and SMB does not give by itself.
fn as_posix(c: &Commands) -> Res<()> {
    let text = |what: &str| {
        let what = what.to_owned();
        move |e: std::io::Error| format!("{what}: {e}")
    };
    let here = c.folder.join("mounted/posix");
    let there = c.share.join("posix");
    fs::create_dir(&here).map_err(text("mkdir"))?;
    // Removed while it is open: usable, and its name is free.
    let path = here.join("open");
    let mut file = fs::File::options();
    let file = file.read(true).write(true).create(true);
    let mut file = file.open(&path).map_err(text("create"))?;
    file.write_all(b"abc").map_err(text("write"))?;
    fs::remove_file(&path).map_err(text("unlink"))?;
    file.write_all(b"def")
        .map_err(text("write to what is removed"))?;
    let length = file.metadata().map_err(text("fstat"))?.len();
    fs::write(&path, b"another").map_err(text("create again"))?;
    let mut content = String::new();
    file.seek(SeekFrom::Start(0)).map_err(text("seek"))?;
    file.read_to_string(&mut content).map_err(text("read"))?;
    if (length, content.as_str()) != (6, "abcdef") {
        return Err(format!("a removed file has {length} bytes, {content:?}"));
    }
    drop(file);
    same(&there.join("open"), b"another")?;
    // Replaced while it is open, and while it is read-only.
    let mut old = fs::File::open(&path).map_err(text("open"))?;
    fs::write(here.join("new"), b"new").map_err(text("write"))?;
    fs::rename(here.join("new"), &path).map_err(text("replace what is open"))?;
    content.clear();
    old.read_to_string(&mut content)
        .map_err(text("read what is replaced"))?;
    drop(old);
    same(&there.join("open"), b"new")?;
    if content != "another" {
        return Err(format!("what is replaced reads {content:?}"));
    }
    let mut mode = fs::metadata(&path).map_err(text("stat"))?.permissions();
    mode.set_readonly(true);
    fs::set_permissions(&path, mode).map_err(text("chmod"))?;
    fs::write(here.join("new"), b"newer").map_err(text("write"))?;
    fs::rename(here.join("new"), &path).map_err(text("replace what is read-only"))?;
    same(&there.join("open"), b"newer")?;
    // Case alone, folders, and the end of a file that grew elsewhere.
    fs::rename(&path, here.join("OPEN")).map_err(text("rename"))?;
    let names = fs::read_dir(&there).map_err(text("readdir"))?;
    let names: Vec<_> = names.flatten().map(|entry| entry.file_name()).collect();
    if names != ["OPEN"] {
        return Err(format!("{names:?} are there"));
    }
    fs::create_dir(here.join("a")).map_err(text("mkdir"))?;
    fs::create_dir(here.join("b")).map_err(text("mkdir"))?;
    fs::rename(here.join("a"), here.join("b")).map_err(text("rename to an empty folder"))?;
    let path = here.join("OPEN");
    let mut log = fs::File::options();
    let mut log = log.append(true).open(&path).map_err(text("append"))?;
    fs::write(there.join("OPEN"), b"grown elsewhere, ").map_err(text("write"))?;
    log.write_all(b"and here").map_err(text("append"))?;
    drop(log);
    same(&there.join("OPEN"), b"grown elsewhere, and here")?;
    // The time of an open file is not lost when it is closed.
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    let mut file = fs::File::create(here.join("timed")).map_err(text("create"))?;
    file.write_all(b"x").map_err(text("write"))?;
    file.set_modified(time).map_err(text("futimens"))?;
    drop(file);
    let timed = fs::metadata(there.join("timed")).map_err(text("stat"))?;
    if timed.modified().ok() != Some(time) {
        return Err("the time was lost when the file was closed".to_owned());
    }
    fs::remove_dir_all(&here).map_err(text("remove"))?;
    if there.exists() {
        return Err("something hidden is left".to_owned());
    }
    Ok(())
}

/// A program that maps, locks, truncates and synchronizes.
fn sqlite(c: &Commands) -> Res<()> {
    let Some(sqlite) = find("sqlite3") else {
        return Ok(());
    };
    let database = c.folder.join("mounted/data.db");
    let mut command = Command::new(sqlite);
    command.arg(&database).arg(
        "pragma mmap_size=1000000; create table t(a); begin; insert into t values(1),(2); commit; \
         pragma journal_mode=wal; insert into t values(4); select sum(a) from t; \
         pragma integrity_check;",
    );
    let out = run(command, LIMIT)?;
    fs::remove_file(&database).map_err(|e| e.to_string())?;
    if !out.ok() || !out.stdout.ends_with("7\nok\n") {
        return Err(format!("sqlite3: {}", out.text()));
    }
    Ok(())
}

/// Ctrl-C does not take it away from who uses it.
fn busy(mounted: &mut Beside, point: &Path) -> Res<()> {
    let held = fs::File::create(point.join("held")).map_err(|e| e.to_string())?;
    let pid = i32::try_from(mounted.pid()).ok().and_then(Pid::from_raw);
    let _ = kill_process(pid.ok_or("no process")?, Signal::INT);
    mounted.until(LIMIT, |line| {
        line.contains("somebody uses it").then_some(())
    })?;
    drop(held);
    fs::remove_file(point.join("held")).map_err(|e| format!("after Ctrl-C: {e}"))
}
