//! [MS-SMB2] 2.2.13.2 CREATE_CONTEXT, requests and responses.

use std::borrow::Cow;

use super::layout::{len16, len32, size};
use super::types::FileId;
use crate::cursor::{DecodeError, Reader, Result, Writer};
use crate::dtyp::{FileTime, Guid};
use crate::fscc::{AccessMask, LeaseState};
use crate::status::NtStatus;

/// Most contexts taken from one message.
pub const MAX_CREATE_CONTEXTS: usize = 64;

/// Names of contexts.
pub mod context_name {
    /// SMB2_CREATE_EA_BUFFER.
    pub const EXT_A: &[u8] = b"ExtA";
    /// SMB2_CREATE_SD_BUFFER.
    pub const SEC_D: &[u8] = b"SecD";
    /// SMB2_CREATE_DURABLE_HANDLE_REQUEST.
    pub const DHNQ: &[u8] = b"DHnQ";
    /// SMB2_CREATE_DURABLE_HANDLE_RECONNECT.
    pub const DHNC: &[u8] = b"DHnC";
    /// SMB2_CREATE_ALLOCATION_SIZE.
    pub const AL_SI: &[u8] = b"AlSi";
    /// SMB2_CREATE_QUERY_MAXIMAL_ACCESS_REQUEST.
    pub const MX_AC: &[u8] = b"MxAc";
    /// SMB2_CREATE_TIMEWARP_TOKEN.
    pub const T_WRP: &[u8] = b"TWrp";
    /// SMB2_CREATE_QUERY_ON_DISK_ID.
    pub const Q_FID: &[u8] = b"QFid";
    /// SMB2_CREATE_REQUEST_LEASE, both versions.
    pub const RQ_LS: &[u8] = b"RqLs";
    /// SMB2_CREATE_DURABLE_HANDLE_REQUEST_V2.
    pub const DH2Q: &[u8] = b"DH2Q";
    /// SMB2_CREATE_DURABLE_HANDLE_RECONNECT_V2.
    pub const DH2C: &[u8] = b"DH2C";
    /// Apple's extension.
    pub const AAPL: &[u8] = b"AAPL";
    /// SMB2_CREATE_APP_INSTANCE_ID.
    pub const APP_INSTANCE_ID: &[u8] =
        b"\x45\xBC\xA6\x6A\xEF\xA7\xF7\x4A\x90\x08\xFA\x46\x2E\x14\x4D\x74";
    /// SMB2_CREATE_APP_INSTANCE_VERSION.
    pub const APP_INSTANCE_VERSION: &[u8] =
        b"\xB9\x82\xD0\xB7\x3B\x56\x07\x4F\xA0\x7B\x52\x4A\x81\x16\xA0\x10";
    /// SVHDX_OPEN_DEVICE_CONTEXT.
    pub const SVHDX: &[u8] = b"\x9C\xCB\xCF\x9E\x04\xC1\xE6\x43\x98\x0E\x15\x8D\xA1\xF6\xEC\x83";
    /// POSIX extensions.
    pub const POSIX: &[u8] = b"\x93\xAD\x25\x50\x9C\xB4\x11\xE7\xB4\x23\x83\xDE\x96\x8B\xCD\x7C";
}

/// One context as on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateContext<'a> {
    /// Name: four characters or 16 bytes.
    pub name: &'a [u8],
    /// Data.
    pub data: Cow<'a, [u8]>,
}

impl CreateContext<'_> {
    /// Appends contexts, each at a multiple of 8, nothing behind the last.
    pub fn encode_list(contexts: &[CreateContext<'_>], w: &mut Writer<'_>) {
        let mut previous: Option<usize> = None;
        for context in contexts {
            if let Some(start) = previous {
                w.align(8);
                let next = u32::try_from(w.len() - start).unwrap_or(u32::MAX);
                w.patch_u32(start, next);
            }
            previous = Some(w.len());
            let name_len = len16(context.name);
            let data_at = 16usize
                .saturating_add(context.name.len())
                .next_multiple_of(8);
            w.u32(0);
            w.u16(16);
            w.u16(name_len);
            w.u16(0);
            if context.data.is_empty() {
                w.u16(0);
            } else {
                w.u16(u16::try_from(data_at).unwrap_or(u16::MAX));
            }
            w.u32(len32(&context.data));
            w.bytes(context.name);
            if !context.data.is_empty() || context.name.len() % 8 != 0 {
                w.zeros(data_at - 16 - context.name.len());
            }
            w.bytes(&context.data);
        }
    }
}

