//! Objects that are damaged, half replicated, filtered, or not there at all.

#![allow(
    clippy::indexing_slicing,
    reason = "JSON values answer null for what is missing"
)]

use serde_json::Value;

use super::{INNER, SERVERS, Scene};
use crate::Res;
use crate::report::Tally;
use crate::server::Server;

const TEMPLATE: &str = "MACHINE\\Microsoft\\Windows NT\\SecEdit\\GptTmpl.inf";

pub(super) fn run(tally: &mut Tally, scene: &Scene<'_>, server: &Server) {
    tally.check("a damaged template", scene.damaged(server));
    tally.check("versions that differ", scene.half_replicated());
    tally.check("nested groups, allowed and denied", scene.nested_groups());
    tally.check("a WMI filter is never guessed", scene.wmi());
    tally.check(
        "an object that is gone, linked twice",
        scene.gone_and_twice(),
    );
}

impl Scene<'_> {
    /// What `policy gpo status` says of the links of an object, in order.
    fn considered(&self, status: &Value, name: &str) -> Vec<Value> {
        let all = status["applied"]["conclusion"]["considered"].as_array();
        let own = all.into_iter().flatten();
        own.filter(|one| one["gpo"]["name"] == name)
            .cloned()
            .collect()
    }

    fn codes(&self, status: &Value, name: &str) -> Vec<String> {
        let word = |one: &Value| {
            let fate = &one["fate"];
            let word = fate["code"].as_str().or(fate["is"].as_str());
            word.unwrap_or("-").to_owned()
        };
        self.considered(status, name).iter().map(word).collect()
    }

    fn fates(&self, status: &Value, name: &str, wanted: &[&str]) -> Res<()> {
        let found = self.codes(status, name);
        if found == wanted {
            Ok(())
        } else {
            Err(format!("{name}: {found:?}, not {wanted:?}"))
        }
    }

    /// It keeps what it said, is reported with line and column, and the rest goes on.
    fn damaged(&self, server: &Server) -> Res<()> {
        self.expect("server-always", "enabled", "ou", "At servers")?;
        let bad = "[Version]\r\nsignature=\"$CHICAGO$\"\r\n[Registry Values]\r\n\
                   MACHINE\\System\\CurrentControlSet\\Services\\LanmanWorkstation\\Parameters\\RequireSecuritySignature=4,0\r\n\
                   MACHINE\\System\\CurrentControlSet\\Services\\LanManServer\\Parameters\\RequireSecuritySignature=4,perhaps\r\n";
        self.admin(&[serde_json::json!(["file", "At servers", TEMPLATE, bad])])?;
        let status = self.refresh()?;
        self.expect("server-always", "enabled", "ou", "At servers")?;
        // Not even the line that can be read of it.
        self.expect("client-always", "enabled", "site", "At site")?;
        let one = self.considered(&status, "At servers");
        let problem = one[0]["problems"][0].as_str().unwrap_or_default();
        let text = self.countersign(&["policy", "gpo", "status"])?;
        let words = "stays in force";
        if !problem.starts_with("GptTmpl.inf:5:") || !problem.contains(words) {
            return Err(format!("the problem is `{problem}`"));
        }
        if !text.contains(problem) || !server.log().contains("GptTmpl.inf:5:") {
            return Err(format!("neither status nor log says so: {text}"));
        }
        self.admin(&[serde_json::json!(["file", "At servers", TEMPLATE, null])])?;
        self.refresh()?;
        self.expect("server-always", "enabled", "ou", "At servers")?;
        self.admin(&[serde_json::json!(["set", "At servers", {"server-always": 0}])])?;
        let status = self.refresh()?;
        self.expect("server-always", "disabled", "ou", "At servers")?;
        if self.considered(&status, "At servers")[0]["problems"] != Value::Null {
            return Err("a file that was mended is still reported".to_owned());
        }
        self.admin(&[serde_json::json!(["set", "At servers", {"server-always": 1}])])?;
        self.refresh().map(drop)
    }

    /// The directory is ahead of SYSVOL: what SYSVOL says counts, and it is noted.
    fn half_replicated(&self) -> Res<()> {
        self.admin(&[serde_json::json!(["version", "At servers", 900])])?;
        let status = self.refresh()?;
        self.expect("server-always", "enabled", "ou", "At servers")?;
        let one = self.considered(&status, "At servers");
        let note = one[0]["notes"][0].as_str().unwrap_or_default();
        if note.starts_with("version 900 in the directory, ") {
            Ok(())
        } else {
            Err(format!("noted: {}", one[0]))
        }
    }

    /// The account is in `inner group`, that in `outer group`, and that in the first again.
    fn nested_groups(&self) -> Res<()> {
        self.admin(&[
            serde_json::json!(["group", "inner group", ["FILES$"]]),
            serde_json::json!(["group", "outer group", ["inner group"]]),
            serde_json::json!(["group", "inner group", ["outer group"]]),
            serde_json::json!(["group", "strangers", ["bob"]]),
            serde_json::json!(["create", "For outer"]),
            serde_json::json!(["set", "For outer", {"client-always": 0}]),
            serde_json::json!(["only", "For outer", "outer group"]),
            serde_json::json!(["link", "For outer", INNER, 0]),
            serde_json::json!(["create", "For strangers"]),
            serde_json::json!(["set", "For strangers", {"client-always": 1}]),
            serde_json::json!(["only", "For strangers", "strangers"]),
            serde_json::json!(["link", "For strangers", INNER, 0]),
            serde_json::json!(["create", "Not for outer"]),
            serde_json::json!(["set", "Not for outer", {"client-always": 1}]),
            serde_json::json!(["deny", "Not for outer", "outer group"]),
            serde_json::json!(["link", "Not for outer", INNER, 0]),
        ])?;
        let status = self.refresh()?;
        self.fates(&status, "For outer", &["applied"])?;
        self.fates(&status, "For strangers", &["no-apply-right"])?;
        self.fates(&status, "Not for outer", &["apply-denied"])?;
        self.expect("client-always", "disabled", "ou", "For outer")
    }

    /// The last state stays where the filter would make a difference.
    fn wmi(&self) -> Res<()> {
        let query = "1;3;10;45;WQL;root\\CIMv2;SELECT * FROM Win32_OperatingSystem;";
        self.admin(&[serde_json::json!(["wmi", "For outer", query])])?;
        let refused = self.refresh();
        let status = self.json(&["policy", "gpo", "status", "--json"])?;
        let error = status["error"].as_str().unwrap_or_default();
        if refused.is_ok() || !error.contains("never here") || !error.contains("client-always") {
            return Err(format!("with a filter: {refused:?}, {error}"));
        }
        self.expect("client-always", "disabled", "ou", "For outer")?;
        self.admin(&[serde_json::json!(["set", "For outer", {"client-always": null}])])?;
        let status = self.refresh()?;
        self.fates(&status, "For outer", &["undecided"])?;
        self.admin(&[serde_json::json!(["wmi", "For outer", null])])?;
        let status = self.refresh()?;
        self.fates(&status, "For outer", &["applied"])
    }

    fn gone_and_twice(&self) -> Res<()> {
        self.admin(&[
            serde_json::json!(["link", "For outer", SERVERS, 0]),
            serde_json::json!(["delete", "For strangers"]),
        ])?;
        let status = self.refresh()?;
        self.fates(&status, "For outer", &["applied", "applied"])?;
        let all = status["applied"]["conclusion"]["considered"].to_string();
        if !all.contains("not-found") {
            return Err(format!("an object that was deleted: {all}"));
        }
        self.admin(&[
            serde_json::json!(["unlink", "For outer", SERVERS]),
            serde_json::json!(["unlink", "For outer", INNER]),
            serde_json::json!(["unlink", "Not for outer", INNER]),
        ])
    }
}
