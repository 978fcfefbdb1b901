//! What the engine tells is handed to the audit's writer: nothing here waits.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use countersign_audit::{
    AuditEvent, Counts, Feed, KeepLimits, Note, Outcome, Severity, SinkConfig, Standing, Switches,
    Syslog, Way, Writer, WriterConfig, events_of,
};
use countersign_core::config::Dialect;
use countersign_core::observer::{Observer, Occasion, Sighting};
use countersign_policy::{AuditSwitch, Effective, Exceptions, Identity, Value};
use parking_lot::Mutex;

use crate::change::ChangeReport;
use crate::config::Word;
use crate::config::schema::{AuditSection, Config};
use crate::state::State;
use crate::store::{LocalPolicy, now_ms};

/// Hands on what the engine tells.
pub struct Auditor {
    feed: Feed,
    writer: Mutex<Option<Writer>>,
    switches: ArcSwap<Switches>,
    /// A change waits for the first connection under it.
    waiting: AtomicBool,
    change: Mutex<Option<ChangeReport>>,
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

fn sinks(section: &AuditSection, state: &State) -> SinkConfig {
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
    }
}

/// The switches in force: what `policy set` or `import` said, else the configuration.
fn switches(section: &AuditSection, local: &LocalPolicy) -> Switches {
    let said = |switch: AuditSwitch, otherwise: bool| match local
        .audit
        .get(&switch)
        .map(|entry| entry.value)
    {
        Some(Value::Enabled) => true,
        Some(Value::Disabled) => false,
        Some(Value::NotDefined) | None => otherwise,
    };
    Switches {
        smb1_access: said(AuditSwitch::Smb1Access, section.audit_smb1_access),
        client_does_not_support_signing: said(
            AuditSwitch::ClientDoesNotSupportSigning,
            section.audit_client_does_not_support_signing,
        ),
        client_does_not_support_encryption: said(
            AuditSwitch::ClientDoesNotSupportEncryption,
            section.audit_client_does_not_support_encryption,
        ),
        insecure_guest_logon: said(
            AuditSwitch::ServerInsecureGuestLogon,
            section.audit_insecure_guest_logon,
        ),
    }
}

impl Auditor {
    /// Opens the database and starts the writer; `None` where the audit is off.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub fn start(
        state: &State,
        section: &AuditSection,
        local: &LocalPolicy,
    ) -> Result<Option<Arc<Self>>, String> {
        if !section.enabled {
            return Ok(None);
        }
        let config = WriterConfig {
            keep: keep(section),
            queue: section.queue,
            sinks: sinks(section, state),
            ..WriterConfig::default()
        };
        let writer = Writer::start(&database(state), config).map_err(|error| error.to_string())?;
        Ok(Some(Arc::new(Self {
            feed: writer.feed().clone(),
            writer: Mutex::new(Some(writer)),
            switches: ArcSwap::from_pointee(switches(section, local)),
            waiting: AtomicBool::new(false),
            change: Mutex::new(None),
            effects: crate::change::path(state),
        })))
    }

    /// Another configuration is in force.
    pub fn configure(&self, state: &State, section: &AuditSection, local: &LocalPolicy) {
        self.switch(section, local);
        self.feed.set_sinks(sinks(section, state));
        self.feed.set_keep(keep(section));
    }

    /// Other switches are in force.
    pub fn switch(&self, section: &AuditSection, local: &LocalPolicy) {
        self.switches.store(Arc::new(switches(section, local)));
    }

    /// Waits until what was told is written.
    pub fn flush(&self, patience: Duration) -> bool {
        self.feed.flush(patience)
    }

    /// Notes dropped because the writer did not keep up, and those that could not be written.
    pub fn losses(&self) -> (u64, u64) {
        (self.feed.dropped(), self.feed.failed())
    }

    /// Writes what is there and stops.
    pub fn stop(&self) {
        if let Some(writer) = self.writer.lock().take() {
            writer.stop(Duration::from_secs(2));
        }
    }

    /// A change is in force: it is written down, and again when the first connection
    /// under it was judged.
    pub fn changed(&self, report: ChangeReport) {
        self.feed.line(&self.effects, report.line());
        self.feed.event(report.event());
        *self.change.lock() = Some(report);
        self.waiting.store(true, Ordering::Release);
    }

    /// The first connection since a change was judged.
    fn first_connection(&self) {
        if !self.waiting.load(Ordering::Acquire) || !self.waiting.swap(false, Ordering::AcqRel) {
            return;
        }
        let Some(mut report) = self.change.lock().take() else {
            return;
        };
        let took = now_ms().saturating_sub(report.at);
        report.first_connection_ms = Some(took);
        tracing::info!(
            cause = report.cause,
            "first connection under the change, {took} ms after it was made"
        );
        self.feed.line(&self.effects, report.line());
    }

    fn note(&self, way: Way, counts: Counts) {
        self.feed.note(Note {
            at: now_ms() / 1000,
            way,
            counts,
        });
    }

    fn came(&self, way: Way) {
        self.first_connection();
        for event in events_of(now_ms(), &way, &self.switches.load()) {
            self.feed.event(event);
        }
        let counts = Counts {
            connections: 1,
            ..Counts::default()
        };
        self.note(way, counts);
    }
}

impl Observer for Auditor {
    fn observe(&self, occasion: Occasion) {
        match occasion {
            Occasion::SetUp(sighting) => self.came(way(sighting, Outcome::Accepted)),
            Occasion::Refused(sighting) => self.came(way(sighting, Outcome::Refused)),
            Occasion::Ended {
                sighting,
                seen,
                received,
                sent,
            } => {
                let counts = Counts {
                    connections: 0,
                    bytes_in: received,
                    bytes_out: sent,
                    signed: u64::from(seen.signed),
                    encrypted: u64::from(seen.encrypted),
                    clear: u64::from(seen.clear),
                };
                self.note(way(sighting, Outcome::Accepted), counts);
            }
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
pub fn standing(config: &Config, policy: &Effective, exceptions: &Exceptions) -> Standing {
    let dialects = &config.dialects;
    let rules = &config.authentication;
    Standing {
        settings: policy.settings(),
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
