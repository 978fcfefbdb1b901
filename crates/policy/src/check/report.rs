//! Reports, for people and for pipelines.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value as Json, json};

use super::{Checked, Finding, Level, RULES, Status};
use crate::settings::{ParseError, Setting, parse_by_name};

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReportFormat {
    /// For people.
    Text,
    /// Ours.
    Json,
    /// Static Analysis Results Interchange Format 2.1.0 (OASIS).
    Sarif,
    /// JUnit's XML.
    Junit,
}

impl ReportFormat {
    /// All.
    pub const ALL: [ReportFormat; 4] = [
        ReportFormat::Text,
        ReportFormat::Json,
        ReportFormat::Sarif,
        ReportFormat::Junit,
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            ReportFormat::Text => "text",
            ReportFormat::Json => "json",
            ReportFormat::Sarif => "sarif",
            ReportFormat::Junit => "junit",
        }
    }
}

impl fmt::Display for ReportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

parse_by_name!(ReportFormat, "report format");

/// Writes a report. Findings below `level` do not count as failures.
pub fn write(format: ReportFormat, all: &[Checked], level: Level, version: &str) -> String {
    match format {
        ReportFormat::Text => text(all, level),
        ReportFormat::Json => pretty(&json!({
            "failed": all.iter().map(|one| one.failed(level).count()).sum::<usize>(),
            "subjects": all,
        })),
        ReportFormat::Sarif => pretty(&sarif(all, version)),
        ReportFormat::Junit => junit(all, level),
    }
}

fn pretty(json: &Json) -> String {
    serde_json::to_string_pretty(json).unwrap_or_default() + "\n"
}

fn text(all: &[Checked], level: Level) -> String {
    let mut out = String::new();
    for checked in all {
        out.push_str(&format!("{}\n", checked.subject));
        let mut found: Vec<&Finding> = checked.failed(Level::Note).collect();
        found.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        for finding in &found {
            let references = if finding.references.is_empty() {
                String::new()
            } else {
                format!(" ({})", finding.references.join(", "))
            };
            out.push_str(&format!(
                "\n{}: {} [{}]{references}\n  consequence: {}\n  remedy: {}\n",
                finding.level, finding.message, finding.rule, finding.consequence, finding.remedy
            ));
        }
        if !found.is_empty() {
            out.push('\n');
        }
        for standing in &checked.baselines {
            let verdict = if standing.met {
                "met".to_owned()
            } else {
                let unmet: Vec<&str> = standing.unmet.iter().map(|one| one.name()).collect();
                format!("not met: {}", unmet.join(", "))
            };
            out.push_str(&format!("{:<44}{verdict}\n", standing.baseline.title()));
        }
        let unknown = checked
            .findings
            .iter()
            .filter(|finding| finding.status == Status::Unknown)
            .count();
        if unknown > 0 {
            out.push_str(&format!(
                "{unknown} rules were not judged: they look at a server's configuration, or at what is not defined here\n"
            ));
        }
        let failed = checked.failed(level).count();
        out.push_str(&format!("{failed} findings at or above {level}\n\n"));
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// One run; a rule for each that can speak, a result for each that failed.
fn sarif(all: &[Checked], version: &str) -> Json {
    let name_of = |level: Level| level.name();
    let mut rules: Vec<Json> = RULES
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": {"text": rule.message},
                "fullDescription": {"text": rule.consequence},
                "help": {"text": rule.remedy},
                "defaultConfiguration": {"level": name_of(rule.level)},
            })
        })
        .collect();
    let mut known: Vec<String> = RULES.iter().map(|rule| rule.id.to_owned()).collect();
    let mut results = Vec::new();
    for checked in all {
        for finding in &checked.findings {
            let index = known.iter().position(|id| *id == finding.rule);
            let index = index.unwrap_or_else(|| {
                rules.push(json!({
                    "id": finding.rule,
                    "shortDescription": {"text": finding.references.join(", ")},
                    "fullDescription": {"text": finding.consequence},
                    "help": {"text": finding.remedy},
                    "defaultConfiguration": {"level": name_of(finding.level)},
                }));
                known.push(finding.rule.clone());
                known.len() - 1
            });
            if finding.status != Status::Failed {
                continue;
            }
            let file = checked.file.as_deref().unwrap_or(&checked.subject);
            let line = line_of(checked, finding);
            results.push(json!({
                "ruleId": finding.rule,
                "ruleIndex": index,
                "level": name_of(finding.level),
                "message": {"text": format!("{}: {}; {}. Remedy: {}", checked.subject, finding.message, finding.consequence, finding.remedy)},
                "partialFingerprints": {"countersignRule/v1": format!("{file}:{}", finding.rule)},
                "locations": [{
                    "physicalLocation": {
                        "artifactLocation": {"uri": uri(file)},
                        "region": {"startLine": line},
                    },
                    "logicalLocations": finding.settings.iter().map(|setting| json!({
                        "name": setting.name(),
                        "fullyQualifiedName": setting.policy_name(),
                        "kind": "parameter",
                    })).collect::<Vec<_>>(),
                }],
                "properties": {"references": finding.references},
            }));
        }
    }
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "countersign policy check",
                "semanticVersion": version,
                "rules": rules,
            }},
            "results": results,
        }],
    })
}

/// The line a finding is about: the first that says something about its settings. Code
/// scanning takes no result without one.
fn line_of(checked: &Checked, finding: &Finding) -> usize {
    let about = |setting: &Setting| {
        let at = Setting::ALL.iter().position(|one| one == setting)?;
        checked.lines.get(at).copied().flatten()
    };
    finding.settings.iter().find_map(about).unwrap_or(1)
}

/// A name as a relative URI reference (RFC 3986).
fn uri(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn junit(all: &[Checked], level: Level) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for checked in all {
        let unknown = checked
            .findings
            .iter()
            .filter(|finding| finding.status == Status::Unknown)
            .count();
        out.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{unknown}\">\n",
            escaped(&checked.subject),
            checked.findings.len(),
            checked.failed(level).count(),
        ));
        for finding in &checked.findings {
            let case = format!(
                "    <testcase classname=\"countersign.policy\" name=\"{}\"",
                escaped(&finding.rule)
            );
            out.push_str(&case);
            let said = format!(
                "{}\nconsequence: {}\nremedy: {}\n{}",
                finding.message,
                finding.consequence,
                finding.remedy,
                finding.references.join(", ")
            );
            match finding.status {
                Status::Failed if finding.level >= level => out.push_str(&format!(
                    ">\n      <failure type=\"{}\" message=\"{}\">{}</failure>\n    </testcase>\n",
                    finding.level,
                    escaped(&finding.message),
                    escaped(said.trim_end())
                )),
                Status::Failed => out.push_str(&format!(
                    ">\n      <system-out>{}</system-out>\n    </testcase>\n",
                    escaped(said.trim_end())
                )),
                Status::Unknown => out.push_str(">\n      <skipped/>\n    </testcase>\n"),
                Status::Passed => out.push_str("/>\n"),
            }
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// As XML text or attribute; characters XML has no place for are replaced.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for one in text.chars() {
        match one {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(one),
            _ if one.is_control() || matches!(one, '\u{FFFE}' | '\u{FFFF}') => {
                out.push('\u{FFFD}');
            }
            _ => out.push(one),
        }
    }
    out
}
