//! `countersign verify`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use clap::Args;
use countersign_auth::NtHash;
use countersign_verify::{
    CaptureError, CaptureReader, Counted, Counts, Finding, Report, Secrets, SessionSummary,
    Verifier, verify,
};
use serde_json::{Value, json};

use crate::output::{complain, printable, say, say_json, table};

/// Exit codes: no signature is bad, some are, a capture cannot be read.
const BAD: u8 = 1;
const UNREADABLE: u8 = 2;

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// Captures, pcap or pcapng; `-` is standard input, also of a running capture
    #[arg(value_name = "FILE", required_unless_present = "live")]
    files: Vec<PathBuf>,
    /// An account and its password
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = pair)]
    user: Vec<(String, String)>,
    /// An account and its NT hash
    #[arg(long, value_name = "NAME:HEX", value_parser = nt_hash)]
    nt_hash: Vec<(String, NtHash)>,
    /// Keytab of the service, for Kerberos logons
    #[arg(long, value_name = "FILE")]
    keytab: Vec<PathBuf>,
    /// The key of a session, by SessionId (SMB1: Uid) in hexadecimal
    #[arg(long, value_name = "ID:HEX", value_parser = session_key)]
    session_key: Vec<(u64, Vec<u8>)>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Capture on an interface (through dumpcap or tcpdump) until Ctrl-C
    #[arg(long, value_name = "IFACE", conflicts_with = "files")]
    live: Option<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, rest) = text.split_once(':').ok_or("`:` is missing")?;
    Ok((name.to_owned(), rest.to_owned()))
}

