//! Reading a TOML document with the place of every mistake.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A mistake in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file.display(),
            self.line,
            self.column,
            self.message
        )?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, " (did you mean `{suggestion}`?)")?;
        }
        Ok(())
    }
}

/// What is wrong with a value, before its place is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl Wrong {
    /// Something wrong without a better idea.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            suggestion: None,
        }
    }

    /// A word that is not one of those allowed.
    pub fn word(given: &str, allowed: &[&str]) -> Self {
        Self {
            message: format!(
                "`{given}` is not allowed here: it is one of {}",
                list(allowed)
            ),
            suggestion: closest(given, allowed),
        }
    }
}

/// The nearest of the allowed words, if it is near enough to have been meant.
pub fn closest(given: &str, allowed: &[&str]) -> Option<String> {
    let given = given.to_lowercase().replace('_', "-");
    allowed
        .iter()
        .map(|word| (strsim::jaro_winkler(&given, &word.to_lowercase()), *word))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word.to_owned())
}

fn list(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A document being read: collects what is wrong with it.
pub struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// Reads `text`; `file` is only for messages.
    pub fn new(file: &'a Path, text: &'a str) -> Self {
        Self {
            file,
            text,
            problems: Vec::new(),
        }
    }

    /// Notes something wrong at a place.
    pub fn problem(&mut self, at: Range<usize>, wrong: Wrong) {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line,
            column,
            message: wrong.message,
            suggestion: wrong.suggestion,
        });
    }

    /// What was noted, in the order of the file.
    pub fn into_problems(mut self) -> Vec<Problem> {
        self.problems
            .sort_by_key(|problem| (problem.line, problem.column));
        self.problems
    }

    /// Reads the whole document as a section.
    ///
    /// # Errors
    /// Every mistake found, in the order of the file.
    pub fn document<S: Section>(mut self) -> Result<S, Vec<Problem>> {
        let section = match DeTable::parse(self.text) {
            Ok(table) => S::read(table.get_ref(), &mut self),
            Err(error) => {
                let at = error.span().unwrap_or(0..0);
                let message = error.message().trim().replace('\n', "; ");
                self.problem(at, Wrong::new(message));
                S::default()
            }
        };
        if self.problems.is_empty() {
            Ok(section)
        } else {
            Err(self.into_problems())
        }
    }

    /// Reads one value into `target`; a bad one leaves it as it is.
    pub fn value<T: Field>(&mut self, key: &str, value: &Spanned<DeValue<'_>>, target: &mut T) {
        match T::read(value, self) {
            Ok(Some(read)) => *target = read,
            Ok(None) => {}
            Err(mut wrong) => {
                wrong.message = format!("{key}: {}", wrong.message);
                self.problem(value.span(), wrong);
            }
        }
    }

    /// Notes keys that do not exist.
    pub fn unknown(&mut self, place: &str, table: &DeTable<'_>, known: &[&str]) {
        for key in table.keys() {
            if known.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let wrong = Wrong {
                message: if place.is_empty() {
                    format!("unknown key `{}`", key.get_ref())
                } else {
                    format!("unknown key `{}` in [{place}]", key.get_ref())
                },
                suggestion: closest(key.get_ref(), known),
            };
            self.problem(key.span(), wrong);
        }
    }
}

/// One key as the reference documents it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDoc {
    /// The key.
    pub key: String,
    /// Kind of value.
    pub kind: String,
    /// The default as it would stand in the file; `None`: no default, or a section.
    pub default: Option<String>,
    /// What it does.
    pub text: String,
    /// The section behind the key, if it is one; `true`: may be repeated.
    pub section: Option<(SectionDoc, bool)>,
}

/// A section as the reference documents it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionDoc {
    /// What it is for.
    pub text: String,
    /// Its keys.
    pub keys: Vec<KeyDoc>,
}

/// A table of the file. Made by the `section!` macro.
pub trait Section: Default + Sized {
    /// Name in messages.
    const NAME: &'static str;
    /// Reads the table; mistakes go to the reader.
    fn read(table: &DeTable<'_>, reader: &mut Reader<'_>) -> Self;
    /// The documentation.
    fn document() -> SectionDoc;
}

/// A value of the file.
pub trait Field: Sized {
    /// Kind of value for the reference.
    fn kind() -> String;
    /// Reads it; `Ok(None)`: mistakes went to the reader already.
    ///
    /// # Errors
    /// What is wrong with the value.
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Result<Option<Self>, Wrong>;
    /// As it would stand in the file; `None`: nothing would.
    fn show(&self) -> Option<String>;
    /// The section behind it, and whether it may be repeated.
    fn section() -> Option<(SectionDoc, bool)> {
        None
    }
}

/// A value has another type than wanted.
pub fn mistyped(value: &DeValue<'_>, wanted: &str) -> Wrong {
    let found = match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    Wrong::new(format!("{wanted} belongs here, not {found}"))
}

/// Names used twice.
pub fn twice<'n>(names: impl Iterator<Item = &'n str>) -> Option<String> {
    let mut seen = BTreeSet::new();
    names
        .map(str::to_lowercase)
        .find(|name| !seen.insert(name.clone()))
}

/// Makes a struct, its defaults, its reader and its documentation of one list.
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        pub struct $name:ident in $place:literal {
            $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty = $default:expr;)*
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $field_doc])+ pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::config::reader::Section for $name {
            const NAME: &'static str = $place;

            fn read(
                table: &toml::de::DeTable<'_>,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Self {
                let mut section = Self::default();
                $(
                    let key = stringify!($field).replace('_', "-");
                    if let Some(value) = table.get(key.as_str()) {
                        reader.value(&key, value, &mut section.$field);
                    }
                )*
                let known = [$(stringify!($field).replace('_', "-"),)*];
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                reader.unknown(Self::NAME, table, &known);
                section
            }

            fn document() -> $crate::config::reader::SectionDoc {
                use $crate::config::reader::Field;
                let default = Self::default();
                $crate::config::reader::SectionDoc {
                    text: concat!($($doc, "\n"),+).to_owned(),
                    keys: vec![$($crate::config::reader::KeyDoc {
                        key: stringify!($field).replace('_', "-"),
                        kind: <$type as Field>::kind(),
                        default: default.$field.show(),
                        text: concat!($($field_doc, "\n"),+).to_owned(),
                        section: <$type as Field>::section(),
                    },)*],
                }
            }
        }

        impl $crate::config::reader::Field for $name {
            fn kind() -> String {
                "section".to_owned()
            }

            fn read(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Result<Option<Self>, $crate::config::reader::Wrong> {
                match value.get_ref() {
                    toml::de::DeValue::Table(table) => {
                        Ok(Some(<Self as $crate::config::reader::Section>::read(table, reader)))
                    }
                    other => Err($crate::config::reader::mistyped(other, "a table")),
                }
            }

            fn show(&self) -> Option<String> {
                None
            }

            fn section() -> Option<($crate::config::reader::SectionDoc, bool)> {
                Some((<Self as $crate::config::reader::Section>::document(), false))
            }
        }
    };
}
pub(crate) use section;
