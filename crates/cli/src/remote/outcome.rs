//! How a command ends.

use std::fmt;
use std::future::Future;

use countersign_client::location::Location;
use countersign_client::transfer::{Cause, Failure, Found, NameError, Report, expand, to_remote};
use countersign_client::{Error, NtStatus, Share};
use serde_json::{Value as Json, json};

use crate::Outcome;
use crate::output::{complain, say_json};

/// Exit code of an interrupted command: 128 and the number of SIGINT.
pub(crate) const INTERRUPTED: i32 = 130;
/// Exit code of a command line that is wrong, as the parser of options has it.
const MISUSED: i32 = 2;

/// Ends a command whose words are understood one by one but not together.
pub(crate) fn misused(why: &str) -> ! {
    complain(why);
    std::process::exit(MISUSED);
}

/// A command for one thing cannot be told of many.
pub(crate) fn no_wildcards(location: &Location) {
    if location.has_wildcards() {
        misused(&format!("{location}: this command takes no wildcards"));
    }
}

/// Says that the command was interrupted, and ends it.
pub(crate) fn interrupted(more: &str) -> ! {
    complain(&format!("interrupted{more}"));
    std::process::exit(INTERRUPTED);
}

/// Runs a command until it is done or Ctrl-C comes.
pub(crate) fn run<F>(command: F, at_interruption: &str) -> Outcome
where
    F: Future<Output = Outcome>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime cannot be started: {error}"))?;
    let ended = runtime.block_on(async {
        tokio::select! {
            outcome = command => Some(outcome),
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    // What reads from a terminal or a pipe must not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    ended.unwrap_or_else(|| interrupted(at_interruption))
}

/// Something that was not done: where, what the server said, and in words.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    path: String,
    status: Option<NtStatus>,
    text: String,
}

impl Trouble {
    /// An error with a path.
    pub(crate) fn at(path: impl Into<String>, error: &Error) -> Trouble {
        Trouble {
            path: path.into(),
            status: error.status(),
            text: error.to_string(),
        }
    }

    /// A cause with a path.
    pub(crate) fn caused(path: impl Into<String>, cause: &Cause<Error>) -> Trouble {
        Trouble {
            path: path.into(),
            status: match cause {
                Cause::Remote(error) => error.status(),
                _ => None,
            },
            text: cause.to_string(),
        }
    }

    /// What the server did not say.
    pub(crate) fn of(path: impl Into<String>, text: impl Into<String>) -> Trouble {
        Trouble {
            path: path.into(),
            status: None,
            text: text.into(),
        }
    }

    /// A location with wildcards that nothing fits.
    pub(crate) fn nothing_fits(path: impl fmt::Display) -> Trouble {
        Trouble::of(path.to_string(), "nothing fits")
    }

    /// A failure of a transfer.
    pub(crate) fn failure(failure: &Failure<Error>) -> Trouble {
        Trouble::caused(failure.path.clone(), &failure.cause)
    }

    /// As JSON: the path, the status if the server gave one, and the words.
    pub(crate) fn json(&self) -> Json {
        json!({
            "path": self.path,
            "status": self.status.map(|status| status.to_string()),
            "error": self.text,
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.text);
        }
        write!(f, "{}: {}", crate::output::printable(&self.path), self.text)
    }
}

impl From<Trouble> for String {
    fn from(trouble: Trouble) -> String {
        trouble.to_string()
    }
}

impl From<String> for Trouble {
    fn from(text: String) -> Trouble {
        Trouble::of("", text)
    }
}

/// A name for something new, which the server is to give it as it is: servers take
/// dots and spaces off its end.
pub(crate) fn new_name(location: &Location) -> Result<(), Trouble> {
    let name = std::ffi::OsStr::new(location.name().unwrap_or("-"));
    match to_remote(name) {
        Err(error @ (NameError::End | NameError::TooLong)) => {
            Err(Trouble::of(location.to_string(), error.to_string()))
        }
        // Others are the server's to judge: a colon stands before a stream's name.
        _ => Ok(()),
    }
}

/// What a command with several things to do could not do: each is told at once.
#[derive(Debug, Default)]
pub(crate) struct Troubles(u64);

impl Troubles {
    /// One more.
    pub(crate) fn add(&mut self, trouble: &Trouble) {
        complain(&trouble.to_string());
        self.0 += 1;
    }

    /// The value, if there is one.
    pub(crate) fn take<T>(&mut self, result: Result<T, Trouble>) -> Option<T> {
        result.map_err(|trouble| self.add(&trouble)).ok()
    }

    /// What a location names, wildcards expanded; that there is nothing is a trouble.
    pub(crate) async fn expand(&mut self, share: &Share, location: &Location) -> Vec<Found> {
        let found = expand(share, &location.path).await;
        let found = found.map_err(|cause| Trouble::caused(location.to_string(), &cause));
        let Some(found) = self.take(found) else {
            return Vec::new();
        };
        if found.is_empty() {
            self.add(&Trouble::nothing_fits(location));
        }
        found
    }

    /// Those of a walk or a transfer.
    pub(crate) fn walk(&mut self, failures: &[Failure<Error>]) {
        for failure in failures {
            self.add(&Trouble::failure(failure));
        }
    }

    /// The end of the command.
    pub(crate) fn end(&self, otherwise: &str) -> Outcome {
        match self.0 {
            0 => Ok(()),
            _ => Err(otherwise.to_owned()),
        }
    }
}

/// Standard output is JSON even where the command could not begin.
pub(crate) fn or_json<T>(
    as_json: bool,
    empty: &Json,
    result: Result<T, String>,
) -> Result<T, String> {
    if result.is_err() && as_json {
        say_json(empty)?;
    }
    result
}

/// What is left to say after a transfer: nothing, if everything was done.
pub(crate) fn conclude(report: &Report<Error>, verb: &str) -> Outcome {
    match report.failures.len() {
        0 => Ok(()),
        1 => Err(format!("1 thing was not {verb}")),
        many => Err(format!("{many} things were not {verb}")),
    }
}

/// A transfer's report as JSON.
pub(crate) fn report_json(report: &Report<Error>, troubles: &[Trouble], seconds: f64) -> Json {
    let failed: Vec<Json> = report
        .failures
        .iter()
        .map(|failure| Trouble::failure(failure).json())
        .chain(troubles.iter().map(Trouble::json))
        .collect();
    json!({
        "complete": failed.is_empty(),
        "files": report.files,
        "folders": report.folders,
        "bytes": report.bytes,
        "skipped": report.skipped,
        "removed": report.removed,
        "seconds": seconds,
        "failed": failed,
    })
}
