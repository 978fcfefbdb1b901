//! TRANS2_QUERY_PATH_ and QUERY_FILE_INFORMATION, [MS-CIFS] 3.3.5.58.6, 3.3.5.58.8.

use std::sync::Arc;

use countersign_fs::{Ea, FsCall, FsReply, Metadata, Open};
use countersign_wire::fscc::{AccessMask, file_class};
use countersign_wire::smb1::info as wire;
use countersign_wire::smb1::info::{Fea, InfoStandard, QueryLevel, pass_through_class};
use countersign_wire::smb1::trans2::{QueryFileInformationParameters, decode_path_information};
use countersign_wire::{NtStatus, Reader, Writer};

use super::information::stat;
use super::open::{clamp32, close_file, dos_attributes, open_call, open_file};
use super::request::{Request, Stop};
use super::state::FileKind;
use super::transaction::{Outcome, Transaction};
use crate::info::{self, FileFacts, FileSource};

pub(super) async fn path(cx: &Request, t: &Transaction) -> Result<Outcome, Stop> {
    let (level, name) = decode_path_information(&t.parameters, cx.text())?;
    let path = cx.path(&name)?;
    if level == QueryLevel::InfoIsNameValid as u16 {
        return Ok(Outcome::new(NtStatus::SUCCESS, vec![0, 0], Vec::new()));
    }
    check_level(level)?;
    let mut call = open_call(cx, path);
    if needs_eas(level) {
        call.access |= AccessMask::READ_EA;
    }
    let opened = open_file(cx, call).await?;
    let result = query(cx, &opened.open, level, t).await;
    close_file(cx, opened.open).await;
    result
}

fn needs_eas(level: u16) -> bool {
    matches!(
        QueryLevel::from_u16(level),
        Some(QueryLevel::InfoQueryEasFromList | QueryLevel::InfoQueryAllEas)
    ) || pass_through_class(level) == Some(u16::from(file_class::FULL_EA))
}

pub(super) async fn file(cx: &Request, t: &Transaction) -> Result<Outcome, Stop> {
    let p = QueryFileInformationParameters::decode(&mut Reader::new(&t.parameters))?;
    let (_, file) = cx.file_entry(p.fid)?;
    let level = p.information_level;
    if level == QueryLevel::InfoIsNameValid as u16 {
        // OS/2 wants "bad function" for this level on a handle.
        return Err(Stop::Status(NtStatus::INVALID_DEVICE_REQUEST));
    }
    check_level(level)?;
    match file.kind {
        FileKind::File(open) => {
            // Whoever opened a file over SMB1 may ask for its attributes: the
            // server adds that right to what was asked for.
            if needs_eas(level) && !open.may(AccessMask::READ_EA) {
                return Err(Stop::Status(NtStatus::ACCESS_DENIED));
            }
            query(cx, &open, level, t).await
        }
        FileKind::Pipe(pipe) => super::pipe::query(&pipe, class_of(level), t),
    }
}

/// The [MS-FSCC] class that a level is, when it is one.
fn class_of(level: u16) -> Option<u8> {
    Some(match QueryLevel::from_u16(level) {
        Some(QueryLevel::BasicInfo) => file_class::BASIC,
        Some(QueryLevel::StandardInfo) => file_class::STANDARD,
        Some(QueryLevel::EaInfo) => file_class::EA,
        Some(QueryLevel::NameInfo) => file_class::NAME,
        Some(QueryLevel::AltNameInfo) => file_class::ALTERNATE_NAME,
        Some(QueryLevel::StreamInfo) => file_class::STREAM,
        Some(QueryLevel::CompressionInfo) => file_class::COMPRESSION,
        Some(_) => return None,
        None => u8::try_from(pass_through_class(level)?).ok()?,
    })
}

fn check_level(level: u16) -> Result<(), Stop> {
    let known = QueryLevel::from_u16(level).is_some()
        || class_of(level).is_some_and(|c| info::file_source(c).is_some());
    if known {
        Ok(())
    } else {
        Err(Stop::Status(NtStatus::INVALID_LEVEL))
    }
}

async fn query(
    cx: &Request,
    open: &Arc<Open>,
    level: u16,
    t: &Transaction,
) -> Result<Outcome, Stop> {
    let max = t.max_data();
    let data = match QueryLevel::from_u16(level) {
        Some(QueryLevel::InfoStandard) => {
            let m = stat(cx, Arc::clone(open)).await?;
            info_standard(cx, &m).to_vec()
        }
        Some(QueryLevel::InfoQueryEaSize) => {
            let m = stat(cx, Arc::clone(open)).await?;
            let mut out = info_standard(cx, &m).to_vec();
            let list = eas(cx, open, None).await?;
            out.extend(clamp32(u64::try_from(fea_size(&list)).unwrap_or(0)).to_le_bytes());
            out
        }
        Some(QueryLevel::InfoQueryAllEas) => {
            let list = eas(cx, open, None).await?;
            fea_list(&list)
        }
        Some(QueryLevel::InfoQueryEasFromList) => {
            let names = wire::decode_gea_list(&t.data)?;
            let found = eas(cx, open, Some(names.clone())).await?;
            fea_list(&in_order(&names, found))
        }
        Some(QueryLevel::AllInfo) => {
            let m = stat(cx, Arc::clone(open)).await?;
            all_info(cx, open, &m)?
        }
        // The pass-through level gives the same short structure over SMB1.
        None if class_of(level) == Some(file_class::ALL) => {
            let m = stat(cx, Arc::clone(open)).await?;
            all_info(cx, open, &m)?
        }
        _ => {
            let class = class_of(level).ok_or(Stop::Status(NtStatus::INVALID_LEVEL))?;
            return fscc(cx, open, class, max).await;
        }
    };
    if data.len() > max {
        return Err(Stop::Status(NtStatus::INFO_LENGTH_MISMATCH));
    }
    Ok(Outcome::new(NtStatus::SUCCESS, vec![0, 0], data))
}

