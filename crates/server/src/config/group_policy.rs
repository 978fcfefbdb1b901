//! The section `[group-policy]`.

use std::path::PathBuf;
use std::time::Duration;

use countersign_policy::Role;

use super::reader::section;

/// Where the machine's keys are when nothing is said.
pub const DEFAULT_KEYTAB: &str = "/etc/krb5.keytab";
/// Most days between two passwords: Windows' own limit.
pub(super) const PASSWORD_DAYS: u32 = 999;
/// Shortest and longest time between two refreshes: those of Windows, 7 s and 45 days.
pub const REFRESH_SECONDS: std::ops::RangeInclusive<u32> = 7..=45 * 24 * 3600;

section! {
    /// Group Policy from Active Directory. See [group-policy.md](group-policy.md).
    pub struct GroupPolicySection in "group-policy" {
        /// DNS name of the domain this machine is a member of. Without it there is no
        /// Group Policy.
        domain: Option<String> = None;
        /// The machine's account. Default: the host's name and `$`.
        account: Option<String> = None;
        /// Keytab with the account's keys. Default: `/etc/krb5.keytab`.
        keytab: Option<PathBuf> = None;
        /// Seconds between two refreshes; a random part of a third of it, at most half an
        /// hour, is added. Default: 5400; with the role `domain-controller` 300 and no
        /// random part.
        refresh_seconds: Option<u32> = None;
        /// The domain controller to ask, by its DNS name, instead of those that DNS names.
        controller: Option<String> = None;
        /// Days after which the machine gives its account a new password, as Windows does
        /// after 30; the keytab gets the new keys. 0: never, which is right where another
        /// program uses the account too and changes its password itself.
        machine_password_days: u32 = 0;
    }
}

impl GroupPolicySection {
    /// The keytab.
    pub fn keytab(&self) -> PathBuf {
        self.keytab
            .clone()
            .unwrap_or_else(|| PathBuf::from(DEFAULT_KEYTAB))
    }

    /// The account, or what it is on a machine of this name.
    pub fn account(&self, host: &str) -> String {
        self.account
            .clone()
            .unwrap_or_else(|| format!("{}$", host.to_uppercase()))
    }

    /// Time between two refreshes, and the most that is added to it by chance.
    pub fn refresh(&self, role: Role) -> (Duration, Duration) {
        let seconds = |count: u32| Duration::from_secs(u64::from(count));
        match self.refresh_seconds {
            None if role == Role::DomainController => (seconds(300), Duration::ZERO),
            given => {
                let base = given.unwrap_or(5400);
                (seconds(base), seconds((base / 3).min(1800)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    fn parse(section: &str) -> Result<Config, String> {
        let text = format!("[group-policy]\n{section}");
        Config::parse(&text, Path::new("x.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_accepted() {
        let config = parse(
            "domain = \"lab.example\"\naccount = \"FILES$\"\nkeytab = \"/etc/x.keytab\"\n\
             refresh-seconds = 60\ncontroller = \"dc1.lab.example\"",
        )
        .unwrap();
        assert_eq!(config.group_policy.account("host"), "FILES$");
        assert_eq!(config.group_policy.refresh_seconds, Some(60));
        let short = parse("domain = \"lab.example\"").unwrap().group_policy;
        assert_eq!(short.account("host"), "HOST$");
        assert_eq!(short.keytab(), Path::new(super::DEFAULT_KEYTAB));
    }

    #[test]
    fn what_is_refused() {
        for (section, why) in [
            ("domain = \"lab\"", "not the DNS name"),
            ("domain = \"lab..example\"", "not the DNS name"),
            ("account = \"x$\"", "no `domain`"),
            ("domain = \"a.b\"\naccount = \"a@b\"", "not the name"),
            (
                "domain = \"a.b\"\ncontroller = \"10.0.0.1\"",
                "knows no addresses",
            ),
            ("domain = \"a.b\"\nrefresh-seconds = 6", "not between"),
            ("domain = \"a.b\"\nrefresh-seconds = 4000000", "not between"),
            (
                "domain = \"a.b\"\nmachine-password-days = 1000",
                "more than 999",
            ),
            ("machine-password-days = 30", "no `domain`"),
            ("domain = \"a.b\"\nsite = \"x\"", "site"),
        ] {
            let error = parse(section).unwrap_err();
            assert!(error.contains(why), "{section}: {error}");
        }
    }
}