/// Walks a list of contexts; refuses what overlaps or leads outside.
#[derive(Debug, Clone)]
pub struct ContextList<'a> {
    rest: Option<&'a [u8]>,
    left: usize,
}

impl<'a> ContextList<'a> {
    /// The contexts of `list`; none when it is empty.
    pub fn new(list: &'a [u8]) -> Self {
        Self {
            rest: Some(list).filter(|l| !l.is_empty()),
            left: MAX_CREATE_CONTEXTS,
        }
    }

    fn step(&mut self, all: &'a [u8]) -> Result<CreateContext<'a>> {
        let invalid = |field, reason| DecodeError::Invalid { field, reason };
        self.left = self
            .left
            .checked_sub(1)
            .ok_or(invalid("CreateContexts", "too many contexts"))?;
        let next = size(Reader::new(all).u32("Next")?);
        let mut own = all;
        if next != 0 {
            if !next.is_multiple_of(8) {
                return Err(invalid("Next", "is not a multiple of 8"));
            }
            own = Reader::new(all).at(0, next, "Next")?;
            self.rest = all.get(next..).filter(|r| !r.is_empty());
            if self.rest.is_none() {
                return Err(invalid("Next", "leads to nothing"));
            }
        }
        let mut r = Reader::new(own);
        r.skip(4, "Next")?;
        let name_at = usize::from(r.u16("NameOffset")?);
        let name_len = usize::from(r.u16("NameLength")?);
        r.skip(2, "Reserved")?;
        let data_at = usize::from(r.u16("DataOffset")?);
        let data_len = size(r.u32("DataLength")?);
        if name_at < 16 || name_len == 0 {
            return Err(invalid("NameOffset", "no name, or inside the fixed part"));
        }
        let name = r.at(name_at, name_len, "Name")?;
        let data = if data_len == 0 {
            &[]
        } else {
            if data_at < name_at.saturating_add(name_len) {
                return Err(invalid("DataOffset", "lies inside the name"));
            }
            r.at(data_at, data_len, "Data")?
        };
        Ok(CreateContext {
            name,
            data: Cow::Borrowed(data),
        })
    }
}

impl<'a> Iterator for ContextList<'a> {
    type Item = Result<CreateContext<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let all = self.rest.take()?;
        let step = self.step(all);
        if step.is_err() {
            self.rest = None;
        }
        Some(step)
    }
}

bitflags::bitflags! {
    /// [MS-SMB2] 2.2.13.2.10 and 2.2.14.2.11 lease Flags.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct LeaseFlags: u32 {
        /// SMB2_LEASE_FLAG_BREAK_IN_PROGRESS.
        const BREAK_IN_PROGRESS = 2;
        /// SMB2_LEASE_FLAG_PARENT_LEASE_KEY_SET.
        const PARENT_LEASE_KEY_SET = 4;
        /// Bits without a name are kept.
        const _ = !0;
    }

    /// [MS-SMB2] 2.2.13.2.11 durable-handle Flags.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct DurableFlags: u32 {
        /// SMB2_DHANDLE_FLAG_PERSISTENT.
        const PERSISTENT = 2;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// [MS-SMB2] 2.2.13.2.8 and .10 a lease, asked for or granted (2.2.14.2.10, .11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseContext {
    /// LeaseKey.
    pub key: [u8; 16],
    /// LeaseState.
    pub state: LeaseState,
    /// Flags.
    pub flags: LeaseFlags,
    /// Version 2: ParentLeaseKey and Epoch.
    pub v2: Option<LeaseV2>,
}

/// What version 2 adds to a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeaseV2 {
    /// ParentLeaseKey; counts with [`LeaseFlags::PARENT_LEASE_KEY_SET`].
    pub parent_key: [u8; 16],
    /// Epoch.
    pub epoch: u16,
}

