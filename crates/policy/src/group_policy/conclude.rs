//! From plan and files to layers of policy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::audit_switch::AuditSwitch;
use crate::exchange::Item;
use crate::group_layers::{GpoLayer, GroupPolicyLayers};
use crate::settings::{Settings, Value};
use crate::source::GpoRef;

use super::content::{Key, Values};
use super::gpt::GptVersion;
use super::plan::{Files, Plan};
use super::report::{Considered, Fate, Filtered, Versions};

/// What Group Policy comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Conclusion {
    /// The objects that name one of the four settings, weakest first.
    pub layers: GroupPolicyLayers,
    /// The audit switches that are set, and by which object.
    #[serde(default)]
    pub switches: BTreeMap<AuditSwitch, (bool, GpoRef)>,
    /// Exceptions are allowed or forbidden, and by which object.
    #[serde(default)]
    pub allow_exceptions: Option<(bool, GpoRef)>,
    /// What became of every link, in the order in which they apply.
    pub considered: Vec<Considered>,
}

impl Conclusion {
    /// Exceptions are not forbidden.
    pub fn exceptions_allowed(&self) -> bool {
        self.allow_exceptions.as_ref().is_none_or(|(on, _)| *on)
    }

    /// What was said before and is still said keeps its date; the rest is of `now`
    /// (seconds since 1970).
    pub fn date(&mut self, before: &Conclusion, now: u64) {
        for layer in &mut self.layers.objects {
            let same = before
                .layers
                .objects
                .iter()
                .find(|old| old.gpo == layer.gpo && old.settings == layer.settings);
            layer.since = same.and_then(|old| old.since).or(Some(now));
        }
    }

    /// The same is said, whatever became of objects that say nothing.
    pub fn says_the_same(&self, other: &Conclusion) -> bool {
        let bare = |one: &Conclusion| -> Vec<(GpoRef, Settings)> {
            one.layers
                .objects
                .iter()
                .map(|layer| (layer.gpo.clone(), layer.settings))
                .collect()
        };
        bare(self) == bare(other)
            && self.switches == other.switches
            && self.allow_exceptions == other.allow_exceptions
    }
}

/// A filter that cannot be evaluated here decides about a value: nothing is guessed,
/// the last applied state stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{gpo} would set {key}, but whether it applies cannot be evaluated here ({filter}); \
     nothing was changed. Link the object without that filter, or use security filtering"
)]
pub struct Undecided {
    /// The object.
    pub gpo: Box<GpoRef>,
    /// What it would set.
    pub key: Key,
    /// The filter.
    pub filter: String,
}

struct Speaker<'a> {
    gpo: &'a GpoRef,
    values: &'a Values,
    filter: Option<&'a str>,
}

/// Makes layers of the plan and of what was read of the objects it wants.
///
/// # Errors
/// [`Undecided`].
pub fn conclude(plan: &Plan, files: &BTreeMap<String, Files>) -> Result<Conclusion, Undecided> {
    let mut considered = Vec::new();
    let mut speakers: Vec<Speaker<'_>> = Vec::new();
    for step in &plan.steps {
        let mut notes = step.notes.clone();
        let mut problems = Vec::new();
        let mut versions = step.directory_version.map(|version| Versions {
            directory: version.machine(),
            sysvol: None,
        });
        let fate = match &step.next {
            Err(filtered) => Fate::Filtered(filtered.clone()),
            Ok(wanted) => {
                let read = files.get(&step.key);
                if let (Some(versions), Some(read)) = (&mut versions, read) {
                    versions.sysvol = read.version.map(GptVersion::machine);
                }
                let empty = versions.is_some_and(|v| v.directory == 0 && v.sysvol == Some(0));
                if let Some(Versions {
                    directory,
                    sysvol: Some(sysvol),
                }) = versions
                    && directory != sysvol
                {
                    notes.push(format!(
                        "version {directory} in the directory, {sysvol} in SYSVOL"
                    ));
                }
                if let Some(read) = read.filter(|_| !empty) {
                    problems.clone_from(&read.problems);
                }
                match read {
                    _ if empty => Fate::Filtered(Filtered::Empty),
                    None => Fate::Filtered(Filtered::Unreadable {
                        why: "its files were not read".to_owned(),
                    }),
                    Some(read) if !read.problems.is_empty() && read.values.values.is_empty() => {
                        let why = std::mem::take(&mut problems).join("; ");
                        Fate::Filtered(Filtered::Unreadable { why })
                    }
                    Some(Files { values, .. }) => {
                        let filter = wanted.undecided.as_deref();
                        speakers.push(Speaker {
                            gpo: &step.gpo,
                            values,
                            filter,
                        });
                        match filter {
                            Some(filter) => Fate::Undecided {
                                filter: filter.to_owned(),
                            },
                            None => Fate::Applied {
                                speaks: !values.values.is_empty(),
                            },
                        }
                    }
                }
            }
        };
        considered.push(Considered {
            gpo: step.gpo.clone(),
            link_number: step.link_number,
            fate,
            versions,
            problems,
            notes,
        });
    }
    refuse_to_guess(&speakers)?;
    let mut conclusion = Conclusion {
        considered,
        ..Conclusion::default()
    };
    for speaker in speakers.iter().filter(|one| one.filter.is_none()) {
        conclusion.layers.objects.push(GpoLayer {
            gpo: speaker.gpo.clone(),
            settings: speaker.values.settings(),
            since: None,
            forbid_exceptions: false,
        });
        for (key, value) in &speaker.values.values {
            let said = match value {
                Value::Enabled => Some((true, speaker.gpo.clone())),
                Value::Disabled => Some((false, speaker.gpo.clone())),
                Value::NotDefined => None,
            };
            match (key, said) {
                (Key::Item(Item::Setting(_)), _) => {}
                (Key::AllowExceptions, said) => conclusion.allow_exceptions = said,
                (Key::Item(Item::Audit(switch)), Some(said)) => {
                    conclusion.switches.insert(*switch, said);
                }
                (Key::Item(Item::Audit(switch)), None) => {
                    conclusion.switches.remove(switch);
                }
            }
        }
    }
    // Of what objects say about exceptions the strongest word counts, as for the rest.
    if let Some((false, gpo)) = &conclusion.allow_exceptions {
        let mut objects = conclusion.layers.objects.iter_mut().rev();
        if let Some(layer) = objects.find(|layer| layer.gpo == *gpo) {
            layer.forbid_exceptions = true;
        }
    }
    let says = |layer: &GpoLayer| layer.settings != Settings::default() || layer.forbid_exceptions;
    conclusion.layers.objects.retain(says);
    Ok(conclusion)
}

/// An object that cannot be decided about makes no difference to a value when a
/// stronger object sets it anyway, or when the strongest weaker one says the same.
fn refuse_to_guess(speakers: &[Speaker<'_>]) -> Result<(), Undecided> {
    for (at, speaker) in speakers.iter().enumerate() {
        let Some(filter) = speaker.filter else {
            continue;
        };
        for (key, value) in &speaker.values.values {
            let strongest = speakers
                .iter()
                .enumerate()
                .rev()
                .filter(|(_, other)| other.filter.is_none())
                .find_map(|(place, other)| Some((place, other.values.values.get(key)?)));
            let difference = match strongest {
                Some((place, said)) => place < at && said != value,
                None => true,
            };
            if difference {
                return Err(Undecided {
                    gpo: Box::new(speaker.gpo.clone()),
                    key: *key,
                    filter: filter.to_owned(),
                });
            }
        }
    }
    Ok(())
}
