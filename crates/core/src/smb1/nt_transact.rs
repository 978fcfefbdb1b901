//! NT_TRANSACT: IOCTL, security descriptors, NOTIFY_CHANGE, RENAME;
//! [MS-CIFS] 3.3.5.59 and [MS-SMB] 3.3.5.10.

use countersign_fs::{FsCall, FsError, FsReply};
use countersign_wire::fscc::{CompletionFilter, NotifyInformation};
use countersign_wire::smb1::trans2 as wire;
use countersign_wire::smb1::transaction::Answer as TransactionAnswer;
use countersign_wire::{NtStatus, Reader, Writer};

use super::pipe;
use super::request::{Request, Stop};
use super::state::FileKind;
use super::transaction::{Outcome, Transaction};

pub(super) async fn query_security(cx: &Request, t: &Transaction) -> Result<Outcome, Stop> {
    let p = wire::SecurityDescParameters::decode(&mut Reader::new(&t.parameters))?;
    let open = cx.file(p.fid)?;
    let call = FsCall::QuerySecurity {
        open,
        parts: p.security_information,
    };
    let descriptor = match cx.call(call).await? {
        FsReply::Security(descriptor) => descriptor,
        _ => return Err(Stop::Status(NtStatus::INTERNAL_ERROR)),
    };
    let needed = u32::try_from(descriptor.len()).unwrap_or(u32::MAX);
    let parameters = needed.to_le_bytes().to_vec();
    if descriptor.len() > t.max_data() {
        // The length needed comes with the error.
        return Ok(Outcome::new(
            NtStatus::BUFFER_TOO_SMALL,
            parameters,
            Vec::new(),
        ));
    }
    Ok(Outcome::new(NtStatus::SUCCESS, parameters, descriptor))
}

pub(super) async fn set_security(cx: &Request, t: &Transaction) -> Result<Outcome, Stop> {
    let p = wire::SecurityDescParameters::decode(&mut Reader::new(&t.parameters))?;
    let open = cx.file(p.fid)?;
    if t.data.is_empty() {
        return Err(Stop::Status(NtStatus::INVALID_SECURITY_DESCR));
    }
    let call = FsCall::SetSecurity {
        open,
        parts: p.security_information,
        descriptor: t.data.clone(),
    };
    cx.call(call).await?;
    Ok(TransactionAnswer::default().into())
}

pub(super) async fn notify(cx: &Request, t: &Transaction) -> Result<Outcome, Stop> {
    let p = wire::NotifyChangeSetup::decode(&mut Reader::new(&t.head.setup))?;
    let open = cx.file(p.fid)?;
    let call = FsCall::Notify {
        open,
        filter: CompletionFilter::from_bits_retain(p.completion_filter),
        recursive: p.watch_tree != 0,
        max_bytes: t.head.max_parameters,
    };
    match cx.call(call).await {
        Ok(FsReply::Changes(list)) => {
            let changes = list.iter().map(|c| (c.action as u32, c.name.as_str()));
            let mut parameters = Vec::new();
            NotifyInformation::encode_list(changes, &mut Writer::new(&mut parameters));
            Ok(Outcome::new(NtStatus::SUCCESS, parameters, Vec::new()))
        }
        Ok(_) => Err(Stop::Status(NtStatus::INTERNAL_ERROR)),
        // Too much has changed, or the folder was closed: success with nothing
        // in it says so.
        Err(FsError::NotifyEnumDir | FsError::NotifyCleanup) => {
            Ok(TransactionAnswer::default().into())
        }
        Err(e) => Err(e.into()),
    }
}

/// NT_TRANSACT_RENAME: Windows looks at the FID and does nothing.
pub(super) fn rename(cx: &Request, t: &Transaction) -> Result<Outcome, Stop> {
    let (p, _) = wire::decode_nt_rename(&t.parameters, cx.text())?;
    cx.file(p.fid)?;
    Ok(TransactionAnswer::default().into())
}

