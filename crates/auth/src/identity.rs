//! Who has logged on.

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
    /// Domain of the account: this server's, whatever the client sent.
    pub domain: String,
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

impl Identity {
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
            workstation: workstation.to_owned(),
            asked_name: String::new(),
            groups: Vec::new(),
            user_sid: Sid::anonymous(),
            group_sids: vec![Sid::everyone(), Sid::network()],
            administrator: false,
        }
    }
}
