//! The client commands of the built binary against our server and against smbd:
//! what they do, their exit codes, and the JSON that scripts depend on.

mod care;
mod copies;
mod mounting;
mod names;
mod refusals;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Context, noise};
use crate::Res;
use crate::process::{Output, run as run_program};
use crate::report::Tally;
use crate::server::{PASSWORD, Samba, Setup, USER};
use crate::workspace;

const LIMIT: Duration = Duration::from_secs(60);

/// The binary as a client of one server.
#[derive(Debug, Clone)]
pub(crate) struct Commands {
    binary: PathBuf,
    /// Its home and state.
    folder: PathBuf,
    port: u16,
    /// The folder behind the share.
    share: PathBuf,
}

impl Commands {
    /// `smb://127.0.0.1:PORT/share/PATH`.
    fn at(&self, path: &str) -> String {
        format!("smb://127.0.0.1:{}/share/{path}", self.port)
    }

    /// The binary with these arguments; name and password come from the environment.
    fn command(&self, args: &[&str]) -> Command {
        let mut c = Command::new(&self.binary);
        c.args(args)
            .env("COUNTERSIGN_USER", USER)
            .env("COUNTERSIGN_PASSWORD", PASSWORD)
            .env("XDG_STATE_HOME", &self.folder)
            .env("HOME", &self.folder)
            .env_remove("COUNTERSIGN_NETRC")
            .current_dir(&self.folder);
        c
    }

    fn run(&self, args: &[&str]) -> Res<Output> {
        run_program(self.command(args), LIMIT)
    }

    /// It must succeed and say nothing on standard error.
    fn good(&self, args: &[&str]) -> Res<String> {
        let out = self.run(args)?;
        if !out.ok() {
            return Err(format!(
                "{args:?} ended with {:?}: {}",
                out.code,
                out.tail()
            ));
        }
        if !out.stderr.is_empty() {
            return Err(format!("{args:?} complained: {}", out.stderr));
        }
        Ok(out.stdout)
    }

    fn json(&self, args: &[&str]) -> Res<Value> {
        let text = self.good(args)?;
        serde_json::from_str(&text).map_err(|e| format!("{args:?}: {e} in {text}"))
    }

    /// It must fail with this code and say all of this.
    fn bad(&self, args: &[&str], code: i32, says: &[&str]) -> Res<()> {
        judge(args, &self.run(args)?, code, says)
    }

    /// A local file for the test.
    fn file(&self, name: &str, content: &[u8]) -> Res<String> {
        let path = self.folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| e.to_string())?;
        }
        std::fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path.display().to_string())
    }

    fn local(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

fn judge(args: &[&str], out: &Output, code: i32, says: &[&str]) -> Res<()> {
    if out.code != Some(code) {
        return Err(format!(
            "{args:?} ended with {:?}, not {code}: {}",
            out.code,
            out.tail()
        ));
    }
    match says.iter().find(|word| !out.stderr.contains(**word)) {
        None => Ok(()),
        Some(word) => Err(format!("{args:?} does not say `{word}`: {}", out.stderr)),
    }
}

/// A member of a JSON value by its path.
fn member<'a>(value: &'a Value, path: &str) -> Res<&'a Value> {
    value
        .pointer(path)
        .ok_or_else(|| format!("no `{path}` in {value}"))
}

fn expect(value: &Value, path: &str, wanted: &Value) -> Res<()> {
    let found = member(value, path)?;
    if found == wanted {
        return Ok(());
    }
    Err(format!("`{path}` is {found}, not {wanted}"))
}

fn same(path: &Path, content: &[u8]) -> Res<()> {
    let found = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    if found == content {
        return Ok(());
    }
    Err(format!(
        "{} has {} bytes, {} were expected, or others",
        path.display(),
        found.len(),
        content.len()
    ))
}

