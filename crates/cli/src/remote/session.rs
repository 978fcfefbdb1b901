//! The connection, under the policy of this machine.

use std::sync::Arc;
use std::time::Duration;

use countersign_client::location::Location;
use countersign_client::{
    Client, Connection, Credentials, Dialect, Effective, Encryption, Share, Signing,
};
use countersign_policy::{Setting, Settings};
use countersign_server::config::Config;
use countersign_server::group_policy::GroupPolicyStore;
use countersign_server::state::State;
use countersign_server::store::{self, PolicyStore};
use tokio::sync::Mutex;

use super::login::ConnectArguments;
use super::meeting::Meetings;
use super::outcome::{Trouble, misused};

/// Connections that a copy of many files is spread over, unless told otherwise.
pub(crate) const CONNECTIONS: usize = 2;

/// A client with its credentials, and where it is to connect.
#[derive(Clone)]
pub(crate) struct Prepared {
    client: Client,
    pub(crate) location: Location,
    /// The share once it is connected, for all locations on it.
    open: Arc<Mutex<Option<Share>>>,
    meetings: Meetings,
}

impl ConnectArguments {
    /// All of them, or why one cannot be had. Who logs on to a server twice is asked
    /// for the password once, and locations of one share have one connection.
    pub(crate) fn prepare_all(&self, locations: &[Location]) -> Result<Vec<Prepared>, String> {
        let mut all: Vec<(&Location, Prepared)> = Vec::new();
        for location in locations {
            let known = all.iter().find(|(one, _)| same_logon(one, location));
            let client =
                known.map(|(_, prepared)| (prepared.client.clone(), prepared.meetings.clone()));
            let open = all
                .iter()
                .find(|(one, _)| same_logon(one, location) && one.share == location.share)
                .map(|(_, prepared)| Arc::clone(&prepared.open));
            let mut prepared = match client {
                Some((client, meetings)) => self.with(client, meetings, location),
                None => self.prepare(location)?,
            };
            if let Some(open) = open {
                prepared.open = open;
            }
            all.push((location, prepared));
        }
        Ok(all.into_iter().map(|(_, prepared)| prepared).collect())
    }

    fn with(&self, client: Client, meetings: Meetings, location: &Location) -> Prepared {
        let mut location = location.clone();
        location.port = location.port.or(self.port);
        // What was said once need not be carried on.
        location.password = None;
        Prepared {
            client,
            location,
            open: Arc::default(),
            meetings,
        }
    }

    /// Resolves policy and credentials; may ask for a password.
    pub(crate) fn prepare(&self, location: &Location) -> Result<Prepared, String> {
        self.possible(location);
        let config = match &self.config {
            Some(file) => Config::load(file).map_err(|error| error.to_string())?,
            None => Config::default(),
        };
        let state = State::at(self.state.as_deref().or(config.state.as_deref()));
        let policy = self.policy(&config, &state)?;
        let user = self.user.as_deref().or(location.user.as_deref());
        let meetings = Meetings::new(
            &state,
            &config,
            (self.encrypt, self.dialect.highest),
            user.unwrap_or_default(),
        );
        let credentials = self.credentials(location)?;
        let timeout = Duration::from_secs(self.timeout);
        let client = Client::builder()
            .credentials(credentials)
            .policy(policy)
            .dialects(self.dialect.lowest, self.dialect.highest)
            .encryption(self.encrypt)
            .allow_guest(self.guest)
            .connect_timeout(timeout)
            .build();
        Ok(self.with(client, meetings, location))
    }

    /// What no server can do is not tried.
    fn possible(&self, location: &Location) {
        if self.encrypt == Encryption::Required && self.dialect.highest < Dialect::Smb300 {
            misused(
                "--encrypt needs SMB 3.0 or later, which --dialect rules out: leave one of them out",
            );
        }
        let nobody = match (self.anonymous, self.guest) {
            (true, _) => "--anonymous",
            (_, true) if self.user.is_none() && location.user.is_none() => "--guest",
            _ => return,
        };
        if self.encrypt == Encryption::Required {
            misused(&format!(
                "--encrypt cannot be had with {nobody}: who is nobody has no key"
            ));
        }
        if self.sign == Some(Signing::Required) {
            misused(&format!(
                "--sign required cannot be had with {nobody}: who is nobody has no key to sign \
                 with; say --sign offered"
            ));
        }
    }

