//! What is set on a file: an information class becomes a call.

use std::sync::Arc;

use countersign_fs::{Ea, FsCall, Open, SetBasic, SmbPath, TimeChange};
use countersign_wire::fscc::{
    AllocationInformation, BasicInformation, CreateOptions, DispositionInformation,
    DispositionInformationEx, EndOfFileInformation, FileAttributes, FullEa, ModeInformation,
    PositionInformation, RenameInformation, ValidDataLengthInformation, disposition_flags,
    file_class,
};
use countersign_wire::{FileTime, NtStatus};

use crate::status;

/// Which front end asks: the forms of renames differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetContext {
    /// SMB1, pass-through levels.
    Smb1,
    /// SMB2.
    Smb2,
}

/// The call that sets `buffer` of a class; `None` when there is nothing to do.
///
/// # Errors
/// STATUS_INFO_LENGTH_MISMATCH for a buffer below the class's size,
/// STATUS_INVALID_INFO_CLASS, STATUS_INVALID_PARAMETER and those of paths.
pub fn set(
    from: SetContext,
    class: u8,
    open: &Arc<Open>,
    buffer: &[u8],
) -> Result<Option<FsCall>, NtStatus> {
    let short = NtStatus::INFO_LENGTH_MISMATCH;
    let open = Arc::clone(open);
    Ok(Some(match class {
        file_class::BASIC => {
            let basic = BasicInformation::decode(buffer).map_err(|_| short)?;
            FsCall::SetBasic {
                set: set_basic(&basic, open.is_directory())?,
                open,
            }
        }
        file_class::RENAME | file_class::RENAME_EX | file_class::LINK | file_class::LINK_EX => {
            let ex = matches!(class, file_class::RENAME_EX | file_class::LINK_EX);
            let least = if from == SetContext::Smb2 {
                RenameInformation::FIXED
            } else {
                12
            };
            if buffer.len() < least {
                return Err(short);
            }
            let info = match from {
                SetContext::Smb2 => RenameInformation::decode_smb2(buffer, ex),
                SetContext::Smb1 => RenameInformation::decode_smb1(buffer),
            };
            let info = info.map_err(|_| NtStatus::INVALID_PARAMETER)?;
            if info.root_directory != 0 || info.name.is_empty() {
                return Err(NtStatus::INVALID_PARAMETER);
            }
            if from == SetContext::Smb1 && info.name.contains(['\\', '/']) {
                // Only within the folder, as Windows has it for SMB1.
                return Err(NtStatus::NOT_SUPPORTED);
            }
            let replace = info.replace();
            let to = target(&open, &info.name, from)?;
            if matches!(class, file_class::RENAME | file_class::RENAME_EX) {
                FsCall::Rename { open, to, replace }
            } else {
                FsCall::Link { open, to, replace }
            }
        }
        file_class::DISPOSITION => {
            let info = DispositionInformation::decode(buffer).map_err(|_| short)?;
            FsCall::SetDisposition {
                open,
                delete: info.delete_pending,
                posix: false,
                ignore_readonly: false,
            }
        }
        file_class::DISPOSITION_EX => {
            let info = DispositionInformationEx::decode(buffer).map_err(|_| short)?;
            FsCall::SetDisposition {
                open,
                delete: info.flags & disposition_flags::DELETE != 0,
                posix: info.flags & disposition_flags::POSIX_SEMANTICS != 0,
                ignore_readonly: info.flags & disposition_flags::IGNORE_READONLY_ATTRIBUTE != 0,
            }
        }
        file_class::POSITION => {
            let info = PositionInformation::decode(buffer).map_err(|_| short)?;
            if i64::try_from(info.position).is_err() {
                return Err(NtStatus::INVALID_PARAMETER);
            }
            FsCall::SetPosition {
                open,
                position: info.position,
            }
        }
        file_class::FULL_EA => FsCall::SetEa {
            open,
            eas: full_eas(buffer)?,
        },
        file_class::MODE => {
            let info = ModeInformation::decode(buffer).map_err(|_| short)?;
            let allowed = CreateOptions::WRITE_THROUGH
                | CreateOptions::SEQUENTIAL_ONLY
                | CreateOptions::SYNCHRONOUS_IO_ALERT
                | CreateOptions::SYNCHRONOUS_IO_NONALERT;
            if info.mode & !allowed.bits() != 0 {
                return Err(NtStatus::INVALID_PARAMETER);
            }
            return Ok(None);
        }
        file_class::ALLOCATION => {
            let info = AllocationInformation::decode(buffer).map_err(|_| short)?;
            FsCall::SetAllocation {
                size: size(info.allocation_size, &open)?,
                open,
            }
        }
        file_class::END_OF_FILE => {
            let info = EndOfFileInformation::decode(buffer).map_err(|_| short)?;
            FsCall::SetEndOfFile {
                size: size(info.end_of_file, &open)?,
                open,
            }
        }
        file_class::VALID_DATA_LENGTH => {
            let info = ValidDataLengthInformation::decode(buffer).map_err(|_| short)?;
            size(info.valid_data_length, &open)?;
            return Ok(None);
        }
        file_class::SHORT_NAME => return Err(NtStatus::NOT_SUPPORTED),
        _ => return Err(NtStatus::INVALID_INFO_CLASS),
    }))
}

