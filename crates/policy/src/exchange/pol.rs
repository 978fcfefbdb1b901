//! Registry.pol, [MS-GPREG] 2.2.1: `PReg`, a version, and records
//! `[key;value;type;size;data]` in UTF-16LE. Everything is kept.

use super::item::{Collector, digit, switch};
use super::{Contents, Flaw, Flaws, Found, Item, Place};
use crate::settings::Value;

const SIGNATURE: &[u8; 4] = b"PReg";
const VERSION: u32 = 1;
const REG_DWORD: u32 = 4;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key, without hive and without the NUL at its end, in UTF-16.
    pub key: Vec<u16>,
    /// The value's name, in UTF-16; `**del.` and the like are instructions.
    pub value: Vec<u16>,
    /// Type, as the registry numbers it.
    pub kind: u32,
    /// Data.
    pub data: Vec<u8>,
}

/// Registry.pol of a Group Policy object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistryPolicy {
    /// Its records, in order.
    pub records: Vec<Record>,
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    record: usize,
}

impl<'a> Cursor<'a> {
    fn flaw(&self, text: impl Into<String>) -> Flaws {
        Flaw {
            place: Place::Binary {
                record: self.record,
                offset: self.at,
            },
            text: text.into(),
        }
        .into()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Flaws> {
        let end = self.at.checked_add(count);
        match end.and_then(|end| self.bytes.get(self.at..end)) {
            Some(taken) => {
                self.at += count;
                Ok(taken)
            }
            None => Err(self.flaw("the file ends in the middle of a record")),
        }
    }

    fn unit(&mut self) -> Result<u16, Flaws> {
        match self.take(2)? {
            &[low, high] => Ok(u16::from_le_bytes([low, high])),
            _ => Err(self.flaw("the file ends in the middle of a record")),
        }
    }

    fn number(&mut self) -> Result<u32, Flaws> {
        match self.take(4)? {
            &[a, b, c, d] => Ok(u32::from_le_bytes([a, b, c, d])),
            _ => Err(self.flaw("the file ends in the middle of a record")),
        }
    }

    fn mark(&mut self, wanted: char) -> Result<(), Flaws> {
        let found = self.unit()?;
        if u32::from(found) == u32::from(wanted) {
            return Ok(());
        }
        self.at -= 2;
        Err(self.flaw(format!("`{wanted}` is missing")))
    }

    /// A string with a NUL at its end.
    fn string(&mut self) -> Result<Vec<u16>, Flaws> {
        let mut string = Vec::new();
        loop {
            match self.unit()? {
                0 => return Ok(string),
                unit => string.push(unit),
            }
        }
    }
}

impl RegistryPolicy {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong, with the record and the byte.
    pub fn parse(bytes: &[u8]) -> Result<RegistryPolicy, Flaws> {
        let mut cursor = Cursor {
            bytes,
            at: 0,
            record: 0,
        };
        if bytes.get(..4) != Some(SIGNATURE) {
            return Err(cursor.flaw("not a Registry.pol: it does not begin with PReg"));
        }
        cursor.at = 4;
        let version = cursor.number()?;
        if version != VERSION {
            cursor.at = 4;
            return Err(cursor.flaw(format!("version {version}; only 1 is known")));
        }
        let mut policy = RegistryPolicy::default();
        let mut flaws = Found::default();
        while cursor.at < bytes.len() {
            cursor.record += 1;
            let start = cursor.at;
            let record = record(&mut cursor)?;
            if let Err(text) = said(&record) {
                flaws.push(Flaw {
                    place: Place::Binary {
                        record: cursor.record,
                        offset: start,
                    },
                    text,
                });
            }
            policy.records.push(record);
        }
        flaws.or(policy)
    }

    /// What it says.
    pub fn contents(&self) -> Contents {
        let mut collector = Collector::default();
        for record in &self.records {
            for (item, place, value) in said(record).unwrap_or_default() {
                collector.say(item, place, value);
            }
        }
        collector.contents()
    }

    /// Changes the records about an item, adds one, or takes them out.
    pub fn set(&mut self, item: Item, value: Value) {
        let about = |record: &Record| {
            let name = text(&record.value);
            Item::at(&text(&record.key), hard(&name)).is_some_and(|(one, _)| one == item)
        };
        let Some(digit) = digit(value) else {
            let deletes = |record: &Record| {
                let name = text(&record.value);
                strip(&name, "**del.").is_some_and(|name| {
                    Item::at(&text(&record.key), name).is_some_and(|(one, _)| one == item)
                })
            };
            self.records
                .retain(|record| !about(record) && !deletes(record));
            return;
        };
        for record in self.records.iter_mut().filter(|record| about(record)) {
            record.data = u32::from(digit).to_le_bytes().to_vec();
        }
        if self.contents().get(item) != value {
            let location = item.location();
            self.records.push(Record {
                key: location.key.encode_utf16().collect(),
                value: location.value.encode_utf16().collect(),
                kind: REG_DWORD,
                data: u32::from(digit).to_le_bytes().to_vec(),
            });
        }
    }

