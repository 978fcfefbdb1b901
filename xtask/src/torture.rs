//! `cargo xtask torture LIST`: smbtorture tests, one after another (or some
//! beside each other, each with a server of its own).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::peers::Peers;
use crate::process::{Output, run as run_program};
use crate::report::Tally;
use crate::server::{PASSWORD, Server, Setup, USER, USER2};
use crate::{Res, flag, number, option, workspace};

/// Shares that tests of the lists connect to besides `share`.
const SHARES: [&str; 9] = [
    "tmpcase",
    "dosmode",
    "kernel_oplocks",
    "nostreams",
    "acls_non_canonical",
    "ea_acl_xattr",
    "compound_find",
    "hideunread",
    "hideunwrite",
];

/// A line of a list.
#[derive(Debug, Clone)]
struct Test {
    protocol: String,
    name: String,
    share: String,
    limit: u64,
    extra: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Success,
    Failure,
    Error,
    Skip,
    Timeout,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Success => "success",
            Verdict::Failure => "failure",
            Verdict::Error => "error",
            Verdict::Skip => "skip",
            Verdict::Timeout => "timeout",
        }
    }
}

pub(crate) fn run(args: &[String]) -> Res<bool> {
    let mut args = args.to_vec();
    let sign = option(&mut args, "--sign")?;
    let only = option(&mut args, "--only")?;
    let out = option(&mut args, "--out")?;
    let jobs = number(&mut args, "--jobs", 1)?.clamp(1, 8);
    let limit = number(&mut args, "--timeout", 60)?;
    let quiet = flag(&mut args, "--quiet");
    let [list] = args.as_slice() else {
        return Err("torture needs one list: smb1, smb2, rpc, signing or a file".to_owned());
    };
    let known = workspace::testdata(&format!("lists/{list}.txt"));
    let file = if known.exists() {
        known
    } else {
        PathBuf::from(list)
    };
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let tests: Vec<Test> = text
        .lines()
        .filter(|l| !l.trim().is_empty() && !l.starts_with('#'))
        .map(|l| parse(l, limit))
        .filter(|t| only.as_ref().is_none_or(|o| t.name.contains(o.as_str())))
        .collect();
    let mut tally = Tally::new();
    tally.suite("torture");
    let peers = Peers::prepare();
    let Some(smbtorture) = peers.need(&mut tally, "all tests", "smbtorture").cloned() else {
        return Ok(tally.finish());
    };
    let binary = workspace::build_release()?;
    let folder = workspace::scratch(&format!(
        "torture-{}",
        file.file_stem().unwrap_or_default().display()
    ))?;
    let rows = Mutex::new(match &out {
        Some(path) => Some(std::fs::File::create(path).map_err(|e| format!("{path}: {e}"))?),
        None => None,
    });
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(tally));
    std::thread::scope(|scope| {
        for job in 0..jobs {
            let (next, tally, rows, tests) = (&next, &tally, &rows, &tests);
            let (smbtorture, binary, sign) = (&smbtorture, &binary, sign.as_deref());
            let place = folder.join(format!("job{job}"));
            scope.spawn(move || {
                let mut bench = Bench {
                    smbtorture,
                    binary,
                    sign,
                    place,
                    server: None,
                };
                while let Some(test) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (verdict, seconds, detail) = bench.one(test);
                    let row = format!(
                        "{}\t{}\t{}\t{seconds:.2}\t{detail}",
                        test.protocol,
                        test.name,
                        verdict.name()
                    );
                    if !quiet {
                        println!("{row}");
                    }
                    if let Ok(mut rows) = rows.lock()
                        && let Some(file) = rows.as_mut()
                    {
                        let _ = writeln!(file, "{row}");
                    }
                    let Ok(mut tally) = tally.lock() else { return };
                    let name = format!("{} {}", test.protocol, test.name);
                    match verdict {
                        Verdict::Success => tally.pass(&name),
                        Verdict::Skip => tally.skips.push((name, detail)),
                        other => tally
                            .failures
                            .push((name, format!("{}: {detail}", other.name()))),
                    }
                }
            });
        }
    });
    let tally = tally.into_inner().map_err(|e| e.to_string())?;
    println!(
        "{} passed, {} failed, {} skipped",
        tally.passed,
        tally.failures.len(),
        tally.skips.len()
    );
    Ok(tally.failures.is_empty())
}

