//! The file format of keytabs, version 2 (MIT Kerberos documentation, "Keytab file
//! format").

use countersign_gssapi::Zeroizing;
use countersign_wire::{DecodeError, Reader};

use super::keys::Key;

/// The version.
const HEADER: [u8; 2] = [5, 2];
/// KRB5_NT_PRINCIPAL.
const PRINCIPAL: u32 = 1;
/// Largest keytab read.
pub const LARGEST_KEYTAB: usize = 4 << 20;

/// An entry: a key of a principal. Its bytes are wiped when it is dropped.
struct Entry {
    /// `cifs/files.lab.example`.
    name: String,
    realm: String,
    version: u32,
    kind: u16,
    key: Zeroizing<Vec<u8>>,
    /// The whole entry, without its length.
    bytes: Zeroizing<Vec<u8>>,
}

/// A keytab's entries, in the order of the file.
pub struct Keytab {
    entries: Vec<Entry>,
}

/// A principal's newest key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// Its version.
    pub version: u32,
}

impl Keytab {
    /// Reads a keytab; an empty file is one without entries.
    ///
    /// # Errors
    /// What is no keytab of version 2, or is cut.
    pub fn parse(bytes: &[u8]) -> Result<Keytab, DecodeError> {
        let invalid = |reason| DecodeError::Invalid {
            field: "keytab",
            reason,
        };
        let mut entries = Vec::new();
        if bytes.is_empty() {
            return Ok(Keytab { entries });
        }
        if bytes.len() > LARGEST_KEYTAB {
            return Err(invalid("is too large"));
        }
        let Some(body) = bytes.strip_prefix(&HEADER) else {
            return Err(invalid("is not of version 0x502"));
        };
        let mut reader = Reader::new(body);
        while reader.remaining() >= 4 {
            let length = i32::from_be_bytes(reader.array("length")?);
            // A negative length is a hole; nothing is the end.
            let size = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
            match length {
                0 => break,
                i32::MIN..0 => reader.skip(size.min(reader.remaining()), "hole")?,
                1.. => entries.push(Entry::parse(reader.take(size, "entry")?)?),
            }
        }
        Ok(Keytab { entries })
    }

    /// The file.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(HEADER.to_vec());
        for entry in &self.entries {
            out.extend(u32::try_from(entry.bytes.len()).unwrap_or(0).to_be_bytes());
            out.extend_from_slice(&entry.bytes);
        }
        out
    }

    /// The newest key of a principal; names compare without case, as the directory does.
    pub fn newest(&self, name: &str, realm: &str) -> Option<Newest> {
        let own = self.entries.iter().filter(|entry| entry.is(name, realm));
        let version = own.map(|entry| entry.version).max()?;
        Some(Newest { version })
    }

    /// `NAME@REALM` of every entry, each once.
    pub fn principals(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for entry in &self.entries {
            let name = format!("{}@{}", entry.name, entry.realm);
            if !all.contains(&name) {
                all.push(name);
            }
        }
        all
    }

    /// The names whose keys of this version are those of `name`: one password makes all keys
    /// of an account, by its own name and those of its services. What else a keytab holds is
    /// another account's.
    pub(super) fn names(&self, name: &str, realm: &str, version: u32) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let of_version = || self.entries.iter().filter(|one| one.version == version);
        for entry in of_version().filter(|one| one.realm.eq_ignore_ascii_case(realm)) {
            let mut own = of_version().filter(|one| one.is(name, realm));
            let same = own.any(|one| one.kind == entry.kind && *one.key == *entry.key);
            if same && !names.contains(&entry.name) {
                names.push(entry.name.clone());
            }
        }
        names
    }

    /// The keytab with one version of a principal's keys alone.
    #[must_use]
    pub(super) fn only(mut self, name: &str, realm: &str, version: u32) -> Keytab {
        self.entries
            .retain(|one| one.is(name, realm) && one.version == version);
        self
    }

    /// The types of the keys of a principal of this version.
    pub(super) fn kinds(&self, name: &str, realm: &str, version: u32) -> Vec<u16> {
        let mut kinds: Vec<u16> = Vec::new();
        for entry in &self.entries {
            let own = entry.is(name, realm) && entry.version == version;
            if own && !kinds.contains(&entry.kind) {
                kinds.push(entry.kind);
            }
        }
        kinds
    }

    /// The keytab with these entries (as [`entry`] writes them) behind its own.
    ///
    /// # Errors
    /// As [`Keytab::parse`].
    pub fn with(mut self, entries: &[u8]) -> Result<Keytab, DecodeError> {
        let more = Keytab::parse(&Zeroizing::new([&HEADER, entries].concat()))?;
        self.entries.extend(more.entries);
        Ok(self)
    }

    /// The keytab of an account that was joined: with these entries, and without others of
    /// their principals that would be taken for newer ones. Of a new account nothing older is
    /// of use: it was another one of the same name.
    ///
    /// # Errors
    /// As [`Keytab::parse`].
    pub fn joined(mut self, entries: &[u8], new: bool) -> Result<Keytab, DecodeError> {
        let more = Keytab::parse(&Zeroizing::new([&HEADER, entries].concat()))?;
        self.entries.retain(|old| {
            let mut same = more
                .entries
                .iter()
                .filter(|one| one.is(&old.name, &old.realm));
            !same.any(|one| new || old.version >= one.version)
        });
        self.entries.extend(more.entries);
        Ok(self)
    }

    /// The keytab without what `names` of the realm have of other versions than `keep` says.
    #[must_use]
    pub(super) fn keeping(
        mut self,
        names: &[String],
        realm: &str,
        keep: impl Fn(u32) -> bool,
    ) -> Keytab {
        self.entries.retain(|entry| {
            let own = names.iter().any(|name| entry.is(name, realm));
            !own || keep(entry.version)
        });
        self
    }
}