impl LeaseContext {
    fn decode(data: &[u8]) -> Result<Self> {
        let mut r = Reader::new(data);
        let key = r.array("LeaseKey")?;
        let state = LeaseState::from_bits_retain(r.u32("LeaseState")?);
        let flags = LeaseFlags::from_bits_retain(r.u32("LeaseFlags")?);
        r.skip(8, "LeaseDuration")?;
        let v2 = match data.len() {
            32 => None,
            52 => Some(LeaseV2 {
                parent_key: r.array("ParentLeaseKey")?,
                epoch: r.u16("Epoch")?,
            }),
            _ => {
                return Err(DecodeError::Invalid {
                    field: "RqLs",
                    reason: "wrong length",
                });
            }
        };
        Ok(Self {
            key,
            state,
            flags,
            v2,
        })
    }

    fn encode(&self, w: &mut Writer<'_>) {
        w.bytes(&self.key);
        w.u32(self.state.bits());
        w.u32(self.flags.bits());
        w.u64(0);
        if let Some(v2) = &self.v2 {
            w.bytes(&v2.parent_key);
            w.u16(v2.epoch);
            w.u16(0);
        }
    }
}

/// What a context of a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestContext<'a> {
    /// 2.2.13.2.1 ExtA: a FILE_FULL_EA_INFORMATION list.
    EaBuffer(&'a [u8]),
    /// 2.2.13.2.2 SecD: a self-relative security descriptor.
    SecurityDescriptor(&'a [u8]),
    /// 2.2.13.2.3 DHnQ.
    DurableRequest,
    /// 2.2.13.2.4 DHnC: the FileId of before.
    DurableReconnect(FileId),
    /// 2.2.13.2.6 AlSi.
    AllocationSize(u64),
    /// 2.2.13.2.5 MxAc, with a timestamp or without.
    MaximalAccess(Option<FileTime>),
    /// 2.2.13.2.7 TWrp.
    Timewarp(FileTime),
    /// 2.2.13.2.9 QFid.
    OnDiskId,
    /// 2.2.13.2.8 and .10 RqLs.
    Lease(LeaseContext),
    /// 2.2.13.2.11 DH2Q.
    DurableRequestV2 {
        /// Timeout in milliseconds; 0 leaves it to the server.
        timeout: u32,
        /// Flags.
        flags: DurableFlags,
        /// CreateGuid.
        create_guid: Guid,
    },
    /// 2.2.13.2.12 DH2C.
    DurableReconnectV2 {
        /// FileId of before.
        file_id: FileId,
        /// CreateGuid.
        create_guid: Guid,
        /// Flags.
        flags: DurableFlags,
    },
    /// 2.2.13.2.13 SMB2_CREATE_APP_INSTANCE_ID.
    AppInstanceId(Guid),
    /// 2.2.13.2.15 SMB2_CREATE_APP_INSTANCE_VERSION.
    AppInstanceVersion {
        /// AppInstanceVersionHigh.
        high: u64,
        /// AppInstanceVersionLow.
        low: u64,
    },
    /// AAPL, Apple's extension, as it stands.
    Apple(&'a [u8]),
    /// POSIX extensions: mode of a new file.
    Posix {
        /// Mode.
        mode: u32,
    },
    /// A context this table does not have.
    Unknown {
        /// Name.
        name: &'a [u8],
        /// Data.
        data: &'a [u8],
    },
}

impl<'a> RequestContext<'a> {
    /// Decodes the data of a context by its name.
    ///
    /// # Errors
    /// [`DecodeError`] when the data is not of the length the name asks for.
    pub fn decode(context: &'a CreateContext<'a>) -> Result<Self> {
        use context_name as n;
        let data: &'a [u8] = &context.data;
        let mut r = Reader::new(data);
        let exact = |len: usize, field| {
            if data.len() == len {
                Ok(())
            } else {
                Err(DecodeError::Invalid {
                    field,
                    reason: "wrong length",
                })
            }
        };
        Ok(match context.name {
            n::EXT_A => Self::EaBuffer(data),
            n::SEC_D => Self::SecurityDescriptor(data),
            n::DHNQ => {
                exact(16, "DHnQ")?;
                Self::DurableRequest
            }
            n::DHNC => {
                exact(16, "DHnC")?;
                Self::DurableReconnect(FileId::read(&mut r)?)
            }
            n::AL_SI => {
                exact(8, "AlSi")?;
                Self::AllocationSize(r.u64("AllocationSize")?)
            }
            n::MX_AC if data.is_empty() => Self::MaximalAccess(None),
            n::MX_AC => {
                exact(8, "MxAc")?;
                Self::MaximalAccess(Some(FileTime(r.u64("Timestamp")?)))
            }
            n::T_WRP => {
                exact(8, "TWrp")?;
                Self::Timewarp(FileTime(r.u64("Timestamp")?))
            }
            n::Q_FID => Self::OnDiskId,
            n::RQ_LS => Self::Lease(LeaseContext::decode(data)?),
            n::DH2Q => {
                exact(32, "DH2Q")?;
                let timeout = r.u32("Timeout")?;
                let flags = DurableFlags::from_bits_retain(r.u32("Flags")?);
                r.skip(8, "Reserved")?;
                let create_guid = Guid(r.array("CreateGuid")?);
                Self::DurableRequestV2 {
                    timeout,
                    flags,
                    create_guid,
                }
            }
            n::DH2C => {
                exact(36, "DH2C")?;
                let file_id = FileId::read(&mut r)?;
                let create_guid = Guid(r.array("CreateGuid")?);
                let flags = DurableFlags::from_bits_retain(r.u32("Flags")?);
                Self::DurableReconnectV2 {
                    file_id,
                    create_guid,
                    flags,
                }
            }
            n::APP_INSTANCE_ID => {
                exact(20, "AppInstanceId")?;
                if r.u16("StructureSize")? != 20 {
                    let field = "AppInstanceId";
                    return Err(DecodeError::Invalid {
                        field,
                        reason: "wrong StructureSize",
                    });
                }
                r.skip(2, "Reserved")?;
                Self::AppInstanceId(Guid(r.array("AppInstanceId")?))
            }
            n::APP_INSTANCE_VERSION => {
                exact(24, "AppInstanceVersion")?;
                if r.u16("StructureSize")? != 24 {
                    let field = "AppInstanceVersion";
                    return Err(DecodeError::Invalid {
                        field,
                        reason: "wrong StructureSize",
                    });
                }
                r.skip(6, "Reserved")?;
                Self::AppInstanceVersion {
                    high: r.u64("AppInstanceVersionHigh")?,
                    low: r.u64("AppInstanceVersionLow")?,
                }
            }
            n::AAPL => Self::Apple(data),
            n::POSIX => {
                exact(4, "POSIX")?;
                Self::Posix {
                    mode: r.u32("Mode")?,
                }
            }
            name => Self::Unknown { name, data },
        })
    }

    /// As it goes on the wire.
    pub fn to_context(&self) -> CreateContext<'a> {
        use context_name as n;
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        let name = match self {
            Self::EaBuffer(data) => return borrowed(n::EXT_A, data),
            Self::SecurityDescriptor(data) => return borrowed(n::SEC_D, data),
            Self::Apple(data) => return borrowed(n::AAPL, data),
            Self::Unknown { name, data } => return borrowed(name, data),
            Self::DurableRequest => {
                w.zeros(16);
                n::DHNQ
            }
            Self::DurableReconnect(id) => {
                id.write(&mut w);
                n::DHNC
            }
            Self::AllocationSize(v) => {
                w.u64(*v);
                n::AL_SI
            }
            Self::MaximalAccess(time) => {
                if let Some(t) = time {
                    w.u64(t.0);
                }
                n::MX_AC
            }
            Self::Timewarp(t) => {
                w.u64(t.0);
                n::T_WRP
            }
            Self::OnDiskId => n::Q_FID,
            Self::Lease(lease) => {
                lease.encode(&mut w);
                n::RQ_LS
            }
            Self::DurableRequestV2 {
                timeout,
                flags,
                create_guid,
            } => {
                w.u32(*timeout);
                w.u32(flags.bits());
                w.u64(0);
                w.bytes(&create_guid.0);
                n::DH2Q
            }
            Self::DurableReconnectV2 {
                file_id,
                create_guid,
                flags,
            } => {
                file_id.write(&mut w);
                w.bytes(&create_guid.0);
                w.u32(flags.bits());
                n::DH2C
            }
            Self::AppInstanceId(id) => {
                w.u16(20);
                w.u16(0);
                w.bytes(&id.0);
                n::APP_INSTANCE_ID
            }
            Self::AppInstanceVersion { high, low } => {
                w.u16(24);
                w.zeros(6);
                w.u64(*high);
                w.u64(*low);
                n::APP_INSTANCE_VERSION
            }
            Self::Posix { mode } => {
                w.u32(*mode);
                n::POSIX
            }
        };
        CreateContext {
            name,
            data: Cow::Owned(out),
        }
    }
}

fn borrowed<'a>(name: &'a [u8], data: &'a [u8]) -> CreateContext<'a> {
    CreateContext {
        name,
        data: Cow::Borrowed(data),
    }
}

/// What a context of a response tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseContext {
    /// 2.2.14.2.3 DHnQ: the handle is durable.
    Durable,
    /// 2.2.14.2.5 MxAc.
    MaximalAccess {
        /// QueryStatus.
        status: NtStatus,
        /// MaximalAccess.
        access: AccessMask,
    },
    /// 2.2.14.2.9 QFid.
    OnDiskId {
        /// DiskFileId.
        file: u64,
        /// VolumeId.
        volume: u64,
    },
    /// 2.2.14.2.10 and .11 RqLs.
    Lease(LeaseContext),
    /// 2.2.14.2.12 DH2Q.
    DurableV2 {
        /// Timeout in milliseconds.
        timeout: u32,
        /// Flags.
        flags: DurableFlags,
    },
    /// AAPL, as it stands.
    Apple(Vec<u8>),
    /// POSIX extensions.
    Posix {
        /// Hard links.
        links: u32,
        /// Reparse tag.
        reparse_tag: u32,
        /// Mode.
        mode: u32,
        /// SIDs of owner and group, in their bytes.
        owner_group: Vec<u8>,
    },
    /// A context this table does not have.
    Unknown {
        /// Name.
        name: Vec<u8>,
        /// Data.
        data: Vec<u8>,
    },
}

