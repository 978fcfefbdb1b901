//! Who has logged on.

use crate::pac::LogonInfo;
use crate::sid::{self, MachineSid, Sid};
use crate::users::User;

/// Class of an identity; policy treats them differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdentityKind {
    /// A known account that proved its password.
    User,
    /// Somebody let in without proof.
    Guest,
    /// Nobody: an anonymous ("null") logon.
    Anonymous,
}

/// Who has logged on, with the SIDs files are checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Class.
    pub kind: IdentityKind,
    /// Account name as the user directory spells it; `Guest`, or empty for anonymous.
    pub name: String,
    /// Domain of the account: this server's, whatever the client sent, or the domain
    /// whose controller says who it is.
    pub domain: String,
    /// Kerberos realm of a domain's account; `None`: this server's own account.
    pub realm: Option<String>,
    /// Workstation the client named; empty when it named none.
    pub workstation: String,
    /// Name the client asked to log on as (differs from `name` for guests).
    pub asked_name: String,
    /// Names of the groups the account is in, for `@group` rules.
    pub groups: Vec<String>,
    /// SID of the account.
    pub user_sid: Sid,
    /// SIDs of groups: the account's own and the well-known ones.
    pub group_sids: Vec<Sid>,
    /// A member of Administrators.
    pub administrator: bool,
}

/// Groups with the same number in every domain, [MS-DTYP] 2.4.2.4.
const DOMAIN_GROUPS: &[(u32, &str)] = &[
    (512, "Domain Admins"),
    (513, "Domain Users"),
    (514, "Domain Guests"),
    (515, "Domain Computers"),
    (516, "Domain Controllers"),
    (518, "Schema Admins"),
    (519, "Enterprise Admins"),
    (520, "Group Policy Creator Owners"),
    (525, "Protected Users"),
];
/// Rid of a domain's administrators.
const RID_DOMAIN_ADMINS: u32 = 512;

impl Identity {
    /// A user of a domain, as its controller describes it. Members of its Domain
    /// Admins are administrators here, as on a Windows member.
    pub fn domain_user(info: &LogonInfo, realm: &str) -> Self {
        let of_domain = |rid: u32| info.domain_sid.with_rid(rid);
        let mut groups = Vec::new();
        for sid in &info.group_sids {
            groups.push(sid.to_string());
            let known = DOMAIN_GROUPS
                .iter()
                .find(|(rid, _)| of_domain(*rid) == *sid);
            if let Some((_, name)) = known {
                groups.push(format!("{}\\{name}", info.domain));
            }
        }
        let mut group_sids = info.group_sids.clone();
        let administrator = group_sids.contains(&of_domain(RID_DOMAIN_ADMINS));
        group_sids.extend([
            Sid::everyone(),
            Sid::network(),
            Sid::authenticated_users(),
            sid::builtin(sid::RID_USERS),
        ]);
        if administrator {
            group_sids.push(sid::builtin(sid::RID_ADMINISTRATORS));
        }
        Self {
            kind: IdentityKind::User,
            name: info.name.clone(),
            domain: info.domain.clone(),
            realm: Some(realm.to_owned()),
            workstation: String::new(),
            asked_name: info.name.clone(),
            groups,
            user_sid: info.user_sid.clone(),
            group_sids,
            administrator,
        }
    }

    /// Whether an entry of a list of accounts and `@groups` is this identity. A bare
    /// name is an account (or group) of this server; a domain's is `DOMAIN\name`,
    /// `name@REALM` or its SID, its groups `@SID` or `@DOMAIN\Domain Users`.
    pub fn is_listed_as(&self, entry: &str) -> bool {
        let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
        if let Some(group) = entry.strip_prefix('@') {
            return self.groups.iter().any(|g| same(g, group));
        }
        if let Some((domain, name)) = entry.split_once('\\') {
            return same(domain, &self.domain) && same(name, &self.name);
        }
        let Some(realm) = &self.realm else {
            return same(entry, &self.name);
        };
        match entry.rsplit_once('@') {
            Some((name, of)) => same(name, &self.name) && same(of, realm),
            None => same(entry, &self.user_sid.to_string()),
        }
    }

    /// A user of the directory.
    pub fn user(user: &User, machine: MachineSid, domain: &str, workstation: &str) -> Self {
        let mut group_sids = vec![machine.account(sid::RID_NONE_GROUP)];
        group_sids.extend(user.group_rids.iter().map(|rid| machine.account(*rid)));
        group_sids.extend([
            Sid::everyone(),
            Sid::network(),
            Sid::authenticated_users(),
            sid::builtin(sid::RID_USERS),
        ]);
        if user.administrator {
            group_sids.push(sid::builtin(sid::RID_ADMINISTRATORS));
        }
        Self {
            kind: IdentityKind::User,
            name: user.name.clone(),
            domain: domain.to_owned(),
            realm: None,
            workstation: workstation.to_owned(),
            asked_name: user.name.clone(),
            groups: user.groups.clone(),
            user_sid: machine.account(user.rid),
            group_sids,
            administrator: user.administrator,
        }
    }

    /// A guest who asked to be `asked_name`.
    pub fn guest(machine: MachineSid, domain: &str, workstation: &str, asked_name: &str) -> Self {
        Self {
            kind: IdentityKind::Guest,
            name: "Guest".to_owned(),
            domain: domain.to_owned(),
            realm: None,
            workstation: workstation.to_owned(),
            asked_name: asked_name.to_owned(),
            groups: vec!["Guests".to_owned()],
            user_sid: machine.account(sid::RID_GUEST),
            group_sids: vec![
                machine.account(sid::RID_NONE_GROUP),
                Sid::everyone(),
                Sid::network(),
                sid::builtin(sid::RID_GUESTS),
            ],
            administrator: false,
        }
    }

    /// Nobody.
    pub fn anonymous(workstation: &str) -> Self {
        Self {
            kind: IdentityKind::Anonymous,
            name: String::new(),
            domain: String::new(),
            realm: None,
            workstation: workstation.to_owned(),
            asked_name: String::new(),
            groups: Vec::new(),
            user_sid: Sid::anonymous(),
            group_sids: vec![Sid::everyone(), Sid::network()],
            administrator: false,
        }
    }
}
