//! [MS-SMB2] 3.3.5.3 and 3.3.5.4 NEGOTIATE.

use countersign_auth::negotiate_hint;
use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_wire::smb2::{
    Capabilities, Command, HASH_SHA512, Header, HeaderFlags, NegotiateContext, NegotiateRequest,
    NegotiateResponse, SecurityMode, dialect,
};
use countersign_wire::{FileTime, Guid, NtStatus};

use super::front::Smb2;
use super::handler::{Context, Response, Step};
use super::state::{Negotiated, Phase, State};
use crate::config::{Dialect, ServerConfig};
use crate::connection::{Now, Transport, multi_protocol};
use crate::gate::smb2::{self as gate, Outgoing, Preauth};
use crate::link::Link;
use crate::observer::{Abilities, Occasion, Sighting, refusal};

/// Bytes of salt in the pre-authentication context.
const SALT: usize = 32;

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    let Ok(request) = NegotiateRequest::decode(cx.request.message()) else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    let config = &cx.request.config;
    let Some(revision) = choose_dialect(config, &request.dialects) else {
        let offered = request
            .dialects
            .iter()
            .filter_map(|d| Dialect::of(*d))
            .max();
        no_dialect(cx.link, offered);
        return Step::Fail(NtStatus::NOT_SUPPORTED);
    };
    let contexts = if revision == dialect::SMB_3_1_1 {
        match Contexts::read(config, &request.contexts) {
            Ok(contexts) => contexts,
            Err(status) => return Step::Fail(status),
        }
    } else {
        Contexts::default()
    };
    let smb3 = revision >= dialect::SMB_3_0;
    let mut capabilities = Capabilities::empty();
    if revision >= dialect::SMB_2_1 {
        capabilities |= Capabilities::LEASING;
        if cx.link.peer.transport == Transport::Tcp {
            capabilities |= Capabilities::LARGE_MTU;
        }
    }
    if smb3 {
        let both = Capabilities::MULTI_CHANNEL | Capabilities::DIRECTORY_LEASING;
        capabilities |= request.capabilities & both;
    }
    let cipher = match revision {
        dialect::SMB_3_1_1 => contexts.cipher.flatten(),
        // [MS-SMB2] 3.3.5.4: 3.0 and 3.0.2 have AES-128-CCM, agreed by capability.
        dialect::SMB_3_0 | dialect::SMB_3_0_2
            if request.capabilities.contains(Capabilities::ENCRYPTION)
                && config.ciphers.contains(&Cipher::Aes128Ccm) =>
        {
            capabilities |= Capabilities::ENCRYPTION;
            Some(Cipher::Aes128Ccm)
        }
        _ => None,
    };
    let signing = match revision {
        dialect::SMB_3_1_1 => contexts.signing.unwrap_or(SigningAlgorithm::AesCmac),
        _ if smb3 => SigningAlgorithm::AesCmac,
        _ => SigningAlgorithm::HmacSha256,
    };
    let preauth = (revision == dialect::SMB_3_1_1).then(|| {
        let mut hash = Preauth::new();
        hash.update(cx.request.message());
        hash
    });
    let negotiated = Negotiated {
        dialect: revision,
        client_guid: request.client_guid,
        client_capabilities: request.capabilities,
        client_security_mode: request.security_mode,
        client_dialects: request.dialects.clone(),
        capabilities,
        security_mode: security_mode(config, revision),
        server_guid: Guid(config.guid),
        max_transact: max_transact(config, revision, cx.link),
        cipher,
        signing,
        preauth,
        multi_protocol: matches!(cx.state.phase, Phase::Wildcard),
    };
    let salt = cx.link.random::<SALT>();
    let answer = if negotiated.preauth.is_some() {
        contexts.answer(&salt)
    } else {
        Vec::new()
    };
    let response = response(cx, &negotiated, &answer);
    if revision >= dialect::SMB_2_1 && request.client_guid != Guid::default() {
        cx.link
            .server
            .enter_client(request.client_guid, cx.link.id, revision);
    }
    cx.state.phase = Phase::Done(Box::new(negotiated));
    Step::Reply(response)
}

