//! Who logs on, and with what.

use std::io;
use std::path::PathBuf;

use clap::Args;
use countersign_client::location::Location;
use countersign_client::netrc::{self, NetrcError};
use countersign_client::{Credentials, Encryption, Signing};
use countersign_core::config::Dialect;
use zeroize::Zeroizing;

use crate::password;

/// The environment: who logs on, and the password.
const USER: &str = "COUNTERSIGN_USER";
const PASSWORD: &str = "COUNTERSIGN_PASSWORD";
/// The file of passwords.
const NETRC: &str = "COUNTERSIGN_NETRC";

/// How a server is connected to.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectArguments {
    /// Who logs on: NAME, DOMAIN\NAME or NAME@REALM [default: the location's, then
    /// COUNTERSIGN_USER, the netrc file's, the user of this machine]. NAME%PASSWORD
    /// works too, but everybody on this machine can read it in the process list
    #[arg(short = 'U', long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Domain or workgroup of the user
    #[arg(short = 'W', long, value_name = "NAME")]
    pub(crate) workgroup: Option<String>,
    /// Read the password from the first line of a file
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Read the password from the first line of standard input
    #[arg(long, conflicts_with = "password_file")]
    pub(crate) password_stdin: bool,
    /// Look the password up in this file [default: COUNTERSIGN_NETRC, then ~/.netrc]
    #[arg(long, value_name = "FILE")]
    pub(crate) netrc: Option<PathBuf>,
    /// Log on with a ticket of the Kerberos cache: the cache's own, or that of --user
    /// NAME@REALM
    #[arg(short = 'k', long, conflicts_with_all = ["password_file", "password_stdin", "netrc"])]
    pub(crate) kerberos: bool,
    /// Log on as nobody
    #[arg(short = 'N', long, conflicts_with_all = ["user", "kerberos"])]
    pub(crate) anonymous: bool,
    /// Log on as guest, or accept that the server makes a guest of the user; needs
    /// --sign offered or off
    #[arg(long, conflicts_with_all = ["kerberos", "anonymous"])]
    pub(crate) guest: bool,
    /// Signing: required, offered or off [default: the policy of this machine]
    #[arg(long, value_name = "WORD", value_parser = parse_signing)]
    pub(crate) sign: Option<Signing>,
    /// Encryption: required (meant by --encrypt alone), offered or off
    #[arg(long, value_name = "WORD", value_parser = parse_encryption, num_args = 0..=1,
          require_equals = true, default_missing_value = "required", default_value = "offered",
          hide_default_value = true)]
    pub(crate) encrypt: Encryption,
    /// The dialect, or the lowest and the highest: 3.1.1, 2.1..3.0.2, smb1..3.1.1
    #[arg(short = 'm', long, value_name = "RANGE", value_parser = parse_dialects,
          default_value = "2.0.2..3.1.1")]
    pub(crate) dialect: DialectRange,
    /// Port, if the location names none
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Seconds within which a server must be reached
    #[arg(long, value_name = "SECONDS", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
    /// State folder whose local policy counts [default: as `serve` has it]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Configuration file whose policy counts
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Lowest and highest dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DialectRange {
    pub(crate) lowest: Dialect,
    pub(crate) highest: Dialect,
}

pub(crate) fn parse_signing(text: &str) -> Result<Signing, String> {
    match text {
        "required" | "on" => Ok(Signing::Required),
        "offered" | "desired" => Ok(Signing::Offered),
        "off" => Ok(Signing::Off),
        _ => Err("it is required, offered or off".to_owned()),
    }
}

pub(crate) fn parse_encryption(text: &str) -> Result<Encryption, String> {
    match text {
        "required" | "on" => Ok(Encryption::Required),
        "offered" => Ok(Encryption::Offered),
        "off" => Ok(Encryption::Off),
        _ => Err("it is required, offered or off".to_owned()),
    }
}

