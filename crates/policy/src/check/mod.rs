//! Lints: combinations that are dangerous or do not do what they seem to, and published
//! baselines. Each with its consequence and a remedy.

mod baseline;
mod report;
mod rules;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use baseline::Baseline;
pub use report::{ReportFormat, write};
pub use rules::RULES;

use crate::settings::{ParseError, Setting, Settings, Value, parse_by_name};

/// What of a server's configuration, besides the four settings, makes them safe or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the configuration"
)]
pub struct Hardening {
    /// SMB1 is spoken.
    pub smb1: bool,
    /// Both settings of a side off mean Declined.
    pub declined: bool,
    /// NTLMv1 is accepted over SMB1.
    pub ntlmv1_smb1: bool,
    /// NTLMv1 is accepted over SMB 2 and 3.
    pub ntlmv1_smb2: bool,
    /// LMv2 alone is accepted.
    pub lm_v2: bool,
    /// Some become guests.
    pub guests: bool,
    /// Null sessions exist.
    pub anonymous: bool,
    /// Failed logons from one address until it is locked out; 0: never.
    pub lockout_after: u32,
    /// Milliseconds before a failed logon is answered.
    pub failed_logon_delay: u64,
    /// Live sessions that a tightened policy would not let in are ended.
    pub ends_on_tighten: bool,
}

/// What is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// How it is called in reports: a file's name, "local policy", "server 4711".
    pub name: String,
    /// The settings.
    pub settings: Settings,
    /// Who set them, in the order of [`Setting::ALL`]; empty: unknown.
    pub set_by: [String; 4],
    /// It is a template: what it does not define stays as it is where it is applied, so
    /// nothing is said about it.
    pub template: bool,
    /// The file it stands in, for reports that name places: the same at every run.
    pub file: Option<String>,
    /// The lines of that file that say something, in the order of [`Setting::ALL`].
    pub lines: [Option<usize>; 4],
    /// The rest of the configuration, if there is one.
    pub hardening: Option<Hardening>,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Good to know.
    Note,
    /// To be mended, or to be known for sure.
    Warning,
    /// To be mended.
    Error,
}

impl Level {
    /// All.
    pub const ALL: [Level; 3] = [Level::Note, Level::Warning, Level::Error];

    /// The name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

parse_by_name!(Level, "level");

/// What a rule found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nothing.
    Passed,
    /// Something.
    Failed,
    /// It cannot be told: a template knows nothing of the server, nor what the settings
    /// are that it does not define.
    Unknown,
}

/// The result of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule: `all-off`, `cis/server-always`.
    pub rule: String,
    /// How bad it is where it failed.
    pub level: Level,
    /// What was found.
    pub status: Status,
    /// What is wrong, or would be.
    pub message: String,
    /// What comes of it.
    pub consequence: String,
    /// What to do.
    pub remedy: String,
    /// The settings it is about.
    pub settings: Vec<Setting>,
    /// Identifiers of others: `CIS 2.3.9.2`, `V-254463`.
    pub references: Vec<String>,
}

/// Whether a baseline is met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The baseline.
    pub baseline: Baseline,
    /// It is.
    pub met: bool,
    /// The settings that are weaker.
    pub unmet: Vec<Setting>,
}

/// Everything about one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The subject.
    pub subject: String,
    /// The file it stands in.
    pub file: Option<String>,
    /// The lines that say something, in the order of [`Setting::ALL`].
    #[serde(skip)]
    pub lines: [Option<usize>; 4],
    /// All rules, also those that found nothing.
    pub findings: Vec<Finding>,
    /// All baselines.
    pub baselines: Vec<Standing>,
}

impl Checked {
    /// Findings at or above a level.
    pub fn failed(&self, level: Level) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |finding| finding.status == Status::Failed && finding.level >= level)
    }
}

/// Checks a subject against all rules, and against the baselines that are asked for.
pub fn check(subject: &Subject, baselines: &[Baseline]) -> Checked {
    let mut findings: Vec<Finding> = RULES.iter().map(|rule| rule.finding(subject)).collect();
    for baseline in baselines {
        for setting in Setting::ALL {
            if let Some((wanted, id)) = baseline.wants(setting) {
                findings.push(of_baseline(subject, *baseline, setting, wanted, id));
            }
        }
    }
    Checked {
        subject: subject.name.clone(),
        file: subject.file.clone(),
        lines: subject.lines,
        findings,
        baselines: Baseline::ALL
            .into_iter()
            .map(|baseline| {
                let unmet = baseline.unmet(&subject.settings);
                Standing {
                    baseline,
                    met: unmet.is_empty(),
                    unmet,
                }
            })
            .collect(),
    }
}

fn of_baseline(
    subject: &Subject,
    baseline: Baseline,
    setting: Setting,
    wanted: Value,
    id: String,
) -> Finding {
    let is = subject.settings.get(setting);
    let weaker = wanted.is_enabled() && !is.is_enabled();
    let set_by = Setting::ALL
        .iter()
        .position(|one| *one == setting)
        .and_then(|at| subject.set_by.get(at))
        .filter(|by| !by.is_empty())
        .map_or_else(String::new, |by| format!(", set by {by}"));
    Finding {
        rule: format!("{baseline}/{setting}"),
        level: Level::Error,
        status: if weaker {
            Status::Failed
        } else {
            Status::Passed
        },
        message: format!(
            "{setting} is {is}{set_by}; {} wants {wanted}",
            baseline.title()
        ),
        consequence: rules::consequence(setting).to_owned(),
        remedy: format!("countersign policy set {setting}={wanted}"),
        settings: vec![setting],
        references: vec![id],
    }
}
