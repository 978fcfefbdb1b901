//! What a change would mean for the peers that were seen. Whether a logon is let in
//! and signed is [`countersign_policy::verdict`]'s word on the recorded facts, the same
//! that the gate asks; dialects, guests, NTLMv1 and encryption are switches that a
//! peer's record meets or not.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::str::FromStr;

use countersign_policy::{
    CommandClass, Effective, Exception, Exceptions, Facts, Identity, MessageFacts, MessageState,
    Moment, Peer, Reason, SessionFacts, Setting, Settings, Side, SignedSoFar, Value, Verdict,
    verdict,
};
use serde::{Deserialize, Serialize};

use crate::database::Losses;
use crate::record::{Outcome, Row, Way, dialect_rank};

/// What is in force at a server, as far as it decides who is let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Standing {
    /// The four settings.
    pub settings: Settings,
    /// What each of them would come to if the local policy left it undefined: what
    /// "not defined" means in a question.
    #[serde(default)]
    pub undefined: Settings,
    /// Declined in place of Disabled.
    pub declined: bool,
    /// Exceptions have an effect.
    pub exceptions_allowed: bool,
    /// The exceptions.
    pub exceptions: Vec<Exception>,
    /// SMB1 is spoken.
    pub smb1: bool,
    /// Lowest dialect of SMB 2 and 3.
    pub min_dialect: String,
    /// NTLMv1 is let in.
    pub ntlmv1: bool,
    /// Guests are let in.
    pub guest: bool,
    /// Every session must be encrypted.
    pub encryption: bool,
}

/// A change to ask about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// One of the four settings.
    Setting(Setting, Value),
    /// Nothing below this dialect (so no SMB1 either).
    MinDialect(&'static str),
    /// `smb1=off`.
    Smb1Off,
    /// `ntlmv1=off`.
    NtlmV1Off,
    /// `guest=off`.
    GuestOff,
    /// `encryption=required`.
    EncryptionRequired,
}

/// A text that is no change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}`: {why}")]
pub struct ChangeError {
    /// What was given.
    pub given: String,
    /// What is wrong.
    pub why: String,
}

impl FromStr for Change {
    type Err = ChangeError;

    fn from_str(text: &str) -> Result<Self, ChangeError> {
        let wrong = |why: &str| ChangeError {
            given: text.to_owned(),
            why: why.to_owned(),
        };
        let (name, value) = text.split_once('=').ok_or_else(|| {
            wrong(
                "is not CHANGE=VALUE: one of the four settings, min-dialect=D, smb1=off, \
                 ntlmv1=off, guest=off, encryption=required",
            )
        })?;
        let (name, value) = (name.trim(), value.trim());
        let only = |wanted: &str, change: Change| {
            if value == wanted {
                Ok(change)
            } else {
                Err(wrong(&format!("only `{name}={wanted}` can be asked")))
            }
        };
        match name {
            "min-dialect" => dialect_rank(value)
                .and_then(|rank| crate::record::DIALECTS.get(rank))
                .map(|dialect| Change::MinDialect(dialect))
                .ok_or_else(|| wrong("dialects are smb1, 2.0.2, 2.1, 3.0, 3.0.2, 3.1.1")),
            "smb1" => only("off", Change::Smb1Off),
            "ntlmv1" => only("off", Change::NtlmV1Off),
            "guest" => only("off", Change::GuestOff),
            "encryption" => only("required", Change::EncryptionRequired),
            _ => {
                let setting = name.parse().map_err(|_| {
                    wrong(
                        "the changes are server-always, server-if-client-agrees, client-always, \
                         client-if-server-agrees, min-dialect, smb1, ntlmv1, guest, encryption",
                    )
                })?;
                let value = value
                    .parse()
                    .map_err(|_| wrong("values are enabled, disabled, not-defined"))?;
                Ok(Change::Setting(setting, value))
            }
        }
    }
}

impl Change {
    /// What is changed.
    pub fn name(&self) -> &'static str {
        match self {
            Change::Setting(setting, _) => setting.name(),
            Change::MinDialect(_) => "min-dialect",
            Change::Smb1Off => "smb1",
            Change::NtlmV1Off => "ntlmv1",
            Change::GuestOff => "guest",
            Change::EncryptionRequired => "encryption",
        }
    }
}

/// Whether nothing is changed twice.
///
/// # Errors
/// What is.
pub fn once_each(changes: &[Change]) -> Result<(), ChangeError> {
    for (at, change) in changes.iter().enumerate() {
        if changes
            .iter()
            .skip(at + 1)
            .any(|one| one.name() == change.name())
        {
            return Err(ChangeError {
                given: change.name().to_owned(),
                why: "is given twice".to_owned(),
            });
        }
    }
    Ok(())
}

