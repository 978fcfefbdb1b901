//! The corpus of `testdata/templates`: good files read and come back byte for byte, bad
//! ones are refused at the place their `.expected` names.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own helpers may fail loudly"
)]

use std::fs;
use std::path::PathBuf;

use countersign_policy::exchange::pol::{Record, RegistryPolicy};
use countersign_policy::exchange::text::Text;
use countersign_policy::exchange::{self, Contents, Document, Format, Item, MAX_BYTES, MAX_FLAWS};
use countersign_policy::{AuditSwitch, Setting, Value};

const SERVER: Item = Item::Setting(Setting::ServerAlways);
const SERVER_IF: Item = Item::Setting(Setting::ServerIfClientAgrees);
const CLIENT: Item = Item::Setting(Setting::ClientAlways);
const CLIENT_IF: Item = Item::Setting(Setting::ClientIfServerAgrees);
const ON: Value = Value::Enabled;
const OFF: Value = Value::Disabled;
const OUT: Value = Value::NotDefined;

const fn audit(switch: AuditSwitch) -> Item {
    Item::Audit(switch)
}

const SIGNING: Item = audit(AuditSwitch::ClientDoesNotSupportSigning);
const ENCRYPTION: Item = audit(AuditSwitch::ClientDoesNotSupportEncryption);
const GUEST: Item = audit(AuditSwitch::ServerInsecureGuestLogon);
const SMB1: Item = audit(AuditSwitch::Smb1Access);
const SERVER_SIGNING: Item = audit(AuditSwitch::ServerDoesNotSupportSigning);
const SERVER_ENCRYPTION: Item = audit(AuditSwitch::ServerDoesNotSupportEncryption);
const BEING_GUEST: Item = audit(AuditSwitch::ClientInsecureGuestLogon);

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/templates")
        .join(name)
}

/// The format a file's name means.
fn format(name: &str) -> Format {
    match name.rsplit('.').next().unwrap_or_default() {
        "txt" => Format::Lgpo,
        other => other.parse().unwrap(),
    }
}

#[test]
fn good_files_read_and_come_back_unchanged() {
    let expected: &[(&str, &[(Item, Value)])] = &[
        (
            "member-server.inf",
            &[
                (SERVER, ON),
                (SERVER_IF, ON),
                (CLIENT, OFF),
                (CLIENT_IF, ON),
            ],
        ),
        (
            "domain-controller-GptTmpl.inf",
            &[(SERVER, ON), (SERVER_IF, ON)],
        ),
        (
            "by-hand-ansi.inf",
            &[(SERVER, ON), (SERVER_IF, ON), (CLIENT_IF, OFF)],
        ),
        ("utf-8.inf", &[(SERVER, ON)]),
        ("utf-8-mark.inf", &[(SERVER, ON), (CLIENT, OFF)]),
        ("utf-16-big-endian.inf", &[(CLIENT_IF, OFF)]),
        ("nothing-of-ours.inf", &[]),
        (
            "samba-tool-GptTmpl.inf",
            &[
                (SERVER, ON),
                (SERVER_IF, ON),
                (CLIENT, OFF),
                (CLIENT_IF, ON),
            ],
        ),
        ("samba-tool-smb-conf.pol", &[]),
        (
            "exported.reg",
            &[
                (SERVER, ON),
                (SERVER_IF, ON),
                (CLIENT, OFF),
                (CLIENT_IF, ON),
            ],
        ),
        (
            "hardening-ascii.reg",
            &[
                (SERVER, ON),
                (SERVER_IF, OUT),
                // The administrative template is stronger than the parameter below it.
                (SIGNING, ON),
                (GUEST, ON),
                (SMB1, ON),
                (SERVER_SIGNING, OUT),
                (SERVER_ENCRYPTION, OUT),
                (BEING_GUEST, OUT),
            ],
        ),
        ("windows-98.reg", &[(CLIENT, ON), (CLIENT_IF, ON)]),
        (
            "audit.pol",
            &[
                (SIGNING, ON),
                (ENCRYPTION, ON),
                (GUEST, ON),
                (SERVER_SIGNING, OUT),
                (BEING_GUEST, OFF),
            ],
        ),
        (
            "baseline.lgpo.txt",
            &[(SERVER, ON), (CLIENT, OUT), (SIGNING, ON)],
        ),
        (
            "settings.json",
            &[(SERVER, ON), (CLIENT, OUT), (CLIENT_IF, OFF), (SMB1, ON)],
        ),
    ];
    let mut seen = 0;
    for entry in fs::read_dir(folder("good")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (_, values) = expected
            .iter()
            .find(|(known, _)| *known == name)
            .unwrap_or_else(|| panic!("{name}: nothing expected of it"));
        let bytes = fs::read(&path).unwrap();
        assert_eq!(Format::detect(&bytes), Some(format(&name)), "{name}");
        let document =
            Document::parse(format(&name), &bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let contents = Contents {
            values: values.iter().copied().collect(),
        };
        assert_eq!(document.contents(), contents, "{name}");
        if format(&name) != Format::Json {
            assert_eq!(document.emit(), bytes, "{name}");
        }
        seen += 1;
    }
    assert_eq!(seen, expected.len());
}

#[test]
fn bad_files_are_refused_at_the_place_that_is_wrong() {
    let mut seen = 0;
    for entry in fs::read_dir(folder("bad")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".expected") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let expected = fs::read_to_string(folder("bad").join(format!("{name}.expected"))).unwrap();
        match Document::parse(format(&name), &bytes) {
            Ok(document) => panic!("{name} was read: {:?}", document.contents()),
            Err(flaws) => {
                let flaws = flaws.to_string();
                assert!(flaws.starts_with(expected.trim_end()), "{name}: {flaws}");
            }
        }
        seen += 1;
    }
    assert!(seen >= 70, "{seen}");
}

