//! Partial files of downloads, and whether what is there may be continued.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest name of a local file, in bytes.
const LONGEST: usize = 255;

/// Where a file that is downloaded is until it is complete: beside its place, with a
/// name that tells which version of the remote file it is of. Another version has
/// another name, so that two are never mixed.
pub(super) fn partial_path(
    target: &Path,
    remote: &str,
    size: u64,
    modified: Option<SystemTime>,
) -> PathBuf {
    let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let time = modified.map(since).unwrap_or_default();
    let words = [
        remote.to_lowercase().into_bytes(),
        size.to_le_bytes().to_vec(),
        time.as_nanos().to_le_bytes().to_vec(),
    ];
    for byte in words.iter().flatten() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    }
    let end = format!(".{hash:016x}.part");
    let name = target.file_name().unwrap_or_default().as_bytes();
    let kept = name.len().min(LONGEST - 1 - end.len());
    let mut partial = vec![b'.'];
    partial.extend_from_slice(name.get(..kept).unwrap_or(name));
    partial.extend_from_slice(end.as_bytes());
    target.with_file_name(OsString::from_vec(partial))
}

/// Where a download writes.
pub(super) struct Target {
    /// The open file, at its end.
    pub(super) file: File,
    /// Where it is until it is complete; none: it is at its place already.
    pub(super) partial: Option<PathBuf>,
}

/// Opens a new target: a partial file, or the place itself where that is no regular
/// file or the folder takes no new one.
pub(super) fn create(target: &Path, partial: &Path) -> io::Result<Target> {
    let at_place = || OpenOptions::new().write(true).truncate(true).open(target);
    // A link stays one: what it leads to is written.
    if fs::symlink_metadata(target).is_ok_and(|there| there.is_symlink()) {
        return Ok(Target {
            file: File::create(target)?,
            partial: None,
        });
    }
    let there = fs::metadata(target);
    if let Ok(metadata) = &there
        && !metadata.is_file()
    {
        return Ok(Target {
            file: at_place()?,
            partial: None,
        });
    }
    match File::create(partial) {
        Ok(file) => Ok(Target {
            file,
            partial: Some(partial.to_owned()),
        }),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && there.is_ok() => {
            Ok(Target {
                file: at_place()?,
                partial: None,
            })
        }
        Err(error) => Err(error),
    }
}

/// What an earlier download left: its length and the bytes at its end.
pub(super) struct Left {
    pub(super) target: Target,
    pub(super) length: u64,
    pub(super) tail: Vec<u8>,
}

/// Looks for something to continue: the partial file of this version, or a file at
/// the place itself that is not longer than the remote one.
pub(super) fn find(
    target: &Path,
    partial: &Path,
    size: u64,
    tail: usize,
) -> io::Result<Option<Left>> {
    for (path, partial) in [(partial, Some(partial.to_owned())), (target, None)] {
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > size || metadata.len() == 0 {
            continue;
        }
        let length = metadata.len();
        let tail = read_tail(&mut file, length, tail)?;
        file.seek(SeekFrom::Start(length))?;
        return Ok(Some(Left {
            target: Target { file, partial },
            length,
            tail,
        }));
    }
    Ok(None)
}

/// The last bytes before `end`, at most `longest`.
pub(super) fn read_tail(file: &mut File, end: u64, longest: usize) -> io::Result<Vec<u8>> {
    let length = end.min(longest as u64);
    file.seek(SeekFrom::Start(end - length))?;
    let mut tail = Vec::new();
    Read::by_ref(file).take(length).read_to_end(&mut tail)?;
    Ok(tail)
}

/// A copy of that length, made after the last change, is taken as the same file.
pub(super) fn complete(
    size: u64,
    modified: Option<SystemTime>,
    copy_size: u64,
    copy_modified: Option<SystemTime>,
) -> bool {
    size == copy_size && matches!((modified, copy_modified), (Some(a), Some(b)) if b >= a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_names_tell_versions_apart() {
        let entry = |size: u64, seconds| (size, Some(UNIX_EPOCH + Duration::from_secs(seconds)));
        let path = |remote, (size, modified)| {
            partial_path(Path::new("/x/big.iso"), remote, size, modified)
        };
        let one = path("d\\big.iso", entry(5, 7));
        assert!(one.starts_with("/x"));
        let name = one.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(".big.iso.") && name.ends_with(".part"));
        assert_eq!(one, path("D\\BIG.iso", entry(5, 7)));
        assert_ne!(one, path("d\\big.iso", entry(6, 7)));
        assert_ne!(one, path("d\\big.iso", entry(5, 8)));
        assert_ne!(one, path("e\\big.iso", entry(5, 7)));
        let long = "x".repeat(255);
        let partial = partial_path(Path::new(&long), "r", 1, None);
        assert!(partial.file_name().unwrap().len() <= LONGEST);
    }

    #[test]
    fn complete_means_same_size_and_newer() {
        let at = |s| Some(UNIX_EPOCH + Duration::from_secs(s));
        assert!(complete(5, at(1), 5, at(1)) && complete(5, at(1), 5, at(9)));
        assert!(!complete(5, at(2), 5, at(1)) && !complete(5, at(1), 4, at(9)));
        assert!(!complete(5, None, 5, at(9)));
    }

    #[test]
    fn a_link_is_written_through_and_a_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (link, to) = (folder.path().join("link"), folder.path().join("to"));
        std::os::unix::fs::symlink(&to, &link).unwrap();
        let part = folder.path().join("part");
        assert!(create(&link, &part).unwrap().partial.is_none());
        assert!(to.exists() && !part.exists());
        assert!(create(&to, &part).unwrap().partial.is_some());
    }
}
