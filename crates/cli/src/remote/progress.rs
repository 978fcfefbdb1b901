//! Progress on a terminal; in a pipe only what went wrong.

use std::io::IsTerminal;
use std::time::Duration;

use countersign_client::transfer::{Action, Done, Observer};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{complain, printable, say};

/// Shows what a transfer does.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    /// A line for each file that was copied.
    verbose: bool,
}

impl Progress {
    /// A bar on a terminal; with `quiet` none.
    pub(crate) fn new(quiet: bool, verbose: bool) -> Progress {
        let bar = (std::io::stderr().is_terminal() && !quiet).then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(8));
            let style = ProgressStyle::with_template(
                "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {wide_msg}",
            );
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Progress { bar, verbose }
    }

    fn aside(&self, say_it: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(say_it),
            None => say_it(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Progress {
    fn found(&self, _files: u64, bytes: u64) {
        if let Some(bar) = &self.bar
            && bytes > 0
        {
            bar.inc_length(bytes);
        }
    }

    fn begin(&self, path: &str, size: u64, done: u64) {
        if let Some(bar) = &self.bar {
            // Names of small files would only flicker.
            if size > 4 << 20 {
                bar.set_message(printable(path));
            }
            bar.inc(done);
        }
    }

    fn advance(&self, _path: &str, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    fn finished(&self, done: &Done) {
        if !self.verbose {
            return;
        }
        let word = match done.action {
            Action::Copied => "copied",
            Action::Resumed => "continued",
            Action::Skipped => "kept",
            Action::Removed => "removed",
            Action::Made => "made",
        };
        let path = printable(&done.remote.replace('\\', "/"));
        self.aside(|| say(&format!("{word} {path}")));
    }

    fn failed(&self, path: &str, why: &str) {
        let text = format!("{}: {}", printable(path), printable(why));
        self.aside(|| complain(&text));
    }
}
