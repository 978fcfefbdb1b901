//! SECURITY_DESCRIPTOR, ACL and ACE in their self-relative form, [MS-DTYP] 2.4.4 to 2.4.6.

use crate::FsError;

bitflags::bitflags! {
    /// [MS-DTYP] 2.4.6 Control.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Control: u16 {
        /// OD.
        const OWNER_DEFAULTED = 0x1;
        /// GD.
        const GROUP_DEFAULTED = 0x2;
        /// DP.
        const DACL_PRESENT = 0x4;
        /// DD.
        const DACL_DEFAULTED = 0x8;
        /// SP.
        const SACL_PRESENT = 0x10;
        /// SD.
        const SACL_DEFAULTED = 0x20;
        /// DC: compute inheritance.
        const DACL_AUTO_INHERIT_REQ = 0x100;
        /// SC: compute inheritance.
        const SACL_AUTO_INHERIT_REQ = 0x200;
        /// DI.
        const DACL_AUTO_INHERITED = 0x400;
        /// SI.
        const SACL_AUTO_INHERITED = 0x800;
        /// PD.
        const DACL_PROTECTED = 0x1000;
        /// PS.
        const SACL_PROTECTED = 0x2000;
        /// SR.
        const SELF_RELATIVE = 0x8000;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// One access control entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ace {
    /// AceType, [MS-DTYP] 2.4.4.1.
    pub kind: u8,
    /// AceFlags.
    pub flags: u8,
    /// Mask.
    pub mask: u32,
    /// SID in its bytes; empty for kinds this server does not know.
    pub sid: Vec<u8>,
    /// Bytes behind the header (or behind the SID) kept as they came.
    pub rest: Vec<u8>,
}

impl Ace {
    /// ACCESS_ALLOWED_ACE_TYPE.
    pub const ALLOWED: u8 = 0;
    /// ACCESS_DENIED_ACE_TYPE.
    pub const DENIED: u8 = 1;
    /// SYSTEM_AUDIT_ACE_TYPE.
    pub const AUDIT: u8 = 2;
    /// SYSTEM_MANDATORY_LABEL_ACE_TYPE.
    pub const LABEL: u8 = 0x11;

    /// OBJECT_INHERIT_ACE.
    pub const OBJECT_INHERIT: u8 = 0x1;
    /// CONTAINER_INHERIT_ACE.
    pub const CONTAINER_INHERIT: u8 = 0x2;
    /// NO_PROPAGATE_INHERIT_ACE.
    pub const NO_PROPAGATE: u8 = 0x4;
    /// INHERIT_ONLY_ACE.
    pub const INHERIT_ONLY: u8 = 0x8;
    /// INHERITED_ACE.
    pub const INHERITED: u8 = 0x10;

    /// An entry that allows.
    pub fn allow(sid: &[u8], mask: u32, flags: u8) -> Self {
        Self {
            kind: Self::ALLOWED,
            flags,
            mask,
            sid: sid.to_vec(),
            rest: Vec::new(),
        }
    }

    fn has_sid(kind: u8) -> bool {
        matches!(kind, 0..=3 | 0x11 | 0x12 | 0x13)
    }
}

/// An access control list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    /// AclRevision: 2, or 4 with object entries.
    pub revision: u8,
    /// Entries in order.
    pub aces: Vec<Ace>,
}

impl Acl {
    /// A list of revision 2.
    pub fn new(aces: Vec<Ace>) -> Self {
        Self { revision: 2, aces }
    }
}

/// A security descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecurityDescriptor {
    /// Control bits; those that say what is present are set when encoding.
    pub control: Control,
    /// Owner's SID.
    pub owner: Option<Vec<u8>>,
    /// Primary group's SID.
    pub group: Option<Vec<u8>>,
    /// System list.
    pub sacl: Option<Acl>,
    /// Discretionary list; with DACL_PRESENT and `None` it is a NULL list, which allows all.
    pub dacl: Option<Acl>,
}

impl SecurityDescriptor {
    /// Takes a self-relative descriptor apart.
    ///
    /// # Errors
    /// `InvalidSecurityDescriptor`.
    pub fn parse(bytes: &[u8]) -> Result<Self, FsError> {
        const BAD: FsError = FsError::InvalidSecurityDescriptor;
        if bytes.first() != Some(&1) {
            return Err(BAD);
        }
        let control = Control::from_bits_retain(le16(bytes, 2).ok_or(BAD)?);
        if !control.contains(Control::SELF_RELATIVE) {
            return Err(BAD);
        }
        let offset = |at: usize| {
            le32(bytes, at)
                .and_then(|o| usize::try_from(o).ok())
                .ok_or(BAD)
        };
        let sid = |at: usize| -> Result<Option<Vec<u8>>, FsError> {
            match offset(at)? {
                0 => Ok(None),
                o => Ok(Some(
                    sid_at(bytes.get(o..).ok_or(BAD)?).ok_or(BAD)?.to_vec(),
                )),
            }
        };
        let acl = |present: Control, at: usize| -> Result<Option<Acl>, FsError> {
            if !control.contains(present) {
                return Ok(None);
            }
            match offset(at)? {
                0 => Ok(None),
                o => parse_acl(bytes.get(o..).ok_or(BAD)?).map(Some),
            }
        };
        Ok(Self {
            control,
            owner: sid(4)?,
            group: sid(8)?,
            sacl: acl(Control::SACL_PRESENT, 12)?,
            dacl: acl(Control::DACL_PRESENT, 16)?,
        })
    }

