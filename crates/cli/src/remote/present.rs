//! Sizes, times and entries as people and programs read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_client::transfer::{Entry, Kind};
use countersign_client::{FileAttributes, FileTime};
use serde_json::{Value as Json, json};

use crate::output::{date, printable};

/// A time as text: `2026-11-22 16:44:35Z`.
pub(crate) fn time(time: Option<SystemTime>) -> String {
    match time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()) {
        Some(since) => date(since.as_secs()),
        None => "-".to_owned(),
    }
}

/// A time as [RFC 3339] has it, for JSON.
pub(crate) fn time_json(when: Option<SystemTime>) -> Json {
    match when {
        Some(_) => Json::String(time(when).replace(' ', "T")),
        None => Json::Null,
    }
}

/// Bytes in at most four characters and a letter: `1.4M`.
pub(crate) fn human(bytes: u64) -> String {
    let letters = ["", "K", "M", "G", "T", "P", "E"];
    let mut value = bytes as f64;
    let mut letter = 0;
    while value >= 999.5 && letter + 1 < letters.len() {
        value /= 1024.0;
        letter += 1;
    }
    let unit = letters.get(letter).copied().unwrap_or("");
    if letter == 0 || value >= 9.95 {
        format!("{value:.0}{unit}")
    } else {
        format!("{value:.1}{unit}")
    }
}

/// Bytes as they are asked for.
pub(crate) fn size(bytes: u64, as_human: bool) -> String {
    if as_human {
        human(bytes)
    } else {
        bytes.to_string()
    }
}

/// What a name stands for.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Folder => "directory",
        Kind::Link => "link",
    }
}

/// A path of a share with slashes, safe for a terminal.
pub(crate) fn shown(path: &str) -> String {
    printable(&path.replace('\\', "/"))
}

/// An entry as JSON.
pub(crate) fn entry_json(path: &str, entry: &Entry) -> Json {
    json!({
        "name": entry.name,
        "path": path.replace('\\', "/"),
        "type": kind_name(entry.kind),
        "size": entry.size,
        "modified": time_json(entry.modified),
        "attributes": attribute_names(entry.attributes),
    })
}

/// A time of the protocol; 0 is none.
pub(crate) fn file_time(time: FileTime) -> Option<SystemTime> {
    let (seconds, nanoseconds) = time.to_unix();
    let since = Duration::new(u64::try_from(seconds).ok()?, nanoseconds);
    (time.0 != 0)
        .then(|| UNIX_EPOCH.checked_add(since))
        .flatten()
}

const ATTRIBUTES: [(FileAttributes, char, &str); 12] = [
    (FileAttributes::READONLY, 'R', "readonly"),
    (FileAttributes::HIDDEN, 'H', "hidden"),
    (FileAttributes::SYSTEM, 'S', "system"),
    (FileAttributes::ARCHIVE, 'A', "archive"),
    (FileAttributes::DIRECTORY, 'D', "directory"),
    (FileAttributes::TEMPORARY, 'T', "temporary"),
    (FileAttributes::SPARSE_FILE, 's', "sparse"),
    (FileAttributes::REPARSE_POINT, 'L', "reparse-point"),
    (FileAttributes::COMPRESSED, 'C', "compressed"),
    (FileAttributes::OFFLINE, 'O', "offline"),
    (FileAttributes::NOT_CONTENT_INDEXED, 'I', "not-indexed"),
    (FileAttributes::ENCRYPTED, 'E', "encrypted"),
];

/// The names of attributes.
pub(crate) fn attribute_names(attributes: FileAttributes) -> Vec<&'static str> {
    let set = ATTRIBUTES
        .iter()
        .filter(|(one, ..)| attributes.contains(*one));
    set.map(|(_, _, name)| *name).collect()
}

/// Their letters; `-` for none.
pub(crate) fn attributes(attributes: FileAttributes) -> String {
    let set = ATTRIBUTES
        .iter()
        .filter(|(one, ..)| attributes.contains(*one));
    let letters: String = set.map(|(_, letter, _)| *letter).collect();
    if letters.is_empty() {
        "-".to_owned()
    } else {
        letters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.0K"),
            (1536, "1.5K"),
            (10 << 10, "10K"),
            (1 << 30, "1.0G"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn times_for_people_and_programs() {
        let at = Some(UNIX_EPOCH + Duration::from_secs(951_782_400));
        assert_eq!(time(at), "2000-02-29 00:00:00Z");
        assert_eq!(time_json(at), "2000-02-29T00:00:00Z");
        assert_eq!(time_json(None), Json::Null);
    }
}
