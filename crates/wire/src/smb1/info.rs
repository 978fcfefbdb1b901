//! Information levels of SMB1's own, [MS-CIFS] 2.2.8. Levels from 1000 on are
//! [MS-FSCC] classes, [MS-SMB] 2.2.2.3.5.

use super::text::Text;
use super::time::{DosTime, TimeZone};
use super::words::words;
use crate::FileTime;
use crate::cursor::{DecodeError, Reader, Result, Writer};
use crate::fscc::DirectoryEntry as DirectoryListingEntry;
use crate::fscc::{DirectoryClass, FileAttributes};

/// Levels from here on are [MS-FSCC] classes, counted from here.
pub const PASS_THROUGH: u16 = 1000;

/// The [MS-FSCC] class of a pass-through level.
pub fn pass_through_class(level: u16) -> Option<u16> {
    level.checked_sub(PASS_THROUGH)
}

macro_rules! levels {
    ($(#[$m:meta])* $name:ident { $($level:ident = $value:literal,)* }) => {
        $(#[$m])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        #[allow(missing_docs)] // the specification's names
        pub enum $name { $($level = $value,)* }

        impl $name {
            /// From the value on the wire.
            pub fn from_u16(v: u16) -> Option<Self> {
                match v {
                    $($value => Some(Self::$level),)*
                    _ => None,
                }
            }
        }
    };
}

levels! {
    /// QUERY_PATH_ and QUERY_FILE_INFORMATION, [MS-CIFS] 2.2.2.3.3.
    QueryLevel {
        InfoStandard = 0x0001,
        InfoQueryEaSize = 0x0002,
        InfoQueryEasFromList = 0x0003,
        InfoQueryAllEas = 0x0004,
        InfoIsNameValid = 0x0006,
        BasicInfo = 0x0101,
        StandardInfo = 0x0102,
        EaInfo = 0x0103,
        NameInfo = 0x0104,
        AllInfo = 0x0107,
        AltNameInfo = 0x0108,
        StreamInfo = 0x0109,
        CompressionInfo = 0x010B,
    }
}
levels! {
    /// SET_PATH_ and SET_FILE_INFORMATION, [MS-CIFS] 2.2.2.3.4.
    SetLevel {
        InfoStandard = 0x0001,
        InfoSetEas = 0x0002,
        BasicInfo = 0x0101,
        DispositionInfo = 0x0102,
        AllocationInfo = 0x0103,
        EndOfFileInfo = 0x0104,
    }
}
levels! {
    /// FIND_FIRST2 and FIND_NEXT2, [MS-CIFS] 2.2.2.3.1, [MS-SMB] 2.2.2.3.1.
    FindLevel {
        InfoStandard = 0x0001,
        InfoQueryEaSize = 0x0002,
        InfoQueryEasFromList = 0x0003,
        DirectoryInfo = 0x0101,
        FullDirectoryInfo = 0x0102,
        NamesInfo = 0x0103,
        BothDirectoryInfo = 0x0104,
        IdFullDirectoryInfo = 0x0105,
        IdBothDirectoryInfo = 0x0106,
    }
}
levels! {
    /// QUERY_FS_INFORMATION, [MS-CIFS] 2.2.2.3.2.
    FsLevel {
        InfoAllocation = 0x0001,
        InfoVolume = 0x0002,
        VolumeInfo = 0x0102,
        SizeInfo = 0x0103,
        DeviceInfo = 0x0104,
        AttributeInfo = 0x0105,
    }
}

words! {
    /// SMB_INFO_STANDARD; with an EaSize behind it SMB_INFO_QUERY_EA_SIZE.
    InfoStandard {
        creation_date: u16,
        creation_time: u16,
        last_access_date: u16,
        last_access_time: u16,
        last_write_date: u16,
        last_write_time: u16,
        file_data_size: u32,
        allocation_size: u32,
        attributes: u16,
    }
    /// SMB_QUERY_FILE_BASIC_INFO and SMB_SET_FILE_BASIC_INFO.
    BasicInfo {
        creation_time: FileTime,
        last_access_time: FileTime,
        last_write_time: FileTime,
        last_change_time: FileTime,
        ext_file_attributes: u32,
        reserved: u32,
    }
    /// SMB_QUERY_FILE_STANDARD_INFO, with the two bytes of padding Windows has.
    StandardInfo {
        allocation_size: u64,
        end_of_file: u64,
        number_of_links: u32,
        delete_pending: u8,
        directory: u8,
        reserved: u16,
    }
    /// SMB_QUERY_FILE_COMPRESSION_INFO.
    CompressionInfo {
        compressed_file_size: u64,
        compression_format: u16,
        compression_unit_shift: u8,
        chunk_shift: u8,
        cluster_shift: u8,
        reserved: [u8; 3],
    }
    /// SMB_INFO_ALLOCATION.
    FsInfoAllocation {
        id_file_system: u32,
        c_sector_unit: u32,
        c_unit: u32,
        c_unit_available: u32,
        cb_sector: u16,
    }
    /// What directory entries of the NT levels have before their names' lengths.
    DirectoryEntry {
        next_entry_offset: u32,
        file_index: u32,
        creation_time: FileTime,
        last_access_time: FileTime,
        last_write_time: FileTime,
        last_change_time: FileTime,
        end_of_file: u64,
        allocation_size: u64,
        ext_file_attributes: u32,
        file_name_length: u32,
    }
}

/// One extended attribute, [MS-CIFS] 2.2.1.2.2 SMB_FEA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fea {
    /// ExtendedAttributeFlag.
    pub flags: u8,
    /// Name.
    pub name: String,
    /// Value.
    pub value: Vec<u8>,
}

/// Decodes an SMB_FEA_LIST, [MS-CIFS] 2.2.1.2.2.1. No bytes, and a list that
/// holds only its size (as OS/2 sends it), are an empty list.
///
/// # Errors
/// [`DecodeError`] when an entry does not lie inside the list.
pub fn decode_fea_list(bytes: &[u8]) -> Result<Vec<Fea>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut r = Reader::new(bytes);
    let size = usize::try_from(r.u32("SizeOfListInBytes")?).unwrap_or(usize::MAX);
    if size <= 4 {
        return Ok(Vec::new());
    }
    let list = r.take(
        size.checked_sub(4).ok_or(DecodeError::Invalid {
            field: "SizeOfListInBytes",
            reason: "below 4",
        })?,
        "FEAList",
    )?;
    let mut r = Reader::new(list);
    let mut out = Vec::new();
    while r.remaining() > 0 {
        let flags = r.u8("ExtendedAttributeFlag")?;
        let name_length = usize::from(r.u8("AttributeNameLengthInBytes")?);
        let value_length = usize::from(r.u16("AttributeValueLengthInBytes")?);
        let name = r.take(name_length, "AttributeName")?;
        r.skip(1, "AttributeName")?;
        let value = r.take(value_length, "AttributeValue")?;
        out.push(Fea {
            flags,
            name: String::from_utf8_lossy(name).into_owned(),
            value: value.to_vec(),
        });
    }
    Ok(out)
}

