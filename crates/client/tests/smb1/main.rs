//! SMB1 against Samba's smbd, where it is installed and may be started (root):
//! every logon and protection, and what the client's settings lead to.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail loudly"
)]

mod battery;
mod settings;
mod smbd;

use countersign_client::{Client, ClientBuilder, Credentials, Dialect, Signing, Smb1Config};
use countersign_core::client::ClassicResponse;

use smbd::{PASSWORD, Smbd, USER};

/// A client that speaks SMB1 alone.
fn client(signing: Signing, extended_security: bool) -> ClientBuilder {
    Client::builder()
        .dialects(Dialect::Smb1, Dialect::Smb1)
        .signing(signing)
        .credentials(Credentials::password(USER, PASSWORD))
        .reconnect(false)
        .smb1(Smb1Config {
            extended_security,
            classic: ClassicResponse::NtlmV2,
            ..Smb1Config::default()
        })
}
