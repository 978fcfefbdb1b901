//! [MS-SMB2] 3.2.4.2.2 NEGOTIATE and 3.2.5.2 its response; 3.2.5.5 the proof of
//! it (FSCTL_VALIDATE_NEGOTIATE_INFO).

use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_policy::CommandClass;
use countersign_policy::PeerFlags;
use countersign_wire::smb2::fsctl::{self, ValidateNegotiateRequest, ValidateNegotiateResponse};
use countersign_wire::smb2::{
    Capabilities, Command, FileId, HASH_SHA512, IOCTL_IS_FSCTL, IoctlRequest, IoctlResponse,
    NegotiateContext, NegotiateRequest, NegotiateResponse, SecurityMode, dialect,
};
use countersign_wire::{Guid, NtStatus, Writer};

use super::flight::{Flight, Kind, Part, Reply};
use super::{Agreed, Offered, Smb2};
use crate::client::call::{Answer, CallId, TreeId};
use crate::client::config::{ClientConfig, Encryption};
use crate::client::engine::{Event, Link, LogonKind, Negotiated, PeerSigning};
use crate::client::failure::CloseReason;
use crate::config::Dialect;
use crate::gate::smb2::client::{announce_client, negotiated};

/// All dialects, weakest first.
const DIALECTS: [Dialect; 5] = [
    Dialect::Smb202,
    Dialect::Smb210,
    Dialect::Smb300,
    Dialect::Smb302,
    Dialect::Smb311,
];

fn offered(config: &ClientConfig) -> Vec<u16> {
    DIALECTS
        .into_iter()
        .filter(|d| (config.min_dialect..=config.max_dialect).contains(d))
        .map(|d| d as u16)
        .collect()
}

fn ciphers(config: &ClientConfig) -> &[Cipher] {
    match config.encryption {
        Encryption::Off => &[],
        Encryption::Offered | Encryption::Required => &config.ciphers,
    }
}

impl Smb2 {
    /// Queues NEGOTIATE.
    pub(super) fn negotiate(&mut self, link: &mut Link) {
        let dialects = offered(&link.config);
        let highest = dialects.last().copied().unwrap_or(0);
        if highest == 0 {
            link.close(CloseReason::Incompatible("no dialect of SMB2 is allowed"));
            return;
        }
        let newer = highest >= dialect::SMB_3_0;
        let mut capabilities = Capabilities::empty();
        if newer {
            capabilities |= Capabilities::LEASING | Capabilities::LARGE_MTU;
            if !ciphers(&link.config).is_empty() {
                capabilities |= Capabilities::ENCRYPTION;
            }
        }
        let mut security_mode = SecurityMode::SIGNING_ENABLED;
        if announce_client(&link.config.policy, highest) {
            security_mode |= SecurityMode::SIGNING_REQUIRED;
        }
        let guid = if highest > dialect::SMB_2_0_2 {
            link.config.client_guid
        } else {
            Guid::default()
        };
        self.offered = Offered {
            dialects: dialects.clone(),
            capabilities,
            security_mode,
            guid,
        };
        let mut salt = [0; 32];
        link.random(&mut salt);
        let mut contexts = Vec::new();
        if highest == dialect::SMB_3_1_1 {
            contexts.push(NegotiateContext::PreauthIntegrity {
                algorithms: vec![HASH_SHA512],
                salt: &salt,
            });
            let ciphers = ciphers(&link.config);
            if !ciphers.is_empty() {
                let ids = ciphers.iter().map(|c| c.id()).collect();
                contexts.push(NegotiateContext::Encryption(ids));
            }
            if !link.config.signing_algorithms.is_empty() {
                let ids = link.config.signing_algorithms.iter().map(|a| a.id());
                contexts.push(NegotiateContext::Signing(ids.collect()));
            }
            if !link.config.server_name.is_empty() {
                let name = link.config.server_name.clone();
                contexts.push(NegotiateContext::NetName(name));
            }
        }
        let request = NegotiateRequest {
            security_mode,
            capabilities,
            client_guid: guid,
            dialects,
            contexts,
        };
        let part = Part::new(Command::NEGOTIATE, |w| request.encode(w));
        self.launch(link, None, Flight::new(Kind::Negotiate, None, vec![part]));
    }

