//! The lints: every rule fires where it should and nowhere else, and the reports are
//! what pipelines read.

#![allow(clippy::unwrap_used, reason = "a test's own helpers may fail loudly")]

use countersign_policy::check::{
    Baseline, Checked, Hardening, Level, RULES, ReportFormat, Status, Subject, check, write,
};
use countersign_policy::{Setting, Settings, Value};

/// A configuration with nothing to complain about.
fn hard() -> Hardening {
    Hardening {
        smb1: false,
        declined: false,
        ntlmv1_smb1: false,
        ntlmv1_smb2: false,
        lm_v2: false,
        guests: false,
        anonymous: false,
        lockout_after: 50,
        failed_logon_delay: 2000,
        ends_on_tighten: true,
    }
}

fn settings(server_if: bool, server: bool, client_if: bool, client: bool) -> Settings {
    let value = |on| if on { Value::Enabled } else { Value::Disabled };
    Settings {
        server_if_client_agrees: value(server_if),
        server_always: value(server),
        client_if_server_agrees: value(client_if),
        client_always: value(client),
    }
}

fn subject(settings: Settings, hardening: Option<Hardening>) -> Subject {
    Subject {
        name: "server 1".to_owned(),
        settings,
        set_by: [const { String::new() }; 4],
        template: false,
        file: None,
        lines: [None; 4],
        hardening,
    }
}

fn fired(checked: &Checked) -> Vec<&str> {
    checked
        .failed(Level::Note)
        .map(|one| one.rule.as_str())
        .collect()
}

fn on(settings: Settings, change: impl FnOnce(&mut Hardening)) -> Vec<String> {
    let mut hardening = hard();
    change(&mut hardening);
    let checked = check(&subject(settings, Some(hardening)), &[]);
    fired(&checked).into_iter().map(str::to_owned).collect()
}

#[test]
fn each_rule_fires_where_it_should() {
    let secure = settings(true, true, true, true);
    assert!(on(secure, |_| {}).is_empty());
    let cases: &[(&str, Vec<String>)] = &[
        ("smb1", on(secure, |one| one.smb1 = true)),
        ("ntlmv1", on(secure, |one| one.ntlmv1_smb1 = true)),
        ("ntlmv1", on(secure, |one| one.ntlmv1_smb2 = true)),
        ("lmv2", on(secure, |one| one.lm_v2 = true)),
        ("guests-under-required", on(secure, |one| one.guests = true)),
        (
            "guests-under-required",
            on(secure, |one| one.anonymous = true),
        ),
        ("no-lock-out", on(secure, |one| one.lockout_after = 0)),
        (
            "no-logon-delay",
            on(secure, |one| one.failed_logon_delay = 0),
        ),
        ("declined", on(secure, |one| one.declined = true)),
        (
            "kept-on-tighten",
            on(secure, |one| one.ends_on_tighten = false),
        ),
        (
            "server-always-without-if-agrees",
            on(settings(false, true, true, true), |_| {}),
        ),
        (
            "client-always-without-if-agrees",
            on(settings(true, true, false, true), |_| {}),
        ),
        (
            "server-gives-way",
            on(settings(true, false, true, true), |_| {}),
        ),
        (
            "client-gives-way",
            on(settings(true, true, true, false), |_| {}),
        ),
        ("server-off", on(settings(false, false, true, true), |_| {})),
        ("client-off", on(settings(true, true, false, false), |_| {})),
    ];
    for (rule, found) in cases {
        assert_eq!(found, &[*rule], "{rule}");
    }
    let all_off = on(settings(false, false, false, false), |_| {});
    assert_eq!(all_off, ["all-off", "server-off", "client-off"]);
    let old = on(settings(false, true, true, true), |one| one.smb1 = true);
    assert!(old.contains(&"smb1-always-without-if-agrees".to_owned()));
    let open = on(settings(true, false, true, true), |one| {
        one.smb1 = true;
        one.guests = true;
    });
    assert_eq!(
        open,
        ["server-gives-way", "smb1", "smb1-unsigned", "guests"]
    );
    // Every rule was seen above.
    let mut seen: Vec<String> = cases.iter().map(|(rule, _)| (*rule).to_owned()).collect();
    seen.extend([all_off, old, open].concat());
    for rule in RULES {
        assert!(seen.iter().any(|one| one == rule.id), "{}", rule.id);
        assert!(!rule.consequence.is_empty() && !rule.remedy.is_empty());
    }
}

