//! [RFC 4511] LDAPMessage, in BER by `lber`.

use std::collections::BTreeMap;

use bytes::BytesMut;
use lber::common::TagClass;
use lber::structure::{PL, StructureTag};
use lber::structures::{ASNTag, Enumerated, Integer};

use super::filter::{Filter, encode as encode_filter};

/// Deepest nesting of a message that is read; LDAP needs six.
const DEEPEST: usize = 12;
/// Largest message.
pub(crate) const LARGEST: usize = 16 << 20;

/// LDAP_SERVER_SD_FLAGS_OID, [MS-ADTS] 3.1.1.3.4.1.11.
const SD_FLAGS: &str = "1.2.840.113556.1.4.801";
/// [RFC 2696] paged results.
const PAGED: &str = "1.2.840.113556.1.4.319";

/// How deep a search looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// At the base alone.
    Base,
    /// At its children.
    Children,
    /// At it and everything below.
    Subtree,
}

/// An entry of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Its distinguished name, as the server writes it.
    pub dn: String,
    /// Attributes, names in small letters.
    attributes: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Entry {
    /// The values of an attribute.
    pub fn values(&self, attribute: &str) -> &[Vec<u8>] {
        self.attributes
            .get(&attribute.to_ascii_lowercase())
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The first value of an attribute.
    pub fn value(&self, attribute: &str) -> Option<&[u8]> {
        self.values(attribute).first().map(Vec::as_slice)
    }

    /// The first value of an attribute as text; what is no UTF-8 is not there.
    pub fn text(&self, attribute: &str) -> Option<&str> {
        std::str::from_utf8(self.value(attribute)?).ok()
    }

    /// The first value of an attribute as a number.
    pub fn number(&self, attribute: &str) -> Option<i64> {
        self.text(attribute)?.trim().parse().ok()
    }

    /// Bytes it takes.
    pub(crate) fn size(&self) -> usize {
        let values = |values: &Vec<Vec<u8>>| values.iter().map(Vec::len).sum::<usize>();
        let attributes = self.attributes.iter();
        self.dn.len()
            + attributes
                .map(|(name, all)| name.len() + values(all))
                .sum::<usize>()
    }

    #[cfg(test)]
    pub(crate) fn with(mut self, attribute: &str, value: &[u8]) -> Entry {
        let values = self.attributes.entry(attribute.to_ascii_lowercase());
        values.or_default().push(value.to_vec());
        self
    }
}

/// One change of a modify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The attribute has these values, and no others.
    Replace(&'static str, Vec<Vec<u8>>),
    /// These values are added.
    Add(&'static str, Vec<Vec<u8>>),
}

/// [RFC 4511] 4.1.9 LDAPResult.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LdapResult {
    pub(crate) code: u32,
    pub(crate) text: String,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Bind(LdapResult, Option<Vec<u8>>),
    Entry(Entry),
    Reference,
    Done(LdapResult),
    Modify(LdapResult),
    Add(LdapResult),
    Extended(LdapResult),
}

/// A message of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: u32,
    pub(crate) operation: Operation,
    /// The cookie of paged results; empty: no more pages.
    pub(crate) cookie: Option<Vec<u8>>,
}

pub(crate) fn octets(value: &[u8]) -> StructureTag {
    tag(TagClass::Universal, 4, PL::P(value.to_vec()))
}

fn tag(class: TagClass, id: u64, payload: PL) -> StructureTag {
    StructureTag { class, id, payload }
}

fn sequence(inner: Vec<StructureTag>) -> StructureTag {
    tag(TagClass::Universal, 16, PL::C(inner))
}

fn set(values: &[Vec<u8>]) -> StructureTag {
    let values = values.iter().map(|value| octets(value)).collect();
    tag(TagClass::Universal, 17, PL::C(values))
}

fn integer(value: u32) -> StructureTag {
    Integer {
        inner: i64::from(value),
        ..Integer::default()
    }
    .into_structure()
}

fn enumerated(value: u8) -> StructureTag {
    Enumerated {
        inner: i64::from(value),
        ..Enumerated::default()
    }
    .into_structure()
}