    /// The answer to NEGOTIATE, or to the SMB1 NEGOTIATE that offered SMB2.
    pub(super) fn negotiated(&mut self, link: &mut Link, reply: &Reply) {
        if reply.status != NtStatus::SUCCESS {
            link.close(CloseReason::Negotiation(reply.status));
            return;
        }
        let Ok(response) = NegotiateResponse::decode(&reply.message) else {
            link.close(CloseReason::Violation("a malformed NEGOTIATE response"));
            return;
        };
        if self.after_smb1 && response.dialect == dialect::WILDCARD {
            // The real NEGOTIATE follows; nothing of before is hashed.
            self.after_smb1 = false;
            self.negotiate(link);
            return;
        }
        if self.after_smb1 {
            if response.dialect != dialect::SMB_2_0_2 {
                link.close(CloseReason::Violation("a dialect that was not offered"));
                return;
            }
            self.offered_by_smb1(link);
        } else if !self.offered.dialects.contains(&response.dialect) {
            link.close(CloseReason::Violation("a dialect that was not offered"));
            return;
        }
        match agree(&link.config, &response) {
            Ok(agreed) => {
                if agreed.dialect == dialect::SMB_3_1_1 {
                    self.preauth.update(&reply.message);
                }
                self.agreed_on(link, agreed, &response);
            }
            Err(reason) => link.close(reason),
        }
    }

    /// What an SMB1 NEGOTIATE stands for: no capabilities, no GUID. With nothing
    /// but 2.0.2 allowed nothing was lost by it; else the server, asked to
    /// confirm what would have been offered, finds somebody out who hid it.
    fn offered_by_smb1(&mut self, link: &Link) {
        let dialects = offered(&link.config);
        let mut security_mode = SecurityMode::SIGNING_ENABLED;
        if announce_client(&link.config.policy, dialect::SMB_2_0_2) {
            security_mode |= SecurityMode::SIGNING_REQUIRED;
        }
        let alone = dialects == [dialect::SMB_2_0_2];
        self.offered = Offered {
            dialects,
            capabilities: Capabilities::empty(),
            security_mode: if alone {
                SecurityMode::SIGNING_ENABLED
            } else {
                security_mode
            },
            guid: Guid::default(),
        };
    }

    fn agreed_on(&mut self, link: &mut Link, agreed: Agreed, response: &NegotiateResponse<'_>) {
        let peer = PeerFlags {
            enabled: true,
            required: agreed.requires_signing(),
        };
        if negotiated(&link.config.policy, agreed.dialect, peer).is_none() {
            link.close(CloseReason::Incompatible(
                "the policy forbids a connection to this server",
            ));
            return;
        }
        if link.config.encryption == Encryption::Required && agreed.cipher.is_none() {
            link.close(CloseReason::Incompatible(
                "encryption is required, and the server cannot encrypt",
            ));
            return;
        }
        let dialect = DIALECTS
            .into_iter()
            .find(|d| *d as u16 == agreed.dialect)
            .unwrap_or(Dialect::Smb202);
        link.tell(Event::Negotiated(Box::new(Negotiated {
            dialect,
            logon: LogonKind::Tokens,
            token: response.security_buffer.to_vec(),
            signing: PeerSigning {
                enabled: agreed.security_mode.contains(SecurityMode::SIGNING_ENABLED),
                required: peer.required,
            },
            algorithm: Some(agreed.algorithm),
            cipher: agreed.cipher,
            server_guid: agreed.guid,
            capabilities: agreed.capabilities.bits(),
            system_time: response.system_time,
            start_time: Some(response.start_time),
            names: None,
        })));
        self.agreed = Some(agreed);
    }

    /// FSCTL_VALIDATE_NEGOTIATE_INFO, in front of the answer to this call.
    pub(super) fn validate(
        &mut self,
        link: &mut Link,
        tree: TreeId,
        call: Option<CallId>,
        answer: Answer,
    ) {
        let offered = &self.offered;
        let request = ValidateNegotiateRequest {
            capabilities: offered.capabilities,
            guid: offered.guid,
            security_mode: offered.security_mode,
            dialects: offered.dialects.clone(),
        };
        let mut input = Vec::new();
        request.encode(&mut Writer::new(&mut input));
        let mut part = Part::new(Command::IOCTL, |w| {
            IoctlRequest {
                ctl_code: fsctl::VALIDATE_NEGOTIATE_INFO,
                file_id: FileId::NONE,
                input: &input,
                max_input_response: 0,
                output_count: 0,
                max_output_response: 24,
                flags: IOCTL_IS_FSCTL,
            }
            .encode(w);
        });
        part.class = CommandClass::ValidateNegotiate;
        let kind = Kind::Validate(call, Box::new(answer));
        self.launch(link, None, Flight::new(kind, Some(tree), vec![part]));
    }

