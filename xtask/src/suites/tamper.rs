//! Altered, replayed, unsigned and downgraded traffic between smbclient and the
//! server, in every dialect: nothing of it may be acted upon.

use std::time::Duration;

use super::{Context, Smbclient};
use crate::Res;
use crate::frame::{byte, find, put, replace, utf16};
use crate::proxy::{From, Proxy, Tamper};
use crate::report::Tally;
use crate::server::Setup;
use crate::workspace;

const DIALECTS: [&str; 6] = ["NT1", "SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11"];
const ORIGINAL: &[u8] = b"THESE-ARE-THE-ORIGINAL-BYTES";
const ALTERED: &[u8] = b"THESE-ARE-CHANGED-ON-THE-WAY";

/// What is done to the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    /// Nothing: the control.
    None,
    /// Bytes of a WRITE are changed.
    Flip,
    /// Bytes of a WRITE are changed, signature and its flag taken off.
    Strip,
    /// The name in a CREATE is changed.
    Name,
    /// A CREATE is sent again after the file was deleted.
    Replay,
    /// The requirement to sign is taken out of the server's NEGOTIATE.
    ClearRequired,
    /// The dialects above 2.1 are taken out of the client's NEGOTIATE.
    Downgrade,
}

impl Attack {
    fn applies(self, dialect: &str) -> bool {
        self != Attack::Downgrade || dialect.starts_with("SMB3")
    }

    /// What smbclient asks for.
    fn protection(self) -> &'static str {
        if self == Attack::ClearRequired {
            "off"
        } else {
            "sign"
        }
    }
}

struct Man {
    attack: Attack,
    kept: Option<Vec<u8>>,
    done: bool,
}

/// Takes the signature off every message of a frame.
pub(super) fn unsign(frame: &mut [u8]) {
    if frame.starts_with(b"\xffSMB") {
        let flags2 = byte(frame, 10) & !0x04;
        put(frame, 10, &[flags2]);
        put(frame, 14, &[0; 8]);
        return;
    }
    let mut at = 0;
    loop {
        let flags = byte(frame, at + 16) & !0x08;
        put(frame, at + 16, &[flags]);
        put(frame, at + 48, &[0; 16]);
        let next = frame
            .get(at + 20..at + 24)
            .and_then(|n| n.first_chunk())
            .map(|n| u32::from_le_bytes(*n));
        match next.and_then(|n| usize::try_from(n).ok()) {
            Some(n) if n > 0 && at + n < frame.len() => at += n,
            _ => return,
        }
    }
}

impl Tamper for Man {
    fn frame(&mut self, from: From, mut frame: Vec<u8>) -> (Vec<Vec<u8>>, bool) {
        let smb1 = frame.starts_with(b"\xffSMB");
        let smb2 = frame.starts_with(b"\xfeSMB");
        let client = from == From::Client;
        let changed = match self.attack {
            Attack::Flip if client => replace(&mut frame, ORIGINAL, ALTERED),
            Attack::Strip if client => {
                let hit = replace(&mut frame, ORIGINAL, ALTERED);
                if hit {
                    unsign(&mut frame);
                }
                hit
            }
            Attack::Name if client => replace(&mut frame, &utf16("victim"), &utf16("forged")),
            Attack::Replay if client => {
                if self.kept.is_none() && find(&frame, &utf16("victim")).is_some() {
                    self.kept = Some(frame.clone());
                }
                if !self.done && find(&frame, &utf16("trigger")).is_some() {
                    self.done = true;
                    if let Some(kept) = &self.kept {
                        return (vec![kept.clone(), frame], true);
                    }
                }
                false
            }
            Attack::ClearRequired
                if !client && smb1 && byte(&frame, 4) == 0x72 && byte(&frame, 32) == 17 =>
            {
                let mode = byte(&frame, 35) & !0x0C;
                put(&mut frame, 35, &[mode]);
                true
            }
            Attack::ClearRequired if !client && smb2 && byte(&frame, 12) == 0 => {
                let mode = byte(&frame, 66) & !0x02;
                put(&mut frame, 66, &[mode]);
                true
            }
            Attack::Downgrade
                if client && smb2 && byte(&frame, 12) == 0 && byte(&frame, 13) == 0 =>
            {
                put(&mut frame, 66, &[2, 0]);
                put(&mut frame, 100, &[0x02, 0x02, 0x10, 0x02]);
                true
            }
            _ => false,
        };
        (vec![frame], changed)
    }
}

