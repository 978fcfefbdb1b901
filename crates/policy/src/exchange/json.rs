//! Our own format:
//! `{"settings": {"server-always": "enabled"}, "audit": {"smb1-access": "enabled"}}`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::text::Text;
use super::{Contents, Flaw, Flaws, Item};
use crate::audit_switch::AuditSwitch;
use crate::settings::{Setting, Value};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, deserialize_with = "unique")]
    settings: BTreeMap<Setting, Value>,
    #[serde(
        default,
        deserialize_with = "unique",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    audit: BTreeMap<AuditSwitch, Value>,
}

/// A map in which no key stands twice.
fn unique<'de, K, D>(deserializer: D) -> Result<BTreeMap<K, Value>, D::Error>
where
    K: Deserialize<'de> + Ord + Copy + fmt::Display,
    D: Deserializer<'de>,
{
    struct Unique<K>(PhantomData<K>);
    impl<'de, K> Visitor<'de> for Unique<K>
    where
        K: Deserialize<'de> + Ord + Copy + fmt::Display,
    {
        type Value = BTreeMap<K, Value>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = access.next_entry::<K, Value>()? {
                if map.insert(key, value).is_some() {
                    return Err(A::Error::custom(format!("`{key}` stands twice")));
                }
            }
            Ok(map)
        }
    }
    deserializer.deserialize_map(Unique(PhantomData))
}

/// Reads a file.
///
/// # Errors
/// What is wrong, with line and column.
pub fn parse(bytes: &[u8]) -> Result<Contents, Flaws> {
    let text = Text::decode(bytes)?;
    let lines: Vec<&str> = text.lines.iter().map(|line| line.text.as_str()).collect();
    let file: File = serde_json::from_str(&lines.join("\n")).map_err(|error| {
        let what = error.to_string();
        let what = what
            .split(" at line ")
            .next()
            .unwrap_or_default()
            .to_owned();
        // The parser counts bytes.
        let before = lines
            .get(error.line().saturating_sub(1))
            .and_then(|line| line.get(..error.column().min(line.len())));
        let column = before.map_or(error.column(), |before| before.chars().count());
        Flaw::at(error.line().max(1), column.max(1), what)
    })?;
    let settings = file
        .settings
        .into_iter()
        .map(|(setting, value)| (Item::Setting(setting), value));
    let audit = file
        .audit
        .into_iter()
        .map(|(switch, value)| (Item::Audit(switch), value));
    Ok(Contents {
        values: settings.chain(audit).collect(),
    })
}

/// Writes a file.
pub fn emit(contents: &Contents) -> Vec<u8> {
    let mut file = File {
        settings: BTreeMap::new(),
        audit: BTreeMap::new(),
    };
    for (item, value) in &contents.values {
        match item {
            Item::Setting(setting) => {
                file.settings.insert(*setting, *value);
            }
            Item::Audit(switch) => {
                file.audit.insert(*switch, *value);
            }
        }
    }
    let mut out = serde_json::to_vec_pretty(&file).unwrap_or_default();
    out.push(b'\n');
    out
}
