//! The 32 bytes in front of every SMB1 message.

use crate::cursor::{DecodeError, Reader, Result, Writer};

/// Bytes of the header.
pub const HEADER: usize = 32;
/// `0xFF 'S' 'M' 'B'`, the first four bytes.
pub const PROTOCOL: [u8; 4] = [0xFF, b'S', b'M', b'B'];
/// Offset of the eight signature bytes.
pub const SIGNATURE: core::ops::Range<usize> = 14..22;
/// What a peer that negotiated signing puts in the signature of
/// SESSION_SETUP_ANDX messages while no key exists.
pub const SIGNATURE_PLACEHOLDER: [u8; 8] = *b"BSRSPYL ";

bitflags::bitflags! {
    /// [MS-CIFS] 2.2.3.1 Flags.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Flags: u8 {
        /// SMB_FLAGS_LOCK_AND_READ_OK.
        const LOCK_AND_READ_OK = 0x01;
        /// SMB_FLAGS_BUF_AVAIL.
        const BUF_AVAIL = 0x02;
        /// SMB_FLAGS_CASE_INSENSITIVE.
        const CASE_INSENSITIVE = 0x08;
        /// SMB_FLAGS_CANONICALIZED_PATHS.
        const CANONICALIZED_PATHS = 0x10;
        /// SMB_FLAGS_OPLOCK.
        const OPLOCK = 0x20;
        /// SMB_FLAGS_OPBATCH.
        const OPBATCH = 0x40;
        /// SMB_FLAGS_REPLY.
        const REPLY = 0x80;
        /// Bits without a name are kept.
        const _ = !0;
    }

    /// [MS-CIFS] 2.2.3.1 and [MS-SMB] 2.2.3.1 Flags2.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Flags2: u16 {
        /// SMB_FLAGS2_LONG_NAMES.
        const LONG_NAMES = 0x0001;
        /// SMB_FLAGS2_EAS.
        const EAS = 0x0002;
        /// SMB_FLAGS2_SMB_SECURITY_SIGNATURE: the sender can sign.
        const SECURITY_SIGNATURE = 0x0004;
        /// SMB_FLAGS2_SMB_SECURITY_SIGNATURE_REQUIRED: the sender insists on signing.
        const SECURITY_SIGNATURE_REQUIRED = 0x0010;
        /// SMB_FLAGS2_IS_LONG_NAME.
        const IS_LONG_NAME = 0x0040;
        /// SMB_FLAGS2_REPARSE_PATH: `@GMT` in paths.
        const REPARSE_PATH = 0x0400;
        /// SMB_FLAGS2_EXTENDED_SECURITY.
        const EXTENDED_SECURITY = 0x0800;
        /// SMB_FLAGS2_DFS: paths are DFS paths.
        const DFS = 0x1000;
        /// SMB_FLAGS2_PAGING_IO: EXECUTE right will do for reads.
        const PAGING_IO = 0x2000;
        /// SMB_FLAGS2_NT_STATUS.
        const NT_STATUS = 0x4000;
        /// SMB_FLAGS2_UNICODE.
        const UNICODE = 0x8000;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// [MS-CIFS] 2.2.3.1 The SMB Header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// SMB_COM_* code of the first command.
    pub command: u8,
    /// Status as it stands on the wire: an NTSTATUS, or class, zero and a 16-bit code.
    pub status: u32,
    /// Flags.
    pub flags: Flags,
    /// Flags2.
    pub flags2: Flags2,
    /// High half of the process id.
    pub pid_high: u16,
    /// SecuritySignature.
    pub signature: [u8; 8],
    /// Tree identifier.
    pub tid: u16,
    /// Low half of the process id.
    pub pid_low: u16,
    /// User identifier.
    pub uid: u16,
    /// Multiplex identifier.
    pub mid: u16,
}

impl Header {
    /// Decodes the header at the start of a message.
    ///
    /// # Errors
    /// [`DecodeError::Short`] below 32 bytes, [`DecodeError::Invalid`] without `0xFF SMB`.
    pub fn decode(message: &[u8]) -> Result<Self> {
        let mut r = Reader::new(message);
        if r.array::<4>("Protocol")? != PROTOCOL {
            return Err(DecodeError::Invalid {
                field: "Protocol",
                reason: "not SMB1",
            });
        }
        let command = r.u8("Command")?;
        let status = r.u32("Status")?;
        let flags = Flags::from_bits_retain(r.u8("Flags")?);
        let flags2 = Flags2::from_bits_retain(r.u16("Flags2")?);
        let pid_high = r.u16("PIDHigh")?;
        let signature = r.array("SecuritySignature")?;
        r.skip(2, "Reserved")?;
        Ok(Self {
            command,
            status,
            flags,
            flags2,
            pid_high,
            signature,
            tid: r.u16("TID")?,
            pid_low: r.u16("PIDLow")?,
            uid: r.u16("UID")?,
            mid: r.u16("MID")?,
        })
    }

    /// The 32 bytes.
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = Vec::with_capacity(HEADER);
        let mut w = Writer::new(&mut bytes);
        w.bytes(&PROTOCOL);
        w.u8(self.command);
        w.u32(self.status);
        w.u8(self.flags.bits());
        w.u16(self.flags2.bits());
        w.u16(self.pid_high);
        w.bytes(&self.signature);
        w.u16(0);
        w.u16(self.tid);
        w.u16(self.pid_low);
        w.u16(self.uid);
        w.u16(self.mid);
        let mut out = [0; HEADER];
        out.copy_from_slice(&bytes);
        out
    }

    /// The whole process id.
    pub fn pid(&self) -> u32 {
        u32::from(self.pid_high) << 16 | u32::from(self.pid_low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let h = Header {
            command: 0x2E,
            status: 0xC000_0022,
            flags: Flags::REPLY | Flags::CASE_INSENSITIVE,
            flags2: Flags2::from_bits_retain(0xC857),
            pid_high: 1,
            signature: *b"12345678",
            tid: 2,
            pid_low: 3,
            uid: 4,
            mid: 5,
        };
        let bytes = h.encode();
        assert_eq!(Header::decode(&bytes), Ok(h));
        assert_eq!(bytes[SIGNATURE], *b"12345678");
        assert_eq!(h.pid(), 0x1_0003);
        for cut in 0..HEADER {
            assert!(Header::decode(&bytes[..cut]).is_err());
        }
        let mut smb2 = bytes;
        smb2[0] = 0xFE;
        assert!(Header::decode(&smb2).is_err());
    }
}
