//! `cargo xtask attack`: a man in the middle between real clients and a server, in
//! every dialect and setting; what must fail fails, what succeeds does by design.

mod man;
mod relay;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use man::{ALL, ALTERED, Attack, Man, ORIGINAL, find};

use crate::process::{Output, find as find_program, run as run_program};
use crate::proxy::Proxy;
use crate::report::Tally;
use crate::server::{PASSWORD, Samba, Server, Setup, USER};
use crate::{Res, flag, option, workspace};

pub(crate) const DIALECTS: [&str; 6] =
    ["NT1", "SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11"];
/// A file of this size is several WRITEs in every dialect.
const LARGE: usize = 3 << 20;
/// How long a victim may take.
const PATIENCE: Duration = Duration::from_secs(12);

/// What both sides are set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    /// Neither side signs.
    Unsigned,
    /// Both would, neither insists.
    Offered,
    /// The client requires signing.
    Client,
    /// The server requires signing.
    Server,
    /// Both require it.
    Both,
    /// The client requires encryption.
    Encrypted,
}

const SETTINGS: [Setting; 6] = [
    Setting::Unsigned,
    Setting::Offered,
    Setting::Client,
    Setting::Server,
    Setting::Both,
    Setting::Encrypted,
];

impl Setting {
    fn words(self) -> &'static str {
        match self {
            Setting::Unsigned => "neither side signs",
            Setting::Offered => "both offer signing, neither requires it",
            Setting::Client => "the client requires signing",
            Setting::Server => "the server requires signing",
            Setting::Both => "both require signing",
            Setting::Encrypted => "the client requires encryption",
        }
    }

    /// Which of the three configurations the server has.
    fn server(self) -> &'static str {
        match self {
            Setting::Unsigned => "off",
            Setting::Offered | Setting::Client | Setting::Encrypted => "offered",
            Setting::Server | Setting::Both => "required",
        }
    }

    fn applies(self, dialect: &str, attack: Attack) -> bool {
        let encrypted = self == Setting::Encrypted;
        if encrypted && !dialect.starts_with("SMB3") {
            return false;
        }
        match attack {
            Attack::AlterEncrypted | Attack::ReplayEncrypted => encrypted,
            Attack::None | Attack::NoEncryption | Attack::SwapCiphers => {
                encrypted || attack == Attack::None
            }
            // Nobody signs: there is nothing to take away.
            Attack::ClearServerMode | Attack::ClearClientMode => {
                !encrypted
                    && self != Setting::Unsigned
                    && (self != Setting::Offered || dialect == "NT1")
            }
            Attack::NoSigningContext
            | Attack::SwapAlgorithms
            | Attack::Dialect
            | Attack::NtlmFlags
            | Attack::NtlmChallenge
            | Attack::NtlmMic
            | Attack::MechListMic => true,
            _ => !encrypted,
        }
    }
}

/// Whether an attack succeeds by design: the protocol has nothing against it.
pub(crate) fn succeeds(attack: Attack, dialect: &str, setting: Setting) -> bool {
    let nt1 = dialect == "NT1";
    let nobody = setting == Setting::Unsigned;
    // smbclient then signs SMB2, too, and the server lets unsigned requests pass.
    let lenient = nobody || setting == Setting::Offered && !nt1;
    match attack {
        Attack::AlterWrite
        | Attack::AlterName
        | Attack::AlterRead
        | Attack::StripRead
        | Attack::Truncate
        | Attack::Swallow
        | Attack::StaleSignature => nobody,
        Attack::StripWrite | Attack::Hijack | Attack::Splice => lenient,
        // SMB2 takes a MessageId once; nothing in unsigned SMB1 counts.
        Attack::Replay | Attack::ReuseId => nobody && nt1,
        // "If agrees" agrees to what the attacker makes of it.
        Attack::ClearServerMode => setting == Setting::Offered,
        // Behind a multi-protocol negotiation SESSION_SETUP alone says that the client
        // insists, and 2.0.2 protects nothing of it. The client notices afterwards.
        Attack::ClearClientMode => {
            setting == Setting::Offered || setting == Setting::Client && dialect == "SMB2_02"
        }
        // The last SESSION_SETUP response tells 3.1.1 that it is no guest.
        Attack::Guest | Attack::StripSetup => lenient && dialect != "SMB3_11",
        // Nothing in SMB1 tells of SMB2; only its own signing protects it.
        Attack::ToSmb1 => nobody,
        _ => false,
    }
}

