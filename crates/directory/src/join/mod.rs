//! Making this machine a member of a domain: an account with a password nobody knows,
//! and a keytab with the keys that come of it.

mod keys;
mod keytab;

use countersign_gssapi::{Credential, Library, Zeroizing};

use crate::error::Error;
use crate::ldap::{Change, Filter, Ldap, Limits, Machine, Scope, Search};
use crate::locate::Locator;

pub use keytab::append;

/// WORKSTATION_TRUST_ACCOUNT and ACCOUNTDISABLE, [MS-ADTS] 2.2.16.
const WORKSTATION: u32 = 0x1000;
const DISABLED: u32 = 0x0002;
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
    /// The entries for the keytab; see [`append`].
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
    let credential = tokio::task::spawn_blocking(move || -> Result<Credential, Error> {
        Ok(Credential::from_password(
            Library::load()?,
            &principal,
            &secret,
        )?)
    })
    .await
    .map_err(|error| Error::peer("logging on", error.to_string()))??;
    let locator = Locator {
        controller: wanted.controller.map(str::to_owned),
        site: None,
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
    .await?;
    let joined = account(&mut ldap, wanted, &name, &domain, &realm).await;
    ldap.close().await;
    joined
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
            attributes: &["cn"],
        })
        .await?;
    let text = |text: String| vec![text.into_bytes()];
    let services: Vec<String> = ["HOST", "cifs"]
        .iter()
        .flat_map(|service| {
            [
                format!("{service}/{}", wanted.host),
                format!("{service}/{name}"),
            ]
        })
        .collect();
    let (dn, new) = match found.first() {
        Some(entry) if wanted.reset => (entry.dn.clone(), false),
        Some(entry) => {
            return Err(Error::Missing(format!(
                "there is an account {account} already, {}: its password is only changed when \
                 that is asked for",
                entry.dn
            )));
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
                ("objectClass", text("computer".to_owned())),
                ("sAMAccountName", text(account.clone())),
                (
                    "userAccountControl",
                    text((WORKSTATION | DISABLED).to_string()),
                ),
                ("dNSHostName", text(wanted.host.to_owned())),
                ("servicePrincipalName", spn),
                (
                    "msDS-SupportedEncryptionTypes",
                    text(ENCRYPTION_TYPES.to_string()),
                ),
            ];
            ldap.add(&dn, &attributes).await?;
            (dn, true)
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
            Change::Replace("userAccountControl", text(WORKSTATION.to_string())),
            Change::Replace("msDS-SupportedEncryptionTypes", encryption),
        ],
    )
    .await?;
    let entry = ldap.object(&dn, &["msDS-KeyVersionNumber"]).await?;
    let version = entry
        .and_then(|entry| entry.number("msDS-KeyVersionNumber"))
        .and_then(|version| u32::try_from(version).ok())
        .ok_or_else(|| Error::Missing(format!("{dn} has no key version that can be read")))?;
    // [MS-KILE] 3.1.1.2: the salt of a machine's account.
    let salt = format!("{realm}host{}.{domain}", name.to_lowercase());
    let keys = keys::of(&password, &salt);
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
            keytab::entry(&mut entries, principal, realm, version, key);
        }
    }
    Ok(Joined {
        computer: dn,
        entries,
        new,
    })
}
