//! Asking for Group Policy: at the start, now and then, and when somebody wants it.

use std::sync::Arc;
use std::time::Duration;

use countersign_directory::group_policy::{Run, SmbSysvol};
use countersign_directory::{Limits, Locator, Machine};
use countersign_policy::group_policy::{Conclusion, Fate, Filtered, LastGood};
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::network::NetworkChanges;
use super::password::{self, Changed, PasswordChangeError};
use super::store::{GroupPolicyStore, Stored};
use super::{Ask, GroupPolicyStatus, PasswordStatus};
use crate::config::snapshot::netbios_name;
use crate::config::{Config, GroupPolicySection};
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

/// How often the clock is compared with the time that went by.
const CLOCK_LOOK: Duration = Duration::from_secs(30);
/// What the two may differ by in between.
const CLOCK_SLACK: Duration = Duration::from_secs(20);
/// Shortest time between two tries that changes of the network ask for.
const NETWORK_PAUSE: Duration = Duration::from_secs(5);

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

impl RefreshError {
    /// What an administrator can do about it.
    pub fn remedy(&self) -> Option<String> {
        match self {
            RefreshError::Directory(error) => error.remedy(),
            RefreshError::Slow => Some(
                "a name server, a KDC or a controller is there and does not answer; or another \
                 refresh of this machine is under way and does not end"
                    .to_owned(),
            ),
            RefreshError::NotConfigured | RefreshError::State(_) | RefreshError::Server(_) => None,
        }
    }
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
    let whole = async {
        let _lock = store.refreshing().await?;
        let folder = state.clone();
        let finished = tokio::task::spawn_blocking(move || password::finish(&folder)).await;
        if let Ok(Err(error)) = &finished {
            tracing::error!("the machine's password: {error}");
        }
        // What cannot be read is replaced by what is fetched.
        let before = store.load(section, host).unwrap_or_else(|error| {
            tracing::error!("what group policy said last is fetched anew: {error}");
            None
        });
        let mut stored = fetch(&domain, section, host, before.as_ref()).await?;
        if let Ok(Err(error)) = finished {
            stored
                .notes
                .push(format!("the machine's password: {error}"));
        }
        store.save(&stored)?;
        Ok(stored)
    };
    timeout(LONGEST, whole)
        .await
        .map_err(|_| RefreshError::Slow)?
}

async fn fetch(
    domain: &str,
    section: &GroupPolicySection,
    host: &str,
    before: Option<&Stored>,
) -> Result<Stored, RefreshError> {
    let domain = domain.to_lowercase();
    let (account, keytab) = (section.account(host), section.keytab());
    let (of, name) = (domain.clone(), account.clone());
    let machine = tokio::task::spawn_blocking(move || Machine::from_keytab(&of, &name, &keytab))
        .await
        .map_err(|error| RefreshError::Server(error.to_string()))??;
    let locator = Locator {
        controller: section.controller.clone(),
        site: before.and_then(|before| before.site.clone()),
        ..Locator::default()
    };
    let mut sysvol = SmbSysvol::new(&machine);
    let limits = Limits::default();
    let nothing = LastGood::default();
    let last = before.map_or(&nothing, |before| &before.last_good);
    let Run {
        controller,
        site,
        computer,
        password_set,
        key_version,
        mut conclusion,
        last_good,
        mut notes,
    } = countersign_directory::group_policy::run(&machine, &locator, limits, &mut sysvol, last)
        .await?;
    if let (Some(ours), Some(theirs)) = (password::version_in_keytab(section, host), key_version)
        && ours != theirs
    {
        notes.push(format!(
            "the newest keys in the keytab are of version {ours}, the account's are of version \
             {theirs}: tickets of clients may be refused; `countersign join {domain} --reset` \
             writes the right ones"
        ));
    }
    let now = now_ms() / 1000;
    let nothing = Conclusion::default();
    conclusion.date(before.map_or(&nothing, |before| &before.conclusion), now);
    let same = before.filter(|before| before.conclusion.says_the_same(&conclusion));
    Ok(Stored {
        domain,
        account: account.to_lowercase(),
        controller,
        site,
        computer,
        refreshed: now,
        changed: same.map_or(now, |before| before.changed),
        password_set,
        key_version,
        conclusion,
        last_good,
        notes,
    })
}

