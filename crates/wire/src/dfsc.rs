//! [MS-DFSC] referrals: where a path of a DFS namespace lies.

use crate::cursor::{DecodeError, Reader, Result, Writer, utf16_lossy};

/// Highest version of referrals there is.
pub const MAX_REFERRAL_LEVEL: u16 = 4;
/// Most entries taken of an answer, and names of one entry.
pub const MAX_ENTRIES: usize = 256;

/// Bytes of an answer in front of its entries.
const HEAD: usize = 8;
/// Bytes of an entry of version 3 and 4 without its strings.
const FIXED: usize = 34;
/// ReferralEntryFlags: the entry is a list of names.
const NAME_LIST: u16 = 0x0002;
/// ServerType of a root target.
const ROOT: u16 = 0x0001;

/// [MS-DFSC] 2.2.2 REQ_GET_DFS_REFERRAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferralRequest {
    /// MaxReferralLevel.
    pub max_level: u16,
    /// RequestFileName: `\server\share\path`.
    pub path: String,
}

impl ReferralRequest {
    /// Appends it.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(self.max_level);
        w.utf16(&self.path);
        w.u16(0);
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        Ok(Self {
            max_level: r.u16("MaxReferralLevel")?,
            path: terminated(r.rest(), "RequestFileName")?.0,
        })
    }
}

/// [MS-DFSC] 2.2.4 RESP_GET_DFS_REFERRAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferralResponse {
    /// PathConsumed: bytes of the path asked for that the referral is about.
    pub path_consumed: u16,
    /// ReferralHeaderFlags: 1 the targets hold referrals, 2 they hold files,
    /// 4 the first is to be gone back to.
    pub flags: u32,
    /// ReferralEntries, the best first.
    pub entries: Vec<Referral>,
}

/// [MS-DFSC] 2.2.5 one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referral {
    /// VersionNumber, 1 to 4.
    pub version: u16,
    /// ServerType: a root of a namespace, not a link in it.
    pub root: bool,
    /// ReferralEntryFlags, without the one that tells the form of the names.
    pub flags: u16,
    /// TimeToLive, seconds; version 1 has none.
    pub time_to_live: u32,
    /// What it names.
    pub names: ReferralNames,
}

/// The names of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferralNames {
    /// A target.
    Target {
        /// DFSPath: the part of the namespace this is about.
        path: String,
        /// DFSAlternatePath: the same in 8.3 names.
        alternate: String,
        /// NetworkAddress (ShareName in version 1): `\server\share\path`.
        address: String,
    },
    /// Domains, or domain controllers of one.
    List {
        /// SpecialName.
        special: String,
        /// ExpandedName.
        expanded: Vec<String>,
    },
}

/// A string that ends with a zero, and the bytes it takes with it.
fn terminated(bytes: &[u8], field: &'static str) -> Result<(String, usize)> {
    let (pairs, _) = bytes.as_chunks::<2>();
    let units = pairs
        .iter()
        .position(|pair| *pair == [0, 0])
        .ok_or(DecodeError::Invalid {
            field,
            reason: "not terminated",
        })?;
    let text = bytes.get(..units * 2).unwrap_or_default();
    Ok((utf16_lossy(text), units * 2 + 2))
}

impl Referral {
    /// The entry at `start`, and where the next one begins.
    fn decode(message: &[u8], start: usize) -> Result<(Self, usize)> {
        let mut r = Reader::new(message);
        r.seek(start, "ReferralEntries")?;
        let version = r.u16("VersionNumber")?;
        let size = usize::from(r.u16("Size")?);
        let server_type = r.u16("ServerType")?;
        let flags = r.u16("ReferralEntryFlags")?;
        let next = start.saturating_add(size);
        if size < HEAD || next > message.len() {
            return Err(DecodeError::Invalid {
                field: "Size",
                reason: "leads out of the answer",
            });
        }
        // Offsets count from the entry; the strings lie behind all entries.
        let at = |offset: u16, field| {
            let place = start.saturating_add(usize::from(offset));
            let rest = message.get(place..).unwrap_or_default();
            terminated(rest, field)
        };
        let mut time_to_live = 0;
        let names = match version {
            1 => ReferralNames::Target {
                path: String::new(),
                alternate: String::new(),
                address: terminated(
                    message.get(start + HEAD..next).unwrap_or_default(),
                    "ShareName",
                )?
                .0,
            },
            2..=4 => {
                if version == 2 {
                    r.skip(4, "Proximity")?;
                }
                time_to_live = r.u32("TimeToLive")?;
                let (a, b, c) = (
                    r.u16("DFSPathOffset")?,
                    r.u16("DFSAlternatePathOffset")?,
                    r.u16("NetworkAddressOffset")?,
                );
                if version > 2 && flags & NAME_LIST != 0 {
                    // SpecialNameOffset, NumberOfExpandedNames, ExpandedNameOffset.
                    names(message, start, at(a, "SpecialName")?.0, b, c)?
                } else {
                    ReferralNames::Target {
                        path: at(a, "DFSPath")?.0,
                        alternate: at(b, "DFSAlternatePath")?.0,
                        address: at(c, "NetworkAddress")?.0,
                    }
                }
            }
            _ => {
                return Err(DecodeError::Invalid {
                    field: "VersionNumber",
                    reason: "not one there is",
                });
            }
        };
        let entry = Self {
            version,
            root: server_type == ROOT,
            flags: flags & !NAME_LIST,
            time_to_live,
            names,
        };
        Ok((entry, next))
    }
}

