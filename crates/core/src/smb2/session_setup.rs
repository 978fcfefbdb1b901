//! [MS-SMB2] 3.3.5.5 SESSION_SETUP: logons, re-authentication, channel binding.

use std::sync::Arc;
use std::time::Duration;

use countersign_auth::{
    AcceptContext, Acceptor, AuthFailure, Identity, IdentityKind, Mechanism, SessionKey,
    Step as Logon,
};
use countersign_crypto::SigningAlgorithm;
use countersign_policy::{Exception, Peer, PeerFlags, Reason};

use countersign_wire::NtStatus;
use countersign_wire::smb2::{
    Capabilities, SESSION_FLAG_BINDING, SecurityMode, SessionFlags, SessionSetupRequest,
    SessionSetupResponse,
};

use super::handler::{Context, Response, Step, Wait};
use super::session::{Session, SessionState};
use super::state::{Channel, Setup, State};
use crate::config::Dialect;
use crate::gate::smb2::{self as gate, FinalSeal, LogonRefused};
use crate::observer::{Abilities, Authentication, Occasion, Sighting, failure_code, refusal};
use crate::registry::SessionFacts;

/// What a SESSION_SETUP is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    New,
    Again,
    Bind,
}

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    let Ok(request) = SessionSetupRequest::decode(cx.request.message()) else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    if request.security_buffer.len() > cx.request.config.limits.token_bytes {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let address = cx.link.peer.address.ip();
    if cx
        .link
        .server
        .logons
        .is_locked_out(address, cx.now.monotonic)
    {
        tracing::warn!(connection = cx.link.id, %address, "logon refused: address is locked out");
        turned_away(cx, |sighting| sighting.because(refusal::LOCKED_OUT));
        return Step::Fail(NtStatus::ACCOUNT_LOCKED_OUT);
    }
    let found = if request.flags & SESSION_FLAG_BINDING != 0 {
        bind(cx)
    } else {
        session_for(cx)
    };
    let (id, purpose) = match found {
        Ok(found) => found,
        Err(status) => return Step::Fail(status),
    };
    step(cx, id, purpose, &request)
}

/// The session of a logon: a new one, one whose logon goes on, or one that
/// authenticates again.
fn session_for(cx: &mut Context<'_>) -> Result<(u64, Purpose), NtStatus> {
    let id = cx.request.header.session_id;
    if id == 0 {
        return new_session(cx);
    }
    let channel = cx
        .state
        .channels
        .get(&id)
        .ok_or(NtStatus::USER_SESSION_DELETED)?;
    if channel.binding {
        return Err(NtStatus::USER_SESSION_DELETED);
    }
    match channel.session.state() {
        SessionState::InProgress => Ok((id, Purpose::New)),
        SessionState::Valid | SessionState::Expired => Ok((id, Purpose::Again)),
        SessionState::Ended => Err(NtStatus::USER_SESSION_DELETED),
    }
}

fn new_session(cx: &mut Context<'_>) -> Result<(u64, Purpose), NtStatus> {
    let config = &cx.request.config;
    if cx.state.channels.len() >= config.limits.sessions_per_connection {
        return Err(NtStatus::INSUFFICIENT_RESOURCES);
    }
    let negotiated = cx.state.negotiated().ok_or(NtStatus::INVALID_PARAMETER)?;
    if config.encrypt && negotiated.cipher.is_none() {
        // [MS-SMB2] 3.3.5.5: the server encrypts, and the peer cannot.
        turned_away(cx, |sighting| sighting.because(refusal::CANNOT_ENCRYPT));
        return Err(NtStatus::ACCESS_DENIED);
    }
    let id = cx.link.server.registry.next_id();
    let session = Session::new(id, cx.link.id, negotiated.dialect, negotiated.client_guid);
    cx.link.server.sessions.insert(&session);
    cx.state.channels.insert(
        id,
        Channel {
            session,
            key: None,
            setup: None,
            binding: false,
        },
    );
    Ok((id, Purpose::New))
}

