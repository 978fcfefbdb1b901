//! A share mounted over FUSE, for reading and writing, without libfuse: the kernel is
//! spoken to through /dev/fuse, and mounted with mount(2) as root, with `fusermount3`
//! otherwise.
//!
//! The kernel keeps attributes and names for [`MountOptions::attribute_timeout`]; file
//! content goes through its page cache until a file is opened again. Writes go to the
//! server at once. A file that is removed or replaced while it is open here gets a
//! hidden name until it is closed; one that somebody else has open keeps its name so
//! long, as SMB has it.
#![forbid(unsafe_code)]

mod attributes;
mod files;
mod filesystem;
mod nodes;
mod work;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use countersign_client::Share;
use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use tokio::runtime::Handle;

use filesystem::RemoteFilesystem;

/// How a share is mounted.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// What `mount` and `df` show as the source.
    pub name: String,
    /// Nothing may be changed.
    pub read_only: bool,
    /// Other users than the one who mounts may use it.
    pub allow_other: bool,
    /// Whose the files are.
    pub uid: u32,
    /// Whose group.
    pub gid: u32,
    /// Permissions of files.
    pub file_mode: u16,
    /// Permissions of folders.
    pub folder_mode: u16,
    /// How long the kernel keeps names and attributes.
    pub attribute_timeout: Duration,
}

/// A mounted share; dropped, it is unmounted.
#[derive(Debug)]
pub struct Mounted {
    session: BackgroundSession,
    point: PathBuf,
}

impl Mounted {
    /// It was unmounted by somebody else.
    pub fn is_over(&self) -> bool {
        self.session.guard.is_finished()
    }

    /// Takes the mount away if nobody uses it; [`io::ErrorKind::ResourceBusy`]: somebody
    /// does, and it stays as it is. With `detach` it is taken away all the same, and who
    /// uses it finds it gone. **Blocks.**
    ///
    /// # Errors
    /// When it cannot be unmounted.
    pub fn unmount(&self, detach: bool) -> io::Result<()> {
        let mut last = io::Error::other("neither umount nor fusermount3 is there");
        let programs: [(&str, &str); 3] = [
            ("umount", "-l"),
            ("fusermount3", "-uz"),
            ("fusermount", "-uz"),
        ];
        for (program, lazy) in programs {
            let mut command = Command::new(program);
            match (program, detach) {
                (_, true) => command.arg(lazy),
                ("umount", false) => &mut command,
                (_, false) => command.arg("-u"),
            };
            command.env("LC_ALL", "C").stdin(Stdio::null());
            let Ok(output) = command.arg("--").arg(&self.point).output() else {
                continue;
            };
            if output.status.success() || self.is_over() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim().trim_end_matches('.').to_owned();
            if said.contains("busy") {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, said));
            }
            last = io::Error::other(said);
        }
        Err(last)
    }

    /// Waits until the kernel is done with it, after [`Mounted::unmount`]. **Blocks** as
    /// long as somebody has something open in it.
    ///
    /// # Errors
    /// When the session ended in an error.
    pub fn join(self) -> io::Result<()> {
        self.session.join()
    }
}

/// Mounts a folder of a share (`root`, empty for all of it). **Blocks** until it is
/// mounted; requests are worked on by `runtime`.
///
/// # Errors
/// When FUSE is not there or not permitted, or the mount point is none.
pub fn mount(
    share: Share,
    root: &str,
    point: &Path,
    options: MountOptions,
    runtime: Handle,
) -> io::Result<Mounted> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(options.name.clone()),
        MountOption::Subtype("countersign".to_owned()),
        MountOption::NoDev,
        MountOption::NoSuid,
        if options.read_only {
            MountOption::RO
        } else {
            MountOption::RW
        },
    ];
    config.acl = if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    let filesystem = RemoteFilesystem::new(share, root, options, runtime);
    let point = point.canonicalize()?;
    let session = fuser::spawn_mount(filesystem, &point, &config)?;
    Ok(Mounted { session, point })
}