/// The names of a list.
fn names(
    message: &[u8],
    start: usize,
    special: String,
    count: u16,
    offset: u16,
) -> Result<ReferralNames> {
    if usize::from(count) > MAX_ENTRIES {
        return Err(DecodeError::Invalid {
            field: "NumberOfExpandedNames",
            reason: "more than the limit",
        });
    }
    let place = start.saturating_add(usize::from(offset));
    let mut rest = message.get(place..).unwrap_or_default();
    let mut expanded = Vec::new();
    for _ in 0..count {
        let (name, taken) = terminated(rest, "ExpandedName")?;
        expanded.push(name);
        rest = rest.get(taken..).unwrap_or_default();
    }
    Ok(ReferralNames::List { special, expanded })
}

impl ReferralResponse {
    /// Reads it.
    ///
    /// # Errors
    /// [`DecodeError`]; also for more than [`MAX_ENTRIES`] entries.
    pub fn decode(message: &[u8]) -> Result<Self> {
        let mut r = Reader::new(message);
        let path_consumed = r.u16("PathConsumed")?;
        let count = usize::from(r.u16("NumberOfReferrals")?);
        let flags = r.u32("ReferralHeaderFlags")?;
        if count > MAX_ENTRIES {
            return Err(DecodeError::Invalid {
                field: "NumberOfReferrals",
                reason: "more than the limit",
            });
        }
        let mut entries = Vec::new();
        let mut start = HEAD;
        for _ in 0..count {
            let (entry, next) = Referral::decode(message, start)?;
            entries.push(entry);
            start = next;
        }
        Ok(Self {
            path_consumed,
            flags,
            entries,
        })
    }

