//! What became of each link: for people and for `policy gpo status`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::source::GpoRef;

/// Versions of an object's machine part. They may differ while the two replicate; the
/// values are those of SYSVOL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Versions {
    /// In the directory (GPC).
    pub directory: u16,
    /// In SYSVOL (GPT), when it was read.
    pub sysvol: Option<u16>,
}

/// Why an object does not apply. The codes never change meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Filtered {
    /// The link is disabled.
    LinkDisabled,
    /// A container below blocks inheritance.
    InheritanceBlocked {
        /// That container.
        by: String,
    },
    /// The directory does not show the object: it is gone, or may not be read.
    NotFound,
    /// gPCFunctionalityVersion is not 2.
    FunctionalityVersion,
    /// The machine's part is switched off.
    MachinePartOff,
    /// An entry of the access control list denies Apply Group Policy.
    ApplyDenied {
        /// Of whom it speaks.
        sid: String,
    },
    /// No entry gives Apply Group Policy.
    NoApplyRight,
    /// The security descriptor cannot be read.
    SecurityUnreadable,
    /// Both versions are 0: the machine's part was never written.
    Empty,
    /// It has neither security settings nor administrative templates.
    NoExtensionOfOurs,
    /// It has no path in SYSVOL, or one that is not used.
    BadPath {
        /// What is wrong.
        why: String,
    },
    /// A file of it cannot be read or understood: it is skipped, and the others apply
    /// ([MS-GPSB] 3.2.5).
    Unreadable {
        /// What is wrong.
        why: String,
    },
}

impl fmt::Display for Filtered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filtered::LinkDisabled => f.write_str("the link is disabled"),
            Filtered::InheritanceBlocked { by } => write!(f, "{by} blocks inheritance"),
            Filtered::NotFound => f.write_str("not found in the directory, or not readable"),
            Filtered::FunctionalityVersion => f.write_str("its functionality version is not 2"),
            Filtered::MachinePartOff => f.write_str("its computer settings are disabled"),
            Filtered::ApplyDenied { sid } => write!(f, "Apply Group Policy is denied to {sid}"),
            Filtered::NoApplyRight => f.write_str("Apply Group Policy is not granted"),
            Filtered::SecurityUnreadable => f.write_str("its security descriptor is not readable"),
            Filtered::Empty => f.write_str("empty (version 0)"),
            Filtered::NoExtensionOfOurs => {
                f.write_str("it has neither security settings nor administrative templates")
            }
            Filtered::BadPath { why } => write!(f, "its path cannot be used: {why}"),
            Filtered::Unreadable { why } => write!(f, "skipped: {why}"),
        }
    }
}

/// What became of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Fate {
    /// Its object applies.
    Applied {
        /// It names something that is obeyed here.
        speaks: bool,
    },
    /// It does not.
    Filtered(Filtered),
    /// It has a filter that cannot be evaluated here (WMI, or a condition in its access
    /// control list), which makes no difference: it says nothing, or only what is in
    /// force without it.
    Undecided {
        /// The filter.
        filter: String,
    },
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Applied { speaks: true } => f.write_str("applied"),
            Fate::Applied { speaks: false } => f.write_str("applied, says nothing of ours"),
            Fate::Filtered(why) => write!(f, "{why}"),
            Fate::Undecided { filter } => {
                write!(f, "not evaluated, makes no difference: {filter}")
            }
        }
    }
}

/// A link that was considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Considered {
    /// Object and link.
    pub gpo: GpoRef,
    /// Number of the link in its container; 1 overrules.
    pub link_number: usize,
    /// What became of it.
    pub fate: Fate,
    /// Versions, when the object was found.
    pub versions: Option<Versions>,
    /// Files of it that cannot be used, with line and column, and what is obeyed instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What should be looked at: versions that differ, a filter that is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
