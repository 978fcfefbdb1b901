//! Copies: many files, interrupted ones, and streams.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{Commands, LIMIT, expect, member, same};
use crate::Res;
use crate::process::{Beside, run as run_program};
use crate::server::Samba;
use crate::suites::noise;

const MANY: usize = 1000;

pub(super) fn thousand(c: &Commands) -> Res<()> {
    for at in 0..MANY {
        // Lengths from nothing to 20 kB.
        c.file(
            &format!("many/{}/f{at}", at % 10),
            &noise(at * 20, at as u64),
        )?;
    }
    let report = c.json(&["put", "-r", "--json", &c.local("many"), &c.at("")])?;
    expect(&report, "/files", &json!(MANY))?;
    expect(&report, "/folders", &json!(11))?;
    expect(&report, "/complete", &json!(true))?;
    expect(&report, "/failed", &json!([]))?;
    let again = c.json(&[
        "put",
        "-r",
        "--resume",
        "--json",
        &c.local("many"),
        &c.at(""),
    ])?;
    expect(&again, "/skipped", &json!(MANY))?;
    let back = c.json(&["get", "-r", "--json", &c.at("many"), &c.local("many-back")])?;
    expect(&back, "/files", &json!(MANY))?;
    for at in 0..MANY {
        let name = format!("{}/f{at}", at % 10);
        let content = noise(at * 20, at as u64);
        same(&c.share.join("many").join(&name), &content)?;
        same(&c.folder.join("many-back").join(&name), &content)?;
    }
    let removed = c.json(&["rm", "-r", "--json", &c.at("many")])?;
    expect(&removed, "/removed", &json!(MANY + 11))
}

pub(super) fn sync(c: &Commands) -> Res<()> {
    for (name, text) in [("a", "a"), ("b/c", "c"), ("b/d.tmp", "d")] {
        c.file(&format!("sync/{name}"), text.as_bytes())?;
    }
    let (local, remote) = (c.local("sync"), c.at("sync/target"));
    let up = ["sync", "--json", "--exclude", "*.tmp", &local, &remote];
    let report = c.json(&up)?;
    expect(&report, "/files", &json!(2))?;
    let report = c.json(&up)?;
    expect(&report, "/files", &json!(0))?;
    expect(&report, "/skipped", &json!(2))?;
    c.file("sync/a", b"longer now")?;
    std::fs::write(c.share.join("sync/target/extra"), b"x").map_err(|e| e.to_string())?;
    let dry = [&up[..], &["--delete", "--dry-run"]].concat();
    let report = c.json(&dry)?;
    expect(&report, "/files", &json!(1))?;
    expect(&report, "/removed", &json!(1))?;
    same(&c.share.join("sync/target/a"), b"a")?;
    let report = c.json(&[&up[..], &["--delete"]].concat())?;
    expect(&report, "/removed", &json!(1))?;
    same(&c.share.join("sync/target/a"), b"longer now")?;
    let back = c.local("sync-back");
    let report = c.json(&["sync", "--json", &remote, &back])?;
    expect(&report, "/files", &json!(2))?;
    same(&Path::new(&back).join("b/c"), b"c")?;
    let report = c.json(&["sync", "--json", &remote, &back])?;
    expect(&report, "/skipped", &json!(2))?;
    c.good(&["rm", "-r", &c.at("sync")]).map(|_| ())
}

pub(super) fn resume(c: &Commands) -> Res<()> {
    let content = noise(5 << 20, 3);
    let half = content.get(..3 << 20).unwrap_or_default();
    let remote = c.at("resume.bin");
    let source = c.file("resume.bin", &content)?;
    // What is there is a part of it, then something else.
    let rest = content.len() - half.len();
    for (there, moved) in [(half.to_vec(), rest), (noise(3 << 20, 4), content.len())] {
        std::fs::write(c.share.join("resume.bin"), &there).map_err(|e| e.to_string())?;
        let report = c.json(&["put", "--resume", "--json", &source, &remote])?;
        expect(&report, "/bytes", &json!(moved))?;
        same(&c.share.join("resume.bin"), &content)?;
        let target = c.file("resumed.bin", &there)?;
        let report = c.json(&["get", "--resume", "--json", &remote, &target])?;
        expect(&report, "/bytes", &json!(moved))?;
        same(Path::new(&target), &content)?;
    }
    c.good(&["rm", &remote]).map(|_| ())
}

