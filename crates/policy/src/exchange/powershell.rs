//! PowerShell: Set-SmbServerConfiguration and Set-SmbClientConfiguration.

use super::item::digit;
use super::{Contents, Item};
use crate::settings::Setting;

/// Writes commands.
pub fn emit(contents: &Contents) -> String {
    let mut out = String::from(
        "# The signing policy of SMB. Run as administrator; what is not named stays as it is.\r\n",
    );
    for (command, of_server) in [
        ("Set-SmbServerConfiguration", true),
        ("Set-SmbClientConfiguration", false),
    ] {
        let mut parameters = Vec::new();
        for item in Item::all() {
            let (server, name) = match item {
                Item::Setting(setting) => (
                    matches!(
                        setting,
                        Setting::ServerAlways | Setting::ServerIfClientAgrees
                    ),
                    item.location().value,
                ),
                Item::Audit(switch) => (switch.of_server(), switch.windows_name()),
            };
            if server != of_server {
                continue;
            }
            match digit(contents.get(item)) {
                Some(digit) => {
                    let word = if digit == 1 { "$true" } else { "$false" };
                    parameters.push(format!("-{name} {word}"));
                }
                None if matches!(item, Item::Setting(_)) => {
                    out.push_str(&format!("# {item}: not defined\r\n"));
                }
                None => {}
            }
        }
        if !parameters.is_empty() {
            out.push_str(&format!("{command} {} -Force\r\n", parameters.join(" ")));
        }
    }
    out
}
