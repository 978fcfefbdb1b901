//! The machine's account: joining, and its password.

#![allow(
    clippy::indexing_slicing,
    reason = "JSON values answer null for what is missing"
)]

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{LIMIT, Scene};
use crate::Res;
use crate::lab::{ADMIN_PASSWORD, DNS_DOMAIN, REALM, SERVER_ADDRESS, USER_PASSWORD};
use crate::process::{Output, run as run_program};
use crate::report::Tally;
use crate::server::{Server, Setup};

/// A member of its own, `joined.lab.example`.
struct Member<'a> {
    scene: &'a Scene<'a>,
    folder: PathBuf,
    keytab: String,
}

pub(super) fn run(tally: &mut Tally, scene: &Scene<'_>, folder: &Path) -> Res<()> {
    let folder = folder.join("joined");
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let keytab = folder.join("joined.keytab").display().to_string();
    let member = Member {
        scene,
        folder,
        keytab,
    };
    let text = format!(
        "[policy]\nprofile = \"windows-10\"\nrole = \"member\"\n[kerberos]\nkeytab = \"{0}\"\n\
         replay-cache = \"{1}\"\n[group-policy]\ndomain = \"{DNS_DOMAIN}\"\naccount = \"JOINED$\"\n\
         keytab = \"{0}\"\n",
        member.keytab,
        member.folder.join("replay").display()
    );
    let config = member.folder.join("member.toml");
    std::fs::write(&config, &text).map_err(|e| e.to_string())?;
    tally.check("join", member.join());
    tally.check("join leaves controllers alone", member.join_spares());
    tally.check("a password the domain refuses to change", member.refused());
    let server = Setup::new(scene.binary, &member.folder)
        .config(&text)
        .inside(scene.lab, &format!("{SERVER_ADDRESS}:0"))
        .start()?;
    tally.check("a new password while clients work", member.changed(&server));
    tally.check("an account that was made anew", member.made_anew());
    tally.check("the member's server", server.stop());
    tally.check("a change that was cut off", member.cut_off());
    Ok(())
}