fn parse_dialect(text: &str) -> Result<Dialect, String> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "1" | "smb1" | "nt1" | "cifs" => Dialect::Smb1,
        "2" | "2.0" | "2.0.2" | "2.02" | "smb2_02" | "smb2" => Dialect::Smb202,
        "2.1" | "2.1.0" | "smb2_10" | "smb2.1" => Dialect::Smb210,
        "3" | "3.0" | "3.0.0" | "smb3_00" => Dialect::Smb300,
        "3.0.2" | "3.02" | "smb3_02" => Dialect::Smb302,
        "3.1.1" | "3.11" | "smb3_11" | "smb3" => Dialect::Smb311,
        _ => {
            return Err(format!(
                "`{text}` is no dialect: smb1, 2.0.2, 2.1, 3.0, 3.0.2 or 3.1.1"
            ));
        }
    })
}

pub(crate) fn parse_dialects(text: &str) -> Result<DialectRange, String> {
    let (lowest, highest) = match text.split_once("..") {
        None => (text, text),
        Some((lowest, highest)) => (
            if lowest.is_empty() { "2.0.2" } else { lowest },
            if highest.is_empty() { "3.1.1" } else { highest },
        ),
    };
    let (lowest, highest) = (parse_dialect(lowest)?, parse_dialect(highest)?);
    if lowest > highest {
        return Err("the lowest dialect comes first".to_owned());
    }
    Ok(DialectRange { lowest, highest })
}

/// A user as people write one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: Option<String>,
    pub(crate) domain: Option<String>,
    pub(crate) password: Option<Zeroizing<String>>,
}

/// `[DOMAIN\]NAME[%PASSWORD]`.
fn parse_account(text: &str) -> Account {
    let (name, password) = match text.split_once('%') {
        Some((name, password)) => (name, Some(Zeroizing::new(password.to_owned()))),
        None => (text, None),
    };
    let (domain, name) = match name.split_once(['\\', '/', ';']) {
        Some((domain, name)) => (Some(domain.to_owned()), name),
        None => (None, name),
    };
    Account {
        name: (!name.is_empty()).then(|| name.to_owned()),
        domain,
        password,
    }
}

/// What the surroundings say: taken apart from the process for the tests.
pub(crate) trait Surroundings {
    fn variable(&self, name: &str) -> Option<String>;
    fn netrc(
        &self,
        path: &std::path::Path,
        host: &str,
        user: Option<&str>,
    ) -> Result<Option<netrc::Entry>, NetrcError>;
    fn ask(&self, text: &str) -> io::Result<Zeroizing<String>>;
}

/// The process as it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process;

impl Surroundings for Process {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn netrc(
        &self,
        path: &std::path::Path,
        host: &str,
        user: Option<&str>,
    ) -> Result<Option<netrc::Entry>, NetrcError> {
        netrc::look_up(path, rustix::process::geteuid().as_raw(), host, user)
    }

    fn ask(&self, text: &str) -> io::Result<Zeroizing<String>> {
        use std::io::IsTerminal;
        if !io::stdin().is_terminal() {
            return Err(io::Error::other(
                "no password: give one with --password-file, --password-stdin, \
                 COUNTERSIGN_PASSWORD or a netrc file, or use --kerberos, --guest or --anonymous",
            ));
        }
        password::prompt(text)
    }
}

