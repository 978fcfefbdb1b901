//! Where passwords come from: a prompt without echo, a file, or standard input.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

/// Longest password read.
const LONGEST: u64 = 4096;

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct PasswordSource {
    /// Read the password from the first line of a file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
}

impl PasswordSource {
    /// The password; asks for it twice when no other source is named.
    pub(crate) fn read(&self, name: &str) -> Result<Zeroizing<String>, String> {
        let password = if let Some(path) = &self.password_file {
            from_file(path)?
        } else if self.password_stdin {
            first_line(io::stdin().lock()).map_err(|error| format!("standard input: {error}"))?
        } else {
            ask(name)?
        };
        if password.is_empty() {
            return Err("an empty password is not accepted".to_owned());
        }
        Ok(password)
    }

    /// The password of an account that exists elsewhere: from the source named, the
    /// environment (`COUNTERSIGN_PASSWORD`), or a single question.
    pub(crate) fn existing(&self, name: &str) -> Result<Zeroizing<String>, String> {
        if self.password_file.is_some() || self.password_stdin {
            return self.read(name);
        }
        if let Ok(password) = std::env::var("COUNTERSIGN_PASSWORD") {
            return Ok(Zeroizing::new(password));
        }
        if !io::stdin().is_terminal() {
            return Err(
                "no terminal to ask for the password: use --password-stdin, --password-file \
                 or COUNTERSIGN_PASSWORD"
                    .to_owned(),
            );
        }
        prompt(&format!("Password for {name}: ")).map_err(|error| error.to_string())
    }
}

pub(crate) fn from_file(path: &Path) -> Result<Zeroizing<String>, String> {
    let file = fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    first_line(io::BufReader::new(file)).map_err(|error| format!("{}: {error}", path.display()))
}

/// A file of a password that others may read is told of: it is used all the same, for
/// secrets that are mounted somewhere have such permissions without anybody's doing.
pub(crate) fn warn_if_open(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    if metadata.is_file() && metadata.mode() & 0o077 != 0 {
        crate::output::complain(&format!(
            "warning: others may read {} (mode {:03o}): take their right away with `chmod 600`",
            path.display(),
            metadata.mode() & 0o777
        ));
    }
}

pub(crate) fn first_line(from: impl BufRead) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    from.take(LONGEST).read_line(&mut line)?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}

fn ask(name: &str) -> Result<Zeroizing<String>, String> {
    if !io::stdin().is_terminal() {
        return Err(
            "no terminal to ask for the password: use --password-stdin or --password-file"
                .to_owned(),
        );
    }
    let once = prompt(&format!("Password for {name}: ")).map_err(|error| error.to_string())?;
    let twice = prompt("Once more: ").map_err(|error| error.to_string())?;
    if once != twice {
        return Err("the two passwords differ".to_owned());
    }
    Ok(once)
}

/// Echo is off as long as this lives, and Ctrl-C ends the line rather than the program:
/// a terminal without echo must not be left behind.
struct Quiet {
    before: Termios,
    /// What Ctrl-C sends.
    interrupt: u8,
}

impl Quiet {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let interrupt = before.special_codes[SpecialCodeIndex::VINTR];
        let mut quiet = before.clone();
        quiet
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ISIG);
        quiet.local_modes.insert(LocalModes::ECHONL);
        quiet.special_codes[SpecialCodeIndex::VEOL] = interrupt;
        tcsetattr(io::stdin(), OptionalActions::Drain, &quiet)?;
        Ok(Self { before, interrupt })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// Asks on the terminal, without echo. Ctrl-C ends the program.
pub(crate) fn prompt(text: &str) -> io::Result<Zeroizing<String>> {
    let quiet = Quiet::new()?;
    let mut err = io::stderr().lock();
    err.write_all(text.as_bytes())?;
    err.flush()?;
    drop(err);
    let mut line = Zeroizing::new(Vec::new());
    for byte in io::stdin().lock().take(LONGEST).bytes() {
        match byte? {
            b'\n' => break,
            byte if byte == quiet.interrupt && byte != 0 => {
                drop(quiet);
                let _ = writeln!(io::stderr());
                crate::remote::outcome::interrupted("");
            }
            byte => line.push(byte),
        }
    }
    let text = std::str::from_utf8(&line).map_err(io::Error::other)?;
    let text = text.trim_end_matches('\r');
    if text.is_empty() {
        return Err(io::Error::other("no password was given"));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_end_is_taken_off() {
        assert_eq!(&**first_line(&b" p w \r\nnext"[..]).unwrap(), " p w ");
        assert_eq!(&**first_line(&b""[..]).unwrap(), "");
    }
}
