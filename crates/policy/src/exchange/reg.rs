//! Registration files of the registry editor: `REGEDIT4` (ANSI) and version 5 (UTF-16).
//! They are scripts: the later line wins, and `-` takes a value or a key out.

use std::collections::BTreeSet;

use super::item::{Collector, digit, switch};
use super::text::{Encoding, Text};
use super::{Contents, Flaw, Flaws, Found, Item};
use crate::settings::Value;

const VERSION_5: &str = "Windows Registry Editor Version 5.00";
const VERSION_4: &str = "REGEDIT4";

/// The version a first line names.
pub(super) fn header(line: &str) -> Option<u8> {
    match line.trim() {
        VERSION_5 => Some(5),
        VERSION_4 => Some(4),
        _ => None,
    }
}

/// A registration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryFile {
    text: Text,
    said: Vec<Said>,
    /// The keys, with how many lines there are up to the last one in each.
    keys: Vec<(String, usize)>,
}

/// What a line says about one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    item: Item,
    place: usize,
    value: Value,
    line: usize,
    /// The line is about this value alone; where its data stands in it, in bytes.
    data: Option<(usize, usize)>,
}

impl RegistryFile {
    /// An empty file of version 5.
    pub fn new() -> RegistryFile {
        RegistryFile {
            text: Text::new(Encoding::Utf16Le, [VERSION_5, ""]),
            said: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn parse(bytes: &[u8]) -> Result<RegistryFile, Flaws> {
        RegistryFile::of(Text::decode(bytes)?)
    }

    fn of(text: Text) -> Result<RegistryFile, Flaws> {
        let mut reader = Reader {
            said: Vec::new(),
            keys: Vec::new(),
            flaws: Found::default(),
        };
        reader.read(&text);
        let Reader { said, keys, flaws } = reader;
        flaws.or(RegistryFile { text, said, keys })
    }

    /// The line that has the last word about an item, from 1.
    pub fn line(&self, item: Item) -> Option<usize> {
        self.said
            .iter()
            .rev()
            .find(|said| said.item == item)
            .map(|said| said.line + 1)
    }

    /// What it says.
    pub fn contents(&self) -> Contents {
        let mut collector = Collector::default();
        for said in &self.said {
            collector.say(said.item, said.place, said.value);
        }
        collector.contents()
    }

    /// Changes the lines about an item, adds one, or takes them out.
    pub fn set(&mut self, item: Item, value: Value) {
        let mut text = self.text.clone();
        let ours = |one: &&Said| one.item == item && one.data.is_some();
        match digit(value) {
            None => {
                let drop: BTreeSet<usize> =
                    self.said.iter().filter(ours).map(|one| one.line).collect();
                let mut index = 0;
                text.lines.retain(|_| {
                    index += 1;
                    !drop.contains(&(index - 1))
                });
            }
            Some(digit) => {
                for said in self.said.iter().filter(ours) {
                    if let (Some((from, to)), Some(line)) =
                        (said.data, text.lines.get_mut(said.line))
                        && line.text.get(from..to).is_some()
                    {
                        line.text
                            .replace_range(from..to, &format!("dword:{digit:08x}"));
                    }
                }
                let mut changed = RegistryFile::of(text.clone()).ok();
                if changed.as_ref().map(|file| file.contents().get(item)) != Some(value) {
                    // Not said yet, or taken back by a line about its key.
                    add(&mut text, &self.keys, item, digit);
                    changed = RegistryFile::of(text).ok();
                }
                if let Some(changed) = changed {
                    *self = changed;
                }
                return;
            }
        }
        if let Ok(changed) = RegistryFile::of(text) {
            *self = changed;
        }
    }

    /// Writes it.
    pub fn emit(&self) -> Vec<u8> {
        self.text.encode()
    }
}

impl Default for RegistryFile {
    fn default() -> Self {
        RegistryFile::new()
    }
}

fn add(text: &mut Text, keys: &[(String, usize)], item: Item, digit: u8) {
    let location = item.location();
    let line = format!("\"{}\"=dword:{digit:08x}", location.value);
    let last = keys.last().filter(|(key, _)| {
        local_machine(key).is_some_and(|key| key.eq_ignore_ascii_case(location.key))
    });
    match last {
        Some((_, end)) => text.insert(*end, [line]),
        None => {
            let mut lines = Vec::new();
            if text
                .lines
                .last()
                .is_some_and(|last| !last.text.trim().is_empty())
            {
                lines.push(String::new());
            }
            lines.push(format!("[HKEY_LOCAL_MACHINE\\{}]", location.key));
            lines.push(line);
            text.insert(usize::MAX, lines);
        }
    }
}

/// The key below HKEY_LOCAL_MACHINE.
fn local_machine(key: &str) -> Option<&str> {
    let (hive, rest) = key.split_once('\\')?;
    ["HKEY_LOCAL_MACHINE", "HKLM"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(hive))
        .then_some(rest.trim_end_matches('\\'))
}

struct Reader {
    said: Vec<Said>,
    keys: Vec<(String, usize)>,
    flaws: Found,
}

/// What is behind the name of a value.
enum Data {
    Delete,
    Dword(u32),
    Other,
}

impl Reader {
    fn flaw(&mut self, index: usize, line: &str, byte: usize, text: impl Into<String>) {
        let before = line.get(..byte).unwrap_or(line);
        self.flaws
            .push(Flaw::at(index + 1, before.chars().count() + 1, text));
    }

    fn read(&mut self, text: &Text) {
        let lines: Vec<&str> = text.lines.iter().map(|line| line.text.as_str()).collect();
        let mut index = 0;
        let mut begun = false;
        let mut key: Option<String> = None;
        while let Some(line) = lines.get(index) {
            let trimmed = line.trim();
            let start = line.len() - line.trim_start().len();
            if !begun && !trimmed.is_empty() {
                if header(trimmed).is_none() {
                    self.flaw(
                        index,
                        line,
                        start,
                        format!("the first line must be `{VERSION_5}` or `{VERSION_4}`"),
                    );
                    return;
                }
                begun = true;
            } else if trimmed.is_empty() || trimmed.starts_with(';') {
            } else if trimmed.starts_with('[') {
                key = self.key(index, line, start);
            } else if key.is_none() {
                self.flaw(index, line, start, "this stands before the first key");
            } else {
                let last = self.value(&lines, index, key.as_deref().unwrap_or_default());
                index = last.max(index);
                if let Some((_, end)) = self.keys.last_mut() {
                    *end = index + 1;
                }
            }
            index += 1;
        }
        if !begun {
            self.flaws.push(Flaw::at(
                1,
                1,
                format!("the first line must be `{VERSION_5}` or `{VERSION_4}`"),
            ));
        }
    }

    fn key(&mut self, index: usize, line: &str, start: usize) -> Option<String> {
        let inner = line.get(start + 1..).unwrap_or_default();
        // A key's name may have brackets; its line ends with one.
        let Some((name, more)) = inner.rsplit_once(']') else {
            self.flaw(index, line, start, "the key's name is not closed");
            return Some(String::new());
        };
        if !(more.trim().is_empty() || more.trim_start().starts_with(';')) {
            let at = start + 1 + name.len() + 1;
            self.flaw(index, line, at, "text behind the key's name");
        }
        if let Some(taken) = name.strip_prefix('-') {
            if let Some(taken) = local_machine(taken) {
                for (item, place) in Item::below_key(taken) {
                    self.said.push(Said {
                        item,
                        place,
                        value: Value::NotDefined,
                        line: index,
                        data: None,
                    });
                }
            }
            self.keys.push((String::new(), index + 1));
            return Some(String::new());
        }
        self.keys.push((name.to_owned(), index + 1));
        Some(name.to_owned())
    }

    /// Reads a value; the index of its last line.
    fn value(&mut self, lines: &[&str], index: usize, key: &str) -> usize {
        let line = lines.get(index).copied().unwrap_or_default();
        let start = line.len() - line.trim_start().len();
        let text = line.get(start..).unwrap_or_default();
        let (name, behind) = if let Some(rest) = text.strip_prefix('@') {
            (String::new(), start + text.len() - rest.len())
        } else if text.starts_with('"') {
            match quoted(text) {
                Some((name, length)) => (name, start + length),
                None => {
                    self.flaw(index, line, start, "the value's name is not closed");
                    return index;
                }
            }
        } else {
            self.flaw(
                index,
                line,
                start,
                "neither a key nor a value nor a comment",
            );
            return index;
        };
        let rest = line.get(behind..).unwrap_or_default();
        let Some(data) = rest.trim_start().strip_prefix('=') else {
            self.flaw(index, line, behind, "`=` is missing");
            return index;
        };
        let data_at = line.len() - data.trim_start().len();
        let (found, end, last) = match self.data(lines, index, data_at) {
            Ok(found) => found,
            Err((at_index, at, text)) => {
                let line = lines.get(at_index).copied().unwrap_or_default();
                self.flaw(at_index, line, at, text);
                return at_index;
            }
        };
        let ours = local_machine(key).and_then(|key| Item::at(key, &name));
        let Some((item, place)) = ours else {
            return last;
        };
        let value = match found {
            Data::Delete => Some(Value::NotDefined),
            Data::Dword(data) => switch(u64::from(data)),
            Data::Other => None,
        };
        match value {
            Some(value) => self.said.push(Said {
                item,
                place,
                value,
                line: index,
                data: (last == index).then_some((data_at, end)),
            }),
            None => self.flaw(
                index,
                line,
                data_at,
                format!("`{name}` must be dword:00000000 or dword:00000001"),
            ),
        }
        last
    }

    /// The data that begins at a byte of a line: what it is, where it ends, and the
    /// index of its last line.
    fn data(
        &self,
        lines: &[&str],
        index: usize,
        at: usize,
    ) -> Result<(Data, usize, usize), (usize, usize, &'static str)> {
        let line = lines.get(index).copied().unwrap_or_default();
        let text = line.get(at..).unwrap_or_default();
        if text.starts_with('"') {
            let last =
                string_end(lines, index, at).ok_or((index, at, "the string is not closed"))?;
            return Ok((Data::Other, line.len(), last));
        }
        let word = text.split(';').next().unwrap_or_default().trim_end();
        let end = at + word.len();
        let lower = word.to_ascii_lowercase();
        if word == "-" {
            return Ok((Data::Delete, end, index));
        }
        if let Some(digits) = lower.strip_prefix("dword:") {
            let digits = digits.trim();
            let plain = (1..=8).contains(&digits.len())
                && digits.bytes().all(|one| one.is_ascii_hexdigit());
            let data = u32::from_str_radix(digits, 16).ok().filter(|_| plain);
            let data = data.ok_or((index, at, "dword: takes one to eight hexadecimal digits"))?;
            return Ok((Data::Dword(data), end, index));
        }
        if lower.starts_with("hex") {
            return hexadecimal(lines, index, at);
        }
        Err((
            index,
            at,
            "data that is none of \"...\", dword:, hex: and -",
        ))
    }
}

/// A quoted name at the start of a text: the name, and its length with the quotes.
fn quoted(text: &str) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, one)) = characters.next() {
        match one {
            '"' => return Some((name, at + 1)),
            '\\' => name.push(characters.next()?.1),
            _ => name.push(one),
        }
    }
    None
}

