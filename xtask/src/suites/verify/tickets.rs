//! Kerberos logons in captures, with tickets of each encryption type that the domain's
//! controller gives, beside the independent verifier.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::{LIMIT, Place, count};
use crate::Res;
use crate::lab::{FILES_HOST, Lab, SERVER_ADDRESS, USER_PASSWORD};
use crate::process::{Beside, run as run_program};
use crate::report::Tally;
use crate::server::Setup;
use crate::workspace;

const PORT: u16 = 4452;
const TYPES: [(&str, &str); 3] = [
    ("AES-256", "aes256-cts-hmac-sha1-96"),
    ("AES-128", "aes128-cts-hmac-sha1-96"),
    ("RC4", "arcfour-hmac"),
];

impl Place<'_> {
    pub(super) fn tickets(&self, tally: &mut Tally) -> Res<()> {
        let what = "tickets in captures";
        let Some(lab) = self.context.need_lab(tally, what) else {
            return Ok(());
        };
        let peers = &self.context.peers;
        let (Some(dumpcap), Some(python)) = (
            peers.need(tally, what, "dumpcap"),
            peers.need_python(tally, what, "Cryptodome"),
        ) else {
            return Ok(());
        };
        let folder = self.folder.join("tickets");
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let server = Setup::new(&self.context.binary, &folder)
            .inside(lab, &format!("{SERVER_ADDRESS}:{PORT}"))
            .policy("enabled", "enabled")
            .config(&format!(
                "[kerberos]\nkeytab = \"{}\"\nreplay-cache = \"{}\"\n",
                lab.keytab().display(),
                folder.join("replay").display()
            ))
            .start()?;
        for (name, etype) in TYPES {
            let cache = match ticket(lab, &folder, name, etype) {
                Ok(cache) => cache,
                Err(why) => {
                    tally.fail(&format!("a ticket with {name}"), &why);
                    continue;
                }
            };
            for dialect in ["NT1", "SMB2_10", "SMB3_11"] {
                let pcap = folder.join(format!("{name}-{dialect}.pcapng"));
                let mut c = lab.command(dumpcap);
                c.args(["-q", "-i", "lo", "-B", "64", "-f"]);
                c.arg(format!("tcp port {PORT}")).arg("-w").arg(&pcap);
                let mut beside = Beside::start(c, &folder.join("dumpcap.log"))?;
                let begun = |l: &str| l.starts_with("File: ").then_some(());
                beside.until(Duration::from_secs(15), begun)?;
                let mut c = lab.command("smbclient");
                c.arg(format!("//{FILES_HOST}/share"))
                    .args(["-p", &PORT.to_string(), "-m", dialect, "-s"])
                    .arg(lab.folder().join("client.conf"))
                    .args(["--use-kerberos=required", "-N", "-c", "ls"])
                    .env("KRB5CCNAME", &cache)
                    .env("KRB5_CONFIG", folder.join(format!("{name}.conf")));
                let out = run_program(c, LIMIT)?;
                std::thread::sleep(Duration::from_millis(400));
                beside.stop(Signal::INT, Duration::from_secs(10))?;
                let result = match out.ok() {
                    true => self.with_keytab(lab, &pcap, python),
                    false => Err(out.tail()),
                };
                tally.check(&format!("a ticket with {name}, {dialect}"), result);
            }
        }
        tally.check("tickets: clean stop", server.stop());
        Ok(())
    }

    fn with_keytab(&self, lab: &Lab, pcap: &std::path::Path, python: &std::path::Path) -> Res<()> {
        let (file, keytab) = (pcap.display().to_string(), lab.keytab());
        let keytab = keytab.display().to_string();
        let (value, out) = self.json(&["--keytab", &keytab, &file])?;
        let ours = count(&value)?;
        let summary = pcap.with_extension("json");
        let mut c = Command::new(python);
        c.arg(workspace::testdata("tools/verify.py"));
        c.args([
            "--keytab",
            &keytab,
            "--port",
            &PORT.to_string(),
            "--summary",
        ]);
        c.arg(&summary).arg(pcap);
        let judged = run_program(c, LIMIT)?;
        let text = std::fs::read_to_string(&summary).map_err(|_| judged.tail())?;
        let theirs: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let theirs = theirs.as_object().and_then(|o| o.values().next());
        let theirs = count(theirs.ok_or("the independent verifier counted nothing")?)?;
        if ours != theirs || !matches!(ours, [8..=u64::MAX, 0, _]) || out.code != Some(0) {
            return Err(format!("{ours:?}, the independent verifier {theirs:?}"));
        }
        // Without the keytab it is said what is missing.
        let (value, out) = self.json(&[&file])?;
        let says = value.to_string().contains("give --keytab");
        match (count(&value)?, out.code) {
            ([0, 8..=u64::MAX, _], Some(1)) if says => Ok(()),
            other => Err(format!("without the keytab: {other:?}")),
        }
    }
}

/// A cache with a ticket for the file server of one encryption type.
fn ticket(lab: &Lab, folder: &std::path::Path, name: &str, etype: &str) -> Res<String> {
    let text =
        std::fs::read_to_string(lab.folder().join("krb5.conf")).map_err(|e| e.to_string())?;
    let conf = folder.join(format!("{name}.conf"));
    let section = "[libdefaults]\n";
    let only = format!(
        "{section} default_tgs_enctypes = {etype}\n permitted_enctypes = {etype} \
         aes256-cts-hmac-sha1-96\n allow_weak_crypto = true\n"
    );
    std::fs::write(&conf, text.replacen(section, &only, 1)).map_err(|e| e.to_string())?;
    let cache = format!("FILE:{}", folder.join(format!("{name}.cache")).display());
    let mut c = lab.command("sh");
    c.args([
        "-c",
        &format!(
            "echo '{USER_PASSWORD}' | kinit alice && kvno -q -e {etype} cifs/{FILES_HOST} && klist -e"
        ),
    ])
    .env("KRB5_CONFIG", &conf)
    .env("KRB5CCNAME", &cache);
    let made = run_program(c, LIMIT)?;
    let listed = made.stdout.lines().any(|l| {
        l.contains("Etype")
            && l.contains("tkt")
            && l.matches(etype).count() + l.matches("DEPRECATED:arcfour-hmac").count() > 0
    });
    if made.ok() && listed {
        Ok(cache)
    } else {
        Err(format!("{} {}", made.stdout, made.tail()))
    }
}
