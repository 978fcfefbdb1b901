//! What may stand in the configuration file. The reference is made of this.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use countersign_audit::KeepLimits;
use countersign_auth::GuestRule;
use countersign_core::config::{Dialect, Limits, LogonLimits, OemCodePage, OnTighten};
use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_policy::check::Hardening;
use countersign_policy::{Profile, Role, Settings, Value};

use super::fields::{Bytes, HashText, LogFormat};
use super::group_policy::GroupPolicySection;
use super::reader::section;
use crate::shell::ShellLimits;

/// The address a server listens on when nothing is said.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4450);

section! {
    /// One TOML file says everything. Every key has a default; unknown keys and bad
    /// values are refused with file, line and column. The file is read again on SIGHUP
    /// and when it changes; a file that is refused leaves the old configuration in force.
    pub struct Config in "" {
        /// Addresses to listen on, direct TCP; a change takes a restart. Port 0 takes a free one, and port 139
        /// speaks the NetBIOS session service.
        listen: Vec<SocketAddr> = vec![DEFAULT_LISTEN];
        /// Further addresses that speak the NetBIOS session service, whatever the port.
        listen_netbios: Vec<SocketAddr> = Vec::new();
        /// Addresses (UDP, usually port 137) that answer NetBIOS name queries. Only
        /// Windows 95 and its like need it; off when empty.
        listen_name_service: Vec<SocketAddr> = Vec::new();
        /// Folder for what the server keeps: users, local policy, its identity. Default:
        /// `$XDG_STATE_HOME/countersign`, else `~/.local/state/countersign`; as root
        /// `/var/lib/countersign`.
        state: Option<PathBuf> = None;
        /// The server's NetBIOS name, at most 15 characters. Default: the host's name.
        netbios_name: Option<String> = None;
        /// Workgroup.
        workgroup: String = "WORKGROUP".to_owned();
        /// Comment of the server in listings.
        comment: String = String::new();
        /// File of users; a relative path is relative to the state folder.
        user_file: PathBuf = PathBuf::from("users");
        /// The folders that are shared.
        share: Vec<ShareSection> = Vec::new();
        /// Users besides those of the user file.
        user: Vec<UserSection> = Vec::new();
        /// Dialects spoken.
        dialects: DialectSection = DialectSection::default();
        /// The signing policy.
        policy: PolicySection = PolicySection::default();
        /// Exceptions from the signing policy.
        exceptions: ExceptionSection = ExceptionSection::default();
        /// The audit.
        audit: AuditSection = AuditSection::default();
        /// Group Policy from Active Directory.
        group_policy: GroupPolicySection = GroupPolicySection::default();
        /// Signing.
        signing: SigningSection = SigningSection::default();
        /// Encryption.
        encryption: EncryptionSection = EncryptionSection::default();
        /// Who is let in, and how.
        authentication: AuthenticationSection = AuthenticationSection::default();
        /// Kerberos.
        kerberos: KerberosSection = KerberosSection::default();
        /// Limits.
        limits: LimitSection = LimitSection::default();
        /// The log.
        logging: LoggingSection = LoggingSection::default();
    }
}

section! {
    /// A shared folder.
    pub struct ShareSection in "share" {
        /// Name clients use; must be given. IPC$ always exists.
        name: String = String::new();
        /// The folder; must be given.
        path: PathBuf = PathBuf::new();
        /// Nothing may be changed.
        read_only: bool = false;
        /// Comment in listings.
        comment: String = String::new();
        /// Left out of listings, as are names that end in `$`.
        hidden: bool = false;
        /// Encryption is required; clients below SMB 3.0 are refused.
        encrypt: bool = false;
        /// Users that may connect, `@name` is a group; empty: every user.
        valid_users: Vec<String> = Vec::new();
        /// Users that may only read, `@name` is a group.
        read_only_users: Vec<String> = Vec::new();
        /// Guests may connect, if there are guests.
        guest: bool = false;
        /// Names compare with case.
        case_sensitive: bool = false;
        /// Files have alternate data streams.
        streams: bool = true;
        /// Files have 8.3 names.
        short_names: bool = true;
        /// Clients may cache (oplocks).
        oplocks: bool = true;
        /// Clients may cache (leases, SMB 2.1 and later).
        leases: bool = true;
        /// Opens survive a broken connection when clients ask for it.
        durable: bool = true;
    }
}

