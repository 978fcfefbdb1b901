//! What the files of a Group Policy object say: GptTmpl.inf ([MS-GPSB] 2.2.5) and
//! Registry.pol ([MS-GPREG] 2.2.1), as far as it is obeyed here.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::exchange::pol::RegistryPolicy;
use crate::exchange::{Document, Flaws, Format, Item};
use crate::settings::{Settings, Value};

/// The key of Registry.pol for what only Countersign has.
pub const REGISTRY_KEY: &str = r"Software\Policies\Countersign";
/// Its value that allows (1) or forbids (0) exceptions.
const ALLOW_EXCEPTIONS: &str = "AllowExceptions";
/// REG_DWORD.
const REG_DWORD: u32 = 4;

/// Something a Group Policy object can say that is obeyed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Key {
    /// One of the four settings, or an audit switch.
    Item(Item),
    /// Exceptions may be made.
    AllowExceptions,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Item(item) => item.fmt(f),
            Key::AllowExceptions => f.pad(ALLOW_EXCEPTIONS),
        }
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.to_string()
    }
}

impl TryFrom<String> for Key {
    type Error = crate::settings::ParseError;

    fn try_from(text: String) -> Result<Key, Self::Error> {
        if text == ALLOW_EXCEPTIONS {
            return Ok(Key::AllowExceptions);
        }
        text.parse().map(Key::Item)
    }
}

/// What one object says. "Not defined", where it is said, takes back what weaker
/// objects said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Values {
    /// What it says.
    pub values: BTreeMap<Key, Value>,
}

impl Values {
    /// The four settings.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        for (key, value) in &self.values {
            if let Key::Item(Item::Setting(setting)) = key {
                settings.set(*setting, *value);
            }
        }
        settings
    }

    /// Both files of an object.
    #[must_use]
    pub fn with(mut self, other: Values) -> Values {
        self.values.extend(other.values);
        self
    }
}

/// Why a file cannot be used. None of it is used then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The file is not understood.
    #[error("{}", places(.0, .1))]
    File(&'static str, Flaws),
    /// Registry.pol has something other than a REG_DWORD of 0 or 1.
    #[error("Registry.pol: {0} is no REG_DWORD of 0 or 1")]
    Registry(Key),
}

/// `GptTmpl.inf:7:12: what is wrong`, all of them in one line.
fn places(file: &str, flaws: &Flaws) -> String {
    let all = flaws.0.iter().map(|flaw| format!("{file}:{flaw}"));
    all.collect::<Vec<_>>().join("; ")
}

fn items(document: &Document) -> Values {
    let contents = document.contents().values;
    Values {
        values: contents
            .into_iter()
            .map(|(item, value)| (Key::Item(item), value))
            .collect(),
    }
}

/// Reads a GptTmpl.inf. What its other lines say is not looked at.
///
/// # Errors
/// [`ContentError`]: also when one of the settings has another type than 4 (REG_DWORD)
/// or another value than 0 or 1.
pub fn template_values(bytes: &[u8]) -> Result<Values, ContentError> {
    let document = Document::parse(Format::Inf, bytes)
        .map_err(|flaws| ContentError::File("GptTmpl.inf", flaws))?;
    Ok(items(&document))
}

/// Reads the audit switches and what only Countersign has from a Registry.pol. The
/// four settings have no administrative template: where they stand in such a file they
/// are no policy, and are not looked at.
///
/// # Errors
/// [`ContentError`].
pub fn registry_values(bytes: &[u8]) -> Result<Values, ContentError> {
    let document = Document::parse(Format::Pol, bytes)
        .map_err(|flaws| ContentError::File("Registry.pol", flaws))?;
    let mut values = items(&document);
    values
        .values
        .retain(|key, _| !matches!(key, Key::Item(Item::Setting(_))));
    if let Document::Pol(policy) = &document
        && let Some(said) = exceptions(policy)?
    {
        values.values.insert(Key::AllowExceptions, said);
    }
    Ok(values)
}

/// [MS-GPREG] 3.2.5.1: a record sets a value, or deletes some.
fn exceptions(policy: &RegistryPolicy) -> Result<Option<Value>, ContentError> {
    let mut said = None;
    for record in &policy.records {
        if !String::from_utf16_lossy(&record.key).eq_ignore_ascii_case(REGISTRY_KEY) {
            continue;
        }
        let name = String::from_utf16_lossy(&record.value).to_ascii_lowercase();
        let own = ALLOW_EXCEPTIONS.to_ascii_lowercase();
        if name == own {
            said = Some(match (record.kind, record.data.as_slice()) {
                (REG_DWORD, [0, 0, 0, 0]) => Value::Disabled,
                (REG_DWORD, [1, 0, 0, 0]) => Value::Enabled,
                _ => return Err(ContentError::Registry(Key::AllowExceptions)),
            });
        } else if name.strip_prefix("**del.") == Some(own.as_str())
            || matches!(name.as_str(), "**delvals." | "**delvals")
            || (name == "**deletevalues" && is_listed(&record.data, &own))
        {
            said = Some(Value::NotDefined);
        }
    }
    Ok(said)
}

/// `**DeleteValues` names values, separated by `;`.
fn is_listed(data: &[u8], name: &str) -> bool {
    let (pairs, _) = data.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    String::from_utf16_lossy(&units)
        .trim_end_matches('\0')
        .split(';')
        .any(|one| one.trim().eq_ignore_ascii_case(name))
}
