//! How a command ends.

use std::future::Future;

use countersign_client::Error;
use countersign_client::transfer::{Cause, Report};
use serde_json::{Value as Json, json};

use crate::Outcome;
use crate::output::complain;

/// Exit code of an interrupted command: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

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
    match ended {
        Some(outcome) => outcome,
        None => {
            complain(&format!("interrupted{at_interruption}"));
            std::process::exit(INTERRUPTED);
        }
    }
}

/// A failure as JSON: the path, the status if the server gave one, and the words.
pub(crate) fn failure_json(path: &str, cause: &Cause<Error>) -> Json {
    let status = match cause {
        Cause::Remote(error) => error.status().map(|status| status.to_string()),
        _ => None,
    };
    json!({ "path": path, "status": status, "error": cause.to_string() })
}

/// An error of a path, as it is said on standard error.
pub(crate) fn of_path(path: &str, error: &Error) -> String {
    format!("{path}: {error}")
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
pub(crate) fn report_json(report: &Report<Error>, seconds: f64) -> Json {
    let failed: Vec<Json> = report
        .failures
        .iter()
        .map(|failure| failure_json(&failure.path, &failure.cause))
        .collect();
    json!({
        "complete": report.complete(),
        "files": report.files,
        "folders": report.folders,
        "bytes": report.bytes,
        "skipped": report.skipped,
        "removed": report.removed,
        "seconds": seconds,
        "failed": failed,
    })
}
