//! Which objects apply, in the eyes of other programs.

#![allow(
    clippy::indexing_slicing,
    reason = "JSON values answer null for what is missing"
)]

use std::collections::BTreeSet;

use super::{LIMIT, Scene};
use crate::Res;
use crate::lab::{ADMIN_PASSWORD, DC_HOST, DOMAIN, REALM};
use crate::process::run as run_program;

/// The GUIDs a text names, in capitals.
fn guids(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let inside = line.split_once('{')?.1;
            inside.split_once('}').map(|(guid, _)| guid)
        })
        .map(|guid| format!("{{{}}}", guid.to_uppercase()))
        .collect()
}

fn same(ours: &BTreeSet<String>, theirs: &BTreeSet<String>) -> Res<()> {
    if ours == theirs {
        Ok(())
    } else {
        Err(format!("ours {ours:?}, theirs {theirs:?}"))
    }
}

impl Scene<'_> {
    /// GUIDs of our objects that apply, or have one of these codes.
    fn ours(&self, kinds: &[&str], beyond: &[&str]) -> Res<BTreeSet<String>> {
        let status = self.json(&["policy", "gpo", "status", "--json"])?;
        let considered = status["applied"]["conclusion"]["considered"].as_array();
        Ok(considered
            .into_iter()
            .flatten()
            .filter(|one| kinds.iter().any(|kind| one["gpo"]["kind"] == *kind))
            .filter(|one| {
                let fate = &one["fate"];
                fate["is"] == "applied" || beyond.iter().any(|code| fate["code"] == *code)
            })
            .filter_map(|one| one["gpo"]["guid"].as_str().map(str::to_owned))
            .collect())
    }

    /// samba-tool knows neither sites nor what is switched off in an object, and asks for the
    /// right to read where Apply Group Policy is asked for.
    pub(super) fn samba_tool(&self) -> Res<()> {
        let mut c = self.lab.command("samba-tool");
        c.args(["gpo", "list", "FILES$", "-H"])
            .arg(format!("ldap://{DC_HOST}"));
        c.arg("-U").arg(format!("Administrator%{ADMIN_PASSWORD}"));
        c.arg("-s").arg(self.lab.folder().join("client.conf"));
        let out = run_program(c, LIMIT)?;
        if !out.ok() {
            return Err(out.tail());
        }
        let theirs = guids(&out.stdout).into_iter().collect();
        let beyond = ["empty", "machine-part-off", "apply-denied"];
        same(&self.ours(&["domain", "ou"], &beyond)?, &theirs)
    }

    /// `net ads gpo list`, on a machine of its own that `net` joined: right about order,
    /// filtering, blocking and disabled links, wrong about the order of enforced links, and
    /// blind to what is switched off in an object.
    ///
    /// It makes a token of the account for the filtering. Where a winbindd answers (the
    /// controller's), it wants a Unix account for it too, finds none, prints nothing and
    /// ends with success: so it sees no winbindd here.
    pub(super) fn net_ads(&self) -> Res<()> {
        let folder = self.lab.folder().join("net");
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let f = folder.display();
        let conf = folder.join("smb.conf");
        let text = format!(
            "[global]\n realm = {REALM}\n workgroup = {DOMAIN}\n security = ads\n \
             netbios name = NETMEMBER\n private dir = {f}\n lock directory = {f}\n \
             state directory = {f}\n cache directory = {f}\n pid directory = {f}\n \
             ncalrpc dir = {f}\n log level = 0\n"
        );
        std::fs::write(&conf, text).map_err(|e| e.to_string())?;
        let net = |args: &[&str]| {
            let mut c = self.lab.command("unshare");
            c.args(["--mount", "sh", "-c"]);
            c.arg("mount -t tmpfs none /run/samba && exec net \"$@\"");
            c.arg("net").args(args).arg("-s").arg(&conf);
            run_program(c, LIMIT)
        };
        let admin = format!("Administrator%{ADMIN_PASSWORD}");
        let joined = net(&["ads", "join", "-U", &admin, "--no-dns-updates"])?;
        if !joined.ok() {
            return Err(format!("net ads join: {}", joined.tail()));
        }
        let listed = net(&["ads", "gpo", "list", "FILES$", "-P"])?;
        // It prints the list as a message for people, on its other stream.
        let text = listed.text();
        let theirs: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with("name:"))
            .flat_map(guids)
            .collect();
        if !listed.ok() || theirs.is_empty() {
            return Err(format!("net ads gpo list: {}", listed.tail()));
        }
        let status = self.json(&["policy", "gpo", "status", "--json"])?;
        let beyond = ["empty", "machine-part-off"];
        let mut ours = Vec::new();
        let mut enforced = BTreeSet::new();
        for one in status["applied"]["conclusion"]["considered"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let (gpo, fate) = (&one["gpo"], &one["fate"]);
            let theirs_too = fate["is"] == "applied" || beyond.iter().any(|b| fate["code"] == *b);
            let guid = gpo["guid"].as_str().unwrap_or_default().to_owned();
            match (theirs_too, gpo["enforced"] == true) {
                (true, false) => ours.push(guid),
                (true, true) => drop(enforced.insert(guid)),
                (false, _) => {}
            }
        }
        let (last, first): (Vec<String>, Vec<String>) =
            theirs.into_iter().partition(|guid| enforced.contains(guid));
        if ours != first {
            return Err(format!("ours {ours:?}, theirs {first:?}"));
        }
        same(&enforced, &last.into_iter().collect())
    }
}
