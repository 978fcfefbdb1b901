//! What the files of a Group Policy object say: GptTmpl.inf ([MS-GPSB] 2.2.5) and
//! Registry.pol ([MS-GPREG] 2.2.1).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::settings::{Setting, Settings, Value};

/// Largest file read.
const LARGEST: usize = 8 << 20;

/// The key of Registry.pol for what only Countersign has.
pub const REGISTRY_KEY: &str = r"Software\Policies\Countersign";
/// Its value that allows (1) or forbids (0) exceptions.
const ALLOW_EXCEPTIONS: &str = "AllowExceptions";
/// The key of the server's switches.
const SERVER_KEY: &str = r"Software\Policies\Microsoft\Windows\LanmanServer";
/// The key of the client's switches.
const CLIENT_KEY: &str = r"Software\Policies\Microsoft\Windows\LanmanWorkstation";

/// An audit switch, with the name Windows has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Switch {
    /// Server: a client cannot sign.
    AuditClientDoesNotSupportSigning,
    /// Server: a client cannot encrypt.
    AuditClientDoesNotSupportEncryption,
    /// Server: SMB1 is used.
    AuditSmb1Access,
    /// Server: a guest logs on.
    AuditInsecureGuestLogon,
    /// Client: a server cannot sign.
    AuditServerDoesNotSupportSigning,
    /// Client: a server cannot encrypt.
    AuditServerDoesNotSupportEncryption,
    /// Client: logged on as guest.
    AuditClientInsecureGuestLogon,
}

impl Switch {
    /// All.
    pub const ALL: [Switch; 7] = [
        Switch::AuditClientDoesNotSupportSigning,
        Switch::AuditClientDoesNotSupportEncryption,
        Switch::AuditSmb1Access,
        Switch::AuditInsecureGuestLogon,
        Switch::AuditServerDoesNotSupportSigning,
        Switch::AuditServerDoesNotSupportEncryption,
        Switch::AuditClientInsecureGuestLogon,
    ];

    /// Key and value in Registry.pol.
    pub const fn registry(self) -> (&'static str, &'static str) {
        match self {
            Switch::AuditClientDoesNotSupportSigning => {
                (SERVER_KEY, "AuditClientDoesNotSupportSigning")
            }
            Switch::AuditClientDoesNotSupportEncryption => {
                (SERVER_KEY, "AuditClientDoesNotSupportEncryption")
            }
            Switch::AuditSmb1Access => (SERVER_KEY, "AuditSmb1Access"),
            Switch::AuditInsecureGuestLogon => (SERVER_KEY, "AuditInsecureGuestLogon"),
            Switch::AuditServerDoesNotSupportSigning => {
                (CLIENT_KEY, "AuditServerDoesNotSupportSigning")
            }
            Switch::AuditServerDoesNotSupportEncryption => {
                (CLIENT_KEY, "AuditServerDoesNotSupportEncryption")
            }
            Switch::AuditClientInsecureGuestLogon => (CLIENT_KEY, "AuditInsecureGuestLogon"),
        }
    }
}

/// Something a Group Policy object can say that is obeyed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// One of the four settings.
    Setting(Setting),
    /// An audit switch.
    Switch(Switch),
    /// Exceptions may be made.
    AllowExceptions,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Setting(setting) => f.pad(setting.name()),
            Key::Switch(switch) => f.pad(switch.registry().1),
            Key::AllowExceptions => f.pad(ALLOW_EXCEPTIONS),
        }
    }
}

/// What one object says. `None` takes back what weaker objects said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Values {
    /// What it says.
    pub values: BTreeMap<Key, Option<bool>>,
}

