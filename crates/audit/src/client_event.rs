//! Events of the client: servers that cannot do something, by the names of Windows'
//! audit switches.

use crate::event::{AuditEvent, Severity};

/// Windows' channel.
const WINDOWS: &str = "Microsoft-Windows-SMBClient/Audit";

/// Windows' audit switches of the client (Set-SmbClientConfiguration, and
/// `Software\Policies\Microsoft\Windows\LanmanWorkstation` in Registry.pol).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientSwitches {
    /// AuditServerDoesNotSupportSigning: event 31998.
    pub server_does_not_support_signing: bool,
    /// AuditServerDoesNotSupportEncryption: event 31999.
    pub server_does_not_support_encryption: bool,
    /// AuditInsecureGuestLogon.
    pub insecure_guest_logon: bool,
}

impl ClientSwitches {
    /// Some event may be written.
    pub fn any(&self) -> bool {
        self.server_does_not_support_signing
            || self.server_does_not_support_encryption
            || self.insecure_guest_logon
    }
}

/// A server as a client met it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerSeen {
    /// As it was named.
    pub server: String,
    /// Who logged on.
    pub user: String,
    /// The dialect; empty: none was agreed on.
    pub dialect: String,
    /// It signs, or says that it can (SMB 2 and 3 always can).
    pub can_sign: bool,
    /// A cipher was agreed on, or none was asked for.
    pub can_encrypt: bool,
    /// The logon came out as a guest's.
    pub guest: bool,
    /// Why the client gave up, if it did.
    pub failure: Option<String>,
}

/// What a meeting with a server is worth telling of.
pub fn client_events(at_ms: u64, seen: &ServerSeen, switches: &ClientSwitches) -> Vec<AuditEvent> {
    let mut fields = vec![
        ("server", seen.server.clone()),
        ("user", seen.user.clone()),
        ("dialect", seen.dialect.clone()),
        ("failure", seen.failure.clone().unwrap_or_default()),
    ];
    fields.retain(|(_, value)| !value.is_empty());
    let mut events = Vec::new();
    let mut tell = |on: bool, name, id, severity, text: &str| {
        if on {
            events.push(AuditEvent {
                at_ms,
                channel: WINDOWS,
                name,
                id,
                severity,
                text: format!("{} {text}", seen.server),
                fields: fields.clone(),
            });
        }
    };
    tell(
        switches.server_does_not_support_signing && !seen.can_sign,
        "AuditServerDoesNotSupportSigning",
        Some(31998),
        Severity::Warning,
        "does not support signing",
    );
    tell(
        switches.server_does_not_support_encryption && !seen.can_encrypt,
        "AuditServerDoesNotSupportEncryption",
        Some(31999),
        Severity::Notice,
        "does not support encryption",
    );
    tell(
        switches.insecure_guest_logon && seen.guest,
        "AuditInsecureGuestLogon",
        None,
        Severity::Warning,
        "made a guest of the user",
    );
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_windows_names_and_ids_and_obey_their_switches() {
        let worst = ServerSeen {
            server: "nas".to_owned(),
            user: "bob".to_owned(),
            dialect: "smb1".to_owned(),
            guest: true,
            ..ServerSeen::default()
        };
        let all = ClientSwitches {
            server_does_not_support_signing: true,
            server_does_not_support_encryption: true,
            insecure_guest_logon: true,
        };
        let ids: Vec<_> = client_events(1, &worst, &all)
            .iter()
            .map(|event| (event.name, event.id, event.channel))
            .collect();
        assert_eq!(
            ids,
            [
                ("AuditServerDoesNotSupportSigning", Some(31998), WINDOWS),
                ("AuditServerDoesNotSupportEncryption", Some(31999), WINDOWS),
                ("AuditInsecureGuestLogon", None, WINDOWS),
            ]
        );
        assert!(all.any() && !ClientSwitches::default().any());
        assert!(client_events(1, &worst, &ClientSwitches::default()).is_empty());
        let best = ServerSeen {
            can_sign: true,
            can_encrypt: true,
            guest: false,
            ..worst
        };
        assert!(client_events(1, &best, &all).is_empty());
    }
}
