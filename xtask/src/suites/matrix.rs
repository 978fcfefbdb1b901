//! smbclient in every dialect, with every protection, against every policy of
//! the server: what must be signed is signed, what must not is not, what must
//! be refused is refused, and the files are right.

use std::path::Path;
use std::time::Duration;

use super::{Context, Smbclient, noise, same_files};
use crate::Res;
use crate::capture::{Capture, Connection, now};
use crate::report::Tally;
use crate::server::{Server, Setup};
use crate::workspace;

const DIALECTS: [&str; 6] = ["NT1", "SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11"];
const VALUES: [&str; 3] = ["enabled", "disabled", "not-defined"];
const SMALL: usize = 300_000;
const LARGE: u64 = 1 << 30;
const MANY: usize = 5_000;

/// What must happen in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Signed,
    Unsigned,
    Encrypted,
    Refused,
}

/// How the server stands, from its two settings: the table of SMB1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Posture {
    Required,
    Enabled,
    Disabled,
    /// Off, but signs for a client that requires it.
    Declined,
}

#[derive(Debug, Clone, Copy)]
struct Policy {
    always: &'static str,
    if_agrees: &'static str,
    declined: bool,
}

impl Policy {
    fn posture(self) -> Posture {
        match (self.always, self.if_agrees, self.declined) {
            ("enabled", _, _) => Posture::Required,
            (_, "enabled", _) => Posture::Enabled,
            (_, _, true) => Posture::Declined,
            _ => Posture::Disabled,
        }
    }

    fn name(self) -> String {
        let declined = if self.declined { " declined" } else { "" };
        format!(
            "always={} if-agrees={}{declined}",
            self.always, self.if_agrees
        )
    }
}

/// The tables of the settings: for SMB1 both settings count, behind it only "always".
fn expected(dialect: &str, protection: &str, posture: Posture) -> Option<Expected> {
    if dialect == "NT1" {
        return match (protection, posture) {
            ("off", Posture::Required) | ("sign", Posture::Disabled) => Some(Expected::Refused),
            ("off", _) => Some(Expected::Unsigned),
            ("sign", _) => Some(Expected::Signed),
            // SMB1 has no encryption of its own.
            _ => None,
        };
    }
    match protection {
        "encrypt" if dialect.starts_with("SMB3") => Some(Expected::Encrypted),
        "encrypt" => None,
        "sign" => Some(Expected::Signed),
        _ if posture == Posture::Required => Some(Expected::Signed),
        _ => Some(Expected::Unsigned),
    }
}

struct Cell {
    name: String,
    dialect: &'static str,
    expected: Expected,
    from: f64,
    to: f64,
    result: Res<()>,
}

pub(crate) fn run(tally: &mut Tally, context: &Context) -> Res<()> {
    tally.suite("matrix");
    let Some(smbclient) = context.peers.need(tally, "all cells", "smbclient") else {
        return Ok(());
    };
    let dumpcap = context
        .peers
        .need(tally, "judging of signatures", "dumpcap");
    let python = context
        .peers
        .need_python(tally, "judging of signatures", "Cryptodome");
    let folder = workspace::scratch("matrix")?;
    let client = Smbclient::new(smbclient, &folder)?;
    std::fs::write(folder.join("small"), noise(SMALL, 1)).map_err(|e| e.to_string())?;
    let mut policies = Vec::new();
    for always in VALUES {
        for if_agrees in VALUES {
            policies.push(Policy {
                always,
                if_agrees,
                declined: false,
            });
        }
    }
    policies.push(Policy {
        always: "disabled",
        if_agrees: "disabled",
        declined: true,
    });
    for (number, policy) in policies.iter().copied().enumerate() {
        let place = folder.join(format!("p{number}"));
        std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
        let server = match start(context, &place, policy) {
            Ok(s) => s,
            Err(why) => {
                tally.fail(&policy.name(), &why);
                continue;
            }
        };
        let judge = match (dumpcap, python) {
            (Some(d), Some(p)) => match Capture::start(d, &place, server.port) {
                Ok(c) => Some((c, p)),
                Err(why) => {
                    tally.skip(&format!("{}: signatures", policy.name()), &why);
                    None
                }
            },
            _ => None,
        };
        let cells = cells(&client, &server, &folder, policy);
        let connections = match judge {
            Some((capture, python)) => match capture.judge(python) {
                Ok(c) => Some(c),
                Err(why) => {
                    tally.fail(&format!("{}: judging", policy.name()), &why);
                    None
                }
            },
            None => None,
        };
        for cell in cells {
            let result = cell.result.and_then(|()| match &connections {
                None => Ok(()),
                Some(all) => {
                    let mine: Vec<&Connection> = all
                        .iter()
                        .filter(|c| {
                            c.first >= cell.from && c.first <= cell.to && c.dialect.is_some()
                        })
                        .collect();
                    judge_cell(cell.expected, cell.dialect, &mine)
                }
            });
            tally.check(&cell.name, result);
        }
        tally.check(&format!("{}: clean stop", policy.name()), server.stop());
    }
    if context.full {
        large(tally, context, &client, &folder, &policies)?;
    }
    Ok(())
}

