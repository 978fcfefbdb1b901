//! A dialect a line, RFC 4180.

use super::harmless;
use crate::report::HostReport;

const HEAD: &str = "address,port,target,error,dialect,signing,signing_algorithms,ciphers,compression,\
capabilities,mechanisms,computer,domain,dns_computer,dns_domain,os_version,guid,clock_skew_ms\n";

pub(super) fn render(reports: &[HostReport]) -> String {
    let mut out = HEAD.to_owned();
    for report in reports {
        let names = report.names.clone().unwrap_or_default();
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
        for row in rows {
            let cells: Vec<String> = before
                .iter()
                .chain(&row)
                .chain(&behind)
                .map(|cell| quoted(cell))
                .collect();
            out.push_str(&cells.join(","));
            out.push('\n');
        }
    }
    out
}

/// Quotes what needs it, and keeps spreadsheets from running a server's name as a formula.
fn quoted(cell: &str) -> String {
    let mut cell = harmless(cell);
    let number = cell.parse::<f64>().is_ok();
    if !number && cell.starts_with(['=', '+', '-', '@']) {
        cell.insert(0, '\'');
    }
    if cell.contains([',', '"', '\n', ' ', '\'']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}
