//! SYSVOL over SMB: always signed and mutually authenticated, whatever the four
//! settings say, or whoever sits between could switch signing off by policy (MS15-011;
//! hardened paths `\\*\SYSVOL` with RequireMutualAuthentication and RequireIntegrity).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_client::{Client, Credentials, Dialect, ErrorKind, Share, Signing};
use countersign_policy::exchange::MAX_BYTES;

use super::path::SysvolPath;
use crate::error::Error;
use crate::ldap::Machine;
use crate::locate::Controller;
use countersign_client::KerberosLogon;

/// The port of SMB.
const SMB: u16 = 445;
/// How long a controller may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a controller has of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The whole of it.
    Bytes(Vec<u8>),
    /// There is none.
    Absent,
    /// There is one that cannot be had, and why: it is too large, or not for this machine.
    Refused(String),
}

/// Where files of SYSVOL come from.
pub trait Sysvol: Send {
    /// A file of a controller's SYSVOL.
    ///
    /// # Errors
    /// When the controller does not answer, or is none.
    fn read(
        &mut self,
        controller: &Controller,
        path: &SysvolPath,
    ) -> impl Future<Output = Result<Content, Error>> + Send;
}

/// SYSVOL over our own SMB client.
pub struct SmbSysvol {
    machine: Machine,
    port: u16,
    open: Option<(String, Share)>,
}

impl SmbSysvol {
    /// As this machine.
    pub fn new(machine: &Machine) -> SmbSysvol {
        SmbSysvol::on_port(machine, SMB)
    }

    /// The same on another port.
    pub fn on_port(machine: &Machine, port: u16) -> SmbSysvol {
        SmbSysvol {
            machine: machine.clone(),
            port,
            open: None,
        }
    }

    /// A client for the controllers of one realm.
    fn client(&self, realm: &str) -> Client {
        let credential = Arc::clone(self.machine.credential());
        let logon = KerberosLogon::new(credential, Some(realm.to_owned()));
        Client::builder()
            .credentials(Credentials::with_factory(Arc::new(logon)))
            .signing(Signing::Required)
            .require_mutual_authentication(true)
            .dialects(Dialect::Smb202, Dialect::Smb311)
            .connect_timeout(PATIENCE)
            .request_timeout(PATIENCE)
            .reconnect(false)
            .build()
    }

    async fn share(&mut self, controller: &Controller, realm: &str) -> Result<&Share, Error> {
        let wrong = |what: String| Error::Sysvol {
            path: format!(r"\\{}\sysvol", controller.host),
            what,
        };
        let known = matches!(&self.open, Some((host, _)) if *host == controller.host);
        if !known {
            let address = SocketAddr::new(controller.address.ip(), self.port);
            let connection = self
                .client(realm)
                .connect_address(address, &controller.host)
                .await
                .map_err(|error| wrong(error.to_string()))?;
            // The client sees to both; what decides policy is asked once more.
            let info = connection.info();
            if !(info.mutual && (info.signed || info.encrypted.is_some())) {
                return Err(wrong("the session is not signed and mutual".to_owned()));
            }
            let share = connection
                .share("sysvol")
                .await
                .map_err(|error| wrong(error.to_string()))?;
            self.open = Some((controller.host.clone(), share));
        }
        match &self.open {
            Some((_, share)) => Ok(share),
            None => Err(wrong("no connection".to_owned())),
        }
    }
}

impl Sysvol for SmbSysvol {
    async fn read(&mut self, controller: &Controller, path: &SysvolPath) -> Result<Content, Error> {
        // The first folder is the domain, see `SysvolPath::parse`.
        let realm = path.names().first().map(|domain| domain.to_uppercase());
        let share = self.share(controller, &realm.unwrap_or_default()).await?;
        let name = path.to_string();
        let answer = |error: countersign_client::Error| match error.kind() {
            ErrorKind::NotFound => Ok(Content::Absent),
            ErrorKind::PermissionDenied
            | ErrorKind::SharingViolation
            | ErrorKind::Locked
            | ErrorKind::IsADirectory => Ok(Content::Refused(error.to_string())),
            // It says which file.
            _ => Err(Error::Sysvol {
                path: format!(r"\\{}\sysvol", controller.host),
                what: error.to_string(),
            }),
        };
        let largest = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
        let too_large = || Content::Refused(format!("it is larger than {largest} bytes"));
        match share.metadata(&name).await {
            Ok(metadata) if metadata.is_dir() => {
                return Ok(Content::Refused("it is a folder".to_owned()));
            }
            Ok(metadata) if metadata.len() > largest => return Ok(too_large()),
            Ok(_) => {}
            Err(error) => return answer(error),
        }
        match share.read(&name).await {
            Ok(bytes) if bytes.len() > MAX_BYTES => Ok(too_large()),
            Ok(bytes) => Ok(Content::Bytes(bytes)),
            Err(error) => answer(error),
        }
    }
}
