//! What the verifier is told: passwords, hashes, service keys, session keys.

use std::collections::HashMap;

use countersign_auth::NtHash;
use countersign_auth::ntlm::verify::split_name;
use zeroize::Zeroizing;

use crate::kerberos::{Keytab, KeytabError};
use crate::proof::{Account, lm_hash};

/// Everything keys can be derived from besides the capture.
#[derive(Default, Clone)]
pub struct Secrets {
    accounts: HashMap<String, Vec<Account>>,
    keytab: Keytab,
    session_keys: HashMap<u64, Zeroizing<Vec<u8>>>,
}

impl core::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl Secrets {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An account's password. A domain before or behind the name is not looked at.
    pub fn add_password(&mut self, name: &str, password: &str) {
        self.add(
            name,
            Account {
                nt: NtHash::from_password(password),
                lm: lm_hash(password),
            },
        );
    }

    /// An account's NT hash. Several of one name are all tried.
    pub fn add_nt_hash(&mut self, name: &str, hash: NtHash) {
        self.add(name, Account { nt: hash, lm: None });
    }

    fn add(&mut self, name: &str, account: Account) {
        self.accounts.entry(folded(name)).or_default().push(account);
    }

    /// A keytab file's bytes.
    ///
    /// # Errors
    /// They are none.
    pub fn add_keytab(&mut self, file: &[u8]) -> Result<(), KeytabError> {
        self.keytab.append(Keytab::parse(file)?);
        Ok(())
    }

    /// The key of a session, by its SessionId (SMB1: Uid): the key that its logon
    /// yielded, or for a session whose logon is not captured also its signing key.
    pub fn add_session_key(&mut self, id: u64, key: Vec<u8>) {
        self.session_keys.insert(id, Zeroizing::new(key));
    }

    pub(crate) fn accounts(&self, user: &str) -> Option<&[Account]> {
        self.accounts.get(&folded(user)).map(Vec::as_slice)
    }

    pub(crate) fn keytab(&self) -> &Keytab {
        &self.keytab
    }

    pub(crate) fn session_key(&self, id: u64) -> Option<&[u8]> {
        self.session_keys.get(&id).map(|k| k.as_slice())
    }
}

fn folded(name: &str) -> String {
    split_name(name).0.to_lowercase()
}
