//! Kerberos in a domain: smbclient with tickets in every dialect, judged by the
//! keytab; tickets nobody may use; our client at the domain's controller.

mod commands;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Context, noise, same_files};
use crate::Res;
use crate::capture::{Capture, Connection};
use crate::lab::{FILES_HOST, Lab, SERVER_ADDRESS, USER_PASSWORD};
use crate::peers::install;
use crate::process::{Output, Talk, run as run_program};
use crate::report::Tally;
use crate::server::{Server, Setup};
use crate::workspace::{self, testdata};

const LIMIT: Duration = Duration::from_secs(30);
const DIALECTS: [&str; 6] = ["NT1", "SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11"];
/// How long the short ticket lives.
const SHORT: Duration = Duration::from_secs(12);

pub(crate) fn run(tally: &mut Tally, context: &Context) -> Res<()> {
    tally.suite("kerberos");
    let Some(lab) = context.need_lab(tally, "Kerberos in a domain") else {
        return Ok(());
    };
    let folder = workspace::scratch("kerberos")?;
    let place = Place {
        context,
        lab,
        folder: folder.canonicalize().map_err(|e| e.to_string())?,
    };
    place.dialects(tally)?;
    place.refused_starts(tally)?;
    place.unusable_tickets(tally)?;
    place.wrong_keytab(tally)?;
    place.wrong_clock(tally)?;
    place.commands(tally)?;
    place.own_crates(tally)
}

struct Place<'a> {
    context: &'a Context,
    lab: &'a Lab,
    folder: PathBuf,
}

