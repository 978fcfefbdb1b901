//! Remote administration protocol, [MS-RAP]: what DOS, OS/2 and Windows 9x use
//! instead of RPC, in TRANSACTION on `\PIPE\LANMAN`.
//!
//! The client's data descriptor says how an entry is laid out; the answer is
//! built from it, whatever the level is called.

use countersign_wire::Reader;
use countersign_wire::smb1::CodePage;

use crate::facts::{ServerFacts, ServerInfo, SessionFacts, ShareFacts, ShareKind};
use crate::srvsvc::{SERVER_TYPE, civil};

/// Most bytes of a descriptor or a name in a request.
const MAX_ASCIIZ: usize = 256;
/// Characters of a share's name that fit the field of [MS-RAP] 2.5.6.1 with its
/// terminator; longer names cannot be told to these clients.
const MAX_SHARE_NAME: usize = 12;

/// Win32ErrorCode values.
const SUCCESS: u16 = 0;
const ACCESS_DENIED: u16 = 5;
const NOT_SUPPORTED: u16 = 50;
const INVALID_LEVEL: u16 = 124;
const MORE_DATA: u16 = 234;
const NERR_BUFFER_TOO_SMALL: u16 = 2123;
const NERR_NET_NAME_NOT_FOUND: u16 = 2310;
const NERR_CLIENT_NAME_NOT_FOUND: u16 = 2312;
/// ERROR_INVALID_PARAMETER.
const INVALID_PARAMETER: u16 = 87;

/// The two parts of the TRANSACTION response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RapReply {
    /// Parameters: status, converter, counts.
    pub parameters: Vec<u8>,
    /// Data.
    pub data: Vec<u8>,
}

/// An item of a data descriptor, [MS-RAP] 2.4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    /// `B`, `Bn`: so many bytes.
    Bytes(usize),
    /// `W`.
    Word,
    /// `D`.
    Dword,
    /// `z`.
    Text,
}

impl Item {
    fn size(self) -> usize {
        match self {
            Item::Bytes(n) => n,
            Item::Word => 2,
            Item::Dword | Item::Text => 4,
        }
    }
}

/// The items of a descriptor; `None`: something in it is not known.
fn descriptor(text: &[u8]) -> Option<Vec<Item>> {
    let mut items = Vec::new();
    let mut rest = text;
    while let Some((kind, tail)) = rest.split_first() {
        let digits = tail.iter().take_while(|b| b.is_ascii_digit()).count();
        let (number, tail) = tail.split_at_checked(digits)?;
        let count = number.iter().try_fold(0usize, |n, b| {
            n.checked_mul(10)?.checked_add(usize::from(b - b'0'))
        })?;
        let count = if digits == 0 { 1 } else { count };
        if count == 0 || count > MAX_ASCIIZ || items.len() > MAX_ASCIIZ {
            return None;
        }
        match kind {
            b'B' => items.push(Item::Bytes(count)),
            b'W' => items.extend(core::iter::repeat_n(Item::Word, count)),
            b'D' => items.extend(core::iter::repeat_n(Item::Dword, count)),
            b'z' if digits == 0 => items.push(Item::Text),
            _ => return None,
        }
        rest = tail;
    }
    Some(items)
}

/// A value of an entry, in the order of the structure's fields.
enum Value {
    Text(String),
    Number(u32),
}

/// Text for clients without Unicode.
fn oem(page: CodePage, text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    page.encode(text, &mut out);
    out
}

/// How entries are laid out, and how much room there is.
struct Layout {
    items: Vec<Item>,
    page: CodePage,
    room: usize,
}

impl Layout {
    /// Bytes of the fixed part of an entry.
    fn fixed(&self) -> usize {
        self.items.iter().map(|i| i.size()).sum()
    }

    /// Lays out one entry: its fixed part and the strings it points to. `heap` is
    /// the offset of its first string.
    fn lay_out(&self, values: &[Value], heap: usize) -> (Vec<u8>, Vec<u8>) {
        let mut fixed = Vec::new();
        let mut strings: Vec<u8> = Vec::new();
        for (n, item) in self.items.iter().enumerate() {
            let number = match values.get(n) {
                Some(Value::Number(v)) => *v,
                _ => 0,
            };
            let text = match values.get(n) {
                Some(Value::Text(t)) => oem(self.page, t),
                _ => Vec::new(),
            };
            match item {
                Item::Bytes(1) => fixed.extend(number.to_le_bytes().get(..1).unwrap_or_default()),
                Item::Bytes(size) => {
                    let room = size.saturating_sub(1);
                    let mut field = text.get(..room).unwrap_or(&text).to_vec();
                    field.resize(*size, 0);
                    fixed.extend(field);
                }
                Item::Word => fixed.extend(number.to_le_bytes().get(..2).unwrap_or_default()),
                Item::Dword => fixed.extend(number.to_le_bytes()),
                Item::Text => {
                    let offset = u16::try_from(heap + strings.len()).unwrap_or(0);
                    fixed.extend(u32::from(offset).to_le_bytes());
                    strings.extend(text);
                    strings.push(0);
                }
            }
        }
        (fixed, strings)
    }

