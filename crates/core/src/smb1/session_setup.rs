//! [MS-CIFS] 3.3.5.43 and [MS-SMB] 3.3.5.3 SESSION_SETUP_ANDX.

use std::sync::Arc;
use std::time::Duration;

use countersign_auth::{
    AcceptContext, Acceptor, AuthFailure, ClassicLogon, Identity, IdentityKind, Mechanism,
    SessionKey, Step, classic_logon,
};
use countersign_fs::Caller;
use countersign_policy::{Peer, PeerFlags, Reason};
use countersign_wire::NtStatus;
use countersign_wire::smb1::session_setup_andx::{
    ACTION_GUEST, Names, SessionSetupRequest, SessionSetupResponse,
};
use countersign_wire::smb1::{Block, Capabilities, Flags2};

use super::request::{Answer, NtStatusField, Reply, Request, Stop};
use super::state::{Session, Setup};
use crate::config::Dialect;
use crate::gate::smb1::Logon;
use crate::observer::{Abilities, Authentication, Occasion, Sighting, failure_code, refusal};
use crate::registry::SessionFacts as RegistryFacts;

/// What is said of this server in NativeOS.
const NATIVE_OS: &str = "Unix";
/// What is said of this server in NativeLanMan.
const NATIVE_LAN_MAN: &str = "Countersign";

pub(super) async fn handle(cx: &mut Request, block: &Block<'_>) -> Answer {
    let request = SessionSetupRequest::decode(block, cx.text())?;
    let monotonic = cx.monotonic();
    if cx
        .shared
        .server
        .logons
        .is_locked_out(cx.shared.ip(), monotonic)
    {
        tracing::warn!(address = %cx.shared.address, "logon refused: address is locked out");
        turned_away(cx, |sighting| sighting.because(refusal::LOCKED_OUT));
        return Err(Stop::Status(NtStatus::ACCOUNT_LOCKED_OUT));
    }
    if cx.config.encrypt {
        // Every session must be encrypted, and SMB1 cannot.
        turned_away(cx, |sighting| sighting.because(refusal::CANNOT_ENCRYPT));
        return Err(Stop::Status(NtStatus::ACCESS_DENIED));
    }
    match request {
        SessionSetupRequest::Extended { words, blob, .. } => {
            if blob.len() > cx.config.limits.token_bytes {
                return Err(Stop::Status(NtStatus::INVALID_PARAMETER));
            }
            let blob = blob.to_vec();
            let client = Client {
                capabilities: words.capabilities,
                max_buffer: words.max_buffer_size,
            };
            extended(cx, &blob, client).await
        }
        SessionSetupRequest::Classic {
            words,
            oem_password,
            unicode_password,
            names,
        } => {
            let client = Client {
                capabilities: words.capabilities,
                max_buffer: words.max_buffer_size,
            };
            let (lm, nt) = (oem_password.to_vec(), unicode_password.to_vec());
            classic(cx, &lm, &nt, &names, client).await
        }
        SessionSetupRequest::Lanman {
            words,
            password,
            names,
        } => {
            // No LM response is ever accepted, but nobody needs a password to
            // be a guest or anonymous.
            let client = Client {
                capabilities: 0,
                max_buffer: words.max_buffer_size,
            };
            let lm = password.to_vec();
            classic(cx, &lm, &[], &names, client).await
        }
    }
}

#[derive(Clone, Copy)]
struct Client {
    capabilities: u32,
    max_buffer: u16,
}

async fn extended(cx: &mut Request, blob: &[u8], client: Client) -> Answer {
    let (uid, mut acceptor) = take_acceptor(cx)?;
    let step = acceptor.step(blob);
    match step {
        Step::Continue { token } => {
            let mut state = cx.shared.state.lock();
            state.setups.insert(
                uid,
                Setup {
                    acceptor: Some(acceptor),
                },
            );
            drop(state);
            cx.header.uid = uid;
            let mut reply = response(cx, 0, Some(token));
            reply.status = NtStatusField(NtStatus::MORE_PROCESSING_REQUIRED);
            Ok(reply)
        }
        Step::Done {
            token,
            identity,
            session_key,
            mechanism,
            lifetime,
        } => {
            let proof = Proof {
                key: session_key.as_ref().map(|k| (k, [].as_slice())),
                mechanism,
                lifetime,
            };
            let action = establish(cx, uid, *identity, &proof, client)?;
            Ok(response(cx, action, Some(token)))
        }
        Step::Failed { failure, .. } => {
            cx.shared.state.lock().setups.remove(&uid);
            Err(failed(cx, &failure).await)
        }
    }
}

