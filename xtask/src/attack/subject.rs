//! The servers that are attacked: ours, smbd, or one elsewhere.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Res;
use crate::process::{find, run};
use crate::server::{PASSWORD, Samba, Server, Setup, USER};

/// Who logs on, and where to.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) share: String,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
            share: "share".to_owned(),
        }
    }
}

/// A server to attack.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    place: Place,
    #[expect(dead_code, reason = "ends when dropped")]
    process: Process,
}

#[expect(dead_code, reason = "ends when dropped")]
enum Process {
    Ours(Server),
    Smbd(Samba),
    Elsewhere,
}

/// Where the files of the share are seen.
enum Place {
    /// In the folder behind it.
    Folder(PathBuf),
    /// Through smbclient, into this folder.
    Remote { mirror: PathBuf, account: Account },
}

/// The names that attacks leave behind.
const NAMES: [&str; 3] = ["victim", "forged", "kept"];

impl Target {
    /// Our server with signing `off`, `offered` or `required`.
    pub(crate) fn ours(binary: &Path, folder: &Path, signing: &str) -> Res<Self> {
        let place = folder.join(format!("ours-{signing}"));
        std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
        let (always, agrees) = match signing {
            "off" => ("disabled", "disabled"),
            "offered" => ("disabled", "enabled"),
            _ => ("enabled", "enabled"),
        };
        let server = Setup::new(binary, &place).policy(always, agrees).start()?;
        Ok(Self {
            address: SocketAddr::from(([127, 0, 0, 1], server.port)),
            place: Place::Folder(server.share.clone()),
            process: Process::Ours(server),
        })
    }

    /// smbd likewise.
    pub(crate) fn smbd(folder: &Path, signing: &str) -> Res<Self> {
        let place = folder.join(format!("smbd-{signing}"));
        let share = place.join("share");
        std::fs::create_dir_all(&share).map_err(|e| e.to_string())?;
        let value = match signing {
            "off" => "disabled",
            "offered" => "auto",
            _ => "mandatory",
        };
        let server = Samba::start(&place, &share, value)?;
        Ok(Self {
            address: SocketAddr::from(([127, 0, 0, 1], server.port)),
            place: Place::Folder(share),
            process: Process::Smbd(server),
        })
    }

    /// A server that runs already, `HOST:PORT`; its share is used and emptied of the
    /// names that the attacks use.
    pub(crate) fn elsewhere(host: &str, folder: &Path, account: &Account) -> Res<Self> {
        let whole = if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:445")
        };
        let address = whole
            .to_socket_addrs()
            .map_err(|e| format!("{whole}: {e}"))?
            .next()
            .ok_or_else(|| format!("{whole}: no address"))?;
        let mirror = folder.join("mirror");
        std::fs::create_dir_all(&mirror).map_err(|e| e.to_string())?;
        let account = account.clone();
        Ok(Self {
            address,
            place: Place::Remote { mirror, account },
            process: Process::Elsewhere,
        })
    }

    /// The folder behind the share, if it is here.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match &self.place {
            Place::Folder(folder) => Some(folder),
            Place::Remote { .. } => None,
        }
    }

    /// Removes what attacks left.
    pub(crate) fn empty(&self) -> Res<()> {
        match &self.place {
            Place::Folder(share) => clear(share),
            Place::Remote { mirror, account } => {
                clear(mirror)?;
                let script: Vec<String> = NAMES.iter().map(|n| format!("del {n}")).collect();
                self.remote(mirror, account, &script.join("; "))
            }
        }
    }

    /// Puts a file on the share under the name `kept`.
    pub(crate) fn keep(&self, file: &Path) -> Res<()> {
        match &self.place {
            Place::Folder(share) => {
                use std::os::unix::fs::PermissionsExt;
                let kept = share.join("kept");
                std::fs::copy(file, &kept).map_err(|e| e.to_string())?;
                // smbd acts as the user.
                let all = std::fs::Permissions::from_mode(0o666);
                std::fs::set_permissions(&kept, all).map_err(|e| e.to_string())
            }
            Place::Remote { mirror, account } => {
                self.remote(mirror, account, &format!("put {} kept", file.display()))
            }
        }
    }

    /// What is on the share.
    pub(crate) fn files(&self) -> Res<BTreeMap<String, Vec<u8>>> {
        let folder = match &self.place {
            Place::Folder(share) => share,
            Place::Remote { mirror, account } => {
                let script: Vec<String> = NAMES.iter().map(|n| format!("get {n}")).collect();
                self.remote(mirror, account, &script.join("; "))?;
                mirror
            }
        };
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder)
            .map_err(|e| e.to_string())?
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            files.insert(name, std::fs::read(entry.path()).unwrap_or_default());
        }
        Ok(files)
    }

    fn remote(&self, mirror: &Path, account: &Account, script: &str) -> Res<()> {
        let smbclient = find("smbclient").ok_or("smbclient is not installed")?;
        let mut c = Command::new(smbclient);
        c.arg(format!("//{}/{}", self.address.ip(), account.share))
            .args(["-p", &self.address.port().to_string()])
            .args(["-U", &format!("{}%{}", account.user, account.password)])
            .args(["-c", script])
            .current_dir(mirror);
        // That a name is not there is no failure.
        let out = run(c, Duration::from_secs(30))?;
        if out.text().contains("session setup failed") || out.text().contains("Connection to") {
            return Err(out.tail());
        }
        Ok(())
    }
}

fn clear(folder: &Path) -> Res<()> {
    for entry in std::fs::read_dir(folder)
        .map_err(|e| e.to_string())?
        .flatten()
    {
        if entry.file_name() != ".countersign" {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}
