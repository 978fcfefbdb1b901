//! Information that is asked and set, [MS-FSA] 2.1.5.12 and 2.1.5.15.

use std::sync::Arc;

use countersign_wire::fscc::{AccessMask, CompletionFilter, FileAttributes};

use super::FileService;
use super::handle::Open;
use super::io::MAX_OFFSET;
use super::notify::Happened;
use crate::FsError;
use crate::call::{CallContext, FsReply, Outcome};
use crate::types::{Ea, SetBasic, TimeChange};

type Answer = Result<FsReply, FsError>;

fn need(open: &Open, rights: AccessMask) -> Result<(), FsError> {
    if open.granted.contains(rights) {
        Ok(())
    } else {
        Err(FsError::AccessDenied)
    }
}

impl FileService {
    pub(super) fn short_name(&self, open: &Open) -> Result<String, FsError> {
        if !open.share.options.short_names {
            return Err(FsError::NameNotFound);
        }
        if open.is_stream() {
            return Err(FsError::InvalidParameter);
        }
        open.share.backend.short_name(&open.path())
    }

    pub(super) fn query_ea(
        &self,
        open: &Open,
        names: Option<Vec<String>>,
    ) -> Result<Vec<Ea>, FsError> {
        need(open, AccessMask::READ_EA)?;
        let eas = open.handle.eas()?;
        let Some(names) = names else { return Ok(eas) };
        // One that is asked for and is not there is told with no value.
        Ok(names
            .into_iter()
            .map(|name| {
                eas.iter()
                    .find(|e| e.name.eq_ignore_ascii_case(&name))
                    .cloned()
                    .unwrap_or(Ea {
                        flags: 0,
                        name,
                        value: Vec::new(),
                    })
            })
            .collect())
    }

    pub(super) fn set_ea(&self, open: &Open, eas: &[Ea]) -> Answer {
        need(open, AccessMask::WRITE_EA)?;
        let mut bytes: usize = 0;
        for ea in eas {
            if !lawful_ea_name(&ea.name) {
                return Err(FsError::InvalidEaName);
            }
            bytes = bytes
                .saturating_add(ea.name.len())
                .saturating_add(ea.value.len() + 9);
        }
        if bytes > self.limits.ea_bytes {
            return Err(FsError::EaTooLarge);
        }
        for ea in eas {
            open.handle.set_ea(ea)?;
        }
        self.happened(
            &open.share,
            &open.path(),
            Happened::Modified(CompletionFilter::EA),
        );
        Ok(FsReply::Done)
    }

    pub(super) fn set_basic(self: &Arc<Self>, open: &Arc<Open>, set: &SetBasic) -> Answer {
        need(open, AccessMask::WRITE_ATTRIBUTES)?;
        let directory = open.node.directory;
        let attributes = set.attributes.filter(|a| !a.is_empty());
        if let Some(a) = attributes
            && ((directory && a.contains(FileAttributes::TEMPORARY))
                || (!directory && a.contains(FileAttributes::DIRECTORY)))
        {
            return Err(FsError::InvalidParameter);
        }
        let mut changed = CompletionFilter::empty();
        if let Some(a) = attributes {
            open.handle
                .set_attributes(a - (FileAttributes::NORMAL | FileAttributes::DIRECTORY))?;
            changed |= CompletionFilter::ATTRIBUTES;
        }
        open.set_basic_times(set)?;
        for (change, bit) in [
            (set.creation, CompletionFilter::CREATION),
            (set.last_access, CompletionFilter::LAST_ACCESS),
            (set.last_write, CompletionFilter::LAST_WRITE),
        ] {
            if matches!(change, Some(TimeChange::Set(_))) {
                changed |= bit;
            }
        }
        if !changed.is_empty() {
            self.happened(&open.share, &open.path(), Happened::Modified(changed));
            self.break_folder(&open.share, &open.path(), open.client, open.parent_lease);
        }
        Ok(FsReply::Done)
    }

    pub(super) fn set_end_of_file(self: &Arc<Self>, open: &Arc<Open>, size: u64) -> Answer {
        if open.is_directory() {
            return Err(FsError::InvalidParameter);
        }
        need(open, AccessMask::WRITE_DATA)?;
        if size > MAX_OFFSET {
            return Err(FsError::InvalidParameter);
        }
        self.break_readers(open);
        open.handle.set_len(size)?;
        open.note_write();
        self.length_changed(open);
        Ok(FsReply::Done)
    }

    fn length_changed(&self, open: &Open) {
        if self.is_watched() {
            let what = if open.is_stream() {
                Happened::StreamChanged
            } else {
                Happened::Modified(
                    CompletionFilter::SIZE
                        | CompletionFilter::LAST_WRITE
                        | CompletionFilter::ATTRIBUTES,
                )
            };
            self.happened(&open.share, &open.path(), what);
        }
    }

    pub(super) fn set_allocation(
        self: &Arc<Self>,
        context: &CallContext,
        open: Arc<Open>,
        size: u64,
    ) -> Outcome {
        let checked = if open.is_directory() || size > MAX_OFFSET {
            Err(FsError::InvalidParameter)
        } else {
            need(&open, AccessMask::WRITE_DATA)
        };
        if let Err(e) = checked {
            return Outcome::Ready(Err(e));
        }
        let large = size > self.limits.change_inline;
        let service = self.clone();
        self.maybe_offload(context, large, move || {
            service.break_readers(&open);
            let end = open.handle.metadata()?.end_of_file;
            if size < end {
                open.handle.set_len(size)?;
                open.note_write();
                service.length_changed(&open);
            } else {
                open.handle.allocate(size)?;
            }
            Ok(FsReply::Done)
        })
    }