/// The line on which a string that begins at a byte of a line ends; strings may have
/// line breaks in them.
fn string_end(lines: &[&str], index: usize, at: usize) -> Option<usize> {
    let mut escaped = false;
    for (number, line) in lines.iter().enumerate().skip(index) {
        let text = if number == index {
            line.get(at + 1..)?
        } else {
            line
        };
        for one in text.chars() {
            match one {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => return Some(number),
                _ => {}
            }
        }
        escaped = false;
    }
    None
}

/// `hex:` and `hex(n):`, whose bytes may go on over several lines.
fn hexadecimal(
    lines: &[&str],
    index: usize,
    at: usize,
) -> Result<(Data, usize, usize), (usize, usize, &'static str)> {
    const WRONG: &str = "hex: takes pairs of hexadecimal digits, separated by commas";
    let line = lines.get(index).copied().unwrap_or_default();
    let text = line.get(at..).unwrap_or_default();
    let (kind, first) = text.split_once(':').ok_or((index, at, WRONG))?;
    let kind = kind.trim().to_ascii_lowercase();
    let kind = match kind.as_str() {
        "hex" => 3,
        _ => kind
            .strip_prefix("hex(")
            .and_then(|kind| kind.strip_suffix(')'))
            .and_then(|kind| u32::from_str_radix(kind, 16).ok())
            .ok_or((index, at, "the type in hex(...) is not a number"))?,
    };
    let mut bytes = Vec::new();
    let mut number = index;
    let mut part = first;
    loop {
        let word = part.split(';').next().unwrap_or_default().trim();
        let (digits, more) = match word.strip_suffix('\\') {
            Some(digits) => (digits.trim(), true),
            None => (word, false),
        };
        for pair in digits.split(',').map(str::trim) {
            if pair.is_empty() {
                continue;
            }
            let byte = (pair.len() <= 2)
                .then(|| u8::from_str_radix(pair, 16).ok())
                .flatten()
                .ok_or((number, if number == index { at } else { 0 }, WRONG))?;
            bytes.push(byte);
        }
        if !more {
            break;
        }
        number += 1;
        part =
            lines
                .get(number)
                .copied()
                .ok_or((index, at, "the file ends in the middle of hex:"))?;
    }
    let data = match (kind, bytes.as_slice()) {
        (4, &[a, b, c, d]) => Data::Dword(u32::from_le_bytes([a, b, c, d])),
        _ => Data::Other,
    };
    Ok((data, line.trim_end().len(), number))
}
