//! `cargo xtask attack`: a man in the middle between real clients and a server, in
//! every dialect and setting; what must fail fails, what succeeds does by design.

mod man;
mod relay;
mod subject;
mod victim;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use man::{ALL, ALTERED, Attack, Man, ORIGINAL};
use subject::{Account, Target};
use victim::Victim;

use crate::frame::find;
use crate::process::Output;
use crate::proxy::Proxy;
use crate::report::Tally;
use crate::server::{PASSWORD, USER};
use crate::{Res, flag, option, workspace};

pub(crate) const DIALECTS: [&str; 6] =
    ["NT1", "SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11"];
/// A file of this size is several WRITEs in every dialect.
const LARGE: usize = 3 << 20;

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

/// Whether an attack succeeds by design: the protocol has nothing against it. An
/// `eager` client signs SMB2 also where neither side requires it.
pub(crate) fn succeeds(eager: bool, attack: Attack, dialect: &str, setting: Setting) -> bool {
    let nt1 = dialect == "NT1";
    let nobody = match setting {
        Setting::Unsigned => true,
        Setting::Offered => !nt1 && !eager,
        _ => false,
    };
    // Signed or not, the server lets unsigned requests pass.
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
        Attack::ToSmb1 => setting == Setting::Unsigned,
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

/// Who is attacked, and with what files.
pub(crate) struct Bench {
    folder: PathBuf,
    pub(crate) victim: Victim,
    large: Vec<u8>,
    small: Vec<u8>,
}

impl Bench {
    pub(crate) fn new(folder: &Path, victim: Victim) -> Res<Self> {
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
            victim,
            large,
            small,
        })
    }

    /// One attack; the folder behind the share is empty before and after.
    pub(crate) fn attack(
        &self,
        target: &Target,
        dialect: &str,
        setting: Setting,
        attack: Attack,
    ) -> Res<(Outcome, Output)> {
        target.empty()?;
        let fetched = self.folder.join("fetched");
        let _ = std::fs::remove_file(&fetched);
        if matches!(attack, Attack::AlterRead | Attack::StripRead) {
            target.keep(&self.folder.join("small"))?;
        }
        let proxy = Proxy::before(target.address, Box::new(Man::new(attack)))?;
        let out = self.victim.run(proxy.port, dialect, setting, attack)?;
        // What the server still does with the last frame.
        if !out.ok() || forges(attack) {
            std::thread::sleep(Duration::from_millis(150));
        }
        let files = target.files()?;
        let fetched = std::fs::read(&fetched).ok();
        target.empty()?;
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

/// Results by setting, attack and dialect.
pub(crate) type Results = BTreeMap<(Setting, Attack, &'static str), Outcome>;

/// Every attack that `chosen` picks, on one kind of server.
pub(crate) fn matrix(
    bench: &Bench,
    start: &dyn Fn(&str) -> Res<Option<Target>>,
    chosen: &dyn Fn(Attack, &str, Setting) -> bool,
    mut told: impl FnMut(Setting, Attack, &str, &Outcome, &Output),
) -> Res<Results> {
    let mut results = Results::new();
    for signing in ["off", "offered", "required"] {
        let Some(target) = start(signing)? else {
            continue;
        };
        for setting in SETTINGS.into_iter().filter(|s| s.server() == signing) {
            for attack in ALL {
                for dialect in DIALECTS {
                    let fits = attack.applies(dialect) && setting.applies(dialect, *attack);
                    if !fits || !bench.victim.suits(*attack) || !chosen(*attack, dialect, setting) {
                        continue;
                    }
                    let (outcome, out) = bench.attack(&target, dialect, setting, *attack)?;
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
    (name, eager): (&str, bool),
    (setting, attack, dialect): (Setting, Attack, &str),
    outcome: &Outcome,
    out: &Output,
) {
    let design = succeeds(eager, attack, dialect, setting);
    // Our client may refuse what the protocol would let pass.
    let lenient = name.starts_with("countersign ");
    let result = match outcome {
        Outcome::Succeeded(what) if !design => Err(format!("{what} ({})", out.tail())),
        _ if design && lenient && attack != Attack::None => Ok(()),
        Outcome::Failed if design => Err(format!("did not succeed ({})", out.tail())),
        Outcome::NotTried(why) if attack == Attack::None || design => Err(why.clone()),
        _ => Ok(()),
    };
    tally.check(&format!("{name}: {attack:?} {dialect} {setting:?}"), result);
}

/// The tables, one for each setting.
fn markdown(results: &Results, eager: bool) -> String {
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
                let design = succeeds(eager, attack, dialect, setting);
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

/// Below this line a file of results is written anew.
const RESULTS: &str = "<!-- results of cargo xtask attack -->";

/// The whole bench.
pub(crate) fn run(args: &[String]) -> Res<bool> {
    let mut args = args.to_vec();
    let subjects = option(&mut args, "--subject")?.unwrap_or_else(|| "ours,smbd".to_owned());
    let victims = option(&mut args, "--victim")?.unwrap_or_else(|| "smbclient,ours".to_owned());
    let dialects = option(&mut args, "--dialects")?;
    let only = option(&mut args, "--only")?;
    let file = option(&mut args, "--out")?;
    let account = Account {
        user: option(&mut args, "--user")?.unwrap_or_else(|| USER.to_owned()),
        password: option(&mut args, "--password")?.unwrap_or_else(|| PASSWORD.to_owned()),
        share: option(&mut args, "--share")?.unwrap_or_else(|| "share".to_owned()),
    };
    let set_to = option(&mut args, "--signing")?.unwrap_or_else(|| "required".to_owned());
    let no_relay = flag(&mut args, "--no-relay");
    if let Some(unknown) = args.first() {
        return Err(format!("`{unknown}` is no option of attack"));
    }
    let folder = workspace::scratch("attack")?;
    let mut tally = Tally::new();
    tally.suite("attack");
    let binary = workspace::build_release()?;
    let chosen = |attack: Attack, dialect: &str, _: Setting| {
        dialects
            .as_deref()
            .is_none_or(|d| d.split(',').any(|d| d == dialect))
            && only
                .as_deref()
                .is_none_or(|o| format!("{attack:?}").contains(o))
    };
    let mut text = String::new();
    for victim in victims.split(',') {
        let (client, victim) = match victim {
            "ours" => ("countersign", Victim::ours(&binary, &folder, &account)?),
            _ => ("smbclient", Victim::smbclient(&folder, &account)?),
        };
        let bench = Bench::new(&folder, victim)?;
        for subject in subjects.split(',') {
            let start = |signing: &str| match subject {
                "ours" => Target::ours(&binary, &folder, signing).map(Some),
                "smbd" => Target::smbd(&folder, signing).map(Some),
                _ if signing != set_to => Ok(None),
                other => Target::elsewhere(other, &folder, &account).map(Some),
            };
            let server = if subject == "ours" {
                "Countersign"
            } else {
                subject
            };
            let name = format!("{client} and {server}");
            let eager = bench.victim.is_eager();
            let mut findings = Vec::new();
            let told = |setting, attack: Attack, dialect: &str, outcome: &Outcome, out: &Output| {
                let cell = (setting, attack, dialect);
                // Both ends others', or the other end deceived: nothing of ours to fail.
                let deceived = attack == Attack::ClearClientMode;
                if subject == "ours" || client == "countersign" && !deceived {
                    check(&mut tally, (&name, eager), cell, outcome, out);
                }
                if let Outcome::Succeeded(what) = outcome
                    && !succeeds(eager, attack, dialect, setting)
                {
                    let words = (attack.words(), setting.words());
                    findings.push(format!("{} ({dialect}, {}): {what}", words.0, words.1));
                }
                println!("{name}: {setting:?} {attack:?} {dialect}: {outcome:?}");
            };
            let results = matrix(&bench, &start, &chosen, told)?;
            let _ = writeln!(text, "\n## {name}");
            text.push_str(&markdown(&results, bench.victim.is_eager()));
            for finding in findings {
                println!("{name}: {finding}");
            }
        }
    }
    if !no_relay && only.is_none() && subjects.contains("ours") {
        text.push_str(&relay::tables(&mut tally, &binary, &folder)?);
    }
    println!("{text}");
    if let Some(file) = file {
        // What stands above the results stays.
        let old = std::fs::read_to_string(&file).unwrap_or_default();
        if let Some((above, _)) = old.split_once(RESULTS) {
            text = format!("{above}{RESULTS}\n{text}");
        }
        std::fs::write(&file, &text).map_err(|e| format!("{file}: {e}"))?;
    }
    Ok(tally.finish())
}

/// The part that every test run has: each attack once where it must fail, and the
/// ones that succeed by design once, to show that they would be seen; then our client
/// in front of our server.
pub(crate) fn short(tally: &mut Tally, binary: &Path) -> Res<()> {
    let folder = workspace::scratch("attack-short")?;
    let account = Account::default();
    let start = |signing: &str| Target::ours(binary, &folder, signing).map(Some);
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
    let bench = Bench::new(&folder, Victim::smbclient(&folder, &account)?)?;
    matrix(
        &bench,
        &start,
        &chosen,
        |setting, attack, dialect, outcome, out| {
            let cell = (setting, attack, dialect);
            check(
                tally,
                ("smbclient and Countersign", true),
                cell,
                outcome,
                out,
            );
        },
    )?;
    let chosen = |attack: Attack, dialect: &str, setting: Setting| {
        setting == Setting::Client
            && (attack == Attack::Guest || matches!(dialect, "NT1" | "SMB3_11"))
    };
    let bench = Bench::new(&folder, Victim::ours(binary, &folder, &account)?)?;
    matrix(
        &bench,
        &start,
        &chosen,
        |setting, attack, dialect, outcome, out| {
            let cell = (setting, attack, dialect);
            check(
                tally,
                ("countersign and Countersign", false),
                cell,
                outcome,
                out,
            );
        },
    )?;
    Ok(())
}