/// How smbclient logs on.
enum Logon<'a> {
    Password(&'a str),
    Cache(&'a Path),
}

impl Place<'_> {
    /// A server with a keytab in a folder of its own.
    fn setup(&self, name: &str, port: u16, keytab: &Path) -> Res<Setup> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let setup = Setup::new(&self.context.binary, &folder)
            .inside(self.lab, &format!("{SERVER_ADDRESS}:{port}"))
            .policy("enabled", "enabled");
        // A replay cache of its own: other servers of this machine's have theirs.
        let cache = folder.join("replay");
        Ok(setup.config(&format!(
            "[kerberos]\nkeytab = \"{}\"\nreplay-cache = \"{}\"\n",
            keytab.display(),
            cache.display()
        )))
    }

    fn smbclient(&self, port: u16, dialect: &str, logon: &Logon<'_>) -> Command {
        let mut c = self.lab.command("smbclient");
        c.arg(format!("//{FILES_HOST}/share"))
            .args(["-p", &port.to_string(), "-m", dialect, "-s"])
            .arg(self.lab.folder().join("client.conf"))
            .arg("--use-kerberos=required");
        match logon {
            Logon::Password(user) => c.arg(format!("-U{user}%{USER_PASSWORD}")),
            Logon::Cache(file) => c
                .arg("-N")
                .env("KRB5CCNAME", format!("FILE:{}", file.display())),
        };
        c
    }

    fn run(&self, port: u16, dialect: &str, script: &str) -> Res<Output> {
        let mut c = self.smbclient(port, dialect, &Logon::Password("alice"));
        c.args(["-c", script]);
        let mut out = run_program(c, LIMIT)?;
        if out.ok() && out.text().contains("NT_STATUS_") {
            out.code = Some(1);
        }
        Ok(out)
    }

    /// Every dialect, signed and encrypted, each message judged by the keytab.
    fn dialects(&self, tally: &mut Tally) -> Res<()> {
        const PORT: u16 = 4445;
        let setup = self.setup("dialects", PORT, &self.lab.keytab())?;
        let server = setup.start()?;
        let peers = &self.context.peers;
        let judge = peers.program("dumpcap").zip(peers.need_python(
            tally,
            "signatures with Kerberos",
            "Cryptodome",
        ));
        let capture = match judge {
            Some((dumpcap, _)) => Some(Capture::start_inside(
                self.lab,
                dumpcap,
                &self.folder,
                PORT,
            )?),
            None => None,
        };
        let file = self.folder.join("noise");
        std::fs::write(&file, noise(200_000, 5)).map_err(|e| e.to_string())?;
        let mut runs: Vec<(String, &str, &str)> =
            DIALECTS.iter().map(|d| ((*d).to_owned(), *d, "")).collect();
        for (name, options) in [
            (
                "AES-256-GCM",
                "--client-protection=encrypt --option=clientsmb3encryptionalgorithms=AES-256-GCM",
            ),
            (
                "AES-128-GCM",
                "--client-protection=encrypt --option=clientsmb3encryptionalgorithms=AES-128-GCM",
            ),
        ] {
            runs.push((format!("SMB3_11 {name}"), "SMB3_11", options));
        }
        for (name, dialect, options) in &runs {
            let back = self.folder.join("noise.back");
            let script = format!(
                "put {} up.bin; get up.bin {}; del up.bin",
                file.display(),
                back.display()
            );
            let mut c = self.smbclient(PORT, dialect, &Logon::Password("alice"));
            c.args(options.split_whitespace()).args(["-c", &script]);
            let out = run_program(c, LIMIT)?;
            let good = out.ok() && !out.text().contains("NT_STATUS_");
            let result = match good {
                true => same_files(&file, &back),
                false => Err(format!("{} {}", out.tail(), last_line(&server.log()))),
            };
            tally.check(&format!("smbclient with a ticket, {name}"), result);
        }
        if let (Some(capture), Some((_, python))) = (capture, judge) {
            let seen = capture.judge(python)?;
            let seen: Vec<&Connection> = seen.iter().filter(|c| c.dialect.is_some()).collect();
            if seen.len() != runs.len() {
                tally.fail("capture", &format!("{} connections seen", seen.len()));
            }
            for ((name, _, options), connection) in runs.iter().zip(seen) {
                let result = judged(connection, !options.is_empty());
                tally.check(&format!("the keytab's keys sign all, {name}"), result);
            }
        }
        self.one_type(tally, PORT, &server, "aes128-cts-hmac-sha1-96")?;
        // A service whose controller knows nothing but RC4: ticket and session key.
        self.types_of_files("4")?;
        let rc4 = self.one_type(tally, PORT, &server, "arcfour-hmac");
        self.types_of_files("28")?;
        rc4?;
        tally.check(
            "who is logged on, and in which groups",
            self.who(&server, PORT),
        );
        tally.check("dialects: clean stop", server.stop());
        Ok(())
    }

    /// The configuration of Kerberos with more in `[libdefaults]`.
    fn krb5_conf(&self, name: &str, more: &str) -> Res<PathBuf> {
        let text = std::fs::read_to_string(self.lab.folder().join("krb5.conf"))
            .map_err(|e| e.to_string())?;
        let file = self.folder.join(name);
        let section = "[libdefaults]\n";
        std::fs::write(
            &file,
            text.replacen(section, &format!("{section}{more}"), 1),
        )
        .map_err(|e| e.to_string())?;
        Ok(file)
    }

    /// What the domain believes the file server to understand, [MS-KILE] 2.2.7.
    fn types_of_files(&self, types: &str) -> Res<()> {
        let step = serde_json::json!([[
            "attribute",
            "FILES$",
            "msDS-SupportedEncryptionTypes",
            types
        ]]);
        let made = self.lab.python("group_policy.py", &[&step.to_string()]);
        made.map(drop)
    }

    /// Keys of 16 bytes instead of 32, of one encryption type.
    fn one_type(&self, tally: &mut Tally, port: u16, server: &Server, etype: &str) -> Res<()> {
        let conf = self.krb5_conf(
            &format!("{etype}-krb5.conf"),
            &format!(
                " allow_rc4 = true\n default_tgs_enctypes = {etype}\n permitted_enctypes = {etype}\n"
            ),
        )?;
        let conf = conf.display().to_string();
        let get = format!("alice && kvno -q cifs/{FILES_HOST} && klist -e");
        let cache = self.folder.join(etype);
        let mut c = self.lab.command("sh");
        c.args(["-c", &format!("echo '{USER_PASSWORD}' | kinit {get}")])
            .env("KRB5_CONFIG", &conf)
            .env("KRB5CCNAME", format!("FILE:{}", cache.display()));
        let made = run_program(c, LIMIT)?;
        let last = made
            .stdout
            .lines()
            .rfind(|line| line.contains("(skey, tkt):"));
        let types = last
            .and_then(|line| line.split_once("tkt):"))
            .unwrap_or_default()
            .1;
        let (session, ticket) = types.split_once(',').unwrap_or_default();
        let rc4 = etype == "arcfour-hmac";
        if !session.contains(etype) || (rc4 && !ticket.contains(etype)) {
            tally.fail(&format!("a ticket with {etype}"), &made.tail());
            return Ok(());
        }
        for dialect in DIALECTS {
            let mut c = self.smbclient(port, dialect, &Logon::Cache(&cache));
            c.env("KRB5_CONFIG", &conf).args(["-c", "ls"]);
            let out = run_program(c, LIMIT)?;
            let result = match out.ok() && out.text().contains("blocks of size") {
                true => Ok(()),
                false => Err(format!("{} {}", out.tail(), last_line(&server.log()))),
            };
            tally.check(&format!("a ticket with {etype}, {dialect}"), result);
        }
        Ok(())
    }

    /// A session held open, as the list of sessions shows it.
    fn who(&self, server: &Server, port: u16) -> Res<()> {
        let sids = self.lab.python(
            "sid.py",
            &["/run/samba/dc/etc/smb.conf", "engineers", "everybody"],
        )?;
        for dialect in ["NT1", "SMB3_11"] {
            let mut c = self.smbclient(port, dialect, &Logon::Password("alice"));
            c.arg("-E");
            let mut talk = Talk::start(c)?;
            if !talk.say("ls", "blocks of size", &["NT_STATUS_"], LIMIT)? {
                return Err(format!("{dialect}: smbclient cannot list"));
            }
            let mut c = Command::new(&self.context.binary);
            c.args(["sessions", "--json", "--state"]).arg(&server.state);
            let out = run_program(c, LIMIT)?;
            let value: Value =
                serde_json::from_str(&out.stdout).map_err(|e| format!("{e}: {}", out.tail()))?;
            let rows = value.get("sessions").and_then(Value::as_array);
            let row = rows
                .and_then(|rows| rows.first())
                .ok_or("no session is listed")?;
            let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
            let groups: Vec<&str> = row
                .get("groups")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let known = sids.lines().all(|sid| groups.contains(&sid))
                && groups.contains(&"LAB\\Domain Users");
            if text("user") != "LAB\\alice" || text("authentication") != "kerberos" || !known {
                return Err(format!("{dialect}: the session is {row}"));
            }
            drop(talk);
            let end = Instant::now() + LIMIT;
            loop {
                let mut c = Command::new(&self.context.binary);
                c.args(["sessions", "--json", "--state"]).arg(&server.state);
                let out = run_program(c, LIMIT)?;
                if !out.stdout.contains("alice") {
                    break;
                }
                if Instant::now() > end {
                    return Err("the session outlives its client".to_owned());
                }
            }
        }
        Ok(())
    }

    /// What a server says that cannot start, and `config check` with it.
    fn refused_starts(&self, tally: &mut Tally) -> Res<()> {
        let empty = self.folder.join("empty.keytab");
        std::fs::write(&empty, b"").map_err(|e| e.to_string())?;
        let missing = self.folder.join("missing.keytab");
        for (name, keytab, principal, words) in [
            ("no keytab", &missing, None, "missing.keytab: No such file"),
            ("an empty keytab", &empty, None, "empty.keytab"),
            (
                "a principal without key",
                &self.lab.keytab(),
                Some("cifs/other.lab.example"),
                "cifs/other.lab.example",
            ),
        ] {
            let mut toml = format!("[kerberos]\nkeytab = \"{}\"\n", keytab.display());
            if let Some(principal) = principal {
                toml.push_str(&format!("principal = \"{principal}\"\n"));
            }
            let file = self.folder.join("refused.toml");
            std::fs::write(&file, toml).map_err(|e| e.to_string())?;
            for (what, args) in [
                (
                    "serve",
                    &["serve", "--listen", "127.0.0.1:0", "--config"][..],
                ),
                ("config check", &["config", "check"][..]),
            ] {
                let mut c = self.lab.command(&self.context.binary);
                c.args(args).arg(&file);
                if what == "serve" {
                    c.arg("--state").arg(self.folder.join("refused"));
                }
                let out = run_program(c, LIMIT)?;
                let result = match out.code {
                    Some(code) if code != 0 && out.text().contains(words) => Ok(()),
                    _ => Err(out.tail()),
                };
                tally.check(&format!("{what} with {name}"), result);
            }
        }
        Ok(())
    }

    /// A cache that MIT's kinit made.
    fn cache(&self, name: &str, kinit: &str) -> Res<PathBuf> {
        let cache = self.folder.join(name);
        let script = format!("echo '{USER_PASSWORD}' | kinit {kinit}");
        let mut c = self.lab.command("sh");
        c.args(["-c", &script])
            .env("KRB5CCNAME", format!("FILE:{}", cache.display()));
        let out = run_program(c, LIMIT)?;
        if out.ok() { Ok(cache) } else { Err(out.tail()) }
    }

    /// What `testdata/interop/kerberos_peer.py` saw, a line for each try.
    fn present(
        &self,
        python: &Path,
        port: u16,
        cache: &Path,
        service: &str,
        what: &[&str],
    ) -> Res<Vec<String>> {
        let dialects = DIALECTS.join(",");
        let mut c = self.lab.command(python);
        c.arg(testdata("interop/kerberos_peer.py"))
            .args([SERVER_ADDRESS, &port.to_string()])
            .arg(cache)
            .args([service, &dialects])
            .args(what);
        let out = run_program(c, LIMIT)?;
        if out.ok() {
            Ok(out.stdout.lines().map(str::to_owned).collect())
        } else {
            Err(out.tail())
        }
    }

    /// Replayed, skewed, damaged and expired tickets, and sessions that outlive theirs.
    fn unusable_tickets(&self, tally: &mut Tally) -> Res<()> {
        const PORT: u16 = 4446;
        let what = "tickets nobody may use";
        let Some(python) = self.context.peers.need_python(tally, what, "impacket") else {
            return Ok(());
        };
        // Two seconds of skew instead of five minutes, so that nobody has to wait.
        let strict = self.krb5_conf("strict-krb5.conf", " clockskew = 2\n")?;
        let mut setup = self.setup("strict", PORT, &self.lab.keytab())?;
        if let Some(config) = &mut setup.config {
            config.push_str(&format!("principal = \"cifs/{FILES_HOST}\"\n"));
        }
        let server = setup
            .env("KRB5_CONFIG", &strict.display().to_string())
            .start()?;
        let service = format!("cifs/{FILES_HOST}");

        // The service's ticket alone, without one to get others with: those of a few
        // seconds give none.
        let lifetime = format!("-S {service} -l {}s alice", SHORT.as_secs());
        let short = self.cache("short", &lifetime)?;
        let begun = Instant::now();
        let mut sessions = Vec::new();
        for dialect in ["NT1", "SMB3_11"] {
            let mut c = self.smbclient(PORT, dialect, &Logon::Cache(&short));
            c.arg("-E");
            let mut talk = Talk::start(c)?;
            let listed = talk.say("ls", "blocks of size", &["NT_STATUS_"], LIMIT)?;
            let result = match listed {
                true => Ok(()),
                false => Err(last_line(&server.log())),
            };
            tally.check(&format!("a session by a short ticket, {dialect}"), result);
            sessions.push((dialect, talk));
        }

        let long = self.cache("long", &format!("-l 1h alice && kvno -q {service}"))?;
        let cases = [
            ("honest", "honest 00000000"),
            ("replay", "replay 00000000 c000006d"),
            ("skew=-600", "skew=-600 c0000133"),
            ("skew=600", "skew=600 c0000133"),
            ("truncated", "truncated c000006d"),
            ("flipped", "flipped c000006d"),
            ("mic", "mic c000000d"),
            ("second", "second c0000016 c0000016"),
        ];
        let names: Vec<&str> = cases.iter().map(|(name, _)| *name).collect();
        let seen = self.present(python, PORT, &long, &service, &names)?;
        for dialect in DIALECTS {
            for (name, expected) in cases {
                let begin = format!("{dialect} {name} ");
                let line = seen.iter().find(|l| l.starts_with(&begin));
                let result = match line {
                    Some(line) if *line == format!("{dialect} {expected}") => Ok(()),
                    other => Err(format!("{other:?}, not {expected}")),
                };
                tally.check(&format!("token, {name}, {dialect}"), result);
            }
        }
        let end = SHORT + Duration::from_secs(4);
        std::thread::sleep(end.saturating_sub(begun.elapsed()));
        let late = self.present(python, PORT, &short, &service, &["honest"])?;
        for dialect in DIALECTS {
            let result = match late.contains(&format!("{dialect} honest c000006d")) {
                true => Ok(()),
                false => Err(format!("{late:?}")),
            };
            tally.check(&format!("an expired ticket, {dialect}"), result);
        }
        for (dialect, mut talk) in sessions {
            let expired = talk.say(
                "ls",
                "NT_STATUS_NETWORK_SESSION_EXPIRED",
                &["blocks of size"],
                LIMIT,
            )?;
            let result = match expired {
                true => Ok(()),
                false => Err("it goes on".to_owned()),
            };
            tally.check(
                &format!("a session ends with its ticket, {dialect}"),
                result,
            );
        }
        let log = server.log();
        for words in [
            "the Kerberos authenticator was used before",
            "the clocks of client and server differ too much",
            "the Kerberos ticket has expired",
            "the integrity code of the mechanism list is wrong",
        ] {
            let result = match log.contains(words) {
                true => Ok(()),
                false => Err("the log does not say so".to_owned()),
            };
            tally.check(&format!("log: {words}"), result);
        }
        tally.check("unusable tickets: clean stop", server.stop());
        Ok(())
    }

    /// A keytab with the right names and versions and another password's keys.
    fn wrong_keytab(&self, tally: &mut Tally) -> Res<()> {
        const PORT: u16 = 4447;
        let keytab = self.folder.join("wrong.keytab");
        let script = format!(
            "for e in aes256-cts-hmac-sha1-96 aes128-cts-hmac-sha1-96; do \
             printf 'addent -password -p cifs/{FILES_HOST} -k 2 -e %s\\nother\\n' $e; done \
             | (cat; echo 'wkt {}'; echo quit) | ktutil",
            keytab.display()
        );
        let mut c = self.lab.command("sh");
        c.args(["-c", &script]);
        let made = run_program(c, LIMIT)?;
        if !keytab.exists() {
            tally.fail("a keytab of another password", &made.tail());
            return Ok(());
        }
        let server = self.setup("wrong", PORT, &keytab)?.start()?;
        for dialect in DIALECTS {
            let out = self.run(PORT, dialect, "ls")?;
            let told = server
                .log()
                .contains("no key of the keytab opens the Kerberos ticket");
            let result = match !out.ok() && out.text().contains("LOGON_FAILURE") && told {
                true => Ok(()),
                false => Err(format!("{} {}", out.tail(), last_line(&server.log()))),
            };
            tally.check(&format!("a wrong keytab, {dialect}"), result);
        }
        tally.check("wrong keytab: clean stop", server.stop());
        Ok(())
    }

    /// A server whose clock is ten minutes ahead; NTLM is off there too.
    fn wrong_clock(&self, tally: &mut Tally) -> Res<()> {
        const PORT: u16 = 4448;
        let Some(library) = faketime() else {
            tally.skip(
                "a skewed clock",
                "libfaketime is not installed and could not be",
            );
            return Ok(());
        };
        let mut setup = self.setup("skewed", PORT, &self.lab.keytab())?;
        if let Some(config) = &mut setup.config {
            config.push_str("[authentication]\nntlm = false\n");
        }
        let server = setup
            .env("LD_PRELOAD", &library.display().to_string())
            .env("FAKETIME", "+10m")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .start()?;
        for dialect in DIALECTS {
            let out = self.run(PORT, dialect, "ls")?;
            let refused = out.text().contains("NT_STATUS_TIME_DIFFERENCE_AT_DC");
            let result = match !out.ok() && refused {
                true => Ok(()),
                false => Err(format!("{} {}", out.tail(), last_line(&server.log()))),
            };
            tally.check(&format!("a skewed clock, {dialect}"), result);
            let mut c = self.lab.command("smbclient");
            c.arg(format!("//{FILES_HOST}/share"))
                .args(["-p", &PORT.to_string(), "-m", dialect, "-s"])
                .arg(self.lab.folder().join("client.conf"))
                .args(["--use-kerberos=off", "-c", "ls"])
                .arg(format!(
                    "-U{}%{}",
                    crate::server::USER,
                    crate::server::PASSWORD
                ));
            let out = run_program(c, LIMIT)?;
            let result = match out.ok() {
                true => Err("NTLM was let in".to_owned()),
                false => Ok(()),
            };
            tally.check(&format!("ntlm = false, {dialect}"), result);
        }
        tally.check("skewed clock: clean stop", server.stop());
        Ok(())
    }

    /// The tests of our crates that need a domain.
    fn own_crates(&self, tally: &mut Tally) -> Res<()> {
        const PORT: u16 = 4449;
        let mut setup = self.setup("client", PORT, &self.lab.keytab())?;
        setup.config = None;
        let keytab = self.lab.keytab().display().to_string();
        // A server needs no configuration of Kerberos beside its keytab.
        let server = setup
            .flag(&["--keytab", &keytab])
            .env("KRB5_CONFIG", "/nonexistent")
            .start()?;
        let mut c = self.lab.command("env");
        c.arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        c.args(["test", "--quiet", "--test", "domain"]);
        c.args(["-p", "countersign-gssapi", "-p", "countersign-client"]);
        c.env("LAB_FILES_PORT", PORT.to_string());
        let out = run_program(c, Duration::from_secs(300))?;
        let passed = out
            .stdout
            .lines()
            .filter_map(|l| l.strip_prefix("test result: ok. "))
            .filter_map(|l| l.split(' ').next()?.parse::<u64>().ok())
            .sum();
        if out.ok() && passed > 0 {
            tally.passes(passed);
        } else {
            tally.fail("tests of gssapi and client", &out.text());
        }
        tally.check("client: clean stop", server.stop());
        Ok(())
    }
}

