//! [MS-ADTS] 6.3: the LDAP ping and its answer.

use countersign_wire::{DecodeError, Reader};

/// Most labels and pointers followed in one name.
const MOST_LABELS: usize = 64;
/// LOGON_SAM_LOGON_RESPONSE_EX and LOGON_SAM_USER_UNKNOWN_EX.
const RESPONSE_EX: [u16; 2] = [23, 25];

/// NETLOGON_NT_VERSION_5 and NETLOGON_NT_VERSION_5EX: what is asked for.
pub(crate) const NT_VERSION: u32 = 0x0000_0006;

/// [MS-ADTS] 6.3.1.9 NETLOGON_SAM_LOGON_RESPONSE_EX, as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netlogon {
    /// Flags, [MS-ADTS] 6.3.1.2.
    pub flags: u32,
    /// DNS name of the forest.
    pub forest: String,
    /// DNS name of the domain.
    pub domain: String,
    /// DNS name of the controller.
    pub host: String,
    /// NetBIOS name of the domain.
    pub netbios_domain: String,
    /// The controller's site.
    pub controller_site: String,
    /// The site of whoever asks; empty when it has none.
    pub client_site: String,
}

impl Netlogon {
    /// DS_LDAP_FLAG: the controller serves LDAP.
    pub const LDAP: u32 = 0x0000_0008;

    /// Reads the value of the attribute Netlogon.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Netlogon, DecodeError> {
        let mut reader = Reader::new(bytes);
        if !RESPONSE_EX.contains(&reader.u16("Opcode")?) {
            return Err(DecodeError::Invalid {
                field: "Opcode",
                reason: "is not LOGON_SAM_LOGON_RESPONSE_EX",
            });
        }
        reader.skip(2, "Sbz")?;
        let flags = reader.u32("Flags")?;
        reader.skip(16, "DomainGuid")?;
        let mut at = reader.position();
        let mut next = |field| name(bytes, &mut at, field);
        let forest = next("DnsForestName")?;
        let domain = next("DnsDomainName")?;
        let host = next("DnsHostName")?;
        let netbios_domain = next("NetbiosDomainName")?;
        next("NetbiosComputerName")?;
        next("UserName")?;
        Ok(Netlogon {
            flags,
            forest,
            domain,
            host,
            netbios_domain,
            controller_site: next("DcSiteName")?,
            client_site: next("ClientSiteName")?,
        })
    }
}

/// A name in the compressed form of [RFC 1035] 4.1.4.
fn name(bytes: &[u8], at: &mut usize, field: &'static str) -> Result<String, DecodeError> {
    let invalid = |reason| DecodeError::Invalid { field, reason };
    let mut labels: Vec<String> = Vec::new();
    let mut place = *at;
    let mut end = None;
    for _ in 0..MOST_LABELS {
        let mut reader = Reader::new(bytes);
        reader.skip(place, field)?;
        let length = reader.u8(field)?;
        match length {
            0 => {
                *at = end.unwrap_or(reader.position());
                return Ok(labels.join("."));
            }
            1..=63 => {
                let label = reader.take(usize::from(length), field)?;
                let text = String::from_utf8(label.to_vec());
                labels.push(text.map_err(|_| invalid("is not UTF-8"))?);
                place = reader.position();
            }
            192.. => {
                let low = reader.u8(field)?;
                end.get_or_insert(reader.position());
                let target = usize::from(length & 0x3F) << 8 | usize::from(low);
                // Only backwards: so it comes to an end.
                if target >= place {
                    return Err(invalid("has a pointer that does not point back"));
                }
                place = target;
            }
            _ => return Err(invalid("has a label of an unknown kind")),
        }
    }
    Err(invalid("is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut bytes = vec![23, 0, 0, 0, 0xFD, 0xF3, 0, 0];
        bytes.extend([0; 16]);
        bytes.extend(b"\x03lab\x07example\0");
        bytes.extend([0xC0, 24]);
        bytes.extend(b"\x03dc1\xC0\x18");
        bytes.extend(b"\x03LAB\0\x03DC1\0\0");
        let site = u8::try_from(bytes.len()).unwrap();
        bytes.extend(b"\x07Default\0");
        bytes.extend([0xC0, site]);
        bytes.extend([6, 0, 0, 0, 255, 255, 255, 255]);
        bytes
    }

    #[test]
    fn an_answer() {
        let answer = Netlogon::decode(&sample()).unwrap();
        assert_eq!(answer.flags & Netlogon::LDAP, Netlogon::LDAP);
        assert_eq!(answer.domain, "lab.example");
        assert_eq!(answer.host, "dc1.lab.example");
        assert_eq!(answer.netbios_domain, "LAB");
        assert_eq!(answer.controller_site, "Default");
        assert_eq!(answer.client_site, "Default");
        let bytes = sample();
        for length in 0..bytes.len() - 8 {
            assert!(Netlogon::decode(&bytes[..length]).is_err(), "{length}");
        }
        let mut wrong = sample();
        wrong[0] = 19;
        assert!(Netlogon::decode(&wrong).is_err());
    }

    #[test]
    fn pointers_cannot_loop() {
        let mut bytes = vec![23, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([0; 16]);
        bytes.extend([0xC0, 24]);
        assert!(Netlogon::decode(&bytes).is_err());
        let mut many = vec![23, 0, 0, 0, 0, 0, 0, 0];
        many.extend([0; 16]);
        many.extend(std::iter::repeat_n([1, b'a'], 100).flatten());
        assert!(Netlogon::decode(&many).is_err());
    }
}
