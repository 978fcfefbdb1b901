//! `cargo xtask`: everything the project does to itself.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "commands print their results")]

mod attack;
mod capture;
mod ci;
mod frame;
mod fuzz;
mod interop;
mod lab;
mod peers;
mod process;
mod proxy;
mod report;
mod server;
mod soak;
mod speed;
mod suites;
mod torture;
mod versus;
mod workspace;

use std::process::ExitCode;

/// Result of a step: the error is a sentence for the person who ran it.
pub(crate) type Res<T> = Result<T, String>;

const HELP: &str = "\
cargo xtask COMMAND

  test [--full]              everything: unit tests, then real clients against the built binary
  interop [--full] [SUITE..] only the real clients; --full adds the 1 GiB file and 5,000 small ones
                             suites: audit captures verify matrix python tools kerberos live gpo commands tamper attack scan client
  ci                         format, lints, documentation, dependency edges, sizes of files
  fuzz [--minutes N] [TARGET..]   every fuzz target in turn, seeds from the captures
  attack [--subject ours,smbd,HOST[:PORT]] [--dialects D,..] [--only TEXT] [--out FILE]
                             a man in the middle between real clients and a server: tables;
                             `attack --help` says how to point it at another server or client
  torture LIST [--sign required] [--only TEXT] [--out FILE] [--jobs N]
                             smbtorture tests of testdata/lists/LIST.txt (or a file)
  versus [--mib N] [--runs N] [--dialects D,..] [--protect P,..] [--ops get,put] [--json FILE]
                             throughput and server CPU beside smbd's
  speed [--mib N] [--files N] [--runs N] [--rclone-runs N] [--dialects D,..] [--protect off,sign] [--ops O,..] [--json FILE]
                             our client beside smbclient and rclone, against smbd
  soak [--sessions N] [--connections N]
                             memory of idle signed sessions; many connections
  lab up|run CMD..|env|status|down
                             an Active Directory domain of one Samba controller, in namespaces
";

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let command = if args.is_empty() {
        String::new()
    } else {
        args.remove(0)
    };
    let result = match command.as_str() {
        "test" => interop::test(&args),
        "interop" => interop::only(&args),
        "ci" => ci::run(),
        "fuzz" => fuzz::run(&args),
        "attack" => attack::run(&args),
        "torture" => torture::run(&args),
        "versus" => versus::run(&args),
        "soak" => soak::run(&args),
        "speed" => speed::run(&args),
        "lab" => lab::command::lab(&args),
        "" | "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(true)
        }
        other => Err(format!("there is no command `{other}`\n\n{HELP}")),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::from(2)
        }
    }
}

/// The value behind `--name`, taken out of the arguments.
pub(crate) fn option(args: &mut Vec<String>, name: &str) -> Res<Option<String>> {
    let Some(at) = args.iter().position(|a| a == name) else {
        return Ok(None);
    };
    if at + 1 >= args.len() {
        return Err(format!("{name} needs a value"));
    }
    args.remove(at);
    Ok(Some(args.remove(at)))
}

/// A number behind `--name`.
pub(crate) fn number(args: &mut Vec<String>, name: &str, default: u64) -> Res<u64> {
    match option(args, name)? {
        None => Ok(default),
        Some(v) => v
            .parse()
            .map_err(|_| format!("{name} needs a number, not `{v}`")),
    }
}

/// Words with commas between them behind `--name`.
pub(crate) fn list(args: &mut Vec<String>, name: &str, default: &str) -> Res<Vec<String>> {
    let text = option(args, name)?.unwrap_or_else(|| default.to_owned());
    Ok(text.split(',').map(str::to_owned).collect())
}

/// Whether `--name` was given; taken out of the arguments.
pub(crate) fn flag(args: &mut Vec<String>, name: &str) -> bool {
    let before = args.len();
    args.retain(|a| a != name);
    args.len() != before
}