    /// [MS-SMB2] 3.2.5.14.12: whether the negotiation was what it seemed.
    pub(super) fn is_validated(&self, reply: &Reply) -> Result<(), &'static str> {
        match reply.status {
            NtStatus::SUCCESS => {}
            NtStatus::ACCESS_DENIED => return Err("the server does not confirm the negotiation"),
            // A signed failure of a server that does not know the request.
            _ => return Ok(()),
        }
        let agreed = self.agreed.as_ref().ok_or("no negotiation")?;
        let told = IoctlResponse::decode(&reply.message)
            .ok()
            .and_then(|r| ValidateNegotiateResponse::decode(r.output).ok())
            .ok_or("a malformed confirmation of the negotiation")?;
        let same = told.capabilities == agreed.capabilities
            && told.guid == agreed.guid
            && told.security_mode == agreed.security_mode
            && told.dialect == agreed.dialect;
        if same {
            Ok(())
        } else {
            Err("the negotiation was altered on the way")
        }
    }
}

/// Checks a NEGOTIATE response against what was offered.
fn agree(config: &ClientConfig, response: &NegotiateResponse<'_>) -> Result<Agreed, CloseReason> {
    let violation = |what| Err(CloseReason::Violation(what));
    let revision = response.dialect;
    let mut algorithm = SigningAlgorithm::of_dialect(revision);
    let mut cipher = None;
    if revision == dialect::SMB_3_1_1 {
        let (mut hash, mut signing, mut encryption) = (0, 0, 0);
        for context in &response.contexts {
            match context {
                NegotiateContext::PreauthIntegrity { algorithms, .. } => {
                    hash += 1;
                    if algorithms.as_slice() != [HASH_SHA512] {
                        return violation("a hash that was not offered");
                    }
                }
                NegotiateContext::Signing(ids) => {
                    signing += 1;
                    let chosen = match ids.as_slice() {
                        [id] => SigningAlgorithm::from_id(*id),
                        _ => None,
                    };
                    algorithm = match chosen {
                        Some(a) if config.signing_algorithms.contains(&a) => a,
                        _ => return violation("a signing algorithm that was not offered"),
                    };
                }
                NegotiateContext::Encryption(ids) => {
                    encryption += 1;
                    cipher = match ids.as_slice() {
                        [0] => None,
                        [id] => match Cipher::from_id(*id) {
                            Some(c) if ciphers(config).contains(&c) => Some(c),
                            _ => return violation("a cipher that was not offered"),
                        },
                        _ => return violation("more than one cipher"),
                    };
                }
                _ => {}
            }
        }
        if hash != 1 {
            return violation("no pre-authentication hash, or more than one");
        }
        if signing > 1 || encryption > 1 {
            return violation("a negotiate context twice");
        }
        if signing == 0
            && !config.signing_algorithms.is_empty()
            && !config.signing_algorithms.contains(&algorithm)
        {
            return Err(CloseReason::Incompatible(
                "the server has none of the signing algorithms that are allowed",
            ));
        }
    } else if revision >= dialect::SMB_3_0
        && response.capabilities.contains(Capabilities::ENCRYPTION)
        && ciphers(config).contains(&Cipher::Aes128Ccm)
    {
        cipher = Some(Cipher::Aes128Ccm);
    }
    if response.max_transact == 0 || response.max_read == 0 || response.max_write == 0 {
        return violation("a largest size of zero");
    }
    Ok(Agreed {
        dialect: revision,
        algorithm,
        cipher,
        capabilities: response.capabilities,
        security_mode: response.security_mode,
        guid: response.server_guid,
        max_transact: response.max_transact,
        max_read: response.max_read,
        max_write: response.max_write,
    })
}
