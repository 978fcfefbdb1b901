//! Whom a run asks: LDAP of the controllers of domains.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::ldap::{Entry, Filter, Ldap, Limits, Machine, Scope, Search};
use crate::locate::{Controller, Locator};
use crate::netlogon::Netlogon;

/// Controllers of the machine's own domain that are tried in one run.
const MOST_CONTROLLERS: usize = 3;

/// Directories of domains, each by a controller of its own.
pub(super) trait Directories: Send {
    /// The controller that is asked about a domain.
    fn controller(
        &mut self,
        domain: &str,
    ) -> impl Future<Output = Result<Controller, Error>> + Send;

    /// Searches in a domain.
    fn search(
        &mut self,
        domain: &str,
        search: &Search<'_>,
    ) -> impl Future<Output = Result<Vec<Entry>, Error>> + Send;

    /// The ping, over the connection that searches go over.
    fn netlogon(
        &mut self,
        domain: &str,
    ) -> impl Future<Output = Result<Option<Netlogon>, Error>> + Send;

    /// One object.
    fn object(
        &mut self,
        domain: &str,
        dn: &str,
        attributes: &[&str],
    ) -> impl Future<Output = Result<Option<Entry>, Error>> + Send {
        async move {
            let search = Search {
                base: dn,
                scope: Scope::Base,
                filter: Filter::any(),
                attributes,
            };
            Ok(self.search(domain, &search).await?.into_iter().next())
        }
    }
}

/// Connections to the domains that objects lie in, made when they are wanted.
pub(super) struct Domains<'a> {
    machine: &'a Machine,
    locator: &'a Locator,
    limits: Limits,
    open: BTreeMap<String, (Controller, Ldap)>,
}

impl<'a> Domains<'a> {
    pub(super) fn new(machine: &'a Machine, locator: &'a Locator, limits: Limits) -> Domains<'a> {
        Domains {
            machine,
            locator,
            limits,
            open: BTreeMap::new(),
        }
    }

    /// [MS-GPOL] 3.2.5.1.1: when a controller fails, another is looked for.
    async fn connect(&mut self, domain: &str) -> Result<&mut (Controller, Ldap), Error> {
        if !self.open.contains_key(domain) {
            // The controller and the site that are named are those of the machine's own domain.
            let own = domain.eq_ignore_ascii_case(self.machine.domain());
            let mut locator = if own {
                self.locator.clone()
            } else {
                Locator::default()
            };
            let mut failed: Option<Error> = None;
            for attempt in 0..MOST_CONTROLLERS {
                let mut located = locator.locate(domain).await;
                if attempt == 1 && located.is_err() {
                    // There is no other: perhaps it was but a moment.
                    locator.avoid.clear();
                    located = locator.locate(domain).await;
                }
                let controller = match (located, failed) {
                    (Ok(controller), _) => controller,
                    // What the first one did says more than that there is no other.
                    (Err(_), Some(first)) => return Err(first),
                    (Err(error), None) => {
                        return Err(error.at(format!("looking for a controller of {domain}")));
                    }
                };
                let Controller { host, address, .. } = &controller;
                match Ldap::open(*address, host, domain, self.machine, self.limits).await {
                    Ok(ldap) => {
                        self.open.insert(domain.to_owned(), (controller, ldap));
                        failed = None;
                        break;
                    }
                    Err(error) => {
                        tracing::warn!("group policy: controller {host}: {error}");
                        locator.avoid.push(host.clone());
                        failed = Some(error.at(format!("LDAP at {host} ({address})")));
                    }
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
        self.open
            .get_mut(domain)
            .ok_or_else(|| Error::Missing(format!("no connection to {domain}")))
    }

    pub(super) async fn close(self) {
        for (_, (_, ldap)) in self.open {
            ldap.close().await;
        }
    }
}

impl Directories for Domains<'_> {
    async fn controller(&mut self, domain: &str) -> Result<Controller, Error> {
        let (controller, _) = self.connect(domain).await?;
        Ok(controller.clone())
    }

    async fn search(&mut self, domain: &str, search: &Search<'_>) -> Result<Vec<Entry>, Error> {
        let (controller, ldap) = self.connect(domain).await?;
        let found = ldap.search(search).await;
        found.map_err(|error| error.at(format!("LDAP at {}", controller.host)))
    }

    async fn netlogon(&mut self, domain: &str) -> Result<Option<Netlogon>, Error> {
        let (controller, ldap) = self.connect(domain).await?;
        let found = ldap.netlogon(domain).await;
        found.map_err(|error| error.at(format!("LDAP at {}", controller.host)))
    }
}