impl Entry {
    fn parse(bytes: &[u8]) -> Result<Entry, DecodeError> {
        let mut reader = Reader::new(bytes);
        let count = usize::from(short_of(&mut reader)?);
        let realm = text(&mut reader)?;
        let mut name = Vec::new();
        for _ in 0..count {
            name.push(text(&mut reader)?);
        }
        reader.skip(4, "name type")?;
        reader.skip(4, "timestamp")?;
        let low = reader.u8("version")?;
        let kind = short_of(&mut reader)?;
        let length = usize::from(short_of(&mut reader)?);
        let key = Zeroizing::new(reader.take(length, "key")?.to_vec());
        let mut version = u32::from(low);
        if reader.remaining() >= 4 {
            match u32::from_be_bytes(reader.array("version")?) {
                0 => {}
                wide => version = wide,
            }
        }
        Ok(Entry {
            name: name.join("/"),
            realm,
            version,
            kind,
            key,
            bytes: Zeroizing::new(bytes.to_vec()),
        })
    }

    fn is(&self, name: &str, realm: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) && self.realm.eq_ignore_ascii_case(realm)
    }
}

fn short_of(reader: &mut Reader<'_>) -> Result<u16, DecodeError> {
    reader.array("length").map(u16::from_be_bytes)
}

