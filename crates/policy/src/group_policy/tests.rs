use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::audit_switch::AuditSwitch;
use crate::exchange::Item;
use crate::settings::{Setting, Value};
use crate::source::ContainerKind;

const COMPUTER: &str = "CN=files,OU=Inner,OU=Servers,DC=lab,DC=example";

fn dn(text: &str) -> DistinguishedName {
    text.parse().unwrap()
}

fn gpo_dn(name: &str) -> String {
    format!("CN={{{name}}},CN=Policies,CN=System,DC=lab,DC=example")
}

/// `name;options` in the order of gPLink.
fn container(kind: ContainerKind, name: &str, links: &[(&str, u32)], block: bool) -> Container {
    let text: String = links
        .iter()
        .map(|(name, options)| format!("[LDAP://{};{options}]", gpo_dn(name)))
        .collect();
    Container::new(
        kind,
        dn(name),
        Some(&text),
        Some(if block { "1" } else { "0" }),
    )
    .unwrap()
}

/// Site, domain, outer and inner unit.
fn four(links: [&[(&str, u32)]; 4], block: [bool; 4]) -> Vec<Container> {
    let kinds = [
        (
            ContainerKind::Site,
            "CN=One,CN=Sites,CN=Configuration,DC=lab,DC=example",
        ),
        (ContainerKind::Domain, "DC=lab,DC=example"),
        (ContainerKind::Ou, "OU=Servers,DC=lab,DC=example"),
        (ContainerKind::Ou, "OU=Inner,OU=Servers,DC=lab,DC=example"),
    ];
    kinds
        .iter()
        .zip(links)
        .zip(block)
        .map(|(((kind, name), links), block)| container(*kind, name, links, block))
        .collect()
}

fn names(containers: &[Container]) -> Vec<String> {
    apply_order(containers)
        .iter()
        .filter(|placed| placed.place == Place::Counts)
        .map(|placed| {
            placed
                .link
                .gpo
                .first()
                .1
                .trim_matches(['{', '}'])
                .to_owned()
        })
        .collect()
}

#[test]
fn containers_are_units_and_the_domain() {
    let found = containers_of(&dn(COMPUTER));
    let shown: Vec<_> = found
        .iter()
        .map(|(kind, dn)| (*kind, dn.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            (ContainerKind::Ou, "OU=Inner,OU=Servers,DC=lab,DC=example"),
            (ContainerKind::Ou, "OU=Servers,DC=lab,DC=example"),
            (ContainerKind::Domain, "DC=lab,DC=example"),
        ]
    );
    let plain = containers_of(&dn("CN=files,CN=Computers,DC=lab,DC=example"));
    assert_eq!(plain.len(), 1, "CN=Computers has no links");
}

