//! Files other programs understand, both ways: bytes in, what they say out; no I/O.
//!
//! A file is read as a whole and either understood or refused with line and column
//! ([`Flaw`]); what is not ours in it is kept, byte for byte, when it is written back
//! with other values ([`Document`]).

pub mod dsc;
pub mod inf;
pub mod intune;
mod item;
pub mod json;
pub mod lgpo;
pub mod pol;
pub mod powershell;
pub mod reg;
pub mod smb_conf;
pub mod text;

use std::fmt;
use std::str::FromStr;

pub use item::{Contents, Item, Location};

use crate::settings::{ParseError, Value, parse_by_name};
use inf::Template;
use lgpo::LgpoText;
use pol::RegistryPolicy;
use reg::RegistryFile;

/// The longest file that is read, in bytes: real ones have some hundred kilobytes.
pub const MAX_BYTES: usize = 4 << 20;

/// Most flaws that are listed; a file may have one a line.
pub const MAX_FLAWS: usize = 20;

/// Where something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a text, both from 1; columns are characters.
    Text {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// In a binary file.
    Binary {
        /// The record, from 1; 0: the header.
        record: usize,
        /// The byte, from 0.
        offset: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Text { line, column } => write!(f, "{line}:{column}"),
            Place::Binary { record, offset } => write!(f, "record {record}, byte {offset}"),
        }
    }
}

/// Something wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Where.
    pub place: Place,
    /// What.
    pub text: String,
}

