//! [MS-SMB2] 2.2.41 TRANSFORM_HEADER and 2.2.42 COMPRESSION_TRANSFORM_HEADER.

use super::header::{COMPRESSION_PROTOCOL_ID, TRANSFORM_PROTOCOL_ID};
use crate::cursor::{DecodeError, Reader, Result, Writer};

/// Bytes of a transform header.
pub const TRANSFORM_LEN: usize = 52;

/// [MS-SMB2] 2.2.41 SMB2 TRANSFORM_HEADER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransformHeader {
    /// Signature: the authentication tag.
    pub signature: [u8; 16],
    /// Nonce: 11 bytes for CCM, 12 for GCM.
    pub nonce: [u8; 16],
    /// OriginalMessageSize.
    pub original_size: u32,
    /// Flags (3.1.1: 1 = Encrypted), EncryptionAlgorithm (3.0: 1 = AES-128-CCM).
    pub flags: u16,
    /// SessionId.
    pub session_id: u64,
}

impl TransformHeader {
    /// Reads it from the start of a frame.
    ///
    /// # Errors
    /// Too short or another protocol.
    pub fn decode(frame: &[u8]) -> Result<Self> {
        let mut r = Reader::new(frame);
        if r.array::<4>("ProtocolId")? != TRANSFORM_PROTOCOL_ID {
            return Err(DecodeError::Invalid {
                field: "ProtocolId",
                reason: "is not encrypted",
            });
        }
        let signature = r.array("Signature")?;
        let nonce = r.array("Nonce")?;
        let original_size = r.u32("OriginalMessageSize")?;
        r.skip(2, "Reserved")?;
        let flags = r.u16("Flags")?;
        let session_id = r.u64("SessionId")?;
        Ok(Self {
            signature,
            nonce,
            original_size,
            flags,
            session_id,
        })
    }

    /// Appends the 52 bytes.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.bytes(&TRANSFORM_PROTOCOL_ID);
        w.bytes(&self.signature);
        w.bytes(&self.nonce);
        w.u32(self.original_size);
        w.u16(0);
        w.u16(self.flags);
        w.u64(self.session_id);
    }
}

/// [MS-SMB2] 2.2.42 COMPRESSION_TRANSFORM_HEADER, the fields all forms share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressionHeader {
    /// OriginalCompressedSegmentSize.
    pub original_size: u32,
    /// CompressionAlgorithm (of the first payload, when chained).
    pub algorithm: u16,
    /// Flags: 1 = chained.
    pub flags: u16,
    /// Offset (not chained) or Length (chained).
    pub offset: u32,
}

impl CompressionHeader {
    /// Bytes of the header.
    pub const LEN: usize = 16;

    /// Reads it from the start of a frame.
    ///
    /// # Errors
    /// Too short or another protocol.
    pub fn decode(frame: &[u8]) -> Result<Self> {
        let mut r = Reader::new(frame);
        if r.array::<4>("ProtocolId")? != COMPRESSION_PROTOCOL_ID {
            return Err(DecodeError::Invalid {
                field: "ProtocolId",
                reason: "is not compressed",
            });
        }
        Ok(Self {
            original_size: r.u32("OriginalCompressedSegmentSize")?,
            algorithm: r.u16("CompressionAlgorithm")?,
            flags: r.u16("Flags")?,
            offset: r.u32("Offset")?,
        })
    }
}
