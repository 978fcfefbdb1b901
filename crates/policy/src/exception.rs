//! Exceptions: a peer that may stay unsigned though the policy requires signing,
//! until a date, for a reason, and only where the exception says.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::facts::Identity;

/// A range of addresses, `10.0.5.0/24` or `fd00::/8`; without a length one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

/// A text that is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address or a range as 10.0.5.0/24")]
pub struct NetworkError(String);

impl Network {
    /// Whether the address has no bits behind the length: `10.0.5.7/24` has, and is more
    /// likely a slip than a range.
    pub fn is_exact(&self) -> bool {
        match self.address {
            IpAddr::V4(own) => u128::from(u32::from(own)) & !mask(32, self.length) == 0,
            IpAddr::V6(own) => u128::from(own) & !mask(128, self.length) == 0,
        }
    }

    /// Whether the address is in it. An IPv4 address mapped into IPv6 is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let kept = mask(32, self.length);
                let (own, other) = (u32::from(own), u32::from(other));
                u128::from(own) & kept == u128::from(other) & kept
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let kept = mask(128, self.length);
                u128::from(own) & kept == u128::from(other) & kept
            }
            _ => false,
        }
    }
}

/// The upper `length` of `bits` bits.
fn mask(bits: u32, length: u8) -> u128 {
    let free = bits.saturating_sub(u32::from(length));
    let all = u128::MAX.checked_shr(128 - bits).unwrap_or(0);
    all & u128::MAX.checked_shl(free).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, length) = match text.trim().split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(length) => length.parse().map_err(|_| wrong())?,
            None => longest,
        };
        if length > longest {
            return Err(wrong());
        }
        // A range of IPv4 addresses mapped into IPv6 is a range of IPv4 addresses.
        Ok(match (address, address.to_canonical()) {
            (IpAddr::V6(_), canonical @ IpAddr::V4(_)) if length >= 96 => Network {
                address: canonical,
                length: length - 96,
            },
            _ => Network { address, length },
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Who may stay unsigned, where, until when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Exception {
    /// Names it.
    pub id: String,
    /// Addresses it is for.
    pub client: Network,
    /// Only for this account, without its domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Only for the machine that gives itself this name. The name is the peer's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Only for these shares; empty: all.
    #[serde(default)]
    pub shares: Vec<String>,
    /// It ends here, seconds since 1970.
    pub until: u64,
    /// Why it exists.
    pub reason: String,
    /// Nothing may be changed.
    #[serde(default)]
    pub read_only: bool,
    /// No named pipes.
    #[serde(default)]
    pub no_ipc: bool,
    /// Guests too, where there are guests.
    #[serde(default)]
    pub guests: bool,
}

impl Exception {
    /// It has not ended.
    pub fn is_in_force(&self, now: u64) -> bool {
        now < self.until
    }

    /// Whether it names this share.
    pub fn names_share(&self, share: &str) -> bool {
        let share = share.to_lowercase();
        self.shares.is_empty() || self.shares.iter().any(|one| one.to_lowercase() == share)
    }

    /// Whether it is for this kind of identity. A null session has no exception.
    pub fn is_for(&self, identity: Identity) -> bool {
        match identity {
            Identity::User => true,
            Identity::Guest => self.guests,
            Identity::Anonymous => false,
        }
    }

    fn matches(&self, peer: &Peer<'_>) -> bool {
        let same = |wanted: &Option<String>, given: &str| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted.to_lowercase() == given.to_lowercase())
        };
        self.client.contains(peer.address)
            && self.is_for(peer.identity)
            && same(&self.account, peer.account)
            && same(&self.machine, peer.machine)
    }
}

/// A peer that logged on, as far as exceptions look.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// Its address.
    pub address: IpAddr,
    /// What it logged on as.
    pub identity: Identity,
    /// The account, without its domain.
    pub account: &'a str,
    /// The name its machine gave itself.
    pub machine: &'a str,
}

/// All exceptions of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exceptions {
    all: Vec<Arc<Exception>>,
}

impl Exceptions {
    /// These exceptions.
    pub fn new(all: impl IntoIterator<Item = Exception>) -> Self {
        Self {
            all: all.into_iter().map(Arc::new).collect(),
        }
    }

    /// All of them.
    pub fn all(&self) -> &[Arc<Exception>] {
        &self.all
    }

    /// One that may be for whoever comes from this address: at SMB1's NEGOTIATE nobody
    /// has a name yet.
    pub fn at_negotiate(&self, address: IpAddr, now: u64) -> Option<&Arc<Exception>> {
        self.all
            .iter()
            .find(|one| one.is_in_force(now) && one.client.contains(address))
    }

    /// Those for a peer that logged on.
    pub fn at_session(&self, peer: &Peer<'_>, now: u64) -> Vec<Arc<Exception>> {
        self.all
            .iter()
            .filter(|one| one.is_in_force(now) && one.matches(peer))
            .map(Arc::clone)
            .collect()
    }

    /// Whether it is still there, word for word, and has not ended.
    pub fn still_has(&self, exception: &Exception, now: u64) -> bool {
        exception.is_in_force(now) && self.all.iter().any(|one| **one == *exception)
    }
}

/// Of a session's exceptions the one that a share is judged by: one that names it
/// (rather one that lets it be changed), else any.
pub fn exception_for_share<'a>(
    exceptions: &'a [Arc<Exception>],
    share: &str,
    ipc: bool,
) -> Option<&'a Arc<Exception>> {
    let names = |one: &&Arc<Exception>| {
        if ipc {
            !one.no_ipc
        } else {
            one.names_share(share)
        }
    };
    exceptions
        .iter()
        .filter(names)
        .min_by_key(|one| one.read_only)
        .or_else(|| exceptions.first())
}
