//! `cargo xtask test` and `cargo xtask interop`.

use crate::peers::Peers;
use crate::report::Tally;
use crate::suites::{self, Context};
use crate::{Res, flag, workspace};

type Suite = fn(&mut Tally, &Context) -> Res<()>;

const SUITES: &[(&str, Suite)] = &[
    ("captures", suites::captures::run),
    ("verify", suites::verify::run),
    ("matrix", suites::matrix::run),
    ("python", suites::python::run),
    ("tools", suites::tools::run),
    ("kerberos", suites::kerberos::run),
    ("live", suites::live::run),
    ("gpo", suites::gpo::run),
    ("audit", suites::audit::run),
    ("commands", suites::commands::run),
    ("tamper", suites::tamper::run),
    ("attack", suites::attack::run),
    ("scan", suites::scan::run),
    ("client", suites::client::run),
];

/// Unit tests first, then all suites.
pub(crate) fn test(args: &[String]) -> Res<bool> {
    let mut args = args.to_vec();
    let full = flag(&mut args, "--full");
    if let Some(unknown) = args.first() {
        return Err(format!("`{unknown}` is no option of test"));
    }
    let mut tally = Tally::new();
    let peers = Peers::prepare();
    unit_tests(&mut tally)?;
    suites_into(&mut tally, peers, full, &[])?;
    Ok(tally.finish())
}

/// Only suites of real clients.
pub(crate) fn only(args: &[String]) -> Res<bool> {
    let mut names = args.to_vec();
    let full = flag(&mut names, "--full");
    if let Some(unknown) = names.iter().find(|n| !SUITES.iter().any(|(s, _)| s == n)) {
        let all: Vec<&str> = SUITES.iter().map(|(n, _)| *n).collect();
        return Err(format!(
            "`{unknown}` is no suite; there are {}",
            all.join(", ")
        ));
    }
    let mut tally = Tally::new();
    suites_into(&mut tally, Peers::prepare(), full, &names)?;
    Ok(tally.finish())
}

fn suites_into(tally: &mut Tally, peers: Peers, full: bool, names: &[String]) -> Res<()> {
    tally.suite("build");
    let binary = match workspace::build_release() {
        Ok(b) => b,
        Err(why) => {
            tally.fail("release binary", &why);
            return Ok(());
        }
    };
    let context = Context::new(peers, binary, full);
    for (name, suite) in SUITES {
        if !names.is_empty() && !names.iter().any(|n| n == name) {
            continue;
        }
        if let Err(why) = suite(tally, &context) {
            tally.fail("the suite itself", &why);
        }
    }
    Ok(())
}

/// `cargo test --workspace`, each test counted.
fn unit_tests(tally: &mut Tally) -> Res<()> {
    use std::io::{BufRead, BufReader};
    tally.suite("cargo test");
    let mut child = workspace::cargo()
        .args(["test", "--workspace", "--no-fail-fast"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .map_err(|e| format!("cargo: {e}"))?;
    let mut failed = 0;
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if let Some(result) = line.strip_prefix("test result: ") {
                let count = |what: &str| -> u64 {
                    let before = result.split(what).next().unwrap_or_default();
                    before
                        .split_whitespace()
                        .last()
                        .and_then(|n| n.parse().ok())
                        .unwrap_or(0)
                };
                tally.passes(count(" passed"));
                if !result.starts_with("ok") {
                    println!("{line}");
                }
            } else if let Some(name) = line
                .strip_prefix("test ")
                .and_then(|l| l.strip_suffix(" ... FAILED"))
            {
                tally.fail(name, "failed");
                failed += 1;
            } else if let Some((name, why)) = line
                .strip_prefix("test ")
                .and_then(|l| l.split_once(" ... ignored"))
            {
                tally.skip(
                    name,
                    if why.is_empty() {
                        "ignored"
                    } else {
                        why.trim_start_matches(", ")
                    },
                );
            } else if !line.starts_with("test ")
                && !line.starts_with("running ")
                && !line.is_empty()
            {
                println!("{line}");
            }
        }
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    if !status.success() && failed == 0 {
        tally.fail("cargo test", &status.to_string());
    }
    Ok(())
}