fn start(context: &Context, place: &Path, policy: Policy) -> Res<Server> {
    let mut setup = Setup::new(&context.binary, place).policy(policy.always, policy.if_agrees);
    if policy.declined {
        setup = setup.config("[policy]\ndeclined = true\n");
    }
    setup.start()
}

fn cells(client: &Smbclient, server: &Server, folder: &Path, policy: Policy) -> Vec<Cell> {
    let mut out = Vec::new();
    for dialect in DIALECTS {
        for protection in ["off", "sign", "encrypt"] {
            let Some(expected) = expected(dialect, protection, policy.posture()) else {
                continue;
            };
            let name = format!("{} {dialect} {protection} -> {expected:?}", policy.name());
            let from = now();
            let result = work(client, server, folder, dialect, protection, expected);
            out.push(Cell {
                name,
                dialect,
                expected,
                from,
                to: now(),
                result,
            });
        }
    }
    out
}

/// The session of a cell, and that it did what it should.
fn work(
    client: &Smbclient,
    server: &Server,
    folder: &Path,
    dialect: &str,
    protection: &str,
    expected: Expected,
) -> Res<()> {
    let back = folder.join("back");
    let _ = std::fs::remove_file(&back);
    let script = "put small up.bin; ls; get up.bin back; mkdir dir; rename up.bin dir\\moved.bin; \
                  ls dir\\*";
    let limit = Duration::from_secs(60);
    let out = client.run(server.port, dialect, protection, script, limit)?;
    if expected == Expected::Refused {
        if out.ok() {
            return Err("it was not refused".to_owned());
        }
        if out.timed_out {
            return Err(format!("refused by silence: {}", out.tail()));
        }
        return match left_behind(server)?.as_slice() {
            [] => Ok(()),
            left => Err(format!("a refused session left {left:?} in the share")),
        };
    }
    let finish = |result: Res<()>| {
        let _ = std::fs::remove_dir_all(server.share.join("dir"));
        let _ = std::fs::remove_file(server.share.join("up.bin"));
        result
    };
    if !out.ok() {
        return finish(Err(out.tail()));
    }
    if !out.stdout.contains("up.bin") || !out.stdout.contains("moved.bin") {
        return finish(Err(format!("the listing lacks a name: {}", out.stdout)));
    }
    let first = same_files(&folder.join("small"), &back)
        .and_then(|()| same_files(&folder.join("small"), &server.share.join("dir/moved.bin")));
    if first.is_err() {
        return finish(first);
    }
    let out = client.run(
        server.port,
        dialect,
        protection,
        "del dir\\moved.bin; rmdir dir",
        limit,
    )?;
    if !out.ok() {
        return finish(Err(out.tail()));
    }
    match left_behind(server)?.as_slice() {
        [] => Ok(()),
        left => finish(Err(format!("left behind: {left:?}"))),
    }
}

fn left_behind(server: &Server) -> Res<Vec<String>> {
    let entries = std::fs::read_dir(&server.share).map_err(|e| e.to_string())?;
    Ok(entries
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|n| n != ".countersign")
        .collect())
}

/// What the wire showed, judged by a program that shares nothing with the server.
fn judge_cell(expected: Expected, dialect: &str, connections: &[&Connection]) -> Res<()> {
    if connections.is_empty() {
        return Err("the capture has no such connection".to_owned());
    }
    let file_work = |name: &str| {
        [
            "CREATE",
            "READ",
            "WRITE",
            "CLOSE",
            "FIND",
            "QUERY_DIR",
            "SET_INFO",
            "TRANS2",
            "MKDIR",
        ]
        .iter()
        .any(|w| name.contains(w))
    };
    for c in connections {
        if let Some(bad) = c.bad.first() {
            return Err(format!("{} bad signatures, the first: {bad}", c.bad.len()));
        }
        let signed = c.signed(file_work);
        let plain = c.why(|w| w == "session not signing" || w == "signing not active");
        match expected {
            Expected::Refused => {
                if signed + c.unsigned(file_work) > 0 {
                    return Err("a refused session worked on files".to_owned());
                }
            }
            Expected::Signed => {
                // An interim answer may be unsigned, and what comes before there is a key.
                let lawful = |w: &str| {
                    [
                        "negotiate",
                        "placeholder BSRSPYL",
                        "session setup before key",
                    ]
                    .contains(&w)
                        || w.starts_with("STATUS_PENDING interim")
                        || w.starts_with("session setup re")
                        || w.starts_with("oplock")
                };
                let unlawful = c.why(|w| !lawful(w));
                if signed == 0 || unlawful > 0 {
                    return Err(format!(
                        "{signed} signed, {unlawful} unsigned: {}",
                        c.reasons()
                    ));
                }
            }
            Expected::Unsigned => {
                if signed > 0 || plain == 0 {
                    return Err(format!(
                        "{signed} signed, {plain} unsigned: {}",
                        c.reasons()
                    ));
                }
            }
            Expected::Encrypted => {
                let outside = c.why(|w| {
                    w != "inside encryption" && w != "negotiate" && !w.starts_with("session setup")
                });
                if c.encrypted() == 0 || outside > 0 || signed > 0 {
                    return Err(format!(
                        "{} encrypted, {outside} outside: {}",
                        c.encrypted(),
                        c.reasons()
                    ));
                }
            }
        }
        let wanted = match dialect {
            "NT1" => "NT1",
            "SMB2_02" => "0202",
            "SMB2_10" => "0210",
            "SMB3_00" => "0300",
            "SMB3_02" => "0302",
            _ => "0311",
        };
        if c.dialect.as_deref() != Some(wanted) {
            return Err(format!("it spoke {:?}", c.dialect));
        }
    }
    Ok(())
}

