//! [MS-ADTS] 6.3.6: finding a controller of a domain.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

use crate::dns::Resolver;
use crate::error::Error;
use crate::ldap::{Operation, decode_message, ping};
use crate::netlogon::Netlogon;

/// The port of LDAP.
const LDAP: u16 = 389;
/// Most controllers tried.
const MOST: usize = 16;
/// How long a controller may take to answer a ping.
const PING: Duration = Duration::from_millis(700);
/// How long a controller may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// A controller that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// DNS name.
    pub host: String,
    /// Where LDAP is.
    pub address: SocketAddr,
    /// The site of this machine, as the ping said; not to be believed by itself.
    pub site: Option<String>,
}

/// Finds controllers.
#[derive(Debug, Clone, Default)]
pub struct Locator {
    /// The controller to use, instead of asking DNS: a host name, with or without port.
    pub controller: Option<String>,
    /// The site this machine was in last time: its controllers are asked first.
    pub site: Option<String>,
    /// Controllers that are not wanted: they failed a moment ago.
    pub avoid: Vec<String>,
}

struct Candidate {
    host: String,
    port: u16,
}

impl Locator {
    /// A controller of a domain that answers, the nearest that is known.
    ///
    /// # Errors
    /// [`Error::NoController`], and when DNS does not answer.
    pub async fn locate(&self, domain: &str) -> Result<Controller, Error> {
        if let Some(named) = &self.controller {
            let candidate = match named.rsplit_once(':') {
                Some((host, port)) => Candidate {
                    host: host.to_lowercase(),
                    port: port.parse().unwrap_or(LDAP),
                },
                None => Candidate {
                    host: named.to_lowercase(),
                    port: LDAP,
                },
            };
            if self.avoid.contains(&candidate.host) {
                // There is no other one.
                return Err(Error::NoController {
                    domain: domain.to_owned(),
                    why: format!("only {} is to be asked", candidate.host),
                });
            }
            return first(domain, vec![candidate]).await;
        }
        let resolver = Resolver::system()?;
        if let Some(site) = self.site.as_deref().filter(|site| is_label(site)) {
            let near = self.ask(&resolver, &in_site(site, domain)).await?;
            if let Ok(controller) = first(domain, near).await
                && controller
                    .site
                    .as_deref()
                    .is_none_or(|now| now.eq_ignore_ascii_case(site))
            {
                return Ok(controller);
            }
        }
        let all = self
            .ask(&resolver, &format!("_ldap._tcp.dc._msdcs.{domain}"))
            .await?;
        let controller = first(domain, all).await?;
        // It knows our site; perhaps there is a nearer one.
        if let Some(site) = controller.site.as_deref().filter(|site| is_label(site)) {
            let near = self
                .ask(&resolver, &in_site(site, domain))
                .await
                .unwrap_or_default();
            let there = near.iter().any(|one| one.host == controller.host);
            if !there && let Ok(nearer) = first(domain, near).await {
                return Ok(nearer);
            }
        }
        Ok(controller)
    }

    async fn ask(&self, resolver: &Resolver, name: &str) -> Result<Vec<Candidate>, Error> {
        let records = resolver.srv(name).await?;
        Ok(records
            .into_iter()
            // The name becomes part of a Kerberos principal.
            .filter(|record| is_dns_name(&record.target))
            .filter(|record| !self.avoid.contains(&record.target))
            .take(MOST)
            .map(|record| Candidate {
                host: record.target,
                port: record.port,
            })
            .collect())
    }
}

fn in_site(site: &str, domain: &str) -> String {
    format!("_ldap._tcp.{site}._sites.dc._msdcs.{domain}")
}

