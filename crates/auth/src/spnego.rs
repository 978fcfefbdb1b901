//! SPNEGO tokens, RFC 4178 and [MS-SPNG] 2.2. For both ends of an exchange.

use crate::der::{self, DerError, DerReader, context, element};

/// Contents of the OID 1.3.6.1.5.5.2 (SPNEGO).
pub const OID_SPNEGO: &[u8] = &[0x2B, 6, 1, 5, 5, 2];
/// Contents of the OID 1.3.6.1.4.1.311.2.2.10 (NTLMSSP).
pub const OID_NTLMSSP: &[u8] = &[0x2B, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 0x0A];
/// Contents of the OID 1.2.840.113554.1.2.2 (Kerberos).
pub const OID_KERBEROS: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 1, 2, 2];
/// Contents of the OID 1.2.840.48018.1.2.2 (Kerberos, as Windows 2000 spelled it).
pub const OID_MS_KERBEROS: &[u8] = &[0x2A, 0x86, 0x48, 0x82, 0xF7, 0x12, 1, 2, 2];

/// hintName of the server's first token, [MS-SPNG] 2.2.1.
const HINT_NAME: &[u8] = b"not_defined_in_RFC4178@please_ignore";

/// Most mechanisms in a list that are looked at.
pub const MAX_MECHANISMS: usize = 32;

/// negState, RFC 4178 4.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum NegState {
    /// accept-completed.
    AcceptCompleted = 0,
    /// accept-incomplete.
    AcceptIncomplete = 1,
    /// reject.
    Reject = 2,
    /// request-mic.
    RequestMic = 3,
}

impl NegState {
    fn from_byte(b: u8) -> Option<Self> {
        match b {
            0 => Some(Self::AcceptCompleted),
            1 => Some(Self::AcceptIncomplete),
            2 => Some(Self::Reject),
            3 => Some(Self::RequestMic),
            _ => None,
        }
    }
}

/// NegTokenInit, RFC 4178 4.2.1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NegTokenInit<'a> {
    /// Contents of the OIDs, most wanted first.
    pub mech_types: Vec<&'a [u8]>,
    /// The mechTypes SEQUENCE as it was sent: what mechListMIC protects.
    pub mech_types_der: &'a [u8],
    /// mechToken: the optimistic token of the first mechanism.
    pub mech_token: Option<&'a [u8]>,
    /// mechListMIC.
    pub mech_list_mic: Option<&'a [u8]>,
}

/// NegTokenResp, RFC 4178 4.2.2.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NegTokenResp<'a> {
    /// negState.
    pub state: Option<NegState>,
    /// supportedMech: the contents of its OID.
    pub supported_mech: Option<&'a [u8]>,
    /// responseToken.
    pub response_token: Option<&'a [u8]>,
    /// mechListMIC.
    pub mech_list_mic: Option<&'a [u8]>,
}

/// Either token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NegotiationToken<'a> {
    /// `[0]`.
    Init(NegTokenInit<'a>),
    /// `[1]`.
    Resp(NegTokenResp<'a>),
}

impl<'a> NegotiationToken<'a> {
    /// Decodes a token, with or without the GSS-API frame around it.
    ///
    /// # Errors
    /// When it is no such token.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DerError> {
        let mut reader = DerReader::new(bytes);
        let mut element = reader.any()?;
        if element.tag == der::APPLICATION_0 {
            let mut frame = DerReader::new(element.contents);
            if frame.expect(der::OID)?.contents != OID_SPNEGO {
                return Err(DerError::Tag);
            }
            element = frame.any()?;
        }
        let fields = DerReader::new(der::contents(element.contents, der::SEQUENCE)?);
        if element.tag == context(0) {
            NegTokenInit::fields(fields).map(NegotiationToken::Init)
        } else if element.tag == context(1) {
            NegTokenResp::fields(fields).map(NegotiationToken::Resp)
        } else {
            Err(DerError::Tag)
        }
    }
}

impl<'a> NegTokenInit<'a> {
    fn fields(mut fields: DerReader<'a>) -> Result<Self, DerError> {
        let mut token = Self::default();
        while !fields.is_empty() {
            let field = fields.any()?;
            match field.tag {
                t if t == context(0) => {
                    let list = DerReader::new(field.contents).expect(der::SEQUENCE)?;
                    token.mech_types_der = list.whole;
                    let mut list = DerReader::new(list.contents);
                    while !list.is_empty() && token.mech_types.len() < MAX_MECHANISMS {
                        token.mech_types.push(list.expect(der::OID)?.contents);
                    }
                }
                t if t == context(2) => {
                    token.mech_token = Some(der::contents(field.contents, der::OCTET_STRING)?);
                }
                // [3] is mechListMIC in NegTokenInit and negHints in NegTokenInit2.
                t if t == context(3) || t == context(4) => {
                    if let Ok(mic) = der::contents(field.contents, der::OCTET_STRING) {
                        token.mech_list_mic = Some(mic);
                    }
                }
                t if is_field(t) => {}
                _ => return Err(DerError::Tag),
            }
        }
        Ok(token)
    }

    /// The token in its GSS-API frame; `mech_types_der` is not looked at.
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = element(context(0), &mech_types_der(&self.mech_types));
        if let Some(token) = self.mech_token {
            fields.extend(octets(2, token));
        }
        if let Some(mic) = self.mech_list_mic {
            fields.extend(octets(3, mic));
        }
        framed(&element(context(0), &element(der::SEQUENCE, &fields)))
    }
}

