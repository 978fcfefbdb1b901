//! What is told about a volume.

use countersign_fs::VolumeFacts;
use countersign_wire::fscc::{
    FsAttributeInformation, FsControlInformation, FsDeviceInformation, FsFullSizeInformation,
    FsObjectIdInformation, FsSectorSizeInformation, FsSizeInformation, FsVolumeInformation,
    fs_class,
};
use countersign_wire::{NtStatus, Writer};

use super::Info;

/// FILE_DEVICE_DISK.
const DEVICE_DISK: u32 = 7;
/// FILE_DEVICE_NAMED_PIPE.
const DEVICE_NAMED_PIPE: u32 = 0x11;
/// FILE_DEVICE_IS_MOUNTED.
const IS_MOUNTED: u32 = 0x20;

fn info(least: usize, encode: impl FnOnce(&mut Writer<'_>)) -> Info {
    let mut data = Vec::with_capacity(least);
    encode(&mut Writer::new(&mut data));
    Info { data, least }
}

/// FileFsDeviceInformation.
pub fn device(pipe: bool) -> Info {
    info(FsDeviceInformation::LEN, |w| {
        FsDeviceInformation {
            device_type: if pipe { DEVICE_NAMED_PIPE } else { DEVICE_DISK },
            characteristics: IS_MOUNTED,
        }
        .encode(w);
    })
}

/// A class of a volume.
///
/// # Errors
/// STATUS_INVALID_INFO_CLASS.
pub fn volume(class: u8, v: &VolumeFacts) -> Result<Info, NtStatus> {
    let sector = v.sector_size.clamp(512, 4096);
    let sectors_per_unit = v.sectors_per_unit.max(1);
    let unit = u64::from(sector).saturating_mul(u64::from(sectors_per_unit));
    let units = |bytes: u64| bytes / unit.max(1);
    Ok(match class {
        // The name of an attribute's file system decides what clients offer
        // (Windows shows the Security tab only for NTFS).
        fs_class::ATTRIBUTE => info(16, |w| {
            FsAttributeInformation {
                attributes: v.attributes,
                max_component: v.max_component,
                name: "NTFS".to_owned(),
            }
            .encode(w);
        }),
        fs_class::VOLUME => info(24, |w| {
            FsVolumeInformation {
                creation: v.creation,
                serial: v.serial,
                supports_objects: false,
                label: v.label.clone(),
            }
            .encode(w);
        }),
        fs_class::SIZE => info(FsSizeInformation::LEN, |w| {
            FsSizeInformation {
                total_units: units(v.total_bytes),
                available_units: units(v.available_bytes),
                sectors_per_unit,
                bytes_per_sector: sector,
            }
            .encode(w);
        }),
        fs_class::DEVICE => device(false),
        fs_class::CONTROL => info(FsControlInformation::LEN, |w| {
            FsControlInformation {
                free_space_start_filtering: 0,
                free_space_threshold: 0,
                free_space_stop_filtering: 0,
                default_quota_threshold: u64::MAX,
                default_quota_limit: u64::MAX,
                flags: 0,
            }
            .encode(w);
        }),
        fs_class::FULL_SIZE => info(FsFullSizeInformation::LEN, |w| {
            FsFullSizeInformation {
                total_units: units(v.total_bytes),
                caller_available_units: units(v.available_bytes),
                actual_available_units: units(v.free_bytes),
                sectors_per_unit,
                bytes_per_sector: sector,
            }
            .encode(w);
        }),
        fs_class::OBJECT_ID => info(FsObjectIdInformation::LEN, |w| {
            FsObjectIdInformation {
                object_id: v.object_id,
                extended_info: [0; 48],
            }
            .encode(w);
        }),
        fs_class::SECTOR_SIZE => info(FsSectorSizeInformation::LEN, |w| {
            FsSectorSizeInformation {
                logical: sector,
                physical_for_atomicity: sector,
                physical_for_performance: sector,
                effective_for_atomicity: sector,
                flags: 3,
                sector_alignment: 0,
                partition_alignment: 0,
            }
            .encode(w);
        }),
        _ => return Err(NtStatus::INVALID_INFO_CLASS),
    })
}