/// [MS-SMB2] 3.3.5.5: whether a session of another connection may get a channel
/// here. That there is one, and that the request is rightly signed with its key,
/// was settled before; then, in this order: algorithms (as Windows answers
/// them), dialect, state, bound already, cipher.
fn check_binding(state: &State, session: &Session) -> Result<(), NtStatus> {
    let negotiated = state.negotiated().ok_or(NtStatus::INVALID_PARAMETER)?;
    let multi = negotiated.is_smb3()
        && negotiated
            .capabilities
            .contains(Capabilities::MULTI_CHANNEL);
    // Guests have no key to sign a binding with.
    let secrets = session.secrets.get().ok_or(NtStatus::NOT_SUPPORTED)?;
    // A session that signs with GMAC does so on all channels.
    let gmac = |algorithm| algorithm == SigningAlgorithm::AesGmac;
    match (
        gmac(secrets.signing().algorithm()),
        gmac(negotiated.signing),
    ) {
        (true, false) => return Err(NtStatus::REQUEST_OUT_OF_SEQUENCE),
        (false, true) => return Err(NtStatus::NOT_SUPPORTED),
        _ => {}
    }
    if !multi {
        return Err(NtStatus::REQUEST_NOT_ACCEPTED);
    }
    if session.dialect != negotiated.dialect {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    match session.state() {
        SessionState::InProgress => return Err(NtStatus::REQUEST_NOT_ACCEPTED),
        SessionState::Ended => return Err(NtStatus::USER_SESSION_DELETED),
        SessionState::Valid | SessionState::Expired => {}
    }
    if state.channels.get(&session.id).is_some_and(|c| !c.binding) {
        return Err(NtStatus::REQUEST_NOT_ACCEPTED);
    }
    if secrets.cipher() != negotiated.cipher {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    Ok(())
}

fn bind(cx: &mut Context<'_>) -> Result<(u64, Purpose), NtStatus> {
    let id = cx.request.header.session_id;
    let session = cx
        .link
        .server
        .sessions
        .get(id)
        .ok_or(NtStatus::USER_SESSION_DELETED)?;
    check_binding(cx.state, &session)?;
    if !cx.state.channels.contains_key(&id) {
        let limits = &cx.request.config.limits;
        if cx.state.channels.len() >= limits.sessions_per_connection
            || session.channel_count() >= limits.channels_per_session
        {
            return Err(NtStatus::INSUFFICIENT_RESOURCES);
        }
        cx.state.channels.insert(
            id,
            Channel {
                session,
                key: None,
                setup: None,
                binding: true,
            },
        );
    }
    Ok((id, Purpose::Bind))
}

/// One leg of the exchange.
fn step(
    cx: &mut Context<'_>,
    id: u64,
    purpose: Purpose,
    request: &SessionSetupRequest<'_>,
) -> Step {
    let mut setup = match cx.state.channels.get_mut(&id).and_then(|c| c.setup.take()) {
        Some(setup) => setup,
        None => begin(cx, request),
    };
    if let Some(hash) = &mut setup.preauth {
        hash.update(cx.request.message());
    }
    setup.security_mode |= request.security_mode;
    match setup.acceptor.step(request.security_buffer) {
        Logon::Continue { token } => {
            if let Some(channel) = cx.state.channels.get_mut(&id) {
                channel.setup = Some(setup);
            }
            let mut response = respond(
                NtStatus::MORE_PROCESSING_REQUIRED,
                SessionFlags::empty(),
                &token,
            );
            response.session_id = Some(id);
            Step::Reply(response)
        }
        Logon::Done {
            token,
            identity,
            session_key,
            mechanism,
            lifetime,
        } => {
            let done = Done {
                mechanism,
                expires: lifetime.map(|left| cx.now.monotonic.saturating_add(left)),
                id,
                setup: &setup,
                identity: *identity,
                session_key,
                token,
            };
            let result = match purpose {
                Purpose::New => first(cx, &done),
                Purpose::Again => again(cx, &done),
                Purpose::Bind => bound(cx, &done),
            };
            match result {
                Ok(response) => {
                    cx.link.server.statistics.logons.add();
                    cx.link.server.logons.succeeded(cx.link.peer.address.ip());
                    Step::Reply(response)
                }
                Err(refused) => {
                    cx.link.server.statistics.refused_logons.add();
                    give_up(cx, id, purpose);
                    refused
                }
            }
        }
        Logon::Failed { failure, .. } => {
            give_up(cx, id, purpose);
            failed(cx, &failure)
        }
    }
}

fn begin(cx: &Context<'_>, request: &SessionSetupRequest<'_>) -> Box<Setup> {
    let config = &cx.request.config;
    let context = AcceptContext {
        smb1: false,
        server_challenge: cx.link.random(),
        now: cx.now.wall,
    };
    Box::new(Setup {
        acceptor: Acceptor::new(Arc::clone(&config.auth), Arc::clone(&config.users), context),
        preauth: cx.state.negotiated().and_then(|n| n.preauth.clone()),
        security_mode: SecurityMode::empty(),
        previous: request.previous_session_id,
    })
}

/// A logon that failed: its session, or with it the session that tried to
/// authenticate again, is gone.
fn give_up(cx: &mut Context<'_>, id: u64, purpose: Purpose) {
    match purpose {
        Purpose::Bind => {
            cx.state.channels.remove(&id);
        }
        Purpose::New | Purpose::Again => {
            if let Some(channel) = cx.state.channels.remove(&id) {
                let server = &cx.link.server;
                channel
                    .session
                    .end(server, false, cx.link.id, "logon failed");
            }
        }
    }
}

/// The answer to a failed logon comes late, to slow down guessing.
fn failed(cx: &Context<'_>, failure: &AuthFailure) -> Step {
    let server = &cx.link.server;
    server.statistics.failed_logons.add();
    tracing::warn!(
        connection = cx.link.id,
        peer = %cx.link.peer.address,
        user = failure.user,
        reason = %failure,
        "logon failed"
    );
    turned_away(cx, |sighting| {
        sighting
            .named(&failure.user, &failure.domain, &failure.workstation)
            .because(failure_code(failure))
    });
    let fail = Step::Fail(failure.status());
    if !failure.is_bad_password() {
        return fail;
    }
    let limits = &cx.request.config.logon;
    let at = server
        .logons
        .failed(cx.link.peer.address.ip(), limits, cx.now.monotonic);
    if limits.delay == Duration::ZERO {
        return fail;
    }
    Step::Wait(Wait::Until(at, Box::new(fail)))
}

struct Done<'a> {
    id: u64,
    setup: &'a Setup,
    identity: Identity,
    session_key: Option<SessionKey>,
    token: Vec<u8>,
    mechanism: Mechanism,
    /// When the credentials run out.
    expires: Option<Duration>,
}

impl Done<'_> {
    fn class(&self) -> countersign_policy::Identity {
        match self.identity.kind {
            IdentityKind::User => countersign_policy::Identity::User,
            IdentityKind::Guest => countersign_policy::Identity::Guest,
            IdentityKind::Anonymous => countersign_policy::Identity::Anonymous,
        }
    }

    /// The exceptions that are for this peer.
    fn exceptions(&self, cx: &Context<'_>) -> Vec<Arc<Exception>> {
        let peer = Peer {
            address: cx.link.peer.address.ip(),
            identity: self.class(),
            account: &self.identity.name,
            machine: &self.identity.workstation,
        };
        cx.request
            .config
            .exceptions
            .at_session(&peer, cx.now.unix())
    }

    /// What the peer could do.
    fn abilities(&self, cx: &Context<'_>, exceptions: Vec<Arc<Exception>>) -> Abilities {
        let mut abilities = abilities(cx, self.setup.security_mode);
        abilities.key = self.session_key.is_some();
        abilities.authentication = Authentication::of(self.class(), self.mechanism);
        abilities.exceptions = exceptions;
        abilities
    }

    /// The peer, for the observer.
    fn sighting(&self, cx: &Context<'_>, sighting: Sighting) -> Sighting {
        let mut sighting = sighting.able(self.abilities(cx, Vec::new())).named(
            &self.identity.name,
            &self.identity.domain,
            &self.identity.workstation,
        );
        sighting.identity = self.class();
        sighting
    }

    fn logon<'b>(
        &'b self,
        cx: &'b Context<'_>,
        exceptions: &'b [Arc<Exception>],
    ) -> Option<gate::Logon<'b>> {
        let negotiated = cx.state.negotiated()?;
        // [MS-SMB2] 3.3.5.4 and 3.3.5.5.3: either of the client's two bits counts.
        let mode = self.setup.security_mode | negotiated.client_security_mode;
        Some(gate::Logon {
            policy: &cx.request.config.policy,
            session: self.id,
            dialect: negotiated.dialect,
            algorithm: negotiated.signing,
            cipher: negotiated.cipher,
            preauth: self.setup.preauth.as_ref(),
            identity: self.class(),
            session_key: self.session_key.as_ref(),
            peer_requires: mode.contains(SecurityMode::SIGNING_REQUIRED),
            encrypt: cx.request.config.encrypt && negotiated.cipher.is_some(),
            exception: exceptions.first().map(|one| &**one),
        })
    }
}