const FSCTL_GET_OBJECT_ID: u32 = 0x0009_009C;
const FSCTL_SET_REPARSE_POINT: u32 = 0x0009_00A4;
const FSCTL_GET_REPARSE_POINT: u32 = 0x0009_00A8;
const FSCTL_DELETE_REPARSE_POINT: u32 = 0x0009_00AC;
const FSCTL_CREATE_OR_GET_OBJECT_ID: u32 = 0x0009_00C0;
const FSCTL_SET_SPARSE: u32 = 0x0009_00C4;
const FSCTL_QUERY_ALLOCATED_RANGES: u32 = 0x0009_40CF;
const FSCTL_SET_ZERO_DATA: u32 = 0x0009_80C8;
const FSCTL_PIPE_TRANSCEIVE: u32 = 0x0011_C017;
const FSCTL_GET_COMPRESSION: u32 = 0x0009_003C;
const FSCTL_IS_VOLUME_MOUNTED: u32 = 0x0009_0028;

fn answer(max: usize, mut data: Vec<u8>) -> Outcome {
    let status = if data.len() > max {
        data.truncate(max);
        NtStatus::BUFFER_OVERFLOW
    } else {
        NtStatus::SUCCESS
    };
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    Outcome {
        status,
        answer: TransactionAnswer {
            setup: length.to_le_bytes().to_vec(),
            parameters: Vec::new(),
            data,
        },
    }
}

pub(super) async fn ioctl(cx: &Request, t: &Transaction) -> Result<Outcome, Stop> {
    let p = wire::IoctlSetup::decode(&mut Reader::new(&t.head.setup))?;
    let (_, file) = cx.file_entry(p.fid)?;
    let max = t.max_data();
    let open = match file.kind {
        FileKind::Pipe(pipe) if p.function_code == FSCTL_PIPE_TRANSCEIVE => {
            let (status, data) = pipe::transact(cx, &pipe, &t.data, max).await?;
            return Ok(Outcome {
                status,
                ..answer(max, data)
            });
        }
        FileKind::Pipe(_) => return Err(Stop::Status(NtStatus::NOT_SUPPORTED)),
        FileKind::File(open) => open,
    };
    if p.is_fsctl == 0 {
        return Err(Stop::Status(NtStatus::NOT_SUPPORTED));
    }
    let mut r = Reader::new(&t.data);
    let call = match p.function_code {
        FSCTL_GET_OBJECT_ID => FsCall::ObjectId {
            open,
            create: false,
        },
        FSCTL_CREATE_OR_GET_OBJECT_ID => FsCall::ObjectId { open, create: true },
        FSCTL_SET_SPARSE => FsCall::SetSparse {
            open,
            sparse: t.data.first().is_none_or(|b| *b != 0),
        },
        FSCTL_SET_ZERO_DATA => FsCall::ZeroRange {
            open,
            offset: r.u64("FileOffset")?,
            beyond: r.u64("BeyondFinalZero")?,
        },
        FSCTL_QUERY_ALLOCATED_RANGES => FsCall::AllocatedRanges {
            open,
            offset: r.u64("FileOffset")?,
            length: r.u64("Length")?,
        },
        FSCTL_GET_REPARSE_POINT => FsCall::GetReparse { open },
        FSCTL_SET_REPARSE_POINT => {
            let tag = r.u32("ReparseTag")?;
            FsCall::SetReparse {
                open,
                tag,
                data: t.data.clone(),
            }
        }
        FSCTL_DELETE_REPARSE_POINT => {
            let tag = r.u32("ReparseTag")?;
            FsCall::SetReparse {
                open,
                tag,
                data: Vec::new(),
            }
        }
        FSCTL_GET_COMPRESSION => return Ok(answer(max, vec![0, 0])),
        FSCTL_IS_VOLUME_MOUNTED => return Ok(answer(max, Vec::new())),
        _ => return Err(Stop::Status(NtStatus::NOT_SUPPORTED)),
    };
    match cx.call(call).await? {
        FsReply::Bytes(data) => Ok(answer(max, data)),
        FsReply::Ranges(list) => {
            let mut data = Vec::with_capacity(list.len().saturating_mul(16));
            for (offset, length) in list {
                data.extend(offset.to_le_bytes());
                data.extend(length.to_le_bytes());
            }
            Ok(answer(max, data))
        }
        _ => Ok(answer(max, Vec::new())),
    }
}
