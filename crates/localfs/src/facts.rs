//! From the host's stat and attributes to [`Metadata`].

use countersign_fs::{Metadata, PosixFacts, Times};
use countersign_wire::dtyp::FileTime;
use countersign_wire::fscc::FileAttributes;
use rustix::fs::{FileType, Statx, StatxFlags, StatxTimestamp};

use crate::dos::{DosInfo, settable};
use crate::folders::key_of;
use crate::root::file_type;
use crate::xattrs::Summary;

/// Unit of allocation shown when the host allocates late.
const UNIT: u64 = 4096;

fn time(t: StatxTimestamp) -> FileTime {
    FileTime::from_unix(t.tv_sec, t.tv_nsec)
}

/// When the file was made, as far as the host knows.
fn born(s: &Statx) -> FileTime {
    if StatxFlags::from_bits_retain(s.stx_mask).contains(StatxFlags::BTIME)
        && s.stx_btime.tv_sec != 0
    {
        time(s.stx_btime)
    } else {
        time(s.stx_mtime).min(time(s.stx_ctime))
    }
}

/// Attributes of a file whose DOS attributes were never stored: ARCHIVE for
/// files, nothing for folders, and READONLY where no one may write.
pub(crate) fn default_attributes(s: &Statx) -> FileAttributes {
    let mut out = FileAttributes::empty();
    if file_type(s) != FileType::Directory {
        out |= FileAttributes::ARCHIVE;
        if u32::from(s.stx_mode) & 0o222 == 0 {
            out |= FileAttributes::READONLY;
        }
    }
    out
}

/// Bytes allocated; at least what the length needs, unless the file is sparse.
pub(crate) fn allocation(s: &Statx, sparse: bool) -> u64 {
    let held = s.stx_blocks.saturating_mul(512);
    if sparse {
        held
    } else {
        held.max(s.stx_size.div_ceil(UNIT).saturating_mul(UNIT))
    }
}

/// How much later than the moment it was noted the host may say that a change
/// time was set, in 100 ns: 20 ms.
const CHANGE_SLACK: u64 = 200_000;

/// The host's time of the last change cannot be set: what a client set counts
/// until the host sees another change.
fn changed(s: &Statx, extra: &Summary) -> FileTime {
    let host = time(s.stx_ctime);
    match extra.change {
        Some((set, at)) if host.0 <= at.0.saturating_add(CHANGE_SLACK) => set,
        _ => host,
    }
}

/// All that a stat tells.
pub(crate) fn metadata(s: &Statx, extra: &Summary) -> Metadata {
    let directory = file_type(s) == FileType::Directory;
    let dos = extra
        .dos
        .as_deref()
        .and_then(DosInfo::decode)
        .unwrap_or_default();
    let mut attributes = match dos.attributes {
        Some(stored) => stored & (settable() | FileAttributes::SPARSE_FILE),
        None => default_attributes(s),
    };
    if directory {
        attributes |= FileAttributes::DIRECTORY;
        attributes -= FileAttributes::SPARSE_FILE;
    }
    if extra.reparse_tag != 0 {
        attributes |= FileAttributes::REPARSE_POINT;
    }
    let sparse = attributes.contains(FileAttributes::SPARSE_FILE);
    Metadata {
        key: key_of(s),
        times: Times {
            creation: dos.creation.unwrap_or_else(|| born(s)),
            last_access: time(s.stx_atime),
            last_write: time(s.stx_mtime),
            change: changed(s, extra),
        },
        attributes,
        end_of_file: if directory { 0 } else { s.stx_size },
        allocation_size: if directory { 0 } else { allocation(s, sparse) },
        links: s.stx_nlink,
        ea_size: extra.ea_size,
        reparse_tag: extra.reparse_tag,
        posix: Some(PosixFacts {
            mode: s.stx_mode.into(),
            uid: s.stx_uid,
            gid: s.stx_gid,
        }),
    }
}