/// The 1 GiB file both ways and 5,000 small ones, in every dialect.
/// A file of 1 GiB there and back, and many small files, in every lawful cell of
/// every policy.
fn large(
    tally: &mut Tally,
    context: &Context,
    client: &Smbclient,
    folder: &Path,
    policies: &[Policy],
) -> Res<()> {
    let big = folder.join("big");
    {
        use std::io::Write;
        let mut f = std::fs::File::create(&big).map_err(|e| e.to_string())?;
        for i in 0..LARGE >> 20 {
            f.write_all(&noise(1 << 20, i + 1))
                .map_err(|e| e.to_string())?;
        }
    }
    for (number, policy) in policies.iter().enumerate() {
        let place = folder.join(format!("large{number}"));
        std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
        let server = start(context, &place, *policy)?;
        many_files(&server)?;
        for dialect in DIALECTS {
            for protection in ["off", "sign", "encrypt"] {
                match expected(dialect, protection, policy.posture()) {
                    None | Some(Expected::Refused) => continue,
                    Some(_) => {}
                }
                let cell = format!("{} {dialect} {protection}", policy.name());
                large_cell(tally, client, &server, folder, (dialect, protection), &cell)?;
            }
        }
        tally.check(
            &format!("{}: large files: clean stop", policy.name()),
            server.stop(),
        );
        let _ = std::fs::remove_dir_all(&place);
    }
    let _ = std::fs::remove_file(&big);
    Ok(())
}

fn many_files(server: &Server) -> Res<()> {
    for folder_number in 0..50 {
        let sub = server.share.join(format!("many/d{folder_number:02}"));
        std::fs::create_dir_all(&sub).map_err(|e| e.to_string())?;
        for i in 0..MANY / 50 {
            let seed = folder_number as u64 * 1000 + i as u64;
            let size = usize::try_from(seed * 37 % 9000).unwrap_or(0);
            std::fs::write(sub.join(format!("file {i}.dat")), noise(size, seed))
                .map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

fn large_cell(
    tally: &mut Tally,
    client: &Smbclient,
    server: &Server,
    folder: &Path,
    (dialect, protection): (&str, &str),
    cell: &str,
) -> Res<()> {
    let limit = Duration::from_secs(900);
    let (big, back) = (folder.join("big"), folder.join("big.back"));
    let script = "put big big; get big big.back";
    let out = client.run(server.port, dialect, protection, script, limit)?;
    let result = if out.ok() {
        same_files(&big, &server.share.join("big")).and_then(|()| same_files(&big, &back))
    } else {
        Err(out.tail())
    };
    let name = format!("1 GiB {cell} ({:.0} s)", out.took.as_secs_f64());
    tally.check(&name, result);
    let _ = std::fs::remove_file(&back);
    let _ = std::fs::remove_file(server.share.join("big"));

    let got = folder.join("many");
    let _ = std::fs::remove_dir_all(&got);
    let script = "recurse on; prompt off; mget many";
    let out = client.run(server.port, dialect, protection, script, limit)?;
    let result = if out.ok() {
        same_trees(&server.share.join("many"), &got)
    } else {
        Err(out.tail())
    };
    let name = format!("{MANY} files {cell} ({:.0} s)", out.took.as_secs_f64());
    tally.check(&name, result);
    Ok(())
}

fn same_trees(a: &Path, b: &Path) -> Res<()> {
    let mut files = 0;
    let mut todo = vec![std::path::PathBuf::new()];
    while let Some(below) = todo.pop() {
        for entry in std::fs::read_dir(a.join(&below)).map_err(|e| e.to_string())? {
            let entry = entry.map_err(|e| e.to_string())?;
            let path = below.join(entry.file_name());
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                todo.push(path);
            } else {
                same_files(&a.join(&path), &b.join(&path))?;
                files += 1;
            }
        }
    }
    if files == MANY {
        Ok(())
    } else {
        Err(format!("{files} files of {MANY}"))
    }
}
