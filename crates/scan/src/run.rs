//! Many hosts at once.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::host;
use crate::prove::Credentials;
use crate::report::HostReport;
use crate::target::{Host, Target, Targets};

/// How to scan.
#[derive(Clone)]
pub struct Options {
    /// Hosts at once.
    pub parallel: usize,
    /// How long a host may take to connect, and to give each answer.
    pub timeout: Duration,
    /// How long a host may take in all.
    pub host_timeout: Duration,
    /// Hosts begun in a second; `None`: no limit.
    pub rate: Option<u32>,
    /// Do not ask for each algorithm alone.
    pub quick: bool,
    /// Try a null session and a stranger.
    pub accounts: bool,
    /// Prove enforcement with these credentials.
    pub prove: Option<Credentials>,
}

impl Options {
    /// Hosts at once unless said otherwise.
    pub const PARALLEL: usize = 256;
    /// Most hosts at once.
    pub const MAX_PARALLEL: usize = 4096;
    /// Patience unless said otherwise.
    pub const TIMEOUT: Duration = Duration::from_secs(3);
    /// Patience with all of a host unless said otherwise.
    pub const HOST_TIMEOUT: Duration = Duration::from_secs(90);
}

impl Default for Options {
    fn default() -> Self {
        Self {
            parallel: Self::PARALLEL,
            timeout: Self::TIMEOUT,
            host_timeout: Self::HOST_TIMEOUT,
            rate: None,
            quick: false,
            accounts: false,
            prove: None,
        }
    }
}

/// Most hosts that are finished and wait for one before them: reports come in the
/// order of the targets.
const WINDOW: usize = 1 << 14;

/// How far behind its pace a scan may be and still catch up.
const SLACK: Duration = Duration::from_millis(2);

/// Why a scan cannot be made at all.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ScanError {
    /// Zero or too many hosts at once.
    #[error("between 1 and {max} hosts at once, not {0}", max = Options::MAX_PARALLEL)]
    Parallel(usize),
    /// No host a second is no scan.
    #[error("at least 1 host in a second")]
    Rate,
}

/// How a scan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Hosts reported.
    pub reported: usize,
    /// It was stopped before all were.
    pub stopped: bool,
}

/// When the next host may begin.
struct Pace {
    interval: Duration,
    next: Instant,
}

impl Pace {
    fn begun(&mut self) {
        // The clock of sleep is coarse: what it oversleeps is made up for.
        let earliest = Instant::now().checked_sub(SLACK).unwrap_or(self.next);
        self.next = self.next.max(earliest) + self.interval;
    }
}

/// Scans all targets until `stop` comes. `finished` is called for every finished host
/// with the number of those so far; `each` gets the reports in the order of the
/// targets, and may break the scan off. When it is stopped, every report that is
/// there is given still.
///
/// # Errors
/// [`ScanError`]. A host that does not answer is a report with an `error`.
pub async fn scan(
    targets: Targets,
    options: Options,
    stop: impl Future<Output = ()>,
    mut finished: impl FnMut(usize, &HostReport),
    mut each: impl FnMut(HostReport) -> ControlFlow<()>,
) -> Result<End, ScanError> {
    if options.parallel == 0 || options.parallel > Options::MAX_PARALLEL {
        return Err(ScanError::Parallel(options.parallel));
    }
    let interval = match options.rate {
        None => Duration::ZERO,
        Some(rate) => Duration::from_secs(1)
            .checked_div(rate)
            .ok_or(ScanError::Rate)?,
    };
    let mut pace = Pace {
        interval,
        next: Instant::now(),
    };
    let targets = Arc::new(targets);
    let options = Arc::new(options);
    let mut stop = pin!(stop);
    let mut source = targets.iter().enumerate();
    let mut upcoming = source.next();
    let mut tasks: JoinSet<HostReport> = JoinSet::new();
    let mut running: HashMap<Id, (usize, Target)> = HashMap::new();
    // Finished, but not yet in turn.
    let mut waiting: BTreeMap<usize, HostReport> = BTreeMap::new();
    let (mut count, mut reported) = (0_usize, 0_usize);
    let stopped = loop {
        let room = tasks.len() < options.parallel;
        let near = |number: usize| number < reported.saturating_add(WINDOW);
        let begin = upcoming
            .as_ref()
            .is_some_and(|(number, _)| room && near(*number));
        if upcoming.is_none() && tasks.is_empty() {
            break false;
        }
        tokio::select! {
            biased;
            () = &mut stop => break true,
            Some(result) = tasks.join_next_with_id() => {
                let (id, report) = match result {
                    Ok((id, report)) => (id, Some(report)),
                    Err(error) => (error.id(), None),
                };
                let Some((number, target)) = running.remove(&id) else { continue };
                let report = report.unwrap_or_else(|| {
                    let address = target.host.to_string();
                    HostReport::failed(address, target.port, "a fault of the scanner".to_owned())
                });
                count = count.saturating_add(1);
                finished(count, &report);
                waiting.insert(number, report);
                let mut broken = false;
                while let Some(report) = waiting.remove(&reported) {
                    reported = reported.saturating_add(1);
                    broken |= each(report).is_break();
                }
                if broken {
                    break true;
                }
            }
            () = sleep_until(pace.next), if begin => {
                let Some((number, target)) = upcoming.take() else { continue };
                pace.begun();
                let (all, options) = (Arc::clone(&targets), Arc::clone(&options));
                let asked = target.clone();
                let task = tasks.spawn(async move {
                    one(asked, &options, |address| all.is_excluded(address)).await
                });
                running.insert(task.id(), (number, target));
                upcoming = source.next();
            }
        }
    };
    for (_, report) in waiting {
        reported = reported.saturating_add(1);
        if each(report).is_break() {
            break;
        }
    }
    Ok(End { reported, stopped })
}

/// One target: a name may stand for several addresses, of which the first that
/// answers is asked.
async fn one(target: Target, options: &Options, excluded: impl Fn(IpAddr) -> bool) -> HostReport {
    let shown = target.host.to_string();
    if let Some(to) = target.host.address(target.port) {
        return host::ask(to, shown, None, options).await;
    }
    let failed = |error: &str| HostReport::failed(shown.clone(), target.port, error.to_owned());
    let Host::Name(name) = &target.host else {
        return failed("no address");
    };
    let found = tokio::time::timeout(
        options.timeout,
        tokio::net::lookup_host((name.as_str(), target.port)),
    )
    .await;
    let addresses: Vec<SocketAddr> = match found {
        Err(_) => return failed("the name was not resolved in time"),
        Ok(Err(_)) => return failed("the name cannot be resolved"),
        Ok(Ok(addresses)) => addresses.collect(),
    };
    let mut last = None;
    for to in &addresses {
        if excluded(to.ip()) {
            continue;
        }
        let report = host::ask(*to, to.ip().to_string(), Some(name.clone()), options).await;
        let answered = report.error.is_none();
        last = Some(report);
        if answered {
            break;
        }
    }
    last.unwrap_or_else(|| {
        failed(if addresses.is_empty() {
            "the name has no address"
        } else {
            "the name stands for an address that is excluded"
        })
    })
}
