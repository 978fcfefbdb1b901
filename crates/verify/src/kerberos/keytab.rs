//! Keytab files of MIT Kerberos (format 0x0502), and a plain list of keys.

use zeroize::Zeroizing;

use super::Key;

/// Most keys of a file.
pub(crate) const MAX_KEYS: usize = 10_000;

/// Why a file is no keytab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeytabError {
    /// The version is another, or there is none.
    #[error("neither a keytab of version 0x0502 nor lines of `TYPE KEY`")]
    Format,
    /// An entry reaches beyond the end.
    #[error("entry {0} is cut off")]
    Entry(usize),
}

/// Keys of services.
#[derive(Default, Clone)]
pub struct Keytab {
    keys: Vec<Key>,
}

impl core::fmt::Debug for Keytab {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Keytab({} keys)", self.keys.len())
    }
}

impl Keytab {
    /// Reads a keytab; or text with an encryption type and a key in hexadecimal on
    /// each line, `#` for comments.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(file: &[u8]) -> Result<Self, KeytabError> {
        match file.split_first_chunk::<2>() {
            Some(([5, 2], entries)) => Self::binary(entries),
            _ => Self::text(file),
        }
    }

    /// Adds the keys of another.
    pub fn append(&mut self, mut other: Self) {
        self.keys.append(&mut other.keys);
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    fn binary(mut rest: &[u8]) -> Result<Self, KeytabError> {
        let mut out = Self::default();
        let mut number = 0;
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            number += 1;
            let length = i32::from_be_bytes(*length);
            // A hole where an entry was removed has a negative length.
            let size = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
            if size == 0 {
                break;
            }
            let (entry, next) = after
                .split_at_checked(size)
                .ok_or(KeytabError::Entry(number))?;
            if length > 0 && out.keys.len() < MAX_KEYS {
                out.keys
                    .push(entry_key(entry).ok_or(KeytabError::Entry(number))?);
            }
            rest = next;
        }
        Ok(out)
    }

    fn text(file: &[u8]) -> Result<Self, KeytabError> {
        let text = core::str::from_utf8(file).map_err(|_| KeytabError::Format)?;
        let mut out = Self::default();
        for line in text.lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(etype), Some(key), None) = (words.next(), words.next(), words.next()) else {
                return Err(KeytabError::Format);
            };
            out.keys.push(Key {
                etype: etype.parse().map_err(|_| KeytabError::Format)?,
                value: Zeroizing::new(hex::decode(key).map_err(|_| KeytabError::Format)?),
            });
        }
        if out.keys.is_empty() {
            return Err(KeytabError::Format);
        }
        Ok(out)
    }
}

fn entry_key(entry: &[u8]) -> Option<Key> {
    let mut rest = entry;
    let mut take = |n: usize| -> Option<&[u8]> {
        let (head, tail) = rest.split_at_checked(n)?;
        rest = tail;
        Some(head)
    };
    let mut number = |n: usize| -> Option<usize> {
        Some(take(n)?.iter().fold(0, |v, b| (v << 8) | usize::from(*b)))
    };
    let components = number(2)?;
    // The realm and the components, each with its length.
    for _ in 0..=components {
        let length = number(2)?;
        for _ in 0..length {
            number(1)?;
        }
    }
    // Name type, time stamp, version.
    number(4)?;
    number(4)?;
    number(1)?;
    let etype = number(2)?;
    let length = number(2)?;
    Some(Key {
        etype: i64::try_from(etype).ok()?,
        value: Zeroizing::new(take(length)?.to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keytab_with_a_hole() {
        let mut entry = vec![0, 2, 0, 4];
        entry.extend(b"H4.T\0\x04cifs\0\x04host");
        entry.extend([0, 0, 0, 1, 1, 2, 3, 4, 7, 0, 23, 0, 16]);
        entry.extend([9; 16]);
        entry.extend([0, 0, 0, 7]);
        let mut file = vec![5, 2];
        file.extend((-6i32).to_be_bytes());
        file.extend([0; 6]);
        file.extend(i32::try_from(entry.len()).unwrap().to_be_bytes());
        file.extend(&entry);
        let keytab = Keytab::parse(&file).unwrap();
        let keys: Vec<_> = keytab.keys().map(|k| (k.etype, k.value.to_vec())).collect();
        assert_eq!(keys, [(23, vec![9; 16])]);
        for cut in 6..file.len() {
            let _ = Keytab::parse(&file[..cut]);
        }
        assert_eq!(
            Keytab::parse(&file[..file.len() - 5]).err(),
            Some(KeytabError::Entry(2))
        );
    }

    #[test]
    fn list_of_keys() {
        let keytab = Keytab::parse(b"# etype key\n23 00ff\n\n18 0102\n").unwrap();
        assert_eq!(keytab.keys().map(|k| k.etype).collect::<Vec<_>>(), [23, 18]);
        for bad in [
            &b""[..],
            b"hello world x",
            b"23 zz",
            b"\xFF\xFE",
            b"# nothing",
        ] {
            assert_eq!(Keytab::parse(bad).err(), Some(KeytabError::Format));
        }
    }
}
