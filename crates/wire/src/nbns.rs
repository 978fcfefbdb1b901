//! NetBIOS name service, RFC 1002 4.2: the queries a file server answers.
//!
//! A client that was given an address asks for the node's names before it opens
//! the session service (Windows 95); one that was given a name asks by broadcast.

use crate::cursor::{DecodeError, Reader, Result, Writer};
use crate::nbss::NetBiosName;

/// Question type NB: the address of a name.
const NB: u16 = 0x0020;
/// Question type NBSTAT: the names of a node.
const NBSTAT: u16 = 0x0021;
/// Class IN.
const IN: u16 = 0x0001;
/// R: a response.
const RESPONSE: u16 = 0x8000;
/// AA: authoritative.
const AUTHORITATIVE: u16 = 0x0400;
/// RD, copied from the query.
const RECURSION_DESIRED: u16 = 0x0100;
/// Most names in one status; 255 would fit the count, not the packet.
pub const MAX_NAMES: usize = 16;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// RFC 1002 4.2.12 NAME QUERY REQUEST.
    Address(NetBiosName),
    /// RFC 1002 4.2.17 NODE STATUS REQUEST; `*` asks any node.
    Status(NetBiosName),
}

/// A query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// NAME_TRN_ID.
    pub transaction: u16,
    /// RD was set.
    pub recursion_desired: bool,
    /// The question.
    pub question: Question,
}

/// A name of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnName {
    /// The name.
    pub name: NetBiosName,
    /// A group's name (the workgroup).
    pub group: bool,
}

impl Query {
    /// Decodes a datagram.
    ///
    /// # Errors
    /// It is cut off, is a response, or asks something else; none is answered.
    pub fn decode(datagram: &[u8]) -> Result<Self> {
        let invalid = |field, reason| DecodeError::Invalid { field, reason };
        let mut r = Reader::new(datagram);
        let mut be16 = |field| r.array::<2>(field).map(u16::from_be_bytes);
        let transaction = be16("NAME_TRN_ID")?;
        let flags = be16("FLAGS")?;
        if flags & (RESPONSE | 0x7800) != 0 {
            return Err(invalid("OPCODE", "is not a query"));
        }
        if be16("QDCOUNT")? != 1 {
            return Err(invalid("QDCOUNT", "is not one"));
        }
        for field in ["ANCOUNT", "NSCOUNT", "ARCOUNT"] {
            be16(field)?;
        }
        let (name, used) = NetBiosName::decode(r.rest())
            .map_err(|_| invalid("QUESTION_NAME", "is not a NetBIOS name"))?;
        r.skip(used, "QUESTION_NAME")?;
        let mut be16 = |field| r.array::<2>(field).map(u16::from_be_bytes);
        let kind = be16("QUESTION_TYPE")?;
        if be16("QUESTION_CLASS")? != IN {
            return Err(invalid("QUESTION_CLASS", "is not IN"));
        }
        let question = match kind {
            NB => Question::Address(name),
            NBSTAT => Question::Status(name),
            _ => return Err(invalid("QUESTION_TYPE", "is neither NB nor NBSTAT")),
        };
        let recursion_desired = flags & RECURSION_DESIRED != 0;
        Ok(Self {
            transaction,
            recursion_desired,
            question,
        })
    }

