//! The client commands of the binary with `--kerberos`.

use std::path::Path;

use super::{LIMIT, Place};
use crate::Res;
use crate::lab::{DC_HOST, FILES_HOST, REALM, SERVER_ADDRESS};
use crate::process::{Output, run as run_program};
use crate::report::Tally;
use crate::suites::noise;

const PORT: u16 = 4450;

impl Place<'_> {
    /// What our binary says in the lab, with this cache.
    fn ours(&self, cache: &Path, args: &[&str]) -> Res<Output> {
        let mut c = self.lab.command(&self.context.binary);
        c.args(args)
            .env("KRB5CCNAME", format!("FILE:{}", cache.display()))
            .env("XDG_STATE_HOME", &self.folder)
            .env("HOME", &self.folder)
            // Neither may count.
            .env("COUNTERSIGN_USER", "nobody")
            .env("COUNTERSIGN_PASSWORD", "wrong");
        run_program(c, LIMIT)
    }

    pub(super) fn commands(&self, tally: &mut Tally) -> Res<()> {
        let server = self.setup("commands", PORT, &self.lab.keytab())?.start()?;
        let cache = self.cache("commands-cache", "alice")?;
        let share = format!("//{FILES_HOST}:{PORT}/share");
        for dialect in ["smb1", "2.0.2", "2.1", "3.0", "3.0.2", "3.1.1"] {
            for protection in ["--sign=required", "--encrypt"] {
                if protection == "--encrypt" && !dialect.starts_with('3') {
                    continue;
                }
                let done = self.there_and_back(&cache, &share, &["-m", dialect, protection]);
                tally.check(&format!("-k, {dialect} {protection}"), done);
            }
        }
        tally.check("-k: whom it logs on", self.whom(&cache, &share));
        tally.check("-k: what it refuses", self.refusals(&cache, &share));
        tally.check("-k: the controller", self.controller(&cache));
        tally.check("-k: clean stop", server.stop());
        Ok(())
    }

    fn there_and_back(&self, cache: &Path, share: &str, with: &[&str]) -> Res<()> {
        let content = noise(1_500_000, 21);
        let source = self.folder.join("ticket.bin");
        std::fs::write(&source, &content).map_err(|e| e.to_string())?;
        let remote = format!("{share}/ticket.bin");
        let up = source.display().to_string();
        let back = self.folder.join("ticket.back");
        let down = back.display().to_string();
        for args in [
            &["put", "-k", &up, &remote][..],
            &["ls", "-k", "-l", &remote],
            &["get", "-k", &remote, &down],
            &["rm", "-k", &remote],
        ] {
            let args = [args, with].concat();
            let out = self.ours(cache, &args)?;
            if !out.ok() || !out.stderr.is_empty() {
                return Err(format!("{args:?}: {:?} {}", out.code, out.tail()));
            }
        }
        let got = std::fs::read(&back).map_err(|e| e.to_string())?;
        if got != content {
            return Err(format!("{} bytes came back, or others", got.len()));
        }
        Ok(())
    }

    /// It is Kerberos and not NTLM, and the ticket is that of who is named.
    fn whom(&self, cache: &Path, share: &str) -> Res<()> {
        let full = format!("alice@{REALM}");
        let located = format!("smb://alice@{FILES_HOST}:{PORT}/share");
        for args in [
            &["shell", "-k", "-c", "info", share][..],
            &["shell", "-k", "-U", &full, "-c", "info", share],
            &["shell", "-k", "-U", "alice", "-c", "info", share],
            &["shell", "-k", "-c", "info", &located],
        ] {
            let out = self.ours(cache, args)?;
            if !out.ok() || !out.stdout.contains("as a user by Kerberos") {
                return Err(format!("{args:?}: {:?} {}", out.code, out.text()));
            }
        }
        let bob = format!("bob@{REALM}");
        let out = self.ours(cache, &["ls", "-k", "-U", &bob, share])?;
        if out.code != Some(1) || !out.stderr.contains("klist") {
            return Err(format!(
                "bob with the ticket of alice: {:?} {}",
                out.code,
                out.text()
            ));
        }
        Ok(())
    }

    fn refusals(&self, cache: &Path, share: &str) -> Res<()> {
        let none = self.folder.join("no-such-cache");
        let by_address = format!("//{SERVER_ADDRESS}:{PORT}/share");
        let expired = self.cache("expired-cache", "-l 2s alice")?;
        std::thread::sleep(std::time::Duration::from_millis(2500));
        for (cache, args, code, words) in [
            (none.as_path(), &["ls", "-k", share][..], 1, "kinit"),
            (&expired, &["ls", "-k", share], 1, "expired"),
            (cache, &["ls", "-k", &by_address], 1, "by its name"),
            (
                cache,
                &["ls", "-k", "-U", "LAB\\alice", share],
                1,
                "NAME@REALM",
            ),
            (
                cache,
                &["ls", "-k", "--password-stdin", share],
                2,
                "cannot be used with",
            ),
            (
                cache,
                &["ls", "-k", "--anonymous", share],
                2,
                "cannot be used with",
            ),
        ] {
            let out = self.ours(cache, args)?;
            if out.code != Some(code) || !out.stderr.contains(words) {
                return Err(format!("{args:?}: {:?} {}", out.code, out.text()));
            }
        }
        Ok(())
    }

    /// A server of another make: Samba's controller.
    fn controller(&self, cache: &Path) -> Res<()> {
        let sysvol = format!("//{DC_HOST}/sysvol");
        let out = self.ours(cache, &["ls", "-k", &sysvol])?;
        if !out.ok() || !out.stdout.contains("lab.example/") {
            return Err(format!("{:?} {}", out.code, out.text()));
        }
        let out = self.ours(cache, &["shares", "-k", DC_HOST])?;
        if !out.ok() || !out.stdout.contains("netlogon") {
            return Err(format!("shares: {:?} {}", out.code, out.text()));
        }
        Ok(())
    }
}
