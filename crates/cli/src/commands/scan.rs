//! `countersign scan`.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write, stderr, stdout};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use countersign_scan::output::{Format, Writer};
use countersign_scan::target::{MAX_TARGETS, Targets};
use countersign_scan::{Credentials, End, HostReport, Options, Signing, scan};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{complain, printable};
use crate::password::PasswordSource;

#[derive(Debug, Args)]
pub(crate) struct ScanArguments {
    /// Addresses, names, ranges (10.0.0.1-20), networks (10.0.0.0/24), files of them (`-` is
    /// standard input), nmap's XML
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// Leave these hosts alone; written as targets are. May be repeated
    #[arg(long, value_name = "TARGET")]
    exclude: Vec<String>,
    /// Port of targets that name none
    #[arg(long, default_value_t = 445)]
    port: u16,
    /// How the result is written: table, json, ndjson, csv, nmap, netexec, relay, html
    #[arg(long, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Write to a file instead
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Hosts at once
    #[arg(long, default_value_t = Options::PARALLEL)]
    parallel: usize,
    /// Seconds a host may take to connect, and for each answer
    #[arg(long, default_value_t = Options::TIMEOUT.as_secs_f64(), value_name = "SECONDS")]
    timeout: f64,
    /// Seconds a host may take in all
    #[arg(long, default_value_t = Options::HOST_TIMEOUT.as_secs_f64(), value_name = "SECONDS")]
    host_timeout: f64,
    /// Most hosts begun in a second
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Most hosts of one scan
    #[arg(long, default_value_t = MAX_TARGETS)]
    max_hosts: usize,
    /// Do not ask for every signing algorithm and cipher alone
    #[arg(long)]
    quick: bool,
    /// Also try a null session and a stranger's logon (both show in the servers' logs)
    #[arg(long)]
    accounts: bool,
    /// Log on, and send unsigned and badly signed requests: proves enforcement
    #[arg(long, requires = "user")]
    prove: bool,
    /// Account for --prove: NAME, DOMAIN\NAME or NAME@DOMAIN
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    password: PasswordSource,
    /// Exit with 1 if any host is so; may be repeated
    #[arg(long, value_enum, value_name = "FINDING")]
    fail_on: Vec<Finding>,
}

/// What a pipeline may not want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Finding {
    /// In some dialect signing is not required
    NotRequired,
    /// In some dialect signing is disabled
    Disabled,
    /// It speaks SMB1
    Smb1,
    /// It does not answer, speaks no SMB, or left a question without an answer
    NoAnswer,
    /// It takes strangers as guests (with --accounts)
    Guest,
    /// It takes null sessions (with --accounts)
    Anonymous,
    /// It enforces less than it announces, or that could not be tried (with --prove)
    NotEnforced,
}

impl Finding {
    fn holds(self, report: &HostReport) -> bool {
        match self {
            Finding::NotRequired => report.can_be_relayed_to(),
            Finding::Disabled => report.weakest() == Some(Signing::Disabled),
            Finding::Smb1 => report.smb1().is_some(),
            Finding::NoAnswer => report.is_incomplete(),
            Finding::Guest => report
                .accounts
                .as_ref()
                .is_some_and(|accounts| matches!(accounts.guest.as_str(), "guest" | "allowed")),
            Finding::Anonymous => report
                .accounts
                .as_ref()
                .is_some_and(|accounts| accounts.anonymous == "allowed"),
            Finding::NotEnforced => report.breaks_its_word() || report.lacks_proof(),
        }
    }

    /// A finding that is never looked for would never be found.
    fn can_be_found(self, arguments: &ScanArguments) -> Result<(), String> {
        let (name, wanted) = match self {
            Finding::Guest if !arguments.accounts => ("guest", "--accounts"),
            Finding::Anonymous if !arguments.accounts => ("anonymous", "--accounts"),
            Finding::NotEnforced if !arguments.prove => ("not-enforced", "--prove"),
            _ => return Ok(()),
        };
        Err(format!("--fail-on {name} needs {wanted}"))
    }
}

/// Exit codes: a finding of --fail-on, no scan, interrupted.
const FOUND: u8 = 1;
const NO_SCAN: u8 = 2;
const INTERRUPTED: u8 = 130;

pub(crate) fn run(arguments: &ScanArguments) -> ExitCode {
    match attempt(arguments) {
        Ok(code) => code,
        Err(message) => {
            complain(&message);
            ExitCode::from(NO_SCAN)
        }
    }
}

