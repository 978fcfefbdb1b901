//! The text form of Microsoft's LGPO.exe: blocks of four lines (configuration, key,
//! value, action) and comments with `;`.

use std::collections::BTreeSet;

use super::inf::number;
use super::item::{Collector, digit, switch};
use super::text::{Encoding, Text};
use super::{Contents, Flaw, Flaws, Found, Item};
use crate::settings::Value;

/// A file of LGPO's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LgpoText {
    text: Text,
    blocks: Vec<Block>,
}

/// A block of four lines.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    /// Indices of the four lines.
    lines: [usize; 4],
    /// What it says about ours.
    said: Vec<(Item, usize, Value)>,
    /// It is about one value alone.
    single: bool,
}

/// A first line of a block.
pub(super) fn configuration(line: &str) -> bool {
    let line = line.trim();
    line.eq_ignore_ascii_case("computer")
        || line.eq_ignore_ascii_case("user")
        || line
            .get(..5)
            .is_some_and(|head| head.eq_ignore_ascii_case("user:"))
}

/// Actions with nothing behind them.
const BARE: [&str; 5] = [
    "DELETE",
    "DELETEALLVALUES",
    "DELETEKEYS",
    "CREATEKEY",
    "CLEAR",
];
/// Actions with data behind a colon.
const TYPED: [&str; 7] = [
    "DWORD",
    "QWORD",
    "SZ",
    "EXSZ",
    "MULTISZ",
    "BINARY",
    "DELETEKEYS",
];