    /// The answer of an enumeration: as many entries as fit.
    fn enumeration(&self, entries: &[Vec<Value>]) -> RapReply {
        let size = self.fixed();
        let mut count = 0;
        let mut used = 0;
        for entry in entries {
            used += size + self.lay_out(entry, 0).1.len();
            if used > self.room {
                break;
            }
            count += 1;
        }
        let mut fixed = Vec::new();
        let mut strings = Vec::new();
        for entry in entries.iter().take(count) {
            let (f, s) = self.lay_out(entry, size * count + strings.len());
            fixed.extend(f);
            strings.extend(s);
        }
        fixed.extend(strings);
        let status = if count < entries.len() {
            MORE_DATA
        } else {
            SUCCESS
        };
        reply(&[status, 0, word(count), word(entries.len())], fixed)
    }

    /// The answer of a GetInfo call.
    fn information(&self, entry: &[Value]) -> RapReply {
        let size = self.fixed();
        let (mut fixed, strings) = self.lay_out(entry, size);
        let total = word(fixed.len() + strings.len());
        if fixed.len() > self.room {
            return reply(&[NERR_BUFFER_TOO_SMALL, 0, total], Vec::new());
        }
        if fixed.len() + strings.len() > self.room {
            return reply(&[MORE_DATA, 0, total], fixed);
        }
        fixed.extend(strings);
        reply(&[SUCCESS, 0, total], fixed)
    }
}

fn asciiz<'a>(r: &mut Reader<'a>) -> Option<&'a [u8]> {
    let end = r.rest().iter().take(MAX_ASCIIZ).position(|b| *b == 0)?;
    let text = r.take(end, "asciiz").ok()?;
    r.skip(1, "asciiz").ok()?;
    Some(text)
}

/// The parts all requests have.
struct Request<'a> {
    opcode: u16,
    parameters: &'a [u8],
    data: &'a [u8],
    rest: Reader<'a>,
}

fn request(parameters: &[u8]) -> Option<Request<'_>> {
    let mut r = Reader::new(parameters);
    let opcode = r.u16("RAPOpcode").ok()?;
    let parameter_descriptor = asciiz(&mut r)?;
    let data = asciiz(&mut r)?;
    Some(Request {
        opcode,
        parameters: parameter_descriptor,
        data,
        rest: r,
    })
}

fn failure(status: u16) -> RapReply {
    let mut parameters = status.to_le_bytes().to_vec();
    parameters.extend_from_slice(&[0; 6]);
    RapReply {
        parameters,
        data: Vec::new(),
    }
}

fn reply(words: &[u16], data: Vec<u8>) -> RapReply {
    RapReply {
        parameters: words.iter().flat_map(|w| w.to_le_bytes()).collect(),
        data,
    }
}

