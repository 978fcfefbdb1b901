//! What the tests of the binary share: running it, and servers that end with the test.

#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod client;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

/// Longest wait for a server to do what it should.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command
        .args(arguments)
        .env_remove("XDG_STATE_HOME")
        .stdin(Stdio::null());
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

pub(crate) fn run_with_input(arguments: &[&str], input: &str) -> Output {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not wait for input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// The command succeeds; its standard output.
pub(crate) fn good(output: Output) -> String {
    let text = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}{complaint}");
    text
}

/// The command fails with `code`; its standard error.
pub(crate) fn bad(output: Output, code: i32) -> String {
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{complaint}");
    complaint
}

pub(crate) fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Arc<Mutex<String>>,
    logger: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Server {
        let mut child = command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&log);
        let logger = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = into.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Server {
            child,
            lines,
            log,
            logger: Some(logger),
        }
    }

    pub(crate) fn line(&self) -> String {
        self.lines
            .recv_timeout(PATIENCE)
            .expect("a line on standard output")
    }

    pub(crate) fn address(&self) -> String {
        let line = self.line();
        line.strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("{line}"))
            .to_owned()
    }

    /// The port it listens on, on the loopback.
    pub(crate) fn port(&self) -> String {
        self.address()
            .strip_prefix("127.0.0.1:")
            .unwrap()
            .to_owned()
    }

    /// Sends a signal, waits for the end; the exit code and the log.
    pub(crate) fn end(mut self, signal: &str) -> (Option<i32>, String) {
        self.signal(signal);
        let status = self.child.wait().unwrap();
        self.logger.take().unwrap().join().unwrap();
        (status.code(), self.log())
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A configured server that is not started yet: one share `files`, SMB1 spoken.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) state: String,
    /// The configuration file.
    pub(crate) file: String,
}

impl Site {
    /// `more` follows the `[dialects]` section.
    pub(crate) fn new(more: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| text(&folder.path().join(name));
        let (state, files, file) = (path("state"), path("files"), path("server.toml"));
        std::fs::create_dir(&files).unwrap();
        let config = format!(
            "listen = [\"127.0.0.1:0\"]\nstate = \"{state}\"\n[[share]]\nname = \"files\"\n\
             path = \"{files}\"\n[dialects]\nsmb1 = true\n{more}"
        );
        std::fs::write(&file, config).unwrap();
        Site {
            folder,
            state,
            file,
        }
    }

    /// Starts it for the user `bob`; the server and its port.
    pub(crate) fn start(&self) -> (Server, String) {
        let server = Server::start(&["serve", "--config", &self.file, "--user", "bob:secret"]);
        let port = server.port();
        (server, port)
    }

    /// Runs a command on its state folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut all = arguments.to_vec();
        all.extend(["--state", &self.state]);
        run(&all)
    }
}

pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
