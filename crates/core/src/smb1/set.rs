//! TRANS2_SET_PATH_ and SET_FILE_INFORMATION, [MS-CIFS] 3.3.5.58.7, 3.3.5.58.9.

use std::sync::Arc;

use countersign_fs::call::OpenCall;
use countersign_fs::{Ea, FsCall, Open, SetBasic};
use countersign_wire::fscc::{AccessMask, CreateOptions, file_class};
use countersign_wire::smb1::info::{InfoStandard, SetLevel, decode_fea_list, pass_through_class};
use countersign_wire::smb1::trans2::{SetFileInformationParameters, decode_path_information};
use countersign_wire::{NtStatus, Reader};

use super::information::from_dos;
use super::open::{close_file, open_call, open_file};
use super::request::{Request, Stop};
use super::state::FileKind;
use super::transaction::{Outcome, Transaction};
use crate::info::{SetContext, set as set_class};

pub(super) async fn path(cx: &Request, t: &Transaction) -> Result<Outcome, Stop> {
    let (level, name) = decode_path_information(&t.parameters, cx.text())?;
    let path = cx.path(&name)?;
    let access = match level_class(level)? {
        Class::Dos(SetLevel::InfoSetEas) => AccessMask::WRITE_EA,
        Class::Dos(_) => AccessMask::WRITE_ATTRIBUTES,
        Class::Fscc(class) => match class {
            file_class::END_OF_FILE | file_class::ALLOCATION => AccessMask::WRITE_DATA,
            file_class::DISPOSITION
            | file_class::DISPOSITION_EX
            | file_class::RENAME
            | file_class::RENAME_EX => AccessMask::DELETE,
            file_class::FULL_EA => AccessMask::WRITE_EA,
            _ => AccessMask::WRITE_ATTRIBUTES,
        },
    };
    let call = OpenCall {
        access: access | AccessMask::READ_ATTRIBUTES | AccessMask::SYNCHRONIZE,
        options: CreateOptions::OPEN_REPARSE_POINT,
        ..open_call(cx, path)
    };
    let opened = open_file(cx, call).await?;
    // By path Windows knows only the pass-through level, and clients rely on it.
    let result = if level == SetLevel::EndOfFileInfo as u16 {
        Err(Stop::Status(NtStatus::INVALID_LEVEL))
    } else {
        apply(cx, &opened.open, level, &t.data).await
    };
    close_file(cx, opened.open).await;
    result?;
    Ok(Outcome::new(NtStatus::SUCCESS, vec![0, 0], Vec::new()))
}

pub(super) async fn file(cx: &Request, t: &Transaction) -> Result<Outcome, Stop> {
    let p = SetFileInformationParameters::decode(&mut Reader::new(&t.parameters))?;
    let (fid, file) = cx.file_entry(p.fid)?;
    match file.kind {
        FileKind::File(open) => {
            apply(cx, &open, p.information_level, &t.data).await?;
            if pass_through_class(p.information_level) == Some(u16::from(file_class::POSITION)) {
                let position = open.position();
                if let Some(f) = cx.shared.state.lock().files.get_mut(&fid) {
                    f.position_information = position;
                }
            }
        }
        FileKind::Pipe(pipe) => super::pipe::set(&pipe, p.information_level, &t.data)?,
    }
    Ok(Outcome::new(NtStatus::SUCCESS, vec![0, 0], Vec::new()))
}

enum Class {
    /// A level of SMB1's own.
    Dos(SetLevel),
    /// A class of [MS-FSCC].
    Fscc(u8),
}

fn level_class(level: u16) -> Result<Class, Stop> {
    Ok(match SetLevel::from_u16(level) {
        Some(own @ (SetLevel::InfoStandard | SetLevel::InfoSetEas)) => Class::Dos(own),
        Some(SetLevel::BasicInfo) => Class::Fscc(file_class::BASIC),
        Some(SetLevel::DispositionInfo) => Class::Fscc(file_class::DISPOSITION),
        Some(SetLevel::AllocationInfo) => Class::Fscc(file_class::ALLOCATION),
        Some(SetLevel::EndOfFileInfo) => Class::Fscc(file_class::END_OF_FILE),
        None => Class::Fscc(
            pass_through_class(level)
                .and_then(|c| u8::try_from(c).ok())
                .ok_or(Stop::Status(NtStatus::INVALID_LEVEL))?,
        ),
    })
}

async fn apply(cx: &Request, open: &Arc<Open>, level: u16, data: &[u8]) -> Result<(), Stop> {
    let call = match level_class(level)? {
        Class::Dos(SetLevel::InfoSetEas) => {
            let list = decode_fea_list(data)?;
            if list.is_empty() {
                // OS/2 sends empty lists.
                return Ok(());
            }
            let eas = list
                .into_iter()
                .map(|ea| Ea {
                    flags: ea.flags,
                    name: ea.name,
                    value: ea.value,
                })
                .collect();
            FsCall::SetEa {
                open: Arc::clone(open),
                eas,
            }
        }
        Class::Dos(_) => {
            let i = InfoStandard::decode(&mut Reader::new(&padded(data)))?;
            let zone = cx.zone();
            let set = SetBasic {
                creation: from_dos(zone, i.creation_date, i.creation_time),
                last_access: from_dos(zone, i.last_access_date, i.last_access_time),
                last_write: from_dos(zone, i.last_write_date, i.last_write_time),
                ..SetBasic::default()
            };
            FsCall::SetBasic {
                open: Arc::clone(open),
                set,
            }
        }
        Class::Fscc(class) => {
            let call =
                set_class(SetContext::Smb1, class, open, data).map_err(|status| match status {
                    NtStatus::INVALID_INFO_CLASS => Stop::Status(NtStatus::INVALID_LEVEL),
                    NtStatus::INFO_LENGTH_MISMATCH => Stop::Status(NtStatus::INVALID_PARAMETER),
                    other => Stop::Status(other),
                })?;
            let Some(call) = call else { return Ok(()) };
            call
        }
    };
    cx.call(call).await?;
    Ok(())
}

/// Clients leave out what they do not set at the end of SMB_INFO_STANDARD.
fn padded(data: &[u8]) -> Vec<u8> {
    let mut out = data.to_vec();
    if out.len() >= 12 && out.len() < InfoStandard::SIZE {
        out.resize(InfoStandard::SIZE, 0);
    }
    out
}
