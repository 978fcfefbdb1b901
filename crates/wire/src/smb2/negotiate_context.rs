//! [MS-SMB2] 2.2.3.1 and 2.2.4.1 NEGOTIATE_CONTEXT.

use super::layout::{len16, size};
use crate::cursor::{DecodeError, Reader, Result, Writer, utf16_lossy};

/// Most contexts taken from one message.
pub const MAX_NEGOTIATE_CONTEXTS: usize = 64;

/// ContextType values.
pub mod negotiate_context_type {
    /// SMB2_PREAUTH_INTEGRITY_CAPABILITIES.
    pub const PREAUTH_INTEGRITY: u16 = 1;
    /// SMB2_ENCRYPTION_CAPABILITIES.
    pub const ENCRYPTION: u16 = 2;
    /// SMB2_COMPRESSION_CAPABILITIES.
    pub const COMPRESSION: u16 = 3;
    /// SMB2_NETNAME_NEGOTIATE_CONTEXT_ID.
    pub const NETNAME: u16 = 5;
    /// SMB2_TRANSPORT_CAPABILITIES.
    pub const TRANSPORT: u16 = 6;
    /// SMB2_RDMA_TRANSFORM_CAPABILITIES.
    pub const RDMA_TRANSFORM: u16 = 7;
    /// SMB2_SIGNING_CAPABILITIES.
    pub const SIGNING: u16 = 8;
    /// POSIX extensions.
    pub const POSIX: u16 = 0x100;
}

/// HashAlgorithms: SHA-512.
pub const HASH_SHA512: u16 = 1;

/// One negotiate context, [MS-SMB2] 2.2.3.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NegotiateContext<'a> {
    /// 2.2.3.1.1 SMB2_PREAUTH_INTEGRITY_CAPABILITIES.
    PreauthIntegrity {
        /// HashAlgorithms.
        algorithms: Vec<u16>,
        /// Salt.
        salt: &'a [u8],
    },
    /// 2.2.3.1.2 SMB2_ENCRYPTION_CAPABILITIES: Ciphers.
    Encryption(Vec<u16>),
    /// 2.2.3.1.3 SMB2_COMPRESSION_CAPABILITIES.
    Compression {
        /// Flags: 1 = chained.
        flags: u32,
        /// CompressionAlgorithms.
        algorithms: Vec<u16>,
    },
    /// 2.2.3.1.4 SMB2_NETNAME_NEGOTIATE_CONTEXT_ID: the name the client connected to.
    NetName(String),
    /// 2.2.3.1.5 SMB2_TRANSPORT_CAPABILITIES: Flags.
    Transport(u32),
    /// 2.2.3.1.6 SMB2_RDMA_TRANSFORM_CAPABILITIES: RDMATransformIds.
    RdmaTransform(Vec<u16>),
    /// 2.2.3.1.7 SMB2_SIGNING_CAPABILITIES: SigningAlgorithms.
    Signing(Vec<u16>),
    /// POSIX extensions: the version GUIDs.
    Posix(&'a [u8]),
    /// Another type, with its data.
    Unknown {
        /// ContextType.
        kind: u16,
        /// Data.
        data: &'a [u8],
    },
}

