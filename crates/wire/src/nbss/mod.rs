//! NetBIOS session service framing: RFC 1002 4.3 and [MS-SMB2] 2.1 (direct TCP).
//!
//! Every SMB message travels behind four bytes. On port 139 they are an
//! RFC 1002 packet header (type, seven reserved bits, 17-bit length); on direct
//! TCP the first byte is zero and the other three are a 24-bit length.

mod name;
mod session;

pub use name::{NAME_BYTES, NameError, NetBiosName};
pub use session::{NegativeResponse, SessionRequest};

/// Bytes of the header in front of every message.
pub const HEADER: usize = 4;
/// Largest length a direct-TCP header can tell (24 bits).
pub const MAX_TCP: usize = 0x00FF_FFFF;
/// Largest length an RFC 1002 header can tell (17 bits).
pub const MAX_NETBIOS: usize = 0x0001_FFFF;

/// How the four bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Direct TCP: a zero byte and a 24-bit length.
    Tcp,
    /// RFC 1002: type, flags, 17-bit length.
    NetBios,
}

impl Framing {
    /// Largest length this framing can tell.
    pub fn max_length(self) -> usize {
        match self {
            Self::Tcp => MAX_TCP,
            Self::NetBios => MAX_NETBIOS,
        }
    }
}

/// RFC 1002 4.3.1 packet types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// SESSION MESSAGE: an SMB message follows.
    Message = 0x00,
    /// SESSION REQUEST: called and calling name follow.
    Request = 0x81,
    /// POSITIVE SESSION RESPONSE.
    PositiveResponse = 0x82,
    /// NEGATIVE SESSION RESPONSE: an error byte follows.
    NegativeResponse = 0x83,
    /// RETARGET SESSION RESPONSE: address and port follow.
    RetargetResponse = 0x84,
    /// SESSION KEEP ALIVE.
    KeepAlive = 0x85,
    /// Not in RFC 1002; some clients probe with it and await a keep-alive.
    Probe = 0x89,
}

impl PacketType {
    /// From the byte on the wire.
    pub fn from_u8(v: u8) -> Option<Self> {
        Some(match v {
            0x00 => Self::Message,
            0x81 => Self::Request,
            0x82 => Self::PositiveResponse,
            0x83 => Self::NegativeResponse,
            0x84 => Self::RetargetResponse,
            0x85 => Self::KeepAlive,
            0x89 => Self::Probe,
            _ => return None,
        })
    }
}

/// The four bytes, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What follows.
    pub kind: PacketType,
    /// Bytes that follow the header.
    pub length: usize,
}

/// Why four bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The type byte is none of RFC 1002's.
    #[error("packet type {0:#04x} is unknown")]
    UnknownType(u8),
    /// A reserved bit of the flags byte is set.
    #[error("reserved flag bits {0:#04x} are set")]
    ReservedFlags(u8),
    /// Longer than the reader takes.
    #[error("frame of {length} bytes, limit {limit}")]
    TooLong {
        /// Length in the header.
        length: usize,
        /// The reader's limit.
        limit: usize,
    },
}

impl FrameHeader {
    /// Reads the four bytes; `limit` is the longest body the caller takes, so
    /// that an over-long frame is refused before memory is set aside for it.
    ///
    /// On direct TCP only type 0 has a 24-bit length; the other types keep the
    /// form of RFC 1002, since clients send keep-alives there as well.
    ///
    /// # Errors
    /// [`FrameError`]: the connection cannot go on.
    pub fn decode(bytes: [u8; HEADER], framing: Framing, limit: usize) -> Result<Self, FrameError> {
        let [kind, flags, high, low] = bytes;
        let kind = PacketType::from_u8(kind).ok_or(FrameError::UnknownType(kind))?;
        let short = usize::from(u16::from_be_bytes([high, low]));
        let length = if framing == Framing::Tcp && kind == PacketType::Message {
            usize::from(flags) << 16 | short
        } else {
            if flags & 0xFE != 0 {
                return Err(FrameError::ReservedFlags(flags));
            }
            usize::from(flags & 1) << 16 | short
        };
        if length > limit {
            return Err(FrameError::TooLong { length, limit });
        }
        Ok(Self { kind, length })
    }

    /// The four bytes, or `None` when the length does not fit the framing.
    pub fn encode(self, framing: Framing) -> Option<[u8; HEADER]> {
        let max = match (framing, self.kind) {
            (Framing::Tcp, PacketType::Message) => MAX_TCP,
            _ => MAX_NETBIOS,
        };
        if self.length > max {
            return None;
        }
        let [_, flags, high, low] = u32::try_from(self.length).ok()?.to_be_bytes();
        Some([self.kind as u8, flags, high, low])
    }

    /// The header of an SMB message of `length` bytes, `None` when too long.
    pub fn message(length: usize, framing: Framing) -> Option<[u8; HEADER]> {
        Self {
            kind: PacketType::Message,
            length,
        }
        .encode(framing)
    }
}

/// The whole keep-alive packet.
pub const KEEP_ALIVE: [u8; HEADER] = [PacketType::KeepAlive as u8, 0, 0, 0];
/// The whole positive session response.
pub const POSITIVE_RESPONSE: [u8; HEADER] = [PacketType::PositiveResponse as u8, 0, 0, 0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_17_and_24_bits() {
        let h = |b, f| FrameHeader::decode(b, f, MAX_TCP).map(|h| h.length);
        assert_eq!(h([0, 1, 0, 2], Framing::NetBios), Ok(0x1_0002));
        assert_eq!(
            h([0, 2, 0, 2], Framing::NetBios),
            Err(FrameError::ReservedFlags(2))
        );
        assert_eq!(h([0, 2, 0, 2], Framing::Tcp), Ok(0x2_0002));
        assert_eq!(h([0x85, 0, 0, 0], Framing::Tcp), Ok(0));
        assert_eq!(
            h([0x86, 0, 0, 0], Framing::Tcp),
            Err(FrameError::UnknownType(0x86))
        );
    }

    #[test]
    fn refuses_before_the_limit_is_passed() {
        assert!(FrameHeader::decode([0, 0, 0, 9], Framing::Tcp, 9).is_ok());
        assert_eq!(
            FrameHeader::decode([0, 0, 0, 10], Framing::Tcp, 9),
            Err(FrameError::TooLong {
                length: 10,
                limit: 9
            })
        );
    }

    #[test]
    fn encodes_what_it_decodes() {
        for length in [0, 1, 0xFFFF, 0x1_0000, MAX_NETBIOS] {
            for framing in [Framing::Tcp, Framing::NetBios] {
                let bytes = FrameHeader::message(length, framing).unwrap();
                let back = FrameHeader::decode(bytes, framing, MAX_TCP).unwrap();
                assert_eq!((back.kind, back.length), (PacketType::Message, length));
            }
        }
        assert_eq!(
            FrameHeader::message(MAX_NETBIOS + 1, Framing::NetBios),
            None
        );
        assert_eq!(FrameHeader::message(MAX_TCP + 1, Framing::Tcp), None);
    }
}
