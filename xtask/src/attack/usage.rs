//! How the bench is called.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::DIALECTS;
use super::man::{ALL, Attack};
use super::subject::Account;
use super::victim::Other;
use crate::{Res, flag, number, option};

pub(super) const HELP: &str = "\
cargo xtask attack [--subject WHO,..] [--victim WHO,..] [OPTION..]

  --subject WHO,..     servers: ours, smbd, or HOST[:PORT] of any other (default ours,smbd)
  --victim WHO,..      clients: smbclient, ours (default both)
  --dialects D,..      NT1, SMB2_02, SMB2_10, SMB3_00, SMB3_02, SMB3_11 (default all)
  --only TEXT          attacks whose name has TEXT in it
  --out FILE           writes the tables, below the line in FILE that says so
  --no-relay           without ntlmrelayx

Another server (--subject HOST[:PORT]):
  --signing HOW        what it is set to: off, offered, required (default required)
  --user NAME          its account; the password comes from --password-file FILE or
                       COUNTERSIGN_PASSWORD
  --share NAME         a share for tests, writable (default share)

Another client (before our server):
  --client-put COMMAND a shell command that writes $FILE to the share as $NAME
  --client-get COMMAND one that reads $NAME into $FILE
  --client-signing HOW what it is set to: off, offered, required
  --listen ADDR[:PORT] where the attacker waits for it (default 127.0.0.1, any port)
  --patience SECONDS   how long a command may take (default 12)
                       The commands have SMB_HOST, SMB_PORT, SMB_SHARE, SMB_USER and
                       SMB_PASSWORD in their environment.

Exit status: 0 if nothing succeeded that must not, 1 if something did, 2 for bad usage.
";

/// The name of a client given by its commands.
pub(super) const OTHER_CLIENT: &str = "client";

/// A server to attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    Ours,
    Smbd,
    Elsewhere(String),
}

impl Subject {
    /// As the tables name it.
    pub(super) fn name(&self) -> &str {
        match self {
            Subject::Ours => "Countersign",
            Subject::Smbd => "smbd",
            Subject::Elsewhere(host) => host,
        }
    }
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) subjects: Vec<Subject>,
    pub(super) victims: Vec<String>,
    dialects: Vec<&'static str>,
    only: Option<String>,
    pub(super) out: Option<String>,
    pub(super) account: Account,
    pub(super) signing: String,
    no_relay: bool,
    pub(super) client: Option<Other>,
    pub(super) listen: Option<SocketAddr>,
}

const POSTURES: [&str; 3] = ["off", "offered", "required"];

fn one_of(option: &str, value: &str, allowed: &[&str]) -> Res<()> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(format!("{option} {value}: one of {}", allowed.join(", ")))
}

