//! `countersign verify` as users run it: the kept captures to the counts of the
//! independent verifier, fresh traffic of smbclient and smbd beside that verifier and
//! tshark, a live interface, and what scripts depend on.

mod tickets;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, geteuid};
use serde_json::Value;

use super::{Context, Smbclient, noise};
use crate::Res;
use crate::process::{Beside, Output, command, find, run as run_program};
use crate::report::Tally;
use crate::server::{PASSWORD, Samba, USER};
use crate::workspace;

const LIMIT: Duration = Duration::from_secs(60);
/// Verified, bad, unsigned.
type Counts = [u64; 3];
/// Name, arguments, exit status, what the last line has and what standard error.
type Case<'a> = (&'a str, Vec<&'a str>, i32, Option<&'a str>, &'a str);

pub(crate) fn run(tally: &mut Tally, context: &Context) -> Res<()> {
    tally.suite("verify");
    let folder = workspace::scratch("verify")?;
    let folder = folder.canonicalize().map_err(|e| e.to_string())?;
    let place = Place { context, folder };
    tally.check("the kept captures", place.kept());
    place.contract(tally)?;
    place.fresh(tally)?;
    place.live(tally)?;
    place.tickets(tally)
}

struct Place<'a> {
    context: &'a Context,
    folder: PathBuf,
}

fn captures() -> PathBuf {
    workspace::testdata("captures")
}

fn capture(name: &str) -> String {
    captures().join(name).display().to_string()
}

fn count(value: &Value) -> Res<Counts> {
    let get = |name: &str| value.get(name).and_then(Value::as_u64);
    match (get("verified"), get("bad"), get("unsigned")) {
        (Some(v), Some(b), Some(u)) => Ok([v, b, u]),
        _ => Err(format!("no totals in {value}")),
    }
}