impl Standing {
    /// This with changes.
    #[must_use]
    pub fn with(mut self, changes: &[Change]) -> Standing {
        for change in changes {
            match change {
                Change::Setting(setting, Value::NotDefined) => {
                    self.settings.set(*setting, self.undefined.get(*setting));
                }
                Change::Setting(setting, value) => self.settings.set(*setting, *value),
                Change::MinDialect(dialect) => {
                    (*dialect).clone_into(&mut self.min_dialect);
                    self.smb1 &= *dialect == "smb1";
                }
                Change::Smb1Off => self.smb1 = false,
                Change::NtlmV1Off => self.ntlmv1 = false,
                Change::GuestOff => self.guest = false,
                Change::EncryptionRequired => self.encryption = true,
            }
        }
        self
    }

    fn effective(&self) -> Effective {
        Effective::of(self.settings)
            .with_declined(self.declined)
            .with_exceptions(self.exceptions_allowed)
    }
}

/// What would become of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Turned away, and why.
    Refused(&'static str),
    /// Let in; every message signed or encrypted, or not, and why.
    Accepted { signed: bool, reason: &'static str },
}

/// A standing, made ready to judge many ways.
struct Judge<'a> {
    standing: &'a Standing,
    policy: Effective,
    exceptions: Exceptions,
    lowest: usize,
    now: u64,
}

impl<'a> Judge<'a> {
    fn new(standing: &'a Standing, now: u64) -> Self {
        Self {
            standing,
            policy: standing.effective(),
            exceptions: Exceptions::new(standing.exceptions.iter().cloned()),
            lowest: dialect_rank(&standing.min_dialect).unwrap_or(0),
            now,
        }
    }

    /// `signs`: of an SMB1 peer that does not offer to sign, whether it was seen to sign
    /// when it must.
    fn fate(&self, way: &Way, signs: bool) -> Fate {
        let standing = self.standing;
        let rank = |dialect: &str| dialect_rank(dialect).unwrap_or(0);
        let highest = rank(&way.offered).max(rank(&way.dialect));
        let stays_with_smb1 = way.dialect == "smb1" && standing.smb1;
        if !stays_with_smb1 {
            if highest == 0 {
                return Fate::Refused("smb1-off");
            }
            if highest < self.lowest {
                return Fate::Refused("no-common-dialect");
            }
        }
        if !standing.ntlmv1 && way.authentication == "ntlmv1" {
            return Fate::Refused("ntlmv1-refused");
        }
        if !standing.guest && way.identity() == Identity::Guest {
            return Fate::Refused("guest-refused");
        }
        if standing.encryption
            && (way.cipher.is_empty() || way.identity() != Identity::User || !way.key)
        {
            return Fate::Refused("encryption-required");
        }
        let account = way.user.rsplit('\\').next().unwrap_or_default();
        let exceptions = self.exceptions.at_session(
            &Peer {
                address: way.address,
                identity: way.identity(),
                account,
                machine: &way.machine,
            },
            self.now,
        );
        let judge = |moment| {
            verdict(&Facts {
                side: Side::Server,
                family: way.family(),
                policy: &self.policy,
                moment,
                exception: exceptions.first().map(|one| &**one),
            })
        };
        let logon = way.moment();
        let protection = match judge(Moment::Session(logon)) {
            Verdict::Accept(protection) => protection,
            other => return Fate::Refused(other.reason().code()),
        };
        // The logon may succeed; what a peer that does not sign sends behind it is
        // judged next.
        let silent = !logon.peer.enabled && !logon.peer.required && !signs;
        if protection.required && silent {
            let session = SessionFacts {
                family: way.family(),
                identity: logon.identity,
                key: true,
                required: true,
                encryption_required: false,
                signed_so_far: SignedSoFar::Nothing,
            };
            let next = MessageFacts::request(
                CommandClass::TreeConnect,
                MessageState::Unsigned,
                Some(&session),
            );
            if !matches!(judge(Moment::Message(next)), Verdict::Accept(_)) {
                return Fate::Refused(Reason::UnsignedOnRequired.code());
            }
        }
        Fate::Accepted {
            signed: protection.required || standing.encryption,
            reason: if standing.encryption && !protection.required {
                "encryption-required"
            } else {
                protection.reason.code()
            },
        }
    }

