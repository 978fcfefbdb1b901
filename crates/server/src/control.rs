//! A running server under control: reload, policy, administration.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_audit::{Standing, Switches};
use countersign_auth::GuestRule;
use countersign_core::config::Dialect;
use countersign_core::{PolicyOutcome, Server, ServerConfig};
use countersign_policy::{Effective, Exceptions, GroupPolicyLayers, Reason};
use tokio::sync::Mutex;

use crate::admin::{Answer, Applied, Request, SessionRow, Status};
use crate::audit::{self, Auditor};
use crate::change::{self, Cause, ChangeReport};
use crate::config::snapshot::{self, Parts, Shares};
use crate::config::{Config, ConfigError, Flags, Word};
use crate::exceptions::ExceptionStore;
use crate::explain::{self, LetIn};
use crate::group_policy::{GroupPolicy, GroupPolicyStore, password_status};
use crate::shell::Shell;
use crate::state::{ServerIdentity, Stamp, State};
use crate::store::{self, LocalPolicy, PolicyStore, current_user, now_ms, user_name};
use crate::{kerberos, users};

/// What the configuration is made of, and how to make it again.
pub struct Sources {
    /// The command line.
    pub flags: Flags,
    /// The state folder.
    pub state: State,
    /// The server's identity.
    pub identity: ServerIdentity,
    /// When the process began, milliseconds since 1970.
    pub started: u64,
    /// What Group Policy says.
    pub group_policy: GroupPolicyLayers,
    /// Puts another log filter in force.
    log: Option<SetLog>,
    shares: Shares,
    /// The latest time at which exceptions were looked at, seconds since 1970: what has
    /// ended does not come back when the clock is set back.
    latest: AtomicU64,
}

/// Puts a log filter in force, or says what is wrong with it.
pub type SetLog = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// A configuration that was made.
pub struct Made {
    /// File and flags together.
    pub config: Config,
    /// The snapshot.
    pub server: ServerConfig,
    /// There is nobody who could log on.
    pub deserted: bool,
    /// The files as they were before they were read: what changes while they are read is
    /// seen the next time.
    pub(crate) stamps: Stamps,
}

impl Sources {
    /// Reads what does not change while the process runs.
    ///
    /// # Errors
    /// When the state folder cannot be used, or the file names another one.
    pub fn new(flags: Flags, log: Option<SetLog>) -> Result<Self, ConfigError> {
        let started = now_ms();
        let config = read(&flags)?;
        let state = State::at(config.state.as_deref());
        let other = |error: crate::state::StateError| ConfigError::Other(error.to_string());
        state.create().map_err(other)?;
        let identity = state.identity().map_err(other)?;
        Ok(Self {
            flags,
            state,
            identity,
            started,
            group_policy: GroupPolicyLayers::default(),
            log,
            shares: Shares::default(),
            latest: AtomicU64::new(0),
        })
    }

    /// The policy store.
    pub fn store(&self) -> PolicyStore {
        PolicyStore::new(self.state.clone())
    }

    /// Reads all sources and makes the configuration.
    ///
    /// # Errors
    /// What is wrong with which source.
    pub fn make(&mut self) -> Result<Made, ConfigError> {
        let of_config = self.flags.config.as_deref().and_then(Stamp::of);
        let config = read(&self.flags)?;
        let stamps = Stamps {
            config: of_config,
            ..stamps(self, &config)
        };
        let other = |error: String| ConfigError::Other(error);
        let file = users::load(&self.user_file(&config)).map_err(|e| other(e.to_string()))?;
        let users = users::together(file, &config.user, &self.flags.users)
            .map_err(|e| other(e.to_string()))?;
        let kerberos = kerberos::open(&config).map_err(other)?;
        let deserted = users.users().next().is_none()
            && kerberos.is_none()
            && config.authentication.guest == GuestRule::Never
            && !config.authentication.anonymous;
        self.group_policy = GroupPolicyStore::new(self.state.clone())
            .layers_of(&config)
            .map_err(|e| other(e.to_string()))?;
        let policy = self.policy(&config)?;
        let exceptions = self.exceptions()?;
        let shares = self.shares.open(&config).map_err(other)?;
        let mut server = snapshot::server_config(Parts {
            config: &config,
            identity: &self.identity,
            policy,
            users: Arc::new(users),
            shares,
            kerberos,
        });
        server.exceptions = Arc::new(exceptions);
        Ok(Made {
            config,
            server,
            deserted,
            stamps,
        })
    }

