//! A throw-away Active Directory domain with one Samba controller, in namespaces
//! of its own: its addresses, names and ports meet nothing of the machine's.
//!
//! What runs in it sees the controller at [`DC_ADDRESS`] by its name and by DNS,
//! and has two more addresses, for a file server and for clients. The directory
//! is in memory and is gone with the namespaces; the files a test wants (keytab,
//! krb5.conf, logs) are in the lab's folder.

pub(crate) mod command;

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::Res;
use crate::peers::install;
use crate::process::{command, find, run};
use crate::workspace::testdata;

/// The Kerberos realm; the DNS domain is the same in lower case.
pub(crate) const REALM: &str = "LAB.EXAMPLE";
/// The DNS domain.
pub(crate) const DNS_DOMAIN: &str = "lab.example";
/// The NetBIOS domain.
pub(crate) const DOMAIN: &str = "LAB";
/// The controller.
pub(crate) const DC_HOST: &str = "dc1.lab.example";
/// Its address.
pub(crate) const DC_ADDRESS: &str = "10.53.0.1";
/// The address of `files.lab.example`, where a server under test listens.
pub(crate) const SERVER_ADDRESS: &str = "10.53.0.2";
/// An address for clients.
pub(crate) const CLIENT_ADDRESS: &str = "10.53.0.3";
/// The file server's name.
pub(crate) const FILES_HOST: &str = "files.lab.example";
/// The password of `Administrator`.
pub(crate) const ADMIN_PASSWORD: &str = "Passw0rd.adm";
/// The password of `alice` (in `engineers` and through it in `everybody`) and `bob`
/// (in `everybody`).
pub(crate) const USER_PASSWORD: &str = "Passw0rd.usr";

/// Debian's packages with what the lab is made of.
const PACKAGES: &[&str] = &[
    "samba",
    "samba-dsdb-modules",
    "samba-vfs-modules",
    "samba-ad-provision",
    "winbind",
    "smbclient",
    "krb5-user",
    "python3-samba",
    "iproute2",
    "util-linux",
];

/// Programs that must be there after that.
const PROGRAMS: &[&str] = &[
    "samba",
    "samba-tool",
    "smbclient",
    "kinit",
    "python3",
    "ip",
    "nsenter",
    "unshare",
];

/// A running lab; stopped when dropped, unless [`Lab::keep`] was said.
#[derive(Debug)]
pub(crate) struct Lab {
    folder: PathBuf,
    /// The process that holds the namespaces: number 1 of the lab's own processes.
    first: u32,
    /// What it was started by; its end is the lab's.
    outer: u32,
    child: Option<Child>,
}

/// The way into a lab, for whoever starts programs there.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    first: u32,
    env: Vec<(&'static str, String)>,
}

impl Entry {
    /// A program that will run in the lab, with `LAB_...` and `KRB5_CONFIG` set; the
    /// arguments behind are its own, and signals sent to it arrive.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut c = Command::new(find("nsenter").unwrap_or_else(|| "nsenter".into()));
        c.args([
            "--target",
            &self.first.to_string(),
            "--net",
            "--mount",
            "--",
        ]);
        // The working folder by its name: the one taken along is outside.
        let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
        c.args(["sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(here);
        c.arg(program);
        for (name, value) in &self.env {
            c.env(name, value);
        }
        c
    }
}

/// Why no lab can be had here; installs what is missing when this is root on Debian.
pub(crate) fn available() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("a domain controller needs root".to_owned());
    }
    let lacking = || -> Vec<&str> {
        let absent = |p: &&&str| find(p).is_none();
        PROGRAMS.iter().filter(absent).copied().collect()
    };
    let installed = |package: &&str| {
        let query = command("dpkg-query", &["-W", "-f=${Status}", package]);
        run(query, Duration::from_secs(20)).is_ok_and(|o| o.stdout.ends_with(" installed"))
    };
    if find("dpkg-query").is_some() {
        let missing: Vec<&str> = PACKAGES.iter().filter(|p| !installed(p)).copied().collect();
        if !missing.is_empty() {
            install(&missing);
        }
    }
    let lacking = lacking();
    if !lacking.is_empty() {
        return Err(format!(
            "{} not installed and could not be",
            lacking.join(", ")
        ));
    }
    let mut c = command("unshare", &["--net", "--mount", "--pid", "--fork"]);
    c.args(["mount", "-t", "tmpfs", "lab", "/mnt"]);
    match run(c, Duration::from_secs(20))? {
        o if o.ok() => Ok(()),
        o => Err(format!("no namespaces are to be had here: {}", o.tail())),
    }
}

