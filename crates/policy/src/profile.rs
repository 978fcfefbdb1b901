//! Defaults by name and role.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::settings::{ParseError, Settings, Value, parse_by_name};

/// What this machine is; the defaults of some profiles depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A server outside any domain.
    #[default]
    StandAlone,
    /// A member server of a domain.
    Member,
    /// A domain controller.
    DomainController,
    /// A client computer.
    Client,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 4] = [
        Role::StandAlone,
        Role::Member,
        Role::DomainController,
        Role::Client,
    ];

    /// The name used on the command line and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Role::StandAlone => "stand-alone",
            Role::Member => "member",
            Role::DomainController => "domain-controller",
            Role::Client => "client",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

parse_by_name!(Role, "role");

/// A named set of defaults: the weakest layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Profile {
    /// All four Enabled, whatever the role. What a new installation gets.
    #[default]
    #[serde(rename = "secure")]
    Secure,
    /// Both "if agrees" Enabled, both "always" Disabled, whatever the role.
    #[serde(rename = "balanced")]
    Balanced,
    /// Windows up to 10 and Server 2022: only domain controllers require signing.
    #[serde(rename = "windows-10")]
    Windows10,
    /// Windows 11 24H2 (Enterprise, Pro, Education): requires signing in and out.
    #[serde(rename = "windows-11-24h2")]
    Windows11_24H2,
    /// Windows Server 2025: requires signing out; in only as a domain controller.
    #[serde(rename = "windows-server-2025")]
    WindowsServer2025,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Profile; 5] = [
        Profile::Secure,
        Profile::Balanced,
        Profile::Windows10,
        Profile::Windows11_24H2,
        Profile::WindowsServer2025,
    ];

    /// The name used on the command line and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Secure => "secure",
            Profile::Balanced => "balanced",
            Profile::Windows10 => "windows-10",
            Profile::Windows11_24H2 => "windows-11-24h2",
            Profile::WindowsServer2025 => "windows-server-2025",
        }
    }

    /// The effective defaults of this profile for a role.
    ///
    /// `windows-10` is the table "effective default settings" of the pages on
    /// the four settings. The later two change what Microsoft's page "SMB
    /// signing overview" says they change; where Microsoft's pages contradict
    /// one another about Server 2025 inbound, the more specific one is followed.
    pub const fn settings(self, role: Role) -> Settings {
        use Value::{Disabled, Enabled, NotDefined};
        const fn four(
            server_if: Value,
            server: Value,
            client_if: Value,
            client: Value,
        ) -> Settings {
            Settings {
                server_if_client_agrees: server_if,
                server_always: server,
                client_if_server_agrees: client_if,
                client_always: client,
            }
        }
        match (self, role) {
            (Profile::Secure, _) => four(Enabled, Enabled, Enabled, Enabled),
            (Profile::Balanced, _) => four(Enabled, Disabled, Enabled, Disabled),
            (Profile::Windows10, Role::StandAlone | Role::Member) => {
                four(NotDefined, NotDefined, Enabled, Disabled)
            }
            (Profile::Windows10, Role::DomainController) => {
                four(Enabled, Enabled, Enabled, Disabled)
            }
            (Profile::Windows10, Role::Client) => four(Disabled, Disabled, Enabled, Disabled),
            (Profile::Windows11_24H2 | Profile::WindowsServer2025, Role::DomainController) => {
                four(Enabled, Enabled, Enabled, Enabled)
            }
            (Profile::Windows11_24H2, Role::Client) => four(Disabled, Enabled, Enabled, Enabled),
            (Profile::Windows11_24H2, Role::StandAlone | Role::Member) => {
                four(NotDefined, Enabled, Enabled, Enabled)
            }
            (Profile::WindowsServer2025, Role::Client) => {
                four(Disabled, Disabled, Enabled, Enabled)
            }
            (Profile::WindowsServer2025, Role::StandAlone | Role::Member) => {
                four(NotDefined, NotDefined, Enabled, Enabled)
            }
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

parse_by_name!(Profile, "profile");
