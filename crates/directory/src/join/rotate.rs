//! A new password for the machine's account, by its own keys (kpasswd, [RFC 3244]).
//!
//! The order is what makes it safe to be cut off anywhere: the new keys are in the keytab
//! before the domain is asked, the old ones stay in it, and [`settle`] finds out by a logon
//! which of the two are right. What is written where is the caller's business.

use std::path::Path;

use countersign_gssapi::{ErrorKind, PasswordError, Zeroizing, change_password, check_keytab};

use super::keys;
use super::keytab::{self, Keytab};
use crate::error::Error;

/// A change that was prepared.
pub struct Change {
    /// `FILES$@LAB.EXAMPLE`.
    pub principal: String,
    /// The version of the keys in force.
    pub before: u32,
    /// The version of the new ones.
    pub version: u32,
    /// The keytab with the new keys behind all it had.
    pub keytab: Zeroizing<Vec<u8>>,
    /// The keytab as it will be when the change is confirmed: without what is older than the
    /// keys in force before it.
    pub confirmed: Zeroizing<Vec<u8>>,
    password: Zeroizing<String>,
}

/// Which keys of a keytab are the account's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Those of the version asked about.
    New,
    /// Older ones.
    Old,
    /// None: somebody else gave the account another password.
    Neither,
}

fn named(account: &str, domain: &str) -> (String, String) {
    let name = format!("{}$", account.trim_end_matches('$').to_uppercase());
    (name, domain.to_uppercase())
}

fn parsed(bytes: &[u8]) -> Result<Keytab, Error> {
    Keytab::parse(bytes).map_err(|error| Error::Missing(format!("the keytab: {error}")))
}

/// Prepares a new password for an account with keys in a keytab. `known` is the version the
/// directory last had.
///
/// # Errors
/// A keytab without keys of the account, or with none of a type that can be made.
pub fn prepare(
    keytab: &[u8],
    account: &str,
    domain: &str,
    known: u32,
    now: u64,
) -> Result<Change, Error> {
    let (name, realm) = named(account, domain);
    let old = parsed(keytab)?;
    let before = old
        .newest(&name, &realm)
        .ok_or_else(|| Error::Missing(format!("the keytab has no keys of {name}@{realm}")))?;
    let before = before.version;
    let version = before.max(known).saturating_add(1);
    let password = keys::password(super::PASSWORD)
        .ok_or_else(|| Error::Missing("the system gives no randomness".to_owned()))?;
    let kinds = old.kinds(&name, &realm, before);
    let keys = keys::of(&password, &super::salt(&name, domain), &kinds);
    if keys.is_empty() {
        return Err(Error::Missing(format!(
            "the keytab has no keys of {name}@{realm} for AES or RC4"
        )));
    }
    let names = old.names(&name, &realm, before);
    let mut entries = Zeroizing::new(Vec::new());
    for name in &names {
        for key in &keys {
            keytab::entry(&mut entries, name, &realm, version, now, key);
        }
    }
    let damaged = |error| Error::Missing(format!("the keytab: {error}"));
    let whole = old.with(&entries).map_err(damaged)?;
    let bytes = whole.to_bytes();
    let confirmed = whole
        .keeping(&names, &realm, |one| one >= before)
        .to_bytes();
    Ok(Change {
        principal: format!("{name}@{realm}"),
        before,
        version,
        keytab: bytes,
        confirmed,
        password,
    })
}

impl Change {
    /// Asks the domain. `old` is a file with the keytab as it was. **Blocks.**
    ///
    /// # Errors
    /// [`PasswordError`].
    pub fn ask(&self, old: &Path) -> Result<(), PasswordError> {
        change_password(old, &self.principal, &self.password)
    }
}

/// A keytab with only the keys of one version of an account; `None` when it has none.
///
/// # Errors
/// A damaged keytab.
pub fn only(
    keytab: &[u8],
    account: &str,
    domain: &str,
    version: u32,
) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let (name, realm) = named(account, domain);
    let one = parsed(keytab)?.only(&name, &realm, version);
    Ok(one.newest(&name, &realm).map(|_| one.to_bytes()))
}

