//! The clients that are attacked: smbclient, and our own commands.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Setting;
use super::man::Attack;
use super::subject::Account;
use crate::Res;
use crate::process::{Output, find, run};

/// How long a victim may take.
const PATIENCE: Duration = Duration::from_secs(12);

/// A client.
pub(crate) struct Victim {
    folder: PathBuf,
    account: Account,
    kind: Kind,
}

enum Kind {
    Smbclient { program: PathBuf, conf: PathBuf },
    Ours { binary: PathBuf, password: PathBuf },
}

impl Victim {
    /// smbclient with a configuration of its own.
    pub(crate) fn smbclient(folder: &Path, account: &Account) -> Res<Self> {
        let program = find("smbclient").ok_or("smbclient is not installed")?;
        let conf = folder.join("client.conf");
        let f = folder.display();
        let text = format!(
            "[global]\n private dir = {f}\n lock directory = {f}\n state directory = {f}\n \
             cache directory = {f}\n pid directory = {f}\n ncalrpc dir = {f}\n \
             client min protocol = NT1\n log level = 0\n"
        );
        std::fs::write(&conf, text).map_err(|e| e.to_string())?;
        Ok(Self {
            folder: folder.to_owned(),
            account: account.clone(),
            kind: Kind::Smbclient { program, conf },
        })
    }

    /// `countersign put` and its like.
    pub(crate) fn ours(binary: &Path, folder: &Path, account: &Account) -> Res<Self> {
        let password = folder.join("password");
        std::fs::write(&password, &account.password).map_err(|e| e.to_string())?;
        let binary = std::path::absolute(binary).map_err(|e| e.to_string())?;
        Ok(Self {
            folder: folder.to_owned(),
            account: account.clone(),
            kind: Kind::Ours { binary, password },
        })
    }

    /// What an attack needs it to do.
    pub(crate) fn run(
        &self,
        port: u16,
        dialect: &str,
        setting: Setting,
        attack: Attack,
    ) -> Res<Output> {
        match &self.kind {
            Kind::Smbclient { program, conf } => {
                self.run_smbclient(program, conf, port, dialect, setting, attack.script())
            }
            Kind::Ours { binary, password } => {
                let at =
                    |name: &str| format!("smb://127.0.0.1:{port}/{}/{name}", self.account.share);
                let steps: Vec<Vec<String>> = match attack {
                    Attack::AlterRead | Attack::StripRead => {
                        vec![vec!["get".into(), at("kept"), "fetched".into()]]
                    }
                    Attack::Reorder => vec![vec!["put".into(), "large".into(), at("victim")]],
                    _ => vec![vec!["put".into(), "small".into(), at("victim")]],
                };
                let mut last = None;
                for step in steps {
                    let out = self.step(binary, password, dialect, setting, attack, &step)?;
                    let ok = out.ok();
                    last = Some(out);
                    if !ok {
                        break;
                    }
                }
                last.ok_or_else(|| "nothing to do".to_owned())
            }
        }
    }

    /// Whether it signs SMB2 although neither side requires it; Windows and our
    /// client do not.
    pub(crate) fn is_eager(&self) -> bool {
        matches!(self.kind, Kind::Smbclient { .. })
    }

    /// Whether an attack can be made on this client at all.
    pub(crate) fn suits(&self, attack: Attack) -> bool {
        // One command is one connection: what was created before cannot be replayed,
        // and it is over before the server refuses what comes twice.
        let replay = matches!(attack, Attack::Replay | Attack::ReplayEncrypted);
        matches!(self.kind, Kind::Smbclient { .. }) || !replay
    }

    fn run_smbclient(
        &self,
        program: &Path,
        conf: &Path,
        port: u16,
        dialect: &str,
        setting: Setting,
        script: &str,
    ) -> Res<Output> {
        let signing = match setting {
            Setting::Unsigned => "disabled",
            Setting::Offered => "desired",
            Setting::Server | Setting::Encrypted => "if_required",
            Setting::Client | Setting::Both => "required",
        };
        let mut c = Command::new(program);
        let user = format!("{}%{}", self.account.user, self.account.password);
        c.arg(format!("//127.0.0.1/{}", self.account.share))
            .args(["-p", &port.to_string(), "-s"]);
        c.arg(conf).args(["-U", &user, "-m", dialect, "-t", "6"]);
        c.arg(format!("--option=client signing={signing}"));
        c.arg(format!("--option=client ipc signing={signing}"));
        if setting == Setting::Encrypted {
            c.arg("--client-protection=encrypt");
        }
        c.args(["-c", script]).current_dir(&self.folder);
        let mut out = run(c, PATIENCE)?;
        if out.ok() && (out.text().contains("NT_STATUS_") || out.text().contains("ERRDOS")) {
            out.code = Some(1);
        }
        Ok(out)
    }

    fn step(
        &self,
        binary: &Path,
        password: &Path,
        dialect: &str,
        setting: Setting,
        attack: Attack,
        words: &[String],
    ) -> Res<Output> {
        let highest = match dialect {
            "NT1" => "smb1",
            "SMB2_02" => "2.0.2",
            "SMB2_10" => "2.1",
            "SMB3_00" => "3.0",
            "SMB3_02" => "3.0.2",
            _ => "3.1.1",
        };
        let range = match attack {
            Attack::ToSmb1 => format!("smb1..{highest}"),
            _ if highest == "smb1" => highest.to_owned(),
            _ => format!("2.0.2..{highest}"),
        };
        let sign = match setting {
            Setting::Unsigned => "off",
            Setting::Offered | Setting::Server | Setting::Encrypted => "offered",
            Setting::Client | Setting::Both => "required",
        };
        let mut c = Command::new(binary);
        c.args(words)
            .args([
                "--user",
                &self.account.user,
                "--sign",
                sign,
                "--dialect",
                &range,
            ])
            .args(["--timeout", "6", "--password-file"])
            .arg(password)
            .arg("--state")
            .arg(self.folder.join("client-state"));
        if setting == Setting::Encrypted {
            c.arg("--encrypt=required");
        }
        c.current_dir(&self.folder);
        run(c, PATIENCE)
    }
}