#[test]
fn baselines_have_their_values_and_identifiers() {
    let id = |baseline: Baseline, setting| baseline.wants(setting).map(|(_, id)| id);
    for (setting, cis, ids) in [
        (
            Setting::ClientAlways,
            "CIS 2.3.8.1",
            ["V-225039", "V-205825", "V-254460", "V-278210"],
        ),
        (
            Setting::ClientIfServerAgrees,
            "CIS 2.3.8.2",
            ["V-225040", "V-205826", "V-254461", "V-278211"],
        ),
        (
            Setting::ServerAlways,
            "CIS 2.3.9.2",
            ["V-225042", "V-205827", "V-254463", "V-278213"],
        ),
        (
            Setting::ServerIfClientAgrees,
            "CIS 2.3.9.3",
            ["V-225043", "V-205828", "V-254464", "V-278214"],
        ),
    ] {
        assert_eq!(id(Baseline::Cis, setting).unwrap(), cis);
        let stigs = [
            Baseline::StigServer2016,
            Baseline::StigServer2019,
            Baseline::StigServer2022,
            Baseline::StigServer2025,
        ];
        for (stig, wanted) in stigs.into_iter().zip(ids) {
            assert_eq!(id(stig, setting).unwrap(), wanted);
        }
    }
    assert_eq!(
        id(Baseline::StigWindows11, Setting::ClientAlways).unwrap(),
        "V-253449"
    );
    assert_eq!(
        id(Baseline::StigWindows11, Setting::ServerAlways).unwrap(),
        "V-253451"
    );
    assert_eq!(
        id(Baseline::StigWindows11, Setting::ServerIfClientAgrees),
        None
    );
    assert_eq!(id(Baseline::Microsoft, Setting::ServerIfClientAgrees), None);

    let met = |settings| -> Vec<Baseline> {
        check(&subject(settings, None), &[])
            .baselines
            .into_iter()
            .filter(|one| one.met)
            .map(|one| one.baseline)
            .collect()
    };
    assert_eq!(met(settings(true, true, true, true)), Baseline::ALL);
    assert_eq!(
        met(settings(true, false, true, false)),
        [Baseline::Recommended]
    );
    assert_eq!(
        met(settings(false, true, false, true)),
        [Baseline::Microsoft, Baseline::StigWindows11]
    );
    assert_eq!(met(Settings::default()), []);
}

#[test]
fn a_chosen_baseline_gives_findings() {
    let weak = subject(settings(true, false, true, false), None);
    let checked = check(&weak, &[Baseline::Cis]);
    let errors: Vec<_> = checked.failed(Level::Error).collect();
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[0].rule, "cis/server-always");
    assert_eq!(errors[0].references, ["CIS 2.3.9.2"]);
    assert_eq!(
        errors[0].remedy,
        "countersign policy set server-always=enabled"
    );
    // What is stronger than a set wants meets it.
    let strong = subject(settings(true, true, true, true), Some(hard()));
    let checked = check(&strong, &[Baseline::Recommended]);
    assert_eq!(checked.failed(Level::Warning).count(), 0);
    assert_eq!(checked.failed(Level::Note).count(), 0);
}