fn word(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

/// SHARE_INFO values, [MS-RAP] 2.5.6.
fn share_values(share: &ShareFacts) -> Vec<Value> {
    let kind = match share.kind {
        ShareKind::Disk => 0,
        ShareKind::Ipc => 3,
    };
    vec![
        Value::Text(share.name.clone()),
        Value::Number(0),
        Value::Number(kind),
        Value::Text(share.comment.clone()),
        Value::Number(0),
        Value::Number(0xFFFF),
        Value::Number(share.current_uses),
        Value::Text(match share.kind {
            ShareKind::Disk => format!("C:\\{}", share.name),
            ShareKind::Ipc => String::new(),
        }),
    ]
}

/// SERVER_INFO values, [MS-RAP] 2.5.5.
fn server_values(server: &ServerInfo) -> Vec<Value> {
    vec![
        Value::Text(server.name.clone()),
        Value::Number(server.version.0),
        Value::Number(server.version.1),
        Value::Number(SERVER_TYPE),
        Value::Text(server.comment.clone()),
    ]
}

/// SESSION_INFO values of level 2.
fn session_values(session: &SessionFacts) -> Vec<Value> {
    vec![
        Value::Text(session.client.clone()),
        Value::Text(session.user.clone()),
        Value::Number(1),
        Value::Number(session.opens),
        Value::Number(1),
        Value::Number(session.seconds),
        Value::Number(session.idle_seconds),
        Value::Number(u32::from(session.guest)),
        Value::Text(String::new()),
    ]
}

/// TIME_OF_DAY_INFO values, [MS-RAP] 2.5.10: the time in UTC.
fn time_values(facts: &dyn ServerFacts) -> Vec<Value> {
    let now = facts.now();
    let (seconds, nanoseconds) = now.to_unix();
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let number = |n: u64| Value::Number(u32::try_from(n).unwrap_or(u32::MAX));
    let (year, month, day) = civil(seconds / 86_400);
    vec![
        number(seconds),
        number((now.0 / 10_000) & u64::from(u32::MAX)),
        number(seconds / 3600 % 24),
        number(seconds / 60 % 60),
        number(seconds % 60),
        Value::Number(nanoseconds / 10_000_000),
        Value::Number(0),
        Value::Number(310),
        Value::Number(day),
        Value::Number(month),
        Value::Number(year),
        number((seconds / 86_400 + 4) % 7),
    ]
}

/// WORKSTATION_INFO values, [MS-RAP] 2.5.4: level 10, or the long levels 0 and 1
/// that begin with two reserved fields.
fn workstation_values(server: &ServerInfo, user: &str, items: &[Item]) -> Vec<Value> {
    let text = |t: &str| Value::Text(t.to_owned());
    if items.first() == Some(&Item::Text) {
        return vec![
            text(&server.name),
            text(user),
            text(&server.workgroup),
            Value::Number(server.version.0),
            Value::Number(server.version.1),
            text(&server.workgroup),
            text(""),
        ];
    }
    vec![
        Value::Number(0),
        Value::Number(0),
        text("C:\\"),
        text(&server.name),
        text(user),
        text(&server.workgroup),
        Value::Number(server.version.0),
        Value::Number(server.version.1),
    ]
}

/// Answers a request. `parameters` are the TRANSACTION's; `max_data` is its
/// MaxDataCount.
pub fn call(
    parameters: &[u8],
    max_data: usize,
    page: CodePage,
    facts: &dyn ServerFacts,
) -> RapReply {
    let Some(request) = request(parameters) else {
        return failure(INVALID_PARAMETER);
    };
    served(request, max_data, page, facts).unwrap_or_else(|| failure(INVALID_PARAMETER))
}

fn served(
    request: Request<'_>,
    max_data: usize,
    page: CodePage,
    facts: &dyn ServerFacts,
) -> Option<RapReply> {
    let mut r = request.rest;
    let known: &[&[u8]] = match request.opcode {
        0 | 6 => &[b"WrLeh"],
        1 | 7 => &[b"zWrLh"],
        91 => &[b"rL"],
        13 | 63 => &[b"WrLh"],
        104 => &[b"WrLehDz", b"WrLehDO"],
        215 => &[b"WrLehDzz"],
        _ => return Some(failure(NOT_SUPPORTED)),
    };
    if !known.contains(&request.parameters) {
        return Some(failure(INVALID_PARAMETER));
    }
    let Some(items) = descriptor(request.data).filter(|i| !i.is_empty()) else {
        return Some(failure(INVALID_LEVEL));
    };
    let name = if matches!(request.opcode, 1 | 7) {
        asciiz(&mut r)?
    } else {
        &[]
    };
    if request.opcode != 91 {
        let _level = r.u16("Level").ok()?;
    }
    let room = usize::from(r.u16("ReceiveBufferSize").ok()?).min(max_data);
    let layout = Layout { items, page, room };
    let server = facts.server();
    Some(match request.opcode {
        0 => {
            let entries: Vec<Vec<Value>> = facts
                .shares()
                .iter()
                .filter(|s| !s.hidden && oem(page, &s.name).len() <= MAX_SHARE_NAME)
                .map(share_values)
                .collect();
            layout.enumeration(&entries)
        }
        1 => {
            let shares = facts.shares();
            match shares
                .iter()
                .find(|s| oem(page, &s.name).eq_ignore_ascii_case(name))
            {
                Some(share) => layout.information(&share_values(share)),
                None => failure(NERR_NET_NAME_NOT_FOUND),
            }
        }
        6 | 7 if !facts.caller().administrator => failure(ACCESS_DENIED),
        6 => {
            let entries: Vec<Vec<Value>> = facts.sessions().iter().map(session_values).collect();
            layout.enumeration(&entries)
        }
        7 => {
            let name = page.decode(name);
            let name = name.trim_start_matches('\\');
            let sessions = facts.sessions();
            match sessions
                .iter()
                .find(|s| s.client.eq_ignore_ascii_case(name))
            {
                Some(session) => layout.information(&session_values(session)),
                None => failure(NERR_CLIENT_NAME_NOT_FOUND),
            }
        }
        13 => layout.information(&server_values(&server)),
        91 => {
            let mut time = layout.information(&time_values(facts));
            time.parameters.truncate(4);
            time
        }
        63 => {
            let user = facts.caller().user;
            layout.information(&workstation_values(&server, &user, &layout.items))
        }
        _ => {
            let kinds = r.u32("ServerType").ok()?;
            let domain = if request.parameters.contains(&b'z') {
                asciiz(&mut r)?
            } else {
                &[]
            };
            // A stand-alone server is a domain of its own to clients that logged on to it.
            let ours = domain.is_empty()
                || [&server.workgroup, &server.name]
                    .iter()
                    .any(|own| domain.eq_ignore_ascii_case(&oem(page, own)));
            // SV_TYPE_DOMAIN_ENUM asks for domains, anything else for servers.
            let entries = if kinds == 0x8000_0000 {
                vec![vec![
                    Value::Text(server.workgroup.clone()),
                    Value::Number(server.version.0),
                    Value::Number(server.version.1),
                    Value::Number(kinds),
                    Value::Text(server.name.clone()),
                ]]
            } else if ours && kinds & SERVER_TYPE != 0 {
                vec![server_values(&server)]
            } else {
                Vec::new()
            };
            layout.enumeration(&entries)
        }
    })
}