fn attempt(arguments: &ScanArguments) -> Result<ExitCode, String> {
    for finding in &arguments.fail_on {
        finding.can_be_found(arguments)?;
    }
    let mut targets = Targets::new(arguments.port, arguments.max_hosts);
    for text in &arguments.exclude {
        targets.exclude(text).map_err(|error| error.to_string())?;
    }
    for text in &arguments.targets {
        targets.add(text).map_err(|error| error.to_string())?;
    }
    if targets.is_empty() {
        complain("there is no host to scan");
    }
    let prove = match (arguments.prove, &arguments.user) {
        (true, Some(user)) => Some(credentials(user, &arguments.password)?),
        _ => None,
    };
    let options = Options {
        parallel: arguments.parallel,
        timeout: seconds("--timeout", arguments.timeout)?,
        host_timeout: seconds("--host-timeout", arguments.host_timeout)?,
        rate: arguments.rate,
        quick: arguments.quick,
        accounts: arguments.accounts,
        prove,
    };
    let format = if arguments.json {
        Format::Json
    } else {
        arguments.format
    };
    // Opened first: nobody waits for a scan that cannot be kept.
    let place = arguments.output.as_deref();
    let out: Box<dyn Write> = match place {
        None => Box::new(stdout().lock()),
        Some(path) => {
            let file =
                File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Box::new(BufWriter::new(file))
        }
    };
    let outcome = scan_to(
        targets,
        options,
        Writer::new(format, out),
        &arguments.fail_on,
    );
    let (end, found) = match outcome {
        Ok(ended) => ended,
        Err(Failed::Scan(why)) => return Err(why),
        // Who reads the output has seen enough.
        Err(Failed::Write(error)) if place.is_none() && error.kind() == ErrorKind::BrokenPipe => {
            return Ok(ExitCode::SUCCESS);
        }
        Err(Failed::Write(error)) => {
            let place = place.map_or_else(|| "standard output".into(), Path::to_string_lossy);
            return Err(format!("{place}: {error}"));
        }
    };
    let words: Vec<String> = found
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(finding, count)| {
            let name = finding.to_possible_value();
            let name = name.as_ref().map_or("", PossibleValue::get_name);
            format!("{count} of {} hosts: {name}", end.reported)
        })
        .collect();
    if !words.is_empty() {
        complain(&words.join("; "));
    }
    if end.stopped {
        complain("interrupted: only hosts that were finished are told of");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(if words.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FOUND)
    })
}

/// Why a scan came to nothing.
enum Failed {
    Scan(String),
    Write(io::Error),
}

/// How a scan ended, and how many hosts each finding holds for.
type Ended = (End, Vec<(Finding, usize)>);

fn scan_to(
    targets: Targets,
    options: Options,
    writer: io::Result<Writer<Box<dyn Write>>>,
    findings: &[Finding],
) -> Result<Ended, Failed> {
    let mut writer = writer.map_err(Failed::Write)?;
    let mut found: Vec<(Finding, usize)> = findings.iter().map(|one| (*one, 0)).collect();
    // Every host takes a file descriptor.
    let _ = countersign_server::shell::raise_file_limit();
    let bar = progress(targets.len());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failed::Scan(error.to_string()))?;
    let mut written = Ok(());
    let stop = async {
        // Without a handler Ctrl-C ends the process, as ever.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let end = runtime.block_on(scan(
        targets,
        options,
        stop,
        |done, report| {
            bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
            if report.error.is_none() {
                bar.set_message(printable(&report.address));
            }
        },
        |report| {
            for (finding, count) in &mut found {
                *count = count.saturating_add(usize::from(finding.holds(&report)));
            }
            written = bar.suspend(|| writer.host(&report));
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        },
    ));
    bar.finish_and_clear();
    // Hosts that are asked still are not waited for.
    runtime.shutdown_background();
    let end = end.map_err(|error| Failed::Scan(error.to_string()))?;
    written.map_err(Failed::Write)?;
    writer.finish().map_err(Failed::Write)?;
    Ok((end, found))
}

fn seconds(option: &str, value: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(value)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("{option}: a number of seconds above 0"))
}

fn credentials(user: &str, password: &PasswordSource) -> Result<Credentials, String> {
    let (domain, name) = match (user.split_once('\\'), user.split_once('@')) {
        (Some((domain, name)), _) | (None, Some((name, domain))) => (domain, name),
        (None, None) => ("", user),
    };
    Ok(Credentials {
        user: name.to_owned(),
        domain: domain.to_owned(),
        password: password.existing(user)?,
    })
}

/// A bar on a terminal, nothing in a pipe.
fn progress(hosts: usize) -> ProgressBar {
    if hosts < 2 || !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(hosts).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar
}
