//! `cargo xtask lab`.

use std::path::PathBuf;

use super::{DC_HOST, Lab, available};
use crate::{Res, workspace};

fn folder() -> PathBuf {
    workspace::target().join("lab")
}

/// `up`, `run CMD...`, `env`, `status`, `down`.
pub(crate) fn lab(args: &[String]) -> Res<bool> {
    let (verb, rest) = args
        .split_first()
        .map_or(("", args), |(v, r)| (v.as_str(), r));
    let lab = || Lab::running(&folder()).ok_or("no lab is up: cargo xtask lab up");
    match verb {
        "up" => {
            if Lab::running(&folder()).is_none_or(|running| {
                println!("already up");
                running.keep();
                false
            }) {
                available()?;
                Lab::start(&folder())?.keep();
            }
            println!("up: {DC_HOST}, folder {}", folder().display());
            Ok(true)
        }
        "run" => {
            let (program, rest) = rest.split_first().ok_or("run needs a command")?;
            let lab = lab()?;
            let status = lab.command(program).args(rest).status();
            lab.keep();
            let status = status.map_err(|e| format!("{program}: {e}"))?;
            Ok(status.success())
        }
        "env" => {
            let lab = lab()?;
            for (name, value) in lab.env() {
                println!("{name}={value}");
            }
            lab.keep();
            Ok(true)
        }
        "status" => match Lab::running(&folder()) {
            Some(lab) => {
                println!("up, folder {}", lab.folder().display());
                lab.keep();
                Ok(true)
            }
            None => {
                println!("down");
                Ok(false)
            }
        },
        "down" => {
            drop(Lab::running(&folder()));
            println!("down");
            Ok(true)
        }
        other => Err(format!(
            "lab needs up, run CMD, env, status or down, not `{other}`"
        )),
    }
}
