//! The scanner on servers of every kind, beside nmap's three scripts: ours under
//! four policies, smbd under three.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::Context;
use crate::Res;
use crate::process::{Beside, command, run as run_program};
use crate::report::Tally;
use crate::server::{PASSWORD, Samba, Server, Setup, USER};
use crate::workspace;

const LIMIT: Duration = Duration::from_secs(60);

/// What a subject must be found to be.
struct Expected {
    name: &'static str,
    port: u16,
    /// Of SMB1; `None`: it must not be found.
    smb1: Option<&'static str>,
    /// Of all dialects behind it.
    smb2: &'static str,
    oldest: &'static str,
    /// An unsigned client's request, behind SMB1.
    unsigned_client: &'static str,
}

/// Name, always, if agrees; then what is found: SMB1, SMB2, an unsigned client.
type Ours = (
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static str,
    &'static str,
);

pub(crate) fn run(tally: &mut Tally, context: &Context) -> Res<()> {
    tally.suite("scan");
    let folder = workspace::scratch("scan")?;
    let ours: [Ours; 4] = [
        (
            "required",
            "enabled",
            "enabled",
            Some("required"),
            "required",
            "refused",
        ),
        (
            "enabled",
            "disabled",
            "enabled",
            Some("enabled"),
            "enabled",
            "accepted",
        ),
        (
            "disabled",
            "disabled",
            "disabled",
            Some("disabled"),
            "enabled",
            "accepted",
        ),
        ("no smb1", "enabled", "enabled", None, "required", "refused"),
    ];
    let mut servers: Vec<Server> = Vec::new();
    let mut subjects = Vec::new();
    for (number, (name, always, if_agrees, smb1, smb2, unsigned)) in ours.into_iter().enumerate() {
        let place = folder.join(format!("ours{number}"));
        std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
        let mut setup = Setup::new(&context.binary, &place)
            .policy(always, if_agrees)
            .config("[authentication]\nfailed-logon-delay = \"0s\"\n");
        setup.smb1 = smb1.is_some();
        let server = setup.start()?;
        subjects.push(Expected {
            name,
            port: server.port,
            smb1,
            smb2,
            oldest: if smb1.is_some() { "smb1" } else { "2.0.2" },
            unsigned_client: unsigned,
        });
        servers.push(server);
    }
    let mut peers = Vec::new();
    for (signing, smb1, smb2, unsigned) in [
        ("mandatory", "required", "required", "refused"),
        ("auto", "enabled", "enabled", "accepted"),
        ("disabled", "disabled", "enabled", "accepted"),
    ] {
        let place = folder.join(format!("smbd-{signing}"));
        let share = place.join("share");
        std::fs::create_dir_all(&share).map_err(|e| e.to_string())?;
        match Samba::start(&place, &share, signing) {
            Ok(smbd) => {
                subjects.push(Expected {
                    name: match signing {
                        "mandatory" => "smbd mandatory",
                        "auto" => "smbd auto",
                        _ => "smbd disabled",
                    },
                    port: smbd.port,
                    smb1: Some(smb1),
                    smb2,
                    oldest: "smb1",
                    unsigned_client: unsigned,
                });
                peers.push(smbd);
            }
            Err(why) => tally.skip(&format!("smbd {signing}"), &why),
        }
    }
    let reports = scan(context, &subjects)?;
    for (subject, report) in subjects.iter().zip(&reports) {
        tally.check(&format!("{}: found", subject.name), found(subject, report));
        tally.check(
            &format!("{}: proved", subject.name),
            proved(subject, report),
        );
        beside_nmap(tally, context, subject, report)?;
    }
    tally.check(
        "a port where nobody listens has an error",
        reports
            .last()
            .filter(|_| reports.len() == subjects.len() + 1)
            .and_then(|r| r.get("error"))
            .map(|_| ())
            .ok_or_else(|| "no error in the report".to_owned()),
    );
    exits(tally, context, &subjects)?;
    tally.check("a server that encrypts", encrypting(context, &folder));
    for server in servers {
        tally.check("clean stop", server.stop());
    }
    drop(peers);
    Ok(())
}

