//! [MS-SMB2] 3.3.5.20 QUERY_INFO.

use std::sync::Arc;

use countersign_fs::{FsCall, FsReply, Open};
use countersign_wire::NtStatus;
use countersign_wire::fscc::{decode_ea_names, file_class, fs_class};
use countersign_wire::smb2::{QueryInfoRequest, QueryInfoResponse, dialect, info_type};

use super::handler::{Context, Response, Step};
use super::pipe;
use super::session::OpenKind;
use crate::info::{self, FileFacts, FileSource, Info};
use crate::status;

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    let Ok(request) = QueryInfoRequest::decode(cx.request.message()) else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    if request.output_buffer_length > cx.max_transact() {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    }
    let Some(entry) = cx.open() else {
        return Step::Fail(NtStatus::FILE_CLOSED);
    };
    let max = usize::try_from(request.output_buffer_length).unwrap_or(usize::MAX);
    let class = request.information_class;
    match (request.info_type, &entry.kind) {
        (info_type::FILE, OpenKind::Pipe(_)) => pipe::query_info(cx, &entry, class, max),
        (info_type::FILESYSTEM, OpenKind::Pipe(_)) if class == fs_class::DEVICE => {
            fit(info::device(true), max)
        }
        (_, OpenKind::Pipe(_)) => Step::Fail(NtStatus::INVALID_DEVICE_REQUEST),
        // Dialects before 3.1.1 do not have it.
        (info_type::FILE, OpenKind::File(_))
            if class == file_class::NORMALIZED_NAME && cx.state.dialect() < dialect::SMB_3_1_1 =>
        {
            Step::Fail(NtStatus::NOT_SUPPORTED)
        }
        (info_type::FILE, OpenKind::File(open)) => file(open, &request, max),
        (info_type::FILESYSTEM, OpenKind::File(_)) => {
            Step::call(FsCall::Volume, move |_, result| match result {
                Ok(FsReply::Volume(facts)) => either(info::volume(class, &facts), max),
                Ok(_) => Step::Fail(NtStatus::INTERNAL_ERROR),
                Err(error) => Step::Fail(status::of(error)),
            })
        }
        (info_type::SECURITY, OpenKind::File(open)) => {
            security(open, request.additional_information, max)
        }
        (info_type::QUOTA, OpenKind::File(_)) => Step::Fail(NtStatus::NOT_SUPPORTED),
        _ => Step::Fail(NtStatus::INVALID_PARAMETER),
    }
}

pub(super) fn fit(info: Info, max: usize) -> Step {
    match info.fit(max) {
        Ok((status, data)) => answer(status, &data),
        Err(status) => Step::Fail(status),
    }
}

fn either(info: Result<Info, NtStatus>, max: usize) -> Step {
    match info {
        Ok(info) => fit(info, max),
        Err(status) => Step::Fail(status),
    }
}

fn answer(status: NtStatus, data: &[u8]) -> Step {
    let body = QueryInfoResponse { buffer: data };
    Step::Reply(Response::with_capacity(
        status,
        data.len().saturating_add(8),
        |w| body.encode(w),
    ))
}

fn file(open: &Arc<Open>, request: &QueryInfoRequest<'_>, max: usize) -> Step {
    let class = request.information_class;
    let Some(source) = info::file_source(class) else {
        return Step::Fail(NtStatus::INVALID_INFO_CLASS);
    };
    if !open.may(info::needed_right(class)) {
        return Step::Fail(NtStatus::ACCESS_DENIED);
    }
    let open = Arc::clone(open);
    let call = match source {
        FileSource::Stat => FsCall::Stat { open: open.clone() },
        FileSource::Streams => FsCall::Streams { open },
        FileSource::ShortName => FsCall::ShortName { open },
        FileSource::NormalizedName => FsCall::NormalizedName { open },
        FileSource::Eas => {
            let names = match names(request.input) {
                Ok(names) => names,
                Err(status) => return Step::Fail(status),
            };
            FsCall::QueryEa { open, names }
        }
    };
    let stat_of = match &call {
        FsCall::Stat { open } => Some(open.clone()),
        _ => None,
    };
    Step::call(call, move |_, result| match (result, stat_of) {
        (Ok(FsReply::Metadata(m)), Some(open)) => {
            either(info::file(class, &m, &FileFacts::of(&open)), max)
        }
        (Ok(FsReply::Streams(list)), _) => {
            // A folder without streams has nothing to tell, in however small a buffer.
            let info = info::streams(&list);
            if list.is_empty() {
                answer(NtStatus::SUCCESS, &[])
            } else {
                fit(info, max)
            }
        }
        (Ok(FsReply::Name(name)), _) => fit(info::name(&name), max),
        (Ok(FsReply::Eas(list)), _) => match info::eas(&list, max) {
            Ok((status, data)) => answer(status, &data),
            Err(status) => Step::Fail(status),
        },
        (Ok(_), _) => Step::Fail(NtStatus::INTERNAL_ERROR),
        (Err(error), _) if class == file_class::ALTERNATE_NAME => {
            Step::Fail(match status::of(error) {
                NtStatus::NOT_SUPPORTED => NtStatus::OBJECT_NAME_NOT_FOUND,
                other => other,
            })
        }
        (Err(error), _) => Step::Fail(status::of(error)),
    })
}

/// The names of extended attributes asked for; `None`: all.
fn names(input: &[u8]) -> Result<Option<Vec<String>>, NtStatus> {
    if input.is_empty() {
        return Ok(None);
    }
    let list = decode_ea_names(input).map_err(|_| NtStatus::EA_LIST_INCONSISTENT)?;
    let names = list
        .iter()
        .map(|n| String::from_utf8_lossy(n).into_owned())
        .collect();
    Ok(Some(names))
}

/// [MS-SMB2] 3.3.5.20.3: a buffer that is too small learns how large it must be.
fn security(open: &Arc<Open>, parts: u32, max: usize) -> Step {
    let call = FsCall::QuerySecurity {
        open: Arc::clone(open),
        parts,
    };
    Step::call(call, move |cx, result| match result {
        Ok(FsReply::Security(descriptor)) if descriptor.len() > max => {
            let needed = u32::try_from(descriptor.len())
                .unwrap_or(u32::MAX)
                .to_le_bytes();
            let dialect = cx.state.dialect();
            Step::Reply(Response::error_data(
                NtStatus::BUFFER_TOO_SMALL,
                dialect,
                &needed,
            ))
        }
        Ok(FsReply::Security(descriptor)) => answer(NtStatus::SUCCESS, &descriptor),
        Ok(_) => Step::Fail(NtStatus::INTERNAL_ERROR),
        Err(error) => Step::Fail(status::of(error)),
    })
}
