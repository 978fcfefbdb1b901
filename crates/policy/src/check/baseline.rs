//! Published sets of values for the four settings.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::settings::{ParseError, Setting, Settings, Value, parse_by_name};

/// A set of values somebody recommends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// Microsoft's pages on the settings: sign where both can.
    Recommended,
    /// The same pages, highly secure: all four.
    HighlySecure,
    /// The CIS benchmarks of Windows.
    Cis,
    /// Microsoft's security baselines.
    Microsoft,
    /// DISA STIG of Windows Server 2016.
    StigServer2016,
    /// Of Windows Server 2019.
    StigServer2019,
    /// Of Windows Server 2022.
    StigServer2022,
    /// Of Windows Server 2025.
    StigServer2025,
    /// Of Windows 11.
    StigWindows11,
}

impl Baseline {
    /// All.
    pub const ALL: [Baseline; 9] = [
        Baseline::Recommended,
        Baseline::HighlySecure,
        Baseline::Cis,
        Baseline::Microsoft,
        Baseline::StigServer2016,
        Baseline::StigServer2019,
        Baseline::StigServer2022,
        Baseline::StigServer2025,
        Baseline::StigWindows11,
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Baseline::Recommended => "recommended",
            Baseline::HighlySecure => "highly-secure",
            Baseline::Cis => "cis",
            Baseline::Microsoft => "microsoft",
            Baseline::StigServer2016 => "stig-server-2016",
            Baseline::StigServer2019 => "stig-server-2019",
            Baseline::StigServer2022 => "stig-server-2022",
            Baseline::StigServer2025 => "stig-server-2025",
            Baseline::StigWindows11 => "stig-windows-11",
        }
    }

    /// What it is called.
    pub const fn title(self) -> &'static str {
        match self {
            Baseline::Recommended => "Microsoft's recommendation (balanced)",
            Baseline::HighlySecure => "Microsoft's recommendation (highly secure)",
            Baseline::Cis => "CIS benchmark",
            Baseline::Microsoft => "Microsoft security baseline",
            Baseline::StigServer2016 => "DISA STIG, Windows Server 2016",
            Baseline::StigServer2019 => "DISA STIG, Windows Server 2019",
            Baseline::StigServer2022 => "DISA STIG, Windows Server 2022",
            Baseline::StigServer2025 => "DISA STIG, Windows Server 2025",
            Baseline::StigWindows11 => "DISA STIG, Windows 11",
        }
    }

    /// STIG identifiers: client always, client if server agrees, server always, server
    /// if client agrees.
    const fn stig(self) -> Option<[&'static str; 4]> {
        match self {
            Baseline::StigServer2016 => Some(["V-225039", "V-225040", "V-225042", "V-225043"]),
            Baseline::StigServer2019 => Some(["V-205825", "V-205826", "V-205827", "V-205828"]),
            Baseline::StigServer2022 => Some(["V-254460", "V-254461", "V-254463", "V-254464"]),
            Baseline::StigServer2025 => Some(["V-278210", "V-278211", "V-278213", "V-278214"]),
            Baseline::StigWindows11 => Some(["V-253449", "", "V-253451", ""]),
            _ => None,
        }
    }

    /// The value it wants, and the identifier of that rule; nothing: it has no rule.
    pub fn wants(self, setting: Setting) -> Option<(Value, String)> {
        let always = matches!(setting, Setting::ServerAlways | Setting::ClientAlways);
        match self {
            Baseline::Recommended if always => Some((Value::Disabled, "recommended".to_owned())),
            Baseline::Recommended => Some((Value::Enabled, "recommended".to_owned())),
            Baseline::HighlySecure => Some((Value::Enabled, "highly secure".to_owned())),
            Baseline::Cis => Some((Value::Enabled, format!("CIS {}", setting.cis()))),
            Baseline::Microsoft => {
                always.then(|| (Value::Enabled, "Microsoft baseline".to_owned()))
            }
            _ => {
                let [client, client_if, server, server_if] = self.stig()?;
                let id = match setting {
                    Setting::ClientAlways => client,
                    Setting::ClientIfServerAgrees => client_if,
                    Setting::ServerAlways => server,
                    Setting::ServerIfClientAgrees => server_if,
                };
                (!id.is_empty()).then(|| (Value::Enabled, id.to_owned()))
            }
        }
    }

    /// Settings that are weaker than it wants; a stronger value is no offence.
    pub fn unmet(self, settings: &Settings) -> Vec<Setting> {
        Setting::ALL
            .into_iter()
            .filter(|setting| {
                self.wants(*setting).is_some_and(|(value, _)| {
                    value.is_enabled() && !settings.get(*setting).is_enabled()
                })
            })
            .collect()
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

parse_by_name!(Baseline, "baseline");
