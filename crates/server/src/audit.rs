//! What the engine tells is handed to the audit's writer: nothing here waits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use countersign_audit::{
    AuditEvent, ClientSwitches, Counts, Feed, KeepLimits, Losses, Note, Outcome, Severity,
    SinkConfig, Standing, Switches, Syslog, Way, Writer, WriterConfig, events_of,
};
use countersign_core::config::Dialect;
use countersign_core::observer::{Observer, Occasion, Sighting};
use countersign_core::registry::{Progress, Registry, Seen};
use countersign_policy::{
    AuditSwitch, Effective, Exceptions, GroupPolicyLayers, Identity, Setting, Settings, Value,
};
use parking_lot::Mutex;

use crate::change::{ChangeReport, FirstConnection};
use crate::config::schema::{AuditSection, Config};
use crate::config::{Word, snapshot};
use crate::group_policy::GroupPolicyStore;
use crate::state::State;
use crate::store::{self, Entry, LocalPolicy, PolicyStore, now_ms};

/// How often it is noted what live sessions did: as much of it a crash can cost.
pub const CHECKPOINT: Duration = Duration::from_secs(60);

/// Hands on what the engine tells.
pub struct Auditor {
    feed: Feed,
    writer: Mutex<Option<Writer>>,
    /// Peers are recorded, events written.
    enabled: bool,
    switches: ArcSwap<Switches>,
    first: FirstConnection,
    effects: PathBuf,
}

/// Where `[audit] syslog` points: a socket's path, or `udp://ADDRESS:PORT`.
///
/// # Errors
/// What is wrong.
pub fn parse_syslog(text: &str) -> Result<Syslog, String> {
    if let Some(address) = text.strip_prefix("udp://") {
        return address
            .parse()
            .map(Syslog::Udp)
            .map_err(|_| format!("`{address}` is not ADDRESS:PORT"));
    }
    if text.starts_with('/') {
        return Ok(Syslog::Local(PathBuf::from(text)));
    }
    Err(format!(
        "`{text}` is neither a socket as `/dev/log` nor `udp://ADDRESS:PORT`"
    ))
}

/// The database of a state folder.
pub fn database(state: &State) -> PathBuf {
    state.file(countersign_audit::FILE)
}

/// Where the events go that a configuration names.
pub fn sinks(section: &AuditSection, state: &State) -> SinkConfig {
    SinkConfig {
        json: section.json.as_ref().map(|path| state.file(path)),
        syslog: section
            .syslog
            .as_deref()
            .and_then(|text| parse_syslog(text).ok()),
        journald: section
            .journald
            .then(|| PathBuf::from("/run/systemd/journal/socket")),
    }
}

fn keep(section: &AuditSection) -> KeepLimits {
    KeepLimits {
        days: section.keep_days,
        records: section.keep_records as u64,
        bytes: u64::from(section.keep_mib) << 20,
    }
}

/// The local policy, with the audit switches of Group Policy in place of its own.
/// What cannot be read says nothing here: it is refused where it counts.
pub fn local_policy(state: &State, config: &Config) -> LocalPolicy {
    let mut local = PolicyStore::new(state.clone()).load().unwrap_or_default();
    let host = snapshot::netbios_name(config);
    let stored = GroupPolicyStore::new(state.clone())
        .load(&config.group_policy, &host)
        .ok()
        .flatten();
    for (switch, (on, gpo)) in stored.into_iter().flat_map(|one| one.conclusion.switches) {
        let value = if on { Value::Enabled } else { Value::Disabled };
        let entry = Entry {
            value,
            since: 0,
            by: gpo.name,
        };
        local.audit.insert(switch, entry);
    }
    local
}

fn said(local: &LocalPolicy, switch: AuditSwitch, otherwise: bool) -> bool {
    match local.audit.get(&switch).map(|entry| entry.value) {
        Some(Value::Enabled) => true,
        Some(Value::Disabled) => false,
        Some(Value::NotDefined) | None => otherwise,
    }
}

/// The client's switches in force.
pub fn client_switches(section: &AuditSection, local: &LocalPolicy) -> ClientSwitches {
    ClientSwitches {
        server_does_not_support_signing: said(
            local,
            AuditSwitch::ServerDoesNotSupportSigning,
            section.audit_server_does_not_support_signing,
        ),
        server_does_not_support_encryption: said(
            local,
            AuditSwitch::ServerDoesNotSupportEncryption,
            section.audit_server_does_not_support_encryption,
        ),
        insecure_guest_logon: said(
            local,
            AuditSwitch::ClientInsecureGuestLogon,
            section.audit_client_insecure_guest_logon,
        ),
    }
}

