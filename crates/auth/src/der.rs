//! The little of DER that SPNEGO needs: definite lengths of at most four bytes,
//! one-byte tags, no recursion.

/// Why bytes are not the DER expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DerError {
    /// The element ends before its header or contents do.
    #[error("an element reaches beyond its end")]
    Short,
    /// Indefinite or over-long length.
    #[error("the form of a length is not supported")]
    Length,
    /// Another tag is due.
    #[error("an unexpected tag")]
    Tag,
}

/// SEQUENCE.
pub const SEQUENCE: u8 = 0x30;
/// OBJECT IDENTIFIER.
pub const OID: u8 = 0x06;
/// OCTET STRING.
pub const OCTET_STRING: u8 = 0x04;
/// ENUMERATED.
pub const ENUMERATED: u8 = 0x0A;
/// GeneralString.
pub const GENERAL_STRING: u8 = 0x1B;
/// `[APPLICATION 0]`, constructed.
pub const APPLICATION_0: u8 = 0x60;

/// `[n]`, constructed, context-specific.
pub const fn context(n: u8) -> u8 {
    0xA0 | (n & 0x1F)
}

/// Reads elements one after another.
#[derive(Debug, Clone, Copy)]
pub struct DerReader<'a> {
    rest: &'a [u8],
}

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// The tag's byte.
    pub tag: u8,
    /// The contents.
    pub contents: &'a [u8],
    /// Header and contents.
    pub whole: &'a [u8],
}

impl<'a> DerReader<'a> {
    /// A reader at the first element of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever its tag.
    ///
    /// # Errors
    /// When its header is malformed or its contents are not all there.
    pub fn any(&mut self) -> Result<Element<'a>, DerError> {
        let (&[tag, first], body) = self.rest.split_first_chunk::<2>().ok_or(DerError::Short)?;
        let (length, header) = if first < 0x80 {
            (usize::from(first), 2)
        } else {
            let n = usize::from(first & 0x7F);
            if n == 0 || n > 4 {
                return Err(DerError::Length);
            }
            let bytes = body.get(..n).ok_or(DerError::Short)?;
            let length = bytes.iter().fold(0u64, |l, b| (l << 8) | u64::from(*b));
            (
                usize::try_from(length).map_err(|_| DerError::Length)?,
                2 + n,
            )
        };
        let end = header.checked_add(length).ok_or(DerError::Short)?;
        let whole = self.rest.get(..end).ok_or(DerError::Short)?;
        let contents = whole.get(header..).ok_or(DerError::Short)?;
        self.rest = self.rest.get(end..).unwrap_or_default();
        Ok(Element {
            tag,
            contents,
            whole,
        })
    }

    /// The next element, which must have this tag.
    ///
    /// # Errors
    /// When it has another, or as [`DerReader::any`].
    pub fn expect(&mut self, tag: u8) -> Result<Element<'a>, DerError> {
        let element = self.any()?;
        if element.tag == tag {
            Ok(element)
        } else {
            Err(DerError::Tag)
        }
    }
}

/// The contents of the one element of this tag at the start of `bytes`.
///
/// # Errors
/// As [`DerReader::expect`].
pub fn contents(bytes: &[u8], tag: u8) -> Result<&[u8], DerError> {
    Ok(DerReader::new(bytes).expect(tag)?.contents)
}

/// An element with the shortest form of its length.
pub fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(contents.len() + 6);
    out.push(tag);
    let length = (contents.len() as u64).to_be_bytes();
    let significant = length.iter().position(|b| *b != 0).unwrap_or(7);
    let bytes = length.get(significant..).unwrap_or_default();
    match bytes {
        [short] if *short < 0x80 => out.push(*short),
        _ => {
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or(8));
            out.extend_from_slice(bytes);
        }
    }
    out.extend_from_slice(contents);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_all_forms() {
        for n in [0usize, 1, 127, 128, 255, 256, 65_536] {
            let e = element(OCTET_STRING, &vec![7; n]);
            let mut r = DerReader::new(&e);
            assert_eq!(r.expect(OCTET_STRING).unwrap().contents.len(), n);
            assert!(r.is_empty());
            assert_eq!(
                DerReader::new(&e[..e.len() - 1]).any(),
                Err(DerError::Short)
            );
        }
        assert_eq!(element(4, &[0; 128])[..3], [4, 0x81, 128]);
        assert_eq!(element(4, &[0; 256])[..4], [4, 0x82, 1, 0]);
        // A longer form than needed is read.
        assert_eq!(contents(&[4, 0x84, 0, 0, 0, 1, 9], 4), Ok(&[9u8][..]));
    }

    #[test]
    fn wrong_forms_are_refused() {
        assert_eq!(
            DerReader::new(&[4, 0x80, 0, 0]).any(),
            Err(DerError::Length)
        );
        assert_eq!(
            DerReader::new(&[4, 0x85, 0, 0, 0, 0, 0]).any(),
            Err(DerError::Length)
        );
        assert_eq!(
            DerReader::new(&[4, 0x84, 255, 255, 255, 255]).any(),
            Err(DerError::Short)
        );
        assert_eq!(DerReader::new(&[4]).any(), Err(DerError::Short));
        assert_eq!(contents(&[5, 0], 4), Err(DerError::Tag));
    }
}
