//! What the commands write for other programs, judged by other programs: Samba's testparm
//! reads smb.conf, an XML parser the picture, JUnit's report and SyncML.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own helpers may fail loudly"
)]

mod harness;

use std::process::Command;

use harness::{command, good, run, text};

/// What a program prints; nothing: it is not installed.
fn judged(program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            let both = [output.stdout, output.stderr].concat();
            Some((
                output.status.success(),
                String::from_utf8_lossy(&both).into_owned(),
            ))
        }
        Err(error) => {
            eprintln!("skipped: {program}: {error}");
            None
        }
    }
}

#[test]
fn testparm_reads_smb_conf_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = text(&folder.path().join("smb.conf"));
    // Pairs of "always" and "if agrees", and what testparm calls them.
    for (always, if_agrees, server, client) in [
        ("enabled", "enabled", "required", "required"),
        ("enabled", "disabled", "required", "required"),
        ("disabled", "enabled", "if_required", "desired"),
        ("disabled", "disabled", "No", "No"),
    ] {
        let state = text(&folder.path().join(format!("{always}-{if_agrees}")));
        good(run(&[
            "policy",
            "set",
            &format!("server-always={always}"),
            &format!("server-if-client-agrees={if_agrees}"),
            &format!("client-always={always}"),
            &format!("client-if-server-agrees={if_agrees}"),
            "--state",
            &state,
        ]));
        let export = ["policy", "export", "--format", "smb-conf", "-o", &file];
        good(run(&[&export[..], &["--state", &state]].concat()));
        let asked = |parameter: &str| {
            judged(
                "testparm",
                &[
                    "-s",
                    "--parameter-name",
                    parameter,
                    "--section-name=global",
                    &file,
                ],
            )
        };
        let (Some((read, whole)), Some(servers), Some(clients)) = (
            judged("testparm", &["-s", &file]),
            asked("server signing"),
            asked("client signing"),
        ) else {
            return;
        };
        assert!(read && whole.contains("Loaded services file OK"), "{whole}");
        assert!(!whole.contains("Unknown parameter"), "{whole}");
        for (said, wanted) in [(servers.1, server), (clients.1, client)] {
            let first = said.trim().lines().next().unwrap_or_default();
            // Some versions print the word in place of "No".
            let same = first == wanted || (wanted == "No" && first == "disabled");
            assert!(same, "{always} {if_agrees}: {wanted}: {said}");
        }
    }
}

#[test]
fn what_is_xml_is_well_formed() {
    let folder = tempfile::tempdir().unwrap();
    let state = text(&folder.path().join("state"));
    good(run(&[
        "policy",
        "set",
        "server-always=disabled",
        "audit-smb1-access=enabled",
        "--state",
        &state,
    ]));
    let odd = text(&folder.path().join("a <b> & \"c\".inf"));
    std::fs::write(
        &odd,
        "[Registry Values]\nMACHINE\\System\\CurrentControlSet\\Services\\LanManServer\\Parameters\\RequireSecuritySignature=4,0\n",
    )
    .unwrap();
    let parse =
        "import sys, xml.etree.ElementTree as tree; print(tree.parse(sys.argv[1]).getroot().tag)";
    for (name, root, arguments) in [
        (
            "matrix.svg",
            "{http://www.w3.org/2000/svg}svg",
            &["matrix", "--format", "svg"][..],
        ),
        (
            "report.xml",
            "testsuites",
            &["check", &odd, "--baseline", "cis", "--format", "junit"],
        ),
        ("server.xml", "testsuites", &["check", "--format", "junit"]),
        (
            "intune.xml",
            "{SYNCML:SYNCML1.2}SyncML",
            &["export", "--format", "intune"],
        ),
    ] {
        let file = text(&folder.path().join(name));
        let written =
            command(&[&["policy"], arguments, &["-o", &file, "--state", &state]].concat())
                .output()
                .unwrap();
        assert!(
            [Some(0), Some(1)].contains(&written.status.code()),
            "{written:?}"
        );
        let Some((read, said)) = judged("python3", &["-c", parse, &file]) else {
            return;
        };
        assert!(read, "{name}: {said}");
        assert_eq!(said.trim(), root, "{name}");
    }
}
