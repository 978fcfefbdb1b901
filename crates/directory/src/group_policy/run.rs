//! One run: [MS-GPOL] 3.2.5.1, for the machine.

use std::collections::BTreeMap;

use countersign_policy::ContainerKind;
use countersign_policy::group_policy::{
    Conclusion, Container, DistinguishedName, Extension, Files, LastGood, Plan, PolicyObject, Said,
    Token, Values, Wanted, WmiFilter, conclude, containers_of, gpt_version, plan, registry_values,
    template_values,
};

use super::ask::{Directories, Domains};
use super::object::{ATTRIBUTES, object, sids};
use super::path::SysvolPath;
use super::sysvol::{Content, Sysvol};
use crate::error::Error;
use crate::ldap::{Filter, Limits, Machine, Scope, Search};
use crate::locate::{Controller, Locator, is_dns_name};

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
    /// When the account's password was last changed, seconds since 1970.
    pub password_set: Option<u64>,
    /// msDS-KeyVersionNumber of the account.
    pub key_version: Option<u32>,
    /// What it comes to.
    pub conclusion: Conclusion,
    /// What the files that could be read say, for the next run.
    pub last_good: LastGood,
    /// What should be looked at.
    pub notes: Vec<String>,
}

/// Asks directory and SYSVOL once, and says what it comes to. Nothing is half done: an
/// error means that nothing is known anew. `last` is what files said when they could last be
/// read: it counts where one cannot be used now.
///
/// # Errors
/// [`Error`].
pub async fn run(
    machine: &Machine,
    locator: &Locator,
    limits: Limits,
    sysvol: &mut impl Sysvol,
    last: &LastGood,
) -> Result<Run, Error> {
    let mut domains = Domains::new(machine, locator, limits);
    let me = Me {
        domain: machine.domain(),
        account: machine.account(),
        site: locator.site.as_deref(),
    };
    let found = look(&me, &mut domains, sysvol, last).await;
    domains.close().await;
    found
}

/// Who asks.
pub(super) struct Me<'a> {
    pub(super) domain: &'a str,
    pub(super) account: &'a str,
    /// The site a controller named last time.
    pub(super) site: Option<&'a str>,
}

pub(super) async fn look(
    me: &Me<'_>,
    domains: &mut impl Directories,
    sysvol: &mut impl Sysvol,
    last: &LastGood,
) -> Result<Run, Error> {
    let mut notes = Vec::new();
    let own = me.domain;
    let root = domains
        .object(
            own,
            "",
            &["defaultNamingContext", "configurationNamingContext"],
        )
        .await?
        .ok_or_else(|| Error::peer("LDAP", "the server has no rootDSE"))?;
    let base = text(&root, "defaultNamingContext")?;
    let configuration = text(&root, "configurationNamingContext")?;
    let computer = computer(domains, me, &base).await?;
    let site = match domains.netlogon(own).await? {
        Some(answer) => Some(answer.client_site).filter(|site| !site.is_empty()),
        // What an unprotected ping says would let whoever forges it choose.
        None => {
            notes.push("the controller does not name the site: it is as it was last".to_owned());
            me.site.map(str::to_owned)
        }
    };
    let mut containers = Vec::new();
    match &site {
        Some(site) => {
            let found = site_container(domains, own, site, &configuration, &mut notes).await?;
            containers.extend(found);
        }
        None => notes.push("this machine is in no site: no policy of a site applies".to_owned()),
    }
    containers.extend(unit_containers(domains, own, &computer.dn, &mut notes).await?);
    let controller = domains.controller(own).await?.host;
    let objects = objects(domains, &containers).await?;
    let plan = plan(&containers, &objects, &computer.token);
    let (files, last_good) = files(domains, &objects, &plan, sysvol, last).await?;
    Ok(Run {
        controller,
        site,
        computer: computer.dn.to_string(),
        password_set: computer.password_set,
        key_version: computer.key_version,
        conclusion: conclude(&plan, &files)?,
        last_good,
        notes,
    })
}

fn text(entry: &crate::ldap::Entry, attribute: &str) -> Result<String, Error> {
    entry
        .text(attribute)
        .map(str::to_owned)
        .ok_or_else(|| Error::peer("LDAP", format!("the server's rootDSE has no {attribute}")))
}

/// The machine's account.
struct Computer {
    dn: DistinguishedName,
    token: Token,
    password_set: Option<u64>,
    key_version: Option<u32>,
}

