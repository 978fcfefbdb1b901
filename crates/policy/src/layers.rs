//! Layers of policy and what they come to.

use std::fmt;

use serde::Serialize;
use serde::ser::SerializeStruct as _;

use crate::posture::Posture;
use crate::profile::{Profile, Role};
use crate::settings::{Setting, Settings, Value};

/// Where a value comes from, weakest first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// Nobody set it: no layer defines the setting.
    Nobody,
    /// The profile's default for the role.
    Profile(Profile, Role),
    /// The configuration file (local policy of that process).
    Configuration,
    /// The command line (local policy of that process).
    CommandLine,
    /// The local policy store.
    Local,
    /// Group Policy linked to the site.
    Site(String),
    /// Group Policy linked to the domain.
    Domain(String),
    /// Group Policy linked to an organisational unit.
    OrganisationalUnit(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Nobody => f.pad("nobody"),
            Source::Profile(profile, role) => f.pad(&format!("profile {profile} ({role})")),
            Source::Configuration => f.pad("configuration file"),
            Source::CommandLine => f.pad("command line"),
            Source::Local => f.pad("local policy"),
            Source::Site(name) => f.pad(&format!("site policy {name}")),
            Source::Domain(name) => f.pad(&format!("domain policy {name}")),
            Source::OrganisationalUnit(name) => f.pad(&format!("OU policy {name}")),
        }
    }
}

/// As it is shown to people.
impl Serialize for Source {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One layer: who speaks, what it says, since when (seconds since 1970, if known).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Who speaks.
    pub source: Source,
    /// The four values.
    pub settings: Settings,
    /// Since when, per setting in the order of [`Setting::ALL`].
    pub since: [Option<u64>; 4],
}

impl Layer {
    /// A layer whose values were all set at one time.
    pub fn new(source: Source, settings: Settings, since: Option<u64>) -> Layer {
        Layer {
            source,
            settings,
            since: [since; 4],
        }
    }
}

/// All layers of a machine, weakest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layers {
    layers: Vec<Layer>,
    declined: bool,
}

/// A value that is not in force because a stronger layer speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shadowed {
    /// Who said it.
    pub source: Source,
    /// What it said.
    pub value: Value,
}

/// One setting in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The setting.
    pub setting: Setting,
    /// Its value; `NotDefined` acts as Disabled.
    pub value: Value,
    /// Who set it.
    pub source: Source,
    /// Since when, seconds since 1970.
    pub since: Option<u64>,
    /// What weaker layers said, strongest first.
    pub shadowed: Vec<Shadowed>,
}

impl Layers {
    /// The weakest layer: the profile's defaults for the role.
    pub fn new(profile: Profile, role: Role) -> Layers {
        let source = Source::Profile(profile, role);
        Layers {
            layers: vec![Layer::new(source, profile.settings(role), None)],
            declined: false,
        }
    }

    /// Puts a layer above all others.
    pub fn push(&mut self, layer: Layer) {
        self.layers.push(layer);
    }

    /// The server's two settings being off means Declined rather than Disabled
    /// (what smbd does): not announced, but signed when the peer requires it.
    pub fn set_declined(&mut self, declined: bool) {
        self.declined = declined;
    }

    /// What is in force.
    pub fn effective(&self) -> Effective {
        Effective {
            standing: Setting::ALL.map(|setting| self.standing(setting)),
            declined: self.declined,
        }
    }

    fn standing(&self, setting: Setting) -> Standing {
        let mut speaking = self
            .layers
            .iter()
            .rev()
            .filter(|layer| layer.settings.get(setting) != Value::NotDefined);
        let (value, source, since) = match speaking.next() {
            Some(layer) => {
                let position = Setting::ALL.iter().position(|one| *one == setting);
                let since = position.and_then(|at| layer.since.get(at).copied().flatten());
                (layer.settings.get(setting), layer.source.clone(), since)
            }
            None => (Value::NotDefined, Source::Nobody, None),
        };
        let shadowed = speaking
            .map(|layer| Shadowed {
                source: layer.source.clone(),
                value: layer.settings.get(setting),
            })
            .collect();
        Standing {
            setting,
            value,
            source,
            since,
            shadowed,
        }
    }
}

/// The four settings in force, each with its source. Serialised it also says what
/// they come to: `effect.server.smb1` and the like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    standing: [Standing; 4],
    declined: bool,
}

impl Serialize for Effective {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Side {
            smb1: &'static str,
            smb2: &'static str,
        }
        #[derive(Serialize)]
        struct Effect {
            server: Side,
            client: Side,
        }
        let side = |posture: Posture, requires: bool| Side {
            smb1: posture.name(),
            smb2: if requires { "required" } else { "enabled" },
        };
        let effect = Effect {
            server: side(self.server_posture(), self.server_requires()),
            client: side(self.client_posture(), self.client_requires()),
        };
        let mut object = serializer.serialize_struct("Effective", 3)?;
        object.serialize_field("settings", &self.standing)?;
        object.serialize_field("declined", &self.declined)?;
        object.serialize_field("effect", &effect)?;
        object.end()
    }
}

impl Default for Effective {
    /// The profile `secure`: never weaker by accident.
    fn default() -> Self {
        Layers::new(Profile::Secure, Role::StandAlone).effective()
    }
}

impl Effective {
    /// Four values without layers, as tests and embedders need them.
    pub fn of(settings: Settings) -> Effective {
        let mut layers = Layers::default();
        layers.push(Layer::new(Source::Local, settings, None));
        layers.effective()
    }

    /// The same with Declined in place of Disabled.
    #[must_use]
    pub fn with_declined(mut self, declined: bool) -> Effective {
        self.declined = declined;
        self
    }

    /// The four settings with source and what they shadow.
    pub fn standing(&self) -> &[Standing; 4] {
        &self.standing
    }

    /// One setting with source and what it shadows.
    pub fn get(&self, setting: Setting) -> &Standing {
        let [server_if, server, client_if, client] = &self.standing;
        match setting {
            Setting::ServerIfClientAgrees => server_if,
            Setting::ServerAlways => server,
            Setting::ClientIfServerAgrees => client_if,
            Setting::ClientAlways => client,
        }
    }

    /// The four values.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        for standing in &self.standing {
            settings.set(standing.setting, standing.value);
        }
        settings
    }

    /// Declined stands in for Disabled.
    pub fn declined(&self) -> bool {
        self.declined
    }

    /// The server's posture in SMB1.
    pub fn server_posture(&self) -> Posture {
        let settings = self.settings();
        Posture::of(
            settings.server_always.is_enabled(),
            settings.server_if_client_agrees.is_enabled(),
            self.declined,
        )
    }

    /// The client's posture in SMB1.
    pub fn client_posture(&self) -> Posture {
        let settings = self.settings();
        Posture::of(
            settings.client_always.is_enabled(),
            settings.client_if_server_agrees.is_enabled(),
            self.declined,
        )
    }

    /// The server requires signing. In SMB2 and 3 nothing else counts.
    pub fn server_requires(&self) -> bool {
        self.get(Setting::ServerAlways).value.is_enabled()
    }

    /// The client requires signing. In SMB2 and 3 nothing else counts.
    pub fn client_requires(&self) -> bool {
        self.get(Setting::ClientAlways).value.is_enabled()
    }
}
