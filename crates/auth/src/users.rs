//! Users: the directory the acceptor asks, and the text form of a user file.
//!
//! One line for each user and each group, `#` starts a comment line:
//!
//! ```text
//! user:alice:1001:fc525c9683e8fe067095ba2ddc971889::staff,Administrators:Alice Example
//! user:bob:1002:0123456789abcdef0123456789abcdef:disabled::
//! group:staff:1100
//! ```
//!
//! `user:NAME:RID:NT HASH:FLAGS:GROUPS:FULL NAME`; the only flag is `disabled`.
//! A group without a line of its own has a name but no SID; `Administrators` is
//! BUILTIN\Administrators.

use std::collections::BTreeMap;

use md4::{Digest, Md4};
use zeroize::Zeroizing;

/// Name of the group whose members are administrators.
pub const ADMINISTRATORS: &str = "Administrators";
/// First rid given to accounts that are added.
pub const FIRST_RID: u32 = 1000;
/// Most characters in an account or group name.
pub const MAX_NAME: usize = 64;
/// Characters that account names must not have.
const FORBIDDEN: &str = "\"/\\[]:;|=,+*?<>@";

/// NTOWFv1: MD4 of the password in UTF-16LE, [MS-NLMP] 3.3.1. As good as the
/// password itself, so it is wiped on drop and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct NtHash(Zeroizing<[u8; 16]>);

impl NtHash {
    /// From the hash's bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// From a password.
    pub fn from_password(password: &str) -> Self {
        let utf16: Zeroizing<Vec<u8>> =
            Zeroizing::new(password.encode_utf16().flat_map(u16::to_le_bytes).collect());
        Self::new(Md4::digest(utf16.as_slice()).into())
    }

    /// The hash's bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn parse(hex: &str) -> Option<Self> {
        let (pairs, odd) = hex.as_bytes().as_chunks::<2>();
        if pairs.len() != 16 || !odd.is_empty() {
            return None;
        }
        let mut out = Zeroizing::new([0u8; 16]);
        for (byte, [high, low]) in out.iter_mut().zip(pairs) {
            let high = char::from(*high).to_digit(16)?;
            let low = char::from(*low).to_digit(16)?;
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        Some(Self(out))
    }

    fn to_hex(&self) -> Zeroizing<String> {
        let mut out = Zeroizing::new(String::with_capacity(32));
        for byte in self.0.iter() {
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        out
    }
}

impl core::fmt::Debug for NtHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("NtHash(..)")
    }
}

/// One account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Account name as it was created; compared without case.
    pub name: String,
    /// The password's hash.
    pub nt_hash: NtHash,
    /// Relative id under the machine's SID.
    pub rid: u32,
    /// Names of the groups the account is in.
    pub groups: Vec<String>,
    /// Relative ids of those groups that have one.
    pub group_rids: Vec<u32>,
    /// Nobody may log on as this account.
    pub disabled: bool,
    /// In the group Administrators.
    pub administrator: bool,
    /// Full name, for listings.
    pub full_name: String,
}

/// Where users are looked up.
pub trait UserDirectory: Send + Sync {
    /// The account of this name, compared without case.
    fn find(&self, name: &str) -> Option<User>;

    /// The account of this rid, to show the names of owners.
    fn find_rid(&self, rid: u32) -> Option<User> {
        let _ = rid;
        None
    }

    /// The rid of a group, and its name as it was created.
    fn find_group(&self, name: &str) -> Option<(u32, String)> {
        let _ = name;
        None
    }

    /// The name of the group of this rid.
    fn find_group_rid(&self, rid: u32) -> Option<String> {
        let _ = rid;
        None
    }
}

/// Why a user file, or a change of it, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserFileError {
    /// A line that cannot be understood.
    #[error("line {line}: {problem}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// A name that no account or group can have.
    #[error("{0:?} cannot be the name of an account")]
    Name(String),
    /// No such account.
    #[error("there is no user {0:?}")]
    NoUser(String),
    /// The account exists.
    #[error("there is a user {0:?} already")]
    Exists(String),
    /// All rids are used.
    #[error("no relative id is left")]
    NoRid,
}

/// The users of a user file, in memory. Reading and writing the file is the
/// server's; this is its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserFile {
    users: BTreeMap<String, User>,
    groups: BTreeMap<String, (u32, String)>,
}

/// The form names are compared in.
fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// Whether an account or group may have this name.
pub fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().count() <= MAX_NAME
        && !name
            .chars()
            .any(|c| c.is_control() || FORBIDDEN.contains(c))
        && name.trim() == name
        && !name.ends_with('.')
        && !name.starts_with('#')
}

