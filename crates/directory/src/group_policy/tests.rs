//! Runs over directories and a SYSVOL that are only played.

use std::collections::BTreeMap;

use countersign_policy::Value;
use countersign_policy::group_policy::{Fate, Filtered, LastGood};

use super::ask::Directories;
use super::run::{Me, Run, look};
use super::{Content, Sysvol, SysvolPath};
use crate::error::Error;
use crate::ldap::{Entry, Filter, Scope, Search};
use crate::locate::Controller;
use crate::netlogon::Netlogon;

const SECURITY: &str =
    "[{827D319E-6EAC-11D2-A4EA-00C04F79F83A}{803E14A0-B4FB-11D0-A0D0-00A0C90F574B}]";
const OWN: &str = "lab.example";
const OTHER: &str = "other.example";

fn named(dn: &str) -> Entry {
    let mut entry = Entry::default();
    dn.clone_into(&mut entry.dn);
    entry
}

/// Everybody may do everything: an empty descriptor with DACL_PRESENT and no DACL.
const OPEN: [u8; 20] = [
    1, 0, 4, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

fn object(dn: &str, domain: &str) -> Entry {
    let guid = dn.split(['=', ',']).nth(1).unwrap();
    let path = format!(r"\\{domain}\sysvol\{domain}\Policies\{guid}");
    named(dn)
        .with("cn", guid.as_bytes())
        .with("displayName", guid.as_bytes())
        .with("gPCFileSysPath", path.as_bytes())
        .with("versionNumber", b"5")
        .with("gPCFunctionalityVersion", b"2")
        .with("gPCMachineExtensionNames", SECURITY.as_bytes())
        .with("nTSecurityDescriptor", &OPEN)
}

/// Entries by domain. What is asked is noted.
#[derive(Default)]
struct Played {
    entries: BTreeMap<String, Vec<Entry>>,
    away: Vec<String>,
    asked: Vec<(String, String)>,
}

fn fits(filter: &Filter, entry: &Entry) -> bool {
    match filter {
        Filter::And(all) => all.iter().all(|one| fits(one, entry)),
        Filter::Or(some) => some.iter().any(|one| fits(one, entry)),
        Filter::Equals("distinguishedName", value) => {
            entry.dn.as_bytes().eq_ignore_ascii_case(value)
        }
        Filter::Equals(name, value) => entry
            .value(name)
            .is_some_and(|one| one.eq_ignore_ascii_case(value)),
        Filter::Present(_) => true,
    }
}

impl Directories for Played {
    async fn controller(&mut self, domain: &str) -> Result<Controller, Error> {
        if self.away.iter().any(|one| one == domain) {
            return Err(Error::NoController {
                domain: domain.to_owned(),
                why: "it is played to be away".to_owned(),
            });
        }
        Ok(Controller {
            host: format!("dc.{domain}"),
            address: ([127, 0, 0, 1], 389).into(),
            site: Some("Forged".to_owned()),
        })
    }

    async fn search(&mut self, domain: &str, search: &Search<'_>) -> Result<Vec<Entry>, Error> {
        self.controller(domain).await?;
        self.asked.push((domain.to_owned(), search.base.to_owned()));
        let entries = self
            .entries
            .get(domain)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let base = search.base.to_lowercase();
        let found = entries.iter().filter(|entry| {
            let dn = entry.dn.to_lowercase();
            let inside = match search.scope {
                Scope::Base => dn == base,
                _ => dn.ends_with(&base),
            };
            inside && fits(&search.filter, entry)
        });
        Ok(found.cloned().collect())
    }

    async fn netlogon(&mut self, _domain: &str) -> Result<Option<Netlogon>, Error> {
        Ok(None)
    }
}

/// Files by `HOST\path`.
#[derive(Default)]
struct Files(BTreeMap<String, Content>);

impl Sysvol for Files {
    async fn read(&mut self, controller: &Controller, path: &SysvolPath) -> Result<Content, Error> {
        let name = format!(r"{}\{path}", controller.host).to_lowercase();
        Ok(self.0.get(&name).cloned().unwrap_or(Content::Absent))
    }
}

impl Files {
    fn set(&mut self, domain: &str, guid: &str, file: &str, content: Content) {
        let name = format!(r"dc.{domain}\{domain}\Policies\{guid}\{file}");
        self.0.insert(name.to_lowercase(), content);
    }

    fn template(&mut self, domain: &str, guid: &str, lines: &str) {
        let ini = b"[General]\r\nVersion=5\r\n".to_vec();
        self.set(domain, guid, "gpt.ini", Content::Bytes(ini));
        let text = format!(
            "[Unicode]\r\nUnicode=yes\r\n[Version]\r\nsignature=\"$CHICAGO$\"\r\n[Registry Values]\r\n{lines}"
        );
        self.set(domain, guid, TEMPLATE, Content::Bytes(text.into_bytes()));
    }
}

const TEMPLATE: &str = r"MACHINE\Microsoft\Windows NT\SecEdit\GptTmpl.inf";
const REQUIRE: &str =
    r"MACHINE\System\CurrentControlSet\Services\LanManServer\Parameters\RequireSecuritySignature";
const HERE: &str = "CN={A},CN=Policies,CN=System,DC=lab,DC=example";
const THERE: &str = "CN={B},CN=Policies,CN=System,DC=other,DC=example";

/// A computer in a unit with these links, and the objects {A} here and {B} there.
fn scene(links: &str) -> (Played, Files) {
    let mut played = Played::default();
    // S-1-5-21-1
    let sid = [1, 2, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0];
    let own = vec![
        named("")
            .with("defaultNamingContext", b"DC=lab,DC=example")
            .with(
                "configurationNamingContext",
                b"CN=Configuration,DC=lab,DC=example",
            ),
        named("CN=files,OU=Servers,DC=lab,DC=example")
            .with("sAMAccountName", b"FILES$")
            .with("objectSid", &sid)
            .with("pwdLastSet", b"134398116000000000")
            .with("msDS-KeyVersionNumber", b"4"),
        named("OU=Servers,DC=lab,DC=example").with("gPLink", links.as_bytes()),
        named("DC=lab,DC=example"),
        named("CN=Sites,CN=Configuration,DC=lab,DC=example"),
        object(HERE, OWN),
    ];
    played.entries.insert(OWN.to_owned(), own);
    played
        .entries
        .insert(OTHER.to_owned(), vec![object(THERE, OTHER)]);
    let mut files = Files::default();
    files.template(OWN, "{A}", &format!("{REQUIRE}=4,0\r\n"));
    files.template(OTHER, "{B}", &format!("{REQUIRE}=4,1\r\n"));
    (played, files)
}

async fn asked(played: &mut Played, files: &mut Files, last: &LastGood) -> Result<Run, Error> {
    let me = Me {
        domain: OWN,
        account: "FILES$",
        site: None,
    };
    look(&me, played, files, last).await
}

fn link(dn: &str) -> String {
    format!("[LDAP://{dn};0]")
}

fn says(run: &Run) -> Vec<(String, Value)> {
    let layers = run.conclusion.layers.objects.iter();
    layers
        .map(|layer| (layer.gpo.name.clone(), layer.settings.server_always))
        .collect()
}

#[tokio::test]
async fn an_object_of_another_domain_is_asked_of_that_domain() {
    let (mut played, mut files) = scene(&format!("{}{}", link(HERE), link(THERE)));
    let run = asked(&mut played, &mut files, &LastGood::default())
        .await
        .unwrap();
    let (on, off) = (Value::Enabled, Value::Disabled);
    assert_eq!(
        says(&run),
        [("{A}".to_owned(), off), ("{B}".to_owned(), on)]
    );
    let there: Vec<&str> = played
        .asked
        .iter()
        .filter(|(domain, _)| domain == OTHER)
        .map(|(_, base)| base.as_str())
        .collect();
    assert_eq!(there, ["CN=Policies,CN=System,DC=other,DC=example"]);
    assert_eq!(run.controller, "dc.lab.example");
    assert_eq!(
        (run.password_set, run.key_version),
        (Some(1_795_338_000), Some(4))
    );
}

#[tokio::test]
async fn a_domain_that_is_away_is_named_and_nothing_is_half_done() {
    let (mut played, mut files) = scene(&format!("{}{}", link(HERE), link(THERE)));
    played.away.push(OTHER.to_owned());
    let error = asked(&mut played, &mut files, &LastGood::default())
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains(THERE) && text.contains(OTHER), "{text}");
    assert!(error.remedy().unwrap().contains("_msdcs.other.example"));
}

