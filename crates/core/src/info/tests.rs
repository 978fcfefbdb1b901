//! Sizes, statuses and the rules about small buffers.

use countersign_fs::call::DirSink;
use countersign_fs::{DirEntry, Ea, FileKey, Metadata, StreamFacts, Times, VolumeFacts};
use countersign_wire::fscc::*;
use countersign_wire::{FileTime, NtStatus};

use super::*;

fn metadata() -> Metadata {
    Metadata {
        key: FileKey {
            volume: 3,
            file: 0x1234,
        },
        times: Times {
            creation: FileTime(1),
            ..Times::default()
        },
        end_of_file: 10,
        allocation_size: 4096,
        links: 1,
        ..Metadata::default()
    }
}

fn facts() -> FileFacts {
    FileFacts {
        access: AccessMask::READ_DATA,
        position: 9,
        mode: 0,
        delete_pending: false,
        name: "\\".to_owned(),
    }
}

#[test]
fn a_buffer_below_the_fixed_part_is_refused_and_one_below_all_is_filled() {
    let (m, f) = (
        metadata(),
        FileFacts {
            name: r"\dir\file".into(),
            ..facts()
        },
    );
    // The least sizes are those of the structures as compilers lay them out.
    for (class, least) in [
        (file_class::BASIC, 40),
        (file_class::STANDARD, 24),
        (file_class::INTERNAL, 8),
        (file_class::EA, 4),
        (file_class::ACCESS, 4),
        (file_class::NAME, 8),
        (file_class::POSITION, 8),
        (file_class::MODE, 4),
        (file_class::ALIGNMENT, 4),
        (file_class::ALL, 104),
        (file_class::COMPRESSION, 16),
        (file_class::NETWORK_OPEN, 56),
        (file_class::ATTRIBUTE_TAG, 8),
        (file_class::ID, 24),
    ] {
        assert_eq!(file_source(class), Some(FileSource::Stat));
        let info = file(class, &m, &f).unwrap();
        assert_eq!(info.least, least, "class {class}");
        assert_eq!(
            info.clone().fit(least - 1),
            Err(NtStatus::INFO_LENGTH_MISMATCH)
        );
        let variable = info.data.len() > least;
        let (status, data) = info.fit(least).unwrap();
        assert_eq!(data.len(), least);
        assert_eq!(
            status == NtStatus::BUFFER_OVERFLOW,
            variable,
            "class {class}"
        );
    }
    assert_eq!(
        file(file_class::RENAME, &m, &f),
        Err(NtStatus::INVALID_INFO_CLASS)
    );
    assert_eq!(file_source(file_class::RENAME), None);
}

#[test]
fn the_root_is_102_bytes_of_all_information() {
    let info = file(file_class::ALL, &metadata(), &facts()).unwrap();
    assert_eq!(info.data.len(), 102);
    let all = AllInformation::decode(&info.data).unwrap();
    assert_eq!(all.basic.attributes, FileAttributes::NORMAL);
    assert_eq!(all.internal.index_number, 0x1234);
}

#[test]
fn a_file_being_deleted_has_one_link_less() {
    let f = FileFacts {
        delete_pending: true,
        ..facts()
    };
    let info = file(file_class::STANDARD, &metadata(), &f).unwrap();
    let s = StandardInformation::decode(&info.data).unwrap();
    assert_eq!((s.links, s.delete_pending), (0, true));
}

#[test]
fn the_unnamed_stream_has_two_colons() {
    let info = streams(&[
        StreamFacts {
            name: String::new(),
            size: 1,
            allocation: 2,
        },
        StreamFacts {
            name: "a".into(),
            size: 3,
            allocation: 4,
        },
    ]);
    let list = StreamInformation::decode_list(&info.data).unwrap();
    assert_eq!(
        list.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
        ["::$DATA", ":a:$DATA"]
    );
}

#[test]
fn extended_attributes_are_given_whole() {
    let ea = |name: &str| Ea {
        flags: 0,
        name: name.into(),
        value: b"value".to_vec(),
    };
    let list = [ea("ONE"), ea("TWO")];
    assert_eq!(eas(&[], 100), Err(NtStatus::NO_EAS_ON_FILE));
    assert_eq!(eas(&list, 16), Err(NtStatus::BUFFER_TOO_SMALL));
    let (status, data) = eas(&list, 36).unwrap();
    assert_eq!(status, NtStatus::BUFFER_OVERFLOW);
    assert_eq!(FullEa::decode_list(&data).unwrap().len(), 1);
    let (status, data) = eas(&list, 37).unwrap();
    assert_eq!((status, data.len()), (NtStatus::SUCCESS, 37));
}

#[test]
fn volumes_count_in_allocation_units() {
    let v = VolumeFacts {
        total_bytes: 10 * 4096,
        available_bytes: 4095,
        free_bytes: 4096,
        sector_size: 512,
        sectors_per_unit: 8,
        ..VolumeFacts::default()
    };
    let size = FsFullSizeInformation::decode(&volume(fs_class::FULL_SIZE, &v).unwrap().data);
    let size = size.unwrap();
    assert_eq!(
        (
            size.total_units,
            size.caller_available_units,
            size.actual_available_units
        ),
        (10, 0, 1)
    );
    for (class, least) in [
        (fs_class::VOLUME, 24),
        (fs_class::SIZE, 24),
        (fs_class::DEVICE, 8),
        (fs_class::ATTRIBUTE, 16),
        (fs_class::CONTROL, 48),
        (fs_class::FULL_SIZE, 32),
        (fs_class::OBJECT_ID, 64),
        (fs_class::SECTOR_SIZE, 28),
    ] {
        assert_eq!(volume(class, &v).unwrap().least, least, "class {class}");
    }
    assert_eq!(
        volume(fs_class::LABEL, &v),
        Err(NtStatus::INVALID_INFO_CLASS)
    );
}

#[test]
fn a_sink_takes_what_fits_and_chains_it() {
    let entry = |name: &str| DirEntry {
        name: name.into(),
        short_name: None,
        metadata: metadata(),
    };
    // Two entries of 104 + 2 bytes, the second at 112.
    let mut sink = EntrySink::new(DirectoryClass::IdBothDirectory, 72, 218);
    assert!(sink.push(&entry("a")));
    assert!(sink.push(&entry("b")));
    assert!(!sink.push(&entry("c")));
    assert_eq!(sink.len(), 218);
    let (buffer, headroom) = sink.into_buffer();
    let list = DirectoryEntry::decode_list(DirectoryClass::IdBothDirectory, &buffer[headroom..]);
    let names: Vec<String> = list.unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(names, ["a", "b"]);

    let mut small = EntrySink::new(DirectoryClass::IdBothDirectory, 0, 105);
    assert!(!small.push(&entry("a")));
    assert!(small.is_empty());
}

#[test]
fn malformed_ea_lists_are_inconsistent() {
    assert_eq!(full_eas(&[]).unwrap(), []);
    assert_eq!(full_eas(&[0; 4]), Err(NtStatus::EA_LIST_INCONSISTENT));
    assert_eq!(full_eas(&[0; 9]), Err(NtStatus::INVALID_EA_NAME));
    let one = full_eas(b"\0\0\0\0\0\x01\x01\0N\0V").unwrap();
    assert_eq!(
        (one[0].name.as_str(), one[0].value.as_slice()),
        ("N", &b"V"[..])
    );
}