    fn policy(&self, config: &Config) -> Result<Effective, ConfigError> {
        let local = self
            .store()
            .load()
            .map_err(|e| ConfigError::Other(e.to_string()))?;
        let effective = store::effective(
            &config.policy,
            self.flags.policy,
            self.started,
            &local,
            &self.group_policy,
        );
        Ok(if config.exceptions.allow {
            effective
        } else {
            effective.with_exceptions(false)
        })
    }

    /// The exceptions that have not ended.
    fn exceptions(&self) -> Result<Exceptions, ConfigError> {
        self.exception_store()
            .load()
            .map(|stored| stored.in_force(self.latest()))
            .map_err(|e| ConfigError::Other(e.to_string()))
    }

    /// The time, seconds since 1970; never earlier than it was.
    fn latest(&self) -> u64 {
        let now = now_ms() / 1000;
        self.latest.fetch_max(now, Ordering::Relaxed).max(now)
    }

    /// The store of exceptions.
    pub fn exception_store(&self) -> ExceptionStore {
        ExceptionStore::new(self.state.clone())
    }

    /// Who made the change of the configuration, and when: the file's owner, its time.
    /// Read again without a change, it is as if it was made now.
    fn configuration_cause(&self, changed: bool) -> Cause {
        let file = self.flags.config.as_deref();
        Cause {
            what: "configuration".to_owned(),
            by: file.and_then(owner).unwrap_or_else(current_user),
            at: file
                .filter(|_| changed)
                .and_then(modified_ms)
                .unwrap_or_else(now_ms),
        }
    }

    /// Who made the changes of the local policy behind the one with this number, and when
    /// the first of them was; of a file that was changed by hand, its owner and time.
    fn local_cause(&self, seen: u64) -> (Cause, u64) {
        let store = self.store();
        let mut cause: Option<Cause> = None;
        let mut last = seen;
        for change in store.history().unwrap_or_default() {
            if change.number <= seen {
                continue;
            }
            last = last.max(change.number);
            let one = Cause {
                what: "local policy".to_owned(),
                by: change.by,
                at: change.at,
            };
            cause = Some(match cause {
                Some(known) => known.and(one),
                None => one,
            });
        }
        let path = store.path();
        let by_hand = || Cause {
            what: "local policy".to_owned(),
            by: owner(&path).unwrap_or_else(current_user),
            at: modified_ms(&path).unwrap_or_else(now_ms),
        };
        (cause.unwrap_or_else(by_hand), last)
    }

    /// The local policy, with the audit switches of Group Policy in place of its own.
    pub fn audit_policy(&self, config: &Config) -> LocalPolicy {
        audit::local_policy(&self.state, config)
    }

    /// What decides who is let in, and the audit switches.
    fn standing(&self, config: &Config, server: &ServerConfig) -> (Standing, Switches) {
        let local = self.audit_policy(config);
        let undefined = audit::undefined(
            config,
            self.flags.policy,
            self.started,
            &local,
            &self.group_policy,
        );
        (
            audit::standing(config, &server.policy, &server.exceptions, undefined),
            audit::switches(&config.audit, &local),
        )
    }

    /// The user file.
    pub fn user_file(&self, config: &Config) -> PathBuf {
        self.state.file(&config.user_file)
    }
}

/// File and flags together.
fn read(flags: &Flags) -> Result<Config, ConfigError> {
    let file = match &flags.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    flags.over(file).map_err(ConfigError::Other)
}

/// Versions of the files a server watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamps {
    config: Option<Stamp>,
    users: Option<Stamp>,
    policy: Option<Stamp>,
    exceptions: Option<Stamp>,
    group_policy: Option<Stamp>,
}

struct InForce {
    sources: Sources,
    config: Config,
    /// The files as they were when last read, whether they were accepted or not.
    stamps: Stamps,
    /// What the last change of policy did.
    applied: Applied,
    /// What was in force when the last change was reported.
    told: (Standing, Switches),
    /// Number of the last change of the local policy that was put in force.
    number: u64,
}

/// A running server.
pub struct Control {
    shell: Arc<Shell>,
    auditor: Arc<Auditor>,
    in_force: Mutex<InForce>,
    group_policy: GroupPolicy,
}

