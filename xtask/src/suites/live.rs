//! The policy changes while smbclient holds sessions: within one second the
//! next unsigned connection is refused, the live unsigned one ended or kept as
//! configured, the signed one undisturbed.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Context, Smbclient};
use crate::Res;
use crate::process::{Talk, command, run as run_program};
use crate::report::Tally;
use crate::server::{Server, Setup};
use crate::workspace;

const LIMIT: Duration = Duration::from_secs(15);

pub(crate) fn run(tally: &mut Tally, context: &Context) -> Res<()> {
    tally.suite("live");
    let Some(smbclient) = context.peers.need(tally, "policy change", "smbclient") else {
        return Ok(());
    };
    let folder = workspace::scratch("live")?;
    let client = Smbclient::new(smbclient, &folder)?;
    for on_tighten in ["end", "keep"] {
        for dialect in ["NT1", "SMB2_10", "SMB3_11"] {
            let place = folder.join(format!("{on_tighten}-{dialect}"));
            std::fs::create_dir_all(place.join("state")).map_err(|e| e.to_string())?;
            let name = format!("{dialect} on-tighten={on_tighten}");
            match change(context, &client, &place, dialect, on_tighten) {
                Ok(took) => {
                    tally.pass(&name);
                    println!("{name}: in force after {:.0} ms", took.as_secs_f64() * 1e3);
                }
                Err(why) => tally.fail(&name, &why),
            }
        }
    }
    Ok(())
}

fn countersign(context: &Context, server_state: &std::path::Path, args: &[&str]) -> Res<String> {
    let mut c = command(&context.binary, args);
    c.arg("--state").arg(server_state);
    let out = run_program(c, LIMIT)?;
    if out.ok() {
        Ok(out.stdout)
    } else {
        Err(format!("{args:?}: {}", out.tail()))
    }
}

fn change(
    context: &Context,
    client: &Smbclient,
    place: &std::path::Path,
    dialect: &str,
    on_tighten: &str,
) -> Res<Duration> {
    let state = place.join("state");
    let relaxed = [
        "policy",
        "set",
        "server-always=disabled",
        "server-if-client-agrees=enabled",
    ];
    countersign(context, &state, &relaxed)?;
    let server = Setup::new(&context.binary, place)
        .config(&format!("[policy]\non-tighten = \"{on_tighten}\"\n"))
        .start()?;
    let result = with(context, client, &server, dialect, on_tighten);
    server.stop()?;
    result
}

fn with(
    context: &Context,
    client: &Smbclient,
    server: &Server,
    dialect: &str,
    on_tighten: &str,
) -> Res<Duration> {
    let mut plain = client.talk(server.port, dialect, "off")?;
    let mut signed = client.talk(server.port, dialect, "sign")?;
    for (talk, which) in [(&mut plain, "unsigned"), (&mut signed, "signed")] {
        if !works(talk)? {
            return Err(format!(
                "the {which} session does not work before the change"
            ));
        }
    }
    let text = countersign(context, &server.state, &["sessions", "--json"])?;
    let listed: Value = serde_json::from_str(&text).map_err(|e| format!("sessions --json: {e}"))?;
    let rows = listed
        .get("sessions")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    if rows != 2 {
        return Err(format!("{rows} sessions listed in place of 2"));
    }
    let begun = Instant::now();
    let set = ["policy", "set", "server-always=enabled", "--json"];
    let text = countersign(context, &server.state, &set)?;
    let took = begun.elapsed();
    let told: Value = serde_json::from_str(&text).map_err(|e| format!("policy set --json: {e}"))?;
    let count = |what: &str| told.get(what).and_then(Value::as_u64).unwrap_or(u64::MAX);
    let expected = if on_tighten == "end" {
        (1, 0, 1)
    } else {
        (1, 1, 0)
    };
    let counts = (count("satisfied"), count("kept"), count("ended"));
    if counts != expected {
        return Err(format!(
            "satisfied, kept, ended: {counts:?} in place of {expected:?}"
        ));
    }
    if took > Duration::from_secs(1) {
        return Err(format!("in force only after {took:?}"));
    }
    // SMB1 refuses who will not sign; later dialects sign then.
    let next = client.run(server.port, dialect, "off", "ls", Duration::from_secs(30))?;
    if next.ok() == (dialect == "NT1") {
        return Err(format!(
            "the next connection without signing: {}",
            next.tail()
        ));
    }
    if !works(&mut signed)? {
        return Err("the signed session was disturbed".to_owned());
    }
    match (works(&mut plain)?, on_tighten) {
        (true, "end") => Err("the unsigned session goes on".to_owned()),
        (false, "keep") => Err("the unsigned session was ended".to_owned()),
        _ => Ok(took),
    }
}

/// Whether a listing still works in a session that is held.
fn works(talk: &mut Talk) -> Res<bool> {
    let said = talk.say(
        "ls",
        "blocks available",
        &["NT_STATUS_", "Connection", "connection"],
        LIMIT,
    )?;
    Ok(said)
}
