//! The audit switches of Windows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::settings::{ParseError, parse_by_name};

/// A switch for events about peers that cannot do something (Set-SmbServerConfiguration
/// and Set-SmbClientConfiguration; Administrative Templates\Network\Lanman Server and
/// \Lanman Workstation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditSwitch {
    /// Server: a client that cannot sign.
    ClientDoesNotSupportSigning,
    /// Server: a client that cannot encrypt.
    ClientDoesNotSupportEncryption,
    /// Server: a guest logon.
    ServerInsecureGuestLogon,
    /// Server: SMB1 was used.
    Smb1Access,
    /// Client: a server that cannot sign.
    ServerDoesNotSupportSigning,
    /// Client: a server that cannot encrypt.
    ServerDoesNotSupportEncryption,
    /// Client: it was made a guest.
    ClientInsecureGuestLogon,
}

impl AuditSwitch {
    /// All.
    pub const ALL: [AuditSwitch; 7] = [
        AuditSwitch::ClientDoesNotSupportSigning,
        AuditSwitch::ClientDoesNotSupportEncryption,
        AuditSwitch::ServerInsecureGuestLogon,
        AuditSwitch::Smb1Access,
        AuditSwitch::ServerDoesNotSupportSigning,
        AuditSwitch::ServerDoesNotSupportEncryption,
        AuditSwitch::ClientInsecureGuestLogon,
    ];

    /// The short name.
    pub const fn name(self) -> &'static str {
        match self {
            AuditSwitch::ClientDoesNotSupportSigning => "client-does-not-support-signing",
            AuditSwitch::ClientDoesNotSupportEncryption => "client-does-not-support-encryption",
            AuditSwitch::ServerInsecureGuestLogon => "server-insecure-guest-logon",
            AuditSwitch::Smb1Access => "smb1-access",
            AuditSwitch::ServerDoesNotSupportSigning => "server-does-not-support-signing",
            AuditSwitch::ServerDoesNotSupportEncryption => "server-does-not-support-encryption",
            AuditSwitch::ClientInsecureGuestLogon => "client-insecure-guest-logon",
        }
    }

    /// The name Windows gives it, as registry value and as parameter.
    pub const fn windows_name(self) -> &'static str {
        match self {
            AuditSwitch::ClientDoesNotSupportSigning => "AuditClientDoesNotSupportSigning",
            AuditSwitch::ClientDoesNotSupportEncryption => "AuditClientDoesNotSupportEncryption",
            AuditSwitch::ServerInsecureGuestLogon | AuditSwitch::ClientInsecureGuestLogon => {
                "AuditInsecureGuestLogon"
            }
            AuditSwitch::Smb1Access => "AuditSmb1Access",
            AuditSwitch::ServerDoesNotSupportSigning => "AuditServerDoesNotSupportSigning",
            AuditSwitch::ServerDoesNotSupportEncryption => "AuditServerDoesNotSupportEncryption",
        }
    }

    /// It belongs to the server (else to the client).
    pub const fn of_server(self) -> bool {
        matches!(
            self,
            AuditSwitch::ClientDoesNotSupportSigning
                | AuditSwitch::ClientDoesNotSupportEncryption
                | AuditSwitch::ServerInsecureGuestLogon
                | AuditSwitch::Smb1Access
        )
    }
}

impl fmt::Display for AuditSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

parse_by_name!(AuditSwitch, "audit switch");