#[test]
fn every_good_file_takes_every_value_and_keeps_the_rest() {
    for entry in fs::read_dir(folder("good")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = fs::read(&path).unwrap();
        let before = Document::parse(format(&name), &bytes).unwrap();
        for item in Item::all() {
            for value in Value::ALL {
                let mut document = before.clone();
                document.set(item, value);
                let contents = document.contents();
                if value != Value::NotDefined {
                    assert_eq!(contents.get(item), value, "{name}: {item}={value}");
                } else {
                    assert!(!contents.get(item).is_enabled(), "{name}: {item}");
                }
                for other in Item::all().filter(|other| *other != item) {
                    assert_eq!(
                        contents.get(other),
                        before.contents().get(other),
                        "{name}: {item}={value} changed {other}"
                    );
                }
                let again = Document::parse(format(&name), &document.emit())
                    .unwrap_or_else(|e| panic!("{name}: {item}={value}: {e}"));
                assert_eq!(again.contents(), contents, "{name}: {item}={value}");
            }
        }
    }
}

#[test]
fn a_changed_template_differs_in_one_token() {
    let bytes = fs::read(folder("good").join("by-hand-ansi.inf")).unwrap();
    let mut document = Document::parse(Format::Inf, &bytes).unwrap();
    document.set(SERVER_IF, OFF);
    let wanted: Vec<u8> = {
        let at = bytes
            .windows(8)
            .position(|window| window == b"4,\"1\"\t; ")
            .unwrap();
        [&bytes[..at], b"4,0\t; ", &bytes[at + 8..]].concat()
    };
    assert_eq!(document.emit(), wanted);
}

#[test]
fn files_that_are_too_long_are_not_read() {
    let mut bytes = b"[Version]\n;".to_vec();
    bytes.resize(MAX_BYTES, b'x');
    assert!(Document::parse(Format::Inf, &bytes).is_ok());
    bytes.push(b'\n');
    let flaws = Document::parse(Format::Inf, &bytes).unwrap_err();
    assert!(flaws.to_string().contains("are not read"), "{flaws}");
}

