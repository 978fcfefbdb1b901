//! Group Policy from a real Active Directory: objects at the site, the domain and
//! nested units, enforced, blocked, filtered and disabled; a change reaches the running
//! server and its next connection; without a controller the last state stays.

#![allow(
    clippy::indexing_slicing,
    reason = "JSON values answer null for what is missing"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

mod account;
mod content;
mod middle;
mod oracle;

use super::Context;
use crate::Res;
use crate::lab::{DC_ADDRESS, DC_HOST, DNS_DOMAIN, Lab, SERVER_ADDRESS};
use crate::process::run as run_program;
use crate::report::Tally;
use crate::server::{PASSWORD, Server, Setup, USER};
use crate::workspace::{cargo, scratch};

const LIMIT: Duration = Duration::from_secs(60);
const SERVERS: &str = "OU=Servers,DC=lab,DC=example";
const INNER: &str = "OU=Inner,OU=Servers,DC=lab,DC=example";
/// What the crate's tests against a controller must at least be.
const LEAST_TESTS: usize = 6;

struct Scene<'a> {
    lab: &'a Lab,
    binary: &'a Path,
    state: PathBuf,
    config: PathBuf,
}

pub(crate) fn run(tally: &mut Tally, context: &Context) -> Res<()> {
    tally.suite("gpo");
    let Some(lab) = context.need_lab(tally, "group policy") else {
        return Ok(());
    };
    tally.check("the directory crate against a controller", crate_tests(lab));
    let folder = scratch("gpo")?;
    let config = format!(
        "[policy]\nprofile = \"windows-10\"\nrole = \"member\"\n[group-policy]\n\
         domain = \"{DNS_DOMAIN}\"\naccount = \"FILES$\"\nkeytab = \"{}\"\n",
        lab.keytab().display()
    );
    let scene = Scene {
        lab,
        binary: &context.binary,
        state: folder.join("state"),
        config: folder.join("countersign.toml"),
    };
    tally.check("objects and links", scene.build());
    let setup = Setup::new(&context.binary, &folder)
        .config(&config)
        .inside(lab, &format!("{SERVER_ADDRESS}:0"));
    let server = setup.start()?;
    tally.check("a refresh at the start", scene.at_start());
    tally.check("order, filtering, reasons", scene.first());
    tally.check("samba-tool finds the same objects", scene.samba_tool());
    tally.check("net ads gpo list finds the same objects", scene.net_ads());
    tally.check("several refreshes at once", scene.at_once());
    tally.check("an object forbids exceptions", scene.exceptions_forbidden());
    tally.check(
        "a change reaches the next connection",
        scene.change(&server),
    );
    // It was there while unsigned clients were refused.
    let _ = std::fs::remove_file(scene.state.join("exceptions.json"));
    tally.check("blocked inheritance", scene.blocked());
    tally.check("removed objects are undone", scene.undone());
    content::run(tally, &scene, &server);
    tally.check("a refresh now and then", scene.now_and_then(&config));
    tally.check("the controller gone and back", scene.gone());
    tally.check("the server", server.stop());
    tally.check("a restart without a controller", scene.restart(&setup));
    tally.check("a damaged cache", scene.damaged_cache(&setup));
    middle::run(tally, &scene, &folder)?;
    account::run(tally, &scene, &folder)?;
    tally.check("the scene is taken down", scene.clear());
    Ok(())
}

/// The tests of `countersign-directory` that need a controller, run in the lab.
fn crate_tests(lab: &Lab) -> Res<()> {
    let mut c = cargo();
    c.args([
        "test",
        "--quiet",
        "-p",
        "countersign-directory",
        "--test",
        "domain",
    ]);
    c.args(["--no-run", "--message-format=json"]);
    let out = run_program(c, Duration::from_secs(900))?;
    if !out.ok() {
        return Err(out.tail());
    }
    let built = out
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| Some(message.get("executable")?.as_str()?.to_owned()));
    let built = built.ok_or("cargo names no test program")?;
    let mut c = lab.command(built);
    c.arg("--nocapture");
    let out = run_program(c, LIMIT)?;
    let passed = out.stdout.matches("... ok").count() + out.stdout.matches("\nok\n").count();
    if out.ok() && passed >= LEAST_TESTS {
        Ok(())
    } else {
        Err(format!("{passed} passed: {}", out.tail()))
    }
}

