//! The SMB client: connections, shares, files and transfers over tokio, SMB1 to
//! SMB 3.1.1, the client's two signing settings obeyed.
//!
//! The API reads like `std::fs` and `tokio::fs`: a [`Client`] is built once, it
//! gives a [`Connection`] to a server, that gives a [`Share`], and that [`File`]s.
//!
//! ```
//! # mod served { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/served/mod.rs")); }
//! # #[tokio::main]
//! # async fn main() -> Result<(), countersign_client::Error> {
//! # let running = served::serve();
//! # let server = running.address.to_string();
//! # let server = server.as_str();
//! use countersign_client::{Client, Credentials, Signing};
//!
//! let client = Client::builder()
//!     .credentials(Credentials::password("alice", "Passw0rd!"))
//!     .signing(Signing::Required)
//!     .build();
//! let connection = client.connect(server).await?;
//! assert!(connection.info().signed);
//!
//! let share = connection.share("share").await?;
//! share.create_dir("notes").await?;
//! share.write("notes/today.txt", b"hello").await?;
//! assert_eq!(share.read("notes/today.txt").await?, b"hello");
//! connection.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Every future may be dropped at any point: what it had asked of the server is
//! cancelled there, and what it had opened is closed.
//!
//! What protects a connection stands in [`Connection::info`]; a reply that has to
//! be signed and is not ends the connection with [`ErrorKind::Policy`].
#![forbid(unsafe_code)]

pub mod dfs;
pub mod glob;
pub mod location;
pub mod netrc;
pub mod transfer;

mod builder;
mod connection;
mod credentials;
mod entropy;
mod error;
mod file;
mod file_stream;
mod intake;
mod kerberos;
mod live;
mod metadata;
mod open_options;
mod path;
mod pipe;
mod pipeline;
mod read_dir;
mod share;
mod srvsvc;
mod task;
mod tree;
mod watch;
mod whole_file;

pub use builder::{Client, ClientBuilder, Signing};
pub use connection::{Connection, ConnectionInfo};
pub use credentials::{Credentials, InitiatorFactory, LogonTarget};
pub use dfs::{DfsReferral, DfsTarget};
pub use error::{Error, ErrorKind, Result};
pub use file::{File, Lock};
pub use kerberos::KerberosLogon;
pub use metadata::{FileTimes, FileType, Metadata, StreamInfo, VolumeInfo};
pub use open_options::OpenOptions;
pub use pipe::Pipe;
pub use read_dir::{DirEntry, ReadDir};
pub use share::Share;
pub use srvsvc::ShareInfo;
pub use watch::{Change, ChangeKind, Watch};
pub use whole_file::{Progress, TransferOptions};

pub use countersign_auth::{Initiated, Initiator, InitiatorError, InitiatorStep, NtHash};
pub use countersign_core::client::{
    Caching, ClassicResponse, ClientLimits, CloseReason, Encryption, Granted, OpenRequest, Payload,
    ShareKind, Smb1Config,
};
pub use countersign_core::config::Dialect;
pub use countersign_crypto::{Cipher, SigningAlgorithm};
pub use countersign_policy::{Effective, Identity, Reason};
pub use countersign_wire::dtyp::{SecurityDescriptor, SecurityInfo};
pub use countersign_wire::fscc::{
    AccessMask, CompletionFilter, CreateOptions, Disposition, FileAttributes, OplockLevel,
    ShareAccess,
};
pub use countersign_wire::{FileTime, Guid, NtStatus};