    /// Whether there is a list that restricts anything.
    pub fn is_null_dacl(&self) -> bool {
        self.dacl.is_none()
    }

    /// The self-relative form: header, SACL, DACL, owner, group.
    pub fn encode(&self) -> Vec<u8> {
        let mut control = self.control | Control::SELF_RELATIVE;
        control.set(Control::SACL_PRESENT, self.sacl.is_some());
        if self.dacl.is_some() {
            control.insert(Control::DACL_PRESENT);
        }
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&[1, 0]);
        out.extend_from_slice(&control.bits().to_le_bytes());
        out.extend_from_slice(&[0; 16]);
        let place = |out: &mut Vec<u8>, at: usize, body: Option<Vec<u8>>| {
            let Some(body) = body else { return };
            let offset = u32::try_from(out.len()).unwrap_or(0).to_le_bytes();
            if let Some(slot) = out.get_mut(at..at + 4) {
                slot.copy_from_slice(&offset);
            }
            out.extend_from_slice(&body);
        };
        place(&mut out, 4, self.owner.clone());
        place(&mut out, 8, self.group.clone());
        place(&mut out, 12, self.sacl.as_ref().map(encode_acl));
        place(&mut out, 16, self.dacl.as_ref().map(encode_acl));
        out
    }
}

fn le16(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(
        b.get(at..at.checked_add(2)?)?.try_into().ok()?,
    ))
}

fn le32(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(
        b.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

/// The SID at the start of `bytes`.
fn sid_at(bytes: &[u8]) -> Option<&[u8]> {
    let (&revision, &count) = (bytes.first()?, bytes.get(1)?);
    if revision != 1 || count > 15 {
        return None;
    }
    bytes.get(..8 + 4 * usize::from(count))
}

fn parse_acl(bytes: &[u8]) -> Result<Acl, FsError> {
    const BAD: FsError = FsError::InvalidSecurityDescriptor;
    let revision = *bytes.first().ok_or(BAD)?;
    let size = usize::from(le16(bytes, 2).ok_or(BAD)?);
    let count = le16(bytes, 4).ok_or(BAD)?;
    if !matches!(revision, 2 | 4) || size < 8 {
        return Err(BAD);
    }
    let body = bytes.get(..size).ok_or(BAD)?;
    let mut at = 8usize;
    let mut aces = Vec::with_capacity(usize::from(count.min(64)));
    for _ in 0..count {
        let head = body.get(at..).ok_or(BAD)?;
        let (kind, flags) = (*head.first().ok_or(BAD)?, *head.get(1).ok_or(BAD)?);
        let length = usize::from(le16(head, 2).ok_or(BAD)?);
        if length < 8 {
            return Err(BAD);
        }
        let ace = head.get(..length).ok_or(BAD)?;
        let mask = le32(ace, 4).ok_or(BAD)?;
        let tail = ace.get(8..).ok_or(BAD)?;
        let (sid, rest) = if Ace::has_sid(kind) {
            let sid = sid_at(tail).ok_or(BAD)?;
            (
                sid.to_vec(),
                tail.get(sid.len()..).unwrap_or_default().to_vec(),
            )
        } else {
            (Vec::new(), tail.to_vec())
        };
        aces.push(Ace {
            kind,
            flags,
            mask,
            sid,
            rest,
        });
        at += length;
    }
    Ok(Acl { revision, aces })
}

fn encode_acl(acl: &Acl) -> Vec<u8> {
    let mut out = vec![acl.revision, 0, 0, 0];
    out.extend_from_slice(
        &u16::try_from(acl.aces.len())
            .unwrap_or(u16::MAX)
            .to_le_bytes(),
    );
    out.extend_from_slice(&[0, 0]);
    for ace in &acl.aces {
        let length = 8 + ace.sid.len() + ace.rest.len();
        out.extend_from_slice(&[ace.kind, ace.flags]);
        out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(&ace.mask.to_le_bytes());
        out.extend_from_slice(&ace.sid);
        out.extend_from_slice(&ace.rest);
    }
    let size = u16::try_from(out.len()).unwrap_or(u16::MAX).to_le_bytes();
    if let Some(slot) = out.get_mut(2..4) {
        slot.copy_from_slice(&size);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::sids;

    #[test]
    fn there_and_back() {
        let sd = SecurityDescriptor {
            control: Control::DACL_PRESENT | Control::SELF_RELATIVE | Control::DACL_PROTECTED,
            owner: Some(sids::ADMINISTRATORS.to_vec()),
            group: Some(sids::USERS.to_vec()),
            sacl: None,
            dacl: Some(Acl::new(vec![
                Ace::allow(sids::EVERYONE, 0x1F_01FF, 3),
                Ace {
                    kind: 5,
                    flags: 0,
                    mask: 1,
                    sid: vec![],
                    rest: vec![7; 12],
                },
            ])),
        };
        assert_eq!(SecurityDescriptor::parse(&sd.encode()).unwrap(), sd);
    }

    #[test]
    fn cut_short_is_refused() {
        let whole = SecurityDescriptor {
            owner: Some(sids::EVERYONE.to_vec()),
            dacl: Some(Acl::new(vec![Ace::allow(sids::EVERYONE, 1, 0)])),
            ..SecurityDescriptor::default()
        }
        .encode();
        for n in 0..whole.len() {
            assert!(SecurityDescriptor::parse(&whole[..n]).is_err(), "{n}");
        }
        assert!(SecurityDescriptor::parse(&whole).is_ok());
    }
}