impl LgpoText {
    /// An empty file.
    pub fn new() -> LgpoText {
        LgpoText {
            text: Text::new(Encoding::Utf8, []),
            blocks: Vec::new(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn parse(bytes: &[u8]) -> Result<LgpoText, Flaws> {
        LgpoText::of(Text::decode(bytes)?)
    }

    fn of(text: Text) -> Result<LgpoText, Flaws> {
        let mut flaws = Found::default();
        let mut blocks = Vec::new();
        let mut open: Vec<(usize, &str)> = Vec::new();
        for (index, line) in text.lines.iter().enumerate() {
            let trimmed = line.text.trim();
            if trimmed.starts_with(';') {
                continue;
            }
            if trimmed.is_empty() {
                if let Some((first, _)) = open.first() {
                    flaws.push(Flaw::at(
                        index + 1,
                        1,
                        format!("the block of line {} has not four lines", first + 1),
                    ));
                    open.clear();
                }
                continue;
            }
            if open.is_empty() && !configuration(trimmed) {
                let column = line.text.chars().take_while(|c| c.is_whitespace()).count() + 1;
                flaws.push(Flaw::at(
                    index + 1,
                    column,
                    format!("`{trimmed}` is neither Computer nor User"),
                ));
                // One complaint for the rest of the block.
                open.push((index, "User"));
                continue;
            }
            open.push((index, trimmed));
            if let &[a, b, c, d] = open.as_slice() {
                match block([a, b, c, d]) {
                    Ok(block) => blocks.push(block),
                    Err(why) => {
                        let line = text.lines.get(d.0).map_or("", |line| line.text.as_str());
                        let column = line.chars().take_while(|c| c.is_whitespace()).count() + 1;
                        flaws.push(Flaw::at(d.0 + 1, column, why));
                    }
                }
                open.clear();
            }
        }
        if let Some((first, _)) = open.first() {
            flaws.push(Flaw::at(
                first + 1,
                1,
                "the file ends in the middle of this block",
            ));
        }
        flaws.or(LgpoText { text, blocks })
    }

    /// The line with the last word about an item, from 1: that of the action.
    pub fn line(&self, item: Item) -> Option<usize> {
        let speaks = |block: &&Block| block.said.iter().any(|(one, _, _)| *one == item);
        self.blocks
            .iter()
            .rev()
            .find(speaks)
            .map(|block| block.lines[3] + 1)
    }

    /// What it says.
    pub fn contents(&self) -> Contents {
        let mut collector = Collector::default();
        for (item, place, value) in self.blocks.iter().flat_map(|block| &block.said) {
            collector.say(*item, *place, *value);
        }
        collector.contents()
    }

    /// Changes the blocks about an item, adds one, or takes them out.
    pub fn set(&mut self, item: Item, value: Value) {
        let mut text = self.text.clone();
        let about = |block: &&Block| {
            block.single && block.said.first().is_some_and(|(one, _, _)| *one == item)
        };
        match digit(value) {
            None => {
                let drop: BTreeSet<usize> = self
                    .blocks
                    .iter()
                    .filter(about)
                    .flat_map(|block| block.lines)
                    .collect();
                let mut index = 0;
                text.lines.retain(|_| {
                    index += 1;
                    !drop.contains(&(index - 1))
                });
            }
            Some(digit) => {
                for block in self.blocks.iter().filter(about) {
                    if let Some(line) = text.lines.get_mut(block.lines[3]) {
                        line.text = format!("DWORD:{digit}");
                    }
                }
                let said = LgpoText::of(text.clone()).map(|file| file.contents().get(item));
                if said != Ok(value) {
                    let location = item.location();
                    let mut lines = Vec::new();
                    if text
                        .lines
                        .last()
                        .is_some_and(|last| !last.text.trim().is_empty())
                    {
                        lines.push(String::new());
                    }
                    lines.extend([
                        "Computer".to_owned(),
                        location.key.to_owned(),
                        location.value.to_owned(),
                        format!("DWORD:{digit}"),
                    ]);
                    text.insert(usize::MAX, lines);
                }
            }
        }
        if let Ok(changed) = LgpoText::of(text) {
            *self = changed;
        }
    }

    /// Writes it.
    pub fn emit(&self) -> Vec<u8> {
        self.text.encode()
    }
}

impl Default for LgpoText {
    fn default() -> Self {
        LgpoText::new()
    }
}

fn block(lines: [(usize, &str); 4]) -> Result<Block, String> {
    let [(a, configuration), (b, key), (c, name), (d, action)] = lines;
    let (word, data) = match action.split_once(':') {
        Some((word, data)) => (word.trim(), Some(data)),
        None => (action, None),
    };
    let known: &[&str] = if data.is_some() { &TYPED } else { &BARE };
    if !known.iter().any(|one| one.eq_ignore_ascii_case(word)) {
        return Err(format!("`{action}` is not an action"));
    }
    if word.eq_ignore_ascii_case("DWORD") && number_of(data.unwrap_or_default()).is_none() {
        return Err(format!("`{action}`: DWORD takes a number"));
    }
    let computer = configuration.eq_ignore_ascii_case("computer");
    let mut block = Block {
        lines: [a, b, c, d],
        said: Vec::new(),
        single: false,
    };
    if !computer {
        return Ok(block);
    }
    let clears = word.eq_ignore_ascii_case("CLEAR");
    if word.eq_ignore_ascii_case("DELETEALLVALUES") || (clears && name == "*") {
        block.said = Item::in_key(key)
            .into_iter()
            .map(|(item, place)| (item, place, Value::NotDefined))
            .collect();
        return Ok(block);
    }
    let Some((item, place)) = Item::at(key, name) else {
        return Ok(block);
    };
    block.single = true;
    let value = if word.eq_ignore_ascii_case("DELETE") || clears {
        Value::NotDefined
    } else if word.eq_ignore_ascii_case("DWORD") {
        number_of(data.unwrap_or_default())
            .and_then(switch)
            .ok_or_else(|| format!("`{action}`: {item} must be DWORD:0 or DWORD:1"))?
    } else {
        return Err(format!("`{action}`: {item} must be DWORD:0 or DWORD:1"));
    };
    block.said.push((item, place, value));
    Ok(block)
}

/// Decimal, up to 4294967295, or hexadecimal behind `0x`.
fn number_of(text: &str) -> Option<u64> {
    let text = text.trim();
    number(text).or_else(|| {
        let plain =
            !text.is_empty() && text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
        plain
            .then(|| text.parse().ok())
            .flatten()
            .filter(|number| *number <= u64::from(u32::MAX))
    })
}
