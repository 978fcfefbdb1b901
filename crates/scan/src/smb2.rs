//! SMB2 NEGOTIATE as a question: one dialect, or one algorithm, at a time.

use countersign_crypto::smb2::PreauthHash;
use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_wire::smb2::{
    Capabilities, Command, HASH_SHA512, HEADER_LEN, Header, NegotiateContext, NegotiateRequest,
    NegotiateResponse, SecurityMode, dialect,
};
use countersign_wire::{FileTime, Guid, NtStatus, Writer};

use crate::exchange::{Exchange, ProbeError};
use crate::report::Signing;

/// All dialects behind SMB1, oldest first, with the names used everywhere.
pub(crate) const DIALECTS: [(u16, &str); 5] = [
    (dialect::SMB_2_0_2, "2.0.2"),
    (dialect::SMB_2_1, "2.1"),
    (dialect::SMB_3_0, "3.0"),
    (dialect::SMB_3_0_2, "3.0.2"),
    (dialect::SMB_3_1_1, "3.1.1"),
];

/// SigningAlgorithmId values, [MS-SMB2] 2.2.3.1.7, fastest first.
pub(crate) const SIGNING: [(u16, &str); 3] =
    [(2, "AES-128-GMAC"), (1, "AES-128-CMAC"), (0, "HMAC-SHA256")];

/// Cipher ids, 2.2.3.1.2.
pub(crate) const CIPHERS: [(u16, &str); 4] = [
    (2, "AES-128-GCM"),
    (1, "AES-128-CCM"),
    (4, "AES-256-GCM"),
    (3, "AES-256-CCM"),
];

/// CompressionAlgorithm ids, 2.2.3.1.3.
const COMPRESSION: [(u16, &str); 5] = [
    (1, "LZNT1"),
    (2, "LZ77"),
    (3, "LZ77+Huffman"),
    (4, "Pattern_V1"),
    (5, "LZ4"),
];

/// What is offered.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) dialect: u16,
    pub(crate) signing: Vec<u16>,
    pub(crate) ciphers: Vec<u16>,
    pub(crate) compression: bool,
    pub(crate) security_mode: SecurityMode,
}

impl Offer {
    /// Everything the dialect may have; signing possible, not required.
    pub(crate) fn all(dialect: u16) -> Self {
        Self {
            dialect,
            signing: SIGNING.iter().map(|(id, _)| *id).collect(),
            ciphers: CIPHERS.iter().map(|(id, _)| *id).collect(),
            compression: true,
            security_mode: SecurityMode::SIGNING_ENABLED,
        }
    }
}

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) signing: Signing,
    pub(crate) capabilities: Capabilities,
    pub(crate) guid: Guid,
    pub(crate) max: [u32; 3],
    pub(crate) system_time: FileTime,
    pub(crate) start_time: FileTime,
    pub(crate) hint: Vec<u8>,
    pub(crate) algorithm: Option<u16>,
    pub(crate) cipher: Option<u16>,
    pub(crate) compression: Vec<u16>,
}

/// A connection on which a dialect was agreed.
pub(crate) struct Link {
    pub(crate) exchange: Exchange,
    pub(crate) dialect: u16,
    pub(crate) algorithm: SigningAlgorithm,
    pub(crate) cipher: Option<Cipher>,
    pub(crate) preauth: PreauthHash,
    pub(crate) security_mode: SecurityMode,
    message_id: u64,
}

/// A message from its parts.
pub(crate) fn message(header: &Header, body: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    header.encode(&mut w);
    body(&mut w);
    out
}

/// Random bytes for the salt and the client's GUID, which are no secrets; zeros if
/// the system has none.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        bytes = [0; N];
    }
    bytes
}

