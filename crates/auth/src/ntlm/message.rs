//! The three messages, [MS-NLMP] 2.2.1.

use countersign_wire::cursor::{Reader, Writer, utf16_lossy};

use super::flags::NegotiateFlags;

/// Signature every message begins with.
pub const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";
/// Where the MIC stands in an AUTHENTICATE message.
const MIC_OFFSET: usize = 72;
/// First byte after the MIC.
const MIC_END: usize = 88;

/// Why bytes are not the message expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MessageError(pub &'static str);

impl From<countersign_wire::DecodeError> for MessageError {
    fn from(error: countersign_wire::DecodeError) -> Self {
        use countersign_wire::DecodeError::{Invalid, Short};
        match error {
            Short { field, .. } | Invalid { field, .. } => MessageError(field),
        }
    }
}

type Result<T> = core::result::Result<T, MessageError>;

/// VERSION, [MS-NLMP] 2.2.2.10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(pub [u8; 8]);

impl Version {
    /// Windows 6.1, NTLM revision 15.
    pub const CURRENT: Version = Version([6, 1, 0, 0, 0, 0, 0, 15]);
}

/// Whether the bytes are an NTLM message without SPNEGO around it.
pub fn is_ntlmssp(token: &[u8]) -> bool {
    token.starts_with(SIGNATURE)
}

fn header<'a>(bytes: &'a [u8], message_type: u32) -> Result<Reader<'a>> {
    let mut reader = Reader::new(bytes);
    if reader.array::<8>("Signature")? != *SIGNATURE {
        return Err(MessageError("Signature"));
    }
    if reader.u32("MessageType")? != message_type {
        return Err(MessageError("MessageType"));
    }
    Ok(reader)
}

/// The MessageType of a message.
///
/// # Errors
/// When it is none.
pub fn message_type(bytes: &[u8]) -> Result<u32> {
    let mut reader = Reader::new(bytes);
    if reader.array::<8>("Signature")? != *SIGNATURE {
        return Err(MessageError("Signature"));
    }
    Ok(reader.u32("MessageType")?)
}

/// A payload field: length, room, offset.
fn field<'a>(reader: &mut Reader<'a>, name: &'static str) -> Result<&'a [u8]> {
    let length = usize::from(reader.u16(name)?);
    reader.skip(2, name)?;
    let offset = usize::try_from(reader.u32(name)?).map_err(|_| MessageError(name))?;
    if length == 0 {
        return Ok(&[]);
    }
    Ok(reader.at(offset, length, name)?)
}

/// Puts payload fields behind a fixed part.
struct Payload {
    header: Vec<u8>,
    data: Vec<u8>,
    start: usize,
}

impl Payload {
    fn new(message_type: u32, start: usize) -> Self {
        let mut header = SIGNATURE.to_vec();
        header.extend_from_slice(&message_type.to_le_bytes());
        Self {
            header,
            data: Vec::new(),
            start,
        }
    }

    /// Adds a field; what a length cannot say is left out.
    fn field(&mut self, bytes: &[u8]) {
        let length = u16::try_from(bytes.len()).unwrap_or(0);
        let bytes = if length == 0 { &[] } else { bytes };
        let offset = u32::try_from(self.start + self.data.len()).unwrap_or(0);
        let mut w = Writer::new(&mut self.header);
        w.u16(length);
        w.u16(length);
        w.u32(offset);
        self.data.extend_from_slice(bytes);
    }

    fn fixed(&mut self, bytes: &[u8]) {
        self.header.extend_from_slice(bytes);
    }

    fn finish(mut self) -> Vec<u8> {
        self.header.resize(self.start, 0);
        self.header.append(&mut self.data);
        self.header
    }
}

/// NEGOTIATE_MESSAGE, [MS-NLMP] 2.2.1.1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Negotiate {
    /// NegotiateFlags.
    pub flags: NegotiateFlags,
    /// DomainName, in the OEM character set.
    pub domain: String,
    /// Workstation, in the OEM character set.
    pub workstation: String,
    /// Version.
    pub version: Option<Version>,
}

impl Negotiate {
    /// Decodes the message. What comes after the flags is optional, and its
    /// mistakes are passed over: nothing depends on it.
    ///
    /// # Errors
    /// When the signature, type or flags are missing.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = header(bytes, 1)?;
        let flags = NegotiateFlags::from_bits_retain(reader.u32("NegotiateFlags")?);
        let text = |b: &[u8]| b.iter().map(|b| char::from(*b)).collect();
        let domain = field(&mut reader, "DomainName")
            .map(text)
            .unwrap_or_default();
        let workstation = field(&mut reader, "Workstation")
            .map(text)
            .unwrap_or_default();
        let version = match flags.contains(NegotiateFlags::VERSION) {
            true => reader.array("Version").ok().map(Version),
            false => None,
        };
        Ok(Self {
            flags,
            domain,
            workstation,
            version,
        })
    }

    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Payload::new(1, 40);
        out.fixed(&self.flags.bits().to_le_bytes());
        out.field(self.domain.as_bytes());
        out.field(self.workstation.as_bytes());
        out.fixed(&self.version.map_or([0; 8], |v| v.0));
        out.finish()
    }
}

