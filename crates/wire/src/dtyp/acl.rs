//! [MS-DTYP] 2.4.4 ACE and 2.4.5 ACL.

use super::{Guid, Sid};
use crate::cursor::{DecodeError, Reader, Result, Writer};
use crate::fscc::AccessMask;

/// ACE types, [MS-DTYP] 2.4.4.1.
#[allow(missing_docs, reason = "the names are the specification's")]
pub mod ace_type {
    pub const ACCESS_ALLOWED: u8 = 0x00;
    pub const ACCESS_DENIED: u8 = 0x01;
    pub const SYSTEM_AUDIT: u8 = 0x02;
    pub const SYSTEM_ALARM: u8 = 0x03;
    pub const ACCESS_ALLOWED_OBJECT: u8 = 0x05;
    pub const ACCESS_DENIED_OBJECT: u8 = 0x06;
    pub const SYSTEM_AUDIT_OBJECT: u8 = 0x07;
    pub const ACCESS_ALLOWED_CALLBACK: u8 = 0x09;
    pub const ACCESS_DENIED_CALLBACK: u8 = 0x0A;
    pub const ACCESS_ALLOWED_CALLBACK_OBJECT: u8 = 0x0B;
    pub const ACCESS_DENIED_CALLBACK_OBJECT: u8 = 0x0C;
    pub const SYSTEM_AUDIT_CALLBACK: u8 = 0x0D;
    pub const SYSTEM_AUDIT_CALLBACK_OBJECT: u8 = 0x0F;
    pub const SYSTEM_MANDATORY_LABEL: u8 = 0x11;
    pub const SYSTEM_RESOURCE_ATTRIBUTE: u8 = 0x12;
    pub const SYSTEM_SCOPED_POLICY_ID: u8 = 0x13;
}

bitflags::bitflags! {
    /// [MS-DTYP] 2.4.4.1 AceFlags.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct AceFlags: u8 {
        /// OBJECT_INHERIT_ACE.
        const OBJECT_INHERIT = 0x01;
        /// CONTAINER_INHERIT_ACE.
        const CONTAINER_INHERIT = 0x02;
        /// NO_PROPAGATE_INHERIT_ACE.
        const NO_PROPAGATE_INHERIT = 0x04;
        /// INHERIT_ONLY_ACE.
        const INHERIT_ONLY = 0x08;
        /// INHERITED_ACE.
        const INHERITED = 0x10;
        /// SUCCESSFUL_ACCESS_ACE_FLAG.
        const SUCCESSFUL_ACCESS = 0x40;
        /// FAILED_ACCESS_ACE_FLAG.
        const FAILED_ACCESS = 0x80;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// [MS-DTYP] 2.4.4 ACE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ace {
    /// AceType, see [`ace_type`].
    pub kind: u8,
    /// AceFlags.
    pub flags: AceFlags,
    /// What stands behind the header.
    pub body: AceBody,
}

/// What stands behind an ACE's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AceBody {
    /// A mask and a SID.
    Plain {
        /// Mask.
        mask: AccessMask,
        /// Sid.
        sid: Sid,
        /// ApplicationData behind the SID; kept as it is.
        data: Vec<u8>,
    },
    /// A mask, object types and a SID.
    Object {
        /// Mask.
        mask: AccessMask,
        /// ObjectType.
        object_type: Option<Guid>,
        /// InheritedObjectType.
        inherited_object_type: Option<Guid>,
        /// Sid.
        sid: Sid,
        /// ApplicationData.
        data: Vec<u8>,
    },
    /// A type this table does not have; kept as it is.
    Other(Vec<u8>),
}

impl Ace {
    /// ACCESS_ALLOWED_ACE.
    pub fn allow(mask: AccessMask, sid: Sid, flags: AceFlags) -> Self {
        let body = AceBody::Plain {
            mask,
            sid,
            data: Vec::new(),
        };
        Self {
            kind: ace_type::ACCESS_ALLOWED,
            flags,
            body,
        }
    }

    /// ACCESS_DENIED_ACE.
    pub fn deny(mask: AccessMask, sid: Sid, flags: AceFlags) -> Self {
        let body = AceBody::Plain {
            mask,
            sid,
            data: Vec::new(),
        };
        Self {
            kind: ace_type::ACCESS_DENIED,
            flags,
            body,
        }
    }

    /// Its mask, when it has one.
    pub fn mask(&self) -> Option<AccessMask> {
        match &self.body {
            AceBody::Plain { mask, .. } | AceBody::Object { mask, .. } => Some(*mask),
            AceBody::Other(_) => None,
        }
    }