fn boolean(value: bool) -> StructureTag {
    let byte = if value { 0xFF } else { 0 };
    tag(TagClass::Universal, 1, PL::P(vec![byte]))
}

fn application(id: u64, inner: Vec<StructureTag>) -> StructureTag {
    tag(TagClass::Application, id, PL::C(inner))
}

fn bytes_of(tag: StructureTag) -> Vec<u8> {
    let mut out = BytesMut::new();
    // Writing to memory does not fail.
    let _ = lber::write::encode_into(&mut out, tag);
    out.to_vec()
}

/// A request with its number and its controls.
pub(crate) fn encode(id: u32, operation: StructureTag, controls: Vec<StructureTag>) -> Vec<u8> {
    let mut inner = vec![integer(id), operation];
    if !controls.is_empty() {
        inner.push(tag(TagClass::Context, 0, PL::C(controls)));
    }
    bytes_of(sequence(inner))
}

/// BindRequest with SASL.
pub(crate) fn bind(mechanism: &str, credentials: &[u8]) -> StructureTag {
    let sasl = PL::C(vec![octets(mechanism.as_bytes()), octets(credentials)]);
    application(
        0,
        vec![integer(3), octets(b""), tag(TagClass::Context, 3, sasl)],
    )
}

/// UnbindRequest.
pub(crate) fn unbind() -> StructureTag {
    tag(TagClass::Application, 2, PL::P(Vec::new()))
}

/// SearchRequest: aliases are not followed.
pub(crate) fn search(
    base: &str,
    scope: Scope,
    filter: &Filter,
    attributes: &[&str],
) -> StructureTag {
    let scope = match scope {
        Scope::Base => 0,
        Scope::Children => 1,
        Scope::Subtree => 2,
    };
    let attributes = attributes.iter().map(|one| octets(one.as_bytes()));
    application(
        3,
        vec![
            octets(base.as_bytes()),
            enumerated(scope),
            enumerated(0),
            integer(0),
            integer(0),
            boolean(false),
            encode_filter(filter),
            sequence(attributes.collect()),
        ],
    )
}

/// ModifyRequest.
pub(crate) fn modify(dn: &str, changes: &[Change]) -> StructureTag {
    let changes = changes.iter().map(|change| {
        let (operation, name, values) = match change {
            Change::Add(name, values) => (0, name, values),
            Change::Replace(name, values) => (2, name, values),
        };
        sequence(vec![
            enumerated(operation),
            sequence(vec![octets(name.as_bytes()), set(values)]),
        ])
    });
    application(6, vec![octets(dn.as_bytes()), sequence(changes.collect())])
}

/// AddRequest.
pub(crate) fn add(dn: &str, attributes: &[(&str, Vec<Vec<u8>>)]) -> StructureTag {
    let attributes = attributes
        .iter()
        .map(|(name, values)| sequence(vec![octets(name.as_bytes()), set(values)]));
    application(
        8,
        vec![octets(dn.as_bytes()), sequence(attributes.collect())],
    )
}

fn control(oid: &str, value: StructureTag) -> StructureTag {
    sequence(vec![
        octets(oid.as_bytes()),
        boolean(true),
        octets(&bytes_of(value)),
    ])
}

/// Security descriptors with these parts only: 4 is the DACL.
pub(crate) fn sd_flags(flags: u32) -> StructureTag {
    control(SD_FLAGS, sequence(vec![integer(flags)]))
}

/// A page of a search.
pub(crate) fn paged(size: u32, cookie: &[u8]) -> StructureTag {
    control(PAGED, sequence(vec![integer(size), octets(cookie)]))
}

/// [MS-ADTS] 6.3.3: the ping, a search for the attribute Netlogon.
pub(crate) fn ping(id: u32, domain: &str) -> Vec<u8> {
    encode(
        id,
        search("", Scope::Base, &ping_filter(domain), &["Netlogon"]),
        Vec::new(),
    )
}

