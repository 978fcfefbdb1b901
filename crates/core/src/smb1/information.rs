//! [MS-CIFS] 3.3.5.9, 3.3.5.10, 3.3.5.27, 3.3.5.28: QUERY_ and SET_INFORMATION(2).

use std::sync::Arc;

use countersign_fs::call::OpenCall;
use countersign_fs::{FsCall, FsReply, Metadata, SetBasic, SmbPath, TimeChange};
use countersign_wire::NtStatus;
use countersign_wire::fscc::{AccessMask, CreateOptions, FileAttributes};
use countersign_wire::smb1::paths as wire;
use countersign_wire::smb1::{Block, DosTime, TimeZone};

use super::open::{clamp32, close_file, dos_attributes, open_call, open_file};
use super::request::{Answer, Reply, Request, Stop, words_of};

/// The stat of an open.
pub(super) async fn stat(
    cx: &Request,
    open: Arc<countersign_fs::Open>,
) -> Result<Box<Metadata>, Stop> {
    match cx.call(FsCall::Stat { open }).await? {
        FsReply::Metadata(m) => Ok(m),
        _ => Err(Stop::Status(NtStatus::INTERNAL_ERROR)),
    }
}

/// The stat of a path: opened for attributes only, so no share mode is in the way.
pub(super) async fn stat_path(cx: &Request, path: SmbPath) -> Result<Metadata, Stop> {
    let opened = open_file(cx, open_call(cx, path)).await?;
    let metadata = opened.metadata.clone();
    close_file(cx, opened.open).await;
    Ok(metadata)
}

pub(super) async fn query(cx: &mut Request, block: &Block<'_>) -> Answer {
    block.expect_words(&[0])?;
    let name = wire::decode_name(block, cx.text())?;
    let (attributes, time, size) = if name.is_empty() {
        // DOS asks so whether the share is there.
        (FileAttributes::HIDDEN | FileAttributes::DIRECTORY, 0, 0)
    } else {
        let m = stat_path(cx, cx.path(&name)?).await?;
        let time = cx.zone().to_utime(m.times.last_write);
        (m.attributes, time, clamp32(m.end_of_file))
    };
    let words = wire::QueryInformationResponseWords {
        file_attributes: dos_attributes(attributes),
        last_write_time: time,
        file_size: size,
        reserved: [0; 10],
    };
    Ok(Reply::words(words.to_vec()))
}

pub(super) async fn set(cx: &mut Request, block: &Block<'_>) -> Answer {
    let w = words_of(block, &[8], wire::SetInformationWords::decode)?;
    let name = wire::decode_name(block, cx.text())?;
    let path = cx.path(&name)?;
    let call = OpenCall {
        access: AccessMask::WRITE_ATTRIBUTES | AccessMask::READ_ATTRIBUTES,
        options: CreateOptions::OPEN_REPARSE_POINT,
        ..open_call(cx, path)
    };
    let opened = open_file(cx, call).await?;
    let mut attributes = FileAttributes::from_bits_retain(u32::from(w.file_attributes & 0x3F));
    let wants_directory = attributes.contains(FileAttributes::DIRECTORY);
    attributes.remove(FileAttributes::VOLUME);
    if attributes.is_empty() {
        attributes = FileAttributes::NORMAL;
    }
    // NORMAL alone leaves the attributes as they are.
    let keep = u32::from(w.file_attributes) == FileAttributes::NORMAL.bits();
    let set = SetBasic {
        attributes: (!keep).then_some(attributes),
        last_write: cx.zone().from_utime(w.last_write_time).map(TimeChange::Set),
        ..SetBasic::default()
    };
    let result = if wants_directory && !opened.metadata.is_directory() {
        Err(Stop::Status(NtStatus::INVALID_PARAMETER))
    } else {
        let open = Arc::clone(&opened.open);
        cx.call(FsCall::SetBasic { open, set })
            .await
            .map(|_| ())
            .map_err(Stop::from)
    };
    close_file(cx, opened.open).await;
    result?;
    Ok(Reply::empty())
}

/// Date and time of a DOS request.
pub(super) fn from_dos(zone: TimeZone, date: u16, time: u16) -> Option<TimeChange> {
    zone.from_dos(DosTime { date, time }).map(TimeChange::Set)
}

pub(super) async fn query2(cx: &mut Request, block: &Block<'_>) -> Answer {
    let w = words_of(block, &[1], |r| r.u16("FID"))?;
    let open = cx.file(w)?;
    let m = stat(cx, open).await?;
    let zone = cx.zone();
    let (create, access, write) = (
        zone.to_dos(m.times.creation),
        zone.to_dos(m.times.last_access),
        zone.to_dos(m.times.last_write),
    );
    let words = wire::QueryInformation2ResponseWords {
        create_date: create.date,
        create_time: create.time,
        last_access_date: access.date,
        last_access_time: access.time,
        last_write_date: write.date,
        last_write_time: write.time,
        file_data_size: clamp32(m.end_of_file),
        file_allocation_size: clamp32(m.allocation_size),
        file_attributes: dos_attributes(m.attributes),
    };
    Ok(Reply::words(words.to_vec()))
}

pub(super) async fn set2(cx: &mut Request, block: &Block<'_>) -> Answer {
    let w = words_of(block, &[7], wire::SetInformation2Words::decode)?;
    let open = cx.file(w.fid)?;
    let zone = cx.zone();
    let set = SetBasic {
        creation: from_dos(zone, w.create_date, w.create_time),
        last_access: from_dos(zone, w.last_access_date, w.last_access_time),
        last_write: from_dos(zone, w.last_write_date, w.last_write_time),
        ..SetBasic::default()
    };
    cx.call(FsCall::SetBasic { open, set }).await?;
    Ok(Reply::empty())
}
