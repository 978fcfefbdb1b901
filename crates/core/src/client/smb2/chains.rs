//! Calls on paths: chains of related requests, one round trip each,
//! [MS-SMB2] 3.2.4.1.4.

use countersign_wire::fscc::{
    AccessMask, BasicInformation, CreateOptions, Disposition, FileAttributes, ShareAccess,
    file_class,
};
use countersign_wire::smb2::{FileId, info_type};
use countersign_wire::{FileTime, Writer};

use super::Smb2;
use super::flight::{Flight, Kind, Part};
use super::requests::{close, query, query_directory, read, rename, set, set_delete, write};
use crate::client::call::{Call, OpenRequest, PathRequest};
use crate::client::engine::Transfer;
use crate::client::failure::Failure;

/// FileId of "the one opened before in this chain".
const RELATED: FileId = FileId::NONE;

impl Smb2 {
    /// CREATE, what stands between, CLOSE.
    fn around(
        &self,
        at: &PathRequest,
        kind: Kind,
        mut request: OpenRequest,
        between: Vec<Part>,
        query_at_end: bool,
    ) -> Result<Flight, Failure> {
        self.trees.get(&at.tree).ok_or(Failure::UnknownHandle)?;
        if at.no_follow {
            request.options |= CreateOptions::OPEN_REPARSE_POINT;
        }
        let (create, _) = self.create(at.tree, &request);
        let mut parts = vec![create];
        parts.extend(between);
        parts.push(close(RELATED, query_at_end));
        Ok(Flight::new(kind, Some(at.tree), parts))
    }

    pub(super) fn chain(&self, call: Call, sizes: Transfer) -> Result<Flight, Failure> {
        let existing = |at: &PathRequest, access| OpenRequest::existing(at.path.clone(), access);
        match call {
            Call::QueryPath { at, class, .. } if class == file_class::NETWORK_OPEN => {
                let request = existing(&at, AccessMask::READ_ATTRIBUTES);
                self.around(&at, Kind::Stat, request, Vec::new(), false)
            }
            Call::QueryPath { at, class, max } => {
                let mut access = AccessMask::READ_ATTRIBUTES;
                if matches!(
                    class,
                    file_class::EA | file_class::FULL_EA | file_class::ALL
                ) {
                    access |= AccessMask::READ_EA;
                }
                let request = existing(&at, access);
                let most = max.min(sizes.transact);
                let part = query(RELATED, info_type::FILE, class, 0, most, &[]);
                self.around(&at, Kind::PathInfo, request, vec![part], false)
            }
            Call::SetPath { at, class, data } => {
                let access = match class {
                    file_class::END_OF_FILE
                    | file_class::ALLOCATION
                    | file_class::VALID_DATA_LENGTH => AccessMask::WRITE_DATA,
                    file_class::FULL_EA => AccessMask::WRITE_EA,
                    _ => AccessMask::WRITE_ATTRIBUTES,
                };
                let request = existing(&at, access | AccessMask::SYNCHRONIZE);
                let part = set(RELATED, info_type::FILE, class, 0, &data);
                self.around(&at, Kind::PathDone, request, vec![part], false)
            }
            Call::RenamePath { at, to, replace } => {
                let access =
                    AccessMask::DELETE | AccessMask::READ_ATTRIBUTES | AccessMask::SYNCHRONIZE;
                let request = existing(&at, access);
                let part = rename(RELATED, file_class::RENAME, &to, replace);
                self.around(&at, Kind::PathDone, request, vec![part], false)
            }
            Call::Link { at, to, replace } => {
                let access = AccessMask::WRITE_ATTRIBUTES | AccessMask::SYNCHRONIZE;
                let request = existing(&at, access);
                let part = rename(RELATED, file_class::LINK, &to, replace);
                self.around(&at, Kind::PathDone, request, vec![part], false)
            }
            Call::Remove { at, directory } => {
                let mut request = existing(&at, AccessMask::DELETE);
                request.options |= if directory {
                    CreateOptions::DIRECTORY_FILE
                } else {
                    CreateOptions::NON_DIRECTORY_FILE
                };
                let part = set_delete(RELATED, true);
                self.around(&at, Kind::PathDone, request, vec![part], false)
            }
            Call::CreateDirectory { at } => {
                let mut request =
                    existing(&at, AccessMask::READ_ATTRIBUTES | AccessMask::SYNCHRONIZE);
                request.disposition = Disposition::Create;
                request.options |= CreateOptions::DIRECTORY_FILE;
                self.around(&at, Kind::PathDone, request, Vec::new(), false)
            }
            Call::ReadFile { at, max } => {
                self.trees.get(&at.tree).ok_or(Failure::UnknownHandle)?;
                let mut request = existing(
                    &at,
                    AccessMask::READ_DATA | AccessMask::READ_ATTRIBUTES | AccessMask::SYNCHRONIZE,
                );
                request.options |= CreateOptions::NON_DIRECTORY_FILE;
                let (create, _) = self.create(at.tree, &request);
                let length = max.clamp(1, sizes.whole.max(1));
                let parts = vec![create, read(RELATED, 0, length), close(RELATED, false)];
                Ok(Flight::new(Kind::Whole(length), Some(at.tree), parts))
            }
            Call::WriteFile {
                at,
                disposition,
                attributes,
                data,
                last_write,
            } => {
                let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
                if length > sizes.whole {
                    return Err(Failure::Limit("too large to be written in one go"));
                }
                let mut access = AccessMask::WRITE_DATA
                    | AccessMask::APPEND_DATA
                    | AccessMask::READ_ATTRIBUTES
                    | AccessMask::SYNCHRONIZE;
                let mut between = Vec::new();
                if length > 0 {
                    between.push(write(RELATED, 0, data, false));
                }
                if let Some(last_write) = last_write {
                    access |= AccessMask::WRITE_ATTRIBUTES;
                    let mut basic = Vec::new();
                    BasicInformation {
                        creation: FileTime::ZERO,
                        last_access: FileTime::ZERO,
                        last_write,
                        change: FileTime::ZERO,
                        attributes: FileAttributes::empty(),
                    }
                    .encode(&mut Writer::new(&mut basic));
                    between.push(set(RELATED, info_type::FILE, file_class::BASIC, 0, &basic));
                }
                let mut request = existing(&at, access);
                request.disposition = disposition;
                request.attributes = attributes;
                request.share = ShareAccess::READ;
                request.options |= CreateOptions::NON_DIRECTORY_FILE;
                self.around(&at, Kind::Written(length), request, between, true)
            }
            Call::ListStart { at, pattern } => {
                self.trees.get(&at.tree).ok_or(Failure::UnknownHandle)?;
                let mut request = existing(
                    &at,
                    AccessMask::READ_DATA | AccessMask::READ_ATTRIBUTES | AccessMask::SYNCHRONIZE,
                );
                request.attributes = FileAttributes::empty();
                request.options |= CreateOptions::DIRECTORY_FILE;
                let (create, facts) = self.create(at.tree, &request);
                let most = sizes.transact;
                // The second tells that there is no more, or brings it.
                let parts = vec![
                    create,
                    query_directory(RELATED, &pattern, true, most),
                    query_directory(RELATED, &pattern, false, most),
                ];
                let kind = Kind::ListStart(Box::new(facts));
                Ok(Flight::new(kind, Some(at.tree), parts))
            }
            _ => Err(Failure::Unsupported("no call on a path")),
        }
    }
}