pub(crate) fn ping_filter(domain: &str) -> Filter {
    Filter::And(vec![
        Filter::equals("DnsDomain", domain),
        Filter::equals("NtVer", crate::netlogon::NT_VERSION.to_le_bytes()),
    ])
}

/// The length of the first message in `bytes`, once its header is there.
pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some((tag, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    if *tag != 0x30 {
        return Err("a message that is no SEQUENCE".to_owned());
    }
    match ber_length(rest) {
        BerLength::Is { header, content } if content <= LARGEST => Ok(Some(1 + header + content)),
        BerLength::Is { .. } => Err(format!("a message of more than {LARGEST} bytes")),
        BerLength::Short => Ok(None),
        BerLength::Bad => Err("a length that is not definite".to_owned()),
    }
}

enum BerLength {
    Is { header: usize, content: usize },
    Short,
    Bad,
}

fn ber_length(bytes: &[u8]) -> BerLength {
    let Some((first, rest)) = bytes.split_first() else {
        return BerLength::Short;
    };
    let count = usize::from(first & 0x7F);
    if first & 0x80 == 0 {
        return BerLength::Is {
            header: 1,
            content: count,
        };
    }
    if count == 0 || count > 8 {
        return BerLength::Bad;
    }
    let Some(digits) = rest.get(..count) else {
        return BerLength::Short;
    };
    let mut content = 0usize;
    for digit in digits {
        let Some(shifted) = content.checked_mul(256) else {
            return BerLength::Bad;
        };
        content = shifted | usize::from(*digit);
    }
    BerLength::Is {
        header: 1 + count,
        content,
    }
}

/// Every length fits into what is around it, and nothing is nested deeper than LDAP
/// nests: the parser, which calls itself for what is inside, comes to an end.
fn is_sound(bytes: &[u8]) -> bool {
    let mut ends = vec![bytes.len()];
    let mut at = 0;
    loop {
        while ends.last() == Some(&at) {
            ends.pop();
        }
        let Some(end) = ends.last().copied() else {
            return true;
        };
        let Some((tag, rest)) = bytes.get(at..end).and_then(|inside| inside.split_first()) else {
            return false;
        };
        let BerLength::Is { header, content } = ber_length(rest) else {
            return false;
        };
        let start = at + 1 + header;
        let Some(stop) = start.checked_add(content).filter(|stop| *stop <= end) else {
            return false;
        };
        let many_bytes = tag & 0x1F == 0x1F;
        if many_bytes {
            return false;
        }
        if tag & 0x20 != 0 {
            if ends.len() > DEEPEST {
                return false;
            }
            ends.push(stop);
            at = start;
        } else {
            at = stop;
        }
    }
}

/// Reads one whole message.
pub(crate) fn decode(bytes: &[u8]) -> Result<Message, String> {
    let malformed = |what: &str| format!("a malformed message: {what}");
    if !is_sound(bytes) {
        return Err(malformed("lengths or nesting"));
    }
    let (rest, message) = lber::parse::parse_tag(bytes).map_err(|_| malformed("it is no BER"))?;
    if !rest.is_empty() {
        return Err(malformed("bytes left over"));
    }
    let mut parts = inner(message, &malformed)?.into_iter();
    let id = number(parts.next()).ok_or_else(|| malformed("its number"))?;
    let operation = parts.next().ok_or_else(|| malformed("no operation"))?;
    if operation.class != TagClass::Application {
        return Err(malformed("its operation"));
    }
    let which = operation.id;
    let mut fields = inner(operation, &malformed)?.into_iter();
    let result = |fields: &mut std::vec::IntoIter<StructureTag>| {
        let code = number(fields.next()).ok_or_else(|| malformed("its result"))?;
        let _matched = fields.next();
        let text = fields.next().and_then(primitive).unwrap_or_default();
        let text = String::from_utf8_lossy(&text)
            .trim_end_matches('\0')
            .to_owned();
        Ok::<LdapResult, String>(LdapResult { code, text })
    };
    let operation = match which {
        1 => {
            let result = result(&mut fields)?;
            let credentials = fields
                .find(|field| field.class == TagClass::Context && field.id == 7)
                .and_then(primitive);
            Operation::Bind(result, credentials)
        }
        4 => Operation::Entry(entry(fields).ok_or_else(|| malformed("its entry"))?),
        5 => Operation::Done(result(&mut fields)?),
        7 => Operation::Modify(result(&mut fields)?),
        9 => Operation::Add(result(&mut fields)?),
        19 => Operation::Reference,
        24 => Operation::Extended(result(&mut fields)?),
        other => {
            return Err(malformed(&format!(
                "operation {other} is none of a server's"
            )));
        }
    };
    let cookie = parts
        .find(|part| part.class == TagClass::Context && part.id == 0)
        .and_then(cookie);
    Ok(Message {
        id,
        operation,
        cookie,
    })
}

fn inner(
    tag: StructureTag,
    malformed: &impl Fn(&str) -> String,
) -> Result<Vec<StructureTag>, String> {
    tag.expect_constructed()
        .ok_or_else(|| malformed("a primitive where a sequence belongs"))
}

fn primitive(tag: StructureTag) -> Option<Vec<u8>> {
    tag.expect_primitive()
}

fn number(tag: Option<StructureTag>) -> Option<u32> {
    let bytes = tag.and_then(primitive)?;
    if bytes.is_empty() || bytes.len() > 5 {
        return None;
    }
    let value = bytes
        .iter()
        .fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    u32::try_from(value).ok()
}

fn entry(mut fields: std::vec::IntoIter<StructureTag>) -> Option<Entry> {
    let dn = String::from_utf8(fields.next().and_then(primitive)?).ok()?;
    let mut attributes = BTreeMap::new();
    for attribute in fields.next()?.expect_constructed()? {
        let mut parts = attribute.expect_constructed()?.into_iter();
        let name = String::from_utf8(parts.next().and_then(primitive)?).ok()?;
        let values: Option<Vec<Vec<u8>>> = parts
            .next()?
            .expect_constructed()?
            .into_iter()
            .map(primitive)
            .collect();
        attributes.insert(name.to_ascii_lowercase(), values?);
    }
    Some(Entry { dn, attributes })
}

/// The cookie in the control of a page.
fn cookie(controls: StructureTag) -> Option<Vec<u8>> {
    for control in controls.expect_constructed()? {
        let mut parts = control.expect_constructed()?.into_iter();
        if parts.next().and_then(primitive)? != PAGED.as_bytes() {
            continue;
        }
        let value = parts.last().and_then(primitive)?;
        if !is_sound(&value) {
            return None;
        }
        let (_, page) = lber::parse::parse_tag(&value).ok()?;
        return page
            .expect_constructed()?
            .into_iter()
            .nth(1)
            .and_then(primitive);
    }
    None
}

/// Names of result codes, [RFC 4511] appendix A.
pub(crate) fn code_name(code: u32) -> &'static str {
    match code {
        0 => "success",
        1 => "operationsError",
        2 => "protocolError",
        3 => "timeLimitExceeded",
        4 => "sizeLimitExceeded",
        7 => "authMethodNotSupported",
        8 => "strongerAuthRequired",
        10 => "referral",
        11 => "adminLimitExceeded",
        12 => "unavailableCriticalExtension",
        14 => "saslBindInProgress",
        16 => "noSuchAttribute",
        17 => "undefinedAttributeType",
        19 => "constraintViolation",
        20 => "attributeOrValueExists",
        21 => "invalidAttributeSyntax",
        32 => "noSuchObject",
        34 => "invalidDNSyntax",
        49 => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        65 => "objectClassViolation",
        68 => "entryAlreadyExists",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry_message() -> Vec<u8> {
        let attribute = |name: &str, values: &[&[u8]]| {
            let values: Vec<Vec<u8>> = values.iter().map(|value| value.to_vec()).collect();
            sequence(vec![octets(name.as_bytes()), set(&values)])
        };
        let attributes = sequence(vec![
            attribute("gPLink", &[b"[LDAP://x;0]"]),
            attribute("tokenGroups", &[&[1, 2], &[]]),
        ]);
        let page = control(PAGED, sequence(vec![integer(0), octets(b"more")]));
        encode(
            300,
            application(4, vec![octets(b"DC=x"), attributes]),
            vec![page],
        )
    }

    #[test]
    fn an_entry_with_a_page() {
        let bytes = entry_message();
        assert_eq!(length(&bytes), Ok(Some(bytes.len())));
        let message = decode(&bytes).unwrap();
        assert_eq!(message.id, 300);
        assert_eq!(message.cookie.as_deref(), Some(b"more".as_slice()));
        let Operation::Entry(entry) = message.operation else {
            panic!("an entry");
        };
        assert_eq!(entry.dn, "DC=x");
        assert_eq!(entry.text("GPLINK"), Some("[LDAP://x;0]"));
        assert_eq!(entry.values("tokengroups").len(), 2);
        assert_eq!(entry.value("nothing"), None);
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn results() {
        // As Active Directory writes it: lengths in four bytes.
        let bytes = b"\x30\x84\x00\x00\x00\x10\x02\x01\x02\x65\x84\x00\x00\x00\x07\x0a\x01\x20\x04\x00\x04\x00";
        let message = decode(bytes).unwrap();
        let Operation::Done(result) = message.operation else {
            panic!("done");
        };
        assert_eq!((message.id, result.code), (2, 32));
        let bind = application(
            1,
            vec![
                enumerated(14),
                octets(b""),
                octets(b"text"),
                tag(TagClass::Context, 7, PL::P(vec![9])),
            ],
        );
        let message = decode(&encode(1, bind, vec![])).unwrap();
        let result = LdapResult {
            code: 14,
            text: "text".to_owned(),
        };
        assert_eq!(message.operation, Operation::Bind(result, Some(vec![9])));
    }

    #[test]
    fn requests_have_golden_bytes() {
        let request = ping(1, "a.b");
        let golden = b"\x30\x39\x02\x01\x01\x63\x34\x04\x00\x0a\x01\x00\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00\
            \xa0\x17\xa3\x0a\x04\x09DnsDomain";
        // The filter is checked by its parts: DnsDomain=a.b and NtVer=\06\00\00\00.
        assert_eq!(
            &request[..24],
            &golden[..24]
                .iter()
                .copied()
                .enumerate()
                .map(|(at, byte)| match at {
                    1 => request[1],
                    6 => request[6],
                    _ => byte,
                })
                .collect::<Vec<u8>>()[..]
        );
        let has = |part: &[u8]| request.windows(part.len()).any(|window| window == part);
        assert!(has(b"\xa3\x10\x04\x09DnsDomain\x04\x03a.b"));
        assert!(has(b"\xa3\x0d\x04\x05NtVer\x04\x04\x06\x00\x00\x00"));
        assert!(has(b"\x30\x0a\x04\x08Netlogon"));
        let flags = bytes_of(sd_flags(4));
        assert!(flags.ends_with(b"\x01\x01\xff\x04\x05\x30\x03\x02\x01\x04"));
    }

    #[test]
    fn deep_nesting_is_refused_before_it_is_parsed() {
        let mut bytes = Vec::new();
        for _ in 0..100_000 {
            let mut outer = vec![0x30, 0x84];
            outer.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
            if bytes.len() > 2000 {
                break;
            }
            outer.extend(&bytes);
            bytes = outer;
        }
        assert!(decode(&bytes).is_err());
        assert!(length(b"\x30\x84\xff\xff\xff\xff").is_err());
        assert!(length(b"\x30\x80").is_err());
        assert_eq!(length(b"\x30\x84\x00"), Ok(None));
        assert!(length(b"\x04\x00").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), flips in proptest::collection::vec((0usize..200, any::<u8>()), 0..6)) {
            let _ = decode(&bytes);
            let _ = length(&bytes);
            let mut message = entry_message();
            for (at, byte) in flips {
                if let Some(one) = message.get_mut(at) {
                    *one = byte;
                }
            }
            let _ = decode(&message);
        }
    }
}
