//! The machine's own account.

use std::path::Path;
use std::sync::Arc;

use countersign_gssapi::{Credential, Library};

use crate::error::Error;

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
        // The library's own words for this are poor.
        if let Err(error) = std::fs::File::open(keytab) {
            return Err(Error::Keytab {
                path: keytab.to_owned(),
                what: error.to_string(),
            });
        }
        let account = format!("{}$", account.trim_end_matches('$'));
        let realm = domain.to_uppercase();
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
