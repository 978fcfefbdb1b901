//! Names of all kinds, and the commands that look at them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Commands, expect, member, same};
use crate::Res;
use crate::process::Beside;

/// Names that need care somewhere on their way.
const NAMES: [&str; 7] = [
    "plain.txt",
    "with space and  two.txt",
    "Ünïcödé – 日本語 🎵.txt",
    "100% & #1; (a+b)=[c]@d,'e'!.txt",
    ".hidden-by-dot",
    "no extension",
    "UPPER.TXT",
];

fn encoded(name: &str) -> String {
    let special = |c: char| "%#@;[] ".contains(c);
    name.chars()
        .map(|c| {
            if special(c) {
                format!("%{:02X}", u32::from(c))
            } else {
                c.to_string()
            }
        })
        .collect()
}

pub(super) fn every_name(c: &Commands) -> Res<()> {
    c.good(&["mkdir", &c.at("names")])?;
    for (at, name) in NAMES.iter().enumerate() {
        // The first one is empty.
        let content = vec![b'x'; at * 10];
        let source = c.file(&format!("names/{name}"), &content)?;
        let url = c.at(&format!("names/{}", encoded(name)));
        c.good(&["put", &source, &url])?;
        same(&c.share.join("names").join(name), &content)?;
        // The other form is taken literally.
        let unc = format!("//127.0.0.1:{}/share/names/{name}", c.port);
        if c.good(&["cat", &unc])?.into_bytes() != content {
            return Err(format!("cat {unc} shows something else"));
        }
        let back = c.local("name-back");
        c.good(&["get", &url, &back])?;
        same(std::path::Path::new(&back), &content)?;
    }
    let listed = c.json(&["ls", "--json", "-a", &c.at("names")])?;
    let mut names: Vec<&str> = listed
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one.get("name").and_then(Value::as_str))
        .collect();
    names.sort_unstable();
    let mut wanted = NAMES;
    wanted.sort_unstable();
    if names != wanted {
        return Err(format!("{names:?} are listed"));
    }
    c.good(&["rm", "-r", &c.at("names")]).map(|_| ())
}

pub(super) fn listing(c: &Commands) -> Res<()> {
    c.good(&["mkdir", "-p", &c.at("list/sub/deep")])?;
    for name in ["a.txt", "b.TXT", "c.bin", "sub/d.txt"] {
        std::fs::write(c.share.join("list").join(name), name).map_err(|e| e.to_string())?;
    }
    for (pattern, wanted) in [
        ("list", "a.txt\nb.TXT\nc.bin\nsub/\n"),
        ("list/*.txt", "list/a.txt\nlist/b.TXT\n"),
        ("list/?.bin", "list/c.bin\n"),
        ("list/**/*.txt", "list/a.txt\nlist/b.TXT\nlist/sub/d.txt\n"),
    ] {
        let out = c.good(&["ls", &c.at(pattern)])?;
        if out != wanted {
            return Err(format!("ls {pattern}: {out:?}"));
        }
    }
    let all = c.json(&["ls", "-R", "--json", &c.at("list")])?;
    let count = all.as_array().map_or(0, Vec::len);
    if count != 6 {
        return Err(format!("ls -R lists {count}"));
    }
    let long = c.good(&["ls", "-l", &c.at("list")])?;
    if !long.lines().next().is_some_and(|l| l.contains("MODIFIED")) {
        return Err(format!("ls -l: {long}"));
    }
    c.bad(&["ls", &c.at("list/*.none")], 1, &["nothing fits"])?;
    c.good(&["rm", "-r", &c.at("list")]).map(|_| ())
}

pub(super) fn moving(c: &Commands) -> Res<()> {
    c.good(&["mkdir", &c.at("mv")])?;
    let folder = c.share.join("mv");
    let write =
        |name: &str, text: &str| std::fs::write(folder.join(name), text).map_err(|e| e.to_string());
    write("a", "a")?;
    write("b", "b")?;
    c.good(&["mv", &c.at("mv/a"), &c.at("mv/new name")])?;
    same(&folder.join("new name"), b"a")?;
    c.bad(
        &["mv", &c.at("mv/new%20name"), &c.at("mv/b")],
        1,
        &["COLLISION", "--force"],
    )?;
    c.good(&["mv", "--force", &c.at("mv/new%20name"), &c.at("mv/b")])?;
    same(&folder.join("b"), b"a")?;
    c.good(&["mkdir", &c.at("mv/into")])?;
    write("c1", "1")?;
    write("c2", "2")?;
    c.good(&["mv", &c.at("mv/c*"), &c.at("mv/into")])?;
    same(&folder.join("into/c2"), b"2")?;
    c.bad(
        &["rmdir", &c.at("mv/into")],
        1,
        &["STATUS_DIRECTORY_NOT_EMPTY"],
    )?;
    c.bad(&["rm", &c.at("mv/into")], 1, &["--recursive"])?;
    c.bad(
        &["mkdir", &c.at("mv/into")],
        1,
        &["STATUS_OBJECT_NAME_COLLISION"],
    )?;
    let removed = c.json(&["rm", "-r", "--json", &c.at("mv/into")])?;
    expect(&removed, "/removed", &json!(3))?;
    expect(&removed, "/complete", &json!(true))?;
    c.good(&["rm", &c.at("mv/b")])?;
    c.good(&["rmdir", &c.at("mv")])?;
    c.bad(&["rm", &c.at("mv/b")], 1, &["STATUS_OBJECT_"])?;
    c.good(&["rm", "--force", &c.at("none-such")]).map(|_| ())
}