impl<'a> NegotiateContext<'a> {
    /// ContextType.
    pub fn kind(&self) -> u16 {
        use negotiate_context_type as t;
        match self {
            Self::PreauthIntegrity { .. } => t::PREAUTH_INTEGRITY,
            Self::Encryption(_) => t::ENCRYPTION,
            Self::Compression { .. } => t::COMPRESSION,
            Self::NetName(_) => t::NETNAME,
            Self::Transport(_) => t::TRANSPORT,
            Self::RdmaTransform(_) => t::RDMA_TRANSFORM,
            Self::Signing(_) => t::SIGNING,
            Self::Posix(_) => t::POSIX,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    fn decode(kind: u16, data: &'a [u8]) -> Result<Self> {
        use negotiate_context_type as t;
        let mut r = Reader::new(data);
        Ok(match kind {
            t::PREAUTH_INTEGRITY => {
                let count = r.u16("HashAlgorithmCount")?;
                let salt = usize::from(r.u16("SaltLength")?);
                let algorithms = list(&mut r, count, "HashAlgorithms")?;
                Self::PreauthIntegrity {
                    algorithms,
                    salt: r.take(salt, "Salt")?,
                }
            }
            t::ENCRYPTION => {
                let count = r.u16("CipherCount")?;
                Self::Encryption(list(&mut r, count, "Ciphers")?)
            }
            t::COMPRESSION => {
                let count = r.u16("CompressionAlgorithmCount")?;
                r.skip(2, "Padding")?;
                let flags = r.u32("Flags")?;
                Self::Compression {
                    flags,
                    algorithms: list(&mut r, count, "CompressionAlgorithms")?,
                }
            }
            t::NETNAME => Self::NetName(utf16_lossy(data)),
            t::TRANSPORT => Self::Transport(r.u32("Flags")?),
            t::RDMA_TRANSFORM => {
                let count = r.u16("TransformCount")?;
                r.skip(6, "Reserved")?;
                Self::RdmaTransform(list(&mut r, count, "RDMATransformIds")?)
            }
            t::SIGNING => {
                let count = r.u16("SigningAlgorithmCount")?;
                Self::Signing(list(&mut r, count, "SigningAlgorithms")?)
            }
            t::POSIX => Self::Posix(data),
            _ => Self::Unknown { kind, data },
        })
    }

    fn encode_data(&self, w: &mut Writer<'_>) {
        let list = |w: &mut Writer<'_>, values: &[u16]| {
            for v in values {
                w.u16(*v);
            }
        };
        let count = |values: &[u16]| u16::try_from(values.len()).unwrap_or(u16::MAX);
        match self {
            Self::PreauthIntegrity { algorithms, salt } => {
                w.u16(count(algorithms));
                w.u16(len16(salt));
                list(w, algorithms);
                w.bytes(salt);
            }
            Self::Encryption(values) | Self::Signing(values) => {
                w.u16(count(values));
                list(w, values);
            }
            Self::Compression { flags, algorithms } => {
                w.u16(count(algorithms));
                w.u16(0);
                w.u32(*flags);
                list(w, algorithms);
            }
            Self::NetName(name) => {
                w.utf16(name);
            }
            Self::Transport(flags) => w.u32(*flags),
            Self::RdmaTransform(values) => {
                w.u16(count(values));
                w.zeros(6);
                list(w, values);
            }
            Self::Posix(data) | Self::Unknown { data, .. } => w.bytes(data),
        }
    }
}

fn list(r: &mut Reader<'_>, count: u16, field: &'static str) -> Result<Vec<u16>> {
    let bytes = r.take(usize::from(count) * 2, field)?;
    let (pairs, _) = bytes.as_chunks::<2>();
    Ok(pairs.iter().map(|p| u16::from_le_bytes(*p)).collect())
}

/// The `count` contexts at `offset` from the header.
pub(super) fn decode_contexts<'a>(
    r: &Reader<'a>,
    offset: u32,
    count: u16,
    fixed: usize,
) -> Result<Vec<NegotiateContext<'a>>> {
    let mut contexts = Vec::new();
    if count == 0 {
        return Ok(contexts);
    }
    let invalid = |reason| DecodeError::Invalid {
        field: "NegotiateContextOffset",
        reason,
    };
    if usize::from(count) > MAX_NEGOTIATE_CONTEXTS {
        return Err(invalid("too many contexts"));
    }
    let mut at = size(offset);
    if at < super::HEADER_LEN + fixed || !at.is_multiple_of(8) {
        return Err(invalid("is inside the fixed part or not a multiple of 8"));
    }
    let mut r = *r;
    for _ in 0..count {
        r.seek(at, "NegotiateContextList")?;
        let kind = r.u16("ContextType")?;
        let len = usize::from(r.u16("DataLength")?);
        r.skip(4, "Reserved")?;
        contexts.push(NegotiateContext::decode(kind, r.take(len, "Data")?)?);
        at = r.position().next_multiple_of(8);
    }
    Ok(contexts)
}

/// Appends contexts, each at a multiple of 8, nothing behind the last.
pub(super) fn encode_contexts(contexts: &[NegotiateContext<'_>], w: &mut Writer<'_>) {
    for context in contexts {
        w.align(8);
        w.u16(context.kind());
        let length_at = w.len();
        w.u16(0);
        w.u32(0);
        let start = w.len();
        context.encode_data(w);
        let len = u16::try_from(w.len() - start).unwrap_or(u16::MAX);
        w.patch_u16(length_at, len);
    }
}
