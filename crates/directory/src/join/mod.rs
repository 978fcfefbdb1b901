//! Making this machine a member of a domain: an account with a password nobody knows,
//! and a keytab with the keys that come of it.

mod keys;
mod keytab;
pub mod rotate;

use countersign_gssapi::{Credential, ErrorKind, Library, Zeroizing};

use crate::error::Error;
use crate::ldap::{Change, Entry, Filter, Ldap, Limits, Machine, Scope, Search};
use crate::locate::Locator;

pub use keytab::{Keytab, LARGEST_KEYTAB, Newest};

/// WORKSTATION_TRUST_ACCOUNT, ACCOUNTDISABLE and PASSWD_NOTREQD, [MS-ADTS] 2.2.16.
const WORKSTATION: u32 = 0x1000;
const DISABLED: u32 = 0x0002;
const NO_PASSWORD: u32 = 0x0020;
/// AES-128 and AES-256, [MS-KILE] 2.2.7.
const ENCRYPTION_TYPES: u32 = 0x18;
/// Characters of the password.
const PASSWORD: usize = 64;

/// How to join.
#[derive(Debug, Clone)]
pub struct Join<'a> {
    /// DNS name of the domain.
    pub domain: &'a str,
    /// The controller to ask, instead of those DNS names.
    pub controller: Option<&'a str>,
    /// The account's name without its `$`.
    pub name: &'a str,
    /// DNS name of this machine.
    pub host: &'a str,
    /// Distinguished name of the unit for the account; `CN=Computers` otherwise.
    pub unit: Option<&'a str>,
    /// An account that is there gets a new password; otherwise it is left alone.
    pub reset: bool,
}

/// What became of it.
#[derive(Debug)]
pub struct Joined {
    /// The account's distinguished name.
    pub computer: String,
    /// The entries for the keytab; see [`Keytab::joined`].
    pub entries: Zeroizing<Vec<u8>>,
    /// The account is new.
    pub new: bool,
}

/// Joins, as an account that may: `Administrator` or whoever may add computers.
///
/// # Errors
/// [`Error`]. An account that was made and did not get its password is left disabled.
pub async fn join(wanted: &Join<'_>, administrator: &str, password: &str) -> Result<Joined, Error> {
    let name = wanted.name.trim_end_matches('$').to_uppercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !(1..=15).contains(&name.len()) || !name.chars().all(plain) {
        return Err(Error::Missing(format!(
            "`{name}` cannot be the name of a machine: 1 to 15 letters, digits or hyphens"
        )));
    }
    let domain = wanted.domain.to_lowercase();
    let realm = domain.to_uppercase();
    let principal = match administrator.contains('@') {
        true => administrator.to_owned(),
        false => format!("{administrator}@{realm}"),
    };
    let secret = Zeroizing::new(password.to_owned());
    let refused = |why: countersign_gssapi::Error| match why.kind() {
        ErrorKind::NoCredential | ErrorKind::UnknownPrincipal => Error::Missing(format!(
            "the domain does not let {administrator} in by that name and password: {why}"
        )),
        _ => Error::Kerberos(why).at(format!("logging on as {administrator}")),
    };
    let credential = tokio::task::spawn_blocking(move || {
        let library = Library::load().map_err(Error::NoKerberos)?;
        Ok(Credential::from_password(library, &principal, &secret))
    })
    .await
    .map_err(|error| Error::peer("logging on", error.to_string()))?
    .and_then(|made| made.map_err(refused))?;
    let locator = Locator {
        controller: wanted.controller.map(str::to_owned),
        ..Locator::default()
    };
    let controller = locator.locate(&domain).await?;
    let somebody = Machine::with(credential.into(), administrator, &domain);
    let limits = Limits::default();
    let mut ldap = Ldap::open(
        controller.address,
        &controller.host,
        &domain,
        &somebody,
        limits,
    )
    .await
    .map_err(|error| match error {
        Error::Kerberos(why) if why.kind() == ErrorKind::NoCredential => refused(why),
        other => other.at(format!("LDAP at {}", controller.host)),
    })?;
    let joined = account(&mut ldap, wanted, &name, &domain, &realm).await;
    ldap.close().await;
    joined
}

/// [MS-KILE] 3.1.1.2: the salt of a machine's account.
fn salt(account: &str, domain: &str) -> String {
    let name = account.trim_end_matches('$').to_lowercase();
    let domain = domain.to_lowercase();
    format!("{}host{name}.{domain}", domain.to_uppercase())
}

fn text(text: impl Into<String>) -> Vec<Vec<u8>> {
    vec![text.into().into_bytes()]
}

