//! What a change would mean for the peers that were seen. Whether a logon is let in
//! and signed is [`countersign_policy::verdict`]'s word on the recorded facts, the same
//! that the gate asks; dialects, guests, NTLMv1 and encryption are switches that a
//! peer's record meets or not.

use std::collections::BTreeMap;
use std::str::FromStr;

use countersign_policy::{
    CommandClass, Effective, Exception, Exceptions, Facts, Identity, MessageFacts, MessageState,
    Moment, Peer, Reason, SessionFacts, Setting, Settings, Side, SignedSoFar, Value, Verdict,
    verdict,
};
use serde::{Deserialize, Serialize};

use crate::record::{Outcome, Row, Way, dialect_rank};

/// What is in force at a server, as far as it decides who is let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Standing {
    /// The four settings.
    pub settings: Settings,
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

impl Standing {
    /// This with changes.
    #[must_use]
    pub fn with(mut self, changes: &[Change]) -> Standing {
        for change in changes {
            match change {
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
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// Turned away, and why.
    Refused(&'static str),
    /// Let in; every message signed or encrypted, or not.
    Accepted { signed: bool },
}

fn fate(way: &Way, standing: &Standing, policy: &Effective, now: u64) -> Fate {
    let rank = |dialect: &str| dialect_rank(dialect).unwrap_or(0);
    let highest = rank(&way.offered).max(rank(&way.dialect));
    let stays_with_smb1 = way.dialect == "smb1" && standing.smb1;
    if !stays_with_smb1 {
        if highest == 0 {
            return Fate::Refused("smb1-off");
        }
        if highest < rank(&standing.min_dialect) {
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
    let all = Exceptions::new(standing.exceptions.iter().cloned());
    let account = way.user.rsplit('\\').next().unwrap_or_default();
    let exceptions = all.at_session(
        &Peer {
            address: way.address,
            identity: way.identity(),
            account,
            machine: &way.machine,
        },
        now,
    );
    let judge = |moment| {
        verdict(&Facts {
            side: Side::Server,
            family: way.family(),
            policy,
            moment,
            exception: exceptions.first().map(|one| &**one),
        })
    };
    let logon = way.moment();
    let protection = match judge(Moment::Session(logon)) {
        Verdict::Accept(protection) => protection,
        other => return Fate::Refused(other.reason().code()),
    };
    // The logon may succeed; what a peer that does not sign sends behind it is judged next.
    let silent = !logon.peer.enabled && !logon.peer.required;
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
    }
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
/// years, rounded down: the order of magnitude is meant.
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
    /// sign when it must ([MS-SMB] calls it Declined), unless a refusal showed that it does
    /// not; or it spoke SMB1 and offered SMB2 in an unknown dialect.
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
    /// Peers that would have to sign, and can.
    pub start_signing: Vec<Affected>,
    /// Peers turned away now that would be let in.
    pub let_in: Vec<Affected>,
    /// Other peers that were let in.
    pub unaffected: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Unaffected,
    LetIn,
    StartSigning,
    CutOff,
}

/// What the changes would mean for the peers of `rows`. `now` is for exceptions.
pub fn what_if(rows: &[Row], standing: &Standing, changes: &[Change], now: u64) -> Answer {
    let after = standing.clone().with(changes);
    let (policy_before, policy_after) = (standing.effective(), after.effective());
    let mut peers: BTreeMap<[String; 4], (Class, Affected)> = BTreeMap::new();
    for row in rows {
        let way = &row.way;
        let before = fate(way, standing, &policy_before, now);
        let then = fate(way, &after, &policy_after, now);
        let signs_now = way.signing_required
            || (row.counts.clear == 0 && row.counts.signed + row.counts.encrypted > 0);
        let (class, reason) = match (way.outcome, &before, &then) {
            // What it could do is not known of a peer that was turned away before a logon.
            (Outcome::Refused, Fate::Refused(reason), Fate::Accepted { .. })
                if way.authentication != "none" && *reason == way.reason =>
            {
                (Class::LetIn, way.reason.clone())
            }
            (Outcome::Refused, _, _) => continue,
            (Outcome::Accepted, Fate::Refused(_), Fate::Refused(_)) => {
                // Seen under another policy than the present one: gone already.
                (Class::Unaffected, String::new())
            }
            (_, _, Fate::Refused(reason)) => (Class::CutOff, (*reason).to_owned()),
            (_, _, Fate::Accepted { signed: true }) if !signs_now && before != then => {
                (Class::StartSigning, "policy-requires".to_owned())
            }
            _ => (Class::Unaffected, String::new()),
        };
        let certain = match class {
            Class::CutOff if way.dialect == "smb1" => match reason.as_str() {
                "smb1-off" | "no-common-dialect" => way.offered == "smb1",
                // Only whether it would sign is open.
                "unsigned-on-required" => way.can_sign || proven(rows, way),
                _ => true,
            },
            _ => true,
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
            reason,
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
                    let before = std::mem::replace(sum, one);
                    if class != Class::CutOff || *known != Class::Unaffected {
                        merge(sum, &before);
                    }
                    *known = class;
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
            Class::LetIn => answer.let_in.push(peer),
            Class::Unaffected => answer.unaffected += 1,
        }
    }
    for list in [
        &mut answer.cut_off,
        &mut answer.start_signing,
        &mut answer.let_in,
    ] {
        list.sort_by_key(|peer| std::cmp::Reverse(peer.connections));
    }
    answer
}

/// Whether the same peer was turned away because it did not sign.
fn proven(rows: &[Row], way: &Way) -> bool {
    rows.iter().map(|row| &row.way).any(|other| {
        other.outcome == Outcome::Refused
            && matches!(
                other.reason.as_str(),
                "bad-signature" | "unsigned-on-required"
            )
            && (other.address, &other.machine, &other.user, &other.dialect)
                == (way.address, &way.machine, &way.user, &way.dialect)
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