#[test]
fn names_have_escapes() {
    let name = dn(r"CN=a\,b\3D\ ,OU=x\+y+L=z, ou=\C3\A4 ,DC=Lab,DC=Example");
    assert_eq!(name.first(), ("cn", "a,b= "));
    let containers = containers_of(&name);
    assert_eq!(containers.len(), 3);
    assert_eq!(containers[0].1.first(), ("ou", "x+y"));
    assert_eq!(containers[1].1.first(), ("ou", "ä"));
    assert_eq!(containers[2].1.as_str(), "DC=Lab,DC=Example");
    assert_eq!(name.dns_domain().unwrap(), "lab.example");
    assert_eq!(dn("cn=A,dc=B"), dn("CN=a, DC=b"));
    assert_eq!(dn("cn=A,dc=B").canonical(), dn("CN=a, DC=b").canonical());
    assert_ne!(dn(r"cn=a\,dc\=b"), dn("cn=a,dc=b"));
    assert_eq!(dn(r#"OU="a,b",DC=c"#), dn(r"OU=a\,b,DC=c"));
    for bad in [
        "", " ", "x", "=a", "CN=a,", "CN=\\", "CN=\\C", "CN=\\ff", "CN=\"a",
    ] {
        assert!(bad.parse::<DistinguishedName>().is_err(), "{bad}");
    }
    let deep = vec!["OU=a"; 200].join(",");
    assert_eq!(deep.parse::<DistinguishedName>(), Err(DnError::TooLong));
}

#[test]
fn links_are_read_in_every_spelling() {
    let text = "[LDAP://cn={A},cn=policies,DC=x;0][ldap://CN={B},DC=x;2] [LDAP://CN={C};x],DC=x;3]";
    let links = parse_links(text).unwrap();
    assert_eq!(links.len(), 3);
    assert!(!links[0].is_enforced() && !links[0].is_disabled());
    assert!(links[1].is_enforced());
    assert!(
        links[2].is_disabled() && !links[2].is_enforced(),
        "disabled is stronger"
    );
    assert_eq!(links[2].gpo.first().1, "{C};x]");
    for none in ["", " ", "[ ]", "[]"] {
        assert_eq!(parse_links(none).unwrap(), []);
    }
    for bad in [
        "x",
        "[LDAP://CN=a]",
        "[LDAP://CN=a;0",
        "[LDAP://a;0]",
        "[LDAP://CN=a;-1]",
        "[CN=a;0]",
    ] {
        assert!(parse_links(bad).is_err(), "{bad}");
    }
    assert_eq!(
        parse_links(&"[LDAP://CN=a;0]".repeat(1000)),
        Err(LinkError::TooMany)
    );
}

#[test]
fn order_site_domain_units_then_the_enforced_from_below() {
    let containers = four(
        [
            &[("s", 0), ("S", 2)],
            &[("d1", 0), ("D", 2), ("d2", 0)],
            &[("o", 0), ("O", 2)],
            &[("I1", 2), ("i", 0), ("I2", 2)],
        ],
        [false; 4],
    );
    assert_eq!(
        names(&containers),
        ["s", "d1", "d2", "o", "i", "I1", "I2", "O", "D", "S"]
    );
}

#[test]
fn the_rightmost_link_of_a_container_overrules() {
    let containers = four([&[], &[("a", 0), ("b", 0), ("c", 0)], &[], &[]], [false; 4]);
    let order = apply_order(&containers);
    let numbers: Vec<_> = order.iter().map(|placed| placed.number).collect();
    assert_eq!(numbers, [3, 2, 1], "number 1 is the last to apply");
    assert_eq!(names(&containers), ["a", "b", "c"]);
}

#[test]
fn blocking_drops_what_is_above_and_not_enforced() {
    let links: [&[(&str, u32)]; 4] = [
        &[("s", 0), ("S", 2)],
        &[("d", 0), ("D", 2)],
        &[("o", 0)],
        &[],
    ];
    let blocked = four(links, [false, false, false, true]);
    assert_eq!(
        names(&blocked),
        ["D", "S"],
        "a container without links blocks too"
    );
    let blocked = four(links, [false, false, true, false]);
    assert_eq!(names(&blocked), ["o", "D", "S"], "its own links stay");
    let blocked = four(links, [true, true, false, false]);
    assert_eq!(names(&blocked), ["d", "o", "D", "S"]);
}

#[test]
fn disabled_links_are_shown_but_do_not_count() {
    let containers = four([&[], &[("d", 1), ("e", 3)], &[], &[]], [false; 4]);
    assert_eq!(names(&containers), Vec::<String>::new());
    assert_eq!(apply_order(&containers).len(), 2);
}

fn entry(decision: Decision, sid: &str) -> AccessEntry {
    AccessEntry {
        decision,
        conditional: false,
        inherit_only: false,
        mask: 0x100,
        object: Some(APPLY_GROUP_POLICY),
        sid: sid.to_owned(),
    }
}

#[test]
fn the_first_entry_about_the_right_decides() {
    use Decision::{Allow, Deny};
    let token = Token::new(["S-1-5-21-1-2-3-1104".to_owned()]);
    let ask = |entries: Vec<AccessEntry>| may_apply(&Dacl::Entries(entries), token.sids());
    let au = "S-1-5-11";
    let me = "S-1-5-21-1-2-3-1104";
    assert_eq!(may_apply(&Dacl::Null, token.sids()), Right::Granted);
    assert_eq!(ask(vec![]), Right::Missing);
    assert_eq!(ask(vec![entry(Allow, au)]), Right::Granted);
    assert_eq!(ask(vec![entry(Allow, "S-1-1-0")]), Right::Granted);
    assert_eq!(ask(vec![entry(Allow, "S-1-5-32-544")]), Right::Missing);
    assert_eq!(
        ask(vec![entry(Deny, me), entry(Allow, au)]),
        Right::Denied(me.to_owned())
    );
    assert_eq!(ask(vec![entry(Allow, au), entry(Deny, me)]), Right::Granted);
    let mut other = entry(Deny, me);
    other.object = Some([7; 16]);
    assert_eq!(ask(vec![other.clone(), entry(Allow, au)]), Right::Granted);
    other.object = None;
    assert_eq!(
        ask(vec![other.clone(), entry(Allow, au)]),
        Right::Denied(me.to_owned()),
        "an entry about all rights"
    );
    other.inherit_only = true;
    assert_eq!(ask(vec![other, entry(Allow, au)]), Right::Granted);
    let mut read = entry(Allow, au);
    read.object = None;
    read.mask = 0x0002_0094;
    assert_eq!(ask(vec![read]), Right::Missing, "reading is not applying");
    let mut all = entry(Allow, au);
    all.object = None;
    all.mask = 0x1000_0000;
    assert_eq!(ask(vec![all]), Right::Granted);
    let mut conditional = entry(Allow, au);
    conditional.conditional = true;
    assert_eq!(ask(vec![conditional]), Right::Conditional(au.to_owned()));
}

fn object(name: &str) -> PolicyObject {
    PolicyObject {
        dn: dn(&gpo_dn(name)),
        guid: format!("{{{name}}}"),
        name: format!("the {name}"),
        path: Some(format!(
            r"\\lab.example\sysvol\lab.example\Policies\{{{name}}}"
        )),
        version: GptVersion(1),
        extensions: format!(
            "[{}{{803E14A0-B4FB-11D0-A0D0-00A0C90F574B}}]",
            Extension::Security.guid()
        ),
        functionality: Some(2),
        flags: 0,
        wmi: None,
        dacl: Some(Dacl::Entries(vec![entry(Decision::Allow, "S-1-5-11")])),
    }
}

fn by_name(objects: Vec<PolicyObject>) -> BTreeMap<String, PolicyObject> {
    objects
        .into_iter()
        .map(|object| (object.dn.canonical(), object))
        .collect()
}

fn says(value: Option<bool>, version: u32) -> Files {
    let mut values = Values::default();
    if let Some(on) = value {
        let value = if on { Value::Enabled } else { Value::Disabled };
        values
            .values
            .insert(Key::Item(Item::Setting(Setting::ServerAlways)), value);
    }
    Files {
        version: Some(GptVersion(version)),
        values,
        problems: Vec::new(),
    }
}

fn fates(conclusion: &Conclusion) -> Vec<Fate> {
    let considered = conclusion.considered.iter();
    considered.map(|one| one.fate.clone()).collect()
}

#[test]
fn every_reason_to_drop_an_object() {
    let containers = four(
        [
            &[],
            &[
                ("missing", 0),
                ("old", 0),
                ("off", 0),
                ("user-off", 0),
                ("denied", 0),
                ("unreadable", 0),
                ("other", 0),
                ("empty", 0),
                ("broken", 0),
            ],
            &[],
            &[],
        ],
        [false; 4],
    );
    let mut old = object("old");
    old.functionality = Some(1);
    let mut off = object("off");
    off.flags = 2;
    let mut user_off = object("user-off");
    user_off.flags = 1;
    let mut denied = object("denied");
    denied.dacl = Some(Dacl::Entries(vec![]));
    let mut unreadable = object("unreadable");
    unreadable.dacl = None;
    let mut other = object("other");
    other.extensions = "[{00000000-0000-0000-0000-000000000000}{x}]".to_owned();
    let mut empty = object("empty");
    empty.version = GptVersion(0x0005_0000);
    let objects = by_name(vec![
        old,
        off,
        user_off,
        denied,
        unreadable,
        other,
        empty,
        object("broken"),
    ]);
    let plan = plan(&containers, &objects, &Token::new([]));
    let key = |name: &str| dn(&gpo_dn(name)).canonical();
    assert_eq!(plan.wanted().len(), 3);
    let files = BTreeMap::from([
        (key("user-off"), says(Some(true), 1)),
        (key("empty"), says(None, 0)),
        (
            key("broken"),
            Files {
                version: Some(GptVersion(2)),
                values: Values::default(),
                problems: vec!["why".to_owned()],
            },
        ),
    ]);
    let conclusion = conclude(&plan, &files).unwrap();
    assert_eq!(
        fates(&conclusion),
        [
            Fate::Filtered(Filtered::NotFound),
            Fate::Filtered(Filtered::FunctionalityVersion),
            Fate::Filtered(Filtered::MachinePartOff),
            Fate::Applied { speaks: true },
            Fate::Filtered(Filtered::NoApplyRight),
            Fate::Filtered(Filtered::SecurityUnreadable),
            Fate::Filtered(Filtered::NoExtensionOfOurs),
            Fate::Filtered(Filtered::Empty),
            Fate::Filtered(Filtered::Unreadable {
                why: "why".to_owned()
            }),
        ]
    );
    assert_eq!(
        conclusion.considered[8].notes,
        ["version 1 in the directory, 2 in SYSVOL"]
    );
    assert_eq!(conclusion.layers.objects.len(), 1);
    assert_eq!(
        conclusion.layers.objects[0].settings.server_always,
        Value::Enabled
    );
    let json = serde_json::to_string(&conclusion).unwrap();
    assert_eq!(
        serde_json::from_str::<Conclusion>(&json).unwrap(),
        conclusion
    );
}

/// Of weak to strong: (what it says, has a WMI filter).
fn with_filters(objects: &[(Option<bool>, bool)]) -> Result<Conclusion, Undecided> {
    let names: Vec<String> = (0..objects.len())
        .map(|number| format!("g{number}"))
        .collect();
    let links: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 0)).collect();
    let containers = four([&[], &links, &[], &[]], [false; 4]);
    let made = names.iter().zip(objects).map(|(name, (_, filter))| {
        let mut object = object(name);
        object.wmi = filter.then(|| WmiFilter {
            text: "[x;{y};0]".to_owned(),
            query: Some(("only ten".to_owned(), "SELECT".to_owned())),
        });
        object
    });
    let plan = plan(&containers, &by_name(made.collect()), &Token::new([]));
    let files = names
        .iter()
        .zip(objects)
        .map(|(name, (value, _))| (dn(&gpo_dn(name)).canonical(), says(*value, 1)))
        .collect();
    conclude(&plan, &files)
}