#[test]
fn of_many_flaws_the_first_are_listed() {
    let lines = |count: usize| {
        let line = "MACHINE\\System\\CurrentControlSet\\Services\\LanManServer\\Parameters\\RequireSecuritySignature=4,2\n";
        format!("[Registry Values]\n{}", line.repeat(count))
    };
    let flaws = |count| {
        Document::parse(Format::Inf, lines(count).as_bytes())
            .unwrap_err()
            .0
    };
    assert_eq!(flaws(MAX_FLAWS).len(), MAX_FLAWS);
    let many = flaws(40_000);
    assert_eq!(many.len(), MAX_FLAWS + 1);
    assert!(many[MAX_FLAWS].text.contains("and more"), "{many:?}");
}

/// Instructions of Registry.pol: a record's key and name, its data, what it comes to.
#[test]
fn registry_policies_take_out_and_put_in() {
    let utf16 = |text: &str| -> Vec<u16> { text.encode_utf16().collect() };
    let bytes = |text: &str| -> Vec<u8> {
        let units = text.encode_utf16().chain([0]);
        units.flat_map(u16::to_le_bytes).collect()
    };
    let record = |key: &str, value: &str, kind: u32, data: Vec<u8>| Record {
        key: utf16(key),
        value: utf16(value),
        kind,
        data,
    };
    let key = "Software\\Policies\\Microsoft\\Windows\\LanmanServer";
    let on = record(key, "AuditClientDoesNotSupportSigning", 4, vec![1, 0, 0, 0]);
    let after = |instruction: Record| {
        let records = vec![on.clone(), instruction];
        let written = RegistryPolicy { records }.emit();
        let read = Document::parse(Format::Pol, &written).unwrap();
        assert_eq!(read.emit(), written);
        read.contents().get(SIGNING)
    };
    let windows = "Software\\Policies\\Microsoft\\Windows";
    for instruction in [
        record(key, "**del.auditclientdoesnotsupportsigning", 1, bytes(" ")),
        record(key, "**DelVals.", 1, bytes(" ")),
        record(key, "**delvals", 0, Vec::new()),
        record(
            key,
            "**DeleteValues",
            1,
            bytes("Other;AuditClientDoesNotSupportSigning"),
        ),
        record(windows, "**DeleteKeys", 1, bytes("Other;LanmanServer")),
        record(windows, "**deletekeys ", 1, bytes("lanmanserver")),
        record("Software", "**DeleteKeys", 1, bytes("Policies")),
    ] {
        assert_eq!(after(instruction.clone()), OUT, "{instruction:?}");
    }
    for instruction in [
        record(key, "**del.Other", 1, bytes(" ")),
        record("Software\\Other", "**DelVals.", 1, bytes(" ")),
        record(key, "**DeleteValues", 1, bytes("Other")),
        record(windows, "**DeleteKeys", 1, bytes("LanmanServer2;Lanman")),
        record(windows, "**DeleteKeys", 1, bytes("")),
        record(windows, "**DeleteKeys", 1, vec![0x4C]),
        record(key, "**SecureKey", 4, vec![1, 0, 0, 0]),
        record(key, "", 0, Vec::new()),
    ] {
        assert_eq!(after(instruction.clone()), ON, "{instruction:?}");
    }
    let soft = record(
        key,
        "**soft.AuditClientDoesNotSupportSigning",
        4,
        vec![0; 4],
    );
    assert_eq!(after(soft.clone()), OFF);
    let mut document = Document::Pol(RegistryPolicy {
        records: vec![soft],
    });
    document.set(SIGNING, ON);
    assert_eq!(document.contents().get(SIGNING), ON);
    document.set(SIGNING, OUT);
    assert_eq!(document.contents(), Contents::default());
}

#[test]
fn lgpo_clears_one_value_or_all_of_a_key() {
    let after = |name: &str| {
        let key = "Software\\Policies\\Microsoft\\Windows\\LanmanServer";
        let text = format!(
            "Computer\n{key}\nAuditClientDoesNotSupportSigning\nDWORD:1\n\nComputer\n{key}\n{name}\nCLEAR\n"
        );
        let read = Document::parse(Format::Lgpo, text.as_bytes()).unwrap();
        read.contents().get(SIGNING)
    };
    assert_eq!(after("*"), OUT);
    assert_eq!(after("AuditClientDoesNotSupportSigning"), OUT);
    assert_eq!(after("AuditInsecureGuestLogon"), ON);
}

