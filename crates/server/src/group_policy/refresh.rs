//! Asking for Group Policy: at the start, now and then, and when somebody wants it.

use std::sync::Arc;
use std::time::Duration;

use countersign_directory::group_policy::{Run, SmbSysvol};
use countersign_directory::{Limits, Locator, Machine};
use countersign_policy::Role;
use countersign_policy::group_policy::{Conclusion, Fate, Filtered};
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::network::NetworkChanges;
use super::store::{GroupPolicyStore, Stored};
use super::{Ask, GroupPolicyStatus};
use crate::config::GroupPolicySection;
use crate::control::Control;
use crate::state::{State, StateError};
use crate::store::now_ms;

/// Longest a refresh may take.
const LONGEST: Duration = Duration::from_secs(120);
/// Time to the next try after the first that failed; it doubles with every further one.
const FIRST_RETRY: Duration = Duration::from_secs(10);
/// Longest time to the next try.
const LAST_RETRY: Duration = Duration::from_secs(300);
/// After a change of the network: time for it to settle.
const SETTLE: Duration = Duration::from_secs(1);
/// Far away: nothing is to be done.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why a refresh came to nothing. What was applied before stays.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// There is no Group Policy in the configuration.
    #[error("the configuration has no `[group-policy]` with a `domain`")]
    NotConfigured,
    /// The directory.
    #[error(transparent)]
    Directory(#[from] countersign_directory::Error),
    /// Too slow.
    #[error("no end within {} s", LONGEST.as_secs())]
    Slow,
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// The server.
    #[error("{0}")]
    Server(String),
}

/// Asks once and keeps the answer in the state folder, from where servers take it.
///
/// # Errors
/// [`RefreshError`].
pub async fn refresh_once(
    section: &GroupPolicySection,
    host: &str,
    state: &State,
) -> Result<Stored, RefreshError> {
    let domain = section.domain.clone().ok_or(RefreshError::NotConfigured)?;
    let store = GroupPolicyStore::new(state.clone());
    let before = store.load(section, host)?;
    let account = section.account(host);
    let locator = Locator {
        controller: section.controller.clone(),
        site: before.as_ref().and_then(|before| before.site.clone()),
    };
    let found = timeout(LONGEST, fetch(&domain, &account, section, &locator))
        .await
        .map_err(|_| RefreshError::Slow)??;
    let Run {
        controller,
        site,
        computer,
        mut conclusion,
        notes,
    } = found;
    let now = now_ms() / 1000;
    let nothing = Conclusion::default();
    let last = before
        .as_ref()
        .map_or(&nothing, |before| &before.conclusion);
    conclusion.date(last, now);
    let same = before
        .as_ref()
        .filter(|before| before.conclusion.says_the_same(&conclusion));
    let stored = Stored {
        domain: domain.to_lowercase(),
        account: account.to_lowercase(),
        controller,
        site,
        computer,
        refreshed: now,
        changed: same.map_or(now, |before| before.changed),
        conclusion,
        notes,
    };
    store.save(&stored)?;
    Ok(stored)
}

async fn fetch(
    domain: &str,
    account: &str,
    section: &GroupPolicySection,
    locator: &Locator,
) -> Result<Run, RefreshError> {
    let (domain, account, keytab) = (domain.to_lowercase(), account.to_owned(), section.keytab());
    let machine =
        tokio::task::spawn_blocking(move || Machine::from_keytab(&domain, &account, &keytab))
            .await
            .map_err(|error| RefreshError::Server(error.to_string()))??;
    let mut sysvol = SmbSysvol::new(&machine);
    let limits = Limits::default();
    Ok(countersign_directory::group_policy::run(&machine, locator, limits, &mut sysvol).await?)
}

struct Task {
    control: Arc<Control>,
    asks: mpsc::Receiver<Ask>,
    network: NetworkChanges,
    failures: u32,
    next: Instant,
}

/// The task of a server.
pub(crate) async fn run(control: Arc<Control>) {
    let Some(asks) = control.group_policy().take() else {
        return;
    };
    let task = Task {
        control,
        asks,
        network: NetworkChanges::listen(),
        failures: 0,
        next: Instant::now(),
    };
    task.run().await;
}

