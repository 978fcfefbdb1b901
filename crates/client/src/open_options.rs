//! How a file is opened.

use countersign_core::client::{Caching, Durable, OpenRequest};
use countersign_wire::FileTime;
use countersign_wire::Guid;
use countersign_wire::fscc::{AccessMask, CreateOptions, Disposition, FileAttributes, ShareAccess};

use crate::entropy;
use crate::error::Result;
use crate::file::File;
use crate::share::Share;

/// How a file is opened, as `std::fs::OpenOptions`, and in the protocol's own
/// words where those do not suffice.
///
/// ```
/// # mod served { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/served/mod.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), countersign_client::Error> {
/// # let running = served::serve();
/// # let share = served::share(&running).await;
/// use countersign_client::OpenOptions;
///
/// let file = OpenOptions::new()
///     .write(true)
///     .create_new(true)
///     .open(&share, "log.txt")
///     .await?;
/// file.write_at(b"first line", 0).await?;
/// file.close().await?;
/// assert_eq!(share.metadata("log.txt").await?.len(), 10);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    access: Option<AccessMask>,
    disposition: Option<Disposition>,
    share: ShareAccess,
    options: CreateOptions,
    attributes: FileAttributes,
    caching: Caching,
    durable: bool,
    snapshot: Option<FileTime>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// Nothing is set: neither reading nor writing.
    pub fn new() -> Self {
        Self {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            access: None,
            disposition: None,
            share: ShareAccess::READ | ShareAccess::WRITE | ShareAccess::DELETE,
            options: CreateOptions::empty(),
            attributes: FileAttributes::empty(),
            caching: Caching::None,
            durable: true,
            snapshot: None,
        }
    }

    /// Reading.
    pub fn read(mut self, read: bool) -> Self {
        self.read = read;
        self
    }

    /// Writing.
    pub fn write(mut self, write: bool) -> Self {
        self.write = write;
        self
    }

    /// Streamed writes go to the end.
    pub fn append(mut self, append: bool) -> Self {
        self.append = append;
        self
    }

    /// What is there is cut off.
    pub fn truncate(mut self, truncate: bool) -> Self {
        self.truncate = truncate;
        self
    }

    /// Created where it is not there.
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Must not be there.
    pub fn create_new(mut self, create_new: bool) -> Self {
        self.create_new = create_new;
        self
    }

    /// DesiredAccess itself, in place of what reading and writing come to.
    pub fn access(mut self, access: AccessMask) -> Self {
        self.access = Some(access);
        self
    }

    /// CreateDisposition itself.
    pub fn disposition(mut self, disposition: Disposition) -> Self {
        self.disposition = Some(disposition);
        self
    }

    /// What others may do meanwhile. Default: everything.
    pub fn share_mode(mut self, share: ShareAccess) -> Self {
        self.share = share;
        self
    }

    /// CreateOptions.
    pub fn create_options(mut self, options: CreateOptions) -> Self {
        self.options = options;
        self
    }

    /// Attributes of what is created.
    pub fn attributes(mut self, attributes: FileAttributes) -> Self {
        self.attributes = attributes;
        self
    }

    /// Oplock or lease to ask for.
    pub fn caching(mut self, caching: Caching) -> Self {
        self.caching = caching;
        self
    }

    /// Ask that the open outlives a lost connection. Default true; costs
    /// nothing where the server does not grant it.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Open what was there at this time (Previous Versions).
    pub fn snapshot(mut self, at: FileTime) -> Self {
        self.snapshot = Some(at);
        self
    }

    /// Opens.
    ///
    /// # Errors
    /// What the server says, named by [`ErrorKind`](crate::ErrorKind).
    pub async fn open(&self, share: &Share, path: &str) -> Result<File> {
        File::open(
            share,
            self.request(&crate::path::normalise(path)?),
            self.append,
        )
        .await
    }

    pub(crate) fn request(&self, path: &str) -> OpenRequest {
        let mut access = AccessMask::READ_ATTRIBUTES | AccessMask::SYNCHRONIZE;
        if self.read {
            access |= AccessMask::READ_DATA | AccessMask::READ_EA | AccessMask::READ_CONTROL;
        }
        if self.write || self.append {
            access |= AccessMask::WRITE_DATA
                | AccessMask::APPEND_DATA
                | AccessMask::WRITE_ATTRIBUTES
                | AccessMask::WRITE_EA;
        }
        let disposition = match (self.create_new, self.create, self.truncate) {
            (true, _, _) => Disposition::Create,
            (false, true, true) => Disposition::OverwriteIf,
            (false, true, false) => Disposition::OpenIf,
            (false, false, true) => Disposition::Overwrite,
            (false, false, false) => Disposition::Open,
        };
        // A durable open wants caching of the handle.
        let (caching, durable) = match (self.durable, self.caching) {
            (true, Caching::None) if self.access.is_none() => (
                Caching::Lease {
                    key: entropy::bytes(),
                    state: countersign_wire::fscc::LeaseState::READ
                        | countersign_wire::fscc::LeaseState::HANDLE,
                },
                true,
            ),
            (durable, caching) => (caching, durable && caching != Caching::None),
        };
        OpenRequest {
            access: self.access.unwrap_or(access),
            attributes: self.attributes,
            share: self.share,
            disposition: self.disposition.unwrap_or(disposition),
            options: self.options,
            caching,
            durable: durable.then(|| Durable {
                create_guid: Guid(entropy::bytes()),
                timeout: 0,
            }),
            snapshot: self.snapshot,
            ..OpenRequest::existing(path, AccessMask::empty())
        }
    }
}
