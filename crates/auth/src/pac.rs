//! The logon information of a Kerberos ticket: KERB_VALIDATION_INFO, [MS-PAC] 2.5,
//! as NDR ([MS-RPCE] 2.2.6) lays it out.
//!
//! Whoever hands the bytes over has verified the PAC's signature.

use countersign_wire::DecodeError;
use countersign_wire::cursor::{Reader, utf16_lossy};

use crate::sid::Sid;

/// Most SIDs of one user that are read, groups and others together. Windows itself
/// stops at 1,015.
pub const MAX_SIDS: usize = 4096;
/// Longest name, in UTF-16 units.
const MAX_NAME: usize = 1024;

/// UserFlags: ExtraSids is filled in.
const LOGON_EXTRA_SIDS: u32 = 0x20;
/// UserFlags: ResourceGroupIds is filled in.
const LOGON_RESOURCE_GROUPS: u32 = 0x200;

/// Who a domain says somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogonInfo {
    /// EffectiveName: the account.
    pub name: String,
    /// FullName.
    pub full_name: String,
    /// LogonDomainName: the domain's NetBIOS name.
    pub domain: String,
    /// LogonServer: the controller.
    pub server: String,
    /// LogonDomainId.
    pub domain_sid: Sid,
    /// The account's SID.
    pub user_sid: Sid,
    /// SIDs of groups, the primary one first; each once.
    pub group_sids: Vec<Sid>,
}

type Result<T> = core::result::Result<T, DecodeError>;

fn invalid<T>(field: &'static str, reason: &'static str) -> Result<T> {
    Err(DecodeError::Invalid { field, reason })
}

/// NDR: every value is aligned to its size, counted from the stream's start.
struct Ndr<'a> {
    reader: Reader<'a>,
}

impl<'a> Ndr<'a> {
    /// Opens a serialised type, [MS-RPCE] 2.2.6.1 and 2.2.6.2.
    fn open(bytes: &'a [u8]) -> Result<Self> {
        let mut header = Reader::new(bytes);
        let version = header.u8("Version")?;
        let endianness = header.u8("Endianness")?;
        let length = header.u16("CommonHeaderLength")?;
        if (version, endianness, length) != (1, 0x10, 8) {
            return invalid("PAC logon information", "not little-endian NDR version 1");
        }
        header.skip(4, "Filler")?;
        let length = header.u32("ObjectBufferLength")?;
        header.skip(4, "Filler")?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let body = header.take(length, "KERB_VALIDATION_INFO")?;
        Ok(Self {
            reader: Reader::new(body),
        })
    }

    fn align(&mut self, to: usize) -> Result<()> {
        let over = self.reader.position() % to;
        if over == 0 {
            return Ok(());
        }
        self.reader.skip(to - over, "padding")
    }

    fn u16(&mut self, field: &'static str) -> Result<u16> {
        self.align(2)?;
        self.reader.u16(field)
    }

    fn u32(&mut self, field: &'static str) -> Result<u32> {
        self.align(4)?;
        self.reader.u32(field)
    }

    fn skip(&mut self, bytes: usize) -> Result<()> {
        self.align(4)?;
        self.reader.skip(bytes, "KERB_VALIDATION_INFO")
    }

    /// A pointer: whether what it points to follows.
    fn pointer(&mut self, field: &'static str) -> Result<bool> {
        Ok(self.u32(field)? != 0)
    }

    /// The fixed part of an RPC_UNICODE_STRING: Length in bytes, whether there is a buffer.
    fn string_head(&mut self, field: &'static str) -> Result<StringHead> {
        let length = self.u16(field)?;
        self.u16(field)?;
        Ok(StringHead {
            field,
            units: usize::from(length / 2),
            present: self.pointer(field)?,
        })
    }

    /// The buffer of one.
    fn string(&mut self, head: &StringHead) -> Result<String> {
        if !head.present {
            return Ok(String::new());
        }
        let maximum = self.count(head.field)?;
        let offset = self.count(head.field)?;
        let actual = self.count(head.field)?;
        if offset != 0 || actual > maximum || actual > MAX_NAME || actual < head.units {
            return invalid(head.field, "the counts of a string contradict one another");
        }
        let bytes = self.reader.take(actual * 2, head.field)?;
        Ok(utf16_lossy(bytes.get(..head.units * 2).unwrap_or_default()))
    }

    fn count(&mut self, field: &'static str) -> Result<usize> {
        let count = self.u32(field)?;
        usize::try_from(count).or_else(|_| invalid(field, "too many"))
    }