impl Place<'_> {
    fn verify(&self, args: &[&str]) -> Command {
        let mut c = command(&self.context.binary, &["verify"]);
        c.args(args).env_remove("COUNTERSIGN_PASSWORD");
        c
    }

    fn json(&self, args: &[&str]) -> Res<(Value, Output)> {
        let mut c = self.verify(args);
        c.arg("--json");
        let out = run_program(c, LIMIT)?;
        let value =
            serde_json::from_str(&out.stdout).map_err(|e| format!("{e}: {}", out.tail()))?;
        Ok((value, out))
    }

    /// Every kept capture to the counts of the manifest, each alone and together.
    fn kept(&self) -> Res<()> {
        let manifest =
            std::fs::read_to_string(captures().join("manifest.tsv")).map_err(|e| e.to_string())?;
        let mut wanted = Vec::new();
        for line in manifest.lines() {
            let row: Vec<&str> = line.split('\t').collect();
            let number = |n: usize| row.get(n).and_then(|t| t.parse::<u64>().ok());
            if let (Some(name), Some(v), Some(b), Some(u)) =
                (row.first(), number(8), number(9), number(10))
            {
                wanted.push((capture(name), [v, b, u]));
            }
        }
        let keys = capture("krb5-service-keys.txt");
        let mut args = vec!["--user", "alice:Passw0rd!", "--user", "bob:S3cret#2b"];
        args.extend(["--keytab", &keys]);
        args.extend(wanted.iter().map(|(name, _)| name.as_str()));
        let (value, out) = self.json(&args)?;
        let files = value.get("files").and_then(Value::as_array);
        let files: Vec<&Value> = files.into_iter().flatten().collect();
        if files.len() != wanted.len() || wanted.len() < 125 {
            return Err(format!("{} files of {}", files.len(), wanted.len()));
        }
        let mut sum = [0; 3];
        for ((name, want), file) in wanted.iter().zip(files) {
            let got = count(file)?;
            if got != *want || file.get("file").and_then(Value::as_str) != Some(name) {
                return Err(format!("{name}: {got:?}, not {want:?}"));
            }
            for (sum, n) in sum.iter_mut().zip(got) {
                *sum += n;
            }
        }
        if count(&value)? != sum || out.code != Some(1) {
            return Err(format!("together {:?} with {:?}", count(&value), out.code));
        }
        let listed = value.get("findings").and_then(Value::as_array);
        let bad = listed.into_iter().flatten().filter(|f| {
            let has = |key: &str| f.get(key).is_some();
            f.get("counted").and_then(Value::as_str) == Some("bad")
                && f.get("frame")
                    .and_then(Value::as_u64)
                    .is_some_and(|n| n > 0)
                && ["session", "message", "cause", "file"].into_iter().all(has)
        });
        let [verified, all_bad, unsigned] = sum;
        if bad.count() as u64 != all_bad {
            return Err("a bad message without its finding".to_owned());
        }
        let out = run_program(self.verify(&args), LIMIT)?;
        let last = format!("{verified} verified, {all_bad} bad, {unsigned} unsigned");
        match out.stdout.lines().last() {
            Some(line) if line == last && out.code == Some(1) => Ok(()),
            other => Err(format!("the last line is {other:?}, not `{last}`")),
        }
    }

    /// Exit statuses, and the last line whatever happens.
    fn contract(&self, tally: &mut Tally) -> Res<()> {
        let good = capture("smb311-gmac.pcapng");
        let bytes = std::fs::read(&good).map_err(|e| e.to_string())?;
        let write = |name: &str, bytes: &[u8]| -> Res<String> {
            let path = self.folder.join(name);
            std::fs::write(&path, bytes).map_err(|e| e.to_string())?;
            Ok(path.display().to_string())
        };
        let middle = bytes.len() / 2;
        let cut = write("cut.pcapng", bytes.get(..middle).unwrap_or_default())?;
        // The length of a block in the middle is damaged: what follows is lost.
        let mut damaged = bytes.clone();
        let block = block_behind(&bytes, middle).ok_or("no block")?;
        if let Some(length) = damaged.get_mut(block + 4..block + 8) {
            length.fill(0xFF);
        }
        let damaged = write("damaged.pcapng", &damaged)?;
        let empty = write("empty.pcapng", b"")?;
        let garbage = write("garbage.pcapng", &noise(5000, 3))?;
        let header = write("header.pcapng", bytes.get(..9).unwrap_or_default())?;
        let nothing = write("nothing.pcap", &plain_header())?;
        let secrets = write(
            "secrets",
            b"# of the file server\nuser alice:Passw0rd!\nuser bob:S3cret#2b\n",
        )?;
        let wrong = write("wrong-secrets", b"user alice\n")?;
        let folder = self.folder.display().to_string();
        let bad = capture("smb311-badsig.pcapng");
        let user = ["--user", "alice:Passw0rd!"];
        let cases: [Case<'_>; 18] = [
            ("right", vec![&good], 0, Some(", 0 bad, "), ""),
            ("bad", vec![&bad], 1, Some(", 1 bad, "), ""),
            ("good and bad", vec![&good, &bad], 1, Some(", 1 bad, "), ""),
            (
                "missing",
                vec!["/nowhere.pcap"],
                2,
                Some("0 verified, 0 bad, 0 unsigned"),
                "No such file",
            ),
            (
                "a folder",
                vec![&folder],
                2,
                Some("0 verified, 0 bad, 0 unsigned"),
                "directory",
            ),
            (
                "empty",
                vec![&empty],
                2,
                Some("0 verified, 0 bad, 0 unsigned"),
                "empty",
            ),
            (
                "garbage",
                vec![&garbage],
                2,
                Some("0 verified, 0 bad, 0 unsigned"),
                "neither pcap nor pcapng",
            ),
            (
                "nine bytes",
                vec![&header],
                2,
                Some("0 verified, 0 bad, 0 unsigned"),
                "cut off in its first block",
            ),
            (
                "no packets",
                vec![&nothing],
                0,
                Some("0 verified, 0 bad, 0 unsigned"),
                "",
            ),
            ("cut off", vec![&cut], 0, Some(", 0 bad, "), ""),
            ("damaged", vec![&damaged], 2, Some(", 0 bad, "), "damaged"),
            (
                "good and missing",
                vec![&good, "/nowhere.pcap"],
                2,
                Some(", 0 bad, "),
                "/nowhere.pcap",
            ),
            (
                "bad and missing",
                vec!["/nowhere.pcap", &bad],
                2,
                Some(", 1 bad, "),
                "/nowhere.pcap",
            ),
            (
                "no keytab",
                vec![&good, "--keytab", "/nowhere.keytab"],
                2,
                None,
                "/nowhere.keytab",
            ),
            (
                "no such option",
                vec![&good, "--frobnicate"],
                2,
                None,
                "--frobnicate",
            ),
            (
                "bad secrets",
                vec![&good, "--secrets", &wrong],
                2,
                None,
                "line 1",
            ),
            (
                "a file of secrets",
                vec![&good, "--secrets", &secrets],
                0,
                Some(", 0 bad, "),
                "",
            ),
            (
                "pieces",
                vec![&good, &bad, "--join"],
                1,
                Some(", 1 bad, "),
                "",
            ),
        ];
        for (name, args, status, last, says) in cases {
            let mut c = self.verify(&user);
            c.args(&args);
            let out = run_program(c, LIMIT)?;
            let line = out.stdout.lines().last().unwrap_or_default();
            let right = out.code == Some(status)
                && last.is_none_or(|last| line.contains(last) && line.ends_with(" unsigned"))
                && out.stderr.contains(says);
            let result = if right { Ok(()) } else { Err(out.tail()) };
            tally.check(&format!("status and last line: {name}"), result);
        }
        let (value, _) = self.json(&["--user", "alice:Passw0rd!", &good, "/nowhere.pcap"])?;
        let errors = value.get("errors").and_then(Value::as_array);
        tally.check(
            "errors in JSON",
            match errors.map(Vec::len) {
                Some(1) => Ok(()),
                _ => Err(format!("{errors:?}")),
            },
        );
        // The password from the environment, and none at all.
        for (password, want) in [
            (Some("Passw0rd!"), Some(0)),
            (Some("other"), Some(1)),
            (None, Some(2)),
        ] {
            let mut c = self.verify(&["--user", "alice", &good]);
            if let Some(password) = password {
                c.env("COUNTERSIGN_PASSWORD", password);
            }
            let out = run_program(c, LIMIT)?;
            let result = if out.code == want {
                Ok(())
            } else {
                Err(out.tail())
            };
            tally.check(
                &format!("password {password:?} from the environment"),
                result,
            );
        }
        Ok(())
    }

    /// smbclient and smbd, as they speak today: the counts of the independent verifier,
    /// and as many signed messages as tshark sees.
    fn fresh(&self, tally: &mut Tally) -> Res<()> {
        let peers = &self.context.peers;
        let (Some(smbclient), Some(dumpcap), Some(tshark), Some(python)) = (
            peers.need(tally, "fresh captures", "smbclient"),
            peers.need(tally, "fresh captures", "dumpcap"),
            peers.need(tally, "fresh captures", "tshark"),
            peers.need_python(tally, "fresh captures", "Cryptodome"),
        ) else {
            return Ok(());
        };
        let share = self.folder.join("share");
        std::fs::create_dir_all(&share).map_err(|e| e.to_string())?;
        let samba = match Samba::start(&self.folder.join("smbd"), &share, "auto") {
            Ok(samba) => samba,
            Err(why) => {
                tally.skip("fresh captures", &why);
                return Ok(());
            }
        };
        let client = Smbclient::new(smbclient, &self.folder)?;
        // On other ports than 445 tshark reads lengths of 17 bits.
        let file = self.folder.join("noise");
        std::fs::write(&file, noise(100_000, 11)).map_err(|e| e.to_string())?;
        let script = format!(
            "put {} up.bin; get up.bin {}/back; ls; rename up.bin on.bin; del on.bin",
            file.display(),
            self.folder.display()
        );
        let classic = [
            "--option=clientusespnego=no",
            "--option=clientntlmv2auth=no",
        ];
        let cases: [(&str, &str, &str, &[&str]); 16] = [
            ("NT1", "NT1", "sign", &[]),
            ("NT1 unsigned", "NT1", "off", &[]),
            ("NT1 without SPNEGO", "NT1", "off", &classic),
            ("SMB 2.0.2", "SMB2_02", "sign", &[]),
            ("SMB 2.1", "SMB2_10", "sign", &[]),
            ("SMB 3.0", "SMB3_00", "sign", &[]),
            ("SMB 3.0.2", "SMB3_02", "sign", &[]),
            ("SMB 3.1.1", "SMB3_11", "sign", &[]),
            ("SMB 3.1.1 unsigned", "SMB3_11", "off", &[]),
            (
                "HMAC-SHA256",
                "SMB3_11",
                "sign",
                &["--option=clientsmb3signingalgorithms=HMAC-SHA256"],
            ),
            (
                "AES-128-CMAC",
                "SMB3_11",
                "sign",
                &["--option=clientsmb3signingalgorithms=AES-128-CMAC"],
            ),
            ("3.0 encrypted", "SMB3_00", "encrypt", &[]),
            (
                "AES-128-CCM",
                "SMB3_11",
                "encrypt",
                &["--option=clientsmb3encryptionalgorithms=AES-128-CCM"],
            ),
            (
                "AES-256-CCM",
                "SMB3_11",
                "encrypt",
                &["--option=clientsmb3encryptionalgorithms=AES-256-CCM"],
            ),
            (
                "AES-256-GCM",
                "SMB3_11",
                "encrypt",
                &["--option=clientsmb3encryptionalgorithms=AES-256-GCM"],
            ),
            ("anonymous", "SMB3_11", "off", &["-N", "-U%"]),
        ];
        for (name, dialect, protection, options) in cases {
            let pcap = self
                .folder
                .join(format!("{}.pcapng", name.replace(' ', "-")));
            let mut c = Command::new(dumpcap);
            c.args(["-q", "-i", "lo", "-B", "64", "-f"]);
            c.arg(format!("tcp port {}", samba.port))
                .arg("-w")
                .arg(&pcap);
            let mut beside = Beside::start(c, &self.folder.join("dumpcap.log"))?;
            beside
                .until(Duration::from_secs(15), |l| {
                    l.starts_with("File: ").then_some(())
                })
                .map_err(|e| format!("dumpcap: {e}"))?;
            let mut c = client.command(samba.port, dialect, protection);
            c.args(options);
            let wanted = if name == "anonymous" {
                "exit"
            } else {
                script.as_str()
            };
            c.args(["-c", wanted]);
            let out = run_program(c, LIMIT)?;
            // What dumpcap has not written yet.
            std::thread::sleep(Duration::from_millis(400));
            beside.stop(Signal::INT, Duration::from_secs(10))?;
            if name != "anonymous" && !out.ok() {
                tally.fail(name, &out.tail());
                continue;
            }
            let encrypted = protection == "encrypt";
            tally.check(
                name,
                self.beside(&pcap, samba.port, tshark, python, encrypted),
            );
        }
        Ok(())
    }

    /// Our counts of a capture beside the others'.
    fn beside(
        &self,
        pcap: &Path,
        port: u16,
        tshark: &Path,
        python: &Path,
        encrypted: bool,
    ) -> Res<()> {
        let file = pcap.display().to_string();
        let (value, out) = self.json(&["--user", &format!("{USER}:{PASSWORD}"), &file])?;
        let ours = count(&value)?;
        let [verified, bad, unsigned] = ours;
        if out.code != Some(0) || bad != 0 {
            return Err(out.stdout);
        }
        let summary = pcap.with_extension("json");
        let mut c = Command::new(python);
        c.arg(workspace::testdata("tools/verify.py"));
        c.args([
            "--account",
            &format!("{USER}:{PASSWORD}"),
            "--port",
            &port.to_string(),
        ]);
        c.arg("--summary").arg(&summary).arg(pcap);
        let judged = run_program(c, LIMIT)?;
        let text = std::fs::read_to_string(&summary).map_err(|_| judged.tail())?;
        let theirs: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let theirs = theirs.as_object().and_then(|o| o.values().next());
        let theirs = count(theirs.ok_or("the independent verifier counted nothing")?)?;
        if theirs != ours {
            return Err(format!("{ours:?}, the independent verifier {theirs:?}"));
        }
        // tshark: signed messages are those with the flag, in SMB1 with a signature.
        let mut c = Command::new(tshark);
        c.arg("-r")
            .arg(pcap)
            .args(["-d", &format!("tcp.port=={port},nbss")]);
        c.args([
            "-T",
            "fields",
            "-e",
            "smb2.flags.signature",
            "-e",
            "smb.signature",
            "-e",
            "smb2.cmd",
        ]);
        let shown = run_program(c, LIMIT)?;
        let (mut signed, mut all) = (0, 0);
        for line in shown.stdout.lines() {
            let mut columns = line
                .split('\t')
                .map(|c| c.split(',').filter(|v| !v.is_empty()));
            let flags = columns.next().into_iter().flatten();
            signed += flags.filter(|v| matches!(*v, "1" | "True")).count() as u64;
            for mac in columns.next().into_iter().flatten() {
                let placeholder = matches!(mac, "0000000000000000" | "4253525350594c20");
                signed += u64::from(!placeholder);
                all += 1;
            }
            all += columns.next().into_iter().flatten().count() as u64;
        }
        if signed != verified {
            return Err(format!("{verified} verified, tshark sees {signed} signed"));
        }
        // Without keys it does not see what is inside encryption.
        if !encrypted && all != verified + unsigned {
            return Err(format!(
                "{} messages, tshark sees {all}",
                verified + unsigned
            ));
        }
        let decrypted = value.get("decrypted").and_then(Value::as_u64);
        match (encrypted, decrypted) {
            (true, Some(1..)) | (false, Some(0)) => Ok(()),
            other => Err(format!("encrypted, decrypted: {other:?}")),
        }
    }

    /// An interface of our own, until SIGINT and until SIGTERM.
    fn live(&self, tally: &mut Tally) -> Res<()> {
        let what = "a live interface";
        let peers = &self.context.peers;
        let (Some(_), Some(smbclient)) = (
            peers.need(tally, what, "dumpcap"),
            peers.need(tally, what, "smbclient"),
        ) else {
            return Ok(());
        };
        if !geteuid().is_root() || find("unshare").is_none() || find("ip").is_none() {
            tally.skip(what, "a network namespace needs root, unshare and ip");
            return Ok(());
        }
        for signal in ["INT", "TERM"] {
            let folder = self.folder.join(format!("live-{signal}"));
            std::fs::create_dir_all(folder.join("share")).map_err(|e| e.to_string())?;
            let client = Smbclient::new(smbclient, &folder)?;
            let script = format!(
                "ip link set lo up\n\
                 {binary} serve --state {folder}/state --listen 127.0.0.1:4450 \
                   --share share={folder}/share --user {USER}:{PASSWORD} >{folder}/serve.log 2>&1 &\n\
                 server=$!\n\
                 {binary} verify --live lo --user {USER}:{PASSWORD} --json >{folder}/out.json 2>{folder}/err &\n\
                 live=$!\n\
                 for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do\n\
                   grep -q 'listening on' {folder}/serve.log && break; sleep 0.2; done\n\
                 sleep 1.5\n\
                 {smbclient} //127.0.0.1/share -p 4450 -s {conf} -U {USER}%{PASSWORD} -m SMB3_11 \
                   --client-protection=sign -c 'ls' || echo failed\n\
                 sleep 1\n\
                 kill -{signal} $live; wait $live; echo status $?\n\
                 kill -TERM $server; wait $server\n",
                binary = self.context.binary.display(),
                folder = folder.display(),
                smbclient = client.program.display(),
                conf = client.conf.display(),
            );
            let mut c = command("unshare", &["--net", "sh", "-c"]);
            c.arg(&script);
            let out = run_program(c, LIMIT)?;
            let text = std::fs::read_to_string(folder.join("out.json")).unwrap_or_default();
            let value: Value = serde_json::from_str(&text).unwrap_or_default();
            let result = match count(&value) {
                Ok([10..=u64::MAX, 0, _]) if out.stdout.contains("status 0") => Ok(()),
                counts => {
                    let err = std::fs::read_to_string(folder.join("err")).unwrap_or_default();
                    Err(format!("{counts:?} {} {err}", out.tail()))
                }
            };
            tally.check(&format!("{what} until SIG{signal}"), result);
        }
        Ok(())
    }
}

/// Where the first block begins that is not before `at`.
fn block_behind(file: &[u8], at: usize) -> Option<usize> {
    let mut block = 0;
    while block < at {
        let length = file.get(block + 4..)?.first_chunk()?;
        block += usize::try_from(u32::from_le_bytes(*length)).ok()?;
    }
    Some(block)
}

/// A pcap file without packets.
fn plain_header() -> Vec<u8> {
    [0xA1B2_C3D4, 0x0004_0002, 0, 0, 65_535, 1u32]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect()
}
