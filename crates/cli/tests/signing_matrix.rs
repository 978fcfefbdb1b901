//! Each of the nine server policies, and Declined, against each way smbclient (which
//! must be installed) can be told to sign: signed, unsigned or refused as the tables
//! of docs/policy.md say.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own helpers may fail loudly"
)]

mod harness;

use harness::client::Client;
use harness::{Server, Site, good, json, run, until};
use serde_json::Value as Json;

const VALUES: [&str; 3] = ["enabled", "disabled", "not-defined"];
/// Words of `client signing`; in SMB1 they are Disabled, Declined, Enabled, Required.
const CLIENTS: [&str; 4] = ["disabled", "if_required", "desired", "required"];

struct Scene {
    site: Site,
    port: String,
    _server: Server,
}

impl Scene {
    fn new(declined: bool) -> Scene {
        let site = Site::new(&format!(
            "[policy]\nprofile = \"windows-10\"\ndeclined = {declined}\n"
        ));
        let (server, port) = site.start();
        Scene {
            site,
            port,
            _server: server,
        }
    }

    fn set(&self, always: &str, if_agrees: &str) {
        let (always, if_agrees) = (
            format!("server-always={always}"),
            format!("server-if-client-agrees={if_agrees}"),
        );
        good(run(&[
            "policy",
            "set",
            &always,
            &if_agrees,
            "--state",
            &self.site.state,
        ]));
    }

    fn sessions(&self) -> Vec<Json> {
        let listed = json(&good(run(&[
            "sessions",
            "--json",
            "--state",
            &self.site.state,
        ])));
        listed["sessions"].as_array().unwrap().clone()
    }

    /// What becomes of one client.
    fn outcome(&self, dialect: &str, signing: &str) -> &'static str {
        until("the last client is gone", || self.sessions().is_empty());
        let option = format!("--option=client signing={signing}");
        let mut client = Client::start(&self.port, dialect, &[&option]);
        if !client.works() {
            return "refused";
        }
        let sessions = self.sessions();
        assert_eq!(sessions.len(), 1, "{sessions:#?}");
        if sessions[0]["signed"] == true {
            "signed"
        } else {
            "unsigned"
        }
    }
}

/// The column of a server's posture in SMB1, by the client's.
fn smb1_table(always: &str, if_agrees: &str, declined: bool) -> [&'static str; 4] {
    match (always == "enabled", if_agrees == "enabled", declined) {
        (true, _, _) => ["refused", "signed", "signed", "signed"],
        (false, true, _) => ["unsigned", "unsigned", "signed", "signed"],
        (false, false, true) => ["unsigned", "unsigned", "unsigned", "signed"],
        (false, false, false) => ["unsigned", "unsigned", "unsigned", "refused"],
    }
}

fn smb1(declined: bool) {
    let scene = Scene::new(declined);
    for always in VALUES {
        for if_agrees in VALUES {
            scene.set(always, if_agrees);
            let expected = smb1_table(always, if_agrees, declined);
            let found = CLIENTS.map(|signing| scene.outcome("NT1", signing));
            assert_eq!(found, expected, "always {always}, if agrees {if_agrees}");
        }
    }
}

#[test]
fn smb1_in_all_nine_policies() {
    smb1(false);
}

#[test]
fn smb1_declined_in_all_nine_policies() {
    smb1(true);
}

#[test]
fn smb2_and_3_only_always_counts() {
    let scene = Scene::new(false);
    for always in VALUES {
        for if_agrees in VALUES {
            scene.set(always, if_agrees);
            for dialect in ["SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11"] {
                // "desired" signs of its own will where nobody requires it.
                let expected = match always {
                    "enabled" => ["signed"; 4],
                    _ => ["unsigned", "unsigned", "signed", "signed"],
                };
                let found = CLIENTS.map(|signing| scene.outcome(dialect, signing));
                assert_eq!(
                    found, expected,
                    "{dialect}, always {always}, if agrees {if_agrees}"
                );
            }
        }
    }
}
