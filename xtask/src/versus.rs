//! `cargo xtask versus`: throughput and server CPU beside smbd's, in turns (A B
//! A B), so that a noisy machine is noisy for both. The client is smbclient.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::peers::Peers;
use crate::report::Tally;
use crate::server::{Samba, Setup};
use crate::suites::{Smbclient, noise};
use crate::{Res, list, number, option, workspace};

pub(crate) fn run(args: &[String]) -> Res<bool> {
    let mut args = args.to_vec();
    let mib = number(&mut args, "--mib", 512)?;
    let runs = number(&mut args, "--runs", 5)?.max(1);
    let dialects = list(
        &mut args,
        "--dialects",
        "NT1,SMB2_02,SMB2_10,SMB3_00,SMB3_02,SMB3_11",
    )?;
    let protections = list(&mut args, "--protect", "off,sign,encrypt")?;
    let operations = list(&mut args, "--ops", "get,put")?;
    let json_file = option(&mut args, "--json")?;
    let mut tally = Tally::new();
    tally.suite("versus");
    let peers = Peers::prepare();
    let Some(smbclient) = peers.need(&mut tally, "all cases", "smbclient") else {
        return Ok(tally.finish());
    };
    let binary = workspace::build_release()?;
    let folder = workspace::in_memory("versus")?;
    let cleaner = Cleaner(folder.clone());
    std::fs::create_dir_all(folder.join("samba")).map_err(|e| e.to_string())?;
    let client = Smbclient::new(smbclient, &folder)?;
    let ours = Setup::new(&binary, &folder)
        .policy("disabled", "enabled")
        .start()?;
    let samba = Samba::start(&folder.join("samba"), &ours.share, "auto")?;
    let big = ours.share.join("big.bin");
    {
        use std::io::Write;
        let mut f = std::fs::File::create(&big).map_err(|e| e.to_string())?;
        for i in 0..mib {
            f.write_all(&noise(1 << 20, i + 1))
                .map_err(|e| e.to_string())?;
        }
    }
    let servers = [(ours.port, ours.pid()), (samba.port, samba.pid())];
    println!(
        "{:24} {:>10} {:>10} {:>8}   {:>12} {:>8} {:>7}",
        "case", "ours MB/s", "smbd MB/s", "speed x", "ours cpu/GiB", "smbd", "cpu x"
    );
    let mut rows = Vec::new();
    for dialect in &dialects {
        for protection in &protections {
            if protection == "encrypt" && !dialect.starts_with("SMB3") {
                continue;
            }
            for operation in &operations {
                let case = format!("{operation} {dialect} {protection}");
                let script = match operation.as_str() {
                    "get" => "get big.bin /dev/null".to_owned(),
                    _ => format!("put {} up.bin", big.display()),
                };
                let mut walls = [Vec::new(), Vec::new()];
                let mut cpus = [Vec::new(), Vec::new()];
                let mut fault = None;
                'runs: for run in 0..=runs {
                    for (at, (port, pid)) in servers.iter().enumerate() {
                        let before = cpu_seconds(*pid);
                        let limit = Duration::from_secs(300);
                        let out = client.run(*port, dialect, protection, &script, limit)?;
                        if !out.ok() {
                            let who = if at == 0 { "ours" } else { "smbd" };
                            fault = Some(format!("{who}: {}", out.tail()));
                            break 'runs;
                        }
                        // A forked server process must first be reaped.
                        std::thread::sleep(Duration::from_millis(150));
                        // The first run warms up.
                        if run > 0 {
                            if let Some(w) = walls.get_mut(at) {
                                w.push(out.took.as_secs_f64());
                            }
                            if let Some(c) = cpus.get_mut(at) {
                                c.push(cpu_seconds(*pid) - before);
                            }
                        }
                    }
                }
                if let Some(why) = fault {
                    tally.fail(&case, &why);
                    continue;
                }
                let [ours_wall, samba_wall] = &walls;
                let [ours_cpu, samba_cpu] = &cpus;
                let megabytes = mib as f64 * 1.048_576;
                let gib = mib as f64 / 1024.0;
                let speed = median(samba_wall.iter().zip(ours_wall).map(|(s, o)| s / o));
                let cost = median(ours_cpu.iter().zip(samba_cpu).map(|(o, s)| o / s.max(0.01)));
                let of = |v: &Vec<f64>| median(v.iter().copied());
                let row = json!({
                    "case": case,
                    "ours_mb_s": megabytes / of(ours_wall),
                    "samba_mb_s": megabytes / of(samba_wall),
                    "speed_ratio": speed,
                    "ours_cpu_s_per_gib": of(ours_cpu) / gib,
                    "samba_cpu_s_per_gib": of(samba_cpu) / gib,
                    "cpu_ratio": cost,
                });
                println!(
                    "{case:24} {:10.0} {:10.0} {speed:7.2}x   {:12.3} {:8.3} {cost:6.2}x",
                    megabytes / of(ours_wall),
                    megabytes / of(samba_wall),
                    of(ours_cpu) / gib,
                    of(samba_cpu) / gib,
                );
                rows.push(row);
                tally.pass(&case);
            }
        }
    }
    if let Some(path) = json_file {
        std::fs::write(&path, format!("{:#}\n", json!(rows)))
            .map_err(|e| format!("{path}: {e}"))?;
    }
    drop(samba);
    tally.check("clean stop", ours.stop());
    drop(cleaner);
    Ok(tally.finish())
}

/// Removes a folder in the end.
pub(crate) struct Cleaner(pub(crate) PathBuf);

impl Drop for Cleaner {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut v: Vec<f64> = values.collect();
    v.sort_by(f64::total_cmp);
    let mid = v.len() / 2;
    match (v.len() % 2, v.get(mid), v.get(mid.wrapping_sub(1))) {
        (1, Some(m), _) => *m,
        (_, Some(a), Some(b)) => (a + b) / 2.0,
        _ => f64::NAN,
    }
}

/// CPU of a process with its threads, its living children and those it reaped.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let mut total = 0.0;
    let mut todo = vec![pid];
    let mut seen = Vec::new();
    let tick = rustix::param::clock_ticks_per_second() as f64;
    while let Some(pid) = todo.pop() {
        if seen.contains(&pid) {
            continue;
        }
        seen.push(pid);
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        let Some((_, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks: f64 = (11..=14)
            .filter_map(|i| fields.get(i).and_then(|f| f.parse::<f64>().ok()))
            .sum();
        total += ticks / tick;
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let children =
                std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            todo.extend(
                children
                    .split_whitespace()
                    .filter_map(|c| c.parse::<u32>().ok()),
            );
        }
    }
    total
}
