//! What succeeds by design: asked of the policy's own verdicts, moment by moment, for
//! the messages as an attacker leaves them. Nothing here knows a result.

use countersign_policy::{
    CommandClass, Effective, Facts, Family, Identity, MessageFacts, MessageState, Moment,
    PeerFlags, Protection, ReplyKind, SessionFacts, SessionMoment, Settings, Side, SignedSoFar,
    Value, Verdict, reply_is_signed, request_is_signed, verdict,
};

use super::Setting;
use super::man::Attack;

/// What a client is like beyond the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nature {
    /// It signs SMB2 also where neither side requires it, if it offers signing.
    pub(crate) eager: bool,
    /// It comes to 2.0.2 by an SMB1 NEGOTIATE: then SESSION_SETUP alone says what it
    /// requires.
    pub(crate) multi_protocol: bool,
    /// It takes a session as guest that it did not ask for.
    pub(crate) takes_guests: bool,
    /// It ends where its last SESSION_SETUP response is not signed as agreed.
    pub(crate) strict: bool,
}

/// A session as both ends have it.
struct Session {
    client: SessionFacts,
    server: SessionFacts,
}

/// The two ends.
struct Ends {
    client: Effective,
    server: Effective,
    family: Family,
}

fn flags(protection: &Protection) -> PeerFlags {
    PeerFlags {
        enabled: protection.announce_enabled,
        required: protection.announce_required,
    }
}

impl Ends {
    fn new(setting: Setting, family: Family) -> Self {
        let value = |on: bool| if on { Value::Enabled } else { Value::Disabled };
        let (always, agrees) = setting.server_settings();
        let server = Settings::default()
            .with(countersign_policy::Setting::ServerAlways, value(always))
            .with(
                countersign_policy::Setting::ServerIfClientAgrees,
                value(agrees),
            );
        let (always, agrees, declined) = setting.client_settings();
        Self {
            client: countersign_policy::explain::client_of(value(always), value(agrees), declined),
            server: Effective::of(server),
            family,
        }
    }

    fn ask(&self, side: Side, moment: Moment<'_>) -> Option<Protection> {
        let policy = match side {
            Side::Server => &self.server,
            Side::Client => &self.client,
        };
        match verdict(&Facts {
            side,
            family: self.family,
            policy,
            moment,
            exception: None,
        }) {
            Verdict::Accept(protection) => Some(protection),
            _ => None,
        }
    }

    /// NEGOTIATE and logon; what each end says may be changed on the way. `None`: they
    /// do not come together.
    fn play(
        &self,
        strict: bool,
        of_server: impl Fn(PeerFlags) -> PeerFlags,
        of_client: impl Fn(PeerFlags) -> PeerFlags,
    ) -> Option<Session> {
        let offer = self.ask(Side::Server, Moment::Negotiate(PeerFlags::default()))?;
        let seen = of_server(flags(&offer));
        let answer = self.ask(Side::Client, Moment::Negotiate(seen))?;
        let logon = |peer: PeerFlags, response: MessageState| {
            Moment::Session(SessionMoment {
                identity: Identity::User,
                key: true,
                peer,
                established: None,
                response,
            })
        };
        let heard = of_client(flags(&answer));
        let server = self.ask(Side::Server, logon(heard, MessageState::Unsigned))?;
        let response = if server.sign {
            MessageState::Verified
        } else {
            MessageState::Unsigned
        };
        let client = self.ask(Side::Client, logon(seen, response));
        // Who is not strict goes on without.
        let (sign, required) = match client {
            Some(client) => (client.sign, client.required),
            None if strict || self.client.client_requires() => return None,
            None => (false, false),
        };
        Some(Session {
            client: self.session(sign, required),
            server: self.session(server.sign, server.required),
        })
    }

    fn session(&self, sign: bool, required: bool) -> SessionFacts {
        let smb1 = self.family == Family::Smb1;
        SessionFacts {
            family: self.family,
            identity: Identity::User,
            // In SMB1 a key is active or not; behind it there is always one.
            key: sign || !smb1,
            required,
            encryption_required: false,
            signed_so_far: SignedSoFar::Nothing,
        }
    }

    /// Whether the server acts upon a request that comes so.
    fn server_takes(&self, session: &Session, class: CommandClass, state: MessageState) -> bool {
        let message = MessageFacts::request(class, state, Some(&session.server));
        self.ask(Side::Server, Moment::Message(message)).is_some()
    }

    /// Whether the client believes a response that comes so.
    fn client_takes(&self, session: &Session, signs: bool, state: MessageState) -> bool {
        let message = MessageFacts {
            class: CommandClass::Other,
            state,
            session: Some(&session.client),
            request_signed: signs,
            keyless_failure: false,
        };
        self.ask(Side::Client, Moment::Message(message)).is_some()
    }
}

fn family(dialect: &str) -> Family {
    match dialect {
        "NT1" => Family::Smb1,
        "SMB3_11" => Family::Smb311,
        _ => Family::Smb2,
    }
}