pub(crate) fn run(tally: &mut Tally, context: &Context) -> Res<()> {
    tally.suite("tamper");
    let Some(smbclient) = context.peers.need(tally, "all attacks", "smbclient") else {
        return Ok(());
    };
    let folder = workspace::scratch("tamper")?;
    let client = Smbclient::new(smbclient, &folder)?;
    let mut content = ORIGINAL.to_vec();
    content.resize(4000, b'.');
    std::fs::write(folder.join("small"), &content).map_err(|e| e.to_string())?;
    let server = Setup::new(&context.binary, &folder)
        .policy("enabled", "enabled")
        .start()?;
    for dialect in DIALECTS {
        for attack in [
            Attack::None,
            Attack::Flip,
            Attack::Strip,
            Attack::Name,
            Attack::Replay,
            Attack::ClearRequired,
            Attack::Downgrade,
        ] {
            if !attack.applies(dialect) {
                continue;
            }
            let man = Box::new(Man {
                attack,
                kept: None,
                done: false,
            });
            let proxy = Proxy::start(server.port, man)?;
            let script = match attack {
                Attack::Replay => "put small victim; del victim; ls trigger*",
                _ => "put small victim",
            };
            let limit = Duration::from_secs(40);
            let out = client.run(proxy.port, dialect, attack.protection(), script, limit)?;
            let mut seen = Vec::new();
            for entry in std::fs::read_dir(&server.share)
                .map_err(|e| e.to_string())?
                .flatten()
            {
                if entry.file_name() == ".countersign" {
                    continue;
                }
                let bytes = std::fs::read(entry.path()).unwrap_or_default();
                seen.push((entry.file_name().to_string_lossy().into_owned(), bytes));
                let _ = std::fs::remove_file(entry.path());
            }
            let result = judge(attack, &seen, &content, out.ok(), proxy.altered());
            let result = result.map_err(|e| format!("{e} (smbclient: {})", out.tail()));
            tally.check(&format!("{dialect} {attack:?}"), result);
        }
    }
    tally.check("clean stop", server.stop());
    Ok(())
}

fn judge(
    attack: Attack,
    seen: &[(String, Vec<u8>)],
    content: &[u8],
    ok: bool,
    altered: u64,
) -> Res<()> {
    let names: Vec<&str> = seen.iter().map(|(n, _)| n.as_str()).collect();
    if attack == Attack::None {
        return match seen {
            [(name, bytes)] if name == "victim" && bytes == content && ok => Ok(()),
            _ => Err(format!("without any attack: {names:?}")),
        };
    }
    if altered == 0 {
        return Err("the attack did not happen".to_owned());
    }
    if seen.iter().any(|(_, bytes)| find(bytes, ALTERED).is_some()) {
        return Err("altered bytes were written".to_owned());
    }
    if names.contains(&"forged") {
        return Err("the forged name was created".to_owned());
    }
    match attack {
        Attack::Replay if !names.is_empty() => Err("the replayed CREATE was acted upon".to_owned()),
        Attack::Replay => Ok(()),
        // The CREATE before the altered WRITE was in order.
        Attack::Flip | Attack::Strip if ok => Err("smbclient noticed nothing".to_owned()),
        Attack::Flip | Attack::Strip => Ok(()),
        Attack::Downgrade if !names.is_empty() || ok => {
            Err("the downgraded session was served".to_owned())
        }
        // Without a signature nothing is served, whatever the client was told. A
        // client that signs all the same (SMB2 and later) is served, signed.
        Attack::ClearRequired | Attack::Name if ok || !names.is_empty() => {
            Err(format!("it was served: {names:?}"))
        }
        _ => Ok(()),
    }
}
