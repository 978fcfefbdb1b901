//! The rules.

use super::{Finding, Hardening, Level, Status, Subject};
use crate::settings::{Setting, Settings, Value};

/// A rule.
pub struct Rule {
    /// Its name.
    pub id: &'static str,
    /// What is wrong where it fails.
    pub message: &'static str,
    /// What comes of it.
    pub consequence: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// How bad it is.
    pub level: Level,
    settings: &'static [Setting],
    judge: Judge,
}

/// How a rule looks.
enum Judge {
    /// At the settings alone.
    Settings(fn(&Settings) -> bool),
    /// At settings and configuration.
    Server(fn(&Settings, &Hardening) -> bool),
}

use Setting::{ClientAlways, ClientIfServerAgrees, ServerAlways, ServerIfClientAgrees};

fn off(settings: &Settings, two: [Setting; 2]) -> bool {
    two.iter().all(|one| !settings.get(*one).is_enabled())
}

const SERVER: [Setting; 2] = [ServerAlways, ServerIfClientAgrees];
const CLIENT: [Setting; 2] = [ClientAlways, ClientIfServerAgrees];

/// All rules, in the order of the documentation.
pub const RULES: &[Rule] = &[
    Rule {
        id: "all-off",
        message: "all four settings are off",
        consequence: "sessions are not signed: whoever can reach the wire can take them over, relay logons and alter data",
        remedy: "countersign policy set server-always=enabled client-always=enabled",
        level: Level::Error,
        settings: &Setting::ALL,
        judge: Judge::Settings(|settings| off(settings, SERVER) && off(settings, CLIENT)),
    },
    Rule {
        id: "server-off",
        message: "both settings of the server are off",
        consequence: "SMB1 sessions are never signed and clients that require it are refused; SMB 2 and 3 sessions are signed only where the client insists",
        remedy: "countersign policy set server-always=enabled",
        level: Level::Error,
        settings: &SERVER,
        judge: Judge::Settings(|settings| off(settings, SERVER)),
    },
    Rule {
        id: "client-off",
        message: "both settings of the client are off",
        consequence: "connections from here are signed only where the server insists, and in SMB1 such servers are refused",
        remedy: "countersign policy set client-always=enabled",
        level: Level::Warning,
        settings: &CLIENT,
        judge: Judge::Settings(|settings| off(settings, CLIENT)),
    },
    Rule {
        id: "server-gives-way",
        message: "the server signs where the client agrees, but does not require it",
        consequence: "whoever can alter traffic takes the offer out of it, and the session is unsigned (SMB1); in SMB 2 and 3 this setting has no effect at all, and logons can be relayed here",
        remedy: "countersign policy set server-always=enabled; `countersign audit what-if server-always=enabled` says who would be cut off",
        level: Level::Note,
        settings: &SERVER,
        judge: Judge::Settings(|settings| {
            !settings.server_always.is_enabled() && settings.server_if_client_agrees.is_enabled()
        }),
    },
    Rule {
        id: "client-gives-way",
        message: "the client signs where the server agrees, but does not require it",
        consequence: "whoever can alter traffic takes the offer out of it, or pretends to be a server that does not sign",
        remedy: "countersign policy set client-always=enabled",
        level: Level::Note,
        settings: &CLIENT,
        judge: Judge::Settings(|settings| {
            !settings.client_always.is_enabled() && settings.client_if_server_agrees.is_enabled()
        }),
    },
    Rule {
        id: "server-always-without-if-agrees",
        message: "server-always is enabled and server-if-client-agrees is not",
        consequence: "Countersign signs all the same, but a Windows server with these two values requires in SMB1 what it does not offer, and old clients cannot connect",
        remedy: "countersign policy set server-if-client-agrees=enabled",
        level: Level::Note,
        settings: &SERVER,
        judge: Judge::Settings(|settings| {
            settings.server_always.is_enabled() && !settings.server_if_client_agrees.is_enabled()
        }),
    },
    Rule {
        id: "client-always-without-if-agrees",
        message: "client-always is enabled and client-if-server-agrees is not",
        consequence: "Countersign signs all the same, but a Windows client with these two values does not offer in SMB1 what it requires",
        remedy: "countersign policy set client-if-server-agrees=enabled",
        level: Level::Note,
        settings: &CLIENT,
        judge: Judge::Settings(|settings| {
            settings.client_always.is_enabled() && !settings.client_if_server_agrees.is_enabled()
        }),
    },
    Rule {
        id: "smb1-always-without-if-agrees",
        message: "SMB1 is on, and server-always is enabled without server-if-client-agrees",
        consequence: "the two values disagree about SMB1; moved to a Windows server they shut old clients out",
        remedy: "countersign policy set server-if-client-agrees=enabled, or turn SMB1 off: `[dialects] smb1 = false`",
        level: Level::Warning,
        settings: &SERVER,
        judge: Judge::Server(|settings, server| {
            server.smb1
                && settings.server_always.is_enabled()
                && !settings.server_if_client_agrees.is_enabled()
        }),
    },
    Rule {
        id: "smb1",
        message: "SMB1 is on",
        consequence: "its signatures are 64 bits of MD5 under one key for all users of a connection, and nothing is encrypted",
        remedy: "`[dialects] smb1 = false`, or an exception for the devices that need it",
        level: Level::Warning,
        settings: &[],
        judge: Judge::Server(|_, server| server.smb1),
    },
    Rule {
        id: "smb1-unsigned",
        message: "SMB1 is on, and signing is not required",
        consequence: "SMB1 sessions can be taken over; nothing later in the protocol notices",
        remedy: "countersign policy set server-always=enabled, or `[dialects] smb1 = false`",
        level: Level::Error,
        settings: &SERVER,
        judge: Judge::Server(|settings, server| {
            server.smb1 && !settings.server_always.is_enabled()
        }),
    },
    Rule {
        id: "guests-under-required",
        message: "guests or null sessions are allowed while server-always is enabled",
        consequence: "they have no key to sign with, so they are refused: the configuration promises what the policy forbids",
        remedy: "`[authentication] guest = \"never\"` and `anonymous = false`, or an exception for the share that guests need",
        level: Level::Warning,
        settings: &[ServerAlways],
        judge: Judge::Server(|settings, server| {
            settings.server_always.is_enabled() && (server.guests || server.anonymous)
        }),
    },
    Rule {
        id: "guests",
        message: "guests or null sessions are allowed",
        consequence: "their sessions are never signed, and clients that require signing refuse to become guests",
        remedy: "`[authentication] guest = \"never\"` and `anonymous = false`",
        level: Level::Warning,
        settings: &[],
        judge: Judge::Server(|settings, server| {
            !settings.server_always.is_enabled() && (server.guests || server.anonymous)
        }),
    },
    Rule {
        id: "ntlmv1",
        message: "NTLMv1 is accepted",
        consequence: "the password's hash can be computed from one captured logon, and with it every signing key",
        remedy: "`[authentication] ntlmv1-smb1 = false` and `ntlmv1-smb2 = false`",
        level: Level::Error,
        settings: &[],
        judge: Judge::Server(|_, server| server.ntlmv1_smb1 || server.ntlmv1_smb2),
    },
    Rule {
        id: "lmv2",
        message: "an LMv2 response alone is accepted",
        consequence: "such logons carry neither a time nor the server's name, so they are easier to relay",
        remedy: "`[authentication] lm-v2 = false`",
        level: Level::Warning,
        settings: &[],
        judge: Judge::Server(|_, server| server.lm_v2),
    },
    Rule {
        id: "no-lock-out",
        message: "failed logons never lock an address out",
        consequence: "passwords can be guessed for as long as one likes; signing keys come from passwords",
        remedy: "`[authentication] lockout-after = 50`",
        level: Level::Warning,
        settings: &[],
        judge: Judge::Server(|_, server| server.lockout_after == 0),
    },
    Rule {
        id: "no-logon-delay",
        message: "failed logons are answered at once",
        consequence: "passwords can be guessed as fast as the network allows",
        remedy: "`[authentication] failed-logon-delay = \"2s\"`",
        level: Level::Warning,
        settings: &[],
        judge: Judge::Server(|_, server| server.failed_logon_delay == 0),
    },
    Rule {
        id: "declined",
        message: "both settings of a side off mean \"declined\" here",
        consequence: "clients that require signing in SMB1 are served, as by Samba; Windows refuses them",
        remedy: "`[policy] declined = false`, unless Samba's behaviour is wanted",
        level: Level::Note,
        settings: &[],
        judge: Judge::Server(|_, server| server.declined),
    },
    Rule {
        id: "kept-on-tighten",
        message: "sessions that a tightened policy would not let in are kept",
        consequence: "after signing is required, unsigned sessions go on until their clients leave",
        remedy: "`[policy] on-tighten = \"end\"`",
        level: Level::Note,
        settings: &[],
        judge: Judge::Server(|_, server| !server.ends_on_tighten),
    },
];

