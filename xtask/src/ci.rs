//! `cargo xtask ci`: what a change must pass besides the tests.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Res;
use crate::report::Tally;
use crate::workspace::{cargo, root};

/// Longest source file, in lines.
const MAX_LINES: usize = 1000;

/// Which of our crates each may use (besides in its tests).
const EDGES: &[(&str, &[&str])] = &[
    ("countersign-wire", &[]),
    ("countersign-kernels", &[]),
    ("countersign-policy", &[]),
    ("countersign-crypto", &["kernels", "wire"]),
    ("countersign-auth", &["wire", "crypto"]),
    ("countersign-gssapi", &[]),
    (
        "countersign-directory",
        &["auth", "client", "gssapi", "policy", "wire"],
    ),
    ("countersign-rpc", &["wire"]),
    ("countersign-fs", &["wire"]),
    ("countersign-localfs", &["fs", "wire"]),
    (
        "countersign-core",
        &["auth", "crypto", "fs", "policy", "rpc", "wire"],
    ),
    (
        "countersign-server",
        &[
            "audit",
            "auth",
            "core",
            "crypto",
            "directory",
            "fs",
            "gssapi",
            "localfs",
            "policy",
            "rpc",
            "wire",
        ],
    ),
    ("countersign-audit", &["policy"]),
    ("countersign-verify", &["auth", "crypto"]),
    (
        "countersign",
        &[
            "audit",
            "auth",
            "client",
            "core",
            "directory",
            "mount",
            "policy",
            "scan",
            "server",
            "verify",
            "wire",
        ],
    ),
    (
        "countersign-client",
        &["auth", "core", "crypto", "gssapi", "policy", "rpc", "wire"],
    ),
    ("countersign-mount", &["client", "wire"]),
    ("countersign-scan", &["auth", "crypto", "wire"]),
    (
        "countersign-testkit",
        &[
            "auth",
            "core",
            "crypto",
            "directory",
            "fs",
            "localfs",
            "policy",
            "rpc",
            "server",
            "verify",
            "wire",
        ],
    ),
    ("xtask", &["policy"]),
];

/// Crates of others that only these may use: input and output have their places.
const KEPT_APART: &[(&str, &[&str])] = &[
    (
        "tokio",
        &[
            "countersign-server",
            "countersign-client",
            "countersign-directory",
            "countersign-mount",
            "countersign-scan",
            "countersign",
            "countersign-testkit",
        ],
    ),
    (
        "rustix",
        &[
            "countersign-localfs",
            "countersign-server",
            "countersign",
            "xtask",
        ],
    ),
    (
        "libc",
        &["countersign-server", "countersign", "countersign-gssapi"],
    ),
    ("socket2", &["countersign-server"]),
    ("fuser", &["countersign-mount"]),
    (
        "getrandom",
        &[
            "countersign-server",
            "countersign-client",
            "countersign",
            "countersign-auth",
            "countersign-directory",
            "countersign-scan",
            "countersign-testkit",
        ],
    ),
    ("lber", &["countersign-directory"]),
    ("simple-dns", &["countersign-directory"]),
    ("rusqlite", &["countersign-audit"]),
    ("aws-lc-sys", &["countersign-kernels"]),
    ("aws-lc-rs", &["countersign-kernels", "countersign-crypto"]),
];

pub(crate) fn run() -> Res<bool> {
    let mut tally = Tally::new();
    tally.suite("ci");
    for (name, args) in [
        ("format", &["fmt", "--all", "--check"][..]),
        (
            "lints",
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ][..],
        ),
        (
            "documentation",
            &[
                "doc",
                "--workspace",
                "--no-deps",
                "--document-private-items",
            ][..],
        ),
    ] {
        println!("cargo {}", args.join(" "));
        let mut c = cargo();
        c.args(args).env(
            "RUSTDOCFLAGS",
            "-D warnings -A rustdoc::private-intra-doc-links",
        );
        let status = c.status().map_err(|e| format!("cargo: {e}"))?;
        tally.check(
            name,
            if status.success() {
                Ok(())
            } else {
                Err(status.to_string())
            },
        );
    }
    edges(&mut tally)?;
    sizes(&mut tally)?;
    Ok(tally.finish())
}

fn edges(tally: &mut Tally) -> Res<()> {
    let out = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .map_err(|e| format!("cargo: {e}"))?;
    let metadata: Value =
        serde_json::from_slice(&out.stdout).map_err(|e| format!("metadata: {e}"))?;
    let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    for package in metadata
        .get("packages")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let name = text(package, "name");
        let Some((_, allowed)) = EDGES.iter().find(|(n, _)| *n == name) else {
            tally.fail(&name, "a crate without a line in the table of edges");
            continue;
        };
        let mut wrong = Vec::new();
        for dependency in package
            .get("dependencies")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            // Tests may use what they need.
            if dependency.get("kind").and_then(Value::as_str) == Some("dev") {
                continue;
            }
            let on = text(dependency, "name");
            let ours = on.strip_prefix("countersign-");
            if ours.is_some_and(|o| !allowed.contains(&o)) {
                wrong.push(format!("uses {on}"));
            }
            if KEPT_APART
                .iter()
                .any(|(n, users)| *n == on && !users.contains(&name.as_str()))
            {
                wrong.push(format!("uses {on}, which is not its business"));
            }
        }
        let result = if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join(", "))
        };
        tally.check(&format!("edges of {name}"), result);
    }
    Ok(())
}

fn sizes(tally: &mut Tally) -> Res<()> {
    let mut long = Vec::new();
    for folder in ["crates", "xtask", "fuzz/fuzz_targets"] {
        let mut todo = vec![root().join(folder)];
        while let Some(folder) = todo.pop() {
            for path in entries(&folder)? {
                if path.is_dir() && path.file_name().is_some_and(|n| n != "target") {
                    todo.push(path);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    let lines = std::fs::read_to_string(&path)
                        .map_err(|e| e.to_string())?
                        .lines()
                        .count();
                    if lines > MAX_LINES {
                        let shown = path
                            .strip_prefix(root())
                            .unwrap_or(&path)
                            .display()
                            .to_string();
                        long.push(format!("{shown} has {lines} lines"));
                    }
                }
            }
        }
    }
    tally.check(
        "sizes of files",
        if long.is_empty() {
            Ok(())
        } else {
            Err(long.join(", "))
        },
    );
    Ok(())
}

fn entries(folder: &Path) -> Res<Vec<PathBuf>> {
    let Ok(list) = std::fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    list.map(|e| e.map(|e| e.path()).map_err(|e| e.to_string()))
        .collect()
}
