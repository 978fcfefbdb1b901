//! `cargo xtask speed`: our client, smbclient and rclone side by side against smbd:
//! one large file and many small ones, both ways, each dialect, signed and not.
//! They take turns, so that a noisy machine is noisy for all.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::process::{Output, command, find, run as run_program};
use crate::report::Tally;
use crate::server::{PASSWORD, Samba, USER};
use crate::suites::noise;
use crate::versus::{Cleaner, median};
use crate::{Res, list, number, option, workspace};

const LIMIT: Duration = Duration::from_secs(600);
/// Length of a small file.
const SMALL: usize = 4096;
const OPERATIONS: [&str; 4] = ["get-large", "put-large", "get-many", "put-many"];

/// Who copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Ours,
    Smbclient,
    Rclone,
}

const TOOLS: [(Tool, &str); 3] = [
    (Tool::Ours, "countersign"),
    (Tool::Smbclient, "smbclient"),
    (Tool::Rclone, "rclone"),
];

struct Bench {
    binary: PathBuf,
    /// Everything lies here, in memory where there is room.
    folder: PathBuf,
    conf: PathBuf,
    rclone_password: Option<String>,
    /// It takes ten times as long as the others.
    rclone_runs: u64,
    port: u16,
}

pub(crate) fn run(args: &[String]) -> Res<bool> {
    let mut args = args.to_vec();
    let mib = number(&mut args, "--mib", 1024)?;
    let files = number(&mut args, "--files", 5000)?;
    let runs = number(&mut args, "--runs", 3)?.max(1);
    let rclone_runs = number(&mut args, "--rclone-runs", 1)?;
    let dialects = list(
        &mut args,
        "--dialects",
        "NT1,SMB2_02,SMB2_10,SMB3_00,SMB3_02,SMB3_11",
    )?;
    let protections = list(&mut args, "--protect", "off,sign")?;
    let operations = list(&mut args, "--ops", &OPERATIONS.join(","))?;
    let json_file = option(&mut args, "--json")?;
    let mut tally = Tally::new();
    tally.suite("speed");
    let binary = workspace::build_release()?;
    let folder = workspace::in_memory("speed")?;
    let cleaner = Cleaner(folder.clone());
    let share = folder.join("share");
    make_files(&folder, &share, mib, files)?;
    let conf = folder.join("client.conf");
    std::fs::write(
        &conf,
        "[global]\n client min protocol = NT1\n client max protocol = SMB3\n log level = 0\n",
    )
    .map_err(|e| e.to_string())?;
    let rclone_password = match find("rclone") {
        Some(rclone) => {
            let out = run_program(command(rclone, &["obscure", PASSWORD]), LIMIT)?;
            out.ok().then(|| out.stdout.trim().to_owned())
        }
        None => None,
    };
    if rclone_password.is_none() {
        tally.skip("rclone", "it is not installed");
    }
    let mut bench = Bench {
        binary,
        folder,
        conf,
        rclone_password,
        rclone_runs,
        port: 0,
    };
    println!(
        "{:30} {:>12} {:>12} {:>12}   {:>12} {:>12}",
        "case (seconds)", "countersign", "smbclient", "rclone", "x smbclient", "x rclone"
    );
    let mut rows = Vec::new();
    for dialect in &dialects {
        for protection in &protections {
            let signing = if protection == "off" {
                "disabled"
            } else {
                "mandatory"
            };
            let place = bench.folder.join(format!("samba-{dialect}-{protection}"));
            std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
            let samba = match Samba::start_with(&place, &share, signing, dialect) {
                Ok(samba) => samba,
                Err(why) => {
                    tally.skip(&format!("{dialect} {protection}"), &why);
                    continue;
                }
            };
            bench.port = samba.port;
            for operation in &operations {
                let case = format!("{operation} {dialect} {protection}");
                match bench.case(dialect, protection, operation, runs) {
                    Ok(seconds) => {
                        let [ours, smbclient, rclone] = seconds;
                        println!(
                            "{case:30} {ours:12.2} {smbclient:12.2} {rclone:12.2}   {:12.2} {:12.2}",
                            smbclient / ours,
                            rclone / ours
                        );
                        let number = |n: f64| n.is_finite().then_some(n);
                        rows.push(json!({
                            "case": case,
                            "countersign_s": number(ours),
                            "smbclient_s": number(smbclient),
                            "rclone_s": number(rclone),
                        }));
                        tally.pass(&case);
                    }
                    Err(why) => tally.fail(&case, &why),
                }
            }
        }
    }
    if let Some(path) = json_file {
        std::fs::write(&path, format!("{:#}\n", json!(rows)))
            .map_err(|e| format!("{path}: {e}"))?;
    }
    drop(cleaner);
    Ok(tally.finish())
}

fn make_files(folder: &Path, share: &Path, mib: u64, files: u64) -> Res<()> {
    use std::io::Write;
    let text = |e: std::io::Error| e.to_string();
    std::fs::create_dir_all(share.join("many")).map_err(text)?;
    let mut big = std::fs::File::create(share.join("big.bin")).map_err(text)?;
    for at in 0..mib {
        big.write_all(&noise(1 << 20, at + 1)).map_err(text)?;
    }
    // The same bytes are what is sent: a link costs no memory.
    std::fs::hard_link(share.join("big.bin"), folder.join("big.bin")).map_err(text)?;
    std::fs::create_dir_all(folder.join("many")).map_err(text)?;
    for at in 0..files {
        let content = noise(SMALL, at + 1);
        std::fs::write(share.join(format!("many/f{at}")), &content).map_err(text)?;
        std::fs::write(folder.join(format!("many/f{at}")), &content).map_err(text)?;
    }
    Ok(())
}

