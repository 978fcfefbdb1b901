//! For people.

use countersign_wire::civil::rfc3339;

use super::{Totals, harmless};
use crate::prove::{Enforcement, Proof};
use crate::report::HostReport;

pub(super) fn host(report: &HostReport) -> String {
    let mut out = String::new();
    let target = report
        .target
        .as_ref()
        .map(|name| format!(" ({})", harmless(name)))
        .unwrap_or_default();
    out.push_str(&format!("{}{target}\n", harmless(&report.endpoint())));
    if let Some(error) = &report.error {
        out.push_str(&format!("  no answer: {}\n\n", harmless(error)));
        return out;
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
    if let Some(newest) = report.dialects.last() {
        let said = newest.mechanisms.join(" ");
        let offered = if said.is_empty() { "nothing" } else { &said };
        out.push_str(&format!(
            "  offers {}; {}\n",
            harmless(offered),
            newest.capabilities.join(" ")
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
    for what in &report.unanswered {
        out.push_str(&format!("  not told: {}\n", harmless(what)));
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
    out
}

/// What was proved in a dialect.
pub(super) fn told(proof: &Proof) -> String {
    let failed = proof.error.as_ref();
    let failed = failed.map(|error| format!("could not be tried ({})", harmless(error)));
    let tried = proof
        .unsigned_request
        .or(proof.bad_signature)
        .or(proof.unsigned_client);
    if let (Some(failed), None) = (&failed, tried) {
        return failed.clone();
    }
    let word = |enforcement: Option<Enforcement>| match enforcement {
        None => "not tried",
        Some(Enforcement::Accepted) => "ACCEPTED",
        Some(Enforcement::Refused) => "refused",
        Some(Enforcement::Disconnected) => "disconnected",
    };
    format!(
        "unsigned request {}, bad signature {}, unsigned client {}{}",
        word(proof.unsigned_request),
        word(proof.bad_signature),
        word(proof.unsigned_client),
        failed.map_or_else(String::new, |failed| format!("; the rest {failed}"))
    )
}

pub(super) fn summary(totals: &Totals) -> String {
    format!(
        "{} {}, {} answered, {} without required signing, {} with SMB1\n",
        totals.hosts,
        if totals.hosts == 1 { "host" } else { "hosts" },
        totals.answered(),
        totals.enabled.saturating_add(totals.disabled),
        totals.smb1,
    )
}
