//! How a client is configured.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::client::{ClientConfig, ClientLimits, Encryption, Smb1Config};
use countersign_core::config::Dialect;
use countersign_core::connection::Transport;
use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_policy::{Effective, Setting, Settings, Value};
use countersign_wire::Guid;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::{Connection, Dial};
use crate::credentials::Credentials;
use crate::entropy;
use crate::error::Result;

/// The client's two settings in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Signing {
    /// Both settings off: signed only where the server insists (SMB1: not even then).
    Off,
    /// "If server agrees": signed where the server can (SMB1) or insists (SMB2 and 3).
    Offered,
    /// "Always": a server that does not sign is refused, and guests cannot be.
    #[default]
    Required,
}

impl Signing {
    /// The settings it stands for; the server's two stay "not defined".
    pub fn settings(self) -> Settings {
        let (agrees, always) = match self {
            Self::Off => (Value::Disabled, Value::Disabled),
            Self::Offered => (Value::Enabled, Value::Disabled),
            Self::Required => (Value::Enabled, Value::Enabled),
        };
        Settings::default()
            .with(Setting::ClientIfServerAgrees, agrees)
            .with(Setting::ClientAlways, always)
    }
}

#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) credentials: Credentials,
    pub(crate) policy: Arc<Effective>,
    pub(crate) min_dialect: Dialect,
    pub(crate) max_dialect: Dialect,
    pub(crate) signing_algorithms: Vec<SigningAlgorithm>,
    pub(crate) ciphers: Vec<Cipher>,
    pub(crate) encryption: Encryption,
    pub(crate) mutual: bool,
    pub(crate) allow_guest: bool,
    pub(crate) client_guid: Guid,
    pub(crate) connect_timeout: Duration,
    pub(crate) reconnect: bool,
    pub(crate) in_flight: usize,
    pub(crate) smb1: Smb1Config,
    pub(crate) limits: ClientLimits,
}

impl Options {
    pub(crate) fn config(&self, server_name: &str, transport: Transport) -> ClientConfig {
        ClientConfig {
            policy: Arc::clone(&self.policy),
            min_dialect: self.min_dialect,
            max_dialect: self.max_dialect,
            signing_algorithms: self.signing_algorithms.clone(),
            ciphers: self.ciphers.clone(),
            encryption: self.encryption,
            allow_guest: self.allow_guest || self.credentials.is_guest(),
            client_guid: self.client_guid,
            server_name: server_name.into(),
            transport,
            smb1: self.smb1,
            limits: self.limits.clone(),
        }
    }
}

/// Builds a [`Client`]. Without further ado: SMB 2.0.2 to 3.1.1, signing
/// required, encryption where the server asks for it, anonymous.
#[derive(Clone)]
#[must_use]
pub struct ClientBuilder {
    options: Options,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            options: Options {
                credentials: Credentials::anonymous(),
                policy: Arc::new(Effective::of(Signing::Required.settings())),
                min_dialect: Dialect::Smb202,
                max_dialect: Dialect::Smb311,
                signing_algorithms: vec![
                    SigningAlgorithm::AesGmac,
                    SigningAlgorithm::AesCmac,
                    SigningAlgorithm::HmacSha256,
                ],
                ciphers: vec![
                    Cipher::Aes128Gcm,
                    Cipher::Aes128Ccm,
                    Cipher::Aes256Gcm,
                    Cipher::Aes256Ccm,
                ],
                encryption: Encryption::Offered,
                mutual: false,
                allow_guest: false,
                client_guid: Guid(entropy::bytes()),
                connect_timeout: Duration::from_secs(20),
                reconnect: true,
                in_flight: 8,
                smb1: Smb1Config::default(),
                limits: ClientLimits::default(),
            },
        }
    }
}

