//! The words of nmap's smb-security-mode, smb2-security-mode and smb-protocols.

use super::harmless;
use crate::report::{HostReport, Signing};

pub(super) fn host(report: &HostReport) -> String {
    let mut out = String::new();
    out.push_str(&format!(
        "Nmap scan report for {}\n",
        harmless(&report.address)
    ));
    if let Some(error) = &report.error {
        let state = match error.as_str() {
            "connection refused" => "closed",
            text if text.starts_with("it takes connections") => "open",
            _ => "filtered",
        };
        out.push_str(&format!(
            "{}/tcp {state} microsoft-ds ({})\n\n",
            report.port,
            harmless(error)
        ));
        return out;
    }
    out.push_str(&format!("{}/tcp open  microsoft-ds\n", report.port));
    out.push_str("\nHost script results:\n");
    if let Some(old) = report.smb1() {
        let facts = old.smb1.clone().unwrap_or_default();
        out.push_str("| smb-security-mode: \n");
        out.push_str(&format!(
            "|   authentication_level: {}\n",
            if facts.user_security { "user" } else { "share" }
        ));
        out.push_str(&format!(
            "|   challenge_response: {}\n",
            if facts.encrypts_passwords {
                "supported"
            } else {
                "plaintext_only (dangerous)"
            }
        ));
        out.push_str(&format!(
            "|_  message_signing: {}\n",
            match old.signing {
                Signing::Required => "required",
                Signing::Enabled => "supported",
                Signing::Disabled => "disabled (dangerous, but default)",
            }
        ));
    }
    if report.smb2().is_some() {
        out.push_str("| smb2-security-mode: \n");
        let all: Vec<_> = report
            .dialects
            .iter()
            .filter(|d| d.dialect != "smb1")
            .collect();
        for (number, found) in all.iter().enumerate() {
            let last = number + 1 == all.len();
            out.push_str(&format!("|   {}: \n", number_of(found.dialect)));
            out.push_str(&format!(
                "|{}    {}\n",
                if last { "_" } else { " " },
                match found.signing {
                    Signing::Required => "Message signing enabled and required",
                    Signing::Enabled => "Message signing enabled but not required",
                    Signing::Disabled => "Message signing is disabled (dangerous!)",
                }
            ));
        }
    }
    out.push_str("| smb-protocols: \n|   dialects: \n");
    for (number, found) in report.dialects.iter().enumerate() {
        let last = number + 1 == report.dialects.len();
        let name = match found.dialect {
            "smb1" => "NT LM 0.12 (SMBv1) [dangerous, but default]".to_owned(),
            other => number_of(other),
        };
        out.push_str(&format!("|{}    {name}\n", if last { "_" } else { " " }));
    }
    out.push('\n');
    out
}

/// nmap writes 2:0:2 and 3:0:0.
fn number_of(dialect: &str) -> String {
    let mut parts: Vec<&str> = dialect.split('.').collect();
    parts.resize(3, "0");
    parts.join(":")
}