/// Gives the machine's account a new password, now.
///
/// # Errors
/// [`PasswordChangeError`].
pub async fn change_password(
    config: &Config,
    state: &State,
) -> Result<Changed, PasswordChangeError> {
    let other = |error: String| PasswordChangeError::Configuration(error);
    let store = GroupPolicyStore::new(state.clone());
    let _lock = timeout(LONGEST, store.refreshing())
        .await
        .map_err(|_| other("another refresh does not end".to_owned()))?
        .map_err(|error| other(error.to_string()))?;
    let host = netbios_name(config);
    let stored = store.load(&config.group_policy, &host).ok().flatten();
    let known = stored.as_ref().and_then(|one| one.key_version).unwrap_or(0);
    let (with, folder) = (config.clone(), state.clone());
    let changed =
        tokio::task::spawn_blocking(move || password::change(&with, &host, &folder, known))
            .await
            .map_err(|error| other(error.to_string()))??;
    tracing::info!(
        "the machine's password was changed: {}, keys of version {}",
        changed.principal,
        changed.version
    );
    if let Some(mut stored) = stored {
        stored.password_set = Some(changed.at);
        stored.key_version = Some(changed.version);
        if let Err(error) = store.save(&stored) {
            tracing::error!("the new password's date is not kept: {error}");
        }
    }
    Ok(changed)
}

/// What is known of the machine's password.
pub fn password_status(
    section: &GroupPolicySection,
    host: &str,
    state: &State,
    stored: Option<&Stored>,
) -> PasswordStatus {
    PasswordStatus {
        set: stored.and_then(|stored| stored.password_set),
        days: section.machine_password_days,
        keytab_version: password::version_in_keytab(section, host),
        directory_version: stored.and_then(|stored| stored.key_version),
        pending: password::is_pending(state),
        error: None,
    }
}

struct Task {
    control: Arc<Control>,
    asks: mpsc::Receiver<Ask>,
    network: NetworkChanges,
    failures: u32,
    next: Instant,
    tried: Instant,
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
        tried: Instant::now(),
    };
    task.run().await;
}

impl Task {
    async fn run(mut self) {
        let mut waiting: Vec<oneshot::Sender<GroupPolicyStatus>> = Vec::new();
        let mut due = true;
        let mut last = None;
        let mut clock = Clock::now();
        loop {
            let (config, state) = self.control.group_policy_sources().await;
            let section = &config.group_policy;
            if last.as_ref() != Some(section) {
                due = true;
                last = Some(section.clone());
            }
            if std::mem::take(&mut due) {
                // What happened until now is answered by this try.
                self.network.forget();
                self.refresh(&config, &state).await;
                clock = Clock::now();
            }
            for one in waiting.drain(..) {
                let status = self.control.group_policy().status.lock().clone();
                let _ = one.send(status);
            }
            let look = self.next.min(Instant::now() + CLOCK_LOOK);
            tokio::select! {
                () = sleep_until(look) => {
                    let now = Clock::now();
                    due = Instant::now() >= self.next || section.domain.is_some() && now.jumped(clock);
                    clock = now;
                }
                ask = self.asks.recv() => {
                    let Some(ask) = ask else { return };
                    // Whoever asked meanwhile is answered by the same try.
                    let mut all = vec![ask];
                    while let Ok(more) = self.asks.try_recv() {
                        all.push(more);
                    }
                    for one in all {
                        // Whether a change concerns Group Policy shows above.
                        if let Ask::Refresh(done) = one {
                            due = true;
                            waiting.push(done);
                        }
                    }
                }
                () = self.network.next(), if self.failures > 0 => {
                    let soon = (Instant::now() + SETTLE).max(self.tried + NETWORK_PAUSE);
                    self.next = self.next.min(soon);
                }
            }
        }
    }

