//! Servers under test: ours, and smbd for comparison.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::Res;
use crate::lab::{Entry, Lab};
use crate::process::{Beside, command, find, run};

/// The account of all suites.
pub(crate) const USER: &str = "smbuser";
/// Its password.
pub(crate) const PASSWORD: &str = "Passw0rd!";
/// A second account.
pub(crate) const USER2: &str = "games";

/// How to start our server.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) binary: PathBuf,
    /// Folder for state, log and share.
    pub(crate) folder: PathBuf,
    pub(crate) smb1: bool,
    /// Command line behind the defaults.
    pub(crate) flags: Vec<String>,
    /// Configuration file, if one is needed.
    pub(crate) config: Option<String>,
    /// The lab it runs in, if any, and the address there.
    inside: Option<(Entry, String)>,
    env: Vec<(&'static str, String)>,
}

/// A running server with one share named `share`.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) port: u16,
    /// The folder behind the share.
    pub(crate) share: PathBuf,
    pub(crate) state: PathBuf,
    process: Beside,
}

impl Setup {
    pub(crate) fn new(binary: &Path, folder: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            folder: folder.to_owned(),
            smb1: true,
            flags: Vec::new(),
            config: None,
            inside: None,
            env: Vec::new(),
        }
    }

    /// The two settings of the server, at a profile and role that define neither.
    pub(crate) fn policy(mut self, always: &str, if_agrees: &str) -> Self {
        self.flags
            .extend(["--profile", "windows-10", "--role", "member"].map(str::to_owned));
        for (setting, value) in [
            ("server-always", always),
            ("server-if-client-agrees", if_agrees),
        ] {
            self.flags
                .extend(["--policy".to_owned(), format!("{setting}={value}")]);
        }
        self
    }

    pub(crate) fn flag(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|f| (*f).to_owned()));
        self
    }

    pub(crate) fn config(mut self, toml: &str) -> Self {
        self.config = Some(toml.to_owned());
        self
    }

    /// With this in its environment.
    pub(crate) fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }

    /// Runs it in a lab, where it listens on this address and port.
    pub(crate) fn inside(mut self, lab: &Lab, listen: &str) -> Self {
        self.inside = Some((lab.entry(), listen.to_owned()));
        self
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(&self) -> Res<Server> {
        let make = |name: &str| -> Res<PathBuf> {
            let path = self.folder.join(name);
            std::fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            Ok(path)
        };
        let (share, state) = (make("share")?, make("state")?);
        let (mut c, listen) = match &self.inside {
            Some((entry, listen)) => (entry.command(&self.binary), listen.as_str()),
            None => (Command::new(&self.binary), "127.0.0.1:0"),
        };
        c.arg("serve")
            .arg("--state")
            .arg(&state)
            .args(["--listen", listen]);
        c.arg("--share").arg(format!("share={}", share.display()));
        for user in [USER, USER2] {
            c.arg("--user").arg(format!("{user}:{PASSWORD}"));
        }
        if self.smb1 {
            c.arg("--smb1");
        }
        if let Some(toml) = &self.config {
            let path = self.folder.join("countersign.toml");
            std::fs::write(&path, toml).map_err(|e| format!("{}: {e}", path.display()))?;
            c.arg("--config").arg(path);
        }
        c.args(&self.flags);
        for (name, value) in &self.env {
            c.env(name, value);
        }
        let mut process = Beside::start(c, &self.folder.join("server.log"))?;
        let port = process
            .until(Duration::from_secs(20), |line| {
                let address = line
                    .split("listening on ")
                    .nth(1)?
                    .split_whitespace()
                    .next()?;
                address
                    .rsplit_once(':')?
                    .1
                    .trim_end_matches([',', '.', ';'])
                    .parse()
                    .ok()
            })
            .map_err(|e| format!("the server: {e}"))?;
        Ok(Server {
            port,
            share,
            state,
            process,
        })
    }
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn log(&self) -> String {
        self.process.output()
    }

    /// Still there and without a panic in its log.
    pub(crate) fn healthy(&mut self) -> Res<()> {
        if !self.process.running() {
            return Err("the server ended".to_owned());
        }
        match self.log().lines().find(|l| l.contains("panicked at")) {
            Some(line) => Err(format!("the server: {line}")),
            None => Ok(()),
        }
    }

    /// Ends it with SIGTERM; it must end cleanly and in time.
    pub(crate) fn stop(mut self) -> Res<()> {
        self.healthy()?;
        match self.process.stop(Signal::TERM, Duration::from_secs(10))? {
            Some(0) => Ok(()),
            other => Err(format!("the server ended with {other:?} after SIGTERM")),
        }
    }
}