#[test]
fn wmi_filters_are_never_guessed() {
    let (on, off) = (Some(true), Some(false));
    assert!(
        with_filters(&[(on, true)]).is_err(),
        "what is below may differ"
    );
    assert!(with_filters(&[(off, false), (on, true)]).is_err());
    assert!(
        with_filters(&[(on, false), (on, true)]).is_ok(),
        "the same either way"
    );
    assert!(
        with_filters(&[(on, true), (off, false)]).is_ok(),
        "overruled either way"
    );
    assert!(with_filters(&[(None, true)]).is_ok(), "says nothing");
    let kept = with_filters(&[(on, false), (on, true)]).unwrap();
    assert_eq!(kept.layers.objects.len(), 1);
    assert!(matches!(kept.considered[1].fate, Fate::Undecided { .. }));
    let error = with_filters(&[(on, true)]).unwrap_err();
    assert!(error.to_string().contains("only ten"));
    assert_eq!(
        WmiFilter::reference("[lab.example;{A};0]"),
        Some(("lab.example", "{A}"))
    );
    assert_eq!(WmiFilter::reference(" "), None);
}

#[test]
fn a_missing_wmi_filter_lets_the_object_apply() {
    let mut one = object("one");
    one.wmi = Some(WmiFilter {
        text: "[x;{y};0]".to_owned(),
        query: None,
    });
    let containers = four([&[], &[("one", 0)], &[], &[]], [false; 4]);
    let plan = plan(&containers, &by_name(vec![one]), &Token::new([]));
    assert_eq!(plan.steps[0].notes.len(), 1);
    assert!(plan.steps[0].next.as_ref().unwrap().undecided.is_none());
}

