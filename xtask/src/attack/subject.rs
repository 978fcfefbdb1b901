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

/// smbclient with a configuration of its own, and the password in a file rather than on
/// the list of processes.
#[derive(Debug, Clone)]
pub(crate) struct Smbclient {
    program: PathBuf,
    folder: PathBuf,
    conf: PathBuf,
    login: PathBuf,
    share: String,
}

impl Smbclient {
    pub(crate) fn new(folder: &Path, account: &Account) -> Res<Self> {
        let program = find("smbclient").ok_or("smbclient is not installed")?;
        let (conf, login) = (folder.join("client.conf"), folder.join("client.login"));
        let f = folder.display();
        let text = format!(
            "[global]\n private dir = {f}\n lock directory = {f}\n state directory = {f}\n \
             cache directory = {f}\n pid directory = {f}\n ncalrpc dir = {f}\n \
             client min protocol = NT1\n log level = 0\n"
        );
        std::fs::write(&conf, text).map_err(|e| e.to_string())?;
        let text = format!(
            "username = {}\npassword = {}\n",
            account.user, account.password
        );
        std::fs::write(&login, text).map_err(|e| e.to_string())?;
        Ok(Self {
            program,
            folder: folder.to_owned(),
            conf,
            login,
            share: account.share.clone(),
        })
    }

    /// Ready but for what it is to do.
    pub(crate) fn command(&self, at: SocketAddr) -> Command {
        let mut c = Command::new(&self.program);
        c.arg(format!("//{}/{}", at.ip(), self.share));
        c.args(["-p", &at.port().to_string(), "-s"]).arg(&self.conf);
        c.arg("-A").arg(&self.login).current_dir(&self.folder);
        c
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
    Remote { mirror: PathBuf, client: Smbclient },
}

/// The names that attacks leave behind.
const NAMES: [&str; 3] = ["victim", "forged", "kept"];

impl Target {
    /// Our server with signing `off`, `offered` or `required`.
    pub(crate) fn ours(binary: &Path, folder: &Path, signing: &str) -> Res<Self> {
        Self::start(binary, folder, signing, None)
    }

    /// Our server, speaking one dialect alone.
    pub(crate) fn ours_in(binary: &Path, folder: &Path, signing: &str, dialect: &str) -> Res<Self> {
        let name = match dialect {
            "NT1" => "smb1",
            "SMB2_02" => "2.0.2",
            "SMB2_10" => "2.1",
            "SMB3_00" => "3.0",
            "SMB3_02" => "3.0.2",
            _ => "3.1.1",
        };
        Self::start(binary, folder, signing, Some(name))
    }

    fn start(binary: &Path, folder: &Path, signing: &str, only: Option<&str>) -> Res<Self> {
        let place = folder.join(format!("ours-{signing}"));
        std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
        let (always, agrees) = match signing {
            "off" => ("disabled", "disabled"),
            "offered" => ("disabled", "enabled"),
            _ => ("enabled", "enabled"),
        };
        let mut setup = Setup::new(binary, &place).policy(always, agrees);
        if let Some(name) = only {
            setup.smb1 = false;
            setup = setup.config(&format!("[dialects]\nmin = \"{name}\"\nmax = \"{name}\"\n"));
        }
        let server = setup.start()?;
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

    /// A server that runs already, `HOST[:PORT]`; its share is used and emptied of the
    /// names that the attacks use.
    pub(crate) fn elsewhere(host: &str, folder: &Path, account: &Account) -> Res<Self> {
        let address = address(host)?;
        let mirror = folder.join("mirror");
        std::fs::create_dir_all(&mirror).map_err(|e| e.to_string())?;
        let mut client = Smbclient::new(folder, account)?;
        client.folder.clone_from(&mirror);
        let target = Self {
            address,
            place: Place::Remote { mirror, client },
            process: Process::Elsewhere,
        };
        target.probe()?;
        Ok(target)
    }

    /// The share can be written, read and emptied: else every attack would seem to fail.
    fn probe(&self) -> Res<()> {
        let Place::Remote { mirror, client } = &self.place else {
            return Ok(());
        };
        let file = mirror.join("probe");
        std::fs::write(&file, b"probe").map_err(|e| e.to_string())?;
        let out = self.remote(client, "put probe kept; get kept back; del kept")?;
        let back = std::fs::read(mirror.join("back")).unwrap_or_default();
        clear(mirror)?;
        if out.contains("NT_STATUS_") || back != b"probe" {
            let words: Vec<&str> = out.lines().map(str::trim).collect();
            return Err(format!(
                "the share {} of {} must be there, writable and readable for the account: {}",
                client.share,
                self.address,
                words.join(" | ")
            ));
        }
        Ok(())
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
            Place::Remote { mirror, client } => {
                clear(mirror)?;
                let script: Vec<String> = NAMES.iter().map(|n| format!("del {n}")).collect();
                self.remote(client, &script.join("; ")).map(|_| ())
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
            Place::Remote { client, .. } => self
                .remote(client, &format!("put {} kept", file.display()))
                .map(|_| ()),
        }
    }

    /// What is on the share.
    pub(crate) fn files(&self) -> Res<BTreeMap<String, Vec<u8>>> {
        let folder = match &self.place {
            Place::Folder(share) => share,
            Place::Remote { mirror, client } => {
                let script: Vec<String> = NAMES.iter().map(|n| format!("get {n}")).collect();
                self.remote(client, &script.join("; "))?;
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

    /// What smbclient says of it.
    fn remote(&self, client: &Smbclient, script: &str) -> Res<String> {
        let mut c = client.command(self.address);
        c.args(["-c", script]);
        // That a name is not there is no failure.
        let out = run(c, Duration::from_secs(30))?;
        let text = out.text();
        let lost = [
            "session setup failed",
            "tree connect failed",
            "Connection to",
        ];
        if out.timed_out || lost.iter().any(|words| text.contains(words)) {
            return Err(format!("{}: {}", self.address, out.tail()));
        }
        Ok(text)
    }
}

/// `HOST`, `HOST:PORT`, an IPv6 address, or one in brackets with its port.
fn address(host: &str) -> Res<SocketAddr> {
    let bare: Option<std::net::IpAddr> = host.parse().ok();
    let whole = match bare {
        Some(address) => return Ok(SocketAddr::new(address, 445)),
        None if host.contains(':') => host.to_owned(),
        None => format!("{host}:445"),
    };
    whole
        .to_socket_addrs()
        .map_err(|e| format!("--subject {host}: no such host ({e})"))?
        .next()
        .ok_or_else(|| format!("--subject {host}: the name has no address"))
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