fn parse(line: &str, limit: u64) -> Test {
    let mut parts = line.split('\t');
    let (protocol, name) = parts
        .next()
        .unwrap_or_default()
        .split_once(' ')
        .unwrap_or_default();
    let mut test = Test {
        protocol: protocol.trim().to_owned(),
        name: name.trim().to_owned(),
        share: "share".to_owned(),
        limit,
        extra: Vec::new(),
    };
    for word in parts.flat_map(str::split_whitespace) {
        if let Some(share) = word.strip_prefix("share=") {
            share.clone_into(&mut test.share);
        } else if let Some(seconds) = word.strip_prefix("timeout=") {
            test.limit = seconds.parse().map_or(limit, |s: u64| s.max(limit));
        } else {
            test.extra.push(word.to_owned());
        }
    }
    test
}

/// One worker: a server, started again when it is not well.
struct Bench<'a> {
    smbtorture: &'a Path,
    binary: &'a Path,
    sign: Option<&'a str>,
    place: PathBuf,
    server: Option<Server>,
}

impl Bench<'_> {
    fn start(&mut self) -> Res<u16> {
        if let Some(server) = self.server.as_mut()
            && server.healthy().is_ok()
        {
            return Ok(server.port);
        }
        self.server = None;
        std::fs::create_dir_all(&self.place).map_err(|e| e.to_string())?;
        let mut setup = Setup::new(self.binary, &self.place)
            .policy("disabled", "enabled")
            .config(
                "[authentication]\nntlmv1-smb1 = true\nfailed-logon-delay = \"0s\"\nlockout-after = 0\n",
            );
        // Other shares of the lists are other views of the same folder.
        let path = self.place.join("share");
        for name in SHARES {
            setup = setup.flag(&["--share", &format!("{name}={}", path.display())]);
        }
        let server = setup.start()?;
        let port = server.port;
        self.server = Some(server);
        Ok(port)
    }

    fn one(&mut self, test: &Test) -> (Verdict, f64, String) {
        match self.run(test) {
            Ok(out) => {
                let (verdict, detail) = verdict(&out, test.limit);
                let seconds = out.took.as_secs_f64();
                if let Some(why) = self.server.as_mut().and_then(|s| s.healthy().err()) {
                    self.server = None;
                    return (Verdict::Error, seconds, why);
                }
                (verdict, seconds, detail)
            }
            Err(why) => {
                self.server = None;
                (Verdict::Error, 0.0, why)
            }
        }
    }

    fn run(&mut self, test: &Test) -> Res<Output> {
        let port = self.start()?;
        let share = self.place.join("share");
        empty(&share);
        let conf = self.place.join("torture.conf");
        let f = self.place.display();
        let text = format!(
            "[global]\n private dir = {f}\n lock directory = {f}\n state directory = {f}\n \
             cache directory = {f}\n pid directory = {f}\n ncalrpc dir = {f}\n \
             client min protocol = NT1\n client max protocol = SMB3\n log level = 0\n"
        );
        std::fs::write(&conf, text).map_err(|e| e.to_string())?;
        let mut c = std::process::Command::new(self.smbtorture);
        c.arg(format!("//127.0.0.1/{}", test.share))
            .args(["-p", &port.to_string()]);
        c.arg("-s")
            .arg(&conf)
            .args(["-U", &format!("{USER}%{PASSWORD}")]);
        c.args(["--option=torture:progress=no", "--target=samba3"]);
        c.arg(format!("--basedir={f}"))
            .arg(format!("--maximum-runtime={}", test.limit + 5));
        c.arg(format!("--option=torture:user2name={USER2}"));
        c.arg(format!("--option=torture:user2password={PASSWORD}"));
        c.arg(format!("--option=torture:localdir={}", share.display()));
        if let Some(sign) = self.sign {
            c.arg(format!("--option=client signing={sign}"));
            c.arg(format!("--option=client ipc signing={sign}"));
        }
        if test.protocol == "NT1" {
            c.args(["--option=client min protocol=NT1", "-m", "NT1"]);
        } else {
            c.args(["--option=client min protocol=SMB2_02", "-m", &test.protocol]);
        }
        c.args(&test.extra).arg(&test.name).current_dir(&self.place);
        run_program(c, Duration::from_secs(test.limit))
    }
}