fn text(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let length = usize::from(short_of(reader)?);
    let bytes = reader.take(length, "name")?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// Appends an entry. `now` (seconds since 1970) is what tells a wrapped version from an
/// old one.
pub(super) fn entry(
    out: &mut Vec<u8>,
    principal: &str,
    realm: &str,
    version: u32,
    now: u64,
    key: &Key,
) {
    let mut entry = Vec::new();
    let components: Vec<&str> = principal.split('/').collect();
    entry.extend(short(components.len()));
    for text in std::iter::once(realm).chain(components) {
        entry.extend(short(text.len()));
        entry.extend(text.as_bytes());
    }
    entry.extend(PRINCIPAL.to_be_bytes());
    entry.extend(u32::try_from(now).unwrap_or(u32::MAX).to_be_bytes());
    let [.., low] = version.to_be_bytes();
    entry.push(low);
    entry.extend(key.kind.to_be_bytes());
    entry.extend(short(key.bytes.len()));
    entry.extend_from_slice(&key.bytes);
    entry.extend(version.to_be_bytes());
    out.extend(u32::try_from(entry.len()).unwrap_or(0).to_be_bytes());
    out.append(&mut entry);
}

fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(kind: u16) -> Key {
        Key {
            kind,
            bytes: vec![7; 32].into(),
        }
    }

    #[test]
    fn entries() {
        let mut out = Vec::new();
        entry(&mut out, "cifs/a", "R", 258, 1, &key(18));
        let golden = [
            &[0, 0, 0, 65][..],
            &[0, 2, 0, 1, b'R', 0, 4, b'c', b'i', b'f', b's', 0, 1, b'a'],
            &[0, 0, 0, 1, 0, 0, 0, 1, 2, 0, 18, 0, 32],
            &[7; 32],
            &[0, 0, 1, 2],
        ];
        let golden = golden.concat();
        assert_eq!(out[4..], golden[4..]);
        assert_eq!(out[3] as usize, out.len() - 4);
        let none = Keytab::parse(&[]).unwrap();
        let one = none.with(&out).unwrap();
        assert_eq!(*one.to_bytes(), [&HEADER, out.as_slice()].concat());
        assert_eq!(one.newest("CIFS/A", "r"), Some(Newest { version: 258 }));
        assert_eq!(one.newest("cifs/b", "R"), None);
        assert!(Keytab::parse(b"text").is_err());
        for cut in 3..one.to_bytes().len() {
            // What is shorter than a length is the end of the file.
            assert_eq!(
                Keytab::parse(&one.to_bytes()[..cut]).is_err(),
                cut >= 6,
                "{cut}"
            );
        }
    }

    #[test]
    fn versions_and_holes() {
        let mut out = HEADER.to_vec();
        for (name, version, kind) in [
            ("FILES$", 2, 18),
            ("cifs/files", 2, 18),
            ("FILES$", 3, 18),
            ("FILES$", 3, 17),
            ("cifs/files", 3, 18),
            ("other/x", 1, 18),
        ] {
            entry(&mut out, name, "R", version, 9, &key(kind));
        }
        // Another account's, with the same version by chance.
        let mut others = key(18);
        others.bytes = vec![8; 32].into();
        entry(&mut out, "HTTP/web", "R", 3, 9, &others);
        out.extend([0xFF, 0xFF, 0xFF, 0xFE, 1, 2]);
        entry(&mut out, "FILES$", "S", 9, 9, &key(18));
        let keytab = Keytab::parse(&out).unwrap();
        assert_eq!(keytab.newest("files$", "R"), Some(Newest { version: 3 }));
        assert_eq!(keytab.names("files$", "r", 3), ["FILES$", "cifs/files"]);
        assert_eq!(keytab.kinds("FILES$", "R", 3), [18, 17]);
        let names = keytab.names("FILES$", "R", 3);
        let kept = keytab.keeping(&names, "R", |version| version != 2);
        assert_eq!(kept.entries.len(), 6);
        assert_eq!(kept.newest("other/x", "R"), Some(Newest { version: 1 }));
        assert_eq!(kept.newest("FILES$", "S"), Some(Newest { version: 9 }));
        assert_eq!(kept.only("FILES$", "R", 3).entries.len(), 2);
    }

    #[test]
    fn what_an_account_had_before_it_was_made_anew_goes() {
        let mut old = Vec::new();
        for (name, version) in [("A$", 3), ("A$", 7), ("other", 9)] {
            entry(&mut old, name, "R", version, 9, &key(18));
        }
        let mut fresh = Vec::new();
        entry(&mut fresh, "A$", "R", 4, 9, &key(18));
        let versions = |new| {
            let keytab = Keytab::parse(&[]).unwrap().with(&old).unwrap();
            let joined = keytab.joined(&fresh, new).unwrap();
            let versions = joined.entries.iter().map(|one| one.version);
            (
                versions.collect::<Vec<_>>(),
                joined.newest("A$", "R").unwrap().version,
            )
        };
        assert_eq!(versions(true), (vec![9, 4], 4));
        assert_eq!(versions(false), (vec![3, 9, 4], 4));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Keytab::parse(&[&HEADER[..], &bytes].concat());
            let _ = Keytab::parse(&bytes);
        }
    }
}
