//! Our client against smbd: everything a share can be asked for in every dialect
//! and protection, and somebody between who alters what smbd says.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Context;
use super::tamper::unsign;
use crate::Res;
use crate::frame::{byte, find, put};
use crate::process::{Output, run as run_command};
use crate::proxy::{From, Proxy, Tamper};
use crate::report::Tally;
use crate::server::{PASSWORD, Samba, USER};
use crate::workspace::{cargo, scratch, target};

const DIALECTS: [&str; 6] = ["smb1", "2.0.2", "2.1", "3.0", "3.0.2", "3.1.1"];
const ORIGINAL: &[u8] = b"THESE-ARE-THE-ORIGINAL-BYTES";
const ALTERED: &[u8] = b"THESE-ARE-CHANGED-ON-THE-WAY";

pub(crate) fn run(tally: &mut Tally, _: &Context) -> Res<()> {
    tally.suite("client");
    let folder = scratch("client")?;
    let share = folder.join("share");
    std::fs::create_dir_all(&share).map_err(|e| e.to_string())?;
    std::fs::write(share.join("original"), ORIGINAL).map_err(|e| e.to_string())?;
    let samba = match Samba::start_more(&folder, &share, "auto", "SMB3", &namespace(&folder)?) {
        Ok(samba) => samba,
        Err(why) => {
            tally.skip("our client against smbd", &why);
            return Ok(());
        }
    };
    let battery = build()?;
    for dialect in DIALECTS {
        for protection in ["off", "sign", "encrypt"] {
            if protection == "encrypt" && !dialect.starts_with('3') {
                continue;
            }
            let out = ask(&battery, samba.port, dialect, protection, "share", None)?;
            let result = if out.ok() { Ok(()) } else { Err(out.tail()) };
            tally.check(&format!("smbd {dialect} {protection}"), result);
        }
    }
    for dialect in DIALECTS {
        for attack in [
            Attack::None,
            Attack::Flip,
            Attack::Strip,
            Attack::Twice,
            Attack::Proof,
            Attack::Downgrade,
        ] {
            if attack == Attack::Downgrade && !dialect.starts_with('3') {
                continue;
            }
            let proxy = Proxy::start(samba.port, Box::new(Man { attack }))?;
            let file = Some("original");
            let out = ask(&battery, proxy.port, dialect, "sign", "share", file)?;
            let text = out.text();
            let believed = text.contains("CHANGED");
            let result = match attack {
                Attack::None if out.ok() && text.contains("ORIGINAL") => Ok(()),
                Attack::None => Err(out.tail()),
                _ if proxy.altered() == 0 => Err("the attack did not happen".to_owned()),
                _ if believed => Err("altered bytes were believed".to_owned()),
                // A reply told twice may come after all that was asked was answered.
                Attack::Twice => Ok(()),
                _ if out.ok() => Err("nothing was noticed".to_owned()),
                _ => Ok(()),
            };
            tally.check(&format!("tampering {dialect} {attack:?}"), result);
        }
    }
    for dialect in DIALECTS {
        let file = Some("link/original");
        let out = ask(&battery, samba.port, dialect, "sign", "dfs", file)?;
        let result = match (dialect, out.ok()) {
            // It follows no referrals, and must not do as if the file were not there.
            ("smb1", false) if out.text().contains("DFS") => Ok(()),
            ("smb1", _) => Err(out.tail()),
            (_, true) if out.text().contains("ORIGINAL") => Ok(()),
            _ => Err(out.tail()),
        };
        tally.check(&format!("smbd {dialect} a link of DFS"), result);
    }
    Ok(())
}

/// A namespace with a link to the share.
fn namespace(folder: &Path) -> Res<String> {
    let root = folder.join("dfs");
    std::fs::create_dir_all(&root).map_err(|e| e.to_string())?;
    let link = root.join("link");
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(r"msdfs:127.0.0.1\share", &link).map_err(|e| e.to_string())?;
    Ok(format!(
        "[dfs]\n path = {}\n msdfs root = yes\n read only = no\n force user = root\n",
        root.display()
    ))
}

fn build() -> Res<PathBuf> {
    // As the tests have built it: an optimised build of its own takes minutes.
    let status = cargo()
        .args(["build", "--package", "countersign-client"])
        .args(["--example", "battery"])
        .status()
        .map_err(|e| format!("cargo: {e}"))?;
    if !status.success() {
        return Err("the battery does not build".to_owned());
    }
    Ok(target().join("debug/examples/battery"))
}

fn ask(
    battery: &Path,
    port: u16,
    dialect: &str,
    protection: &str,
    share: &str,
    file: Option<&str>,
) -> Res<Output> {
    let mut c = Command::new(battery);
    c.arg(format!("127.0.0.1:{port}"));
    c.args([share, USER, PASSWORD, dialect, protection]);
    c.args(file);
    run_command(c, Duration::from_secs(120))
}

/// What is done to what the server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    /// Nothing: the control.
    None,
    /// Bytes of a file are changed.
    Flip,
    /// Bytes of a file are changed, the signature and its flag taken off.
    Strip,
    /// The reply with the file comes twice.
    Twice,
    /// The end of the logon is not proved.
    Proof,
    /// The dialects above 2.1 are taken out of the client's NEGOTIATE.
    Downgrade,
}

struct Man {
    attack: Attack,
}

impl Tamper for Man {
    fn frame(&mut self, from: From, mut frame: Vec<u8>) -> (Vec<Vec<u8>>, bool) {
        let server = from == From::Server;
        let smb2 = frame.starts_with(b"\xfeSMB");
        let hit = match self.attack {
            Attack::Flip | Attack::Strip | Attack::Twice if server => {
                let Some(at) = find(&frame, ORIGINAL) else {
                    return (vec![frame], false);
                };
                if self.attack == Attack::Twice {
                    return (vec![frame.clone(), frame], true);
                }
                put(&mut frame, at, ALTERED);
                if self.attack == Attack::Strip {
                    unsign(&mut frame);
                }
                true
            }
            // The final response of SESSION_SETUP: success, no more is wanted.
            Attack::Proof
                if server && smb2 && byte(&frame, 12) == 1 && frame.get(8..12) == Some(&[0; 4]) =>
            {
                let flipped = byte(&frame, 50) ^ 1;
                put(&mut frame, 50, &[flipped]);
                true
            }
            Attack::Proof
                if server
                    && frame.starts_with(b"\xffSMB")
                    && byte(&frame, 4) == 0x73
                    && frame.get(5..9) == Some(&[0; 4]) =>
            {
                let flipped = byte(&frame, 15) ^ 1;
                put(&mut frame, 15, &[flipped]);
                true
            }
            Attack::Downgrade
                if !server && smb2 && byte(&frame, 12) == 0 && byte(&frame, 13) == 0 =>
            {
                // One dialect was offered; 2.1 stands in its place.
                put(&mut frame, 100, &[0x10, 0x02]);
                true
            }
            _ => false,
        };
        (vec![frame], hit)
    }
}