/// The acceptor of the logon this request goes on with, or a new one.
fn take_acceptor(cx: &Request) -> Result<(u16, Box<Acceptor>), Stop> {
    let mut state = cx.shared.state.lock();
    if !state.negotiated.is_some_and(|n| n.extended) {
        return Err(Stop::Status(NtStatus::INVALID_PARAMETER));
    }
    let uid = cx.header.uid;
    if let Some(setup) = state.setups.get_mut(&uid) {
        // A second request while the first is being worked on is out of order.
        let acceptor = setup
            .acceptor
            .take()
            .ok_or(Stop::Status(NtStatus::INVALID_PARAMETER))?;
        return Ok((uid, acceptor));
    }
    if state.setups.len() >= cx.config.limits.sessions_per_connection {
        return Err(Stop::Status(NtStatus::TOO_MANY_SESSIONS));
    }
    let uid = if state.sessions.contains_key(&uid) {
        uid // re-authentication
    } else {
        state
            .new_uid()
            .ok_or(Stop::Status(NtStatus::TOO_MANY_SESSIONS))?
    };
    state.setups.insert(uid, Setup { acceptor: None });
    let mut server_challenge = [0; 8];
    cx.shared.server.host.random(&mut server_challenge);
    let context = AcceptContext {
        smb1: true,
        server_challenge,
        now: state.now.wall,
    };
    let acceptor = Acceptor::new(
        Arc::clone(&cx.config.auth),
        Arc::clone(&cx.config.users),
        context,
    );
    Ok((uid, Box::new(acceptor)))
}

async fn classic(
    cx: &mut Request,
    lm_response: &[u8],
    nt_response: &[u8],
    names: &Names,
    client: Client,
) -> Answer {
    let challenge = {
        let state = cx.shared.state.lock();
        state
            .negotiated
            .ok_or(Stop::Close("logon before NEGOTIATE"))?
            .challenge
    };
    let logon = ClassicLogon {
        user: &names.account,
        domain: &names.domain,
        lm_response,
        nt_response,
        challenge,
    };
    let accepted = match classic_logon(&cx.config.auth, &*cx.config.users, &logon) {
        Ok(accepted) => accepted,
        Err(failure) => return Err(failed(cx, &failure).await),
    };
    let uid = {
        let mut state = cx.shared.state.lock();
        state
            .new_uid()
            .ok_or(Stop::Status(NtStatus::TOO_MANY_SESSIONS))?
    };
    let proof = Proof {
        key: accepted
            .session_key
            .as_ref()
            .map(|k| (k, accepted.challenge_response.as_slice())),
        mechanism: Mechanism::Ntlm(accepted.version),
        lifetime: None,
    };
    let action = establish(cx, uid, accepted.identity, &proof, client)?;
    Ok(response(cx, action, None))
}

/// What a logon proved with.
struct Proof<'a> {
    /// The session key, and what is behind it in the key of signatures.
    key: Option<(&'a SessionKey, &'a [u8])>,
    mechanism: Mechanism,
    /// Until the credentials run out.
    lifetime: Option<Duration>,
}

