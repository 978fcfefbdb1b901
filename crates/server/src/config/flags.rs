//! The command line, as far as it says the same as the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use countersign_auth::NtHash;
use countersign_core::config::Dialect;
use countersign_policy::{Profile, Role, Settings};

use super::fields::{Word, address_help};
use super::reader::Wrong;
use super::schema::{Config, ShareSection};

/// `--share NAME=PATH[,ro]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareFlag {
    /// Name.
    pub name: String,
    /// Folder.
    pub path: PathBuf,
    /// Nothing may be changed.
    pub read_only: bool,
}

impl std::str::FromStr for ShareFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` is not NAME=PATH[,ro]"))?;
        let (path, read_only) = match rest.rsplit_once(',') {
            Some((path, "ro")) => (path, true),
            Some((path, "rw")) => (path, false),
            _ => (rest, false),
        };
        check_share_name(name)?;
        if path.is_empty() {
            return Err(format!("`{text}` has no path"));
        }
        Ok(Self {
            name: name.to_owned(),
            path: PathBuf::from(path),
            read_only,
        })
    }
}

/// Whether a share may have this name, [MS-SRVS] 2.2.4.
///
/// # Errors
/// Why not.
pub fn check_share_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.chars().count() > 80 {
        return Err(format!(
            "`{name}` is not a share name: it has 1 to 80 characters"
        ));
    }
    if let Some(bad) = name
        .chars()
        .find(|c| c.is_control() || "\"\\/[]:|<>+=;,*?".contains(*c))
    {
        return Err(format!("`{name}` is not a share name: it contains `{bad}`"));
    }
    if name.trim() != name {
        return Err(format!("`{name}` is not a share name: blanks at its ends"));
    }
    if name.eq_ignore_ascii_case("ipc$") {
        return Err("IPC$ always exists and cannot be defined".to_owned());
    }
    Ok(())
}

/// `--user NAME:PASSWORD`: the name and the hash of the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFlag {
    /// Account name.
    pub name: String,
    /// The password's hash.
    pub nt_hash: NtHash,
}

impl std::str::FromStr for UserFlag {
    type Err = String;

    // The password must not stand in the message.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, password) = text.split_once(':').ok_or("this is not NAME:PASSWORD")?;
        if !countersign_auth::users::is_valid_name(name) {
            return Err(format!("`{name}` cannot be the name of an account"));
        }
        Ok(Self {
            name: name.to_owned(),
            nt_hash: NtHash::from_password(password),
        })
    }
}

/// An address to listen on.
///
/// # Errors
/// When it is none.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| address_help(text))
}

/// One of the words of a kind of value.
///
/// # Errors
/// When it is none, with what was probably meant.
pub fn parse_word<T: Word>(text: &str) -> Result<T, String> {
    T::parse(text).map_err(
        |Wrong {
             message,
             suggestion,
         }| match suggestion {
            Some(suggestion) => format!("{message} (did you mean `{suggestion}`?)"),
            None => message,
        },
    )
}

/// What the command line of `serve` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--state`.
    pub state: Option<PathBuf>,
    /// `--listen`, in place of the file's.
    pub listen: Vec<SocketAddr>,
    /// `--share`, besides the file's; the same name replaces.
    pub shares: Vec<ShareFlag>,
    /// `--user`, besides all others; the same name replaces.
    pub users: Vec<UserFlag>,
    /// `--keytab`.
    pub keytab: Option<PathBuf>,
    /// `--smb1`.
    pub smb1: bool,
    /// `--min-dialect`.
    pub min_dialect: Option<Dialect>,
    /// `--max-dialect`.
    pub max_dialect: Option<Dialect>,
    /// `--policy`.
    pub policy: Settings,
    /// `--role`.
    pub role: Option<Role>,
    /// `--profile`.
    pub profile: Option<Profile>,
    /// `--log`.
    pub log: Option<String>,
}

impl Flags {
    /// The file's configuration with the flags laid over it (the policy's four
    /// values are a layer of their own).
    ///
    /// # Errors
    /// When flags and file contradict one another.
    pub fn over(&self, mut config: Config) -> Result<Config, String> {
        if let Some(state) = &self.state {
            config.state = Some(state.clone());
        }
        if !self.listen.is_empty() {
            config.listen = self.listen.clone();
            config.listen_netbios = Vec::new();
        }
        for share in &self.shares {
            config
                .share
                .retain(|one| !one.name.eq_ignore_ascii_case(&share.name));
            config.share.push(ShareSection {
                name: share.name.clone(),
                path: share.path.clone(),
                read_only: share.read_only,
                ..ShareSection::default()
            });
        }
        if let Some(keytab) = &self.keytab {
            config.kerberos.keytab = Some(keytab.clone());
        }
        let dialects = &mut config.dialects;
        dialects.smb1 |= self.smb1;
        if let Some(min) = self.min_dialect {
            dialects.min = min;
        }
        if let Some(max) = self.max_dialect {
            dialects.max = max;
        }
        if dialects.min > dialects.max {
            return Err(format!(
                "the lowest dialect {} is above the highest {}",
                dialects.min.word(),
                dialects.max.word()
            ));
        }
        if let Some(role) = self.role {
            config.policy.role = role;
        }
        if let Some(profile) = self.profile {
            config.policy.profile = profile;
        }
        if let Some(log) = &self.log {
            config.logging.filter = log.clone();
        }
        Ok(config)
    }
}
