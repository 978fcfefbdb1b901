//! What a capture shows of a Kerberos logon: AP-REQ and AP-REP, RFC 4120 5.5, in
//! the GSS-API frame of RFC 4121 4.1, opened with the service's keys.

mod encryption;
mod keytab;

use countersign_auth::der::{self, DerReader, context};
use zeroize::Zeroizing;

pub use keytab::{Keytab, KeytabError};

/// The OID of Kerberos and its TOK_ID, as they precede AP-REQ and AP-REP.
const OID: [u8; 11] = [
    0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x02,
];
const AP_REQ: [u8; 2] = [1, 0];
const AP_REP: [u8; 2] = [2, 0];

/// Key usage numbers, RFC 4120 7.5.1.
const USAGE_TICKET: u32 = 2;
const USAGE_AUTHENTICATOR: u32 = 11;
const USAGE_AP_REP: u32 = 12;

/// Why a ticket gave no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KerberosError {
    #[error("the AP-REQ is malformed")]
    Malformed,
    #[error("the keytab has no key of encryption type {0}")]
    NoKey(i64),
    #[error("no key of the keytab opens the ticket (encryption type {0})")]
    WrongKey(i64),
    #[error("the authenticator does not open with the ticket's key")]
    Authenticator,
}

/// An encryption type and a key for it.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) etype: i64,
    pub(crate) value: Zeroizing<Vec<u8>>,
}

/// The client's half of an exchange, opened.
#[derive(Clone)]
pub(crate) struct ApExchange {
    ticket: Key,
    /// The GSS session key as far as known.
    pub(crate) key: Zeroizing<Vec<u8>>,
    /// The client's name.
    pub(crate) user: String,
    /// Where the key is from.
    pub(crate) source: &'static str,
}

/// The AP-REQ in a token of the client.
pub(crate) fn ap_req(token: &[u8]) -> Option<&[u8]> {
    after(token, AP_REQ)
}

fn after(token: &[u8], kind: [u8; 2]) -> Option<&[u8]> {
    let mut from = 0;
    while let Some(at) = crate::fields::find(token.get(from..)?, &OID) {
        let rest = token.get(from + at + OID.len()..)?;
        if rest.starts_with(&kind) {
            return rest.get(2..);
        }
        from += at + OID.len();
    }
    None
}

/// Fields of a SEQUENCE, perhaps inside an APPLICATION tag.
struct Fields<'a>(Vec<(u8, &'a [u8])>);

impl<'a> Fields<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut element = DerReader::new(bytes).any().ok()?;
        if element.tag & 0xE0 == 0x60 {
            element = DerReader::new(element.contents).any().ok()?;
        }
        if element.tag != der::SEQUENCE {
            return None;
        }
        let mut reader = DerReader::new(element.contents);
        let mut out = Vec::new();
        while let Ok(field) = reader.any() {
            out.push((field.tag, field.contents));
        }
        Some(Self(out))
    }

    fn get(&self, n: u8) -> Option<&'a [u8]> {
        self.0
            .iter()
            .find(|(tag, _)| *tag == context(n))
            .map(|(_, contents)| *contents)
    }
}

fn integer(bytes: &[u8]) -> Option<i64> {
    let contents = der::contents(bytes, 2).ok()?;
    if contents.is_empty() || contents.len() > 8 {
        return None;
    }
    let negative = contents.first().is_some_and(|b| b & 0x80 != 0);
    let start = if negative { -1 } else { 0 };
    Some(contents.iter().fold(start, |v, b| (v << 8) | i64::from(*b)))
}

fn key(bytes: &[u8]) -> Option<Key> {
    let fields = Fields::read(bytes)?;
    Some(Key {
        etype: integer(fields.get(0)?)?,
        value: Zeroizing::new(
            der::contents(fields.get(1)?, der::OCTET_STRING)
                .ok()?
                .to_vec(),
        ),
    })
}

/// EncryptedData: type and cipher text.
fn encrypted(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let fields = Fields::read(bytes)?;
    Some((
        integer(fields.get(0)?)?,
        der::contents(fields.get(2)?, der::OCTET_STRING).ok()?,
    ))
}

impl ApExchange {
    /// Opens an AP-REQ with the keys of the service.
    pub(crate) fn open(request: &[u8], keytab: &Keytab) -> Result<Self, KerberosError> {
        let malformed = KerberosError::Malformed;
        let fields = Fields::read(request).ok_or(malformed)?;
        let ticket = Fields::read(fields.get(3).ok_or(malformed)?).ok_or(malformed)?;
        let (etype, cipher) = ticket.get(3).and_then(encrypted).ok_or(malformed)?;
        let mut tried = false;
        let part = keytab
            .keys()
            .filter(|k| k.etype == etype)
            .find_map(|k| {
                tried = true;
                encryption::decrypt(k, USAGE_TICKET, cipher)
            })
            .ok_or(())
            .map_err(|()| match tried {
                true => KerberosError::WrongKey(etype),
                false => KerberosError::NoKey(etype),
            })?;
        let part = Fields::read(&part).ok_or(malformed)?;
        let ticket = part.get(1).and_then(key).ok_or(malformed)?;
        let (_, cipher) = fields.get(4).and_then(encrypted).ok_or(malformed)?;
        let plain = encryption::decrypt(&ticket, USAGE_AUTHENTICATOR, cipher)
            .ok_or(KerberosError::Authenticator)?;
        let authenticator = Fields::read(&plain).ok_or(malformed)?;
        let subkey = authenticator.get(6).and_then(key);
        let user = authenticator.get(2).and_then(name).unwrap_or_default();
        let (source, session) = match subkey {
            Some(k) => ("Kerberos, authenticator's subkey", k),
            None => ("Kerberos, ticket's session key", ticket.clone()),
        };
        Ok(Self {
            ticket,
            key: session.value,
            user,
            source,
        })
    }

    /// Takes the subkey of the server's AP-REP, if its token has one.
    pub(crate) fn answer(&mut self, token: &[u8]) {
        let found = (|| {
            let fields = Fields::read(after(token, AP_REP)?)?;
            let (_, cipher) = fields.get(2).and_then(encrypted)?;
            let plain = encryption::decrypt(&self.ticket, USAGE_AP_REP, cipher)?;
            Fields::read(&plain)?.get(2).and_then(key)
        })();
        if let Some(subkey) = found {
            self.key = subkey.value;
            self.source = "Kerberos, AP-REP subkey";
        }
    }
}

/// PrincipalName as text.
fn name(bytes: &[u8]) -> Option<String> {
    let fields = Fields::read(bytes)?;
    let list = der::contents(fields.get(1)?, der::SEQUENCE).ok()?;
    let mut reader = DerReader::new(list);
    let mut parts = Vec::new();
    while let Ok(part) = reader.any() {
        parts.push(String::from_utf8_lossy(part.contents).into_owned());
    }
    Some(parts.join("/"))
}
