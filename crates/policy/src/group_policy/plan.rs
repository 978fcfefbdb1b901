//! [MS-GPOL] 3.2.5.1.5 and 3.2.5.1.6: which objects apply, before SYSVOL is asked.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::GpoRef;

use super::access::{Right, may_apply};
use super::container::Container;
use super::gpt::GptVersion;
use super::object::{Extension, PolicyObject};
use super::order::{Place, Placed, apply_order};
use super::report::Filtered;

/// The computer's SIDs, as `S-1-...`: its own, its groups', Authenticated Users and
/// Everyone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Token(BTreeSet<String>);

impl Token {
    /// Of the computer's own SID and those of its groups. The directory names neither
    /// Authenticated Users nor Everyone, so they are added.
    pub fn new(sids: impl IntoIterator<Item = String>) -> Token {
        let mut all: BTreeSet<String> = sids.into_iter().collect();
        all.insert("S-1-5-11".to_owned());
        all.insert("S-1-1-0".to_owned());
        Token(all)
    }

    /// The SIDs.
    pub fn sids(&self) -> &BTreeSet<String> {
        &self.0
    }
}

/// What is to be read of an object in SYSVOL, besides gpt.ini.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// gPCFileSysPath.
    pub path: String,
    /// The extensions whose files are wanted.
    pub extensions: Vec<Extension>,
    /// A filter that cannot be evaluated here.
    pub undecided: Option<String>,
}

/// What was read of an object in SYSVOL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The version of gpt.ini, when there was something to read.
    pub version: Option<GptVersion>,
    /// What its files say.
    pub values: super::content::Values,
    /// Files that cannot be used, and why: what the others say counts ([MS-GPSB] 3.2.5).
    pub problems: Vec<String>,
}

/// A link on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Object and link.
    pub gpo: GpoRef,
    /// What objects are told apart by.
    pub key: String,
    /// Number of the link in its container.
    pub link_number: usize,
    /// The version in the directory, when the object was found.
    pub directory_version: Option<GptVersion>,
    /// What is to be read, or why the object does not apply.
    pub next: Result<Wanted, Filtered>,
    /// What should be looked at.
    pub notes: Vec<String>,
}

/// All links of a computer, in the order in which they apply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The links.
    pub steps: Vec<Step>,
}

impl Plan {
    /// What is to be read, each object once, by the key of its steps.
    pub fn wanted(&self) -> BTreeMap<&str, &Wanted> {
        self.steps
            .iter()
            .filter_map(|step| Some((step.key.as_str(), step.next.as_ref().ok()?)))
            .collect()
    }
}

/// Makes the plan of the containers (weakest first) and the objects the directory
/// showed, by the canonical form of their names.
pub fn plan(
    containers: &[Container],
    objects: &BTreeMap<String, PolicyObject>,
    token: &Token,
) -> Plan {
    let steps = apply_order(containers)
        .into_iter()
        .map(|placed| step(placed, objects, token))
        .collect();
    Plan { steps }
}

fn step(placed: Placed<'_>, objects: &BTreeMap<String, PolicyObject>, token: &Token) -> Step {
    let key = placed.link.gpo.canonical();
    let object = objects.get(&key);
    let guid = placed.link.gpo.first().1.to_uppercase();
    let gpo = GpoRef {
        name: object.map_or_else(|| guid.clone(), |object| object.name.clone()),
        guid: object.map_or(guid, |object| object.guid.to_uppercase()),
        container: placed.container.dn.to_string(),
        kind: placed.container.kind,
        enforced: placed.link.is_enforced(),
    };
    let mut notes = Vec::new();
    let next = match (placed.place, object) {
        (Place::Disabled, _) => Err(Filtered::LinkDisabled),
        (Place::Blocked(by), _) => Err(Filtered::InheritanceBlocked {
            by: by.dn.to_string(),
        }),
        (Place::Counts, None) => Err(Filtered::NotFound),
        (Place::Counts, Some(object)) => judge(object, token, &mut notes),
    };
    Step {
        gpo,
        key,
        link_number: placed.number,
        directory_version: object.map(|object| object.version),
        next,
        notes,
    }
}

/// [MS-GPOL] 3.2.5.1.6, as far as the directory alone tells.
fn judge(
    object: &PolicyObject,
    token: &Token,
    notes: &mut Vec<String>,
) -> Result<Wanted, Filtered> {
    if object.functionality != Some(2) {
        return Err(Filtered::FunctionalityVersion);
    }
    if object.machine_is_off() {
        return Err(Filtered::MachinePartOff);
    }
    let dacl = object.dacl.as_ref().ok_or(Filtered::SecurityUnreadable)?;
    let mut undecided = None;
    match may_apply(dacl, token.sids()) {
        Right::Granted => {}
        Right::Denied(sid) => return Err(Filtered::ApplyDenied { sid }),
        Right::Missing => return Err(Filtered::NoApplyRight),
        Right::Conditional(sid) => {
            undecided = Some(format!("a condition in the access control entry of {sid}"));
        }
    }
    if let Some(filter) = &object.wmi {
        match &filter.query {
            Some((name, query)) => undecided = Some(format!("WMI filter {name}: {query}")),
            None => notes.push(format!("its WMI filter {} does not exist", filter.text)),
        }
    }
    let extensions: Vec<Extension> = Extension::ALL
        .into_iter()
        .filter(|one| one.is_in(&object.extensions))
        .collect();
    if extensions.is_empty() {
        return Err(Filtered::NoExtensionOfOurs);
    }
    let Some(path) = object.path.clone() else {
        return Err(Filtered::BadPath {
            why: "gPCFileSysPath is missing".to_owned(),
        });
    };
    Ok(Wanted {
        path,
        extensions,
        undecided,
    })
}