/// Appends an SMB_FEA_LIST.
pub fn encode_fea_list(list: &[Fea], w: &mut Writer<'_>) {
    let start = w.len();
    w.u32(0);
    for ea in list {
        let name = ea.name.as_bytes();
        let name = name.get(..name.len().min(255)).unwrap_or(name);
        w.u8(ea.flags);
        w.u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        w.u16(u16::try_from(ea.value.len()).unwrap_or(u16::MAX));
        w.bytes(name);
        w.u8(0);
        w.bytes(
            ea.value
                .get(..ea.value.len().min(0xFFFF))
                .unwrap_or(&ea.value),
        );
    }
    let size = w.len() - start;
    w.patch_u32(start, u32::try_from(size).unwrap_or(u32::MAX));
}

/// Bytes an SMB_FEA_LIST of these takes.
pub fn fea_list_size(list: &[Fea]) -> usize {
    list.iter().fold(4, |n, ea| {
        n + 5 + ea.name.len().min(255) + ea.value.len().min(0xFFFF)
    })
}

/// Decodes an SMB_GEA_LIST, [MS-CIFS] 2.2.1.2.1.1: names of attributes wanted.
///
/// # Errors
/// [`DecodeError`] when an entry does not lie inside the list.
pub fn decode_gea_list(bytes: &[u8]) -> Result<Vec<String>> {
    let mut r = Reader::new(bytes);
    let size = usize::try_from(r.u32("SizeOfListInBytes")?).unwrap_or(usize::MAX);
    let list = r.take(size.saturating_sub(4), "GEAList")?;
    let mut r = Reader::new(list);
    let mut out = Vec::new();
    while r.remaining() > 0 {
        let length = usize::from(r.u8("AttributeNameLengthInBytes")?);
        let name = r.take(length, "AttributeName")?;
        r.skip(1, "AttributeName")?;
        out.push(String::from_utf8_lossy(name).into_owned());
    }
    Ok(out)
}

