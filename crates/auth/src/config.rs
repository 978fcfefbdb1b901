//! Authentication rules, and the names a server gives itself.

use std::sync::Arc;

use crate::kerberos::KerberosService;
use crate::sid::MachineSid;

/// Everything an [`Acceptor`](crate::Acceptor) must know about its server.
#[derive(Debug, Clone, Default)]
pub struct AuthConfig {
    /// Names sent in CHALLENGE and used in identities.
    pub names: ServerNames,
    /// The machine's SID: local users are relative to it.
    pub machine_sid: MachineSid,
    /// Which forms of NTLM and which identities are let in.
    pub rules: NtlmRules,
    /// The keys for Kerberos, where it is configured.
    pub kerberos: Option<Arc<dyn KerberosService>>,
}

/// The server's names, [MS-NLMP] 2.2.2.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerNames {
    /// NetBIOS name of the computer (MsvAvNbComputerName).
    pub netbios_computer: String,
    /// NetBIOS name of the domain (MsvAvNbDomainName); a stand-alone server's own name.
    pub netbios_domain: String,
    /// DNS name of the computer (MsvAvDnsComputerName).
    pub dns_computer: String,
    /// DNS name of the domain (MsvAvDnsDomainName); empty when stand-alone.
    pub dns_domain: String,
    /// Member of a domain: CHALLENGE says TARGET_TYPE_DOMAIN instead of SERVER.
    pub domain_member: bool,
}

impl ServerNames {
    /// Names of a stand-alone server: the domain is the computer itself.
    pub fn stand_alone(netbios_computer: &str) -> Self {
        Self {
            netbios_computer: netbios_computer.to_uppercase(),
            netbios_domain: netbios_computer.to_uppercase(),
            dns_computer: netbios_computer.to_lowercase(),
            dns_domain: String::new(),
            domain_member: false,
        }
    }
}

impl Default for ServerNames {
    fn default() -> Self {
        Self::stand_alone("COUNTERSIGN")
    }
}

/// Which logons are let in. LM responses are never accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NtlmRules {
    /// NTLM at all. Default on.
    pub ntlm: bool,
    /// NTLMv1, with and without extended session security, over SMB1. Default off.
    pub ntlmv1_smb1: bool,
    /// NTLMv1, with and without extended session security, over SMB2 and later. Default off.
    pub ntlmv1_smb2: bool,
    /// NTLMv2 in a SESSION_SETUP without extended security (SMB1). Default on.
    pub classic_ntlmv2: bool,
    /// An LMv2 response alone, without an NTLMv2 one (DOS and Windows 9x with the
    /// directory services client). Default off.
    pub lm_v2: bool,
    /// Anonymous logons succeed (what they may use is decided elsewhere). Default off.
    pub anonymous: bool,
    /// Who becomes a guest. Default nobody.
    pub guest: GuestRule,
}

impl Default for NtlmRules {
    fn default() -> Self {
        Self {
            ntlm: true,
            ntlmv1_smb1: false,
            ntlmv1_smb2: false,
            classic_ntlmv2: true,
            lm_v2: false,
            anonymous: false,
            guest: GuestRule::Never,
        }
    }
}

/// Who becomes a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GuestRule {
    /// Nobody.
    #[default]
    Never,
    /// Names that are not in the user directory.
    UnknownUser,
    /// Unknown names, and known names with a wrong password.
    BadPassword,
}