impl ConnectArguments {
    /// Name, domain and password, from wherever they come.
    pub(crate) fn account(
        &self,
        location: &Location,
        surroundings: &impl Surroundings,
    ) -> Result<Account, String> {
        let mut account = self.user.as_deref().map(parse_account).unwrap_or_default();
        if account.name.is_none() {
            account.name.clone_from(&location.user);
            account.domain = account.domain.or_else(|| location.domain.clone());
            account.password = account.password.or_else(|| location.password.clone());
        }
        if account.name.is_none()
            && let Some(text) = surroundings.variable(USER)
        {
            let named = parse_account(&text);
            account.name = named.name;
            account.domain = account.domain.or(named.domain);
        }
        if self.workgroup.is_some() {
            account.domain.clone_from(&self.workgroup);
        }
        if let Some(path) = &self.password_file {
            password::warn_if_open(path);
            account.password = Some(password::from_file(path)?);
        } else if self.password_stdin {
            let line = password::first_line(io::stdin().lock());
            account.password = Some(line.map_err(|error| format!("standard input: {error}"))?);
        }
        if account.password.is_none() {
            account.password = surroundings.variable(PASSWORD).map(Zeroizing::new);
        }
        if account.password.is_none() {
            self.read_netrc(&mut account, location, surroundings)?;
        }
        if account.name.is_none() {
            account.name = ["USER", "LOGNAME"]
                .iter()
                .find_map(|name| surroundings.variable(name));
        }
        let Some(name) = &account.name else {
            return Err("no user: name one with --user or in the location".to_owned());
        };
        if account.password.is_none() {
            let text = format!("Password for {name} on {}: ", location.host);
            let asked = surroundings.ask(&text).map_err(|error| error.to_string())?;
            account.password = Some(asked);
        }
        Ok(account)
    }