impl UserFile {
    /// Reads the text form.
    ///
    /// # Errors
    /// The first line that cannot be understood, or names or rids used twice.
    pub fn parse(text: &str) -> Result<Self, UserFileError> {
        let mut file = Self::default();
        let mut rids: Vec<u32> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let problem = |problem| UserFileError::Line {
                line: index + 1,
                problem,
            };
            let line = line.trim_end_matches('\r');
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let mut fields = line.splitn(7, ':');
            let mut next = || fields.next().unwrap_or_default();
            let kind = next();
            let name = next();
            if kind != "user" && kind != "group" {
                return Err(problem("the line starts with neither user: nor group:"));
            }
            if !is_valid_name(name) {
                return Err(problem("no account can have this name"));
            }
            let rid: u32 = next()
                .parse()
                .map_err(|_| problem("the rid is not a number"))?;
            if rid < FIRST_RID {
                return Err(problem("rids start at 1000"));
            }
            if rids.contains(&rid) {
                return Err(problem("the rid is used twice"));
            }
            rids.push(rid);
            let twice = if kind == "group" {
                file.groups
                    .insert(folded(name), (rid, name.to_owned()))
                    .is_some()
            } else {
                let nt_hash = NtHash::parse(next())
                    .ok_or(problem("the hash is not 32 hexadecimal digits"))?;
                let mut disabled = false;
                for flag in next().split(',').filter(|f| !f.is_empty()) {
                    match flag {
                        "disabled" => disabled = true,
                        _ => return Err(problem("unknown flag")),
                    }
                }
                let groups: Vec<String> = next()
                    .split(',')
                    .filter(|g| !g.is_empty())
                    .map(str::to_owned)
                    .collect();
                if !groups.iter().all(|g| is_valid_name(g)) {
                    return Err(problem("no group can have this name"));
                }
                let user = User {
                    name: name.to_owned(),
                    nt_hash,
                    rid,
                    groups,
                    group_rids: Vec::new(),
                    disabled,
                    administrator: false,
                    full_name: next().to_owned(),
                };
                file.users.insert(folded(name), user).is_some()
            };
            if twice {
                return Err(problem("the name is used twice"));
            }
        }
        file.resolve_groups();
        Ok(file)
    }

    /// The text form.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut out = Zeroizing::new(String::from(
            "# Users of this server. The hashes are as good as passwords: keep the file private.\n",
        ));
        for (rid, name) in self.groups.values() {
            out.push_str(&format!("group:{name}:{rid}\n"));
        }
        for user in self.users.values() {
            let flags = if user.disabled { "disabled" } else { "" };
            out.push_str(&format!("user:{}:{}:", user.name, user.rid));
            out.push_str(&user.nt_hash.to_hex());
            out.push_str(&format!(
                ":{flags}:{}:{}\n",
                user.groups.join(","),
                user.full_name
            ));
        }
        out
    }

    /// All users, by name.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// Adds an account; gives it the next free rid.
    ///
    /// # Errors
    /// When the name cannot be used or exists.
    pub fn add(
        &mut self,
        name: &str,
        nt_hash: NtHash,
        groups: &[&str],
    ) -> Result<&User, UserFileError> {
        for name in groups.iter().chain([&name]) {
            if !is_valid_name(name) {
                return Err(UserFileError::Name((*name).to_owned()));
            }
        }
        if self.users.contains_key(&folded(name)) {
            return Err(UserFileError::Exists(name.to_owned()));
        }
        let used = self
            .users
            .values()
            .map(|u| u.rid)
            .chain(self.groups.values().map(|g| g.0));
        let highest = used.max().unwrap_or(FIRST_RID);
        let rid = highest.checked_add(1).ok_or(UserFileError::NoRid)?;
        let user = User {
            name: name.to_owned(),
            nt_hash,
            rid,
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
            group_rids: Vec::new(),
            disabled: false,
            administrator: false,
            full_name: String::new(),
        };
        self.users.insert(folded(name), user);
        self.resolve_groups();
        self.users
            .get(&folded(name))
            .ok_or_else(|| UserFileError::NoUser(name.to_owned()))
    }

    /// Removes an account.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn remove(&mut self, name: &str) -> Result<User, UserFileError> {
        self.users
            .remove(&folded(name))
            .ok_or_else(|| UserFileError::NoUser(name.to_owned()))
    }

    /// Sets an account's password hash.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn set_hash(&mut self, name: &str, nt_hash: NtHash) -> Result<(), UserFileError> {
        self.change(name, |user| user.nt_hash = nt_hash)
    }

    /// Disables or enables an account.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn set_disabled(&mut self, name: &str, disabled: bool) -> Result<(), UserFileError> {
        self.change(name, |user| user.disabled = disabled)
    }

    fn change(&mut self, name: &str, how: impl FnOnce(&mut User)) -> Result<(), UserFileError> {
        match self.users.get_mut(&folded(name)) {
            Some(user) => {
                how(user);
                Ok(())
            }
            None => Err(UserFileError::NoUser(name.to_owned())),
        }
    }

    fn resolve_groups(&mut self) {
        for user in self.users.values_mut() {
            user.administrator = user
                .groups
                .iter()
                .any(|g| g.eq_ignore_ascii_case(ADMINISTRATORS));
            user.group_rids = user
                .groups
                .iter()
                .filter_map(|g| Some(self.groups.get(&folded(g))?.0))
                .collect();
        }
    }
}

