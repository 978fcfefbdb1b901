//! Traffic on loopback, and the independent judge of its signatures.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::Value;

use crate::Res;
use crate::lab::{Lab, SERVER_ADDRESS};
use crate::process::{Beside, run};
use crate::server::{PASSWORD, USER};
use crate::workspace;

/// A running capture of one port.
#[derive(Debug)]
pub(crate) struct Capture {
    process: Beside,
    file: PathBuf,
    port: u16,
    /// A program that connects to the port, and the service's keytab.
    inside: Option<(Command, PathBuf)>,
}

impl Capture {
    pub(crate) fn start(dumpcap: &Path, folder: &Path, port: u16) -> Res<Self> {
        Self::start_with(Command::new(dumpcap), folder, port, None)
    }

    /// The same in a lab, of a server at [`SERVER_ADDRESS`].
    pub(crate) fn start_inside(lab: &Lab, dumpcap: &Path, folder: &Path, port: u16) -> Res<Self> {
        let mut mark = lab.command("python3");
        mark.arg(workspace::testdata("lab/ready.py"))
            .args([SERVER_ADDRESS, &port.to_string()]);
        let inside = Some((mark, lab.keytab()));
        Self::start_with(lab.command(dumpcap), folder, port, inside)
    }

    fn start_with(
        mut c: Command,
        folder: &Path,
        port: u16,
        inside: Option<(Command, PathBuf)>,
    ) -> Res<Self> {
        let file = folder.join(format!("port-{port}.pcapng"));
        c.args(["-q", "-i", "lo", "-B", "64", "-f"])
            .arg(format!("tcp port {port}"));
        c.arg("-w").arg(&file);
        let mut process = Beside::start(c, &folder.join(format!("dumpcap-{port}.log")))?;
        process
            .until(Duration::from_secs(15), |line| {
                line.starts_with("File: ").then_some(())
            })
            .map_err(|e| format!("dumpcap: {e}"))?;
        Ok(Self {
            process,
            file,
            port,
            inside,
        })
    }

    /// Ends the capture and judges it: one record for each connection.
    pub(crate) fn judge(mut self, python: &Path) -> Res<Vec<Connection>> {
        // A last connection whose packets show that all before were written.
        let marked = now();
        let keytab = match self.inside.take() {
            None => {
                let _ = std::net::TcpStream::connect(("127.0.0.1", self.port));
                None
            }
            Some((mark, keytab)) => {
                run(mark, Duration::from_secs(20))?;
                Some(keytab)
            }
        };
        let end = std::time::Instant::now() + Duration::from_secs(3);
        let mut size = 0;
        loop {
            std::thread::sleep(Duration::from_millis(300));
            let now = std::fs::metadata(&self.file).map_or(0, |m| m.len());
            if now == size || std::time::Instant::now() > end {
                break;
            }
            size = now;
        }
        self.process.stop(Signal::INT, Duration::from_secs(10))?;
        let all = judge_file(python, &self.file, self.port, keytab.as_deref())?;
        if !all.iter().any(|c| c.first >= marked - 0.01) {
            return Err("the capture lost its end".to_owned());
        }
        Ok(all)
    }
}

/// Seconds since 1970, as the capture counts them.
pub(crate) fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// What the judge says of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connection {
    pub(crate) first: f64,
    /// `0311`, `NT1`; none when nothing was said.
    pub(crate) dialect: Option<String>,
    pub(crate) bad: Vec<String>,
    signed: Vec<(String, u64)>,
    unsigned: Vec<(String, u64)>,
    encrypted: Vec<(String, u64)>,
    why: Vec<(String, u64)>,
}

impl Connection {
    fn from(v: &Value) -> Self {
        let counts = |name: &str| -> Vec<(String, u64)> {
            let object = v.get(name).and_then(Value::as_object);
            object
                .into_iter()
                .flatten()
                .map(|(k, n)| (k.clone(), n.as_u64().unwrap_or(0)))
                .collect()
        };
        let bad = v.get("bad").and_then(Value::as_array).into_iter().flatten();
        Self {
            first: v.get("first").and_then(Value::as_f64).unwrap_or(0.0),
            dialect: v.get("dialect").and_then(Value::as_str).map(str::to_owned),
            bad: bad.filter_map(Value::as_str).map(str::to_owned).collect(),
            signed: counts("signed"),
            unsigned: counts("unsigned"),
            encrypted: counts("encrypted"),
            why: counts("why"),
        }
    }

    /// Messages signed, of commands for which `which` holds (`Q CREATE`, `R READ_ANDX`).
    pub(crate) fn signed(&self, which: impl Fn(&str) -> bool) -> u64 {
        sum(&self.signed, which)
    }

    /// Messages unsigned outside encryption (those inside are counted apart).
    pub(crate) fn unsigned(&self, which: impl Fn(&str) -> bool) -> u64 {
        sum(&self.unsigned, which)
    }

    /// Encrypted messages.
    pub(crate) fn encrypted(&self) -> u64 {
        sum(&self.encrypted, |_| true)
    }

    /// Unsigned messages for a reason.
    pub(crate) fn why(&self, which: impl Fn(&str) -> bool) -> u64 {
        sum(&self.why, which)
    }

    /// The reasons, for messages.
    pub(crate) fn reasons(&self) -> String {
        let list: Vec<String> = self.why.iter().map(|(k, n)| format!("{k} x{n}")).collect();
        list.join("; ")
    }
}

fn sum(counts: &[(String, u64)], which: impl Fn(&str) -> bool) -> u64 {
    counts
        .iter()
        .filter(|(k, _)| which(k))
        .map(|(_, n)| n)
        .sum()
}

/// Runs the verifier over a capture of a server on `port`; a keytab has the keys of
/// Kerberos.
fn judge_file(
    python: &Path,
    file: &Path,
    port: u16,
    keytab: Option<&Path>,
) -> Res<Vec<Connection>> {
    let summary = file.with_extension("json");
    let mut c = std::process::Command::new(python);
    c.arg(workspace::testdata("tools/verify.py"))
        .arg("--summary")
        .arg(&summary);
    c.args([
        "--account",
        &format!("{USER}:{PASSWORD}"),
        "--port",
        &port.to_string(),
    ])
    .arg(file);
    if let Some(keytab) = keytab {
        c.arg("--keytab").arg(keytab);
    }
    let out = run(c, Duration::from_secs(120))?;
    if !out.ok() {
        return Err(format!("the verifier: {}", out.tail()));
    }
    let text = std::fs::read_to_string(&summary).map_err(|e| e.to_string())?;
    let value: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let connections = value
        .as_object()
        .and_then(|o| o.values().next())
        .and_then(|v| v.get("connections"))
        .and_then(Value::as_array);
    Ok(connections
        .into_iter()
        .flatten()
        .map(Connection::from)
        .collect())
}
