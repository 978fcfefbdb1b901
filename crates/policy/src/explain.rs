//! What would happen between two sides, and which rule says so. Asks [`verdict()`] for
//! both of them, moment by moment; it has no rules of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::exception::Exception;
use crate::facts::{
    Facts, Family, Identity, MessageState, Moment, PeerFlags, SessionMoment, ShareMoment, Side,
};
use crate::layers::Effective;
use crate::reason::Reason;
use crate::settings::{Setting, Settings, Value};
use crate::verdict::{Protection, Verdict, verdict};

/// What comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every message is signed (or encrypted).
    Signed,
    /// Messages need not be signed.
    Unsigned,
    /// They do not come together.
    Refused,
}

impl Outcome {
    /// The name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Signed => "signed",
            Outcome::Unsigned => "unsigned",
            Outcome::Refused => "refused",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A client and a server that meet.
#[derive(Debug, Clone, Copy)]
pub struct Meeting<'a> {
    /// The server's policy.
    pub server: &'a Effective,
    /// The client's.
    pub client: &'a Effective,
    /// The dialect they speak.
    pub family: Family,
    /// What the logon comes out as.
    pub identity: Identity,
    /// The server's exception for the client.
    pub exception: Option<&'a Exception>,
    /// The share that is asked for, if that matters.
    pub share: Option<&'a str>,
}

/// What comes out of a meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Explanation {
    /// What.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// Whose rule it is. In the client's, "our" and "here" are the client's.
    pub side: Side,
}

/// Two sides with these postures, for tables: a client, and a server, whose settings
/// are off or not. `declined`: off means Declined.
pub fn client_of(always: Value, if_agrees: Value, declined: bool) -> Effective {
    let settings = Settings::default()
        .with(Setting::ClientAlways, always)
        .with(Setting::ClientIfServerAgrees, if_agrees);
    Effective::of(settings).with_declined(declined)
}

/// Plays negotiation and logon through.
pub fn explain(meeting: &Meeting<'_>) -> Explanation {
    match play(meeting) {
        Ok(explanation) | Err(explanation) => explanation,
    }
}

fn play(meeting: &Meeting<'_>) -> Result<Explanation, Explanation> {
    let key = meeting.identity == Identity::User;
    let logon = |peer: PeerFlags, response: MessageState| {
        Moment::Session(SessionMoment {
            identity: meeting.identity,
            key,
            peer,
            established: None,
            response,
        })
    };
    let offer = ask(
        meeting,
        Side::Server,
        Moment::Negotiate(PeerFlags::default()),
    )?;
    let offered = PeerFlags {
        enabled: offer.announce_enabled,
        required: offer.announce_required,
    };
    let answer = ask(meeting, Side::Client, Moment::Negotiate(offered))?;
    let said = PeerFlags {
        enabled: answer.announce_enabled,
        required: answer.announce_required,
    };
    let agreed = ask(meeting, Side::Server, logon(said, MessageState::Unsigned))?;
    let response = if agreed.sign {
        MessageState::Verified
    } else {
        MessageState::Unsigned
    };
    ask(meeting, Side::Client, logon(offered, response))?;
    if let Some(name) = meeting.share {
        let share = ShareMoment {
            name,
            ipc: name.eq_ignore_ascii_case("IPC$"),
            protected: agreed.required,
        };
        ask(meeting, Side::Server, Moment::Share(share))?;
    }
    Ok(Explanation {
        outcome: if agreed.required {
            Outcome::Signed
        } else {
            Outcome::Unsigned
        },
        reason: agreed.reason,
        side: Side::Server,
    })
}

/// One verdict; what is not accepted ends the meeting.
fn ask(meeting: &Meeting<'_>, side: Side, moment: Moment<'_>) -> Result<Protection, Explanation> {
    let policy = match side {
        Side::Server => meeting.server,
        Side::Client => meeting.client,
    };
    let facts = Facts {
        side,
        family: meeting.family,
        policy,
        moment,
        exception: meeting.exception.filter(|_| side == Side::Server),
    };
    match verdict(&facts) {
        Verdict::Accept(protection) => Ok(protection),
        other => Err(Explanation {
            outcome: Outcome::Refused,
            reason: other.reason(),
            side,
        }),
    }
}

impl Explanation {
    /// The explanation in a sentence or two, with the settings that decide and who set
    /// them.
    pub fn text(&self, meeting: &Meeting<'_>) -> String {
        let server = |setting: Setting| {
            let standing = meeting.server.get(setting);
            format!(
                "{setting} is {}, set by {}",
                standing.value, standing.source
            )
        };
        let always = || server(Setting::ServerAlways);
        let if_agrees = || server(Setting::ServerIfClientAgrees);
        let who = match meeting.identity {
            Identity::User => "a user",
            Identity::Guest => "a guest",
            Identity::Anonymous => "a null session",
        };
        let smb1 = meeting.family == Family::Smb1;
        let why = match (self.outcome, self.reason, self.side) {
            (Outcome::Signed, Reason::PolicyRequires, _) => {
                format!("the server requires it ({})", always())
            }
            (Outcome::Signed, Reason::PeerRequires, _) => {
                "the client requires it (its client-always is enabled), and the server can"
                    .to_owned()
            }
            (Outcome::Signed, Reason::BothAgree, _) => format!(
                "neither side requires it, but both offer it ({}; the client's client-if-server-agrees is enabled). Whoever can alter traffic can prevent it: only an \"always\" on one side does not give way",
                if_agrees()
            ),
            (Outcome::Unsigned, Reason::NotRequired, _) if smb1 => format!(
                "neither side requires it, and not both offer it ({}; {})",
                always(),
                if_agrees()
            ),
            (Outcome::Unsigned, Reason::NotRequired, _) => format!(
                "neither side requires it ({}), and in SMB 2 and 3 nothing else counts; what the client signs of its own will is verified",
                always()
            ),
            (Outcome::Unsigned, Reason::NoKeyForIdentity, _) => {
                format!("{who} has no key to sign with, and no side requires it")
            }
            (Outcome::Unsigned, Reason::Exception, _) => match meeting.exception {
                Some(exception) => format!(
                    "the server requires it ({}), but the exception {} lets this client stay unsigned: {}",
                    always(),
                    exception.id,
                    exception.reason
                ),
                None => self.reason.text().to_owned(),
            },
            (Outcome::Refused, Reason::GuestUnderRequired, Side::Server) => format!(
                "the server requires signing ({}), and {who} has no key to sign with",
                always()
            ),
            (Outcome::Refused, Reason::GuestUnderRequired, Side::Client) => format!(
                "the client requires signing (its client-always is enabled) and gives up when it is made {who}, who has no key to sign with"
            ),
            (Outcome::Refused, Reason::PeerRequiresWeCannot, Side::Server) => format!(
                "the client requires signing, and on the server it is off ({}; {})",
                always(),
                if_agrees()
            ),
            (Outcome::Refused, Reason::ServerRequiresWeCannot, Side::Client) => format!(
                "the server requires signing ({}), and on the client both settings are off",
                always()
            ),
            (Outcome::Refused, Reason::ExceptionShare, _) => format!(
                "the server requires signing ({}), and the exception for this client does not name this share",
                always()
            ),
            (_, reason, _) => reason.text().to_owned(),
        };
        let dialect = if smb1 { "SMB1" } else { "SMB 2 and 3" };
        match self.outcome {
            Outcome::Signed => format!("{dialect}: signed, because {why}."),
            Outcome::Unsigned => format!("{dialect}: not signed, because {why}."),
            Outcome::Refused => format!("{dialect}: refused, because {why}."),
        }
    }
}
