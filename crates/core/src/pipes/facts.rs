//! What the pipes tell about this server.

use std::sync::atomic::Ordering;

use countersign_auth::{Identity, IdentityKind, Sid, UserDirectory};
use countersign_rpc::{
    AccountFacts, AccountKind, CallerFacts, ServerFacts, ServerInfo, SessionFacts, ShareFacts,
    ShareKind,
};
use countersign_wire::FileTime;
use countersign_wire::dtyp::{self, Ace, AceFlags, Acl, SecurityDescriptor};
use countersign_wire::fscc::AccessMask;

use crate::config::{ServerConfig, ShareConfig};
use crate::connection::Now;
use crate::registry::Registry;

/// Version of Windows the server is taken for; NTLM says the same.
const VERSION: (u32, u32) = (6, 1);
/// Rid of the group every local account is in.
const RID_NONE: u32 = 513;
/// Rid of the built-in Guest account.
const RID_GUEST: u32 = 501;

/// The server's facts for one caller.
pub struct Facts<'a> {
    /// The configuration in force.
    pub config: &'a ServerConfig,
    /// Live sessions.
    pub registry: &'a Registry,
    /// Who asks.
    pub identity: Option<&'a Identity>,
    /// Time.
    pub now: Now,
}

impl Facts<'_> {
    fn users(&self) -> &dyn UserDirectory {
        &*self.config.users
    }

    fn account(&self, rid: u32, name: &str, kind: AccountKind) -> AccountFacts {
        AccountFacts {
            name: name.to_owned(),
            domain: self.config.netbios_name.clone(),
            kind,
            sid: self
                .config
                .auth
                .machine_sid
                .account(rid)
                .as_bytes()
                .to_vec(),
        }
    }

    /// Who may connect to a share, as a descriptor: its accounts, or everyone.
    fn security(&self, share: &ShareConfig) -> Option<Vec<u8>> {
        let full = AccessMask::from_bits_retain(0x001F_01FF);
        let sids = if share.valid_users.is_empty() {
            vec![dtyp::Sid::everyone()]
        } else {
            let named = |rule: &String| {
                let account = self.account_by_name(rule.strip_prefix('@').unwrap_or(rule))?;
                dtyp::Sid::from_bytes(&account.sid).ok()
            };
            share.valid_users.iter().filter_map(named).collect()
        };
        let aces = sids
            .into_iter()
            .map(|sid| Ace::allow(full, sid, AceFlags::empty()))
            .collect();
        let descriptor = SecurityDescriptor {
            owner: Some(dtyp::Sid::administrators()),
            group: Some(dtyp::Sid::administrators()),
            dacl: Some(Acl {
                aces,
                ..Acl::default()
            }),
            ..SecurityDescriptor::default()
        };
        Some(descriptor.to_bytes())
    }
}

impl ServerFacts for Facts<'_> {
    fn server(&self) -> ServerInfo {
        let names = &self.config.auth.names;
        ServerInfo {
            name: self.config.netbios_name.clone(),
            workgroup: self.config.workgroup.clone(),
            dns_domain: names.dns_domain.clone(),
            domain_member: names.domain_member,
            comment: self.config.comment.clone(),
            version: VERSION,
            machine_sid: self.config.auth.machine_sid.sid().as_bytes().to_vec(),
        }
    }

    fn now(&self) -> FileTime {
        self.now.wall
    }

    fn caller(&self) -> CallerFacts {
        match self.identity {
            Some(identity) => CallerFacts {
                user: identity.name.clone(),
                domain: identity.domain.clone(),
                administrator: identity.administrator,
                anonymous: identity.kind == IdentityKind::Anonymous,
                client: identity.workstation.clone(),
            },
            None => CallerFacts {
                anonymous: true,
                ..CallerFacts::default()
            },
        }
    }

    fn shares(&self) -> Vec<ShareFacts> {
        let ipc = ShareFacts {
            name: "IPC$".to_owned(),
            comment: "IPC Service".to_owned(),
            kind: ShareKind::Ipc,
            hidden: false,
            current_uses: 0,
            security: None,
        };
        let disk = |share: &ShareConfig| ShareFacts {
            name: share.share.name.clone(),
            comment: share.comment.clone(),
            kind: ShareKind::Disk,
            hidden: share.hidden || share.share.name.ends_with('$'),
            current_uses: 0,
            security: self.security(share),
        };
        self.config.shares.iter().map(disk).chain([ipc]).collect()
    }

    fn sessions(&self) -> Vec<SessionFacts> {
        let seconds = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let all = self.registry.list();
        all.iter()
            .map(|record| {
                let facts = record.facts();
                let age = self.now.wall.0.saturating_sub(facts.created.0) / 10_000_000;
                SessionFacts {
                    client: facts.address.ip().to_string(),
                    user: facts.user,
                    opens: u32::try_from(record.opens.load(Ordering::Relaxed)).unwrap_or(u32::MAX),
                    seconds: seconds(age),
                    idle_seconds: seconds(record.idle(self.now).as_secs()),
                    guest: facts.guest,
                }
            })
            .collect()
    }

    fn account_by_sid(&self, sid: &[u8]) -> Option<AccountFacts> {
        let rid = self
            .config
            .auth
            .machine_sid
            .rid_of(&Sid::from_bytes(sid).ok()?)?;
        if let Some(user) = self.users().find_rid(rid) {
            return Some(self.account(rid, &user.name, AccountKind::User));
        }
        if let Some(group) = self.users().find_group_rid(rid) {
            return Some(self.account(rid, &group, AccountKind::Alias));
        }
        match rid {
            RID_NONE => Some(self.account(rid, "None", AccountKind::Group)),
            RID_GUEST => Some(self.account(rid, "Guest", AccountKind::User)),
            _ => None,
        }
    }

    fn account_by_name(&self, name: &str) -> Option<AccountFacts> {
        let (domain, short) = name.rsplit_once('\\').unwrap_or(("", name));
        let ours = domain.is_empty() || domain.eq_ignore_ascii_case(&self.config.netbios_name);
        if !ours || short.is_empty() {
            return None;
        }
        if let Some(user) = self.users().find(short) {
            return Some(self.account(user.rid, &user.name, AccountKind::User));
        }
        if let Some((rid, group)) = self.users().find_group(short) {
            return Some(self.account(rid, &group, AccountKind::Alias));
        }
        match short.to_ascii_lowercase().as_str() {
            "none" => Some(self.account(RID_NONE, "None", AccountKind::Group)),
            "guest" => Some(self.account(RID_GUEST, "Guest", AccountKind::User)),
            _ => None,
        }
    }
}
