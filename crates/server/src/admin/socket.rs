//! Unix sockets in folders whose path may be too long for a socket's address.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Bytes a socket's address takes, less the ending zero.
const LONGEST: usize = 107;

/// Calls `with` with a path to the socket that is short enough.
fn short<T>(path: &Path, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= LONGEST {
        return with(path);
    }
    // The folder through its descriptor, which must stay open meanwhile.
    let folder = File::open(path.parent().unwrap_or_else(|| Path::new(".")))?;
    let name = path.file_name().unwrap_or_default();
    let through = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    with(&through)
}

pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    short(path, |path| UnixListener::bind(path))
}

pub(crate) fn connect(path: &Path) -> io::Result<UnixStream> {
    short(path, |path| UnixStream::connect(path))
}
