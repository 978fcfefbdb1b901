//! A page with a chart; one file, no script, nothing loaded from elsewhere.

use countersign_wire::civil::rfc3339;

use super::{Totals, harmless};
use crate::report::HostReport;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222}\
table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:left;vertical-align:top}\
th{background:#f3f3f3}.required{color:#116329}.enabled{color:#9a6700}.disabled,.bad{color:#a40e26}\
@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}th{background:#262626}td,th{border-color:#444}\
.required{color:#56d364}.enabled{color:#e3b341}.disabled,.bad{color:#ff7b72}}";

pub(super) fn page(totals: &Totals, rows: &str) -> String {
    let groups = [
        (
            "signing required in every dialect",
            "#2da44e",
            totals.required,
        ),
        ("enabled, not required", "#d4a72c", totals.enabled),
        ("disabled in some dialect", "#cf222e", totals.disabled),
        (
            "no answer",
            "#8c959f",
            totals.hosts.saturating_sub(totals.answered()),
        ),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>SMB signing</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\n\
         <h1>SMB signing</h1>\n<p>{} hosts, {} answered.</p>\n{}\
         <table><tr><th>Host</th><th>Names</th><th>Dialect</th><th>Signing</th>\
         <th>Algorithms</th><th>Remarks</th></tr>\n{rows}</table>\n</body></html>\n",
        totals.hosts,
        totals.answered(),
        chart(&groups),
    )
}

fn chart(groups: &[(&str, &str, usize)]) -> String {
    let total = groups.iter().map(|(_, _, n)| *n).sum::<usize>().max(1);
    let mut bars = String::new();
    for (row, (label, colour, n)) in groups.iter().enumerate() {
        let y = row * 30;
        let width = n * 400 / total;
        bars.push_str(&format!(
            "<text x=\"250\" y=\"{}\" text-anchor=\"end\" fill=\"currentColor\">{label}</text>\
             <rect x=\"260\" y=\"{}\" width=\"{width}\" height=\"20\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"currentColor\">{n}</text>\n",
            y + 18,
            y + 3,
            266 + width,
            y + 18,
        ));
    }
    format!(
        "<svg role=\"img\" aria-label=\"Hosts by signing\" width=\"720\" height=\"{}\">\n{bars}</svg>\n",
        groups.len() * 30 + 6
    )
}

pub(super) fn rows(report: &HostReport, out: &mut String) {
    let host = escaped(&report.endpoint());
    let target = report.target.as_deref().map(escaped).unwrap_or_default();
    if let Some(error) = &report.error {
        out.push_str(&format!(
            "<tr><td>{host}<br>{target}</td><td></td><td></td><td></td><td></td><td>{}</td></tr>\n",
            escaped(error)
        ));
        return;
    }
    let names = report.names.clone().unwrap_or_default();
    let mut remarks = Vec::new();
    if let Some(clock) = report.clock {
        remarks.push(format!("clock {}", rfc3339(clock.time)));
    }
    if report.smb1().is_some() {
        remarks.push("<span class=\"bad\">speaks SMB1</span>".to_owned());
    }
    if report.can_be_relayed_to() {
        remarks.push("<span class=\"bad\">logons can be relayed to it</span>".to_owned());
    }
    if let Some(accounts) = &report.accounts {
        remarks.push(escaped(&format!(
            "anonymous {}, stranger {}",
            accounts.anonymous, accounts.guest
        )));
    }
    for what in &report.unanswered {
        remarks.push(format!(
            "<span class=\"bad\">not told: {}</span>",
            escaped(what)
        ));
    }
    for proof in &report.proof {
        let told = super::table::told(proof);
        remarks.push(escaped(&format!("proved {}: {told}", proof.dialect)));
    }
    if report.breaks_its_word() {
        remarks.push("<span class=\"bad\">enforces less than it announces</span>".to_owned());
    }
    for (number, found) in report.dialects.iter().enumerate() {
        let signing = found.signing.as_str();
        let lead = if number == 0 {
            let span = report.dialects.len();
            format!(
                "<td rowspan=\"{span}\">{host}<br>{target}</td><td rowspan=\"{span}\">{}<br>{}<br>{}</td>",
                escaped(&names.computer),
                escaped(&names.dns_computer),
                escaped(&names.os_version)
            )
        } else {
            String::new()
        };
        let tail = if number == 0 {
            format!(
                "<td rowspan=\"{}\">{}</td>",
                report.dialects.len(),
                remarks.join("<br>")
            )
        } else {
            String::new()
        };
        out.push_str(&format!(
            "<tr>{lead}<td>{}</td><td class=\"{signing}\">{signing}</td><td>{}</td>{tail}</tr>\n",
            found.dialect,
            escaped(
                &[
                    found.signing_algorithms.join(" "),
                    found.ciphers.join(" "),
                    found.compression.join(" "),
                ]
                .join("; ")
            ),
        ));
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in harmless(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}
