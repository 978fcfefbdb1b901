//! What scripts depend on when something goes wrong.

use std::io::Read;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{Commands, LIMIT, expect, judge, member};
use crate::Res;
use crate::process::run as run_program;
use crate::server::{PASSWORD, USER};

fn parsed(args: &[&str], text: &str) -> Res<Value> {
    serde_json::from_str(text).map_err(|e| format!("{args:?}: {e} in {text:?}"))
}

/// Standard output is JSON whatever becomes of a command.
pub(super) fn json_of_failures(c: &Commands) -> Res<()> {
    let no_share = format!("smb://127.0.0.1:{}/none-such", c.port);
    let no_file = c.at("none-such");
    let source = c.file("json-source", b"x")?;
    let local = c.folder.display().to_string();
    for (args, status) in [
        (
            &["get", "--json", &no_share, "."][..],
            "STATUS_BAD_NETWORK_NAME",
        ),
        (
            &["get", "--json", &no_file, "."],
            "STATUS_OBJECT_NAME_NOT_FOUND",
        ),
        (
            &["put", "--json", &source, &no_share],
            "STATUS_BAD_NETWORK_NAME",
        ),
        (
            &["sync", "--json", &local, &no_share],
            "STATUS_BAD_NETWORK_NAME",
        ),
        (&["rm", "--json", &no_file], "STATUS_OBJECT_NAME_NOT_FOUND"),
    ] {
        let out = c.run(args)?;
        judge(args, &out, 1, &[status])?;
        let report = parsed(args, &out.stdout)?;
        expect(&report, "/complete", &json!(false))?;
        let said = member(&report, "/failed/0/status")?;
        if !said.as_str().is_some_and(|said| said.contains(status)) {
            return Err(format!("{args:?} has the status {said}"));
        }
    }
    for (verb, wanted) in [
        ("ls", json!([])),
        ("stat", json!([])),
        ("find", json!([])),
        ("du", json!([])),
        ("tree", Value::Null),
        ("acl", Value::Null),
    ] {
        let args = [verb, "--json", &no_file];
        let out = c.run(&args)?;
        judge(&args, &out, 1, &["STATUS_OBJECT_NAME_NOT_FOUND"])?;
        let got = parsed(&args, &out.stdout)?;
        if got != wanted {
            return Err(format!("{args:?} prints {got}"));
        }
    }
    Ok(())
}

/// What is wrong in itself is found before anybody is asked: exit code 2.
pub(super) fn misuse(c: &Commands) -> Res<()> {
    let here = c.at("x");
    let above = format!("//127.0.0.1:{}/share/../other/x", c.port);
    for (args, says) in [
        (&["put", "a", "b"][..], "smb://host/share/path"),
        (&["get", "a", "b"], "smb://host/share/path"),
        (&["put", &here], "the location to copy to"),
        (&["mv", &here], "where to"),
        (&["sync", "a", "b"], "one of the two"),
        (&["sync", "a", &c.at("*")], "wildcards"),
        (&["mv", &here, "//other/share/x"], "another share"),
        (&["get", &here, "//other/share/x"], "one share at a time"),
        (&["ls", "--encrypt", "--dialect", "2.1", &here], "SMB 3.0"),
        (&["ls", "--guest", "--sign", "required", &here], "no key"),
        (&["ls", "--anonymous", "--encrypt", &here], "no key"),
        (&["rm", "-r", &c.at("")], "/*"),
        (&["mkdir", &c.at("a*")], "wildcards"),
        (&["tree", &c.at("a*")], "wildcards"),
        (&["put", "-", "--resume", &here], "--resume"),
        (&["get", &here, "-", "--json"], "--json"),
        (&["ls", &above], "leads out of the share"),
    ] {
        c.bad(args, 2, &[says])?;
    }
    Ok(())
}

