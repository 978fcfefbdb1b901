//! Security templates and GptTmpl.inf, [MS-GPSB] 2.2.
//!
//! Read liberally: any encoding, names in any case, white space and quotes where they
//! may stand, data as decimal or hexadecimal number. Strict about what is ours: type 4,
//! data 0 or 1, in `[Registry Values]`, under its full name.

use std::collections::{BTreeMap, BTreeSet};

use super::item::{Collector, digit, near_miss, switch};
use super::text::{Encoding, Text};
use super::{Contents, Flaw, Flaws, Found, Item};
use crate::settings::Value;

/// The section of registry values, [MS-GPSB] 2.2.5.
const SECTION: &str = "Registry Values";

/// A security template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: Text,
    said: Vec<Said>,
    /// How many lines there are up to the last one that says something in
    /// `[Registry Values]`.
    end: Option<usize>,
}

/// One of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    item: Item,
    place: usize,
    value: Value,
    /// The line's index.
    line: usize,
    /// Where its data stands in the line, in bytes.
    data: (usize, usize),
}

impl Template {
    /// An empty template, UTF-16LE with a byte order mark.
    pub fn new() -> Template {
        let lines = [
            "[Unicode]",
            "Unicode=yes",
            "[Version]",
            "signature=\"$CHICAGO$\"",
            "Revision=1",
        ];
        Template {
            text: Text::new(Encoding::Utf16Le, lines),
            said: Vec::new(),
            end: None,
        }
    }

    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn parse(bytes: &[u8]) -> Result<Template, Flaws> {
        Template::of(Text::decode(bytes)?)
    }

    fn of(text: Text) -> Result<Template, Flaws> {
        let mut reader = Reader::default();
        for (index, line) in text.lines.iter().enumerate() {
            reader.line(index, &line.text);
        }
        if reader.section.is_none() && reader.flaws.is_empty() {
            reader
                .flaws
                .push(Flaw::at(1, 1, "not a security template: it has no section"));
        }
        let Reader {
            said, flaws, end, ..
        } = reader;
        flaws.or(Template { text, said, end })
    }

    /// The line that says something about an item, from 1.
    pub fn line(&self, item: Item) -> Option<usize> {
        self.said
            .iter()
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

    /// Changes the data of a line that is there, adds a line, or takes it out.
    pub fn set(&mut self, item: Item, value: Value) {
        let mut text = self.text.clone();
        let lines: Vec<&Said> = self.said.iter().filter(|one| one.item == item).collect();
        match digit(value) {
            None => {
                let ours: BTreeSet<usize> = lines.iter().map(|said| said.line).collect();
                let mut index = 0;
                text.lines.retain(|_| {
                    index += 1;
                    !ours.contains(&(index - 1))
                });
            }
            Some(digit) if lines.is_empty() => {
                let location = item.location();
                let line = format!("MACHINE\\{}\\{}=4,{digit}", location.key, location.value);
                match self.end {
                    Some(end) => text.insert(end, [line]),
                    None => text.insert(usize::MAX, [format!("[{SECTION}]"), line]),
                }
            }
            Some(digit) => {
                for said in lines {
                    if let Some(line) = text.lines.get_mut(said.line)
                        && line.text.get(said.data.0..said.data.1).is_some()
                    {
                        line.text
                            .replace_range(said.data.0..said.data.1, &digit.to_string());
                    }
                }
            }
        }
        // What was understood before is understood with one line changed.
        if let Ok(changed) = Template::of(text) {
            *self = changed;
        }
    }

    /// Writes it.
    pub fn emit(&self) -> Vec<u8> {
        self.text.encode()
    }
}

impl Default for Template {
    fn default() -> Self {
        Template::new()
    }
}

#[derive(Default)]
struct Reader {
    section: Option<String>,
    said: Vec<Said>,
    /// What was said first of each, and on which line.
    first: BTreeMap<(Item, usize), (Value, usize)>,
    flaws: Found,
    end: Option<usize>,
}

impl Reader {
    fn flaw(&mut self, index: usize, line: &str, byte: usize, text: impl Into<String>) {
        let before = line.get(..byte).unwrap_or(line);
        self.flaws
            .push(Flaw::at(index + 1, before.chars().count() + 1, text));
    }