fn quoted(steps: &[Value]) -> String {
    Value::Array(steps.to_vec()).to_string()
}

macro_rules! steps {
    ($([$($part:tt)*]),* $(,)?) => { &[$(serde_json::json!([$($part)*])),*] };
}

impl Scene<'_> {
    fn admin(&self, steps: &[Value]) -> Res<()> {
        self.lab
            .python("group_policy.py", &[&quoted(steps)])
            .map(drop)
    }

    fn countersign(&self, args: &[&str]) -> Res<String> {
        let mut c = self.lab.command(self.binary);
        c.args(args).arg("--state").arg(&self.state);
        c.arg("--config").arg(&self.config);
        let out = run_program(c, LIMIT)?;
        if out.ok() {
            Ok(out.stdout)
        } else {
            Err(format!("{args:?}: {}", out.tail()))
        }
    }

    fn json(&self, args: &[&str]) -> Res<Value> {
        let text = self.countersign(args)?;
        serde_json::from_str(&text).map_err(|e| format!("{args:?}: {e}"))
    }

    fn refresh(&self) -> Res<Value> {
        self.json(&["policy", "gpo", "refresh", "--json"])
    }

    /// Value, layer and object that a setting has in `policy show`.
    fn setting(&self, name: &str) -> Res<(String, String, String)> {
        let shown = self.json(&["policy", "show", "--json"])?;
        let row = &shown["settings"][name];
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        Ok((
            text(&row["effective"]),
            text(&row["source"]["layer"]),
            text(&row["source"]["name"]),
        ))
    }

    fn expect(&self, name: &str, value: &str, layer: &str, object: &str) -> Res<()> {
        let found = self.setting(name)?;
        let wanted = (value.to_owned(), layer.to_owned(), object.to_owned());
        if found == wanted {
            Ok(())
        } else {
            Err(format!("{name}: {found:?}, not {wanted:?}"))
        }
    }

    fn build(&self) -> Res<()> {
        self.admin(steps![
            ["ou", INNER],
            ["move", "FILES$", INNER],
            ["create", "At site"],
            ["set", "At site", {"server-always": 1, "client-always": 1}],
            ["link", "At site", "site", 0],
            ["create", "At domain"],
            ["set", "At domain", {"server-always": 1, "server-if-client-agrees": 1}],
            ["link", "At domain", "domain", 0],
            ["create", "At servers"],
            ["set", "At servers", {"server-always": 0}],
            ["link", "At servers", SERVERS, 0],
            ["create", "At inner"],
            ["set", "At inner", {"server-if-client-agrees": 0}],
            ["link", "At inner", INNER, 0],
            ["create", "Enforced domain"],
            ["set", "Enforced domain", {"client-if-server-agrees": 1}],
            ["registry", "Enforced domain", {
                "Software\\Policies\\Countersign\\AllowExceptions": 0,
                "Software\\Policies\\Microsoft\\Windows\\LanmanServer\\AuditInsecureGuestLogon": 1,
            }],
            ["link", "Enforced domain", "domain", 2],
            ["create", "Enforced inner"],
            ["set", "Enforced inner", {"client-if-server-agrees": 0}],
            ["link", "Enforced inner", INNER, 2],
            ["create", "Not for us"],
            ["set", "Not for us", {"server-always": 1, "client-always": 0}],
            ["deny", "Not for us", "FILES$"],
            ["link", "Not for us", INNER, 0],
            ["create", "Off"],
            ["set", "Off", {"client-always": 0}],
            ["flags", "Off", 2],
            ["link", "Off", INNER, 0],
            ["link", "At site", INNER, 1],
        ])
    }

    fn first(&self) -> Res<()> {
        // The refresh of the start may still be under way; this one comes behind it.
        let status = self.refresh()?;
        if status["error"] != Value::Null {
            return Err(format!("refresh: {}", status["error"]));
        }
        self.expect("server-always", "disabled", "ou", "At servers")?;
        self.expect("server-if-client-agrees", "disabled", "ou", "At inner")?;
        self.expect("client-always", "enabled", "site", "At site")?;
        self.expect(
            "client-if-server-agrees",
            "enabled",
            "domain",
            "Enforced domain",
        )?;
        let shown = self.json(&["policy", "show", "--json"])?;
        let shadowed: Vec<&str> = shown["settings"]["server-always"]["shadowed"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["source"]["name"].as_str())
            .collect();
        if !shadowed.starts_with(&["At domain", "At site"]) {
            return Err(format!("server-always shadows {shadowed:?}"));
        }
        let applied = &status["applied"];
        if applied["site"] != "Default-First-Site-Name" || applied["controller"] != DC_HOST {
            return Err(format!(
                "site {}, from {}",
                applied["site"], applied["controller"]
            ));
        }
        let conclusion = &applied["conclusion"];
        if conclusion["allow-exceptions"][0] != false
            || conclusion["switches"]["server-insecure-guest-logon"][0] != true
        {
            return Err(format!("Registry.pol: {conclusion}"));
        }
        let considered = conclusion["considered"]
            .as_array()
            .ok_or("nothing considered")?;
        let fates: Vec<(String, String)> = considered
            .iter()
            .map(|one| {
                let fate = &one["fate"];
                let word = fate["code"].as_str().or(fate["is"].as_str());
                (
                    one["gpo"]["name"].as_str().unwrap_or("-").to_owned(),
                    word.unwrap_or("-").to_owned(),
                )
            })
            .collect();
        let wanted = [
            ("At site", "applied"),
            ("Default Domain Policy", "empty"),
            ("At domain", "applied"),
            ("At servers", "applied"),
            ("At inner", "applied"),
            ("Not for us", "apply-denied"),
            ("Off", "machine-part-off"),
            ("At site", "link-disabled"),
            ("Enforced inner", "applied"),
            ("Enforced domain", "applied"),
        ];
        let same = fates.len() == wanted.len()
            && fates
                .iter()
                .zip(wanted)
                .all(|((a, b), (c, d))| a == c && b == d);
        if same {
            Ok(())
        } else {
            Err(format!("considered {fates:?}"))
        }
    }

    /// None can be added; one that is in the store all the same has no effect: with it
    /// unsigned clients are refused in the next check.
    fn exceptions_forbidden(&self) -> Res<()> {
        let add = [
            "exception",
            "add",
            "--client",
            "127.0.0.1",
            "--until",
            "2999-01-01",
            "--reason",
            "x",
        ];
        match self.countersign(&add) {
            Err(why) if why.contains("allow = false") && why.contains("Group Policy") => {}
            other => return Err(format!("{other:?}")),
        }
        let store = serde_json::json!({"exceptions": [{
            "exception": {
                "id": "1", "client": "0.0.0.0/0", "until": u32::MAX, "reason": "x",
            },
            "by": "x",
            "at": 0,
        }]});
        std::fs::write(self.state.join("exceptions.json"), store.to_string())
            .map_err(|e| e.to_string())?;
        // The server looks at its files four times a second.
        std::thread::sleep(Duration::from_millis(600));
        let list = self.json(&["exception", "list", "--json"])?;
        if list["exceptions"][0]["in_force"] == true {
            Ok(())
        } else {
            Err(format!("{list}"))
        }
    }

    /// A client that does not sign, over SMB1: let in or not.
    fn unsigned(&self, server: &Server) -> Res<bool> {
        let mut c = self.lab.command("smbclient");
        c.arg(format!("//{SERVER_ADDRESS}/share"));
        c.args(["-p", &server.port.to_string(), "-m", "NT1", "-c", "ls"]);
        c.arg("-U").arg(format!("{USER}%{PASSWORD}"));
        c.args(["--option=client signing=disabled", "-s"]);
        c.arg(self.lab.folder().join("client.conf"));
        run_program(c, LIMIT).map(|out| out.ok())
    }

    fn change(&self, server: &Server) -> Res<()> {
        if !self.unsigned(server)? {
            return Err("an unsigned client is refused where signing is off".to_owned());
        }
        self.admin(steps![["set", "At servers", {"server-always": 1}]])?;
        self.refresh()?;
        let fetched = Instant::now();
        self.expect("server-always", "enabled", "ou", "At servers")?;
        let shown = fetched.elapsed();
        if self.unsigned(server)? {
            return Err("an unsigned client is let in though signing is required".to_owned());
        }
        println!(
            "shown {:.0} ms after the refresh",
            shown.as_secs_f64() * 1e3
        );
        let ms = acted_within(&server.log()).ok_or("the log says nothing of the refresh")?;
        if ms > 1000 {
            return Err(format!("acted {ms} ms after the fetch"));
        }
        Ok(())
    }

    fn blocked(&self) -> Res<()> {
        self.admin(steps![["block", INNER, 1]])?;
        self.refresh()?;
        let found = self.setting("server-always")?;
        if found.1 != "profile" {
            return Err(format!(
                "server-always though everything above is blocked: {found:?}"
            ));
        }
        self.expect(
            "client-if-server-agrees",
            "enabled",
            "domain",
            "Enforced domain",
        )?;
        self.expect("server-if-client-agrees", "disabled", "ou", "At inner")?;
        self.admin(steps![["block", INNER, 0]])?;
        self.refresh()?;
        self.expect("server-always", "enabled", "ou", "At servers")
    }

    fn undone(&self) -> Res<()> {
        self.admin(steps![["unlink", "Enforced domain", "domain"]])?;
        let status = self.refresh()?;
        if status["applied"]["conclusion"]["allow-exceptions"] != Value::Null {
            return Err("exceptions stay forbidden".to_owned());
        }
        self.expect(
            "client-if-server-agrees",
            "disabled",
            "ou",
            "Enforced inner",
        )
    }

    /// The controller cannot be reached, or can again; the other addresses stay.
    fn away(&self, away: bool) -> Res<()> {
        let steps = if away {
            format!(
                "set -e; echo 1 >/proc/sys/net/ipv4/conf/all/promote_secondaries; \
                 ip address del {DC_ADDRESS}/24 dev lo; \
                 ip route add unreachable {DC_ADDRESS}/32 table local"
            )
        } else {
            format!(
                "set -e; ip route del unreachable {DC_ADDRESS}/32 table local; \
                 ip address add {DC_ADDRESS}/24 dev lo"
            )
        };
        let mut c = self.lab.command("sh");
        c.args(["-c", &steps]);
        match run_program(c, LIMIT)? {
            out if out.ok() => Ok(()),
            out => Err(out.tail()),
        }
    }

    fn gone(&self) -> Res<()> {
        self.away(true)?;
        let refused = self.refresh();
        let kept = self.expect("server-always", "enabled", "ou", "At servers");
        let status = self.json(&["policy", "gpo", "status", "--json"]);
        self.away(false)?;
        if refused.is_ok() {
            return Err("a refresh without a controller says nothing".to_owned());
        }
        kept?;
        if !status?["error"].is_string() {
            return Err("the status has no error".to_owned());
        }
        // Nobody asks: the server hears of the address and tries again by itself.
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let status = self.json(&["policy", "gpo", "status", "--json"])?;
            if status["error"] == Value::Null && status["failures"] == 0 {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("not tried again: {}", status["error"]));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What was applied last is in force from the first connection on.
    fn restart(&self, setup: &Setup) -> Res<()> {
        self.away(true)?;
        let started = setup.start();
        let checked = started.and_then(|server| {
            self.expect("server-always", "enabled", "ou", "At servers")?;
            if self.unsigned(&server)? {
                return Err("an unsigned client is let in".to_owned());
            }
            Ok(server)
        });
        self.away(false)?;
        checked?.stop()
    }

    /// Nobody asks; and from the first moment on the status says what is under way.
    fn at_start(&self) -> Res<()> {
        let end = Instant::now() + LIMIT;
        loop {
            let status = self.json(&["policy", "gpo", "status", "--json"])?;
            if status["domain"] != DNS_DOMAIN {
                return Err(format!("no Group Policy, says the status: {status}"));
            }
            if status["last-attempt"].is_u64() && status["refreshing"] == false {
                let name = status["applied"]["controller"].as_str();
                return match (status["error"].as_str(), name) {
                    (None, Some(DC_HOST)) => Ok(()),
                    other => Err(format!("the first refresh: {other:?}")),
                };
            }
            if Instant::now() > end {
                return Err(format!("no refresh at the start: {status}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// With the shortest time there may be between two, a change is seen without asking; the
    /// running server takes the time from its configuration.
    fn now_and_then(&self, config: &str) -> Res<()> {
        let write = |text: &str| std::fs::write(&self.config, text).map_err(|e| e.to_string());
        write(&format!("{config}refresh-seconds = 7\n"))?;
        let end = Instant::now() + LIMIT;
        loop {
            let status = self.json(&["policy", "gpo", "status", "--json"])?;
            let ahead = status["next"].as_u64().zip(status["last-attempt"].as_u64());
            if ahead.is_some_and(|(next, last)| next.saturating_sub(last) <= 12) {
                break;
            }
            if Instant::now() > end {
                return Err(format!("the new time is not taken: {status}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.admin(steps![["set", "At servers", {"server-always": 0}]])?;
        let seen = loop {
            let seen = self.expect("server-always", "disabled", "ou", "At servers");
            if seen.is_ok() || Instant::now() > end {
                break seen;
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        write(config)?;
        seen?;
        self.admin(steps![["set", "At servers", {"server-always": 1}]])?;
        self.refresh()?;
        self.expect("server-always", "enabled", "ou", "At servers")
    }

    /// Several at once, beside the server's own: all are answered, by one state.
    fn at_once(&self) -> Res<()> {
        let results: Vec<Res<Value>> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..6).map(|_| scope.spawn(|| self.refresh())).collect();
            all.into_iter()
                .map(|one| one.join().unwrap_or_else(|_| Err("a panic".to_owned())))
                .collect()
        });
        for result in results {
            let status = result?;
            if status["error"] != Value::Null || status["refreshing"] != false {
                return Err(format!("one of several: {status}"));
            }
        }
        Ok(())
    }

    /// A file that is damaged keeps the server from starting, and a refresh mends it.
    fn damaged_cache(&self, setup: &Setup) -> Res<()> {
        let file = self.state.join("group-policy.json");
        std::fs::write(&file, b"{\"domain\": \"lab").map_err(|e| e.to_string())?;
        match setup.start() {
            Ok(_) => return Err("a server starts without what it is to obey".to_owned()),
            Err(why) if why.contains("policy gpo refresh") => {}
            Err(why) => return Err(format!("it says nothing of the remedy: {why}")),
        }
        self.refresh()?;
        let server = setup.start()?;
        self.expect("server-always", "enabled", "ou", "At servers")?;
        // While it runs, what it has in force stays, and is written anew.
        std::fs::write(&file, b"damaged").map_err(|e| e.to_string())?;
        self.expect("server-always", "enabled", "ou", "At servers")?;
        self.refresh()?;
        if !std::fs::read_to_string(&file).is_ok_and(|text| text.contains("At servers")) {
            return Err("the file stays damaged".to_owned());
        }
        server.stop()
    }

    fn clear(&self) -> Res<()> {
        self.admin(steps![
            ["unlink", "At site", "site"],
            ["unlink", "At domain", "domain"],
            ["move", "FILES$", SERVERS],
            ["unlink", "At servers", SERVERS],
        ])
    }
}

/// The last word of the log about it.
fn acted_within(log: &str) -> Option<u64> {
    let (_, rest) = log.rsplit_once("acted_within_ms")?;
    let digits = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}