impl Member<'_> {
    fn join_as(&self, account: &str, keytab: &str, more: &[&str]) -> Res<Output> {
        let mut c = self.scene.lab.command(self.scene.binary);
        c.args(["join", DNS_DOMAIN, "--account", account, "--keytab", keytab]);
        c.args(more).env("COUNTERSIGN_PASSWORD", ADMIN_PASSWORD);
        run_program(c, LIMIT)
    }

    /// The keytab logs on and opens a ticket for its service.
    fn works(&self) -> Res<()> {
        let cache = format!("FILE:{}", self.folder.join("joined.cache").display());
        let service = format!("cifs/joined.{DNS_DOMAIN}");
        for args in [
            &["kinit", "-c", &cache, "-k", "-t", &self.keytab, "JOINED$"][..],
            &["kvno", "-c", &cache, "-k", &self.keytab, &service],
        ] {
            let mut c = self
                .scene
                .lab
                .command(args.first().copied().unwrap_or_default());
            c.args(args.iter().skip(1));
            let out = run_program(c, LIMIT)?;
            if !out.ok() {
                return Err(format!("{args:?}: {}", out.tail()));
            }
        }
        Ok(())
    }

    fn join(&self) -> Res<()> {
        let first = self.join_as("joined", &self.keytab, &[])?;
        if !first.ok() {
            return Err(first.tail());
        }
        if !first.stdout.contains("machine-password-days = 30") {
            return Err(format!("the section is not whole: {}", first.stdout));
        }
        self.works()?;
        if self.join_as("joined", &self.keytab, &[])?.ok() {
            return Err("an account that is there is taken over".to_owned());
        }
        self.works()?;
        let again = self.join_as("joined", &self.keytab, &["--reset"])?;
        if !again.ok() {
            return Err(again.tail());
        }
        self.works()?;
        let mut c = self.scene.lab.command(self.scene.binary);
        c.args(["join", DNS_DOMAIN, "--account", "joined", "--reset"]);
        c.args(["--keytab", &self.keytab]);
        c.env("COUNTERSIGN_PASSWORD", "wrong");
        let wrong = run_program(c, LIMIT)?;
        if wrong.ok() || !wrong.text().contains("does not let Administrator in") {
            return Err(format!("with a wrong password: {}", wrong.tail()));
        }
        self.works()
    }

    /// A new password would cut the controller off from its domain.
    fn join_spares(&self) -> Res<()> {
        let other = self.folder.join("spared.keytab").display().to_string();
        let out = self.join_as("dc1", &other, &["--reset"])?;
        if out.ok() || !out.text().contains("left alone") {
            return Err(format!("a controller's account: {}", out.tail()));
        }
        Ok(())
    }

    fn countersign(&self, args: &[&str], env: &[(&str, &str)]) -> Res<Output> {
        let mut c = self.scene.lab.command(self.scene.binary);
        c.args(args).arg("--state").arg(self.folder.join("state"));
        c.arg("--config").arg(self.folder.join("member.toml"));
        c.envs(env.iter().copied());
        run_program(c, LIMIT)
    }

    fn good(&self, args: &[&str]) -> Res<String> {
        match self.countersign(args, &[])? {
            out if out.ok() => Ok(out.stdout),
            out => Err(format!("{args:?}: {}", out.tail())),
        }
    }

    fn bytes(&self) -> Res<Vec<u8>> {
        std::fs::read(&self.keytab).map_err(|e| e.to_string())
    }

    /// The account is disabled for a moment: the keytab is as it was.
    fn refused(&self) -> Res<()> {
        let flags = |flags: &str| {
            let step = serde_json::json!(["attribute", "JOINED$", "userAccountControl", flags]);
            self.scene.admin(&[step])
        };
        self.good(&["policy", "gpo", "refresh"])?;
        let before = self.bytes()?;
        flags("4098")?;
        let out = self.countersign(&["policy", "gpo", "password"], &[])?;
        let refresh = self.countersign(&["policy", "gpo", "refresh"], &[])?;
        flags("4096")?;
        if out.ok() || !out.text().contains("the old password stays in force") {
            return Err(format!("of a disabled account: {}", out.tail()));
        }
        if refresh.ok() || !refresh.text().contains("the account is disabled") {
            return Err(format!("a refresh then: {}", refresh.tail()));
        }
        if self.bytes()? != before || self.folder.join("state/machine-password.json").exists() {
            return Err("something of it was left".to_owned());
        }
        self.works()
    }

    /// Tickets from before and after are good, without a restart.
    fn changed(&self, server: &Server) -> Res<()> {
        let fresh = |name: &str| -> Res<PathBuf> {
            let cache = self.folder.join(name);
            let script =
                format!("echo '{USER_PASSWORD}' | kinit alice && kvno -q cifs/joined.{DNS_DOMAIN}");
            let mut c = self.scene.lab.command("sh");
            c.args(["-c", &script]);
            c.env("KRB5CCNAME", format!("FILE:{}", cache.display()));
            let out = run_program(c, LIMIT)?;
            if out.ok() { Ok(cache) } else { Err(out.tail()) }
        };
        let lists = |cache: &Path| -> Res<()> {
            let mut c = self.scene.lab.command("smbclient");
            c.arg(format!("//joined.{DNS_DOMAIN}/share"));
            c.args(["-I", SERVER_ADDRESS, "-p", &server.port.to_string()]);
            c.args(["--use-kerberos=required", "-N", "-c", "ls", "-s"]);
            c.arg(self.scene.lab.folder().join("client.conf"));
            c.env("KRB5CCNAME", format!("FILE:{}", cache.display()));
            let out = run_program(c, LIMIT)?;
            if out.ok() {
                Ok(())
            } else {
                Err(format!(
                    "{} {}",
                    out.tail(),
                    server.log().lines().last().unwrap_or_default()
                ))
            }
        };
        let before = fresh("before.cache")?;
        lists(&before)?;
        let said = self.good(&["policy", "gpo", "password"])?;
        if !said.contains(&format!("JOINED$@{REALM}")) {
            return Err(format!("said: {said}"));
        }
        lists(&before).map_err(|e| format!("a ticket from before: {e}"))?;
        lists(&fresh("after.cache")?).map_err(|e| format!("a ticket from after: {e}"))?;
        self.works()?;
        let status: Value =
            serde_json::from_str(&self.good(&["policy", "gpo", "refresh", "--json"])?)
                .map_err(|e| e.to_string())?;
        let password = &status["password"];
        if password["keytab-version"] != password["directory-version"]
            || password["set"].as_u64().is_none_or(|set| set == 0)
            || password["pending"] != false
        {
            return Err(format!("the status: {password}"));
        }
        Ok(())
    }

    /// Deleted and joined again: keys of the old account, though of higher versions, and its
    /// tickets that the running server has, are not used on.
    fn made_anew(&self) -> Res<()> {
        self.good(&["policy", "gpo", "refresh"])?;
        self.scene
            .admin(&[serde_json::json!(["remove", "JOINED$"])])?;
        let joined = self.join_as("joined", &self.keytab, &[])?;
        if !joined.ok() {
            return Err(joined.tail());
        }
        self.works()?;
        self.good(&["policy", "gpo", "refresh"]).map(drop)
    }

    /// The password server cannot be reached: nobody knows, until a logon tells.
    fn cut_off(&self) -> Res<()> {
        let before = self.bytes()?;
        let conf = std::fs::read_to_string(self.scene.lab.folder().join("krb5.conf"))
            .map_err(|e| e.to_string())?
            .replace("admin_server = 10.53.0.1", "kpasswd_server = 10.53.0.3:1");
        let file = self.folder.join("no-kpasswd.conf");
        std::fs::write(&file, conf).map_err(|e| e.to_string())?;
        let env = [("KRB5_CONFIG", file.to_str().unwrap_or_default())];
        let out = self.countersign(&["policy", "gpo", "password"], &env)?;
        if out.ok() || !out.text().contains("until that is known") {
            return Err(format!("without a password server: {}", out.tail()));
        }
        let both = self.bytes()?;
        if !both.starts_with(&before) || both.len() == before.len() {
            return Err("the keytab does not hold both".to_owned());
        }
        let marker = self.folder.join("state/machine-password.json");
        let text = std::fs::read_to_string(&marker).map_err(|e| e.to_string())?;
        let mut pending: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        // As if it had been longer ago than replication takes.
        pending["since"] = Value::from(1);
        std::fs::write(&marker, pending.to_string()).map_err(|e| e.to_string())?;
        self.good(&["policy", "gpo", "refresh"])?;
        if self.bytes()? != before || marker.exists() {
            return Err("keys that are not the account's stay in the keytab".to_owned());
        }
        // And one that happened, of which only the answer was lost.
        self.good(&["policy", "gpo", "password"])?;
        let after = self.bytes()?;
        pending["version"] = Value::from(pending["version"].as_u64().unwrap_or(0));
        std::fs::write(&marker, pending.to_string()).map_err(|e| e.to_string())?;
        self.good(&["policy", "gpo", "refresh"])?;
        if self.bytes()? != after || marker.exists() {
            return Err("keys that are the account's were taken away".to_owned());
        }
        self.works()
    }
}