#[test]
fn dates_stay_while_nothing_changes() {
    let mut first = with_filters(&[(Some(true), false), (Some(false), false)]).unwrap();
    first.date(&Conclusion::default(), 10);
    let mut second = with_filters(&[(Some(true), false), (Some(true), false)]).unwrap();
    second.date(&first, 20);
    let dates: Vec<_> = second
        .layers
        .objects
        .iter()
        .map(|layer| layer.since)
        .collect();
    assert_eq!(dates, [Some(10), Some(20)]);
    assert!(!second.says_the_same(&first));
    let mut third = second.clone();
    third.date(&second, 30);
    assert!(third.says_the_same(&second));
    assert_eq!(third, second);
}

#[test]
fn gpt_ini() {
    assert_eq!(
        gpt_version(b"[General]\r\nVersion=65538")
            .unwrap()
            .machine(),
        2
    );
    assert_eq!(
        gpt_version(b"\xEF\xBB\xBF; x\n[ general ]\ndisplayName=\xE4\n version = 7 \n").unwrap(),
        GptVersion(7)
    );
    assert_eq!(
        gpt_version(b"[Other]\nVersion=1\n[General]\nversion=2").unwrap(),
        GptVersion(2)
    );
    assert_eq!(gpt_version(b"Version=1"), Err(GptError::NoSection));
    assert_eq!(gpt_version(b"[General]\n"), Err(GptError::NoVersion));
    assert_eq!(
        gpt_version(b"[General]\nVersion=4294967296"),
        Err(GptError::BadVersion)
    );
    assert_eq!(gpt_version(&[b'x'; 70_000]), Err(GptError::TooLarge));
}

