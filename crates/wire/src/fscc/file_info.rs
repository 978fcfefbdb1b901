//! [MS-FSCC] 2.4: what is told about a file.

use super::fixed::fixed;
use super::flags::{AccessMask, FileAttributes};
use crate::cursor::{Reader, Result, Writer, utf16_lossy};
use crate::dtyp::FileTime;

fixed! {
    /// [MS-FSCC] 2.4.7 FileBasicInformation.
    BasicInformation = 40 {
        /// CreationTime.
        creation: FileTime;
        /// LastAccessTime.
        last_access: FileTime;
        /// LastWriteTime.
        last_write: FileTime;
        /// ChangeTime.
        change: FileTime;
        /// FileAttributes.
        attributes: FileAttributes, pad 4;
    }

    /// [MS-FSCC] 2.4.47 FileStandardInformation.
    StandardInformation = 24 {
        /// AllocationSize.
        allocation_size: u64;
        /// EndOfFile.
        end_of_file: u64;
        /// NumberOfLinks.
        links: u32;
        /// DeletePending.
        delete_pending: bool;
        /// Directory.
        directory: bool, pad 2;
    }

    /// [MS-FSCC] 2.4.26 FileInternalInformation.
    InternalInformation = 8 {
        /// IndexNumber.
        index_number: u64;
    }

    /// [MS-FSCC] 2.4.13 FileEaInformation.
    EaInformation = 4 {
        /// EaSize.
        ea_size: u32;
    }

    /// [MS-FSCC] 2.4.1 FileAccessInformation.
    AccessInformation = 4 {
        /// AccessFlags.
        access: AccessMask;
    }

    /// [MS-FSCC] 2.4.40 FilePositionInformation.
    PositionInformation = 8 {
        /// CurrentByteOffset.
        position: u64;
    }

    /// [MS-FSCC] 2.4.31 FileModeInformation.
    ModeInformation = 4 {
        /// Mode: create options that are still in force.
        mode: u32;
    }

    /// [MS-FSCC] 2.4.3 FileAlignmentInformation.
    AlignmentInformation = 4 {
        /// AlignmentRequirement.
        alignment: u32;
    }

    /// [MS-FSCC] 2.4.34 FileNetworkOpenInformation.
    NetworkOpenInformation = 56 {
        /// CreationTime.
        creation: FileTime;
        /// LastAccessTime.
        last_access: FileTime;
        /// LastWriteTime.
        last_write: FileTime;
        /// ChangeTime.
        change: FileTime;
        /// AllocationSize.
        allocation_size: u64;
        /// EndOfFile.
        end_of_file: u64;
        /// FileAttributes.
        attributes: FileAttributes, pad 4;
    }

    /// [MS-FSCC] 2.4.6 FileAttributeTagInformation.
    AttributeTagInformation = 8 {
        /// FileAttributes.
        attributes: FileAttributes;
        /// ReparseTag.
        reparse_tag: u32;
    }

    /// [MS-FSCC] 2.4.9 FileCompressionInformation.
    CompressionInformation = 16 {
        /// CompressedFileSize.
        compressed_size: u64;
        /// CompressionFormat: 0 none, 2 LZNT1.
        format: u16;
        /// CompressionUnitShift.
        unit_shift: u8;
        /// ChunkShift.
        chunk_shift: u8;
        /// ClusterShift.
        cluster_shift: u8, pad 3;
    }

    /// [MS-FSCC] 2.4.25 FileIdInformation.
    IdInformation = 24 {
        /// VolumeSerialNumber.
        volume: u64;
        /// FileId, 128 bits.
        file_id: [u8; 16];
    }

    /// [MS-FSCC] 2.4.48 FileStandardLinkInformation.
    StandardLinkInformation = 12 {
        /// NumberOfAccessibleLinks.
        accessible_links: u32;
        /// TotalNumberOfLinks.
        links: u32;
        /// DeletePending.
        delete_pending: bool;
        /// Directory.
        directory: bool, pad 2;
    }

    /// [MS-FSCC] 2.4.37 FilePipeInformation.
    PipeInformation = 8 {
        /// ReadMode: 0 byte stream, 1 message.
        read_mode: u32;
        /// CompletionMode: 0 queue, 1 complete.
        completion_mode: u32;
    }

    /// [MS-FSCC] 2.4.38 FilePipeLocalInformation.
    PipeLocalInformation = 40 {
        /// NamedPipeType.
        pipe_type: u32;
        /// NamedPipeConfiguration.
        configuration: u32;
        /// MaximumInstances.
        maximum_instances: u32;
        /// CurrentInstances.
        current_instances: u32;
        /// InboundQuota.
        inbound_quota: u32;
        /// ReadDataAvailable.
        read_data_available: u32;
        /// OutboundQuota.
        outbound_quota: u32;
        /// WriteQuotaAvailable.
        write_quota_available: u32;
        /// NamedPipeState: 3 connected.
        state: u32;
        /// NamedPipeEnd: 0 client, 1 server.
        end: u32;
    }

    /// [MS-FSCC] 2.4.39 FilePipeRemoteInformation.
    PipeRemoteInformation = 16 {
        /// CollectDataTime.
        collect_data_time: u64;
        /// MaximumCollectionCount.
        maximum_collection_count: u32, pad 4;
    }
}

