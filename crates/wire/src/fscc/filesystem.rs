//! [MS-FSCC] 2.5: what is told about a volume.

use super::fixed::fixed;
use crate::cursor::{Reader, Result, Writer, utf16_lossy};
use crate::dtyp::{FileTime, Guid};

/// FileSystemAttributes, [MS-FSCC] 2.5.1.
#[allow(missing_docs, reason = "the names are the specification's")]
pub mod fs_attributes {
    pub const CASE_SENSITIVE_SEARCH: u32 = 0x0000_0001;
    pub const CASE_PRESERVED_NAMES: u32 = 0x0000_0002;
    pub const UNICODE_ON_DISK: u32 = 0x0000_0004;
    pub const PERSISTENT_ACLS: u32 = 0x0000_0008;
    pub const FILE_COMPRESSION: u32 = 0x0000_0010;
    pub const VOLUME_QUOTAS: u32 = 0x0000_0020;
    pub const SUPPORTS_SPARSE_FILES: u32 = 0x0000_0040;
    pub const SUPPORTS_REPARSE_POINTS: u32 = 0x0000_0080;
    pub const SUPPORTS_OBJECT_IDS: u32 = 0x0001_0000;
    pub const SUPPORTS_ENCRYPTION: u32 = 0x0002_0000;
    pub const NAMED_STREAMS: u32 = 0x0004_0000;
    pub const READ_ONLY_VOLUME: u32 = 0x0008_0000;
    pub const SUPPORTS_TRANSACTIONS: u32 = 0x0020_0000;
    pub const SUPPORTS_HARD_LINKS: u32 = 0x0040_0000;
    pub const SUPPORTS_EXTENDED_ATTRIBUTES: u32 = 0x0080_0000;
    pub const SUPPORTS_OPEN_BY_FILE_ID: u32 = 0x0100_0000;
    pub const SUPPORTS_USN_JOURNAL: u32 = 0x0200_0000;
    pub const SUPPORTS_BLOCK_REFCOUNTING: u32 = 0x0800_0000;
}

fixed! {
    /// [MS-FSCC] 2.5.8 FileFsSizeInformation.
    FsSizeInformation = 24 {
        /// TotalAllocationUnits.
        total_units: u64;
        /// AvailableAllocationUnits.
        available_units: u64;
        /// SectorsPerAllocationUnit.
        sectors_per_unit: u32;
        /// BytesPerSector.
        bytes_per_sector: u32;
    }

    /// [MS-FSCC] 2.5.4 FileFsFullSizeInformation.
    FsFullSizeInformation = 32 {
        /// TotalAllocationUnits.
        total_units: u64;
        /// CallerAvailableAllocationUnits.
        caller_available_units: u64;
        /// ActualAvailableAllocationUnits.
        actual_available_units: u64;
        /// SectorsPerAllocationUnit.
        sectors_per_unit: u32;
        /// BytesPerSector.
        bytes_per_sector: u32;
    }

    /// [MS-FSCC] 2.5.10 FileFsDeviceInformation.
    FsDeviceInformation = 8 {
        /// DeviceType: 7 disk.
        device_type: u32;
        /// Characteristics: 0x20 mounted.
        characteristics: u32;
    }

    /// [MS-FSCC] 2.5.2 FileFsControlInformation.
    FsControlInformation = 48 {
        /// FreeSpaceStartFiltering.
        free_space_start_filtering: u64;
        /// FreeSpaceThreshold.
        free_space_threshold: u64;
        /// FreeSpaceStopFiltering.
        free_space_stop_filtering: u64;
        /// DefaultQuotaThreshold.
        default_quota_threshold: u64;
        /// DefaultQuotaLimit.
        default_quota_limit: u64;
        /// FileSystemControlFlags.
        flags: u32, pad 4;
    }

    /// [MS-FSCC] 2.5.6 FileFsObjectIdInformation.
    FsObjectIdInformation = 64 {
        /// ObjectId.
        object_id: Guid;
        /// ExtendedInfo.
        extended_info: [u8; 48];
    }

    /// [MS-FSCC] 2.5.7 FileFsSectorSizeInformation.
    FsSectorSizeInformation = 28 {
        /// LogicalBytesPerSector.
        logical: u32;
        /// PhysicalBytesPerSectorForAtomicity.
        physical_for_atomicity: u32;
        /// PhysicalBytesPerSectorForPerformance.
        physical_for_performance: u32;
        /// FileSystemEffectivePhysicalBytesPerSectorForAtomicity.
        effective_for_atomicity: u32;
        /// Flags: 1 aligned device, 2 partition aligned.
        flags: u32;
        /// ByteOffsetForSectorAlignment.
        sector_alignment: u32;
        /// ByteOffsetForPartitionAlignment.
        partition_alignment: u32;
    }
}

/// [MS-FSCC] 2.5.9 FileFsVolumeInformation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsVolumeInformation {
    /// VolumeCreationTime.
    pub creation: FileTime,
    /// VolumeSerialNumber.
    pub serial: u32,
    /// SupportsObjects.
    pub supports_objects: bool,
    /// VolumeLabel.
    pub label: String,
}

impl FsVolumeInformation {
    /// Bytes in front of the label.
    pub const FIXED: usize = 18;

    /// Reads it.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let creation = FileTime(r.u64("VolumeCreationTime")?);
        let serial = r.u32("VolumeSerialNumber")?;
        let length = usize::try_from(r.u32("VolumeLabelLength")?).unwrap_or(usize::MAX);
        let supports_objects = r.u8("SupportsObjects")? != 0;
        r.skip(1, "Reserved")?;
        let label = utf16_lossy(r.take(length, "VolumeLabel")?);
        Ok(Self {
            creation,
            serial,
            supports_objects,
            label,
        })
    }

    /// Appends it.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u64(self.creation.0);
        w.u32(self.serial);
        let at = w.len();
        w.u32(0);
        w.u8(u8::from(self.supports_objects));
        w.u8(0);
        let length = w.utf16(&self.label);
        w.patch_u32(at, u32::try_from(length).unwrap_or(u32::MAX));
    }
}

/// [MS-FSCC] 2.5.1 FileFsAttributeInformation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsAttributeInformation {
    /// FileSystemAttributes, see [`fs_attributes`].
    pub attributes: u32,
    /// MaximumComponentNameLength.
    pub max_component: u32,
    /// FileSystemName.
    pub name: String,
}

impl FsAttributeInformation {
    /// Bytes in front of the name.
    pub const FIXED: usize = 12;

    /// Reads it.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        Ok(Self {
            attributes: r.u32("FileSystemAttributes")?,
            max_component: r.u32("MaximumComponentNameLength")?,
            name: super::decode_name(r.rest())?,
        })
    }

    /// Appends it.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u32(self.attributes);
        w.u32(self.max_component);
        super::encode_name(&self.name, w);
    }
}