#[test]
fn a_document_names_the_lines_that_speak() {
    for (name, item, line) in [
        ("baseline.lgpo.txt", SIGNING, Some(7)),
        ("baseline.lgpo.txt", SMB1, None),
        ("audit.pol", SIGNING, None),
        ("settings.json", SERVER, None),
    ] {
        let bytes = fs::read(folder("good").join(name)).unwrap();
        let document = Document::parse(format(name), &bytes).unwrap();
        assert_eq!(document.line(item), line, "{name}");
    }
    for name in ["member-server.inf", "exported.reg"] {
        let bytes = fs::read(folder("good").join(name)).unwrap();
        let document = Document::parse(format(name), &bytes).unwrap();
        let line = document.line(SERVER).unwrap();
        let text = Text::decode(&bytes).unwrap();
        assert!(
            text.lines[line - 1]
                .text
                .contains("RequireSecuritySignature"),
            "{name}"
        );
    }
}

#[test]
fn formats_that_are_only_written() {
    let contents = Contents {
        values: [
            (SERVER, ON),
            (SERVER_IF, ON),
            (CLIENT_IF, OFF),
            (SIGNING, ON),
            (SMB1, ON),
        ]
        .into(),
    };
    let text = |format| String::from_utf8(exchange::write(format, &contents)).unwrap();
    let powershell = text(Format::PowerShell);
    assert!(powershell.contains("Set-SmbServerConfiguration -EnableSecuritySignature $true -RequireSecuritySignature $true -AuditClientDoesNotSupportSigning $true -AuditSmb1Access $true -Force\r\n"), "{powershell}");
    assert!(
        powershell.contains("Set-SmbClientConfiguration -EnableSecuritySignature $false -Force"),
        "{powershell}"
    );
    assert!(powershell.contains("# client-always: not defined"));
    let dsc = text(Format::Dsc);
    assert!(
        dsc.contains("Microsoft_network_server_Digitally_sign_communications_always = 'Enabled'")
    );
    assert!(dsc.contains(
        "Microsoft_network_client_Digitally_sign_communications_if_server_agrees = 'Disabled'"
    ));
    assert!(!dsc.contains("Microsoft_network_client_Digitally_sign_communications_always"));
    assert!(dsc.contains("ValueName = 'AuditSmb1Access'"));
    let intune = text(Format::Intune);
    assert!(intune.contains("<LocURI>./Device/Vendor/MSFT/Policy/Config/LocalPoliciesSecurityOptions/MicrosoftNetworkServer_DigitallySignCommunicationsAlways</LocURI>"));
    assert!(intune.contains("<!-- audit-smb1-access: has no node in Policy CSP -->"));
    let conf = text(Format::SmbConf);
    assert!(conf.contains("\tserver signing = mandatory\n"), "{conf}");
    assert!(conf.contains("\tclient signing = disabled\n"), "{conf}");
    for format in Format::ALL {
        assert_eq!(
            Document::parse(format, &exchange::write(format, &contents)).is_ok(),
            format.reads(),
            "{format}"
        );
    }
}

#[test]
fn what_smb_conf_says_of_each_pair() {
    for (always, if_agrees, word) in [
        (ON, ON, "server signing = mandatory"),
        (ON, OFF, "server signing = mandatory"),
        (OFF, ON, "server signing = auto"),
        (OFF, OFF, "server signing = disabled"),
        (OFF, OUT, "server signing = disabled"),
        (OUT, OUT, "# server signing: not defined"),
    ] {
        let contents = Contents {
            values: [(SERVER, always), (SERVER_IF, if_agrees)].into(),
        };
        let conf = String::from_utf8(exchange::write(Format::SmbConf, &contents)).unwrap();
        assert!(conf.contains(&format!("\t{word}\n")), "{conf}");
    }
}
