//! TRANS2_QUERY_FS_INFORMATION, [MS-CIFS] 3.3.5.58.4.

use countersign_fs::{FsCall, FsReply, VolumeFacts};
use countersign_wire::fscc::fs_class;
use countersign_wire::smb1::info::{FsInfoAllocation, FsLevel, pass_through_class};
use countersign_wire::smb1::trans2::QueryFsInformationParameters;
use countersign_wire::{NtStatus, Reader, Writer};

use super::request::{Request, Stop};
use super::transaction::{Outcome, Transaction};
use crate::info;

pub(super) async fn query(cx: &Request, t: &Transaction) -> Result<Outcome, Stop> {
    let p = QueryFsInformationParameters::decode(&mut Reader::new(&t.parameters))?;
    let class = match FsLevel::from_u16(p.information_level) {
        Some(FsLevel::InfoAllocation) => {
            let v = facts(cx).await?;
            return Ok(Outcome::new(NtStatus::SUCCESS, Vec::new(), allocation(&v)));
        }
        Some(FsLevel::InfoVolume) => {
            let v = facts(cx).await?;
            return Ok(Outcome::new(
                NtStatus::SUCCESS,
                Vec::new(),
                volume_label(cx, &v),
            ));
        }
        Some(FsLevel::VolumeInfo) => fs_class::VOLUME,
        Some(FsLevel::SizeInfo) => fs_class::SIZE,
        Some(FsLevel::DeviceInfo) => fs_class::DEVICE,
        Some(FsLevel::AttributeInfo) => fs_class::ATTRIBUTE,
        None => pass_through_class(p.information_level)
            .and_then(|c| u8::try_from(c).ok())
            .ok_or(Stop::Status(NtStatus::INVALID_LEVEL))?,
    };
    let pipe = cx.tree()?.share.is_none();
    let info = if class == fs_class::DEVICE {
        info::device(pipe)
    } else {
        let v = facts(cx).await?;
        info::volume(class, &v).map_err(|_| Stop::Status(NtStatus::INVALID_LEVEL))?
    };
    let max = t.max_data();
    let (status, data) = if info.data.len() > max {
        let mut data = info.data;
        data.truncate(max);
        (NtStatus::BUFFER_OVERFLOW, data)
    } else {
        (NtStatus::SUCCESS, info.data)
    };
    Ok(Outcome::new(status, Vec::new(), data))
}

async fn facts(cx: &Request) -> Result<Box<VolumeFacts>, Stop> {
    if cx.tree()?.share.is_none() {
        return Err(Stop::Status(NtStatus::INVALID_DEVICE_REQUEST));
    }
    match cx.call(FsCall::Volume).await? {
        FsReply::Volume(facts) => Ok(facts),
        _ => Err(Stop::Status(NtStatus::INTERNAL_ERROR)),
    }
}

/// SMB_INFO_ALLOCATION: counts are cut to 32 bits, never wrapped.
fn allocation(v: &VolumeFacts) -> Vec<u8> {
    let sector = v.sector_size.clamp(512, 4096);
    let unit = u64::from(sector) * u64::from(v.sectors_per_unit.max(1));
    let units = |bytes: u64| u32::try_from(bytes / unit).unwrap_or(u32::MAX);
    FsInfoAllocation {
        id_file_system: 0,
        c_sector_unit: v.sectors_per_unit.max(1),
        c_unit: units(v.total_bytes),
        c_unit_available: units(v.available_bytes),
        cb_sector: u16::try_from(sector).unwrap_or(512),
    }
    .to_vec()
}

/// SMB_INFO_VOLUME: the label is counted in one byte and terminated.
fn volume_label(cx: &Request, v: &VolumeFacts) -> Vec<u8> {
    let label: String = v.label.chars().take(11).collect();
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    w.u32(v.serial);
    let text = cx.text();
    let bytes = text.encode(&label);
    w.u8(u8::try_from(label.chars().count()).unwrap_or(0));
    w.bytes(&bytes);
    w.zeros(text.terminator());
    out
}
