//! A share and what is done with paths on it.

use std::sync::Arc;

use bytes::Bytes;
use countersign_core::client::{
    Answer, Call, OpenRequest, Opened, PathRequest, Payload, ShareKind, TreeId,
};
use countersign_wire::dtyp::{SecurityDescriptor, SecurityInfo};
use countersign_wire::fscc::{
    AccessMask, AttributeTagInformation, CompletionFilter, CreateOptions, Disposition,
    FileAttributes, FsAttributeInformation, FsFullSizeInformation, FsVolumeInformation,
    NetworkOpenInformation, ReparseBuffer, SymlinkReparse, file_class, fs_class, reparse_tag,
};
use countersign_wire::smb2::fsctl::{self, CopyChunk, CopyChunkCopy, CopyChunkResponse};
use countersign_wire::{NtStatus, Writer};

use crate::connection::{Connection, unexpected};
use crate::dfs::Route;
use crate::error::{Error, ErrorKind, Result};
use crate::file::{File, basic_information, malformed, some_attributes};
use crate::metadata::{FileTimes, Metadata, StreamInfo, VolumeInfo};
use crate::open_options::OpenOptions;
use crate::path::normalise;
use crate::read_dir::ReadDir;
use crate::tree::Tree;
use crate::watch::Watch;

/// Largest piece of a server-side copy, and pieces per request: what servers
/// allow ([MS-SMB2] 3.3.3).
const COPY_CHUNK: u32 = 1 << 20;
const COPY_CHUNKS: usize = 16;

fn at(tree: TreeId, path: &str, no_follow: bool) -> PathRequest {
    PathRequest {
        tree,
        path: path.into(),
        no_follow,
    }
}

/// A share. Cheap to clone. Paths are below it; `/` and `\` both divide parts.
///
/// ```
/// # mod served { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/served/mod.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), countersign_client::Error> {
/// # let running = served::serve();
/// # let share = served::share(&running).await;
/// share.create_dir_all("a/b").await?;
/// share.write("a/b/old", b"text").await?;
/// share.rename("a/b/old", "a/b/new").await?;
/// // Copied by the server, without the data travelling:
/// assert_eq!(share.copy("a/b/new", "a/copy").await?, 4);
/// assert!(!share.exists("a/b/old").await?);
///
/// let mut names = Vec::new();
/// let mut listing = share.read_dir("a").await?;
/// while let Some(entry) = listing.next_entry().await? {
///     names.push(entry.file_name().to_owned());
/// }
/// names.sort();
/// assert_eq!(names, ["b", "copy"]);
///
/// share.remove_dir_all("a").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Share {
    pub(crate) tree: Arc<Tree>,
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Share({:?})", self.tree.describe(""))
    }
}

impl Share {
    /// Connects to a share, or to what a DFS namespace of its name leads to.
    pub(crate) async fn find(connection: Connection, name: &str, hops: usize) -> Result<Self> {
        let failure = match Tree::connect(connection.clone(), name).await {
            Ok(tree) => return Ok(Self { tree }),
            Err(error) => error,
        };
        if failure.kind() == ErrorKind::ShareNotFound
            && !name.eq_ignore_ascii_case("IPC$")
            && let Some(share) = connection.namespace(name, hops).await?
        {
            return Ok(share);
        }
        let server = connection.server();
        Err(failure.during(|| format!(r"connect to \\{server}\{name}")))
    }

    /// Name of the share.
    pub fn name(&self) -> &str {
        &self.tree.name
    }

    /// The connection it is on.
    pub fn connection(&self) -> &Connection {
        &self.tree.connection
    }

    /// What the share is.
    pub fn kind(&self) -> ShareKind {
        self.tree.facts().map_or(ShareKind::Disk, |t| t.kind)
    }