impl ClientBuilder {
    /// Who logs on.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.options.credentials = credentials;
        self
    }

    /// The client's two settings in one word.
    pub fn signing(self, signing: Signing) -> Self {
        self.policy(Effective::of(signing.settings()))
    }

    /// The settings in force, as the policy's layers gave them.
    pub fn policy(mut self, policy: Effective) -> Self {
        self.options.policy = Arc::new(policy);
        self
    }

    /// Lowest and highest dialect. SMB1 is spoken only where it is named here.
    pub fn dialects(mut self, lowest: Dialect, highest: Dialect) -> Self {
        self.options.min_dialect = lowest;
        self.options.max_dialect = highest.max(lowest);
        self
    }

    /// Signing algorithms offered in SMB 3.1.1, most wanted first; none leaves
    /// the choice out, which means AES-128-CMAC.
    pub fn signing_algorithms(mut self, algorithms: &[SigningAlgorithm]) -> Self {
        self.options.signing_algorithms = algorithms.to_vec();
        self
    }

    /// Ciphers offered in SMB 3.x, most wanted first.
    pub fn ciphers(mut self, ciphers: &[Cipher]) -> Self {
        self.options.ciphers = ciphers.to_vec();
        self
    }

    /// Whether to encrypt.
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.options.encryption = encryption;
        self
    }

    /// The server must prove who it is, as hardened paths (`\\*\SYSVOL`) demand:
    /// a logon with NTLM, as a guest or anonymous is refused.
    pub fn require_mutual_authentication(mut self, required: bool) -> Self {
        self.options.mutual = required;
        self
    }

    /// A server that makes a guest of us is put up with (where the policy does
    /// not require signing). Off: such a logon fails.
    pub fn allow_guest(mut self, allowed: bool) -> Self {
        self.options.allow_guest = allowed;
        self
    }

    /// ClientGuid; random if not set.
    pub fn client_guid(mut self, guid: Guid) -> Self {
        self.options.client_guid = guid;
        self
    }

    /// How long reaching a server and logging on to it may take. Default 20 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// How long a call may stay without any answer before the connection is
    /// given up. Default 60 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.options.limits.request_timeout = timeout;
        self
    }

    /// Whether a lost connection is made again by the next call, and durable
    /// opens taken up again. Default true.
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.options.reconnect = reconnect;
        self
    }

    /// Reads or writes that one transfer keeps in flight. Default 8.
    pub fn in_flight(mut self, requests: usize) -> Self {
        self.options.in_flight = requests.clamp(1, 64);
        self
    }

    /// What concerns SMB1 alone.
    pub fn smb1(mut self, smb1: Smb1Config) -> Self {
        self.options.smb1 = smb1;
        self
    }

    /// Limits of a connection.
    pub fn limits(mut self, limits: ClientLimits) -> Self {
        self.options.limits = limits;
        self
    }

    /// The client.
    pub fn build(self) -> Client {
        Client {
            options: Arc::new(self.options),
        }
    }
}

/// A client: credentials, policy and choices. Cheap to clone.
///
/// ```
/// # mod served { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/served/mod.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), countersign_client::Error> {
/// # let running = served::serve();
/// # let server = running.address.to_string();
/// # let server = server.as_str();
/// use countersign_client::{Client, Credentials, Dialect, Encryption, ErrorKind, Signing};
///
/// let client = Client::builder()
///     .credentials(Credentials::password("alice", "Passw0rd!"))
///     .dialects(Dialect::Smb300, Dialect::Smb311)
///     .encryption(Encryption::Required)
///     .build();
/// let info = client.connect(server).await?.info();
/// assert_eq!(info.dialect, Dialect::Smb311);
/// assert!(info.encrypted.is_some());
///
/// // Another user, else the same:
/// let client = client.to_builder().credentials(Credentials::password("alice", "wrong")).build();
/// let refused = client.connect(server).await.err().expect("the password is wrong");
/// assert_eq!(refused.kind(), ErrorKind::LogonFailed);
/// println!("{refused}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    options: Arc<Options>,
}

impl Client {
    /// A builder with the defaults.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A builder with this client's choices.
    pub fn to_builder(&self) -> ClientBuilder {
        ClientBuilder {
            options: Options::clone(&self.options),
        }
    }

    /// Connects to `host`, `host:port` or `[v6]:port` and logs on.
    ///
    /// # Errors
    /// When the server is not reached, nothing is agreed on, or the logon fails.
    pub async fn connect(&self, server: &str) -> Result<Connection> {
        let (host, port) = split_port(server).ok_or_else(|| {
            crate::error::Error::new(crate::error::ErrorKind::InvalidInput, "a bad port")
        })?;
        self.dial(Dial::Host {
            host: host.into(),
            port: port.unwrap_or(445),
            address: None,
        })
        .await
    }

    /// Connects to an address, but calls the server by `name`: in paths, in the
    /// negotiation and for Kerberos.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_address(
        &self,
        address: std::net::SocketAddr,
        name: &str,
    ) -> Result<Connection> {
        self.dial(Dial::Host {
            host: name.into(),
            port: address.port(),
            address: Some(address),
        })
        .await
    }

    /// Logs on over a stream that is connected already, such as a tunnel or a
    /// test's. It is not made again when it is lost.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_stream<S>(&self, stream: S, name: &str) -> Result<Connection>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Connection::over_stream(Arc::clone(&self.options), stream, name).await
    }

    async fn dial(&self, dial: Dial) -> Result<Connection> {
        Connection::open(Arc::clone(&self.options), dial).await
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`, or a bare IPv6 address.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None if rest.is_empty() => Some((host, None)),
            None => None,
        };
    }
    match text.split_once(':') {
        None => Some((text, None)),
        Some((_, rest)) if rest.contains(':') => Some((text, None)),
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        assert_eq!(split_port("srv"), Some(("srv", None)));
        assert_eq!(split_port("srv:4450"), Some(("srv", Some(4450))));
        assert_eq!(split_port("[fe80::1]:4450"), Some(("fe80::1", Some(4450))));
        assert_eq!(split_port("[fe80::1]"), Some(("fe80::1", None)));
        assert_eq!(split_port("fe80::1"), Some(("fe80::1", None)));
        assert_eq!(split_port("srv:x"), None);
        assert_eq!(split_port("[::1]x"), None);
    }
}
