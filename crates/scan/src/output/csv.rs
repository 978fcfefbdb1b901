//! A dialect a line, quoted as in RFC 4180.

use super::harmless;
use crate::prove::Enforcement;
use crate::report::HostReport;

pub(super) const HEAD: &str = "address,port,target,error,dialect,signing,signing_algorithms,ciphers,compression,\
capabilities,mechanisms,computer,domain,dns_computer,dns_domain,os_version,guid,clock_skew_ms,unanswered,\
anonymous,guest,unsigned_request,bad_signature,unsigned_client,proof_error\n";

pub(super) fn host(report: &HostReport) -> String {
    let names = report.names.clone().unwrap_or_default();
    let accounts = report.accounts.clone();
    let (anonymous, guest) = accounts.map_or_else(Default::default, |a| (a.anonymous, a.guest));
    let before = [
        report.address.clone(),
        report.port.to_string(),
        report.target.clone().unwrap_or_default(),
        report.error.clone().unwrap_or_default(),
    ];
    let behind = [
        names.computer,
        names.domain,
        names.dns_computer,
        names.dns_domain,
        names.os_version,
        report.guid.clone().unwrap_or_default(),
        report
            .clock
            .map(|c| c.skew_ms.to_string())
            .unwrap_or_default(),
        report.unanswered.join("; "),
        anonymous,
        guest,
    ];
    let mut rows: Vec<[String; 7]> = report
        .dialects
        .iter()
        .map(|found| {
            [
                found.dialect.to_owned(),
                found.signing.as_str().to_owned(),
                found.signing_algorithms.join(" "),
                found.ciphers.join(" "),
                found.compression.join(" "),
                found.capabilities.join(" "),
                found.mechanisms.join(" "),
            ]
        })
        .collect();
    if rows.is_empty() {
        rows.push(Default::default());
    }
    let mut out = String::new();
    for row in rows {
        let [dialect, ..] = &row;
        let proof = report.proof.iter().find(|proof| proof.dialect == dialect);
        let word = |enforcement: Option<Enforcement>| {
            enforcement.map_or("", Enforcement::as_str).to_owned()
        };
        let proved = proof.map_or_else(Default::default, |proof| {
            [
                word(proof.unsigned_request),
                word(proof.bad_signature),
                word(proof.unsigned_client),
                proof.error.clone().unwrap_or_default(),
            ]
        });
        let cells: Vec<String> = before
            .iter()
            .chain(&row)
            .chain(&behind)
            .chain(&proved)
            .map(|cell| quoted(cell))
            .collect();
        out.push_str(&cells.join(","));
        out.push('\n');
    }
    out
}

/// Quotes what needs it, and keeps spreadsheets from running a server's name as a
/// formula: what could begin one gets an apostrophe before it.
pub(super) fn quoted(text: &str) -> String {
    let mut cell = harmless(text);
    let digits = text.strip_prefix('-').unwrap_or(text);
    let number = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let begins = |c: char| "=+-@\u{FF1D}\u{FF0B}\u{FF0D}\u{FF20}".contains(c);
    let formula = text
        .trim_start_matches(|c: char| c.is_whitespace() || c.is_control())
        .starts_with(begins);
    if formula && !number {
        cell.insert(0, '\'');
    }
    if cell.contains([',', ';', '"', ' ', '\'']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}