impl Lab {
    /// Makes a domain and starts its controller, about 10 s. The folder is emptied.
    pub(crate) fn start(folder: &Path) -> Res<Self> {
        if let Some(old) = Self::running(folder) {
            drop(old);
        }
        let _ = std::fs::remove_dir_all(folder);
        let log = folder.join("log");
        std::fs::create_dir_all(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let folder = folder.canonicalize().map_err(|e| e.to_string())?;
        let lab = Self::hold(&folder)?;
        type Work = fn(&Lab) -> Res<()>;
        let steps: [(&str, Work); 4] = [
            ("names", Self::write_files),
            ("provision", Self::provision),
            ("accounts", Self::accounts),
            ("controller", Self::controller),
        ];
        for (name, step) in steps {
            step(&lab).map_err(|why| format!("the lab's {name}: {why}"))?;
        }
        lab.write("outer.pid", &lab.outer.to_string())?;
        lab.write("first.pid", &lab.first.to_string())?;
        Ok(lab)
    }

    /// The lab that runs from this folder.
    pub(crate) fn running(folder: &Path) -> Option<Self> {
        let folder = folder.canonicalize().ok()?;
        let number = |name: &str| -> Option<u32> {
            let text = std::fs::read_to_string(folder.join(name)).ok()?;
            text.trim().parse().ok()
        };
        let (outer, first) = (number("outer.pid")?, number("first.pid")?);
        // The numbers may be somebody else's by now.
        (children(outer) == [first] && is_unshare(outer)).then_some(Self {
            folder,
            first,
            outer,
            child: None,
        })
    }

    /// Lets it run on after this program's end.
    pub(crate) fn keep(self) {
        core::mem::forget(self);
    }

    /// The lab's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The keytab of `files.lab.example`: its account and its `cifs/` and `HOST/` services.
    pub(crate) fn keytab(&self) -> PathBuf {
        self.folder.join("files.keytab")
    }

    /// What programs in the lab find in their environment.
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let own = |text: &str| text.to_owned();
        vec![
            ("LAB_REALM", own(REALM)),
            ("LAB_DOMAIN", own(DOMAIN)),
            ("LAB_DNS_DOMAIN", own(DNS_DOMAIN)),
            ("LAB_BASE_DN", own("DC=lab,DC=example")),
            ("LAB_DC_HOST", own(DC_HOST)),
            ("LAB_DC_ADDRESS", own(DC_ADDRESS)),
            ("LAB_SERVER_ADDRESS", own(SERVER_ADDRESS)),
            ("LAB_CLIENT_ADDRESS", own(CLIENT_ADDRESS)),
            ("LAB_ADMIN", own("Administrator")),
            ("LAB_ADMIN_PASSWORD", own(ADMIN_PASSWORD)),
            ("LAB_USER", own("alice")),
            ("LAB_USER_PASSWORD", own(USER_PASSWORD)),
            ("LAB_FILES_HOST", own(FILES_HOST)),
            ("LAB_FILES_ACCOUNT", own("FILES$")),
            ("LAB_FILES_SPN", format!("cifs/{FILES_HOST}")),
            ("LAB_FILES_KEYTAB", path("files.keytab")),
            ("LAB_SMB_CONF", own("/run/samba/dc/etc/smb.conf")),
            ("LAB_CLIENT_CONF", path("client.conf")),
            ("KRB5_CONFIG", path("krb5.conf")),
            ("KRB5CCNAME", format!("FILE:{}", path("ccache"))),
        ]
    }

