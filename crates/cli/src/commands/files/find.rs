//! `countersign find`.

use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};
use countersign_client::glob::PathPattern;
use countersign_client::location::Location;
use countersign_client::transfer::{Entry, Failure, Found, Kind, join, walk};
use countersign_client::{Error, Share};
use serde_json::{Value as Json, json};

use crate::Outcome;
use crate::output::{end_with_reader, say, say_json, write};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Troubles, or_json, run as run_remote};
use crate::remote::present::{entry_json, shown};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Type {
    #[value(name = "f", alias = "file")]
    File,
    #[value(name = "d", alias = "directory")]
    Directory,
    #[value(name = "l", alias = "link")]
    Link,
}

#[derive(Debug, Args)]
pub(crate) struct FindArguments {
    /// Where to look
    #[arg(required = true, value_name = "LOCATION")]
    locations: Vec<Location>,
    /// Names (or paths, with a slash) that fit, without regard to case
    #[arg(long, value_name = "PATTERN", alias = "iname")]
    name: Vec<String>,
    /// Only files (f), folders (d) or links (l)
    #[arg(long, value_name = "TYPE")]
    r#type: Option<Type>,
    /// Larger than (+10M) or smaller than (-1K), in bytes, K, M, G or T; without a sign
    /// exactly
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = parse_size)]
    size: Option<Size>,
    /// Changed within this time: 90s, 30m, 12h, 7d
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    newer: Option<Duration>,
    /// Not changed within this time
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    older: Option<Duration>,
    /// Not deeper than this
    #[arg(long, value_name = "N")]
    max_depth: Option<usize>,
    /// End each path with NUL in place of a new line
    #[arg(short = '0', long)]
    print0: bool,
    /// Print JSON: an array of entries
    #[arg(long, conflicts_with = "print0")]
    json: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Above(u64),
    Below(u64),
    Exactly(u64),
}

fn parse_size(text: &str) -> Result<Size, String> {
    let (make, rest): (fn(u64) -> Size, &str) = match text.split_at_checked(1) {
        Some(("+", rest)) => (Size::Above, rest),
        Some(("-", rest)) => (Size::Below, rest),
        _ => (Size::Exactly, text),
    };
    let digits = rest.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match rest
        .get(digits.len()..)
        .unwrap_or("")
        .to_ascii_uppercase()
        .as_str()
    {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err("units are K, M, G and T".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "not a number".to_owned())?;
    number
        .checked_mul(1 << shift)
        .map(make)
        .ok_or_else(|| "too large".to_owned())
}

pub(super) fn parse_span(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..).unwrap_or("") {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err("units are s, m, h, d and w".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "not a number".to_owned())?;
    number
        .checked_mul(unit)
        .map(Duration::from_secs)
        .ok_or_else(|| "too long".to_owned())
}

/// What is looked for.
struct Test {
    names: Vec<PathPattern>,
    kind: Option<Type>,
    size: Option<Size>,
    newer: Option<SystemTime>,
    older: Option<SystemTime>,
}

impl Test {
    fn new(arguments: &FindArguments) -> Self {
        let now = SystemTime::now();
        let ago = |span: Option<Duration>| span.and_then(|span| now.checked_sub(span));
        Test {
            names: arguments
                .name
                .iter()
                .map(|text| PathPattern::new(text))
                .collect(),
            kind: arguments.r#type,
            size: arguments.size,
            newer: ago(arguments.newer),
            older: ago(arguments.older),
        }
    }

    fn fits(&self, path: &[String], entry: &Entry) -> bool {
        let kind = match self.kind {
            None => true,
            Some(Type::File) => entry.kind == Kind::File,
            Some(Type::Directory) => entry.kind == Kind::Folder,
            Some(Type::Link) => entry.kind == Kind::Link,
        };
        let size = match self.size {
            None => true,
            Some(_) if entry.kind != Kind::File => false,
            Some(Size::Above(bytes)) => entry.size > bytes,
            Some(Size::Below(bytes)) => entry.size < bytes,
            Some(Size::Exactly(bytes)) => entry.size == bytes,
        };
        let newer = self
            .newer
            .is_none_or(|at| entry.modified.is_some_and(|time| time >= at));
        let older = self
            .older
            .is_none_or(|at| entry.modified.is_some_and(|time| time < at));
        let name = self.names.is_empty() || self.names.iter().any(|name| name.matches(path));
        kind && size && newer && older && name
    }
}

pub(crate) fn run(arguments: &FindArguments) -> Outcome {
    end_with_reader();
    let prepared = arguments.connect.prepare_all(&arguments.locations);
    let prepared = or_json(arguments.json, &json!([]), prepared)?;
    run_remote(
        async {
            let mut search = Search {
                arguments,
                test: Test::new(arguments),
                json: Vec::new(),
            };
            let mut troubles = Troubles::default();
            for prepared in &prepared {
                let Some(share) = troubles.take(prepared.share().await) else {
                    continue;
                };
                for one in troubles.expand(&share, &prepared.location).await {
                    troubles.walk(&search.below(&share, one).await);
                }
            }
            if arguments.json {
                say_json(&search.json)?;
            }
            troubles.end("not everything could be read")
        },
        "",
    )
}

struct Search<'a> {
    arguments: &'a FindArguments,
    test: Test,
    json: Vec<Json>,
}