/// A logon succeeded: policy decides, and the session comes to be.
fn establish(
    cx: &mut Request,
    uid: u16,
    identity: Identity,
    proof: &Proof<'_>,
    client: Client,
) -> Result<u16, Stop> {
    let server = Arc::clone(&cx.shared.server);
    let mut state = cx.shared.state.lock();
    state.setups.remove(&uid);
    let again = state.sessions.contains_key(&uid);
    if !again && state.sessions.len() >= cx.config.limits.sessions_per_connection {
        return Err(Stop::Status(NtStatus::TOO_MANY_SESSIONS));
    }
    let kind = match identity.kind {
        IdentityKind::User => countersign_policy::Identity::User,
        IdentityKind::Guest => countersign_policy::Identity::Guest,
        IdentityKind::Anonymous => countersign_policy::Identity::Anonymous,
    };
    let peer = Peer {
        address: cx.shared.ip(),
        identity: kind,
        account: &identity.name,
        machine: &identity.workstation,
    };
    let exceptions = cx.config.exceptions.at_session(&peer, state.now.unix());
    let mut abilities = Abilities {
        offered: Some(if state.offered_smb2 {
            Dialect::Smb202
        } else {
            Dialect::Smb1
        }),
        signing: PeerFlags {
            enabled: cx.header.flags2.contains(Flags2::SECURITY_SIGNATURE),
            required: cx
                .header
                .flags2
                .contains(Flags2::SECURITY_SIGNATURE_REQUIRED),
        },
        announced: state.announced,
        encryption: false,
        key: proof.key.is_some(),
        authentication: Authentication::of(kind, proof.mechanism),
        exceptions: Vec::new(),
    };
    let logon = Logon {
        policy: &cx.config.policy,
        identity: kind,
        key: proof.key,
        flags2: cx.header.flags2,
        exception: exceptions.first().map(|one| &**one),
    };
    let accepted = match state.signing.establish(&logon) {
        Ok(accepted) => accepted,
        Err(refused) => {
            drop(state);
            server.statistics.refused_logons.add();
            tracing::warn!(
                address = %cx.shared.address,
                user = %identity.name,
                reason = refused.reason.code(),
                "logon refused by policy"
            );
            turned_away(cx, |sighting| {
                let mut sighting = sighting
                    .able(abilities)
                    .named(&identity.name, &identity.domain, &identity.workstation)
                    .because(refused.reason.code());
                sighting.identity = kind;
                sighting
            });
            return Err(Stop::Status(refused.status));
        }
    };
    if let Some(seal) = accepted.seal {
        cx.admitted = seal;
    }
    // A peer that asks for signing and did not get a key sees the placeholder.
    let asks = Flags2::SECURITY_SIGNATURE | Flags2::SECURITY_SIGNATURE_REQUIRED;
    if cx.header.flags2.intersects(asks) {
        state.signing.offered(true);
    }
    let action = if kind == countersign_policy::Identity::Guest {
        ACTION_GUEST
    } else {
        0
    };
    server.statistics.logons.add();
    server.logons.succeeded(cx.shared.ip());
    state.session_was_set_up = true;
    let now = state.now;
    let exceptions = if accepted.reason == Reason::Exception {
        exceptions
    } else {
        Vec::new()
    };
    abilities.exceptions.clone_from(&exceptions);
    let facts = RegistryFacts {
        address: cx.shared.address,
        machine: identity.workstation.clone(),
        user: identity.name.clone(),
        domain: identity.domain.clone(),
        groups: identity.groups.clone(),
        authentication: Authentication::of(kind, proof.mechanism),
        dialect: Dialect::Smb1,
        signing: accepted.facts.key.then_some("MD5"),
        signing_required: accepted.facts.required,
        reason: accepted.reason.code().to_owned(),
        encryption: None,
        guest: kind == countersign_policy::Identity::Guest,
        anonymous: kind == countersign_policy::Identity::Anonymous,
        created: now.wall,
        abilities,
    };
    let caller = Arc::new(Caller {
        user_sid: identity.user_sid.as_bytes().to_vec(),
        group_sids: identity
            .group_sids
            .iter()
            .map(|s| s.as_bytes().to_vec())
            .collect(),
        administrator: identity.administrator,
        name: identity.name.clone(),
    });
    let (number, record) = match state.sessions.get(&uid) {
        Some(old) => {
            old.record.update(|f| *f = facts);
            (old.number, Arc::clone(&old.record))
        }
        None => {
            let number = server.registry.next_id();
            let mailbox = Arc::clone(&cx.shared.mailbox);
            (number, server.registry.insert(number, facts, mailbox, now))
        }
    };
    tracing::info!(
        address = %cx.shared.address,
        dialect = "SMB1",
        session = number,
        user = %identity.name,
        reason = accepted.reason.code(),
        "session set up"
    );
    let session = Session {
        number,
        record,
        identity: Arc::new(identity),
        caller,
        facts: accepted.facts,
        exceptions,
        expires: proof
            .lifetime
            .map(|left| now.monotonic.saturating_add(left)),
        capabilities: Capabilities::from_bits_retain(client.capabilities),
        max_buffer: client.max_buffer,
    };
    state.sessions.insert(uid, session);
    drop(state);
    cx.header.uid = uid;
    Ok(action)
}

/// Tells the observer of a peer that was turned away.
fn turned_away(cx: &Request, say: impl FnOnce(Sighting) -> Sighting) {
    let peer = cx.shared.address;
    cx.shared.server.lookout.tell(|| {
        let (smb2, announced) = {
            let state = cx.shared.state.lock();
            (state.offered_smb2, state.announced)
        };
        let abilities = Abilities {
            offered: Some(if smb2 { Dialect::Smb202 } else { Dialect::Smb1 }),
            announced,
            ..Abilities::default()
        };
        let stranger = Sighting::stranger(peer, Some(Dialect::Smb1));
        Occasion::Refused(say(stranger.able(abilities)))
    });
}

/// Notes a failed logon; its answer comes after the delay.
async fn failed(cx: &Request, failure: &AuthFailure) -> Stop {
    let server = &cx.shared.server;
    server.statistics.failed_logons.add();
    tracing::warn!(
        address = %cx.shared.address,
        dialect = "SMB1",
        user = %failure.user,
        domain = %failure.domain,
        reason = %failure,
        "logon failed"
    );
    turned_away(cx, |sighting| {
        sighting
            .named(&failure.user, &failure.domain, &failure.workstation)
            .because(failure_code(failure))
    });
    if failure.is_bad_password() {
        let until = server
            .logons
            .failed(cx.shared.ip(), &cx.config.logon, cx.monotonic());
        cx.sleep_until(until).await;
    }
    Stop::Status(failure.status())
}

fn response(cx: &Request, action: u16, blob: Option<Vec<u8>>) -> Reply {
    let response = SessionSetupResponse {
        action,
        blob,
        native_os: NATIVE_OS.to_owned(),
        native_lan_man: NATIVE_LAN_MAN.to_owned(),
        primary_domain: cx.config.workgroup.clone(),
    };
    let (words, bytes) = response.encode(cx.text(), cx.block_start());
    Reply::new(words, bytes)
}
