//! File system controls carried by IOCTL: codes and buffers, [MS-SMB2] 2.2.31
//! and [MS-FSCC] 2.3.

use std::net::IpAddr;

use super::layout::{len32, size};
use super::types::{Capabilities, SecurityMode};
use crate::cursor::{DecodeError, Reader, Result, Writer, utf16_lossy};
use crate::dtyp::Guid;

/// FSCTL_DFS_GET_REFERRALS.
pub const DFS_GET_REFERRALS: u32 = 0x0006_0194;
/// FSCTL_DFS_GET_REFERRALS_EX.
pub const DFS_GET_REFERRALS_EX: u32 = 0x0006_01B0;
/// FSCTL_SET_COMPRESSION.
pub const SET_COMPRESSION: u32 = 0x0009_C040;
/// FSCTL_GET_COMPRESSION.
pub const GET_COMPRESSION: u32 = 0x0009_003C;
/// FSCTL_IS_PATHNAME_VALID.
pub const IS_PATHNAME_VALID: u32 = 0x0009_002C;
/// FSCTL_IS_VOLUME_DIRTY.
pub const IS_VOLUME_DIRTY: u32 = 0x0009_0078;
/// FSCTL_GET_NTFS_VOLUME_DATA.
pub const GET_NTFS_VOLUME_DATA: u32 = 0x0009_0064;
/// FSCTL_GET_REPARSE_POINT.
pub const GET_REPARSE_POINT: u32 = 0x0009_00A8;
/// FSCTL_SET_REPARSE_POINT.
pub const SET_REPARSE_POINT: u32 = 0x0009_00A4;
/// FSCTL_DELETE_REPARSE_POINT.
pub const DELETE_REPARSE_POINT: u32 = 0x0009_00AC;
/// FSCTL_SET_OBJECT_ID.
pub const SET_OBJECT_ID: u32 = 0x0009_0098;
/// FSCTL_GET_OBJECT_ID.
pub const GET_OBJECT_ID: u32 = 0x0009_009C;
/// FSCTL_DELETE_OBJECT_ID.
pub const DELETE_OBJECT_ID: u32 = 0x0009_00A0;
/// FSCTL_SET_OBJECT_ID_EXTENDED.
pub const SET_OBJECT_ID_EXTENDED: u32 = 0x0009_00BC;
/// FSCTL_CREATE_OR_GET_OBJECT_ID.
pub const CREATE_OR_GET_OBJECT_ID: u32 = 0x0009_00C0;
/// FSCTL_SET_SPARSE.
pub const SET_SPARSE: u32 = 0x0009_00C4;
/// FSCTL_SET_ZERO_DATA.
pub const SET_ZERO_DATA: u32 = 0x0009_80C8;
/// FSCTL_QUERY_ALLOCATED_RANGES.
pub const QUERY_ALLOCATED_RANGES: u32 = 0x0009_40CF;
/// FSCTL_QUERY_FILE_REGIONS.
pub const QUERY_FILE_REGIONS: u32 = 0x0009_0284;
/// FSCTL_FILE_LEVEL_TRIM.
pub const FILE_LEVEL_TRIM: u32 = 0x0009_8208;
/// FSCTL_OFFLOAD_READ.
pub const OFFLOAD_READ: u32 = 0x0009_4264;
/// FSCTL_OFFLOAD_WRITE.
pub const OFFLOAD_WRITE: u32 = 0x0009_8268;
/// FSCTL_GET_INTEGRITY_INFORMATION.
pub const GET_INTEGRITY_INFORMATION: u32 = 0x0009_027C;
/// FSCTL_SET_INTEGRITY_INFORMATION.
pub const SET_INTEGRITY_INFORMATION: u32 = 0x0009_C280;
/// FSCTL_DUPLICATE_EXTENTS_TO_FILE.
pub const DUPLICATE_EXTENTS_TO_FILE: u32 = 0x0009_8344;
/// FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX.
pub const DUPLICATE_EXTENTS_TO_FILE_EX: u32 = 0x0009_83E8;
/// FSCTL_MARK_HANDLE.
pub const MARK_HANDLE: u32 = 0x0009_00FC;
/// FSCTL_FIND_FILES_BY_SID.
pub const FIND_FILES_BY_SID: u32 = 0x0009_008F;
/// FSCTL_FILESYSTEM_GET_STATISTICS.
pub const FILESYSTEM_GET_STATISTICS: u32 = 0x0009_0060;
/// FSCTL_READ_FILE_USN_DATA.
pub const READ_FILE_USN_DATA: u32 = 0x0009_00EB;
/// FSCTL_WRITE_USN_CLOSE_RECORD.
pub const WRITE_USN_CLOSE_RECORD: u32 = 0x0009_00EF;
/// FSCTL_QUERY_FAT_BPB.
pub const QUERY_FAT_BPB: u32 = 0x0009_0058;
/// FSCTL_PIPE_PEEK.
pub const PIPE_PEEK: u32 = 0x0011_400C;
/// FSCTL_PIPE_WAIT.
pub const PIPE_WAIT: u32 = 0x0011_0018;
/// FSCTL_PIPE_TRANSCEIVE.
pub const PIPE_TRANSCEIVE: u32 = 0x0011_C017;
/// FSCTL_SRV_ENUMERATE_SNAPSHOTS.
pub const SRV_ENUMERATE_SNAPSHOTS: u32 = 0x0014_4064;
/// FSCTL_SRV_REQUEST_RESUME_KEY.
pub const SRV_REQUEST_RESUME_KEY: u32 = 0x0014_0078;
/// FSCTL_SRV_COPYCHUNK.
pub const SRV_COPYCHUNK: u32 = 0x0014_40F2;
/// FSCTL_SRV_COPYCHUNK_WRITE.
pub const SRV_COPYCHUNK_WRITE: u32 = 0x0014_80F2;
/// FSCTL_SRV_READ_HASH.
pub const SRV_READ_HASH: u32 = 0x0014_41BB;
/// FSCTL_LMR_REQUEST_RESILIENCY.
pub const LMR_REQUEST_RESILIENCY: u32 = 0x0014_01D4;
/// FSCTL_LMR_GET_LINK_TRACKING_INFORMATION.
pub const LMR_GET_LINK_TRACKING_INFORMATION: u32 = 0x0014_00E8;
/// FSCTL_LMR_SET_LINK_TRACKING_INFORMATION.
pub const LMR_SET_LINK_TRACKING_INFORMATION: u32 = 0x0014_00EC;
/// FSCTL_QUERY_NETWORK_INTERFACE_INFO.
pub const QUERY_NETWORK_INTERFACE_INFO: u32 = 0x0014_01FC;
/// FSCTL_VALIDATE_NEGOTIATE_INFO.
pub const VALIDATE_NEGOTIATE_INFO: u32 = 0x0014_0204;