/// A keytab without the keys of one version of an account and its services.
///
/// # Errors
/// A damaged keytab.
pub fn without(
    keytab: &[u8],
    account: &str,
    domain: &str,
    version: u32,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (name, realm) = named(account, domain);
    let keytab = parsed(keytab)?;
    let names = keytab.names(&name, &realm, version);
    Ok(keytab
        .keeping(&names, &realm, |one| one != version)
        .to_bytes())
}

/// Finds out which keys are the account's: those in the file `new`, or those in `old`.
/// **Blocks.**
///
/// # Errors
/// When no KDC answers: nothing is known then.
pub fn settle(account: &str, domain: &str, new: &Path, old: &Path) -> Result<Settled, Error> {
    let (name, realm) = named(account, domain);
    let principal = format!("{name}@{realm}");
    for (file, settled) in [(new, Settled::New), (old, Settled::Old)] {
        match check_keytab(file, &principal) {
            Ok(()) => return Ok(settled),
            Err(PasswordError::NoTicket(error)) if error.kind() == ErrorKind::NoCredential => {}
            Err(PasswordError::NoTicket(error)) => return Err(Error::Kerberos(error)),
            Err(other) => return Err(Error::Missing(other.to_string())),
        }
    }
    Ok(Settled::Neither)
}

/// The newest version of the keys a keytab has of an account.
///
/// # Errors
/// A damaged keytab.
pub fn newest(keytab: &[u8], account: &str, domain: &str) -> Result<Option<u32>, Error> {
    let (name, realm) = named(account, domain);
    Ok(parsed(keytab)?.newest(&name, &realm).map(|one| one.version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keytab() -> Vec<u8> {
        let mut entries = Vec::new();
        let salt = crate::join::salt("FILES$", "lab.example");
        for version in [1, 2] {
            let keys = keys::of(&format!("old {version}"), &salt, &[18, 23]);
            for name in ["FILES$", "cifs/files.lab.example"] {
                for key in &keys {
                    keytab::entry(&mut entries, name, "LAB.EXAMPLE", version, 5, key);
                }
            }
        }
        for key in keys::of("another's", "x", &[18]) {
            keytab::entry(&mut entries, "HTTP/web", "LAB.EXAMPLE", 2, 5, &key);
        }
        Keytab::parse(&[])
            .unwrap()
            .with(&entries)
            .unwrap()
            .to_bytes()
            .to_vec()
    }

    #[test]
    fn new_keys_stand_beside_the_old_ones() {
        let old = keytab();
        let change = prepare(&old, "files", "lab.example", 1, 9).unwrap();
        assert_eq!((change.before, change.version), (2, 3));
        assert_eq!(change.principal, "FILES$@LAB.EXAMPLE");
        assert!(change.keytab.starts_with(&old), "nothing is lost");
        let whole = Keytab::parse(&change.keytab).unwrap();
        assert_eq!(
            whole.kinds("cifs/files.lab.example", "LAB.EXAMPLE", 3),
            [18, 23]
        );
        assert!(
            whole.kinds("HTTP/web", "LAB.EXAMPLE", 3).is_empty(),
            "not this account's"
        );
        let after = Keytab::parse(&change.confirmed).unwrap();
        for (version, there) in [(1, false), (2, true), (3, true)] {
            let kinds = after.kinds("FILES$", "LAB.EXAMPLE", version);
            assert_eq!(!kinds.is_empty(), there, "{version}");
        }
        assert_eq!(after.kinds("HTTP/web", "LAB.EXAMPLE", 2), [18]);
        let back = without(&change.keytab, "FILES$", "lab.example", 3).unwrap();
        assert_eq!(*back, old);
        assert_eq!(newest(&back, "FILES$", "lab.example").unwrap(), Some(2));
        let new = only(&change.keytab, "FILES$", "lab.example", 3)
            .unwrap()
            .unwrap();
        assert_eq!(newest(&new, "files", "LAB.example").unwrap(), Some(3));
        assert!(only(&old, "FILES$", "lab.example", 3).unwrap().is_none());
        let far = prepare(&old, "files", "lab.example", 7, 9).unwrap();
        assert_eq!(far.version, 8, "the directory knows better");
        assert!(prepare(&old, "other", "lab.example", 0, 9).is_err());
        assert!(prepare(b"x", "files", "lab.example", 0, 9).is_err());
    }
}
