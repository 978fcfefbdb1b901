//! The real clients: found, or installed where that is possible.

use std::path::PathBuf;
use std::time::Duration;

use crate::process::{command, find, run};
use crate::report::Tally;
use crate::workspace;

/// Programs the suites want, and Debian's package of each.
const PROGRAMS: &[(&str, &str)] = &[
    ("smbclient", "smbclient"),
    ("smbd", "samba"),
    ("smbtorture", "samba-testsuite"),
    ("dumpcap", "tshark"),
    ("tshark", "tshark"),
    ("nmap", "nmap"),
    ("rclone", "rclone"),
    ("curl", "curl"),
    ("python3", "python3"),
];

/// Python modules the suites want, and what to install for each.
const MODULES: &[(&str, &str)] = &[
    ("impacket", "impacket==0.13.1"),
    ("smb", "pysmb==1.2.15"),
    ("smbprotocol", "smbprotocol==1.17.0"),
    ("Cryptodome", "pycryptodomex"),
];

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    programs: Vec<(&'static str, PathBuf)>,
    /// A python that has the modules listed in `modules`.
    python: Option<PathBuf>,
    modules: Vec<&'static str>,
}

impl Peers {
    /// Finds everything, installing what is missing when this is root on Debian.
    pub(crate) fn prepare() -> Self {
        let missing: Vec<&str> = PROGRAMS
            .iter()
            .filter(|(p, _)| find(p).is_none())
            .map(|(_, package)| *package)
            .collect();
        if !missing.is_empty() {
            install(&missing);
        }
        let mut peers = Self::default();
        for (program, _) in PROGRAMS {
            if let Some(path) = find(program) {
                peers.programs.push((program, path));
            }
        }
        peers.prepare_python();
        peers
    }

    pub(crate) fn program(&self, name: &str) -> Option<&PathBuf> {
        self.programs
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, p)| p)
    }

    /// The program, or a counted skip.
    pub(crate) fn need(&self, tally: &mut Tally, what: &str, name: &str) -> Option<&PathBuf> {
        let found = self.program(name);
        if found.is_none() {
            tally.skip(what, &format!("{name} is not installed and could not be"));
        }
        found
    }

    /// A python with a module, or a counted skip.
    pub(crate) fn need_python(
        &self,
        tally: &mut Tally,
        what: &str,
        module: &str,
    ) -> Option<&PathBuf> {
        if self.modules.contains(&module) {
            return self.python.as_ref();
        }
        tally.skip(
            what,
            &format!("python has no module {module} and it could not be installed"),
        );
        None
    }

    fn prepare_python(&mut self) {
        let Some(system) = self.program("python3").cloned() else {
            return;
        };
        let have = modules_of(&system);
        if have.len() == MODULES.len() {
            (self.python, self.modules) = (Some(system), have);
            return;
        }
        let folder = workspace::target().join("python");
        let python = folder.join("bin/python3");
        if !python.exists() {
            println!("making a python environment in {}", folder.display());
            let mut venv = command(&system, &["-m", "venv"]);
            venv.arg(&folder);
            if !run(venv, Duration::from_secs(120)).is_ok_and(|o| o.ok()) {
                // Debian keeps venv in a package of its own.
                install(&["python3-venv"]);
                let mut venv = command(&system, &["-m", "venv", "--clear"]);
                venv.arg(&folder);
                let _ = run(venv, Duration::from_secs(120));
            }
        }
        let mut have_now = modules_of(&python);
        if have_now.len() < MODULES.len() {
            let mut pip = command(&python, &["-m", "pip", "install", "--quiet"]);
            pip.args(MODULES.iter().map(|(_, package)| *package));
            match run(pip, Duration::from_secs(300)) {
                Ok(o) if o.ok() => {}
                Ok(o) => println!("pip: {}", o.tail()),
                Err(e) => println!("{e}"),
            }
            have_now = modules_of(&python);
        }
        (self.python, self.modules) = if have_now.len() >= have.len() {
            (Some(python), have_now)
        } else {
            (Some(system), have)
        };
    }
}

fn modules_of(python: &PathBuf) -> Vec<&'static str> {
    let has = |module: &str| {
        let c = command(python, &["-c", &format!("import {module}")]);
        run(c, Duration::from_secs(30)).is_ok_and(|o| o.ok())
    };
    MODULES.iter().map(|(m, _)| *m).filter(|m| has(m)).collect()
}

/// Installs Debian packages when that is possible.
pub(crate) fn install(packages: &[&str]) {
    if !rustix::process::geteuid().is_root() || find("apt-get").is_none() {
        return;
    }
    println!("installing {}", packages.join(" "));
    for args in [
        vec!["update", "-qq"],
        [
            vec!["install", "-y", "-qq", "--no-install-recommends"],
            packages.to_vec(),
        ]
        .concat(),
    ] {
        let mut apt = command("apt-get", &args);
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        match run(apt, Duration::from_secs(600)) {
            Ok(o) if o.ok() => {}
            Ok(o) => println!("apt-get {}: {}", args.first().unwrap_or(&""), o.tail()),
            Err(e) => println!("{e}"),
        }
    }
}
