//! What can be wrong with a configuration besides the kinds of its values.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::fields::Word;
use super::flags::check_share_name;
use super::group_policy::{PASSWORD_DAYS, REFRESH_SECONDS};
use super::reader::{Problem, Reader, Wrong, twice};
use super::schema::Config;

/// Checks, and gives every mistake with its place.
pub(crate) fn check(config: &Config, text: &str, file: &Path) -> Result<(), Vec<Problem>> {
    let mut checker = Checker {
        text,
        wrongs: Vec::new(),
    };
    checker.shares(config);
    checker.users(config);
    checker.dialects(config);
    checker.names(config);
    checker.lists(config);
    checker.limits(config);
    checker.audit(config);
    checker.group_policy(config);
    if checker.wrongs.is_empty() {
        return Ok(());
    }
    let mut reader = Reader::new(file, text);
    for (at, wrong) in checker.wrongs {
        reader.problem(at, wrong);
    }
    Err(reader.into_problems())
}

struct Checker<'a> {
    text: &'a str,
    wrongs: Vec<(Range<usize>, Wrong)>,
}

/// A step on the way to a value.
#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Item(usize),
}
use Step::{Item, Key};

impl Checker<'_> {
    /// Notes a mistake at the deepest place of the path that the file has.
    fn wrong(&mut self, path: &[Step<'_>], message: impl Into<String>) {
        let at = place(self.text, path);
        self.wrongs.push((at, Wrong::new(message)));
    }

    fn shares(&mut self, config: &Config) {
        for (at, share) in config.share.iter().enumerate() {
            let here = [Key("share"), Item(at)];
            let name = [Key("share"), Item(at), Key("name")];
            if share.name.is_empty() {
                self.wrong(&here, "the share has no `name`");
            } else if let Err(why) = check_share_name(&share.name) {
                self.wrong(&name, why);
            }
            if share.path.as_os_str().is_empty() {
                self.wrong(&here, "the share has no `path`");
            }
            let earlier = config.share.iter().take(at);
            if !share.name.is_empty()
                && earlier
                    .clone()
                    .any(|one| one.name.eq_ignore_ascii_case(&share.name))
            {
                self.wrong(&name, format!("there are two shares `{}`", share.name));
            }
            if share.encrypt && config.encryption.ciphers.is_empty() {
                self.wrong(
                    &[Key("share"), Item(at), Key("encrypt")],
                    "the share requires encryption, but `encryption.ciphers` is empty",
                );
            }
        }
    }

    fn users(&mut self, config: &Config) {
        for (at, user) in config.user.iter().enumerate() {
            let here = [Key("user"), Item(at)];
            if !countersign_auth::users::is_valid_name(&user.name) {
                let why = format!("`{}` cannot be the name of an account", user.name);
                self.wrong(&[Key("user"), Item(at), Key("name")], why);
            }
            if user.nt_hash.is_none() {
                self.wrong(&here, "the user has no `nt-hash`");
            }
            for group in &user.groups {
                if !countersign_auth::users::is_valid_name(group) {
                    let why = format!("`{group}` cannot be the name of a group");
                    self.wrong(&[Key("user"), Item(at), Key("groups")], why);
                }
            }
        }
        if let Some(name) = twice(config.user.iter().map(|user| user.name.as_str())) {
            self.wrong(&[Key("user")], format!("there are two users `{name}`"));
        }
    }

    fn dialects(&mut self, config: &Config) {
        let dialects = &config.dialects;
        if dialects.min > dialects.max {
            self.wrong(
                &[Key("dialects"), Key("min")],
                format!(
                    "the lowest dialect {} is above the highest {}",
                    dialects.min.word(),
                    dialects.max.word()
                ),
            );
        }
        if config.encryption.required && config.encryption.ciphers.is_empty() {
            self.wrong(
                &[Key("encryption"), Key("required")],
                "encryption is required, but `ciphers` is empty",
            );
        }
    }

    fn names(&mut self, config: &Config) {
        if let Some(name) = &config.netbios_name {
            let fits = (1..=15).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if !fits {
                self.wrong(
                    &[Key("netbios-name")],
                    format!("`{name}` is not a NetBIOS name: 1 to 15 letters, digits or `-`"),
                );
            }
        }
        if config.workgroup.is_empty() || config.workgroup.chars().count() > 15 {
            self.wrong(&[Key("workgroup")], "a workgroup has 1 to 15 characters");
        }
    }

    fn lists(&mut self, config: &Config) {
        if config.signing.algorithms.is_empty() {
            self.wrong(
                &[Key("signing"), Key("algorithms")],
                "at least one algorithm: signing cannot be turned off here",
            );
        }
        let algorithms = config.signing.algorithms.iter().map(|one| one.word());
        if let Some(name) = twice(algorithms) {
            self.wrong(
                &[Key("signing"), Key("algorithms")],
                format!("`{name}` stands twice"),
            );
        }
        let ciphers = config.encryption.ciphers.iter().map(|one| one.word());
        if let Some(name) = twice(ciphers) {
            self.wrong(
                &[Key("encryption"), Key("ciphers")],
                format!("`{name}` stands twice"),
            );
        }
        if config.listen.is_empty() && config.listen_netbios.is_empty() {
            self.wrong(&[Key("listen")], "at least one address to listen on");
        }
    }

    fn audit(&mut self, config: &Config) {
        let audit = &config.audit;
        if let Some(syslog) = &audit.syslog
            && let Err(why) = crate::audit::parse_syslog(syslog)
        {
            self.wrong(&[Key("audit"), Key("syslog")], why);
        }
        for (key, value) in [
            ("keep-days", audit.keep_days as usize),
            ("keep-records", audit.keep_records),
            ("keep-mib", audit.keep_mib as usize),
            ("queue", audit.queue),
        ] {
            if value == 0 {
                self.wrong(&[Key("audit"), Key(key)], "must be at least 1");
            }
        }
    }

    fn group_policy(&mut self, config: &Config) {
        let section = &config.group_policy;
        let mut wrong = |key: &'static str, why: String| {
            self.wrong(&[Key("group-policy"), Key(key)], why);
        };
        if let Some(domain) = &section.domain
            && !is_dns_name(domain)
        {
            wrong(
                "domain",
                format!("`{domain}` is not the DNS name of a domain"),
            );
        }
        if let Some(controller) = &section.controller {
            let host = match controller.rsplit_once(':') {
                Some((host, port)) if port.parse::<u16>().is_ok() => host,
                _ => controller,
            };
            if !is_dns_name(host) || host.parse::<std::net::IpAddr>().is_ok() {
                let why = format!("`{controller}` is not a DNS name (Kerberos knows no addresses)");
                wrong("controller", why);
            }
        }
        if let Some(account) = &section.account {
            let name = account.trim_end_matches('$');
            if name.is_empty() || name.len() > 20 || name.contains(['@', '\\', '/', '$', '"']) {
                wrong(
                    "account",
                    format!("`{account}` is not the name of a machine's account"),
                );
            }
        }
        if let Some(seconds) = section.refresh_seconds
            && !REFRESH_SECONDS.contains(&seconds)
        {
            let (least, most) = (REFRESH_SECONDS.start(), REFRESH_SECONDS.end());
            wrong(
                "refresh-seconds",
                format!("{seconds} is not between {least} and {most}"),
            );
        }
        if section.machine_password_days > PASSWORD_DAYS {
            wrong(
                "machine-password-days",
                format!(
                    "{} is more than {PASSWORD_DAYS}",
                    section.machine_password_days
                ),
            );
        }
        let other = section.account.is_some()
            || section.machine_password_days > 0
            || section.keytab.is_some()
            || section.controller.is_some()
            || section.refresh_seconds.is_some();
        if section.domain.is_none() && other {
            self.wrong(
                &[Key("group-policy")],
                "there is no `domain`: nothing would be asked",
            );
        }
    }

    fn limits(&mut self, config: &Config) {
        let limits = &config.limits;
        let bytes = [
            ("max-transact", limits.max_transact.0, 64 << 10, 8 << 20),
            ("smb1-buffer", limits.smb1_buffer.0, 1024, 65_535),
            (
                "smb1-transaction-bytes",
                limits.smb1_transaction_bytes.0,
                64 << 10,
                1 << 30,
            ),
            ("first-frames", limits.first_frames.0, 16 << 10, 16 << 20),
            ("token-bytes", limits.token_bytes.0, 1 << 10, 1 << 20),
            ("queued-output", limits.queued_output.0, 1 << 20, 1 << 30),
        ];
        for (key, value, least, most) in bytes {
            if !(least..=most).contains(&value) {
                self.wrong(
                    &[Key("limits"), Key(key)],
                    format!("{value} is not between {least} and {most} bytes"),
                );
            }
        }
        let counts = [
            ("connections", limits.connections),
            ("connections-per-address", limits.connections_per_address),
            ("smb1-mpx", usize::from(limits.smb1_mpx)),
            ("sessions-per-connection", limits.sessions_per_connection),
            ("channels-per-session", limits.channels_per_session),
            ("trees-per-session", limits.trees_per_session),
            ("opens-per-session", limits.opens_per_session),
            ("credits", usize::from(limits.credits)),
            ("pending-calls", limits.pending_calls),
            ("chain-length", limits.chain_length),
            ("smb1-searches", limits.smb1_searches),
        ];
        for (key, value) in counts {
            if value == 0 {
                self.wrong(&[Key("limits"), Key(key)], "must be at least 1");
            }
        }
    }
}

/// Labels of letters, digits and hyphens, at least two.
fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.contains('.') && name.split('.').all(label)
}

/// Where in the text a value stands; where it is missing, what would contain it.
fn place(text: &str, path: &[Step<'_>]) -> Range<usize> {
    let Ok(table) = DeTable::parse(text) else {
        return 0..0;
    };
    let mut at = 0..0;
    let root = DeValue::Table(table.get_ref().clone());
    let mut value = &root;
    for step in path {
        let next = match (step, value) {
            (Key(key), DeValue::Table(table)) => table.get(*key),
            (Item(number), DeValue::Array(items)) => items.get(*number),
            _ => None,
        };
        match next {
            Some(found) => {
                at = found.span();
                value = found.get_ref();
            }
            None => break,
        }
    }
    at
}
