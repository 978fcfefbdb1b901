//! PowerShell Desired State Configuration: SecurityOption of the module
//! SecurityPolicyDsc, and Registry for the audit switches.

use super::item::digit;
use super::{Contents, Item};
use crate::settings::Setting;

/// The property of SecurityOption.
const fn property(setting: Setting) -> &'static str {
    match setting {
        Setting::ServerIfClientAgrees => {
            "Microsoft_network_server_Digitally_sign_communications_if_client_agrees"
        }
        Setting::ServerAlways => "Microsoft_network_server_Digitally_sign_communications_always",
        Setting::ClientIfServerAgrees => {
            "Microsoft_network_client_Digitally_sign_communications_if_server_agrees"
        }
        Setting::ClientAlways => "Microsoft_network_client_Digitally_sign_communications_always",
    }
}

/// Writes a configuration.
pub fn emit(contents: &Contents) -> String {
    let mut options = String::new();
    for setting in Setting::ALL {
        if let Some(digit) = digit(contents.get(Item::Setting(setting))) {
            let word = if digit == 1 { "Enabled" } else { "Disabled" };
            options.push_str(&format!("            {} = '{word}'\r\n", property(setting)));
        }
    }
    let mut body = String::new();
    if !options.is_empty() {
        body.push_str(&format!(
            "        SecurityOption SmbSigning\r\n        {{\r\n            Name = 'SmbSigning'\r\n{options}        }}\r\n"
        ));
    }
    for item in Item::all() {
        let (Item::Audit(switch), Some(digit)) = (item, digit(contents.get(item))) else {
            continue;
        };
        let location = item.location();
        let side = if switch.of_server() {
            "Server"
        } else {
            "Client"
        };
        body.push_str(&format!(
            "        Registry '{side}{}'\r\n        {{\r\n            Key       = 'HKEY_LOCAL_MACHINE\\{}'\r\n            ValueName = '{}'\r\n            ValueType = 'Dword'\r\n            ValueData = '{digit}'\r\n            Ensure    = 'Present'\r\n        }}\r\n",
            location.value, location.key, location.value
        ));
    }
    format!(
        "Configuration SmbSigning\r\n{{\r\n    Import-DscResource -ModuleName SecurityPolicyDsc\r\n    Import-DscResource -ModuleName PSDesiredStateConfiguration\r\n\r\n    Node localhost\r\n    {{\r\n{body}    }}\r\n}}\r\n"
    )
}