    /// The maximum count of an array, which must be the count given before.
    fn array(&mut self, expected: u32, field: &'static str) -> Result<usize> {
        let count = self.u32(field)?;
        if count != expected {
            return invalid(field, "two counts of one array");
        }
        match usize::try_from(count) {
            Ok(count) if count <= MAX_SIDS => Ok(count),
            _ => invalid(field, "too many"),
        }
    }

    /// RPC_SID behind a pointer.
    fn sid(&mut self, field: &'static str) -> Result<Sid> {
        let count = self.u32(field)?;
        let sid = Sid::read(&mut self.reader)?;
        if usize::try_from(count).ok() != Some(sid.sub_authorities().count()) {
            return invalid(field, "two counts of sub-authorities");
        }
        Ok(sid)
    }

    /// GROUP_MEMBERSHIP array: the relative ids.
    fn rids(&mut self, expected: u32, field: &'static str) -> Result<Vec<u32>> {
        let count = self.array(expected, field)?;
        let mut rids = Vec::new();
        for _ in 0..count {
            rids.push(self.u32(field)?);
            self.u32("Attributes")?;
        }
        Ok(rids)
    }
}

struct StringHead {
    field: &'static str,
    units: usize,
    present: bool,
}

impl LogonInfo {
    /// Decodes the buffer of type 1 of a PAC.
    ///
    /// # Errors
    /// When it is not one, or has no SID for its user.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut ndr = Ndr::open(bytes)?;
        if !ndr.pointer("KERB_VALIDATION_INFO")? {
            return invalid("KERB_VALIDATION_INFO", "there is none");
        }
        ndr.skip(6 * 8)?; // Six times.
        let name = ndr.string_head("EffectiveName")?;
        let full_name = ndr.string_head("FullName")?;
        let paths = [
            ndr.string_head("LogonScript")?,
            ndr.string_head("ProfilePath")?,
            ndr.string_head("HomeDirectory")?,
            ndr.string_head("HomeDirectoryDrive")?,
        ];
        ndr.u16("LogonCount")?;
        ndr.u16("BadPasswordCount")?;
        let user_id = ndr.u32("UserId")?;
        let primary_group = ndr.u32("PrimaryGroupId")?;
        let group_count = ndr.u32("GroupCount")?;
        let groups = ndr.pointer("GroupIds")?;
        let flags = ndr.u32("UserFlags")?;
        ndr.skip(16)?; // UserSessionKey, zero with Kerberos.
        let server = ndr.string_head("LogonServer")?;
        let domain = ndr.string_head("LogonDomainName")?;
        let domain_sid = ndr.pointer("LogonDomainId")?;
        ndr.skip(8)?; // Reserved1.
        ndr.u32("UserAccountControl")?;
        ndr.skip(4 + 8 + 8 + 4 + 4)?; // SubAuthStatus to Reserved3.
        let extra_count = ndr.u32("SidCount")?;
        let extra = ndr.pointer("ExtraSids")?;
        let resource_domain = ndr.pointer("ResourceGroupDomainSid")?;
        let resource_count = ndr.u32("ResourceGroupCount")?;
        let resource = ndr.pointer("ResourceGroupIds")?;

        // What the pointers point to, in their order.
        let name = ndr.string(&name)?;
        let full_name = ndr.string(&full_name)?;
        for path in &paths {
            ndr.string(path)?;
        }
        let mut rids = Vec::new();
        if groups {
            rids = ndr.rids(group_count, "GroupIds")?;
        }
        let server = ndr.string(&server)?;
        let domain = ndr.string(&domain)?;
        if !domain_sid {
            return invalid("LogonDomainId", "there is none");
        }
        let domain_sid = ndr.sid("LogonDomainId")?;
        let mut extra_sids = Vec::new();
        if extra {
            extra_sids = extra_sids_of(&mut ndr, extra_count)?;
        }
        let resource_domain = resource_domain
            .then(|| ndr.sid("ResourceGroupDomainSid"))
            .transpose()?;
        let mut resource_rids = Vec::new();
        if resource {
            resource_rids = ndr.rids(resource_count, "ResourceGroupIds")?;
        }

