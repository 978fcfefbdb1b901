//! [MS-CIFS] 3.3.5.8, 3.3.5.9 and 3.3.5.53: DELETE, RENAME and NT_RENAME.

use std::sync::Arc;

use countersign_fs::call::{DirSink, OpenCall};
use countersign_fs::{DirEntry, FsCall, FsError, FsReply, Open, SmbPath};
use countersign_wire::NtStatus;
use countersign_wire::fscc::{AccessMask, CreateOptions, Disposition, FileAttributes, ShareAccess};
use countersign_wire::smb1::Block;
use countersign_wire::smb1::paths as wire;

use super::open::{close_file, open_call, open_file, open_patiently};
use super::path::{Pattern, has_wildcard, parse_pattern, resolve_target};
use super::request::{Answer, Reply, Request, Stop, words_of};

/// Names taken from a folder at a time.
const BATCH: usize = 256;

/// Takes names.
#[derive(Debug, Default)]
struct NameSink {
    names: Vec<(String, FileAttributes)>,
}

impl DirSink for NameSink {
    fn push(&mut self, entry: &DirEntry) -> bool {
        if matches!(entry.name.as_str(), "." | "..") {
            return true;
        }
        if self.names.len() == BATCH {
            return false;
        }
        self.names
            .push((entry.name.clone(), entry.metadata.attributes));
        true
    }

    fn into_any(self: Box<Self>) -> Box<dyn core::any::Any + Send> {
        self
    }
}

/// The names in a folder that match, all of them.
async fn matching(
    cx: &Request,
    pattern: &Pattern,
    attributes: FileAttributes,
) -> Result<Vec<(String, FileAttributes)>, Stop> {
    let folder = open_folder(cx, pattern.folder.clone()).await?;
    let mut all = Vec::new();
    let mut restart = true;
    let result = loop {
        let call = FsCall::List {
            open: Arc::clone(&folder),
            pattern: pattern.pattern.clone(),
            restart,
            single: false,
            resume_after: None,
            attributes: Some(attributes),
            sink: Box::new(NameSink::default()),
        };
        restart = false;
        match cx.call(call).await {
            Ok(FsReply::Listing { sink, end, .. }) => {
                if let Ok(sink) = sink.into_any().downcast::<NameSink>() {
                    all.extend(sink.names);
                }
                if end {
                    break Ok(());
                }
            }
            Ok(_) => break Err(FsError::Io),
            Err(FsError::NoMoreFiles | FsError::NoSuchFile) => break Ok(()),
            Err(e) => break Err(e),
        }
    };
    close_file(cx, folder).await;
    result?;
    Ok(all)
}

/// Opens a folder to list it. What is missing is a part of the path.
pub(super) async fn open_folder(cx: &Request, path: SmbPath) -> Result<Arc<Open>, Stop> {
    let call = OpenCall {
        access: AccessMask::READ_DATA | AccessMask::READ_ATTRIBUTES | AccessMask::SYNCHRONIZE,
        options: CreateOptions::DIRECTORY_FILE,
        ..open_call(cx, path)
    };
    match open_file(cx, call).await {
        Ok(opened) => Ok(opened.open),
        Err(FsError::NameNotFound | FsError::NotADirectory) => {
            Err(Stop::Status(NtStatus::OBJECT_PATH_NOT_FOUND))
        }
        Err(e) => Err(e.into()),
    }
}

/// The bits of SearchAttributes that let HIDDEN, SYSTEM and folders in.
pub(super) fn inclusive(search: u16) -> FileAttributes {
    FileAttributes::from_bits_retain(u32::from(search))
        & (FileAttributes::HIDDEN | FileAttributes::SYSTEM | FileAttributes::DIRECTORY)
}

/// Whether SearchAttributes let a file with these attributes in.
fn let_in(search: u16, attributes: FileAttributes) -> bool {
    let kinds = FileAttributes::HIDDEN | FileAttributes::SYSTEM | FileAttributes::DIRECTORY;
    inclusive(search).contains(attributes & kinds)
}