/// Can stand in a name: a site's name comes from outside.
fn is_label(site: &str) -> bool {
    (1..=63).contains(&site.len())
        && site
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Labels and dots, and nothing that has another meaning in a principal's name.
pub(crate) fn is_dns_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

/// The first that answers a ping; when pings are lost, the first that accepts a
/// connection.
async fn first(domain: &str, candidates: Vec<Candidate>) -> Result<Controller, Error> {
    let mut why = "DNS knows none".to_owned();
    let mut silent = Vec::new();
    for candidate in candidates {
        let Candidate { host, port } = candidate;
        let addresses: Vec<SocketAddr> = match lookup_host((host.as_str(), port)).await {
            Ok(addresses) => addresses.take(4).collect(),
            Err(error) => {
                why = format!("{host}: {error}");
                continue;
            }
        };
        for address in addresses {
            match timeout(PING, udp_ping(address, domain)).await {
                Ok(Ok(answer)) if answer.domain.eq_ignore_ascii_case(domain) => {
                    return Ok(Controller {
                        host: host.clone(),
                        address,
                        site: Some(answer.client_site).filter(|site| !site.is_empty()),
                    });
                }
                Ok(Ok(answer)) => why = format!("{host} is of the domain {}", answer.domain),
                Ok(Err(error)) => {
                    why = format!("{host}: {error}");
                    silent.push((host.clone(), address));
                }
                Err(_) => {
                    why = format!("{host} is silent");
                    silent.push((host.clone(), address));
                }
            }
        }
    }
    for (host, address) in silent {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {
                return Ok(Controller {
                    host,
                    address,
                    site: None,
                });
            }
            Ok(Err(error)) => why = format!("{host}: {error}"),
            Err(_) => why = format!("{host} is silent"),
        }
    }
    Err(Error::NoController {
        domain: domain.to_owned(),
        why,
    })
}

async fn udp_ping(address: SocketAddr, domain: &str) -> Result<Netlogon, Error> {
    const DOING: &str = "pinging a domain controller";
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).await.map_err(Error::io(DOING))?;
    socket.connect(address).await.map_err(Error::io(DOING))?;
    let mut id = [0; 4];
    let _ = getrandom::fill(&mut id);
    let id = (u32::from_le_bytes(id) & 0x7FFF_FFFF).max(1);
    socket
        .send(&ping(id, domain))
        .await
        .map_err(Error::io(DOING))?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(Error::io(DOING))?;
        let bytes = buffer.get(..length).unwrap_or_default();
        // The datagram holds the entry and behind it the end of the search.
        let one = crate::ldap::first_message(bytes);
        let Some(Ok(message)) = one.map(decode_message) else {
            continue;
        };
        if message.id != id {
            continue;
        }
        if let Operation::Entry(entry) = message.operation
            && let Some(value) = entry.value("Netlogon")
        {
            return Netlogon::decode(value).map_err(|error| Error::peer(DOING, error.to_string()));
        }
        return Err(Error::peer(DOING, "it is no controller of the domain"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sites_name_must_be_a_label() {
        assert!(is_label("Default-First-Site-Name"));
        for bad in ["", "a.b", "a b", "ä", &"x".repeat(64)] {
            assert!(!is_label(bad), "{bad}");
        }
        assert!(is_dns_name("dc1.lab.example"));
        for bad in ["a..b", "a.b/c", "a@B.C", ".", "a\\.b"] {
            assert!(!is_dns_name(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn the_one_that_is_named_may_be_unwanted() {
        let locator = Locator {
            controller: Some("DC1.lab.example".to_owned()),
            avoid: vec!["dc1.lab.example".to_owned()],
            ..Locator::default()
        };
        let error = locator.locate("lab.example").await.unwrap_err();
        assert!(
            error.to_string().contains("only dc1.lab.example"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn nobody_answers() {
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let locator = Locator {
            controller: Some(closed.local_addr().unwrap().to_string()),
            ..Locator::default()
        };
        let error = locator.locate("lab.example").await.unwrap_err();
        assert!(matches!(error, Error::NoController { .. }), "{error}");
    }
}
