//! What the files of objects said when they could last be read.
//!
//! A file that is damaged must not loosen what it said before: a requirement would be gone
//! by an accident, or by who can damage a file but not write it. So an object whose file
//! cannot be used keeps what that file last said, for as long as it applies at all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::content::Values;
use super::object::Extension;

/// What one file said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Said {
    /// The version of the object's machine part then, by its gpt.ini.
    pub version: u16,
    /// What it said.
    pub values: Values,
}

/// What files said when they could last be read, by the key of their object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LastGood {
    objects: BTreeMap<String, BTreeMap<Extension, Said>>,
}

impl LastGood {
    /// What the file of an extension said.
    pub fn get(&self, object: &str, extension: Extension) -> Option<&Said> {
        self.objects.get(object)?.get(&extension)
    }

    /// Keeps what it says now.
    pub fn insert(&mut self, object: &str, extension: Extension, said: Said) {
        let files = self.objects.entry(object.to_owned()).or_default();
        files.insert(extension, said);
    }
}
