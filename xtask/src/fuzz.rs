//! `cargo xtask fuzz`: every target in turn, seeds from the captures.

use crate::report::Tally;
use crate::workspace::{cargo, root, testdata};
use crate::{Res, number};

pub(crate) fn run(args: &[String]) -> Res<bool> {
    let mut names = args.to_vec();
    let minutes = number(&mut names, "--minutes", 10)?;
    let manifest =
        std::fs::read_to_string(root().join("fuzz/Cargo.toml")).map_err(|e| e.to_string())?;
    let known: Vec<String> = manifest
        .split("[[bin]]")
        .skip(1)
        .filter_map(|b| b.lines().find_map(|l| l.strip_prefix("name = ")))
        .map(|n| n.trim_matches('"').to_owned())
        .collect();
    if let Some(unknown) = names.iter().find(|n| !known.contains(n)) {
        return Err(format!(
            "`{unknown}` is no target; there are {}",
            known.join(", ")
        ));
    }
    let targets = if names.is_empty() { known } else { names };
    let mut tally = Tally::new();
    tally.suite("fuzz");
    let corpus = root().join("fuzz/corpus");
    let seeded = cargo()
        .args([
            "run",
            "--quiet",
            "--package",
            "countersign-testkit",
            "--example",
            "fuzz-seeds",
            "--",
        ])
        .arg(testdata("captures"))
        .arg(&corpus)
        .status()
        .map_err(|e| e.to_string())?;
    tally.check(
        "seeds",
        if seeded.success() {
            Ok(())
        } else {
            Err(seeded.to_string())
        },
    );
    let Some(toolchain) = toolchain() else {
        for target in &targets {
            tally.skip(target, "cargo-fuzz is missing (cargo install cargo-fuzz)");
        }
        return Ok(tally.finish());
    };
    let each = (minutes * 60 / targets.len().max(1) as u64).max(1);
    for target in &targets {
        println!("{target}: {each} s");
        let status = fuzz(toolchain)
            .current_dir(root())
            .args(["run", target, "--"])
            .args([
                &format!("-max_total_time={each}"),
                "-rss_limit_mb=2048",
                "-timeout=10",
            ])
            .args(["-print_final_stats=1", "-verbosity=0"])
            .status()
            .map_err(|e| e.to_string())?;
        let why = || format!("a crash; see fuzz/artifacts/{target}");
        tally.check(target, if status.success() { Ok(()) } else { Err(why()) });
    }
    Ok(tally.finish())
}

/// Which compiler builds the targets: they need unstable flags.
#[derive(Debug, Clone, Copy)]
enum Toolchain {
    Nightly,
    /// The stable one, told to take unstable flags.
    Stable,
}

fn toolchain() -> Option<Toolchain> {
    [Toolchain::Nightly, Toolchain::Stable]
        .into_iter()
        .find(|toolchain| {
            let mut command = fuzz(*toolchain);
            command
                .arg("--version")
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null());
            command.status().is_ok_and(|s| s.success())
        })
}

/// `cargo fuzz`, without what `cargo xtask` put into the environment.
fn fuzz(toolchain: Toolchain) -> std::process::Command {
    let mut command = std::process::Command::new("cargo");
    match toolchain {
        Toolchain::Nightly => {
            command.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
            command.arg("+nightly")
        }
        Toolchain::Stable => command.env("RUSTC_BOOTSTRAP", "1"),
    };
    command.arg("fuzz");
    command
}