/// [MS-SMB2] 2.2.31.4 VALIDATE_NEGOTIATE_INFO Request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidateNegotiateRequest {
    /// Capabilities.
    pub capabilities: Capabilities,
    /// Guid.
    pub guid: Guid,
    /// SecurityMode.
    pub security_mode: SecurityMode,
    /// Dialects.
    pub dialects: Vec<u16>,
}

impl ValidateNegotiateRequest {
    /// Reads the buffer.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(input: &[u8]) -> Result<Self> {
        let mut r = Reader::new(input);
        let capabilities = Capabilities::from_bits_retain(r.u32("Capabilities")?);
        let guid = Guid(r.array("Guid")?);
        let security_mode = SecurityMode::from_bits_retain(r.u16("SecurityMode")?);
        let count = usize::from(r.u16("DialectCount")?);
        let bytes = r.take(count * 2, "Dialects")?;
        let (pairs, _) = bytes.as_chunks::<2>();
        let dialects = pairs.iter().map(|p| u16::from_le_bytes(*p)).collect();
        Ok(Self {
            capabilities,
            guid,
            security_mode,
            dialects,
        })
    }

    /// Appends the buffer.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u32(self.capabilities.bits());
        w.bytes(&self.guid.0);
        w.u16(self.security_mode.bits());
        w.u16(u16::try_from(self.dialects.len()).unwrap_or(u16::MAX));
        for d in &self.dialects {
            w.u16(*d);
        }
    }
}