    /// Its SID, when it has one.
    pub fn sid(&self) -> Option<&Sid> {
        match &self.body {
            AceBody::Plain { sid, .. } | AceBody::Object { sid, .. } => Some(sid),
            AceBody::Other(_) => None,
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self> {
        use ace_type as t;
        let kind = r.u8("AceType")?;
        let flags = AceFlags::from_bits_retain(r.u8("AceFlags")?);
        let size = usize::from(r.u16("AceSize")?);
        // [MS-DTYP] 2.4.4.1.
        if !size.is_multiple_of(4) {
            return Err(DecodeError::Invalid {
                field: "AceSize",
                reason: "is not a multiple of 4",
            });
        }
        let invalid = DecodeError::Invalid {
            field: "AceSize",
            reason: "is smaller than a header",
        };
        let body = r.take(size.checked_sub(4).ok_or(invalid)?, "ACE")?;
        let mut b = Reader::new(body);
        let body = match kind {
            t::ACCESS_ALLOWED
            | t::ACCESS_DENIED
            | t::SYSTEM_AUDIT
            | t::SYSTEM_ALARM
            | t::ACCESS_ALLOWED_CALLBACK
            | t::ACCESS_DENIED_CALLBACK
            | t::SYSTEM_AUDIT_CALLBACK
            | t::SYSTEM_MANDATORY_LABEL
            | t::SYSTEM_RESOURCE_ATTRIBUTE
            | t::SYSTEM_SCOPED_POLICY_ID => {
                let mask = AccessMask::from_bits_retain(b.u32("Mask")?);
                let sid = Sid::read(&mut b)?;
                AceBody::Plain {
                    mask,
                    sid,
                    data: b.rest().to_vec(),
                }
            }
            t::ACCESS_ALLOWED_OBJECT
            | t::ACCESS_DENIED_OBJECT
            | t::SYSTEM_AUDIT_OBJECT
            | t::ACCESS_ALLOWED_CALLBACK_OBJECT
            | t::ACCESS_DENIED_CALLBACK_OBJECT
            | t::SYSTEM_AUDIT_CALLBACK_OBJECT => {
                let mask = AccessMask::from_bits_retain(b.u32("Mask")?);
                let present = b.u32("Flags")?;
                let mut guid = |bit: u32| -> Result<Option<Guid>> {
                    if present & bit == 0 {
                        return Ok(None);
                    }
                    Ok(Some(Guid(b.array("ObjectType")?)))
                };
                let object_type = guid(1)?;
                let inherited_object_type = guid(2)?;
                let sid = Sid::read(&mut b)?;
                let data = b.rest().to_vec();
                AceBody::Object {
                    mask,
                    object_type,
                    inherited_object_type,
                    sid,
                    data,
                }
            }
            _ => AceBody::Other(body.to_vec()),
        };
        Ok(Self { kind, flags, body })
    }

    fn encode(&self, w: &mut Writer<'_>) {
        let start = w.len();
        w.u8(self.kind);
        w.u8(self.flags.bits());
        w.u16(0);
        match &self.body {
            AceBody::Plain { mask, sid, data } => {
                w.u32(mask.bits());
                sid.encode(w);
                w.bytes(data);
            }
            AceBody::Object {
                mask,
                object_type,
                inherited_object_type,
                sid,
                data,
            } => {
                w.u32(mask.bits());
                let present = u32::from(object_type.is_some())
                    | u32::from(inherited_object_type.is_some()) << 1;
                w.u32(present);
                for guid in [object_type, inherited_object_type].into_iter().flatten() {
                    w.bytes(&guid.0);
                }
                sid.encode(w);
                w.bytes(data);
            }
            AceBody::Other(data) => w.bytes(data),
        }
        while !(w.len() - start).is_multiple_of(4) {
            w.u8(0);
        }
        let size = u16::try_from(w.len() - start).unwrap_or(u16::MAX);
        w.patch_u16(start + 2, size);
    }
}

/// [MS-DTYP] 2.4.5 ACL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    /// AclRevision: 2, or 4 with object ACEs.
    pub revision: u8,
    /// Entries, in order.
    pub aces: Vec<Ace>,
}

impl Default for Acl {
    fn default() -> Self {
        Self {
            revision: 2,
            aces: Vec::new(),
        }
    }
}

impl Acl {
    /// Reads it from the start of `bytes`; what is behind AclSize is not looked at.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let revision = r.u8("AclRevision")?;
        r.skip(1, "Sbz1")?;
        let size = usize::from(r.u16("AclSize")?);
        let count = usize::from(r.u16("AceCount")?);
        if !matches!(revision, 2..=4) {
            return Err(DecodeError::Invalid {
                field: "AclRevision",
                reason: "is not 2, 3 or 4",
            });
        }
        let mut r = Reader::new(r.at(0, size, "ACL")?);
        r.skip(8, "ACL")?;
        let mut aces = Vec::with_capacity(count.min(size / 4));
        for _ in 0..count {
            aces.push(Ace::read(&mut r)?);
        }
        Ok(Self { revision, aces })
    }

    /// Appends it.
    pub fn encode(&self, w: &mut Writer<'_>) {
        let start = w.len();
        w.u8(self.revision);
        w.u8(0);
        w.u16(0);
        w.u16(u16::try_from(self.aces.len()).unwrap_or(u16::MAX));
        w.u16(0);
        for ace in &self.aces {
            ace.encode(w);
        }
        let size = u16::try_from(w.len() - start).unwrap_or(u16::MAX);
        w.patch_u16(start + 2, size);
    }
}