fn scan(context: &Context, subjects: &[Expected]) -> Res<Vec<Value>> {
    let mut targets: Vec<String> = subjects
        .iter()
        .map(|s| format!("127.0.0.1:{}", s.port))
        .collect();
    // Port 1 of the loopback: nobody.
    targets.push("127.0.0.1:1".to_owned());
    let mut c = command(
        &context.binary,
        &["scan", "--json", "--prove", "--user", USER],
    );
    c.args(&targets).env("COUNTERSIGN_PASSWORD", PASSWORD);
    let out = run_program(c, LIMIT)?;
    if !out.ok() {
        return Err(out.tail());
    }
    match serde_json::from_str(&out.stdout) {
        Ok(Value::Array(reports)) => Ok(reports),
        other => Err(format!("not an array of hosts: {other:?}")),
    }
}

fn dialects(report: &Value) -> Vec<(&str, &str)> {
    let rows = report.get("dialects").and_then(Value::as_array);
    rows.into_iter()
        .flatten()
        .filter_map(|row| Some((row.get("dialect")?.as_str()?, row.get("signing")?.as_str()?)))
        .collect()
}

fn found(subject: &Expected, report: &Value) -> Res<()> {
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    if let Some(signing) = subject.smb1 {
        wanted.push(("smb1", signing));
    }
    for dialect in ["2.0.2", "2.1", "3.0", "3.0.2", "3.1.1"] {
        wanted.push((dialect, subject.smb2));
    }
    let seen = dialects(report);
    if seen.first().map(|(d, _)| *d) != Some(subject.oldest) || seen != wanted {
        return Err(format!("{seen:?} instead of {wanted:?}"));
    }
    Ok(())
}

fn proved(subject: &Expected, report: &Value) -> Res<()> {
    let proofs = report.get("proof").and_then(Value::as_array);
    let proofs: Vec<&Value> = proofs.into_iter().flatten().collect();
    if proofs.len() != dialects(report).len() {
        return Err(format!("{} proofs", proofs.len()));
    }
    for proof in proofs {
        let text = |key: &str| proof.get(key).and_then(Value::as_str).unwrap_or("none");
        if proof.get("error").is_some() {
            return Err(proof.to_string());
        }
        // SMB1's answer to a broken signature may also be the end of the connection.
        let refused = |key: &str| matches!(text(key), "refused" | "disconnected");
        let smb1 = text("dialect") == "smb1";
        let can_sign = !smb1 || subject.smb1 != Some("disabled");
        if can_sign && !(refused("unsigned_request") && refused("bad_signature")) {
            return Err(proof.to_string());
        }
        let right = match subject.unsigned_client {
            "refused" => refused("unsigned_client"),
            other => text("unsigned_client") == other,
        };
        if !right {
            return Err(proof.to_string());
        }
    }
    Ok(())
}

