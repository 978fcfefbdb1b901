//! impacket, pysmb and smbprotocol: connect, list, write, read, rename, delete,
//! in every dialect each of them speaks.

use std::time::Duration;

use super::Context;
use crate::Res;
use crate::process::run as run_program;
use crate::report::Tally;
use crate::server::{PASSWORD, Setup, USER};
use crate::workspace;

/// Script, module it needs, its dialects with protection.
const PEERS: &[(&str, &str, &[&str])] = &[
    (
        "impacket_peer.py",
        "impacket",
        &["NT1", "2.0.2", "2.1", "3.0", "3.1.1"],
    ),
    ("pysmb_peer.py", "smb", &["NT1", "2.0.2"]),
    (
        "smbprotocol_peer.py",
        "smbprotocol",
        &[
            "2.0.2",
            "2.1",
            "3.0",
            "3.0.2",
            "3.1.1",
            "3.0-encrypt",
            "3.0.2-encrypt",
            "3.1.1-encrypt",
        ],
    ),
];

pub(crate) fn run(tally: &mut Tally, context: &Context) -> Res<()> {
    tally.suite("python");
    let folder = workspace::scratch("python-peers")?;
    for (always, if_agrees) in [("enabled", "enabled"), ("disabled", "enabled")] {
        let place = folder.join(always);
        std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
        let server = Setup::new(&context.binary, &place)
            .policy(always, if_agrees)
            .start()?;
        for (script, module, dialects) in PEERS {
            let Some(python) = context.peers.need_python(tally, script, module) else {
                continue;
            };
            for dialect in *dialects {
                let mut c = std::process::Command::new(python);
                c.arg(workspace::testdata("interop").join(script));
                c.args([
                    "127.0.0.1",
                    &server.port.to_string(),
                    USER,
                    PASSWORD,
                    "share",
                    dialect,
                ]);
                c.current_dir(&place);
                let out = run_program(c, Duration::from_secs(60))?;
                let good = out.ok() && out.stdout.lines().any(|l| l == "all done");
                let name = format!("{module} {dialect} server-always={always}");
                tally.check(&name, if good { Ok(()) } else { Err(out.tail()) });
            }
        }
        tally.check(
            &format!("server-always={always}: clean stop"),
            server.stop(),
        );
    }
    Ok(())
}
