//! `countersign policy import` and `export`.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use countersign_policy::Value;
use countersign_policy::exchange::{self, Contents, Document, Flaws, Format, Item, MAX_BYTES};
use countersign_server::store::{PolicyStore, Wanted};
use serde_json::{Map, json};

use super::{change, parse_name, show};
use crate::Outcome;
use crate::arguments::Place;
use crate::output::{complain, say, say_json};

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// The file; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// inf, pol, reg, lgpo, json [default: what the file looks like]
    #[arg(long, value_name = "FORMAT", value_parser = parse_name::<Format>)]
    format: Option<Format>,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// What is in force
    Effective,
    /// What the local policy store says
    Local,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// inf, pol, reg, lgpo, json, powershell, dsc, intune, smb-conf
    #[arg(long, value_name = "FORMAT", value_parser = parse_name::<Format>)]
    format: Format,
    /// Write to a file in place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What is written
    #[arg(long, value_enum, default_value_t = From::Effective)]
    from: From,
    /// Start from this file, and keep everything else that is in it
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// Reads a file, as far as the longest one that is taken.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let limit = u64::try_from(MAX_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(bytes)
}

/// Writes a file as a whole: a reader sees the old one or the new one.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Outcome {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let name = path
        .file_name()
        .ok_or_else(|| format!("{} is not the name of a file", path.display()))?;
    // What is no plain file (a device, a pipe) is written in place.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return fs::write(path, bytes).map_err(failed);
    }
    // A link stays one: what it leads to is written.
    let resolved = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let path = resolved.as_path();
    let temporary = path.with_file_name(format!(
        ".{}.{}.new",
        name.to_string_lossy(),
        std::process::id()
    ));
    let written = (|| {
        // Left behind by a process that was killed, or put there by somebody else.
        let _ = fs::remove_file(&temporary);
        let mut file = File::create_new(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        if let Ok(before) = fs::metadata(path) {
            file.set_permissions(before.permissions())?;
        }
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

/// The flaws, each with the file in front.
pub(super) fn refused(path: &Path, flaws: &Flaws) -> String {
    let lines: Vec<String> = flaws
        .0
        .iter()
        .map(|flaw| format!("{}:{flaw}", path.display()))
        .collect();
    format!("refused, nothing was changed\n{}", lines.join("\n"))
}

/// The format of a file: what is said, else what it looks like.
pub(super) fn format_of(path: &Path, bytes: &[u8], said: Option<Format>) -> Result<Format, String> {
    said.or_else(|| Format::detect(bytes)).ok_or_else(|| {
        format!(
            "{}: this looks like none of inf, pol, reg, lgpo, json; `--format` says which it is",
            path.display()
        )
    })
}

pub(super) fn import(arguments: &ImportArguments) -> Outcome {
    let file = &arguments.file;
    let bytes = read_file(file)?;
    let format = format_of(file, &bytes, arguments.format)?;
    let contents = Document::parse(format, &bytes)
        .map_err(|flaws| refused(file, &flaws))?
        .contents();
    let (state, _) = arguments.place.state()?;
    let local = PolicyStore::new(state)
        .load()
        .map_err(|error| error.to_string())?;
    let mut wanted: Vec<Wanted> = Vec::new();
    for (item, value) in &contents.values {
        let after = Some(*value).filter(|value| *value != Value::NotDefined);
        if local.get(*item).map(|entry| entry.value) != after {
            wanted.push((*item, after));
        }
    }
    let nothing = if contents.values.is_empty() {
        Some("it says nothing about signing or its audit")
    } else if wanted.is_empty() {
        Some("the local policy says the same")
    } else {
        None
    };
    if nothing.is_none() && !arguments.dry_run {
        let name = file.file_name().unwrap_or(file.as_os_str());
        let how = format!("import {}", name.to_string_lossy());
        return change::change(&arguments.place, &wanted, &how, arguments.json);
    }
    if arguments.json {
        let says: Map<String, serde_json::Value> = contents
            .values
            .iter()
            .map(|(item, value)| (item.to_string(), json!(value)))
            .collect();
        let changes: Vec<serde_json::Value> = wanted
            .iter()
            .map(|(item, to)| {
                json!({
                    "setting": item,
                    "from": local.get(*item).map(|entry| entry.value),
                    "to": to,
                })
            })
            .collect();
        return say_json(&json!({
            "file": file,
            "format": format.name(),
            "says": says,
            "changes": changes,
            "dry_run": arguments.dry_run,
        }));
    }
    match nothing {
        Some(why) => say(&format!("{}: {why}; nothing was changed", file.display())),
        None => {
            for (item, to) in &wanted {
                let shown = |value: Option<Value>| {
                    value.map_or_else(|| "not set".to_owned(), |value| value.to_string())
                };
                let from = local.get(*item).map(|entry| entry.value);
                say(&format!(
                    "{item}: would be {} (is {})",
                    shown(*to),
                    shown(from)
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn export(arguments: &ExportArguments) -> Outcome {
    let format = arguments.format;
    let (state, _) = arguments.place.state()?;
    let local = PolicyStore::new(state)
        .load()
        .map_err(|error| error.to_string())?;
    let mut contents = match arguments.from {
        From::Local => Contents {
            values: local
                .settings
                .iter()
                .map(|(setting, entry)| (Item::Setting(*setting), entry.value))
                .collect(),
        },
        From::Effective => {
            let servers = show::in_force(&arguments.place)?;
            let policies: Vec<_> = servers
                .iter()
                .map(|server| server.effective().settings())
                .collect();
            match policies.as_slice() {
                [] => Contents::default(),
                [first, rest @ ..] => {
                    if rest.iter().any(|other| other != first) {
                        return Err(
                            "the running servers differ; `--from local`, or `--state` of one of them".to_owned(),
                        );
                    }
                    Contents::of(first)
                }
            }
        }
    };
    for (switch, entry) in &local.audit {
        contents.values.insert(Item::Audit(*switch), entry.value);
    }
    contents
        .values
        .retain(|_, value| *value != Value::NotDefined);
    let travels = |item: &Item| match format {
        Format::Inf | Format::SmbConf => matches!(item, Item::Setting(_)),
        Format::Pol => matches!(item, Item::Audit(_)),
        _ => true,
    };
    let left_out: Vec<String> = contents
        .values
        .keys()
        .filter(|item| !travels(item))
        .map(ToString::to_string)
        .collect();
    contents.values.retain(|item, _| travels(item));
    if !left_out.is_empty() {
        complain(&format!(
            "left out, has no place in `{format}`: {}",
            left_out.join(", ")
        ));
    }
    let bytes = match &arguments.into {
        None => exchange::write(format, &contents),
        Some(base) => {
            let bytes = read_file(base)?;
            let mut document =
                Document::parse(format, &bytes).map_err(|flaws| refused(base, &flaws))?;
            for item in Item::all().filter(travels) {
                // The switches that the local policy does not set are not its business.
                if matches!(item, Item::Setting(_)) || contents.values.contains_key(&item) {
                    document.set(item, contents.get(item));
                }
            }
            document.emit()
        }
    };
    match &arguments.output {
        Some(path) => write_file(path, &bytes),
        None => {
            let mut out = io::stdout().lock();
            if out.is_terminal() && matches!(format, Format::Pol) {
                return Err("this is binary; `-o FILE` writes it".to_owned());
            }
            if out.is_terminal()
                && let Some(Ok(text)) = bytes.strip_prefix(b"\xFF\xFE").map(utf16)
            {
                let _ = out.write_all(text.as_bytes());
                return Ok(());
            }
            out.write_all(&bytes)
                .and_then(|()| out.flush())
                .map_err(|error| error.to_string())
        }
    }
}

/// For a terminal, which cannot show UTF-16.
fn utf16(bytes: &[u8]) -> Result<String, std::char::DecodeUtf16Error> {
    let (pairs, _) = bytes.as_chunks::<2>();
    char::decode_utf16(pairs.iter().map(|pair| u16::from_le_bytes(*pair))).collect()
}
