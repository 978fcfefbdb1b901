//! [MS-DTYP] 2.4.6 SECURITY_DESCRIPTOR, self-relative.

use super::{Acl, Sid};
use crate::cursor::{DecodeError, Reader, Result, Writer};

bitflags::bitflags! {
    /// [MS-DTYP] 2.4.6 Control.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct SdControl: u16 {
        /// OD.
        const OWNER_DEFAULTED = 0x0001;
        /// GD.
        const GROUP_DEFAULTED = 0x0002;
        /// DP.
        const DACL_PRESENT = 0x0004;
        /// DD.
        const DACL_DEFAULTED = 0x0008;
        /// SP.
        const SACL_PRESENT = 0x0010;
        /// SD.
        const SACL_DEFAULTED = 0x0020;
        /// DT.
        const DACL_TRUSTED = 0x0040;
        /// SS.
        const SERVER_SECURITY = 0x0080;
        /// DC.
        const DACL_AUTO_INHERIT_REQ = 0x0100;
        /// SC.
        const SACL_AUTO_INHERIT_REQ = 0x0200;
        /// DI.
        const DACL_AUTO_INHERITED = 0x0400;
        /// SI.
        const SACL_AUTO_INHERITED = 0x0800;
        /// PD.
        const DACL_PROTECTED = 0x1000;
        /// PS.
        const SACL_PROTECTED = 0x2000;
        /// RM.
        const RM_CONTROL_VALID = 0x4000;
        /// SR.
        const SELF_RELATIVE = 0x8000;
    }

    /// [MS-DTYP] 2.4.7 SECURITY_INFORMATION.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct SecurityInfo: u32 {
        /// OWNER_SECURITY_INFORMATION.
        const OWNER = 0x0000_0001;
        /// GROUP_SECURITY_INFORMATION.
        const GROUP = 0x0000_0002;
        /// DACL_SECURITY_INFORMATION.
        const DACL = 0x0000_0004;
        /// SACL_SECURITY_INFORMATION.
        const SACL = 0x0000_0008;
        /// LABEL_SECURITY_INFORMATION.
        const LABEL = 0x0000_0010;
        /// ATTRIBUTE_SECURITY_INFORMATION.
        const ATTRIBUTE = 0x0000_0020;
        /// SCOPE_SECURITY_INFORMATION.
        const SCOPE = 0x0000_0040;
        /// BACKUP_SECURITY_INFORMATION.
        const BACKUP = 0x0001_0000;
        /// UNPROTECTED_SACL_SECURITY_INFORMATION.
        const UNPROTECTED_SACL = 0x1000_0000;
        /// UNPROTECTED_DACL_SECURITY_INFORMATION.
        const UNPROTECTED_DACL = 0x2000_0000;
        /// PROTECTED_SACL_SECURITY_INFORMATION.
        const PROTECTED_SACL = 0x4000_0000;
        /// PROTECTED_DACL_SECURITY_INFORMATION.
        const PROTECTED_DACL = 0x8000_0000;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// [MS-DTYP] 2.4.6 SECURITY_DESCRIPTOR.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecurityDescriptor {
    /// Control; [`SdControl::SELF_RELATIVE`] and the PRESENT bits of ACLs that
    /// are there are set when it is encoded.
    pub control: SdControl,
    /// Owner.
    pub owner: Option<Sid>,
    /// Group.
    pub group: Option<Sid>,
    /// SACL.
    pub sacl: Option<Acl>,
    /// DACL. `None` with [`SdControl::DACL_PRESENT`] is the NULL DACL, which
    /// lets everybody do everything.
    pub dacl: Option<Acl>,
}

impl SecurityDescriptor {
    /// Reads a self-relative descriptor.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        if r.u8("SD.Revision")? != 1 {
            return Err(DecodeError::Invalid {
                field: "SD.Revision",
                reason: "is not 1",
            });
        }
        r.skip(1, "Sbz1")?;
        let control = SdControl::from_bits_retain(r.u16("Control")?);
        if !control.contains(SdControl::SELF_RELATIVE) {
            return Err(DecodeError::Invalid {
                field: "Control",
                reason: "is not self-relative",
            });
        }
        let mut offset = |name| -> Result<Option<usize>> {
            let v = r.u32(name)?;
            if v != 0 && v < 20 {
                return Err(DecodeError::Invalid {
                    field: name,
                    reason: "lies in the header",
                });
            }
            Ok((v != 0).then(|| usize::try_from(v).unwrap_or(usize::MAX)))
        };
        let owner = offset("OffsetOwner")?;
        let group = offset("OffsetGroup")?;
        let sacl = offset("OffsetSacl")?;
        let dacl = offset("OffsetDacl")?;
        let from = |at: usize, name| {
            let short = DecodeError::Short {
                field: name,
                needed: at,
                left: bytes.len(),
            };
            bytes.get(at..).ok_or(short)
        };
        let sid = |at: Option<usize>, name| -> Result<Option<Sid>> {
            at.map(|at| Sid::read(&mut Reader::new(from(at, name)?)))
                .transpose()
        };
        let acl = |at: Option<usize>, present: SdControl, name| -> Result<Option<Acl>> {
            match at.filter(|_| control.contains(present)) {
                Some(at) => Acl::decode(from(at, name)?).map(Some),
                None => Ok(None),
            }
        };
        Ok(Self {
            control,
            owner: sid(owner, "Owner")?,
            group: sid(group, "Group")?,
            sacl: acl(sacl, SdControl::SACL_PRESENT, "Sacl")?,
            dacl: acl(dacl, SdControl::DACL_PRESENT, "Dacl")?,
        })
    }

    /// Appends it in canonical order: owner, group, SACL, DACL.
    pub fn encode(&self, w: &mut Writer<'_>) {
        let start = w.len();
        let mut control = self.control | SdControl::SELF_RELATIVE;
        if self.sacl.is_some() {
            control |= SdControl::SACL_PRESENT;
        }
        if self.dacl.is_some() {
            control |= SdControl::DACL_PRESENT;
        }
        w.u8(1);
        w.u8(0);
        w.u16(control.bits());
        w.zeros(16);
        let mark = |w: &mut Writer<'_>, field: usize| {
            let at = u32::try_from(w.len() - start).unwrap_or(u32::MAX);
            w.patch_u32(start + field, at);
        };
        if let Some(sid) = &self.owner {
            mark(w, 4);
            sid.encode(w);
        }
        if let Some(sid) = &self.group {
            mark(w, 8);
            sid.encode(w);
        }
        if let Some(acl) = &self.sacl {
            mark(w, 12);
            acl.encode(w);
        }
        if let Some(acl) = &self.dacl {
            mark(w, 16);
            acl.encode(w);
        }
    }

    /// The bytes of [`SecurityDescriptor::encode`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut Writer::new(&mut out));
        out
    }
}