fn response(
    cx: &Context<'_>,
    negotiated: &Negotiated,
    contexts: &[NegotiateContext<'_>],
) -> Response {
    let hint = negotiate_hint(&cx.request.config.auth);
    Response::new(NtStatus::SUCCESS, |w| {
        NegotiateResponse {
            security_mode: negotiated.security_mode,
            dialect: negotiated.dialect,
            server_guid: negotiated.server_guid,
            capabilities: negotiated.capabilities,
            max_transact: negotiated.max_transact,
            max_read: negotiated.max_transact,
            max_write: negotiated.max_transact,
            system_time: cx.now.wall,
            start_time: FileTime::ZERO,
            security_buffer: &hint,
            contexts: contexts.to_vec(),
        }
        .encode(w);
    })
}

/// Tells the observer of a peer that has no dialect in common with us.
fn no_dialect(link: &Link, offered: Option<Dialect>) {
    let abilities = Abilities {
        offered,
        ..Abilities::default()
    };
    let peer = link.peer.address;
    link.server.lookout.tell(|| {
        let sighting = Sighting::stranger(peer, None).able(abilities);
        Occasion::Refused(sighting.because(refusal::NO_DIALECT))
    });
}

fn security_mode(config: &ServerConfig, revision: u16) -> SecurityMode {
    let mut mode = SecurityMode::SIGNING_ENABLED;
    if gate::announce(&config.policy, revision) {
        mode |= SecurityMode::SIGNING_REQUIRED;
    }
    mode
}

fn max_transact(config: &ServerConfig, revision: u16, link: &Link) -> u32 {
    if revision == dialect::SMB_2_0_2 || link.peer.transport == Transport::NetBios {
        config.limits.max_transact.min(65_536)
    } else {
        config.limits.max_transact
    }
}

fn number(d: Dialect) -> u16 {
    // The enum's values are the numbers on the wire.
    d as u16
}

/// The greatest dialect both sides speak.
fn choose_dialect(config: &ServerConfig, offered: &[u16]) -> Option<u16> {
    const ALL: [Dialect; 5] = [
        Dialect::Smb311,
        Dialect::Smb302,
        Dialect::Smb300,
        Dialect::Smb210,
        Dialect::Smb202,
    ];
    ALL.into_iter()
        .filter(|d| *d >= config.min_dialect && *d <= config.max_dialect)
        .map(number)
        .find(|d| offered.contains(d))
}

/// What the contexts of a 3.1.1 NEGOTIATE come to.
#[derive(Default)]
struct Contexts {
    /// An encryption context was sent; the cipher both have, if any.
    cipher: Option<Option<Cipher>>,
    /// The algorithm both have, if a signing context was sent.
    signing: Option<SigningAlgorithm>,
}

impl Contexts {
    /// [MS-SMB2] 3.3.5.4: each kind at most once, lists not empty, SHA-512 in common.
    fn read(config: &ServerConfig, contexts: &[NegotiateContext<'_>]) -> Result<Self, NtStatus> {
        let invalid = Err(NtStatus::INVALID_PARAMETER);
        let mut out = Self::default();
        let mut seen = Vec::new();
        let mut preauth = None;
        for context in contexts {
            if seen.contains(&context.kind()) {
                match context {
                    NegotiateContext::Unknown { .. }
                    | NegotiateContext::NetName(_)
                    | NegotiateContext::Transport(_)
                    | NegotiateContext::Posix(_) => continue,
                    _ => return invalid,
                }
            }
            seen.push(context.kind());
            match context {
                NegotiateContext::PreauthIntegrity { algorithms, .. } => {
                    if algorithms.is_empty() {
                        return invalid;
                    }
                    preauth = Some(algorithms.contains(&HASH_SHA512));
                }
                NegotiateContext::Encryption(ids) => {
                    if ids.is_empty() {
                        return invalid;
                    }
                    let both = |c: &&Cipher| ids.contains(&(**c as u16));
                    out.cipher = Some(config.ciphers.iter().find(both).copied());
                }
                NegotiateContext::Signing(ids) => {
                    if ids.is_empty() {
                        return invalid;
                    }
                    let both = |a: &&SigningAlgorithm| ids.contains(&(**a as u16));
                    out.signing = config.signing_algorithms.iter().find(both).copied();
                }
                NegotiateContext::Compression { algorithms, .. } if algorithms.is_empty() => {
                    return invalid;
                }
                NegotiateContext::RdmaTransform(ids) if ids.is_empty() => return invalid,
                _ => {}
            }
        }
        match preauth {
            None => invalid,
            Some(false) => Err(NtStatus::SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP),
            Some(true) => Ok(out),
        }
    }

    /// The contexts of the answer, in the order PREAUTH, ENCRYPTION, SIGNING;
    /// none that was not asked for.
    fn answer<'a>(&self, salt: &'a [u8]) -> Vec<NegotiateContext<'a>> {
        let mut out = vec![NegotiateContext::PreauthIntegrity {
            algorithms: vec![HASH_SHA512],
            salt,
        }];
        if let Some(cipher) = self.cipher {
            out.push(NegotiateContext::Encryption(vec![
                cipher.map_or(0, |c| c as u16),
            ]));
        }
        if let Some(algorithm) = self.signing {
            out.push(NegotiateContext::Signing(vec![algorithm as u16]));
        }
        out
    }
}

