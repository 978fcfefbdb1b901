//! What get, put and sync have in common.

use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use countersign_client::Error;
use countersign_client::glob::PathPattern;
use countersign_client::transfer::{
    Done, Existing, Filter, JOBS, Observer, Options, Report, WINDOW,
};

use super::outcome::{Trouble, conclude, report_json};
use super::progress::Progress;
use super::session::CONNECTIONS;
use crate::Outcome;
use crate::output::say_json;

/// How files are copied.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Copying")]
pub(crate) struct CopyArguments {
    /// Files copied at once
    #[arg(short, long, value_name = "N", default_value_t = JOBS as u64,
          value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(crate) jobs: u64,
    /// Connections they are spread over
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=32))]
    pub(crate) connections: Option<u64>,
    /// MiB under way in pieces of large files
    #[arg(long, value_name = "MIB", default_value_t = (WINDOW >> 20) as u64,
          value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(crate) window: u64,
    /// Only files whose name (or path, with a slash) fits
    #[arg(long, value_name = "PATTERN")]
    pub(crate) include: Vec<String>,
    /// No files and folders whose name (or path, with a slash) fits
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Only say what would be done
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// No progress bar
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// A line for each file
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Print JSON at the end
    #[arg(long)]
    pub(crate) json: bool,
}

/// What happens to files that are there already.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ExistingArguments {
    /// Continue what an interrupted copy left; what is complete is not copied again
    #[arg(long, alias = "continue")]
    pub(crate) resume: bool,
    /// Leave files that are there already as they are
    #[arg(long, conflicts_with = "resume")]
    pub(crate) keep: bool,
    /// Keep the time of the last change
    #[arg(long)]
    pub(crate) preserve: bool,
}

impl ExistingArguments {
    pub(crate) fn apply(self, options: &mut Options) {
        options.preserve = self.preserve;
        options.existing = match (self.resume, self.keep) {
            (true, _) => Existing::Resume,
            (_, true) => Existing::Keep,
            _ => Existing::Replace,
        };
    }
}

impl CopyArguments {
    pub(crate) fn options(&self) -> Options {
        let patterns = |texts: &[String]| texts.iter().map(|text| PathPattern::new(text)).collect();
        Options {
            jobs: usize::try_from(self.jobs).unwrap_or(JOBS),
            window: usize::try_from(self.window << 20).unwrap_or(WINDOW),
            filter: Filter {
                include: patterns(&self.include),
                exclude: patterns(&self.exclude),
            },
            dry_run: self.dry_run,
            ..Options::default()
        }
    }

    /// How many connections a copy of many files uses.
    pub(crate) fn connections(&self) -> usize {
        self.connections
            .and_then(|number| usize::try_from(number).ok())
            .unwrap_or(CONNECTIONS)
    }

    /// Runs a copy with its progress.
    pub(crate) async fn show<F>(&self, copy: impl FnOnce(Arc<dyn Observer>) -> F) -> Report<Error>
    where
        F: Future<Output = Report<Error>>,
    {
        let progress = Arc::new(Progress::new(
            self.quiet || self.json,
            (self.verbose || self.dry_run) && !self.json,
        ));
        copy(Arc::clone(&progress) as Arc<dyn Observer>).await
    }

    /// Tells of something that was done without a transfer's observer.
    pub(crate) fn tell(&self, done: &Done) {
        let verbose = (self.verbose || self.dry_run) && !self.json;
        Progress::new(true, verbose).finished(done);
    }

    /// Says what the copy came to, or why it did not begin.
    pub(crate) fn end(&self, start: Instant, ended: Result<Report<Error>, Trouble>) -> Outcome {
        let (report, trouble) = match ended {
            Ok(report) => (report, None),
            Err(trouble) => (Report::default(), Some(trouble)),
        };
        if self.json {
            let seconds = start.elapsed().as_secs_f64();
            say_json(&report_json(&report, trouble.as_slice(), seconds))?;
        }
        match trouble {
            Some(trouble) => Err(trouble.into()),
            None => conclude(&report, "copied"),
        }
    }
}