/// [MS-SMB2] 2.2.32.6 VALIDATE_NEGOTIATE_INFO Response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidateNegotiateResponse {
    /// Capabilities.
    pub capabilities: Capabilities,
    /// Guid.
    pub guid: Guid,
    /// SecurityMode.
    pub security_mode: SecurityMode,
    /// Dialect.
    pub dialect: u16,
}

impl ValidateNegotiateResponse {
    /// Bytes of the buffer.
    pub const LEN: usize = 24;

    /// Reads the buffer.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(output: &[u8]) -> Result<Self> {
        let mut r = Reader::new(output);
        Ok(Self {
            capabilities: Capabilities::from_bits_retain(r.u32("Capabilities")?),
            guid: Guid(r.array("Guid")?),
            security_mode: SecurityMode::from_bits_retain(r.u16("SecurityMode")?),
            dialect: r.u16("Dialect")?,
        })
    }

    /// Appends the buffer.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u32(self.capabilities.bits());
        w.bytes(&self.guid.0);
        w.u16(self.security_mode.bits());
        w.u16(self.dialect);
    }
}

/// [MS-SMB2] 2.2.31.1.1 SRV_COPYCHUNK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyChunk {
    /// SourceOffset.
    pub source_offset: u64,
    /// TargetOffset.
    pub target_offset: u64,
    /// Length.
    pub length: u32,
}

/// [MS-SMB2] 2.2.31.1 SRV_COPYCHUNK_COPY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyChunkCopy {
    /// SourceKey: the resume key.
    pub source_key: [u8; 24],
    /// Chunks.
    pub chunks: Vec<CopyChunk>,
}

impl CopyChunkCopy {
    /// Reads the buffer.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(input: &[u8]) -> Result<Self> {
        let mut r = Reader::new(input);
        let source_key = r.array("SourceKey")?;
        let count = size(r.u32("ChunkCount")?);
        r.skip(4, "Reserved")?;
        if r.remaining() / 24 < count {
            let (needed, left) = (count.saturating_mul(24), r.remaining());
            return Err(DecodeError::Short {
                field: "Chunks",
                needed,
                left,
            });
        }
        let mut chunks = Vec::with_capacity(count);
        for _ in 0..count {
            chunks.push(CopyChunk {
                source_offset: r.u64("SourceOffset")?,
                target_offset: r.u64("TargetOffset")?,
                length: r.u32("Length")?,
            });
            r.skip(4, "Reserved")?;
        }
        Ok(Self { source_key, chunks })
    }

    /// Appends the buffer.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.bytes(&self.source_key);
        w.u32(u32::try_from(self.chunks.len()).unwrap_or(u32::MAX));
        w.u32(0);
        for chunk in &self.chunks {
            w.u64(chunk.source_offset);
            w.u64(chunk.target_offset);
            w.u32(chunk.length);
            w.u32(0);
        }
    }
}

/// [MS-SMB2] 2.2.32.1 SRV_COPYCHUNK_RESPONSE: what was done, or, with
/// STATUS_INVALID_PARAMETER, the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyChunkResponse {
    /// ChunksWritten, or most chunks.
    pub chunks_written: u32,
    /// ChunkBytesWritten, or most bytes of one chunk.
    pub chunk_bytes_written: u32,
    /// TotalBytesWritten, or most bytes in all.
    pub total_bytes_written: u32,
}

impl CopyChunkResponse {
    /// Bytes of the buffer.
    pub const LEN: usize = 12;

