//! What a change did: who made it, what became of the live sessions, how long it took.

use std::fs;
use std::path::PathBuf;

use countersign_audit::{AuditEvent, Severity};
use countersign_policy::{Effective, Setting, Value};
use serde::{Deserialize, Serialize};

use crate::admin::Applied;
use crate::state::State;
use crate::store::now_ms;

/// Where a change came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `local policy`, `configuration`, `group policy`, `exceptions`.
    pub what: &'static str,
    /// Who made it.
    pub by: String,
    /// When it was made, milliseconds since 1970.
    pub at: u64,
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
    /// The settings that changed; none where only exceptions did.
    pub changes: Vec<Changed>,
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

impl ChangeReport {
    pub(crate) fn new(
        cause: &Cause,
        changes: Vec<Changed>,
        applied: Applied,
        in_force_ms: u64,
    ) -> Self {
        Self {
            pid: std::process::id(),
            at: cause.at,
            cause: cause.what.to_owned(),
            by: cause.by.clone(),
            changes,
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
            .collect();
        let what = if changes.is_empty() {
            "no setting".to_owned()
        } else {
            changes.join(", ")
        };
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