/// What an attack came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The attacker got what it wanted.
    Succeeded(String),
    /// Nothing of it was acted upon.
    Failed,
    /// It could not be tried, and why.
    NotTried(String),
}

/// Who is attacked.
pub(crate) struct Bench {
    folder: PathBuf,
    conf: PathBuf,
    smbclient: PathBuf,
    large: Vec<u8>,
    small: Vec<u8>,
}

impl Bench {
    pub(crate) fn new(folder: &Path) -> Res<Self> {
        let smbclient = find_program("smbclient").ok_or("smbclient is not installed")?;
        let conf = folder.join("client.conf");
        let f = folder.display();
        let text = format!(
            "[global]\n private dir = {f}\n lock directory = {f}\n state directory = {f}\n \
             cache directory = {f}\n pid directory = {f}\n ncalrpc dir = {f}\n \
             client min protocol = NT1\n log level = 0\n"
        );
        std::fs::write(&conf, text).map_err(|e| e.to_string())?;
        let mut small = ORIGINAL.to_vec();
        small.resize(4000, b'.');
        let mut large = Vec::with_capacity(LARGE);
        while large.len() < LARGE {
            large.extend_from_slice(ORIGINAL);
            large.extend_from_slice(format!("{:08x}", large.len()).as_bytes());
        }
        for (name, bytes) in [("small", &small), ("large", &large)] {
            std::fs::write(folder.join(name), bytes).map_err(|e| e.to_string())?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            conf,
            smbclient,
            large,
            small,
        })
    }

    /// smbclient as the victim.
    fn smbclient(&self, port: u16, dialect: &str, setting: Setting, script: &str) -> Res<Output> {
        let signing = match setting {
            Setting::Unsigned => "disabled",
            Setting::Offered => "desired",
            Setting::Server => "if_required",
            Setting::Client | Setting::Both => "required",
            Setting::Encrypted => "if_required",
        };
        let mut c = Command::new(&self.smbclient);
        c.arg("//127.0.0.1/share")
            .args(["-p", &port.to_string(), "-s"]);
        c.arg(&self.conf).args([
            "-U",
            &format!("{USER}%{PASSWORD}"),
            "-m",
            dialect,
            "-t",
            "6",
        ]);
        c.arg(format!("--option=client signing={signing}"));
        c.arg(format!("--option=client ipc signing={signing}"));
        if setting == Setting::Encrypted {
            c.arg("--client-protection=encrypt");
        }
        c.args(["-c", script]).current_dir(&self.folder);
        let mut out = run_program(c, PATIENCE)?;
        if out.ok() && (out.text().contains("NT_STATUS_") || out.text().contains("ERRDOS")) {
            out.code = Some(1);
        }
        Ok(out)
    }

    /// One attack; the folder behind the share is empty before and after.
    pub(crate) fn attack(
        &self,
        port: u16,
        share: &Path,
        dialect: &str,
        setting: Setting,
        attack: Attack,
    ) -> Res<(Outcome, Output)> {
        empty(share)?;
        let fetched = self.folder.join("fetched");
        let _ = std::fs::remove_file(&fetched);
        if matches!(attack, Attack::AlterRead | Attack::StripRead) {
            let kept = share.join("kept");
            std::fs::write(&kept, &self.small).map_err(|e| e.to_string())?;
            open_to_all(&kept)?;
        }
        let proxy = Proxy::start(port, Box::new(Man::new(attack)))?;
        let out = self.smbclient(proxy.port, dialect, setting, attack.script())?;
        // What the server still does with the last frame.
        if !out.ok() || forges(attack) {
            std::thread::sleep(Duration::from_millis(150));
        }
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(share)
            .map_err(|e| e.to_string())?
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            files.insert(name, std::fs::read(entry.path()).unwrap_or_default());
        }
        let fetched = std::fs::read(&fetched).ok();
        empty(share)?;
        if attack != Attack::None && proxy.altered() == 0 {
            let why = if out.ok() {
                "nothing to change passed by".to_owned()
            } else {
                format!("refused before: {}", out.tail())
            };
            return Ok((Outcome::NotTried(why), out));
        }
        let outcome = self.judge(attack, &files, fetched.as_deref(), &out);
        Ok((outcome, out))
    }

    fn judge(
        &self,
        attack: Attack,
        files: &BTreeMap<String, Vec<u8>>,
        fetched: Option<&[u8]>,
        out: &Output,
    ) -> Outcome {
        let won = |what: &str| Outcome::Succeeded(what.to_owned());
        let victim = files.get("victim");
        if files.values().any(|f| find(f, ALTERED).is_some()) {
            return won("changed bytes were written");
        }
        if files.contains_key("forged") {
            return won("a file of the attacker's was made");
        }
        if out.ok() && fetched.is_some_and(|f| find(f, ALTERED).is_some()) {
            return won("the client took changed bytes");
        }
        let whole = match attack {
            Attack::Reorder => &self.large,
            _ => &self.small,
        };
        match attack {
            Attack::None => match victim {
                Some(bytes) if bytes == whole && out.ok() => Outcome::Failed,
                _ => Outcome::NotTried(format!("the control: {}", out.tail())),
            },
            Attack::Truncate | Attack::Swallow | Attack::Reorder
                if out.ok() && victim.is_some_and(|v| v != whole) =>
            {
                won("the client believes that all was written")
            }
            Attack::Replay if victim.is_some() => won("the replayed CREATE was acted upon"),
            // Whatever was negotiated, weakened, was used.
            Attack::Dialect
            | Attack::NoSigningContext
            | Attack::SwapAlgorithms
            | Attack::SwapCiphers
            | Attack::NoEncryption
            | Attack::NtlmFlags
            | Attack::NtlmChallenge
            | Attack::NtlmMic
            | Attack::MechListMic
                if victim.is_some() =>
            {
                won("the weakened session was served")
            }
            Attack::ReplayEncrypted if out.ok() => won("nobody noticed"),
            _ => Outcome::Failed,
        }
    }
}

