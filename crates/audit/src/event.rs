//! Events, by the names and ids of Windows' audit switches where it has them.

use crate::record::{Outcome, Way};
use crate::time::rfc3339_ms;

/// Windows' audit switches of the server (Set-SmbServerConfiguration, and
/// `Software\Policies\Microsoft\Windows\LanmanServer` in Registry.pol).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switches {
    /// AuditSmb1Access: event 3000.
    pub smb1_access: bool,
    /// AuditClientDoesNotSupportSigning: event 3021.
    pub client_does_not_support_signing: bool,
    /// AuditClientDoesNotSupportEncryption: event 3022.
    pub client_does_not_support_encryption: bool,
    /// AuditInsecureGuestLogon.
    pub insecure_guest_logon: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            smb1_access: true,
            client_does_not_support_signing: true,
            client_does_not_support_encryption: false,
            insecure_guest_logon: true,
        }
    }
}

/// How grave an event is, as syslog has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// 4.
    Warning = 4,
    /// 5.
    Notice = 5,
    /// 6.
    Informational = 6,
}

/// Windows' channel.
const WINDOWS: &str = "Microsoft-Windows-SMBServer/Audit";
/// Ours, for what Windows has no event for.
const OWN: &str = "Countersign/Audit";

/// An event for the sinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// The channel.
    pub channel: &'static str,
    /// Its name: of the switch, or of ours.
    pub name: &'static str,
    /// Windows' event id, where there is a public one.
    pub id: Option<u16>,
    /// How grave.
    pub severity: Severity,
    /// One line for people.
    pub text: String,
    /// Names (in lower case) and values.
    pub fields: Vec<(&'static str, String)>,
}

impl AuditEvent {
    /// An event of ours.
    pub fn own(
        at_ms: u64,
        name: &'static str,
        severity: Severity,
        text: String,
        fields: Vec<(&'static str, String)>,
    ) -> Self {
        Self {
            at_ms,
            channel: OWN,
            name,
            id: None,
            severity,
            text,
            fields,
        }
    }

    /// One JSON object.
    pub fn to_json(&self) -> String {
        let mut object = serde_json::Map::new();
        object.insert("time".to_owned(), rfc3339_ms(self.at_ms).into());
        object.insert("channel".to_owned(), self.channel.into());
        object.insert("event".to_owned(), self.name.into());
        object.insert("id".to_owned(), self.id.into());
        object.insert("message".to_owned(), self.text.clone().into());
        for (name, value) in &self.fields {
            object.insert((*name).to_owned(), value.clone().into());
        }
        serde_json::Value::Object(object).to_string()
    }
}

/// The fields that say which peer it was.
pub(crate) fn peer_fields(way: &Way) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("client", way.address.to_string()),
        ("machine", way.machine.clone()),
        ("user", way.user.clone()),
        ("dialect", way.dialect.clone()),
        ("outcome", way.outcome.name().to_owned()),
        ("reason", way.reason.clone()),
    ];
    fields.retain(|(_, value)| !value.is_empty());
    fields
}

/// What a peer's coming is worth telling of.
pub fn events_of(at_ms: u64, way: &Way, switches: &Switches) -> Vec<AuditEvent> {
    let mut events = Vec::new();
    let who = match (way.user.as_str(), way.machine.as_str()) {
        ("", "") => way.address.to_string(),
        (user, "") => format!("{} ({user})", way.address),
        (user, machine) => format!("{} ({machine}, {user})", way.address),
    };
    let mut tell = |on: bool, name, id, severity, text: String| {
        if on {
            events.push(AuditEvent {
                at_ms,
                channel: WINDOWS,
                name,
                id,
                severity,
                text,
                fields: peer_fields(way),
            });
        }
    };
    let smb1 = way.dialect == "smb1" || way.reason == "smb1-off";
    tell(
        switches.smb1_access && smb1,
        "AuditSmb1Access",
        Some(3000),
        Severity::Warning,
        format!("SMB1 access by {who}"),
    );
    // Every implementation of SMB 2 and 3 must sign; one that was told to and did not, cannot.
    let cannot_sign = match way.dialect.as_str() {
        // Where signing is required, an SMB1 client's next message shows whether it can,
        // whatever it says.
        "smb1" => {
            let silent = !way.can_sign && !way.insists;
            match way.outcome {
                Outcome::Accepted => way.announced && silent && !way.signing_required,
                Outcome::Refused => {
                    way.reason == "no-key-under-required" || silent && way.reason == "bad-signature"
                }
            }
        }
        _ => matches!(
            way.reason.as_str(),
            "unsigned-on-required" | "tree-connect-unsigned"
        ),
    };
    tell(
        switches.client_does_not_support_signing && cannot_sign,
        "AuditClientDoesNotSupportSigning",
        Some(3021),
        Severity::Warning,
        format!("{who} does not sign"),
    );
    let cannot_encrypt = way.outcome == Outcome::Accepted && way.cipher.is_empty();
    tell(
        switches.client_does_not_support_encryption && cannot_encrypt,
        "AuditClientDoesNotSupportEncryption",
        Some(3022),
        Severity::Notice,
        format!("{who} does not encrypt"),
    );
    tell(
        switches.insecure_guest_logon && way.identity == "guest",
        "AuditInsecureGuestLogon",
        None,
        Severity::Warning,
        format!("guest logon by {who}"),
    );
    events
}
