//! AV_PAIR lists, [MS-NLMP] 2.2.2.1.

/// MsvAvNbComputerName.
pub const NB_COMPUTER_NAME: u16 = 1;
/// MsvAvNbDomainName.
pub const NB_DOMAIN_NAME: u16 = 2;
/// MsvAvDnsComputerName.
pub const DNS_COMPUTER_NAME: u16 = 3;
/// MsvAvDnsDomainName.
pub const DNS_DOMAIN_NAME: u16 = 4;
/// MsvAvFlags.
pub const FLAGS: u16 = 6;
/// MsvAvTimestamp.
pub const TIMESTAMP: u16 = 7;
/// MsvAvTargetName.
pub const TARGET_NAME: u16 = 9;
/// MsvAvChannelBindings.
pub const CHANNEL_BINDINGS: u16 = 10;
/// MsvAvEOL.
const EOL: u16 = 0;

/// Bit of [`FLAGS`]: the AUTHENTICATE message has a MIC.
pub const FLAG_MIC: u32 = 2;

/// The pairs of a list, up to its end mark or the first that is cut off.
pub fn pairs(list: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = list;
    core::iter::from_fn(move || {
        let (&[id0, id1, len0, len1], tail) = rest.split_first_chunk::<4>()?;
        let id = u16::from_le_bytes([id0, id1]);
        let value = tail.get(..usize::from(u16::from_le_bytes([len0, len1])))?;
        rest = tail.get(value.len()..)?;
        (id != EOL).then_some((id, value))
    })
}

/// Whether no pair of the list reaches beyond its end. A missing end mark is
/// passed over: some clients send none.
pub fn is_whole(list: &[u8]) -> bool {
    let mut rest = list;
    while let Some((&[id0, id1, len0, len1], tail)) = rest.split_first_chunk::<4>() {
        if u16::from_le_bytes([id0, id1]) == EOL {
            return true;
        }
        match tail.get(usize::from(u16::from_le_bytes([len0, len1]))..) {
            Some(next) => rest = next,
            None => return false,
        }
    }
    true
}

/// The value of the first pair of this id.
pub fn find(list: &[u8], id: u16) -> Option<&[u8]> {
    pairs(list).find(|(i, _)| *i == id).map(|(_, v)| v)
}

/// MsvAvFlags; 0 when there is none.
pub fn flags(list: &[u8]) -> u32 {
    find(list, FLAGS)
        .and_then(|v| v.first_chunk::<4>())
        .map_or(0, |v| u32::from_le_bytes(*v))
}

/// Builds a list.
#[derive(Debug, Default)]
pub struct AvList(Vec<u8>);

impl AvList {
    /// Adds a pair; a value longer than a pair can hold is left out.
    pub fn push(&mut self, id: u16, value: &[u8]) {
        if let Ok(length) = u16::try_from(value.len()) {
            self.0.extend_from_slice(&id.to_le_bytes());
            self.0.extend_from_slice(&length.to_le_bytes());
            self.0.extend_from_slice(value);
        }
    }

    /// Adds a pair with a string.
    pub fn push_text(&mut self, id: u16, text: &str) {
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        self.push(id, &utf16);
    }

    /// The list with its end mark.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 4]);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_written() {
        let mut list = AvList::default();
        list.push_text(NB_DOMAIN_NAME, "D");
        list.push(FLAGS, &2u32.to_le_bytes());
        list.push_text(DNS_DOMAIN_NAME, "");
        let mut list = list.finish();
        list.extend_from_slice(b"\x01\x00\x01\x00x");
        let got: Vec<_> = pairs(&list).collect();
        assert_eq!(got, [(2, &b"D\0"[..]), (6, &[2, 0, 0, 0]), (4, &[])]);
        assert_eq!(flags(&list), FLAG_MIC);
        assert_eq!(find(&list, NB_COMPUTER_NAME), None);
    }

    #[test]
    fn a_pair_cut_off_ends_the_list() {
        assert_eq!(pairs(&[1, 0, 2, 0, 9]).count(), 0);
        assert_eq!(pairs(&[1, 0, 2]).count(), 0);
        assert!(!is_whole(&[1, 0, 2, 0, 9]));
        assert!(is_whole(&[1, 0, 1, 0, 9]));
        assert!(is_whole(&[1, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0]));
        assert_eq!(flags(&[6, 0, 2, 0, 2, 0]), 0);
    }
}