    /// The policy in force, in which `--sign` is the word of the command line.
    fn policy(&self, config: &Config, state: &State) -> Result<Effective, String> {
        let group = GroupPolicyStore::new(state.clone())
            .layers_of(config)
            .map_err(|error| error.to_string())?;
        let local = PolicyStore::new(state.clone())
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

/// Whether two locations are reached by one logon.
fn same_logon(a: &Location, b: &Location) -> bool {
    a.host.eq_ignore_ascii_case(&b.host)
        && a.port == b.port
        && a.user == b.user
        && a.domain == b.domain
        && a.password == b.password
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

/// Credentials of the Kerberos cache: of the user who is named, or of the cache's own.
pub(crate) fn kerberos(
    arguments: &ConnectArguments,
    location: &Location,
) -> Result<Credentials, String> {
    let principal = principal(arguments, location)?;
    Credentials::kerberos_cache(None, principal.as_deref()).map_err(|error| error.to_string())
}

/// `alice@REALM`, `alice` in the default realm, or none.
fn principal(arguments: &ConnectArguments, location: &Location) -> Result<Option<String>, String> {
    let (user, domain) = match &arguments.user {
        Some(user) => (Some(user), None),
        None => (location.user.as_ref(), location.domain.as_ref()),
    };
    let domain = arguments.workgroup.as_ref().or(domain);
    let Some(user) = user else { return Ok(None) };
    if user.contains(['\\', '%']) || (domain.is_some() && user.contains('@')) {
        return Err(format!(
            "`{}` does not name a ticket: with --kerberos a user is NAME@REALM, without password",
            user.split('%').next().unwrap_or_default()
        ));
    }
    Ok(Some(match domain {
        Some(domain) => format!("{user}@{domain}"),
        None => user.clone(),
    }))
}

impl Prepared {
    /// Connects and logs on.
    pub(crate) async fn connect(&self) -> Result<Connection, Trouble> {
        let host = &self.location.host;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        let port = self.location.port.unwrap_or(445);
        match self.client.connect(&format!("{host}:{port}")).await {
            Ok(connection) => {
                self.meetings.connected(&connection);
                Ok(connection)
            }
            Err(error) => {
                self.meetings.failed(&host, &error);
                Err(Trouble::at(self.root(), &error))
            }
        }
    }

    /// The location's share, connected by the first who asks.
    pub(crate) async fn share(&self) -> Result<Share, Trouble> {
        let mut open = self.open.lock().await;
        if let Some(share) = open.as_ref() {
            return Ok(share.clone());
        }
        let share = self.another().await?;
        *open = Some(share.clone());
        Ok(share)
    }

    /// The location's share on a connection of its own.
    async fn another(&self) -> Result<Share, Trouble> {
        let name = self.share_name()?;
        let connection = self.connect().await?;
        connection
            .share(name)
            .await
            .map_err(|error| Trouble::at(self.root(), &error))
    }

    /// Connects several times to the location's share: the first must succeed, the
    /// others are used if they do.
    pub(crate) async fn shares(&self, number: usize) -> Result<Vec<Share>, Trouble> {
        let mut shares = vec![self.share().await?];
        let mut others = tokio::task::JoinSet::new();
        for _ in 1..number {
            let prepared = self.clone();
            others.spawn(async move { prepared.another().await });
        }
        while let Some(other) = others.join_next().await {
            if let Ok(Ok(share)) = other {
                shares.push(share);
            }
        }
        Ok(shares)
    }

    fn share_name(&self) -> Result<&str, Trouble> {
        self.location.share.as_deref().ok_or_else(|| {
            Trouble::of(
                self.location.to_string(),
                format!(
                    "it names no share: list them with `countersign shares {}`",
                    self.location
                ),
            )
        })
    }

    /// The server, or the share, without the path.
    fn root(&self) -> String {
        self.location.with_path(Vec::new()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        connect: ConnectArguments,
    }

    fn line(args: &[&str]) -> ConnectArguments {
        Line::parse_from([&["x"], args].concat()).connect
    }

    #[test]
    fn whose_ticket() {
        for (args, location, wanted) in [
            (&["-k"][..], "//h/s", Ok(None)),
            (&["-k", "-U", "a@R"], "//h/s", Ok(Some("a@R"))),
            (&["-k", "-U", "a"], "smb://b@h/s", Ok(Some("a"))),
            (&["-k", "-U", "a", "-W", "R"], "//h/s", Ok(Some("a@R"))),
            (&["-k"], "smb://R;b@h/s", Ok(Some("b@R"))),
            (&["-k", "-U", "D\\a"], "//h/s", Err(())),
            (&["-k", "-U", "a%p"], "//h/s", Err(())),
        ] {
            let got = principal(&line(args), &location.parse().unwrap());
            let got = got.map_err(|_| ());
            assert_eq!(got, wanted.map(|name| name.map(str::to_owned)), "{args:?}");
        }
    }

    #[test]
    fn one_logon_for_a_server_and_one_connection_for_a_share() {
        let at = |text: &str| text.parse::<Location>().unwrap();
        let connect = line(&["-N", "--sign", "offered", "--state", "/nonexistent"]);
        let all = connect
            .prepare_all(&[at("//h/s/a"), at("//H/s/b"), at("//h/t"), at("//i/s")])
            .unwrap();
        let one =
            |a: usize, b: usize| Arc::ptr_eq(&all.get(a).unwrap().open, &all.get(b).unwrap().open);
        assert!(one(0, 1) && !one(0, 2) && !one(0, 3));
    }
}