/// CHALLENGE_MESSAGE, [MS-NLMP] 2.2.1.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// TargetName.
    pub target_name: String,
    /// NegotiateFlags.
    pub flags: NegotiateFlags,
    /// ServerChallenge.
    pub server_challenge: [u8; 8],
    /// TargetInfo: AV pairs.
    pub target_info: Vec<u8>,
    /// Version.
    pub version: Option<Version>,
}

impl Challenge {
    /// Decodes the message.
    ///
    /// # Errors
    /// When it is cut off or a field lies outside.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = header(bytes, 2)?;
        let target_name = field(&mut reader, "TargetName")?;
        let flags = NegotiateFlags::from_bits_retain(reader.u32("NegotiateFlags")?);
        let server_challenge = reader.array("ServerChallenge")?;
        let mut target_info = Vec::new();
        if flags.contains(NegotiateFlags::TARGET_INFO) {
            reader.skip(8, "Reserved")?;
            target_info = field(&mut reader, "TargetInfo")?.to_vec();
        }
        let version = match flags.contains(NegotiateFlags::VERSION) {
            true => reader.array("Version").ok().map(Version),
            false => None,
        };
        let target_name = text(target_name, flags);
        Ok(Self {
            target_name,
            flags,
            server_challenge,
            target_info,
            version,
        })
    }

    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Payload::new(2, 56);
        out.field(&bytes(&self.target_name, self.flags));
        out.fixed(&self.flags.bits().to_le_bytes());
        out.fixed(&self.server_challenge);
        out.fixed(&[0; 8]);
        out.field(&self.target_info);
        out.fixed(&self.version.map_or([0; 8], |v| v.0));
        out.finish()
    }
}

/// AUTHENTICATE_MESSAGE, [MS-NLMP] 2.2.1.3.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authenticate {
    /// LmChallengeResponse.
    pub lm_response: Vec<u8>,
    /// NtChallengeResponse.
    pub nt_response: Vec<u8>,
    /// DomainName.
    pub domain: String,
    /// UserName.
    pub user: String,
    /// Workstation.
    pub workstation: String,
    /// EncryptedRandomSessionKey.
    pub encrypted_session_key: Vec<u8>,
    /// NegotiateFlags; `None` in the oldest form, which ends before them.
    pub flags: Option<NegotiateFlags>,
    /// Version.
    pub version: Option<Version>,
    /// MIC. Decoding fills it whenever there is room for one; whether it counts
    /// says MsvAvFlags in the response.
    pub mic: Option<[u8; 16]>,
}

impl Authenticate {
    /// Decodes the message. `agreed` tells the character set when the message
    /// has no flags.
    ///
    /// # Errors
    /// When it is cut off or a field lies outside.
    pub fn decode(bytes: &[u8], agreed: NegotiateFlags) -> Result<Self> {
        let mut reader = header(bytes, 3)?;
        let lm_response = field(&mut reader, "LmChallengeResponse")?.to_vec();
        let nt_response = field(&mut reader, "NtChallengeResponse")?.to_vec();
        let domain = field(&mut reader, "DomainName")?;
        let user = field(&mut reader, "UserName")?;
        let workstation = field(&mut reader, "Workstation")?;
        // The oldest clients end here; their payload begins at 52.
        let start = payload_start(bytes);
        let mut encrypted_session_key = Vec::new();
        let mut flags = None;
        if start >= 64 && bytes.len() >= 64 {
            encrypted_session_key = field(&mut reader, "EncryptedRandomSessionKey")?.to_vec();
            flags = Some(NegotiateFlags::from_bits_retain(
                reader.u32("NegotiateFlags")?,
            ));
        }
        let set = flags.filter(|f| !f.is_empty()).unwrap_or(agreed);
        let version = match flags {
            Some(f) if f.contains(NegotiateFlags::VERSION) && start >= MIC_OFFSET => {
                reader.array("Version").ok().map(Version)
            }
            _ => None,
        };
        let mic = match bytes.get(MIC_OFFSET..MIC_END) {
            Some(mic) if start >= MIC_END => mic.try_into().ok(),
            _ => None,
        };
        Ok(Self {
            lm_response,
            nt_response,
            domain: text(domain, set),
            user: text(user, set),
            workstation: text(workstation, set),
            encrypted_session_key,
            flags,
            version,
            mic,
        })
    }

    /// The message, with room for a MIC when there is one.
    pub fn encode(&self) -> Vec<u8> {
        let flags = self.flags.unwrap_or_default();
        let start = match (self.mic, self.version) {
            (Some(_), _) => MIC_END,
            (None, Some(_)) => MIC_OFFSET,
            (None, None) => 64,
        };
        let mut out = Payload::new(3, start);
        out.field(&self.lm_response);
        out.field(&self.nt_response);
        out.field(&bytes(&self.domain, flags));
        out.field(&bytes(&self.user, flags));
        out.field(&bytes(&self.workstation, flags));
        out.field(&self.encrypted_session_key);
        out.fixed(&flags.bits().to_le_bytes());
        if let Some(version) = self.version {
            out.fixed(&version.0);
        }
        let mut out = out.finish();
        if let Some(mic) = self.mic {
            set_mic(&mut out, mic);
        }
        out
    }
}