    /// A file named by the user must be in order; one that lies about is passed over
    /// if it is not there.
    fn read_netrc(
        &self,
        account: &mut Account,
        location: &Location,
        surroundings: &impl Surroundings,
    ) -> Result<(), String> {
        let named = self
            .netrc
            .clone()
            .or_else(|| surroundings.variable(NETRC).map(PathBuf::from));
        let path = match &named {
            Some(path) => path.clone(),
            None => match surroundings.variable("HOME") {
                Some(home) => PathBuf::from(home).join(".netrc"),
                None => return Ok(()),
            },
        };
        let found = surroundings.netrc(&path, &location.host, account.name.as_deref());
        match found {
            Ok(Some(entry)) => {
                account.password = entry.password;
                if account.name.is_none() {
                    account.name = entry.login;
                }
                if account.domain.is_none() {
                    account.domain = entry.domain;
                }
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(NetrcError::Io(error))
                if named.is_none() && error.kind() == io::ErrorKind::NotFound =>
            {
                Ok(())
            }
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// The credentials for a server.
    pub(crate) fn credentials(&self, location: &Location) -> Result<Credentials, String> {
        if self.anonymous {
            return Ok(Credentials::anonymous());
        }
        if self.kerberos {
            return super::session::kerberos(self, location);
        }
        if self.guest && self.user.is_none() && location.user.is_none() {
            return Ok(Credentials::guest());
        }
        let account = self.account(location, &Process)?;
        let name = account.name.unwrap_or_default();
        let password = account.password.unwrap_or_default();
        let credentials = Credentials::password(&name, &password);
        Ok(match &account.domain {
            Some(domain) => credentials.with_domain(domain),
            None => credentials,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::collections::HashMap;
    use std::path::Path;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        connect: ConnectArguments,
    }

    fn line(args: &[&str]) -> ConnectArguments {
        Line::try_parse_from([&["x"], args].concat())
            .unwrap()
            .connect
    }

    #[derive(Default)]
    struct Fake {
        variables: HashMap<&'static str, &'static str>,
        netrc: Option<&'static str>,
        terminal: bool,
    }

    impl Surroundings for Fake {
        fn variable(&self, name: &str) -> Option<String> {
            self.variables.get(name).map(|v| (*v).to_owned())
        }
        fn netrc(
            &self,
            path: &Path,
            host: &str,
            user: Option<&str>,
        ) -> Result<Option<netrc::Entry>, NetrcError> {
            if path == Path::new("/open") {
                return Err(NetrcError::Mode { mode: 0o644 });
            }
            let Some(text) = self.netrc else {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            };
            netrc::find(text, host, user)
        }
        fn ask(&self, _: &str) -> io::Result<Zeroizing<String>> {
            if self.terminal {
                Ok(Zeroizing::new("asked".to_owned()))
            } else {
                Err(io::Error::other("no terminal"))
            }
        }
    }

    fn got(args: &[&str], location: &str, fake: &Fake) -> Result<[String; 3], String> {
        let account = line(args).account(&location.parse().unwrap(), fake)?;
        Ok([
            account.domain.unwrap_or_default(),
            account.name.unwrap_or_default(),
            account.password.map(|p| (*p).clone()).unwrap_or_default(),
        ])
    }

    #[test]
    fn where_name_and_password_come_from() {
        let fake = Fake {
            variables: [("HOME", "/h"), ("USER", "me")].into(),
            netrc: Some("machine h login alice password fromfile\ndefault password d"),
            terminal: true,
        };
        let all = |a: &str, b: &str, c: &str| Ok([a.to_owned(), b.to_owned(), c.to_owned()]);
        let go = |args: &[&str], location: &str| got(args, location, &fake);
        assert_eq!(go(&[], "//h/s"), all("", "alice", "fromfile"));
        assert_eq!(go(&[], "smb://D;bob:x@h/s"), all("D", "bob", "x"));
        assert_eq!(
            go(&["-U", "E\\carl%y"], "smb://bob:x@h/s"),
            all("E", "carl", "y")
        );
        assert_eq!(
            go(&["-U", "alice", "-W", "W"], "//h/s"),
            all("W", "alice", "fromfile")
        );
        assert_eq!(go(&["-U", "zoe"], "//h/s"), all("", "zoe", "d"));
        let fake = Fake {
            variables: [("USER", "me"), ("COUNTERSIGN_PASSWORD", "env")].into(),
            ..Fake::default()
        };
        assert_eq!(got(&[], "//h/s", &fake), all("", "me", "env"));
        let fake = Fake {
            variables: [("USER", "me"), ("COUNTERSIGN_USER", "D\\you")].into(),
            terminal: true,
            ..Fake::default()
        };
        assert_eq!(got(&[], "//h/s", &fake), all("D", "you", "asked"));
        assert!(got(&["-U", "a"], "//h/s", &Fake::default()).is_err());
        assert!(
            got(&[], "//h/s", &Fake::default())
                .unwrap_err()
                .contains("no user")
        );
    }

    #[test]
    fn a_named_file_must_be_in_order() {
        let fake = Fake::default();
        let error = got(&["--netrc", "/open", "-U", "a"], "//h/s", &fake).unwrap_err();
        assert!(error.contains("chmod 600"), "{error}");
        let error = got(&["--netrc", "/none", "-U", "a"], "//h/s", &fake).unwrap_err();
        assert!(error.starts_with("/none"), "{error}");
    }

    #[test]
    fn words_of_the_connection() {
        let range = |text: &str| {
            let range = line(&["--dialect", text]).dialect;
            (range.lowest, range.highest)
        };
        assert_eq!(range("3.1.1"), (Dialect::Smb311, Dialect::Smb311));
        assert_eq!(range("NT1..2.1"), (Dialect::Smb1, Dialect::Smb210));
        assert_eq!(range("3.0.."), (Dialect::Smb300, Dialect::Smb311));
        assert_eq!(range("..SMB2_10"), (Dialect::Smb202, Dialect::Smb210));
        for wrong in ["4", "3.1.1..2.1", ""] {
            assert!(
                Line::try_parse_from(["x", "--dialect", wrong]).is_err(),
                "{wrong}"
            );
        }
        assert_eq!(line(&["--sign", "required"]).sign, Some(Signing::Required));
        assert_eq!(line(&[]).sign, None);
        assert_eq!(line(&["--encrypt"]).encrypt, Encryption::Required);
        assert_eq!(line(&["--encrypt=off"]).encrypt, Encryption::Off);
        assert_eq!(line(&[]).encrypt, Encryption::Offered);
        assert!(Line::try_parse_from(["x", "--sign", "maybe"]).is_err());
        assert!(Line::try_parse_from(["x", "--anonymous", "--user", "a"]).is_err());
    }
}