        let mut extra_sids = extra_sids.into_iter();
        let user_sid = if user_id == 0 {
            // Of another domain's user, the first extra SID is the user's own.
            match extra_sids.next() {
                Some(sid) if flags & LOGON_EXTRA_SIDS != 0 => sid,
                _ => return invalid("UserId", "there is no SID of the user"),
            }
        } else {
            domain_sid.with_rid(user_id)
        };
        let mut group_sids = Vec::new();
        let mut add = |sid: Sid| {
            if sid != user_sid && group_sids.len() < MAX_SIDS && !group_sids.contains(&sid) {
                group_sids.push(sid);
            }
        };
        if rids.contains(&primary_group) {
            add(domain_sid.with_rid(primary_group));
        }
        rids.iter().for_each(|rid| add(domain_sid.with_rid(*rid)));
        if flags & LOGON_EXTRA_SIDS != 0 {
            extra_sids.for_each(&mut add);
        }
        if let Some(resource_domain) = resource_domain
            && flags & LOGON_RESOURCE_GROUPS != 0
        {
            resource_rids
                .iter()
                .for_each(|rid| add(resource_domain.with_rid(*rid)));
        }
        Ok(Self {
            name,
            full_name,
            domain,
            server,
            domain_sid,
            user_sid,
            group_sids,
        })
    }
}

/// KERB_SID_AND_ATTRIBUTES array: pointers first, then what they point to.
fn extra_sids_of(ndr: &mut Ndr<'_>, expected: u32) -> Result<Vec<Sid>> {
    let count = ndr.array(expected, "ExtraSids")?;
    let mut present = 0;
    for _ in 0..count {
        present += usize::from(ndr.pointer("Sid")?);
        ndr.u32("Attributes")?;
    }
    (0..present).map(|_| ndr.sid("ExtraSids")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a Samba controller put into a ticket of alice, who is in `engineers` (1105)
    /// and through it in `everybody` (1106).
    const ALICE: &str = include_str!("../tests/data/pac-alice.hex");

    fn alice() -> Vec<u8> {
        hex::decode(ALICE.split_whitespace().collect::<String>()).unwrap()
    }

    /// The same with something changed.
    fn patched(change: impl FnOnce(&mut Vec<u8>)) -> Result<LogonInfo> {
        let mut bytes = alice();
        change(&mut bytes);
        LogonInfo::decode(&bytes)
    }

    #[test]
    fn a_ticket_of_a_real_controller() {
        let info = LogonInfo::decode(&alice()).unwrap();
        assert_eq!(info.name, "alice");
        assert_eq!(info.full_name, "Alice Example");
        assert_eq!(info.domain, "LAB");
        assert_eq!(info.server, "DC1");
        let domain = info.domain_sid.to_string();
        assert_eq!(domain, "S-1-5-21-1024801743-3229851377-1794812961");
        assert_eq!(info.user_sid.to_string(), format!("{domain}-1103"));
        let groups: Vec<String> = info.group_sids.iter().map(ToString::to_string).collect();
        assert_eq!(
            groups,
            [
                format!("{domain}-513"),
                format!("{domain}-1105"),
                format!("{domain}-1106"),
                "S-1-18-1".to_owned()
            ]
        );
    }

    /// Offset of UserId in the buffer above.
    const USER_ID: usize = 0x78;

    #[test]
    fn a_user_of_another_domain_is_the_first_extra_sid() {
        let info = patched(|b| b[USER_ID..USER_ID + 4].fill(0)).unwrap();
        assert_eq!(info.user_sid.to_string(), "S-1-18-1");
        assert!(!info.group_sids.contains(&info.user_sid));
        // Without the flag nobody's.
        let none = patched(|b| {
            b[USER_ID..USER_ID + 4].fill(0);
            b[USER_ID + 16..USER_ID + 20].fill(0);
        });
        assert!(none.is_err());
    }

    #[test]
    fn extra_sids_count_only_with_their_flag() {
        let info = patched(|b| b[USER_ID + 16..USER_ID + 20].fill(0)).unwrap();
        assert_eq!(info.group_sids.len(), 3);
    }

    #[test]
    fn contradictions_are_refused() {
        // GroupCount and the array's own count.
        assert!(patched(|b| b[USER_ID + 8] = 2).is_err());
        // More groups than any limit lets in.
        assert!(patched(|b| b[USER_ID + 8..USER_ID + 12].fill(0xFF)).is_err());
        // Another byte order, a cut buffer.
        assert!(patched(|b| b[1] = 0).is_err());
        assert!(patched(|b| b.truncate(b.len() - 1)).is_err());
        // A name whose length is beyond its buffer.
        assert!(patched(|b| b[0x44] = 0x40).is_err());
    }

    proptest! {
        #[test]
        fn damaged_buffers_never_panic(
            changes in prop::collection::vec((0usize..472, any::<u8>()), 0..6),
            cut in 0usize..=472,
        ) {
            let mut bytes = alice();
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            let _ = LogonInfo::decode(bytes.get(..cut).unwrap_or(&bytes));
        }
    }
}