fn hexadecimal(text: &str) -> Result<Vec<u8>, String> {
    let (pairs, odd) = text.trim().as_bytes().as_chunks::<2>();
    let digit = |b: &u8| {
        char::from(*b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let bytes: Option<Vec<u8>> = pairs
        .iter()
        .map(|[high, low]| Some(digit(high)? << 4 | digit(low)?))
        .collect();
    match bytes {
        Some(bytes) if odd.is_empty() && !bytes.is_empty() => Ok(bytes),
        _ => Err("not pairs of hexadecimal digits".to_owned()),
    }
}

fn nt_hash(text: &str) -> Result<(String, NtHash), String> {
    let (name, hash) = pair(text)?;
    let hash: [u8; 16] = hexadecimal(&hash)?
        .try_into()
        .map_err(|_| "an NT hash has 32 digits")?;
    Ok((name, NtHash::new(hash)))
}

fn session_key(text: &str) -> Result<(u64, Vec<u8>), String> {
    let (id, key) = pair(text)?;
    let digits = id.trim_start_matches("0x");
    let id = u64::from_str_radix(digits, 16).map_err(|_| "the id is not hexadecimal")?;
    Ok((id, hexadecimal(&key)?))
}

impl VerifyArguments {
    fn secrets(&self) -> Result<Secrets, String> {
        let mut secrets = Secrets::new();
        for (name, password) in &self.user {
            secrets.add_password(name, password);
        }
        for (name, hash) in &self.nt_hash {
            secrets.add_nt_hash(name, hash.clone());
        }
        for file in &self.keytab {
            let at = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
            let bytes = std::fs::read(file).map_err(|e| at(&e))?;
            secrets.add_keytab(&bytes).map_err(|e| at(&e))?;
        }
        for (id, key) in &self.session_key {
            secrets.add_session_key(*id, key.clone());
        }
        Ok(secrets)
    }
}

pub(crate) fn run(arguments: &VerifyArguments) -> ExitCode {
    let mut results = Vec::new();
    let mut failed = false;
    if let Some(interface) = &arguments.live {
        match live(arguments, interface) {
            Ok(report) => results.push((format!("live {interface}"), report)),
            Err(error) => {
                complain(&error);
                failed = true;
            }
        }
    }
    for file in &arguments.files {
        match one(arguments, file) {
            Ok(report) => results.push((file.display().to_string(), report)),
            Err(error) => {
                complain(&format!("{}: {error}", file.display()));
                failed = true;
            }
        }
    }
    let mut total = Counts::default();
    for (_, report) in &results {
        total.verified += report.counts.verified;
        total.bad += report.counts.bad;
        total.unsigned += report.counts.unsigned;
        total.decrypted += report.counts.decrypted;
    }
    if arguments.json {
        if let Err(error) = say_json(&as_json(&total, &results)) {
            complain(&error);
            failed = true;
        }
    } else {
        for (name, report) in &results {
            say(&text(name, report, arguments.live.is_some()));
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

fn one(arguments: &VerifyArguments, file: &Path) -> Result<Report, String> {
    let secrets = arguments.secrets()?;
    if file == Path::new("-") {
        let told = !arguments.json;
        return check(std::io::stdin().lock(), secrets, told).map_err(|e| e.to_string());
    }
    let file = File::open(file).map_err(|e| e.to_string())?;
    check(file, secrets, false).map_err(|e| e.to_string())
}

fn check(input: impl Read, secrets: Secrets, told: bool) -> Result<Report, CaptureError> {
    let mut verifier = Verifier::new(secrets);
    verify(CaptureReader::new(input), &mut verifier, |finding| {
        if told {
            say(&line(finding));
        }
    })?;
    Ok(verifier.finish())
}

/// Captures in another program, which may have the privilege that this one need
/// not have.
fn live(arguments: &VerifyArguments, interface: &str) -> Result<Report, String> {
    let secrets = arguments.secrets()?;
    let (mut child, output) = capture(interface)?;
    let process = rustix::process::Pid::from_child(&child);
    // Ctrl-C ends the capture, and the report follows.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime
            && runtime.block_on(tokio::signal::ctrl_c()).is_ok()
        {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
        }
    });
    let report = check(output, secrets, !arguments.json);
    let _ = child.kill();
    let status = child.wait().map_err(|e| e.to_string())?;
    match report {
        Err(CaptureError::Format(_)) => Err(format!("no capture on `{interface}` ({status})")),
        other => other.map_err(|e| e.to_string()),
    }
}

fn capture(interface: &str) -> Result<(Child, ChildStdout), String> {
    let programs: [(&str, &[&str]); 2] = [
        (
            "dumpcap",
            &["-q", "-P", "-B", "64", "-f", "tcp", "-w", "-", "-i"],
        ),
        ("tcpdump", &["-U", "-s", "0", "-w", "-", "-i"]),
    ];
    for (program, options) in programs {
        let mut command = Command::new(program);
        command.args(options).arg(interface);
        if program == "tcpdump" {
            command.arg("tcp");
        }
        command.stdout(Stdio::piped()).stdin(Stdio::null());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{program}: {error}")),
        };
        let output = child.stdout.take();
        return output
            .map(|output| (child, output))
            .ok_or_else(|| format!("{program}: no output"));
    }
    Err(
        "neither dumpcap nor tcpdump is installed; pipe a capture in: \
         `ssh HOST tcpdump -U -w - tcp | countersign verify -`"
            .to_owned(),
    )
}

/// The JSON that scripts read: totals and findings of all files, then each file.
fn as_json(total: &Counts, results: &[(String, Report)]) -> Value {
    let mut findings = Vec::new();
    for (name, report) in results {
        for finding in &report.findings {
            let mut value = json!(finding);
            if let Some(object) = value.as_object_mut() {
                object.insert("file".to_owned(), json!(name));
            }
            findings.push(value);
        }
    }
    let files: Vec<Value> = results
        .iter()
        .map(|(name, report)| {
            let mut value = json!(report);
            if let Some(object) = value.as_object_mut() {
                object.insert("file".to_owned(), json!(name));
                object.remove("findings");
            }
            value
        })
        .collect();
    json!({
        "verified": total.verified,
        "bad": total.bad,
        "unsigned": total.unsigned,
        "decrypted": total.decrypted,
        "findings": findings,
        "files": files,
    })
}

fn line(finding: &Finding) -> String {
    let counted = match finding.counted {
        Counted::Bad => "BAD",
        Counted::Unsigned => "UNSIGNED",
        Counted::Not => "LOGON",
    };
    format!(
        "#{} {counted} {}, {} session {}: {}: {}",
        finding.frame,
        finding.message,
        finding.sender,
        finding.session,
        finding.cause.words(),
        finding.detail
    )
}

fn text(name: &str, report: &Report, told: bool) -> String {
    let mut out = vec![format!(
        "{}: {} packets, {} connections, {} sessions",
        printable(name),
        report.packets,
        report.connections.len(),
        report.sessions.len()
    )];
    if report.cut {
        out.push("the capture ends inside a packet".to_owned());
    }
    for connection in &report.connections {
        let [client, server] = connection.lost;
        let mut notes = Vec::new();
        if !connection.from_start {
            notes.push("its start is not in the capture".to_owned());
        }
        if client + server > 0 {
            notes.push(format!(
                "{client} bytes of the client and {server} of the server are missing"
            ));
        }
        if connection.passed_over > 0 {
            notes.push(format!(
                "{} frames are compressed or no SMB",
                connection.passed_over
            ));
        }
        if !notes.is_empty() {
            out.push(format!(
                "connection {} ({} to {}): {}",
                connection.connection,
                connection.client,
                connection.server,
                notes.join("; ")
            ));
        }
    }
    if !report.sessions.is_empty() {
        let head = [
            "SESSION",
            "USER",
            "DIALECT",
            "LOGON",
            "SIGNED",
            "CIPHER",
            "VERIFIED",
            "BAD",
            "UNSIGNED",
            "DECRYPTED",
            "NOTES",
        ];
        let rows: Vec<Vec<String>> = report.sessions.iter().map(row).collect();
        out.push(table(&head, &rows));
    }
    if !report.reasons_unsigned.is_empty() {
        let reasons: Vec<String> = report
            .reasons_unsigned
            .iter()
            .map(|(why, count)| format!("{why} {count}"))
            .collect();
        out.push(format!("unsigned: {}", reasons.join(", ")));
    }
    if !told {
        out.extend(report.findings.iter().map(line));
    }
    if report.findings_left_off > 0 {
        out.push(format!("and {} findings more", report.findings_left_off));
    }
    out.join("\n")
}

fn row(session: &SessionSummary) -> Vec<String> {
    let or = |text: &str| match text {
        "" => "-".to_owned(),
        text => printable(text),
    };
    let mut notes = Vec::new();
    for (is, what) in [
        (session.signing_required, "signing required"),
        (session.guest, "guest"),
        (session.anonymous, "anonymous"),
        (session.encrypted, "encryption required"),
        (session.ntlm_mic == Some(true), "MIC right"),
        (session.ntlm_mic == Some(false), "MIC WRONG"),
        (session.mech_list_mics.1 > 0, "mechListMIC WRONG"),
    ] {
        if is {
            notes.push(what.to_owned());
        }
    }
    if session.channels > 1 {
        notes.push(format!("{} channels", session.channels));
    }
    if session.reauthentications > 0 {
        notes.push(format!(
            "authenticated again {} times",
            session.reauthentications
        ));
    }
    if let Some(why) = &session.no_key {
        notes.push(why.clone());
    }
    vec![
        session.session.clone(),
        or(&session.user),
        session.dialect.clone(),
        or(&session.mechanism),
        session.algorithm.clone(),
        session.cipher.clone().unwrap_or_else(|| "-".to_owned()),
        session.counts.verified.to_string(),
        session.counts.bad.to_string(),
        session.counts.unsigned.to_string(),
        session.counts.decrypted.to_string(),
        notes.join(", "),
    ]
}
