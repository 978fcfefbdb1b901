//! What the commands write.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A character that acts in a name a client gave must not reach the terminal.
pub(crate) use countersign_audit::printable;
use serde::Serialize;

/// Exit code of a command whose reader has gone: 128 and the number of SIGPIPE.
const NO_READER: i32 = 141;

/// Whether the command is there for its output alone.
static ONLY_OUTPUT: AtomicBool = AtomicBool::new(false);
/// The first thing that could not be written.
static UNWRITTEN: OnceLock<String> = OnceLock::new();

/// From here on the command is of use only as long as somebody reads what it says:
/// `ls | head` must end with `head`, a server or a copy must not.
pub(crate) fn end_with_reader() {
    ONLY_OUTPUT.store(true, Ordering::Relaxed);
}

/// Why standard output could not be written, if so. A reader that has gone is no
/// failure of the command.
pub(crate) fn unwritten() -> Option<&'static str> {
    UNWRITTEN.get().map(String::as_str)
}

/// Ends a command whose output nobody reads any more, if that is all it is for.
pub(crate) fn no_reader(error: &io::Error) {
    if error.kind() == io::ErrorKind::BrokenPipe && ONLY_OUTPUT.load(Ordering::Relaxed) {
        std::process::exit(NO_READER);
    }
}

/// Writes bytes to standard output at once.
pub(crate) fn write(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => no_reader(&error),
        Err(error) => {
            let _ = UNWRITTEN.set(format!("standard output: {error}"));
        }
    }
}

/// Writes a line to standard output at once.
pub(crate) fn say(line: &str) {
    let mut whole = String::with_capacity(line.len() + 1);
    whole.push_str(line);
    whole.push('\n');
    write(whole.as_bytes());
}

/// Writes why a command failed.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(io::stderr().lock(), "countersign: {message}");
}

/// Writes a value as JSON.
pub(crate) fn say_json(value: &impl Serialize) -> Result<(), String> {
    say(&serde_json::to_string_pretty(value).map_err(|error| error.to_string())?);
    Ok(())
}

/// Rows under a head, in columns as wide as they need to be.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|word| word.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let cells: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(head.to_vec())];
    lines.extend(
        rows.iter()
            .map(|row| line(row.iter().map(String::as_str).collect())),
    );
    lines.join("\n")
}

/// Seconds as people read them.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Seconds since 1970 as a date and time, UTC.
pub(crate) fn date(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    countersign_wire::civil::rfc3339(seconds).replacen('T', " ", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = vec![
            vec!["1".to_owned(), "alice".to_owned()],
            vec!["10".to_owned(), "b".to_owned()],
        ];
        assert_eq!(table(&["ID", "USER"], &rows), "ID  USER\n1   alice\n10  b");
    }

    #[test]
    fn dates_are_civil() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_399, "2000-02-28 23:59:59Z"),
            (951_782_400, "2000-02-29 00:00:00Z"),
            (1_709_251_200, "2024-03-01 00:00:00Z"),
            (1_795_365_875, "2026-11-22 16:44:35Z"),
            (4_102_444_799, "2099-12-31 23:59:59Z"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }

    #[test]
    fn spans_are_short() {
        for (seconds, text) in [(0, "0s"), (61, "1m01s"), (3661, "1h01m"), (90_000, "1d01h")] {
            assert_eq!(span(seconds), text);
        }
    }
}
