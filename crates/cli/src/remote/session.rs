//! The connection, under the policy of this machine.

use std::time::Duration;

use countersign_client::location::Location;
use countersign_client::{Client, Connection, Credentials, Effective, Error, Share, Signing};
use countersign_policy::{Setting, Settings};
use countersign_server::config::Config;
use countersign_server::group_policy::GroupPolicyStore;
use countersign_server::state::State;
use countersign_server::store::{self, PolicyStore};

use super::login::ConnectArguments;

/// Connections that a copy of many files is spread over, unless told otherwise.
pub(crate) const CONNECTIONS: usize = 2;

/// A client with its credentials, and where it is to connect.
#[derive(Clone)]
pub(crate) struct Prepared {
    client: Client,
    pub(crate) location: Location,
}

impl ConnectArguments {
    /// All of them, or why one cannot be had.
    pub(crate) fn prepare_all(&self, locations: &[Location]) -> Result<Vec<Prepared>, String> {
        locations
            .iter()
            .map(|location| self.prepare(location))
            .collect()
    }

    /// Resolves policy and credentials; may ask for a password.
    pub(crate) fn prepare(&self, location: &Location) -> Result<Prepared, String> {
        let mut location = location.clone();
        location.port = location.port.or(self.port);
        let policy = self.policy()?;
        let credentials = self.credentials(&location)?;
        let timeout = Duration::from_secs(self.timeout);
        let client = Client::builder()
            .credentials(credentials)
            .policy(policy)
            .dialects(self.dialect.lowest, self.dialect.highest)
            .encryption(self.encrypt)
            .allow_guest(self.guest)
            .connect_timeout(timeout)
            .build();
        // What was said once need not be carried on.
        location.password = None;
        Ok(Prepared { client, location })
    }

    /// The policy in force, in which `--sign` is the word of the command line.
    fn policy(&self) -> Result<Effective, String> {
        let config = match &self.config {
            Some(file) => Config::load(file).map_err(|error| error.to_string())?,
            None => Config::default(),
        };
        let state = State::at(self.state.as_deref().or(config.state.as_deref()));
        let group = GroupPolicyStore::new(state.clone())
            .layers_of(&config)
            .map_err(|error| error.to_string())?;
        let local = PolicyStore::new(state)
            .load()
            .map_err(|error| error.to_string())?;
        let said = self.sign.map_or_else(Settings::default, Signing::settings);
        let policy = store::effective(&config.policy, said, store::now_ms(), &local, &group);
        match self.sign {
            Some(sign) => obeyed(sign, &policy).map(|()| policy),
            None => Ok(policy),
        }
    }
}

/// A stronger layer may have its own mind: then nothing is done rather than
/// something else than was asked for.
fn obeyed(sign: Signing, policy: &Effective) -> Result<(), String> {
    let wanted = sign.settings();
    for setting in [Setting::ClientAlways, Setting::ClientIfServerAgrees] {
        let standing = policy.get(setting);
        if standing.value.is_enabled() != wanted.get(setting).is_enabled() {
            return Err(format!(
                "--sign cannot be obeyed: {} sets {setting} to {}; leave --sign out, or have \
                 that policy changed (see `countersign policy show`)",
                standing.source, standing.value
            ));
        }
    }
    Ok(())
}

/// Credentials of the Kerberos cache; a user with a realm names the ticket.
pub(crate) fn kerberos(
    arguments: &ConnectArguments,
    location: &Location,
) -> Result<Credentials, String> {
    let user = arguments.user.as_deref().or(location.user.as_deref());
    let principal = user.filter(|user| user.contains('@'));
    Credentials::kerberos_cache(None, principal).map_err(|error| error.to_string())
}

impl Prepared {
    /// Connects and logs on.
    pub(crate) async fn connect(&self) -> Result<Connection, String> {
        let host = &self.location.host;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        let port = self.location.port.unwrap_or(445);
        self.client
            .connect(&format!("{host}:{port}"))
            .await
            .map_err(|error| error.to_string())
    }

    /// Connects to the location's share.
    pub(crate) async fn share(&self) -> Result<Share, String> {
        let name = self.share_name()?;
        let connection = self.connect().await?;
        connection
            .share(name)
            .await
            .map_err(|error| self.no_share(&error))
    }

    /// Connects several times to the location's share: the first must succeed, the
    /// others are used if they do.
    pub(crate) async fn shares(&self, number: usize) -> Result<Vec<Share>, String> {
        let mut shares = vec![self.share().await?];
        let mut others = tokio::task::JoinSet::new();
        for _ in 1..number {
            let prepared = self.clone();
            others.spawn(async move { prepared.share().await });
        }
        while let Some(other) = others.join_next().await {
            if let Ok(Ok(share)) = other {
                shares.push(share);
            }
        }
        Ok(shares)
    }

    fn share_name(&self) -> Result<&str, String> {
        self.location.share.as_deref().ok_or_else(|| {
            format!(
                "{} names no share: list them with `countersign shares {}`",
                self.location, self.location
            )
        })
    }

    fn no_share(&self, error: &Error) -> String {
        format!("{}: {error}", self.location.with_path(Vec::new()))
    }
}
