//! One run: [MS-GPOL] 3.2.5.1, for the machine.

use std::collections::BTreeMap;

use countersign_policy::ContainerKind;
use countersign_policy::group_policy::{
    Conclusion, Container, DistinguishedName, Extension, Files, Plan, PolicyObject, Token, Values,
    Wanted, WmiFilter, conclude, containers_of, gpt_version, plan, registry_values,
    template_values,
};

use super::object::{ATTRIBUTES, object, sids};
use super::path::SysvolPath;
use super::sysvol::Sysvol;
use crate::error::Error;
use crate::ldap::{Filter, Ldap, Limits, Machine, Scope, Search};
use crate::locate::{Controller, Locator};

/// Names asked for in one search.
const AT_ONCE: usize = 50;

/// What a run found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The controller that was asked.
    pub controller: String,
    /// The site of this machine.
    pub site: Option<String>,
    /// The distinguished name of this machine's account.
    pub computer: String,
    /// What it comes to.
    pub conclusion: Conclusion,
    /// What should be looked at.
    pub notes: Vec<String>,
}

/// Connections to the domains that objects lie in.
struct Domains<'a> {
    machine: &'a Machine,
    locator: &'a Locator,
    limits: Limits,
    open: BTreeMap<String, (Controller, Ldap)>,
}

impl Domains<'_> {
    async fn connect(&mut self, domain: &str) -> Result<&mut (Controller, Ldap), Error> {
        if !self.open.contains_key(domain) {
            let own = domain.eq_ignore_ascii_case(self.machine.domain());
            let controller = if own {
                self.locator.locate(domain).await?
            } else {
                // The controller that is named is one of the machine's own domain.
                Locator::default().locate(domain).await?
            };
            let Controller { host, address, .. } = &controller;
            let ldap = Ldap::open(*address, host, domain, self.machine, self.limits).await?;
            self.open.insert(domain.to_owned(), (controller, ldap));
        }
        self.open
            .get_mut(domain)
            .ok_or_else(|| Error::Missing(format!("no connection to {domain}")))
    }

    async fn close(self) {
        for (_, (_, ldap)) in self.open {
            ldap.close().await;
        }
    }
}

/// Asks directory and SYSVOL once, and says what it comes to. Nothing is half done: an
/// error means that nothing is known anew.
///
/// # Errors
/// [`Error`].
pub async fn run(
    machine: &Machine,
    locator: &Locator,
    limits: Limits,
    sysvol: &mut impl Sysvol,
) -> Result<Run, Error> {
    let mut domains = Domains {
        machine,
        locator,
        limits,
        open: BTreeMap::new(),
    };
    // [MS-GPOL] 3.2.5.1.1: a controller that fails is looked for once more.
    if let Err(error) = domains.connect(machine.domain()).await {
        tracing::debug!(%error, "group policy: the first controller failed");
        domains.connect(machine.domain()).await?;
    }
    let found = look(&mut domains, sysvol).await;
    domains.close().await;
    found
}

async fn look(domains: &mut Domains<'_>, sysvol: &mut impl Sysvol) -> Result<Run, Error> {
    let mut notes = Vec::new();
    let own = domains.machine.domain().to_owned();
    let account = domains.machine.account().to_owned();
    let (controller, ldap) = domains.connect(&own).await?;
    let root = ldap.root().await?;
    let base = text(&root, "defaultNamingContext")?;
    let configuration = text(&root, "configurationNamingContext")?;
    let (computer, token) = computer(ldap, &base, &account).await?;
    let site = match ldap.netlogon(&own).await? {
        Some(answer) => Some(answer.client_site).filter(|site| !site.is_empty()),
        None => {
            notes.push("the site is as an unprotected ping said".to_owned());
            controller.site.clone()
        }
    };
    let mut containers = Vec::new();
    match &site {
        Some(site) => {
            containers.extend(site_container(ldap, site, &configuration, &mut notes).await?);
        }
        None => notes.push("this machine is in no site".to_owned()),
    }
    containers.extend(unit_containers(ldap, &computer, &mut notes).await?);
    let controller = controller.host.clone();
    let objects = objects(domains, &containers).await?;
    let plan = plan(&containers, &objects, &token);
    let files = files(domains, &objects, &plan, sysvol).await?;
    Ok(Run {
        controller,
        site,
        computer: computer.to_string(),
        conclusion: conclude(&plan, &files)?,
        notes,
    })
}

