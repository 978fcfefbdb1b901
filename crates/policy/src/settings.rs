//! The four settings and their three values.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the four "Digitally sign communications" settings (Computer
/// Configuration\Windows Settings\Security Settings\Local Policies\Security Options).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// Microsoft network server: Digitally sign communications (if client agrees).
    ServerIfClientAgrees,
    /// Microsoft network server: Digitally sign communications (always).
    ServerAlways,
    /// Microsoft network client: Digitally sign communications (if server agrees).
    ClientIfServerAgrees,
    /// Microsoft network client: Digitally sign communications (always).
    ClientAlways,
}

impl Setting {
    /// All four, in the order of the policy editor's tables.
    pub const ALL: [Setting; 4] = [
        Setting::ServerIfClientAgrees,
        Setting::ServerAlways,
        Setting::ClientIfServerAgrees,
        Setting::ClientAlways,
    ];

    /// The short name used on the command line and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Setting::ServerIfClientAgrees => "server-if-client-agrees",
            Setting::ServerAlways => "server-always",
            Setting::ClientIfServerAgrees => "client-if-server-agrees",
            Setting::ClientAlways => "client-always",
        }
    }

    /// The name the policy editor shows.
    pub const fn policy_name(self) -> &'static str {
        match self {
            Setting::ServerIfClientAgrees => {
                "Microsoft network server: Digitally sign communications (if client agrees)"
            }
            Setting::ServerAlways => {
                "Microsoft network server: Digitally sign communications (always)"
            }
            Setting::ClientIfServerAgrees => {
                "Microsoft network client: Digitally sign communications (if server agrees)"
            }
            Setting::ClientAlways => {
                "Microsoft network client: Digitally sign communications (always)"
            }
        }
    }

    /// The registry value under `HKLM\SYSTEM\CurrentControlSet\Services`.
    pub const fn registry(self) -> &'static str {
        match self {
            Setting::ServerIfClientAgrees => r"LanManServer\Parameters\EnableSecuritySignature",
            Setting::ServerAlways => r"LanManServer\Parameters\RequireSecuritySignature",
            Setting::ClientIfServerAgrees => {
                r"LanmanWorkstation\Parameters\EnableSecuritySignature"
            }
            Setting::ClientAlways => r"LanmanWorkstation\Parameters\RequireSecuritySignature",
        }
    }

    /// The recommendation of the CIS benchmarks for this setting.
    pub const fn cis(self) -> &'static str {
        match self {
            Setting::ServerIfClientAgrees => "2.3.9.3",
            Setting::ServerAlways => "2.3.9.2",
            Setting::ClientIfServerAgrees => "2.3.8.2",
            Setting::ClientAlways => "2.3.8.1",
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a layer says about a setting.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// On.
    Enabled,
    /// Off.
    Disabled,
    /// This layer says nothing: the layer below stays in force.
    #[default]
    NotDefined,
}

impl Value {
    /// All three.
    pub const ALL: [Value; 3] = [Value::Enabled, Value::Disabled, Value::NotDefined];

    /// The name used on the command line and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Value::Enabled => "enabled",
            Value::Disabled => "disabled",
            Value::NotDefined => "not-defined",
        }
    }

    /// In force. "Not defined" acts as Disabled.
    pub const fn is_enabled(self) -> bool {
        matches!(self, Value::Enabled)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is none of those allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a {what}; it is one of {}", .allowed.join(", "))]
pub struct ParseError {
    /// What was given.
    pub given: String,
    /// What it should have been: "setting", "value", "role", "profile".
    pub what: &'static str,
    /// The names allowed.
    pub allowed: Vec<&'static str>,
}

macro_rules! parse_by_name {
    ($type:ty, $what:literal) => {
        impl FromStr for $type {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                let text = text.trim();
                <$type>::ALL
                    .into_iter()
                    .find(|one| one.name().eq_ignore_ascii_case(text))
                    .ok_or_else(|| ParseError {
                        given: text.to_owned(),
                        what: $what,
                        allowed: <$type>::ALL.iter().map(|one| one.name()).collect(),
                    })
            }
        }
    };
}
pub(crate) use parse_by_name;

parse_by_name!(Setting, "setting");
parse_by_name!(Value, "value");

/// The four values of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Settings {
    /// Server, if client agrees.
    pub server_if_client_agrees: Value,
    /// Server, always.
    pub server_always: Value,
    /// Client, if server agrees.
    pub client_if_server_agrees: Value,
    /// Client, always.
    pub client_always: Value,
}

impl Settings {
    /// The value of one setting.
    pub const fn get(&self, setting: Setting) -> Value {
        match setting {
            Setting::ServerIfClientAgrees => self.server_if_client_agrees,
            Setting::ServerAlways => self.server_always,
            Setting::ClientIfServerAgrees => self.client_if_server_agrees,
            Setting::ClientAlways => self.client_always,
        }
    }

    /// Sets one setting.
    pub fn set(&mut self, setting: Setting, value: Value) {
        match setting {
            Setting::ServerIfClientAgrees => self.server_if_client_agrees = value,
            Setting::ServerAlways => self.server_always = value,
            Setting::ClientIfServerAgrees => self.client_if_server_agrees = value,
            Setting::ClientAlways => self.client_always = value,
        }
    }

    /// These settings with one of them changed.
    #[must_use]
    pub fn with(mut self, setting: Setting, value: Value) -> Settings {
        self.set(setting, value);
        self
    }
}