    /// Reads the buffer.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(output: &[u8]) -> Result<Self> {
        let mut r = Reader::new(output);
        Ok(Self {
            chunks_written: r.u32("ChunksWritten")?,
            chunk_bytes_written: r.u32("ChunkBytesWritten")?,
            total_bytes_written: r.u32("TotalBytesWritten")?,
        })
    }

    /// Appends the buffer.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u32(self.chunks_written);
        w.u32(self.chunk_bytes_written);
        w.u32(self.total_bytes_written);
    }
}

/// [MS-SMB2] 2.2.32.3 SRV_REQUEST_RESUME_KEY Response: key, then an empty context.
pub fn encode_resume_key(key: &[u8; 24], w: &mut Writer<'_>) {
    w.bytes(key);
    w.u32(0);
    w.u32(0);
}

/// [MS-SMB2] 2.2.31.3 NETWORK_RESILIENCY_REQUEST: Timeout in milliseconds.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_resiliency(input: &[u8]) -> Result<u32> {
    let mut r = Reader::new(input);
    let timeout = r.u32("Timeout")?;
    r.skip(4, "Reserved")?;
    Ok(timeout)
}

/// [MS-SMB2] 2.2.32.5 NETWORK_INTERFACE_INFO Response, one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkInterface {
    /// IfIndex.
    pub index: u32,
    /// Capability: 1 = RSS, 2 = RDMA.
    pub capability: u32,
    /// LinkSpeed in bits per second.
    pub link_speed: u64,
    /// SockAddr_Storage.
    pub address: IpAddr,
}

impl NetworkInterface {
    /// Bytes of one entry.
    pub const LEN: usize = 152;

    /// Appends a list of entries.
    pub fn encode_list(entries: &[NetworkInterface], w: &mut Writer<'_>) {
        for (i, entry) in entries.iter().enumerate() {
            let last = i + 1 == entries.len();
            w.u32(if last { 0 } else { 152 });
            w.u32(entry.index);
            w.u32(entry.capability);
            w.u32(0);
            w.u64(entry.link_speed);
            let start = w.len();
            match entry.address {
                IpAddr::V4(a) => {
                    w.u16(0x0002);
                    w.u16(0);
                    w.bytes(&a.octets());
                }
                IpAddr::V6(a) => {
                    w.u16(0x0017);
                    w.u16(0);
                    w.u32(0);
                    w.bytes(&a.octets());
                    w.u32(0);
                }
            }
            w.zeros(128usize.saturating_sub(w.len() - start));
        }
    }

    /// Reads a list of entries; those with an unknown family are left out.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_list(output: &[u8]) -> Result<Vec<NetworkInterface>> {
        let mut out = Vec::new();
        let mut rest = output;
        loop {
            let mut r = Reader::new(rest);
            let next = size(r.u32("Next")?);
            let index = r.u32("IfIndex")?;
            let capability = r.u32("Capability")?;
            r.skip(4, "Reserved")?;
            let link_speed = r.u64("LinkSpeed")?;
            let mut a = Reader::new(r.take(128, "SockAddr_Storage")?);
            let address = match a.u16("Family")? {
                0x0002 => {
                    a.skip(2, "Port")?;
                    Some(IpAddr::from(a.array::<4>("IPv4Address")?))
                }
                0x0017 => {
                    a.skip(6, "FlowInfo")?;
                    Some(IpAddr::from(a.array::<16>("IPv6Address")?))
                }
                _ => None,
            };
            if let Some(address) = address {
                out.push(NetworkInterface {
                    index,
                    capability,
                    link_speed,
                    address,
                });
            }
            if next == 0 {
                return Ok(out);
            }
            rest = rest.get(next..).unwrap_or_default();
        }
    }
}

/// [MS-SMB2] 2.2.32.2 SRV_SNAPSHOT_ARRAY.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotArray {
    /// Snapshots: `@GMT-YYYY.MM.DD-HH.MM.SS` tokens, newest first.
    pub snapshots: Vec<String>,
}

