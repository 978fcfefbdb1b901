//! Connection-oriented PDUs, C706 chapter 12 and [MS-RPCE] 2.2.2.

use crate::interface::{Syntax, uuid};
use crate::ndr::NdrReader;

/// Bytes of the header all PDUs have.
pub const HEADER_LENGTH: usize = 16;
/// Bytes of a response before its stub.
pub const RESPONSE_HEADER: usize = 24;
/// max_xmit_frag and max_recv_frag of this server.
pub const MAX_FRAGMENT: u16 = 4280;
/// The least a client may set them to, C706 12.6.3.
pub const MIN_FRAGMENT: u16 = 1432;

/// PFC_FIRST_FRAG.
pub const FIRST_FRAGMENT: u8 = 0x01;
/// PFC_LAST_FRAG.
pub const LAST_FRAGMENT: u8 = 0x02;
/// PFC_DID_NOT_EXECUTE.
pub const DID_NOT_EXECUTE: u8 = 0x20;
/// PFC_OBJECT_UUID.
pub const OBJECT_UUID: u8 = 0x80;

/// NDR, 32-bit.
pub(crate) const NDR32: Syntax = (
    uuid(
        0x8A88_5D04,
        0x1CEB,
        0x11C9,
        [0x9F, 0xE8, 0x08, 0x00, 0x2B, 0x10, 0x48, 0x60],
    ),
    2,
);
/// First half of the transfer syntaxes that stand for bind time features,
/// [MS-RPCE] 3.3.1.5.3; the second half is the features.
pub(crate) const FEATURES: [u8; 8] = [0x2C, 0x1C, 0xB7, 0x6C, 0x12, 0x98, 0x40, 0x45];
/// KeepConnectionOnOrphanSupported.
pub(crate) const KEEP_CONNECTION: u8 = 2;

/// PTYPE, C706 12.6.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PacketType {
    Request,
    Response,
    Fault,
    Bind,
    BindAck,
    BindNak,
    AlterContext,
    AlterContextResponse,
    Auth3,
    Cancel,
    Orphaned,
}

impl PacketType {
    /// From the byte on the wire.
    pub fn from_byte(b: u8) -> Option<Self> {
        Some(match b {
            0 => Self::Request,
            2 => Self::Response,
            3 => Self::Fault,
            11 => Self::Bind,
            12 => Self::BindAck,
            13 => Self::BindNak,
            14 => Self::AlterContext,
            15 => Self::AlterContextResponse,
            16 => Self::Auth3,
            18 => Self::Cancel,
            19 => Self::Orphaned,
            _ => return None,
        })
    }

    /// The byte on the wire.
    pub fn byte(self) -> u8 {
        match self {
            Self::Request => 0,
            Self::Response => 2,
            Self::Fault => 3,
            Self::Bind => 11,
            Self::BindAck => 12,
            Self::BindNak => 13,
            Self::AlterContext => 14,
            Self::AlterContextResponse => 15,
            Self::Auth3 => 16,
            Self::Cancel => 18,
            Self::Orphaned => 19,
        }
    }
}

/// Fault statuses, C706 appendix E and [MS-RPCE] 2.2.2.11.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum FaultStatus {
    /// nca_s_op_rng_error: no such operation.
    OperationRange = 0x1C01_0002,
    /// nca_s_unk_if: no such presentation context.
    UnknownInterface = 0x1C01_0003,
    /// nca_s_proto_error.
    Protocol = 0x1C01_000B,
    /// nca_s_fault_context_mismatch.
    ContextMismatch = 0x1C00_001A,
    /// nca_s_fault_remote_no_memory.
    NoMemory = 0x1C00_001B,
    /// RPC_X_BAD_STUB_DATA.
    BadStub = 0x0000_06F7,
    /// ERROR_ACCESS_DENIED.
    AccessDenied = 0x0000_0005,
}

/// The header all PDUs have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// PTYPE; `None`: unknown.
    pub packet_type: Option<PacketType>,
    /// pfc_flags.
    pub flags: u8,
    /// Integers are big-endian.
    pub big_endian: bool,
    /// frag_length.
    pub fragment_length: u16,
    /// auth_length.
    pub auth_length: u16,
    /// call_id.
    pub call_id: u32,
}

impl Header {
    /// Decodes the header; `None` unless it is version 5.0 or 5.1 and the length
    /// covers the header.
    pub fn decode(bytes: &[u8; HEADER_LENGTH]) -> Option<Self> {
        let &[version, minor, packet_type, flags, order, ..] = bytes;
        if version != 5 || minor > 1 {
            return None;
        }
        let big_endian = order & 0xF0 == 0;
        let mut reader = NdrReader::new(bytes, big_endian);
        reader.bytes(8).ok()?;
        let fragment_length = reader.u16().ok()?;
        let auth_length = reader.u16().ok()?;
        let call_id = reader.u32().ok()?;
        let fits = usize::from(fragment_length) >= HEADER_LENGTH;
        fits.then_some(Self {
            packet_type: PacketType::from_byte(packet_type),
            flags,
            big_endian,
            fragment_length,
            auth_length,
            call_id,
        })
    }
}

/// A PDU of this server, little-endian: header and body.
pub(crate) fn encode(packet_type: PacketType, flags: u8, call_id: u32, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER_LENGTH + body.len()).unwrap_or(u16::MAX);
    let mut out = vec![5, 0, packet_type.byte(), flags, 0x10, 0, 0, 0];
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&call_id.to_le_bytes());
    out.extend_from_slice(body);
    out
}

/// A fault.
pub(crate) fn fault(call_id: u32, context: u16, status: FaultStatus) -> Vec<u8> {
    let mut body = 32u32.to_le_bytes().to_vec();
    body.extend_from_slice(&context.to_le_bytes());
    body.extend_from_slice(&[0; 2]);
    body.extend_from_slice(&(status as u32).to_le_bytes());
    body.extend_from_slice(&[0; 4]);
    let flags = FIRST_FRAGMENT | LAST_FRAGMENT | DID_NOT_EXECUTE;
    encode(PacketType::Fault, flags, call_id, &body)
}

/// The fragments of a response.
pub(crate) fn response(call_id: u32, context: u16, stub: &[u8], max_fragment: u16) -> Vec<Vec<u8>> {
    let room = usize::from(max_fragment)
        .saturating_sub(RESPONSE_HEADER)
        .max(8)
        & !7;
    let chunks: Vec<&[u8]> = if stub.is_empty() {
        vec![stub]
    } else {
        stub.chunks(room).collect()
    };
    let last = chunks.len().saturating_sub(1);
    let mut left = stub.len();
    let mut out = Vec::with_capacity(chunks.len());
    for (n, chunk) in chunks.into_iter().enumerate() {
        let mut body = u32::try_from(left)
            .unwrap_or(u32::MAX)
            .to_le_bytes()
            .to_vec();
        body.extend_from_slice(&context.to_le_bytes());
        body.extend_from_slice(&[0; 2]);
        body.extend_from_slice(chunk);
        let first = if n == 0 { FIRST_FRAGMENT } else { 0 };
        let flags = first | if n == last { LAST_FRAGMENT } else { 0 };
        out.push(encode(PacketType::Response, flags, call_id, &body));
        left = left.saturating_sub(chunk.len());
    }
    out
}
