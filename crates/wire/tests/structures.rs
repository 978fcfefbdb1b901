//! FSCC and DTYP structures byte for byte.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign_wire::Writer;
use countersign_wire::dtyp::*;
use countersign_wire::fscc::*;
use countersign_wire::smb2::fsctl;

fn bytes(encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut Writer::new(&mut out));
    out
}

#[test]
fn sizes_are_those_of_the_specification() {
    let basic = BasicInformation {
        creation: FileTime(1),
        last_access: FileTime(2),
        last_write: FileTime(3),
        change: FileTime(4),
        attributes: FileAttributes::ARCHIVE,
    };
    let out = bytes(|w| basic.encode(w));
    assert_eq!(out.len(), BasicInformation::LEN);
    assert_eq!(out.get(32..).unwrap(), [0x20, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(BasicInformation::decode(&out).unwrap(), basic);
    assert!(BasicInformation::decode(out.get(..39).unwrap()).is_err());

    let all = AllInformation {
        basic,
        standard: StandardInformation {
            allocation_size: 4096,
            end_of_file: 10,
            links: 1,
            delete_pending: false,
            directory: true,
        },
        internal: InternalInformation { index_number: 7 },
        ea: EaInformation { ea_size: 0 },
        access: AccessInformation {
            access: AccessMask::READ_DATA,
        },
        position: PositionInformation { position: 0 },
        mode: ModeInformation { mode: 0 },
        alignment: AlignmentInformation { alignment: 0 },
        name: "\\".into(),
    };
    let out = bytes(|w| all.encode(w));
    // Linux refuses to mount below 101 bytes; the root's name is one backslash.
    assert_eq!(out.len(), 102);
    assert_eq!(AllInformation::decode(&out).unwrap(), all);
}

#[test]
fn a_stream_list_is_not_padded_behind_its_last_entry() {
    let list = [
        StreamInformation {
            name: "::$DATA".into(),
            size: 5,
            allocation_size: 4096,
        },
        StreamInformation {
            name: ":a:$DATA".into(),
            size: 1,
            allocation_size: 8,
        },
    ];
    let out = bytes(|w| StreamInformation::encode_list(&list, w));
    assert_eq!(out.len(), 40 + 24 + 16);
    assert_eq!(out.first_chunk::<4>().unwrap(), &[40, 0, 0, 0]);
    assert_eq!(StreamInformation::decode_list(&out).unwrap(), list);
}

#[test]
fn extended_attributes_are_terminated_and_aligned() {
    let list = [
        FullEa {
            flags: 0,
            name: b"ONE",
            value: b"x",
        },
        FullEa {
            flags: 0x80,
            name: b"TWO",
            value: b"",
        },
    ];
    let out = bytes(|w| FullEa::encode_list(&list, w));
    assert_eq!(
        out,
        b"\x10\0\0\0\0\x03\x01\0ONE\0x\0\0\0\0\0\0\0\x80\x03\0\0TWO\0"
    );
    assert_eq!(FullEa::decode_list(&out).unwrap(), list);
    let mut bad = out.clone();
    *bad.first_mut().unwrap() = 14;
    assert!(FullEa::decode_list(&bad).is_err());
    *bad.first_mut().unwrap() = 4;
    assert!(FullEa::decode_list(&bad).is_err());
}

#[test]
fn notify_lists_know_their_length() {
    let changes = [(1, "a"), (5, "dir\\bc")];
    let out = bytes(|w| NotifyInformation::encode_list(changes, w));
    assert_eq!(out.len(), NotifyInformation::list_len(changes.map(|c| c.1)));
    assert_eq!(out.len(), 16 + 24);
    assert_eq!(NotifyInformation::decode_list(&out).unwrap().len(), 2);
}

#[test]
fn renames_have_two_forms() {
    let rename = RenameInformation {
        flags: 1,
        root_directory: 0,
        name: "x".into(),
    };
    let out = bytes(|w| rename.encode_smb2(false, w));
    assert_eq!(out.len(), 22);
    assert_eq!(RenameInformation::decode_smb2(&out, false).unwrap(), rename);
    let smb1 = [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, b'x', 0];
    assert_eq!(RenameInformation::decode_smb1(&smb1).unwrap(), rename);
}

#[test]
fn sids_as_text_and_bytes() {
    for text in [
        "S-1-1-0",
        "S-1-5-32-544",
        "S-1-5-21-4294967295-1-2-513",
        "S-1-0x123456789abc-7",
    ] {
        let sid = Sid::parse(text).unwrap();
        assert_eq!(sid.to_string(), text);
        assert_eq!(Sid::from_bytes(sid.as_bytes()).unwrap(), sid);
    }
    assert_eq!(
        Sid::administrators().as_bytes(),
        b"\x01\x02\0\0\0\0\0\x05\x20\0\0\0\x20\x02\0\0"
    );
    assert!(Sid::parse("S-2-1-0").is_none());
    assert!(Sid::from_bytes(&[1, 16, 0, 0, 0, 0, 0, 5]).is_err());
    assert!(Sid::from_bytes(b"\x01\x01\0\0\0\0\0\x01\0\0\0\0x").is_err());
}

#[test]
fn descriptors_are_in_canonical_order_and_checked() {
    let sd = SecurityDescriptor {
        owner: Some(Sid::local_system()),
        group: Some(Sid::users()),
        dacl: Some(Acl {
            revision: 2,
            aces: vec![Ace::allow(
                FILE_ALL_ACCESS,
                Sid::everyone(),
                AceFlags::empty(),
            )],
        }),
        ..SecurityDescriptor::default()
    };
    let out = sd.to_bytes();
    assert_eq!(
        out,
        b"\x01\0\x04\x80\x14\0\0\0\x20\0\0\0\0\0\0\0\x30\0\0\0\
          \x01\x01\0\0\0\0\0\x05\x12\0\0\0\
          \x01\x02\0\0\0\0\0\x05\x20\0\0\0\x21\x02\0\0\
          \x02\0\x1c\0\x01\0\0\0\0\0\x14\0\xff\x01\x1f\0\x01\x01\0\0\0\0\0\x01\0\0\0\0"
    );
    for (at, value) in [
        (0, 2),
        (3, 0),
        (4, 0x10),
        (4, 0xFF),
        (16, 0xFF),
        (48, 9),
        (50, 60),
    ] {
        let mut bad = out.clone();
        *bad.get_mut(at).unwrap() = value;
        assert!(
            SecurityDescriptor::decode(&bad).is_err(),
            "byte {at} = {value}"
        );
    }
    // A NULL DACL is not an empty one.
    let null = SecurityDescriptor {
        control: SdControl::SELF_RELATIVE | SdControl::DACL_PRESENT,
        ..SecurityDescriptor::default()
    };
    assert_eq!(SecurityDescriptor::decode(&null.to_bytes()).unwrap(), null);
}

#[test]
fn generic_rights_become_file_rights() {
    assert_eq!(map_generic(AccessMask::GENERIC_ALL), FILE_ALL_ACCESS);
    assert_eq!(
        map_generic(AccessMask::GENERIC_READ | AccessMask::DELETE),
        FILE_GENERIC_READ | AccessMask::DELETE
    );
}

#[test]
fn network_interfaces_of_both_families() {
    let list = [
        fsctl::NetworkInterface {
            index: 1,
            capability: 1,
            link_speed: 1_000_000_000,
            address: "192.0.2.7".parse().unwrap(),
        },
        fsctl::NetworkInterface {
            index: 2,
            capability: 0,
            link_speed: 10,
            address: "2001:db8::1".parse().unwrap(),
        },
    ];
    let out = bytes(|w| fsctl::NetworkInterface::encode_list(&list, w));
    assert_eq!(out.len(), 2 * fsctl::NetworkInterface::LEN);
    assert_eq!(fsctl::NetworkInterface::decode_list(&out).unwrap(), list);
}

#[test]
fn no_snapshots_are_three_counters() {
    let none = fsctl::SnapshotArray::default();
    assert_eq!(
        bytes(|w| none.encode(16, w)),
        [0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn symbolic_links() {
    let link = SymlinkReparse {
        substitute_name: "a\\b".into(),
        print_name: "b".into(),
        flags: 1,
    };
    let data = bytes(|w| link.encode(w));
    assert_eq!(SymlinkReparse::decode(&data).unwrap(), link);
    let whole = ReparseBuffer {
        tag: reparse_tag::SYMLINK,
        guid: None,
        data: &data,
    };
    let out = bytes(|w| whole.encode(w));
    assert_eq!(ReparseBuffer::decode(&out).unwrap(), whole);
    assert!(ReparseBuffer::decode(out.get(..out.len() - 1).unwrap()).is_err());
}