section! {
    /// A user besides those of the user file. The hash is as good as the password, so
    /// a file with users must be readable by the server alone.
    pub struct UserSection in "user" {
        /// Account name; must be given.
        name: String = String::new();
        /// NT hash of the password; must be given.
        nt_hash: Option<HashText> = None;
        /// Groups; members of `Administrators` administer.
        groups: Vec<String> = Vec::new();
        /// May not log on.
        disabled: bool = false;
    }
}

section! {
    /// Dialects spoken.
    pub struct DialectSection in "dialects" {
        /// SMB1 (NT LM 0.12) is spoken. Off unless old devices need it.
        smb1: bool = false;
        /// The lowest dialect; `"smb1"` turns SMB1 on.
        min: Dialect = Dialect::Smb202;
        /// The highest dialect; `"smb1"` speaks SMB1 alone.
        max: Dialect = Dialect::Smb311;
        /// Code page of SMB1 clients without Unicode.
        oem_code_page: OemCodePage = OemCodePage::default();
    }
}

section! {
    /// The signing policy: the weakest layers. See [policy.md](policy.md).
    pub struct PolicySection in "policy" {
        /// Defaults by name, see [profiles.md](profiles.md).
        profile: Profile = Profile::Secure;
        /// What this machine is; the defaults of some profiles depend on it.
        role: Role = Role::StandAlone;
        /// Microsoft network server: Digitally sign communications (if client agrees).
        server_if_client_agrees: Value = Value::NotDefined;
        /// Microsoft network server: Digitally sign communications (always).
        server_always: Value = Value::NotDefined;
        /// Microsoft network client: Digitally sign communications (if server agrees).
        client_if_server_agrees: Value = Value::NotDefined;
        /// Microsoft network client: Digitally sign communications (always).
        client_always: Value = Value::NotDefined;
        /// What happens to live sessions that a tightened policy would no longer let in.
        on_tighten: OnTighten = OnTighten::End;
        /// SMB1: with both settings of a side off, still sign when the peer requires it
        /// (as smbd does) instead of refusing.
        declined: bool = false;
    }
}

impl Config {
    /// What of it `policy check` looks at, besides the four settings.
    pub fn hardening(&self) -> Hardening {
        let authentication = &self.authentication;
        Hardening {
            smb1: self.dialects.speaks(Dialect::Smb1),
            declined: self.policy.declined,
            ntlmv1_smb1: authentication.ntlmv1_smb1,
            ntlmv1_smb2: authentication.ntlmv1_smb2,
            lm_v2: authentication.lm_v2,
            guests: authentication.guest != GuestRule::Never,
            anonymous: authentication.anonymous,
            lockout_after: authentication.lockout_after,
            failed_logon_delay: u64::try_from(authentication.failed_logon_delay.as_millis())
                .unwrap_or(u64::MAX),
            ends_on_tighten: self.policy.on_tighten == OnTighten::End,
        }
    }
}

impl DialectSection {
    /// Whether a dialect is spoken.
    pub fn speaks(&self, dialect: Dialect) -> bool {
        match dialect {
            Dialect::Smb1 => self.smb1 || self.min == Dialect::Smb1 || self.max == Dialect::Smb1,
            _ => (self.min..=self.max).contains(&dialect),
        }
    }
}

impl PolicySection {
    /// The four values.
    pub fn settings(&self) -> Settings {
        Settings {
            server_if_client_agrees: self.server_if_client_agrees,
            server_always: self.server_always,
            client_if_server_agrees: self.client_if_server_agrees,
            client_always: self.client_always,
        }
    }
}

section! {
    /// Exceptions from the signing policy: `countersign exception`, see
    /// [exceptions.md](exceptions.md).
    pub struct ExceptionSection in "exceptions" {
        /// Exceptions have an effect. Group Policy may forbid them whatever is said here.
        allow: bool = true;
    }
}

