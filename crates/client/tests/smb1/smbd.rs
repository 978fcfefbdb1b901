//! smbd with a share, a password file and a port of its own.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An account every Debian has.
pub(crate) const USER: &str = "games";
pub(crate) const PASSWORD: &str = "Passw0rd!";

pub(crate) struct Smbd {
    pub(crate) port: u16,
    pub(crate) share: PathBuf,
    child: Child,
    folder: tempfile::TempDir,
}

fn find(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/samba/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}

impl Smbd {
    /// Starts it; `None`, with a word why, where that cannot be.
    pub(crate) fn start(signing: &str, more: &str) -> Option<Self> {
        let skip = |why: &str| {
            println!("skipped: {why}");
            None
        };
        let (Some(smbd), Some(smbpasswd)) = (find("smbd"), find("smbpasswd")) else {
            return skip("smbd is not installed");
        };
        let id = Command::new("id").arg("-u").output().ok()?;
        if id.stdout.trim_ascii() != b"0" {
            return skip("smbd needs root");
        }
        let folder = tempfile::tempdir().unwrap();
        let f = folder.path();
        for name in ["private", "lock", "state", "cache", "run", "log", "share"] {
            std::fs::create_dir(f.join(name)).unwrap();
        }
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))
            .and_then(|l| l.local_addr())
            .unwrap()
            .port();
        let d = f.display();
        let conf = f.join("smb.conf");
        let text = format!(
            "[global]\n server role = standalone server\n smb ports = {port}\n \
             bind interfaces only = yes\n interfaces = lo\n private dir = {d}/private\n \
             lock directory = {d}/lock\n state directory = {d}/state\n \
             cache directory = {d}/cache\n pid directory = {d}/run\n \
             ncalrpc dir = {d}/run/ncalrpc\n log file = {d}/log/%m\n log level = 1\n \
             server min protocol = NT1\n ntlm auth = yes\n raw NTLMv2 auth = yes\n \
             server signing = {signing}\n load printers = no\n disable spoolss = yes\n{more}\n\
             [share]\n path = {d}/share\n read only = no\n store dos attributes = yes\n \
             force user = root\n comment = a folder\n"
        );
        std::fs::write(&conf, text).unwrap();
        let mut add = Command::new(smbpasswd)
            .arg("-c")
            .arg(&conf)
            .args(["-a", "-s", USER])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = format!("{PASSWORD}\n{PASSWORD}\n");
        add.stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        if !add.wait().unwrap().success() {
            return skip("no account for smbd");
        }
        let child = Command::new(smbd)
            .arg("-s")
            .arg(&conf)
            .args(["-F", "--no-process-group"])
            // It ends with a signal to its group.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let share = f.join("share");
        let smbd = Self {
            port,
            share,
            child,
            folder,
        };
        let end = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "smbd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(smbd)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Smbd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in std::fs::read_dir(self.folder.path().join("log")).unwrap() {
                let text = std::fs::read(log.unwrap().path()).unwrap_or_default();
                println!("{}", String::from_utf8_lossy(&text));
            }
        }
        // SIGTERM, so that it ends its children too.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(&pid).status();
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
