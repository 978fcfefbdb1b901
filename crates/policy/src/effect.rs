//! What a setting in force does on each protocol family, in plain words.

use crate::layers::Effective;
use crate::settings::Setting;

impl Effective {
    /// What the setting, beside the others in force, does on SMB1.
    pub fn smb1_effect(&self, setting: Setting) -> &'static str {
        let on = self.get(setting).value.is_enabled();
        let other = |setting| self.get(setting).value.is_enabled();
        match setting {
            Setting::ServerAlways if on => "required: a client that cannot sign is refused",
            Setting::ClientAlways if on => "required: a server that cannot sign is refused",
            Setting::ServerAlways if other(Setting::ServerIfClientAgrees) => {
                "not required: server-if-client-agrees decides"
            }
            Setting::ClientAlways if other(Setting::ClientIfServerAgrees) => {
                "not required: client-if-server-agrees decides"
            }
            Setting::ServerAlways | Setting::ClientAlways => "not required",
            Setting::ServerIfClientAgrees if other(Setting::ServerAlways) => {
                "no effect: server-always requires signing"
            }
            Setting::ClientIfServerAgrees if other(Setting::ClientAlways) => {
                "no effect: client-always requires signing"
            }
            Setting::ServerIfClientAgrees if on => "signed when the client can sign",
            Setting::ClientIfServerAgrees if on => "signed when the server can sign",
            Setting::ServerIfClientAgrees if self.declined() => {
                "not offered, signed only when the client requires it"
            }
            Setting::ClientIfServerAgrees if self.declined() => {
                "not offered, signed only when the server requires it"
            }
            Setting::ServerIfClientAgrees => {
                "never signed: a client that requires signing is refused"
            }
            Setting::ClientIfServerAgrees => {
                "never signed: a server that requires signing is refused"
            }
        }
    }

    /// What the setting does on SMB 2 and 3.
    pub fn smb2_effect(&self, setting: Setting) -> &'static str {
        let on = self.get(setting).value.is_enabled();
        match setting {
            Setting::ServerAlways | Setting::ClientAlways if on => {
                "required: every session is signed or encrypted"
            }
            Setting::ServerAlways => "not required: signed when the client requires it",
            Setting::ClientAlways => "not required: signed when the server requires it",
            Setting::ServerIfClientAgrees | Setting::ClientIfServerAgrees => {
                "no effect: every peer can sign, only \"always\" counts"
            }
        }
    }
}