impl Values {
    /// The four settings.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        for (key, value) in &self.values {
            if let (Key::Setting(setting), Some(on)) = (key, value) {
                settings.set(*setting, if *on { Value::Enabled } else { Value::Disabled });
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
    /// Larger than this reader takes.
    #[error("{0} is larger than {LARGEST} bytes")]
    TooLarge(&'static str),
    /// GptTmpl.inf is no text.
    #[error("GptTmpl.inf is neither UTF-16 nor UTF-8")]
    Encoding,
    /// A line of GptTmpl.inf.
    #[error("GptTmpl.inf, line {line}: {what}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// Registry.pol is damaged.
    #[error("Registry.pol, at byte {0}: {1}")]
    Registry(usize, &'static str),
    /// Registry.pol has another value than 0 or 1.
    #[error("Registry.pol: {0} is neither 0 nor 1")]
    RegistryValue(Key),
}

fn key_of_template(name: &str) -> Option<Key> {
    const PREFIX: &str = r"MACHINE\System\CurrentControlSet\Services\";
    let rest = name
        .get(..PREFIX.len())
        .filter(|head| head.eq_ignore_ascii_case(PREFIX))
        .and_then(|_| name.get(PREFIX.len()..))?;
    Setting::ALL
        .into_iter()
        .find(|setting| setting.registry().eq_ignore_ascii_case(rest))
        .map(Key::Setting)
}

/// Reads the four settings from a GptTmpl.inf. What the other lines say is not looked at.
///
/// # Errors
/// [`ContentError`]: also when one of the four has another type than 4 (REG_DWORD) or
/// another value than 0 or 1, or stands twice with different values.
pub fn template_values(bytes: &[u8]) -> Result<Values, ContentError> {
    if bytes.len() > LARGEST {
        return Err(ContentError::TooLarge("GptTmpl.inf"));
    }
    let text = decode(bytes).ok_or(ContentError::Encoding)?;
    let mut values = Values::default();
    let mut inside = false;
    for (number, line) in text.lines().map(str::trim).enumerate() {
        let wrong = |what: String| ContentError::Line {
            line: number + 1,
            what,
        };
        if line.starts_with(';') {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            inside = name.trim().eq_ignore_ascii_case("Registry Values");
            continue;
        }
        if !inside {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let Some(key) = key_of_template(unquote(name)) else {
            continue;
        };
        let (kind, data) = value
            .split_once(',')
            .ok_or_else(|| wrong(format!("{key}: no type and value")))?;
        if unquote(kind) != "4" {
            return Err(wrong(format!("{key}: its type is not 4 (REG_DWORD)")));
        }
        let on = match number_of(unquote(data)) {
            Some(0) => false,
            Some(1) => true,
            _ => return Err(wrong(format!("{key}: its value is neither 0 nor 1"))),
        };
        if values
            .values
            .insert(key, Some(on))
            .is_some_and(|old| old != Some(on))
        {
            return Err(wrong(format!("{key} stands twice, with different values")));
        }
    }
    Ok(values)
}

fn unquote(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .map_or(text, str::trim)
}

fn number_of(text: &str) -> Option<u32> {
    match text.get(..2) {
        Some("0x" | "0X") => u32::from_str_radix(text.get(2..)?, 16).ok(),
        _ => text.parse().ok(),
    }
}

fn decode(bytes: &[u8]) -> Option<String> {
    let utf16 = |bytes: &[u8], word: fn([u8; 2]) -> u16| {
        let words = bytes
            .chunks_exact(2)
            .filter_map(|pair| pair.try_into().ok().map(word));
        char::decode_utf16(words)
            .collect::<Result<String, _>>()
            .ok()
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] if rest.len().is_multiple_of(2) => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] if rest.len().is_multiple_of(2) => utf16(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    }
}

/// Reads the audit switches and what only Countersign has from a Registry.pol. The
/// other values are not looked at.
///
/// # Errors
/// [`ContentError`]: the file is damaged, or one of ours is no REG_DWORD of 0 or 1.
pub fn registry_values(bytes: &[u8]) -> Result<Values, ContentError> {
    if bytes.len() > LARGEST {
        return Err(ContentError::TooLarge("Registry.pol"));
    }
    let damaged = |at: usize, why| ContentError::Registry(at, why);
    let body = bytes
        .strip_prefix(b"PReg\x01\0\0\0")
        .ok_or(damaged(0, "not version 1 of this format"))?;
    let mut pol = Pol { bytes: body, at: 0 };
    let mut values = Values::default();
    while pol.at < body.len() {
        let start = pol.at + 8;
        let entry = pol
            .entry()
            .ok_or(damaged(start, "an entry is not [key;value;type;size;data]"))?;
        apply(&entry, &mut values)?;
    }
    Ok(values)
}

struct Entry<'a> {
    key: String,
    value: String,
    kind: u32,
    data: &'a [u8],
}

struct Pol<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Pol<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn dword(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn sign(&mut self, sign: char) -> Option<()> {
        (u32::from(self.word()?) == u32::from(sign)).then_some(())
    }

    /// A string up to its zero.
    fn text(&mut self) -> Option<String> {
        let mut words = Vec::new();
        loop {
            match self.word()? {
                0 => break,
                word => words.push(word),
            }
        }
        Some(String::from_utf16_lossy(&words))
    }

    fn entry(&mut self) -> Option<Entry<'a>> {
        self.sign('[')?;
        let key = self.text()?;
        self.sign(';')?;
        let value = self.text()?;
        self.sign(';')?;
        let kind = self.dword()?;
        self.sign(';')?;
        let size = usize::try_from(self.dword()?).ok()?;
        self.sign(';')?;
        let data = self.take(size)?;
        self.sign(']')?;
        Some(Entry {
            key,
            value,
            kind,
            data,
        })
    }
}

/// [MS-GPREG] 3.2.5.1: an entry sets a value, or deletes some.
fn apply(entry: &Entry<'_>, values: &mut Values) -> Result<(), ContentError> {
    let places = Switch::ALL
        .into_iter()
        .map(|switch| (switch.registry(), Key::Switch(switch)))
        .chain([((REGISTRY_KEY, ALLOW_EXCEPTIONS), Key::AllowExceptions)]);
    let lower = entry.value.to_ascii_lowercase();
    for ((path, name), key) in places {
        if !entry.key.eq_ignore_ascii_case(path) {
            continue;
        }
        let deleted = lower
            .strip_prefix("**del.")
            .is_some_and(|one| one.eq_ignore_ascii_case(name))
            || lower == "**delvals."
            || (lower == "**deletevalues" && listed(entry.data, name));
        if deleted {
            values.values.insert(key, None);
        } else if entry.value.eq_ignore_ascii_case(name) {
            let on = match (entry.kind, entry.data) {
                (4, [0, 0, 0, 0]) => false,
                (4, [1, 0, 0, 0]) => true,
                _ => return Err(ContentError::RegistryValue(key)),
            };
            values.values.insert(key, Some(on));
        }
    }
    Ok(())
}

/// `**DeleteValues` names values, separated by `;`.
fn listed(data: &[u8], name: &str) -> bool {
    let words: Vec<u16> = data
        .chunks_exact(2)
        .filter_map(|pair| pair.try_into().ok().map(u16::from_le_bytes))
        .collect();
    String::from_utf16_lossy(&words)
        .trim_end_matches('\0')
        .split(';')
        .any(|one| one.trim().eq_ignore_ascii_case(name))
}