    /// An SMB1 server that says it can sign: clients that keep silent otherwise may offer
    /// to.
    fn announces(&self) -> bool {
        self.policy.server_posture().announces()
    }
}

/// Of an SMB1 peer that does not offer to sign: what it did when it must. The latest
/// record has the last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    Signs,
    DoesNot,
}

type PeerKey<'a> = (IpAddr, &'a str, &'a str);

fn key(way: &Way) -> PeerKey<'_> {
    (way.address, &way.machine, &way.user)
}

fn evidence(rows: &[Row]) -> HashMap<PeerKey<'_>, Evidence> {
    let mut found: HashMap<PeerKey<'_>, (u64, Evidence)> = HashMap::new();
    for row in rows.iter().filter(|row| row.way.dialect == "smb1") {
        let way = &row.way;
        let one = match way.outcome {
            // Signatures are verified before they are counted.
            Outcome::Accepted if row.counts.signed > 0 => Evidence::Signs,
            Outcome::Refused
                if !way.can_sign
                    && !way.insists
                    && matches!(
                        way.reason.as_str(),
                        "bad-signature" | "unsigned-on-required"
                    ) =>
            {
                Evidence::DoesNot
            }
            _ => continue,
        };
        let known = found.entry(key(way)).or_insert((row.last_seen, one));
        if row.last_seen > known.0 {
            *known = (row.last_seen, one);
        }
    }
    found
        .into_iter()
        .map(|(key, (_, evidence))| (key, evidence))
        .collect()
}

/// What signing would cost a peer, from what it moved.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// Bytes to sign, by what was moved in the span.
    pub bytes: u64,
    /// Seconds of one processor core for them, on each side: a rough figure.
    pub cpu_seconds: f64,
}

/// Bytes a second that one core signs, single messages of 64 KiB on a processor of these
/// years, rounded down: the order of magnitude is meant. A key has two ends: each of them
/// spends it once.
fn rate(dialect: &str, algorithm: &str) -> f64 {
    match (dialect, algorithm) {
        ("smb1", _) => 0.6e9,
        (_, "AES-128-GMAC") => 4.0e9,
        ("2.0.2" | "2.1", _) | (_, "HMAC-SHA256") => 1.2e9,
        _ => 1.0e9,
    }
}

/// A peer that a change would touch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Affected {
    /// Address.
    pub address: String,
    /// Name its machine gave itself.
    pub machine: String,
    /// Account.
    pub user: String,
    /// Dialect.
    pub dialect: String,
    /// Last seen, seconds since 1970.
    pub last_seen: u64,
    /// Connections in the span.
    pub connections: u64,
    /// Bytes in the span.
    pub bytes: u64,
    /// Why: a stable code.
    pub reason: String,
    /// Proven by its records. False: an SMB1 peer that does not offer to sign may still
    /// sign when it must ([MS-SMB] calls it Declined), unless a session or a refusal under
    /// such a policy showed what it does; it may offer to once the server says that it
    /// can; or it spoke SMB1 and offered SMB2 in an unknown dialect.
    pub certain: bool,
    /// What signing would cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Answer {
    /// Peers that would be turned away.
    pub cut_off: Vec<Affected>,
    /// Peers that would have to sign (or encrypt), and can.
    pub start_signing: Vec<Affected>,
    /// Peers whose requests are signed now and would no longer have to be.
    pub stop_signing: Vec<Affected>,
    /// Peers turned away now that would be let in.
    pub let_in: Vec<Affected>,
    /// Other peers that were let in.
    pub unaffected: usize,
    /// What should have been recorded in the span and was not.
    pub lost: Losses,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Unaffected,
    LetIn,
    StopSigning,
    StartSigning,
    CutOff,
}

