//! Reports in the forms people and other tools read.

mod csv;
mod html;
mod netexec;
mod nmap;
mod table;

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use crate::report::{HostReport, Signing};

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// An array of hosts.
    Json,
    /// A host a line.
    Ndjson,
    /// A dialect a line.
    Csv,
    /// The words of nmap's scripts.
    Nmap,
    /// The lines of NetExec.
    Netexec,
    /// Hosts that signing is not required of, one a line, each once: the address, or
    /// `smb://ADDRESS:PORT` where the port is not 445.
    Relay,
    /// A page with a chart.
    Html,
}

impl Format {
    /// All with their names.
    pub const ALL: [(&'static str, Format); 8] = [
        ("table", Format::Table),
        ("json", Format::Json),
        ("ndjson", Format::Ndjson),
        ("csv", Format::Csv),
        ("nmap", Format::Nmap),
        ("netexec", Format::Netexec),
        ("relay", Format::Relay),
        ("html", Format::Html),
    ];
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, format)| *format)
            .ok_or_else(|| {
                let names: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
                format!("one of {}", names.join(", "))
            })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL
            .iter()
            .find(|(_, format)| format == self)
            .map_or("", |(name, _)| *name);
        f.pad(name)
    }
}

/// Writes reports as they come. The page with the chart keeps its rows until the end;
/// nothing else is kept.
pub struct Writer<W> {
    format: Format,
    out: W,
    totals: Totals,
    /// Rows of the page.
    kept: String,
    /// Relay candidates that are written already.
    named: HashSet<String>,
}

/// What is counted on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Totals {
    hosts: usize,
    required: usize,
    enabled: usize,
    disabled: usize,
    smb1: usize,
}

impl Totals {
    fn add(&mut self, report: &HostReport) {
        self.hosts = self.hosts.saturating_add(1);
        let count = match report.weakest().filter(|_| report.error.is_none()) {
            None => return,
            Some(Signing::Required) => &mut self.required,
            Some(Signing::Enabled) => &mut self.enabled,
            Some(Signing::Disabled) => &mut self.disabled,
        };
        *count = count.saturating_add(1);
        self.smb1 = self
            .smb1
            .saturating_add(usize::from(report.smb1().is_some()));
    }

    fn answered(&self) -> usize {
        self.required
            .saturating_add(self.enabled)
            .saturating_add(self.disabled)
    }
}

impl<W: Write> Writer<W> {
    /// Writes what stands before all hosts.
    ///
    /// # Errors
    /// Of `out`.
    pub fn new(format: Format, mut out: W) -> io::Result<Self> {
        match format {
            Format::Json => out.write_all(b"[")?,
            Format::Csv => out.write_all(csv::HEAD.as_bytes())?,
            _ => {}
        }
        Ok(Self {
            format,
            out,
            totals: Totals::default(),
            kept: String::new(),
            named: HashSet::new(),
        })
    }

    /// Writes a host.
    ///
    /// # Errors
    /// Of `out`.
    pub fn host(&mut self, report: &HostReport) -> io::Result<()> {
        let text = match self.format {
            Format::Table => table::host(report),
            Format::Json => {
                let comma = if self.totals.hosts > 0 { "," } else { "" };
                let text = harmless_json(&serde_json::to_string_pretty(report)?);
                format!("{comma}\n  {}", text.replace('\n', "\n  "))
            }
            Format::Ndjson => harmless_json(&serde_json::to_string(report)?) + "\n",
            Format::Csv => csv::host(report),
            Format::Nmap => nmap::host(report),
            Format::Netexec => netexec::host(report),
            Format::Relay => {
                let target = candidate(report).unwrap_or_default();
                if target.is_empty() || !self.named.insert(target.clone()) {
                    String::new()
                } else {
                    target + "\n"
                }
            }
            Format::Html => {
                html::rows(report, &mut self.kept);
                String::new()
            }
        };
        self.totals.add(report);
        self.out.write_all(text.as_bytes())?;
        // Who reads along sees each host at once.
        self.out.flush()
    }