impl Bench {
    /// Medians of the three tools; not a number for what cannot take part.
    fn case(&self, dialect: &str, protection: &str, operation: &str, runs: u64) -> Res<[f64; 3]> {
        let mut seconds = [Vec::new(), Vec::new(), Vec::new()];
        // The first run warms up.
        for run in 0..=runs {
            for ((tool, name), taken) in TOOLS.iter().zip(&mut seconds) {
                if *tool == Tool::Rclone && (run == 0 || run > self.rclone_runs) {
                    continue;
                }
                let Some(c) = self.command(*tool, dialect, protection, operation) else {
                    continue;
                };
                self.clean()?;
                let out = run_program(c, LIMIT)?;
                if let Err(why) = self.check(&out, operation) {
                    if *tool == Tool::Ours {
                        return Err(format!("{name}: {why}"));
                    }
                    // What another program cannot do is no failure of ours.
                    if run <= 1 {
                        println!("{name} fails in {operation} {dialect} {protection}: {why}");
                    }
                    continue;
                }
                if run > 0 {
                    taken.push(out.took.as_secs_f64());
                }
            }
        }
        Ok(seconds.map(|taken| median(taken.into_iter())))
    }

    /// What a run before left.
    fn clean(&self) -> Res<()> {
        for path in ["down", "share/up"] {
            let path = self.folder.join(path);
            if path.exists() {
                std::fs::remove_dir_all(&path).map_err(|e| e.to_string())?;
            }
            std::fs::create_dir_all(&path).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// It succeeded and everything is there.
    fn check(&self, out: &Output, operation: &str) -> Res<()> {
        if !out.ok() || out.text().contains("NT_STATUS_") {
            return Err(out.tail());
        }
        let count = |folder: PathBuf| std::fs::read_dir(folder).map_or(0, Iterator::count);
        let wanted = count(self.folder.join("many"));
        let got = match operation {
            "get-many" => count(self.folder.join("down/many")),
            "put-many" => count(self.folder.join("share/up/many")),
            "put-large" => {
                let up = self.folder.join("share/up/big.bin");
                let length = |p: &Path| std::fs::metadata(p).map_or(0, |m| m.len());
                if length(&up) != length(&self.folder.join("big.bin")) {
                    return Err("the file is not whole".to_owned());
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        if got == wanted {
            Ok(())
        } else {
            Err(format!("{got} of {wanted} files"))
        }
    }

    fn command(
        &self,
        tool: Tool,
        dialect: &str,
        protection: &str,
        operation: &str,
    ) -> Option<Command> {
        let folder = |name: &str| self.folder.join(name).display().to_string();
        let port = self.port;
        let mut c = match tool {
            Tool::Ours => {
                let at = |path: &str| format!("smb://127.0.0.1:{port}/share/{path}");
                let sign = if protection == "off" {
                    "off"
                } else {
                    "required"
                };
                let mut c = Command::new(&self.binary);
                let args = match operation {
                    "get-large" => vec!["get".to_owned(), at("big.bin"), "/dev/null".to_owned()],
                    "put-large" => vec!["put".to_owned(), folder("big.bin"), at("up/big.bin")],
                    "get-many" => {
                        let down = folder("down/many");
                        vec!["get".to_owned(), "-r".to_owned(), at("many"), down]
                    }
                    _ => {
                        let many = folder("many");
                        vec!["put".to_owned(), "-r".to_owned(), many, at("up/many")]
                    }
                };
                c.args(args).args(["--dialect", dialect, "--sign", sign]);
                c.env("COUNTERSIGN_USER", USER)
                    .env("COUNTERSIGN_PASSWORD", PASSWORD)
                    .env("XDG_STATE_HOME", &self.folder);
                c
            }
            Tool::Smbclient => {
                let script = match operation {
                    "get-large" => "get big.bin /dev/null".to_owned(),
                    "put-large" => format!("put {} up\\big.bin", folder("big.bin")),
                    "get-many" => format!("recurse; prompt; lcd {}; mget many", folder("down")),
                    _ => format!("recurse; prompt; cd up; lcd {}; mput many", folder("")),
                };
                let mut c = Command::new(find("smbclient")?);
                c.args(["//127.0.0.1/share", "-p", &port.to_string(), "-s"])
                    .arg(&self.conf)
                    .args(["-U", &format!("{USER}%{PASSWORD}"), "-m", dialect])
                    .arg(format!("--client-protection={protection}"))
                    .args(["-c", &script]);
                c
            }
            // It has no SMB1.
            Tool::Rclone if dialect == "NT1" => return None,
            Tool::Rclone => {
                let password = self.rclone_password.as_ref()?;
                let at = |path: &str| {
                    format!(
                        ":smb,host=127.0.0.1,port={port},user={USER},pass={password}:share/{path}"
                    )
                };
                let mut c = Command::new(find("rclone")?);
                let args = match operation {
                    // It writes to files only.
                    "get-large" => vec!["copyto".to_owned(), at("big.bin"), folder("down/big.bin")],
                    "put-large" => vec!["copyto".to_owned(), folder("big.bin"), at("up/big.bin")],
                    "get-many" => vec!["copy".to_owned(), at("many"), folder("down/many")],
                    _ => vec!["copy".to_owned(), folder("many"), at("up/many")],
                };
                c.args(args)
                    .args(["--config", "", "--transfers", "32", "--checkers", "32"]);
                c.env("RCLONE_CONFIG", "/dev/null");
                c
            }
        };
        c.current_dir(&self.folder);
        Some(c)
    }
}