    /// Encodes the query (for clients and tests).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        let flags = if self.recursion_desired {
            RECURSION_DESIRED
        } else {
            0
        };
        for v in [self.transaction, flags, 1, 0, 0, 0] {
            w.bytes(&v.to_be_bytes());
        }
        let (name, kind) = match self.question {
            Question::Address(name) => (name, NB),
            Question::Status(name) => (name, NBSTAT),
        };
        name.encode(&mut out);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&IN.to_be_bytes());
        out
    }

    /// The answer of a node with these names and this address, if it has one to
    /// give: a status (RFC 1002 4.2.18) for `*` or an own name, an address
    /// (4.2.13) for an own name that is no group.
    pub fn answer(&self, names: &[OwnName], address: [u8; 4]) -> Option<Vec<u8>> {
        let (asked, kind) = match self.question {
            Question::Status(asked) => {
                let any = asked.0.first() == Some(&b'*');
                (any || names.iter().any(|n| n.name == asked)).then_some((asked, NBSTAT))?
            }
            Question::Address(asked) => names
                .iter()
                .any(|n| n.name == asked && !n.group)
                .then_some((asked, NB))?,
        };
        let mut data = Vec::new();
        if kind == NB {
            // NB_FLAGS: a unique name of a B node.
            data.extend_from_slice(&[0, 0]);
            data.extend_from_slice(&address);
        } else {
            let names = names.get(..MAX_NAMES).unwrap_or(names);
            data.push(u8::try_from(names.len()).unwrap_or(0));
            for n in names {
                data.extend_from_slice(&n.name.0);
                // NAME_FLAGS: active; group.
                let flags: u16 = if n.group { 0x8400 } else { 0x0400 };
                data.extend_from_slice(&flags.to_be_bytes());
            }
            // STATISTICS: the unit id (an address no card has) and zeros.
            data.extend_from_slice(&[0; 46]);
        }
        let mut out = Vec::new();
        let desired = if self.recursion_desired {
            RECURSION_DESIRED
        } else {
            0
        };
        for v in [
            self.transaction,
            RESPONSE | AUTHORITATIVE | desired,
            0,
            1,
            0,
            0,
        ] {
            out.extend_from_slice(&v.to_be_bytes());
        }
        asked.encode(&mut out);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&IN.to_be_bytes());
        out.extend_from_slice(&0u32.to_be_bytes());
        out.extend_from_slice(&u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
        out.extend(data);
        Some(out)
    }
}

/// The names a file server has: host<00>, host<20> and its workgroup<00>.
pub fn own_names(host: &str, workgroup: &str) -> Vec<OwnName> {
    vec![
        OwnName {
            name: NetBiosName::new(host, 0x00),
            group: false,
        },
        OwnName {
            name: NetBiosName::new(host, 0x20),
            group: false,
        },
        OwnName {
            name: NetBiosName::new(workgroup, 0x00),
            group: true,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn star() -> NetBiosName {
        let mut name = [0; 16];
        name[0] = b'*';
        NetBiosName(name)
    }

    #[test]
    fn a_status_lists_the_names_windows_95_waits_for() {
        let names = own_names("server", "workgroup");
        let query = Query {
            transaction: 7,
            recursion_desired: false,
            question: Question::Status(star()),
        };
        let answer = Query::decode(&query.encode())
            .unwrap()
            .answer(&names, [127, 0, 0, 1])
            .unwrap();
        assert_eq!(&answer[..4], [0, 7, 0x84, 0]);
        // Header 12, name 34, type, class, ttl, length 10.
        assert_eq!(answer[56], 3);
        assert_eq!(&answer[57..73], b"SERVER         \0");
        assert_eq!(&answer[75..91], b"SERVER          ");
        assert_eq!(&answer[91 + 18..91 + 20], [0x84, 0x00]);
        assert_eq!(answer.len(), 56 + 1 + 3 * 18 + 46);
    }

    #[test]
    fn only_own_names_have_an_address() {
        let names = own_names("server", "workgroup");
        let ask = |name: &str, suffix| {
            let question = Question::Address(NetBiosName::new(name, suffix));
            Query {
                transaction: 1,
                recursion_desired: true,
                question,
            }
            .answer(&names, [10, 0, 0, 1])
        };
        assert_eq!(&ask("SERVER", 0x20).unwrap()[58..], [10, 0, 0, 1]);
        assert!(ask("OTHER", 0x20).is_none());
        assert!(ask("WORKGROUP", 0).is_none());
    }

    #[test]
    fn nothing_but_queries_is_read() {
        let good = Query {
            transaction: 1,
            recursion_desired: true,
            question: Question::Status(star()),
        };
        let bytes = good.encode();
        assert_eq!(Query::decode(&bytes), Ok(good));
        for cut in 0..bytes.len() {
            assert!(Query::decode(&bytes[..cut]).is_err());
        }
        let mut response = bytes;
        response[2] |= 0x80;
        assert!(Query::decode(&response).is_err());
    }
}
