//! NetBIOS names: RFC 1001 14, first-level encoding.

/// Bytes of a NetBIOS name: fifteen of the name, one of its suffix.
pub const NAME_BYTES: usize = 16;

/// A NetBIOS name: fifteen bytes padded with blanks, and the suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetBiosName(pub [u8; NAME_BYTES]);

/// Why bytes are no encoded name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The bytes end before the name does.
    #[error("name is cut short")]
    Short,
    /// The first label is not 32 bytes, or a later one is no label.
    #[error("name has a label of a wrong length")]
    Label,
    /// A byte outside `A`..`P`.
    #[error("name has a byte outside A..P")]
    NotHalfAscii,
}

impl NetBiosName {
    /// A name from text: upper-cased, cut to fifteen bytes, padded with blanks.
    /// Characters outside ASCII become `_`.
    pub fn new(name: &str, suffix: u8) -> Self {
        let mut out = [b' '; NAME_BYTES];
        for (place, c) in out.iter_mut().zip(name.chars().take(NAME_BYTES - 1)) {
            *place = u8::try_from(c.to_ascii_uppercase())
                .ok()
                .filter(u8::is_ascii)
                .unwrap_or(b'_');
        }
        if let Some(last) = out.last_mut() {
            *last = suffix;
        }
        Self(out)
    }

    /// The suffix (service type): 0x20 file server, 0x00 workstation.
    pub fn suffix(&self) -> u8 {
        self.0.last().copied().unwrap_or(0)
    }

    /// The name as text, without its padding.
    pub fn name(&self) -> String {
        let text: String = self
            .0
            .iter()
            .take(NAME_BYTES - 1)
            .map(|b| char::from(*b))
            .collect();
        text.trim_end_matches([' ', '\0']).to_owned()
    }

    /// Decodes a name at the start of `bytes`; gives the bytes it takes, with
    /// its scope (which is passed over) and the final zero.
    ///
    /// # Errors
    /// [`NameError`]. Compression pointers do not exist in session packets.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), NameError> {
        let (&length, rest) = bytes.split_first().ok_or(NameError::Short)?;
        if usize::from(length) != 2 * NAME_BYTES {
            return Err(NameError::Label);
        }
        let encoded = rest.get(..2 * NAME_BYTES).ok_or(NameError::Short)?;
        let mut name = [0; NAME_BYTES];
        let (pairs, _) = encoded.as_chunks::<2>();
        for (place, [high, low]) in name.iter_mut().zip(pairs) {
            let half = |b: u8| match b {
                b'A'..=b'P' => Ok(b - b'A'),
                _ => Err(NameError::NotHalfAscii),
            };
            *place = half(*high)? << 4 | half(*low)?;
        }
        let mut used = 1 + 2 * NAME_BYTES;
        loop {
            let label = usize::from(*bytes.get(used).ok_or(NameError::Short)?);
            used += 1;
            if label == 0 {
                return Ok((Self(name), used));
            }
            if label > 63 {
                return Err(NameError::Label);
            }
            used += label;
        }
    }

    /// Appends the encoded name, without a scope.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(0x20);
        for byte in self.0 {
            out.push(b'A' + (byte >> 4));
            out.push(b'A' + (byte & 15));
        }
        out.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_rfc_1001() {
        // RFC 1001 14.1: "The NetBIOS name" -> FEEFFDFE...
        let name = NetBiosName(*b"The NetBIOS name");
        let mut out = Vec::new();
        name.encode(&mut out);
        assert_eq!(&out[1..33], b"FEGIGFCAEOGFHEECEJEPFDCAGOGBGNGF");
        assert_eq!(NetBiosName::decode(&out), Ok((name, 34)));
    }

    #[test]
    fn text_is_padded_and_cut() {
        let name = NetBiosName::new("*smbserver", 0x20);
        assert_eq!(&name.0, b"*SMBSERVER      ");
        assert_eq!(name.name(), "*SMBSERVER");
        assert_eq!(
            NetBiosName::new("abcdefghijklmnopqrst", 0).name(),
            "ABCDEFGHIJKLMNO"
        );
        assert_eq!(NetBiosName::new("ü", 3).0[0], b'_');
    }

    #[test]
    fn a_scope_is_passed_over() {
        let mut out = Vec::new();
        NetBiosName::new("A", 0).encode(&mut out);
        out.pop();
        out.extend(b"\x03abc\x00tail");
        let (_, used) = NetBiosName::decode(&out).unwrap();
        assert_eq!(&out[used..], b"tail");
    }

    #[test]
    fn broken_names_are_errors() {
        let mut good = Vec::new();
        NetBiosName::new("A", 0).encode(&mut good);
        for cut in 0..good.len() {
            assert!(NetBiosName::decode(&good[..cut]).is_err());
        }
        let mut bad = good.clone();
        bad[5] = b'Q';
        assert_eq!(NetBiosName::decode(&bad), Err(NameError::NotHalfAscii));
        let mut pointer = good.clone();
        pointer[33] = 0xC0;
        assert_eq!(NetBiosName::decode(&pointer), Err(NameError::Label));
    }
}