/// A port nobody listens on now.
pub(crate) fn free_port() -> Res<u16> {
    let l = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| e.to_string())?;
    l.local_addr().map(|a| a.port()).map_err(|e| e.to_string())
}

/// Samba's server on the same folder, for comparison. Needs root.
#[derive(Debug)]
pub(crate) struct Samba {
    pub(crate) port: u16,
    folder: PathBuf,
    process: Beside,
}

/// Where a killed one was.
#[derive(Debug)]
pub(crate) struct Vanished {
    port: u16,
    folder: PathBuf,
}

impl Samba {
    pub(crate) fn start(folder: &Path, share: &Path, signing: &str) -> Res<Self> {
        Self::start_with(folder, share, signing, "SMB3")
    }

    /// The same with a highest dialect, as smb.conf names it.
    pub(crate) fn start_with(
        folder: &Path,
        share: &Path,
        signing: &str,
        highest: &str,
    ) -> Res<Self> {
        Self::start_more(folder, share, signing, highest, "")
    }

    /// The same with more sections of smb.conf.
    pub(crate) fn start_more(
        folder: &Path,
        share: &Path,
        signing: &str,
        highest: &str,
        more: &str,
    ) -> Res<Self> {
        find("smbd").ok_or("smbd is not installed")?;
        if !rustix::process::geteuid().is_root() {
            return Err("smbd needs root".to_owned());
        }
        for name in ["private", "lock", "state", "cache", "run", "log"] {
            let path = folder.join(name);
            std::fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        let limit = Duration::from_secs(20);
        if !run(command("id", &[USER]), limit)?.ok() {
            let made = run(command("useradd", &["-M", USER]), limit)?;
            if !made.ok() {
                return Err(format!("useradd: {}", made.tail()));
            }
        }
        let port = free_port()?;
        let f = folder.display();
        let conf = folder.join("smb.conf");
        let text = format!(
            "[global]\n server role = standalone server\n smb ports = {port}\n \
             bind interfaces only = yes\n interfaces = lo\n private dir = {f}/private\n \
             lock directory = {f}/lock\n state directory = {f}/state\n \
             cache directory = {f}/cache\n pid directory = {f}/run\n \
             ncalrpc dir = {f}/run/ncalrpc\n log file = {f}/log/%m\n log level = 0\n \
             server min protocol = NT1\n server max protocol = {highest}\n \
             ntlm auth = yes\n server signing = {signing}\n load printers = no\n disable spoolss = yes\n[share]\n path = {}\n \
             read only = no\n store dos attributes = yes\n force user = root\n{more}",
            share.display()
        );
        std::fs::write(&conf, text).map_err(|e| e.to_string())?;
        let script = format!(
            "printf '%s\\n%s\\n' '{PASSWORD}' '{PASSWORD}' | smbpasswd -c '{}' -a -s {USER}",
            conf.display()
        );
        let set = run(command("sh", &["-c", &script]), limit)?;
        if !set.ok() {
            return Err(format!("smbpasswd: {}", set.tail()));
        }
        let folder = folder.to_owned();
        Vanished { port, folder }.again()
    }

    /// Killed with all its sessions, from one moment to the next.
    pub(crate) fn vanish(self) -> Vanished {
        let (port, folder) = (self.port, self.folder.clone());
        drop(self.process);
        Vanished { port, folder }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

impl Vanished {
    /// Started again, as after a restart of its machine: without the opens and locks it
    /// had, which smbd would stumble over.
    pub(crate) fn again(&self) -> Res<Samba> {
        let smbd = find("smbd").ok_or("smbd is not installed")?;
        let locks = self.folder.join("lock");
        let _ = std::fs::remove_dir_all(&locks);
        std::fs::create_dir_all(&locks).map_err(|e| format!("{}: {e}", locks.display()))?;
        let mut c = Command::new(smbd);
        c.arg("-s").arg(self.folder.join("smb.conf"));
        c.args(["-F", "--no-process-group"]);
        let process = Beside::start(c, &self.folder.join("smbd.log"))?;
        wait_port(self.port)?;
        Ok(Samba {
            port: self.port,
            folder: self.folder.clone(),
            process,
        })
    }
}

/// Waits until something listens.
pub(crate) fn wait_port(port: u16) -> Res<()> {
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while std::time::Instant::now() < end {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("nothing listens on port {port}"))
}