/// Entries of a FIND_FIRST2 or FIND_NEXT2 answer, [MS-CIFS] 2.2.8.1 and [MS-SMB]
/// 2.2.8.1; names are without the terminator that some servers count.
///
/// # Errors
/// [`DecodeError`] when an entry does not lie inside the data, and for levels
/// with extended attributes, which are not asked for.
pub fn decode_find(
    level: FindLevel,
    count: u16,
    data: &[u8],
    text: Text,
    zone: TimeZone,
) -> Result<Vec<DirectoryListingEntry>> {
    let class = match level {
        FindLevel::InfoStandard => return decode_find_standard(count, data, text, zone),
        FindLevel::InfoQueryEaSize | FindLevel::InfoQueryEasFromList => {
            return Err(DecodeError::Invalid {
                field: "InformationLevel",
                reason: "not one that is read",
            });
        }
        FindLevel::DirectoryInfo => DirectoryClass::Directory,
        FindLevel::FullDirectoryInfo => DirectoryClass::FullDirectory,
        FindLevel::NamesInfo => DirectoryClass::Names,
        FindLevel::BothDirectoryInfo => DirectoryClass::BothDirectory,
        FindLevel::IdFullDirectoryInfo => DirectoryClass::IdFullDirectory,
        FindLevel::IdBothDirectoryInfo => DirectoryClass::IdBothDirectory,
    };
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut list = DirectoryListingEntry::decode_list_with(class, data, &|name| text.decode(name))?;
    list.truncate(usize::from(count));
    Ok(list)
}

