//! Who a set of responses logs on: the decision NTLMSSP and SMB1's classic
//! logon share.

use crate::config::{AuthConfig, GuestRule};
use crate::failure::FailureReason;
use crate::identity::Identity;
use crate::ntlm::verify::{Allowed, Proof, Responses, split_name, verify};
use crate::users::{NtHash, User, UserDirectory};

/// What the responses are worth.
pub(crate) enum Decision {
    /// A user who proved the password.
    User(Box<Identity>, Proof),
    /// A guest.
    Guest(Box<Identity>),
    /// Nobody.
    Anonymous(Box<Identity>),
}

/// Whether a logon names nobody and proves nothing. A single zero byte is how
/// an empty LM response is sent.
pub(crate) fn is_anonymous(responses: &Responses<'_>) -> bool {
    responses.user.is_empty() && is_nothing(responses.nt) && is_nothing(responses.lm)
}

/// An empty response, or the single zero byte some clients send for one.
pub(crate) fn is_nothing(response: &[u8]) -> bool {
    matches!(response, [] | [0])
}

/// Finds the account of a name as a client writes it.
fn find(users: &dyn UserDirectory, name: &str) -> Option<User> {
    let (short, _) = split_name(name);
    users.find(name).or_else(|| users.find(short))
}

/// Decides about a logon.
pub(crate) fn decide(
    config: &AuthConfig,
    users: &dyn UserDirectory,
    responses: &Responses<'_>,
    allowed: Allowed,
    workstation: &str,
) -> Result<Decision, FailureReason> {
    let rules = &config.rules;
    if is_anonymous(responses) {
        return if rules.anonymous {
            Ok(Decision::Anonymous(Box::new(Identity::anonymous(
                workstation,
            ))))
        } else {
            Err(FailureReason::AnonymousRefused)
        };
    }
    let domain = &config.names.netbios_computer;
    let guest = || {
        let identity = Identity::guest(config.machine_sid, domain, workstation, responses.user);
        Decision::Guest(Box::new(identity))
    };
    let Some(user) = find(users, responses.user) else {
        if rules.guest != GuestRule::Never {
            return Ok(guest());
        }
        // As much work as for a known name; its outcome cannot be a logon.
        return match verify(&NtHash::new([0; 16]), responses, allowed) {
            Ok(_) | Err(FailureReason::BadPassword) => Err(FailureReason::UnknownUser),
            Err(form) => Err(form),
        };
    };
    match verify(&user.nt_hash, responses, allowed) {
        Ok(_) if user.disabled => Err(FailureReason::Disabled),
        Ok(proof) => {
            let mut identity = Identity::user(&user, config.machine_sid, domain, workstation);
            identity.asked_name = responses.user.to_owned();
            Ok(Decision::User(Box::new(identity), proof))
        }
        Err(FailureReason::BadPassword) if rules.guest == GuestRule::BadPassword => Ok(guest()),
        Err(reason) => Err(reason),
    }
}
