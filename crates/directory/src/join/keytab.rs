//! The file format of keytabs, version 2 (MIT Kerberos documentation, "Keytab file
//! format").

use super::keys::Key;

/// The version.
const HEADER: [u8; 2] = [5, 2];
/// KRB5_NT_PRINCIPAL.
const PRINCIPAL: u32 = 1;

/// Appends an entry.
pub(super) fn entry(out: &mut Vec<u8>, principal: &str, realm: &str, version: u32, key: &Key) {
    let mut entry = Vec::new();
    let components: Vec<&str> = principal.split('/').collect();
    entry.extend(short(components.len()));
    for text in std::iter::once(realm).chain(components) {
        entry.extend(short(text.len()));
        entry.extend(text.as_bytes());
    }
    entry.extend(PRINCIPAL.to_be_bytes());
    // No time: nobody reads it.
    entry.extend(0u32.to_be_bytes());
    let [.., low] = version.to_be_bytes();
    entry.push(low);
    entry.extend(key.kind.to_be_bytes());
    entry.extend(short(key.bytes.len()));
    entry.extend_from_slice(&key.bytes);
    entry.extend(version.to_be_bytes());
    out.extend(u32::try_from(entry.len()).unwrap_or(0).to_be_bytes());
    out.extend(entry);
}

fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// A keytab with these entries behind those it has; `None` when it is no keytab.
pub fn append(old: &[u8], entries: &[u8]) -> Option<Vec<u8>> {
    let old = if old.is_empty() { &HEADER } else { old };
    old.starts_with(&HEADER).then(|| [old, entries].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let key = Key {
            kind: 18,
            bytes: vec![7; 32].into(),
        };
        let mut out = Vec::new();
        entry(&mut out, "cifs/a", "R", 258, &key);
        let golden = [
            &[0, 0, 0, 65][..],
            &[0, 2, 0, 1, b'R', 0, 4, b'c', b'i', b'f', b's', 0, 1, b'a'],
            &[0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 18, 0, 32],
            &[7; 32],
            &[0, 0, 1, 2],
        ];
        let golden = golden.concat();
        assert_eq!(out[4..], golden[4..]);
        assert_eq!(out[3] as usize, out.len() - 4);
        assert_eq!(append(&[], &out).unwrap()[..2], HEADER);
        assert_eq!(append(&[5, 2, 1], &[9]).unwrap(), [5, 2, 1, 9]);
        assert_eq!(append(b"text", &[9]), None);
    }
}
