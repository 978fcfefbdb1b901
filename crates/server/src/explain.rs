//! Answers to `policy explain`: a client that is described, against a policy.

use std::net::IpAddr;

use countersign_auth::GuestRule;
use countersign_core::config::Dialect;
use countersign_policy::explain::{Meeting, Outcome, client_of, explain};
use countersign_policy::{
    Effective, Exceptions, Family, Identity, Peer, Value, exception_for_share,
};
use serde::{Deserialize, Serialize};

use crate::config::schema::DialectSection;
use crate::config::{Config, Word as _};

/// A client as the administrator describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its setting "always".
    pub client_always: Value,
    /// Its setting "if server agrees".
    pub client_if_server_agrees: Value,
    /// Its two settings off mean Declined (Samba's clients).
    #[serde(default)]
    pub declined: bool,
    /// The dialect's name; nothing: one of each family.
    pub dialect: Option<String>,
    /// What it logs on as: `user`, `guest`, `anonymous`.
    pub identity: String,
    /// Its address, for exceptions.
    pub address: Option<IpAddr>,
    /// Its account, for exceptions.
    #[serde(default)]
    pub account: String,
    /// Its machine's name, for exceptions.
    #[serde(default)]
    pub machine: String,
    /// The share it asks for.
    pub share: Option<String>,
}

/// What comes of it in one dialect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The dialect.
    pub dialect: String,
    /// What comes out.
    pub outcome: Outcome,
    /// Why: a code of `docs/reasons.md`.
    pub reason: String,
    /// The same in words.
    pub text: String,
    /// The configuration speaks the dialect and lets such identities in.
    pub configured: bool,
    /// The exception that is for this client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
}

/// The rules a dialect has.
pub fn family(dialect: Dialect) -> Family {
    match dialect {
        Dialect::Smb1 => Family::Smb1,
        Dialect::Smb311 => Family::Smb311,
        _ => Family::Smb2,
    }
}

/// What the configuration lets in at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetIn {
    /// The dialects.
    pub dialects: DialectSection,
    /// Some become guests.
    pub guests: bool,
    /// Null sessions exist.
    pub anonymous: bool,
}

impl LetIn {
    /// What a configuration lets in.
    pub fn of(config: &Config) -> LetIn {
        LetIn {
            dialects: config.dialects.clone(),
            guests: config.authentication.guest != GuestRule::Never,
            anonymous: config.authentication.anonymous,
        }
    }
}

/// What would happen to that client. `now` is in seconds since 1970. A dialect that is not
/// spoken and an identity that nobody gets are judged all the same, and the text says so.
///
/// # Errors
/// A name in the question that is none.
pub fn answer(
    policy: &Effective,
    exceptions: &Exceptions,
    let_in: &LetIn,
    now: u64,
    question: &Question,
) -> Result<Vec<Explained>, String> {
    let identity = match question.identity.as_str() {
        "user" => Identity::User,
        "guest" => Identity::Guest,
        "anonymous" => Identity::Anonymous,
        other => return Err(format!("`{other}` is not user, guest or anonymous")),
    };
    let dialects = match &question.dialect {
        Some(word) => vec![
            Dialect::WORDS
                .iter()
                .find(|(name, _)| name == word)
                .map(|(_, dialect)| *dialect)
                .ok_or_else(|| format!("`{word}` is not a dialect"))?,
        ],
        None => vec![Dialect::Smb1, Dialect::Smb311],
    };
    let client = client_of(
        question.client_always,
        question.client_if_server_agrees,
        question.declined,
    );
    let granted = match question.address {
        Some(address) => exceptions.at_session(
            &Peer {
                address,
                identity,
                account: &question.account,
                machine: &question.machine,
            },
            now,
        ),
        None => Vec::new(),
    };
    let share = question.share.as_deref();
    let exception = match share {
        Some(name) => exception_for_share(&granted, name, name.eq_ignore_ascii_case("IPC$")),
        None => granted.first(),
    };
    Ok(dialects
        .into_iter()
        .map(|dialect| {
            let meeting = Meeting {
                server: policy,
                client: &client,
                family: family(dialect),
                identity,
                exception: exception.map(AsRef::as_ref),
                share,
            };
            let found = explain(&meeting);
            let mut text = found.text(&meeting);
            let spoken = let_in.dialects.speaks(dialect);
            if !spoken {
                text.push_str(" The configuration leaves this dialect out, though (`[dialects]`).");
            }
            let exists = match identity {
                Identity::User => true,
                Identity::Guest => let_in.guests,
                Identity::Anonymous => let_in.anonymous,
            };
            if !exists {
                text.push_str(match identity {
                    Identity::Guest => {
                        " The configuration makes nobody a guest, though (`[authentication] guest`): such logons fail."
                    }
                    _ => {
                        " The configuration has no null sessions, though (`[authentication] anonymous`): such logons fail."
                    }
                });
            }
            Explained {
                dialect: dialect.word().to_owned(),
                outcome: found.outcome,
                reason: found.reason.code().to_owned(),
                text,
                configured: spoken && exists,
                exception: exception.map(|exception| exception.id.clone()),
            }
        })
        .collect())
}
