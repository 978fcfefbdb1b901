//! Whatever a file has in it besides our values comes back as it was, in every format
//! and encoding; what is set is read back; and no bytes make a reader panic.

#![allow(clippy::unwrap_used, reason = "a test's own helpers may fail loudly")]

use countersign_policy::exchange::pol::{Record, RegistryPolicy};
use countersign_policy::exchange::text::{Encoding, Ending, Line, Text};
use countersign_policy::exchange::{self, Contents, Document, Format, Item};
use countersign_policy::{AuditSwitch, Setting, Value};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

const READABLE: [Format; 5] = [
    Format::Inf,
    Format::Pol,
    Format::Reg,
    Format::Lgpo,
    Format::Json,
];

fn item() -> impl Strategy<Value = Item> {
    let all: Vec<Item> = Setting::ALL
        .into_iter()
        .map(Item::Setting)
        .chain(AuditSwitch::ALL.into_iter().map(Item::Audit))
        .collect();
    select(all)
}

/// What a new file can say: nothing is taken out of it.
fn contents() -> impl Strategy<Value = Contents> {
    let value = select(vec![Value::Enabled, Value::Disabled]);
    btree_map(item(), value, 0..8).prop_map(|values| Contents { values })
}

fn encoding() -> impl Strategy<Value = Encoding> {
    select(vec![
        Encoding::Utf16Le,
        Encoding::Utf16Be,
        Encoding::Utf8Mark,
        Encoding::Utf8,
        Encoding::Ansi,
    ])
}

fn ending() -> impl Strategy<Value = Ending> {
    select(vec![Ending::CrLf, Ending::Lf])
}

/// The white space an administrator may put in.
fn blank() -> impl Strategy<Value = &'static str> {
    select(vec!["", " ", "\t", "  "])
}

fn join(encoding: Encoding, ending: Ending, lines: Vec<String>) -> Vec<u8> {
    let lines = lines.into_iter().map(|text| Line { text, ending });
    Text {
        encoding,
        lines: lines.collect(),
    }
    .encode()
}

