//! Reports in the forms people and other tools read.

mod csv;
mod html;
mod netexec;
mod nmap;
mod table;

use std::fmt;
use std::str::FromStr;

use crate::report::HostReport;

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
    /// Addresses signing is not required of, one a line.
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

/// All reports as one text that ends with a line break (unless empty).
pub fn render(reports: &[HostReport], format: Format) -> String {
    match format {
        Format::Table => table::render(reports),
        Format::Json => {
            let mut text = serde_json::to_string_pretty(reports).unwrap_or_default();
            text.push('\n');
            text
        }
        Format::Ndjson => reports
            .iter()
            .map(|report| serde_json::to_string(report).unwrap_or_default() + "\n")
            .collect(),
        Format::Csv => csv::render(reports),
        Format::Nmap => nmap::render(reports),
        Format::Netexec => netexec::render(reports),
        Format::Relay => reports
            .iter()
            .filter(|report| report.can_be_relayed_to())
            .map(|report| format!("{}\n", report.address))
            .collect(),
        Format::Html => html::render(reports),
    }
}

/// Text from a server for one line of output: control characters are shown, so
/// that no server can move the cursor or forge a line.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || is_bidi(c) {
                '\u{FFFD}'
            } else {
                c
            }
        })
        .collect()
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
                    computer: "EVIL\r\u{1b}[2J,\"<b>".to_owned(),
                    domain: "LAB".to_owned(),
                    ..Names::default()
                }),
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
        assert_eq!(render(&reports(), Format::Relay), "192.0.2.1\n");
    }

    #[test]
    fn no_form_lets_control_characters_through() {
        for (name, format) in Format::ALL {
            let text = render(&reports(), format);
            assert!(
                !text.contains('\u{1b}') && !text.contains('\r'),
                "{name}: {text:?}"
            );
            assert!(format != Format::Html || !text.contains("<b>"), "{text}");
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
        assert_eq!(render(&reports(), Format::Ndjson).lines().count(), 3);
    }

    #[test]
    fn csv_quotes() {
        let text = render(&reports(), Format::Csv);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[1].contains("\"\"<b>\""), "{}", lines[1]);
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