impl Task {
    async fn run(mut self) {
        let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
        let mut due = true;
        let mut last = None;
        loop {
            let (section, role, host, state) = self.control.group_policy_sources().await;
            if last.as_ref() != Some(&section) {
                due = true;
                last = Some(section.clone());
            }
            if std::mem::take(&mut due) {
                self.refresh(&section, role, &host, &state).await;
            }
            for one in waiting.drain(..) {
                let _ = one.send(());
            }
            tokio::select! {
                () = sleep_until(self.next) => due = true,
                ask = self.asks.recv() => match ask {
                    Some(Ask::Refresh(done)) => {
                        due = true;
                        waiting.push(done);
                    }
                    // Whether it concerns Group Policy shows above.
                    Some(Ask::Changed) => {}
                    None => return,
                },
                () = self.network.next(), if self.failures > 0 => {
                    let soon = Instant::now() + SETTLE;
                    self.next = self.next.min(soon);
                }
            }
        }
    }

    async fn refresh(
        &mut self,
        section: &GroupPolicySection,
        role: Role,
        host: &str,
        state: &State,
    ) {
        let Some(domain) = section.domain.clone() else {
            self.failures = 0;
            self.next = Instant::now() + NEVER;
            *self.control.group_policy().status.lock() = GroupPolicyStatus::default();
            return;
        };
        let attempt = now_ms() / 1000;
        let outcome = self.attempt(section, host, state).await;
        let (every, random) = section.refresh(role);
        let wait = match &outcome {
            Ok(_) => {
                self.failures = 0;
                every + by_chance(random)
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                tracing::error!(
                    "group policy of {domain} could not be refreshed, what was applied last stays \
                     in force: {error}"
                );
                retry(self.failures).min(every)
            }
        };
        self.next = Instant::now() + wait;
        let mut status = self.control.group_policy().status.lock();
        status.domain = Some(domain);
        status.account = Some(section.account(host));
        status.last_attempt = Some(attempt);
        status.failures = self.failures;
        status.next = Some((now_ms() / 1000).saturating_add(wait.as_secs()));
        status.error = outcome.as_ref().err().map(ToString::to_string);
        match outcome {
            Ok(stored) => status.applied = Some(stored),
            Err(_) if status.applied.is_none() => {
                let store = GroupPolicyStore::new(state.clone());
                status.applied = store.load(section, host).ok().flatten();
            }
            Err(_) => {}
        }
    }

    async fn attempt(
        &self,
        section: &GroupPolicySection,
        host: &str,
        state: &State,
    ) -> Result<Stored, RefreshError> {
        let stored = refresh_once(section, host, state).await?;
        let fetched = Instant::now();
        for considered in &stored.conclusion.considered {
            if let Fate::Filtered(Filtered::Unreadable { why }) = &considered.fate {
                tracing::error!("group policy {} is skipped: {why}", considered.gpo.name);
            }
        }
        let layers = stored.conclusion.layers.clone();
        self.control
            .apply_group_policy(layers)
            .await
            .map_err(|error| RefreshError::Server(error.to_string()))?;
        tracing::info!(
            controller = stored.controller,
            objects = stored.conclusion.layers.objects.len(),
            acted_within_ms = u64::try_from(fetched.elapsed().as_millis()).unwrap_or(u64::MAX),
            "group policy refreshed"
        );
        Ok(stored)
    }
}

/// 10 s, 20 s, 40 s ... 5 min.
fn retry(failures: u32) -> Duration {
    let factor = 1u32
        .checked_shl(failures.saturating_sub(1))
        .unwrap_or(u32::MAX);
    FIRST_RETRY.saturating_mul(factor.max(1)).min(LAST_RETRY)
}

/// A time between nothing and `most`.
fn by_chance(most: Duration) -> Duration {
    let mut bytes = [0; 4];
    // Without randomness nothing is added.
    let _ = getrandom::fill(&mut bytes);
    let part = f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX);
    most.mul_f64(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_get_rarer() {
        let seconds: Vec<u64> = (1..=8).map(|failures| retry(failures).as_secs()).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(retry(u32::MAX), LAST_RETRY);
    }

    #[test]
    fn refreshes_are_as_far_apart_as_windows_has_them() {
        let section = GroupPolicySection::default();
        let (base, random) = section.refresh(Role::Member);
        assert_eq!((base.as_secs(), random.as_secs()), (5400, 1800));
        let (base, random) = section.refresh(Role::DomainController);
        assert_eq!((base.as_secs(), random.as_secs()), (300, 0));
        let often = GroupPolicySection {
            refresh_seconds: Some(30),
            ..section
        };
        let (base, random) = often.refresh(Role::DomainController);
        assert_eq!((base.as_secs(), random.as_secs()), (30, 10));
        for _ in 0..100 {
            assert!(by_chance(random) <= random);
        }
        assert_eq!(by_chance(Duration::ZERO), Duration::ZERO);
    }
}