impl Control {
    /// Takes over a server that was started with `made`.
    pub(crate) fn new(
        shell: Arc<Shell>,
        sources: Sources,
        (made_of, stamps): (Config, Stamps),
        auditor: Arc<Auditor>,
    ) -> Arc<Self> {
        let told = sources.standing(&made_of, &shell.server().config.load());
        let (_, number) = sources.local_cause(0);
        Arc::new(Self {
            shell,
            auditor,
            in_force: Mutex::new(InForce {
                sources,
                config: made_of,
                stamps,
                applied: Applied::default(),
                told,
                number,
            }),
            group_policy: GroupPolicy::new(),
        })
    }

    /// The engine.
    pub fn server(&self) -> &Arc<Server> {
        self.shell.server()
    }

    /// Group Policy.
    pub(crate) fn group_policy(&self) -> &GroupPolicy {
        &self.group_policy
    }

    /// What is needed to ask for Group Policy: the configuration and the state folder.
    pub(crate) async fn group_policy_sources(&self) -> (Config, State) {
        let in_force = self.in_force.lock().await;
        (in_force.config.clone(), in_force.sources.state.clone())
    }

    /// Reads the configuration and the users again. What is wrong leaves the old
    /// configuration in force and is logged.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn reload(&self) -> Result<Applied, ConfigError> {
        let mut in_force = self.in_force.lock().await;
        let before = in_force.stamps;
        in_force.stamps = stamps(&in_force.sources, &in_force.config);
        let made = match in_force.sources.make() {
            Ok(made) => made,
            Err(error) => {
                tracing::error!("configuration refused, the old one stays in force: {error}");
                return Err(error);
            }
        };
        if snapshot::listeners(&made.config) != snapshot::listeners(&in_force.config) {
            tracing::warn!("a change of `listen` takes a restart");
        }
        if snapshot::shell_limits(&made.config.limits)
            != snapshot::shell_limits(&in_force.config.limits)
        {
            tracing::warn!("a change of the limits of connections takes a restart");
        }
        if made.config.logging.format != in_force.config.logging.format {
            tracing::warn!("a change of `logging.format` takes a restart");
        }
        if made.config.logging.filter != in_force.config.logging.filter
            && let Some(log) = &in_force.sources.log
            && let Err(error) = log(&made.config.logging.filter)
        {
            tracing::error!("configuration refused, the old one stays in force: {error}");
            return Err(ConfigError::Other(error));
        }
        in_force.stamps = made.stamps;
        in_force.config = made.config;
        let local = in_force.sources.audit_policy(&in_force.config);
        self.auditor
            .configure(&in_force.sources.state, &in_force.config.audit, &local);
        let now = in_force.stamps;
        let mut cause = in_force
            .sources
            .configuration_cause(before.config != now.config);
        if before.policy != now.policy {
            let (also, number) = in_force.sources.local_cause(in_force.number);
            in_force.number = number;
            cause = also.and(cause);
        }
        let applied = self.put_in_force(&mut in_force, made.server, cause).await;
        self.group_policy.changed();
        tracing::info!("configuration reloaded");
        Ok(applied)
    }

    /// Reads the local policy store again, if it changed.
    ///
    /// # Errors
    /// What is wrong with it; the old policy stays in force.
    pub async fn apply_policy(&self) -> Result<Applied, ConfigError> {
        let mut in_force = self.in_force.lock().await;
        let now = Stamp::with_content(&in_force.sources.store().path());
        if now == in_force.stamps.policy {
            // Seen already: by the watch of the files, a moment ago.
            return Ok(in_force.applied);
        }
        in_force.stamps.policy = now;
        let policy = match in_force.sources.policy(&in_force.config) {
            Ok(policy) => policy,
            Err(error) => {
                tracing::error!("local policy refused, the old one stays in force: {error}");
                return Err(error);
            }
        };
        let mut server = ServerConfig::clone(&self.server().config.load());
        server.policy = Arc::new(policy);
        let local = in_force.sources.audit_policy(&in_force.config);
        self.auditor.switch(&in_force.config.audit, &local);
        let (cause, number) = in_force.sources.local_cause(in_force.number);
        in_force.number = number;
        Ok(self.put_in_force(&mut in_force, server, cause).await)
    }

    /// Puts what Group Policy says in force, in place of what it said before.
    ///
    /// # Errors
    /// When the local policy store cannot be read; the old policy stays in force.
    pub async fn apply_group_policy(
        &self,
        layers: GroupPolicyLayers,
    ) -> Result<Applied, ConfigError> {
        let mut in_force = self.in_force.lock().await;
        let path = GroupPolicyStore::new(in_force.sources.state.clone()).path();
        in_force.stamps.group_policy = Stamp::of(&path);
        let before = std::mem::replace(&mut in_force.sources.group_policy, layers);
        let policy = match in_force.sources.policy(&in_force.config) {
            Ok(policy) => policy,
            Err(error) => {
                in_force.sources.group_policy = before;
                tracing::error!("group policy not applied, the old one stays in force: {error}");
                return Err(error);
            }
        };
        let local = in_force.sources.audit_policy(&in_force.config);
        self.auditor.switch(&in_force.config.audit, &local);
        let mut server = ServerConfig::clone(&self.server().config.load());
        server.policy = Arc::new(policy);
        let cause = Cause {
            what: "group policy".to_owned(),
            by: group_policy_names(&in_force.sources.group_policy),
            at: now_ms(),
        };
        Ok(self.put_in_force(&mut in_force, server, cause).await)
    }

    /// Reads the store of exceptions again, and takes out those that have ended.
    ///
    /// # Errors
    /// What is wrong with it; those in force stay.
    pub async fn apply_exceptions(&self) -> Result<Applied, ConfigError> {
        let mut in_force = self.in_force.lock().await;
        in_force.stamps.exceptions =
            Stamp::with_content(&in_force.sources.exception_store().path());
        let (exceptions, stored) = match (
            in_force.sources.exceptions(),
            in_force.sources.exception_store().load(),
        ) {
            (Ok(exceptions), Ok(stored)) => (exceptions, stored),
            (Err(error), _) => {
                tracing::error!("exceptions refused, the old ones stay in force: {error}");
                return Err(error);
            }
            (_, Err(error)) => return Err(ConfigError::Other(error.to_string())),
        };
        let mut server = ServerConfig::clone(&self.server().config.load());
        if *server.exceptions == exceptions {
            return Ok(in_force.applied);
        }
        let ended = server
            .exceptions
            .all()
            .iter()
            .find(|one| !one.is_in_force(now_ms() / 1000));
        let what = "exceptions".to_owned();
        let cause = match ended {
            Some(one) => Cause {
                what,
                by: format!("the end of exception {}", one.id),
                at: one.until.saturating_mul(1000),
            },
            None => Cause {
                what,
                by: stored.changed_by,
                at: stored.changed_at,
            },
        };
        server.exceptions = Arc::new(exceptions);
        Ok(self.put_in_force(&mut in_force, server, cause).await)
    }

    /// Changes come one after the other: who calls this holds the lock of what is in force.
    async fn put_in_force(
        &self,
        in_force: &mut InForce,
        server: ServerConfig,
        cause: Cause,
    ) -> Applied {
        let changes = change::changed(&self.server().config.load().policy, &server.policy);
        let told = in_force.sources.standing(&in_force.config, &server);
        let others = change::others(&in_force.told, &told);
        let is_change = !changes.is_empty() || !others.is_empty();
        if is_change {
            self.auditor.expect_first();
        }
        let in_force_ms = now_ms().saturating_sub(cause.at);
        let PolicyOutcome {
            satisfied,
            kept,
            ended,
        } = self.shell.apply(server).await;
        let applied = Applied {
            satisfied,
            kept,
            ended,
            in_force_ms,
        };
        in_force.applied = applied;
        in_force.told = told;
        for one in &changes {
            tracing::info!(
                "policy: {} is now {} ({}), it was {}",
                one.setting,
                one.to,
                one.source,
                one.from
            );
        }
        for one in &others {
            tracing::info!("policy: {one}");
        }
        if is_change {
            tracing::info!(
                cause = cause.what,
                by = cause.by,
                satisfied,
                kept,
                ended,
                in_force_ms,
                "policy applied to the live sessions"
            );
            let report = ChangeReport::new(&cause, (changes, others), applied, in_force_ms);
            self.auditor.changed(report);
        }
        applied
    }

    /// Another process asked for Group Policy and kept the answer.
    async fn apply_stored_group_policy(&self) {
        let (config, state) = self.group_policy_sources().await;
        let store = GroupPolicyStore::new(state.clone());
        let (section, host) = (&config.group_policy, snapshot::netbios_name(&config));
        match store.load(section, &host) {
            Ok(stored) => {
                let layers = stored
                    .as_ref()
                    .map(|stored| stored.conclusion.layers.clone())
                    .unwrap_or_default();
                // The password may have been changed there, too.
                let mut password = password_status(section, &host, &state, stored.as_ref());
                {
                    let mut status = self.group_policy.status.lock();
                    password.error = status.password.error.take();
                    status.password = password;
                    status.applied = stored;
                }
                // What is wrong was logged.
                let _ = self.apply_group_policy(layers).await;
            }
            Err(error) => {
                tracing::error!("group policy refused, the old one stays in force: {error}");
                self.in_force.lock().await.stamps.group_policy = Stamp::of(&store.path());
            }
        }
    }

    /// Looks whether a file changed, and reads it.
    pub(crate) async fn look(&self) {
        let (before, now) = {
            let in_force = self.in_force.lock().await;
            (in_force.stamps, stamps(&in_force.sources, &in_force.config))
        };
        // What is wrong was logged. The policy first: reading the configuration reads
        // everything, and who changed what would not be told apart.
        if before.policy != now.policy {
            let _ = self.apply_policy().await;
        }
        if before.config != now.config || before.users != now.users {
            let _ = self.reload().await;
        } else if before.group_policy != now.group_policy {
            self.apply_stored_group_policy().await;
        }
        let seconds = now_ms() / 1000;
        let some_ended = self
            .server()
            .config
            .load()
            .exceptions
            .all()
            .iter()
            .any(|one| !one.is_in_force(seconds));
        if before.exceptions != now.exceptions || some_ended {
            let _ = self.apply_exceptions().await;
        }
    }

    /// Answers a request of the admin socket.
    pub async fn answer(&self, request: Request) -> Answer {
        let failed = |error: ConfigError| Answer::Failed {
            error: error.to_string(),
        };
        match request {
            Request::Status => Answer::Status(self.status().await),
            Request::Sessions => Answer::Sessions {
                sessions: self.sessions(),
            },
            Request::Policy => Answer::policy(&self.server().config.load().policy),
            Request::Explain(question) => {
                let let_in = LetIn::of(&self.in_force.lock().await.config);
                let server = self.server().config.load();
                let (policy, exceptions) = (&server.policy, &server.exceptions);
                let now = now_ms() / 1000;
                match explain::answer(policy, exceptions, &let_in, now, &question) {
                    Ok(answers) => Answer::Explained { answers },
                    Err(error) => Answer::Failed { error },
                }
            }
            Request::Hardening => Answer::Hardening(self.in_force.lock().await.config.hardening()),
            Request::ApplyPolicy => self
                .apply_policy()
                .await
                .map_or_else(failed, Answer::Applied),
            Request::ApplyExceptions => self
                .apply_exceptions()
                .await
                .map_or_else(failed, Answer::Applied),
            Request::Standing => {
                let in_force = self.in_force.lock().await;
                let server = self.server().config.load_full();
                let (standing, _) = in_force.sources.standing(&in_force.config, &server);
                Answer::Standing(Box::new(standing))
            }
            Request::FlushAudit => self.flush_audit().await,
            Request::GroupPolicy => {
                Answer::GroupPolicy(Box::new(self.group_policy.status.lock().clone()))
            }
            Request::RefreshGroupPolicy => {
                Answer::GroupPolicy(Box::new(self.group_policy.refresh().await))
            }
            Request::Reload => self.reload().await.map_or_else(failed, Answer::Applied),
            Request::CloseSession { id } => match self.server().registry.get(id) {
                Some(session) => {
                    session.end("closed by the administrator");
                    Answer::Done
                }
                None => Answer::Failed {
                    error: format!("there is no session {id}"),
                },
            },
        }
    }

    /// Has it noted what live sessions did; away from the tasks of connections, since
    /// every session is looked at.
    pub(crate) async fn checkpoint(&self) {
        let (auditor, server) = (Arc::clone(&self.auditor), Arc::clone(self.server()));
        let look = move || auditor.checkpoint(&server.registry);
        let _ = tokio::task::spawn_blocking(look).await;
    }

    async fn flush_audit(&self) -> Answer {
        self.checkpoint().await;
        let auditor = Arc::clone(&self.auditor);
        let flush = move || auditor.flush(Duration::from_secs(3));
        let written = tokio::task::spawn_blocking(flush).await.unwrap_or(false);
        Answer::Flushed {
            written,
            lost: self.auditor.unwritten_losses(),
            trouble: self.auditor.trouble(),
        }
    }

    async fn status(&self) -> Status {
        let server = self.server();
        let mut counters = server.statistics.all();
        let lost = self.auditor.losses();
        counters.push(("audit_notes_dropped", lost.dropped));
        counters.push(("audit_notes_failed", lost.failed));
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            addresses: self
                .shell
                .addresses()
                .iter()
                .map(ToString::to_string)
                .collect(),
            started: self.in_force.lock().await.sources.started / 1000,
            connections: self.shell.connections(),
            sessions: server.registry.list().len(),
            counters: counters
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
        }
    }

    /// The live sessions.
    pub fn sessions(&self) -> Vec<SessionRow> {
        let server = self.server();
        let now = countersign_core::Now {
            wall: server.host.now(),
            monotonic: server.host.monotonic(),
        };
        let row = |record: &Arc<countersign_core::registry::SessionRecord>| {
            let facts = record.facts();
            let seen = record.seen();
            let signed =
                facts.signing.is_some() && (facts.signing_required || (seen.signed && !seen.clear));
            let identity = match (facts.anonymous, facts.guest) {
                (true, _) => "anonymous",
                (_, true) => "guest",
                _ => "user",
            };
            SessionRow {
                id: record.id,
                pid: std::process::id(),
                address: facts.address.to_string(),
                machine: facts.machine,
                user: match (facts.domain.is_empty(), facts.user.is_empty()) {
                    (false, false) => format!("{}\\{}", facts.domain, facts.user),
                    _ => facts.user,
                },
                identity: identity.to_owned(),
                dialect: dialect_name(facts.dialect).to_owned(),
                signed,
                signing_required: facts.signing_required,
                algorithm: facts.signing.filter(|_| signed).map(str::to_owned),
                reason: match facts.reason {
                    reason if signed && reason == Reason::NotRequired.code() => {
                        Reason::PeerSigns.code().to_owned()
                    }
                    reason => reason,
                },
                exceptions: facts
                    .abilities
                    .exceptions
                    .iter()
                    .map(|one| one.id.clone())
                    .collect(),
                encrypted: facts
                    .encryption
                    .filter(|_| seen.encrypted)
                    .map(str::to_owned),
                groups: facts.groups,
                authentication: facts.authentication.name().to_owned(),
                opens: record.opens.load(std::sync::atomic::Ordering::Relaxed),
                age: seconds_between(facts.created, now.wall),
                idle: record.idle(now).as_secs(),
            }
        };
        server.registry.list().iter().map(row).collect()
    }
}