async fn computer(
    domains: &mut impl Directories,
    me: &Me<'_>,
    base: &str,
) -> Result<Computer, Error> {
    let search = Search {
        base,
        scope: Scope::Subtree,
        filter: Filter::equals("sAMAccountName", me.account),
        attributes: &["objectSid", "pwdLastSet"],
    };
    let found = domains.search(me.domain, &search).await?;
    let [entry] = found.as_slice() else {
        return Err(Error::Missing(format!(
            "the domain {} has {} accounts `{}` that can be read",
            me.domain,
            found.len(),
            me.account
        )));
    };
    let dn: DistinguishedName = entry
        .dn
        .parse()
        .map_err(|error| Error::peer("LDAP", format!("{}: {error}", entry.dn)))?;
    let more = domains
        .object(
            me.domain,
            &entry.dn,
            &["tokenGroups", "msDS-KeyVersionNumber"],
        )
        .await?
        .ok_or_else(|| Error::Missing(format!("the account {dn} is gone")))?;
    let mut all = sids(entry, "objectSid")?;
    if all.is_empty() {
        return Err(Error::Missing(format!(
            "{dn} has no objectSid that can be read"
        )));
    }
    all.extend(sids(&more, "tokenGroups")?);
    Ok(Computer {
        dn,
        token: Token::new(all),
        password_set: entry.number("pwdLastSet").and_then(unix_seconds),
        key_version: more
            .number("msDS-KeyVersionNumber")
            .and_then(|version| u32::try_from(version).ok()),
    })
}

/// A FILETIME as seconds since 1970; 0 says that there is none.
fn unix_seconds(filetime: i64) -> Option<u64> {
    /// 1970 in units of 100 ns since 1601.
    const EPOCH: i64 = 116_444_736_000_000_000;
    let since = filetime.checked_sub(EPOCH)?;
    u64::try_from(since).ok().map(|since| since / 10_000_000)
}

async fn site_container(
    domains: &mut impl Directories,
    own: &str,
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
    let found = domains.object(own, dn.as_str(), &["gPLink", "gPOptions"]);
    let Some(entry) = found.await? else {
        notes.push(format!(
            "the site {site} cannot be read: what is linked to it is not known"
        ));
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
    domains: &mut impl Directories,
    own: &str,
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
    let search = Search {
        base: domain.as_str(),
        scope: Scope::Subtree,
        filter: Filter::Or(names.collect()),
        attributes: &["gPLink", "gPOptions"],
    };
    let found = domains.search(own, &search).await?;
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
    domains: &mut impl Directories,
    containers: &[Container],
) -> Result<BTreeMap<String, PolicyObject>, Error> {
    let mut by_domain: BTreeMap<String, BTreeMap<String, &DistinguishedName>> = BTreeMap::new();
    for link in containers.iter().flat_map(|container| &container.links) {
        // The name becomes part of a question to DNS and of a Kerberos principal. What cannot
        // be one is nowhere, and so not found.
        if let Some(domain) = link
            .gpo
            .dns_domain()
            .filter(|domain| !link.is_disabled() && is_dns_name(domain))
        {
            let names = by_domain.entry(domain).or_default();
            names.insert(link.gpo.canonical(), &link.gpo);
        }
    }
    let mut objects = BTreeMap::new();
    for (domain, names) in by_domain {
        let names: Vec<&DistinguishedName> = names.into_values().collect();
        let Some(base) = names.first().and_then(|name| name.domain()) else {
            continue;
        };
        for some in names.chunks(AT_ONCE) {
            let filters = some
                .iter()
                .map(|dn| Filter::equals("distinguishedName", dn.as_str()));
            let search = Search {
                base: &format!("CN=Policies,CN=System,{base}"),
                scope: Scope::Subtree,
                filter: Filter::Or(filters.collect()),
                attributes: ATTRIBUTES,
            };
            let found = domains.search(&domain, &search).await.map_err(|error| {
                let linked = some.first().map_or_else(String::new, ToString::to_string);
                error.at(format!("the linked object {linked}"))
            })?;
            for entry in &found {
                let mut object = object(entry)?;
                if let Some(filter) = &mut object.wmi {
                    look_up(domains, &domain, filter, base.as_str()).await?;
                }
                objects.insert(object.dn.canonical(), object);
            }
        }
    }
    Ok(objects)
}

/// [MS-GPOL] 2.2.5: the filter's object. A reference that cannot be followed is not taken for
/// one to nothing, which would let the object apply.
async fn look_up(
    domains: &mut impl Directories,
    domain: &str,
    filter: &mut WmiFilter,
    base: &str,
) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_hexdigit() || matches!(c, '{' | '}' | '-');
    let why = match WmiFilter::reference(&filter.text) {
        Some((of, _)) if !of.eq_ignore_ascii_case(domain) => "it is of another domain",
        Some((_, id)) if id.chars().all(plain) => {
            let dn = format!("CN={id},CN=SOM,CN=WMIPolicy,CN=System,{base}");
            let attributes = ["msWMI-Name", "msWMI-Parm2"];
            let found = domains.object(domain, &dn, &attributes).await?;
            filter.query = found.map(|entry| {
                let text = |attribute| entry.text(attribute).unwrap_or_default().to_owned();
                (text("msWMI-Name"), text("msWMI-Parm2"))
            });
            return Ok(());
        }
        _ => "its reference cannot be read",
    };
    filter.query = Some((filter.text.clone(), why.to_owned()));
    Ok(())
}