fn empty(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            let _ = std::fs::remove_dir_all(path);
        } else {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What smbtorture's lines say.
fn verdict(out: &Output, limit: u64) -> (Verdict, String) {
    if out.timed_out {
        return (Verdict::Timeout, format!("no end within {limit} s"));
    }
    let (mut good, mut bad, mut errors, mut skips, mut started) = (0, 0, 0, 0, 0);
    let mut detail = String::new();
    let mut lines = out.stdout.lines();
    while let Some(line) = lines.next() {
        let Some((kind, rest)) = line.split_once(": ") else {
            continue;
        };
        let counter = match kind {
            "test" => &mut started,
            "success" | "successful" | "xfail" | "knownfail" => &mut good,
            "failure" | "uxsuccess" => &mut bad,
            "error" => &mut errors,
            "skip" => &mut skips,
            _ => continue,
        };
        *counter += 1;
        if rest.ends_with('[') && matches!(kind, "failure" | "error" | "skip") {
            let body: Vec<&str> = lines
                .by_ref()
                .take_while(|l| l.trim_end() != "]")
                .map(str::trim)
                .collect();
            if detail.is_empty() {
                detail = body.join(" | ");
            }
        }
    }
    let verdict = if errors > 0 {
        Verdict::Error
    } else if bad > 0 {
        Verdict::Failure
    } else if started > good + skips {
        Verdict::Error
    } else if good > 0 {
        if out.ok() {
            Verdict::Success
        } else {
            Verdict::Error
        }
    } else if skips > 0 {
        Verdict::Skip
    } else {
        Verdict::Error
    };
    if verdict == Verdict::Error && detail.is_empty() {
        detail = out.tail();
    }
    let detail: String = detail
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(300)
        .collect();
    (verdict, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, code: i32) -> Output {
        Output {
            code: Some(code),
            stdout: text.to_owned(),
            stderr: String::new(),
            timed_out: false,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn verdicts_follow_the_lines() {
        let of = |text: &str, code| verdict(&said(text, code), 1).0;
        assert_eq!(of("test: a\nsuccess: a\n", 0), Verdict::Success);
        assert_eq!(of("test: a\nsuccess: a\n", 1), Verdict::Error);
        assert_eq!(of("test: a\nfailure: a [\nwhy\n]\n", 1), Verdict::Failure);
        assert_eq!(of("test: a\nskip: a [\nno\n]\n", 0), Verdict::Skip);
        assert_eq!(of("test: a\n", 0), Verdict::Error);
        assert_eq!(of("", 0), Verdict::Error);
        assert_eq!(
            verdict(&said("test: a\nfailure: a [\n one\n two\n]\n", 1), 1).1,
            "one | two"
        );
    }

    #[test]
    fn lines_of_lists_are_taken_apart() {
        let t = parse(
            "NT1 base.charset.Testing wide-a\ttimeout=100 share=x --option=a=b",
            60,
        );
        assert_eq!(
            (t.protocol.as_str(), t.name.as_str()),
            ("NT1", "base.charset.Testing wide-a")
        );
        assert_eq!((t.limit, t.share.as_str(), t.extra.len()), (100, "x", 1));
    }
}