impl ResponseContext {
    /// Decodes the data of a context by its name.
    ///
    /// # Errors
    /// [`DecodeError`] when the data is too short for the name.
    pub fn decode(context: &CreateContext<'_>) -> Result<Self> {
        use context_name as n;
        let data: &[u8] = &context.data;
        let mut r = Reader::new(data);
        Ok(match context.name {
            n::DHNQ => Self::Durable,
            n::MX_AC => Self::MaximalAccess {
                status: NtStatus(r.u32("QueryStatus")?),
                access: AccessMask::from_bits_retain(r.u32("MaximalAccess")?),
            },
            n::Q_FID => Self::OnDiskId {
                file: r.u64("DiskFileId")?,
                volume: r.u64("VolumeId")?,
            },
            n::RQ_LS => Self::Lease(LeaseContext::decode(data)?),
            n::DH2Q => Self::DurableV2 {
                timeout: r.u32("Timeout")?,
                flags: DurableFlags::from_bits_retain(r.u32("Flags")?),
            },
            n::AAPL => Self::Apple(data.to_vec()),
            n::POSIX => Self::Posix {
                links: r.u32("nlink")?,
                reparse_tag: r.u32("reparse_tag")?,
                mode: r.u32("mode")?,
                owner_group: r.rest().to_vec(),
            },
            name => Self::Unknown {
                name: name.to_vec(),
                data: data.to_vec(),
            },
        })
    }

    /// As it goes on the wire.
    pub fn to_context(&self) -> CreateContext<'_> {
        use context_name as n;
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        let name = match self {
            Self::Apple(data) => return borrowed(n::AAPL, data),
            Self::Unknown { name, data } => return borrowed(name, data),
            Self::Durable => {
                w.u64(0);
                n::DHNQ
            }
            Self::MaximalAccess { status, access } => {
                w.u32(status.0);
                w.u32(access.bits());
                n::MX_AC
            }
            Self::OnDiskId { file, volume } => {
                w.u64(*file);
                w.u64(*volume);
                w.zeros(16);
                n::Q_FID
            }
            Self::Lease(lease) => {
                lease.encode(&mut w);
                n::RQ_LS
            }
            Self::DurableV2 { timeout, flags } => {
                w.u32(*timeout);
                w.u32(flags.bits());
                n::DH2Q
            }
            Self::Posix {
                links,
                reparse_tag,
                mode,
                owner_group,
            } => {
                w.u32(*links);
                w.u32(*reparse_tag);
                w.u32(*mode);
                w.bytes(owner_group);
                n::POSIX
            }
        };
        CreateContext {
            name,
            data: Cow::Owned(out),
        }
    }
}