impl<'a> NegTokenResp<'a> {
    fn fields(mut fields: DerReader<'a>) -> Result<Self, DerError> {
        let mut token = Self::default();
        while !fields.is_empty() {
            let field = fields.any()?;
            match field.tag {
                t if t == context(0) => {
                    let state = der::contents(field.contents, der::ENUMERATED)?;
                    token.state = match state {
                        [b] => NegState::from_byte(*b),
                        _ => None,
                    };
                }
                t if t == context(1) => {
                    token.supported_mech = Some(der::contents(field.contents, der::OID)?);
                }
                t if t == context(2) => {
                    token.response_token = Some(der::contents(field.contents, der::OCTET_STRING)?);
                }
                t if t == context(3) => {
                    token.mech_list_mic = Some(der::contents(field.contents, der::OCTET_STRING)?);
                }
                t if is_field(t) => {}
                _ => return Err(DerError::Tag),
            }
        }
        Ok(token)
    }

    /// The token.
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        if let Some(state) = self.state {
            fields.extend(element(
                context(0),
                &element(der::ENUMERATED, &[state as u8]),
            ));
        }
        if let Some(mech) = self.supported_mech {
            fields.extend(element(context(1), &element(der::OID, mech)));
        }
        if let Some(token) = self.response_token {
            fields.extend(octets(2, token));
        }
        if let Some(mic) = self.mech_list_mic {
            fields.extend(octets(3, mic));
        }
        element(context(1), &element(der::SEQUENCE, &fields))
    }
}

/// The mechTypes SEQUENCE of these mechanisms.
pub fn mech_types_der(mechanisms: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = mechanisms
        .iter()
        .flat_map(|oid| element(der::OID, oid))
        .collect();
    element(der::SEQUENCE, &list)
}

/// NegTokenInit2 with the hint, [MS-SPNG] 2.2.1: what a server sends unasked.
pub fn neg_token_init2(mechanisms: &[&[u8]]) -> Vec<u8> {
    let mut fields = element(context(0), &mech_types_der(mechanisms));
    let name = element(context(0), &element(der::GENERAL_STRING, HINT_NAME));
    fields.extend(element(context(3), &element(der::SEQUENCE, &name)));
    framed(&element(context(0), &element(der::SEQUENCE, &fields)))
}

/// Whether a tag can be that of a field this version does not know: both tokens
/// may be extended.
fn is_field(tag: u8) -> bool {
    tag & 0xE0 == context(0)
}

fn octets(tag: u8, bytes: &[u8]) -> Vec<u8> {
    element(context(tag), &element(der::OCTET_STRING, bytes))
}

fn framed(token: &[u8]) -> Vec<u8> {
    let mut contents = element(der::OID, OID_SPNEGO);
    contents.extend_from_slice(token);
    element(der::APPLICATION_0, &contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hint_is_what_servers_send() {
        let hint = "604806062b0601050502a03e303ca00e300c060a2b06010401823702020aa32a3028\
                    a0261b246e6f745f646566696e65645f696e5f5246433431373840706c656173655f69676e6f7265";
        assert_eq!(hex::encode(neg_token_init2(&[OID_NTLMSSP])), hint);
        let decoded = neg_token_init2(&[OID_MS_KERBEROS, OID_KERBEROS, OID_NTLMSSP]);
        let NegotiationToken::Init(init) = NegotiationToken::decode(&decoded).unwrap() else {
            panic!("not an init token");
        };
        assert_eq!(
            init.mech_types,
            [OID_MS_KERBEROS, OID_KERBEROS, OID_NTLMSSP]
        );
        assert_eq!(init.mech_list_mic, None);
    }

    #[test]
    fn tokens_survive_a_round_trip() {
        let init = NegTokenInit {
            mech_types: vec![OID_KERBEROS, OID_NTLMSSP],
            mech_types_der: &mech_types_der(&[OID_KERBEROS, OID_NTLMSSP]),
            mech_token: Some(b"token"),
            mech_list_mic: Some(b"mic"),
        };
        assert_eq!(
            NegotiationToken::decode(&init.encode()),
            Ok(NegotiationToken::Init(init.clone()))
        );
        let resp = NegTokenResp {
            state: Some(NegState::RequestMic),
            supported_mech: Some(OID_NTLMSSP),
            response_token: Some(&[1; 300]),
            mech_list_mic: Some(&[2; 16]),
        };
        assert_eq!(
            NegotiationToken::decode(&resp.encode()),
            Ok(NegotiationToken::Resp(resp.clone()))
        );
    }

    #[test]
    fn another_gss_mechanism_is_refused() {
        let mut token = neg_token_init2(&[OID_NTLMSSP]);
        token[4] = 0x2A;
        assert_eq!(NegotiationToken::decode(&token), Err(DerError::Tag));
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = NegotiationToken::decode(&bytes);
        }

        #[test]
        fn altered_tokens_never_panic(at in 0usize..74, value: u8, cut in 0usize..74) {
            let mut token = neg_token_init2(&[OID_NTLMSSP]);
            token[at] = value;
            let _ = NegotiationToken::decode(&token);
            let _ = NegotiationToken::decode(&token[cut..]);
            let _ = NegotiationToken::decode(&token[..cut]);
        }
    }
}