fn text(entry: &crate::ldap::Entry, attribute: &str) -> Result<String, Error> {
    entry
        .text(attribute)
        .map(str::to_owned)
        .ok_or_else(|| Error::peer("LDAP", format!("the server's rootDSE has no {attribute}")))
}

/// The machine's account and SIDs.
async fn computer(
    ldap: &mut Ldap,
    base: &str,
    account: &str,
) -> Result<(DistinguishedName, Token), Error> {
    let found = ldap
        .search(&Search {
            base,
            scope: Scope::Subtree,
            filter: Filter::equals("sAMAccountName", account),
            attributes: &["objectSid"],
        })
        .await?;
    let [entry] = found.as_slice() else {
        return Err(Error::Missing(format!(
            "the domain has {} accounts `{account}`",
            found.len()
        )));
    };
    let dn: DistinguishedName = entry
        .dn
        .parse()
        .map_err(|error| Error::peer("LDAP", format!("{}: {error}", entry.dn)))?;
    let groups = ldap
        .object(&entry.dn, &["tokenGroups"])
        .await?
        .ok_or_else(|| Error::Missing(format!("the account {dn} is gone")))?;
    let mut all = sids(entry, "objectSid")?;
    if all.is_empty() {
        return Err(Error::Missing(format!(
            "{dn} has no objectSid that can be read"
        )));
    }
    all.extend(sids(&groups, "tokenGroups")?);
    Ok((dn, Token::new(all)))
}

async fn site_container(
    ldap: &mut Ldap,
    site: &str,
    configuration: &str,
    notes: &mut Vec<String>,
) -> Result<Option<Container>, Error> {
    // A site's name stands in a distinguished name: nothing in it may end its part.
    let escaped: String = site
        .chars()
        .flat_map(|c| {
            let plain = c.is_alphanumeric() || matches!(c, '-' | '_');
            (!plain).then_some('\\').into_iter().chain([c])
        })
        .collect();
    let name = format!("CN={escaped},CN=Sites,{configuration}");
    let dn: DistinguishedName = name
        .parse()
        .map_err(|error| Error::peer("LDAP", format!("{name}: {error}")))?;
    let Some(entry) = ldap.object(dn.as_str(), &["gPLink", "gPOptions"]).await? else {
        notes.push(format!("the site {site} cannot be read"));
        return Ok(None);
    };
    let (links, options) = (entry.text("gPLink"), entry.text("gPOptions"));
    Ok(Some(Container::new(
        ContainerKind::Site,
        dn,
        links,
        options,
    )?))
}

/// Domain and units, weakest first.
async fn unit_containers(
    ldap: &mut Ldap,
    computer: &DistinguishedName,
    notes: &mut Vec<String>,
) -> Result<Vec<Container>, Error> {
    let mut wanted = containers_of(computer);
    wanted.reverse();
    let domain = computer
        .domain()
        .ok_or_else(|| Error::Missing(format!("{computer} lies in no domain")))?;
    let names = wanted
        .iter()
        .map(|(_, dn)| Filter::equals("distinguishedName", dn.as_str()));
    let found = ldap
        .search(&Search {
            base: domain.as_str(),
            scope: Scope::Subtree,
            filter: Filter::Or(names.collect()),
            attributes: &["gPLink", "gPOptions"],
        })
        .await?;
    let mut containers = Vec::new();
    for (kind, dn) in wanted {
        let entry = found.iter().find(|entry| {
            entry
                .dn
                .parse::<DistinguishedName>()
                .is_ok_and(|one| one == dn)
        });
        let Some(entry) = entry else {
            notes.push(format!(
                "{dn} cannot be read: what is linked to it is not known"
            ));
            continue;
        };
        let (links, options) = (entry.text("gPLink"), entry.text("gPOptions"));
        containers.push(Container::new(kind, dn, links, options)?);
    }
    Ok(containers)
}