/// What the connection says of the peer's abilities.
fn abilities(cx: &Context<'_>, said: SecurityMode) -> Abilities {
    let Some(negotiated) = cx.state.negotiated() else {
        return Abilities::default();
    };
    let mode = said | negotiated.client_security_mode;
    let best = negotiated
        .client_dialects
        .iter()
        .filter_map(|d| Dialect::of(*d))
        .max();
    Abilities {
        offered: best.max(Dialect::of(negotiated.dialect)),
        signing: PeerFlags {
            enabled: true,
            required: mode.contains(SecurityMode::SIGNING_REQUIRED),
        },
        announced: true,
        encryption: negotiated.cipher.is_some(),
        ..Abilities::default()
    }
}

/// Tells the observer of a peer that was turned away.
fn turned_away(cx: &Context<'_>, say: impl FnOnce(Sighting) -> Sighting) {
    let link = &cx.link;
    link.server.lookout.tell(|| {
        let dialect = Dialect::of(cx.state.dialect());
        let stranger = Sighting::stranger(link.peer.address, dialect);
        Occasion::Refused(say(stranger.able(abilities(cx, SecurityMode::empty()))))
    });
}

fn refuse(cx: &Context<'_>, done: &Done<'_>, refused: &LogonRefused) -> Step {
    let identity = &done.identity;
    turned_away(cx, |sighting| {
        done.sighting(cx, sighting).because(refused.reason.code())
    });
    tracing::warn!(
        connection = cx.link.id,
        peer = %cx.link.peer.address,
        user = identity.name,
        reason = refused.reason.code(),
        "logon refused by policy"
    );
    Step::Fail(refused.status)
}

