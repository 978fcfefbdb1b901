//! Against a real controller. `cargo xtask lab run` sets what is needed; without it
//! these tests say so and do nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test"
)]

use std::net::SocketAddr;
use std::path::PathBuf;

use countersign_directory::group_policy::{Content, SmbSysvol, Sysvol, SysvolPath, run};
use countersign_policy::group_policy::LastGood;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

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
    let machine = lab.machine();
    let mut sysvol = SmbSysvol::new(&machine);
    let found = run(
        &machine,
        &Locator::default(),
        limits,
        &mut sysvol,
        &LastGood::default(),
    )
    .await
    .unwrap();
    assert_eq!(found.controller, lab.host);
    assert_eq!(found.site.as_deref(), Some("Default-First-Site-Name"));
    assert!(found.computer.to_lowercase().starts_with("cn=files,"));
    println!("{found:#?}");
    let default = &found.conclusion.considered[0];
    assert_eq!(default.gpo.name, "Default Domain Policy");
}

/// What somebody in the middle does to the server's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    /// Nothing.
    None,
    /// Takes away the signature and the flag that says there is one.
    Strip,
    /// Changes the last byte.
    Alter,
    /// Says in the negotiation that signing is neither required nor possible.
    Downgrade,
}

const FLAGS: usize = 16;
const SIGNED: u8 = 8;
const SIGNATURE: std::ops::Range<usize> = 48..64;

fn attack(frame: &mut [u8], attack: Attack) {
    let negotiate = frame.get(12..14) == Some(&[0, 0]);
    let signed = frame.get(FLAGS).is_some_and(|flags| flags & SIGNED != 0);
    match attack {
        Attack::Downgrade if negotiate => frame[64 + 2] = 0,
        Attack::Strip if signed => {
            frame[FLAGS] &= !SIGNED;
            frame[SIGNATURE].fill(0);
        }
        Attack::Alter if signed && !negotiate => {
            let last = frame.last_mut().unwrap();
            *last ^= 1;
        }
        _ => {}
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    how: Attack,
) -> std::io::Result<()> {
    loop {
        let length = from.read_u32().await?;
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        from.read_exact(&mut frame).await?;
        attack(&mut frame, how);
        to.write_u32(length).await?;
        to.write_all(&frame).await?;
    }
}

/// Somebody between this machine and the controller's SMB.
async fn in_the_middle(controller: SocketAddr, how: Attack) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(controller).await.unwrap();
            let (client_reads, client_writes) = client.into_split();
            let (server_reads, server_writes) = server.into_split();
            tokio::spawn(forward(client_reads, server_writes, Attack::None));
            tokio::spawn(forward(server_reads, client_writes, how));
        }
    });
    address
}

#[tokio::test]
async fn nobody_in_the_middle_changes_what_sysvol_says() {
    let Some(lab) = lab() else { return };
    let machine = lab.machine();
    let found = Locator::default().locate(&lab.domain).await.unwrap();
    let smb = SocketAddr::new(found.address.ip(), 445);
    let folder =
        r"\\lab.example\sysvol\lab.example\Policies\{31B2F340-016D-11D2-945F-00C04FB984F9}";
    let path = SysvolPath::parse(folder, &lab.domain)
        .unwrap()
        .file(&["GPT.INI"]);
    for how in [
        Attack::None,
        Attack::Strip,
        Attack::Alter,
        Attack::Downgrade,
    ] {
        let middle = in_the_middle(smb, how).await;
        let mut sysvol = SmbSysvol::on_port(&machine, middle.port());
        let controller = Controller {
            host: found.host.clone(),
            address: middle,
            site: None,
        };
        let read = sysvol.read(&controller, &path).await;
        println!("{how:?}: {read:?}");
        match how {
            Attack::None => match read.unwrap() {
                Content::Bytes(bytes) => assert!(bytes.starts_with(b"[General]")),
                other => panic!("{other:?}"),
            },
            _ => assert!(read.is_err(), "{how:?} was not noticed"),
        }
    }
}

#[tokio::test]
async fn a_file_that_is_not_there() {
    let Some(lab) = lab() else { return };
    let controller = Locator::default().locate(&lab.domain).await.unwrap();
    let path = SysvolPath::parse(r"\\x\sysvol\lab.example\nothing", &lab.domain).unwrap();
    let mut sysvol = SmbSysvol::new(&lab.machine());
    assert_eq!(
        sysvol.read(&controller, &path).await.unwrap(),
        Content::Absent
    );
    let deeper = path.file(&["a", "b"]);
    assert_eq!(
        sysvol.read(&controller, &deeper).await.unwrap(),
        Content::Absent
    );
}
