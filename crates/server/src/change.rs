//! What a change did: who made it, what became of the live sessions, how long it took.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_audit::{AuditEvent, Severity, Standing, Switches};
use countersign_policy::{Effective, Setting, Value};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::admin::Applied;
use crate::state::State;
use crate::store::now_ms;

/// Where a change came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `local policy`, `configuration`, `group policy`, `exceptions`; several that came at
    /// once with commas between them.
    pub what: String,
    /// Who made it.
    pub by: String,
    /// When it was made, milliseconds since 1970.
    pub at: u64,
}

impl Cause {
    /// Both at once; the earlier of the two times.
    #[must_use]
    pub(crate) fn and(mut self, other: Cause) -> Cause {
        for (own, other) in [(&mut self.what, other.what), (&mut self.by, other.by)] {
            if !own.split(", ").any(|one| one == other) {
                own.push_str(", ");
                own.push_str(&other);
            }
        }
        self.at = self.at.min(other.at);
        self
    }
}

/// One setting that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The setting.
    pub setting: Setting,
    /// Its value before.
    pub from: Value,
    /// Its value now.
    pub to: Value,
    /// Who says so.
    pub source: String,
}

/// A change that is in force; a line of `policy-effects.jsonl`. A line with the same
/// process and time takes the place of an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChangeReport {
    /// The process.
    pub pid: u32,
    /// When it was made, milliseconds since 1970.
    pub at: u64,
    /// Where it came from.
    pub cause: String,
    /// Who made it.
    pub by: String,
    /// The settings that changed.
    pub changes: Vec<Changed>,
    /// What else changed of what decides who is let in, and of the audit switches.
    #[serde(default)]
    pub others: Vec<String>,
    /// Sessions that satisfy it.
    pub satisfied: usize,
    /// Sessions that do not and were kept.
    pub kept: usize,
    /// Sessions that do not and were ended.
    pub ended: usize,
    /// Milliseconds from the change until new connections came under it.
    pub in_force_ms: u64,
    /// Milliseconds from the change until the first connection under it was judged.
    pub first_connection_ms: Option<u64>,
}

/// The file of a state folder.
pub fn path(state: &State) -> PathBuf {
    state.file("policy-effects.jsonl")
}

/// All reports, the oldest first; lines that cannot be read are passed over.
pub fn load(state: &State) -> Vec<ChangeReport> {
    let text = fs::read_to_string(path(state)).unwrap_or_default();
    let mut reports: Vec<ChangeReport> = Vec::new();
    for line in text.lines() {
        let Ok(report) = serde_json::from_str::<ChangeReport>(line) else {
            continue;
        };
        let same = |known: &&mut ChangeReport| {
            (known.pid, known.at, &known.cause) == (report.pid, report.at, &report.cause)
        };
        match reports.iter_mut().rev().find(same) {
            Some(known) => *known = report,
            None => reports.push(report),
        }
    }
    reports
}

/// The settings in which two policies differ.
pub(crate) fn changed(before: &Effective, after: &Effective) -> Vec<Changed> {
    Setting::ALL
        .into_iter()
        .filter_map(|setting| {
            let (old, new) = (before.get(setting), after.get(setting));
            (old.value != new.value).then(|| Changed {
                setting,
                from: old.value,
                to: new.value,
                source: new.source.to_string(),
            })
        })
        .collect()
}

