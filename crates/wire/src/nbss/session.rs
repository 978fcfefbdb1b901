//! Session request and responses, RFC 1002 4.3.2 to 4.3.5.

use super::{FrameHeader, Framing, HEADER, NameError, NetBiosName, PacketType};

/// RFC 1002 4.3.2 SESSION REQUEST: whom the caller wants, and who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRequest {
    /// Name of the server wanted; the suffix is 0x20 for a file server.
    pub called: NetBiosName,
    /// Name of the caller.
    pub calling: NetBiosName,
}

impl SessionRequest {
    /// Decodes the bytes behind the four-byte header.
    ///
    /// # Errors
    /// [`NameError`] when a name is malformed.
    pub fn decode(body: &[u8]) -> Result<Self, NameError> {
        let (called, used) = NetBiosName::decode(body)?;
        let (calling, _) = NetBiosName::decode(body.get(used..).ok_or(NameError::Short)?)?;
        Ok(Self { called, calling })
    }

    /// The whole packet with its header.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; HEADER];
        self.called.encode(&mut out);
        self.calling.encode(&mut out);
        let length = out.len() - HEADER;
        let header = FrameHeader {
            kind: PacketType::Request,
            length,
        }
        .encode(Framing::NetBios);
        if let (Some(place), Some(header)) = (out.get_mut(..HEADER), header) {
            place.copy_from_slice(&header);
        }
        out
    }

    /// Whether a server of the given names is called: `*SMBSERVER`, `*SMBSERV`
    /// or one of the names, without regard to case; any suffix will do.
    pub fn calls<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> bool {
        let called = self.called.name();
        called.starts_with("*SMBSERV")
            || names.any(|n| NetBiosName::new(n, 0).name().eq_ignore_ascii_case(&called))
    }
}

/// RFC 1002 4.3.4 NEGATIVE SESSION RESPONSE error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum NegativeResponse {
    /// Not listening on the called name.
    NotListeningOnCalledName = 0x80,
    /// Not listening for the calling name.
    NotListeningForCallingName = 0x81,
    /// Called name not present.
    CalledNameNotPresent = 0x82,
    /// Called name present, but insufficient resources.
    InsufficientResources = 0x83,
    /// Unspecified error.
    Unspecified = 0x8F,
}

impl NegativeResponse {
    /// The whole packet.
    pub fn encode(self) -> [u8; HEADER + 1] {
        [PacketType::NegativeResponse as u8, 0, 0, 1, self as u8]
    }

    /// The whole RETARGET SESSION RESPONSE packet, RFC 1002 4.3.5.
    pub fn retarget(address: [u8; 4], port: u16) -> [u8; HEADER + 6] {
        let [a, b, c, d] = address;
        let [high, low] = port.to_be_bytes();
        [
            PacketType::RetargetResponse as u8,
            0,
            0,
            6,
            a,
            b,
            c,
            d,
            high,
            low,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_there_and_back() {
        let request = SessionRequest {
            called: NetBiosName::new("*SMBSERVER", 0x20),
            calling: NetBiosName::new("XPBOX", 0),
        };
        let bytes = request.encode();
        assert_eq!(bytes.len(), 72);
        assert_eq!(bytes[..4], [0x81, 0, 0, 68]);
        assert_eq!(SessionRequest::decode(&bytes[4..]), Ok(request));
        assert!(request.calls(core::iter::empty()));
        for cut in 0..68 {
            assert!(SessionRequest::decode(&bytes[4..4 + cut]).is_err());
        }
    }

    #[test]
    fn own_names_are_heard() {
        let request = SessionRequest {
            called: NetBiosName::new("FILES", 0x20),
            calling: NetBiosName::new("X", 0),
        };
        assert!(request.calls(["files"].into_iter()));
        assert!(!request.calls(["other"].into_iter()));
    }
}
