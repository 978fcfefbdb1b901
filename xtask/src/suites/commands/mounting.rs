//! A mounted share, used like any folder.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Duration;

use rustix::process::Signal;

use super::{Commands, same};
use crate::Res;
use crate::process::Beside;
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
    let used = use_it(c).map_err(|e| format!("{e}; it said: {}", mounted.output()));
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
