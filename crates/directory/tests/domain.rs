//! Against a real controller. `cargo xtask lab run` sets what is needed; without it
//! these tests say so and do nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test"
)]

use std::path::PathBuf;

use countersign_directory::group_policy::{Sysvol, SysvolPath, run};
use countersign_directory::{
    Controller, Error, Filter, Ldap, Limits, Locator, Machine, Resolver, Scope, Search,
};

struct Lab {
    domain: String,
    host: String,
    base: String,
    account: String,
    keytab: PathBuf,
}

fn lab() -> Option<Lab> {
    let get = |name: &str| std::env::var(name).ok();
    let Some(domain) = get("LAB_DNS_DOMAIN") else {
        println!("skipped: no domain controller (cargo xtask lab run cargo test ...)");
        return None;
    };
    Some(Lab {
        domain,
        host: get("LAB_DC_HOST").unwrap(),
        base: get("LAB_BASE_DN").unwrap(),
        account: get("LAB_FILES_ACCOUNT").unwrap(),
        keytab: get("LAB_FILES_KEYTAB").unwrap().into(),
    })
}

impl Lab {
    fn machine(&self) -> Machine {
        Machine::from_keytab(&self.domain, &self.account, &self.keytab).unwrap()
    }

    async fn open(&self) -> Ldap {
        let controller = Locator::default().locate(&self.domain).await.unwrap();
        assert_eq!(controller.host, self.host);
        assert_eq!(controller.site.as_deref(), Some("Default-First-Site-Name"));
        let (machine, limits) = (self.machine(), Limits::default());
        Ldap::open(
            controller.address,
            &controller.host,
            &self.domain,
            &machine,
            limits,
        )
        .await
        .unwrap()
    }
}

/// Finds nothing.
struct Nothing;

impl Sysvol for Nothing {
    async fn read(&mut self, _: &Controller, path: &SysvolPath) -> Result<Option<Vec<u8>>, Error> {
        assert_eq!(path.names()[1], "Policies");
        Ok(path
            .names()
            .last()
            .filter(|name| *name == "gpt.ini")
            .map(|_| b"[General]\nVersion=0".to_vec()))
    }
}

#[tokio::test]
async fn names_of_controllers() {
    let Some(lab) = lab() else { return };
    let resolver = Resolver::system().unwrap();
    let found = resolver
        .srv(&format!("_ldap._tcp.dc._msdcs.{}", lab.domain))
        .await
        .unwrap();
    assert_eq!(
        (found[0].target.as_str(), found[0].port),
        (lab.host.as_str(), 389)
    );
    assert!(
        resolver
            .srv(&format!("_no._tcp.{}", lab.domain))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn sealed_searches() {
    let Some(lab) = lab() else { return };
    let mut ldap = lab.open().await;
    let root = ldap.root().await.unwrap();
    assert_eq!(root.text("defaultNamingContext"), Some(lab.base.as_str()));
    let all = Search {
        base: &lab.base,
        scope: Scope::Subtree,
        filter: Filter::any(),
        attributes: &["cn"],
    };
    let everything = ldap.search(&all).await.unwrap();
    assert!(
        everything.len() > 200,
        "{} entries, over several buffers",
        everything.len()
    );
    let none = ldap
        .object("CN=nobody,CN=Users,DC=lab,DC=example", &["cn"])
        .await
        .unwrap();
    assert_eq!(none, None);
    let site = ldap.netlogon(&lab.domain).await.unwrap();
    println!("sealed ping: {site:?}");
    ldap.close().await;
}

#[tokio::test]
async fn a_host_that_is_no_controller_gets_no_ticket() {
    let Some(lab) = lab() else { return };
    let address = Locator::default()
        .locate(&lab.domain)
        .await
        .unwrap()
        .address;
    let machine = lab.machine();
    let limits = Limits::default();
    let error = Ldap::open(address, "files.lab.example", &lab.domain, &machine, limits).await;
    assert!(matches!(error, Err(Error::Kerberos(_))), "{error:?}");
}

#[tokio::test]
async fn a_run() {
    let Some(lab) = lab() else { return };
    let limits = Limits::default();
    let found = run(&lab.machine(), &Locator::default(), limits, &mut Nothing)
        .await
        .unwrap();
    assert_eq!(found.controller, lab.host);
    assert_eq!(found.site.as_deref(), Some("Default-First-Site-Name"));
    assert!(found.computer.to_lowercase().starts_with("cn=files,"));
    println!("{found:#?}");
    let default = &found.conclusion.considered[0];
    assert_eq!(default.gpo.name, "Default Domain Policy");
}