fn forges(attack: Attack) -> bool {
    matches!(
        attack,
        Attack::Hijack | Attack::StaleSignature | Attack::Splice | Attack::ReuseId
    )
}

fn empty(share: &Path) -> Res<()> {
    for entry in std::fs::read_dir(share)
        .map_err(|e| e.to_string())?
        .flatten()
    {
        if entry.file_name() != ".countersign" {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// smbd acts as the user.
fn open_to_all(path: &Path) -> Res<()> {
    use std::os::unix::fs::PermissionsExt;
    let all = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(path, all).map_err(|e| e.to_string())
}

/// A server to attack.
pub(crate) struct Target {
    pub(crate) port: u16,
    pub(crate) share: PathBuf,
    #[allow(dead_code, reason = "ends when dropped")]
    ours: Option<Server>,
    #[allow(dead_code, reason = "ends when dropped")]
    smbd: Option<Samba>,
}

/// Our server with signing `off`, `offered` or `required`.
pub(crate) fn ours(binary: &Path, folder: &Path, signing: &str) -> Res<Target> {
    let place = folder.join(format!("ours-{signing}"));
    std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
    let (always, agrees) = match signing {
        "off" => ("disabled", "disabled"),
        "offered" => ("disabled", "enabled"),
        _ => ("enabled", "enabled"),
    };
    let server = Setup::new(binary, &place).policy(always, agrees).start()?;
    Ok(Target {
        port: server.port,
        share: server.share.clone(),
        ours: Some(server),
        smbd: None,
    })
}

/// smbd likewise.
fn smbd(folder: &Path, signing: &str) -> Res<Target> {
    let place = folder.join(format!("smbd-{signing}"));
    let share = place.join("share");
    std::fs::create_dir_all(&share).map_err(|e| e.to_string())?;
    let value = match signing {
        "off" => "disabled",
        "offered" => "auto",
        _ => "mandatory",
    };
    let server = Samba::start(&place, &share, value)?;
    Ok(Target {
        port: server.port,
        share,
        ours: None,
        smbd: Some(server),
    })
}

/// Results by setting, attack and dialect.
pub(crate) type Results = BTreeMap<(Setting, Attack, &'static str), Outcome>;

/// Every attack that `chosen` picks, on one kind of server.
pub(crate) fn matrix(
    bench: &Bench,
    start: &dyn Fn(&str) -> Res<Target>,
    chosen: &dyn Fn(Attack, &str, Setting) -> bool,
    mut told: impl FnMut(Setting, Attack, &str, &Outcome, &Output),
) -> Res<Results> {
    let mut results = Results::new();
    for signing in ["off", "offered", "required"] {
        let target = start(signing)?;
        for setting in SETTINGS.into_iter().filter(|s| s.server() == signing) {
            for attack in ALL {
                for dialect in DIALECTS {
                    let fits = attack.applies(dialect) && setting.applies(dialect, *attack);
                    if !fits || !chosen(*attack, dialect, setting) {
                        continue;
                    }
                    let (outcome, out) =
                        bench.attack(target.port, &target.share, dialect, setting, *attack)?;
                    told(setting, *attack, dialect, &outcome, &out);
                    results.insert((setting, *attack, dialect), outcome);
                }
            }
        }
    }
    Ok(results)
}

/// Counts a result: what must fail must have, what succeeds by design must have
/// been possible (else the bench proves nothing).
pub(crate) fn check(
    tally: &mut Tally,
    name: &str,
    (setting, attack, dialect): (Setting, Attack, &str),
    outcome: &Outcome,
    out: &Output,
) {
    let name = format!("{name}: {attack:?} {dialect} {setting:?}");
    let design = succeeds(attack, dialect, setting);
    let result = match outcome {
        Outcome::Succeeded(what) if !design => Err(format!("{what} ({})", out.tail())),
        Outcome::Failed if design => Err(format!("did not succeed ({})", out.tail())),
        Outcome::NotTried(why) if attack == Attack::None || design => Err(why.clone()),
        _ => Ok(()),
    };
    tally.check(&name, result);
}

/// The tables, one for each setting.
fn markdown(results: &Results) -> String {
    let mut out = String::new();
    for setting in SETTINGS {
        let rows: Vec<Attack> = ALL
            .iter()
            .copied()
            .filter(|a| *a != Attack::None)
            .filter(|a| {
                DIALECTS
                    .iter()
                    .any(|d| results.contains_key(&(setting, *a, *d)))
            })
            .collect();
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n### {}\n", capital(setting.words()));
        out.push_str("| attack | SMB1 | 2.0.2 | 2.1 | 3.0 | 3.0.2 | 3.1.1 |\n|---|---|---|---|---|---|---|\n");
        for attack in rows {
            let _ = write!(out, "| {} |", attack.words());
            for dialect in DIALECTS {
                let design = succeeds(attack, dialect, setting);
                let cell = match results.get(&(setting, attack, dialect)) {
                    None => "",
                    Some(Outcome::Failed) if design => "fails (better than by design)",
                    Some(Outcome::Failed) => "fails",
                    Some(Outcome::NotTried(_)) => "not possible",
                    Some(Outcome::Succeeded(_)) if design => "succeeds",
                    Some(Outcome::Succeeded(_)) => "**SUCCEEDS**",
                };
                let _ = write!(out, " {cell} |");
            }
            out.push('\n');
        }
    }
    out
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|c| c.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

/// The whole bench.
pub(crate) fn run(args: &[String]) -> Res<bool> {
    let mut args = args.to_vec();
    let subjects = option(&mut args, "--subject")?;
    let dialects = option(&mut args, "--dialects")?;
    let only = option(&mut args, "--only")?;
    let file = option(&mut args, "--out")?;
    let built = option(&mut args, "--binary")?.map(PathBuf::from);
    let no_relay = flag(&mut args, "--no-relay");
    if let Some(unknown) = args.first() {
        return Err(format!("`{unknown}` is no option of attack"));
    }
    let folder = workspace::scratch("attack")?;
    let bench = Bench::new(&folder)?;
    let mut tally = Tally::new();
    tally.suite("attack");
    let binary = built.map_or_else(workspace::build_release, Ok)?;
    let chosen = |attack: Attack, dialect: &str, _: Setting| {
        dialects
            .as_deref()
            .is_none_or(|d| d.split(',').any(|d| d == dialect))
            && only
                .as_deref()
                .is_none_or(|o| format!("{attack:?}").contains(o))
    };
    let mut text = String::new();
    for subject in subjects.as_deref().unwrap_or("ours,smbd").split(',') {
        let name = if subject == "ours" {
            "Countersign"
        } else {
            subject
        };
        let start = |signing: &str| match subject {
            "ours" => ours(&binary, &folder, signing),
            "smbd" => smbd(&folder, signing),
            other => Err(format!("`{other}` is no subject; there are ours, smbd")),
        };
        let mut findings = Vec::new();
        let results = matrix(
            &bench,
            &start,
            &chosen,
            |setting, attack, dialect, outcome, out| {
                let cell = (setting, attack, dialect);
                if subject == "ours" {
                    check(&mut tally, name, cell, outcome, out);
                } else if let Outcome::Succeeded(what) = outcome
                    && !succeeds(attack, dialect, setting)
                {
                    findings.push(format!(
                        "{} ({dialect}, {}): {what}",
                        attack.words(),
                        setting.words()
                    ));
                }
                println!("{name} {setting:?} {attack:?} {dialect}: {outcome:?}");
            },
        )?;
        let _ = writeln!(text, "\n## smbclient and {name}");
        text.push_str(&markdown(&results));
        for finding in findings {
            println!("{name}: {finding}");
        }
    }
    if !no_relay && only.is_none() {
        text.push_str(&relay::tables(&mut tally, &bench, &binary, &folder)?);
    }
    println!("{text}");
    if let Some(file) = file {
        std::fs::write(&file, &text).map_err(|e| format!("{file}: {e}"))?;
    }
    Ok(tally.finish())
}

/// The part that every test run has: each attack once where it must fail, and the
/// ones that succeed by design once, to show that they would be seen.
pub(crate) fn short(tally: &mut Tally, binary: &Path) -> Res<()> {
    let folder = workspace::scratch("attack-short")?;
    let bench = Bench::new(&folder)?;
    let chosen = |attack: Attack, dialect: &str, setting: Setting| match setting {
        Setting::Unsigned => {
            matches!(attack, Attack::Hijack | Attack::StripRead | Attack::Swallow)
                && matches!(dialect, "NT1" | "SMB2_10")
        }
        Setting::Client => dialect == "SMB3_11",
        Setting::Server => dialect == "NT1" || dialect == "SMB2_10" && forges(attack),
        Setting::Encrypted => dialect == "SMB3_11" && attack != Attack::None,
        _ => false,
    };
    let start = |signing: &str| ours(binary, &folder, signing);
    matrix(
        &bench,
        &start,
        &chosen,
        |setting, attack, dialect, outcome, out| {
            check(
                tally,
                "Countersign",
                (setting, attack, dialect),
                outcome,
                out,
            );
        },
    )?;
    Ok(())
}