    /// Writes it.
    pub fn emit(&self) -> Vec<u8> {
        let mut out = SIGNATURE.to_vec();
        out.extend(VERSION.to_le_bytes());
        let mark = |out: &mut Vec<u8>, mark: u8| out.extend([mark, 0]);
        let string = |out: &mut Vec<u8>, string: &[u16]| {
            out.extend(string.iter().flat_map(|unit| unit.to_le_bytes()));
            out.extend([0, 0]);
        };
        for record in &self.records {
            mark(&mut out, b'[');
            string(&mut out, &record.key);
            mark(&mut out, b';');
            string(&mut out, &record.value);
            mark(&mut out, b';');
            out.extend(record.kind.to_le_bytes());
            mark(&mut out, b';');
            let size = u32::try_from(record.data.len()).unwrap_or(u32::MAX);
            out.extend(size.to_le_bytes());
            mark(&mut out, b';');
            out.extend(&record.data);
            mark(&mut out, b']');
        }
        out
    }
}

fn record(cursor: &mut Cursor<'_>) -> Result<Record, Flaws> {
    cursor.mark('[')?;
    let key = cursor.string()?;
    cursor.mark(';')?;
    let value = cursor.string()?;
    cursor.mark(';')?;
    let kind = cursor.number()?;
    cursor.mark(';')?;
    let size = cursor.number()?;
    cursor.mark(';')?;
    let data = cursor.take(usize::try_from(size).unwrap_or(usize::MAX))?;
    let data = data.to_vec();
    cursor.mark(']')?;
    Ok(Record {
        key,
        value,
        kind,
        data,
    })
}

fn text(units: &[u16]) -> String {
    String::from_utf16_lossy(units)
}

fn strip<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| text.get(prefix.len()..))?
}

/// The name without the mark of a value that is set only where it is not set yet.
fn hard(name: &str) -> &str {
    strip(name, "**soft.").unwrap_or(name)
}

/// The list an instruction has as its data.
fn listed(record: &Record) -> String {
    let (pairs, _) = record.data.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    text(&units).trim_end_matches('\0').to_owned()
}

/// What a record says about ours.
fn said(record: &Record) -> Result<Vec<(Item, usize, Value)>, String> {
    let (key, name) = (text(&record.key), text(&record.value));
    let gone = |(item, place)| (item, place, Value::NotDefined);
    if name.eq_ignore_ascii_case("**delvals.") || name.eq_ignore_ascii_case("**delvals") {
        return Ok(Item::in_key(&key).into_iter().map(gone).collect());
    }
    if name.eq_ignore_ascii_case("**deletevalues") {
        return Ok(listed(record)
            .split(';')
            .filter_map(|name| Item::at(&key, name.trim()))
            .map(gone)
            .collect());
    }
    if name.trim_end().eq_ignore_ascii_case("**deletekeys") {
        if Item::below_key(&key).is_empty() {
            return Ok(Vec::new());
        }
        return Ok(listed(record)
            .split(';')
            .filter(|below| !below.trim().is_empty())
            .flat_map(|below| Item::below_key(&format!("{key}\\{}", below.trim())))
            .map(gone)
            .collect());
    }
    if let Some(name) = strip(&name, "**del.") {
        return Ok(Item::at(&key, name).map(gone).into_iter().collect());
    }
    // Sets what is not set yet; what is, is not known here, so it speaks.
    let Some((item, place)) = Item::at(&key, hard(&name)) else {
        return Ok(Vec::new());
    };
    if record.kind != REG_DWORD {
        return Err(format!(
            "{item}: the type is {}; it must be 4 (REG_DWORD)",
            record.kind
        ));
    }
    let data = match record.data.as_slice() {
        &[a, b, c, d] => switch(u64::from(u32::from_le_bytes([a, b, c, d]))),
        _ => None,
    };
    match data {
        Some(value) => Ok(vec![(item, place, value)]),
        None => Err(format!("{item}: the data must be 0 or 1 in four bytes")),
    }
}