/// A line of a template that is not ours.
fn other_inf_line() -> impl Strategy<Value = String> {
    prop_oneof![
        "; [a-zäöü ;=\"]{0,20}",
        Just(String::new()),
        "MACHINE\\\\Software\\\\[A-Za-z]{1,8}=(4,[0-9]{1,5}|1,\"[a-zß;, ]{0,9}\"|7,[a-z,;]{0,9}|3,[0-9,]{0,9})",
        "\\[(System Access|Privilege Rights|REGISTRY VALUES|registry values|Version)\\]",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_written_is_read(format in select(READABLE.to_vec()), contents in contents()) {
        let bytes = exchange::write(format, &contents);
        let document = Document::parse(format, &bytes).unwrap();
        prop_assert_eq!(document.contents(), contents.clone());
        prop_assert_eq!(document.emit(), bytes.clone());
        if format != Format::Lgpo || !contents.values.is_empty() {
            prop_assert_eq!(Format::detect(&bytes), Some(format));
        }
    }

    #[test]
    fn a_value_set_and_taken_out_leaves_a_file_that_says_the_rest(
        format in select(READABLE.to_vec()), contents in contents(), item in item(), on in any::<bool>(),
    ) {
        let value = if on { Value::Enabled } else { Value::Disabled };
        let mut document = Document::parse(format, &exchange::write(format, &contents)).unwrap();
        document.set(item, value);
        prop_assert_eq!(document.contents().get(item), value);
        document.set(item, Value::NotDefined);
        let mut rest = contents;
        rest.values.remove(&item);
        prop_assert_eq!(document.contents(), rest.clone());
        prop_assert_eq!(Document::parse(format, &document.emit()).unwrap().contents(), rest);
    }

    #[test]
    fn templates_keep_everything_else(
        encoding in encoding(), ending in ending(), before in vec(other_inf_line(), 0..8),
        after in vec(other_inf_line(), 0..8), setting in select(Setting::ALL.to_vec()),
        on in any::<bool>(), hexadecimal in any::<bool>(), quoted in any::<bool>(), upper in any::<bool>(),
        blanks in [blank(), blank(), blank(), blank(), blank()], to in select(Value::ALL.to_vec()),
    ) {
        let mut name = format!("MACHINE\\System\\CurrentControlSet\\Services\\{}", setting.registry());
        if upper {
            name = name.to_uppercase();
        }
        if quoted {
            name = format!("\"{name}\"");
        }
        let data = match (hexadecimal, on) {
            (true, true) => "0x1",
            (true, false) => "0x00000000",
            (false, true) => "1",
            (false, false) => "0",
        };
        let [a, b, c, d, e] = blanks;
        let ours = format!("{a}{name}{b}={c}4{d},{e}{data}");
        let mut lines = vec!["[Unicode]".to_owned()];
        // A signature would have to be right.
        lines.extend(before.into_iter().filter(|line| !line.contains("ersion")));
        lines.push("[Registry Values]".to_owned());
        let at = lines.len();
        lines.push(ours);
        lines.extend(after.into_iter().filter(|line| !line.contains("ersion")));
        let bytes = join(encoding, ending, lines.clone());
        let mut document = Document::parse(Format::Inf, &bytes).unwrap();
        let item = Item::Setting(setting);
        let value = if on { Value::Enabled } else { Value::Disabled };
        prop_assert_eq!(document.contents().values, [(item, value)].into());
        prop_assert_eq!(document.emit(), bytes);
        document.set(item, to);
        match to {
            Value::NotDefined => {
                lines.remove(at);
            }
            _ => {
                let digit = if to == Value::Enabled { "1" } else { "0" };
                lines[at] = format!("{a}{name}{b}={c}4{d},{e}{digit}");
            }
        }
        prop_assert_eq!(document.emit(), join(encoding, ending, lines));
    }

    #[test]
    fn registration_files_keep_everything_else(
        encoding in encoding(), ending in ending(), strings in vec("[a-zäß\\[\\];=]{0,12}", 0..6),
        bytes in vec(any::<u8>(), 0..60), on in any::<bool>(), setting in select(Setting::ALL.to_vec()),
        to in any::<bool>(),
    ) {
        let (key, value) = setting.registry().rsplit_once('\\').unwrap();
        let mut lines = vec!["Windows Registry Editor Version 5.00".to_owned(), String::new()];
        lines.push("[HKEY_LOCAL_MACHINE\\SOFTWARE\\Example]".to_owned());
        for (number, string) in strings.iter().enumerate() {
            lines.push(format!("\"v{number}\"=\"{string}\" ; {string}"));
        }
        let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut chunks = pairs.chunks(20).peekable();
        let mut line = "\"blob\"=hex:".to_owned();
        while let Some(chunk) = chunks.next() {
            line.push_str(&chunk.join(","));
            if chunks.peek().is_some() {
                line.push_str(",\\");
                lines.push(std::mem::replace(&mut line, "  ".to_owned()));
            }
        }
        lines.push(line);
        lines.push(format!("[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\{key}]"));
        let at = lines.len();
        lines.push(format!("\"{value}\"=dword:0000000{}", u8::from(on)));
        let file = join(encoding, ending, lines.clone());
        let mut document = Document::parse(Format::Reg, &file).unwrap();
        prop_assert_eq!(document.contents().get(Item::Setting(setting)).is_enabled(), on);
        prop_assert_eq!(document.emit(), file);
        document.set(Item::Setting(setting), if to { Value::Enabled } else { Value::Disabled });
        lines[at] = format!("\"{value}\"=dword:0000000{}", u8::from(to));
        prop_assert_eq!(document.emit(), join(encoding, ending, lines));
    }

    #[test]
    fn registry_policies_keep_every_record(
        records in vec((vec(1..=u16::MAX, 0..12), vec(1..=u16::MAX, 0..12), any::<u32>(), vec(any::<u8>(), 0..40)), 0..8),
        switch in select(AuditSwitch::ALL.to_vec()), on in any::<bool>(),
    ) {
        let records: Vec<Record> = records
            .into_iter()
            .map(|(key, value, kind, data)| Record { key, value, kind, data })
            .collect();
        let bytes = RegistryPolicy { records: records.clone() }.emit();
        let mut policy = RegistryPolicy::parse(&bytes).unwrap();
        prop_assert_eq!(&policy.records, &records);
        prop_assert_eq!(policy.emit(), bytes.clone());
        policy.set(Item::Audit(switch), if on { Value::Enabled } else { Value::Disabled });
        let changed = policy.emit();
        prop_assert!(changed.starts_with(&bytes));
        prop_assert_eq!(RegistryPolicy::parse(&changed).unwrap().contents().get(Item::Audit(switch)).is_enabled(), on);
    }

    #[test]
    fn lgpo_text_keeps_everything_else(
        encoding in encoding(), ending in ending(), blocks in vec(("(Computer|User)", "[A-Za-zß\\\\]{1,16}", "[A-Za-zß]{1,9}", "(SZ:[a-zß;: ]{0,9}|DWORD:[0-9]{1,6}|DELETE|MULTISZ:a)"), 0..6),
        comments in vec("; [a-zß]{0,9}", 0..3), switch in select(AuditSwitch::ALL.to_vec()),
    ) {
        let mut lines: Vec<String> = comments;
        for (configuration, key, value, action) in blocks {
            lines.extend([configuration, key, value, action, String::new()]);
        }
        let bytes = join(encoding, ending, lines);
        let mut document = Document::parse(Format::Lgpo, &bytes).unwrap();
        prop_assert_eq!(document.emit(), bytes.clone());
        document.set(Item::Audit(switch), Value::Enabled);
        prop_assert!(document.emit().starts_with(&bytes));
        prop_assert_eq!(Document::parse(Format::Lgpo, &document.emit()).unwrap().contents().get(Item::Audit(switch)), Value::Enabled);
    }

    #[test]
    fn no_bytes_make_a_reader_panic_and_what_is_read_comes_back(
        format in select(READABLE.to_vec()), start in select(vec![&b""[..], b"\xFF\xFE", b"PReg\x01\0\0\0", b"REGEDIT4\n", b"[Registry Values]\n", b"Computer\n"]),
        bytes in vec(any::<u8>(), 0..200),
    ) {
        let bytes = [start, &bytes].concat();
        let _ = Format::detect(&bytes);
        if let Ok(mut document) = Document::parse(format, &bytes) {
            if format != Format::Json {
                prop_assert_eq!(document.emit(), bytes);
            }
            document.set(Item::Setting(Setting::ServerAlways), Value::Enabled);
            prop_assert_eq!(document.contents().get(Item::Setting(Setting::ServerAlways)), Value::Enabled);
        }
    }
}