impl Usage {
    /// `None`: help is wanted.
    pub(super) fn parse(args: &[String]) -> Res<Option<Self>> {
        let mut args = args.to_vec();
        if flag(&mut args, "--help") | flag(&mut args, "-h") {
            return Ok(None);
        }
        let put = option(&mut args, "--client-put")?;
        let get = option(&mut args, "--client-get")?;
        let posture = option(&mut args, "--client-signing")?;
        let patience = number(&mut args, "--patience", 12)?;
        let client = match (put, posture) {
            (Some(put), Some(signing)) => {
                one_of("--client-signing", &signing, &POSTURES)?;
                Some(Other {
                    put,
                    get,
                    signing,
                    patience: Duration::from_secs(patience),
                })
            }
            (Some(_), None) => return Err("--client-put needs --client-signing".to_owned()),
            (None, None) if get.is_none() => None,
            _ => return Err("another client needs --client-put".to_owned()),
        };
        let subjects = option(&mut args, "--subject")?;
        let victims = option(&mut args, "--victim")?;
        if client.is_some() && (subjects.is_some() || victims.is_some()) {
            return Err(
                "another client is attacked before our server: no --subject, no --victim"
                    .to_owned(),
            );
        }
        let default = if client.is_some() {
            "ours"
        } else {
            "ours,smbd"
        };
        let subjects: Vec<Subject> = subjects
            .as_deref()
            .unwrap_or(default)
            .split(',')
            .map(|name| match name {
                "ours" => Subject::Ours,
                "smbd" => Subject::Smbd,
                host => Subject::Elsewhere(host.to_owned()),
            })
            .collect();
        let default = if client.is_some() {
            OTHER_CLIENT
        } else {
            "smbclient,ours"
        };
        let victims: Vec<String> = victims
            .as_deref()
            .unwrap_or(default)
            .split(',')
            .map(str::to_owned)
            .collect();
        if client.is_none() {
            for victim in &victims {
                one_of("--victim", victim, &["smbclient", "ours"])?;
            }
        }
        let mut dialects = Vec::new();
        for wanted in option(&mut args, "--dialects")?
            .iter()
            .flat_map(|d| d.split(','))
        {
            one_of("--dialects", wanted, &DIALECTS)?;
            dialects.extend(DIALECTS.into_iter().filter(|d| *d == wanted));
        }
        if dialects.is_empty() {
            dialects = DIALECTS.to_vec();
        }
        let only = option(&mut args, "--only")?;
        if let Some(text) = &only
            && !ALL.iter().any(|attack| named(*attack, text))
        {
            let names: Vec<String> = ALL.iter().map(|a| format!("{a:?}")).collect();
            return Err(format!(
                "--only {text}: no attack is called so: {}",
                names.join(", ")
            ));
        }
        let signing = option(&mut args, "--signing")?.unwrap_or_else(|| "required".to_owned());
        one_of("--signing", &signing, &POSTURES)?;
        let outside = subjects.iter().any(|s| matches!(s, Subject::Elsewhere(_)));
        let account = account(&mut args, outside)?;
        let listen = match option(&mut args, "--listen")? {
            None => None,
            Some(text) => Some(
                text.parse()
                    .or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 0)))
                    .map_err(|_| format!("--listen {text}: an address, or one with a port"))?,
            ),
        };
        let usage = Self {
            subjects,
            victims,
            dialects,
            only,
            out: option(&mut args, "--out")?,
            account,
            signing,
            no_relay: flag(&mut args, "--no-relay"),
            client,
            listen,
        };
        match args.first() {
            Some(unknown) => Err(format!("`{unknown}` is no option of attack\n\n{HELP}")),
            None => Ok(Some(usage)),
        }
    }

    /// Whether an attack is wanted; the control always is.
    pub(super) fn chooses(&self, attack: Attack, dialect: &str) -> bool {
        let named = self.only.as_deref().is_none_or(|text| named(attack, text));
        self.speaks(dialect) && (named || attack == Attack::None)
    }

    pub(super) fn speaks(&self, dialect: &str) -> bool {
        self.dialects.contains(&dialect)
    }

    /// ntlmrelayx is run, too.
    pub(super) fn relays(&self) -> bool {
        !self.no_relay
            && self.only.is_none()
            && self.client.is_none()
            && self.subjects.contains(&Subject::Ours)
    }
}

fn named(attack: Attack, text: &str) -> bool {
    let name = format!("{attack:?}").to_lowercase();
    name.contains(&text.to_lowercase())
}

/// Who logs on; `outside`: to somebody else's server.
fn account(args: &mut Vec<String>, outside: bool) -> Res<Account> {
    let mut account = Account::default();
    let user = option(args, "--user")?;
    let file = option(args, "--password-file")?;
    let share = option(args, "--share")?;
    let password = match &file {
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
            Some(text.lines().next().unwrap_or_default().to_owned())
        }
        None => std::env::var("COUNTERSIGN_PASSWORD").ok(),
    };
    if !outside {
        if user.is_some() || share.is_some() || file.is_some() {
            return Err("--user, --password-file and --share are for --subject HOST".to_owned());
        }
        return Ok(account);
    }
    account.user = user.ok_or("--subject HOST needs --user")?;
    account.password = password.ok_or(
        "--subject HOST needs the account's password: --password-file, or COUNTERSIGN_PASSWORD",
    )?;
    if let Some(share) = share {
        account.share = share;
    }
    Ok(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Res<Option<Usage>> {
        let args: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Usage::parse(&args)
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("--only nothing", "no attack is called so"),
            ("--dialects 3.1.1", "one of NT1"),
            ("--signing yes", "one of off"),
            ("--victim rclone", "one of smbclient"),
            ("--subject nas", "needs --user"),
            ("--user me", "are for --subject"),
            ("--frobnicate", "no option of attack"),
            ("--client-put x", "--client-signing"),
            ("--client-get x", "--client-put"),
            ("--client-put x --client-signing maybe", "one of off"),
            (
                "--client-put x --client-signing off --subject smbd",
                "before our server",
            ),
            ("--listen nowhere", "an address"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn defaults() {
        let usage = parse("").unwrap().unwrap();
        assert_eq!(usage.subjects, [Subject::Ours, Subject::Smbd]);
        assert!(usage.relays() && usage.chooses(Attack::Hijack, "NT1"));
        let usage = parse("--only hijack --dialects SMB3_11 --subject ours").unwrap();
        let usage = usage.unwrap();
        assert!(usage.chooses(Attack::None, "SMB3_11") && !usage.chooses(Attack::Guest, "SMB3_11"));
        assert!(!usage.chooses(Attack::Hijack, "NT1") && !usage.relays());
        assert!(parse("--help").unwrap().is_none());
    }
}