/// Takes the response into the pre-authentication hash.
pub(super) fn hash_response(state: &mut State, reply: &mut Outgoing) {
    if let Phase::Done(negotiated) = &mut state.phase
        && let Some(hash) = &mut negotiated.preauth
    {
        hash.update(reply.signed_message());
    }
}

impl Smb2 {
    /// [MS-SMB2] 3.3.5.3.1: an SMB1 NEGOTIATE that offers SMB2. It is answered
    /// with 0x02FF, whatever the range of dialects, or with 0x0202 when only
    /// that was offered or allowed. Neither message is hashed.
    pub(super) fn multi_protocol(&mut self, link: &mut Link, message: &[u8], now: Now) {
        let config = link.config();
        let Some(offer) = multi_protocol(message) else {
            return self.drop_connection(link, "not a NEGOTIATE");
        };
        let revision = if offer.wildcard && config.max_dialect > Dialect::Smb202 {
            dialect::WILDCARD
        } else if config.min_dialect <= Dialect::Smb202 {
            dialect::SMB_2_0_2
        } else {
            no_dialect(link, Some(Dialect::Smb202));
            return self.drop_connection(link, "no dialect in common");
        };
        if self.state.window.consume(0, 1).is_err() {
            return self.drop_connection(link, "second NEGOTIATE");
        }
        let mut capabilities = Capabilities::empty();
        if revision == dialect::WILDCARD {
            capabilities |= Capabilities::LEASING | Capabilities::LARGE_MTU;
        }
        let hint = negotiate_hint(&config.auth);
        let max = max_transact(&config, revision, link);
        let mode = security_mode(&config, revision);
        let response = Response::new(NtStatus::SUCCESS, |w| {
            NegotiateResponse {
                security_mode: mode,
                dialect: revision,
                server_guid: Guid(config.guid),
                capabilities,
                max_transact: max,
                max_read: max,
                max_write: max,
                system_time: now.wall,
                start_time: FileTime::ZERO,
                security_buffer: &hint,
                contexts: Vec::new(),
            }
            .encode(w);
        });
        let header = Header {
            command: Command::NEGOTIATE,
            credits: self.state.window.grant(1, 1, 0),
            flags: HeaderFlags::SERVER_TO_REDIR,
            ..Header::default()
        };
        self.ready.push(Outgoing::notification(
            header,
            response.buffer,
            response.start,
        ));
        self.state.phase = if revision == dialect::WILDCARD {
            Phase::Wildcard
        } else {
            Phase::Done(Box::new(Negotiated {
                dialect: revision,
                client_guid: Guid::default(),
                client_capabilities: Capabilities::empty(),
                client_security_mode: SecurityMode::SIGNING_ENABLED,
                client_dialects: vec![dialect::SMB_2_0_2],
                capabilities,
                security_mode: mode,
                server_guid: Guid(config.guid),
                max_transact: max,
                cipher: None,
                signing: SigningAlgorithm::HmacSha256,
                preauth: None,
                multi_protocol: true,
            }))
        };
    }
}