/// What the changes would mean for the peers of `rows`. `now` is for exceptions.
pub fn what_if(rows: &[Row], standing: &Standing, changes: &[Change], now: u64) -> Answer {
    let changed = standing.clone().with(changes);
    let (before, after) = (Judge::new(standing, now), Judge::new(&changed, now));
    let evidence = evidence(rows);
    let mut peers: BTreeMap<[String; 4], (Class, Affected)> = BTreeMap::new();
    for row in rows {
        let way = &row.way;
        let known = evidence.get(&key(way)).copied();
        let Some((class, reason, certain)) = touched(row, &before, &after, known) else {
            continue;
        };
        let key = [
            way.address.to_string(),
            way.machine.clone(),
            way.user.clone(),
            way.dialect.clone(),
        ];
        let one = Affected {
            address: way.address.to_string(),
            machine: way.machine.clone(),
            user: way.user.clone(),
            dialect: way.dialect.clone(),
            last_seen: row.last_seen,
            connections: row.counts.connections,
            bytes: row.counts.bytes(),
            reason: reason.to_owned(),
            certain,
            cost: (class == Class::StartSigning).then(|| Cost {
                bytes: row.counts.bytes(),
                cpu_seconds: seconds(row.counts.bytes(), way),
            }),
        };
        match peers.entry(key) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert((class, one));
            }
            std::collections::btree_map::Entry::Occupied(mut place) => {
                let (known, sum) = place.get_mut();
                if class > *known {
                    *known = class;
                    *sum = one;
                } else if class == *known {
                    merge(sum, &one);
                }
            }
        }
    }
    let mut answer = Answer::default();
    for (class, peer) in peers.into_values() {
        match class {
            Class::CutOff => answer.cut_off.push(peer),
            Class::StartSigning => answer.start_signing.push(peer),
            Class::StopSigning => answer.stop_signing.push(peer),
            Class::LetIn => answer.let_in.push(peer),
            Class::Unaffected => answer.unaffected += 1,
        }
    }
    for list in [
        &mut answer.cut_off,
        &mut answer.start_signing,
        &mut answer.stop_signing,
        &mut answer.let_in,
    ] {
        list.sort_by_key(|peer| std::cmp::Reverse(peer.connections));
    }
    answer
}

/// What becomes of a row, why, and whether that is certain; `None`: it says nothing.
fn touched(
    row: &Row,
    before: &Judge<'_>,
    after: &Judge<'_>,
    known: Option<Evidence>,
) -> Option<(Class, &'static str, bool)> {
    let way = &row.way;
    let signs = known == Some(Evidence::Signs);
    let was = before.fate(way, signs);
    let then = after.fate(way, signs);
    let signs_now = way.signing_required
        || (row.counts.clear == 0 && row.counts.signed + row.counts.encrypted > 0);
    let silent = way.dialect == "smb1" && !way.can_sign && !way.insists;
    Some(match (way.outcome, was, then) {
        // What it could do is not known of a peer that was turned away before a logon.
        (Outcome::Refused, Fate::Refused(reason), Fate::Accepted { .. })
            if way.authentication != "none" && reason == way.reason =>
        {
            (Class::LetIn, reason, true)
        }
        (Outcome::Refused, _, _) => return None,
        // Seen under another policy than the present one: gone already.
        (Outcome::Accepted, Fate::Refused(_), Fate::Refused(_)) => (Class::Unaffected, "", true),
        (_, _, Fate::Refused(reason)) => {
            let certain = match reason {
                _ if way.dialect != "smb1" => true,
                "smb1-off" | "no-common-dialect" => way.offered == "smb1",
                // Only whether it would sign is open.
                "unsigned-on-required" => known.is_some(),
                _ => true,
            };
            (Class::CutOff, reason, certain)
        }
        (
            _,
            _,
            Fate::Accepted {
                signed: true,
                reason,
            },
        ) if !signs_now && was != then => (Class::StartSigning, reason, true),
        // It was never told that the server can sign, so that it could have offered to.
        (_, _, Fate::Accepted { signed: false, .. })
            if silent
                && !way.announced
                && way.key
                && way.identity() == Identity::User
                && !before.announces()
                && after.announces()
                && known != Some(Evidence::DoesNot) =>
        {
            (Class::StartSigning, Reason::BothAgree.code(), false)
        }
        (
            _,
            Fate::Accepted { signed: true, .. },
            Fate::Accepted {
                signed: false,
                reason,
            },
        ) if signs_now => (Class::StopSigning, reason, true),
        _ => (Class::Unaffected, "", true),
    })
}

#[allow(
    clippy::cast_precision_loss,
    reason = "an estimate to three digits is what is wanted"
)]
fn seconds(bytes: u64, way: &Way) -> f64 {
    let exact = bytes as f64 / rate(&way.dialect, &way.algorithm);
    (exact * 1000.0).round() / 1000.0
}

fn merge(sum: &mut Affected, other: &Affected) {
    sum.last_seen = sum.last_seen.max(other.last_seen);
    sum.connections = sum.connections.saturating_add(other.connections);
    sum.bytes = sum.bytes.saturating_add(other.bytes);
    sum.certain &= other.certain;
    if let (Some(cost), Some(more)) = (&mut sum.cost, other.cost) {
        cost.bytes = cost.bytes.saturating_add(more.bytes);
        cost.cpu_seconds += more.cpu_seconds;
    }
}