/// The first logon of a session.
fn first(cx: &mut Context<'_>, done: &Done<'_>) -> Result<Response, Step> {
    let gone = || Step::Fail(NtStatus::USER_SESSION_DELETED);
    let identity = &done.identity;
    if identity.kind == IdentityKind::Guest && !cx.request.config.guest {
        turned_away(cx, |sighting| {
            done.sighting(cx, sighting).because(refusal::GUEST)
        });
        return Err(Step::Fail(NtStatus::LOGON_FAILURE));
    }
    if let Some(negotiated) = cx.state.negotiated()
        && negotiated.is_smb3()
        && cx
            .link
            .server
            .client_has_other_dialect(negotiated.client_guid, negotiated.dialect)
    {
        // [MS-SMB2] 3.3.5.5.3: one client speaks one dialect.
        return Err(gone());
    }
    let exceptions = done.exceptions(cx);
    let logon = done.logon(cx, &exceptions).ok_or_else(gone)?;
    let encrypt = logon.encrypt;
    let established = gate::establish(&logon).map_err(|r| refuse(cx, done, &r))?;
    if encrypt && established.secrets.is_none() {
        // Nobody without a key can encrypt.
        turned_away(cx, |sighting| {
            done.sighting(cx, sighting).because(refusal::CANNOT_ENCRYPT)
        });
        return Err(Step::Fail(NtStatus::ACCESS_DENIED));
    }
    let session = {
        let channel = cx.state.channels.get_mut(&done.id).ok_or_else(gone)?;
        channel.key = established.key.clone();
        Arc::clone(&channel.session)
    };
    if let Some(secrets) = &established.secrets {
        let _ = session.secrets.set(Arc::clone(secrets));
    }
    session.set_login(Arc::new(identity.clone()), established.facts, done.expires);
    let exceptions = needed(established.reason, exceptions);
    session.set_exceptions(exceptions.clone());
    session.add_channel(cx.link.id, Arc::clone(cx.link.mailbox()));
    cx.state.authenticated = true;
    register(cx, &session, done, &established, exceptions);
    end_previous(cx, done);
    let mut flags = flags_of(identity);
    if established.facts.encryption_required {
        flags |= SessionFlags::ENCRYPT_DATA;
    }
    Ok(success(done, flags, established.seal))
}