/// What else changed of what decides who is let in, and of the audit switches.
pub(crate) fn others(
    (before, heard): &(Standing, Switches),
    (after, hears): &(Standing, Switches),
) -> Vec<String> {
    let mut others = Vec::new();
    let mut switch = |name: &str, was: bool, is: bool| {
        if was != is {
            let word = |on| if on { "on" } else { "off" };
            others.push(format!("{name}={} (was {})", word(is), word(was)));
        }
    };
    switch("smb1", before.smb1, after.smb1);
    switch("ntlmv1", before.ntlmv1, after.ntlmv1);
    switch("guest", before.guest, after.guest);
    switch("encryption-required", before.encryption, after.encryption);
    switch("declined", before.declined, after.declined);
    let allowed = |standing: &Standing| standing.exceptions_allowed;
    switch("exceptions-allowed", allowed(before), allowed(after));
    switch("audit-smb1-access", heard.smb1_access, hears.smb1_access);
    switch(
        "audit-client-does-not-support-signing",
        heard.client_does_not_support_signing,
        hears.client_does_not_support_signing,
    );
    switch(
        "audit-client-does-not-support-encryption",
        heard.client_does_not_support_encryption,
        hears.client_does_not_support_encryption,
    );
    switch(
        "audit-server-insecure-guest-logon",
        heard.insecure_guest_logon,
        hears.insecure_guest_logon,
    );
    if before.min_dialect != after.min_dialect {
        others.push(format!(
            "min-dialect={} (was {})",
            after.min_dialect, before.min_dialect
        ));
    }
    for one in &after.exceptions {
        if !before.exceptions.contains(one) {
            others.push(format!("exception {} is in force", one.id));
        }
    }
    for one in &before.exceptions {
        if !after.exceptions.contains(one) {
            others.push(format!("exception {} is not in force any more", one.id));
        }
    }
    others
}

/// Waits for the first connection under a change.
#[derive(Default)]
pub(crate) struct FirstConnection {
    /// Nobody came since the last change.
    waiting: AtomicBool,
    inner: Mutex<Awaited>,
}

#[derive(Default)]
struct Awaited {
    /// The change, once it is reported.
    report: Option<ChangeReport>,
    /// When somebody came before that, milliseconds since 1970.
    came: Option<u64>,
}

impl FirstConnection {
    /// A change is put in force.
    pub(crate) fn expect(&self) {
        *self.inner.lock() = Awaited::default();
        self.waiting.store(true, Ordering::Release);
    }

    /// A change is reported; gives the report with the first connection, if there was one
    /// already.
    pub(crate) fn report(&self, report: ChangeReport) -> Option<ChangeReport> {
        let mut inner = self.inner.lock();
        match inner.came.take() {
            Some(at) => Some(report.with_first(at)),
            None => {
                inner.report = Some(report);
                None
            }
        }
    }

    /// A connection was judged; gives the report, if it is the first since the change.
    pub(crate) fn came(&self) -> Option<ChangeReport> {
        // One look where no change waits: this is on the way of requests.
        if !self.waiting.load(Ordering::Acquire) || !self.waiting.swap(false, Ordering::AcqRel) {
            return None;
        }
        let mut inner = self.inner.lock();
        match inner.report.take() {
            Some(report) => Some(report.with_first(now_ms())),
            None => {
                inner.came = Some(now_ms());
                None
            }
        }
    }
}

impl ChangeReport {
    fn with_first(mut self, at: u64) -> Self {
        let took = at.saturating_sub(self.at);
        self.first_connection_ms = Some(took);
        tracing::info!(
            cause = self.cause,
            "first connection under the change, {took} ms after it was made"
        );
        self
    }

    pub(crate) fn new(
        cause: &Cause,
        (changes, others): (Vec<Changed>, Vec<String>),
        applied: Applied,
        in_force_ms: u64,
    ) -> Self {
        Self {
            pid: std::process::id(),
            at: cause.at,
            cause: cause.what.clone(),
            by: cause.by.clone(),
            changes,
            others,
            satisfied: applied.satisfied,
            kept: applied.kept,
            ended: applied.ended,
            in_force_ms,
            first_connection_ms: None,
        }
    }

    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).map_or_else(|_| String::new(), |line| line + "\n")
    }

    pub(crate) fn event(&self) -> AuditEvent {
        let changes: Vec<String> = self
            .changes
            .iter()
            .map(|one| format!("{}={} (was {})", one.setting, one.to, one.from))
            .chain(self.others.iter().cloned())
            .collect();
        let what = changes.join(", ");
        let text = format!(
            "{} changed by {}: {what}; {} sessions satisfy it, {} kept, {} ended",
            self.cause, self.by, self.satisfied, self.kept, self.ended
        );
        let fields = vec![
            ("cause", self.cause.clone()),
            ("by", self.by.clone()),
            ("changes", what),
            ("satisfied", self.satisfied.to_string()),
            ("kept", self.kept.to_string()),
            ("ended", self.ended.to_string()),
            ("in-force-ms", self.in_force_ms.to_string()),
        ];
        AuditEvent::own(now_ms(), "PolicyChanged", Severity::Notice, text, fields)
    }
}