    fn line(&mut self, index: usize, line: &str) {
        let start = line.len() - line.trim_start().len();
        let text = line.trim();
        if text.is_empty() || text.starts_with(';') {
            return;
        }
        if let Some(rest) = text.strip_prefix('[') {
            self.header(index, line, start, rest);
            return;
        }
        let Some(section) = &self.section else {
            self.flaw(index, line, start, "this stands before the first section");
            return;
        };
        let registry = section.eq_ignore_ascii_case(SECTION);
        let version = section.eq_ignore_ascii_case("Version");
        if registry {
            self.end = Some(index + 1);
        }
        let Some(entry) = Entry::of(line) else {
            if registry {
                self.flaw(index, line, start, "not NAME=TYPE,DATA");
            }
            return;
        };
        if version && entry.name.eq_ignore_ascii_case("signature") {
            let known = ["$CHICAGO$", "$Windows NT$", "$Windows 95$"];
            let value = unquoted(entry.rest(line).trim());
            if !known.iter().any(|one| one.eq_ignore_ascii_case(value)) {
                let at = entry.value;
                self.flaw(
                    index,
                    line,
                    at,
                    format!("`{value}` is not the signature of a security template"),
                );
            }
            return;
        }
        match ours(entry.name) {
            Some((item, place)) if registry => self.value(index, line, &entry, item, place),
            Some(_) => self.flaw(
                index,
                line,
                start,
                format!("this value belongs in the section [{SECTION}]"),
            ),
            None if near_miss(entry.name) => self.flaw(
                index,
                line,
                start,
                format!(
                    "`{}` is not the full name of a signing setting (MACHINE\\System\\CurrentControlSet\\Services\\...)",
                    entry.name
                ),
            ),
            None => {}
        }
    }

    fn header(&mut self, index: usize, line: &str, start: usize, rest: &str) {
        let Some((name, more)) = rest.split_once(']') else {
            self.flaw(index, line, start, "the section's name is not closed");
            self.section.get_or_insert_default();
            return;
        };
        let more_at = start + 1 + name.len() + 1;
        if !(more.trim().is_empty() || more.trim_start().starts_with(';')) {
            self.flaw(index, line, more_at, "text behind the section's name");
        }
        let name = name.trim();
        if name.eq_ignore_ascii_case(SECTION) {
            self.end = Some(index + 1);
        }
        self.section = Some(name.to_owned());
    }

    /// `TYPE,DATA` of one of ours.
    fn value(&mut self, index: usize, line: &str, entry: &Entry<'_>, item: Item, place: usize) {
        let rest = entry.rest(line);
        // A comment may follow; neither a type nor our data has a semicolon.
        let rest = rest.split(';').next().unwrap_or_default();
        let Some((kind, data)) = rest.split_once(',') else {
            self.flaw(index, line, entry.value, "not TYPE,DATA");
            return;
        };
        let kind_at = entry.value + (kind.len() - kind.trim_start().len());
        let shown = unquoted(kind.trim());
        if shown != "4" {
            self.flaw(
                index,
                line,
                kind_at,
                format!("the type is `{shown}`; it must be 4 (REG_DWORD)"),
            );
            return;
        }
        let data_at = entry.value + kind.len() + 1 + (data.len() - data.trim_start().len());
        let data = data.trim();
        match number(unquoted(data)).and_then(switch) {
            Some(value) => {
                let end = data_at + data.len();
                self.contradiction(index, line, item, place, value);
                self.said.push(Said {
                    item,
                    place,
                    value,
                    line: index,
                    data: (data_at, end),
                });
            }
            None => self.flaw(
                index,
                line,
                data_at,
                format!("the data is `{}`; it must be 0 or 1", unquoted(data)),
            ),
        }
    }

    /// Which of two lines Windows obeys is not laid down, so they must agree.
    fn contradiction(&mut self, index: usize, line: &str, item: Item, place: usize, value: Value) {
        let (before, other) = *self.first.entry((item, place)).or_insert((value, index));
        if before != value {
            self.flaw(
                index,
                line,
                0,
                format!(
                    "this contradicts line {}, which sets it otherwise",
                    other + 1
                ),
            );
        }
    }
}

/// `NAME=...`, where the name may be quoted.
struct Entry<'a> {
    name: &'a str,
    /// Where what follows the `=` begins, in bytes.
    value: usize,
}

impl<'a> Entry<'a> {
    fn of(line: &'a str) -> Option<Entry<'a>> {
        let start = line.len() - line.trim_start().len();
        let text = line.get(start..)?;
        if let Some(quoted) = text.strip_prefix('"') {
            let (name, behind) = quoted.split_once('"')?;
            let behind_at = start + name.len() + 2;
            let equals = behind.len() - behind.trim_start().len();
            behind.trim_start().strip_prefix('=')?;
            return Some(Entry {
                name: name.trim(),
                value: behind_at + equals + 1,
            });
        }
        let (name, _) = text.split_once('=')?;
        Some(Entry {
            name: name.trim(),
            value: start + name.len() + 1,
        })
    }

    fn rest(&self, line: &'a str) -> &'a str {
        line.get(self.value..).unwrap_or_default()
    }
}

/// Which of ours a name is.
fn ours(name: &str) -> Option<(Item, usize)> {
    let (hive, path) = name.split_once('\\')?;
    if !hive.eq_ignore_ascii_case("MACHINE") {
        return None;
    }
    let (key, value) = path.rsplit_once('\\')?;
    Item::at(key, value)
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .map_or(text, str::trim)
}

/// A decimal number, or a hexadecimal one behind `0x`. At most eight digits.
pub(super) fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    let plain =
        (1..=8).contains(&digits.len()) && digits.bytes().all(|one| one.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, radix).ok())?
}
