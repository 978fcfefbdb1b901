//! Where a value comes from.

use std::fmt;

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize};

use crate::profile::{Profile, Role};

/// What a Group Policy object is linked to ([MS-GPOL] 1.1.3, scope of management).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerKind {
    /// A site.
    Site,
    /// The domain.
    Domain,
    /// An organisational unit.
    Ou,
}

impl ContainerKind {
    /// All, weakest first.
    pub const ALL: [ContainerKind; 3] = [
        ContainerKind::Site,
        ContainerKind::Domain,
        ContainerKind::Ou,
    ];

    /// The name of the layer.
    pub const fn name(self) -> &'static str {
        match self {
            ContainerKind::Site => "site",
            ContainerKind::Domain => "domain",
            ContainerKind::Ou => "ou",
        }
    }
}

impl fmt::Display for ContainerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A Group Policy object and the link through which it applies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GpoRef {
    /// Its displayName.
    pub name: String,
    /// Its GUID, with braces, as `{31B2F340-016D-11D2-945F-00C04FB984F9}`.
    pub guid: String,
    /// Distinguished name of the container it is linked to.
    pub container: String,
    /// What that container is.
    pub kind: ContainerKind,
    /// The link is enforced ("no override").
    pub enforced: bool,
}

impl fmt::Display for GpoRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} policy {} {}", self.kind, self.name, self.guid)?;
        if self.enforced {
            f.write_str(" (enforced)")?;
        }
        Ok(())
    }
}

/// Where a value comes from, weakest first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// There is no layer at all.
    Nobody,
    /// The profile's default for the role.
    Profile(Profile, Role),
    /// The configuration file (local policy of that process).
    Configuration,
    /// The command line (local policy of that process).
    CommandLine,
    /// The local policy store.
    Local,
    /// Group Policy, linked to the site, the domain or an organisational unit.
    GroupPolicy(GpoRef),
}

impl Source {
    /// The name of the layer, as output and contracts have it: `profile`, `local`,
    /// `command-line`, `site`, `domain`, `ou`.
    pub const fn layer(&self) -> &'static str {
        match self {
            Source::Nobody | Source::Profile(..) => "profile",
            Source::Configuration | Source::Local => "local",
            Source::CommandLine => "command-line",
            Source::GroupPolicy(gpo) => gpo.kind.name(),
        }
    }

    /// The name of what speaks within its layer.
    pub fn name(&self) -> String {
        match self {
            Source::Nobody => "nobody".to_owned(),
            Source::Profile(profile, role) => format!("{profile} ({role})"),
            Source::Configuration => "configuration file".to_owned(),
            Source::CommandLine => "command line".to_owned(),
            Source::Local => "local policy".to_owned(),
            Source::GroupPolicy(gpo) => gpo.name.clone(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Profile(..) => f.pad(&format!("profile {}", self.name())),
            Source::GroupPolicy(gpo) => f.pad(&gpo.to_string()),
            _ => f.pad(&self.name()),
        }
    }
}

/// `{"layer", "name", "guid", "link", "enforced", "text"}`; `guid`, `link` and `enforced`
/// are null where it is not Group Policy.
impl Serialize for Source {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let gpo = match self {
            Source::GroupPolicy(gpo) => Some(gpo),
            _ => None,
        };
        let mut object = serializer.serialize_struct("Source", 6)?;
        object.serialize_field("layer", self.layer())?;
        object.serialize_field("name", &self.name())?;
        object.serialize_field("guid", &gpo.map(|gpo| &gpo.guid))?;
        object.serialize_field("link", &gpo.map(|gpo| &gpo.container))?;
        object.serialize_field("enforced", &gpo.map(|gpo| gpo.enforced))?;
        object.serialize_field("text", &self.to_string())?;
        object.end()
    }
}
