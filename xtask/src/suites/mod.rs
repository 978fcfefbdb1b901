//! The suites of real clients, one file each.

pub(crate) mod attack;
pub(crate) mod audit;
pub(crate) mod captures;
pub(crate) mod client;
pub(crate) mod commands;
pub(crate) mod gpo;
pub(crate) mod kerberos;
pub(crate) mod live;
pub(crate) mod matrix;
pub(crate) mod python;
pub(crate) mod scan;
pub(crate) mod tamper;
pub(crate) mod tools;
pub(crate) mod verify;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::lab::{self, Lab};
use crate::peers::Peers;
use crate::process::{Output, Talk, run};
use crate::report::Tally;
use crate::server::{PASSWORD, USER};
use crate::{Res, workspace};

/// What every suite gets.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) peers: Peers,
    /// The built server.
    pub(crate) binary: PathBuf,
    /// The large file and the many files too.
    pub(crate) full: bool,
    lab: std::cell::OnceCell<Result<Lab, String>>,
}

impl Context {
    pub(crate) fn new(peers: Peers, binary: PathBuf, full: bool) -> Self {
        Self {
            peers,
            binary,
            full,
            lab: std::cell::OnceCell::new(),
        }
    }

    /// The domain all suites share, started when first asked for, or a counted skip
    /// where none can be had.
    pub(crate) fn need_lab(&self, tally: &mut Tally, what: &str) -> Option<&Lab> {
        if self.lab.get().is_none()
            && let Err(why) = lab::available()
        {
            tally.skip(what, &why);
            return None;
        }
        let started = self
            .lab
            .get_or_init(|| Lab::start(&workspace::target().join("xtask/lab")));
        match started {
            Ok(lab) => Some(lab),
            Err(why) => {
                tally.fail(what, why);
                None
            }
        }
    }
}

/// smbclient with a configuration of its own.
#[derive(Debug, Clone)]
pub(crate) struct Smbclient {
    program: PathBuf,
    conf: PathBuf,
    folder: PathBuf,
}

impl Smbclient {
    pub(crate) fn new(program: &Path, folder: &Path) -> Res<Self> {
        let conf = folder.join("client.conf");
        let f = folder.display();
        let text = format!(
            "[global]\n private dir = {f}\n lock directory = {f}\n state directory = {f}\n \
             cache directory = {f}\n pid directory = {f}\n ncalrpc dir = {f}\n \
             client min protocol = NT1\n client max protocol = SMB3\n log level = 0\n"
        );
        std::fs::write(&conf, text).map_err(|e| e.to_string())?;
        Ok(Self {
            program: program.to_owned(),
            conf,
            folder: folder.to_owned(),
        })
    }

    /// The command that speaks to `//127.0.0.1/share`.
    fn command(&self, port: u16, dialect: &str, protection: &str) -> Command {
        let mut c = Command::new(&self.program);
        c.arg("//127.0.0.1/share")
            .args(["-p", &port.to_string()])
            .arg("-s")
            .arg(&self.conf);
        c.args(["-U", &format!("{USER}%{PASSWORD}"), "-m", dialect]);
        c.arg(format!("--client-protection={protection}"));
        c.current_dir(&self.folder);
        c
    }

    /// smbclient that waits for commands; it says everything on stderr, at once.
    pub(crate) fn talk(&self, port: u16, dialect: &str, protection: &str) -> Res<Talk> {
        let mut c = self.command(port, dialect, protection);
        c.arg("-E");
        Talk::start(c)
    }

    /// Runs `script`; any NT_STATUS in its output makes it fail.
    pub(crate) fn run(
        &self,
        port: u16,
        dialect: &str,
        protection: &str,
        script: &str,
        limit: Duration,
    ) -> Res<Output> {
        let mut c = self.command(port, dialect, protection);
        c.args(["-c", script]);
        let mut out = run(c, limit)?;
        if out.ok() && (out.text().contains("NT_STATUS_") || out.text().contains("ERRDOS")) {
            out.code = Some(1);
        }
        Ok(out)
    }

    /// The arguments that `-L` takes.
    pub(crate) fn list_shares(&self, port: u16, dialect: &str) -> Res<Output> {
        let mut c = Command::new(&self.program);
        c.args(["-L", "//127.0.0.1", "-p", &port.to_string()])
            .arg("-s")
            .arg(&self.conf);
        c.args(["-U", &format!("{USER}%{PASSWORD}"), "-m", dialect, "-g"]);
        c.current_dir(&self.folder);
        run(c, Duration::from_secs(30))
    }
}

/// Bytes that look random and are the same each time.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

/// Whether two files are equal, read in pieces.
pub(crate) fn same_files(a: &Path, b: &Path) -> Res<()> {
    use std::io::Read;
    let open = |p: &Path| std::fs::File::open(p).map_err(|e| format!("{}: {e}", p.display()));
    let (mut fa, mut fb) = (open(a)?, open(b)?);
    let (mut ba, mut bb) = (vec![0u8; 1 << 20], vec![0u8; 1 << 20]);
    let mut at = 0u64;
    loop {
        let fill = |f: &mut std::fs::File, buffer: &mut [u8]| -> Res<usize> {
            let mut n = 0;
            while n < buffer.len() {
                let room = buffer.get_mut(n..).unwrap_or_default();
                match f.read(room).map_err(|e| e.to_string())? {
                    0 => break,
                    got => n += got,
                }
            }
            Ok(n)
        };
        let (na, nb) = (fill(&mut fa, &mut ba)?, fill(&mut fb, &mut bb)?);
        if na != nb || ba.get(..na) != bb.get(..nb) {
            return Err(format!(
                "{} and {} differ behind byte {at}",
                a.display(),
                b.display()
            ));
        }
        if na == 0 {
            return Ok(());
        }
        at += na as u64;
    }
}
