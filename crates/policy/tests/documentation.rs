//! The documentation says what the code does. After an intended change:
//! `UPDATE_SNAPSHOTS=1 cargo test -p countersign-policy`.

#![allow(clippy::unwrap_used, reason = "a test's own helpers may fail loudly")]

use std::fmt::Write as _;
use std::path::PathBuf;

use countersign_policy::check::{Baseline, RULES};
use countersign_policy::{Profile, Reason, Role, Setting};

fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name)
}

fn current(name: &str, wanted: &str) {
    let path = docs(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/{name} is not current: run with UPDATE_SNAPSHOTS=1"
    );
}

#[test]
fn reasons_are_documented() {
    let mut text = String::from(
        "# Reasons\n\nGenerated from `countersign_policy::Reason`. The codes are stable: logs and\n`--json` output use them. Those of logons that fail for another reason are in\n[audit.md](audit.md).\n\n| code | text | meaning |\n|---|---|---|\n",
    );
    for reason in Reason::ALL {
        let meaning = reason
            .documentation()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        writeln!(
            text,
            "| `{}` | {} | {meaning} |",
            reason.code(),
            reason.text()
        )
        .unwrap();
    }
    current("reasons.md", &text);
}

#[test]
fn profiles_are_documented() {
    let mut text = String::from(
        "# Profiles\n\nGenerated from `countersign_policy::Profile`: the weakest layer of the four\nsettings, by profile and role. `not-defined` acts as `disabled`.\n\n| profile | role |",
    );
    for setting in Setting::ALL {
        write!(text, " `{setting}` |").unwrap();
    }
    text.push_str("\n|---|---|---|---|---|---|\n");
    for profile in Profile::ALL {
        for role in Role::ALL {
            write!(text, "| `{profile}` | `{role}` |").unwrap();
            for setting in Setting::ALL {
                write!(text, " {} |", profile.settings(role).get(setting)).unwrap();
            }
            text.push('\n');
        }
    }
    text.push_str(
        "\n| setting | in the policy editor | registry value | CIS |\n|---|---|---|---|\n",
    );
    for setting in Setting::ALL {
        writeln!(
            text,
            "| `{setting}` | {} | `{}` | {} |",
            setting.policy_name(),
            setting.registry(),
            setting.cis()
        )
        .unwrap();
    }
    current("profiles.md", &text);
}

#[test]
fn checks_are_documented() {
    let mut text = String::from(
        "# Checks\n\nGenerated from `countersign_policy::check`. `countersign policy check` looks at every\nrunning server (without any, at what one started now would have), at the local policy\nstore with `--local`, or at a file that is named. It fails (exit status 1) when a rule at\nor above `--fail-on` finds something; the default is `warning`. A baseline is asked for\nwith `--baseline NAME`; its rules are then errors. Whether the others are met is told\nand fails nothing.\n\n`--format` is `text`, `json`, `sarif` (SARIF 2.1.0) or `junit`; `-o FILE` writes it to a\nfile. Of a file (and of the store with `--local`) rules that look at a server's\nconfiguration are `unknown`, and so are those that depend on a setting which is not\ndefined there. A baseline that is asked for has to be in the file.\n\nIn SARIF a finding stands at the line of the file that sets what it is about; those of a\nserver at the configuration file, or at the policy store.\n\n```\ncountersign policy check --baseline cis --format sarif -o policy.sarif\ncountersign policy check GptTmpl.inf --baseline stig-server-2025\n```\n\n## Rules\n\n| rule | level | what | consequence | remedy |\n|---|---|---|---|---|\n",
    );
    for rule in RULES {
        writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            rule.id, rule.level, rule.message, rule.consequence, rule.remedy
        )
        .unwrap();
    }
    text.push_str(
        "\n## Baselines\n\nA value that is stronger than a baseline wants meets it. \"Not defined\" acts as disabled.\n\n| baseline | |",
    );
    for setting in Setting::ALL {
        write!(text, " `{setting}` |").unwrap();
    }
    text.push_str("\n|---|---|---|---|---|---|\n");
    for baseline in Baseline::ALL {
        write!(text, "| `{baseline}` | {} |", baseline.title()).unwrap();
        for setting in Setting::ALL {
            match baseline.wants(setting) {
                Some((value, id)) => write!(text, " {value} ({id}) |").unwrap(),
                None => text.push_str(" - |"),
            }
        }
        text.push('\n');
    }
    current("checks.md", &text);
}