/// The server's switches in force: what `policy set`, `import` or Group Policy said, else
/// the configuration.
pub fn switches(section: &AuditSection, local: &LocalPolicy) -> Switches {
    Switches {
        smb1_access: said(local, AuditSwitch::Smb1Access, section.audit_smb1_access),
        client_does_not_support_signing: said(
            local,
            AuditSwitch::ClientDoesNotSupportSigning,
            section.audit_client_does_not_support_signing,
        ),
        client_does_not_support_encryption: said(
            local,
            AuditSwitch::ClientDoesNotSupportEncryption,
            section.audit_client_does_not_support_encryption,
        ),
        insecure_guest_logon: said(
            local,
            AuditSwitch::ServerInsecureGuestLogon,
            section.audit_insecure_guest_logon,
        ),
    }
}

impl Auditor {
    /// Starts the writer. Where the audit is off it writes the reports of changes, and
    /// nothing else.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(
        state: &State,
        section: &AuditSection,
        local: &LocalPolicy,
    ) -> Result<Arc<Self>, String> {
        let config = WriterConfig {
            records: section.enabled,
            keep: keep(section),
            queue: section.queue,
            sinks: if section.enabled {
                sinks(section, state)
            } else {
                SinkConfig::default()
            },
            ..WriterConfig::default()
        };
        let writer = Writer::start(&database(state), config).map_err(|error| error.to_string())?;
        let auditor = Self {
            feed: writer.feed().clone(),
            writer: Mutex::new(Some(writer)),
            enabled: section.enabled,
            switches: ArcSwap::from_pointee(switches(section, local)),
            first: FirstConnection::default(),
            effects: crate::change::path(state),
        };
        auditor.tell_news();
        Ok(Arc::new(auditor))
    }

    /// Another configuration is in force.
    pub fn configure(&self, state: &State, section: &AuditSection, local: &LocalPolicy) {
        self.switch(section, local);
        if self.enabled {
            self.feed.set_sinks(sinks(section, state));
            self.feed.set_keep(keep(section));
        }
    }

    /// Other switches are in force.
    pub fn switch(&self, section: &AuditSection, local: &LocalPolicy) {
        self.switches.store(Arc::new(switches(section, local)));
    }

    /// Notes what live sessions did since they were last told of. May take as long as a
    /// look at every session takes.
    pub fn checkpoint(&self, registry: &Registry) {
        if self.enabled {
            // What does not fit now is told the next time.
            registry.tell_progress(|progress| self.feed.offer(progress_note(progress)));
        }
        self.tell_news();
    }

    /// What happened to the database goes to the log.
    fn tell_news(&self) {
        for news in self.feed.news() {
            tracing::warn!("{news}");
        }
    }

    /// Waits until what was told is written; false: it could not be.
    pub fn flush(&self, patience: Duration) -> bool {
        self.feed.flush(patience)
    }

    /// What was lost since the start.
    pub fn losses(&self) -> Losses {
        self.feed.losses()
    }

    /// Those of them that do not stand in the database.
    pub fn unwritten_losses(&self) -> Losses {
        self.feed.unwritten_losses()
    }

    /// Why nothing is written at the moment, if that is so.
    pub fn trouble(&self) -> Option<String> {
        self.feed.trouble()
    }

    /// Writes what is there and stops.
    pub fn stop(&self) {
        if let Some(writer) = self.writer.lock().take() {
            writer.stop(Duration::from_secs(2));
        }
    }

    /// A change is put in force now: connections from here on are under it.
    pub(crate) fn expect_first(&self) {
        self.first.expect();
    }

    /// A change is in force: it is written down, and again when the first connection
    /// under it was judged.
    pub(crate) fn changed(&self, report: ChangeReport) {
        if self.enabled {
            self.feed.event(report.event());
        }
        self.feed.line(&self.effects, report.line());
        if let Some(again) = self.first.report(report) {
            self.feed.line(&self.effects, again.line());
        }
    }

    fn came(&self, way: Way) {
        if let Some(report) = self.first.came() {
            self.feed.line(&self.effects, report.line());
        }
        if !self.enabled {
            return;
        }
        for event in events_of(now_ms(), &way, &self.switches.load()) {
            self.feed.event(event);
        }
        let counts = Counts {
            connections: 1,
            ..Counts::default()
        };
        self.feed.note(Note {
            at: now_ms() / 1000,
            way,
            counts,
        });
    }
}

/// What a session did, as a note.
fn progress_note(progress: Progress) -> Note {
    let Seen {
        signed,
        encrypted,
        clear,
    } = progress.seen;
    Note {
        at: now_ms() / 1000,
        way: way(progress.sighting, Outcome::Accepted),
        counts: Counts {
            connections: 0,
            bytes_in: progress.received,
            bytes_out: progress.sent,
            signed: u64::from(signed),
            encrypted: u64::from(encrypted),
            clear: u64::from(clear),
        },
    }
}