/// An account that is there, when it may be taken over: that of a member. A controller's or
/// a trust's has a name of the same kind, and would be wrecked by a new password.
async fn take_over(
    ldap: &mut Ldap,
    wanted: &Join<'_>,
    entry: &Entry,
    services: &[String],
) -> Result<u32, Error> {
    let account = entry.text("sAMAccountName").unwrap_or_default();
    let refuse = |why: &str| Error::Missing(format!("{account}, {}, {why}", entry.dn));
    if !wanted.reset {
        return Err(refuse(
            "is there already: its password is only changed when that is asked for (--reset)",
        ));
    }
    let flags = entry
        .number("userAccountControl")
        .and_then(|flags| u32::try_from(flags).ok())
        .ok_or_else(|| refuse("has no userAccountControl that can be read"))?;
    if flags & WORKSTATION == 0 {
        return Err(refuse(
            "is not the account of a member but of a controller, a trust or a user: it is left \
             alone",
        ));
    }
    let has = |name: &str| {
        let mut values = entry.values("servicePrincipalName").iter();
        values.any(|value| value.eq_ignore_ascii_case(name.as_bytes()))
    };
    let missing: Vec<Vec<u8>> = services
        .iter()
        .filter(|name| !has(name))
        .map(|name| name.clone().into_bytes())
        .collect();
    let mut changes = Vec::new();
    if !missing.is_empty() {
        changes.push(Change::Add("servicePrincipalName", missing));
    }
    if entry.value("dNSHostName").is_none() {
        changes.push(Change::Replace("dNSHostName", text(wanted.host)));
    }
    if !changes.is_empty() {
        ldap.modify(&entry.dn, &changes).await?;
    }
    Ok(flags & !(DISABLED | NO_PASSWORD))
}

async fn account(
    ldap: &mut Ldap,
    wanted: &Join<'_>,
    name: &str,
    domain: &str,
    realm: &str,
) -> Result<Joined, Error> {
    let root = ldap.root().await?;
    let base = root
        .text("defaultNamingContext")
        .unwrap_or_default()
        .to_owned();
    let account = format!("{name}$");
    let found = ldap
        .search(&Search {
            base: &base,
            scope: Scope::Subtree,
            filter: Filter::equals("sAMAccountName", &account),
            attributes: &[
                "sAMAccountName",
                "userAccountControl",
                "servicePrincipalName",
                "dNSHostName",
            ],
        })
        .await?;
    let services: Vec<String> = ["HOST", "cifs"]
        .iter()
        .flat_map(|service| {
            [
                format!("{service}/{}", wanted.host),
                format!("{service}/{name}"),
            ]
        })
        .collect();
    let (dn, new, flags) = match found.first() {
        Some(entry) => {
            let flags = take_over(ldap, wanted, entry, &services).await?;
            (entry.dn.clone(), false, flags)
        }
        None => {
            let unit = match wanted.unit {
                Some(unit) => unit.to_owned(),
                None => format!("CN=Computers,{base}"),
            };
            let dn = format!("CN={name},{unit}");
            let spn = services
                .iter()
                .map(|one| one.clone().into_bytes())
                .collect();
            let attributes = [
                ("objectClass", text("computer")),
                ("sAMAccountName", text(account.clone())),
                (
                    "userAccountControl",
                    text((WORKSTATION | DISABLED).to_string()),
                ),
                ("dNSHostName", text(wanted.host)),
                ("servicePrincipalName", spn),
                (
                    "msDS-SupportedEncryptionTypes",
                    text(ENCRYPTION_TYPES.to_string()),
                ),
            ];
            ldap.add(&dn, &attributes).await?;
            (dn, true, WORKSTATION)
        }
    };
    let password = keys::password(PASSWORD)
        .ok_or_else(|| Error::Missing("the system gives no randomness".to_owned()))?;
    // [MS-ADTS] 3.1.1.3.1.5: in quotes, UTF-16; the connection is sealed.
    let quoted: Vec<u8> = format!("\"{}\"", *password)
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    ldap.modify(&dn, &[Change::Replace("unicodePwd", vec![quoted])])
        .await?;
    let encryption = text(ENCRYPTION_TYPES.to_string());
    ldap.modify(
        &dn,
        &[
            Change::Replace("userAccountControl", text(flags.to_string())),
            Change::Replace("msDS-SupportedEncryptionTypes", encryption),
        ],
    )
    .await?;
    let entry = ldap.object(&dn, &["msDS-KeyVersionNumber"]).await?;
    let version = entry
        .and_then(|entry| entry.number("msDS-KeyVersionNumber"))
        .and_then(|version| u32::try_from(version).ok())
        .ok_or_else(|| {
            Error::Missing(format!(
                "{dn} has no key version that can be read; it has a new password that nobody \
                 knows: join again with --reset"
            ))
        })?;
    let keys = keys::of(
        &password,
        &salt(&account, domain),
        &[keys::AES_256, keys::AES_128],
    );
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let mut entries = Zeroizing::new(Vec::new());
    let lower = ["host", "cifs"].iter().flat_map(|service| {
        [
            format!("{service}/{}", wanted.host),
            format!("{service}/{name}"),
        ]
    });
    let mut principals: Vec<String> = [account].into_iter().chain(services.clone()).collect();
    principals.extend(lower.filter(|one| !services.contains(one)));
    for principal in &principals {
        for key in &keys {
            keytab::entry(&mut entries, principal, realm, version, now, key);
        }
    }
    Ok(Joined {
        computer: dn,
        entries,
        new,
    })
}