/// Writes a MIC into an AUTHENTICATE message; false when there is no room.
pub fn set_mic(message: &mut [u8], mic: [u8; 16]) -> bool {
    match message.get_mut(MIC_OFFSET..MIC_END) {
        Some(place) => {
            place.copy_from_slice(&mic);
            true
        }
        None => false,
    }
}

/// The least offset of a field of an AUTHENTICATE message that has contents.
fn payload_start(bytes: &[u8]) -> usize {
    let reader = Reader::new(bytes);
    [12usize, 20, 28, 36, 44]
        .iter()
        .filter_map(|at| {
            let mut field = Reader::new(reader.at(*at, 8, "field").ok()?);
            let length = field.u16("length").ok()?;
            field.skip(2, "room").ok()?;
            let offset = field.u32("offset").ok()?;
            if length == 0 {
                None
            } else {
                usize::try_from(offset).ok()
            }
        })
        .min()
        .unwrap_or(bytes.len())
}

/// A string in the character set agreed: UTF-16LE, or OEM read as Latin-1.
fn text(raw: &[u8], flags: NegotiateFlags) -> String {
    if flags.contains(NegotiateFlags::UNICODE) {
        utf16_lossy(raw)
    } else {
        raw.iter().map(|b| char::from(*b)).collect()
    }
}

/// The bytes of a string in the character set agreed.
fn bytes(text: &str, flags: NegotiateFlags) -> Vec<u8> {
    if flags.contains(NegotiateFlags::UNICODE) {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    } else {
        text.chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_survive_a_round_trip() {
        let negotiate = Negotiate {
            flags: NegotiateFlags::UNICODE | NegotiateFlags::VERSION,
            domain: "D".into(),
            workstation: "W".into(),
            version: Some(Version::CURRENT),
        };
        assert_eq!(Negotiate::decode(&negotiate.encode()), Ok(negotiate));
        let challenge = Challenge {
            target_name: "SERVER".into(),
            flags: NegotiateFlags::UNICODE | NegotiateFlags::TARGET_INFO,
            server_challenge: *b"12345678",
            target_info: vec![0; 4],
            version: None,
        };
        assert_eq!(Challenge::decode(&challenge.encode()), Ok(challenge));
        for flags in [NegotiateFlags::UNICODE, NegotiateFlags::OEM] {
            let authenticate = Authenticate {
                lm_response: vec![1; 24],
                nt_response: vec![2; 60],
                domain: "Dom\u{E4}ne".into(),
                user: "user".into(),
                workstation: String::new(),
                encrypted_session_key: vec![3; 16],
                flags: Some(flags),
                version: None,
                mic: Some([4; 16]),
            };
            assert_eq!(
                Authenticate::decode(&authenticate.encode(), flags),
                Ok(authenticate)
            );
        }
    }

    #[test]
    fn the_oldest_authenticate_has_no_flags() {
        let mut message = b"NTLMSSP\0\x03\0\0\0".to_vec();
        for (length, offset) in [(0u16, 52u32), (24, 52), (0, 76), (3, 76), (0, 79)] {
            message.extend_from_slice(&length.to_le_bytes());
            message.extend_from_slice(&length.to_le_bytes());
            message.extend_from_slice(&offset.to_le_bytes());
        }
        message.extend_from_slice(&[9; 24]);
        message.extend_from_slice(b"bob");
        let decoded = Authenticate::decode(&message, NegotiateFlags::OEM).unwrap();
        assert_eq!(
            (decoded.user.as_str(), decoded.flags, decoded.mic),
            ("bob", None, None)
        );
        assert_eq!(decoded.nt_response, [9; 24]);
    }

    #[test]
    fn fields_outside_are_refused() {
        let message = Authenticate {
            user: "u".into(),
            flags: Some(NegotiateFlags::UNICODE),
            ..Authenticate::default()
        }
        .encode();
        assert!(Authenticate::decode(&message, NegotiateFlags::UNICODE).is_ok());
        let cut = &message[..message.len() - 1];
        let error = Authenticate::decode(cut, NegotiateFlags::UNICODE);
        assert_eq!(error, Err(MessageError("UserName")));
        assert_eq!(
            Challenge::decode(&message),
            Err(MessageError("MessageType"))
        );
        assert_eq!(
            Negotiate::decode(b"NTLMSSP"),
            Err(MessageError("Signature"))
        );
    }

    proptest! {
        #[test]
        fn decoding_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..160), kind in 1u8..4) {
            for (to, from) in bytes.iter_mut().zip(SIGNATURE.iter().chain(&[kind, 0, 0, 0])) {
                *to = *from;
            }
            let _ = message_type(&bytes);
            let _ = Negotiate::decode(&bytes);
            let _ = Challenge::decode(&bytes);
            let _ = Authenticate::decode(&bytes, NegotiateFlags::UNICODE);
        }
    }
}
