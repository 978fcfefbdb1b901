//! `countersign scan`.

use std::fs;
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use countersign_scan::output::{Format, render};
use countersign_scan::target::{MAX_TARGETS, Targets};
use countersign_scan::{Credentials, HostReport, Options, Signing, scan};
use indicatif::{ProgressBar, ProgressStyle};

use crate::Outcome;
use crate::output::{printable, say};
use crate::password::PasswordSource;

#[derive(Debug, Args)]
pub(crate) struct ScanArguments {
    /// Addresses, names, ranges (10.0.0.1-20), networks (10.0.0.0/24), files of them, nmap's XML
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
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
    /// Most hosts begun in a second
    #[arg(long)]
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
    /// It speaks no SMB, or does not answer
    NoAnswer,
    /// It takes guests (with --accounts)
    Guest,
    /// It enforces less than it announces (with --prove)
    NotEnforced,
}

impl Finding {
    fn holds(self, report: &HostReport) -> bool {
        match self {
            Finding::NotRequired => report.can_be_relayed_to(),
            Finding::Disabled => report.weakest() == Some(Signing::Disabled),
            Finding::Smb1 => report.smb1().is_some(),
            Finding::NoAnswer => report.error.is_some(),
            Finding::Guest => report
                .accounts
                .as_ref()
                .is_some_and(|accounts| matches!(accounts.guest.as_str(), "guest" | "allowed")),
            Finding::NotEnforced => report.breaks_its_word(),
        }
    }
}

pub(crate) fn run(arguments: ScanArguments) -> Outcome {
    let mut targets = Targets::new(arguments.port, arguments.max_hosts);
    for text in &arguments.targets {
        targets.add(text).map_err(|error| error.to_string())?;
    }
    let timeout = Duration::try_from_secs_f64(arguments.timeout)
        .ok()
        .filter(|timeout| !timeout.is_zero())
        .ok_or("--timeout: a number of seconds above 0")?;
    let prove = match (arguments.prove, &arguments.user) {
        (true, Some(user)) => Some(credentials(user, &arguments.password)?),
        _ => None,
    };
    let options = Options {
        parallel: arguments.parallel,
        timeout,
        rate: arguments.rate,
        quick: arguments.quick,
        accounts: arguments.accounts,
        prove,
    };
    let list = targets.into_list();
    let bar = progress(list.len());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let reports = runtime
        .block_on(scan(list, options, |done, report| {
            bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
            if report.error.is_none() {
                bar.set_message(printable(&report.address));
            }
        }))
        .map_err(|error| error.to_string())?;
    bar.finish_and_clear();
    let format = if arguments.json {
        Format::Json
    } else {
        arguments.format
    };
    let text = render(&reports, format);
    match &arguments.output {
        Some(path) => {
            fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        None if text.is_empty() => {}
        None => say(text.trim_end_matches('\n')),
    }
    let mut found = Vec::new();
    for finding in &arguments.fail_on {
        let count = reports
            .iter()
            .filter(|report| finding.holds(report))
            .count();
        if count > 0
            && let Some(value) = finding.to_possible_value()
        {
            found.push(format!(
                "{count} of {} hosts: {}",
                reports.len(),
                value.get_name()
            ));
        }
    }
    if found.is_empty() {
        Ok(())
    } else {
        Err(found.join("; "))
    }
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