fn utf16(text: &str) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xFE];
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    bytes
}

const TEMPLATE: &str = "[Unicode]\r\nUnicode=yes\r\n[Registry Values]\r\n\
    machine\\SYSTEM\\CurrentControlSet\\Services\\lanmanserver\\parameters\\requiresecuritysignature = 4 , 1\r\n\
    \"MACHINE\\System\\CurrentControlSet\\Services\\LanmanWorkstation\\Parameters\\EnableSecuritySignature\"=4,\"0x0\"\r\n\
    MACHINE\\Software\\Other=1,\"x\"\r\n[Version]\r\nsignature=\"$CHICAGO$\"\r\n";

#[test]
fn templates() {
    let values = template_values(&utf16(TEMPLATE)).unwrap();
    let settings = values.settings();
    assert_eq!(settings.server_always, Value::Enabled);
    assert_eq!(settings.client_if_server_agrees, Value::Disabled);
    assert_eq!(settings.client_always, Value::NotDefined);
    assert_eq!(template_values(TEMPLATE.as_bytes()).unwrap(), values);
    for bad in ["=4,1", "=4,2"] {
        let swapped = TEMPLATE.replace(" = 4 , 1", bad);
        assert_eq!(template_values(swapped.as_bytes()).is_ok(), bad == "=4,1");
    }
    for bad in ["=1,\"1\"", "=4", "=4,", "=4,yes", "=", "=7,1"] {
        let swapped = TEMPLATE.replace(" = 4 , 1", bad);
        assert!(template_values(swapped.as_bytes()).is_err(), "{bad}");
    }
    let two = TEMPLATE
        .replace(" = 4 , 1", "=4,yes")
        .replace("=4,\"0x0\"", "=4,2");
    let error = template_values(two.as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("GptTmpl.inf:4:"), "{error}");
    assert!(
        error.contains("; GptTmpl.inf:5:") && !error.contains('\n'),
        "{error}"
    );
    assert!(template_values(b"").is_err());
    assert_eq!(template_values(b"[Version]").unwrap(), Values::default());
}

#[test]
fn what_was_said_is_kept_as_text() {
    let mut values = template_values(TEMPLATE.as_bytes()).unwrap();
    values.values.insert(Key::AllowExceptions, Value::Disabled);
    values.values.insert(
        Key::Item(Item::Audit(AuditSwitch::Smb1Access)),
        Value::NotDefined,
    );
    let mut last = LastGood::default();
    let said = Said { version: 3, values };
    last.insert("x", Extension::Security, said.clone());
    let text = serde_json::to_string(&last).unwrap();
    let back: LastGood = serde_json::from_str(&text).unwrap();
    assert_eq!(back, last, "{text}");
    assert_eq!(back.get("x", Extension::Security), Some(&said));
    assert_eq!(back.get("x", Extension::Registry), None);
    assert!(serde_json::from_str::<LastGood>(&text.replace("server-always", "other")).is_err());
}