/// SMB_INFO_STANDARD without resume keys, [MS-CIFS] 2.2.8.1.1.
fn decode_find_standard(
    count: u16,
    data: &[u8],
    text: Text,
    zone: TimeZone,
) -> Result<Vec<DirectoryListingEntry>> {
    let mut r = Reader::new(data);
    let mut out = Vec::new();
    let time = |date, time| {
        zone.from_dos(DosTime { date, time })
            .unwrap_or(FileTime::ZERO)
    };
    for _ in 0..count {
        let i = InfoStandard::decode(&mut r)?;
        let length = usize::from(r.u8("FileNameLength")?);
        let name = text.read_exact(&mut r, length, "FileName")?;
        // The terminator; the last one may be missing.
        let _ = r.skip(text.terminator(), "FileName");
        out.push(DirectoryListingEntry {
            creation: time(i.creation_date, i.creation_time),
            last_access: time(i.last_access_date, i.last_access_time),
            last_write: time(i.last_write_date, i.last_write_time),
            change: time(i.last_write_date, i.last_write_time),
            end_of_file: u64::from(i.file_data_size),
            allocation_size: u64::from(i.allocation_size),
            attributes: FileAttributes::from_bits_retain(u32::from(i.attributes)),
            name,
            ..DirectoryListingEntry::default()
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_specification_s() {
        assert_eq!(InfoStandard::SIZE, 22);
        assert_eq!(BasicInfo::SIZE, 40);
        assert_eq!(StandardInfo::SIZE, 24);
        assert_eq!(CompressionInfo::SIZE, 16);
        assert_eq!(FsInfoAllocation::SIZE, 18);
        assert_eq!(DirectoryEntry::SIZE, 64);
        assert_eq!(QueryLevel::from_u16(0x107), Some(QueryLevel::AllInfo));
        assert_eq!(QueryLevel::from_u16(0x105), None);
        assert_eq!(pass_through_class(1004), Some(4));
        assert_eq!(pass_through_class(999), None);
    }

    #[test]
    fn listings_of_the_nt_levels() {
        use super::super::code_page::CodePage;
        let entry = |name: &str| DirectoryListingEntry {
            last_write: FileTime(7),
            end_of_file: 5,
            attributes: FileAttributes::ARCHIVE,
            file_id: 9,
            name: name.to_owned(),
            ..DirectoryListingEntry::default()
        };
        let list = [entry("one"), entry("zw\u{f6}")];
        let text = Text {
            unicode: true,
            code_page: CodePage::Cp850,
        };
        let class = DirectoryClass::IdBothDirectory;
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        list[0].encode(class, &mut w);
        // A terminator that is not counted, as Windows sends it.
        w.zeros(2);
        w.align(8);
        let next = w.len();
        w.patch_u32(0, u32::try_from(next).unwrap());
        list[1].encode(class, &mut w);
        let level = FindLevel::IdBothDirectoryInfo;
        let zone = TimeZone::default();
        assert_eq!(decode_find(level, 2, &out, text, zone).unwrap(), list);
        assert_eq!(decode_find(level, 1, &out, text, zone).unwrap(), list[..1]);
        assert_eq!(decode_find(level, 0, &[], text, zone).unwrap(), []);
        for cut in next + 1..out.len() {
            assert!(decode_find(level, 2, &out[..cut], text, zone).is_err());
        }
        // Without Unicode names are code page text, terminated and counted.
        let text = text.oem();
        let mut plain = Vec::new();
        DirectoryListingEntry {
            name: String::new(),
            ..entry("")
        }
        .encode(DirectoryClass::BothDirectory, &mut Writer::new(&mut plain));
        plain[60] = 4;
        plain.extend(b"zw\x94\0");
        let got = decode_find(FindLevel::BothDirectoryInfo, 1, &plain, text, zone).unwrap();
        assert_eq!(got[0].name, "zw\u{f6}");
    }

    #[test]
    fn listings_of_dos_servers() {
        use super::super::code_page::CodePage;
        let zone = TimeZone { minutes_west: -60 };
        let time = FileTime::from_unix(1_795_363_710, 0);
        let dos = zone.to_dos(time);
        let info = InfoStandard {
            creation_date: dos.date,
            creation_time: dos.time,
            last_access_date: 0,
            last_access_time: 0,
            last_write_date: dos.date,
            last_write_time: dos.time,
            file_data_size: 5,
            allocation_size: 4096,
            attributes: 0x20,
        };
        for unicode in [true, false] {
            let text = Text {
                unicode,
                code_page: CodePage::Cp850,
            };
            let mut out = Vec::new();
            for name in ["a.txt", "longer name"] {
                let mut w = Writer::with_base(&mut out, 0);
                info.encode(&mut w);
                let name = text.encode(name);
                w.u8(u8::try_from(name.len()).unwrap());
                if unicode {
                    w.align(2);
                }
                w.bytes(&name);
                w.zeros(text.terminator());
            }
            let got = decode_find(FindLevel::InfoStandard, 2, &out, text, zone).unwrap();
            let names: Vec<_> = got.iter().map(|e| e.name.as_str()).collect();
            assert_eq!(names, ["a.txt", "longer name"]);
            assert_eq!(got[1].last_write, time);
            assert_eq!(got[1].end_of_file, 5);
            let missing = decode_find(FindLevel::InfoStandard, 3, &out, text, zone);
            assert!(missing.is_err());
        }
    }

    #[test]
    fn attribute_lists() {
        let list = vec![
            Fea {
                flags: 0,
                name: "ONE".to_owned(),
                value: b"1".to_vec(),
            },
            Fea {
                flags: 0x80,
                name: "TWO".to_owned(),
                value: Vec::new(),
            },
        ];
        let mut out = Vec::new();
        encode_fea_list(&list, &mut Writer::new(&mut out));
        assert_eq!(out.len(), fea_list_size(&list));
        assert_eq!(decode_fea_list(&out).unwrap(), list);
        for cut in 1..out.len() {
            assert!(decode_fea_list(&out[..cut]).is_err(), "{cut}");
        }
        assert_eq!(decode_fea_list(&[4, 0, 0, 0]).unwrap(), []);
        assert_eq!(decode_fea_list(&[]).unwrap(), []);
        let gea = b"\x0e\0\0\0\x03ONE\0\x03TWO\0";
        assert_eq!(decode_gea_list(gea).unwrap(), ["ONE", "TWO"]);
        assert!(decode_gea_list(&gea[..12]).is_err());
    }
}