/// The objects that are linked, each asked of a controller of its own domain.
async fn objects(
    domains: &mut Domains<'_>,
    containers: &[Container],
) -> Result<BTreeMap<String, PolicyObject>, Error> {
    let mut by_domain: BTreeMap<String, BTreeMap<String, &DistinguishedName>> = BTreeMap::new();
    for link in containers.iter().flat_map(|container| &container.links) {
        if let Some(domain) = link.gpo.dns_domain().filter(|_| !link.is_disabled()) {
            let names = by_domain.entry(domain).or_default();
            names.insert(link.gpo.canonical(), &link.gpo);
        }
    }
    let mut objects = BTreeMap::new();
    for (domain, names) in by_domain {
        let (_, ldap) = domains.connect(&domain).await?;
        let names: Vec<&DistinguishedName> = names.into_values().collect();
        let Some(base) = names.first().and_then(|name| name.domain()) else {
            continue;
        };
        for some in names.chunks(AT_ONCE) {
            let filters = some
                .iter()
                .map(|dn| Filter::equals("distinguishedName", dn.as_str()));
            let found = ldap
                .search(&Search {
                    base: &format!("CN=Policies,CN=System,{base}"),
                    scope: Scope::Subtree,
                    filter: Filter::Or(filters.collect()),
                    attributes: ATTRIBUTES,
                })
                .await?;
            for entry in &found {
                let mut object = object(entry)?;
                if let Some(filter) = &mut object.wmi {
                    look_up(ldap, filter, base.as_str()).await?;
                }
                objects.insert(object.dn.canonical(), object);
            }
        }
    }
    Ok(objects)
}

/// [MS-GPOL] 2.2.5: the filter's object.
async fn look_up(ldap: &mut Ldap, filter: &mut WmiFilter, base: &str) -> Result<(), Error> {
    let missing = || {
        Error::peer(
            "LDAP",
            format!("the WMI filter `{}` cannot be read", filter.text),
        )
    };
    let (_, id) = WmiFilter::reference(&filter.text).ok_or_else(missing)?;
    let plain = |c: char| c.is_ascii_hexdigit() || matches!(c, '{' | '}' | '-');
    if !id.chars().all(plain) {
        return Err(missing());
    }
    let dn = format!("CN={id},CN=SOM,CN=WMIPolicy,CN=System,{base}");
    let found = ldap.object(&dn, &["msWMI-Name", "msWMI-Parm2"]).await?;
    filter.query = found.map(|entry| {
        let text = |attribute| entry.text(attribute).unwrap_or_default().to_owned();
        (text("msWMI-Name"), text("msWMI-Parm2"))
    });
    Ok(())
}

/// The files of the objects that apply.
async fn files(
    domains: &mut Domains<'_>,
    objects: &BTreeMap<String, PolicyObject>,
    plan: &Plan,
    sysvol: &mut impl Sysvol,
) -> Result<BTreeMap<String, Files>, Error> {
    let mut files = BTreeMap::new();
    for (key, wanted) in plan.wanted() {
        let Some(domain) = objects.get(key).and_then(|object| object.dn.dns_domain()) else {
            continue;
        };
        let (controller, _) = domains.connect(&domain).await?;
        let controller = controller.clone();
        files.insert(
            key.to_owned(),
            read(sysvol, &controller, &domain, wanted).await?,
        );
    }
    Ok(files)
}

async fn read(
    sysvol: &mut impl Sysvol,
    controller: &Controller,
    domain: &str,
    wanted: &Wanted,
) -> Result<Files, Error> {
    let wrong = |what: String| Error::Sysvol {
        path: wanted.path.clone(),
        what,
    };
    let folder = match SysvolPath::parse(&wanted.path, domain) {
        Ok(folder) => folder,
        // Whoever may change one object must not be able to stop the others.
        Err(why) => {
            return Ok(Files {
                version: None,
                values: Values::default(),
                problems: vec![format!("gPCFileSysPath `{}`: {why}", wanted.path)],
            });
        }
    };
    let ini = folder.file(&["gpt.ini"]);
    let bytes = sysvol
        .read(controller, &ini)
        .await?
        .ok_or_else(|| wrong("it has no gpt.ini".to_owned()))?;
    let version = gpt_version(&bytes).map_err(|error| wrong(error.to_string()))?;
    let mut values = Values::default();
    let mut problems = Vec::new();
    for extension in &wanted.extensions {
        let file = folder.file(extension.file());
        match (extension, sysvol.read(controller, &file).await?) {
            (Extension::Security, None) => problems.push("GptTmpl.inf is missing".to_owned()),
            (Extension::Registry, None) => {}
            (Extension::Security, Some(bytes)) => match template_values(&bytes) {
                Ok(read) => values = values.with(read),
                Err(error) => problems.push(error.to_string()),
            },
            (Extension::Registry, Some(bytes)) => match registry_values(&bytes) {
                Ok(read) => values = values.with(read),
                Err(error) => problems.push(error.to_string()),
            },
        }
    }
    Ok(Files {
        version: Some(version),
        values,
        problems,
    })
}