impl Flaw {
    pub(crate) fn at(line: usize, column: usize, text: impl Into<String>) -> Flaw {
        Flaw {
            place: Place::Text { line, column },
            text: text.into(),
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Why a file is refused: at least one flaw, the first ones of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Flaws(pub Vec<Flaw>);

impl From<Flaw> for Flaws {
    fn from(flaw: Flaw) -> Self {
        Flaws(vec![flaw])
    }
}

/// The flaws a reader found, of which only the first are kept.
#[derive(Debug, Default)]
pub(crate) struct Found {
    flaws: Vec<Flaw>,
    more: bool,
}

impl Found {
    pub(crate) fn push(&mut self, flaw: Flaw) {
        if self.flaws.len() < MAX_FLAWS {
            self.flaws.push(flaw);
        } else {
            self.more = true;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flaws.is_empty()
    }

    /// `value`, unless there are flaws.
    pub(crate) fn or<T>(mut self, value: T) -> Result<T, Flaws> {
        if let Some(last) = self.flaws.last().filter(|_| self.more) {
            let place = last.place;
            let text = format!("and more behind it: the first {MAX_FLAWS} are listed");
            self.flaws.push(Flaw { place, text });
        }
        if self.flaws.is_empty() {
            Ok(value)
        } else {
            Err(Flaws(self.flaws))
        }
    }
}

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Security template, also GptTmpl.inf of a Group Policy object.
    Inf,
    /// Registry.pol.
    Pol,
    /// Registration file of the registry editor.
    Reg,
    /// The text form of LGPO.exe.
    Lgpo,
    /// Our own.
    Json,
    /// PowerShell commands. Written only, as are those below.
    PowerShell,
    /// PowerShell Desired State Configuration.
    Dsc,
    /// Policy CSP of Intune, SyncML.
    Intune,
    /// smb.conf of Samba.
    SmbConf,
}

impl Format {
    /// All.
    pub const ALL: [Format; 9] = [
        Format::Inf,
        Format::Pol,
        Format::Reg,
        Format::Lgpo,
        Format::Json,
        Format::PowerShell,
        Format::Dsc,
        Format::Intune,
        Format::SmbConf,
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Inf => "inf",
            Format::Pol => "pol",
            Format::Reg => "reg",
            Format::Lgpo => "lgpo",
            Format::Json => "json",
            Format::PowerShell => "powershell",
            Format::Dsc => "dsc",
            Format::Intune => "intune",
            Format::SmbConf => "smb-conf",
        }
    }

    /// It can be read.
    pub const fn reads(self) -> bool {
        matches!(
            self,
            Format::Inf | Format::Pol | Format::Reg | Format::Lgpo | Format::Json
        )
    }

    /// The format a file has, by its content.
    pub fn detect(bytes: &[u8]) -> Option<Format> {
        if bytes.starts_with(b"PReg") {
            return Some(Format::Pol);
        }
        let head = bytes.get(..bytes.len().min(64 << 10)).unwrap_or_default();
        // Half a character at the cut is no matter.
        let text = text::Text::decode(head)
            .or_else(|_| {
                text::Text::decode(head.get(..head.len().saturating_sub(1)).unwrap_or(head))
            })
            .ok()?;
        let first = text
            .lines
            .iter()
            .map(|line| line.text.trim())
            .find(|line| !line.is_empty() && !line.starts_with(';'))?;
        if reg::header(first).is_some() {
            Some(Format::Reg)
        } else if first.starts_with('{') {
            Some(Format::Json)
        } else if first.starts_with('[') {
            Some(Format::Inf)
        } else if lgpo::configuration(first) {
            Some(Format::Lgpo)
        } else {
            None
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

parse_by_name!(Format, "format");

/// A file that was read, or a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A security template.
    Inf(Template),
    /// Registry.pol.
    Pol(RegistryPolicy),
    /// A registration file.
    Reg(RegistryFile),
    /// LGPO's text.
    Lgpo(LgpoText),
    /// Our own.
    Json(Contents),
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is not understood; a format that is only written is refused.
    pub fn parse(format: Format, bytes: &[u8]) -> Result<Document, Flaws> {
        if bytes.len() > MAX_BYTES {
            return Err(Flaw::at(
                1,
                1,
                format!(
                    "{} bytes: files above {MAX_BYTES} are not read",
                    bytes.len()
                ),
            )
            .into());
        }
        match format {
            Format::Inf => Template::parse(bytes).map(Document::Inf),
            Format::Pol => RegistryPolicy::parse(bytes).map(Document::Pol),
            Format::Reg => RegistryFile::parse(bytes).map(Document::Reg),
            Format::Lgpo => LgpoText::parse(bytes).map(Document::Lgpo),
            Format::Json => json::parse(bytes).map(Document::Json),
            Format::PowerShell | Format::Dsc | Format::Intune | Format::SmbConf => {
                Err(Flaw::at(1, 1, format!("`{format}` is written, never read")).into())
            }
        }
    }

    /// A new file, as its own program writes it; nothing for formats that are only
    /// written.
    pub fn new(format: Format) -> Option<Document> {
        match format {
            Format::Inf => Some(Document::Inf(Template::new())),
            Format::Pol => Some(Document::Pol(RegistryPolicy::default())),
            Format::Reg => Some(Document::Reg(RegistryFile::new())),
            Format::Lgpo => Some(Document::Lgpo(LgpoText::new())),
            Format::Json => Some(Document::Json(Contents::default())),
            Format::PowerShell | Format::Dsc | Format::Intune | Format::SmbConf => None,
        }
    }

    /// What it says.
    pub fn contents(&self) -> Contents {
        match self {
            Document::Inf(document) => document.contents(),
            Document::Pol(document) => document.contents(),
            Document::Reg(document) => document.contents(),
            Document::Lgpo(document) => document.contents(),
            Document::Json(contents) => contents.clone(),
        }
    }

    /// The line that says something about an item, from 1; nothing: none does, or the
    /// format has no lines to name.
    pub fn line(&self, item: Item) -> Option<usize> {
        match self {
            Document::Inf(document) => document.line(item),
            Document::Reg(document) => document.line(item),
            Document::Lgpo(document) => document.line(item),
            Document::Pol(_) | Document::Json(_) => None,
        }
    }

    /// Makes it say something; `NotDefined` takes out what it says. Everything else
    /// in it stays as it is.
    pub fn set(&mut self, item: Item, value: Value) {
        match self {
            Document::Inf(document) => document.set(item, value),
            Document::Pol(document) => document.set(item, value),
            Document::Reg(document) => document.set(item, value),
            Document::Lgpo(document) => document.set(item, value),
            Document::Json(contents) => {
                if value == Value::NotDefined {
                    contents.values.remove(&item);
                } else {
                    contents.values.insert(item, value);
                }
            }
        }
    }

    /// Writes it.
    pub fn emit(&self) -> Vec<u8> {
        match self {
            Document::Inf(document) => document.emit(),
            Document::Pol(document) => document.emit(),
            Document::Reg(document) => document.emit(),
            Document::Lgpo(document) => document.emit(),
            Document::Json(contents) => json::emit(contents),
        }
    }
}

/// A new file that says `contents`.
pub fn write(format: Format, contents: &Contents) -> Vec<u8> {
    match Document::new(format) {
        Some(mut document) => {
            for (item, value) in &contents.values {
                document.set(*item, *value);
            }
            document.emit()
        }
        None => match format {
            Format::PowerShell => powershell::emit(contents),
            Format::Dsc => dsc::emit(contents),
            Format::Intune => intune::emit(contents),
            _ => smb_conf::emit(contents),
        }
        .into_bytes(),
    }
}