impl Search<'_> {
    /// A file itself, or what is below a folder.
    async fn below(&mut self, share: &Share, root: Found) -> Vec<Failure<Error>> {
        if root.entry.kind != Kind::Folder {
            let path = [root.entry.name.clone()];
            if self.test.fits(&path, &root.entry) {
                self.show(&root.path, &root.entry);
            }
            return Vec::new();
        }
        let start = root
            .path
            .split('\\')
            .filter(|part| !part.is_empty())
            .count();
        let deepest = self.arguments.max_depth.unwrap_or(usize::MAX);
        walk(share, &root.path, |walked| {
            let parts = walked.path.split('\\').filter(|part| !part.is_empty());
            let above: Vec<String> = parts.skip(start).map(str::to_owned).collect();
            if walked.depth >= deepest {
                walked.entries.clear();
            }
            for entry in walked.entries.iter() {
                let mut path = above.clone();
                path.push(entry.name.clone());
                if self.test.fits(&path, entry) {
                    self.show(&join(walked.path, &entry.name), entry);
                }
            }
        })
        .await
    }

    fn show(&mut self, path: &str, entry: &Entry) {
        if self.arguments.json {
            self.json.push(entry_json(path, entry));
        } else if self.arguments.print0 {
            write(format!("{}\0", path.replace('\\', "/")).as_bytes());
        } else {
            say(&shown(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans() {
        assert_eq!(parse_size("+10M"), Ok(Size::Above(10 << 20)));
        assert_eq!(parse_size("-1k"), Ok(Size::Below(1 << 10)));
        assert_eq!(parse_size("5"), Ok(Size::Exactly(5)));
        for wrong in ["", "x", "+", "5X", "99999999999T"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_span("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse_span("7d"), Ok(Duration::from_secs(604_800)));
        assert!(parse_span("7y").is_err() && parse_span("").is_err());
    }

    #[test]
    fn all_tests_must_fit() {
        let entry = Entry {
            name: "A.TXT".to_owned(),
            kind: Kind::File,
            size: 100,
            modified: SystemTime::now().checked_sub(Duration::from_secs(3600)),
            attributes: countersign_client::FileAttributes::empty(),
        };
        let test = |names: &[&str], size, newer: Option<u64>, older: Option<u64>| {
            let ago = |s: u64| SystemTime::now().checked_sub(Duration::from_secs(s));
            Test {
                names: names.iter().map(|n| PathPattern::new(n)).collect(),
                kind: Some(Type::File),
                size,
                newer: newer.and_then(ago),
                older: older.and_then(ago),
            }
        };
        let path = ["d".to_owned(), "A.TXT".to_owned()];
        assert!(test(&["*.txt"], Some(Size::Above(99)), Some(7200), None).fits(&path, &entry));
        assert!(test(&["d/*"], None, None, Some(60)).fits(&path, &entry));
        assert!(!test(&["*.bin"], None, None, None).fits(&path, &entry));
        assert!(!test(&[], Some(Size::Below(100)), None, None).fits(&path, &entry));
        assert!(!test(&[], None, Some(60), None).fits(&path, &entry));
        assert!(!test(&[], None, None, Some(7200)).fits(&path, &entry));
    }
}