fn pol(entries: &[(&str, &str, u32, &[u8])]) -> Vec<u8> {
    let mut bytes = b"PReg\x01\0\0\0".to_vec();
    let wide = |text: &str| {
        text.encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<u8>>()
    };
    for (key, value, kind, data) in entries {
        bytes.extend(wide(&format!("[{key}\0;{value}\0;")));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(wide(";"));
        bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        bytes.extend(wide(";"));
        bytes.extend(*data);
        bytes.extend(wide("]"));
    }
    bytes
}

#[test]
fn registry_pol() {
    let server = r"software\policies\Microsoft\Windows\LanmanServer";
    let bytes = pol(&[
        (server, "AuditSmb1Access", 4, &[1, 0, 0, 0]),
        (server, "auditclientdoesnotsupportsigning", 4, &[0, 0, 0, 0]),
        (server, "**del.AuditInsecureGuestLogon", 1, &[32, 0, 0, 0]),
        (REGISTRY_KEY, "AllowExceptions", 4, &[0, 0, 0, 0]),
        (r"Software\Other", "AuditSmb1Access", 3, &[9]),
        (
            r"SYSTEM\CurrentControlSet\Services\LanManServer\Parameters",
            "RequireSecuritySignature",
            4,
            &[0, 0, 0, 0],
        ),
    ]);
    let values = registry_values(&bytes).unwrap().values;
    let audit = |switch| values[&Key::Item(Item::Audit(switch))];
    assert_eq!(audit(AuditSwitch::Smb1Access), Value::Enabled);
    assert_eq!(
        audit(AuditSwitch::ClientDoesNotSupportSigning),
        Value::Disabled
    );
    assert_eq!(
        audit(AuditSwitch::ServerInsecureGuestLogon),
        Value::NotDefined
    );
    assert_eq!(values[&Key::AllowExceptions], Value::Disabled);
    assert_eq!(values.len(), 4, "the four settings do not belong here");
    for (kind, data) in [(4, [2, 0, 0, 0]), (1, [0, 0, 0, 0])] {
        let bad = pol(&[(REGISTRY_KEY, "AllowExceptions", kind, &data)]);
        assert!(registry_values(&bad).is_err());
    }
    let names: Vec<u8> = "Other;allowexceptions"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for (name, data) in [
        ("**delvals.", &[][..]),
        ("**del.AllowExceptions", &[]),
        ("**DeleteValues", &names),
    ] {
        let delete = pol(&[
            (REGISTRY_KEY, "AllowExceptions", 4, &[0, 0, 0, 0]),
            (REGISTRY_KEY, name, 1, data),
        ]);
        assert_eq!(
            registry_values(&delete).unwrap().values[&Key::AllowExceptions],
            Value::NotDefined
        );
    }
    // Every cut is refused, except between two entries.
    let whole = (1..bytes.len()).filter(|cut| registry_values(&bytes[..*cut]).is_ok());
    assert_eq!(whole.count(), 6);
}

#[test]
fn a_later_object_takes_a_switch_back() {
    let mut files = BTreeMap::new();
    let mut objects = Vec::new();
    for (name, value) in [("a", Value::Enabled), ("b", Value::NotDefined)] {
        let mut object = object(name);
        object.extensions = format!("[{}{{x}}]", Extension::Registry.guid());
        let mut values = Values::default();
        values
            .values
            .insert(Key::Item(Item::Audit(AuditSwitch::Smb1Access)), value);
        values.values.insert(Key::AllowExceptions, Value::Disabled);
        files.insert(
            object.dn.canonical(),
            Files {
                version: Some(GptVersion(1)),
                values,
                problems: Vec::new(),
            },
        );
        objects.push(object);
    }
    let containers = four([&[], &[("a", 0), ("b", 0)], &[], &[]], [false; 4]);
    let plan = plan(&containers, &by_name(objects), &Token::new([]));
    let conclusion = conclude(&plan, &files).unwrap();
    assert!(conclusion.switches.is_empty());
    assert!(!conclusion.exceptions_allowed());
    assert_eq!(conclusion.layers.objects.len(), 1);
    assert!(conclusion.layers.objects[0].forbid_exceptions);
    assert_eq!(conclusion.allow_exceptions.unwrap().1.name, "the b");
}