/// [MS-FSCC] 2.4.2 FileAllInformation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllInformation {
    /// BasicInformation.
    pub basic: BasicInformation,
    /// StandardInformation.
    pub standard: StandardInformation,
    /// InternalInformation.
    pub internal: InternalInformation,
    /// EaInformation.
    pub ea: EaInformation,
    /// AccessInformation.
    pub access: AccessInformation,
    /// PositionInformation.
    pub position: PositionInformation,
    /// ModeInformation.
    pub mode: ModeInformation,
    /// AlignmentInformation.
    pub alignment: AlignmentInformation,
    /// NameInformation: the path from the share's root, `\` first.
    pub name: String,
}

impl AllInformation {
    /// Bytes in front of the name.
    pub const FIXED: usize = 100;

    /// Reads it.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        Ok(Self {
            basic: BasicInformation::decode(r.take(BasicInformation::LEN, "Basic")?)?,
            standard: StandardInformation::decode(r.take(StandardInformation::LEN, "Standard")?)?,
            internal: InternalInformation::decode(r.take(InternalInformation::LEN, "Internal")?)?,
            ea: EaInformation::decode(r.take(EaInformation::LEN, "Ea")?)?,
            access: AccessInformation::decode(r.take(AccessInformation::LEN, "Access")?)?,
            position: PositionInformation::decode(r.take(PositionInformation::LEN, "Position")?)?,
            mode: ModeInformation::decode(r.take(ModeInformation::LEN, "Mode")?)?,
            alignment: AlignmentInformation::decode(
                r.take(AlignmentInformation::LEN, "Alignment")?,
            )?,
            name: decode_name(r.rest())?,
        })
    }

    /// Appends it.
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.basic.encode(w);
        self.standard.encode(w);
        self.internal.encode(w);
        self.ea.encode(w);
        self.access.encode(w);
        self.position.encode(w);
        self.mode.encode(w);
        self.alignment.encode(w);
        encode_name(&self.name, w);
    }
}

/// [MS-FSCC] 2.1.7 FILE_NAME_INFORMATION: a length and a name; also the form of
/// FileNormalizedNameInformation, FileAlternateNameInformation and
/// FileShortNameInformation.
///
/// # Errors
/// [`DecodeError`](crate::DecodeError).
pub fn decode_name(bytes: &[u8]) -> Result<String> {
    let mut r = Reader::new(bytes);
    let length = usize::try_from(r.u32("FileNameLength")?).unwrap_or(usize::MAX);
    Ok(utf16_lossy(r.take(length, "FileName")?))
}

/// Appends a length and a name.
pub fn encode_name(name: &str, w: &mut Writer<'_>) {
    let at = w.len();
    w.u32(0);
    let length = w.utf16(name);
    w.patch_u32(at, u32::try_from(length).unwrap_or(u32::MAX));
}
