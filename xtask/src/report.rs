//! Counting results; the last line of every run.

use std::time::Instant;

/// What happened to the checks of a run.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failures: Vec<(String, String)>,
    pub(crate) skips: Vec<(String, String)>,
    started: Instant,
    suite: String,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            passed: 0,
            failures: Vec::new(),
            skips: Vec::new(),
            started: Instant::now(),
            suite: String::new(),
        }
    }

    /// A new suite begins.
    pub(crate) fn suite(&mut self, name: &str) {
        self.suite = name.to_owned();
        println!("== {name} ({:.0} s)", self.started.elapsed().as_secs_f64());
    }

    /// A check passed.
    pub(crate) fn pass(&mut self, _name: &str) {
        self.passed += 1;
    }

    /// Many checks passed.
    pub(crate) fn passes(&mut self, count: u64) {
        self.passed += count;
    }

    /// A check failed.
    pub(crate) fn fail(&mut self, name: &str, why: &str) {
        let why = why.trim();
        println!("FAILED  {}: {name}: {why}", self.suite);
        self.failures
            .push((format!("{}: {name}", self.suite), why.to_owned()));
    }

    /// A check was left out, with the reason.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        println!("skipped {}: {name}: {why}", self.suite);
        self.skips
            .push((format!("{}: {name}", self.suite), why.to_owned()));
    }

    /// A check with its result.
    pub(crate) fn check(&mut self, name: &str, result: Result<(), String>) {
        match result {
            Ok(()) => self.pass(name),
            Err(why) => self.fail(name, &why),
        }
    }

    /// Prints the summary; whether nothing failed.
    pub(crate) fn finish(&self) -> bool {
        if !self.failures.is_empty() {
            println!("\nfailures:");
            for (name, why) in &self.failures {
                println!("  {name}: {}", why.lines().next().unwrap_or_default());
            }
        }
        if !self.skips.is_empty() {
            println!("\nskipped:");
            for (name, why) in &self.skips {
                println!("  {name}: {why}");
            }
        }
        println!(
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failures.len(),
            self.skips.len()
        );
        self.failures.is_empty()
    }
}
