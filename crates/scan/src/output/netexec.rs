//! The lines of NetExec (and of CrackMapExec before it).

use super::harmless;
use crate::report::{HostReport, Names, Signing};

pub(super) fn host(report: &HostReport) -> String {
    if report.error.is_some() {
        // As there: who does not answer has no line.
        return String::new();
    }
    let names = report.names.clone().unwrap_or_default();
    // Its names are upper case, and cut at the first dot.
    let name = match names.dns_computer.split('.').next() {
        Some(first) if !first.is_empty() => harmless(&first.to_uppercase()),
        _ => harmless(&names.computer),
    };
    let domain = match names.dns_domain.as_str() {
        "" => name.clone(),
        domain => harmless(domain),
    };
    // As there: the answer of the newest dialect counts.
    let newest = report.dialects.last();
    let signing = newest.is_some_and(|found| found.signing == Signing::Required);
    let ntlm = newest.is_none_or(|found| {
        found.mechanisms.is_empty() || found.mechanisms.iter().any(|one| one == "ntlm")
    });
    let accounts = report.accounts.as_ref();
    let mut behind = String::new();
    if !ntlm {
        behind.push_str(" (NTLM:False)");
    }
    if accounts.is_some_and(|accounts| accounts.anonymous == "allowed") {
        behind.push_str(" (Null Auth:True)");
    }
    if accounts.is_some_and(|accounts| accounts.guest == "guest") {
        behind.push_str(" (Guest Auth:True)");
    }
    format!(
        "SMB         {:<15} {:<6} {:<16} [*] {} (name:{name}) (domain:{domain}) (signing:{}) (SMBv1:{}){behind}\n",
        report.address,
        report.port,
        if name.is_empty() { "NONE" } else { &name },
        harmless(&system(report, &names)),
        word(signing),
        word(report.smb1().is_some()),
    )
}

/// Its operating system. Build 0 is no Windows: Samba says 6.1.0.
fn system(report: &HostReport, names: &Names) -> String {
    let mut parts = names.os_version.splitn(3, '.');
    if let (Some(major), Some(minor), Some(build)) = (parts.next(), parts.next(), parts.next()) {
        return match (major, minor, build) {
            ("6", "1", "0") => "Unix - Samba".to_owned(),
            (_, _, "0") => "Unix".to_owned(),
            _ => format!("Windows {major}.{minor} Build {build}"),
        };
    }
    match report.smb1().and_then(|found| found.smb1.as_ref()) {
        Some(old) if !old.native_os.is_empty() => old.native_os.clone(),
        _ => "Unknown".to_owned(),
    }
}

fn word(yes: bool) -> &'static str {
    if yes { "True" } else { "False" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Accounts;

    #[test]
    fn the_columns_of_netexec() {
        let mut report = HostReport {
            address: "192.0.2.7".to_owned(),
            port: 445,
            names: Some(Names {
                computer: "DC01".to_owned(),
                dns_computer: "dc01-long-name.lab.example".to_owned(),
                dns_domain: "lab.example".to_owned(),
                os_version: "10.0.20348".to_owned(),
                ..Names::default()
            }),
            accounts: Some(Accounts {
                anonymous: "allowed".to_owned(),
                guest: "refused".to_owned(),
            }),
            ..HostReport::default()
        };
        assert_eq!(
            host(&report),
            "SMB         192.0.2.7       445    DC01-LONG-NAME   [*] Windows 10.0 Build 20348 \
             (name:DC01-LONG-NAME) (domain:lab.example) (signing:False) (SMBv1:False) \
             (Null Auth:True)\n"
        );
        report.names = None;
        report.accounts = None;
        assert_eq!(
            host(&report),
            "SMB         192.0.2.7       445    NONE             [*] Unknown (name:) (domain:) \
             (signing:False) (SMBv1:False)\n"
        );
    }
}