section! {
    /// Records of every peer, and events: see [audit.md](audit.md). The keys that begin
    /// with `audit-` are Windows' switches of these names.
    pub struct AuditSection in "audit" {
        /// Peers are recorded in `audit.db` in the state folder, and events written; a
        /// change takes a restart. Changes of the policy are reported in any case.
        enabled: bool = true;
        /// Days a record is kept.
        keep_days: u32 = KeepLimits::default().days;
        /// Records kept; beyond it those of the longest unseen peers go.
        keep_records: usize = 200_000;
        /// MiB the records may take; beyond it those of the longest unseen peers go.
        keep_mib: u32 = 256;
        /// Notes that may wait to be written; further ones are dropped and counted. A
        /// change takes a restart.
        queue: usize = 8192;
        /// AuditSmb1Access: an event (3000) for every SMB1 session and attempt.
        audit_smb1_access: bool = true;
        /// AuditClientDoesNotSupportSigning: an event (3021) for clients that do not sign
        /// though they were told that they can or must.
        audit_client_does_not_support_signing: bool = true;
        /// AuditClientDoesNotSupportEncryption: an event (3022) for clients that cannot encrypt.
        audit_client_does_not_support_encryption: bool = false;
        /// AuditInsecureGuestLogon: an event for every guest.
        audit_insecure_guest_logon: bool = true;
        /// Client commands, AuditServerDoesNotSupportSigning: an event (31998) for servers
        /// that do not sign.
        audit_server_does_not_support_signing: bool = true;
        /// Client commands, AuditServerDoesNotSupportEncryption: an event (31999) for
        /// servers that cannot encrypt.
        audit_server_does_not_support_encryption: bool = false;
        /// Client commands, AuditInsecureGuestLogon: an event for every server that makes a
        /// guest of the user.
        audit_client_insecure_guest_logon: bool = true;
        /// File that gets every event as a line of JSON; a relative path is relative to the
        /// state folder.
        json: Option<PathBuf> = None;
        /// Syslog (RFC 5424) that gets every event: a socket as `/dev/log`, or
        /// `udp://ADDRESS:PORT`.
        syslog: Option<String> = None;
        /// Events go to journald.
        journald: bool = false;
    }
}

section! {
    /// Signing. Whether to sign is the policy's question.
    pub struct SigningSection in "signing" {
        /// Signing algorithms of SMB 3.1.1, best first. Without a common one AES-128-CMAC
        /// is used.
        algorithms: Vec<SigningAlgorithm> = vec![
            SigningAlgorithm::AesGmac,
            SigningAlgorithm::AesCmac,
            SigningAlgorithm::HmacSha256,
        ];
    }
}

section! {
    /// Encryption, SMB 3.0 and later.
    pub struct EncryptionSection in "encryption" {
        /// Every session must be encrypted; clients below SMB 3.0 are refused.
        required: bool = false;
        /// Ciphers, best first; an empty list turns encryption off. SMB 3.0 and 3.0.2
        /// know AES-128-CCM only.
        ciphers: Vec<Cipher> = vec![
            Cipher::Aes128Gcm,
            Cipher::Aes128Ccm,
            Cipher::Aes256Gcm,
            Cipher::Aes256Ccm,
        ];
    }
}

section! {
    /// Who is let in, and how. LM is never accepted.
    pub struct AuthenticationSection in "authentication" {
        /// NTLM at all. Off, only Kerberos is left: `kerberos.keytab` must be set.
        ntlm: bool = true;
        /// NTLMv1 over SMB1, with and without extended session security.
        ntlmv1_smb1: bool = false;
        /// NTLMv1 over SMB 2 and 3.
        ntlmv1_smb2: bool = false;
        /// NTLMv2 without extended security, as old SMB1 clients send it.
        classic_ntlmv2: bool = true;
        /// An LMv2 response alone, as DOS and Windows 9x send it.
        lm_v2: bool = false;
        /// Anonymous sessions exist and may use IPC$. Never where the policy requires
        /// signing.
        anonymous: bool = false;
        /// Who becomes a guest. Never where the policy requires signing.
        guest: GuestRule = GuestRule::Never;
        /// Time before a failed logon is answered.
        failed_logon_delay: Duration = LogonLimits::default().delay;
        /// Failed logons in a row from one address after which it is locked out; 0: never.
        /// Some clients try tens of times with one wrong password.
        lockout_after: u32 = LogonLimits::default().lockout_failures;
        /// How long an address is locked out.
        lockout_for: Duration = LogonLimits::default().lockout_time;
    }
}