/// nmap tells of the newest dialect only; what it tells must be the same.
fn beside_nmap(
    tally: &mut Tally,
    context: &Context,
    subject: &Expected,
    report: &Value,
) -> Res<()> {
    let name = format!("{}: as nmap", subject.name);
    let Some(nmap) = context.peers.need(tally, &name, "nmap") else {
        return Ok(());
    };
    let port = subject.port.to_string();
    let arguments = format!("smbport={port}");
    let args = [
        "-Pn",
        "-p",
        &port,
        "--script",
        "smb-security-mode,smb2-security-mode,smb-protocols",
        "--script-args",
        &arguments,
        "127.0.0.1",
    ];
    let out = run_program(command(nmap, &args), LIMIT)?;
    let said = &out.stdout;
    let mut wrong = Vec::new();
    for (dialect, signing) in dialects(report) {
        let shown = match dialect {
            "smb1" => "NT LM 0.12".to_owned(),
            // Up to 7.93 it writes 302, from 7.94 on 3:0:2.
            other => {
                let mut parts: Vec<&str> = other.split('.').collect();
                parts.resize(3, "0");
                let (old, new) = (parts.concat(), parts.join(":"));
                if said.contains(&new) { new } else { old }
            }
        };
        if !said.contains(&shown) {
            wrong.push(format!("nmap does not see {dialect}"));
        }
        let words = match (dialect, signing) {
            ("smb1", "required") => "message_signing: required",
            ("smb1", "enabled") => "message_signing: supported",
            ("smb1", _) => "message_signing: disabled",
            ("3.1.1", "required") => "Message signing enabled and required",
            ("3.1.1", _) => "Message signing enabled but not required",
            _ => continue,
        };
        if !said.contains(words) {
            wrong.push(format!("nmap does not say `{words}`"));
        }
    }
    if subject.smb1.is_none() && said.contains("NT LM 0.12") {
        wrong.push("nmap sees SMB1".to_owned());
    }
    tally.check(
        &name,
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(format!("{}: {}", wrong.join(", "), out.tail()))
        },
    );
    Ok(())
}

