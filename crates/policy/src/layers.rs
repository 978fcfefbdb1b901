//! Layers of policy and what they come to.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::SerializeStruct as _;

use crate::posture::Posture;
use crate::profile::{Profile, Role};
use crate::settings::{Setting, Settings, Value};
use crate::source::Source;

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
    no_exceptions: bool,
}

/// A value that is not in force because a stronger layer speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shadowed {
    /// Who said it.
    pub source: Source,
    /// What it said.
    pub value: Value,
    /// Since when, seconds since 1970.
    pub since: Option<u64>,
}

/// One setting in force.
#[derive(Debug, Clone, PartialEq, Eq)]
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
            no_exceptions: false,
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

    /// Exceptions have no effect. Said once, by whatever layer, it holds.
    pub fn forbid_exceptions(&mut self) {
        self.no_exceptions = true;
    }

    /// What is in force.
    pub fn effective(&self) -> Effective {
        Effective {
            standing: Setting::ALL.map(|setting| self.standing(setting)),
            declined: self.declined,
            no_exceptions: self.no_exceptions,
        }
    }

    fn standing(&self, setting: Setting) -> Standing {
        let position = Setting::ALL.iter().position(|one| *one == setting);
        let since = |layer: &Layer| position.and_then(|at| layer.since.get(at).copied().flatten());
        let mut speaking = self
            .layers
            .iter()
            .rev()
            .filter(|layer| layer.settings.get(setting) != Value::NotDefined);
        let (value, source, since_when) = match speaking.next() {
            Some(layer) => (
                layer.settings.get(setting),
                layer.source.clone(),
                since(layer),
            ),
            // The weakest layer has a word for every setting, be it "not defined".
            None => match self.layers.first() {
                Some(layer) => (Value::NotDefined, layer.source.clone(), None),
                None => (Value::NotDefined, Source::Nobody, None),
            },
        };
        let shadowed = speaking
            .map(|layer| Shadowed {
                source: layer.source.clone(),
                value: layer.settings.get(setting),
                since: since(layer),
            })
            .collect();
        Standing {
            setting,
            value,
            source,
            since: since_when,
            shadowed,
        }
    }
}

/// The four settings in force, each with its source. Serialised: `settings`, an object
/// by the settings' names with `effective`, `source`, `shadowed`, `since`, `smb1` and
/// `smb2`; and what they come to for each side, `effect.server.smb1` and the like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    standing: [Standing; 4],
    declined: bool,
    no_exceptions: bool,
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
        #[derive(Serialize)]
        struct Row<'a> {
            effective: Value,
            source: &'a Source,
            shadowed: &'a [Shadowed],
            since: Option<u64>,
            smb1: &'static str,
            smb2: &'static str,
        }
        let rows: BTreeMap<&str, Row<'_>> = self
            .standing
            .iter()
            .map(|standing| {
                let row = Row {
                    effective: standing.value,
                    source: &standing.source,
                    shadowed: &standing.shadowed,
                    since: standing.since,
                    smb1: self.smb1_effect(standing.setting),
                    smb2: self.smb2_effect(standing.setting),
                };
                (standing.setting.name(), row)
            })
            .collect();
        let side = |posture: Posture, requires: bool| Side {
            smb1: posture.name(),
            smb2: if requires { "required" } else { "enabled" },
        };
        let effect = Effect {
            server: side(self.server_posture(), self.server_requires()),
            client: side(self.client_posture(), self.client_requires()),
        };
        let mut object = serializer.serialize_struct("Effective", 3)?;
        object.serialize_field("settings", &rows)?;
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

    /// The same with exceptions allowed or not.
    #[must_use]
    pub fn with_exceptions(mut self, allowed: bool) -> Effective {
        self.no_exceptions = !allowed;
        self
    }

    /// Exceptions may let peers stay unsigned.
    pub fn exceptions_allowed(&self) -> bool {
        !self.no_exceptions
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
