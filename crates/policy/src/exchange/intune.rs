//! Policy CSP of Intune and other device managers, as SyncML.

use super::item::digit;
use super::{Contents, Item};
use crate::audit_switch::AuditSwitch;
use crate::settings::Setting;

const BASE: &str = "./Device/Vendor/MSFT/Policy/Config";

/// The node of an item; nothing: it has none.
fn node(item: Item) -> Option<String> {
    let options = |name: &str| Some(format!("{BASE}/LocalPoliciesSecurityOptions/{name}"));
    match item {
        Item::Setting(Setting::ServerIfClientAgrees) => {
            options("MicrosoftNetworkServer_DigitallySignCommunicationsIfClientAgrees")
        }
        Item::Setting(Setting::ServerAlways) => {
            options("MicrosoftNetworkServer_DigitallySignCommunicationsAlways")
        }
        Item::Setting(Setting::ClientIfServerAgrees) => {
            options("MicrosoftNetworkClient_DigitallySignCommunicationsIfServerAgrees")
        }
        Item::Setting(Setting::ClientAlways) => {
            options("MicrosoftNetworkClient_DigitallySignCommunicationsAlways")
        }
        Item::Audit(AuditSwitch::Smb1Access) => None,
        Item::Audit(switch) => {
            let area = if switch.of_server() {
                "LanmanServer"
            } else {
                "LanmanWorkstation"
            };
            Some(format!("{BASE}/{area}/{}", switch.windows_name()))
        }
    }
}

/// Writes a message that sets what is said.
pub fn emit(contents: &Contents) -> String {
    let mut body = String::new();
    let mut number = 0;
    for item in Item::all() {
        let Some(digit) = digit(contents.get(item)) else {
            continue;
        };
        let Some(node) = node(item) else {
            body.push_str(&format!("    <!-- {item}: has no node in Policy CSP -->\n"));
            continue;
        };
        number += 1;
        body.push_str(&format!(
            "    <Replace>\n      <CmdID>{number}</CmdID>\n      <Item>\n        <Target>\n          <LocURI>{node}</LocURI>\n        </Target>\n        <Meta>\n          <Format xmlns=\"syncml:metinf\">int</Format>\n          <Type xmlns=\"syncml:metinf\">text/plain</Type>\n        </Meta>\n        <Data>{digit}</Data>\n      </Item>\n    </Replace>\n"
        ));
    }
    format!(
        "<SyncML xmlns=\"SYNCML:SYNCML1.2\">\n  <SyncBody>\n{body}    <Final/>\n  </SyncBody>\n</SyncML>\n"
    )
}