/// One that fails does not keep the others from being done, one password is enough, and
/// two files do not become one.
pub(super) fn several(c: &Commands) -> Res<()> {
    c.good(&["mkdir", "-p", &c.at("several/a"), &c.at("several/b")])?;
    for (name, text) in [("a/same", "1"), ("b/same", "2"), ("x", "x"), ("y", "y")] {
        let path = c.share.join("several").join(name);
        std::fs::write(path, text).map_err(|e| e.to_string())?;
    }
    let at = |name: &str| c.at(&format!("several/{name}"));
    let (x, y, none) = (at("x"), at("y"), at("none"));
    let args = ["cat", &x, &none, &y];
    let out = c.run(&args)?;
    judge(&args, &out, 1, &["STATUS_OBJECT_NAME_NOT_FOUND"])?;
    if out.stdout != "xy" {
        return Err(format!("cat shows {:?}", out.stdout));
    }
    for verb in ["stat", "du", "find", "ls"] {
        let args = [verb, "--json", &none, &y];
        let out = c.run(&args)?;
        judge(&args, &out, 1, &["STATUS_OBJECT_NAME_NOT_FOUND"])?;
        let rows = parsed(&args, &out.stdout)?;
        if rows.as_array().map(Vec::len) != Some(1) {
            return Err(format!("{args:?}: {rows}"));
        }
    }
    // The first line of standard input is the password for all of them.
    let mut command = c.command(&["cat", "-U", USER, "--password-stdin", &x, &y]);
    let password = c.file("password-line", format!("{PASSWORD}\n").as_bytes())?;
    let input = std::fs::File::open(password).map_err(|e| e.to_string())?;
    command.env_remove("COUNTERSIGN_PASSWORD").stdin(input);
    let out = command.output().map_err(|e| e.to_string())?;
    if !out.status.success() || out.stdout != b"xy" {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    let (one, two) = (at("a/same"), at("b/same"));
    let into = c.local("several");
    c.bad(&["get", &one, &two, &into], 1, &["same name"])?;
    c.bad(&["get", &at("**/same"), &into], 1, &["same name"])?;
    if std::path::Path::new(&into).exists() {
        return Err("something was copied nevertheless".to_owned());
    }
    c.file("twins/a/f", b"1")?;
    c.file("twins/b/F", b"2")?;
    let (one, two) = (c.local("twins/a/f"), c.local("twins/b/F"));
    c.bad(&["put", &one, &two, &at("")], 1, &["same name"])?;
    c.bad(&["mkdir", "-p", &x], 1, &["STATUS_OBJECT_NAME_COLLISION"])?;
    // What a server would call otherwise is not made at all.
    let dotted = at("dotted.");
    for args in [
        ["mkdir", &dotted, &dotted],
        ["mv", &x, &dotted],
        ["put", &two, &dotted],
    ] {
        c.bad(&args, 1, &["cannot end in a dot"])?;
    }
    let args = ["rm", "--json", &none, &x, &y];
    let out = c.run(&args)?;
    judge(&args, &out, 1, &["STATUS_OBJECT_NAME_NOT_FOUND"])?;
    expect(&parsed(&args, &out.stdout)?, "/removed", &json!(2))?;
    c.good(&["rm", "-r", &c.at("several")]).map(|_| ())
}

/// Listings end with their reader; output that cannot be written is a failure.
pub(super) fn readers(c: &Commands) -> Res<()> {
    for at in 0..400 {
        let name = format!("readers/with-a-rather-long-name-{}/{at}", "x".repeat(150));
        c.file(&name, b"")?;
    }
    c.good(&["put", "-r", &c.local("readers"), &c.at("")])?;
    let location = c.at("readers");
    for verb in [&["find"][..], &["ls", "-R"], &["ls", "-R", "--json"]] {
        let args = [verb, &[location.as_str()]].concat();
        let mut command = c.command(&args);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| e.to_string())?;
        let mut first = [0; 10];
        let read = child.stdout.take().ok_or("no output")?.read(&mut first);
        read.map_err(|e| e.to_string())?;
        let out = child.wait_with_output().map_err(|e| e.to_string())?;
        if out.status.code() != Some(141) || !out.stderr.is_empty() {
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            return Err(format!(
                "{args:?} without a reader: {:?} {said}",
                out.status
            ));
        }
    }
    let mut full = c.command(&["ls", "-R", &location]);
    let device = std::fs::File::options().write(true).open("/dev/full");
    full.stdin(Stdio::null())
        .stdout(device.map_err(|e| e.to_string())?);
    let out = full
        .stderr(Stdio::piped())
        .output()
        .map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    if out.status.code() != Some(1) || !said.contains("standard output") {
        return Err(format!("ls > /dev/full: {:?} {said}", out.status));
    }
    c.good(&["rm", "-r", &location]).map(|_| ())
}

/// `--dry-run` tells what would be done, and nothing is done.
pub(super) fn dry_runs(c: &Commands) -> Res<()> {
    c.file("dry/one", b"1")?;
    c.file("dry/two/three", b"333")?;
    let source = c.local("dry");
    let target = c.at("dry-target/");
    let args = ["put", "-r", "--dry-run", "--json", &source, &target];
    expect(&c.json(&args)?, "/files", &json!(2))?;
    if c.share.join("dry-target").exists() {
        return Err("a folder was made".to_owned());
    }
    c.good(&["put", "-r", &source, &target])?;
    let (from, back) = (c.at("dry-target/dry"), c.local("dry-back/"));
    let report = c.json(&["get", "-r", "-n", "--json", &from, &back])?;
    expect(&report, "/files", &json!(2))?;
    expect(&report, "/bytes", &json!(4))?;
    if std::path::Path::new(&back).exists() {
        return Err("a local folder was made".to_owned());
    }
    let none = c.at("none-such");
    c.bad(
        &["get", "-n", &none, &back],
        1,
        &["STATUS_OBJECT_NAME_NOT_FOUND"],
    )?;
    let kept = c.run(&["put", "-", "-n", "--json", &c.at("dry-target/dry/one")])?;
    judge(&["put", "-"], &kept, 0, &[])?;
    let standing = std::fs::read(c.share.join("dry-target/dry/one"));
    if standing.map_err(|e| e.to_string())? != b"1" {
        return Err("standard input was written".to_owned());
    }
    let mut keep = c.command(&["put", "-", "--keep", &c.at("dry-target/dry/one")]);
    keep.stdin(Stdio::null());
    let out = run_program(keep, LIMIT)?;
    judge(&["put", "-", "--keep"], &out, 0, &[])?;
    let standing = std::fs::read(c.share.join("dry-target/dry/one"));
    if standing.map_err(|e| e.to_string())? != b"1" {
        return Err("--keep did not keep".to_owned());
    }
    c.good(&["rm", "-r", &c.at("dry-target")]).map(|_| ())
}

/// `sync --delete` removes nothing that a filter leaves out, however deep.
pub(super) fn filters(c: &Commands) -> Res<()> {
    let folder = c.share.join("filters/old");
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    for name in ["gone.txt", "stays.bak"] {
        std::fs::write(folder.join(name), name).map_err(|e| e.to_string())?;
    }
    c.file("filters/new.txt", b"new")?;
    let (local, remote) = (c.local("filters"), c.at("filters"));
    let args = ["sync", "--delete", "--exclude", "*.bak", &local, &remote];
    c.good(&args)?;
    let left: Vec<bool> = ["gone.txt", "stays.bak", "../new.txt"]
        .iter()
        .map(|name| folder.join(name).exists())
        .collect();
    if left != [false, true, true] {
        return Err(format!("gone, stays, new: {left:?}"));
    }
    c.good(&["rm", "-r", &remote]).map(|_| ())
}