impl SnapshotArray {
    /// Appends the array; tokens are left out when `max` bytes do not hold them.
    pub fn encode(&self, max: usize, w: &mut Writer<'_>) {
        let mut tokens = Vec::new();
        let mut t = Writer::new(&mut tokens);
        for s in &self.snapshots {
            t.utf16(s);
            t.u16(0);
        }
        t.u16(0);
        let count = u32::try_from(self.snapshots.len()).unwrap_or(u32::MAX);
        let fits = !self.snapshots.is_empty() && tokens.len().saturating_add(12) <= max;
        w.u32(count);
        w.u32(if fits { count } else { 0 });
        w.u32(if self.snapshots.is_empty() {
            2
        } else {
            len32(&tokens)
        });
        if fits {
            w.bytes(&tokens);
        } else {
            w.u32(0);
        }
    }
}

/// [MS-FSCC] 2.3.49 FSCTL_PIPE_WAIT Request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipeWait {
    /// Timeout in 100 ns, when one is given.
    pub timeout: Option<u64>,
    /// Name of the pipe.
    pub name: String,
}

impl PipeWait {
    /// Reads the buffer.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(input: &[u8]) -> Result<Self> {
        let mut r = Reader::new(input);
        let timeout = r.u64("Timeout")?;
        let length = size(r.u32("NameLength")?);
        let given = r.u8("TimeoutSpecified")? != 0;
        r.skip(1, "Padding")?;
        let name = utf16_lossy(r.take(length, "Name")?);
        Ok(Self {
            timeout: given.then_some(timeout),
            name,
        })
    }
}

/// [MS-FSCC] 2.3.71 FILE_ZERO_DATA_INFORMATION: FileOffset and BeyondFinalZero.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_zero_data(input: &[u8]) -> Result<(u64, u64)> {
    let mut r = Reader::new(input);
    Ok((r.u64("FileOffset")?, r.u64("BeyondFinalZero")?))
}

/// [MS-FSCC] 2.3.52 FILE_ALLOCATED_RANGE_BUFFER: FileOffset and Length.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_allocated_range(input: &[u8]) -> Result<(u64, u64)> {
    let mut r = Reader::new(input);
    Ok((r.u64("FileOffset")?, r.u64("Length")?))
}

/// [MS-FSCC] 2.3.73 FSCTL_FILE_LEVEL_TRIM Request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLevelTrim {
    /// Key; must be 0.
    pub key: u32,
    /// Extents: offset and length.
    pub extents: Vec<(u64, u64)>,
}

impl FileLevelTrim {
    /// Reads the buffer.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(input: &[u8]) -> Result<Self> {
        let mut r = Reader::new(input);
        let key = r.u32("Key")?;
        let count = size(r.u32("NumRanges")?);
        if r.remaining() / 16 < count {
            let (needed, left) = (count.saturating_mul(16), r.remaining());
            return Err(DecodeError::Short {
                field: "Ranges",
                needed,
                left,
            });
        }
        let mut extents = Vec::with_capacity(count);
        for _ in 0..count {
            extents.push((r.u64("Offset")?, r.u64("Length")?));
        }
        Ok(Self { key, extents })
    }
}

/// [MS-FSCC] 2.3.8 SMB2_DUPLICATE_EXTENTS_DATA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuplicateExtents {
    /// SourceFileID.
    pub source: super::FileId,
    /// SourceFileOffset.
    pub source_offset: u64,
    /// TargetFileOffset.
    pub target_offset: u64,
    /// ByteCount.
    pub length: u64,
}

impl DuplicateExtents {
    /// Reads the buffer.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(input: &[u8]) -> Result<Self> {
        let mut r = Reader::new(input);
        Ok(Self {
            source: super::FileId::read(&mut r)?,
            source_offset: r.u64("SourceFileOffset")?,
            target_offset: r.u64("TargetFileOffset")?,
            length: r.u64("ByteCount")?,
        })
    }
}