    /// Whether everything on the share is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.connection().info().encrypted.is_some()
            || self.tree.facts().is_some_and(|t| t.encrypted)
    }

    /// The access the user has to the share, where the dialect tells.
    pub fn maximal_access(&self) -> Option<AccessMask> {
        self.tree.facts().and_then(|t| t.maximal_access)
    }

    /// Whether it is part of a DFS namespace: paths on it may lie elsewhere, and are
    /// followed there.
    pub fn is_dfs(&self) -> bool {
        self.tree.facts().is_some_and(|t| t.dfs)
    }

    /// A call on a path, wherever that lies. With `link` a DFS link at the path's end
    /// is meant itself, not what it leads to.
    async fn done(
        &self,
        verb: &str,
        path: String,
        link: bool,
        mut make: impl FnMut(TreeId, &str) -> Call,
    ) -> Result<Answer> {
        let mut route = match link {
            true => Route::no_follow(self, path),
            false => Route::new(self, path),
        };
        loop {
            let (tree, path) = (&route.share.tree, &route.path);
            match tree.call_once(|tree| make(tree, path)).await {
                Ok(answer) => return Ok(answer),
                Err(error) if route.follow(&error, link).await? => {}
                Err(error) => {
                    let what = || format!("{verb} {}", route.share.tree.describe(&route.path));
                    return Err(error.during(what));
                }
            }
        }
    }

    /// A call on two paths, which must lie on the same share in the end.
    async fn two(
        &self,
        verb: &str,
        from: &str,
        to: &str,
        mut make: impl FnMut(TreeId, &str, &str) -> Call,
    ) -> Result<()> {
        let (from, to) = (normalise(from)?, normalise(to)?);
        let mut source = Route::no_follow(self, from);
        let mut target = Route::no_follow(self, to.clone());
        let mut asked = false;
        loop {
            let (tree, path) = (&source.share.tree, &source.path);
            let what = || format!("{verb} {}", tree.describe(path));
            if !tree.is_same(&target.share.tree) {
                if asked {
                    let text =
                        "the two paths lie on different shares of a DFS namespace: copy instead";
                    return Err(Error::new(ErrorKind::Unsupported, text).during(what));
                }
                // Where the other one lies comes out when it is asked for.
                asked = true;
                let _ = self.stat(&to, true).await;
                target = Route::no_follow(self, to.clone());
                continue;
            }
            match tree.call_once(|tree| make(tree, path, &target.path)).await {
                Ok(_) => return Ok(()),
                Err(error) => {
                    let error = error.during(what);
                    if !source.follow(&error, true).await? {
                        return Err(error);
                    }
                    target = Route::no_follow(self, to.clone());
                }
            }
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// What the server says.
    pub async fn open(&self, path: &str) -> Result<File> {
        OpenOptions::new().read(true).open(self, path).await
    }

    /// Creates a file, or cuts off what is there, for writing.
    ///
    /// # Errors
    /// What the server says.
    pub async fn create(&self, path: &str) -> Result<File> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(self, path)
            .await
    }

    /// Opens a path with a request in the protocol's own words.
    ///
    /// # Errors
    /// What the server says.
    pub async fn open_request(&self, request: OpenRequest) -> Result<File> {
        let path = normalise(&request.path)?;
        File::open(self, OpenRequest { path, ..request }, false).await
    }

    /// Reads a whole file; a small one in a single round trip.
    ///
    /// # Errors
    /// What the server says.
    pub async fn read(&self, path: &str) -> Result<Vec<u8>> {
        let path = normalise(path)?;
        let (first, more) = self.read_start(&path, u32::MAX).await?;
        let Some(size) = more else {
            return Ok(first.to_vec());
        };
        let mut whole = first.to_vec();
        let file = self.open(&path).await?;
        let mut at = whole.len();
        let end = usize::try_from(size).unwrap_or(usize::MAX);
        // Sizes are what the server says: memory grows with what has come.
        while at < end {
            let step = (end - at).min(32 << 20);
            whole.resize(at + step, 0);
            let place = whole.get_mut(at..).unwrap_or_default();
            let count = file
                .read_at(place, u64::try_from(at).unwrap_or(u64::MAX))
                .await?;
            at += count;
            whole.truncate(at);
            if count < step {
                break;
            }
        }
        file.close().await?;
        Ok(whole)
    }

    /// The beginning of a file, at most `max` bytes, opened, read and closed in one
    /// round trip; and the file's size if that is not all of it.
    ///
    /// # Errors
    /// What the server says.
    pub async fn read_small(&self, path: &str, max: u32) -> Result<(Bytes, Option<u64>)> {
        self.read_start(&normalise(path)?, max).await
    }

    /// Most bytes of [`Share::read_small`] and [`Share::write_small`]; 0 where the
    /// protocol needs several round trips for them in any case.
    pub fn small_size(&self) -> u32 {
        self.connection().current().transfer().whole
    }

    pub(crate) async fn read_start(&self, path: &str, max: u32) -> Result<(Bytes, Option<u64>)> {
        let mut route = Route::new(self, path.into());
        let answer = loop {
            let (share, path) = (&route.share, &route.path);
            // SMB1 has no round trip for that, but one request still is enough.
            let transfer = share.connection().current().transfer();
            let most = if transfer.whole == 0 {
                transfer.read
            } else {
                transfer.whole
            };
            let whole = most.min(max).max(1);
            let answer = share
                .tree
                .call(|tree| Call::ReadFile {
                    at: at(tree, path, false),
                    max: whole,
                })
                .await;
            match answer {
                Ok(answer) => break answer,
                Err(error) if route.follow(&error, false).await? => {}
                Err(error) => {
                    let what = || format!("read {}", route.share.tree.describe(&route.path));
                    return Err(error.during(what));
                }
            }
        };
        match answer {
            Answer::Whole {
                opened,
                data,
                complete,
            } => Ok((data, (!complete).then_some(opened.facts.end_of_file))),
            _ => Err(unexpected()),
        }
    }

    /// Writes a whole file, created or replaced; a small one in a single round trip.
    ///
    /// # Errors
    /// What the server says.
    pub async fn write(&self, path: &str, data: &[u8]) -> Result<()> {
        let path = normalise(path)?;
        let whole = self.connection().current().transfer().whole;
        if data.len() <= usize::try_from(whole).unwrap_or(usize::MAX) {
            return self
                .write_small(
                    &path,
                    Payload::copy_of(data),
                    Disposition::OverwriteIf,
                    None,
                )
                .await;
        }
        let file = self.create(&path).await?;
        file.write_at(data, 0).await?;
        file.close().await
    }

    /// Writes a whole file of at most [`Share::small_size`] bytes: opened, written,
    /// given its time and closed in one round trip.
    ///
    /// # Errors
    /// What the server says.
    pub async fn write_small(
        &self,
        path: &str,
        data: Payload,
        disposition: Disposition,
        times: Option<FileTimes>,
    ) -> Result<()> {
        // A copy is kept only where the path may turn out to lie elsewhere.
        let kept = self.is_dfs().then(|| data.clone());
        let mut data = Some(data);
        self.done("write", normalise(path)?, false, |tree, path| {
            Call::WriteFile {
                at: at(tree, path, false),
                disposition,
                attributes: FileAttributes::empty(),
                data: data.take().or_else(|| kept.clone()).unwrap_or_default(),
                last_write: times.and_then(|t| t.modified),
            }
        })
        .await
        .map(|_| ())
    }

    /// Times, sizes and attributes, in one round trip.
    ///
    /// # Errors
    /// What the server says.
    pub async fn metadata(&self, path: &str) -> Result<Metadata> {
        self.stat(&normalise(path)?, false).await
    }

    /// The same of a symbolic link itself.
    ///
    /// # Errors
    /// What the server says.
    pub async fn symlink_metadata(&self, path: &str) -> Result<Metadata> {
        self.stat(&normalise(path)?, true).await
    }

    async fn stat(&self, path: &str, no_follow: bool) -> Result<Metadata> {
        let mut route = Route::new(self, path.into());
        loop {
            let (share, path) = (&route.share, &route.path);
            let what = |e: Error| e.during(|| format!("stat {}", share.tree.describe(path)));
            let answer = share
                .tree
                .call(|tree| Call::QueryPath {
                    at: at(tree, path, no_follow),
                    class: file_class::NETWORK_OPEN,
                    max: 56,
                })
                .await
                .map_err(what);
            match answer {
                Ok(Answer::Info(data)) => {
                    let metadata = NetworkOpenInformation::decode(&data)
                        .map(|info| Metadata::of_open(&info))
                        .map_err(|_| what(malformed()))?;
                    let reparse = FileAttributes::REPARSE_POINT;
                    if !no_follow || !metadata.attributes().contains(reparse) {
                        return Ok(metadata);
                    }
                    return Ok(metadata.with_tag(share.reparse_tag(path).await));
                }
                Ok(_) => return Err(unexpected()),
                Err(error) if route.follow(&error, false).await? => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What kind of reparse point a path is; 0 where the server does not tell.
    async fn reparse_tag(&self, path: &str) -> u32 {
        let answer = self
            .tree
            .call(|tree| Call::QueryPath {
                at: at(tree, path, true),
                class: file_class::ATTRIBUTE_TAG,
                max: 8,
            })
            .await;
        let tag = match answer {
            Ok(Answer::Info(data)) => AttributeTagInformation::decode(&data).ok(),
            _ => None,
        };
        tag.map_or(0, |tag| tag.reparse_tag)
    }

    /// Whether there is such a path.
    ///
    /// # Errors
    /// What the server says, except that there is none.
    pub async fn exists(&self, path: &str) -> Result<bool> {
        match self.metadata(path).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lists a directory, as a stream that asks for more while it is read.
    ///
    /// # Errors
    /// What the server says.
    pub async fn read_dir(&self, path: &str) -> Result<ReadDir> {
        self.read_dir_matching(path, "*").await
    }

    /// Lists what matches a pattern with `*` and `?`, as the server understands it.
    ///
    /// # Errors
    /// What the server says. That nothing matches is no error.
    pub async fn read_dir_matching(&self, path: &str, pattern: &str) -> Result<ReadDir> {
        ReadDir::start(self, &normalise(path)?, pattern).await
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] and others.
    pub async fn create_dir(&self, path: &str) -> Result<()> {
        self.done("make directory", normalise(path)?, true, |tree, path| {
            Call::CreateDirectory {
                at: at(tree, path, false),
            }
        })
        .await
        .map(|_| ())
    }

    /// Makes a directory and those above it, as far as they are not there.
    ///
    /// # Errors
    /// What the server says.
    pub async fn create_dir_all(&self, path: &str) -> Result<()> {
        let path = normalise(path)?;
        let mut missing: Vec<&str> = Vec::new();
        let mut next = path.as_str();
        while !next.is_empty() {
            match self.create_dir(next).await {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if missing.is_empty() && !self.metadata(next).await?.is_dir() {
                        return Err(error);
                    }
                    break;
                }
                Err(error) if error.status() == Some(NtStatus::OBJECT_PATH_NOT_FOUND) => {
                    missing.push(next);
                    next = next.rsplit_once('\\').map_or("", |(up, _)| up);
                }
                Err(error) => return Err(error),
            }
        }
        for path in missing.into_iter().rev() {
            match self.create_dir(path).await {
                Ok(()) => {}
                // Somebody else made it meanwhile.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// What the server says.
    pub async fn remove_file(&self, path: &str) -> Result<()> {
        self.remove(path, false).await
    }

    /// Deletes an empty directory.
    ///
    /// # Errors
    /// [`ErrorKind::DirectoryNotEmpty`] and others.
    pub async fn remove_dir(&self, path: &str) -> Result<()> {
        self.remove(path, true).await
    }

    async fn remove(&self, path: &str, directory: bool) -> Result<()> {
        self.done("delete", normalise(path)?, true, |tree, path| {
            Call::Remove {
                at: at(tree, path, true),
                directory,
            }
        })
        .await
        .map(|_| ())
    }

    /// Deletes a directory with everything in it. Links are deleted, not followed.
    ///
    /// # Errors
    /// The first thing that could not be deleted.
    pub async fn remove_dir_all(&self, path: &str) -> Result<()> {
        let path = normalise(path)?;
        // An explicit stack: depth is the server's to choose.
        let mut stack = vec![(path, false)];
        while let Some((path, emptied)) = stack.pop() {
            if emptied {
                self.remove_dir(&path).await?;
                continue;
            }
            let mut listing = self.read_dir(&path).await?;
            let mut below = Vec::new();
            while let Some(entry) = listing.next_entry().await? {
                let child = crate::path::join(&path, entry.file_name());
                let metadata = entry.metadata();
                let link = metadata
                    .attributes()
                    .contains(FileAttributes::REPARSE_POINT);
                if metadata.is_readonly() {
                    self.set_attributes(&child, FileAttributes::NORMAL).await?;
                }
                if metadata.is_dir() && !link {
                    below.push((child, false));
                } else {
                    self.remove(&child, metadata.is_dir()).await?;
                }
            }
            drop(listing);
            stack.push((path, true));
            stack.extend(below);
        }
        Ok(())
    }

    /// Renames, and replaces a file that has the name.
    ///
    /// # Errors
    /// What the server says.
    pub async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.rename_with(from, to, true).await
    }

    /// Renames; with `replace` false a file that has the name is an error.
    ///
    /// # Errors
    /// What the server says.
    pub async fn rename_with(&self, from: &str, to: &str, replace: bool) -> Result<()> {
        self.two("rename", from, to, |tree, from, to| Call::RenamePath {
            at: at(tree, from, true),
            to: to.into(),
            replace,
        })
        .await
    }

    /// Gives a file another name as well.
    ///
    /// # Errors
    /// What the server says.
    pub async fn hard_link(&self, original: &str, link: &str) -> Result<()> {
        self.two("link", original, link, |tree, from, to| Call::Link {
            at: at(tree, from, false),
            to: to.into(),
            replace: false,
        })
        .await
    }

    /// Where a symbolic link leads, as it is written there.
    ///
    /// # Errors
    /// What the server says; [`ErrorKind::InvalidInput`] for what is no link.
    pub async fn read_link(&self, path: &str) -> Result<String> {
        let path = normalise(path)?;
        let request = OpenRequest {
            options: CreateOptions::OPEN_REPARSE_POINT,
            ..OpenRequest::existing(path, AccessMask::READ_ATTRIBUTES)
        };
        let file = File::open(self, request, false).await?;
        let data = file.ioctl(fsctl::GET_REPARSE_POINT, &[], 16 << 10).await?;
        file.close().await?;
        let buffer = ReparseBuffer::decode(&data).map_err(|_| malformed())?;
        if buffer.tag != reparse_tag::SYMLINK {
            return Err(Error::new(ErrorKind::InvalidInput, "not a symbolic link"));
        }
        let link = SymlinkReparse::decode(buffer.data).map_err(|_| malformed())?;
        Ok(if link.print_name.is_empty() {
            link.substitute_name
        } else {
            link.print_name
        })
    }

    /// Sets attributes.
    ///
    /// # Errors
    /// What the server says.
    pub async fn set_attributes(&self, path: &str, attributes: FileAttributes) -> Result<()> {
        self.set_basic(path, FileTimes::default(), some_attributes(attributes))
            .await
    }

    /// Sets times.
    ///
    /// # Errors
    /// What the server says.
    pub async fn set_times(&self, path: &str, times: FileTimes) -> Result<()> {
        self.set_basic(path, times, FileAttributes::empty()).await
    }

    async fn set_basic(
        &self,
        path: &str,
        times: FileTimes,
        attributes: FileAttributes,
    ) -> Result<()> {
        let data = basic_information(times, attributes);
        self.done(
            "set the attributes of",
            normalise(path)?,
            true,
            |tree, path| Call::SetPath {
                at: at(tree, path, true),
                class: file_class::BASIC,
                data: data.clone(),
            },
        )
        .await
        .map(|_| ())
    }

    async fn for_security(&self, path: &str, access: AccessMask) -> Result<File> {
        let request = OpenRequest::existing(normalise(path)?, access);
        File::open(self, request, false).await
    }

    /// The security descriptor, as far as `parts` says.
    ///
    /// # Errors
    /// What the server says.
    pub async fn security(&self, path: &str, parts: SecurityInfo) -> Result<SecurityDescriptor> {
        let mut access = AccessMask::READ_CONTROL;
        if parts.contains(SecurityInfo::SACL) {
            access |= AccessMask::ACCESS_SYSTEM_SECURITY;
        }
        let file = self.for_security(path, access).await?;
        let descriptor = file.security(parts).await?;
        file.close().await?;
        Ok(descriptor)
    }

    /// Sets parts of the security descriptor.
    ///
    /// # Errors
    /// What the server says.
    pub async fn set_security(
        &self,
        path: &str,
        parts: SecurityInfo,
        descriptor: &SecurityDescriptor,
    ) -> Result<()> {
        let mut access = AccessMask::empty();
        if parts.intersects(SecurityInfo::OWNER | SecurityInfo::GROUP) {
            access |= AccessMask::WRITE_OWNER;
        }
        if parts.contains(SecurityInfo::DACL) {
            access |= AccessMask::WRITE_DAC;
        }
        if parts.contains(SecurityInfo::SACL) {
            access |= AccessMask::ACCESS_SYSTEM_SECURITY;
        }
        let file = self.for_security(path, access).await?;
        file.set_security(parts, descriptor).await?;
        file.close().await
    }

    /// The streams of a file.
    ///
    /// # Errors
    /// What the server says.
    pub async fn streams(&self, path: &str) -> Result<Vec<StreamInfo>> {
        let file = self.for_security(path, AccessMask::READ_ATTRIBUTES).await?;
        let streams = file.streams().await?;
        file.close().await?;
        Ok(streams)
    }

    /// Label, file system, space.
    ///
    /// # Errors
    /// What the server says.
    pub async fn volume(&self) -> Result<VolumeInfo> {
        let file = self.for_security("", AccessMask::READ_ATTRIBUTES).await?;
        let mut info = VolumeInfo::default();
        let query = async |class: u8| -> Result<Bytes> {
            let answer = file
                .inner
                .call(|open| Call::QueryFilesystem {
                    open,
                    class,
                    max: 1024,
                })
                .await;
            match answer {
                Ok(Answer::Info(data)) => Ok(data),
                Ok(_) => Err(unexpected()),
                Err(error) => Err(error.during(|| format!("ask about {}", self.tree.describe("")))),
            }
        };
        let size = FsFullSizeInformation::decode(&query(fs_class::FULL_SIZE).await?)
            .map_err(|_| malformed())?;
        let unit = u64::from(size.sectors_per_unit).saturating_mul(size.bytes_per_sector.into());
        info.unit = u32::try_from(unit).unwrap_or(u32::MAX);
        info.total = size.total_units.saturating_mul(unit);
        info.available = size.caller_available_units.saturating_mul(unit);
        info.free = size.actual_available_units.saturating_mul(unit);
        if let Ok(data) = query(fs_class::VOLUME).await
            && let Ok(volume) = FsVolumeInformation::decode(&data)
        {
            info.label = volume.label;
            info.serial = volume.serial;
        }
        if let Ok(data) = query(fs_class::ATTRIBUTE).await
            && let Ok(attributes) = FsAttributeInformation::decode(&data)
        {
            info.file_system = attributes.name;
            info.attributes = attributes.attributes;
            info.max_component = attributes.max_component;
        }
        file.close().await?;
        Ok(info)
    }

    /// Watches a directory: changes as a stream.
    ///
    /// # Errors
    /// What the server says.
    pub async fn watch(&self, path: &str, recursive: bool) -> Result<Watch> {
        let filter = CompletionFilter::FILE_NAME
            | CompletionFilter::DIR_NAME
            | CompletionFilter::ATTRIBUTES
            | CompletionFilter::SIZE
            | CompletionFilter::LAST_WRITE
            | CompletionFilter::CREATION;
        self.watch_with(path, recursive, filter).await
    }

    /// Watches a directory for chosen changes.
    ///
    /// # Errors
    /// What the server says.
    pub async fn watch_with(
        &self,
        path: &str,
        recursive: bool,
        filter: CompletionFilter,
    ) -> Result<Watch> {
        Watch::start(self, &normalise(path)?, recursive, filter).await
    }

    /// Copies a file on the server, without its data travelling. Gives the bytes
    /// copied. Replaces what has the name.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the server cannot; what it says otherwise.
    pub async fn copy(&self, from: &str, to: &str) -> Result<u64> {
        let source = OpenOptions::new()
            .read(true)
            .durable(false)
            .open(self, from)
            .await?;
        let size = source.opened_metadata().len();
        let target = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .durable(false)
            .open(self, to)
            .await?;
        let key = source.ioctl(fsctl::SRV_REQUEST_RESUME_KEY, &[], 32).await?;
        let Some(source_key) = key.first_chunk::<24>() else {
            return Err(malformed());
        };
        let mut at = 0u64;
        while at < size {
            let mut chunks = Vec::new();
            let mut next = at;
            while next < size && chunks.len() < COPY_CHUNKS {
                let length = u32::try_from(size - next)
                    .unwrap_or(u32::MAX)
                    .min(COPY_CHUNK);
                chunks.push(CopyChunk {
                    source_offset: next,
                    target_offset: next,
                    length,
                });
                next = next.saturating_add(length.into());
            }
            let mut input = Vec::new();
            CopyChunkCopy {
                source_key: *source_key,
                chunks,
            }
            .encode(&mut Writer::new(&mut input));
            let output = target.ioctl(fsctl::SRV_COPYCHUNK, &input, 12).await?;
            let response = CopyChunkResponse::decode(&output).map_err(|_| malformed())?;
            if response.total_bytes_written == 0 {
                return Err(Error::new(ErrorKind::Other, "the server copies nothing"));
            }
            at = at.saturating_add(response.total_bytes_written.into());
        }
        source.close().await?;
        target.close().await?;
        Ok(at)
    }

    /// The access a path would be opened with at most.
    ///
    /// # Errors
    /// What the server says.
    pub async fn access(&self, path: &str) -> Result<AccessMask> {
        let request = OpenRequest {
            maximal_access: true,
            ..OpenRequest::existing(normalise(path)?, AccessMask::READ_ATTRIBUTES)
        };
        let file = File::open(self, request, false).await?;
        let access = file.granted().maximal_access;
        file.close().await?;
        access.ok_or_else(|| Error::new(ErrorKind::Unsupported, "the server does not tell"))
    }

    pub(crate) fn wrap(
        &self,
        request: OpenRequest,
        live: &crate::live::Live,
        opened: Opened,
    ) -> File {
        File::of(Arc::clone(&self.tree), request, live, opened, false)
    }
}