/// The client is interrupted while the server is held; then it goes on from there.
pub(super) fn interrupted(c: &Commands, server: u32) -> Res<()> {
    let length = 512 << 20;
    let file = std::fs::File::create(c.share.join("held.bin")).map_err(|e| e.to_string())?;
    file.set_len(length).map_err(|e| e.to_string())?;
    let server = i32::try_from(server)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or("no server")?;
    let (remote, target) = (c.at("held.bin"), c.local("held.bin"));
    let args = ["get", "--window", "1", &remote, &target];
    let mut get = Beside::start(c.command(&args), &c.folder.join("held.log"))?;
    let part = || -> Option<u64> {
        std::fs::read_dir(&c.folder)
            .ok()?
            .flatten()
            .find(|e| e.file_name().to_string_lossy().ends_with(".part"))
            .and_then(|e| e.metadata().ok())
            .map(|m| m.len())
            .filter(|length| *length > 0)
    };
    let end = Instant::now() + LIMIT;
    while part().is_none() && get.running() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = kill_process(server, Signal::STOP);
    let stopped = get.stop(Signal::INT, Duration::from_secs(20));
    let _ = kill_process(server, Signal::CONT);
    if stopped? != Some(130) {
        return Err(format!("not ended as interrupted: {}", get.output()));
    }
    if !get.output().contains("--resume") {
        return Err(format!("it does not say how to go on: {}", get.output()));
    }
    let there = part().ok_or("no partial file is left")?;
    if Path::new(&target).exists() {
        return Err("a half file stands in the place of the whole".to_owned());
    }
    let report = c.json(&["get", "--resume", "--json", &remote, &target])?;
    let moved = member(&report, "/bytes")?.as_u64().unwrap_or(0);
    if moved != length - there {
        return Err(format!("{moved} bytes were copied, {there} were there"));
    }
    let got = std::fs::metadata(&target).map_err(|e| e.to_string())?.len();
    if got != length || part().is_some() {
        return Err(format!("{got} bytes in the end"));
    }
    std::fs::remove_file(&target).map_err(|e| e.to_string())?;
    c.good(&["rm", &remote]).map(|_| ())
}

/// The server is killed in the middle of a copy, each way; when it is there again the
/// copy goes on, and what comes of it is the same to the last byte.
pub(super) fn vanishing(c: &Commands, samba: Samba) -> Res<()> {
    let content = noise(192 << 20, 9);
    let source = c.file("vanish.bin", &content)?;
    let there = c.share.join("vanish.bin");
    let remote = c.at("vanish.bin");
    let down = c.local("vanished.bin");
    let mut samba = samba;
    for args in [["put", &source, &remote], ["get", &remote, &down]] {
        let with = [&args[..], &["--window", "4"]].concat();
        let mut copy = Beside::start(c.command(&with), &c.folder.join("vanish.log"))?;
        let part = || -> u64 {
            let length = |path: &Path| std::fs::metadata(path).map_or(0, |m| m.len());
            if args.first() == Some(&"put") {
                return length(&there);
            }
            let names = std::fs::read_dir(&c.folder).into_iter().flatten().flatten();
            names
                .filter(|e| e.file_name().to_string_lossy().ends_with(".part"))
                .map(|e| length(&e.path()))
                .max()
                .unwrap_or(0)
        };
        let end = Instant::now() + LIMIT;
        while part() < 16 << 20 && copy.running() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        let gone = samba.vanish();
        let code = copy.stop(Signal::CONT, Duration::from_secs(40))?;
        let said = copy.output();
        if code != Some(1) || !said.contains("that the server is up") {
            return Err(format!("{args:?} without a server: {code:?} {said}"));
        }
        if part() >= content.len() as u64 {
            return Err(format!("{args:?} was through before the server was gone"));
        }
        samba = gone.again()?;
        let report = c.json(&[&args[..], &["--resume", "--json"]].concat())?;
        let moved = member(&report, "/bytes")?.as_u64().unwrap_or(u64::MAX);
        if moved == 0 || moved >= content.len() as u64 {
            return Err(format!("{args:?} went on with {moved} bytes"));
        }
        same(&there, &content)?;
    }
    same(Path::new(&down), &content)?;
    std::fs::remove_file(&down).map_err(|e| e.to_string())?;
    c.good(&["rm", &remote]).map(|_| ())
}

pub(super) fn streams(c: &Commands) -> Res<()> {
    let content = noise(3_000_001, 11);
    let source = c.file("stream.bin", &content)?;
    let remote = c.at("stream.bin");
    let mut put = c.command(&["put", "-", &remote]);
    put.stdin(std::fs::File::open(&source).map_err(|e| e.to_string())?);
    // The runner closes standard input, so this one is run by hand.
    let out = put
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .map_err(|e| e.to_string())?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    same(&c.share.join("stream.bin"), &content)?;
    for verb in [&["cat", &remote][..], &["get", &remote, "-"]] {
        let out = c
            .command(verb)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| e.to_string())?;
        if !out.status.success() || out.stdout != content {
            return Err(format!("{verb:?}: {} bytes", out.stdout.len()));
        }
    }
    let null = run_program(c.command(&["get", &remote, "/dev/null"]), LIMIT)?;
    if !null.ok() {
        return Err(format!("to /dev/null: {}", null.tail()));
    }
    c.good(&["rm", &remote]).map(|_| ())
}