impl Observer for Auditor {
    fn observe(&self, occasion: Occasion) {
        match occasion {
            Occasion::SetUp(sighting) => self.came(way(sighting, Outcome::Accepted)),
            Occasion::Refused(sighting) => self.came(way(sighting, Outcome::Refused)),
            _ if !self.enabled => {}
            Occasion::Ended(progress) => self.feed.note(progress_note(progress)),
            Occasion::ExceptionUsed {
                sighting,
                exception,
                share,
                granted,
            } => {
                let way = way(sighting, Outcome::Accepted);
                let (name, severity, did) = if granted {
                    ("ExceptionUsed", Severity::Notice, "used by")
                } else {
                    (
                        "ExceptionExceeded",
                        Severity::Warning,
                        "does not cover what was asked by",
                    )
                };
                let text = format!(
                    "exception {exception} {did} {} ({}): share {share}",
                    way.address, way.user
                );
                let fields = vec![
                    ("exception", exception),
                    ("share", share),
                    ("client", way.address.to_string()),
                    ("machine", way.machine),
                    ("user", way.user),
                    ("dialect", way.dialect),
                ];
                self.feed
                    .event(AuditEvent::own(now_ms(), name, severity, text, fields));
            }
        }
    }
}

fn way(sighting: Sighting, outcome: Outcome) -> Way {
    let abilities = sighting.abilities;
    let word = |dialect: Option<Dialect>| dialect.map_or("", Word::word).to_owned();
    let exceptions: Vec<&str> = abilities
        .exceptions
        .iter()
        .map(|one| one.id.as_str())
        .collect();
    Way {
        address: sighting.address.ip().to_canonical(),
        exception: exceptions.join(","),
        machine: short(sighting.machine),
        user: short(
            match (sighting.domain.is_empty(), sighting.user.is_empty()) {
                (false, false) => format!("{}\\{}", sighting.domain, sighting.user),
                _ => sighting.user,
            },
        ),
        identity: match sighting.identity {
            Identity::User => "user",
            Identity::Guest => "guest",
            Identity::Anonymous => "anonymous",
        }
        .to_owned(),
        dialect: word(sighting.dialect),
        offered: word(abilities.offered),
        can_sign: abilities.signing.enabled || abilities.signing.required,
        insists: abilities.signing.required,
        announced: abilities.announced,
        key: abilities.key,
        signing_required: sighting.signing_required,
        algorithm: sighting.signing.unwrap_or_default().to_owned(),
        cipher: sighting.encryption.unwrap_or_default().to_owned(),
        authentication: abilities.authentication.name().to_owned(),
        outcome,
        reason: sighting.reason,
    }
}

/// Names come from the peer; a record keeps no more than this of one.
const LONGEST_NAME: usize = 256;

fn short(mut name: String) -> String {
    if let Some((at, _)) = name.char_indices().nth(LONGEST_NAME) {
        name.truncate(at);
    }
    name
}

/// What is in force, as far as it decides who is let in: for `audit what-if`.
pub fn standing(
    config: &Config,
    policy: &Effective,
    exceptions: &Exceptions,
    undefined: Settings,
) -> Standing {
    let dialects = &config.dialects;
    let rules = &config.authentication;
    Standing {
        settings: policy.settings(),
        undefined,
        declined: policy.declined(),
        exceptions_allowed: policy.exceptions_allowed(),
        exceptions: exceptions.all().iter().map(|one| (**one).clone()).collect(),
        smb1: dialects.smb1 || dialects.min == Dialect::Smb1 || dialects.max == Dialect::Smb1,
        min_dialect: dialects.min.word().to_owned(),
        ntlmv1: rules.ntlmv1_smb1 || rules.ntlmv1_smb2,
        guest: rules.guest != countersign_auth::GuestRule::Never,
        encryption: config.encryption.required,
    }
}

/// What each setting would come to if it was said to be "not defined" now.
pub fn undefined(
    config: &Config,
    flags: Settings,
    started: u64,
    local: &LocalPolicy,
    group: &GroupPolicyLayers,
) -> Settings {
    let mut settings = Settings::default();
    for setting in Setting::ALL {
        let mut local = local.clone();
        let entry = Entry {
            value: Value::NotDefined,
            since: now_ms(),
            by: String::new(),
        };
        local.settings.insert(setting, entry);
        let effective = store::effective(&config.policy, flags, started, &local, group);
        settings.set(setting, effective.get(setting).value);
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_at_their_limit_and_syslog_is_checked() {
        let long = "ä".repeat(LONGEST_NAME + 5);
        assert_eq!(short(long).chars().count(), LONGEST_NAME);
        assert_eq!(short("x".to_owned()), "x");
        assert_eq!(
            parse_syslog("/dev/log"),
            Ok(Syslog::Local(PathBuf::from("/dev/log")))
        );
        assert!(matches!(
            parse_syslog("udp://192.0.2.1:514"),
            Ok(Syslog::Udp(_))
        ));
        for wrong in [
            "",
            "log",
            "udp://x",
            "udp://192.0.2.1",
            "tcp://192.0.2.1:514",
        ] {
            assert!(parse_syslog(wrong).is_err(), "{wrong}");
        }
    }
}
