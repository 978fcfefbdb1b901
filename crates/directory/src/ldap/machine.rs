//! The machine's own account.

use std::path::Path;
use std::sync::Arc;

use countersign_gssapi::{Credential, Library, Zeroizing};

use crate::error::Error;
use crate::join::{Keytab, LARGEST_KEYTAB};

/// Who asks: an account of the domain with its credential.
#[derive(Clone)]
pub struct Machine {
    credential: Arc<Credential>,
    account: String,
    domain: String,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("account", &self.account)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

impl Machine {
    /// The account `account` (with or without its `$`) of the DNS domain `domain`, with
    /// its keys in a keytab. Keytabs have names with case, Active Directory has not: the
    /// name is tried as given, in capitals and in small letters.
    ///
    /// # Errors
    /// Without Kerberos on this machine, or without such keys.
    pub fn from_keytab(domain: &str, account: &str, keytab: &Path) -> Result<Machine, Error> {
        let library = Library::load()?;
        let account = format!("{}$", account.trim_end_matches('$'));
        let realm = domain.to_uppercase();
        has_keys(keytab, &account, &realm).map_err(|what| Error::Keytab {
            path: keytab.to_owned(),
            what,
        })?;
        let mut first = None;
        for name in [
            account.clone(),
            account.to_uppercase(),
            account.to_lowercase(),
        ] {
            let principal = format!("{name}@{realm}");
            match Credential::from_keytab(library, keytab, &principal) {
                Ok(credential) => {
                    return Ok(Machine::with(Arc::new(credential), &account, domain));
                }
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        let error = first.map_or_else(
            || Error::Missing("no name of the account".to_owned()),
            Error::Kerberos,
        );
        let step = format!("keytab {}, {account}@{realm}", keytab.display());
        Err(error.at(step))
    }

    /// An account whose credential is at hand.
    pub fn with(credential: Arc<Credential>, account: &str, domain: &str) -> Machine {
        Machine {
            credential,
            account: account.to_owned(),
            domain: domain.to_lowercase(),
        }
    }

    /// Its credential.
    pub fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }

    /// sAMAccountName.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// DNS name of its domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The realm of its domain.
    pub fn realm(&self) -> String {
        self.domain.to_uppercase()
    }
}

/// Whether a keytab has keys of an account, in words: the library's own are poor.
fn has_keys(file: &Path, account: &str, realm: &str) -> Result<(), String> {
    /// Names told of what there is instead.
    const TOLD: usize = 4;
    let size = std::fs::metadata(file)
        .map_err(|error| error.to_string())?
        .len();
    if usize::try_from(size).map_or(true, |size| size > LARGEST_KEYTAB) {
        return Err(format!("it is larger than {LARGEST_KEYTAB} bytes"));
    }
    let bytes = Zeroizing::new(std::fs::read(file).map_err(|error| error.to_string())?);
    let keytab = Keytab::parse(&bytes).map_err(|error| error.to_string())?;
    if keytab.newest(account, realm).is_some() {
        return Ok(());
    }
    let mut there = keytab.principals();
    let more = there.len().saturating_sub(TOLD);
    there.truncate(TOLD);
    Err(match (there.is_empty(), more) {
        (true, _) => format!("it is empty, and has no keys of {account}@{realm}"),
        (false, 0) => format!(
            "it has keys of {}, and none of {account}@{realm}",
            there.join(", ")
        ),
        (false, more) => format!(
            "it has keys of {} and {more} others, and none of {account}@{realm}",
            there.join(", ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keytab_of_another_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("k");
        let missing = has_keys(&file, "A$", "R").unwrap_err();
        assert!(missing.contains("No such file"), "{missing}");
        std::fs::write(&file, b"").unwrap();
        assert!(has_keys(&file, "A$", "R").unwrap_err().contains("is empty"));
        std::fs::write(&file, b"text").unwrap();
        assert!(has_keys(&file, "A$", "R").unwrap_err().contains("0x502"));
        // B$@R, one key of type 1 and one byte.
        let entry = b"\x05\x02\0\0\0\x17\0\x01\0\x01R\0\x02B$\0\0\0\x01\0\0\0\0\x01\0\x01\0\x01x";
        std::fs::write(&file, entry).unwrap();
        assert_eq!(has_keys(&file, "b$", "r"), Ok(()));
        let other = has_keys(&file, "A$", "R").unwrap_err();
        assert_eq!(other, "it has keys of B$@R, and none of A$@R");
    }
}