type Case = (&'static str, fn(&Commands) -> Res<()>);

const CASES: &[Case] = &[
    ("names", names::every_name),
    ("listing", names::listing),
    ("moving and removing", names::moving),
    ("stat, du, find, tree", names::looking),
    ("shares and acl", names::shares_and_acl),
    ("watch", names::watch),
    ("shell", names::shell),
    ("1,000 files", copies::thousand),
    ("sync", copies::sync),
    ("resume", copies::resume),
    ("standard input and output", copies::streams),
    ("JSON of what failed", care::json_of_failures),
    ("wrong command lines", care::misuse),
    ("several things at once", care::several),
    ("readers that go", care::readers),
    ("dry runs", care::dry_runs),
    ("filters and --delete", care::filters),
    ("exit codes", refusals::exit_codes),
    ("passwords", refusals::passwords),
    ("mount", mounting::mount),
];

pub(crate) fn run(tally: &mut Tally, context: &Context) -> Res<()> {
    tally.suite("commands");
    let folder = workspace::scratch("commands")?;
    let ours_place = folder.join("ours");
    let client = |name: &str, port: u16, share: &Path| -> Res<Commands> {
        let home = folder.join(name);
        std::fs::create_dir_all(&home).map_err(|e| e.to_string())?;
        Ok(Commands {
            binary: context.binary.clone(),
            folder: home,
            port,
            share: share.to_owned(),
        })
    };
    std::fs::create_dir_all(&ours_place).map_err(|e| e.to_string())?;
    let server = Setup::new(&context.binary, &ours_place).start()?;
    let ours = client("client-of-ours", server.port, &server.share)?;
    against(tally, "ours", &ours);
    tally.check(
        "ours: interrupted",
        copies::interrupted(&ours, server.pid()),
    );
    tally.check("ours: refused policy", refusals::policy(context, &folder));
    tally.check("clean stop", server.stop());

    let samba_place = folder.join("samba");
    let share = samba_place.join("share");
    std::fs::create_dir_all(&share).map_err(|e| e.to_string())?;
    match Samba::start(&samba_place, &share, "auto") {
        Ok(samba) => {
            let theirs = client("client-of-smbd", samba.port, &share)?;
            against(tally, "smbd", &theirs);
            let vanishing = copies::vanishing(&theirs, samba);
            tally.check("smbd: vanishes midway", vanishing);
        }
        Err(why) => tally.skip("smbd", &why),
    }
    Ok(())
}

fn against(tally: &mut Tally, who: &str, commands: &Commands) {
    for dialect in ["smb1", "2.0.2", "2.1", "3.0", "3.0.2", "3.1.1"] {
        for protection in ["--sign=required", "--sign=offered", "--encrypt"] {
            if protection == "--encrypt" && !dialect.starts_with('3') {
                continue;
            }
            let name = format!("{who}: {dialect} {protection}");
            tally.check(&name, there_and_back(commands, dialect, protection));
        }
    }
    for (name, case) in CASES {
        let result = case(commands);
        match result {
            Err(why) if why.starts_with("skip: ") => {
                tally.skip(&format!("{who}: {name}"), why.trim_start_matches("skip: "));
            }
            other => tally.check(&format!("{who}: {name}"), other),
        }
    }
}

/// A file up, listed, down and removed.
fn there_and_back(commands: &Commands, dialect: &str, protection: &str) -> Res<()> {
    let content = noise(1_300_000, 7);
    let source = commands.file("there.bin", &content)?;
    let with = ["--dialect", dialect, protection];
    let remote = commands.at("there and back.bin");
    commands.good(&[&["put", &source, &remote][..], &with].concat())?;
    same(&commands.share.join("there and back.bin"), &content)?;
    let list = commands.json(&[&["ls", "--json", &remote][..], &with].concat())?;
    expect(&list, "/0/size", &content.len().into())?;
    let back = commands.local("back.bin");
    commands.good(&[&["get", &remote, &back][..], &with].concat())?;
    same(Path::new(&back), &content)?;
    commands.good(&[&["rm", &remote][..], &with].concat())?;
    if commands.share.join("there and back.bin").exists() {
        return Err("the file is still there".to_owned());
    }
    Ok(())
}