/// The files of the objects that apply, and what they say from now on when they cannot be
/// read any more.
async fn files(
    domains: &mut impl Directories,
    objects: &BTreeMap<String, PolicyObject>,
    plan: &Plan,
    sysvol: &mut impl Sysvol,
    last: &LastGood,
) -> Result<(BTreeMap<String, Files>, LastGood), Error> {
    let mut files = BTreeMap::new();
    let mut last_good = LastGood::default();
    for (key, wanted) in plan.wanted() {
        let Some(domain) = objects.get(key).and_then(|object| object.dn.dns_domain()) else {
            continue;
        };
        let controller = domains.controller(&domain).await?;
        let place = Place {
            controller: &controller,
            domain: &domain,
            key,
        };
        let read = read(sysvol, &place, wanted, last, &mut last_good).await?;
        files.insert(key.to_owned(), read);
    }
    Ok((files, last_good))
}

/// Where an object's files are.
struct Place<'a> {
    controller: &'a Controller,
    domain: &'a str,
    key: &'a str,
}

async fn read(
    sysvol: &mut impl Sysvol,
    place: &Place<'_>,
    wanted: &Wanted,
    last: &LastGood,
    last_good: &mut LastGood,
) -> Result<Files, Error> {
    let folder = match SysvolPath::parse(&wanted.path, place.domain) {
        Ok(folder) => folder,
        // Whoever may change one object must not be able to stop the others.
        Err(why) => {
            let mut values = Values::default();
            let mut problems = vec![format!("gPCFileSysPath `{}`: {why}", wanted.path)];
            for extension in &wanted.extensions {
                fall_back(
                    place.key,
                    *extension,
                    last,
                    last_good,
                    &mut values,
                    &mut problems,
                );
            }
            return Ok(Files {
                version: None,
                values,
                problems,
            });
        }
    };
    let ini = folder.file(&["gpt.ini"]);
    let wrong = |what: String| Error::Sysvol {
        path: format!(r"\\{}\sysvol\{ini}", place.controller.host),
        what,
    };
    let bytes = match sysvol.read(place.controller, &ini).await? {
        Content::Bytes(bytes) => bytes,
        Content::Absent => return Err(wrong("it is missing".to_owned())),
        Content::Refused(why) => return Err(wrong(why)),
    };
    let version = gpt_version(&bytes).map_err(|error| wrong(error.to_string()))?;
    let mut values = Values::default();
    let mut problems = Vec::new();
    for extension in &wanted.extensions {
        let file = folder.file(extension.file());
        let name = extension.file().last().copied().unwrap_or_default();
        let parsed = match (extension, sysvol.read(place.controller, &file).await?) {
            (Extension::Security, Content::Bytes(bytes)) => {
                template_values(&bytes).map_err(|error| error.to_string())
            }
            (Extension::Registry, Content::Bytes(bytes)) => {
                registry_values(&bytes).map_err(|error| error.to_string())
            }
            (Extension::Registry, Content::Absent) => Ok(Values::default()),
            (Extension::Security, Content::Absent) => Err(format!("{name} is missing")),
            (_, Content::Refused(why)) => Err(format!("{name}: {why}")),
        };
        match parsed {
            Ok(said) => {
                let remembered = Said {
                    version: version.machine(),
                    values: said.clone(),
                };
                last_good.insert(place.key, *extension, remembered);
                values = values.with(said);
            }
            Err(why) => {
                problems.push(why);
                fall_back(
                    place.key,
                    *extension,
                    last,
                    last_good,
                    &mut values,
                    &mut problems,
                );
            }
        }
    }
    Ok(Files {
        version: Some(version),
        values,
        problems,
    })
}

/// What the file last said counts, and is kept on.
fn fall_back(
    key: &str,
    extension: Extension,
    last: &LastGood,
    last_good: &mut LastGood,
    values: &mut Values,
    problems: &mut [String],
) {
    let Some(said) = last.get(key, extension) else {
        return;
    };
    last_good.insert(key, extension, said.clone());
    *values = std::mem::take(values).with(said.values.clone());
    if let Some(problem) = problems.last_mut() {
        problem.push_str(&format!(
            "; what it said in version {} stays in force",
            said.version
        ));
    }
}
