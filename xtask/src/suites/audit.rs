//! A week is recorded, by real clients of every kind; what-if names who a change cuts
//! off; the change is made, every client comes again, and exactly those named fail.
//! Exceptions: the named share and no other, from the moment they are added until
//! their end, without a restart.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Context, Smbclient};
use crate::Res;
use crate::process::{Output, Talk, command, run as run_program};
use crate::report::Tally;
use crate::server::{PASSWORD, Server, Setup};
use crate::workspace;

const LIMIT: Duration = Duration::from_secs(30);

/// A client: its account (its own, so that records tell it apart), the program, the
/// dialect, and how it is asked to protect.
struct Visitor {
    account: &'static str,
    how: How,
}

enum How {
    /// smbclient with an account: dialect and protection, and further options.
    Smbclient(&'static str, &'static str, &'static [&'static str]),
    /// smbclient with a name nobody has.
    Guest(&'static str),
    /// smbclient without a name.
    Anonymous(&'static str),
    /// A Python library: its name, module and dialect.
    Python(&'static str, &'static str, &'static str),
}

const VISITORS: &[Visitor] = &[
    visitor("nt1off", How::Smbclient("NT1", "off", &[])),
    visitor("nt1sign", How::Smbclient("NT1", "sign", &[])),
    visitor(
        "nt1v1",
        How::Smbclient("NT1", "sign", &["--option=client NTLMv2 auth=no"]),
    ),
    visitor("smb202", How::Smbclient("SMB2_02", "off", &[])),
    visitor("smb210", How::Smbclient("SMB2_10", "sign", &[])),
    visitor("smb300", How::Smbclient("SMB3_00", "off", &[])),
    visitor("smb302", How::Smbclient("SMB3_02", "encrypt", &[])),
    visitor("smb311", How::Smbclient("SMB3_11", "off", &[])),
    visitor("smb311s", How::Smbclient("SMB3_11", "sign", &[])),
    visitor("stranger", How::Guest("SMB3_11")),
    visitor("", How::Anonymous("SMB3_11")),
    visitor("impnt1", How::Python("impacket", "impacket", "NT1")),
    visitor("imp202", How::Python("impacket", "impacket", "2.0.2")),
    visitor("imp311", How::Python("impacket", "impacket", "3.1.1")),
    visitor("pynt1", How::Python("pysmb", "smb", "NT1")),
    visitor("py202", How::Python("pysmb", "smb", "2.0.2")),
    visitor("evil", How::Smbclient("SMB3_11", "sign", &["-n", EVIL])),
];

const fn visitor(account: &'static str, how: How) -> Visitor {
    Visitor { account, how }
}

/// What is asked, and the configuration that makes it so; settings are made with
/// `policy set`. The first leaves behind who signs when it must, so that it is certain
/// when it is asked again.
const CHANGES: &[(&str, &str)] = &[
    (ALWAYS, ""),
    ("server-if-client-agrees=disabled", ""),
    ("smb1=off", "smb1=false"),
    ("min-dialect=3.0", "min=3.0"),
    ("ntlmv1=off", "ntlmv1=false"),
    ("guest=off", "guest=never"),
    ("encryption=required", "encrypt=true"),
    (ALWAYS, ""),
];

const ALWAYS: &str = "server-always=enabled";

/// A machine's name that would be a formula, markup, a new cell and a terminal's command.
const EVIL: &str = "=<b>&\u{1b}[2J";

/// The configuration with one change.
fn configuration(folder: &Path, change: &str) -> String {
    let pick = |name: &str, otherwise: &str| {
        change
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('='))
            .unwrap_or(otherwise)
            .to_owned()
    };
    let smb1 = if change.starts_with("min=") {
        "false".to_owned()
    } else {
        pick("smb1", "true")
    };
    format!(
        "[[share]]\nname = \"open\"\npath = \"{}\"\nguest = true\n\
         [policy]\nprofile = \"balanced\"\n\
         [dialects]\nsmb1 = {smb1}\nmin = \"{}\"\n\
         [encryption]\nrequired = {}\n\
         [authentication]\nanonymous = true\nguest = \"{}\"\nntlmv1-smb1 = {}\n\
         failed-logon-delay = \"0s\"\n\
         [audit]\njson = \"events.jsonl\"\n",
        folder.join("open").display(),
        pick("min", "2.0.2"),
        pick("encrypt", "false"),
        pick("guest", "unknown-user"),
        pick("ntlmv1", "true"),
    )
}

pub(crate) fn run(tally: &mut Tally, context: &Context) -> Res<()> {
    tally.suite("audit");
    let Some(smbclient) = context.peers.need(tally, "what-if", "smbclient") else {
        return Ok(());
    };
    let folder = workspace::scratch("audit")?;
    let client = Smbclient::new(smbclient, &folder)?;
    std::fs::create_dir_all(folder.join("open")).map_err(|e| e.to_string())?;
    let mut setup = Setup::new(&context.binary, &folder).config(&configuration(&folder, "nothing"));
    // SMB1 is the configuration's to say.
    setup.smb1 = false;
    for one in VISITORS.iter().filter(|one| !one.account.is_empty()) {
        if !matches!(one.how, How::Guest(_)) {
            setup = setup.flag(&["--user", &format!("{}:{PASSWORD}", one.account)]);
        }
    }
    let server = setup.start()?;
    std::fs::write(server.share.join("file"), b"content").map_err(|e| e.to_string())?;
    let site = Site {
        context,
        client: &client,
        server: &server,
        folder: &folder,
    };
    let result = site.week(tally);
    tally.check("a week and six changes", result);
    let result = site.exceptions(tally);
    tally.check("exceptions", result);
    tally.check("clean stop", server.stop());
    Ok(())
}

struct Site<'a> {
    context: &'a Context,
    client: &'a Smbclient,
    server: &'a Server,
    folder: &'a Path,
}