pub(super) fn looking(c: &Commands) -> Res<()> {
    c.good(&["mkdir", "-p", &c.at("look/x/y")])?;
    let write = |name: &str, size: usize| {
        let path = c.share.join("look").join(name);
        std::fs::write(path, vec![0u8; size]).map_err(|e| e.to_string())
    };
    write("one", 1000)?;
    write("x/two.TXT", 2000)?;
    write("x/y/three.txt", 3000)?;
    let stat = c.json(&["stat", "--json", &c.at("look/x/two.txt")])?;
    expect(&stat, "/0/size", &json!(2000))?;
    expect(&stat, "/0/type", &json!("file"))?;
    for time in ["modified", "created", "accessed", "changed"] {
        let text = member(&stat, &format!("/0/{time}"))?
            .as_str()
            .unwrap_or_default();
        if !(text.len() == 20 && text.ends_with('Z')) {
            return Err(format!("{time} is {text:?}"));
        }
    }
    let volume = c.json(&["stat", "--filesystem", "--json", &c.at("")])?;
    if member(&volume, "/0/total")?.as_u64().unwrap_or(0) == 0 {
        return Err(format!("no space: {volume}"));
    }
    let du = c.json(&["du", "--json", &c.at("look")])?;
    expect(&du, "/0/bytes", &json!(6000))?;
    expect(&du, "/0/files", &json!(3))?;
    expect(&du, "/0/directories", &json!(2))?;
    expect(&du, "/2/bytes", &json!(3000))?;
    let found = c.good(&["find", "--name", "*.txt", "--size", "+2500", &c.at("look")])?;
    if found != "look/x/y/three.txt\n" {
        return Err(format!("find: {found:?}"));
    }
    let found = c.json(&["find", "--json", "--type", "d", &c.at("look")])?;
    expect(&found, "/0/path", &json!("look/x"))?;
    let tree = c.json(&["tree", "--json", &c.at("look")])?;
    expect(
        &tree,
        "/children/1/children/1/children/0/name",
        &json!("three.txt"),
    )?;
    let drawn = c.good(&["tree", &c.at("look")])?;
    if !drawn.contains("└── x/") || !drawn.contains("2 folders, 3 files") {
        return Err(format!("tree: {drawn}"));
    }
    c.good(&["rm", "-r", &c.at("look")]).map(|_| ())
}

pub(super) fn shares_and_acl(c: &Commands) -> Res<()> {
    let host = format!("//127.0.0.1:{}", c.port);
    let shares = c.json(&["shares", "--json", &host])?;
    let has = |name: &str, kind: &str| {
        shares.as_array().into_iter().flatten().any(|share| {
            share.get("name").and_then(Value::as_str) == Some(name)
                && share.get("type").and_then(Value::as_str) == Some(kind)
        })
    };
    if !has("share", "disk") || !has("IPC$", "pipe") {
        return Err(format!("shares: {shares}"));
    }
    if !c.good(&["ls", &host])?.contains("share") {
        return Err("ls of a host does not list its shares".to_owned());
    }
    std::fs::write(c.share.join("acl.txt"), b"x").map_err(|e| e.to_string())?;
    let acl = c.json(&["acl", "--json", &c.at("acl.txt")])?;
    let owner = member(&acl, "/owner")?.as_str().unwrap_or_default();
    if !owner.starts_with("S-1-") {
        return Err(format!("owner: {acl}"));
    }
    member(&acl, "/dacl/0/sid")?;
    c.good(&["rm", &c.at("acl.txt")]).map(|_| ())
}

pub(super) fn watch(c: &Commands) -> Res<()> {
    c.good(&["mkdir", &c.at("watched")])?;
    let location = c.at("watched");
    let log = c.folder.join("watch.log");
    let args = ["watch", "--json", "--count", "1", "--for", "30s", &location];
    let mut watch = Beside::start(c.command(&args), &log)?;
    // The watch says nothing when it begins, so names are made until it has one.
    let end = std::time::Instant::now() + Duration::from_secs(25);
    let mut made = 0;
    while watch.running() && std::time::Instant::now() < end {
        made += 1;
        c.good(&["mkdir", &c.at(&format!("watched/n{made}"))])?;
        std::thread::sleep(Duration::from_millis(100));
    }
    let text = watch.output();
    let first = text.lines().next().unwrap_or_default();
    let change: Value = serde_json::from_str(first).map_err(|e| format!("{e}: {text}"))?;
    expect(&change, "/action", &json!("added"))?;
    let path = member(&change, "/path")?.as_str().unwrap_or_default();
    if !path.starts_with('n') {
        return Err(format!("path: {change}"));
    }
    c.good(&["rm", "-r", &c.at("watched")]).map(|_| ())
}

pub(super) fn shell(c: &Commands) -> Res<()> {
    let source = c.file("from shell.txt", b"shell")?;
    let script = format!(
        "mkdir \"in shell\"; cd \"in shell\"; put '{source}' 'a b.txt'; ls; mv 'a b.txt' c; \
         cat c; pwd; cd ..; rm -r \"in shell\"; quit; not reached"
    );
    let out = c.good(&["shell", "-c", &script, &c.at("")])?;
    for wanted in ["a b.txt", "shell", "share:/in shell"] {
        if !out.contains(wanted) {
            return Err(format!("the shell does not say `{wanted}`: {out}"));
        }
    }
    if c.share.join("in shell").exists() {
        return Err("rm -r in the shell removed nothing".to_owned());
    }
    c.bad(
        &["shell", "-c", "cd nowhere; pwd", &c.at("")],
        1,
        &["STATUS_OBJECT_NAME_NOT_FOUND"],
    )
}