    async fn refresh(&mut self, config: &Config, state: &State) {
        let section = &config.group_policy;
        self.tried = Instant::now();
        let Some(domain) = section.domain.clone() else {
            self.failures = 0;
            self.next = Instant::now() + NEVER;
            *self.control.group_policy().status.lock() = GroupPolicyStatus::default();
            return;
        };
        let host = netbios_name(config);
        let attempt = now_ms() / 1000;
        let store = GroupPolicyStore::new(state.clone());
        {
            let known = store.load(section, &host).ok().flatten();
            let mut status = self.control.group_policy().status.lock();
            let account = section.account(&host);
            if status.domain.as_ref() != Some(&domain) || status.account.as_ref() != Some(&account)
            {
                *status = GroupPolicyStatus::default();
                status.applied = known;
            }
            status.domain = Some(domain.clone());
            status.account = Some(account);
            status.refreshing = true;
        }
        let outcome = self.attempt(section, &host, state).await;
        let password_error = match &outcome {
            Ok(stored) => self.renew_password(config, state, stored).await,
            Err(_) => None,
        };
        let (every, random) = section.refresh(config.policy.role);
        let wait = match &outcome {
            Ok(_) => {
                self.failures = 0;
                every + by_chance(random)
            }
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                retry(self.failures).min(every)
            }
        };
        self.next = Instant::now() + wait;
        // Of a password that was changed, the date is in what is kept.
        let kept = store.load(section, &host).ok().flatten();
        let mut status = self.control.group_policy().status.lock();
        status.refreshing = false;
        status.last_attempt = Some(attempt);
        status.failures = self.failures;
        status.next = Some((now_ms() / 1000).saturating_add(wait.as_secs()));
        status.error = outcome.as_ref().err().map(ToString::to_string);
        status.remedy = outcome.as_ref().err().and_then(RefreshError::remedy);
        status.password = password_status(section, &host, state, kept.as_ref());
        status.password.error = password_error;
        match outcome {
            Ok(stored) => status.applied = Some(kept.unwrap_or(stored)),
            Err(error) => {
                let stays = match &status.applied {
                    Some(_) => "what was applied last stays in force",
                    None => "nothing of it is in force, since nothing was ever applied",
                };
                let remedy = status.remedy.as_deref().unwrap_or("see the documentation");
                tracing::error!(
                    "group policy of {domain} could not be refreshed, {stays}; next try in {} s: \
                     {error} ({remedy})",
                    wait.as_secs()
                );
            }
        }
    }

    /// Changes the machine's password when it is old enough; says why it could not.
    async fn renew_password(
        &self,
        config: &Config,
        state: &State,
        stored: &Stored,
    ) -> Option<String> {
        let days = config.group_policy.machine_password_days;
        if !password::is_due(stored.password_set, days, now_ms() / 1000) {
            return None;
        }
        let error = change_password(config, state).await.err()?;
        tracing::error!("the machine's password is older than {days} days: {error}");
        Some(error.to_string())
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
            let name = &considered.gpo.name;
            if let Fate::Filtered(Filtered::Unreadable { why }) = &considered.fate {
                tracing::error!("group policy {name} is skipped: {why}");
            }
            for problem in &considered.problems {
                tracing::error!("group policy {name}: {problem}");
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

/// The clock, beside the time that goes by whatever the clock is set to.
#[derive(Debug, Clone, Copy)]
struct Clock {
    wall: u64,
    passed: Instant,
}

impl Clock {
    fn now() -> Clock {
        Clock {
            wall: now_ms(),
            passed: Instant::now(),
        }
    }

    /// The clock was set since, or the machine slept: what was to come when is not right any
    /// more.
    fn jumped(self, since: Clock) -> bool {
        let passed = self.passed.duration_since(since.passed).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let differ = self.wall.abs_diff(since.wall.saturating_add(passed));
        let jumped = u128::from(differ) > CLOCK_SLACK.as_millis();
        if jumped {
            tracing::info!(
                "the clock jumped by {} s: group policy is asked for",
                differ / 1000
            );
        }
        jumped
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
    use countersign_policy::Role;

    #[test]
    fn a_clock_that_was_set_is_noticed_either_way() {
        let before = Clock::now();
        let later = |wall: u64, passed: u64| Clock {
            wall,
            passed: before.passed + Duration::from_secs(passed),
        };
        assert!(!later(before.wall + 30_000, 30).jumped(before));
        assert!(!later(before.wall + 35_000, 30).jumped(before));
        assert!(
            later(before.wall + 3_600_000, 30).jumped(before),
            "forward, or slept"
        );
        assert!(later(before.wall - 3_600_000, 30).jumped(before), "back");
    }

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