impl Site<'_> {
    fn countersign(&self, args: &[&str]) -> Res<String> {
        let mut c = command(&self.context.binary, args);
        c.arg("--state").arg(&self.server.state);
        let out = run_program(c, LIMIT)?;
        if out.ok() {
            Ok(out.stdout)
        } else {
            Err(format!("{args:?}: {}", out.tail()))
        }
    }

    fn json(&self, args: &[&str]) -> Res<Value> {
        serde_json::from_str(&self.countersign(args)?).map_err(|e| format!("{args:?}: {e}"))
    }

    fn smbclient(
        &self,
        user: &str,
        share: &str,
        (dialect, protection): (&str, &str),
        options: &[&str],
        script: &str,
    ) -> Res<Output> {
        let mut c = std::process::Command::new(&self.client.program);
        c.arg(format!("//127.0.0.1/{share}"))
            .args(["-p", &self.server.port.to_string(), "-m", dialect])
            .arg("-s")
            .arg(&self.client.conf)
            .arg(format!("--client-protection={protection}"))
            .args(options);
        if user.is_empty() {
            c.args(["-U", "%"]);
        } else {
            c.args(["-U", &format!("{user}%{PASSWORD}")]);
        }
        c.args(["-c", script]).current_dir(self.folder);
        let mut out = run_program(c, LIMIT)?;
        if out.ok() && out.text().contains("NT_STATUS_") {
            out.code = Some(1);
        }
        Ok(out)
    }

    /// Every client comes once; the accounts of those that were turned away.
    fn everybody(&self) -> Res<(BTreeSet<String>, BTreeSet<String>)> {
        let (mut let_in, mut turned_away) = (BTreeSet::new(), BTreeSet::new());
        let mut note = |account: &str, good: bool| {
            let set = if good { &mut let_in } else { &mut turned_away };
            set.insert(account.to_owned());
        };
        let mut python = Vec::new();
        for one in VISITORS {
            let (out, good) = match &one.how {
                How::Smbclient(dialect, protection, options) => {
                    let how = (*dialect, *protection);
                    let out = self.smbclient(one.account, "share", how, options, "ls")?;
                    let good = out.ok();
                    (out, good)
                }
                How::Guest(dialect) => {
                    let how = (*dialect, "off");
                    let out = self.smbclient(one.account, "open", how, &[], "ls")?;
                    let good = out.ok();
                    (out, good)
                }
                How::Anonymous(dialect) => {
                    let out = self.smbclient("", "IPC$", (*dialect, "off"), &[], "quit")?;
                    let good = out.ok();
                    (out, good)
                }
                How::Python(library, module, dialect) => {
                    python.push((*module, format!("{library},{dialect},{}", one.account)));
                    continue;
                }
            };
            if out.timed_out {
                return Err(format!("{}: {}", one.account, out.tail()));
            }
            note(one.account, good);
        }
        let mut tally = Tally::new();
        for module in ["impacket", "smb"] {
            let Some(program) = self
                .context
                .peers
                .need_python(&mut tally, "visitors", module)
            else {
                continue;
            };
            let peers = python.iter().filter(|(m, _)| *m == module).map(|(_, p)| p);
            let mut c = std::process::Command::new(program);
            c.arg(workspace::testdata("interop").join("visitors.py"));
            c.args([
                "127.0.0.1",
                &self.server.port.to_string(),
                PASSWORD,
                "share",
            ]);
            c.args(peers).current_dir(self.folder);
            let out = run_program(c, Duration::from_secs(60))?;
            if !out.ok() {
                return Err(out.tail());
            }
            for line in out.stdout.lines() {
                let mut words = line.split(' ');
                let account = words.next().unwrap_or_default();
                note(account, words.next() == Some("ok"));
            }
        }
        Ok((let_in, turned_away))
    }

    /// Moves what was recorded back in time: days of a week.
    fn make_older(&self, days: u32) -> Res<()> {
        let Some(python) = self.context.peers.program("python3") else {
            return Ok(());
        };
        let script = "import sqlite3, sys\n\
             c = sqlite3.connect(sys.argv[1], timeout=20)\n\
             n = int(sys.argv[2])\n\
             c.execute('UPDATE seen SET day = day - ?, first_seen = first_seen - ? * 86400, \
             last_seen = last_seen - ? * 86400', (n, n, n))\n\
             c.commit()\n";
        let mut c = command(python, &["-c", script]);
        c.arg(self.server.state.join("audit.db"))
            .arg(days.to_string());
        let out = run_program(c, LIMIT)?;
        if out.ok() { Ok(()) } else { Err(out.tail()) }
    }

    fn week(&self, tally: &mut Tally) -> Res<()> {
        let (let_in, turned_away) = self.everybody()?;
        if !turned_away.is_empty() {
            return Err(format!("turned away before any change: {turned_away:?}"));
        }
        // The records are written before they are moved.
        self.countersign(&["audit", "report"])?;
        self.make_older(3)?;
        self.everybody()?;
        self.countersign(&["audit", "report"])?;
        self.make_older(4)?;
        self.everybody()?;
        let report = self.json(&["audit", "report", "--format", "json"])?;
        let peers = report
            .get("peers")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        if peers < let_in.len() {
            return Err(format!("{peers} peers reported of {}", let_in.len()));
        }
        for (name, format, sign) in [
            ("table", "table", "PROTECTION"),
            ("csv", "csv", "address,machine,user"),
            ("html", "html", "<svg"),
        ] {
            let text = self.countersign(&["audit", "report", "--format", format])?;
            let good = text.contains(sign) && text.contains("nt1off");
            tally.check(
                &format!("report as {name}"),
                if good {
                    Ok(())
                } else {
                    Err(text.chars().take(200).collect())
                },
            );
        }
        tally.check("names that act", self.names_that_act());
        for (at, (change, how)) in CHANGES.iter().enumerate() {
            // Those that sign when they must have done so by the second time; one that
            // gives up at the negotiation leaves no name, and stays in doubt.
            let (doubt, again) = match (*change, at) {
                (ALWAYS, 0) => (&["nt1off", "impnt1", "pynt1"][..], ""),
                (ALWAYS, _) => (&["nt1off"][..], ", once it was seen"),
                _ => (&[][..], ""),
            };
            let result = self.change(change, how, doubt);
            tally.check(&format!("what-if {change}{again}"), result);
            self.restore(how)?;
        }
        Ok(())
    }

    /// What a peer calls itself reaches no reader as more than text: read by Python's
    /// parsers of HTML and CSV.
    fn names_that_act(&self) -> Res<()> {
        let Some(python) = self.context.peers.program("python3") else {
            return Ok(());
        };
        let script = "import csv, html.parser, io, sys\n\
             kind, text = sys.argv[1], open(sys.argv[2], newline='').read()\n\
             assert '\\x1b' not in text, 'escape'\n\
             tags, data = set(), []\n\
             class P(html.parser.HTMLParser):\n\
             \x20   def handle_starttag(self, tag, attrs): tags.add(tag)\n\
             \x20   def handle_data(self, text): data.append(text)\n\
             if kind == 'html':\n\
             \x20   P().feed(text)\n\
             \x20   known = set('html head meta title style body h1 p svg text rect table thead tbody tr th td'.split())\n\
             \x20   assert tags <= known, tags - known\n\
             \x20   assert 'svg' in tags and any('<b>' in one.lower() for one in data), data\n\
             else:\n\
             \x20   rows = list(csv.reader(io.StringIO(text)))\n\
             \x20   assert len({len(row) for row in rows}) == 1, rows\n\
             \x20   assert any('<b>' in row[1].lower() for row in rows), rows\n\
             \x20   assert not any(cell[:1] in '=+@' for row in rows for cell in row if cell), rows\n";
        for format in ["html", "csv"] {
            let text = self.countersign(&["audit", "report", "--format", format])?;
            let file = self.folder.join(format!("report.{format}"));
            std::fs::write(&file, text).map_err(|e| e.to_string())?;
            let mut c = command(python, &["-c", script, format]);
            c.arg(&file);
            let out = run_program(c, LIMIT)?;
            if !out.ok() {
                return Err(format!("{format}: {}", out.tail()));
            }
        }
        Ok(())
    }

    /// Asks, makes the change, lets everybody come again.
    fn change(&self, change: &str, how: &str, doubt: &[&str]) -> Res<()> {
        let answer = self.json(&["audit", "what-if", change, "--since", "30d", "--json"])?;
        let accounts = |key: &str| -> BTreeSet<String> {
            answer
                .get(key)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|peer| peer.get("user")?.as_str())
                .map(|user| user.rsplit('\\').next().unwrap_or_default())
                .map(|user| if user == "Guest" { "stranger" } else { user }.to_owned())
                .collect()
        };
        let (named, signing) = (accounts("cut_off"), accounts("start_signing"));
        // SMB1 peers that do not offer to sign, of which some do when they must.
        let uncertain: BTreeSet<String> = answer
            .get("cut_off")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(|peer| peer.get("certain") == Some(&Value::Bool(false)))
            .filter_map(|peer| peer.get("user")?.as_str()?.rsplit('\\').next())
            .map(str::to_owned)
            .collect();
        let doubt: BTreeSet<String> = doubt.iter().map(|one| (*one).to_owned()).collect();
        if uncertain != doubt {
            return Err(format!(
                "not certain of {uncertain:?} in place of {doubt:?}"
            ));
        }
        if how.is_empty() {
            let told = self.json(&["policy", "set", change, "--json"])?;
            if told
                .get("servers")
                .and_then(Value::as_array)
                .is_none_or(Vec::is_empty)
            {
                return Err("the server was not told of the change".to_owned());
            }
        } else {
            self.configure(how)?;
        }
        // The report below counts whole seconds: visits of before are none of its.
        std::thread::sleep(Duration::from_millis(1100));
        let begun = Instant::now();
        let (let_in, turned_away) = self.everybody()?;
        let wrongly: BTreeSet<&String> = named.difference(&turned_away).collect();
        let exact = turned_away.is_subset(&named) && wrongly.iter().all(|w| uncertain.contains(*w));
        if !exact {
            return Err(format!(
                "named {named:?}, turned away {turned_away:?}, to start signing {signing:?}"
            ));
        }
        let lost: Vec<&String> = signing.difference(&let_in).collect();
        if !lost.is_empty() {
            return Err(format!("said to start signing, but turned away: {lost:?}"));
        }
        // The way in which a peer comes is the same encrypted or not: its record has both.
        let how_now: &[&str] = if change.starts_with("encryption") {
            &["encrypted", "sometimes"]
        } else {
            &["encrypted", "signed"]
        };
        let protected = self.protected(begun, how_now)?;
        let in_clear: Vec<&String> = signing.difference(&protected).collect();
        if !in_clear.is_empty() {
            return Err(format!("said to start signing, but did not: {in_clear:?}"));
        }
        println!("{change}: cut off {turned_away:?}, named without certainty {wrongly:?}");
        Ok(())
    }

    /// The accounts whose sessions since then were protected in one of these ways.
    fn protected(&self, begun: Instant, ways: &[&str]) -> Res<BTreeSet<String>> {
        let since = format!("{}s", begun.elapsed().as_secs() + 1);
        let report = ["audit", "report", "--format", "json", "--since", &since];
        let report = self.json(&report)?;
        let peers = report.get("peers").and_then(Value::as_array);
        Ok(peers
            .into_iter()
            .flatten()
            .filter(|peer| {
                let how = peer.get("protection").and_then(Value::as_str);
                how.is_some_and(|how| ways.contains(&how))
            })
            .filter_map(|peer| peer.get("user")?.as_str()?.rsplit('\\').next())
            .map(str::to_owned)
            .collect())
    }

    fn restore(&self, how: &str) -> Res<()> {
        if how.is_empty() {
            let set = [
                "policy",
                "set",
                "server-always=disabled",
                "server-if-client-agrees=enabled",
            ];
            self.countersign(&set)?;
            return Ok(());
        }
        self.configure("nothing")
    }

    /// Writes the configuration and waits until it is in force.
    fn configure(&self, change: &str) -> Res<()> {
        let count = |log: &str| log.matches("configuration reloaded").count();
        let before = count(&self.server.log());
        let path = self.folder.join("countersign.toml");
        let new = self.folder.join("countersign.toml.new");
        std::fs::write(&new, configuration(self.folder, change)).map_err(|e| e.to_string())?;
        std::fs::rename(&new, &path).map_err(|e| e.to_string())?;
        let end = Instant::now() + Duration::from_secs(10);
        while count(&self.server.log()) == before {
            if Instant::now() > end {
                return Err("the configuration was not read again".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn exceptions(&self, tally: &mut Tally) -> Res<()> {
        self.countersign(&["policy", "set", "server-always=enabled"])?;
        let comes = |user: &str, share: &str, script: &str| -> Res<bool> {
            Ok(self
                .smbclient(user, share, ("NT1", "off"), &[], script)?
                .ok())
        };
        if comes("nt1off", "share", "ls")? {
            return Err("let in unsigned before there was an exception".to_owned());
        }
        let lasts = Duration::from_secs(12);
        let until = run_program(
            command(
                "date",
                &[
                    "-u",
                    "-d",
                    &format!("+{} seconds", lasts.as_secs()),
                    "+%Y-%m-%dT%H:%M:%SZ",
                ],
            ),
            LIMIT,
        )?;
        let end = Instant::now() + lasts;
        let begun = Instant::now();
        let add = [
            "exception",
            "add",
            "--client",
            "127.0.0.0/8",
            "--account",
            "nt1off",
            "--share",
            "share",
            "--read-only",
            "--no-ipc",
            "--reason",
            "a scanner",
            "--until",
            until.stdout.trim(),
            "--json",
        ];
        let told = self.json(&add)?;
        let took = told
            .pointer("/servers/0/in_force_ms")
            .and_then(Value::as_u64)
            .ok_or("the answer does not say when it was in force")?;
        println!(
            "exception in force after {took} ms ({:?} for the command)",
            begun.elapsed()
        );
        tally.check(
            "in force within a second",
            if took < 1000 {
                Ok(())
            } else {
                Err(format!("{took} ms"))
            },
        );
        let mut held = self.held()?;
        for (name, user, share, script, good) in [
            ("the named share", "nt1off", "share", "ls", true),
            (
                "no writing",
                "nt1off",
                "share",
                "put countersign.toml x",
                false,
            ),
            ("no other share", "nt1off", "open", "ls", false),
            ("no IPC$", "nt1off", "IPC$", "quit", false),
            ("no other account", "nt1v1", "share", "ls", false),
        ] {
            let was = comes(user, share, script)?;
            tally.check(
                &format!("exception: {name}"),
                if was == good {
                    Ok(())
                } else {
                    Err(format!("let in: {was}"))
                },
            );
        }
        // Who signs has no need of it.
        let signed = self.smbclient("nt1off", "open", ("NT1", "sign"), &[], "ls")?;
        tally.check(
            "exception: who signs has every share",
            if signed.ok() {
                Ok(())
            } else {
                Err(signed.tail())
            },
        );
        if Instant::now() < end && !works(&mut held)? {
            return Err("the held session does not work under the exception".to_owned());
        }
        std::thread::sleep(end.saturating_duration_since(Instant::now()) + Duration::from_secs(1));
        tally.check(
            "exception: it ends without a restart",
            match (works(&mut held)?, comes("nt1off", "share", "ls")?) {
                (false, false) => Ok(()),
                other => Err(format!("session goes on, connection let in: {other:?}")),
            },
        );
        self.countersign(&["audit", "report"])?;
        let events = std::fs::read_to_string(self.server.state.join("events.jsonl"))
            .map_err(|e| e.to_string())?;
        for (event, field) in [
            ("\"ExceptionUsed\"", "\"share\":\"share\""),
            ("\"ExceptionExceeded\"", "\"share\":\"open\""),
            ("\"AuditSmb1Access\"", "\"id\":3000"),
            ("\"AuditClientDoesNotSupportSigning\"", "\"id\":3021"),
            ("\"AuditInsecureGuestLogon\"", "Guest"),
            ("\"PolicyChanged\"", "server-always=enabled"),
        ] {
            let good = events
                .lines()
                .any(|line| line.contains(event) && line.contains(field));
            tally.check(
                &format!("event {event}"),
                if good {
                    Ok(())
                } else {
                    Err(format!("no line with {field}"))
                },
            );
        }
        Ok(())
    }

    /// A session that is held.
    fn held(&self) -> Res<Talk> {
        let mut c = std::process::Command::new(&self.client.program);
        c.arg("//127.0.0.1/share")
            .args(["-p", &self.server.port.to_string(), "-m", "NT1", "-E"])
            .arg("-s")
            .arg(&self.client.conf)
            .arg("--client-protection=off")
            .args(["-U", &format!("nt1off%{PASSWORD}")])
            .current_dir(self.folder);
        let mut talk = Talk::start(c)?;
        if works(&mut talk)? {
            Ok(talk)
        } else {
            Err("no session under the exception".to_owned())
        }
    }
}

/// Whether a listing works in a session that is held.
fn works(talk: &mut Talk) -> Res<bool> {
    talk.say(
        "ls",
        "blocks available",
        &["NT_STATUS_", "Connection", "connection"],
        Duration::from_secs(15),
    )
}