/// Negotiates one offer.
pub(crate) async fn negotiate(
    exchange: Exchange,
    offer: &Offer,
) -> Result<(Link, Answer), ProbeError> {
    let salt: [u8; 32] = random();
    let v311 = offer.dialect == dialect::SMB_3_1_1;
    let v3 = offer.dialect >= dialect::SMB_3_0;
    let mut contexts = Vec::new();
    if v311 {
        contexts.push(NegotiateContext::PreauthIntegrity {
            algorithms: vec![HASH_SHA512],
            salt: &salt,
        });
        if !offer.ciphers.is_empty() {
            contexts.push(NegotiateContext::Encryption(offer.ciphers.clone()));
        }
        if offer.compression {
            contexts.push(NegotiateContext::Compression {
                flags: 1,
                algorithms: COMPRESSION.iter().map(|(id, _)| *id).collect(),
            });
        }
        if !offer.signing.is_empty() {
            contexts.push(NegotiateContext::Signing(offer.signing.clone()));
        }
    }
    let mut capabilities = Capabilities::empty();
    if v3 {
        capabilities |= Capabilities::DFS
            | Capabilities::LEASING
            | Capabilities::LARGE_MTU
            | Capabilities::MULTI_CHANNEL
            | Capabilities::PERSISTENT_HANDLES
            | Capabilities::DIRECTORY_LEASING
            | Capabilities::ENCRYPTION;
    }
    let mut link = Link {
        exchange,
        dialect: offer.dialect,
        algorithm: SigningAlgorithm::of_dialect(offer.dialect),
        cipher: v3.then_some(Cipher::Aes128Ccm),
        preauth: PreauthHash::new(),
        security_mode: offer.security_mode,
        message_id: 0,
    };
    let request = NegotiateRequest {
        security_mode: offer.security_mode,
        capabilities,
        client_guid: Guid(random()),
        dialects: vec![offer.dialect],
        contexts,
    };
    let sent = message(&link.header(Command::NEGOTIATE), |w| request.encode(w));
    link.exchange.send(&sent).await?;
    let (header, reply) = link.receive().await?;
    if header.command != Command::NEGOTIATE {
        return Err(ProbeError::Malformed("an answer to another command"));
    }
    if header.status != NtStatus::SUCCESS {
        return Err(ProbeError::Status(header.status));
    }
    let response = NegotiateResponse::decode(&reply)
        .map_err(|_| ProbeError::Malformed("NEGOTIATE response"))?;
    if response.dialect != offer.dialect {
        return Err(ProbeError::OtherDialect);
    }
    link.preauth.update(&sent);
    link.preauth.update(&reply);
    let mut answer = Answer {
        signing: signing_of(response.security_mode),
        capabilities: response.capabilities,
        guid: response.server_guid,
        max: [response.max_read, response.max_write, response.max_transact],
        system_time: response.system_time,
        start_time: response.start_time,
        hint: response.security_buffer.to_vec(),
        algorithm: None,
        cipher: None,
        compression: Vec::new(),
    };
    for context in &response.contexts {
        match context {
            NegotiateContext::Signing(ids) => answer.algorithm = ids.first().copied(),
            NegotiateContext::Encryption(ids) => {
                answer.cipher = ids.first().copied().filter(|id| *id != 0);
            }
            NegotiateContext::Compression { algorithms, .. } => {
                answer.compression = algorithms.iter().copied().filter(|id| *id != 0).collect();
            }
            _ => {}
        }
    }
    if v311 {
        link.cipher = answer.cipher.and_then(Cipher::from_id);
        if let Some(algorithm) = answer.algorithm.and_then(SigningAlgorithm::from_id) {
            link.algorithm = algorithm;
        }
    }
    Ok((link, answer))
}

fn signing_of(mode: SecurityMode) -> Signing {
    if mode.contains(SecurityMode::SIGNING_REQUIRED) {
        Signing::Required
    } else if mode.contains(SecurityMode::SIGNING_ENABLED) {
        Signing::Enabled
    } else {
        Signing::Disabled
    }
}

/// The name of an id, or the id.
pub(crate) fn name_of(table: &[(u16, &str)], id: u16) -> String {
    table
        .iter()
        .find(|(known, _)| *known == id)
        .map_or_else(|| format!("0x{id:04X}"), |(_, name)| (*name).to_owned())
}

/// Names of compression algorithms.
pub(crate) fn compression(ids: &[u16]) -> Vec<String> {
    ids.iter().map(|id| name_of(&COMPRESSION, *id)).collect()
}

/// Names of capabilities.
pub(crate) fn capabilities(capabilities: Capabilities) -> Vec<&'static str> {
    capabilities
        .iter_names()
        .map(|(name, _)| name)
        .filter(|name| *name != "_")
        .collect()
}

impl Link {
    /// A request's header; takes a MessageId.
    pub(crate) fn header(&mut self, command: Command) -> Header {
        let message_id = self.message_id;
        self.message_id = message_id.saturating_add(1);
        Header {
            credit_charge: u16::from(self.dialect > dialect::SMB_2_0_2 && message_id > 0),
            command,
            credits: 32,
            message_id,
            ..Header::default()
        }
    }

    /// The next final answer with its header; interim ones are passed over.
    pub(crate) async fn receive(&mut self) -> Result<(Header, Vec<u8>), ProbeError> {
        // One deadline for all: interim answers buy no time.
        let deadline = self.exchange.deadline();
        loop {
            let reply = self.exchange.receive(deadline).await?;
            let header =
                Header::decode(&reply).map_err(|_| ProbeError::Malformed("SMB2 header"))?;
            if !header.is_response() || reply.len() < HEADER_LEN {
                return Err(ProbeError::Malformed("no response"));
            }
            if header.status != NtStatus::PENDING {
                return Ok((header, reply));
            }
        }
    }
}