    /// Appends it, entries in the form of version 3 and 4 (those of an older
    /// version as 3). `None`, and nothing of use appended, when the strings are
    /// longer than 16-bit offsets reach.
    pub fn encode(&self, w: &mut Writer<'_>) -> Option<()> {
        w.u16(self.path_consumed);
        w.u16(u16::try_from(self.entries.len()).ok()?);
        w.u32(self.flags);
        let mut strings: Vec<u8> = Vec::new();
        let first = self.entries.len().checked_mul(FIXED)?;
        for (index, entry) in self.entries.iter().enumerate() {
            // From this entry to where the next string will lie.
            let behind = first.checked_sub(index.checked_mul(FIXED)?)?;
            let mut put = |name: &str| -> Option<u16> {
                let at = u16::try_from(behind.checked_add(strings.len())?).ok()?;
                let mut out = Writer::new(&mut strings);
                out.utf16(name);
                out.u16(0);
                Some(at)
            };
            let (list, a, b, c) = match &entry.names {
                ReferralNames::Target {
                    path,
                    alternate,
                    address,
                } => (0, put(path)?, put(alternate)?, put(address)?),
                ReferralNames::List { special, expanded } => {
                    let special = put(special)?;
                    // Where the first would lie, if there is one.
                    let mut at = None;
                    for name in expanded {
                        let here = put(name)?;
                        at.get_or_insert(here);
                    }
                    let count = u16::try_from(expanded.len()).ok()?;
                    (NAME_LIST, special, count, at.unwrap_or(special))
                }
            };
            w.u16(entry.version.max(3));
            w.u16(34);
            w.u16(u16::from(entry.root));
            w.u16(entry.flags & !NAME_LIST | list);
            w.u32(entry.time_to_live);
            w.u16(a);
            w.u16(b);
            w.u16(c);
            w.zeros(16);
        }
        w.bytes(&strings);
        Some(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail loudly")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(version: u16, address: &str) -> Referral {
        Referral {
            version,
            root: false,
            flags: 0,
            time_to_live: 600,
            names: ReferralNames::Target {
                path: r"\dom\dfs\link".into(),
                alternate: r"\dom\dfs\LINK~1".into(),
                address: address.into(),
            },
        }
    }

    fn encoded(response: &ReferralResponse) -> Vec<u8> {
        let mut out = Vec::new();
        response.encode(&mut Writer::new(&mut out)).unwrap();
        out
    }

    #[test]
    fn a_referral_of_version_three_byte_for_byte() {
        // One target, laid out by hand after [MS-DFSC] 2.2.5.3.
        let mut bytes = vec![6, 0, 1, 0, 2, 0, 0, 0];
        bytes.extend([3, 0, 34, 0, 0, 0, 0, 0, 0x58, 2, 0, 0, 34, 0, 34, 0, 40, 0]);
        bytes.extend([0; 16]);
        for name in [r"\a", r"\s\d"] {
            bytes.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
            bytes.extend([0, 0]);
        }
        let response = ReferralResponse::decode(&bytes).unwrap();
        assert_eq!((response.path_consumed, response.flags), (6, 2));
        let [entry] = response.entries.as_slice() else {
            panic!("{response:?}")
        };
        assert_eq!(
            (entry.version, entry.root, entry.time_to_live),
            (3, false, 600)
        );
        let ReferralNames::Target { path, address, .. } = &entry.names else {
            panic!("{entry:?}")
        };
        assert_eq!((path.as_str(), address.as_str()), (r"\a", r"\s\d"));
        for short in 0..bytes.len() {
            assert!(ReferralResponse::decode(bytes.get(..short).unwrap()).is_err());
        }
    }

    #[test]
    fn old_versions_are_read() {
        // Version 1: the string stands in the entry.
        let mut one = vec![4, 0, 1, 0, 0, 0, 0, 0, 1, 0, 18, 0, 1, 0, 0, 0];
        one.extend(r"\s\d".encode_utf16().flat_map(u16::to_le_bytes));
        one.extend([0, 0]);
        let response = ReferralResponse::decode(&one).unwrap();
        let entry = response.entries.first().unwrap();
        assert!(entry.root);
        assert!(
            matches!(&entry.names, ReferralNames::Target { address, .. } if address == r"\s\d")
        );
        // Version 2: proximity in front of the time, strings behind.
        let mut two = vec![4, 0, 1, 0, 0, 0, 0, 0, 2, 0, 22, 0, 0, 0, 0, 0];
        two.extend([0, 0, 0, 0, 10, 0, 0, 0, 22, 0, 22, 0, 22, 0]);
        two.extend(r"\s\d".encode_utf16().flat_map(u16::to_le_bytes));
        two.extend([0, 0]);
        let response = ReferralResponse::decode(&two).unwrap();
        assert_eq!(response.entries.first().unwrap().time_to_live, 10);
    }

    #[test]
    fn limits() {
        let many = |n| ReferralResponse {
            path_consumed: 0,
            flags: 0,
            entries: vec![target(4, r"\s\d"); n],
        };
        assert!(ReferralResponse::decode(&encoded(&many(MAX_ENTRIES))).is_ok());
        assert!(ReferralResponse::decode(&encoded(&many(MAX_ENTRIES + 1))).is_err());
        let list = |n| ReferralResponse {
            entries: vec![Referral {
                names: ReferralNames::List {
                    special: "lab".into(),
                    expanded: vec![r"\dc".into(); n],
                },
                ..target(3, "")
            }],
            ..many(0)
        };
        assert!(ReferralResponse::decode(&encoded(&list(MAX_ENTRIES))).is_ok());
        assert!(ReferralResponse::decode(&encoded(&list(MAX_ENTRIES + 1))).is_err());
    }

    fn name() -> impl Strategy<Value = String> {
        r"[\\a-zA-Zäö0-9$]{0,20}"
    }

    fn entry() -> impl Strategy<Value = Referral> {
        let target =
            (name(), name(), name()).prop_map(|(path, alternate, address)| ReferralNames::Target {
                path,
                alternate,
                address,
            });
        let list = (name(), proptest::collection::vec(name(), 0..5))
            .prop_map(|(special, expanded)| ReferralNames::List { special, expanded });
        (
            3u16..=4,
            any::<bool>(),
            any::<u32>(),
            prop_oneof![target, list],
        )
            .prop_map(|(version, root, time_to_live, names)| Referral {
                version,
                root,
                flags: if version == 4 { 4 } else { 0 },
                time_to_live,
                names,
            })
    }

    proptest! {
        #[test]
        fn there_and_back(
            path_consumed: u16,
            flags in 0u32..8,
            entries in proptest::collection::vec(entry(), 0..8),
        ) {
            let response = ReferralResponse { path_consumed, flags, entries };
            prop_assert_eq!(ReferralResponse::decode(&encoded(&response)).unwrap(), response);
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = ReferralResponse::decode(&bytes);
            let _ = ReferralRequest::decode(&bytes);
        }

        #[test]
        fn requests_there_and_back(path in name(), max_level: u16) {
            let request = ReferralRequest { max_level, path };
            let mut out = Vec::new();
            request.encode(&mut Writer::new(&mut out));
            prop_assert_eq!(ReferralRequest::decode(&out).unwrap(), request);
        }
    }
}
