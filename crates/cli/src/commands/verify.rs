//! `countersign verify`.

mod live;
mod report;
mod secrets;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use countersign_auth::NtHash;
use countersign_verify::{CaptureError, CaptureReader, Counts, Report, Secrets, Verifier, verify};

use crate::output::{complain, say, say_json};
use crate::password::PasswordSource;

use live::{live, on_interrupt};
use report::{as_json, line, text};
use secrets::{nt_hash, session_key};

/// Exit codes: no signature is bad, some are, a capture cannot be read.
const BAD: u8 = 1;
const UNREADABLE: u8 = 2;

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// Captures, pcap or pcapng; `-` is standard input, also of a running capture
    #[arg(value_name = "FILE", required_unless_present = "live")]
    files: Vec<PathBuf>,
    /// An account and its password; without `:PASSWORD` the password is asked for, or
    /// taken from COUNTERSIGN_PASSWORD or the options below
    #[arg(long, value_name = "NAME[:PASSWORD]")]
    user: Vec<String>,
    #[command(flatten)]
    password: PasswordSource,
    /// An account and its NT hash
    #[arg(long, value_name = "NAME:HEX", value_parser = nt_hash)]
    nt_hash: Vec<(String, NtHash)>,
    /// Keytab of the service, for Kerberos logons
    #[arg(long, value_name = "FILE")]
    keytab: Vec<PathBuf>,
    /// The key of a session, by SessionId (SMB1: Uid) in hexadecimal
    #[arg(long, value_name = "ID:HEX", value_parser = session_key)]
    session_key: Vec<(u64, Vec<u8>)>,
    /// A file with all these: lines of `user NAME:PASSWORD`, `nt-hash NAME:HEX`,
    /// `session-key ID:HEX` and `keytab FILE`
    #[arg(long, value_name = "FILE")]
    secrets: Vec<PathBuf>,
    /// The FILEs are pieces of one capture, in order
    #[arg(long)]
    join: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Capture on an interface (through dumpcap or tcpdump) until Ctrl-C
    #[arg(long, value_name = "IFACE", conflicts_with = "files")]
    live: Option<String>,
}

/// A capture, or pieces of one, and what was found in it.
struct Checked {
    name: String,
    report: Report,
    /// Findings were printed as they were made.
    told: bool,
}

/// A capture that cannot be read, or not to its end.
struct Unread {
    name: String,
    error: String,
}

pub(crate) fn run(arguments: &VerifyArguments) -> ExitCode {
    let secrets = match arguments.secrets() {
        Ok(secrets) => secrets,
        Err(error) => {
            complain(&error);
            return ExitCode::from(UNREADABLE);
        }
    };
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    if let Some(interface) = &arguments.live {
        live(arguments, interface, secrets, &mut results, &mut errors);
    } else if arguments.join {
        let files = &arguments.files;
        check(arguments, files, secrets, &mut results, &mut errors);
    } else {
        for file in arguments.files.chunks(1) {
            check(arguments, file, secrets.clone(), &mut results, &mut errors);
        }
    }
    let mut total = Counts::default();
    for checked in &results {
        let counts = checked.report.counts;
        total.verified += counts.verified;
        total.bad += counts.bad;
        total.unsigned += counts.unsigned;
        total.decrypted += counts.decrypted;
    }
    for unread in &errors {
        complain(&format!("{}: {}", unread.name, unread.error));
    }
    let mut failed = !errors.is_empty();
    if arguments.json {
        if let Err(error) = say_json(&as_json(&total, &results, &errors)) {
            complain(&error);
            failed = true;
        }
    } else {
        for checked in &results {
            say(&text(checked));
        }
        say(&format!(
            "{} verified, {} bad, {} unsigned",
            total.verified, total.bad, total.unsigned
        ));
    }
    if failed {
        ExitCode::from(UNREADABLE)
    } else if total.bad > 0 {
        ExitCode::from(BAD)
    } else {
        ExitCode::SUCCESS
    }
}

/// Checks a capture that is in these files.
fn check(
    arguments: &VerifyArguments,
    files: &[PathBuf],
    secrets: Secrets,
    results: &mut Vec<Checked>,
    errors: &mut Vec<Unread>,
) {
    let mut verifier = Verifier::new(secrets);
    let mut told = false;
    let mut opened = 0;
    let unread = errors.len();
    for file in files {
        let name = file.display().to_string();
        let read = if file == Path::new("-") {
            told = !arguments.json;
            // Whoever writes the capture gets it, too, and ends: the report follows.
            on_interrupt(false, || {});
            opened += 1;
            feed(&mut verifier, std::io::stdin().lock(), told)
        } else {
            match File::open(file) {
                Ok(input) => {
                    opened += 1;
                    feed(&mut verifier, input, false)
                }
                Err(error) => Err(error.into()),
            }
        };
        if let Err(error) = read {
            let error = error.to_string();
            errors.push(Unread { name, error });
        }
    }
    // What was read before the damage counts; where nothing was, there is no report.
    if opened > 0 && (verifier.packets() > 0 || errors.len() == unread) {
        let name = match files {
            [one] => one.display().to_string(),
            [first, rest @ ..] => format!("{} and {} more", first.display(), rest.len()),
            [] => String::new(),
        };
        let report = finish(verifier, told);
        results.push(Checked { name, report, told });
    }
}

fn feed(verifier: &mut Verifier, input: impl Read, told: bool) -> Result<(), CaptureError> {
    let packets = verifier.packets();
    verify(CaptureReader::continuing(input, packets), verifier, |f| {
        if told {
            say(&line(f));
        }
    })
}

fn finish(verifier: Verifier, told: bool) -> Report {
    verifier.finish_telling(|finding| {
        if told {
            say(&line(finding));
        }
    })
}