    /// Does a piece of work here, or in the pool when it may take long.
    pub(super) fn maybe_offload(
        self: &Arc<Self>,
        context: &CallContext,
        offload: bool,
        work: impl FnOnce() -> Answer + Send + 'static,
    ) -> Outcome {
        if !offload {
            return Outcome::Ready(work());
        }
        let pending = self.pend(context, false, None);
        let service = self.clone();
        self.host.offload(Box::new(move || {
            service.answer(&pending, work());
        }));
        Outcome::Pending
    }

    pub(super) fn set_sparse(&self, open: &Open, sparse: bool) -> Answer {
        if open.is_directory() {
            return Err(FsError::InvalidParameter);
        }
        if !open.granted.intersects(
            AccessMask::WRITE_DATA | AccessMask::APPEND_DATA | AccessMask::WRITE_ATTRIBUTES,
        ) {
            return Err(FsError::AccessDenied);
        }
        open.handle.set_sparse(sparse)?;
        self.happened(
            &open.share,
            &open.path(),
            Happened::Modified(CompletionFilter::ATTRIBUTES),
        );
        Ok(FsReply::Done)
    }

    pub(super) fn zero_range(
        self: &Arc<Self>,
        context: &CallContext,
        open: Arc<Open>,
        offset: u64,
        beyond: u64,
    ) -> Outcome {
        let checked = if open.is_directory() || beyond > MAX_OFFSET || offset > beyond {
            Err(FsError::InvalidParameter)
        } else {
            need(&open, AccessMask::WRITE_DATA).and_then(|()| {
                open.stream
                    .check_locks(open.id, 0, offset, beyond - offset, true)
            })
        };
        if let Err(e) = checked {
            return Outcome::Ready(Err(e));
        }
        let service = self.clone();
        let large = beyond - offset > self.limits.change_inline;
        self.maybe_offload(context, large, move || {
            let end = open.handle.metadata()?.end_of_file;
            let beyond = beyond.min(end);
            if offset < beyond {
                service.break_readers(&open);
                open.handle.zero(offset, beyond - offset)?;
                open.note_write();
                service.data_changed(&open);
            }
            Ok(FsReply::Done)
        })
    }

    pub(super) fn allocated_ranges(
        &self,
        open: &Open,
        offset: u64,
        length: u64,
    ) -> Result<Vec<(u64, u64)>, FsError> {
        if open.is_directory() || offset.checked_add(length).is_none_or(|e| e > MAX_OFFSET) {
            return Err(FsError::InvalidParameter);
        }
        need(open, AccessMask::READ_DATA)?;
        let metadata = open.handle.metadata()?;
        if !metadata.attributes.contains(FileAttributes::SPARSE_FILE) {
            // Only sparse files have holes that are told.
            let end = offset.saturating_add(length).min(metadata.end_of_file);
            return Ok(if offset < end {
                vec![(offset, end - offset)]
            } else {
                Vec::new()
            });
        }
        open.handle.allocated(offset, length)
    }

    pub(super) fn get_reparse(&self, open: &Open) -> Result<Vec<u8>, FsError> {
        let (tag, data) = open.handle.reparse()?.ok_or(FsError::NotAReparsePoint)?;
        let mut out = tag.to_le_bytes().to_vec();
        let length = u16::try_from(data.len()).map_err(|_| FsError::ReparseDataInvalid)?;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&data);
        Ok(out)
    }

    pub(super) fn set_reparse(&self, open: &Open, tag: u32, data: &[u8]) -> Answer {
        if !open
            .granted
            .intersects(AccessMask::WRITE_DATA | AccessMask::WRITE_ATTRIBUTES)
        {
            return Err(FsError::AccessDenied);
        }
        if data.is_empty() {
            match open.handle.reparse()? {
                None => return Err(FsError::NotAReparsePoint),
                Some((there, _)) if there != tag => return Err(FsError::ReparseDataInvalid),
                Some(_) => open.handle.set_reparse(None)?,
            }
        } else {
            open.handle.set_reparse(Some((tag, data)))?;
        }
        self.happened(
            &open.share,
            &open.path(),
            Happened::Modified(CompletionFilter::ATTRIBUTES),
        );
        Ok(FsReply::Done)
    }

    /// FILE_OBJECTID_BUFFER, [MS-FSCC] 2.1.3: 16 bytes of id, 48 of origin.
    pub(super) fn object_id(&self, open: &Open, create: bool) -> Result<Vec<u8>, FsError> {
        const NAME: &str = "object-id";
        if let Some(bytes) = open.handle.property(NAME)?
            && bytes.len() == 64
        {
            return Ok(bytes);
        }
        if !create {
            return Err(FsError::NotFound);
        }
        let mut id = [0u8; 16];
        self.host.random(&mut id);
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&id);
        let volume = open.share.backend.volume()?.object_id;
        bytes.extend_from_slice(&volume.0);
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&[0; 16]);
        open.handle.set_property(NAME, &bytes)?;
        Ok(bytes)
    }
}

/// [MS-FSCC] 2.4.16: printable ASCII without wildcards and separators.
fn lawful_ea_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 254
        && name
            .bytes()
            .all(|b| (0x20..0x7F).contains(&b) && !b"\\/:*?\"<>|,+=[];".contains(&b))
}