fn judged(connection: &Connection, encrypted: bool) -> Res<()> {
    if !connection.bad.is_empty() {
        return Err(connection.bad.join("; "));
    }
    if encrypted {
        return match connection.encrypted() {
            n if n > 5 => Ok(()),
            n => Err(format!("{n} messages encrypted")),
        };
    }
    // Only what comes before the key is unsigned.
    let ordinary = |name: &str| {
        !["NEGOTIATE", "SESSION_SETUP"]
            .iter()
            .any(|c| name.ends_with(c))
    };
    match (connection.signed(ordinary), connection.unsigned(ordinary)) {
        (signed, 0) if signed > 10 => Ok(()),
        (signed, unsigned) => Err(format!(
            "{signed} signed, {unsigned} unsigned: {}",
            connection.reasons()
        )),
    }
}

fn last_line(log: &str) -> String {
    log.lines().last().unwrap_or_default().to_owned()
}

fn faketime() -> Option<PathBuf> {
    let look = || {
        std::fs::read_dir("/usr/lib")
            .ok()?
            .filter_map(Result::ok)
            .map(|e| e.path().join("faketime/libfaketimeMT.so.1"))
            .find(|p| p.is_file())
    };
    look().or_else(|| {
        install(&["libfaketime"]);
        look()
    })
}
