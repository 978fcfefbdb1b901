//! rclone, curl and nmap, and smbclient's listing of shares.

use std::time::Duration;

use super::{Context, Smbclient, noise, same_files};
use crate::Res;
use crate::process::{Output, command, run as run_program};
use crate::report::Tally;
use crate::server::{PASSWORD, Server, Setup, USER};
use crate::workspace;

const LIMIT: Duration = Duration::from_secs(90);

pub(crate) fn run(tally: &mut Tally, context: &Context) -> Res<()> {
    tally.suite("tools");
    let folder = workspace::scratch("tools")?;
    std::fs::write(folder.join("small"), noise(300_000, 2)).map_err(|e| e.to_string())?;
    // curl and nmap know only NTLMv1; curl never signs.
    let setup = Setup::new(&context.binary, &folder)
        .policy("disabled", "enabled")
        .config("[authentication]\nntlmv1-smb1 = true\n");
    let server = setup.start()?;
    let place = Place {
        context,
        server: &server,
        folder: &folder,
    };
    place.share_lists(tally)?;
    place.rclone(tally)?;
    place.curl(tally)?;
    place.nmap(tally)?;
    tally.check("clean stop", server.stop());

    let strict = folder.join("strict");
    std::fs::create_dir_all(&strict).map_err(|e| e.to_string())?;
    let server = Setup::new(&context.binary, &strict)
        .policy("enabled", "enabled")
        .start()?;
    let place = Place {
        context,
        server: &server,
        folder: &folder,
    };
    place.nmap_sees(
        tally,
        "smb2-security-mode",
        "Message signing enabled and required",
    )?;
    place.nmap_sees(tally, "smb-security-mode", "message_signing: required")?;
    place.rclone(tally)?;
    tally.check("server-always=enabled: clean stop", server.stop());
    Ok(())
}

struct Place<'a> {
    context: &'a Context,
    server: &'a Server,
    folder: &'a std::path::Path,
}

fn good(out: Output) -> Res<Output> {
    if out.ok() { Ok(out) } else { Err(out.tail()) }
}

impl Place<'_> {
    fn share_lists(&self, tally: &mut Tally) -> Res<()> {
        let Some(smbclient) = self.context.peers.need(tally, "share lists", "smbclient") else {
            return Ok(());
        };
        let client = Smbclient::new(smbclient, self.folder)?;
        for dialect in ["NT1", "SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11"] {
            let out = client.list_shares(self.server.port, dialect)?;
            let all = ["Disk|share|", "IPC|IPC$|"]
                .iter()
                .all(|s| out.stdout.contains(s));
            let result = if all { Ok(()) } else { Err(out.tail()) };
            tally.check(&format!("smbclient -L {dialect}"), result);
        }
        Ok(())
    }

    fn rclone(&self, tally: &mut Tally) -> Res<()> {
        let Some(rclone) = self.context.peers.need(tally, "rclone", "rclone") else {
            return Ok(());
        };
        let obscured = good(run_program(command(rclone, &["obscure", PASSWORD]), LIMIT)?)?;
        let remote = format!(
            ":smb,host=127.0.0.1,port={},user={USER},pass={}:",
            self.server.port,
            obscured.stdout.trim()
        );
        let work = || -> Res<()> {
            let rclone = |args: &[&str]| -> Res<Output> {
                let mut c = command(rclone, &["--config", "/dev/null", "--retries", "1"]);
                c.args(args);
                good(run_program(c, LIMIT)?)
            };
            let shares = rclone(&["lsf", &remote])?;
            if !shares
                .stdout
                .lines()
                .any(|l| l.trim_end_matches('/') == "share")
            {
                return Err(format!("shares listed: {}", shares.stdout));
            }
            let small = self.folder.join("small");
            let small_name = small.display().to_string();
            let back = self.folder.join("rclone.back");
            let back_name = back.display().to_string();
            let there = format!("{remote}share/rclone dir/file.bin");
            rclone(&["copyto", &small_name, &there])?;
            let list = rclone(&["lsf", &format!("{remote}share/rclone dir")])?;
            if list.stdout.trim() != "file.bin" {
                return Err(format!("listed: {}", list.stdout));
            }
            rclone(&["copyto", &there, &back_name])?;
            same_files(&small, &back)?;
            let moved = format!("{remote}share/rclone dir/moved.bin");
            rclone(&["moveto", &there, &moved])?;
            rclone(&["deletefile", &moved])?;
            rclone(&["rmdir", &format!("{remote}share/rclone dir")])?;
            match self.server.share.join("rclone dir").exists() {
                true => Err("the folder was not removed".to_owned()),
                false => Ok(()),
            }
        };
        tally.check("rclone: list, write, read, move, delete", work());
        Ok(())
    }

    fn curl(&self, tally: &mut Tally) -> Res<()> {
        let Some(curl) = self.context.peers.need(tally, "curl", "curl") else {
            return Ok(());
        };
        let version = run_program(command(curl, &["--version"]), LIMIT)?;
        if !version.stdout.contains(" smb ") {
            tally.skip("curl", "this curl was built without SMB");
            return Ok(());
        }
        let url = format!("smb://127.0.0.1:{}/share/curl.bin", self.server.port);
        let account = format!("{USER}:{PASSWORD}");
        let small = self.folder.join("small");
        let small_name = small.display().to_string();
        let back = self.folder.join("curl.back");
        let back_name = back.display().to_string();
        let common = ["-sS", "--max-time", "60", "-u", &account];
        let work = || -> Res<()> {
            let mut put = command(curl, &common);
            put.args(["-T", &small_name, &url]);
            good(run_program(put, LIMIT)?)?;
            same_files(&small, &self.server.share.join("curl.bin"))?;
            let mut get = command(curl, &common);
            get.args(["-o", &back_name, &url]);
            good(run_program(get, LIMIT)?)?;
            same_files(&small, &back)
        };
        tally.check("curl: write, read", work());
        Ok(())
    }

    fn nmap(&self, tally: &mut Tally) -> Res<()> {
        for (script, words) in [
            ("smb-protocols", "NT LM 0.12"),
            ("smb-protocols", "202"),
            ("smb-protocols", "210"),
            ("smb-protocols", "300"),
            ("smb-protocols", "302"),
            ("smb-protocols", "311"),
            (
                "smb2-security-mode",
                "Message signing enabled but not required",
            ),
            ("smb-security-mode", "message_signing: supported"),
            ("smb2-time", "date: "),
            ("smb2-capabilities", "311"),
            ("smb-enum-shares", "share"),
        ] {
            self.nmap_sees(tally, script, words)?;
        }
        Ok(())
    }

    fn nmap_sees(&self, tally: &mut Tally, script: &str, words: &str) -> Res<()> {
        let Some(nmap) = self.context.peers.need(tally, script, "nmap") else {
            return Ok(());
        };
        let port = self.server.port.to_string();
        let arguments = format!("smbport={port},smbusername={USER},smbpassword={PASSWORD}");
        let args = [
            "-Pn",
            "-p",
            &port,
            "--script",
            script,
            "--script-args",
            &arguments,
            "127.0.0.1",
        ];
        let out = run_program(command(nmap, &args), LIMIT)?;
        let said: String = out
            .stdout
            .lines()
            .filter(|l| l.starts_with('|'))
            .collect::<Vec<_>>()
            .join(" ");
        let result = if out.ok() && said.contains(words) {
            Ok(())
        } else {
            Err(format!("`{words}` is not in: {said}"))
        };
        tally.check(&format!("nmap {script}: {words}"), result);
        Ok(())
    }
}
