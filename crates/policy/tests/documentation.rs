//! The documentation says what the code does. After an intended change:
//! `UPDATE_SNAPSHOTS=1 cargo test -p countersign-policy`.

#![allow(clippy::unwrap_used, reason = "a test's own helpers may fail loudly")]

use std::fmt::Write as _;
use std::path::PathBuf;

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
        "# Reasons\n\nGenerated from `countersign_policy::Reason`. The codes are stable: logs and\n`--json` output use them.\n\n| code | text | meaning |\n|---|---|---|\n",
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