/// Whether an attack succeeds by design: nothing in the protocol is against it at this
/// setting.
pub(crate) fn succeeds(nature: Nature, attack: Attack, dialect: &str, setting: Setting) -> bool {
    if attack.never().is_some() || setting == Setting::Encrypted {
        return false;
    }
    if attack == Attack::ToSmb1 {
        return reaches(nature, Attack::StripWrite, "NT1", setting);
    }
    reaches(nature, attack, dialect, setting)
}

fn reaches(nature: Nature, attack: Attack, dialect: &str, setting: Setting) -> bool {
    let ends = Ends::new(setting, family(dialect));
    let smb1 = ends.family == Family::Smb1;
    let same = |peer: PeerFlags| peer;
    // 2.1 and 2.0.2 go unprotected, and so does all of SMB1.
    let unprotected = matches!(dialect, "NT1" | "SMB2_02" | "SMB2_10");
    let session = match attack {
        Attack::ClearServerMode if !unprotected => return false,
        Attack::ClearServerMode => ends.play(nature.strict, |_| announced(smb1), same),
        Attack::ClearClientMode => {
            // A server of SMB2 reads it in NEGOTIATE, too.
            let once = smb1 || nature.multi_protocol && dialect == "SMB2_02";
            ends.play(nature.strict, same, |said| match once {
                true => announced(smb1),
                false => said,
            })
        }
        _ => ends.play(true, same, same),
    };
    let Some(session) = session else {
        return false;
    };
    let eager = nature.eager && setting.offers() && !smb1;
    let signs = eager || request_is_signed(CommandClass::Other, &session.client);
    let answered_signed = reply_is_signed(ReplyKind::Final, signs, &session.server);
    let altered = |signed: bool| match signed {
        true => MessageState::BadSignature,
        false => MessageState::Unsigned,
    };
    let request = |state: MessageState| ends.server_takes(&session, CommandClass::Other, state);
    let response = |state: MessageState| ends.client_takes(&session, signs, state);
    let logon = |identity: Identity, key: bool| {
        let offer = ends.ask(Side::Server, Moment::Negotiate(PeerFlags::default()));
        let moment = SessionMoment {
            identity,
            key,
            peer: offer.as_ref().map(flags).unwrap_or_default(),
            established: None,
            response: MessageState::Unsigned,
        };
        ends.ask(Side::Client, Moment::Session(moment)).is_some()
    };
    match attack {
        Attack::AlterWrite | Attack::AlterName | Attack::StaleSignature => request(altered(signs)),
        Attack::StripWrite
        | Attack::Hijack
        | Attack::Splice
        | Attack::ClearServerMode
        | Attack::ClearClientMode => request(MessageState::Unsigned),
        Attack::AlterRead => response(altered(answered_signed)),
        Attack::StripRead | Attack::Swallow | Attack::Overtake => response(MessageState::Unsigned),
        Attack::Truncate => request(altered(signs)) && response(altered(answered_signed)),
        // Behind SMB1 a MessageId is taken once; there only the numbers of signing count.
        Attack::Replay | Attack::ReuseId => smb1 && request(MessageState::Unsigned),
        Attack::Guest => {
            // What a guest sends is unsigned, from TREE_CONNECT on.
            let connects =
                ends.server_takes(&session, CommandClass::TreeConnect, MessageState::Unsigned);
            nature.takes_guests
                && logon(Identity::Guest, false)
                && connects
                && request(MessageState::Unsigned)
        }
        Attack::StripSetup => logon(Identity::User, true) && request(MessageState::Unsigned),
        _ => false,
    }
}

/// What is left of an announcement: behind SMB1 "can sign" means nothing.
fn announced(smb1: bool) -> PeerFlags {
    PeerFlags {
        enabled: !smb1,
        required: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::man::ALL;
    use crate::attack::{DIALECTS, SETTINGS};

    const PLAIN: Nature = Nature {
        eager: false,
        multi_protocol: true,
        takes_guests: true,
        strict: false,
    };

    #[test]
    fn nothing_succeeds_where_both_require_signing() {
        for attack in ALL {
            for dialect in DIALECTS {
                for eager in [false, true] {
                    let nature = Nature { eager, ..PLAIN };
                    for setting in [Setting::Server, Setting::Both, Setting::Encrypted] {
                        assert!(
                            !succeeds(nature, *attack, dialect, setting),
                            "{attack:?} {dialect} {setting:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_can_succeed_does_without_signing() {
        for attack in ALL.iter().filter(|attack| attack.never().is_none()) {
            let somewhere = DIALECTS.iter().any(|dialect| {
                SETTINGS.iter().any(|setting| {
                    attack.applies(dialect)
                        && setting.applies(dialect, *attack)
                        && succeeds(PLAIN, *attack, dialect, *setting)
                })
            });
            assert!(somewhere, "{attack:?} never succeeds, and does not say why");
        }
    }

    #[test]
    fn requiring_clients_lose_only_where_their_word_is_not_protected() {
        for attack in ALL {
            for dialect in DIALECTS {
                let lost = succeeds(PLAIN, *attack, dialect, Setting::Client);
                let known = *attack == Attack::ClearClientMode && dialect == "SMB2_02";
                assert_eq!(lost, known, "{attack:?} {dialect}");
            }
        }
    }
}