    /// The way in.
    pub(crate) fn entry(&self) -> Entry {
        Entry {
            first: self.first,
            env: self.env(),
        }
    }

    /// See [`Entry::command`].
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.entry().command(program)
    }

    /// A Python program of `testdata/lab`, run in the lab; what it printed.
    pub(crate) fn python(&self, script: &str, args: &[&str]) -> Res<String> {
        // Debian's own python: it has Samba's modules.
        let mut c = self.command("/usr/bin/python3");
        c.arg(testdata("lab").join(script)).args(args);
        let out = run(c, Duration::from_secs(90))?;
        if out.ok() {
            Ok(out.stdout)
        } else {
            Err(format!("{script}: {}", out.tail()))
        }
    }

    fn write(&self, name: &str, text: &str) -> Res<()> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// The namespaces, with their addresses and private files in place.
    fn hold(folder: &Path) -> Res<Self> {
        let script = format!(
            "set -e; cd '{}'; ip link set lo up\n\
             for a in {DC_ADDRESS} {SERVER_ADDRESS} {CLIENT_ADDRESS}; do ip addr add $a/24 dev lo; done\n\
             mkdir -p /run/samba; mount -t tmpfs -o mode=755 lab /run/samba\n\
             printf 'nameserver {DC_ADDRESS}\\nsearch {DNS_DOMAIN}\\n' >resolv.conf\n\
             printf '127.0.0.1 localhost\\n{DC_ADDRESS} {DC_HOST} dc1\\n{SERVER_ADDRESS} {FILES_HOST} files\\n' >hosts\n\
             for f in resolv.conf hosts; do mount --bind $f /etc/$f; done\n\
             : >held; exec sleep infinity",
            folder.display()
        );
        let log = folder.join("log/hold.log");
        let out = std::fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let err = out.try_clone().map_err(|e| e.to_string())?;
        let mut c = command("unshare", &["--net", "--mount", "--pid", "--fork"]);
        c.args(["--kill-child", "sh", "-c", &script]);
        c.stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0);
        let child = c.spawn().map_err(|e| format!("unshare: {e}"))?;
        let outer = child.id();
        let mut lab = Self {
            folder: folder.to_owned(),
            first: 0,
            outer,
            child: Some(child),
        };
        let end = Instant::now() + Duration::from_secs(20);
        while !folder.join("held").exists() {
            let ended = lab.child.as_mut().map(Child::try_wait);
            if Instant::now() > end || !matches!(ended, Some(Ok(None))) {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("the lab's namespaces: {}", said.trim()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        lab.first = *children(outer)
            .first()
            .ok_or("the lab's namespaces: gone at once")?;
        Ok(lab)
    }

    fn write_files(&self) -> Res<()> {
        self.write(
            "krb5.conf",
            &format!(
                "[libdefaults]\n default_realm = {REALM}\n dns_lookup_realm = false\n \
                 dns_lookup_kdc = true\n dns_canonicalize_hostname = false\n rdns = false\n\
                 [realms]\n {REALM} = {{\n  kdc = {DC_ADDRESS}\n  admin_server = {DC_ADDRESS}\n }}\n\
                 [domain_realm]\n .{DNS_DOMAIN} = {REALM}\n {DNS_DOMAIN} = {REALM}\n"
            ),
        )?;
        let state = self.folder.join("client");
        std::fs::create_dir_all(&state).map_err(|e| e.to_string())?;
        let f = state.display();
        self.write(
            "client.conf",
            &format!(
                "[global]\n realm = {REALM}\n workgroup = {DOMAIN}\n private dir = {f}\n \
                 lock directory = {f}\n state directory = {f}\n cache directory = {f}\n \
                 pid directory = {f}\n ncalrpc dir = {f}\n client min protocol = NT1\n \
                 client max protocol = SMB3\n log level = 0\n"
            ),
        )
    }

    fn provision(&self) -> Res<()> {
        let mut c = self.command("samba-tool");
        c.args(["domain", "provision", "-s"])
            .arg(self.folder.join("client.conf"));
        let log = format!("log file={}/log/%m.log", self.folder.display());
        c.args(["--targetdir=/run/samba/dc", "--server-role=dc"]);
        c.args(["--dns-backend=SAMBA_INTERNAL", "--use-rfc2307"]);
        c.arg(format!("--realm={REALM}"))
            .arg(format!("--domain={DOMAIN}"))
            .arg("--host-name=dc1")
            .arg(format!("--host-ip={DC_ADDRESS}"))
            .arg(format!("--adminpass={ADMIN_PASSWORD}"));
        let interfaces = format!("interfaces={DC_ADDRESS}/32 127.0.0.1/32");
        for option in [
            interfaces.as_str(),
            "bind interfaces only=yes",
            "dns forwarder=",
            "pid directory=/run/samba",
            "ncalrpc dir=/run/samba/ncalrpc",
            "max log size=0",
            &log,
            "disable netbios=yes",
            "smb ports=445",
            "log level=1 auth_audit:3",
            "ntlm auth=ntlmv2-only",
            "load printers=no",
            "disable spoolss=yes",
            "server services=-wrepl,-ntp_signd,-kcc,-dnsupdate",
        ] {
            c.arg(format!("--option={option}"));
        }
        let out = run(c, Duration::from_secs(120))?;
        self.write("log/provision.log", &out.text())?;
        if out.ok() { Ok(()) } else { Err(out.tail()) }
    }

    fn accounts(&self) -> Res<()> {
        let keytab = self.keytab().display().to_string();
        let conf = "/run/samba/dc/etc/smb.conf";
        self.python("accounts.py", &[conf, &keytab, USER_PASSWORD])?;
        if self.keytab().exists() {
            Ok(())
        } else {
            Err("no keytab was made".to_owned())
        }
    }

    /// Starts samba among the lab's own processes, and waits until it answers.
    fn controller(&self) -> Res<()> {
        let log = self.folder.join("log/samba.log");
        let out = std::fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let err = out.try_clone().map_err(|e| e.to_string())?;
        let mut c = Command::new("nsenter");
        c.args(["--target", &self.first.to_string()]);
        c.args(["--net", "--mount", "--pid", "--"]);
        // Its parent ends, so that it belongs to the lab's first process.
        c.args(["sh", "-c", "\"$@\" & exit 0", "sh"])
            .arg(find("samba").unwrap_or_else(|| "samba".into()));
        c.args(["--interactive", "--no-process-group", "-M", "prefork"]);
        c.args(["-s", "/run/samba/dc/etc/smb.conf"]);
        for (name, value) in self.env() {
            c.env(name, value);
        }
        c.stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0);
        let status = c.status().map_err(|e| format!("nsenter: {e}"))?;
        if !status.success() {
            return Err(format!("nsenter: {status}"));
        }
        let ports = ["53", "88", "389", "445"];
        self.python("ready.py", &[&[DC_ADDRESS][..], &ports].concat())
            .map_err(|why| format!("{why}; see {}", log.display()))?;
        // Listening is not yet answering.
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let mut probe = self.command("smbclient");
            probe
                .arg("-s")
                .arg(self.folder.join("client.conf"))
                .arg(format!("//{DC_HOST}/sysvol"))
                .arg(format!("-UAdministrator%{ADMIN_PASSWORD}"))
                .args(["-c", "ls"]);
            let out = run(probe, Duration::from_secs(20))?;
            if out.ok() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("sysvol cannot be read: {}", out.tail()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The first process ends with its parent, and everything in the lab with it.
        if let Some(pid) = i32::try_from(self.outer).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
        let first = PathBuf::from(format!("/proc/{}/ns/net", self.first));
        let end = Instant::now() + Duration::from_secs(5);
        while first.exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        for name in ["outer.pid", "first.pid", "held"] {
            let _ = std::fs::remove_file(self.folder.join(name));
        }
    }
}

fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect()
}

fn is_unshare(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim() == "unshare")
}