/// Exit status, and the other forms of output.
fn exits(tally: &mut Tally, context: &Context, subjects: &[Expected]) -> Res<()> {
    let at = |name: &str| {
        subjects
            .iter()
            .find(|s| s.name == name)
            .map(|s| format!("127.0.0.1:{}", s.port))
            .unwrap_or_default()
    };
    let (required, weak, modern) = (at("required"), at("enabled"), at("no smb1"));
    // Ports of the loopback where nobody listens.
    let (dead, dead2) = ("127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned());
    let relayed = format!("smb://{weak}\n");
    let cases: [(&str, Vec<&str>, i32, &str); 16] = [
        (
            "--fail-on not-required, required",
            vec![&required, "--fail-on", "not-required"],
            0,
            "",
        ),
        (
            "--fail-on not-required, enabled",
            vec![&weak, "--fail-on", "not-required"],
            1,
            "",
        ),
        (
            "--fail-on smb1, without",
            vec![&modern, "--fail-on", "smb1"],
            0,
            "",
        ),
        (
            "--fail-on smb1, with",
            vec![&weak, "--fail-on", "smb1"],
            1,
            "",
        ),
        (
            "--fail-on disabled, enabled",
            vec![&weak, "--fail-on", "disabled"],
            0,
            "",
        ),
        (
            "--fail-on no-answer",
            vec![&weak, &dead, "--fail-on", "no-answer"],
            1,
            "connection refused",
        ),
        ("nobody answers", vec![&dead], 0, "0 answered"),
        (
            "--fail-on guest, nobody is a guest",
            vec![&weak, "--accounts", "--fail-on", "guest"],
            0,
            "anonymous",
        ),
        (
            "--fail-on guest needs --accounts",
            vec![&weak, "--fail-on", "guest"],
            2,
            "",
        ),
        (
            "--fail-on not-enforced needs --prove",
            vec![&weak, "--fail-on", "not-enforced"],
            2,
            "",
        ),
        ("a target that is none", vec!["10.0.0.0/99"], 2, ""),
        ("--rate 0", vec![&weak, "--rate", "0"], 2, ""),
        (
            "an output that cannot be",
            vec![&weak, "-o", "/no/such/folder/file"],
            2,
            "",
        ),
        (
            "--exclude",
            vec![&weak, &dead, &dead2, "--exclude", "127.0.0.1"],
            0,
            "0 hosts",
        ),
        (
            "relay list",
            vec![&weak, &weak, &required, "--format", "relay"],
            0,
            &relayed,
        ),
        (
            "netexec",
            vec![&required, "--format", "netexec"],
            0,
            "(signing:True) (SMBv1:True)",
        ),
    ];
    for (name, args, code, words) in cases {
        let mut c = command(&context.binary, &["scan", "--quick"]);
        c.args(args);
        let out = run_program(c, LIMIT)?;
        let result = if out.code == Some(code) && out.stdout.contains(words) {
            Ok(())
        } else {
            Err(format!("exit {:?}: {}", out.code, out.tail()))
        };
        tally.check(name, result);
    }
    let mut c = command(&context.binary, &["scan", &weak, "--prove", "--user", USER]);
    c.args(["--quick", "--fail-on", "not-enforced"]);
    c.env("COUNTERSIGN_PASSWORD", "not the password");
    let out = run_program(c, LIMIT)?;
    tally.check(
        "--fail-on not-enforced, where nothing could be tried",
        if out.code == Some(1) && out.stdout.contains("LOGON_FAILURE") {
            Ok(())
        } else {
            Err(format!("exit {:?}: {}", out.code, out.tail()))
        },
    );
    tally.check("--json, all hosts dead", all_dead(context, &[dead, dead2]));
    tally.check("Ctrl-C", interrupted(context, &weak));
    Ok(())
}

/// Where all is encrypted nothing in the clear passes, and that counts as proof.
fn encrypting(context: &Context, folder: &Path) -> Res<()> {
    let place = folder.join("encrypting");
    std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
    let mut setup = Setup::new(&context.binary, &place)
        .policy("enabled", "enabled")
        .config("[encryption]\nrequired = true\n[dialects]\nmin = \"3.0\"\n");
    setup.smb1 = false;
    let server = setup.start()?;
    let at = format!("127.0.0.1:{}", server.port);
    let mut c = command(&context.binary, &["scan", &at, "--prove", "--user", USER]);
    c.args(["--json", "--quick", "--fail-on", "not-enforced"]);
    c.env("COUNTERSIGN_PASSWORD", PASSWORD);
    let out = run_program(c, LIMIT)?;
    server.stop()?;
    let value: Value = serde_json::from_str(&out.stdout).map_err(|e| e.to_string())?;
    let proofs = value.pointer("/0/proof").and_then(Value::as_array);
    let refused = |proof: &&Value| {
        ["unsigned_request", "bad_signature", "unsigned_client"]
            .iter()
            .all(|key| proof.get(key).and_then(Value::as_str) == Some("refused"))
    };
    let count = proofs.map_or(0, |all| all.iter().filter(refused).count());
    if out.ok() && count == 3 {
        Ok(())
    } else {
        Err(out.stdout)
    }
}

/// Nothing but the array on standard output, a report with an error for each.
fn all_dead(context: &Context, hosts: &[String]) -> Res<()> {
    let mut c = command(&context.binary, &["scan", "--json"]);
    c.args(hosts);
    let out = run_program(c, LIMIT)?;
    let value: Value = serde_json::from_str(&out.stdout).map_err(|e| e.to_string())?;
    let reports = value.as_array().ok_or("not an array")?;
    let errors = reports.iter().filter(|r| r.get("error").is_some()).count();
    if out.ok() && reports.len() == hosts.len() && errors == hosts.len() {
        Ok(())
    } else {
        Err(out.tail())
    }
}

/// What was found is told when the scan is broken off, and the exit status says so.
fn interrupted(context: &Context, answers: &str) -> Res<()> {
    // Takes connections and never answers.
    let silent = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| e.to_string())?;
    let at = silent.local_addr().map_err(|e| e.to_string())?;
    let log = workspace::scratch("scan-interrupted")?.join("log");
    let mut c = command(&context.binary, &["scan", "--format", "ndjson", "--quick"]);
    c.args([answers, &at.to_string(), "--timeout", "50"]);
    let mut scan = Beside::start(c, &log)?;
    let found = |line: &str| line.contains("\"signing\"").then_some(());
    scan.until(LIMIT, found)?;
    let code = scan.stop(Signal::INT, Duration::from_secs(5))?;
    let said = std::fs::read_to_string(&log).map_err(|e| e.to_string())?;
    if code == Some(130) && said.contains("interrupted") {
        Ok(())
    } else {
        Err(format!("exit {code:?}: {said}"))
    }
}