/// The exceptions a session has to be pinned to: none where it is signed all the same.
fn needed(reason: Reason, exceptions: Vec<Arc<Exception>>) -> Vec<Arc<Exception>> {
    if reason == Reason::Exception {
        exceptions
    } else {
        Vec::new()
    }
}

fn register(
    cx: &Context<'_>,
    session: &Arc<Session>,
    done: &Done<'_>,
    established: &gate::Established,
    exceptions: Vec<Arc<Exception>>,
) {
    let identity = &done.identity;
    let dialect = match session.dialect {
        0x0202 => Dialect::Smb202,
        0x0210 => Dialect::Smb210,
        0x0300 => Dialect::Smb300,
        0x0302 => Dialect::Smb302,
        _ => Dialect::Smb311,
    };
    let facts = SessionFacts {
        address: cx.link.peer.address,
        machine: identity.workstation.clone(),
        user: identity.name.clone(),
        domain: identity.domain.clone(),
        groups: identity.groups.clone(),
        authentication: Authentication::of(done.class(), done.mechanism),
        dialect,
        signing: established
            .key
            .as_ref()
            .map(|k| algorithm_name(k.algorithm())),
        signing_required: established.facts.required,
        reason: established.reason.code().to_owned(),
        encryption: established
            .secrets
            .as_ref()
            .and_then(|s| s.cipher())
            .map(cipher_name),
        guest: identity.kind == IdentityKind::Guest,
        anonymous: identity.kind == IdentityKind::Anonymous,
        created: cx.now.wall,
        abilities: done.abilities(cx, exceptions),
    };
    let mailbox = Arc::clone(cx.link.mailbox());
    let record = cx
        .link
        .server
        .registry
        .insert(session.id, facts, mailbox, cx.now);
    let _ = session.record.set(record);
    tracing::info!(
        connection = cx.link.id,
        session = session.id,
        user = identity.name,
        authentication = Authentication::of(done.class(), done.mechanism).name(),
        reason = established.reason.code(),
        "session set up"
    );
}

/// PreviousSessionId, [MS-SMB2] 3.3.5.5.3: the same user's session of a
/// connection that died ends; its durable opens wait for their reconnection.
fn end_previous(cx: &Context<'_>, done: &Done<'_>) {
    let previous = done.setup.previous;
    if previous == 0 || previous == done.id {
        return;
    }
    if let Some(old) = cx.link.server.sessions.get(previous)
        && old
            .identity()
            .is_some_and(|i| i.user_sid == done.identity.user_sid)
    {
        // The old connection finds out from its mailbox; this one may have it too.
        old.end(
            &cx.link.server,
            true,
            u64::MAX,
            "the client set up a new session",
        );
    }
}