impl Rule {
    /// What it finds.
    pub fn finding(&self, subject: &Subject) -> Finding {
        let wrong = match (&self.judge, &subject.hardening) {
            (Judge::Settings(judge), _) if subject.template => {
                whatever_is_open(&subject.settings, *judge)
            }
            (Judge::Settings(judge), _) => Some(judge(&subject.settings)),
            (Judge::Server(judge), Some(hardening)) => Some(judge(&subject.settings, hardening)),
            (Judge::Server(_), None) => None,
        };
        Finding {
            rule: self.id.to_owned(),
            level: self.level,
            status: match wrong {
                Some(true) => Status::Failed,
                Some(false) => Status::Passed,
                None => Status::Unknown,
            },
            message: self.message.to_owned(),
            consequence: self.consequence.to_owned(),
            remedy: self.remedy.to_owned(),
            settings: self.settings.to_vec(),
            references: self
                .settings
                .iter()
                .map(|setting| format!("CIS {}", setting.cis()))
                .collect(),
        }
    }
}

/// The judgement that holds whatever the settings are that are not defined; nothing: it
/// depends on them.
fn whatever_is_open(settings: &Settings, judge: fn(&Settings) -> bool) -> Option<bool> {
    let mut cases = vec![*settings];
    for setting in Setting::ALL {
        if settings.get(setting) == Value::NotDefined {
            let both = |case: Settings| {
                [Value::Enabled, Value::Disabled].map(|value| case.with(setting, value))
            };
            cases = cases.into_iter().flat_map(both).collect();
        }
    }
    let mut verdicts = cases.iter().map(judge);
    let first = verdicts.next()?;
    verdicts.all(|one| one == first).then_some(first)
}

/// What comes of a setting that is off.
pub(super) const fn consequence(setting: Setting) -> &'static str {
    match setting {
        ServerAlways => {
            "clients that do not sign are served; their sessions can be taken over and logons relayed"
        }
        ServerIfClientAgrees => "SMB1 clients that can sign are not offered it",
        ClientAlways => "servers that do not sign are believed, also false ones",
        ClientIfServerAgrees => "SMB1 servers that can sign are not asked to",
    }
}