    /// Writes what stands behind all hosts.
    ///
    /// # Errors
    /// Of `out`.
    pub fn finish(mut self) -> io::Result<()> {
        let text = match self.format {
            Format::Table => table::summary(&self.totals),
            Format::Json if self.totals.hosts == 0 => "]\n".to_owned(),
            Format::Json => "\n]\n".to_owned(),
            Format::Html => html::page(&self.totals, &self.kept),
            _ => String::new(),
        };
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

/// Where a logon could be relayed to, as ntlmrelayx takes it.
fn candidate(report: &HostReport) -> Option<String> {
    report.can_be_relayed_to().then(|| match report.port {
        445 => report.address.clone(),
        _ => format!("smb://{}", report.endpoint()),
    })
}

/// All reports as one text.
pub fn render(reports: &[HostReport], format: Format) -> String {
    let mut out = Vec::new();
    let written = Writer::new(format, &mut out).and_then(|mut writer| {
        reports.iter().try_for_each(|report| writer.host(report))?;
        writer.finish()
    });
    // Memory takes everything.
    debug_assert!(written.is_ok());
    String::from_utf8_lossy(&out).into_owned()
}

/// Text from a server for one line of output: control characters are shown, so
/// that no server can move the cursor or forge a line.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if is_harmful(c) { '\u{FFFD}' } else { c })
        .collect()
}

/// The same for JSON, whose strings have escapes of their own, and which has lines.
fn harmless_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && is_harmful(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that act on a terminal.
fn is_harmful(c: char) -> bool {
    c.is_control() || is_bidi(c) || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Characters that turn the direction of text around.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use countersign_wire::civil::rfc3339;

    use super::*;
    use crate::report::{DialectReport, Names, Signing};

    fn dialect(dialect: &'static str, signing: Signing) -> DialectReport {
        DialectReport {
            dialect,
            signing,
            signing_algorithms: vec!["AES-128-GMAC".to_owned()],
            ciphers: vec!["AES-128-GCM".to_owned()],
            compression: Vec::new(),
            capabilities: vec!["DFS"],
            mechanisms: vec!["ntlm".to_owned()],
            max_read: 8 << 20,
            max_write: 8 << 20,
            max_transact: 8 << 20,
            smb1: None,
        }
    }

    fn reports() -> Vec<HostReport> {
        vec![
            HostReport {
                address: "192.0.2.1".to_owned(),
                port: 445,
                dialects: vec![
                    dialect("smb1", Signing::Enabled),
                    dialect("3.1.1", Signing::Required),
                ],
                names: Some(Names {
                    computer: "EVIL\r\n\u{1b}[2J\u{9b}1m\u{202e}\u{2028},\"<b>".to_owned(),
                    domain: "=cmd|' /C calc'!A0".to_owned(),
                    ..Names::default()
                }),
                unanswered: vec!["3.0: no answer in time".to_owned()],
                ..HostReport::default()
            },
            HostReport {
                address: "192.0.2.2".to_owned(),
                port: 445,
                dialects: vec![dialect("3.1.1", Signing::Required)],
                ..HostReport::default()
            },
            HostReport {
                address: "192.0.2.3".to_owned(),
                port: 445,
                error: Some("connection refused".to_owned()),
                ..HostReport::default()
            },
        ]
    }

    #[test]
    fn relay_candidates_are_hosts_with_a_weak_dialect() {
        let mut all = reports();
        all.extend(reports());
        let mut other = all[0].clone();
        other.port = 4450;
        other.address = "2001:db8::1".to_owned();
        all.push(other);
        assert_eq!(
            render(&all, Format::Relay),
            "192.0.2.1\nsmb://[2001:db8::1]:4450\n"
        );
    }

    #[test]
    fn no_form_lets_control_characters_through() {
        for (name, format) in Format::ALL {
            let text = render(&reports(), format);
            for c in ['\u{1b}', '\r', '\u{9b}', '\u{202e}', '\u{2028}'] {
                assert!(!text.contains(c), "{name}: {text:?}");
            }
            assert!(format != Format::Html || !text.contains("<b>"), "{text}");
            let lines = render(&[], format).lines().count();
            assert!(lines < 40, "{name} of no hosts");
            assert_eq!(name.parse::<Format>(), Ok(format));
            assert_eq!(format.to_string(), name);
        }
        assert!("xml".parse::<Format>().is_err());
    }

    #[test]
    fn json_has_what_scripts_read() {
        let value: serde_json::Value =
            serde_json::from_str(&render(&reports(), Format::Json)).unwrap();
        assert_eq!(value[0]["address"], "192.0.2.1");
        assert_eq!(value[0]["port"], 445);
        assert_eq!(value[0]["dialects"][1]["dialect"], "3.1.1");
        assert_eq!(value[0]["dialects"][1]["signing"], "required");
        assert_eq!(value[2]["error"], "connection refused");
        assert_eq!(value[2]["dialects"], serde_json::json!([]));
        // What is escaped comes back as it was.
        let name = value[0]["names"]["computer"].as_str().unwrap();
        assert!(name.contains("\u{1b}[2J\u{9b}1m\u{202e}"), "{name:?}");
        assert_eq!(render(&reports(), Format::Ndjson).lines().count(), 3);
        assert_eq!(render(&[], Format::Json), "[]\n");
        let one: serde_json::Value =
            serde_json::from_str(&render(&reports()[2..], Format::Json)).unwrap();
        assert_eq!(one.as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn csv_quotes() {
        let text = render(&reports(), Format::Csv);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[1].contains("\"\"<b>\""), "{}", lines[1]);
        // No spreadsheet runs a server's name.
        assert!(lines[1].contains(",\"'=cmd|"), "{}", lines[1]);
        let columns = |line: &str| {
            let (mut count, mut inside) = (1, false);
            for c in line.chars() {
                inside ^= c == '"';
                count += usize::from(c == ',' && !inside);
            }
            count
        };
        assert!(lines.iter().all(|line| columns(line) == columns(lines[0])));
    }

    #[test]
    fn formulas() {
        for (cell, written) in [
            ("=1+1", "\"'=1+1\""),
            ("-1", "-1"),
            ("-3.5", "-3.5"),
            ("-inf", "\"'-inf\""),
            ("+49 30", "\"'+49 30\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            (" =1", "\"' =1\""),
            ("\t=1", "\"'\u{FFFD}=1\""),
            ("\u{FF1D}1", "\"'\u{FF1D}1\""),
            ("a;b", "\"a;b\""),
            ("plain", "plain"),
        ] {
            assert_eq!(csv::quoted(cell), written);
        }
    }

    #[test]
    fn words_of_other_tools() {
        let nmap = render(&reports(), Format::Nmap);
        assert!(
            nmap.contains("Message signing enabled and required"),
            "{nmap}"
        );
        assert!(nmap.contains("message_signing: supported"), "{nmap}");
        let netexec = render(&reports(), Format::Netexec);
        assert!(netexec.contains("(signing:True) (SMBv1:True)"), "{netexec}");
        assert!(
            netexec.contains("(signing:True) (SMBv1:False)"),
            "{netexec}"
        );
    }

    #[test]
    fn timestamps() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_795_341_600), "2026-11-22T10:00:00Z");
    }
}
