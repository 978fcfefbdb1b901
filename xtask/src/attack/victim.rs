//! The clients that are attacked: smbclient, our own commands, or any other.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Setting;
use super::design::Nature;
use super::man::Attack;
use super::subject::{Account, Smbclient};
use crate::Res;
use crate::process::{Output, run};

/// How long a victim may take.
const PATIENCE: Duration = Duration::from_secs(12);

/// A client.
pub(crate) struct Victim {
    folder: PathBuf,
    account: Account,
    kind: Kind,
}

enum Kind {
    Smbclient(Smbclient),
    Ours { binary: PathBuf, password: PathBuf },
    Other(Other),
}

/// Another client: shell commands, and what it is set to.
#[derive(Debug, Clone)]
pub(crate) struct Other {
    /// Writes `$FILE` to the share as `$NAME`.
    pub(crate) put: String,
    /// Reads `$NAME` from the share into `$FILE`, if it can be attacked so.
    pub(crate) get: Option<String>,
    /// `off`, `offered` or `required`.
    pub(crate) signing: String,
    /// How long it may take.
    pub(crate) patience: Duration,
}

/// What a victim writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// One WRITE.
    Small,
    /// Several.
    Large,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Source::Small => "small",
            Source::Large => "large",
        }
    }
}

impl Victim {
    /// smbclient with a configuration of its own.
    pub(crate) fn smbclient(folder: &Path, account: &Account) -> Res<Self> {
        Ok(Self {
            folder: folder.to_owned(),
            account: account.clone(),
            kind: Kind::Smbclient(Smbclient::new(folder, account)?),
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

    /// Any other client.
    pub(crate) fn other(folder: &Path, account: &Account, other: Other) -> Self {
        Self {
            folder: folder.to_owned(),
            account: account.clone(),
            kind: Kind::Other(other),
        }
    }

    /// What an attack needs it to do.
    pub(crate) fn run(
        &self,
        at: SocketAddr,
        dialect: &str,
        setting: Setting,
        attack: Attack,
    ) -> Res<Output> {
        let source = self.source(attack, dialect).name();
        let reads = matches!(attack, Attack::AlterRead | Attack::StripRead);
        match &self.kind {
            Kind::Smbclient(program) => {
                let script = match attack {
                    Attack::Replay => format!("put {source} victim; del victim; ls trigger*"),
                    _ if reads => "get kept fetched".to_owned(),
                    _ => format!("put {source} victim"),
                };
                run_smbclient(program, at, dialect, setting, &script)
            }
            Kind::Ours { binary, password } => {
                let path = |name: &str| format!("smb://{at}/{}/{name}", self.account.share);
                let words = if reads {
                    ["get".to_owned(), path("kept"), "fetched".to_owned()]
                } else {
                    ["put".to_owned(), source.to_owned(), path("victim")]
                };
                self.step(binary, password, dialect, setting, attack, &words)
            }
            Kind::Other(other) => {
                let (script, file, name) = match (reads, &other.get) {
                    (true, Some(get)) => (get, "fetched", "kept"),
                    _ => (&other.put, source, "victim"),
                };
                let mut c = Command::new("sh");
                c.args(["-c", script]).current_dir(&self.folder);
                c.env("FILE", self.folder.join(file)).env("NAME", name);
                c.env("SMB_HOST", at.ip().to_string());
                c.env("SMB_PORT", at.port().to_string());
                c.env("SMB_SHARE", &self.account.share);
                c.env("SMB_USER", &self.account.user);
                c.env("SMB_PASSWORD", &self.account.password);
                run(c, other.patience)
            }
        }
    }

    /// What it is like beyond the policy.
    pub(crate) fn nature(&self) -> Nature {
        match self.kind {
            Kind::Smbclient(_) => Nature {
                eager: true,
                multi_protocol: true,
                takes_guests: true,
                strict: false,
            },
            Kind::Ours { .. } => Nature {
                eager: false,
                multi_protocol: false,
                takes_guests: false,
                strict: true,
            },
            // Not known: what the protocol allows.
            Kind::Other(_) => Nature {
                eager: false,
                multi_protocol: true,
                takes_guests: true,
                strict: false,
            },
        }
    }

    /// Whether it is our own.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.kind, Kind::Ours { .. })
    }

    /// Whether it can be set as a setting says.
    pub(crate) fn can_be(&self, setting: Setting) -> bool {
        match &self.kind {
            Kind::Other(other) => setting.client().contains(&other.signing.as_str()),
            _ => true,
        }
    }

    /// Whether an attack can be made on this client at all.
    pub(crate) fn suits(&self, attack: Attack) -> bool {
        // A command for each file is a connection for each: what was created before
        // cannot be replayed, and it is over before the server refuses what comes twice.
        let replay = matches!(attack, Attack::Replay | Attack::ReplayEncrypted);
        let reads = matches!(attack, Attack::AlterRead | Attack::StripRead);
        match &self.kind {
            Kind::Smbclient(_) => true,
            Kind::Ours { .. } => !replay,
            // Which dialects it offers is not ours to say.
            Kind::Other(other) => {
                !replay
                    && !matches!(attack, Attack::Dialect | Attack::ToSmb1)
                    && (!reads || other.get.is_some())
            }
        }
    }

    /// Which file an attack needs written.
    pub(crate) fn source(&self, attack: Attack, dialect: &str) -> Source {
        // Behind SMB1 our client sends a small file as one compound, in which there is no
        // WRITE or CLOSE of its own to attack.
        let apart = matches!(
            attack,
            Attack::Truncate | Attack::Swallow | Attack::Overtake | Attack::Splice
        );
        match self.kind {
            _ if attack == Attack::Reorder => Source::Large,
            Kind::Ours { .. } if apart && dialect != "NT1" => Source::Large,
            _ => Source::Small,
        }
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

fn run_smbclient(
    program: &Smbclient,
    at: SocketAddr,
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
    let mut c = program.command(at);
    c.args(["-m", dialect, "-t", "6"]);
    c.arg(format!("--option=client signing={signing}"));
    c.arg(format!("--option=client ipc signing={signing}"));
    if setting == Setting::Encrypted {
        c.arg("--client-protection=encrypt");
    }
    c.args(["-c", script]);
    let mut out = run(c, PATIENCE)?;
    if out.ok() && (out.text().contains("NT_STATUS_") || out.text().contains("ERRDOS")) {
        out.code = Some(1);
    }
    Ok(out)
}