/// A class of [MS-FSCC].
async fn fscc(cx: &Request, open: &Arc<Open>, class: u8, max: usize) -> Result<Outcome, Stop> {
    let source = info::file_source(class).ok_or(Stop::Status(NtStatus::INVALID_LEVEL))?;
    let handle = Arc::clone(open);
    let reply = match source {
        FileSource::Stat => FsCall::Stat { open: handle },
        FileSource::Streams => FsCall::Streams { open: handle },
        FileSource::ShortName => FsCall::ShortName { open: handle },
        FileSource::NormalizedName => FsCall::NormalizedName { open: handle },
        FileSource::Eas => FsCall::QueryEa {
            open: handle,
            names: None,
        },
    };
    let info = match cx.call(reply).await? {
        FsReply::Metadata(m) => {
            let mut facts = FileFacts::of(open);
            // The server adds this right to every open of SMB1.
            facts.access |= AccessMask::READ_ATTRIBUTES;
            // Reads of SMB1 name their offsets and move no position.
            facts.position = cx.position_of(open);
            info::file(class, &m, &facts)?
        }
        FsReply::Streams(list) => info::streams(&list),
        FsReply::Name(name) => info::name(&name),
        FsReply::Eas(list) => {
            let (status, data) = info::eas(&list, max)?;
            return Ok(Outcome::new(status, vec![0, 0], data));
        }
        _ => return Err(Stop::Status(NtStatus::INTERNAL_ERROR)),
    };
    let (status, data) = info.fit(max)?;
    Ok(Outcome::new(status, vec![0, 0], data))
}

/// SMB_INFO_STANDARD.
pub(super) fn info_standard(cx: &Request, m: &Metadata) -> InfoStandard {
    standard(cx.zone(), m)
}

/// SMB_INFO_STANDARD, for a zone.
pub(super) fn standard(zone: countersign_wire::smb1::TimeZone, m: &Metadata) -> InfoStandard {
    let creation = zone.to_dos(m.times.creation);
    let access = zone.to_dos(m.times.last_access);
    let write = zone.to_dos(m.times.last_write);
    InfoStandard {
        creation_date: creation.date,
        creation_time: creation.time,
        last_access_date: access.date,
        last_access_time: access.time,
        last_write_date: write.date,
        last_write_time: write.time,
        file_data_size: clamp32(m.end_of_file),
        allocation_size: clamp32(m.allocation_size),
        attributes: dos_attributes(m.attributes),
    }
}

/// SMB_QUERY_FILE_ALL_INFO, [MS-CIFS] 2.2.8.3.8: shorter than FileAllInformation.
fn all_info(cx: &Request, open: &Open, m: &Metadata) -> Result<Vec<u8>, Stop> {
    let facts = FileFacts::of(open);
    let mut out = info::file(file_class::BASIC, m, &facts)?.data;
    out.extend(info::file(file_class::STANDARD, m, &facts)?.data);
    out.extend(m.ea_size.to_le_bytes());
    let name = cx.text().encode(&facts.name);
    out.extend(u32::try_from(name.len()).unwrap_or(0).to_le_bytes());
    out.extend(name);
    Ok(out)
}

/// Extended attributes of an open, all or those named. None is no error here.
pub(super) async fn eas(
    cx: &Request,
    open: &Arc<Open>,
    names: Option<Vec<String>>,
) -> Result<Vec<Ea>, Stop> {
    match cx
        .call(FsCall::QueryEa {
            open: Arc::clone(open),
            names,
        })
        .await
    {
        Ok(FsReply::Eas(list)) => Ok(list),
        Ok(_) => Err(Stop::Status(NtStatus::INTERNAL_ERROR)),
        Err(countersign_fs::FsError::NoEas) => Ok(Vec::new()),
        Err(e) => Err(e.into()),
    }
}

/// The attributes asked for, in the order asked; those that are not there are empty.
pub(super) fn in_order(names: &[String], found: Vec<Ea>) -> Vec<Ea> {
    names
        .iter()
        .map(|name| {
            found
                .iter()
                .find(|ea| ea.name.eq_ignore_ascii_case(name))
                .cloned()
                .unwrap_or_else(|| Ea {
                    flags: 0,
                    name: name.clone(),
                    value: Vec::new(),
                })
        })
        .collect()
}

fn to_fea(list: &[Ea]) -> Vec<Fea> {
    list.iter()
        .map(|ea| Fea {
            flags: ea.flags,
            name: ea.name.clone(),
            value: ea.value.clone(),
        })
        .collect()
}

/// An SMB_FEA_LIST.
pub(super) fn fea_list(list: &[Ea]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::encode_fea_list(&to_fea(list), &mut Writer::new(&mut out));
    out
}

/// EaSize: the length of the list, with its own size field.
pub(super) fn fea_size(list: &[Ea]) -> usize {
    wire::fea_list_size(&to_fea(list))
}
