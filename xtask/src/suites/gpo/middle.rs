//! Somebody between the member and its controller, on LDAP and on SYSVOL, with all four
//! settings disabled on this side: nothing of it changes what is in force.

use std::path::{Path, PathBuf};

use super::{LIMIT, Scene};
use crate::Res;
use crate::lab::{CLIENT_ADDRESS, DC_ADDRESS, DC_HOST};
use crate::process::{Beside, Output, run as run_program};
use crate::report::Tally;
use crate::workspace::testdata;

/// What `testdata/lab/middle.py` does.
const ATTACKS: [&str; 19] = [
    "smb-strip",
    "smb-alter",
    "smb-read",
    "smb-read-strip",
    "smb-negotiate",
    "smb-dialect",
    "smb-ntlm",
    "smb-guest",
    "smb-null",
    "smb-both",
    "smb-request",
    "ldap-alter",
    "ldap-request",
    "ldap-plain",
    "ldap-unsealed",
    "ldap-layer",
    "ldap-success",
    "ldap-refuse",
    "ldap-replay",
];

struct Victim<'a> {
    scene: &'a Scene<'a>,
    folder: PathBuf,
    hosts: PathBuf,
}

pub(super) fn run(tally: &mut Tally, scene: &Scene<'_>, folder: &Path) -> Res<()> {
    let folder = folder.join("middle");
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let hosts = folder.join("hosts");
    let text = format!("127.0.0.1 localhost\n{CLIENT_ADDRESS} {DC_HOST} dc1\n");
    std::fs::write(&hosts, text).map_err(|e| e.to_string())?;
    let victim = Victim {
        scene,
        folder,
        hosts,
    };
    tally.check("all four settings disabled here", victim.loosen());
    let kept = match victim.honest() {
        Ok(kept) => kept,
        Err(why) => {
            tally.fail("somebody in the middle who changes nothing", &why);
            return Ok(());
        }
    };
    tally.passes(1);
    for attack in ATTACKS {
        let result = victim.attacked(attack, &kept);
        tally.check(&format!("in the middle, {attack}"), result);
    }
    Ok(())
}

impl Victim<'_> {
    /// A command of ours that believes the controller to be where somebody else is.
    fn countersign(&self, args: &[&str]) -> Res<Output> {
        let mut c = self.scene.lab.command("unshare");
        c.args(["--mount", "sh", "-c"]);
        c.arg("mount --bind \"$0\" /etc/hosts && exec \"$@\"");
        c.arg(&self.hosts).arg(self.scene.binary).args(args);
        c.arg("--state").arg(self.folder.join("state"));
        c.arg("--config").arg(&self.scene.config);
        run_program(c, LIMIT)
    }

    fn loosen(&self) -> Res<()> {
        let mut args = vec!["policy", "set"];
        let settings = [
            "server-always=disabled",
            "server-if-client-agrees=disabled",
            "client-always=disabled",
            "client-if-server-agrees=disabled",
        ];
        args.extend(settings);
        match self.countersign(&args)? {
            out if out.ok() => Ok(()),
            out => Err(out.tail()),
        }
    }

    fn between(&self, mode: &str) -> Res<Beside> {
        let mut c = self.scene.lab.command("/usr/bin/python3");
        c.arg(testdata("lab/middle.py"));
        c.args([CLIENT_ADDRESS, DC_ADDRESS, mode]);
        let mut man = Beside::start(c, &self.folder.join(format!("{mode}.log")))?;
        man.until(LIMIT, |line| (line == "ready").then_some(()))?;
        Ok(man)
    }

    fn kept(&self) -> Res<String> {
        let file = self.folder.join("state/group-policy.json");
        std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))
    }

    fn honest(&self) -> Res<String> {
        let man = self.between("none")?;
        let out = self.countersign(&["policy", "gpo", "refresh"])?;
        drop(man);
        if !out.ok() {
            return Err(out.tail());
        }
        let kept = self.kept()?;
        if kept.contains("At servers") {
            Ok(kept)
        } else {
            Err("nothing was fetched".to_owned())
        }
    }

    fn attacked(&self, attack: &str, kept: &str) -> Res<()> {
        let man = self.between(attack)?;
        let out = self.countersign(&["policy", "gpo", "refresh"])?;
        let done = man.output().lines().filter(|line| *line != "ready").count();
        drop(man);
        if done == 0 {
            return Err(format!("the attack did not happen: {}", out.tail()));
        }
        if out.ok() {
            return Err("it was not noticed".to_owned());
        }
        if self.kept()? != kept {
            return Err("what is in force was changed".to_owned());
        }
        let text = out.text();
        println!("{attack}: {}", text.trim().replace('\n', " | "));
        if !text.contains(DC_HOST) || !text.contains("what helps: ") {
            return Err(format!("the message names no controller or remedy: {text}"));
        }
        Ok(())
    }
}
