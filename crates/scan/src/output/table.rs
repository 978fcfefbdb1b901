//! For people.

use countersign_wire::civil::rfc3339;

use super::harmless;
use crate::prove::{Enforcement, Proof};
use crate::report::HostReport;

pub(super) fn render(reports: &[HostReport]) -> String {
    let mut out = String::new();
    for report in reports {
        let target = report
            .target
            .as_ref()
            .map(|name| format!(" ({})", harmless(name)))
            .unwrap_or_default();
        out.push_str(&format!("{}:{}{target}\n", report.address, report.port));
        if let Some(error) = &report.error {
            out.push_str(&format!("  no answer: {}\n\n", harmless(error)));
            continue;
        }
        if let Some(names) = &report.names {
            let mut parts = Vec::new();
            for (what, value) in [
                ("name", &names.computer),
                ("domain", &names.domain),
                ("dns", &names.dns_computer),
                ("dns domain", &names.dns_domain),
                ("os", &names.os_version),
            ] {
                if !value.is_empty() {
                    parts.push(format!("{what} {}", harmless(value)));
                }
            }
            out.push_str(&format!("  {}\n", parts.join(", ")));
        }
        if let Some(clock) = report.clock {
            out.push_str(&format!(
                "  clock {} ({:+.1} s), guid {}\n",
                rfc3339(clock.time),
                // Shown to a tenth of a second: precision is not lost where it matters.
                (clock.skew_ms / 100) as f64 / 10.0,
                report.guid.as_deref().unwrap_or("none"),
            ));
        }
        out.push_str("  dialect  signing   algorithms\n");
        for found in &report.dialects {
            let mut algorithms = found.signing_algorithms.join(" ");
            if !found.ciphers.is_empty() {
                algorithms.push_str(&format!("; {}", found.ciphers.join(" ")));
            }
            if !found.compression.is_empty() {
                algorithms.push_str(&format!("; {}", found.compression.join(" ")));
            }
            out.push_str(&format!(
                "  {:<8} {:<9} {algorithms}\n",
                found.dialect,
                found.signing.as_str()
            ));
        }
        if let Some(old) = report.smb1().and_then(|d| d.smb1.as_ref()) {
            let system = harmless(&format!("{} {}", old.native_os, old.native_lan_man));
            let system = system.trim();
            if !system.is_empty() {
                out.push_str(&format!("  SMB1 says it is {system}\n"));
            }
        }
        if let Some(accounts) = &report.accounts {
            out.push_str(&format!(
                "  anonymous {}, stranger {}\n",
                accounts.anonymous, accounts.guest
            ));
        }
        for proof in &report.proof {
            out.push_str(&format!("  proved {}: {}\n", proof.dialect, told(proof)));
        }
        if report.can_be_relayed_to() {
            out.push_str("  ! signing is not required: sessions can be hijacked, logons relayed\n");
        }
        if report.breaks_its_word() {
            out.push_str("  ! it announces more than it enforces\n");
        }
        out.push('\n');
    }
    out.push_str(&summary(reports));
    out
}

fn told(proof: &Proof) -> String {
    if let Some(error) = &proof.error {
        return format!("nothing ({})", harmless(error));
    }
    let word = |enforcement: Option<Enforcement>| match enforcement {
        None => "not tried",
        Some(Enforcement::Accepted) => "ACCEPTED",
        Some(Enforcement::Refused) => "refused",
        Some(Enforcement::Disconnected) => "disconnected",
    };
    format!(
        "unsigned request {}, bad signature {}, unsigned client {}",
        word(proof.unsigned_request),
        word(proof.bad_signature),
        word(proof.unsigned_client)
    )
}

fn summary(reports: &[HostReport]) -> String {
    let answered: Vec<_> = reports.iter().filter(|r| r.error.is_none()).collect();
    let weak = answered.iter().filter(|r| r.can_be_relayed_to()).count();
    let old = answered.iter().filter(|r| r.smb1().is_some()).count();
    format!(
        "{} hosts, {} answered, {weak} without required signing, {old} with SMB1\n",
        reports.len(),
        answered.len(),
    )
}