/// The objects of Group Policy, for the report of a change.
fn group_policy_names(layers: &GroupPolicyLayers) -> String {
    let names: Vec<&str> = layers
        .objects
        .iter()
        .map(|object| object.gpo.name.as_str())
        .collect();
    if names.is_empty() {
        "no Group Policy object".to_owned()
    } else {
        names.join(", ")
    }
}

/// When a file was written, milliseconds since 1970.
fn modified_ms(path: &Path) -> Option<u64> {
    let modified = std::fs::metadata(path).ok()?.modified().ok()?;
    let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// Who owns a file.
fn owner(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path)
        .ok()
        .map(|metadata| user_name(metadata.uid()))
}

/// FILETIME counts 100 ns.
fn seconds_between(from: countersign_wire::FileTime, to: countersign_wire::FileTime) -> u64 {
    to.0.saturating_sub(from.0) / 10_000_000
}

fn dialect_name(dialect: Dialect) -> &'static str {
    dialect.word()
}

fn stamps(sources: &Sources, config: &Config) -> Stamps {
    Stamps {
        config: sources.flags.config.as_deref().and_then(Stamp::of),
        users: Stamp::of(&sources.user_file(config)),
        policy: Stamp::with_content(&sources.store().path()),
        exceptions: Stamp::with_content(&sources.exception_store().path()),
        group_policy: Stamp::of(&GroupPolicyStore::new(sources.state.clone()).path()),
    }
}
