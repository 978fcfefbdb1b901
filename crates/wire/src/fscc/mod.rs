//! [MS-FSCC] vocabulary and structures shared by both protocol families.

mod class;
mod directory;
mod ea;
mod file_info;
mod filesystem;
mod fixed;
mod flags;
mod notify;
mod reparse;
mod set_info;
mod stream;

pub use class::*;
pub use directory::*;
pub use ea::*;
pub use file_info::*;
pub use filesystem::*;
pub use flags::*;
pub use notify::*;
pub use reparse::*;
pub use set_info::*;
pub use stream::*;

use crate::cursor::{DecodeError, Result};

/// What is behind an entry of `used` bytes whose NextEntryOffset is `next`;
/// `None` behind the last. Entries that lie in one another are refused: few
/// bytes could claim to be very many entries.
fn following(rest: &[u8], next: usize, used: usize) -> Result<Option<&[u8]>> {
    match next {
        0 => Ok(None),
        n if n < used => Err(DecodeError::Invalid {
            field: "NextEntryOffset",
            reason: "points into the entry",
        }),
        n => Ok(rest.get(n..).filter(|r| !r.is_empty())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_do_not_lie_in_one_another() {
        let changes = [0, 1].map(|_| (1u32, "name"));
        let mut list = Vec::new();
        NotifyInformation::encode_list(changes, &mut crate::Writer::new(&mut list));
        assert_eq!(NotifyInformation::decode_list(&list).unwrap().len(), 2);
        crate::Writer::with_base(&mut list, 0).patch_u32(0, 12);
        assert!(NotifyInformation::decode_list(&list).is_err());

        let stream = StreamInformation {
            name: ":a:$DATA".into(),
            size: 1,
            allocation_size: 1,
        };
        let mut list = Vec::new();
        StreamInformation::encode_list(
            &[stream.clone(), stream],
            &mut crate::Writer::new(&mut list),
        );
        assert_eq!(StreamInformation::decode_list(&list).unwrap().len(), 2);
        crate::Writer::with_base(&mut list, 0).patch_u32(0, 24);
        assert!(StreamInformation::decode_list(&list).is_err());

        let mut entry = Vec::new();
        let mut w = crate::Writer::new(&mut entry);
        DirectoryEntry {
            name: "name".into(),
            ..DirectoryEntry::default()
        }
        .encode(DirectoryClass::Names, &mut w);
        w.patch_u32(0, 8);
        entry.extend([0; 64]);
        assert!(DirectoryEntry::decode_list(DirectoryClass::Names, &entry).is_err());
    }
}
