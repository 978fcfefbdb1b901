//! Running other programs, always with a limit of time.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::Res;

/// What a program that ended left.
#[derive(Debug)]
pub(crate) struct Output {
    /// Exit status; `None` when it was ended at its limit of time or by a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) timed_out: bool,
    pub(crate) took: Duration,
}

impl Output {
    pub(crate) fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Both streams, for messages.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// The last lines of both streams, on one line.
    pub(crate) fn tail(&self) -> String {
        if self.timed_out {
            return format!(
                "no end within {:.0} s; {}",
                self.took.as_secs_f64(),
                last(&self.text())
            );
        }
        format!("status {:?}; {}", self.code, last(&self.text()))
    }
}

fn last(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    lines
        .iter()
        .rev()
        .take(4)
        .rev()
        .copied()
        .collect::<Vec<_>>()
        .join(" | ")
}

/// A command with arguments.
pub(crate) fn command<S: AsRef<OsStr>>(program: S, args: &[&str]) -> Command {
    let mut c = Command::new(program);
    c.args(args);
    c
}

/// Where a program is, if it is installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.extend(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from));
    places
        .into_iter()
        .map(|p| p.join(program))
        .find(|p| p.is_file())
}

/// Sends a signal to a child's process group (each child has its own).
fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

/// Runs to the end, or kills at the limit.
pub(crate) fn run(mut command: Command, limit: Duration) -> Res<Output> {
    let started = Instant::now();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command
        .spawn()
        .map_err(|e| format!("cannot start {}: {e}", command.get_program().display()))?;
    let readers = (collect(child.stdout.take()), collect(child.stderr.take()));
    let status = wait(&mut child, limit);
    let timed_out = status.is_none();
    // Children it left behind hold the pipes open.
    signal(&child, Signal::KILL);
    if timed_out {
        let _ = child.wait();
    }
    let detected = Instant::now();
    let (stdout, out_ended) = readers.0.join().unwrap_or((String::new(), detected));
    let (stderr, err_ended) = readers.1.join().unwrap_or((String::new(), detected));
    // A program that ends closes its pipes: that is seen sooner than by looking now
    // and then.
    let ended = out_ended.max(err_ended).min(detected);
    Ok(Output {
        code: status.flatten(),
        stdout,
        stderr,
        timed_out,
        took: ended.duration_since(started),
    })
}

/// What a pipe brings, and when it ended.
fn collect(from: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<(String, Instant)> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            let _ = from.read_to_end(&mut bytes);
        }
        let ended = Instant::now();
        (String::from_utf8_lossy(&bytes).into_owned(), ended)
    })
}

/// Waits for the end; the code inside is `None` for a signal, outside at the limit.
fn wait(child: &mut Child, limit: Duration) -> Option<Option<i32>> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(2);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.code()),
            Ok(None) if Instant::now() < end => std::thread::sleep(pause),
            _ => return None,
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// A program that runs beside, in its own process group; ended when dropped.
#[derive(Debug)]
pub(crate) struct Beside {
    child: Child,
    log: PathBuf,
}

impl Beside {
    /// Starts it with both streams in a file.
    pub(crate) fn start(mut command: Command, log: &Path) -> Res<Self> {
        let open = || std::fs::File::create(log).map_err(|e| format!("{}: {e}", log.display()));
        let out = open()?;
        let err = out.try_clone().map_err(|e| e.to_string())?;
        command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0);
        let child = command
            .spawn()
            .map_err(|e| format!("cannot start {}: {e}", command.get_program().display()))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written.
    pub(crate) fn output(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until a line of its output has something to say.
    pub(crate) fn until<T>(
        &mut self,
        limit: Duration,
        mut look: impl FnMut(&str) -> Option<T>,
    ) -> Res<T> {
        let end = Instant::now() + limit;
        loop {
            let output = self.output();
            if let Some(found) = output.lines().find_map(&mut look) {
                return Ok(found);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("ended at once ({status}): {}", last(&output)));
            }
            if Instant::now() > end {
                return Err(format!(
                    "said nothing useful in {limit:?}: {}",
                    last(&output)
                ));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it still runs.
    pub(crate) fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end and waits; how it ended.
    pub(crate) fn stop(&mut self, how: Signal, limit: Duration) -> Res<Option<i32>> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, how);
        }
        wait(&mut self.child, limit).ok_or_else(|| format!("did not end within {limit:?}"))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        signal(&self.child, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A program that is spoken to; ended when dropped.
#[derive(Debug)]
pub(crate) struct Talk {
    child: Child,
    heard: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Talk {
    /// Starts it with its streams held.
    pub(crate) fn start(mut command: Command) -> Res<Self> {
        command.process_group(0);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| e.to_string())?;
        let heard = std::sync::Arc::<std::sync::Mutex<String>>::default();
        for stream in [
            child
                .stdout
                .take()
                .map(|s| Box::new(s) as Box<dyn Read + Send>),
            child
                .stderr
                .take()
                .map(|s| Box::new(s) as Box<dyn Read + Send>),
        ] {
            let heard = std::sync::Arc::clone(&heard);
            std::thread::spawn(move || {
                let Some(mut stream) = stream else { return };
                let mut buffer = [0u8; 4096];
                while let Ok(n) = stream.read(&mut buffer) {
                    if n == 0 {
                        return;
                    }
                    let text = String::from_utf8_lossy(buffer.get(..n).unwrap_or_default());
                    if let Ok(mut heard) = heard.lock() {
                        heard.push_str(&text);
                    }
                }
            });
        }
        Ok(Self { child, heard })
    }

    /// Says a line; whether the good word came before any bad one (or the end).
    pub(crate) fn say(
        &mut self,
        line: &str,
        good: &str,
        bad: &[&str],
        limit: Duration,
    ) -> Res<bool> {
        use std::io::Write;
        let from = self.heard.lock().map_or(0, |h| h.len());
        let Some(stdin) = self.child.stdin.as_mut() else {
            return Ok(false);
        };
        if stdin
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| stdin.flush())
            .is_err()
        {
            return Ok(false);
        }
        let end = Instant::now() + limit;
        loop {
            let heard = self.heard.lock().map_or(String::new(), |h| {
                h.get(from..).unwrap_or_default().to_owned()
            });
            if heard.contains(good) {
                return Ok(true);
            }
            let over = !matches!(self.child.try_wait(), Ok(None));
            if over || bad.iter().any(|b| heard.contains(b)) {
                return Ok(false);
            }
            if Instant::now() > end {
                return Err(format!(
                    "no answer to `{line}` within {limit:?}: {}",
                    last(&heard)
                ));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        signal(&self.child, Signal::KILL);
        let _ = self.child.wait();
    }
}
