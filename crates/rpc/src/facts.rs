//! What the interfaces tell about the server.

use countersign_wire::FileTime;

/// The server's names and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// NetBIOS name.
    pub name: String,
    /// Workgroup or NetBIOS domain.
    pub workgroup: String,
    /// DNS name of the domain; empty when stand-alone.
    pub dns_domain: String,
    /// Member of a domain.
    pub domain_member: bool,
    /// Comment.
    pub comment: String,
    /// Version of Windows to be taken for: major, minor.
    pub version: (u32, u32),
    /// SID of the machine, in its bytes ([MS-DTYP] 2.4.2.2).
    pub machine_sid: Vec<u8>,
}

/// What a share is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareKind {
    /// Files.
    Disk,
    /// Named pipes.
    Ipc,
}

/// A share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareFacts {
    /// Name.
    pub name: String,
    /// Comment.
    pub comment: String,
    /// What it is.
    pub kind: ShareKind,
    /// Left out of listings.
    pub hidden: bool,
    /// Tree connects at the moment.
    pub current_uses: u32,
    /// Security descriptor, self-relative; `None`: not told.
    pub security: Option<Vec<u8>>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionFacts {
    /// Client: name or address, without backslashes.
    pub client: String,
    /// Account.
    pub user: String,
    /// Opens.
    pub opens: u32,
    /// Seconds since it was set up.
    pub seconds: u32,
    /// Seconds since its last request.
    pub idle_seconds: u32,
    /// Logged on as guest.
    pub guest: bool,
}

/// An open file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenFileFacts {
    /// Number of the open.
    pub id: u32,
    /// PERM_FILE_READ 1, PERM_FILE_WRITE 2, PERM_FILE_CREATE 4.
    pub permissions: u32,
    /// Byte-range locks.
    pub locks: u32,
    /// Path, as an administrator is to see it.
    pub path: String,
    /// Account.
    pub user: String,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallerFacts {
    /// Account; empty for anonymous.
    pub user: String,
    /// Domain of the account.
    pub domain: String,
    /// An administrator.
    pub administrator: bool,
    /// Logged on without a name.
    pub anonymous: bool,
    /// Client: name or address.
    pub client: String,
}

/// SID_NAME_USE, [MS-LSAT] 2.2.13.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum AccountKind {
    /// SidTypeUser.
    User = 1,
    /// SidTypeGroup.
    Group = 2,
    /// SidTypeDomain.
    Domain = 3,
    /// SidTypeAlias.
    Alias = 4,
    /// SidTypeWellKnownGroup.
    WellKnownGroup = 5,
}

/// An account looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountFacts {
    /// Name without domain.
    pub name: String,
    /// Domain it is in: the machine's name, `BUILTIN`, `NT AUTHORITY`, or empty.
    pub domain: String,
    /// What it is.
    pub kind: AccountKind,
    /// Its SID, in its bytes.
    pub sid: Vec<u8>,
}

/// What the interfaces tell about the server, to one caller.
pub trait ServerFacts {
    /// Names and version.
    fn server(&self) -> ServerInfo;
    /// Wall clock.
    fn now(&self) -> FileTime;
    /// Who calls.
    fn caller(&self) -> CallerFacts;
    /// All shares, IPC$ included.
    fn shares(&self) -> Vec<ShareFacts>;
    /// Live sessions.
    fn sessions(&self) -> Vec<SessionFacts>;
    /// Open files.
    fn open_files(&self) -> Vec<OpenFileFacts> {
        Vec::new()
    }
    /// The account of a SID; well-known ones need not be known here.
    fn account_by_sid(&self, sid: &[u8]) -> Option<AccountFacts>;
    /// The account of a name, which may have a domain in front.
    fn account_by_name(&self, name: &str) -> Option<AccountFacts>;
}
