//! What files carry, and where the registry has it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::audit_switch::AuditSwitch;
use crate::settings::{ParseError, Setting, Settings, Value};

/// One thing a file may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// One of the four settings.
    Setting(Setting),
    /// An audit switch.
    Audit(AuditSwitch),
}

/// As on the command line: `server-always`, `audit-smb1-access`.
impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Setting(setting) => setting.fmt(f),
            Item::Audit(switch) => f.pad(&format!("audit-{switch}")),
        }
    }
}

impl FromStr for Item {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.trim().strip_prefix("audit-") {
            Some(switch) => switch.parse().map(Item::Audit),
            None => text.parse().map(Item::Setting),
        }
    }
}

impl Serialize for Item {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

const SERVER: &str = r"SYSTEM\CurrentControlSet\Services\LanManServer\Parameters";
const CLIENT: &str = r"SYSTEM\CurrentControlSet\Services\LanmanWorkstation\Parameters";
const SERVER_POLICY: &str = r"SOFTWARE\Policies\Microsoft\Windows\LanmanServer";
const CLIENT_POLICY: &str = r"SOFTWARE\Policies\Microsoft\Windows\LanmanWorkstation";

/// A value of the registry below HKEY_LOCAL_MACHINE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The key, without the hive.
    pub key: &'static str,
    /// The value's name.
    pub value: &'static str,
}

impl Item {
    /// All.
    pub fn all() -> impl Iterator<Item = Item> {
        Setting::ALL
            .into_iter()
            .map(Item::Setting)
            .chain(AuditSwitch::ALL.into_iter().map(Item::Audit))
    }

    /// Where it may stand; the first is where it is written, and the first that speaks
    /// is obeyed.
    pub fn locations(self) -> Vec<Location> {
        match self {
            Item::Setting(setting) => {
                let (key, value) = match setting {
                    Setting::ServerIfClientAgrees => (SERVER, "EnableSecuritySignature"),
                    Setting::ServerAlways => (SERVER, "RequireSecuritySignature"),
                    Setting::ClientIfServerAgrees => (CLIENT, "EnableSecuritySignature"),
                    Setting::ClientAlways => (CLIENT, "RequireSecuritySignature"),
                };
                vec![Location { key, value }]
            }
            Item::Audit(switch) => {
                let value = switch.windows_name();
                let of = |key| Location { key, value };
                let (policy, parameters) = if switch.of_server() {
                    (of(SERVER_POLICY), of(SERVER))
                } else {
                    (of(CLIENT_POLICY), of(CLIENT))
                };
                if switch == AuditSwitch::Smb1Access {
                    // Has no administrative template.
                    vec![parameters, policy]
                } else {
                    vec![policy, parameters]
                }
            }
        }
    }

    /// Where it is written.
    pub fn location(self) -> Location {
        match self.locations().first() {
            Some(location) => *location,
            None => Location { key: "", value: "" },
        }
    }

    /// What stands at a place of the registry, and which of its places that is. Names
    /// compare without case.
    pub fn at(key: &str, value: &str) -> Option<(Item, usize)> {
        Item::all().find_map(|item| {
            let at = item.locations().iter().position(|location| {
                location.key.eq_ignore_ascii_case(key) && location.value.eq_ignore_ascii_case(value)
            })?;
            Some((item, at))
        })
    }

    /// Everything that may stand in a key.
    pub fn in_key(key: &str) -> Vec<(Item, usize)> {
        Item::all()
            .flat_map(|item| {
                let here = item.locations();
                let at = here
                    .iter()
                    .position(|location| location.key.eq_ignore_ascii_case(key));
                at.map(|at| (item, at))
            })
            .collect()
    }
}

impl Item {
    /// Everything that may stand in a key or below it.
    pub fn below_key(key: &str) -> Vec<(Item, usize)> {
        let key = key.to_ascii_lowercase();
        let below = |location: &Location| {
            let own = location.key.to_ascii_lowercase();
            own.strip_prefix(&key)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('\\'))
        };
        Item::all()
            .flat_map(|item| {
                let places = item.locations().into_iter().enumerate();
                places
                    .filter(|(_, location)| below(location))
                    .map(|(place, _)| (item, place))
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

/// A name that is nearly one of the four: somebody meant a setting, and would be
/// surprised to see it ignored.
pub(crate) fn near_miss(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let last = name
        .rsplit(['\\', '/'])
        .next()
        .unwrap_or_default()
        .trim_matches(|c: char| c == '"' || c.is_whitespace());
    (last == "requiresecuritysignature" || last == "enablesecuritysignature")
        && (name.contains("lanmanserver") || name.contains("lanmanworkstation"))
}

/// What a file says. `NotDefined` is said by files that can take a value out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// What is said; the rest is left as it is.
    pub values: BTreeMap<Item, Value>,
}

impl Contents {
    /// The four settings; what is not said is not defined.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        for setting in Setting::ALL {
            if let Some(value) = self.values.get(&Item::Setting(setting)) {
                settings.set(setting, *value);
            }
        }
        settings
    }

    /// Four settings; those not defined are left out.
    pub fn of(settings: &Settings) -> Contents {
        let values = Setting::ALL
            .into_iter()
            .map(|setting| (Item::Setting(setting), settings.get(setting)))
            .filter(|(_, value)| *value != Value::NotDefined)
            .collect();
        Contents { values }
    }

    /// What is said about an item.
    pub fn get(&self, item: Item) -> Value {
        self.values.get(&item).copied().unwrap_or_default()
    }
}

/// Collects what a file says in the order it says it. The later word wins, save that
/// of two places of an audit switch the first is the stronger.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    values: BTreeMap<Item, (usize, Value)>,
}

impl Collector {
    pub(crate) fn say(&mut self, item: Item, place: usize, value: Value) {
        let weaker = self
            .values
            .get(&item)
            .is_some_and(|(there, said)| *there < place && *said != Value::NotDefined);
        if !weaker {
            self.values.insert(item, (place, value));
        }
    }

    pub(crate) fn contents(self) -> Contents {
        Contents {
            values: self
                .values
                .into_iter()
                .map(|(item, (_, value))| (item, value))
                .collect(),
        }
    }
}

/// 0 or 1 as a value.
pub(crate) fn switch(data: u64) -> Option<Value> {
    match data {
        0 => Some(Value::Disabled),
        1 => Some(Value::Enabled),
        _ => None,
    }
}

/// A value as 0 or 1; nothing: it is not to be written.
pub(crate) fn digit(value: Value) -> Option<u8> {
    match value {
        Value::Enabled => Some(1),
        Value::Disabled => Some(0),
        Value::NotDefined => None,
    }
}