/// A session authenticates again: keys and what was agreed stay.
fn again(cx: &mut Context<'_>, done: &Done<'_>) -> Result<Response, Step> {
    let gone = || Step::Fail(NtStatus::USER_SESSION_DELETED);
    let channel = cx.state.channels.get(&done.id).ok_or_else(gone)?;
    let session = Arc::clone(&channel.session);
    let key = channel.key.clone();
    let facts = session.facts().ok_or_else(gone)?;
    let exceptions = done.exceptions(cx);
    let logon = done.logon(cx, &exceptions).ok_or_else(gone)?;
    let (facts, seal) =
        gate::reestablish(&logon, facts, key.as_ref()).map_err(|r| refuse(cx, done, &r))?;
    if facts.required {
        session.set_exceptions(Vec::new());
    } else if !session.exceptions().is_empty() {
        session.set_exceptions(exceptions);
    }
    session.set_login(Arc::new(done.identity.clone()), facts, done.expires);
    if let Some(record) = session.record.get() {
        record.update(|f| {
            f.user.clone_from(&done.identity.name);
            f.domain.clone_from(&done.identity.domain);
            f.groups.clone_from(&done.identity.groups);
            f.authentication = Authentication::of(done.class(), done.mechanism);
            f.signing_required = facts.required;
        });
    }
    Ok(success(done, flags_of(&done.identity), seal))
}

/// A channel was bound: its key comes from its own authentication.
fn bound(cx: &mut Context<'_>, done: &Done<'_>) -> Result<Response, Step> {
    let gone = || Step::Fail(NtStatus::USER_SESSION_DELETED);
    let session = Arc::clone(&cx.state.channels.get(&done.id).ok_or_else(gone)?.session);
    let same = session.identity().is_some_and(|i| {
        i.user_sid == done.identity.user_sid && done.identity.kind == IdentityKind::User
    });
    if !same {
        tracing::warn!(
            connection = cx.link.id,
            session = done.id,
            user = done.identity.name,
            "channel refused: another user's session"
        );
        return Err(Step::Fail(NtStatus::ACCESS_DENIED));
    }
    let logon = done.logon(cx, &[]).ok_or_else(gone)?;
    let (key, seal) = gate::bind(&logon).map_err(|r| refuse(cx, done, &r))?;
    let channel = cx.state.channels.get_mut(&done.id).ok_or_else(gone)?;
    channel.key = Some(key);
    channel.binding = false;
    session.add_channel(cx.link.id, Arc::clone(cx.link.mailbox()));
    cx.state.authenticated = true;
    Ok(success(done, SessionFlags::empty(), seal))
}

fn flags_of(identity: &Identity) -> SessionFlags {
    match identity.kind {
        IdentityKind::User => SessionFlags::empty(),
        IdentityKind::Guest => SessionFlags::IS_GUEST,
        IdentityKind::Anonymous => SessionFlags::IS_NULL,
    }
}

fn success(done: &Done<'_>, flags: SessionFlags, seal: FinalSeal) -> Response {
    let mut response = respond(NtStatus::SUCCESS, flags, &done.token);
    response.session_id = Some(done.id);
    response.seal = Some(seal);
    response
}

fn respond(status: NtStatus, session_flags: SessionFlags, token: &[u8]) -> Response {
    Response::with_capacity(status, 16 + token.len(), |w| {
        SessionSetupResponse {
            session_flags,
            security_buffer: token,
        }
        .encode(w);
    })
}

/// Names as administrators know them.
pub(crate) fn algorithm_name(algorithm: SigningAlgorithm) -> &'static str {
    match algorithm {
        SigningAlgorithm::HmacSha256 => "HMAC-SHA256",
        SigningAlgorithm::AesCmac => "AES-128-CMAC",
        SigningAlgorithm::AesGmac => "AES-128-GMAC",
    }
}

fn cipher_name(cipher: countersign_crypto::Cipher) -> &'static str {
    use countersign_crypto::Cipher;
    match cipher {
        Cipher::Aes128Ccm => "AES-128-CCM",
        Cipher::Aes128Gcm => "AES-128-GCM",
        Cipher::Aes256Ccm => "AES-256-CCM",
        Cipher::Aes256Gcm => "AES-256-GCM",
    }
}
