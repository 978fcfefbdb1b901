//! From a configuration to the snapshot the engines see.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_auth::{
    AuthConfig, GuestRule, KerberosService, MachineSid, NtlmRules, ServerNames, UserDirectory,
};
use countersign_core::config::{Dialect, Limits, LogonLimits, ShareConfig};
use countersign_core::{ServerConfig, Transport};
use countersign_fs::{Backend, Share, ShareOptions};
use countersign_localfs::{LocalFs, LocalOptions};
use countersign_policy::Effective;

use super::schema::{Config, LimitSection, ShareSection};
use crate::shell::{Listen, ShellLimits};
use crate::state::ServerIdentity;

/// What decides whether two versions of a share are the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ShareKey {
    name: String,
    path: PathBuf,
    options: String,
}

/// The shares of a process. A share that a new configuration leaves as it is
/// stays the same object, so that its opens, locks and leases live on.
#[derive(Default)]
pub struct Shares {
    open: HashMap<ShareKey, Arc<Share>>,
}

impl Shares {
    /// The shares of a configuration; those not named any more are forgotten.
    ///
    /// # Errors
    /// Which folder cannot be shared, and why.
    pub fn open(&mut self, config: &Config) -> Result<Vec<ShareConfig>, String> {
        let mut kept = HashMap::new();
        let mut shares = Vec::new();
        for section in &config.share {
            let options = share_options(section);
            let key = ShareKey {
                name: section.name.clone(),
                path: section.path.clone(),
                options: format!("{options:?}"),
            };
            let share = match self.open.get(&key) {
                Some(share) => Arc::clone(share),
                None => Arc::new(Share {
                    name: section.name.clone(),
                    backend: backend(section)?,
                    options,
                }),
            };
            kept.insert(key, Arc::clone(&share));
            shares.push(ShareConfig {
                share,
                comment: section.comment.clone(),
                hidden: section.hidden || section.name.ends_with('$'),
                encrypt: section.encrypt,
                valid_users: section.valid_users.clone(),
                read_only_users: section.read_only_users.clone(),
                guest_ok: section.guest,
            });
        }
        self.open = kept;
        Ok(shares)
    }
}

fn share_options(section: &ShareSection) -> ShareOptions {
    ShareOptions {
        read_only: section.read_only,
        case_sensitive: section.case_sensitive,
        short_names: section.short_names,
        streams: section.streams,
        oplocks: section.oplocks,
        leases: section.leases,
        directory_leases: section.leases,
        durable: section.durable,
        ..ShareOptions::default()
    }
}

fn backend(section: &ShareSection) -> Result<Arc<dyn Backend>, String> {
    let options = LocalOptions {
        label: section.name.clone(),
        short_names: section.short_names,
        ..LocalOptions::default()
    };
    match LocalFs::open(&section.path, options) {
        Ok(folder) => Ok(folder),
        Err(error) => Err(format!(
            "share `{}`: cannot open the folder {}: {error}",
            section.name,
            section.path.display()
        )),
    }
}

/// What a snapshot is made of.
pub struct Parts<'a> {
    /// File and flags together.
    pub config: &'a Config,
    /// The server's identity.
    pub identity: &'a ServerIdentity,
    /// The policy in force.
    pub policy: Effective,
    /// The users.
    pub users: Arc<dyn UserDirectory>,
    /// The shares.
    pub shares: Vec<ShareConfig>,
    /// The keys for Kerberos.
    pub kerberos: Option<Arc<dyn KerberosService>>,
}

/// The addresses to listen on.
pub fn listeners(config: &Config) -> Vec<Listen> {
    let netbios = |address: &_| Listen {
        address: *address,
        transport: Transport::NetBios,
    };
    config
        .listen
        .iter()
        .map(|address| Listen::new(*address))
        .chain(config.listen_netbios.iter().map(netbios))
        .collect()
}

/// The limits of the transport.
pub fn shell_limits(limits: &LimitSection) -> ShellLimits {
    ShellLimits {
        connections: limits.connections,
        connections_per_address: limits.connections_per_address,
        queued_output: size(limits.queued_output.0),
        stalled_frame: limits.stalled_frame,
        stalled_output: limits.stalled_output,
        ..ShellLimits::default()
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn size32(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The host's name, as a NetBIOS name has it.
fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    let name: String = name
        .split('.')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(15)
        .collect();
    if name.is_empty() {
        "COUNTERSIGN".to_owned()
    } else {
        name.to_uppercase()
    }
}

/// The server's NetBIOS name.
pub fn netbios_name(config: &Config) -> String {
    config
        .netbios_name
        .clone()
        .unwrap_or_else(host_name)
        .to_uppercase()
}

/// Makes the snapshot.
pub fn server_config(parts: Parts<'_>) -> ServerConfig {
    let Parts {
        config,
        identity,
        policy,
        users,
        shares,
        kerberos,
    } = parts;
    let dialects = &config.dialects;
    let netbios_name = netbios_name(config);
    let rules = &config.authentication;
    let guest = rules.guest != GuestRule::Never;
    ServerConfig {
        smb1: dialects.smb1 || dialects.min == Dialect::Smb1 || dialects.max == Dialect::Smb1,
        min_dialect: dialects.min.max(Dialect::Smb202),
        max_dialect: dialects.max,
        policy: Arc::new(policy),
        exceptions: Arc::default(),
        signing_algorithms: config.signing.algorithms.clone(),
        ciphers: config.encryption.ciphers.clone(),
        encrypt: config.encryption.required,
        auth: Arc::new(AuthConfig {
            names: ServerNames::stand_alone(&netbios_name),
            machine_sid: MachineSid(identity.machine_sid),
            kerberos,
            rules: NtlmRules {
                ntlm: rules.ntlm,
                ntlmv1_smb1: rules.ntlmv1_smb1,
                ntlmv1_smb2: rules.ntlmv1_smb2,
                classic_ntlmv2: rules.classic_ntlmv2,
                lm_v2: rules.lm_v2,
                anonymous: rules.anonymous,
                guest: rules.guest,
            },
        }),
        users,
        anonymous_ipc: rules.anonymous,
        guest,
        shares,
        guid: identity.guid_bytes().unwrap_or_default(),
        netbios_name,
        workgroup: config.workgroup.to_uppercase(),
        comment: config.comment.clone(),
        oem_code_page: dialects.oem_code_page,
        limits: engine_limits(&config.limits),
        logon: LogonLimits {
            delay: rules.failed_logon_delay,
            lockout_failures: rules.lockout_after,
            lockout_time: rules.lockout_for,
            ..LogonLimits::default()
        },
        on_tighten: config.policy.on_tighten,
    }
}

fn engine_limits(limits: &LimitSection) -> Limits {
    Limits {
        first_frames: size(limits.first_frames.0),
        max_transact: size32(limits.max_transact.0),
        smb1_buffer: size32(limits.smb1_buffer.0),
        smb1_mpx: limits.smb1_mpx,
        sessions_per_connection: limits.sessions_per_connection,
        channels_per_session: limits.channels_per_session,
        trees_per_session: limits.trees_per_session,
        opens_per_session: limits.opens_per_session,
        credits: limits.credits,
        pending_calls: limits.pending_calls,
        chain_length: limits.chain_length,
        smb1_searches: limits.smb1_searches,
        smb1_share_delay: limits.smb1_share_delay,
        smb1_transaction_bytes: size(limits.smb1_transaction_bytes.0),
        unauthenticated: limits.unauthenticated.max(Duration::from_secs(1)),
        token_bytes: size(limits.token_bytes.0),
    }
}
