//! The asking side: what the commands use.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::time::Duration;

use super::{Answer, Request, socket};
use crate::state::State;

/// Longest answer believed: a million sessions.
const ANSWER: u64 = 512 << 20;

/// The answer of one running server.
#[derive(Debug)]
pub struct Asked {
    /// Its process id.
    pub pid: u32,
    /// What it said.
    pub answer: io::Result<Answer>,
}

/// Asks every running server of a state folder. Sockets that servers left behind
/// when they were killed are removed.
pub fn ask_all(state: &State, request: &Request, patience: Duration) -> Vec<Asked> {
    let mut servers: Vec<(u32, std::path::PathBuf)> = fs::read_dir(state.folder())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let pid = name
                .to_str()?
                .strip_prefix("admin-")?
                .strip_suffix(".sock")?
                .parse()
                .ok()?;
            Some((pid, entry.path()))
        })
        .collect();
    servers.sort();
    let mut answers = Vec::new();
    for (pid, path) in servers {
        let answer = ask(&path, request, patience);
        if answer
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
            let _ = fs::remove_file(&path);
            continue;
        }
        answers.push(Asked { pid, answer });
    }
    answers
}

/// Asks one server.
///
/// # Errors
/// When it cannot be reached or does not answer in time.
pub fn ask(path: &Path, request: &Request, patience: Duration) -> io::Result<Answer> {
    let mut stream = socket::connect(path)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(ANSWER)).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