pub(super) async fn delete(cx: &mut Request, block: &Block<'_>) -> Answer {
    let w = words_of(block, &[1], wire::SearchAttributesWords::decode)?;
    let name = wire::decode_name(block, cx.text())?;
    let search = w.search_attributes;
    let last = name.rsplit(['\\', '/']).next().unwrap_or("");
    if !has_wildcard(last) {
        let path = cx.path(&name)?;
        if path.is_root() {
            return Err(Stop::Status(NtStatus::FILE_IS_A_DIRECTORY));
        }
        delete_one(cx, path, search).await?;
        return Ok(Reply::empty());
    }
    let pattern = parse_pattern(cx, &name)?;
    // Folders are never deleted so, whatever the attributes say.
    let wanted = inclusive(search) - FileAttributes::DIRECTORY;
    if search & 0x10 != 0 && search & 0x0F == 0 && wanted.is_empty() && search & 0x20 == 0 {
        // Only folders were asked for.
        return Err(Stop::Status(NtStatus::OBJECT_NAME_INVALID));
    }
    let names = matching(cx, &pattern, wanted).await?;
    let mut deleted = 0_usize;
    let mut failure = None;
    for (name, _) in names {
        let path = pattern.folder.join(&name)?;
        match delete_one(cx, path, search).await {
            Ok(()) => deleted += 1,
            Err(stop) => failure = failure.or(Some(stop)),
        }
    }
    match failure {
        Some(stop) if deleted == 0 => Err(stop),
        None if deleted == 0 => Err(Stop::Status(NtStatus::NO_SUCH_FILE)),
        _ => Ok(Reply::empty()),
    }
}

async fn delete_one(cx: &Request, path: SmbPath, search: u16) -> Result<(), Stop> {
    let call = OpenCall {
        access: AccessMask::DELETE | AccessMask::READ_ATTRIBUTES | AccessMask::SYNCHRONIZE,
        // Nobody else may have it open, whatever they share.
        share_access: ShareAccess::empty(),
        options: CreateOptions::NON_DIRECTORY_FILE | CreateOptions::OPEN_REPARSE_POINT,
        ..open_call(cx, path)
    };
    let opened = open_patiently(cx, call).await?;
    let result = if let_in(search, opened.metadata.attributes) {
        let open = Arc::clone(&opened.open);
        let set = FsCall::SetDisposition {
            open,
            delete: true,
            posix: false,
            ignore_readonly: false,
        };
        cx.call(set).await.map(|_| ()).map_err(Stop::from)
    } else {
        Err(Stop::Status(NtStatus::NO_SUCH_FILE))
    };
    close_file(cx, opened.open).await;
    result
}

pub(super) async fn rename(cx: &mut Request, block: &Block<'_>) -> Answer {
    let w = words_of(block, &[1], wire::SearchAttributesWords::decode)?;
    let (old, new) = wire::decode_two_names(block, cx.text())?;
    let last = old.rsplit(['\\', '/']).next().unwrap_or("");
    if !has_wildcard(last) {
        let from = cx.path(&old)?;
        let to = target(cx, &from, &new)?;
        rename_one(cx, from, to, w.search_attributes, false).await?;
        return Ok(Reply::empty());
    }
    let pattern = parse_pattern(cx, &old)?;
    let target = parse_pattern(cx, &new)?;
    let names = matching(cx, &pattern, inclusive(w.search_attributes)).await?;
    let mut renamed = 0_usize;
    let mut failure = None;
    for (name, _) in names {
        let from = pattern.folder.join(&name)?;
        let to = target
            .folder
            .join(&resolve_target(&name, &target.pattern))?;
        match rename_one(cx, from, to, w.search_attributes, false).await {
            Ok(()) => renamed += 1,
            Err(stop) => failure = failure.or(Some(stop)),
        }
    }
    match failure {
        Some(stop) if renamed == 0 => Err(stop),
        None if renamed == 0 => Err(Stop::Status(NtStatus::NO_SUCH_FILE)),
        _ => Ok(Reply::empty()),
    }
}

/// The new path; its last component may take parts of the old name over.
fn target(cx: &Request, from: &SmbPath, new: &str) -> Result<SmbPath, Stop> {
    let last = new.rsplit(['\\', '/']).next().unwrap_or("");
    if new.starts_with(':') {
        // A stream of the same file.
        let stream = SmbPath::parse(new)?;
        return Ok(from
            .without_stream()
            .with_stream(stream.stream().unwrap_or_default()));
    }
    if !has_wildcard(last) {
        return cx.path(new);
    }
    let pattern = parse_pattern(cx, new)?;
    let name = resolve_target(from.file_name().unwrap_or_default(), last);
    Ok(pattern.folder.join(&name)?)
}