section! {
    /// Kerberos: users of an Active Directory domain log on with tickets. Needs MIT's
    /// library (package libgssapi-krb5-2, or krb5-libs). See [kerberos.md](kerberos.md).
    pub struct KerberosSection in "kerberos" {
        /// File of the keys of `cifs/HOST`; Kerberos is off without. Read again for every
        /// logon, so that a key added to it works at once.
        keytab: Option<PathBuf> = None;
        /// The principal whose key opens tickets, as `"cifs/files.example.com"`. Default: any
        /// whose key is in the keytab.
        principal: Option<String> = None;
        /// File that remembers what clients have sent, so that nothing is accepted twice.
        /// Default: the one that all services of this machine's user share.
        replay_cache: Option<PathBuf> = None;
    }
}

section! {
    /// Limits. What is beyond one is refused with the status the protocol has for it,
    /// or disconnected.
    pub struct LimitSection in "limits" {
        /// Connections at once; further ones are closed. This and the next four take a
        /// restart.
        connections: usize = ShellLimits::default().connections;
        /// Connections at once from one address.
        connections_per_address: usize = ShellLimits::default().connections_per_address;
        /// Replies waiting to be sent on one connection before it is no longer read from.
        queued_output: Bytes = Bytes(16 << 20);
        /// Time without a byte in the middle of a frame.
        stalled_frame: Duration = ShellLimits::default().stalled_frame;
        /// Time without progress in sending.
        stalled_output: Duration = ShellLimits::default().stalled_output;
        /// Largest READ, WRITE and TRANSACT of SMB 2.1 and later.
        max_transact: Bytes = Bytes(u64::from(Limits::default().max_transact));
        /// SMB1 MaxBufferSize.
        smb1_buffer: Bytes = Bytes(u64::from(Limits::default().smb1_buffer));
        /// SMB1 MaxMpxCount.
        smb1_mpx: u16 = Limits::default().smb1_mpx;
        /// Sessions on one connection.
        sessions_per_connection: usize = Limits::default().sessions_per_connection;
        /// Channels (connections) of one session.
        channels_per_session: usize = Limits::default().channels_per_session;
        /// Tree connects of one session.
        trees_per_session: usize = Limits::default().trees_per_session;
        /// Opens of one session.
        opens_per_session: usize = Limits::default().opens_per_session;
        /// Credits one connection may hold.
        credits: u16 = Limits::default().credits;
        /// Calls of one connection that wait for an answer.
        pending_calls: usize = Limits::default().pending_calls;
        /// Commands in one compound or AndX chain.
        chain_length: usize = Limits::default().chain_length;
        /// Searches open at once in one SMB1 session.
        smb1_searches: usize = Limits::default().smb1_searches;
        /// How long an SMB1 open that share modes refuse is tried again before the client is told.
        smb1_share_delay: Duration = Limits::default().smb1_share_delay;
        /// SMB1 transactions being put together from secondaries, per connection.
        smb1_transaction_bytes: Bytes = Bytes(4 << 20);
        /// Longest frame before a session exists.
        first_frames: Bytes = Bytes(128 << 10);
        /// Time a connection may stay without a session.
        unauthenticated: Duration = Limits::default().unauthenticated;
        /// Size of one security token.
        token_bytes: Bytes = Bytes(64 << 10);
    }
}

section! {
    /// The log, on standard error. A change of `format` takes a restart.
    pub struct LoggingSection in "logging" {
        /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives such
        /// as `info,countersign_core=debug`.
        filter: String = "info".to_owned();
        /// How.
        format: LogFormat = LogFormat::Text;
    }
}
