//! Many hosts at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::host;
use crate::prove::Credentials;
use crate::report::HostReport;
use crate::target::{Host, Target};

/// How to scan.
#[derive(Clone)]
pub struct Options {
    /// Hosts at once.
    pub parallel: usize,
    /// How long a host may take to connect, and to give each answer.
    pub timeout: Duration,
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
}

impl Default for Options {
    fn default() -> Self {
        Self {
            parallel: Self::PARALLEL,
            timeout: Self::TIMEOUT,
            rate: None,
            quick: false,
            accounts: false,
            prove: None,
        }
    }
}

/// Why a scan cannot be made at all.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ScanError {
    /// Zero or too many hosts at once.
    #[error("between 1 and {max} hosts at once, not {0}", max = Options::MAX_PARALLEL)]
    Parallel(usize),
}

/// Scans all targets; `each` is called once for every finished host, with the
/// number of hosts finished so far. The reports are in the order of the targets.
///
/// # Errors
/// [`ScanError`]. A host that does not answer is a report with an `error`.
pub async fn scan(
    targets: Vec<Target>,
    options: Options,
    mut each: impl FnMut(usize, &HostReport),
) -> Result<Vec<HostReport>, ScanError> {
    if options.parallel == 0 || options.parallel > Options::MAX_PARALLEL {
        return Err(ScanError::Parallel(options.parallel));
    }
    let seats = Arc::new(Semaphore::new(options.parallel));
    let options = Arc::new(options);
    let mut tasks: JoinSet<(usize, Vec<HostReport>)> = JoinSet::new();
    let mut done: Vec<(usize, Vec<HostReport>)> = Vec::new();
    let mut finished = 0;
    let mut next = Instant::now();
    for (number, target) in targets.into_iter().enumerate() {
        if let Some(rate) = options.rate.filter(|rate| *rate > 0) {
            sleep_until(next).await;
            next = Instant::now() + Duration::from_secs(1) / rate;
        }
        // The semaphore is never closed.
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            break;
        };
        let options = Arc::clone(&options);
        tasks.spawn(async move {
            let reports = one(target, &options).await;
            drop(seat);
            (number, reports)
        });
        while let Some(result) = tasks.try_join_next() {
            collect(result, &mut done, &mut finished, &mut each);
        }
    }
    while let Some(result) = tasks.join_next().await {
        collect(result, &mut done, &mut finished, &mut each);
    }
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().flat_map(|(_, reports)| reports).collect())
}

fn collect(
    result: Result<(usize, Vec<HostReport>), tokio::task::JoinError>,
    done: &mut Vec<(usize, Vec<HostReport>)>,
    finished: &mut usize,
    each: &mut impl FnMut(usize, &HostReport),
) {
    if let Ok((number, reports)) = result {
        *finished = finished.saturating_add(1);
        for report in &reports {
            each(*finished, report);
        }
        done.push((number, reports));
    }
}

/// One target: a name may stand for several addresses, of which the first that
/// answers is asked.
async fn one(target: Target, options: &Options) -> Vec<HostReport> {
    let name = match &target.host {
        Host::Address(address) => {
            let to = SocketAddr::new(*address, target.port);
            return vec![host::ask(to, target.label.clone(), options).await];
        }
        Host::Name(name) => name.clone(),
    };
    let failed = |error: String| HostReport {
        address: name.clone(),
        port: target.port,
        error: Some(error),
        ..HostReport::default()
    };
    let found = tokio::time::timeout(
        options.timeout,
        tokio::net::lookup_host((name.as_str(), target.port)),
    )
    .await;
    let addresses: Vec<SocketAddr> = match found {
        Err(_) => return vec![failed("the name was not resolved in time".to_owned())],
        Ok(Err(_)) => return vec![failed("the name cannot be resolved".to_owned())],
        Ok(Ok(addresses)) => addresses.collect(),
    };
    let mut last = failed("the name has no address".to_owned());
    for to in addresses {
        last = host::ask(to, Some(name.clone()), options).await;
        if last.error.is_none() {
            break;
        }
    }
    vec![last]
}
