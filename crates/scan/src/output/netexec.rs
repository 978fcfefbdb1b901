//! The lines of NetExec (and of CrackMapExec before it).

use super::harmless;
use crate::report::{HostReport, Signing};

pub(super) fn render(reports: &[HostReport]) -> String {
    let mut out = String::new();
    for report in reports.iter().filter(|r| r.error.is_none()) {
        let names = report.names.clone().unwrap_or_default();
        let system = match report.smb1().and_then(|d| d.smb1.as_ref()) {
            Some(old) if !old.native_os.is_empty() => old.native_os.clone(),
            _ if names.os_version.is_empty() => "Unknown".to_owned(),
            _ => format!("Windows {}", names.os_version),
        };
        let domain = if names.dns_domain.is_empty() {
            &names.domain
        } else {
            &names.dns_domain
        };
        // As there: the answer of the newest dialect counts.
        let signing = report
            .dialects
            .last()
            .is_some_and(|found| found.signing == Signing::Required);
        out.push_str(&format!(
            "SMB         {:<15} {:<6} {:<16} [*] {} (name:{}) (domain:{}) (signing:{}) (SMBv1:{})\n",
            report.address,
            report.port,
            harmless(&names.computer),
            harmless(&system),
            harmless(&names.computer),
            harmless(domain),
            word(signing),
            word(report.smb1().is_some()),
        ));
    }
    out
}

fn word(yes: bool) -> &'static str {
    if yes { "True" } else { "False" }
}