proptest! {
    #[test]
    fn no_text_or_bytes_panic(text in ".{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = text.parse::<DistinguishedName>();
        let _ = parse_links(&text);
        let _ = gpt_version(&bytes);
        let _ = template_values(&bytes);
        let _ = registry_values(&[b"PReg\x01\0\0\0".as_slice(), &bytes].concat());
    }

    #[test]
    fn an_ancestor_reads_as_it_is_written(parts in proptest::collection::vec("[a-z ,+=\\\\\"]{1,6}", 1..6)) {
        let escape = |value: &str| -> String { value.chars().flat_map(|c| ['\\', c]).collect() };
        // A letter that is a hexadecimal digit cannot be escaped by itself.
        let text: Vec<String> = parts
            .iter()
            .map(|value| format!("OU={}", escape(&value.replace(|c: char| c.is_ascii_hexdigit(), "z"))))
            .collect();
        let name = dn(&text.join(","));
        for (count, part) in parts.iter().enumerate() {
            let ancestor = name.ancestor(count).unwrap();
            prop_assert_eq!(ancestor.first().1, part.replace(|c: char| c.is_ascii_hexdigit(), "z"));
        }
    }

    /// Whatever the links: every link stands once; what counts is in two runs, the one
    /// without enforced links rising through the containers, the other falling.
    #[test]
    fn order_holds_for_any_links(
        options in proptest::collection::vec(proptest::collection::vec(0u32..4, 0..4), 4),
        block in proptest::array::uniform4(any::<bool>()),
    ) {
        let names: Vec<Vec<String>> = options
            .iter()
            .enumerate()
            .map(|(at, links)| (0..links.len()).map(|n| format!("{at}{n}")).collect())
            .collect();
        let links: Vec<Vec<(&str, u32)>> = names
            .iter()
            .zip(&options)
            .map(|(names, options)| names.iter().map(String::as_str).zip(options.iter().copied()).collect())
            .collect();
        let containers = four([&links[0], &links[1], &links[2], &links[3]], block);
        let order = apply_order(&containers);
        prop_assert_eq!(order.len(), options.iter().map(Vec::len).sum::<usize>());
        let place = |placed: &Placed<'_>| containers.iter().position(|one| one.dn == placed.container.dn).unwrap();
        let counts: Vec<_> = order.iter().filter(|placed| placed.place == Place::Counts).collect();
        let (enforced, plain): (Vec<&Placed<'_>>, Vec<&Placed<'_>>) =
            counts.iter().copied().partition(|placed| placed.link.is_enforced());
        prop_assert!(plain.is_sorted_by_key(|placed| place(placed)));
        prop_assert!(enforced.iter().rev().is_sorted_by_key(|placed| place(placed)));
        let first_enforced = counts.iter().position(|placed| placed.link.is_enforced()).unwrap_or(counts.len());
        prop_assert_eq!(first_enforced, plain.len());
        for placed in &plain {
            prop_assert!(!block[place(placed) + 1..].iter().any(|one| *one));
        }
    }
}

#[test]
fn the_administrative_template_sets_what_is_read() {
    let template = include_str!("../../../../docs/admx/countersign.admx");
    let key = format!(
        "key=\"{REGISTRY_KEY}\" valueName=\"{}\"",
        Key::AllowExceptions
    );
    assert!(template.contains(&key), "{key}");
    // Every string it names is in the language's file.
    let strings = include_str!("../../../../docs/admx/en-US/countersign.adml");
    for part in template.split("$(string.").skip(1) {
        let name = part.split(')').next().unwrap_or_default();
        assert!(
            strings.contains(&format!("<string id=\"{name}\">")),
            "{name}"
        );
    }
}