/// Sizes are signed 64-bit values, and folders have none.
fn size(size: u64, open: &Open) -> Result<u64, NtStatus> {
    if open.is_directory() || i64::try_from(size).is_err() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    Ok(size)
}

fn set_basic(basic: &BasicInformation, directory: bool) -> Result<SetBasic, NtStatus> {
    let asked = basic.attributes;
    if (!directory && asked.contains(FileAttributes::DIRECTORY))
        || (directory && asked.contains(FileAttributes::TEMPORARY))
    {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    Ok(SetBasic {
        creation: time(basic.creation)?,
        last_access: time(basic.last_access)?,
        last_write: time(basic.last_write)?,
        change: time(basic.change)?,
        attributes: Some(asked).filter(|a| !a.is_empty()),
    })
}

/// [MS-FSCC] 2.4.7: 0 leaves a time alone, -1 freezes and -2 thaws it, other
/// negative values are refused.
fn time(t: FileTime) -> Result<Option<TimeChange>, NtStatus> {
    const FREEZE: u64 = u64::MAX;
    const THAW: u64 = u64::MAX - 1;
    match t.0 {
        0 => Ok(None),
        FREEZE => Ok(Some(TimeChange::Freeze)),
        THAW => Ok(Some(TimeChange::Thaw)),
        v if v > i64::MAX.unsigned_abs() => Err(NtStatus::INVALID_PARAMETER),
        _ => Ok(Some(TimeChange::Set(t))),
    }
}

/// Where a rename or link leads: `:name` is a stream of the same file; SMB1's
/// plain name is in the same folder; else the path counts from the share's root.
fn target(open: &Open, name: &str, from: SetContext) -> Result<SmbPath, NtStatus> {
    let path = SmbPath::parse(name).map_err(status::of)?;
    if path.components().is_empty() && path.stream().is_some() {
        let stream = path.stream().unwrap_or_default();
        return Ok(open.path().without_stream().with_stream(stream));
    }
    if from == SetContext::Smb1 && !name.contains('\\') && path.components().len() == 1 {
        let parent = open.path().parent().unwrap_or_default();
        let file = path.file_name().unwrap_or_default();
        return parent.join(file).map_err(status::of);
    }
    Ok(path)
}

/// A FILE_FULL_EA_INFORMATION list as the file service wants it.
///
/// # Errors
/// STATUS_EA_LIST_INCONSISTENT for a malformed list, STATUS_INVALID_EA_NAME.
pub fn full_eas(buffer: &[u8]) -> Result<Vec<Ea>, NtStatus> {
    if buffer.is_empty() {
        return Ok(Vec::new());
    }
    let list = FullEa::decode_list(buffer).map_err(|_| NtStatus::EA_LIST_INCONSISTENT)?;
    list.iter()
        .map(|ea| {
            let name = core::str::from_utf8(ea.name).map_err(|_| NtStatus::INVALID_EA_NAME)?;
            if name.is_empty() {
                return Err(NtStatus::INVALID_EA_NAME);
            }
            Ok(Ea {
                flags: ea.flags,
                name: name.to_owned(),
                value: ea.value.to_vec(),
            })
        })
        .collect()
}