#[tokio::test]
async fn names_that_are_no_domains_are_never_asked_about() {
    let strange = r"CN={B},CN=Policies,CN=System,DC=other/x,DC=example\@EVIL";
    let disabled = format!("[LDAP://{THERE};1]");
    let (mut played, mut files) = scene(&format!("{}{disabled}", link(strange)));
    let run = asked(&mut played, &mut files, &LastGood::default())
        .await
        .unwrap();
    assert!(played.asked.iter().all(|(domain, _)| domain == OWN));
    let fates: Vec<&Fate> = run
        .conclusion
        .considered
        .iter()
        .map(|one| &one.fate)
        .collect();
    let wanted = [
        &Fate::Filtered(Filtered::NotFound),
        &Fate::Filtered(Filtered::LinkDisabled),
    ];
    assert_eq!(fates, wanted);
}

#[tokio::test]
async fn a_damaged_template_leaves_what_it_said_in_force() {
    let (mut played, mut files) = scene(&link(HERE));
    files.template(OWN, "{A}", &format!("{REQUIRE}=4,1\r\n"));
    let good = asked(&mut played, &mut files, &LastGood::default())
        .await
        .unwrap();
    let damages = [
        Content::Bytes(format!("[Version]\r\n[Registry Values]\r\n{REQUIRE}=4,maybe\r\n").into()),
        Content::Absent,
        Content::Refused("it is larger than 4194304 bytes".to_owned()),
    ];
    for damage in damages {
        files.set(OWN, "{A}", TEMPLATE, damage.clone());
        let kept = asked(&mut played, &mut files, &good.last_good)
            .await
            .unwrap();
        assert_eq!(
            says(&kept),
            [("{A}".to_owned(), Value::Enabled)],
            "{damage:?}"
        );
        let problem = &kept.conclusion.considered[0].problems[0];
        assert!(
            problem.contains("what it said in version 5 stays"),
            "{problem}"
        );
        assert_eq!(kept.last_good, good.last_good, "and it stays known");
        // Where nothing is known of it, it is skipped, and that is said.
        let fresh = asked(&mut played, &mut files, &LastGood::default())
            .await
            .unwrap();
        assert!(says(&fresh).is_empty());
        let fate = &fresh.conclusion.considered[0].fate;
        assert!(
            matches!(fate, Fate::Filtered(Filtered::Unreadable { .. })),
            "{fate:?}"
        );
    }
    // An object that does not apply any more is forgotten.
    played.entries.get_mut(OWN).unwrap()[2] = named("OU=Servers,DC=lab,DC=example");
    let gone = asked(&mut played, &mut files, &good.last_good)
        .await
        .unwrap();
    assert!(says(&gone).is_empty());
    assert_eq!(gone.last_good, LastGood::default());
}