impl UserDirectory for UserFile {
    fn find(&self, name: &str) -> Option<User> {
        self.users.get(&folded(name)).cloned()
    }

    fn find_rid(&self, rid: u32) -> Option<User> {
        self.users.values().find(|u| u.rid == rid).cloned()
    }

    fn find_group(&self, name: &str) -> Option<(u32, String)> {
        self.groups.get(&folded(name)).cloned()
    }

    fn find_group_rid(&self, rid: u32) -> Option<String> {
        self.groups
            .values()
            .find(|g| g.0 == rid)
            .map(|g| g.1.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# comment\n\ngroup:staff:1100\n\
        user:Alice:1001:fc525c9683e8fe067095ba2ddc971889::staff,Administrators:Alice: E.\n\
        user:bob:1002:0123456789ABCDEF0123456789abcdef:disabled::\n";

    #[test]
    fn reads_what_it_writes() {
        let file = UserFile::parse(TEXT).unwrap();
        let alice = file.find("ALICE").unwrap();
        assert_eq!(alice.nt_hash, NtHash::from_password("Passw0rd!"));
        assert_eq!((alice.rid, alice.administrator), (1001, true));
        assert_eq!(alice.group_rids, [1100]);
        assert_eq!(alice.full_name, "Alice: E.");
        assert!(file.find("bob").unwrap().disabled);
        assert_eq!(UserFile::parse(&file.to_text()).unwrap(), file);
        assert_eq!(file.find_group("STAFF"), Some((1100, "staff".to_owned())));
    }

    #[test]
    fn says_which_line_is_wrong() {
        let hash = "0123456789abcdef0123456789abcdef";
        for (line, problem) in [
            (
                "users:a:1001",
                "the line starts with neither user: nor group:",
            ),
            ("user:a/b:1001", "no account can have this name"),
            ("user:a:x", "the rid is not a number"),
            ("user:a:500", "rids start at 1000"),
            ("group:b:1100", "the rid is used twice"),
            ("group:Staff:1101", "the name is used twice"),
            ("user:a:1001:00", "the hash is not 32 hexadecimal digits"),
            (
                "user:a:1001:+123456789abcdef0123456789abcdef",
                "the hash is not 32 hexadecimal digits",
            ),
            (&format!("user:a:1001:{hash}:x"), "unknown flag"),
            (
                &format!("user:a:1001:{hash}::x*"),
                "no group can have this name",
            ),
        ] {
            let got = UserFile::parse(&format!("group:staff:1100\n{line}\n"));
            assert_eq!(got, Err(UserFileError::Line { line: 2, problem }), "{line}");
        }
    }

    #[test]
    fn accounts_come_and_go() {
        let mut file = UserFile::parse(TEXT).unwrap();
        let hash = NtHash::from_password("x");
        assert_eq!(
            file.add("carol", hash.clone(), &["staff"]).unwrap().rid,
            1101
        );
        assert_eq!(file.find("Carol").unwrap().group_rids, [1100]);
        assert_eq!(
            file.add("CAROL", hash.clone(), &[]),
            Err(UserFileError::Exists("CAROL".to_owned()))
        );
        assert_eq!(
            file.add("a:b", hash.clone(), &[]),
            Err(UserFileError::Name("a:b".to_owned()))
        );
        file.set_hash("carol", NtHash::from_password("y")).unwrap();
        file.set_disabled("carol", true).unwrap();
        assert!(file.find("carol").unwrap().disabled);
        assert_eq!(
            file.remove("carol").unwrap().nt_hash,
            NtHash::from_password("y")
        );
        assert!(file.set_hash("carol", hash).is_err());
    }

    #[test]
    fn hashes_are_not_printed() {
        assert_eq!(format!("{:?}", NtHash::new([7; 16])), "NtHash(..)");
    }
}