#[test]
fn what_a_template_leaves_open_is_not_held_against_it() {
    let template = |settings| Subject {
        template: true,
        ..subject(settings, None)
    };
    let status = |settings, rule: &str| {
        let checked = check(&template(settings), &[]);
        let found = checked.findings.iter().find(|one| one.rule == rule);
        found.unwrap().status
    };
    let nothing = Settings::default();
    for rule in RULES {
        assert_eq!(status(nothing, rule.id), Status::Unknown, "{}", rule.id);
    }
    let off = nothing.with(Setting::ServerAlways, Value::Disabled);
    assert_eq!(status(off, "server-off"), Status::Unknown);
    let both_off = off.with(Setting::ServerIfClientAgrees, Value::Disabled);
    assert_eq!(status(both_off, "server-off"), Status::Failed);
    assert_eq!(status(both_off, "all-off"), Status::Unknown);
    let on = nothing.with(Setting::ServerAlways, Value::Enabled);
    assert_eq!(status(on, "server-off"), Status::Passed);
    assert_eq!(status(on, "all-off"), Status::Passed);
    // A baseline that is asked for has to be in the file.
    let checked = check(&template(on), &[Baseline::Microsoft]);
    let failed: Vec<_> = checked.failed(Level::Error).map(|one| &one.rule).collect();
    assert_eq!(failed, ["microsoft/client-always"]);
}

#[test]
fn what_looks_at_a_server_is_unknown_of_a_template() {
    let checked = check(&subject(settings(true, true, true, true), None), &[]);
    let status = |rule: &str| {
        checked
            .findings
            .iter()
            .find(|one| one.rule == rule)
            .unwrap()
            .status
    };
    assert_eq!(status("ntlmv1"), Status::Unknown);
    assert_eq!(status("all-off"), Status::Passed);
}

#[test]
fn reports_are_what_pipelines_read() {
    let mut weak = subject(settings(false, false, false, false), None);
    weak.name = "a <b> & \"c\".inf".to_owned();
    let all = [check(&weak, &[Baseline::StigServer2022])];
    let report = |format| write(format, &all, Level::Warning, "1.2.3");

    let text = report(ReportFormat::Text);
    assert!(
        text.contains("error: all four settings are off [all-off]"),
        "{text}"
    );
    assert!(text.contains("(V-254463)"), "{text}");
    assert!(text.contains("CIS benchmark"), "{text}");

    let json: serde_json::Value = serde_json::from_str(&report(ReportFormat::Json)).unwrap();
    assert_eq!(json["failed"], 7);
    assert_eq!(json["subjects"][0]["findings"][0]["status"], "failed");

    let sarif: serde_json::Value = serde_json::from_str(&report(ReportFormat::Sarif)).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), RULES.len() + 4);
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 7);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["note", "warning", "error"].contains(&result["level"].as_str().unwrap()));
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(
            place["artifactLocation"]["uri"],
            "a%20%3Cb%3E%20%26%20%22c%22.inf"
        );
        assert_eq!(place["region"]["startLine"], 1);
        assert!(result["partialFingerprints"].is_object());
        assert!(result["message"]["text"].is_string());
    }
    for rule in rules {
        for text in ["shortDescription", "fullDescription", "help"] {
            assert!(!rule[text]["text"].as_str().unwrap().is_empty(), "{rule}");
        }
    }
    weak.file = Some("policies/a.inf".to_owned());
    weak.lines = [Some(7), Some(9), None, None];
    let placed = write(
        ReportFormat::Sarif,
        &[check(&weak, &[])],
        Level::Note,
        "1.2.3",
    );
    let placed: serde_json::Value = serde_json::from_str(&placed).unwrap();
    for (rule, line) in [("all-off", 7), ("server-off", 9), ("client-off", 1)] {
        let results = placed["runs"][0]["results"].as_array().unwrap();
        let result = results.iter().find(|one| one["ruleId"] == rule).unwrap();
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "policies/a.inf");
        assert_eq!(place["region"]["startLine"], line, "{rule}");
    }

    let junit = report(ReportFormat::Junit);
    assert!(
        junit.contains("name=\"a &lt;b&gt; &amp; &quot;c&quot;.inf\""),
        "{junit}"
    );
    let count = |what: &str| junit.matches(what).count();
    assert_eq!(count("<failure"), 7);
    assert_eq!(count("<testcase"), RULES.len() + 4);
    assert!(junit.contains(&format!("tests=\"{}\" failures=\"7\"", RULES.len() + 4)));
    assert_eq!(count("<skipped/>"), 11);
    for tag in ["testsuites", "testsuite", "failure"] {
        assert_eq!(
            count(&format!("<{tag}>")) + count(&format!("<{tag} ")),
            count(&format!("</{tag}>")),
            "{tag}"
        );
    }
}
