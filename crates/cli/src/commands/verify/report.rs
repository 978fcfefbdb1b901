//! What `verify` prints.

use countersign_verify::{ConnectionSummary, Counted, Counts, Finding, Report, SessionSummary};
use serde_json::{Value, json};

use super::{Checked, Unread};
use crate::output::{printable, table};

/// The JSON that scripts read: totals and findings of all files, then each file.
pub(super) fn as_json(total: &Counts, results: &[Checked], errors: &[Unread]) -> Value {
    let mut findings = Vec::new();
    for Checked { name, report, .. } in results {
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
        .map(|Checked { name, report, .. }| {
            let mut value = json!(report);
            if let Some(object) = value.as_object_mut() {
                object.insert("file".to_owned(), json!(name));
                object.remove("findings");
            }
            value
        })
        .collect();
    let errors: Vec<Value> = errors
        .iter()
        .map(|unread| json!({"file": unread.name, "error": unread.error}))
        .collect();
    json!({
        "verified": total.verified,
        "bad": total.bad,
        "unsigned": total.unsigned,
        "decrypted": total.decrypted,
        "findings": findings,
        "files": files,
        "errors": errors,
    })
}

pub(super) fn line(finding: &Finding) -> String {
    let counted = match finding.counted {
        Counted::Bad => "BAD",
        Counted::Unsigned => "UNSIGNED",
        Counted::Not => "NOTE",
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

/// What the report says of a capture as a whole and of its connections.
fn notes(report: &Report) -> Vec<String> {
    let mut out = Vec::new();
    if report.cut {
        out.push("the capture ends inside a packet".to_owned());
    }
    if report.packets_cut > 0 {
        out.push(format!(
            "{} TCP packets were cut when they were captured, and what was in them is not \
             checked: capture whole packets (-s 0)",
            report.packets_cut
        ));
    }
    for (link, count) in &report.unknown_links {
        out.push(format!(
            "{count} packets are of link type {link}, which is not read"
        ));
    }
    if report.datagrams_incomplete > 0 {
        out.push(format!(
            "{} IP datagrams lack some of their fragments",
            report.datagrams_incomplete
        ));
    }
    for connection in &report.connections {
        let notes = connection_notes(connection);
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
    if report.connections_left_off > 0 {
        out.push(format!(
            "and {} connections more",
            report.connections_left_off
        ));
    }
    out
}

fn connection_notes(connection: &ConnectionSummary) -> Vec<String> {
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
    if connection.compressed > 0 {
        notes.push(format!(
            "{} messages were compressed",
            connection.compressed
        ));
    }
    if connection.passed_over > 0 {
        notes.push(format!(
            "{} frames are no SMB or not decoded, and not checked",
            connection.passed_over
        ));
    }
    notes
}

pub(super) fn text(checked: &Checked) -> String {
    let Checked { name, report, told } = checked;
    let mut out = vec![format!(
        "{}: {} packets, {} connections, {} sessions",
        printable(name),
        report.packets,
        report.connections.len() as u64 + report.connections_left_off,
        report.sessions.len() as u64 + report.sessions_left_off
    )];
    out.extend(notes(report));
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
    if report.sessions_left_off > 0 {
        out.push(format!("and {} sessions more", report.sessions_left_off));
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