#[tokio::test]
async fn a_damaged_gpt_ini_ends_the_run() {
    let (mut played, mut files) = scene(&link(HERE));
    for damage in [
        Content::Absent,
        Content::Bytes(b"[x]".to_vec()),
        Content::Refused("no".into()),
    ] {
        files.set(OWN, "{A}", "gpt.ini", damage);
        let error = asked(&mut played, &mut files, &LastGood::default())
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with(r"\\dc.lab.example\sysvol\lab.example\Policies\{A}\gpt.ini"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn filters_that_cannot_be_followed_are_not_taken_for_missing_ones() {
    for (text, decided) in [
        ("[lab.example;{C};0]", true),
        ("[other.example;{C};0]", false),
        ("[lab.example;{C}),(x;0]", false),
        ("nonsense", false),
    ] {
        let (mut played, mut files) = scene(&link(HERE));
        let filtered = object(HERE, OWN).with("gPCWQLFilter", text.as_bytes());
        *played.entries.get_mut(OWN).unwrap().last_mut().unwrap() = filtered;
        let run = asked(&mut played, &mut files, &LastGood::default()).await;
        // A filter that does not exist lets the object apply; the others end the run.
        assert_eq!(run.is_ok(), decided, "{text}");
    }
}

#[tokio::test]
async fn an_unprotected_ping_does_not_choose_the_site() {
    let (mut played, mut files) = scene(&link(HERE));
    let site = named("CN=Forged,CN=Sites,CN=Configuration,DC=lab,DC=example");
    let site = site.with("gPLink", link(HERE).as_bytes());
    played.entries.get_mut(OWN).unwrap().push(site);
    let run = asked(&mut played, &mut files, &LastGood::default())
        .await
        .unwrap();
    assert_eq!(run.site, None);
    assert_eq!(run.conclusion.considered.len(), 1);
}