async fn rename_one(
    cx: &Request,
    from: SmbPath,
    to: SmbPath,
    search: u16,
    link: bool,
) -> Result<(), Stop> {
    if from.is_root() {
        return Err(Stop::Status(NtStatus::OBJECT_PATH_SYNTAX_BAD));
    }
    let access = if link {
        AccessMask::READ_ATTRIBUTES
    } else {
        AccessMask::DELETE
    };
    let call = OpenCall {
        access: access | AccessMask::READ_ATTRIBUTES | AccessMask::SYNCHRONIZE,
        share_access: ShareAccess::READ | ShareAccess::WRITE,
        options: CreateOptions::OPEN_REPARSE_POINT,
        ..open_call(cx, from)
    };
    let opened = open_patiently(cx, call).await?;
    // Folders need no attribute of their own here: Windows 2000 renames them
    // with any.
    let kinds = opened.metadata.attributes - FileAttributes::DIRECTORY;
    let result = if let_in(search, kinds) {
        let open = Arc::clone(&opened.open);
        let call = if link {
            FsCall::Link {
                open,
                to,
                replace: false,
            }
        } else {
            FsCall::Rename {
                open,
                to,
                replace: false,
            }
        };
        cx.call(call).await.map(|_| ()).map_err(Stop::from)
    } else {
        Err(Stop::Status(NtStatus::NO_SUCH_FILE))
    };
    close_file(cx, opened.open).await;
    result
}

pub(super) async fn nt_rename(cx: &mut Request, block: &Block<'_>) -> Answer {
    let w = words_of(block, &[4], wire::NtRenameWords::decode)?;
    let (old, new) = wire::decode_two_names(block, cx.text())?;
    let wild = |name: &str| has_wildcard(name.rsplit(['\\', '/']).next().unwrap_or(""));
    if wild(&old) || wild(&new) {
        return Err(Stop::Status(NtStatus::OBJECT_PATH_SYNTAX_BAD));
    }
    let link = match w.information_level {
        wire::RENAME_SET_LINK_INFO => true,
        wire::RENAME_RENAME_FILE => false,
        wire::RENAME_MOVE_FILE => {
            // What the specification calls a move has always been a copy.
            let from = cx.path(&old)?;
            let to = target(cx, &from, &new)?;
            copy(cx, from, to, w.search_attributes).await?;
            return Ok(Reply::empty());
        }
        MOVE_CLUSTERS => return Err(Stop::Status(NtStatus::INVALID_PARAMETER)),
        _ => return Err(Stop::Status(NtStatus::ACCESS_DENIED)),
    };
    let from = cx.path(&old)?;
    let to = target(cx, &from, &new)?;
    rename_one(cx, from, to, w.search_attributes, link).await?;
    Ok(Reply::empty())
}

/// NT_RENAME InformationLevel: move clusters, never served.
const MOVE_CLUSTERS: u16 = 0x0102;

/// Copies a file to a name that is free.
async fn copy(cx: &Request, from: SmbPath, to: SmbPath, search: u16) -> Result<(), Stop> {
    let read = OpenCall {
        access: AccessMask::READ_DATA | AccessMask::READ_ATTRIBUTES | AccessMask::SYNCHRONIZE,
        share_access: ShareAccess::READ | ShareAccess::WRITE,
        options: CreateOptions::NON_DIRECTORY_FILE,
        ..open_call(cx, from)
    };
    let source = open_patiently(cx, read).await?;
    let length = source.metadata.end_of_file;
    let result = if let_in(search, source.metadata.attributes) {
        let write = OpenCall {
            access: AccessMask::WRITE_DATA | AccessMask::READ_DATA | AccessMask::SYNCHRONIZE,
            disposition: Disposition::Create,
            options: CreateOptions::NON_DIRECTORY_FILE,
            attributes: source.metadata.attributes,
            ..open_call(cx, to)
        };
        match open_file(cx, write).await {
            Ok(made) => {
                let call = FsCall::CopyRange {
                    from: Arc::clone(&source.open),
                    from_offset: 0,
                    to: Arc::clone(&made.open),
                    to_offset: 0,
                    length,
                };
                let copied = if length == 0 {
                    Ok(())
                } else {
                    cx.call(call).await.map(|_| ())
                };
                close_file(cx, made.open).await;
                copied.map_err(Stop::from)
            }
            Err(e) => Err(e.into()),
        }
    } else {
        Err(Stop::Status(NtStatus::NO_SUCH_FILE))
    };
    close_file(cx, source.open).await;
    result
}
