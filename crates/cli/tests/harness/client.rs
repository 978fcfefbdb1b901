//! A real client (smbclient, which must be installed) at its prompt.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use super::PATIENCE;

/// One smbclient.
pub(crate) struct Client {
    child: Child,
    lines: mpsc::Receiver<String>,
}

/// smbclient on the share `files` as bob, in one dialect.
pub(crate) fn smbclient(port: &str, dialect: &str, more: &[&str]) -> Command {
    // What it prints must not wait in a buffer.
    let mut command = Command::new("stdbuf");
    command
        .args(["-o0", "smbclient"])
        .args([
            "//127.0.0.1/files",
            "-p",
            port,
            "-U",
            "bob%secret",
            "-m",
            dialect,
        ])
        .args(["--option=client min protocol=NT1", "--configfile=/dev/null"])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Client {
    /// Connects.
    pub(crate) fn start(port: &str, dialect: &str, more: &[&str]) -> Client {
        let mut child = smbclient(port, dialect, more)
            .spawn()
            .expect("smbclient and stdbuf must be installed");
        let (send, lines) = mpsc::channel();
        let outputs: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for output in outputs {
            let send = send.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = send.send(line);
                }
            });
        }
        Client { child, lines }
    }

    /// Lists the folder; whether it could.
    pub(crate) fn works(&mut self) -> bool {
        let stdin = self.child.stdin.as_mut().unwrap();
        // A client whose session ended may be gone already.
        let _ = writeln!(stdin, "ls");
        let _ = stdin.flush();
        let end = Instant::now() + PATIENCE;
        while let Ok(line) = self
            .lines
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            if line.contains("blocks available") {
                return true;
            }
            if line.contains("NT_STATUS") {
                return false;
            }
        }
        false
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
